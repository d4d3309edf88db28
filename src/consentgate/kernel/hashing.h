/* Keyed hashes of ids. Saved gates hold them, so a change needs a new version of gate files. */
#ifndef CONSENTGATE_HASHING_H
#define CONSENTGATE_HASHING_H

#include <string.h>

#include "kernel.h"

__extension__ typedef unsigned __int128 cg_uint128;

/* The longest text that can have a record. A secret has words for so many bytes. */
#define CG_LONGEST_TEXT 65536

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

/* The upper half of one 128-bit secret plus three others times 64-bit numbers. */
static inline uint64_t finish(const uint64_t secret[8], uint64_t low, uint64_t high, uint64_t length)
{
    cg_uint128 sum = ((cg_uint128)secret[1] << 64) | secret[0];
    sum += (cg_uint128)secret[2] * low + ((cg_uint128)(secret[3] * low) << 64);
    sum += (cg_uint128)secret[4] * high + ((cg_uint128)(secret[5] * high) << 64);
    sum += (cg_uint128)secret[6] * length + ((cg_uint128)(secret[7] * length) << 64);
    return (uint64_t)(sum >> 64);
}

/* The last 0 to 15 bytes of a text as two words, filled up with zeros. */
static inline void load_rest(const uint8_t *text, uint64_t length, const uint8_t *end,
                             uint64_t words[2])
{
    if (end - text >= 16) {
        uint64_t in_first = length < 8 ? length : 8;
        uint64_t in_second = length - in_first;
        words[0] = in_first == 8 ? load_word(text)
                                 : load_word(text) & ((UINT64_C(1) << (8 * in_first)) - 1);
        words[1] = load_word(text + 8) & ((UINT64_C(1) << (8 * in_second)) - 1);
    } else {
        words[0] = words[1] = 0;
        memcpy(words, text, (size_t)length);
    }
}

/* The fingerprint of a text of at most CG_LONGEST_TEXT bytes.
 *
 * Words of 64 bits are taken in pairs. Each is added to a secret word, and the two are multiplied
 * to 128 bits; the products are summed up. A second sum uses the secret words that lie one pair
 * further on. This is NH with a Toeplitz shift (Black et al., "UMAC: Fast and Secure Message
 * Authentication", CRYPTO 1999): for any two texts of equal padded length, the odds over the
 * secrets that both sums agree are at most 2**-128. Each sum is then hashed to 64 bits together
 * with the length, in a strongly universal way (Lemire and Kaser, "Strongly universal string
 * hashing is fast", The Computer Journal 57(11), 2014).
 *
 * end: the end of the buffer that holds the text; up to 16 bytes are read at once before it.
 * high_bits: gets the highest bit of every byte; zero for ASCII.
 */
static inline struct fingerprint fingerprint_text(const uint8_t *text, uint64_t length,
                                                  const uint8_t *end,
                                                  const struct cg_secret *secret,
                                                  uint64_t *high_bits)
{
    const uint64_t *key = secret->words;
    cg_uint128 one = 0, other = 0;
    uint64_t seen = 0, words[2], left = length;
    while (left) {
        if (left >= 16) {
            words[0] = load_word(text);
            words[1] = load_word(text + 8);
        } else {
            load_rest(text, left, end, words);
        }
        seen |= words[0] | words[1];
        one += (cg_uint128)(words[0] + key[0]) * (words[1] + key[1]);
        other += (cg_uint128)(words[0] + key[2]) * (words[1] + key[3]);
        key += 2;
        text += 16;
        left = left > 16 ? left - 16 : 0;
    }
    *high_bits = seen & UINT64_C(0x8080808080808080);
    return (struct fingerprint){
        finish(secret->finish[0], (uint64_t)one, (uint64_t)(one >> 64), length),
        finish(secret->finish[1], (uint64_t)other, (uint64_t)(other >> 64), length),
    };
}

#endif
