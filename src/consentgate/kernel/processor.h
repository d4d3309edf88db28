/* What Python asks before it chooses a library. */
#ifndef CONSENTGATE_PROCESSOR_H
#define CONSENTGATE_PROCESSOR_H

#include "kernel.h"

/* 1 if the processor and the operating system can run the library for AVX2, else 0. */
CG_EXPORT int32_t cg_has_avx2(void);

/* SHA-256, in hexadecimal, of the C code and the flags that this library was made from. */
CG_EXPORT const char *cg_sources(void);

#endif
