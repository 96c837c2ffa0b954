/* The inner loop of fitting a blend, compiled for each instruction set (common/isa.h). */
#ifndef RECPIPE_BLEND_KERNELS_H
#define RECPIPE_BLEND_KERNELS_H

#include "compat.h"

enum { BLEND_PAD = 8 }; /* doubles: rows are padded to a multiple */

struct blend_kernels {
	/* second[i * width + j] += sum over rows r, in order, of weights[r] rows[r][i] rows[r][j]; width a multiple of
	 * BLEND_PAD. */
	void (*add_products)(const double *rows, const double *weights, size_t count, size_t width, double *second);
};

#endif
