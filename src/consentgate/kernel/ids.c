#include "ids.h"

#include "hashing.h"
#include "utf8.h"

#define WIDEN(TYPE, SIGNED)                                                                        \
    do {                                                                                           \
        const TYPE *from = (const TYPE *)ids->values + first;                                      \
        for (int64_t i = 0; i < count; i++)                                                        \
            values[i] = (uint64_t)(SIGNED)from[i];                                                 \
    } while (0)

void read_integers(const struct cg_ids *ids, int64_t first, int64_t count, uint64_t *values)
{
    switch (ids->kind) {
    case CG_INT8: WIDEN(int8_t, int64_t); break;
    case CG_INT16: WIDEN(int16_t, int64_t); break;
    case CG_INT32: WIDEN(int32_t, int64_t); break;
    case CG_UINT8: WIDEN(uint8_t, uint64_t); break;
    case CG_UINT16: WIDEN(uint16_t, uint64_t); break;
    case CG_UINT32: WIDEN(uint32_t, uint64_t); break;
    default: WIDEN(uint64_t, uint64_t); break;
    }
}

static void read_uuids(const struct cg_ids *ids, int64_t first, int64_t count, struct keys *keys)
{
    const uint8_t *from = (const uint8_t *)ids->values + 16 * first;
    for (int64_t i = 0; i < count; i++) {
        keys->a_space[i] = load_word(from + 16 * i);
        keys->b[i] = load_word(from + 16 * i + 8);
    }
}

/* A text, and the end of the buffer that holds it. */
struct text {
    const uint8_t *bytes;
    uint64_t length;
    const uint8_t *end;
};

/* Find a text between two offsets. Returns whether it lies within the data. */
static inline int between(const struct cg_ids *ids, int64_t start, int64_t stop, struct text *text)
{
    if (start < 0 || stop < start || stop > ids->data_bytes)
        return 0;
    text->bytes = ids->data + start;
    text->length = (uint64_t)(stop - start);
    text->end = ids->data + ids->data_bytes;
    return 1;
}

/* Find the text of a view. Returns whether it lies within its buffer. */
static inline int in_view(const struct cg_ids *ids, int64_t at, struct text *text)
{
    const uint8_t *view = (const uint8_t *)ids->values + 16 * at;
    struct {
        int32_t length;
        uint8_t prefix[4];
        int32_t buffer;
        int32_t offset;
    } cell;
    memcpy(&cell, view, sizeof cell);
    text->length = (uint64_t)cell.length;
    if (cell.length <= 12) {
        text->bytes = view + 4;
        text->end = view + 16;
        return cell.length >= 0;
    }
    if (cell.buffer < 0 || cell.buffer >= ids->buffer_count || cell.offset < 0)
        return 0;
    const struct cg_buffer *buffer = &ids->buffers[cell.buffer];
    if ((int64_t)cell.offset + cell.length > buffer->bytes)
        return 0;
    text->bytes = buffer->data + cell.offset;
    text->end = buffer->data + buffer->bytes;
    return memcmp(text->bytes, cell.prefix, sizeof cell.prefix) == 0;
}

static inline int locate(int64_t kind, const struct cg_ids *ids, int64_t at, struct text *text)
{
    if (kind == CG_VIEWS)
        return in_view(ids, at, text);
    if (kind == CG_TEXTS32) {
        const int32_t *offsets = ids->values;
        return between(ids, offsets[at], offsets[at + 1], text);
    }
    const int64_t *offsets = ids->values;
    return between(ids, offsets[at], offsets[at + 1], text);
}

static void mark_all(struct keys *keys, int64_t count, uint64_t null)
{
    keys->are_marked = 1;
    for (int64_t i = 0; i < count; i++) {
        keys->known[i] = ~null;
        keys->null[i] = null;
    }
}

static inline int is_null(const struct cg_ids *ids, int64_t at)
{
    return ids->valid.bits && !valid_at(&ids->valid, at);
}

