#include "facts.h"

#include "instants.h"
#include "table.h"

/* ---- Instants ---- */

static inline int64_t step_of(const struct cg_instants *instants, uint64_t facts)
{
    uint64_t mask = instants->bits == 64 ? UINT64_MAX : (UINT64_C(1) << instants->bits) - 1;
    return (int64_t)(facts >> instants->first_bit & mask);
}

/* The step that a time lies in, but at least 1. */
static inline int64_t reached_by(const struct cg_instants *instants, int64_t time)
{
    int64_t reached = (time >> instants->shift) - instants->base;
    return reached < 1 ? 1 : reached;
}

/* The exact instant of an entry whose step is known. If its rank is not known, this returns the
 * latest instant of the step, because a later instant excludes more. */
static int64_t exact_instant(const struct cg_instants *instants, int64_t step, uint64_t rank,
                             int64_t ranked)
{
    uint64_t rest = 0;
    if (rank < (uint64_t)ranked) {
        switch (instants->rest_bytes) {
        case 1: rest = ((const uint8_t *)instants->rests)[rank]; break;
        case 2: rest = ((const uint16_t *)instants->rests)[rank]; break;
        case 4: rest = ((const uint32_t *)instants->rests)[rank]; break;
        default: rest = ((const uint64_t *)instants->rests)[rank]; break;
        }
    }
    uint64_t longest_rest = (UINT64_C(1) << instants->shift) - 1;
    uint64_t begin = ((uint64_t)step + (uint64_t)instants->base) << instants->shift;
    return (int64_t)(begin + longest_rest - rest);
}

static int64_t instant_of_slot(const struct cg_facts *facts, const struct cg_instants *instants,
                               uint64_t word, int64_t slot)
{
    int64_t step = instants->bits ? step_of(instants, word) : 0;
    if (step == 0)
        return EARLIEST;
    uint64_t rank = slot < 0 ? NO_RANK : rank_of(&facts->table, slot);
    return exact_instant(instants, step, rank, facts->table.ranked);
}

/* The rank of a slot's entry; -1 if there is no entry, or if its rank is not known. */
static int64_t known_rank(const struct cg_table *table, int64_t slot)
{
    uint64_t rank = slot < 0 ? NO_RANK : rank_of(table, slot);
    return rank < (uint64_t)table->ranked ? (int64_t)rank : -1;
}

static int64_t slot_of(const struct cg_facts *facts, const struct found *found, int64_t i)
{
    if (found->facts[i] == 0)
        return -1;
    uint64_t b = facts->table.layout == CG_INTEGER_LINES ? 0 : found->keys.b[i];
    return find_slot(&facts->table, found->keys.a[i], b, found->keys.hash[i]);
}

/* Where an instant and a time lie in the same step, the rest of the instant decides. */
void add_later(const struct cg_facts *facts, const struct cg_instants *instants,
               const int64_t *times, int64_t count, uint32_t reason, struct found *found)
{
    uint64_t undecided = 0;
    for (int64_t i = 0; i < count; i++) {
        int64_t step = step_of(instants, found->facts[i]);
        int64_t reached = reached_by(instants, times[i]);
        found->bits[i] |= step > reached ? reason : 0;
        undecided |= step == reached;
    }
    for (int64_t i = 0; undecided && i < count; i++) {
        int64_t step = step_of(instants, found->facts[i]);
        if (step != reached_by(instants, times[i]))
            continue;
        int64_t slot = slot_of(facts, found, i);
        if (instant_of_slot(facts, instants, found->facts[i], slot) > times[i])
            found->bits[i] |= reason;
    }
}

/* ---- Facts ---- */

/* The reasons in facts, without those that depend on time. */
static inline uint32_t stored_reasons(const struct cg_facts *facts, uint64_t word)
{
    return (uint32_t)((word & facts->reason_mask) << facts->first_reason) ^ facts->unknown;
}

/* Add the reasons that do not depend on the message to ids that were found. */
static inline void add_reasons(const struct cg_facts *facts, int64_t count, struct found *found)
{
    for (int64_t i = 0; i < count; i++)
        found->bits[i] = stored_reasons(facts, found->facts[i]);
    if (facts->until.bits) {
        int64_t past[TILE];
        for (int64_t i = 0; i < count; i++)
            past[i] = facts->past;
        add_later(facts, &facts->until, past, count, facts->after_until, found);
    }
}

void judge_nulls(const struct cg_facts *facts, int64_t count, struct found *found)
{
    for (int64_t i = 0; found->keys.are_marked && i < count; i++) {
        uint32_t null = (uint32_t)found->keys.null[i];
        found->bits[i] = (found->bits[i] & ~null) | (facts->null & null);
    }
}

int32_t find_ids(const struct cg_facts *facts, const struct cg_ids *ids, int64_t first,
                 int64_t count, struct found *found)
{
    int32_t fault = read_keys(ids, facts->table.secret, first, count, &found->keys);
    if (fault)
        return fault;
    find_facts(&facts->table, &found->keys, count, found->facts);
    add_reasons(facts, count, found);
    return CG_SOUND;
}

int32_t cg_resolve(const struct cg_facts *facts, const struct cg_ids *ids, int64_t start,
                   int64_t stop, uint32_t *bits, int64_t *since, int64_t *ranks)
{
    struct found found;
    for (int64_t first = start; first < stop; first += TILE) {
        int64_t count = stop - first < TILE ? stop - first : TILE, at = first - start;
        int32_t fault = find_ids(facts, ids, first, count, &found);
        if (fault)
            return fault;
        judge_nulls(facts, count, &found);
        for (int64_t i = 0; i < count; i++) {
            int64_t slot = slot_of(facts, &found, i);
            bits[at + i] = found.bits[i];
            since[at + i] = instant_of_slot(facts, &facts->since, found.facts[i], slot);
            if (ranks)
                ranks[at + i] = known_rank(&facts->table, slot);
        }
    }
    return CG_SOUND;
}

/* Whether an instant is later than a time, if both are known. */
static int is_later(const struct cg_facts *facts, const struct cg_instants *instants, uint64_t word,
                    int64_t slot, int64_t time)
{
    int64_t step = step_of(instants, word), reached = reached_by(instants, time);
    return step > reached ||
           (step == reached && instant_of_slot(facts, instants, word, slot) > time);
}

int64_t cg_entries(const struct cg_facts *facts, uint64_t first_line, uint64_t end_line,
                   uint32_t *bits, int64_t space)
{
    const struct cg_table *table = &facts->table;
    int64_t count = 0, places = places_of(table->layout);
    for (uint64_t line = first_line; line < end_line; line++) {
        const uint64_t *words = table->lines + LINE_WORDS * line;
        for (int64_t place = 0; place < places; place++) {
            uint64_t word = facts_at(table->layout, words, place);
            if (word == 0 || count == space)
                break;
            int64_t slot = (int64_t)line * places + place;
            bits[count] = stored_reasons(facts, word);
            if (facts->until.bits && is_later(facts, &facts->until, word, slot, facts->past))
                bits[count] |= facts->after_until;
            count++;
        }
    }
    return count;
}
