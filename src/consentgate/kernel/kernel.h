/* The kernel: finding ids in a table of facts, and judging messages by those facts.
 *
 * Python prepares every structure below and checks the lengths of all buffers. What only the data
 * itself can show (offsets, dictionary indices, UTF-8) is checked here, before it is used. A
 * function that finds a fault stops and returns it; it never reads outside of the given buffers.
 *
 * Nothing here allocates memory, keeps state or knows about Python. So all functions may run on
 * several threads at once, as long as their outputs do not overlap.
 */
#ifndef CONSENTGATE_KERNEL_H
#define CONSENTGATE_KERNEL_H

#include <stdint.h>

#if defined(_WIN32)
#define CG_EXPORT __declspec(dllexport)
#else
#define CG_EXPORT __attribute__((visibility("default")))
#endif

/* Faults in data. */
enum cg_fault {
    CG_SOUND = 0,
    CG_BAD_OFFSETS = 1, /* a text or list lies outside of its data, or ends before it begins */
    CG_NOT_UTF8 = 2,    /* a text is not UTF-8 */
    CG_BAD_INDEX = 3,   /* a dictionary does not have that index */
    CG_NO_SPACE = 4     /* a table or buffer is too small for what it should hold */
};

/* How ids lie in memory. */
enum cg_id_kind {
    CG_NULLS = 0, /* a column of Arrow's type null: no values at all */
    CG_INT8,
    CG_INT16,
    CG_INT32,
    CG_INT64,
    CG_UINT8,
    CG_UINT16,
    CG_UINT32,
    CG_UINT64,
    CG_UUIDS,   /* 16 bytes each */
    CG_TEXTS32, /* `data` from one 32-bit offset to the next */
    CG_TEXTS64, /* the same with 64-bit offsets */
    CG_VIEWS    /* Arrow's string views: 16 bytes each, long texts in several buffers */
};

/* A validity bitmap; `bits` is NULL if no entry is null. */
struct cg_validity {
    const uint8_t *bits;
    int64_t offset; /* the bit of entry 0 */
};

/* Bytes that views point into. */
struct cg_buffer {
    const uint8_t *data;
    int64_t bytes;
};

/* n ids as Arrow lays them out. */
struct cg_ids {
    int64_t kind;
    int64_t length;
    const void *values; /* integers, UUIDs, offsets or views; entry 0 comes first */
    const uint8_t *data; /* of texts; not NULL, even if there are no bytes */
    int64_t data_bytes;
    const struct cg_buffer *buffers; /* of views */
    int64_t buffer_count;
    struct cg_validity valid;
};

/* The secret under which ids are hashed. */
struct cg_secret {
    uint64_t odd;            /* for integers and UUIDs */
    const uint64_t *words;   /* for texts: enough for the longest text that can have a record */
    uint64_t finish[4];      /* for texts: two words for each half of a fingerprint */
};

/* How keys lie in a line of 64 bytes; see table.h. */
enum cg_layout { CG_INTEGER_LINES = 0, CG_UUID_LINES = 1, CG_TEXT_LINES = 2 };

struct cg_table {
    int64_t layout;
    uint64_t *lines; /* `count` lines of eight words */
    uint64_t count;
    uint64_t longest;       /* the most lines that any entry lies beyond the line of its hash */
    const uint64_t *ranks;  /* entries before every sixteenth line */
    int64_t ranked;         /* how many entries there are */
    int64_t refuses_top_bit; /* ids with bit 63 set are not in the table (signs differ) */
    const struct cg_secret *secret;
};

/* One instant for each entry of a table: a step in the facts, the rest beside them. */
struct cg_instants {
    int64_t bits; /* 0: there is no such instant */
    int64_t first_bit;
    int64_t shift;
    int64_t base;
    const void *rests; /* by rank */
    int64_t rest_bytes;
};

/* What a table's facts mean. */
struct cg_facts {
    struct cg_table table;
    uint64_t reason_mask; /* which bits of the facts are reasons */
    int64_t first_reason; /* the reason that the lowest of them stands for */
    uint32_t unknown;     /* reasons are stored XOR this */
    uint32_t null;        /* the reason of an id that is null */
    struct cg_instants since; /* rows written before this instant get `before_since` */
    uint32_t before_since;
    uint32_t after_until;
    struct cg_instants until; /* stored as the complement; passed instants give `after_until` */
    int64_t past;             /* the complement of the instant of judgement, minus one */
};