ALWAYS_INLINE int32_t
read_texts(int64_t kind, const struct cg_ids *ids, const struct cg_secret *secret, int64_t first,
           int64_t count, struct keys *keys)
{
    struct blanks blanks;
    sum_blanks(secret->words, &blanks);
    for (int64_t i = 0; i < count; i++) {
        struct text text;
        uint64_t high_bits;
        if (kind == CG_VIEWS && is_null(ids, first + i)) { /* a null's view may hold anything */
            keys->a_space[i] = keys->b[i] = keys->hash[i] = 0;
            continue;
        }
        if (!locate(kind, ids, first + i, &text))
            return CG_BAD_OFFSETS;
        int is_long = text.length > CG_LONGEST_TEXT;
        struct fingerprint print = fingerprint_text(
            text.bytes, is_long ? CG_LONGEST_TEXT : text.length, text.end, secret, &blanks,
            &high_bits);
        keys->a_space[i] = keys->hash[i] = print.a;
        keys->b[i] = print.b;
        if (is_long) {
            if (!keys->are_marked)
                mark_all(keys, count, 0);
            keys->known[i] = 0;
        }
        if ((high_bits || is_long) && !is_null(ids, first + i) &&
            !is_utf8(text.bytes, text.length))
            return CG_NOT_UTF8;
    }
    return CG_SOUND;
}

/* Mark ids that are null. */
static void mark_nulls(const struct cg_validity *valid, int64_t first, int64_t count,
                       struct keys *keys)
{
    for (int64_t i = 0; i < count; i++) {
        uint64_t null = valid_at(valid, first + i) - 1;
        keys->null[i] = null;
        keys->known[i] &= ~null;
    }
}

static void hash_integers(struct keys *keys, int64_t count, uint64_t odd)
{
    for (int64_t i = 0; i < count; i++)
        keys->hash[i] = mix(keys->a[i], odd);
}

int32_t read_keys(const struct cg_ids *ids, const struct cg_secret *secret, int64_t first,
                  int64_t count, struct keys *keys)
{
    int32_t fault = CG_SOUND;
    keys->a = keys->a_space;
    keys->are_marked = 0;
    if (ids->valid.bits || ids->kind == CG_NULLS)
        mark_all(keys, count, ids->kind == CG_NULLS ? UINT64_MAX : 0);
    switch (ids->kind) {
    case CG_NULLS:
        for (int64_t i = 0; i < count; i++)
            keys->a_space[i] = keys->b[i] = keys->hash[i] = 0;
        break;
    case CG_UUIDS:
        read_uuids(ids, first, count, keys);
        for (int64_t i = 0; i < count; i++)
            keys->hash[i] = mix_pair(keys->a[i], keys->b[i], secret->odd);
        break;
    case CG_TEXTS32: fault = read_texts(CG_TEXTS32, ids, secret, first, count, keys); break;
    case CG_TEXTS64: fault = read_texts(CG_TEXTS64, ids, secret, first, count, keys); break;
    case CG_VIEWS: fault = read_texts(CG_VIEWS, ids, secret, first, count, keys); break;
    case CG_INT64:
    case CG_UINT64:
        keys->a = (const uint64_t *)ids->values + first;
        hash_integers(keys, count, secret->odd);
        break;
    default:
        read_integers(ids, first, count, keys->a_space);
        hash_integers(keys, count, secret->odd);
    }
    if (ids->valid.bits)
        mark_nulls(&ids->valid, first, count, keys);
    return fault;
}

int32_t cg_keys(const struct cg_ids *ids, const struct cg_secret *secret, int64_t start,
                int64_t stop, uint64_t *keys)
{
    struct keys tile;
    for (int64_t first = start; first < stop; first += TILE) {
        int64_t count = stop - first < TILE ? stop - first : TILE;
        int32_t fault = read_keys(ids, secret, first, count, &tile);
        if (fault)
            return fault;
        int is_pair = ids->kind >= CG_UUIDS;
        for (int64_t i = 0; i < count; i++) {
            keys[2 * (first - start + i)] = tile.a[i];
            keys[2 * (first - start + i) + 1] = is_pair ? tile.b[i] : 0;
        }
    }
    return CG_SOUND;
}

int32_t cg_hashes(const struct cg_ids *ids, const struct cg_secret *secret, int64_t start,
                  int64_t stop, uint64_t *hashes)
{
    struct keys tile;
    for (int64_t first = start; first < stop; first += TILE) {
        int64_t count = stop - first < TILE ? stop - first : TILE;
        int32_t fault = read_keys(ids, secret, first, count, &tile);
        if (fault)
            return fault;
        memcpy(hashes + (first - start), tile.hash, (size_t)count * sizeof *hashes);
    }
    return CG_SOUND;
}

int64_t cg_count_nulls(const struct cg_validity *valid, int64_t length)
{
    int64_t present = 0, at = 0;
    for (; at < length && (valid->offset + at) % 8; at++)
        present += (int64_t)valid_at(valid, at);
    for (; length - at >= 64; at += 64)
        present += __builtin_popcountll(load_word(valid->bits + (valid->offset + at) / 8));
    for (; at < length; at++)
        present += (int64_t)valid_at(valid, at);
    return length - present;
}
