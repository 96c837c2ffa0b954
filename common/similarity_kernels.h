/* The inner loop of similarity_scores, compiled for each instruction set (common/isa.h). */
#ifndef RECPIPE_SIMILARITY_KERNELS_H
#define RECPIPE_SIMILARITY_KERNELS_H

#include "compat.h"

struct similarity_kernels {
	/* sums[i] += factor * weights[i] for i in [0, count): the product is rounded, then the sum. */
	void (*add)(float *sums, const float *weights, float factor, size_t count);
};

#endif
