/* Rows written as bytes, in an order that does not depend on the order in which they come.
 *
 * Rows are dealt into buckets by the upper bits of their hash. Within a bucket they are sorted by
 * hash. Rows of one hash are sorted by their bytes, so that the order is the same even if somebody
 * has made ids whose hashes are equal.
 *
 * A row's bytes begin with one bit for each column, which is set if the value is not null; these
 * bits fill whole bytes. The values that are not null follow, as docs/semantics.md says
 * (section 2.9). A row that has been dealt has its length before it, in eight bytes that are not
 * part of the row.
 */
#include <string.h>

#include "ids.h"
#include "instants.h"

#define PREFIX 8
#define DIGIT_BITS 11
#define DIGITS (1 << DIGIT_BITS)
#define SORTED_BITS (2 * DIGIT_BITS)
/* Runs of at most so many rows are sorted by insertion. */
#define SHORT_RUN 8

struct text {
    const uint8_t *from;
    int64_t length;
};

static inline int64_t bucket_of(uint64_t hash, int64_t bits)
{
    return bits ? (int64_t)(hash >> (64 - bits)) : 0;
}

/* ---- Rows as bytes ---- */

static inline int is_null(const struct cg_field *field, int64_t row)
{
    return field->valid.bits && !valid_at(&field->valid, row);
}

/* Copy a text. Short ones are copied 16 bytes at a time where both sides have the space, which is
 * faster than a call. */
static inline void copy_text(uint8_t *to, const uint8_t *to_end, const uint8_t *from,
                             const uint8_t *from_end, int64_t length)
{
    if (length <= 32 && to_end - to >= 32 && from_end - from >= 32) {
        memcpy(to, from, 16);
        memcpy(to + 16, from + 16, 16);
    } else if (length) {
        memcpy(to, from, (size_t)length);
    }
}

/* Find what a row's dictionary index stands for. Returns whether the dictionary has it. */
static inline int find_index(const struct cg_field *field, int64_t row, int64_t *at)
{
    *at = ((const int32_t *)field->values)[row];
    return *at >= 0 && *at < field->dictionary_length;
}

static inline int32_t find_text(const struct cg_field *field, int64_t row, struct text *text)
{
    int64_t at = row;
    if (field->kind == CG_DICTIONARY_TEXT_FIELD && !find_index(field, row, &at))
        return CG_BAD_INDEX;
    int64_t start = field->offsets[at], stop = field->offsets[at + 1];
    if (start < 0 || stop < start || stop > field->data_bytes)
        return CG_BAD_OFFSETS;
    text->from = field->data + start;
    text->length = stop - start;
    return CG_SOUND;
}

/* How many bytes the values of a kind have; 0 for texts, which have any number. */
static inline int64_t value_bytes(const struct cg_field *field)
{
    switch (field->kind) {
    case CG_WORD_FIELD: return field->rank_bytes;
    case CG_FLAG_FIELD: return 1;
    case CG_WIDE_FIELD: return 8;
    case CG_UUID_FIELD: return 16;
    case CG_INSTANT_FIELD: return 9;
    default: return 0;
    }
}

static inline int64_t bytes_of_bits(int64_t fields)
{
    return (fields + 7) / 8;
}

static int32_t measure_row(const struct cg_rows *rows, int64_t row, int64_t *bytes)
{
    *bytes = bytes_of_bits(rows->field_count);
    for (int64_t number = 0; number < rows->field_count; number++) {
        const struct cg_field *field = &rows->fields[number];
        if (is_null(field, row))
            continue;
        int64_t size = value_bytes(field);
        if (size == 0) {
            struct text text;
            int32_t fault = find_text(field, row, &text);
            if (fault)
                return fault;
            size = 8 + text.length;
        }
        *bytes += size;
    }
    return CG_SOUND;
}

static inline int32_t write_text(const struct cg_field *field, int64_t row, uint8_t **to,
                                 const uint8_t *end)
{
    struct text text;
    int32_t fault = find_text(field, row, &text);
    if (fault)
        return fault;
    if (end - *to < 8 || end - *to - 8 < text.length)
        return CG_NO_SPACE;
    memcpy(*to, &text.length, 8);
    copy_text(*to + 8, end, text.from, field->data + field->data_bytes, text.length);
    *to += 8 + text.length;
    return CG_SOUND;
}

static inline void write_instant(const struct cg_field *field, int64_t row, uint8_t *to)
{
    int64_t ticks = ((const int64_t *)field->values)[row];
    int64_t micros = floor_micros(ticks, field->unit);
    memcpy(to, &micros, 8);
    to[8] = ceil_micros(ticks, field->unit) != micros;
}

static inline int32_t write_word(const struct cg_field *field, int64_t row, uint8_t *to)
{
    int64_t at;
    if (!find_index(field, row, &at))
        return CG_BAD_INDEX;
    uint32_t rank = field->ranks[at];
    if (field->rank_bytes == 1)
        *to = (uint8_t)rank;
    else
        memcpy(to, &rank, field->rank_bytes == 2 ? 2 : 4);
    return CG_SOUND;
}

