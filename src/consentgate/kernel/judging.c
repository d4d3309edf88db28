/* The judgement of messages (docs/semantics.md, section 4), a tile of rows at a time. */
#include "hashing.h"
#include "ids.h"
#include "instants.h"
#include "table.h"

/* How many rows are judged by one column before the next one is looked at. */
#define BLOCK 2048

/* What is known about up to TILE ids, and what follows from it for messages. */
struct found {
    struct keys keys;
    uint64_t facts[TILE];
    uint32_t bits[TILE];
};

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

/* Add `reason` to each id whose instant is later than its time. `times` holds a time for each id.
 * Where both lie in the same step, the rest of the instant decides. */
static void add_later(const struct cg_facts *facts, const struct cg_instants *instants,
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

/* A null has one reason, whatever is in its place. */
static inline void judge_nulls(const struct cg_facts *facts, int64_t count, struct found *found)
{
    for (int64_t i = 0; found->keys.are_marked && i < count; i++) {
        uint32_t null = (uint32_t)found->keys.null[i];
        found->bits[i] = (found->bits[i] & ~null) | (facts->null & null);
    }
}

/* ---- Tiles: up to TILE ids that lie one after the other, and the row of each ---- */

struct tile {
    const struct cg_column *column;
    const int64_t *written; /* when each row's message was written */
    uint32_t *bits;         /* the reasons against each row */
    int64_t first;
    int64_t count;
    int64_t first_row; /* of a column without lists: rows lie one after the other, too */
    int64_t row[TILE]; /* of a column of lists */
    struct found found;
};

static inline int has_lists(const struct tile *tile)
{
    return tile->column->lists.kind != CG_NO_LIST;
}

/* When the message of each id was written. */
static const int64_t *written_by_id(const struct tile *tile, int64_t space[TILE])
{
    if (!has_lists(tile))
        return tile->written + tile->first_row;
    for (int64_t i = 0; i < tile->count; i++)
        space[i] = tile->written[tile->row[i]];
    return space;
}

static void add_to_rows(struct tile *tile)
{
    if (has_lists(tile))
        for (int64_t i = 0; i < tile->count; i++)
            tile->bits[tile->row[i]] |= tile->found.bits[i];
    else
        for (int64_t i = 0; i < tile->count; i++)
            tile->bits[tile->first_row + i] |= tile->found.bits[i];
}

/* Judge dictionary indices by what was worked out for the values before. */
static int32_t judge_indices(struct tile *tile, const int64_t *written)
{
    const struct cg_column *column = tile->column;
    const struct cg_validity *valid = &column->ids.valid;
    const struct cg_resolved *resolved = &column->resolved;
    uint64_t *codes = tile->found.keys.a_space, null = (uint64_t)resolved->length;
    read_integers(&column->ids, tile->first, tile->count, codes);
    for (int64_t i = 0; i < tile->count; i++) {
        if (valid->bits && !valid_at(valid, tile->first + i))
            codes[i] = null;
        else if (codes[i] >= null)
            return CG_BAD_INDEX;
        tile->found.bits[i] = resolved->bits[codes[i]];
        tile->found.bits[i] |=
            resolved->since[codes[i]] > written[i] ? column->facts->before_since : 0;
    }
    return CG_SOUND;
}

/* Look up ids, and add the reasons that do not depend on the message. */
static int32_t find_ids(const struct cg_facts *facts, const struct cg_ids *ids, int64_t first,
                        int64_t count, struct found *found)
{
    int32_t fault = read_keys(ids, facts->table.secret, first, count, &found->keys);
    if (fault)
        return fault;
    find_facts(&facts->table, &found->keys, count, found->facts);
    add_reasons(facts, count, found);
    return CG_SOUND;
}

static int32_t judge_tile(struct tile *tile)
{
    const struct cg_facts *facts = tile->column->facts;
    struct found *found = &tile->found;
    int64_t space[TILE];
    const int64_t *written = written_by_id(tile, space);
    int32_t fault;
    if (tile->column->resolved.bits) {
        fault = judge_indices(tile, written);
    } else {
        fault = find_ids(facts, &tile->column->ids, tile->first, tile->count, found);
        if (!fault && facts->since.bits)
            add_later(facts, &facts->since, written, tile->count, facts->before_since, found);
        if (!fault)
            judge_nulls(facts, tile->count, found);
    }
    if (!fault)
        add_to_rows(tile);
    tile->count = 0;
    return fault;
}

/* ---- Columns ---- */

/* The items of list `at`. Returns whether they lie within the items of the column. */
static int32_t list_at(const struct cg_column *column, int64_t at, int64_t *first, int64_t *count)
{
    const struct cg_lists *lists = &column->lists;
    int64_t end;
    switch (lists->kind) {
    case CG_LIST32:
        *first = ((const int32_t *)lists->offsets)[at];
        *count = (int64_t)((const int32_t *)lists->offsets)[at + 1] - *first;
        break;
    case CG_LIST64:
        *first = ((const int64_t *)lists->offsets)[at];
        end = ((const int64_t *)lists->offsets)[at + 1];
        if (*first < 0 || end < *first)
            return 0;
        *count = end - *first;
        break;
    case CG_LIST_VIEW32:
        *first = ((const int32_t *)lists->offsets)[at];
        *count = ((const int32_t *)lists->sizes)[at];
        break;
    case CG_LIST_VIEW64:
        *first = ((const int64_t *)lists->offsets)[at];
        *count = ((const int64_t *)lists->sizes)[at];
        break;
    default:
        *first = lists->size * at;
        *count = lists->size;
    }
    return *first >= 0 && *count >= 0 && *first <= column->ids.length &&
           *count <= column->ids.length - *first;
}

/* Add the items first to first + count of one row to the tile. It is judged when it is full, or when
 * items do not go on from it. */
static int32_t add_items(struct tile *tile, int64_t first, int64_t count, int64_t row)
{
    while (count > 0) {
        if (tile->count == TILE || (tile->count && tile->first + tile->count != first)) {
            int32_t fault = judge_tile(tile);
            if (fault)
                return fault;
        }
        if (tile->count == 0)
            tile->first = first;
        int64_t taken = count < TILE - tile->count ? count : TILE - tile->count;
        for (int64_t i = 0; i < taken; i++)
            tile->row[tile->count + i] = row;
        tile->count += taken;
        first += taken;
        count -= taken;
    }
    return CG_SOUND;
}

static int32_t judge_lists(const struct cg_messages *messages, struct tile *tile, int64_t start,
                           int64_t rows, uint8_t *named)
{
    const struct cg_validity *valid = &tile->column->lists.valid;
    for (int64_t row = 0; row < rows; row++) {
        int64_t first, count;
        if (!list_at(tile->column, start + row, &first, &count))
            return CG_BAD_OFFSETS;
        if (valid->bits && !valid_at(valid, start + row)) {
            tile->bits[row] |= messages->null_list;
            continue;
        }
        named[row] |= count > 0;
        int32_t fault = add_items(tile, first, count, row);
        if (fault)
            return fault;
    }
    return tile->count ? judge_tile(tile) : CG_SOUND;
}

static int32_t judge_rows(struct tile *tile, int64_t start, int64_t rows, uint8_t *named)
{
    for (int64_t row = 0; row < rows; row += TILE) {
        tile->first = start + row;
        tile->first_row = row;
        tile->count = rows - row < TILE ? rows - row : TILE;
        int32_t fault = judge_tile(tile);
        if (fault)
            return fault;
    }
    memset(named, 1, (size_t)rows);
    return CG_SOUND;
}

/* Add the reasons that one column gives against rows start to start + rows. */
static int32_t judge_column(const struct cg_messages *messages, const struct cg_column *column,
                            int64_t start, int64_t rows, const int64_t *written, uint32_t *bits,
                            uint8_t *named)
{
    struct tile tile;
    uint8_t no_names[BLOCK] = {0};
    uint8_t *names = column->names_subjects ? named : no_names;
    tile.column = column;
    tile.written = written;
    tile.bits = bits;
    tile.count = tile.first = tile.first_row = 0;
    return has_lists(&tile) ? judge_lists(messages, &tile, start, rows, names)
                            : judge_rows(&tile, start, rows, names);
}

/* ---- Messages ---- */

ALWAYS_INLINE void
read_ticks(const struct cg_created *created, int64_t unit, int64_t start, int64_t rows,
           int64_t *written, uint32_t *bits)
{
    for (int64_t row = 0; row < rows; row++) {
        int64_t latest = ceil_micros(created->latest[start + row], unit);
        written[row] = floor_micros(created->earliest[start + row], unit);
        bits[row] |= latest > created->known_until ? created->after_snapshot : 0;
    }
}

/* Read when messages were written, and begin their bits. A null counts as written at the end of
 * time, so that nothing is compared with it. */
static void read_created(const struct cg_created *created, int64_t start, int64_t rows,
                         int64_t *written, uint32_t *bits)
{
    switch (created->unit) {
#define READ(UNIT) read_ticks(created, UNIT, start, rows, written, bits)
    case CG_SECONDS: READ(CG_SECONDS); break;
    case CG_MILLISECONDS: READ(CG_MILLISECONDS); break;
    case CG_MICROSECONDS: READ(CG_MICROSECONDS); break;
    default: READ(CG_NANOSECONDS); break;
#undef READ
    }
    for (int64_t row = 0; created->valid.bits && row < rows; row++) {
        if (!valid_at(&created->valid, start + row)) {
            written[row] = LATEST;
            bits[row] = (bits[row] & ~created->after_snapshot) | created->missing;
        }
    }
}

int32_t cg_judge(const struct cg_messages *messages, int64_t start, int64_t stop, uint32_t *bits,
                 int64_t *faulty_column)
{
    int64_t written[BLOCK];
    uint8_t named[BLOCK];
    for (int64_t first = start; first < stop; first += BLOCK) {
        int64_t rows = stop - first < BLOCK ? stop - first : BLOCK;
        uint32_t *against = bits + (first - start);
        memset(named, 0, sizeof named);
        read_created(&messages->created, first, rows, written, against);
        for (int64_t n = 0; n < messages->column_count; n++) {
            int32_t fault = judge_column(messages, &messages->columns[n], first, rows, written,
                                         against, named);
            if (fault) {
                *faulty_column = n;
                return fault;
            }
        }
        for (int64_t row = 0; row < rows; row++)
            against[row] |= named[row] ? 0 : messages->no_subject;
    }
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
