/* Whether bytes are UTF-8 (RFC 3629): no overlong forms, no surrogates, nothing above U+10FFFF. */
#ifndef CONSENTGATE_UTF8_H
#define CONSENTGATE_UTF8_H

#include <stdint.h>

/* How many bytes a sequence has that begins with `first`, and the range of its second byte.
 * Returns 0 if no sequence begins so. */
static inline uint64_t utf8_sequence(uint8_t first, uint8_t *least, uint8_t *greatest)
{
    *least = 0x80;
    *greatest = 0xBF;
    if (first < 0x80)
        return 1;
    if (first >= 0xC2 && first <= 0xDF)
        return 2;
    if (first >= 0xE0 && first <= 0xEF) {
        if (first == 0xE0)
            *least = 0xA0;
        if (first == 0xED)
            *greatest = 0x9F;
        return 3;
    }
    if (first >= 0xF0 && first <= 0xF4) {
        if (first == 0xF0)
            *least = 0x90;
        if (first == 0xF4)
            *greatest = 0x8F;
        return 4;
    }
    return 0;
}

static inline int is_utf8(const uint8_t *text, uint64_t length)
{
    for (uint64_t at = 0; at < length;) {
        uint8_t least, greatest;
        uint64_t size = utf8_sequence(text[at], &least, &greatest);
        if (size == 0 || size > length - at)
            return 0;
        if (size > 1 && (text[at + 1] < least || text[at + 1] > greatest))
            return 0;
        for (uint64_t more = 2; more < size; more++)
            if ((text[at + more] & 0xC0) != 0x80)
                return 0;
        at += size;
    }
    return 1;
}

#endif
