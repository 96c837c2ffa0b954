/* The kernels of each instruction set, and what a tower needs of memory. */
#include "kernels.h"

extern const struct kernels kernels_avx512, kernels_avx2, kernels_portable;
extern const struct loss_kernels loss_kernels_avx512, loss_kernels_avx2, loss_kernels_portable;
extern const struct factor_kernels factor_kernels_avx512, factor_kernels_avx2, factor_kernels_portable;
extern const struct catalogue_kernels catalogue_kernels_avx512, catalogue_kernels_avx2, catalogue_kernels_portable;

#define CHOOSE(family) \
	static const struct family *const all[ISA_COUNT] = { \
		[ISA_AVX512] = &family##_avx512, [ISA_AVX2] = &family##_avx2, [ISA_PORTABLE] = &family##_portable, \
	}; \
	return all[isa]

const struct kernels *kernels_of(enum isa isa)
{
	CHOOSE(kernels);
}

const struct loss_kernels *loss_kernels_of(enum isa isa)
{
	CHOOSE(loss_kernels);
}

const struct factor_kernels *factor_kernels_of(enum isa isa)
{
	CHOOSE(factor_kernels);
}

const struct catalogue_kernels *catalogue_kernels_of(enum isa isa)
{
	CHOOSE(catalogue_kernels);
}

void tower_scratch(struct tower *tower)
{
	size_t floats = BLOCK_ROWS * tower->padded;
	for (size_t l = 0; l < tower->layer_count; l++)
		floats += BLOCK_ROWS * tower->layers[l].outputs_padded;
	tower->scratch_floats = floats;
}