/* Reasons of dictionary values, and from when on a message may be written. The last entry is that
 * of a null. */
struct cg_resolved {
    const uint32_t *bits;
    const int64_t *since;
    int64_t length; /* without the last entry */
};

/* How rows refer to items. */
enum cg_list_kind {
    CG_NO_LIST = 0,
    CG_LIST32,
    CG_LIST64,
    CG_LIST_VIEW32,
    CG_LIST_VIEW64,
    CG_FIXED_LIST
};

struct cg_lists {
    int64_t kind;
    const void *offsets;
    const void *sizes; /* of list views */
    int64_t size;      /* of fixed lists: items of each */
    struct cg_validity valid;
};

/* A column of messages that holds ids: one for each row, or a list for each row. */
struct cg_column {
    const struct cg_facts *facts;
    struct cg_ids ids;            /* rows or items; with a dictionary: its indices, as integers */
    struct cg_resolved resolved;  /* with a dictionary: its values; otherwise `bits` is NULL */
    struct cg_lists lists;
    int64_t names_subjects;
};

enum cg_unit { CG_SECONDS = 0, CG_MILLISECONDS, CG_MICROSECONDS, CG_NANOSECONDS };

/* When each message was written. */
struct cg_created {
    const int64_t *earliest; /* ticks */
    const int64_t *latest;
    int64_t unit;
    struct cg_validity valid;
    int64_t known_until; /* later messages get `after_snapshot` */
    uint32_t after_snapshot;
    uint32_t missing; /* the reason of a null */
};

struct cg_messages {
    struct cg_created created;
    const struct cg_column *columns;
    int64_t column_count;
    uint32_t no_subject; /* the reason of a row that names no subject */
    uint32_t null_list;  /* the reason of a null list */
};

/* How many entries of a bitmap are null. */
CG_EXPORT int64_t cg_count_nulls(const struct cg_validity *valid, int64_t length);

/* Write the keys of entries start to stop: two words each. */
CG_EXPORT int32_t cg_keys(const struct cg_ids *ids, const struct cg_secret *secret, int64_t start,
                          int64_t stop, uint64_t *keys);

/* Write the hashes of entries start to stop. */
CG_EXPORT int32_t cg_hashes(const struct cg_ids *ids, const struct cg_secret *secret,
                            int64_t start, int64_t stop, uint64_t *hashes);

/* Put the rows start to stop into the lines from `first_line` to `end_line`, as row + 1 in place of
 * facts.
 *
 * Rows are put there if the line of their hash is one of these. Rows for which no place is left
 * before `end_line` are written to `spilled`. Rows whose facts are zero are left out.
 *
 * keys: of the rows start to stop: one word each for integers, otherwise two.
 * facts: of all rows; NULL if no row is left out.
 * first: of all rows; gets, for each row that is looked at, the first row with the same key. NULL if
 *        that is not asked for.
 * counts: gets how many rows were spilled, how many were repeats, and the most lines that a row
 *         lies beyond the line of its hash.
 */
CG_EXPORT int32_t cg_fill(const struct cg_table *table, const uint64_t *keys, const uint64_t *facts,
                          int64_t start, int64_t stop, uint64_t first_line, uint64_t end_line,
                          int64_t *first, int64_t *spilled, int64_t *counts);

/* Put rows that were spilled wherever a place is left. `keys` are those of the spilled rows, in their
 * order; the other arguments are those of cg_fill. */
CG_EXPORT int32_t cg_fill_spilled(const struct cg_table *table, const uint64_t *keys,
                                  const int64_t *spilled, int64_t count, int64_t *first,
                                  int64_t *counts);

/* How many entries are in the lines from `first_line` to `end_line`. */
CG_EXPORT int64_t cg_count(const struct cg_table *table, uint64_t first_line, uint64_t end_line);

/* A column of n values, and the same values by rank. */
struct cg_moved {
    const void *by_row;
    void *by_rank;
    int64_t bytes;
};

/* Replace row + 1 by the facts of the row, and write the ranks of lines and columns by rank.
 *
 * first_line: a multiple of sixteen.
 * rank: how many entries are before it.
 */
CG_EXPORT int32_t cg_settle(const struct cg_table *table, const uint64_t *facts, int64_t rows,
                            uint64_t first_line, uint64_t end_line, uint64_t rank, uint64_t *ranks,
                            const struct cg_moved *columns, int64_t column_count);

