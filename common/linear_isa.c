/* Linear algebra of one instruction set: compiled with KERNEL_ISA set to avx512, avx2 and portable.
 *
 * One register tile serves all products: rows times vectors of outputs, the accumulators in registers over the
 * whole depth. Cholesky goes by panels of rows: what is above a panel is subtracted by tiles, then its blocks
 * of 16 rows are factored one after another with everything in registers. Panels and blocks are the same on
 * every instruction set, for they order the sums. */
#include "linear.h"

#include <math.h>

#include "linear_tridiagonal.h"
#include "simd_transpose.h"

#if defined(KERNEL_ISA_avx512)
enum { TILE_ROWS = 8, TILE_VECTORS = 2 };  /* of 32 registers */
#else
enum { TILE_ROWS = 6, TILE_VECTORS = 1 };  /* 6 pairs of 16 registers */
#endif

/* Before a loop of constant length whose vectors shall stay in registers; there are none to stay in otherwise. */
#if defined(KERNEL_ISA_portable)
#define UNROLLED _Pragma("GCC unroll 1")
#else
#define UNROLLED _Pragma("GCC unroll 16")
#endif

enum { PANEL = 64 };

enum ending { STORE, ADD, SUBTRACT };

/* A product to be tiled: sum over r of x[m * x_row + r * x_step] * y[r * y_step + n]. */
struct product {
	const float *x;
	size_t x_row, x_step;
	const float *y;
	size_t y_step, depth;
	float *out;
	size_t out_row;
};

/* Rows m..m+rows and vectors n..n+16*vectors: `rows` and `vectors` are constants where this is inlined. */
LANE_CODE void tile(const size_t rows, const size_t vectors, enum ending how, const struct product *p, size_t m,
                    size_t n)
{
	vf sum[TILE_ROWS][TILE_VECTORS];
UNROLLED
	for (size_t i = 0; i < rows; i++)
UNROLLED
		for (size_t v = 0; v < vectors; v++)
			sum[i][v] = vf_set(0.0f);
	const float *x = p->x + m * p->x_row, *y = p->y + n;
	const size_t x_row = p->x_row, x_step = p->x_step, y_step = p->y_step;
	for (size_t r = p->depth; r-- > 0; x += x_step, y += y_step) {
		vf column[TILE_VECTORS];
UNROLLED
		for (size_t v = 0; v < vectors; v++)
			column[v] = vf_load(y + LANES * v);
UNROLLED
		for (size_t i = 0; i < rows; i++) {
			vf factor = vf_set(x[i * x_row]);
UNROLLED
			for (size_t v = 0; v < vectors; v++)
				sum[i][v] = vf_fma(factor, column[v], sum[i][v]);
		}
	}
UNROLLED
	for (size_t i = 0; i < rows; i++)
UNROLLED
		for (size_t v = 0; v < vectors; v++) {
			float *out = p->out + (m + i) * p->out_row + n + LANES * v;
			vf value = sum[i][v];
			if (how == ADD)
				value = vf_add(vf_load(out), value);
			if (how == SUBTRACT)
				value = vf_sub(vf_load(out), value);
			vf_store(out, value);
		}
}

/* Rows m..end, an even number of them. */
LANE_CODE void tiles(const size_t vectors, enum ending how, const struct product *p, size_t m, size_t end,
                     size_t n)
{
	for (; m + TILE_ROWS <= end; m += TILE_ROWS)
		tile(TILE_ROWS, vectors, how, p, m, n);
	for (; m + 4 <= end; m += 4)
		tile(4, vectors, how, p, m, n);
	for (; m < end; m += 2)
		tile(2, vectors, how, p, m, n);
}

/* Rows begin..end of the upper triangle of a matrix `width` wide: x and y of the product are the same matrix,
 * read by columns m and n; nothing left of a row's own 16-wide block is computed. */
