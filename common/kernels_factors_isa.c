/* Products of factors on one instruction set: logits of samples, gradients of rows, scores of users with items. */
#include "kernels.h"
#include "simd_tile.h"
#include "simd_transpose.h"

enum { AHEAD = 8 }; /* rows that are asked for before they are needed */

/* out[i] = the sum of the lanes of v[i]: halves are added up, then quarters, and so on. */
LANE_CODE void sum_lanes(vf v[LANES], float *out)
{
	vf_transpose(v);
	for (size_t half = LANES / 2; half > 0; half /= 2)
		for (size_t i = 0; i < half; i++)
			v[i] = vf_add(v[i], v[i + half]);
	vf_store(out, v[0]);
}

static void logits(const struct factor_rows *rows, const uint32_t *user_slots, const uint32_t *item_slots,
                   size_t count, float *out)
{
	const size_t stride = rows->stride;
	float query[FACTOR_COLUMNS_MAX + LANES], some[LANES];
	vf sums[LANES];
	for (size_t s = 0; s < count; s++) {
		const float *x = rows->users + user_slots[s / rows->piece] * stride, *y = rows->items + item_slots[s] * stride;
		for (size_t n = 0; n < stride && s % rows->piece == 0; n += LANES)
			vf_store(query + n, vf_mul(vf_load(x + n), vf_load(rows->weight + n)));
		vf sum = vf_set(0.0f);
		for (size_t n = 0; n < stride; n += LANES)
			sum = vf_fma(vf_load(query + n), vf_load(y + n), sum);
		sums[s % LANES] = sum;
		if (s % LANES < LANES - 1 && s + 1 < count)
			continue;
		const size_t last = s % LANES + 1, first = s + 1 - last;
		for (size_t i = last; i < LANES; i++)
			sums[i] = vf_set(0.0f);
		sum_lanes(sums, some);
		for (size_t i = 0; i < last; i++)
			out[first + i] = some[i] + rows->bias;
	}
}

/* The functions below go by `vectors` (a constant) columns at a time, so that sums stay in registers. */

LANE_CODE void weight_columns(const size_t vectors, const struct factor_rows *rows, const uint32_t *user_slots,
                              const uint32_t *item_slots, size_t count, const float *derivatives, size_t n, float *weight)
{
	vf sum[4];
#pragma GCC unroll 4
	for (size_t v = 0; v < vectors; v++)
		sum[v] = vf_load(weight + n + v * LANES);
	for (size_t s = 0; s < count; s++) {
		const float *x = rows->users + user_slots[s / rows->piece] * rows->stride + n;
		const float *y = rows->items + item_slots[s] * rows->stride + n;
		const vf slope = vf_set(derivatives[s]);
#pragma GCC unroll 4
		for (size_t v = 0; v < vectors; v++)
			sum[v] = vf_fma(vf_mul(vf_load(x + v * LANES), vf_load(y + v * LANES)), slope, sum[v]);
	}
#pragma GCC unroll 4
	for (size_t v = 0; v < vectors; v++)
		vf_store(weight + n + v * LANES, sum[v]);
}

static void weight_gradient(const struct factor_rows *rows, const uint32_t *user_slots, const uint32_t *item_slots,
                            size_t count, const float *derivatives, float *weight, float *bias)
{
	size_t n = 0;
	for (; n + 4 * LANES <= rows->stride; n += 4 * LANES)
		weight_columns(4, rows, user_slots, item_slots, count, derivatives, n, weight);
	for (; n < rows->stride; n += LANES)
		weight_columns(1, rows, user_slots, item_slots, count, derivatives, n, weight);
	for (size_t s = 0; s < count; s++)
		*bias += derivatives[s];
}

LANE_CODE void user_columns(const size_t vectors, const struct factor_rows *rows, const float *derivatives,
                            const uint32_t *pieces, size_t count, const uint32_t *item_slots, size_t n, float *out)
{
	const size_t piece = rows->piece;
	vf sum[4];
#pragma GCC unroll 4
	for (size_t v = 0; v < vectors; v++)
		sum[v] = vf_set(0.0f);
	for (size_t p = 0; p < count; p++)
		for (size_t s = pieces[p] * piece; s < (pieces[p] + 1) * piece; s++) {
			const float *y = rows->items + item_slots[s] * rows->stride + n;
			const vf slope = vf_set(derivatives[s]);
#pragma GCC unroll 4
			for (size_t v = 0; v < vectors; v++)
				sum[v] = vf_fma(slope, vf_load(y + v * LANES), sum[v]);
		}
#pragma GCC unroll 4
	for (size_t v = 0; v < vectors; v++)
		vf_store(out + n + v * LANES, vf_mul(sum[v], vf_load(rows->weight + n + v * LANES)));
}

