/* Rows written as bytes, dealt and ordered: nothing is read or written beyond a buffer, and the
 * order in which rows come does not matter. */
#include "input.h"

#define MOST_ROWS 120
#define MOST_FIELDS 5
#define MOST_BUCKETS 4

static void take_texts(struct input *input, struct cg_field *field, int64_t count)
{
    size_t size = (size_t)take(input, 1);
    field->data = filled(input, size);
    field->data_bytes = (int64_t)size;
    field->offsets = take_offsets(input, 8, count + 1, field->data_bytes);
}

/* Indices that are mostly within the dictionary. */
static void take_indices(struct input *input, struct cg_field *field, int64_t rows)
{
    field->dictionary_length = 1 + below(input, 20);
    int is_hostile = take(input, 1) % 8 == 0;
    int32_t *indices = filled(input, (size_t)rows * 4);
    for (int64_t row = 0; !is_hostile && row < rows; row++)
        indices[row] = (int32_t)((uint32_t)indices[row] % (uint32_t)field->dictionary_length);
    field->values = indices;
}

static struct cg_field take_field(struct input *input, int64_t rows)
{
    static const int64_t widths[] = {1, 2, 4};
    struct cg_field field;
    memset(&field, 0, sizeof field);
    field.kind = below(input, CG_INSTANT_FIELD + 1);
    field.valid = take_validity(input, rows);
    field.unit = below(input, CG_NANOSECONDS + 1);
    switch (field.kind) {
    case CG_WORD_FIELD:
        take_indices(input, &field, rows);
        field.ranks = filled(input, (size_t)field.dictionary_length * 4);
        field.rank_bytes = widths[below(input, 3)];
        break;
    case CG_TEXT_FIELD:
        take_texts(input, &field, rows);
        break;
    case CG_DICTIONARY_TEXT_FIELD:
        take_indices(input, &field, rows);
        take_texts(input, &field, field.dictionary_length);
        break;
    case CG_FLAG_FIELD:
        field.first_bit = below(input, 9);
        field.values = filled(input, (size_t)((field.first_bit + rows + 7) / 8));
        break;
    default:
        field.values = filled(input, (size_t)rows * (field.kind == CG_UUID_FIELD ? 16 : 8));
    }
    return field;
}

/* Deal all rows into buckets that lie one after the other, and order each. Returns how many bytes
 * are written to `ordered`, or -1 if the rows have a fault. */
static int64_t order(struct input *input, const struct cg_rows *rows, int64_t count, int64_t cut,
                     uint8_t **ordered)
{
    struct cg_extent ends[MOST_BUCKETS] = {{0, 0}}, next[MOST_BUCKETS];
    int64_t buckets = (int64_t)1 << rows->bucket_bits;
    if (cg_measure_rows(rows, 0, cut, ends) || cg_measure_rows(rows, cut, count, ends))
        return -1;
    for (int64_t n = 0; n < buckets; n++) {
        next[n] = n ? ends[n - 1] : (struct cg_extent){0, 0};
        ends[n].rows += next[n].rows;
        ends[n].bytes += next[n].bytes;
    }
    size_t size = (size_t)ends[buckets - 1].bytes;
    EXPECT(ends[buckets - 1].rows == count);
    struct cg_dealt *dealt = zeroed(input, (size_t)count * sizeof *dealt);
    struct cg_dealt *scratch = zeroed(input, (size_t)count * sizeof *dealt);
    uint8_t *bytes = zeroed(input, size);
    *ordered = zeroed(input, size);
    if (cg_deal_rows(rows, cut, count, 0, buckets, next, ends, dealt, bytes) ||
        cg_deal_rows(rows, 0, cut, 0, buckets, next, ends, dealt, bytes))
        return -1;
    int64_t written = 0, first = 0;
    for (int64_t n = 0; n < buckets; n++) {
        EXPECT(next[n].rows == ends[n].rows && next[n].bytes == ends[n].bytes);
        int64_t added = cg_order_bucket(dealt + first, ends[n].rows - first, rows->bucket_bits,
                                        scratch, bytes, *ordered + written,
                                        (int64_t)size - written);
        EXPECT(added >= 0);
        written += added;
        first = ends[n].rows;
    }
    return written;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {.data = data, .left = size};
    struct cg_field fields[MOST_FIELDS];
    struct cg_rows rows;
    int64_t count = below(&input, MOST_ROWS), cut = below(&input, (uint64_t)count + 1);
    rows.field_count = 1 + below(&input, MOST_FIELDS);
    rows.bucket_bits = below(&input, 3);
    for (int64_t n = 0; n < rows.field_count; n++)
        fields[n] = take_field(&input, count);
    rows.fields = fields;
    uint64_t *hashes = filled(&input, (size_t)count * 8);
    for (int64_t row = 0; row < count && take(&input, 1) % 2; row++)
        hashes[row] = hashes[0]; /* as if somebody had made ids of one hash */
    rows.hashes = hashes;
    uint8_t *one, *other;
    int64_t whole = order(&input, &rows, count, count, &one);
    int64_t parts = order(&input, &rows, count, cut, &other);
    EXPECT(whole == parts);
    if (whole > 0)
        EXPECT(memcmp(one, other, (size_t)whole) == 0);
    release(&input);
    return 0;
}