LANE_CODE void triangle(enum ending how, const struct product *p, size_t begin, size_t end, size_t width)
{
	size_t n = begin;
	for (; TILE_VECTORS == 2 && n + 2 * LANES <= width; n += 2 * LANES) {
		const size_t middle = n + LANES < end ? n + LANES : end;
		const size_t last = middle + LANES < end ? middle + LANES : end;
		tiles(TILE_VECTORS, how, p, begin, middle, n);
		tiles(1, how, p, middle, last, n + LANES);
	}
	for (; n < width; n += LANES)
		tiles(1, how, p, begin, n + LANES < end ? n + LANES : end, n);
}

static void add_gram(const float *x, size_t x_stride, size_t rows, size_t width, float *upper, size_t stride)
{
	const struct product p = {.x = x, .x_row = 1, .x_step = x_stride, .y = x, .y_step = x_stride, .depth = rows,
	                          .out = upper, .out_row = stride};
	triangle(ADD, &p, 0, width, width);
}

static void multiply(const float *x, size_t x_stride, size_t rows, const float *y, size_t y_stride, size_t depth,
                     float *out, size_t out_stride, size_t width)
{
	const struct product p = {.x = x, .x_row = x_stride, .x_step = 1, .y = y, .y_step = y_stride, .depth = depth,
	                          .out = out, .out_row = out_stride};
	size_t n = 0;
	for (; n + TILE_VECTORS * LANES <= width; n += TILE_VECTORS * LANES)
		tiles(TILE_VECTORS, STORE, &p, 0, rows, n);
	for (; n < width; n += LANES)
		tiles(1, STORE, &p, 0, rows, n);
}

/* ---- rows by number ---- */

LANE_CODE void add_rows_to(const size_t vectors, const struct linear_rows *rows, const float *weights, float *out,
                           size_t n)
{
	vf sum[8];
UNROLLED
	for (size_t v = 0; v < vectors; v++)
		sum[v] = vf_set(0.0f);
	for (size_t j = 0; j < rows->count; j++) {
		const float *row = rows->values + rows->ids[j] * rows->stride + n;
		const vf weight = vf_set(weights[j]);
UNROLLED
		for (size_t v = 0; v < vectors; v++)
			sum[v] = vf_fma(weight, vf_load(row + LANES * v), sum[v]);
	}
UNROLLED
	for (size_t v = 0; v < vectors; v++)
		vf_store(out + n + LANES * v, vf_add(vf_load(out + n + LANES * v), sum[v]));
}

static void add_rows(const struct linear_rows *rows, const float *weights, float *out)
{
	enum { MANY = 4 };
	size_t n = 0;
	for (; n + MANY * LANES <= rows->width; n += MANY * LANES)
		add_rows_to(MANY, rows, weights, out, n);
	for (; n < rows->width; n += LANES)
		add_rows_to(1, rows, weights, out, n);
}

static const float nothing[LINEAR_WIDTH_MAX];

/* Sixteen rows from number `first` on; beyond the last they are zeros. */
LANE_CODE void find_sixteen(const struct linear_rows *rows, size_t first, const float *found[LANES])
{
	for (size_t j = 0; j < LANES; j++)
		found[j] = first + j < rows->count ? rows->values + rows->ids[first + j] * rows->stride : nothing;
}

/* Lane k of the result: the lanes of sum[k], added in order. */
LANE_CODE vf add_lanes(vf sum[LANES])
{
	vf_transpose(sum);
	for (size_t k = 1; k < LANES; k++)
		sum[0] = vf_add(sum[0], sum[k]);
	return sum[0];
}

static void dot_rows(const struct linear_rows *rows, const float *x, float *out)
{
	for (size_t first = 0; first < rows->count; first += LANES) {
		const float *found[LANES];
		vf sum[LANES];
		find_sixteen(rows, first, found);
UNROLLED
		for (size_t j = 0; j < LANES; j++)
			sum[j] = vf_set(0.0f);
		for (size_t k = 0; k < rows->width; k += LANES) {
			const vf part = vf_load(x + k);
UNROLLED
			for (size_t j = 0; j < LANES; j++)
				sum[j] = vf_fma(part, vf_load(found[j] + k), sum[j]);
		}
		vf_store(out + first, add_lanes(sum));
	}
}

