/* Dense linear algebra for many small symmetric systems, one table of functions per instruction set, chosen at
 * start: products on gathered rows, Cholesky, triangular solves, and the reduction of a symmetric matrix to
 * tridiagonal form. Written for alternating least squares (ials.h); knows nothing of it.
 *
 * Layouts: row-major floats; widths are multiples of 16 with zeros in the padding; a stride is a multiple of
 * 16, best linear_stride(), which keeps the rows of a matrix from sharing a few sets of the first-level cache.
 * Of a symmetric matrix the upper triangle is kept; what lies below the diagonal is anything.
 *
 * Every product is one chain of fused multiply-adds from 0 in ascending order of the summed index, then one
 * addition to what was there: tile shapes differ between instruction sets, bits do not. */
#ifndef RECPIPE_LINEAR_H
#define RECPIPE_LINEAR_H

#include "compat.h"
#include "error.h"

enum { LINEAR_WIDTH_MAX = 1024 }; /* of rows taken by number */

/* L of a positive definite tridiagonal matrix B = L L^T, as the recurrences read it. */
struct linear_band {
	size_t width;             /* rows, padded: beyond the matrix inverse is 1, the others 0 */
	float *inverse;           /* 1 / l[k][k] */
	float *forward;           /* -l[k][k - 1] / l[k][k], 0 for k = 0 */
	float *backward;          /* -l[k + 1][k] / l[k][k], 0 for the last */
};

/* Some rows of a matrix, by number. */
struct linear_rows {
	const float *values;      /* [anything][stride] */
	size_t stride, width;     /* width at most LINEAR_WIDTH_MAX */
	const uint32_t *ids;
	size_t count;
};

struct linear {
	const char *name;

	/* upper[i][j] += sum over r of x[r][i] x[r][j], j >= i: `rows` rows of `width`. */
	void (*add_gram)(const float *x, size_t x_stride, size_t rows, size_t width, float *upper, size_t stride);

	/* out[m][n] = sum over r of x[m][r] y[r][n]: `rows` a multiple of 16, `depth` any, `width` of 16. */
	void (*multiply)(const float *x, size_t x_stride, size_t rows, const float *y, size_t y_stride, size_t depth,
	                 float *out, size_t out_stride, size_t width);

	/* out[0..width) += sum over j of weights[j] * row j, ascending. */
	void (*add_rows)(const struct linear_rows *rows, const float *weights, float *out);

	/* out[j] = row j . x, in 16 lanes: out has room for count rounded up to 16, zeros beyond count. */
	void (*dot_rows)(const struct linear_rows *rows, const float *x, float *out);

	/* out = L^-1 R^T, [width][out_stride]: R are the rows, columns padded with zeros to a multiple of 16. */
	void (*whiten)(const struct linear_rows *rows, const struct linear_band *band, float *out, size_t out_stride);

	/* x = B^-1 x, in place. */
	void (*solve_band)(const struct linear_band *band, float *x);

	/* S = U^T U in place (Cholesky; Golub & Van Loan, Matrix Computations, 4.2). inverse[0..width) receives
	 * 1 / u[k][k]. False when a pivot is not above 0, NaN included: then the matrix is ruined. */
	bool (*factor)(float *upper, size_t stride, size_t width, float *inverse);

	/* x = (U^T U)^-1 x, in place. */
	void (*solve)(const float *upper, size_t stride, size_t width, const float *inverse, float *x);

	/* Householder's reduction (Golub & Van Loan, 8.3.1): symmetric a [size][size], both triangles given,
	 * a = Q T Q^T. diagonal[size] and off[size] (off[k] = T[k][k + 1], off[size - 1] = 0) receive T, basis
	 * [size][size] receives Q; a is ruined; scratch holds 2 * size. Without fused operations. */
	void (*tridiagonalize)(double *a, size_t size, double *diagonal, double *off, double *basis,
	                       double *scratch);
};

/* The functions for instruction set `isa` ("auto": the best this processor has, see isa.h), or NULL with an
 * error set. */
MUST_CHECK const struct linear *linear_find(const char *isa, struct error *error);

/* `count` rounded up to whole vectors of 16 floats. */
static inline size_t linear_width(size_t count)
{
	return (count + 15) / 16 * 16;
}

/* A stride for rows of `width` (a multiple of 16): an odd number of cache lines. */
static inline size_t linear_stride(size_t width)
{
	return width / 16 % 2 ? width : width + 16;
}

#endif
