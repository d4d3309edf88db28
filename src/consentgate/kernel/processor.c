#include "processor.h"

#if defined(__x86_64__)

#include <cpuid.h>

/* Whether the operating system saves the wide registers when it switches between threads. */
static int saves_wide_registers(void)
{
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (low & 6u) == 6u;
}

static int has_all(uint32_t word, uint32_t mask)
{
    return (word & mask) == mask;
}

/* The abilities that building.py compiles for. The bits are those of Intel's and AMD's manuals. */
int32_t cg_has_avx2(void)
{
    const uint32_t fma_popcnt_osxsave_avx = 1u << 12 | 1u << 23 | 1u << 27 | 1u << 28;
    const uint32_t bmi_avx2_bmi2 = 1u << 3 | 1u << 5 | 1u << 8;
    const uint32_t lzcnt = 1u << 5;
    uint32_t a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !has_all(c, fma_popcnt_osxsave_avx))
        return 0;
    if (!saves_wide_registers())
        return 0;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !has_all(b, bmi_avx2_bmi2))
        return 0;
    return __get_cpuid(0x80000001u, &a, &b, &c, &d) && has_all(c, lzcnt);
}

#else

int32_t cg_has_avx2(void)
{
    return 0;
}

#endif

const char *cg_sources(void)
{
    return CG_SOURCES;
}
