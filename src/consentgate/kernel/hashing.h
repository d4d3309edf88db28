/* Keyed hashes of ids. Saved gates hold them, so a change needs a new version of gate files. */
#ifndef CONSENTGATE_HASHING_H
#define CONSENTGATE_HASHING_H

#include <string.h>

#include "kernel.h"

__extension__ typedef unsigned __int128 cg_uint128;

/* The longest text that can have a record. A secret has words for so many bytes. */
#define CG_LONGEST_TEXT 65536

#define ALWAYS_INLINE static inline __attribute__((always_inline))

struct fingerprint {
    uint64_t a;
    uint64_t b;
};

static inline uint64_t load_word(const uint8_t *from)
{
    uint64_t word;
    memcpy(&word, from, sizeof word);
    return word;
}

/* Spread every bit over the upper half of the result; a bijection for odd multipliers. */
static inline uint64_t mix(uint64_t value, uint64_t odd)
{
    uint64_t mixed = value * odd;
    mixed ^= mixed >> 32;
    return mixed * UINT64_C(0x9E3779B97F4A7C15);
}

static inline uint64_t mix_pair(uint64_t first, uint64_t second, uint64_t odd)
{
    return mix(mix(first, odd) + second, odd);
}

/* Where a hash lies among `count` places, if hashes are spread evenly. */
static inline uint64_t place_of(uint64_t hash, uint64_t count)
{
    return (uint64_t)(((cg_uint128)hash * count) >> 64);
}

/* The two halves of a product, one added to the other bit by bit. */
static inline uint64_t fold(uint64_t one, uint64_t other)
{
    cg_uint128 product = (cg_uint128)one * other;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* Texts of up to so many bytes are filled up to it. Most ids are so short. */
#define CG_SHORT_TEXT 48
#define SHORT_PAIRS (CG_SHORT_TEXT / 16)

/* Two sums of products of words and secret words; see fingerprint_text. */
struct sums {
    cg_uint128 one;
    cg_uint128 other;
    uint64_t seen; /* all words, united */
};

/* Add two words of a text, which meet the secret words `key`. */
ALWAYS_INLINE void add_pair(struct sums *sums, uint64_t first, uint64_t second, const uint64_t *key)
{
    sums->seen |= first | second;
    sums->one += (cg_uint128)(first + key[0]) * (second + key[1]);
    sums->other += (cg_uint128)(first + key[2]) * (second + key[3]);
}

/* Add the pair of words at `pair` of a text of up to CG_SHORT_TEXT bytes. */
ALWAYS_INLINE void add_masked_pair(struct sums *sums, int pair, const uint8_t *text,
                                   const uint8_t *mask, const uint64_t *key)
{
    int at = 16 * pair;
    add_pair(sums, load_word(text + at) & load_word(mask + at),
             load_word(text + at + 8) & load_word(mask + at + 8), key + 2 * pair);
}

/* What the zeros add that short texts are filled up with: entry n is for the pairs from n on. It is
 * worked out once for many texts. */
struct blanks {
    struct sums from[SHORT_PAIRS];
};

static inline void sum_blanks(const uint64_t *key, struct blanks *blanks)
{
    struct sums sums = {0, 0, 0};
    for (int pair = SHORT_PAIRS - 1; pair >= 0; pair--) {
        add_pair(&sums, 0, 0, key + 2 * pair);
        blanks->from[pair] = sums;
    }
}

ALWAYS_INLINE void add_short_text(struct sums *sums, const uint8_t *text, uint64_t length,
                                  const uint8_t *end, const uint64_t *key,
                                  const struct blanks *blanks)
{
    /* From byte CG_SHORT_TEXT - length on, these are the masks of a text's words. */
    static const uint8_t masks[2 * CG_SHORT_TEXT] = {
        255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
        255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
        255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
    };
    const uint8_t *mask = masks + CG_SHORT_TEXT - length;
    uint8_t copy[CG_SHORT_TEXT];
    if (end - text < CG_SHORT_TEXT) { /* more than the text may only be read within the buffer */
        memset(copy, 0, sizeof copy);
        if (length)
            memcpy(copy, text, (size_t)length);
        text = copy;
    }
    add_masked_pair(sums, 0, text, mask, key);
    const struct sums *rest = &blanks->from[1];
    if (length > 16) {
        add_masked_pair(sums, 1, text, mask, key);
        rest = &blanks->from[2];
        if (length > 32) {
            add_masked_pair(sums, 2, text, mask, key);
            return;
        }
    }
    sums->one += rest->one;
    sums->other += rest->other;
}

static inline void add_long_text(struct sums *sums, const uint8_t *text, uint64_t length,
                                 const uint64_t *key)
{
    for (; length >= 16; length -= 16, text += 16, key += 2)
        add_pair(sums, load_word(text), load_word(text + 8), key);
    uint64_t rest[2] = {0, 0};
    memcpy(rest, text, (size_t)length);
    add_pair(sums, rest[0], rest[1], key);
}

/* The fingerprint of a text of at most CG_LONGEST_TEXT bytes.
 *
 * The text is filled up with zeros: a short one to CG_SHORT_TEXT bytes, a longer one to the next
 * multiple of 16 bytes, or by 16 bytes if its length is one. Words of 64 bits are taken in pairs.
 * Each is added to a secret word, and the two are multiplied to 128 bits; the products are summed
 * up. A second sum uses the secret words that lie one pair further on. This is NH with a Toeplitz
 * shift (Black et al., "UMAC: Fast and Secure Message Authentication", CRYPTO 1999): for any two
 * texts of equal padded length, the odds over the secrets that both sums agree are at most
 * 2**-128. Each sum is then mixed with the length and more secret words into 64 bits. This keeps
 * these odds if the mixing behaves as random.
 *
 * end: the end of the buffer that holds the text.
 * blanks: of the secret; see sum_blanks.
 * high_bits: gets the highest bit of every byte, united over all words; zero for ASCII.
 */
ALWAYS_INLINE struct fingerprint fingerprint_text(const uint8_t *text, uint64_t length,
                                                  const uint8_t *end,
                                                  const struct cg_secret *secret,
                                                  const struct blanks *blanks,
                                                  uint64_t *high_bits)
{
    struct sums sums = {0, 0, 0};
    if (length <= CG_SHORT_TEXT)
        add_short_text(&sums, text, length, end, secret->words, blanks);
    else
        add_long_text(&sums, text, length, secret->words);
    *high_bits = sums.seen & UINT64_C(0x8080808080808080);
    const uint64_t *more = secret->finish;
    return (struct fingerprint){
        fold((uint64_t)sums.one ^ more[0], (uint64_t)(sums.one >> 64) + more[1] * (length + 1)),
        fold((uint64_t)sums.other ^ more[2], (uint64_t)(sums.other >> 64) + more[3] * (length + 1)),
    };
}

#endif
