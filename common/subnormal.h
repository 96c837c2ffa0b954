/* Numbers too small to be normal (below 2^-126) cost a hundred cycles each on many processors, and moments of weights
 * that get no gradient any more decay into them for good. Training and scoring take them for 0: the processor is told
 * so for a while. All instruction sets of x86-64 obey the same register, and threads inherit it from whoever starts
 * them, so results stay the same everywhere. */
#ifndef RECPIPE_SUBNORMAL_H
#define RECPIPE_SUBNORMAL_H

#include "compat.h"

#if defined(__x86_64__)

#include <xmmintrin.h>

/* From now on, in this thread. Returns what subnormal_restore needs. */
static inline unsigned subnormal_flush(void)
{
	const unsigned before = _mm_getcsr();
	_mm_setcsr(before | 0x8040u); /* flush results to zero, take arguments for zero */
	return before;
}

static inline void subnormal_restore(unsigned before)
{
	_mm_setcsr(before);
}

#else

static inline unsigned subnormal_flush(void)
{
	return 0;
}

static inline void subnormal_restore(unsigned before)
{
	(void)before;
}

#endif

#endif
