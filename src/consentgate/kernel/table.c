#include "table.h"

/* How many keys ahead of the one that is looked up memory is asked for a line. */
#define AHEAD 64

/* Look into one line for each of `count` keys: those that `which` names, or the first ones. The keys
 * that may be in the next line are written to `waiting`. That may be `which` itself, because nothing
 * is written there before it is read. */
ALWAYS_INLINE int64_t look(int64_t layout, const struct cg_table *table, const struct keys *keys,
                           const int64_t *which, int64_t count, const uint64_t *at,
                           uint64_t *facts, int64_t *waiting)
{
    int64_t left = 0;
    for (int64_t n = 0; n < count; n++) {
        int64_t i = which ? which[n] : n;
        if (!which && n + AHEAD < count)
            __builtin_prefetch(table->lines + LINE_WORDS * at[n + AHEAD]);
        const uint64_t *line = table->lines + LINE_WORDS * at[i];
        uint64_t b = layout == CG_INTEGER_LINES ? 0 : keys->b[i];
        facts[i] = facts_in(layout, line, keys->a[i], b);
        int64_t waits = (facts[i] == 0) & is_full(layout, line);
        waiting[left] = i;
        left += waits;
        __builtin_prefetch(line + LINE_WORDS * waits);
    }
    return left;
}

ALWAYS_INLINE void find(int64_t layout, const struct cg_table *table, const struct keys *keys,
                        int64_t count, uint64_t *facts)
{
    uint64_t at[TILE];
    int64_t waiting[TILE];
    for (int64_t i = 0; i < count; i++) {
        at[i] = place_of(keys->hash[i], table->count);
        if (i < AHEAD)
            __builtin_prefetch(table->lines + LINE_WORDS * at[i]);
    }
    int64_t left = look(layout, table, keys, NULL, count, at, facts, waiting);
    for (uint64_t further = 0; left && further < table->longest; further++) {
        for (int64_t n = 0; n < left; n++) {
            uint64_t *line = &at[waiting[n]];
            *line = *line + 1 == table->count ? 0 : *line + 1;
        }
        left = look(layout, table, keys, waiting, left, at, facts, waiting);
    }
    for (int64_t i = 0; keys->are_marked && i < count; i++)
        facts[i] &= keys->known[i];
}

void find_facts(const struct cg_table *table, const struct keys *keys, int64_t count,
                uint64_t *facts)
{
    switch (table->layout) {
    case CG_INTEGER_LINES: find(CG_INTEGER_LINES, table, keys, count, facts); break;
    case CG_UUID_LINES: find(CG_UUID_LINES, table, keys, count, facts); break;
    default: find(CG_TEXT_LINES, table, keys, count, facts); break;
    }
    if (table->refuses_top_bit)
        for (int64_t i = 0; i < count; i++)
            facts[i] &= (keys->a[i] >> 63) - 1;
}

int64_t find_slot(const struct cg_table *table, uint64_t a, uint64_t b, uint64_t hash)
{
    int64_t layout = table->layout, places = places_of(layout);
    uint64_t at = place_of(hash, table->count);
    for (uint64_t further = 0; further <= table->longest; further++) {
        const uint64_t *line = table->lines + LINE_WORDS * at;
        for (int64_t place = 0; place < places; place++)
            if (facts_at(layout, line, place) & is_key(layout, line, place, a, b))
                return (int64_t)at * places + place;
        if (!is_full(layout, line))
            break;
        at = at + 1 == table->count ? 0 : at + 1;
    }
    return -1;
}

ALWAYS_INLINE uint64_t entries_in(int64_t layout, const uint64_t *line)
{
    uint64_t entries = 0;
    for (int64_t place = 0; place < places_of(layout); place++)
        entries += facts_at(layout, line, place) != 0;
    return entries;
}

