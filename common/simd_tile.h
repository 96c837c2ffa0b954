/* Products of matrices for the sources that are compiled once for each instruction set (NAME_isa.c).
 *
 * One register tile serves them all: rows times vectors of outputs, the accumulators in registers over the
 * whole depth. Tile shapes are constants of the instruction set, so that the loops unroll and nothing is
 * spilled; every output is one chain of fused multiply-adds in ascending order of the summed index, so that
 * they do not change a bit. */
#ifndef RECPIPE_SIMD_TILE_H
#define RECPIPE_SIMD_TILE_H

#include "simd.h"

#if defined(KERNEL_ISA_avx512)
enum { TILE_VECTORS = 4 };  /* 6 x 4 or 12 x 2 accumulators of 32 registers */
#else
enum { TILE_VECTORS = 1 };  /* 6 x 1 pairs of 16 registers */
#endif

enum { TILE_SUMS = 12 };

/* What a sum starts from, and what is done to it: a bias for each column, or (UNIT_) for each row. */
enum epilogue {
	BIAS_ONLY, BIAS_RELU, UNIT_BIAS_ONLY, UNIT_BIAS_RELU, MASK_BY_POSITIVE, MASK_AND_SCALE, NO_EPILOGUE, ACCUMULATE
};

/* A product to be tiled: out[m][n] = sum over r of x[m * x_row + r * x_step] * y[r * y_step + n]. */
struct product {
	const float *x;
	size_t x_row, x_step;
	const float *y;
	size_t y_step, depth;
	float *out;
	size_t out_row;
	const float *extra;       /* the bias, or what masks (laid out with extra_row) */
	size_t extra_row;
	float scale;              /* MASK_AND_SCALE */
};

LANE_CODE vf start_value(enum epilogue how, const struct product *p, size_t m, size_t n)
{
	if (how == ACCUMULATE)
		return vf_load(p->out + m * p->out_row + n);
	if ((how == BIAS_ONLY || how == BIAS_RELU) && p->extra)
		return vf_load(p->extra + n);
	if (how == UNIT_BIAS_ONLY || how == UNIT_BIAS_RELU)
		return vf_set(p->extra[m]);
	return vf_set(0.0f);
}

LANE_CODE vf end_value(enum epilogue how, const struct product *p, size_t m, size_t n, vf value)
{
	if (how == BIAS_RELU || how == UNIT_BIAS_RELU)
		return vf_relu(value);
	if (how == MASK_AND_SCALE)
		value = vf_mul(value, vf_set(p->scale));
	if (how == MASK_BY_POSITIVE || how == MASK_AND_SCALE)
		return vf_where_positive(vf_load(p->extra + m * p->extra_row + n), value, vf_set(0.0f));
	return value;
}

/* Rows m..m+rows and vectors n..n+16*vectors: `rows` and `vectors` are constants where this is inlined. */
LANE_CODE void tile(const size_t rows, const size_t vectors, enum epilogue how, const struct product *p, size_t m,
                    size_t n)
{
	vf sum[TILE_SUMS][4];
#pragma GCC unroll 12
	for (size_t i = 0; i < rows; i++)
#pragma GCC unroll 4
		for (size_t v = 0; v < vectors; v++)
			sum[i][v] = start_value(how, p, m + i, n + LANES * v);
	const float *x = p->x + m * p->x_row, *y = p->y + n;
	const size_t x_row = p->x_row, x_step = p->x_step, y_step = p->y_step;
	for (size_t r = p->depth; r-- > 0; x += x_step, y += y_step) {
		vf column[4];
#pragma GCC unroll 4
		for (size_t v = 0; v < vectors; v++)
			column[v] = vf_load(y + LANES * v);
#pragma GCC unroll 12
		for (size_t i = 0; i < rows; i++) {
			vf factor = vf_set(x[i * x_row]);
#pragma GCC unroll 4
			for (size_t v = 0; v < vectors; v++)
				sum[i][v] = vf_fma(factor, column[v], sum[i][v]);
		}
	}
#pragma GCC unroll 12
	for (size_t i = 0; i < rows; i++)
#pragma GCC unroll 4
		for (size_t v = 0; v < vectors; v++)
			vf_store(p->out + (m + i) * p->out_row + n + LANES * v,
			         end_value(how, p, m + i, n + LANES * v, sum[i][v]));
}

/* `rows` a multiple of TILE_ROWS, `width` of LANES: products whose rows are samples. */
LANE_CODE void multiply(enum epilogue how, const struct product *p, size_t rows, size_t width)
{
	size_t n = 0;
	for (; TILE_VECTORS >= 4 && n + 4 * LANES <= width; n += 4 * LANES)
		for (size_t m = 0; m < rows; m += 6)
			tile(6, 4, how, p, m, n);
	for (; TILE_VECTORS >= 2 && n + 2 * LANES <= width; n += 2 * LANES)
		for (size_t m = 0; m < rows; m += 12)
			tile(12, 2, how, p, m, n);
	for (; n < width; n += LANES)
		for (size_t m = 0; m < rows; m += TILE_VECTORS >= 2 ? 12 : 6)
			tile(TILE_VECTORS >= 2 ? 12 : 6, 1, how, p, m, n);
}

/* Any number of rows: products whose rows are outputs of a layer (weight gradients). */
LANE_CODE void multiply_outputs(const struct product *p, size_t rows, size_t width)
{
	size_t n = 0;
	for (; TILE_VECTORS >= 4 && n + 2 * LANES <= width; n += 2 * LANES) {
		size_t m = 0;
		for (; m + 8 <= rows; m += 8)
			tile(8, 2, ACCUMULATE, p, m, n);
		for (; m + 4 <= rows; m += 4)
			tile(4, 2, ACCUMULATE, p, m, n);
		for (; m < rows; m++)
			tile(1, 2, ACCUMULATE, p, m, n);
	}
	for (; n < width; n += LANES) {
		size_t m = 0;
		for (; TILE_VECTORS >= 4 && m + 8 <= rows; m += 8)
			tile(8, 1, ACCUMULATE, p, m, n);
		for (; m + 4 <= rows; m += 4)
			tile(4, 1, ACCUMULATE, p, m, n);
		for (; m < rows; m++)
			tile(1, 1, ACCUMULATE, p, m, n);
	}
}

/* One column of tiles: `most` rows at a time, then two, then one. */
LANE_CODE void unit_tiles(const size_t most, const size_t vectors, enum epilogue how, const struct product *p,
                          size_t rows, size_t n)
{
	size_t m = 0;
	for (; m + most <= rows; m += most)
		tile(most, vectors, how, p, m, n);
	for (; m + 2 <= rows; m += 2)
		tile(2, vectors, how, p, m, n);
	for (; m < rows; m++)
		tile(1, vectors, how, p, m, n);
}

/* Any number of rows, `width` a multiple of 64: rows are units of a layer, columns samples that stand side by side. */
LANE_CODE void multiply_units(enum epilogue how, const struct product *p, size_t rows, size_t width)
{
	for (size_t n = 0; n < width; n += TILE_VECTORS * LANES)
		unit_tiles(6, TILE_VECTORS, how, p, rows, n);
}

#endif
