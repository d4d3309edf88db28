/* The judgement of messages (docs/semantics.md, section 4), a tile of rows at a time. */
#include "hashing.h"
#include "ids.h"
#include "table.h"

#define EARLIEST INT64_MIN
#define LATEST INT64_MAX

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

/* The exact instant of an entry whose step is known. */
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
    if (step == 0 || slot < 0)
        return EARLIEST;
    return exact_instant(instants, step, rank_of(&facts->table, slot), facts->table.ranked);
}

static int64_t slot_of(const struct cg_facts *facts, const struct found *found, int64_t i)
{
    if (found->facts[i] == 0)
        return -1;
    return find_slot(&facts->table, found->keys.a[i], found->keys.b[i], found->keys.hash[i]);
}

/* Add `reason` where an instant is later than a time, of which there is one for each id. Where both
 * lie in the same step, the rest of the instant decides. */
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

static inline void add_expired(const struct cg_facts *facts, int64_t count, struct found *found)
{
    int64_t past[TILE];
    for (int64_t i = 0; i < count; i++)
        past[i] = facts->past;
    add_later(facts, &facts->until, past, count, facts->after_until, found);
}

/* Look up ids first to first + count, and add the reasons that do not depend on the message. */
static inline int32_t find_ids(const struct cg_facts *facts, const struct cg_ids *ids,
                               int64_t first, int64_t count, struct found *found)
{
    int32_t fault = read_keys(ids, facts->table.secret, first, count, &found->keys);
    if (fault)
        return fault;
    prefetch_lines(&facts->table, &found->keys, count);
    find_facts(&facts->table, &found->keys, count, found->facts);
    for (int64_t i = 0; i < count; i++)
        found->bits[i] = stored_reasons(facts, found->facts[i]);
    if (facts->until.bits)
        add_expired(facts, count, found);
    return CG_SOUND;
}

/* A null has one reason, whatever is in its place. */
static inline void judge_nulls(const struct cg_facts *facts, int64_t count, struct found *found)
{
    for (int64_t i = 0; i < count; i++) {
        uint32_t null = (uint32_t)found->keys.null[i];
        found->bits[i] = (found->bits[i] & ~null) | (facts->null & null);
    }
}

/* ---- Dictionaries: reasons that were worked out for each value before ---- */

static int32_t judge_resolved(const struct cg_column *column, int64_t first, int64_t count,
                              const int64_t *written, struct found *found)
{
    const struct cg_validity *valid = &column->ids.valid;
    int64_t null = column->resolved.length;
    read_integers(&column->ids, first, count, found->keys.a);
    for (int64_t i = 0; i < count; i++) {
        uint64_t code = found->keys.a[i];
        if (valid->bits && !valid_at(valid, first + i))
            code = (uint64_t)null;
        else if (code >= (uint64_t)null)
            return CG_BAD_INDEX;
        uint32_t late = column->resolved.since[code] > written[i] ? column->facts->before_since : 0;
        found->bits[i] = column->resolved.bits[code] | late;
    }
    return CG_SOUND;
}

/* ---- Columns ---- */

/* The reasons against ids first to first + count, for messages written at `written`. */
static int32_t judge_ids(const struct cg_column *column, int64_t first, int64_t count,
                         const int64_t *written, struct found *found)
{
    const struct cg_facts *facts = column->facts;
    if (column->resolved.bits)
        return judge_resolved(column, first, count, written, found);
    int32_t fault = find_ids(facts, &column->ids, first, count, found);
    if (fault)
        return fault;
    if (facts->since.bits)
        add_later(facts, &facts->since, written, count, facts->before_since, found);
    judge_nulls(facts, count, found);
    return CG_SOUND;
}

/* Items of lists that lie one after the other, and the row of each. */
struct run {
    int64_t first;
    int64_t count;
    int64_t row[TILE];
};

static int32_t judge_run(const struct cg_column *column, struct run *run, const int64_t *written,
                         struct found *found, uint32_t *bits)
{
    int64_t written_by_item[TILE];
    for (int64_t i = 0; i < run->count; i++)
        written_by_item[i] = written[run->row[i]];
    int32_t fault = judge_ids(column, run->first, run->count, written_by_item, found);
    if (fault)
        return fault;
    for (int64_t i = 0; i < run->count; i++)
        bits[run->row[i]] |= found->bits[i];
    run->count = 0;
    return CG_SOUND;
}