uint64_t rank_of(const struct cg_table *table, int64_t slot)
{
    int64_t places = places_of(table->layout);
    uint64_t line = (uint64_t)(slot / places), group = line / RANK_LINES;
    uint64_t first = group * RANK_LINES, before = 0, all = 0;
    uint64_t end = table->count - first < RANK_LINES ? table->count : first + RANK_LINES;
    uint64_t after = end == table->count ? (uint64_t)table->ranked : table->ranks[group + 1];
    for (uint64_t at = first; at < end; at++) {
        uint64_t entries = entries_in(table->layout, table->lines + LINE_WORDS * at);
        before += at < line ? entries : 0;
        all += entries;
    }
    if (table->ranks[group] + all != after)
        return NO_RANK;
    return table->ranks[group] + before + (uint64_t)(slot % places);
}

static inline void put(int64_t layout, uint64_t *line, int64_t place, uint64_t a, uint64_t b,
                       uint64_t facts)
{
    if (layout == CG_INTEGER_LINES) {
        line[place] = a;
    } else if (layout == CG_UUID_LINES) {
        line[place] = a;
        line[2 + place] = b;
    } else {
        cg_uint128 tag = (cg_uint128)(a & TAG_MASK) << (TAG_BITS * place);
        line[place] = b;
        line[6] |= (uint64_t)tag;
        line[7] |= (uint64_t)(tag >> 64);
    }
    line[facts_word(layout) + place] = facts;
}

/* The counts that filling returns; see cg_fill. */
struct filled {
    int64_t spilled;
    int64_t repeats;
    int64_t longest;
};

/* Where one row goes, or which row has its key already. Returns whether a place was found. */
ALWAYS_INLINE int32_t put_row(int64_t layout, uint64_t *lines, uint64_t home, uint64_t steps,
                              uint64_t count, uint64_t a, uint64_t b, int64_t row, int64_t *first,
                              struct filled *filled)
{
    uint64_t at = home;
    for (uint64_t further = 0; further < steps; further++) {
        uint64_t *line = lines + LINE_WORDS * at;
        uint64_t held = facts_in(layout, line, a, b);
        int64_t place = (int64_t)entries_in(layout, line);
        if (held) {
            filled->repeats++;
            if (first)
                first[row] = (int64_t)held - 1;
            return 1;
        }
        if (place < places_of(layout)) {
            put(layout, line, place, a, b, (uint64_t)row + 1);
            if ((int64_t)further > filled->longest)
                filled->longest = (int64_t)further;
            if (first)
                first[row] = row;
            return 1;
        }
        at = at + 1 == count ? 0 : at + 1;
    }
    return 0;
}

ALWAYS_INLINE uint64_t hash_of(int64_t layout, const struct cg_table *table, const uint64_t *keys,
                               int64_t row, uint64_t *a, uint64_t *b)
{
    if (layout == CG_INTEGER_LINES) {
        *a = keys[row];
        *b = 0;
        return mix(*a, table->secret->odd);
    }
    *a = keys[2 * row];
    *b = keys[2 * row + 1];
    return layout == CG_TEXT_LINES ? *a : mix_pair(*a, *b, table->secret->odd);
}

ALWAYS_INLINE void fill(int64_t layout, const struct cg_table *table, const uint64_t *keys,
                        const uint64_t *facts, int64_t start, int64_t stop, uint64_t first_line,
                        uint64_t end_line, int64_t *first, int64_t *spilled,
                        struct filled *filled)
{
    int64_t mine[TILE + 1];
    uint64_t home[TILE + 1], a, b;
    for (int64_t from = start; from < stop; from += TILE) {
        int64_t to = stop - from < TILE ? stop : from + TILE, held = 0;
        for (int64_t row = from; row < to; row++) {
            uint64_t hash = hash_of(layout, table, keys, row - start, &a, &b);
            uint64_t line = place_of(hash, table->count);
            mine[held] = row;
            home[held] = line;
            held += (line >= first_line) & (line < end_line) & (!facts || facts[row] != 0);
        }
        for (int64_t n = 0; n < held; n++)
            __builtin_prefetch(table->lines + LINE_WORDS * home[n], 1);
        for (int64_t n = 0; n < held; n++) {
            hash_of(layout, table, keys, mine[n] - start, &a, &b);
            if (!put_row(layout, table->lines, home[n], end_line - home[n], table->count, a, b,
                         mine[n], first, filled))
                spilled[filled->spilled++] = mine[n];
        }
    }
}

