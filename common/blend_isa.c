/* Every element of the matrix is one chain of additions in the order of the rows, so instruction sets cannot differ. */
#include "blend_kernels.h"
#include "simd.h"

static void add_products(const double *restrict rows, const double *restrict weights, size_t count, size_t width,
                         double *restrict second)
{
	for (size_t r = 0; r < count; r++) {
		const double *row = rows + r * width;
		for (size_t i = 0; i < width; i++) {
			const double scaled = weights[r] * row[i];
			double *to = second + i * width;
			for (size_t j = 0; j < width; j += BLEND_PAD)
				for (size_t k = 0; k < BLEND_PAD; k++)
					to[j + k] += scaled * row[j + k];
		}
	}
}

extern const struct blend_kernels JOIN(blend_kernels_, KERNEL_ISA);
const struct blend_kernels JOIN(blend_kernels_, KERNEL_ISA) = {add_products};
