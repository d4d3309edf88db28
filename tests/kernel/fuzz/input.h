/* Turns the fuzzer's bytes into what Python hands to the kernel.
 *
 * Every buffer is allocated with its exact size, so that the sanitizer notices any read beyond it.
 * All buffers are as long as their lengths say, because Python checks that. What they hold may be
 * anything.
 */
#ifndef CONSENTGATE_FUZZ_INPUT_H
#define CONSENTGATE_FUZZ_INPUT_H

#include <stdlib.h>
#include <string.h>

#include "hashing.h"
#include "ids.h"
#include "kernel.h"
#include "table.h"

#define MOST_BUFFERS 64
#define EXPECT(IT) ((IT) ? (void)0 : abort())

struct input {
    const uint8_t *data;
    size_t left;
    void *held[MOST_BUFFERS]; /* to be freed */
    int held_count;
};

static inline uint64_t take(struct input *input, size_t bytes)
{
    uint64_t value = 0;
    size_t taken = bytes < input->left ? bytes : input->left;
    memcpy(&value, input->data, taken);
    input->data += taken;
    input->left -= taken;
    return value;
}

static inline int64_t below(struct input *input, uint64_t end)
{
    return (int64_t)(take(input, 2) % end);
}

static inline void *zeroed(struct input *input, size_t size)
{
    void *buffer = malloc(size);
    EXPECT(buffer && input->held_count < MOST_BUFFERS);
    memset(buffer, 0, size);
    input->held[input->held_count++] = buffer;
    return buffer;
}

/* A buffer of the fuzzer's bytes. If there are not enough of them, they are repeated. */
static inline void *filled(struct input *input, size_t size)
{
    uint8_t *buffer = zeroed(input, size);
    size_t taken = size < input->left ? size : input->left;
    memcpy(buffer, input->data, taken);
    for (size_t at = taken; taken && at < size; at++)
        buffer[at] = buffer[at - taken];
    input->data += taken;
    input->left -= taken;
    return buffer;
}

static inline void release(struct input *input)
{
    for (int n = 0; n < input->held_count; n++)
        free(input->held[n]);
}

static inline struct cg_validity take_validity(struct input *input, int64_t length)
{
    struct cg_validity valid = {NULL, 0};
    if (length == 0 || take(input, 1) % 2)
        return valid;
    valid.offset = below(input, 20);
    valid.bits = filled(input, (size_t)((valid.offset + length + 7) / 8));
    return valid;
}

/* ---- Ids ---- */

static inline const struct cg_secret *secret(void)
{
    static struct cg_secret made;
    if (!made.words) {
        size_t words = CG_LONGEST_TEXT / 8 + 4; /* as many as index/secret.py makes */
        uint64_t *stream = malloc(words * 8), state = 1;
        EXPECT(stream != NULL);
        for (size_t n = 0; n < words; n++)
            stream[n] = state = mix(state + n, UINT64_C(0xD1342543DE82EF95));
        made.odd = stream[7] | 1;
        memcpy(made.finish, stream + 9, sizeof made.finish);
        made.words = stream;
    }
    return &made;
}

static inline size_t integer_bytes(int64_t kind)
{
    return (size_t)1 << ((kind - CG_INT8) % 4);
}

/* How many bytes of text there are: sometimes more than the longest id has. */
static inline size_t take_text_bytes(struct input *input)
{
    uint64_t chosen = take(input, 1);
    return chosen == 255 ? CG_LONGEST_TEXT + (size_t)take(input, 1) : (size_t)chosen;
}

/* Offsets that are mostly in order and within `end`. */
static inline void order_offsets(void *offsets, size_t width, int64_t count, int64_t end)
{
    int64_t reached = 0;
    for (int64_t n = 0; n < count; n++) {
        uint8_t step = ((uint8_t *)offsets)[(size_t)n * width];
        reached += step % 64 < 62 ? step % 23 : end - reached;
        reached = reached < end ? reached : end;
        if (width == 4)
            ((int32_t *)offsets)[n] = (int32_t)reached;
        else
            ((int64_t *)offsets)[n] = reached;
    }
}

static inline void *take_offsets(struct input *input, size_t width, int64_t count, int64_t end)
{
    int is_hostile = take(input, 1) % 8 == 0;
    void *offsets = filled(input, (size_t)count * width);
    if (!is_hostile)
        order_offsets(offsets, width, count, end);
    return offsets;
}

/* Let most views point into their buffers. */
static inline void tame_views(struct input *input, struct cg_ids *ids)
{
    uint8_t *views = (uint8_t *)ids->values;
    if (take(input, 1) % 8 == 0)
        return;
    for (int64_t n = 0; n < ids->length; n++) {
        uint8_t *view = views + 16 * n;
        int32_t length = view[0] % 40, at = view[1] % 4, offset = view[2];
        if (length > 12 && at < ids->buffer_count && offset + length <= ids->buffers[at].bytes)
            memcpy(view + 4, ids->buffers[at].data + offset, 4);
        memcpy(view, &length, 4);
        if (length > 12) {
            memcpy(view + 8, &at, 4);
            memcpy(view + 12, &offset, 4);
        }
    }
}

