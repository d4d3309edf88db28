/* Ticks of a timestamp as microseconds since 1970, rounded both ways and clamped to 64 bits. */
#ifndef CONSENTGATE_INSTANTS_H
#define CONSENTGATE_INSTANTS_H

#include "kernel.h"

#define EARLIEST INT64_MIN
#define LATEST INT64_MAX

static inline int64_t floor_micros(int64_t ticks, int64_t unit)
{
    if (unit == CG_MICROSECONDS)
        return ticks;
    if (unit == CG_NANOSECONDS)
        return ticks / 1000 - (ticks % 1000 < 0);
    int64_t factor = unit == CG_SECONDS ? 1000000 : 1000;
    if (ticks > LATEST / factor)
        return LATEST;
    if (ticks < EARLIEST / factor)
        return EARLIEST;
    return ticks * factor;
}

/* Never EARLIEST, so that two instants that are both too early still compare against admission. */
static inline int64_t ceil_micros(int64_t ticks, int64_t unit)
{
    int64_t micros = floor_micros(ticks, unit);
    if (unit == CG_NANOSECONDS)
        return micros + (ticks % 1000 != 0);
    return micros == EARLIEST ? EARLIEST + 1 : micros;
}

#endif
