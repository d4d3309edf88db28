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
        keys->a[i] = load_word(from + 16 * i);
        keys->b[i] = load_word(from + 16 * i + 8);
    }
}

/* Find the bytes of text `at`. Returns whether they lie within their buffer. */
static inline int32_t locate_text(const struct cg_ids *ids, int64_t at, const uint8_t **text,
                                  uint64_t *length, const uint8_t **end)
{
    int64_t start, stop;
    if (ids->kind == CG_VIEWS) {
        const uint8_t *view = (const uint8_t *)ids->values + 16 * at;
        int32_t parts[4];
        memcpy(parts, view, sizeof parts);
        if (parts[0] < 0)
            return 0;
        *length = (uint64_t)parts[0];
        if (parts[0] <= 12) {
            *text = view + 4;
            *end = view + 16;
            return 1;
        }
        if (parts[2] < 0 || parts[2] >= ids->buffer_count || parts[3] < 0)
            return 0;
        const struct cg_buffer *buffer = &ids->buffers[parts[2]];
        if ((int64_t)parts[3] + parts[0] > buffer->bytes)
            return 0;
        *text = buffer->data + parts[3];
        *end = buffer->data + buffer->bytes;
        return memcmp(*text, view + 4, 4) == 0;
    }
    if (ids->kind == CG_TEXTS32) {
        start = ((const int32_t *)ids->values)[at];
        stop = ((const int32_t *)ids->values)[at + 1];
    } else {
        start = ((const int64_t *)ids->values)[at];
        stop = ((const int64_t *)ids->values)[at + 1];
    }
    if (start < 0 || stop < start || stop > ids->data_bytes)
        return 0;
    *text = ids->data + start;
    *length = (uint64_t)(stop - start);
    *end = ids->data + ids->data_bytes;
    return 1;
}

static int32_t read_texts(const struct cg_ids *ids, const struct cg_secret *secret, int64_t first,
                          int64_t count, struct keys *keys)
{
    for (int64_t i = 0; i < count; i++) {
        const uint8_t *text, *end;
        uint64_t length, high_bits;
        int is_null = ids->valid.bits && !valid_at(&ids->valid, first + i);
        keys->a[i] = keys->b[i] = 0;
        if (ids->kind == CG_VIEWS && is_null)
            continue; /* the cells of null views may hold anything */
        if (!locate_text(ids, first + i, &text, &length, &end))
            return CG_BAD_OFFSETS;
        if (is_null)
            continue;
        uint64_t hashed = length < CG_LONGEST_TEXT ? length : CG_LONGEST_TEXT;
        struct fingerprint print = fingerprint_text(text, hashed, end, secret, &high_bits);
        keys->a[i] = print.a;
        keys->b[i] = print.b;
        if (length > CG_LONGEST_TEXT)
            keys->known[i] = 0;
        if ((high_bits || length > CG_LONGEST_TEXT) && !is_utf8(text, length))
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

int32_t read_keys(const struct cg_ids *ids, const struct cg_secret *secret, int64_t first,
                  int64_t count, struct keys *keys)
{
    uint64_t null = ids->kind == CG_NULLS ? UINT64_MAX : 0;
    for (int64_t i = 0; i < count; i++) {
        keys->known[i] = ~null;
        keys->null[i] = null;
    }
    switch (ids->kind) {
    case CG_NULLS:
        for (int64_t i = 0; i < count; i++)
            keys->a[i] = keys->b[i] = keys->hash[i] = 0;
        return CG_SOUND;
    case CG_UUIDS:
        read_uuids(ids, first, count, keys);
        for (int64_t i = 0; i < count; i++)
            keys->hash[i] = mix_pair(keys->a[i], keys->b[i], secret->odd);
        break;
    case CG_TEXTS32:
    case CG_TEXTS64:
    case CG_VIEWS: {
        int32_t fault = read_texts(ids, secret, first, count, keys);
        if (fault)
            return fault;
        memcpy(keys->hash, keys->a, (size_t)count * sizeof *keys->a);
        break;
    }
    default:
        read_integers(ids, first, count, keys->a);
        for (int64_t i = 0; i < count; i++)
            keys->hash[i] = mix(keys->a[i], secret->odd);
    }
    if (ids->valid.bits)
        mark_nulls(&ids->valid, first, count, keys);
    return CG_SOUND;
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
        for (int64_t i = 0; i < count; i++) {
            keys[2 * (first - start + i)] = tile.a[i];
            keys[2 * (first - start + i) + 1] = tile.b[i];
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