static inline void take_views(struct input *input, struct cg_ids *ids)
{
    ids->buffer_count = below(input, 4);
    struct cg_buffer *buffers = zeroed(input, (size_t)ids->buffer_count * sizeof *buffers);
    for (int64_t n = 0; n < ids->buffer_count; n++) {
        size_t size = take_text_bytes(input);
        buffers[n].data = filled(input, size);
        buffers[n].bytes = (int64_t)size;
    }
    ids->buffers = buffers;
    ids->values = filled(input, (size_t)ids->length * 16);
    tame_views(input, ids);
}

static inline void take_values(struct input *input, struct cg_ids *ids)
{
    size_t length = (size_t)ids->length;
    if (ids->kind == CG_VIEWS) {
        take_views(input, ids);
    } else if (ids->kind == CG_TEXTS32 || ids->kind == CG_TEXTS64) {
        size_t size = take_text_bytes(input);
        ids->data = filled(input, size);
        ids->data_bytes = (int64_t)size;
        size_t width = ids->kind == CG_TEXTS32 ? 4 : 8;
        ids->values = take_offsets(input, width, ids->length + 1, ids->data_bytes);
    } else if (ids->kind == CG_UUIDS) {
        ids->values = filled(input, length * 16);
    } else if (ids->kind != CG_NULLS) {
        ids->values = filled(input, length * integer_bytes(ids->kind));
    }
}

static inline struct cg_ids take_ids(struct input *input, int64_t kind, int64_t length)
{
    struct cg_ids ids;
    memset(&ids, 0, sizeof ids);
    ids.kind = kind;
    ids.length = length;
    if (length)
        take_values(input, &ids);
    if (kind != CG_NULLS)
        ids.valid = take_validity(input, length);
    return ids;
}

static inline int64_t layout_of(struct input *input, int64_t kind)
{
    if (kind == CG_NULLS)
        return below(input, 3);
    return kind < CG_UUIDS ? CG_INTEGER_LINES : kind == CG_UUIDS ? CG_UUID_LINES : CG_TEXT_LINES;
}

/* ---- Facts, as a forged file may hold them ---- */

static inline struct cg_instants take_instants(struct input *input, int64_t first_bit, int64_t bits,
                                               int64_t entries)
{
    struct cg_instants instants;
    memset(&instants, 0, sizeof instants);
    instants.bits = bits;
    instants.first_bit = first_bit;
    instants.shift = 2 + below(input, 62);
    instants.base = (int64_t)take(input, 8) >> 1; /* at most 2**62 */
    int64_t shift = instants.shift;
    instants.rest_bytes = shift <= 8 ? 1 : shift <= 16 ? 2 : shift <= 32 ? 4 : 8;
    instants.rests = filled(input, (size_t)(entries * instants.rest_bytes));
    return instants;
}

static inline struct cg_table take_table(struct input *input, int64_t layout)
{
    struct cg_table table;
    memset(&table, 0, sizeof table);
    table.layout = layout;
    table.count = 1 + (uint64_t)below(input, 40);
    table.longest = (uint64_t)below(input, table.count);
    table.ranked = below(input, table.count * (uint64_t)places_of(layout) + 1);
    table.refuses_top_bit = below(input, 2);
    table.lines = filled(input, table.count * LINE_WORDS * 8);
    table.ranks = filled(input, (table.count + RANK_LINES - 1) / RANK_LINES * 8);
    table.secret = secret();
    return table;
}

static inline struct cg_facts take_facts(struct input *input, int64_t layout)
{
    struct cg_facts facts;
    memset(&facts, 0, sizeof facts);
    int64_t reason_bits = 2 + below(input, 26), instants = below(input, 4);
    int64_t bits = (64 - reason_bits) / (instants == 3 ? 2 : 1), first_bit = reason_bits;
    facts.table = take_table(input, layout);
    facts.reason_mask = (UINT64_C(1) << reason_bits) - 1;
    facts.first_reason = below(input, 4);
    facts.unknown = 8;
    facts.null = 4;
    facts.before_since = 1 << 10;
    facts.after_until = 1 << 7;
    facts.past = (int64_t)take(input, 8);
    if (instants & 1) {
        facts.since = take_instants(input, first_bit, bits, facts.table.ranked);
        first_bit += bits;
    }
    if (instants & 2)
        facts.until = take_instants(input, first_bit, bits, facts.table.ranked);
    return facts;
}

#endif
