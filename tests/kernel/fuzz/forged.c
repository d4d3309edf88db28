/* Tables as a forged file may hold them: nothing is read beyond them, and every search ends. */
#include "input.h"

#define IDS 140

/* Ids of which some are those that the table holds. */
static struct cg_ids ids_of(struct input *input, const struct cg_table *table)
{
    struct cg_ids ids;
    memset(&ids, 0, sizeof ids);
    int has_pairs = table->layout == CG_UUID_LINES;
    ids.kind = has_pairs ? CG_UUIDS : CG_UINT64;
    ids.length = IDS;
    uint64_t *values = filled(input, IDS * (has_pairs ? 16 : 8));
    for (uint64_t n = 0; n < IDS && n < 2 * table->count; n++) {
        const uint64_t *line = table->lines + LINE_WORDS * (n % table->count);
        memcpy(values + n * (has_pairs ? 2 : 1), line, 8);
        if (has_pairs)
            memcpy(values + 2 * n + 1, line + 2, 8);
    }
    ids.values = values;
    return ids;
}

static void check_slots(const struct cg_table *table)
{
    int64_t places = places_of(table->layout);
    for (int64_t slot = 0; slot < (int64_t)table->count * places; slot++)
        (void)rank_of(table, slot);
    for (uint64_t n = 0; n < table->count; n++) {
        const uint64_t *line = table->lines + LINE_WORDS * n;
        int64_t found = find_slot(table, tag_at(line, 0), line[0], line[7]);
        EXPECT(found >= -1 && found < (int64_t)table->count * places);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {.data = data, .left = size};
    struct cg_facts facts = take_facts(&input, below(&input, 3));
    const struct cg_table *table = &facts.table;
    struct cg_ids ids = ids_of(&input, table);
    uint32_t *bits = zeroed(&input, IDS * 4);
    int64_t *since = zeroed(&input, IDS * 8), *ranks = zeroed(&input, IDS * 8);
    EXPECT(cg_resolve(&facts, &ids, 0, IDS, bits, since, ranks) == CG_SOUND);
    for (int64_t n = 0; n < IDS; n++)
        EXPECT(ranks[n] >= -1 && ranks[n] < table->ranked);
    check_slots(table);
    int64_t space = below(&input, table->count * (uint64_t)places_of(table->layout) + 1);
    uint32_t *entries = zeroed(&input, (size_t)space * 4);
    EXPECT(cg_entries(&facts, 0, table->count, entries, space) <= space);
    EXPECT(cg_count(table, 0, table->count) >= 0);
    release(&input);
    return 0;
}
