/* Products of bfloat16 matrices in tiles, and the forms that their operands take. The inside of the bf16 kernels of one
 * instruction set. */
#ifndef RECPIPE_BF16_PRODUCT_H
#define RECPIPE_BF16_PRODUCT_H

#include "kernels.h"
#include "simd_matrix.h"
#include "simd_transpose.h"

enum {
	HALVES_A_TILE = MATRIX_ROWS * MATRIX_HALVES,
};

/* One operand on the right: tile (k, n) begins at from + k * k_step + n * n_step, in halves. */
struct right {
	const uint16_t *from;
	size_t k_step, n_step, stride; /* between rows, in bytes */
};

enum start { START_ZERO, START_BIAS, START_SUM };

/* out[m][n] (+)= sum over k of left[m][k] right[k][n], in tiles: `rows`, `columns` and `depth` count them. */
struct bf16_product {
	const uint16_t *left;
	size_t left_stride;       /* in halves */
	struct right right;
	size_t rows, columns, depth;
	enum start start;
	const float *bias;
	float *out;
	size_t out_stride;        /* in floats */
};

/* Where sum (m, n) starts from, and how far its rows are apart: a bias is one row for all. */
static inline const float *start_of(const struct bf16_product *p, size_t m, size_t n, size_t *stride)
{
	*stride = p->start == START_BIAS ? 0 : p->out_stride * sizeof(float);
	return p->start == START_BIAS ? p->bias + n * LANES : p->out + m * MATRIX_ROWS * p->out_stride + n * LANES;
}

#define START(registers, number, m, n) \
	do { \
		size_t start_stride; \
		const float *start_at = start_of(p, m, n, &start_stride); \
		if (p->start == START_ZERO) \
			MATRIX_ZERO(registers, number); \
		else \
			MATRIX_LOAD_SUM(registers, number, start_at, start_stride); \
	} while (0)

/* Sums (m, n), and where `tall` and `wide` say so (m + 1, n), (m, n + 1) and (m + 1, n + 1). */
LANE_CODE void product_tile(struct matrix_registers *r, const struct bf16_product *p, size_t m, size_t n,
                            const bool tall, const bool wide)
{
	const size_t left_stride = p->left_stride * sizeof *p->left, stride = p->right.stride;
	const size_t out_stride = p->out_stride * sizeof(float), left_step = MATRIX_ROWS * p->left_stride;
	const uint16_t *left = p->left + m * left_step, *right = p->right.from + n * p->right.n_step;
	float *out = p->out + m * MATRIX_ROWS * p->out_stride + n * LANES;
	(void)r; /* AMX's are the processor's own */
	START(r, 0, m, n);
	if (wide)
		START(r, 1, m, n + 1);
	if (tall)
		START(r, 2, m + 1, n);
	if (tall && wide)
		START(r, 3, m + 1, n + 1);
	for (size_t k = 0; k < p->depth; k++, left += MATRIX_DEPTH, right += p->right.k_step) {
		MATRIX_LOAD_LEFT(r, 4, left, left_stride);
		MATRIX_LOAD_RIGHT(r, 6, right, stride);
		MATRIX_MULTIPLY(r, 0, 4, 6);
		if (wide) {
			MATRIX_LOAD_RIGHT(r, 7, right + p->right.n_step, stride);
			MATRIX_MULTIPLY(r, 1, 4, 7);
		}
		if (tall) {
			MATRIX_LOAD_LEFT(r, 5, left + left_step, left_stride);
			MATRIX_MULTIPLY(r, 2, 5, 6);
		}
		if (tall && wide)
			MATRIX_MULTIPLY(r, 3, 5, 7);
	}
	MATRIX_STORE(r, 0, out, out_stride);
	if (wide)
		MATRIX_STORE(r, 1, out + LANES, out_stride);
	if (tall)
		MATRIX_STORE(r, 2, out + MATRIX_ROWS * p->out_stride, out_stride);
	if (tall && wide)
		MATRIX_STORE(r, 3, out + MATRIX_ROWS * p->out_stride + LANES, out_stride);
}

static inline void bf16_multiply(struct matrix_registers *r, const struct bf16_product *p)
{
	for (size_t m = 0; m < p->rows; m += 2)
		for (size_t n = 0; n < p->columns; n += 2) {
			if (m + 1 < p->rows && n + 1 < p->columns)
				product_tile(r, p, m, n, true, true);
			else if (m + 1 < p->rows)
				product_tile(r, p, m, n, true, false);
			else if (n + 1 < p->columns)
				product_tile(r, p, m, n, false, true);
			else
				product_tile(r, p, m, n, false, false);
		}
}

/* ---- operands ---- */

static inline size_t tiles_of(size_t count, size_t size)
{
	return (count + size - 1) / size;
}

static inline size_t depth_of(size_t units)
{
	return tiles_of(units, MATRIX_DEPTH) * MATRIX_DEPTH;
}

/* Rows [0, count) rounded, zeros behind them up to `rows`, and behind `columns` (a multiple of 16) up to the depth. */
static inline void round_rows(const float *from, size_t stride, size_t columns, size_t count, size_t rows, uint16_t *to)
{
	const size_t depth = depth_of(columns);
	for (size_t r = 0; r < rows; r++)
		for (size_t n = 0; n < depth; n += LANES)
			bf16_store(to + r * depth + n, r < count && n < columns ? vf_load(from + r * stride + n) : vf_set(0.0f));
}

/* The same with two rows side by side: what a sum over rows has on its right, [rows / 2][columns][2]. */
static inline void pair_rows(const float *from, size_t stride, size_t columns, size_t count, size_t rows, uint16_t *to)
{
	for (size_t r = 0; r < rows; r += 2)
		for (size_t n = 0; n < columns; n += LANES) {
			const vf even = r < count ? vf_load(from + r * stride + n) : vf_set(0.0f);
			const vf odd = r + 1 < count ? vf_load(from + (r + 1) * stride + n) : vf_set(0.0f);
			bf16_store_pairs(to + r * columns + 2 * n, even, odd);
		}
}

/* The same turned: what a sum over rows has on its left, [columns][TRAIN_LANES]. */
static inline void turn_rows(const float *from, size_t stride, size_t columns, size_t count, uint16_t *to)
{
	vf v[LANES];
	uint16_t pairs[2 * LANES];
	float lanes[LANES]; /* two halves each */
	for (size_t n = 0; n < columns; n += LANES)
		for (size_t first = 0; first < TRAIN_LANES; first += MATRIX_DEPTH) {
			for (size_t i = 0; i < LANES; i++) {
				pair_rows(from + (first + 2 * i) * stride + n, stride, LANES,
				          first + 2 * i < count ? count - first - 2 * i : 0, 2, pairs);
				memcpy(lanes, pairs, sizeof lanes);
				v[i] = vf_load(lanes);
			}
			vf_transpose(v);
			for (size_t i = 0; i < LANES; i++) {
				vf_store(lanes, v[i]);
				memcpy(to + (n + i) * TRAIN_LANES + first, lanes, sizeof lanes);
			}
		}
}

#endif
