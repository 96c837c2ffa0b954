/* The inverse of a large symmetric positive definite matrix, in place, in double precision, with the same bits
 * for any number of threads and any instruction set.
 *
 * Only the lower triangle is kept, in block rows: block row I holds rows [I·W, (I+1)·W) from column 0 to the end
 * of its diagonal block, W = INVERSE_WIDTH. That is 4 n² bytes and a little, half of what a square takes. */
#ifndef RECPIPE_INVERSE_H
#define RECPIPE_INVERSE_H

#include "compat.h"
#include "error.h"
#include "isa.h"
#include "parallel.h"
#include "progress.h"

enum { INVERSE_WIDTH = 240 };

struct symmetric {
	size_t order;      /* rows and columns */
	size_t padded;     /* the order in whole tiles; rows beyond the order are those of the identity */
	size_t blocks;     /* block rows */
	double *values;
};

/* Bytes that a matrix of this order takes, and symmetric_invert beside it. SIZE_MAX when that overflows. */
size_t symmetric_bytes(size_t order);
size_t symmetric_scratch_bytes(size_t order);

/* All zero. CODE_SYSTEM when there is not enough memory. */
MUST_CHECK int symmetric_init(struct symmetric *matrix, size_t order, struct error *error);
void symmetric_release(struct symmetric *matrix);

/* Row `row` as it is kept: element `column` is at [column], for columns up to the end of the row's diagonal block
 * (symmetric_row_end). Only those up to the diagonal count. */
static inline size_t symmetric_row_end(const struct symmetric *matrix, size_t row)
{
	const size_t end = (row / INVERSE_WIDTH + 1) * INVERSE_WIDTH;
	return end < matrix->padded ? end : matrix->padded;
}

static inline double *symmetric_row(const struct symmetric *matrix, size_t row)
{
	const size_t block = row / INVERSE_WIDTH, before = (size_t)INVERSE_WIDTH * INVERSE_WIDTH * (block * (block + 1) / 2);
	return matrix->values + before + (row - block * INVERSE_WIDTH) * symmetric_row_end(matrix, row);
}

/* Copies rows [begin, end) in full, each of `stride` >= order values, to `rows`. */
void symmetric_expand(const struct symmetric *matrix, size_t begin, size_t end, double *rows, size_t stride);

/* The matrix becomes its inverse. CODE_DATA when it is not positive definite, or so nearly that rounding would
 * decide: a pivot falls below 1e-12 of its diagonal element. It is lost then. `progress` (started by the caller, or
 * NULL) is told of every block row that is done. */
MUST_CHECK int symmetric_invert(struct symmetric *matrix, struct pool *pool, enum isa isa,
                                struct progress *progress, struct error *error);

#endif
