/* Products of factors on one instruction set: logits of samples, gradients of rows, scores of users with items. */
#include "kernels.h"
#include "simd_tile.h"

/* The sum of sixteen lanes in a fixed order. */
LANE_CODE float lane_sum(vf a)
{
	float lanes[LANES];
	vf_store(lanes, a);
	for (size_t half = LANES / 2; half > 0; half /= 2)
		for (size_t i = 0; i < half; i++)
			lanes[i] += lanes[i + half];
	return lanes[0];
}

static void logits(const struct factor_rows *rows, const uint32_t *user_slots, const uint32_t *item_slots,
                   size_t count, float *out)
{
	const size_t stride = rows->stride;
	for (size_t s = 0; s < count; s++) {
		const float *x = rows->users + user_slots[s / rows->piece] * stride, *y = rows->items + item_slots[s] * stride;
		vf sum = vf_set(0.0f);
		for (size_t n = 0; n < stride; n += LANES)
			sum = vf_fma(vf_mul(vf_load(x + n), vf_load(rows->weight + n)), vf_load(y + n), sum);
		out[s] = lane_sum(sum) + rows->bias;
	}
}

static void weight_gradient(const struct factor_rows *rows, const uint32_t *user_slots, const uint32_t *item_slots,
                            size_t count, const float *derivatives, float *weight, float *bias)
{
	const size_t stride = rows->stride;
	for (size_t s = 0; s < count; s++) {
		const float *x = rows->users + user_slots[s / rows->piece] * stride, *y = rows->items + item_slots[s] * stride;
		const vf slope = vf_set(derivatives[s]);
		for (size_t n = 0; n < stride; n += LANES)
			vf_store(weight + n, vf_fma(vf_mul(vf_load(x + n), vf_load(y + n)), slope, vf_load(weight + n)));
		*bias += derivatives[s];
	}
}

static void user_gradient(const struct factor_rows *rows, const float *derivatives, const uint32_t *pieces,
                          size_t count, const uint32_t *item_slots, float *out)
{
	const size_t stride = rows->stride, piece = rows->piece;
	for (size_t n = 0; n < stride; n += LANES) {
		vf sum = vf_set(0.0f);
		for (size_t p = 0; p < count; p++)
			for (size_t s = pieces[p] * piece; s < (pieces[p] + 1) * piece; s++)
				sum = vf_fma(vf_set(derivatives[s]), vf_load(rows->items + item_slots[s] * stride + n), sum);
		vf_store(out + n, vf_mul(sum, vf_load(rows->weight + n)));
	}
}

static void item_gradient(const struct factor_rows *rows, const float *derivatives, const uint32_t *samples,
                          size_t count, const uint32_t *user_slots, float *out)
{
	const size_t stride = rows->stride;
	for (size_t n = 0; n < stride; n += LANES) {
		vf sum = vf_set(0.0f);
		for (size_t i = 0; i < count; i++)
			sum = vf_fma(vf_set(derivatives[samples[i]]),
			             vf_load(rows->users + user_slots[samples[i] / rows->piece] * stride + n), sum);
		vf_store(out + n, vf_mul(sum, vf_load(rows->weight + n)));
	}
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

extern const struct factor_kernels JOIN(factor_kernels_, KERNEL_ISA);
const struct factor_kernels JOIN(factor_kernels_, KERNEL_ISA) = {
	.logits = logits,
	.weight_gradient = weight_gradient,
	.user_gradient = user_gradient,
	.item_gradient = item_gradient,
	.dots = dots,
};
