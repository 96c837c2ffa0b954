/* The inner loops of the users' side of EASE, one table for each instruction set (common/isa.h). */
#ifndef RECPIPE_SIMILARITY_EASE_KERNELS_H
#define RECPIPE_SIMILARITY_EASE_KERNELS_H

#include "compat.h"

enum { EASE_LANES = 8 };

struct ease_kernels {
	/* sums[k] += values[k] for k in [0, count). */
	void (*add)(double *sums, const double *values, size_t count);

	/* out[i][lane] = sum over u in users[offsets[i] .. offsets[i + 1]), in that order from 0, of values[u][lane], for i
	 * in [0, count) and EASE_LANES lanes. */
	void (*sum_rows)(const double *values, const uint64_t *offsets, const uint32_t *users, size_t count, double *out);
};

#endif