static inline void write_flag(const struct cg_field *field, int64_t row, uint8_t *to)
{
    struct cg_validity flags = {field->values, field->first_bit};
    *to = (uint8_t)valid_at(&flags, row);
}

static inline int32_t write_value(const struct cg_field *field, int64_t row, uint8_t **to,
                                  const uint8_t *end)
{
    int64_t size = value_bytes(field);
    int32_t fault = CG_SOUND;
    if (end - *to < size)
        return CG_NO_SPACE;
    switch (field->kind) {
    case CG_WORD_FIELD: fault = write_word(field, row, *to); break;
    case CG_FLAG_FIELD: write_flag(field, row, *to); break;
    case CG_WIDE_FIELD: memcpy(*to, (const uint8_t *)field->values + 8 * row, 8); break;
    case CG_UUID_FIELD: memcpy(*to, (const uint8_t *)field->values + 16 * row, 16); break;
    case CG_INSTANT_FIELD: write_instant(field, row, *to); break;
    default: return write_text(field, row, to, end);
    }
    *to += size;
    return fault;
}

static int32_t write_row(const struct cg_rows *rows, int64_t row, uint8_t **to, const uint8_t *end)
{
    int64_t count = rows->field_count;
    uint8_t *bits = *to;
    if (end - *to < bytes_of_bits(count))
        return CG_NO_SPACE;
    memset(bits, 0, (size_t)bytes_of_bits(count));
    *to += bytes_of_bits(count);
    for (int64_t number = 0; number < count; number++) {
        const struct cg_field *field = &rows->fields[number];
        if (is_null(field, row))
            continue;
        bits[number / 8] |= (uint8_t)(1 << (number % 8));
        int32_t fault = write_value(field, row, to, end);
        if (fault)
            return fault;
    }
    return CG_SOUND;
}

/* ---- Hashes ---- */

#define FACTOR UINT64_C(0x9E3779B97F4A7C15)

/* The hash of bytes that docs/semantics.md defines (section 2.9). It only has to spread rows
 * evenly. It is part of the digest's definition, so it must stay as it is. */
static inline uint64_t hash_bytes(const uint8_t *bytes, int64_t length)
{
    uint64_t hash = (uint64_t)length;
    for (int64_t at = 0; at < length; at += 8) {
        uint64_t word = 0;
        memcpy(&word, bytes + at, length - at < 8 ? (size_t)(length - at) : 8);
        hash = (hash ^ word) * FACTOR;
        hash ^= hash >> 32;
    }
    return hash * FACTOR;
}

int32_t cg_hash_rows(const struct cg_field *key, int64_t start, int64_t stop, uint64_t *hashes)
{
    int64_t size = value_bytes(key);
    for (int64_t row = start; row < stop; row++) {
        struct text text = {(const uint8_t *)key->values + size * row, size};
        if (size == 0) {
            int32_t fault = find_text(key, row, &text);
            if (fault)
                return fault;
        }
        hashes[row - start] = hash_bytes(text.from, text.length);
    }
    return CG_SOUND;
}

/* ---- Dealing rows into buckets ---- */

int32_t cg_measure_rows(const struct cg_rows *rows, int64_t start, int64_t stop,
                        struct cg_extent *totals)
{
    for (int64_t row = start; row < stop; row++) {
        int64_t bytes;
        int32_t fault = measure_row(rows, row, &bytes);
        if (fault)
            return fault;
        struct cg_extent *total = &totals[bucket_of(rows->hashes[row], rows->bucket_bits)];
        total->rows += 1;
        total->bytes += PREFIX + bytes;
    }
    return CG_SOUND;
}

static int32_t deal_row(const struct cg_rows *rows, int64_t row, struct cg_extent *next,
                        const struct cg_extent *end, struct cg_dealt *dealt, uint8_t *bytes)
{
    if (next->rows >= end->rows || end->bytes - next->bytes < PREFIX)
        return CG_NO_SPACE;
    uint8_t *start = bytes + next->bytes + PREFIX, *to = start;
    int32_t fault = write_row(rows, row, &to, bytes + end->bytes);
    if (fault)
        return fault;
    int64_t length = to - start;
    memcpy(start - PREFIX, &length, PREFIX);
    dealt[next->rows] = (struct cg_dealt){rows->hashes[row], next->bytes};
    next->rows += 1;
    next->bytes += PREFIX + length;
    return CG_SOUND;
}

int32_t cg_deal_rows(const struct cg_rows *rows, int64_t start, int64_t stop, int64_t first_bucket,
                     int64_t end_bucket, struct cg_extent *next, const struct cg_extent *ends,
                     struct cg_dealt *dealt, uint8_t *bytes)
{
    int64_t chosen[TILE];
    for (int64_t first = start; first < stop; first += TILE) {
        int64_t count = stop - first < TILE ? stop - first : TILE, found = 0;
        for (int64_t row = first; row < first + count; row++) {
            int64_t bucket = bucket_of(rows->hashes[row], rows->bucket_bits);
            chosen[found] = row;
            found += bucket >= first_bucket && bucket < end_bucket;
        }
        for (int64_t i = 0; i < found; i++) {
            int64_t row = chosen[i];
            int64_t at = bucket_of(rows->hashes[row], rows->bucket_bits) - first_bucket;
            int32_t fault = deal_row(rows, row, &next[at], &ends[at], dealt, bytes);
            if (fault)
                return fault;
        }
    }
    return CG_SOUND;
}

