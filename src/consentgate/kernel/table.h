/* The table of facts: lines of 64 bytes, in which entries are found by their hash.
 *
 * A line holds eight words. A place in the line is empty if its facts are zero, and places are
 * filled from the first to the last:
 *
 *   integers   k0 k1 k2 k3   f0 f1 f2 f3      four entries of a key and its facts
 *   UUIDs      a0 a1   b0 b1   f0 f1   -  -   two entries; the last two words are not used
 *   texts      b0 b1 b2   f0 f1 f2   t  t     three entries; t holds 40 bits of each `a`
 *
 * An entry is in the line of its hash. If that line is full, it is in the next one, and so on;
 * after the last line comes the first. So a line that is not full ends a search.
 *
 * Of a text's fingerprint, the line shows the upper bits of `a`, and the entry holds the lower 40
 * bits and all of `b`.
 */
#ifndef CONSENTGATE_TABLE_H
#define CONSENTGATE_TABLE_H

#include "hashing.h"
#include "ids.h"

#define LINE_WORDS 8
#define RANK_LINES 16
#define TAG_BITS 40
#define TAG_MASK ((UINT64_C(1) << TAG_BITS) - 1)

static inline int64_t places_of(int64_t layout)
{
    return layout == CG_INTEGER_LINES ? 4 : layout == CG_UUID_LINES ? 2 : 3;
}

/* Which word of a line holds the facts in its first place. */
static inline int64_t facts_word(int64_t layout)
{
    return layout == CG_TEXT_LINES ? 3 : 4;
}

static inline uint64_t facts_at(int64_t layout, const uint64_t *line, int64_t place)
{
    return line[facts_word(layout) + place];
}

static inline int is_full(int64_t layout, const uint64_t *line)
{
    return facts_at(layout, line, places_of(layout) - 1) != 0;
}

static inline uint64_t tag_at(const uint64_t *line, int64_t place)
{
    if (place == 0)
        return line[6] & TAG_MASK;
    if (place == 1)
        return (line[6] >> 40 | line[7] << 24) & TAG_MASK;
    return line[7] >> 16 & TAG_MASK;
}

/* All ones if an entry has the key, else zero. */
static inline uint64_t is_key(int64_t layout, const uint64_t *line, int64_t place, uint64_t a,
                              uint64_t b)
{
    uint64_t differs;
    if (layout == CG_INTEGER_LINES)
        differs = line[place] ^ a;
    else if (layout == CG_UUID_LINES)
        differs = (line[place] ^ a) | (line[2 + place] ^ b);
    else
        differs = (line[place] ^ b) | ((tag_at(line, place) ^ a) & TAG_MASK);
    return (uint64_t)0 - (uint64_t)(differs == 0);
}

/* The facts of a key in one line; zero if the line does not have it. */
static inline uint64_t facts_in(int64_t layout, const uint64_t *line, uint64_t a, uint64_t b)
{
    uint64_t facts = 0;
    for (int64_t place = 0; place < places_of(layout); place++)
        facts |= facts_at(layout, line, place) & is_key(layout, line, place, a, b);
    return facts;
}

/* The facts of `count` keys; zero where the table does not have a key. */
void find_facts(const struct cg_table *table, const struct keys *keys, int64_t count,
                uint64_t *facts);

/* The slot of a key's entry, or -1 if there is none. A slot is the number of a place, counted over
 * all places of all lines. */
int64_t find_slot(const struct cg_table *table, uint64_t a, uint64_t b, uint64_t hash);

#define NO_RANK UINT64_MAX

/* How many entries are before that of a slot. Returns NO_RANK if the lines around it do not have as
 * many entries as the stored ranks say. Then some entries were lost, as in a gate file that has
 * blank pages. */
uint64_t rank_of(const struct cg_table *table, int64_t slot);

#endif