static void user_gradient(const struct factor_rows *rows, const float *derivatives, const uint32_t *pieces,
                          size_t count, const uint32_t *item_slots, float *out)
{
	size_t n = 0;
	for (; n + 4 * LANES <= rows->stride; n += 4 * LANES)
		user_columns(4, rows, derivatives, pieces, count, item_slots, n, out);
	for (; n < rows->stride; n += LANES)
		user_columns(1, rows, derivatives, pieces, count, item_slots, n, out);
}

LANE_CODE void item_columns(const size_t vectors, const struct factor_rows *rows, const float *derivatives,
                            const uint32_t *samples, size_t count, const uint32_t *user_slots, size_t n, float *out)
{
	vf sum[4];
#pragma GCC unroll 4
	for (size_t v = 0; v < vectors; v++)
		sum[v] = vf_set(0.0f);
	for (size_t i = 0; i < count; i++) {
		const float *x = rows->users + user_slots[samples[i] / rows->piece] * rows->stride + n;
		const vf slope = vf_set(derivatives[samples[i]]);
		if (i + AHEAD < count)
			__builtin_prefetch(rows->users + user_slots[samples[i + AHEAD] / rows->piece] * rows->stride + n);
#pragma GCC unroll 4
		for (size_t v = 0; v < vectors; v++)
			sum[v] = vf_fma(slope, vf_load(x + v * LANES), sum[v]);
	}
#pragma GCC unroll 4
	for (size_t v = 0; v < vectors; v++)
		vf_store(out + n + v * LANES, vf_mul(sum[v], vf_load(rows->weight + n + v * LANES)));
}

static void item_gradient(const struct factor_rows *rows, const float *derivatives, const uint32_t *samples,
                          size_t count, const uint32_t *user_slots, float *out)
{
	size_t n = 0;
	for (; n + 4 * LANES <= rows->stride; n += 4 * LANES)
		item_columns(4, rows, derivatives, samples, count, user_slots, n, out);
	for (; n < rows->stride; n += LANES)
		item_columns(1, rows, derivatives, samples, count, user_slots, n, out);
}

static void dots(const float *queries, size_t stride, size_t depth, size_t rows, const float *columns,
                 size_t column_stride, size_t width, float bias, float *out, size_t out_stride)
{
	float biases[FACTOR_COLUMNS_MAX];
	for (size_t n = 0; n < width; n++)
		biases[n] = bias;
	const struct product p = {
		.x = queries, .x_row = stride, .x_step = 1, .y = columns, .y_step = column_stride, .depth = depth,
		.out = out, .out_row = out_stride, .extra = biases,
	};
	if (rows == 1) {
		for (size_t n = 0; n < width; n += LANES)
			tile(1, 1, BIAS_ONLY, &p, 0, n);
		return;
	}
	multiply(BIAS_ONLY, &p, rows, width);
}

static void gather_columns(const float *rows, size_t stride, const uint32_t *at, size_t count, size_t depth,
                           float *columns, size_t column_stride)
{
	for (size_t i = 0; i < count; i += LANES)
		for (size_t k = 0; k < depth; k += LANES) {
			vf v[LANES];
			for (size_t r = 0; r < LANES; r++)
				v[r] = vf_load(rows + at[i + r < count ? i + r : i] * stride + k);
			vf_transpose(v);
			for (size_t r = 0; r < LANES && k + r < depth; r++)
				vf_store(columns + (k + r) * column_stride + i, v[r]);
		}
}

extern const struct factor_kernels JOIN(factor_kernels_, KERNEL_ISA);
const struct factor_kernels JOIN(factor_kernels_, KERNEL_ISA) = {
	.logits = logits,
	.weight_gradient = weight_gradient,
	.user_gradient = user_gradient,
	.item_gradient = item_gradient,
	.dots = dots,
	.gather_columns = gather_columns,
};
