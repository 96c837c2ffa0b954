/* Which instruction set to use, chosen once at start: every kernel family is compiled for each of them. */
#ifndef RECPIPE_ISA_H
#define RECPIPE_ISA_H

#include "compat.h"
#include "error.h"

enum isa { ISA_AVX512, ISA_AVX2, ISA_PORTABLE, ISA_COUNT }; /* best first */

/* "avx512", "avx2", "portable". */
extern const char *const isa_names[ISA_COUNT];

/* The instruction set named `wanted` ("auto": the best this processor has; RECPIPE_ISA is read when it is
 * "auto"). -1 with CODE_USAGE for an unknown name, CODE_UNAVAILABLE for one the processor lacks. */
MUST_CHECK int isa_find(const char *wanted, enum isa *isa, struct error *error);

/* Whether `wanted`, or RECPIPE_ISA where that is "auto", names one. */
bool isa_is_forced(const char *wanted);

#endif
