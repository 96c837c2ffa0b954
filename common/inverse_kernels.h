/* The inner loops of symmetric_invert, one table for each instruction set (common/isa.h).
 *
 * Operands are packed in tiles: the left one in rows of TILE_ROWS, [depth][TILE_ROWS], the right one in columns of
 * TILE_COLUMNS, [depth][TILE_COLUMNS]. */
#ifndef RECPIPE_INVERSE_KERNELS_H
#define RECPIPE_INVERSE_KERNELS_H

#include "compat.h"

enum { TILE_ROWS = 12, TILE_COLUMNS = 16, TILES_MULTIPLE = 48 };

struct inverse_kernels {
	/* c[i][j] = c[i][j] + (0 + sum over k, ascending, of left[k][i] · right[k][j]): a chain of fused multiply-adds
	 * for each element, then one addition. `stride`: of c's rows. */
	void (*add_product)(const double *left, const double *right, size_t depth, double *c, size_t stride);

	/* The lower triangle of the `width` × `width` matrix d (rows of INVERSE_WIDTH, a multiple of 48 in use) becomes
	 * minus its inverse. `least[k]` is the smallest pivot to be believed, `column` has room for `width` values.
	 * Returns `width`, or the row whose pivot is not above its least. */
	size_t (*sweep)(double *d, size_t width, const double *least, double *column);
};

#endif
