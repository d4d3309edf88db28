/* Ids of every kind, looked up: nothing is read beyond a buffer, and blocks do not matter. */
#include "input.h"

#define MOST_IDS 300

struct answers {
    uint64_t keys[2 * MOST_IDS];
    uint64_t hashes[MOST_IDS];
    uint32_t bits[MOST_IDS];
    int64_t since[MOST_IDS];
    int64_t ranks[MOST_IDS];
};

static int32_t ask(const struct cg_facts *facts, const struct cg_ids *ids, int64_t start,
                   int64_t stop, struct answers *answers)
{
    const struct cg_secret *secret = facts->table.secret;
    int32_t fault = cg_keys(ids, secret, start, stop, answers->keys + 2 * start);
    EXPECT(cg_hashes(ids, secret, start, stop, answers->hashes + start) == fault);
    EXPECT(cg_resolve(facts, ids, start, stop, answers->bits + start, answers->since + start,
                      answers->ranks + start) == fault);
    return fault;
}

static void check(const struct cg_facts *facts, const struct cg_ids *ids,
                  const struct answers *answers)
{
    int64_t nulls = 0;
    for (int64_t i = 0; i < ids->length; i++) {
        int is_null = ids->kind == CG_NULLS || (ids->valid.bits && !valid_at(&ids->valid, i));
        nulls += is_null;
        if (is_null)
            EXPECT(answers->bits[i] == facts->null && answers->ranks[i] == -1);
        EXPECT(answers->ranks[i] >= -1 && answers->ranks[i] < facts->table.ranked);
    }
    if (ids->valid.bits)
        EXPECT(cg_count_nulls(&ids->valid, ids->length) == nulls);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct answers whole, parts;
    struct input input = {.data = data, .left = size};
    int64_t kind = below(&input, CG_VIEWS + 1);
    int64_t length = below(&input, MOST_IDS), cut = below(&input, (uint64_t)length + 1);
    struct cg_facts facts = take_facts(&input, layout_of(&input, kind));
    struct cg_ids ids = take_ids(&input, kind, length);
    int32_t fault = ask(&facts, &ids, 0, length, &whole);
    int32_t first = ask(&facts, &ids, 0, cut, &parts);
    int32_t second = ask(&facts, &ids, cut, length, &parts);
    EXPECT((fault == CG_SOUND) == (first == CG_SOUND && second == CG_SOUND));
    if (fault == CG_SOUND) {
        size_t count = (size_t)length;
        check(&facts, &ids, &whole);
        EXPECT(memcmp(whole.keys, parts.keys, 16 * count) == 0);
        EXPECT(memcmp(whole.hashes, parts.hashes, 8 * count) == 0);
        EXPECT(memcmp(whole.bits, parts.bits, 4 * count) == 0);
        EXPECT(memcmp(whole.since, parts.since, 8 * count) == 0);
        EXPECT(memcmp(whole.ranks, parts.ranks, 8 * count) == 0);
    }
    release(&input);
    return 0;
}