/* Sixteen rows become sixteen columns: lanes are rows, the recurrence runs down. */
static void whiten_sixteen(const struct linear_rows *rows, size_t first, const struct linear_band *band,
                           float *out, size_t out_stride)
{
	const float *found[LANES];
	vf before = vf_set(0.0f);
	find_sixteen(rows, first, found);
	for (size_t k = 0; k < band->width; k += LANES) {
		vf block[LANES];
UNROLLED
		for (size_t j = 0; j < LANES; j++)
			block[j] = vf_load(found[j] + k);
		vf_transpose(block);
UNROLLED
		for (size_t r = 0; r < LANES; r++) {
			const vf scaled = vf_mul(block[r], vf_set(band->inverse[k + r]));
			before = vf_fma(before, vf_set(band->forward[k + r]), scaled);
			vf_store(out + (k + r) * out_stride + first, before);
		}
	}
}

static void whiten(const struct linear_rows *rows, const struct linear_band *band, float *out, size_t out_stride)
{
	for (size_t first = 0; first < rows->count; first += LANES)
		whiten_sixteen(rows, first, band, out, out_stride);
}

static void solve_band(const struct linear_band *band, float *x)
{
	float value = 0;
	for (size_t k = 0; k < band->width; k++)
		x[k] = value = value * band->forward[k] + x[k] * band->inverse[k];
	value = 0;
	for (size_t k = band->width; k-- > 0;)
		x[k] = value = value * band->backward[k] + x[k] * band->inverse[k];
}

/* ---- Cholesky ---- */

/* Rows begin..end of the upper triangle less what rows from..until of U say of them. */
static void subtract_above(float *upper, size_t stride, size_t width, size_t from, size_t until, size_t begin,
                           size_t end)
{
	const float *above = upper + from * stride;
	const struct product p = {.x = above, .x_row = 1, .x_step = stride, .y = above, .y_step = stride,
	                          .depth = until - from, .out = upper, .out_row = stride};
	if (p.depth)
		triangle(SUBTRACT, &p, begin, end, width);
}

/* The block of 16 on the diagonal; negated[q][r] = -u[q][r] for what is right of it. */
static bool factor_block(float *block, size_t stride, float *inverse, float negated[LANES][LANES])
{
	vf row[LANES];
UNROLLED
	for (size_t r = 0; r < LANES; r++)
		row[r] = vf_load(block + r * stride);
	bool good = true;
UNROLLED
	for (size_t k = 0; k < LANES; k++) {
		float lanes[LANES];
		vf_store(lanes, row[k]);
		const float pivot = lanes[k];
		good &= pivot > 0;
		inverse[k] = 1.0f / sqrtf(pivot > 0 ? pivot : 1.0f);
		row[k] = vf_mul(row[k], vf_set(inverse[k]));
		vf_store(block + k * stride, row[k]);
		vf_store(negated[k], vf_sub(vf_set(0.0f), row[k]));
UNROLLED
		for (size_t r = k + 1; r < LANES; r++)
			row[r] = vf_fma(vf_set(negated[k][r]), row[k], row[r]);
	}
	return good;
}

/* Sixteen columns right of the block: U^-T times them. */
LANE_CODE void finish_columns(float *columns, size_t stride, const float *inverse,
                              const float negated[LANES][LANES])
{
	vf row[LANES];
UNROLLED
	for (size_t r = 0; r < LANES; r++)
		row[r] = vf_load(columns + r * stride);
UNROLLED
	for (size_t k = 0; k < LANES; k++) {
		row[k] = vf_mul(row[k], vf_set(inverse[k]));
		vf_store(columns + k * stride, row[k]);
UNROLLED
		for (size_t r = k + 1; r < LANES; r++)
			row[r] = vf_fma(vf_set(negated[k][r]), row[k], row[r]);
	}
}

