/* The judgement of messages (docs/semantics.md, section 4), a tile of rows at a time. */
#include <string.h>

#include "facts.h"
#include "hashing.h"
#include "instants.h"

/* How many rows are judged by one column before the next one is looked at. */
#define BLOCK 2048

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
