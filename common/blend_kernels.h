/* The inner loops of fitting a blend, compiled for each instruction set (common/isa.h). Every number is one chain of
 * additions in an order that the problem gives, so instruction sets cannot differ. */
#ifndef RECPIPE_BLEND_KERNELS_H
#define RECPIPE_BLEND_KERNELS_H

#include "compat.h"

enum { BLEND_PAD = 8 }; /* doubles: rows are padded to a multiple */

struct blend_kernels {
	/* scores[c] = sum over s, in order, of x_s[c] (weights[s] + by_popular[s] popular[c]), with x_s = values + s * count. */
	void (*find_scores)(const float *values, const float *popular, size_t count, size_t signals, const double *weights,
	                    const double *by_popular, double *scores);
	/* rows[c] = all x_s[c], all x_s[c] popular[c], zeros up to width. */
	void (*fill_rows)(const float *values, const float *popular, size_t count, size_t signals, size_t width, double *rows);
	/* mean = sum over c, in order, of shares[c] rows[c], and is taken off every row. */
	void (*centre_rows)(double *rows, const double *shares, size_t count, size_t width, double *mean);
	/* second[i * width + j] = sum over rows r, in order, of shares[r] rows[r][i] rows[r][j]; symmetric. */
	void (*find_products)(const double *rows, const double *shares, size_t count, size_t width, double *second);
};

#endif
