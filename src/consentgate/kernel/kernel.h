/* Placeholder for the functions that Python calls. */

#ifndef CONSENTGATE_KERNEL_H
#define CONSENTGATE_KERNEL_H

#include <stdint.h>

#if defined(_WIN32)
#define CG_EXPORT __declspec(dllexport)
#else
#define CG_EXPORT __attribute__((visibility("default")))
#endif

#endif