int32_t cg_fill(const struct cg_table *table, const uint64_t *keys, const uint64_t *facts,
                int64_t start, int64_t stop, uint64_t first_line, uint64_t end_line,
                int64_t *first, int64_t *spilled, int64_t *counts)
{
    struct filled filled = {0, 0, 0};
    switch (table->layout) {
#define FILL(LAYOUT)                                                                               \
    fill(LAYOUT, table, keys, facts, start, stop, first_line, end_line, first, spilled, &filled)
    case CG_INTEGER_LINES: FILL(CG_INTEGER_LINES); break;
    case CG_UUID_LINES: FILL(CG_UUID_LINES); break;
    default: FILL(CG_TEXT_LINES); break;
#undef FILL
    }
    memcpy(counts, &filled, sizeof filled);
    return CG_SOUND;
}

int32_t cg_fill_spilled(const struct cg_table *table, const uint64_t *keys, const int64_t *spilled,
                        int64_t count, int64_t *first, int64_t *counts)
{
    struct filled filled;
    memcpy(&filled, counts, sizeof filled);
    for (int64_t n = 0; n < count; n++) {
        uint64_t a, b, hash = hash_of(table->layout, table, keys, n, &a, &b);
        if (!put_row(table->layout, table->lines, place_of(hash, table->count), table->count,
                     table->count, a, b, spilled[n], first, &filled))
            return CG_NO_SPACE;
    }
    memcpy(counts, &filled, sizeof filled);
    return CG_SOUND;
}

int64_t cg_count(const struct cg_table *table, uint64_t first_line, uint64_t end_line)
{
    uint64_t entries = 0;
    for (uint64_t line = first_line; line < end_line; line++)
        entries += entries_in(table->layout, table->lines + LINE_WORDS * line);
    return (int64_t)entries;
}

/* Copy one column's values of `count` rows to the places from `rank` on. */
static void move_values(const struct cg_moved *column, const uint64_t *rows, int64_t count,
                        uint64_t rank)
{
#define MOVE(TYPE)                                                                                 \
    for (int64_t i = 0; i < count; i++)                                                            \
    ((TYPE *)column->by_rank)[rank + (uint64_t)i] = ((const TYPE *)column->by_row)[rows[i]]
    switch (column->bytes) {
    case 1: MOVE(uint8_t); break;
    case 2: MOVE(uint16_t); break;
    case 4: MOVE(uint32_t); break;
    default: MOVE(uint64_t); break;
    }
#undef MOVE
}

_Static_assert(RANK_LINES * 4 <= TILE, "the rows of sixteen lines have to fit into a tile");

int32_t cg_settle(const struct cg_table *table, const uint64_t *facts, int64_t rows,
                  uint64_t first_line, uint64_t end_line, uint64_t rank, uint64_t *ranks,
                  const struct cg_moved *columns, int64_t column_count)
{
    int64_t layout = table->layout, places = places_of(layout);
    uint64_t held[TILE];
    for (uint64_t from = first_line; from < end_line; from += RANK_LINES) {
        uint64_t to = end_line - from < RANK_LINES ? end_line : from + RANK_LINES;
        int64_t count = 0;
        ranks[from / RANK_LINES] = rank;
        for (uint64_t line = from; line < to; line++) {
            uint64_t *words = table->lines + LINE_WORDS * line + facts_word(layout);
            for (int64_t place = 0; place < places && words[place]; place++) {
                held[count] = words[place] - 1;
                if (held[count] >= (uint64_t)rows)
                    return CG_BAD_INDEX;
                words[place] = facts[held[count]];
                count++;
            }
        }
        for (int64_t column = 0; column < column_count; column++)
            move_values(&columns[column], held, count, rank);
        rank += (uint64_t)count;
    }
    return CG_SOUND;
}
