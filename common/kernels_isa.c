/* What is done to rows of floats on one instruction set: compiled with KERNEL_ISA set to avx512, avx2 and portable. */
#include "kernels_block.h"

static uint64_t at_least(const float *scores, float least)
{
	uint64_t found = 0;
	for (size_t n = 0; n < BLOCK_ROWS; n += LANES)
		found |= (uint64_t)vf_at_least(vf_load(scores + n), vf_set(least)) << n;
	return found;
}

static void gather(const float *table, size_t stride, const uint32_t *index, size_t count, size_t known, float *to)
{
	for (size_t r = 0; r < count; r++, to += stride) {
		const float *row = table + index[r] * stride;
		if (r + AHEAD < known)
			read_ahead(table + index[r + AHEAD] * stride, stride);
		for (size_t n = 0; n < stride; n += LANES)
			vf_store(to + n, vf_load(row + n));
	}
}

/* `vectors`, a constant, of them from column n on. */
LANE_CODE void sum_columns(const size_t vectors, const float *rows, size_t stride, const uint32_t *index, size_t count,
                           size_t known, float *sum)
{
	vf total[4];
#pragma GCC unroll 4
	for (size_t v = 0; v < vectors; v++)
		total[v] = vf_load(rows + index[0] * stride + v * LANES);
	for (size_t i = 1; i < count; i++) {
		if (i + AHEAD < known)
			read_ahead(rows + index[i + AHEAD] * stride, vectors * LANES);
#pragma GCC unroll 4
		for (size_t v = 0; v < vectors; v++)
			total[v] = vf_add(total[v], vf_load(rows + index[i] * stride + v * LANES));
	}
#pragma GCC unroll 4
	for (size_t v = 0; v < vectors; v++)
		vf_store(sum + v * LANES, total[v]);
}

static void sum_rows(const float *rows, size_t stride, const uint32_t *index, size_t count, size_t known, float *sum)
{
	size_t n = 0;
	if (AHEAD < known)
		read_ahead(rows + index[AHEAD] * stride, stride);
	for (; n + 4 * LANES <= stride; n += 4 * LANES)
		sum_columns(4, rows + n, stride, index, count, known, sum + n);
	for (; n < stride; n += LANES)
		sum_columns(1, rows + n, stride, index, count, known, sum + n);
}

static void add(float *sum, const float *more, size_t count)
{
	for (size_t n = 0; n < count; n += LANES)
		vf_store(sum + n, vf_add(vf_load(sum + n), vf_load(more + n)));
}

static void adam(float *values, float *moment1, float *moment2, const float *gradient, size_t count,
                 const struct adam_step *step)
{
	const vf beta1 = vf_set(step->beta1), rest1 = vf_set(step->one_minus_beta1);
	const vf beta2 = vf_set(step->beta2), rest2 = vf_set(step->one_minus_beta2);
	for (size_t n = 0; n < count; n += LANES) {
		vf g = vf_load(gradient + n);
		vf m = vf_fma(beta1, vf_load(moment1 + n), vf_mul(rest1, g));
		vf v = vf_fma(beta2, vf_load(moment2 + n), vf_mul(vf_mul(rest2, g), g));
		vf root = vf_fma(vf_sqrt(v), vf_set(step->scale2), vf_set(step->epsilon));
		vf kept = vf_mul(vf_load(values + n), vf_set(step->decay));
		vf_store(moment1 + n, m);
		vf_store(moment2 + n, v);
		vf_store(values + n, vf_sub(kept, vf_mul(vf_set(step->rate), vf_div(m, root))));
	}
}

extern const struct kernels JOIN(kernels_, KERNEL_ISA);
const struct kernels JOIN(kernels_, KERNEL_ISA) = {
	.name = TEXT(KERNEL_ISA),
	.at_least = at_least,
	.gather = gather,
	.sum_rows = sum_rows,
	.add = add,
	.adam = adam,
};
