/* Lanes are items, never parts of a sum, so every element is one chain of additions on any instruction set. */
#include "simd.h"
#include "similarity_ease_kernels.h"

static_assert((int)EASE_LANES == (int)DOUBLE_LANES, "a group of items is a vector");

static void add(double *sums, const double *values, size_t count)
{
	size_t k = 0;
	for (; k + DOUBLE_LANES <= count; k += DOUBLE_LANES)
		vd_store(sums + k, vd_add(vd_load(sums + k), vd_load(values + k)));
	for (; k < count; k++)
		sums[k] += values[k];
}

static void sum_rows(const double *values, const uint64_t *offsets, const uint32_t *users, size_t count, double *out)
{
	for (size_t i = 0; i < count; i++) {
		vd sum = vd_set(0);
		for (uint64_t u = offsets[i]; u < offsets[i + 1]; u++)
			sum = vd_add(sum, vd_load(values + (size_t)users[u] * DOUBLE_LANES));
		vd_store(out + i * DOUBLE_LANES, sum);
	}
}

extern const struct ease_kernels JOIN(ease_kernels_, KERNEL_ISA);
const struct ease_kernels JOIN(ease_kernels_, KERNEL_ISA) = {add, sum_rows};
