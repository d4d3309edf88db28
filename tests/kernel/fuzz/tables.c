/* Tables filled by several threads' spans: all that was put in is found, and nothing else. */
#include "input.h"

#define MOST_ROWS 160

struct rows {
    int64_t layout;
    int64_t count;
    uint64_t a[MOST_ROWS];
    uint64_t b[MOST_ROWS];
    uint64_t facts[MOST_ROWS];
    uint64_t *keys;
};

static uint64_t hash_of_row(const struct rows *rows, uint64_t a, uint64_t b)
{
    if (rows->layout == CG_INTEGER_LINES)
        return mix(a, secret()->odd);
    return rows->layout == CG_TEXT_LINES ? a : mix_pair(a, b, secret()->odd);
}

static int64_t words_of(const struct rows *rows)
{
    return rows->layout == CG_INTEGER_LINES ? 1 : 2;
}

/* Keys with many repeats, of which many lie in the same lines. */
static void take_rows(struct input *input, struct rows *rows, int64_t layout)
{
    rows->layout = layout;
    rows->count = below(input, MOST_ROWS);
    int64_t words = words_of(rows);
    rows->keys = zeroed(input, (size_t)(rows->count * words) * 8);
    uint64_t spread = take(input, 1);
    for (int64_t row = 0; row < rows->count; row++) {
        uint64_t number = input->left ? take(input, 1 + spread % 2) : (uint64_t)row;
        uint64_t a = layout == CG_TEXT_LINES ? (number % 5) << 61 | number : number;
        rows->a[row] = a;
        /* Text is told apart by all of b, but by the lower bits of a only. */
        rows->b[row] = layout == CG_INTEGER_LINES ? 0 : mix(a + 1, UINT64_C(0x9E3779B97F4A7C15));
        rows->facts[row] = number % 11 == 3 ? 0 : number << 8 | 1;
        rows->keys[words * row] = rows->a[row];
        if (words == 2)
            rows->keys[words * row + 1] = rows->b[row];
    }
}

static int64_t first_of(const struct rows *rows, int64_t row)
{
    for (int64_t n = 0; n < row; n++)
        if (rows->a[n] == rows->a[row] && rows->b[n] == rows->b[row])
            return n;
    return row;
}

static void fill_all(struct input *input, const struct cg_table *table, const struct rows *rows,
                     int64_t *first, int64_t counts[3])
{
    int64_t *spilled = zeroed(input, (size_t)rows->count * 8), *all = zeroed(input, MOST_ROWS * 8);
    int64_t spilled_count = 0, own[3], at_once = 1 + below(input, MOST_ROWS);
    uint64_t span = RANK_LINES * (1 + (uint64_t)below(input, 4));
    for (uint64_t from = 0; from < table->count; from += span) {
        uint64_t to = table->count - from < span ? table->count : from + span;
        for (int64_t start = 0; start < rows->count; start += at_once) {
            int64_t stop = rows->count - start < at_once ? rows->count : start + at_once;
            EXPECT(cg_fill(table, rows->keys + words_of(rows) * start, rows->facts, start, stop,
                           from, to, first, spilled, own) == CG_SOUND);
            memcpy(all + spilled_count, spilled, (size_t)own[0] * 8);
            spilled_count += own[0];
            counts[1] += own[1];
            counts[2] = own[2] > counts[2] ? own[2] : counts[2];
        }
    }
    int64_t words = words_of(rows);
    uint64_t *keys = zeroed(input, (size_t)(spilled_count * words) * 8);
    for (int64_t n = 0; n < spilled_count; n++)
        memcpy(keys + words * n, rows->keys + words * all[n], (size_t)words * 8);
    EXPECT(cg_fill_spilled(table, keys, all, spilled_count, first, counts) == CG_SOUND);
}

static void check_filled(const struct cg_table *table, const struct rows *rows,
                         const int64_t *first, int64_t repeats)
{
    int64_t distinct = 0, held = 0;
    for (int64_t row = 0; row < rows->count; row++) {
        if (rows->facts[row] == 0)
            continue;
        held++;
        distinct += first_of(rows, row) == row;
        int64_t found = first[row];
        EXPECT(rows->a[found] == rows->a[row] && rows->b[found] == rows->b[row]);
        EXPECT(first[found] == found);
    }
    EXPECT(repeats == held - distinct);
    EXPECT(cg_count(table, 0, table->count) == distinct);
}

static void check_found(const struct cg_table *table, const struct rows *rows, uint64_t a,
                        uint64_t b, uint64_t wanted, const uint64_t *by_rank)
{
    struct keys keys;
    uint64_t facts[TILE];
    keys.a_space[0] = a;
    keys.a = keys.a_space;
    keys.b[0] = b;
    keys.hash[0] = hash_of_row(rows, a, b);
    keys.known[0] = UINT64_MAX;
    keys.null[0] = 0;
    keys.are_marked = 0;
    find_facts(table, &keys, 1, facts);
    EXPECT(facts[0] == wanted);
    int64_t slot = find_slot(table, a, b, keys.hash[0]);
    EXPECT((slot < 0) == (wanted == 0));
    if (slot < 0)
        return;
    uint64_t rank = rank_of(table, slot);
    EXPECT(rank < (uint64_t)table->ranked && by_rank[rank] == wanted);
}

static void settle(struct input *input, struct cg_table *table, const struct rows *rows)
{
    uint64_t *ranks = zeroed(input, (table->count + RANK_LINES - 1) / RANK_LINES * 8);
    table->ranked = cg_count(table, 0, table->count);
    uint64_t *by_rank = zeroed(input, (size_t)table->ranked * 8), cut;
    struct cg_moved moved = {rows->facts, by_rank, 8};
    cut = (uint64_t)below(input, table->count + 1) / RANK_LINES * RANK_LINES;
    uint64_t before = (uint64_t)cg_count(table, 0, cut);
    EXPECT(cg_settle(table, rows->facts, rows->count, 0, cut, 0, ranks, &moved, 1) == CG_SOUND);
    EXPECT(cg_settle(table, rows->facts, rows->count, cut, table->count, before, ranks, &moved,
                     1) == CG_SOUND);
    table->ranks = ranks;
    for (int64_t row = 0; row < rows->count; row++) {
        check_found(table, rows, rows->a[row], rows->b[row], rows->facts[row], by_rank);
        check_found(table, rows, rows->a[row] ^ (UINT64_C(1) << 33), rows->b[row], 0, by_rank);
        if (rows->layout != CG_INTEGER_LINES)
            check_found(table, rows, rows->a[row], rows->b[row] ^ 1, 0, by_rank);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct rows rows;
    struct input input = {.data = data, .left = size};
    int64_t counts[3] = {0, 0, 0};
    take_rows(&input, &rows, below(&input, 3));
    int64_t places = places_of(rows.layout);
    struct cg_table table;
    memset(&table, 0, sizeof table);
    table.layout = rows.layout;
    table.count = 1 + (uint64_t)(rows.count / places) + (uint64_t)below(&input, 60);
    table.lines = zeroed(&input, table.count * LINE_WORDS * 8);
    table.secret = secret();
    int64_t *first = zeroed(&input, (size_t)rows.count * 8);
    fill_all(&input, &table, &rows, first, counts);
    check_filled(&table, &rows, first, counts[1]);
    table.longest = (uint64_t)counts[2];
    EXPECT(table.longest < table.count);
    settle(&input, &table, &rows);
    release(&input);
    return 0;
}