/* The items of list `at`. Returns whether they lie within the items of the column. */
static int32_t list_at(const struct cg_column *column, int64_t at, int64_t *first, int64_t *count)
{
    const struct cg_lists *lists = &column->lists;
    switch (lists->kind) {
    case CG_LIST32:
        *first = ((const int32_t *)lists->offsets)[at];
        *count = (int64_t)((const int32_t *)lists->offsets)[at + 1] - *first;
        break;
    case CG_LIST64: {
        *first = ((const int64_t *)lists->offsets)[at];
        int64_t end = ((const int64_t *)lists->offsets)[at + 1];
        if (*first < 0 || end < *first)
            return 0;
        *count = end - *first;
        break;
    }
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

static int32_t judge_lists(const struct cg_messages *messages, const struct cg_column *column,
                           int64_t start, int64_t rows, const int64_t *written,
                           struct found *found, uint32_t *bits, uint32_t *named)
{
    const struct cg_validity *valid = &column->lists.valid;
    struct run run;
    int32_t fault;
    run.first = run.count = 0;
    for (int64_t row = 0; row < rows; row++) {
        int64_t first, count;
        if (!list_at(column, start + row, &first, &count))
            return CG_BAD_OFFSETS;
        if (valid->bits && !valid_at(valid, start + row)) {
            bits[row] |= messages->null_list;
            continue;
        }
        named[row] |= count > 0;
        while (count > 0) {
            if (run.count == TILE || (run.count && run.first + run.count != first)) {
                if ((fault = judge_run(column, &run, written, found, bits)))
                    return fault;
            }
            if (run.count == 0)
                run.first = first;
            int64_t taken = count < TILE - run.count ? count : TILE - run.count;
            for (int64_t i = 0; i < taken; i++)
                run.row[run.count + i] = row;
            run.count += taken;
            first += taken;
            count -= taken;
        }
    }
    return run.count ? judge_run(column, &run, written, found, bits) : CG_SOUND;
}

static int32_t judge_column(const struct cg_messages *messages, const struct cg_column *column,
                            int64_t start, int64_t rows, const int64_t *written, uint32_t *bits,
                            uint32_t *named)
{
    struct found found;
    uint32_t no_names[TILE] = {0};
    uint32_t *names = column->names_subjects ? named : no_names;
    if (column->lists.kind != CG_NO_LIST)
        return judge_lists(messages, column, start, rows, written, &found, bits, names);
    int32_t fault = judge_ids(column, start, rows, written, &found);
    if (fault)
        return fault;
    for (int64_t row = 0; row < rows; row++) {
        bits[row] |= found.bits[row];
        names[row] = 1;
    }
    return CG_SOUND;
}

/* ---- Messages ---- */

static inline int64_t floor_micros(int64_t ticks, int64_t unit)
{
    if (unit == CG_MICROSECONDS)
        return ticks;
    if (unit == CG_NANOSECONDS)
        return ticks / 1000 - (ticks % 1000 < 0);
    int64_t factor = unit == CG_SECONDS ? 1000000 : 1000;
    if (ticks > LATEST / factor)
        return LATEST;
    if (ticks < EARLIEST / factor)
        return EARLIEST;
    return ticks * factor;
}

static inline int64_t ceil_micros(int64_t ticks, int64_t unit)
{
    int64_t micros = floor_micros(ticks, unit);
    if (unit == CG_NANOSECONDS)
        return micros + (ticks % 1000 != 0);
    return micros == EARLIEST ? EARLIEST + 1 : micros;
}

/* Read when messages were written, and begin their bits. A null counts as written at the end of
 * time, so that nothing is compared with it. */
static void read_created(const struct cg_created *created, int64_t start, int64_t rows,
                         int64_t *written, uint32_t *bits)
{
    for (int64_t row = 0; row < rows; row++) {
        int64_t latest = ceil_micros(created->latest[start + row], created->unit);
        written[row] = floor_micros(created->earliest[start + row], created->unit);
        bits[row] |= latest > created->known_until ? created->after_snapshot : 0;
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
    for (int64_t first = start; first < stop; first += TILE) {
        int64_t rows = stop - first < TILE ? stop - first : TILE;
        int64_t written[TILE];
        uint32_t named[TILE] = {0};
        uint32_t *against = bits + (first - start);
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
                ranks[at + i] = slot < 0 ? -1 : (int64_t)rank_of(&facts->table, slot);
        }
    }
    return CG_SOUND;
}

int64_t cg_entries(const struct cg_facts *facts, uint64_t first_line, uint64_t end_line,
                   uint32_t *bits, int64_t space)
{
    const struct cg_table *table = &facts->table;
    int64_t count = 0, places = places_of(table->layout);
    uint64_t rank = table->ranks[first_line / RANK_LINES];
    for (uint64_t line = first_line; line < end_line; line++) {
        const uint64_t *words = table->lines + LINE_WORDS * line;
        for (int64_t place = 0; place < places; place++) {
            uint64_t word = facts_at(table->layout, words, place);
            if (word == 0 || count == space)
                break;
            int64_t step = step_of(&facts->until, word), reached;
            bits[count] = stored_reasons(facts, word);
            if (facts->until.bits && step >= (reached = reached_by(&facts->until, facts->past)) &&
                (step > reached ||
                 exact_instant(&facts->until, step, rank, table->ranked) > facts->past))
                bits[count] |= facts->after_until;
            count++;
            rank++;
        }
    }
    return count;
}
