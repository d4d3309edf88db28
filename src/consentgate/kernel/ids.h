/* Ids of any layout, read a tile at a time as keys. */
#ifndef CONSENTGATE_IDS_H
#define CONSENTGATE_IDS_H

#include "kernel.h"

/* How many rows or ids are worked on together: so few that all their values stay in the first
 * cache, and enough that memory answers one request while the next ones are made. */
#define TILE 256

/* The keys of up to TILE ids.
 *
 * Integers have `a` only. UUIDs are `a` and `b`; the fingerprint of a text is `a` and `b`.
 * `hash` is spread evenly. `known` is all ones, or zero if the id cannot have a record: it is null,
 * or a text that is too long. `null` is all ones or zero. If `are_marked` is zero, all ids are known,
 * none is null, and the marks are not set.
 */
struct keys {
    const uint64_t *a; /* 64-bit integers stay where they are; others are in `a_space` */
    int are_marked;
    uint64_t a_space[TILE];
    uint64_t b[TILE]; /* not set for integers */
    uint64_t hash[TILE];
    uint64_t known[TILE];
    uint64_t null[TILE];
};

static inline uint64_t valid_at(const struct cg_validity *valid, int64_t at)
{
    int64_t bit = valid->offset + at;
    return (uint64_t)(valid->bits[bit >> 3] >> (bit & 7)) & 1;
}

/* Read the keys of ids first to first + count, which has to be at most TILE. */
int32_t read_keys(const struct cg_ids *ids, const struct cg_secret *secret, int64_t first,
                  int64_t count, struct keys *keys);

/* Read integers first to first + count as 64 bits, signs extended. */
void read_integers(const struct cg_ids *ids, int64_t first, int64_t count, uint64_t *values);

#endif