static bool factor(float *upper, size_t stride, size_t width, float *inverse)
{
	float negated[LANES][LANES];
	for (size_t panel = 0; panel < width; panel += PANEL) {
		const size_t end = panel + PANEL < width ? panel + PANEL : width;
		subtract_above(upper, stride, width, 0, panel, panel, end);
		for (size_t b = panel; b < end; b += LANES) {
			subtract_above(upper, stride, width, panel, b, b, b + LANES);
			if (!factor_block(upper + b * stride + b, stride, inverse + b, negated))
				return false;
			for (size_t n = b + LANES; n < width; n += LANES)
				finish_columns(upper + b * stride + n, stride, inverse + b, negated);
		}
	}
	return true;
}

/* x of one block from its right-hand side, by columns of the triangle (line[k]: what unknown k adds to the
 * others): upwards from the first unknown or downwards from the last. */
LANE_CODE void solve_block(const vf line[LANES], const float *inverse, bool upwards, vf right, float *x)
{
UNROLLED
	for (size_t i = 0; i < LANES; i++) {
		const size_t k = upwards ? i : LANES - 1 - i;
		float lanes[LANES];
		vf_store(lanes, right);
		x[k] = lanes[k] * inverse[k];
		right = vf_fma(vf_set(-x[k]), line[k], right);
	}
}

/* U^T x = x */
static void solve_forward(const float *upper, size_t stride, size_t width, const float *inverse, float *x)
{
	for (size_t b = 0; b < width; b += LANES) {
		const float *rows = upper + b * stride;
		vf line[LANES];
		for (size_t k = 0; k < LANES; k++)
			line[k] = vf_load(rows + k * stride + b);
		solve_block(line, inverse + b, true, vf_load(x + b), x + b);
		for (size_t n = b + LANES; n < width; n += LANES) {
			vf right = vf_load(x + n);
UNROLLED
			for (size_t k = 0; k < LANES; k++)
				right = vf_fma(vf_set(-x[b + k]), vf_load(rows + k * stride + n), right);
			vf_store(x + n, right);
		}
	}
}

/* U x = x: sums along rows in 16 lanes, added in the order of lanes. */
static void solve_backward(const float *upper, size_t stride, size_t width, const float *inverse, float *x)
{
	for (size_t b = width; b > 0;) {
		b -= LANES;
		const float *rows = upper + b * stride;
		vf sum[LANES], line[LANES];
UNROLLED
		for (size_t k = 0; k < LANES; k++)
			sum[k] = vf_set(0.0f);
		for (size_t n = b + LANES; n < width; n += LANES) {
			const vf known = vf_load(x + n);
UNROLLED
			for (size_t k = 0; k < LANES; k++)
				sum[k] = vf_fma(known, vf_load(rows + k * stride + n), sum[k]);
		}
		const vf sums = add_lanes(sum);
		for (size_t k = 0; k < LANES; k++)
			line[k] = vf_load(rows + k * stride + b);
		vf_transpose(line);
		solve_block(line, inverse + b, false, vf_sub(vf_load(x + b), sums), x + b);
	}
}

static void solve(const float *upper, size_t stride, size_t width, const float *inverse, float *x)
{
	solve_forward(upper, stride, width, inverse, x);
	solve_backward(upper, stride, width, inverse, x);
}

extern const struct linear JOIN(linear_, KERNEL_ISA);
const struct linear JOIN(linear_, KERNEL_ISA) = {
	.name = TEXT(KERNEL_ISA),
	.add_gram = add_gram,
	.multiply = multiply,
	.add_rows = add_rows,
	.dot_rows = dot_rows,
	.whiten = whiten,
	.solve_band = solve_band,
	.factor = factor,
	.solve = solve,
	.tridiagonalize = JOIN(linear_tridiagonalize_, KERNEL_ISA),
};
