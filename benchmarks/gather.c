/* The bare random gather: the lower limit for anything that looks up one line of memory a row. */
#include <stdint.h>

/* The sum of the first words of the lines at these positions; a line has eight words. */
__attribute__((visibility("default"))) uint64_t gather(const uint64_t *lines,
                                                       const int64_t *positions, int64_t count);

uint64_t gather(const uint64_t *lines, const int64_t *positions, int64_t count)
{
    uint64_t sum = 0;
    for (int64_t i = 0; i < count; i++)
        sum += lines[8 * positions[i]];
    return sum;
}
