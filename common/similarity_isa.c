/* Rows that hold every item are added as they lie, 16 lanes at a time. An element is one multiplication and one
 * addition wherever it stands (never fused), so tails and instruction sets cannot differ. */
#include "simd.h"
#include "similarity_kernels.h"

static void add(float *sums, const float *weights, float factor, size_t count)
{
	const vf factors = vf_set(factor);
	size_t i = 0;
	for (; i + LANES <= count; i += LANES)
		vf_store(sums + i, vf_add(vf_load(sums + i), vf_mul(factors, vf_load(weights + i))));
	for (; i < count; i++)
		sums[i] += factor * weights[i];
}

extern const struct similarity_kernels JOIN(similarity_kernels_, KERNEL_ISA);
const struct similarity_kernels JOIN(similarity_kernels_, KERNEL_ISA) = {add};