/* ---- Sorting a bucket ---- */

/* Whether one row comes before another. */
static int precedes(const struct cg_dealt *one, const struct cg_dealt *other, const uint8_t *bytes)
{
    if (one->hash != other->hash)
        return one->hash < other->hash;
    int64_t lengths[2];
    memcpy(&lengths[0], bytes + one->start, PREFIX);
    memcpy(&lengths[1], bytes + other->start, PREFIX);
    int64_t common = lengths[0] < lengths[1] ? lengths[0] : lengths[1];
    int order = memcmp(bytes + one->start + PREFIX, bytes + other->start + PREFIX, (size_t)common);
    return order ? order < 0 : lengths[0] < lengths[1];
}

static void insertion_sort(struct cg_dealt *run, int64_t count, const uint8_t *bytes)
{
    for (int64_t i = 1; i < count; i++) {
        struct cg_dealt moved = run[i];
        int64_t at = i;
        for (; at > 0 && precedes(&moved, &run[at - 1], bytes); at--)
            run[at] = run[at - 1];
        run[at] = moved;
    }
}

/* Merge two sorted runs, of which the second begins at `middle`. */
static void merge(const struct cg_dealt *run, int64_t middle, int64_t count, struct cg_dealt *to,
                  const uint8_t *bytes)
{
    int64_t left = 0, right = middle;
    for (int64_t i = 0; i < count; i++) {
        int from_right =
            left == middle || (right < count && precedes(&run[right], &run[left], bytes));
        to[i] = from_right ? run[right++] : run[left++];
    }
}

/* Merge sort: any number of equal hashes takes n log n comparisons. */
static void sort_run(struct cg_dealt *run, int64_t count, struct cg_dealt *scratch,
                     const uint8_t *bytes)
{
    for (int64_t first = 0; first < count; first += SHORT_RUN)
        insertion_sort(run + first, count - first < SHORT_RUN ? count - first : SHORT_RUN, bytes);
    for (int64_t width = SHORT_RUN; width < count; width *= 2) {
        for (int64_t first = 0; first < count; first += 2 * width) {
            int64_t size = count - first < 2 * width ? count - first : 2 * width;
            merge(run + first, size < width ? size : width, size, scratch + first, bytes);
        }
        memcpy(run, scratch, (size_t)count * sizeof *run);
    }
}

/* Sort by the digit of the hash above the lowest `shift` bits; rows of one digit keep their order. */
static void sort_by_digit(const struct cg_dealt *from, int64_t count, int64_t shift,
                          struct cg_dealt *to)
{
    int64_t places[DIGITS] = {0};
    for (int64_t i = 0; i < count; i++)
        places[from[i].hash >> shift & (DIGITS - 1)]++;
    int64_t before = 0;
    for (int64_t digit = 0; digit < DIGITS; digit++) {
        int64_t here = places[digit];
        places[digit] = before;
        before += here;
    }
    for (int64_t i = 0; i < count; i++)
        to[places[from[i].hash >> shift & (DIGITS - 1)]++] = from[i];
}

/* Sort the rows of a bucket: by the bits of the hash that follow the bucket's, and then the rows of
 * which these bits are equal. */
static void sort_bucket(struct cg_dealt *dealt, int64_t count, int64_t bucket_bits,
                        struct cg_dealt *scratch, const uint8_t *bytes)
{
    int64_t shift = 64 - bucket_bits - SORTED_BITS;
    sort_by_digit(dealt, count, shift, scratch);
    sort_by_digit(scratch, count, shift + DIGIT_BITS, dealt);
    for (int64_t first = 0, end; first < count; first = end) {
        for (end = first + 1; end < count; end++)
            if (dealt[first].hash >> shift != dealt[end].hash >> shift)
                break;
        if (end - first > 1)
            sort_run(dealt + first, end - first, scratch, bytes);
    }
}

int64_t cg_order_bucket(struct cg_dealt *dealt, int64_t count, int64_t bucket_bits,
                        struct cg_dealt *scratch, const uint8_t *bytes, uint8_t *ordered,
                        int64_t space)
{
    int64_t written = 0;
    sort_bucket(dealt, count, bucket_bits, scratch, bytes);
    for (int64_t i = 0; i < count; i++) {
        int64_t length;
        memcpy(&length, bytes + dealt[i].start, PREFIX);
        if (length < 0 || length > space - written)
            return -1;
        memcpy(ordered + written, bytes + dealt[i].start + PREFIX, (size_t)length);
        written += length;
    }
    return written;
}
