/* Softmax over a catalogue on one instruction set, and the products of its gradients. */
#include "kernels.h"
#include "maths.h"
#include "simd_maths.h"
#include "simd_tile.h"
#include "simd_transpose.h"

static double softmax(float *scores, size_t items)
{
	const size_t padded = padded_to(items, LANES);
	float lanes[LANES], largest;
	vf most = vf_load(scores), total = vf_set(0.0f);
	for (size_t n = LANES; n < padded; n += LANES) {
		const vf s = vf_load(scores + n);
		most = vf_where_positive(vf_sub(s, most), s, most);
	}
	vf_store(lanes, most);
	largest = lanes[0];
	for (size_t i = 1; i < LANES; i++)
		largest = lanes[i] > largest ? lanes[i] : largest;
	const vf top = vf_set(largest), floor = vf_set(-87.0f);
	for (size_t n = 0; n < padded; n += LANES) {
		const vf below = vf_sub(vf_load(scores + n), top);
		const vf share = vf_where_positive(vf_sub(below, floor), exp_negative(vf_where_positive(vf_sub(below, floor),
		                                   below, floor)), vf_set(0.0f));
		vf_store(scores + n, share);
		total = vf_add(total, share);
	}
	vf_store(lanes, total);
	double sum = 0.0;
	for (size_t i = 0; i < LANES; i++)
		sum += (double)lanes[i];
	const vf over = vf_set((float)(1.0 / sum));
	for (size_t n = 0; n < padded; n += LANES)
		vf_store(scores + n, vf_mul(vf_load(scores + n), over));
	return (double)largest + maths_log(sum);
}

static void back_to_users(const float *gradients, size_t gradient_stride, size_t users, const float *rows,
                          size_t stride, size_t depth, float *out)
{
	const struct product p = {
		.x = gradients, .x_row = gradient_stride, .x_step = 1, .y = rows, .y_step = stride, .depth = depth,
		.out = out, .out_row = stride,
	};
	multiply(NO_EPILOGUE, &p, users, stride);
}

static void back_to_items(const float *gradients, size_t gradient_stride, size_t items, const float *queries,
                          size_t stride, size_t depth, float *out)
{
	const struct product p = {
		.x = gradients, .x_row = 1, .x_step = gradient_stride, .y = queries, .y_step = stride, .depth = depth,
		.out = out, .out_row = stride,
	};
	multiply(NO_EPILOGUE, &p, items, stride);
}

static void add_scaled(float *to, const float *from, float factor, size_t count)
{
	const vf f = vf_set(factor);
	for (size_t n = 0; n < count; n += LANES)
		vf_store(to + n, vf_fma(vf_load(from + n), f, vf_load(to + n)));
}

static void transpose(const float *from, size_t stride, size_t rows, size_t columns, float *to, size_t to_stride)
{
	for (size_t r = 0; r < rows; r += LANES)
		for (size_t k = 0; k < columns; k += LANES) {
			vf v[LANES];
			for (size_t i = 0; i < LANES; i++)
				v[i] = r + i < rows ? vf_load(from + (r + i) * stride + k) : vf_set(0.0f);
			vf_transpose(v);
			for (size_t i = 0; i < LANES && k + i < columns; i++)
				vf_store(to + (k + i) * to_stride + r, v[i]);
		}
}

extern const struct catalogue_kernels JOIN(catalogue_kernels_, KERNEL_ISA);
const struct catalogue_kernels JOIN(catalogue_kernels_, KERNEL_ISA) = {
	.softmax = softmax,
	.back_to_users = back_to_users,
	.back_to_items = back_to_items,
	.add_scaled = add_scaled,
	.transpose = transpose,
};
