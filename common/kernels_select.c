/* The kernels of each instruction set, and what a tower needs of memory. */
#include "isa.h"
#include "kernels.h"

extern const struct kernels kernels_avx512, kernels_avx2, kernels_portable;

const struct kernels *kernels_find(const char *isa, struct error *error)
{
	static const struct kernels *const all[ISA_COUNT] = {
		[ISA_AVX512] = &kernels_avx512, [ISA_AVX2] = &kernels_avx2, [ISA_PORTABLE] = &kernels_portable,
	};
	enum isa chosen;
	return isa_find(isa, &chosen, error) < 0 ? NULL : all[chosen];
}

void tower_scratch(struct tower *tower)
{
	size_t floats = BLOCK_ROWS * tower->padded;
	for (size_t l = 0; l < tower->layer_count; l++)
		floats += BLOCK_ROWS * tower->layers[l].outputs_padded;
	tower->scratch_floats = floats;
}
