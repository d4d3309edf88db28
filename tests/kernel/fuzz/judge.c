/* Messages with every kind of column: nothing is read beyond a buffer, and blocks do not matter. */
#include "input.h"

#define MOST_ROWS 2300
#define MOST_COLUMNS 3

static void take_dictionary(struct input *input, struct cg_column *column)
{
    int64_t values = below(input, 20);
    column->resolved.length = values;
    column->resolved.bits = filled(input, (size_t)(values + 1) * 4);
    column->resolved.since = filled(input, (size_t)(values + 1) * 8);
    if (take(input, 1) % 8 == 0)
        return;
    uint8_t *codes = (uint8_t *)column->ids.values;
    int64_t bytes = column->ids.length * (int64_t)integer_bytes(column->ids.kind);
    for (int64_t n = 0; values && n < bytes; n++)
        codes[n] = n % (int64_t)integer_bytes(column->ids.kind) ? 0 : codes[n] % (uint8_t)values;
}

static void take_lists(struct input *input, struct cg_lists *lists, int64_t rows, int64_t items)
{
    size_t width = lists->kind == CG_LIST32 || lists->kind == CG_LIST_VIEW32 ? 4 : 8;
    int are_views = lists->kind == CG_LIST_VIEW32 || lists->kind == CG_LIST_VIEW64;
    if (lists->kind == CG_NO_LIST)
        return;
    lists->valid = take_validity(input, rows);
    if (lists->kind == CG_FIXED_LIST || rows == 0)
        return;
    lists->offsets = take_offsets(input, width, rows + !are_views, items);
    if (are_views)
        lists->sizes = take_offsets(input, width, rows, take(input, 1) % 4 ? 2 : items);
}

static struct cg_column take_column(struct input *input, int64_t rows)
{
    struct cg_column column;
    memset(&column, 0, sizeof column);
    int64_t kind = below(input, CG_VIEWS + 1), items = rows;
    int is_coded = kind >= CG_INT8 && kind <= CG_UINT64 && take(input, 1) % 2;
    struct cg_facts *facts = zeroed(input, sizeof *facts);
    *facts = take_facts(input, layout_of(input, kind));
    column.facts = facts;
    column.lists.kind = below(input, CG_FIXED_LIST + 1);
    column.lists.size = below(input, 4);
    if (column.lists.kind == CG_FIXED_LIST)
        items = rows * column.lists.size;
    else if (column.lists.kind != CG_NO_LIST)
        items = below(input, 400);
    column.names_subjects = column.lists.kind != CG_NO_LIST || take(input, 1) % 2;
    column.ids = take_ids(input, kind, items);
    take_lists(input, &column.lists, rows, items);
    if (is_coded)
        take_dictionary(input, &column);
    return column;
}

static struct cg_created take_created(struct input *input, int64_t rows)
{
    struct cg_created created;
    memset(&created, 0, sizeof created);
    created.earliest = filled(input, (size_t)rows * 8);
    created.latest = take(input, 1) % 2 ? created.earliest : filled(input, (size_t)rows * 8);
    created.unit = below(input, CG_NANOSECONDS + 1);
    created.valid = take_validity(input, rows);
    created.known_until = (int64_t)take(input, 8);
    created.after_snapshot = 1 << 12;
    created.missing = 1 << 11;
    return created;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint32_t whole[MOST_ROWS], parts[MOST_ROWS];
    struct input input = {.data = data, .left = size};
    int64_t rows = below(&input, take(&input, 1) == 255 ? MOST_ROWS : 200), at = -1;
    int64_t cut = below(&input, (uint64_t)rows + 1);
    struct cg_column columns[MOST_COLUMNS];
    struct cg_messages messages;
    memset(&messages, 0, sizeof messages);
    messages.columns = columns;
    messages.column_count = 1 + below(&input, MOST_COLUMNS);
    messages.no_subject = messages.null_list = 4;
    for (int64_t n = 0; n < messages.column_count; n++)
        columns[n] = take_column(&input, rows);
    messages.created = take_created(&input, rows);
    memset(whole, 0, sizeof whole);
    memset(parts, 0, sizeof parts);
    int32_t fault = cg_judge(&messages, 0, rows, whole, &at);
    EXPECT(fault == CG_SOUND || (at >= 0 && at < messages.column_count));
    int32_t first = cg_judge(&messages, 0, cut, parts, &at);
    int32_t second = cg_judge(&messages, cut, rows, parts + cut, &at);
    EXPECT((fault == CG_SOUND) == (first == CG_SOUND && second == CG_SOUND));
    if (fault == CG_SOUND)
        EXPECT(memcmp(whole, parts, (size_t)rows * 4) == 0);
    release(&input);
    return 0;
}