/* Write the reasons and the instants of entries start to stop, for use as cg_resolved.
 *
 * ranks: gets the rank of each id's entry, or -1 if there is none or it is not known; may be NULL.
 */
CG_EXPORT int32_t cg_resolve(const struct cg_facts *facts, const struct cg_ids *ids, int64_t start,
                             int64_t stop, uint32_t *bits, int64_t *since, int64_t *ranks);

/* Write the reasons in the entries of the lines from `first_line`, a multiple of sixteen, to
 * `end_line`, in the order of their ranks. Returns how many there are, at most `space`. */
CG_EXPORT int64_t cg_entries(const struct cg_facts *facts, uint64_t first_line, uint64_t end_line,
                             uint32_t *bits, int64_t space);

/* Write the reasons against rows start to stop into `bits`, where those of visibilities and rules
 * are already. `bits` begins with row `start`. After a fault, `faulty_column` tells which of the
 * columns has it. */
CG_EXPORT int32_t cg_judge(const struct cg_messages *messages, int64_t start, int64_t stop,
                           uint32_t *bits, int64_t *faulty_column);

/* How the values of a column lie in memory, and how ordering.c writes them. */
enum cg_field_kind {
    CG_WORD_FIELD = 0,        /* 32-bit indices of words, written as the ranks of the words */
    CG_TEXT_FIELD,            /* texts, from one 64-bit offset to the next */
    CG_DICTIONARY_TEXT_FIELD, /* 32-bit indices of such texts */
    CG_FLAG_FIELD,            /* bits, written as a byte */
    CG_WIDE_FIELD,            /* 8 bytes, written as they are */
    CG_UUID_FIELD,            /* 16 bytes, written as they are */
    CG_INSTANT_FIELD          /* 64-bit ticks, written as microseconds and whether there is more */
};

struct cg_field {
    int64_t kind;
    const void *values; /* of row 0 on: indices, offsets, bits, bytes or ticks */
    int64_t first_bit;  /* of flags: the bit of row 0 */
    int64_t unit;       /* of instants */
    struct cg_validity valid;
    int64_t dictionary_length; /* how many words or texts the indices stand for */
    const uint32_t *ranks;     /* of words, by index */
    int64_t rank_bytes;        /* with how many bytes a rank is written: 1, 2 or 4 */
    const int64_t *offsets;    /* of texts, one more than there are */
    const uint8_t *data;
    int64_t data_bytes;
};

/* n rows that are to be written as bytes, in the order of their hashes. */
struct cg_rows {
    const uint64_t *hashes;
    int64_t bucket_bits; /* the upper bits of a hash that name its bucket; at most 32 */
    const struct cg_field *fields;
    int64_t field_count;
};

/* A number of rows and of bytes, or a position among rows and among bytes. */
struct cg_extent {
    int64_t rows;
    int64_t bytes;
};

/* A row that lies in its bucket. */
struct cg_dealt {
    uint64_t hash;
    int64_t start; /* its first byte */
};

/* Write the hashes of rows start to stop by their ids, which are texts, UUIDs or 8 bytes each. */
CG_EXPORT int32_t cg_hash_rows(const struct cg_field *key, int64_t start, int64_t stop,
                               uint64_t *hashes);

/* Add the rows start to stop, and the bytes that they take, to the totals of their buckets. */
CG_EXPORT int32_t cg_measure_rows(const struct cg_rows *rows, int64_t start, int64_t stop,
                                  struct cg_extent *totals);

/* Write those of the rows start to stop whose bucket is one of first_bucket to end_bucket.
 *
 * next: where the next row of each of these buckets goes, which is moved on.
 * ends: where the space ends that these rows have in each bucket.
 * dealt: gets the hash and the first byte of each row.
 */
CG_EXPORT int32_t cg_deal_rows(const struct cg_rows *rows, int64_t start, int64_t stop,
                               int64_t first_bucket, int64_t end_bucket, struct cg_extent *next,
                               const struct cg_extent *ends, struct cg_dealt *dealt,
                               uint8_t *bytes);

/* Sort a bucket of `count` rows, and write their bytes one after the other.
 *
 * scratch: space for `count` rows.
 * Returns how many bytes there are, or -1 if they take more than `space`.
 */
CG_EXPORT int64_t cg_order_bucket(struct cg_dealt *dealt, int64_t count, int64_t bucket_bits,
                                  struct cg_dealt *scratch, const uint8_t *bytes, uint8_t *ordered,
                                  int64_t space);

#endif
