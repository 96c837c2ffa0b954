/* The kernels of each instruction set, and how a tower is laid out for them. */
#include "kernels.h"

extern const struct kernels kernels_avx512, kernels_avx2, kernels_portable;
extern const struct tower_kernels tower_kernels_avx512, tower_kernels_avx2, tower_kernels_portable;
extern const struct tower_kernels bf16_kernels_amx, bf16_kernels_avx512, bf16_kernels_avx2, bf16_kernels_portable;
extern const struct loss_kernels loss_kernels_avx512, loss_kernels_avx2, loss_kernels_portable;
extern const struct factor_kernels factor_kernels_avx512, factor_kernels_avx2, factor_kernels_portable;
extern const struct catalogue_kernels catalogue_kernels_avx512, catalogue_kernels_avx2, catalogue_kernels_portable;

#define CHOOSE(type, name) \
	static const struct type *const all[ISA_COUNT] = { \
		[ISA_AVX512] = &name##_avx512, [ISA_AVX2] = &name##_avx2, [ISA_PORTABLE] = &name##_portable, \
	}; \
	return all[isa]

const struct kernels *kernels_of(enum isa isa)
{
	CHOOSE(kernels, kernels);
}

const struct tower_kernels *tower_kernels_of(enum isa isa)
{
	CHOOSE(tower_kernels, tower_kernels);
}

const struct tower_kernels *bf16_kernels_of(enum isa isa, bool amx)
{
	if (amx)
		return &bf16_kernels_amx;
	CHOOSE(tower_kernels, bf16_kernels);
}

const struct loss_kernels *loss_kernels_of(enum isa isa)
{
	CHOOSE(loss_kernels, loss_kernels);
}

const struct factor_kernels *factor_kernels_of(enum isa isa)
{
	CHOOSE(factor_kernels, factor_kernels);
}

const struct catalogue_kernels *catalogue_kernels_of(enum isa isa)
{
	CHOOSE(catalogue_kernels, catalogue_kernels);
}

static bool is_narrow(const struct dense_layer *layer)
{
	return layer->outputs <= TAIL_OUTPUTS && layer->inputs <= TAIL_INPUTS;
}

void tower_lay_out(struct tower *tower)
{
	size_t floats = TRAIN_LANES * tower->padded, lanes = 0, widest = tower->width;
	tower->wide_count = tower->layer_count - 1;
	while (tower->wide_count > 0 && is_narrow(&tower->layers[tower->wide_count - 1]))
		tower->wide_count--;
	tower->units = tower->layers[tower->wide_count].inputs;
	for (size_t l = 0; l < tower->layer_count; l++) {
		struct dense_layer *layer = &tower->layers[l];
		widest = widest < layer->outputs ? layer->outputs : widest;
		if (l < tower->wide_count) {
			floats += TRAIN_LANES * layer->outputs_padded;
			continue;
		}
		tower->units += layer->outputs;
		layer->lanes_at = lanes;
		lanes += layer->outputs * (layer->inputs + 1) * MODEL_LANES;
	}
	floats += TRAIN_LANES * tower->units;
	tower->lanes_floats = lanes;
	/* score_items keeps two layers' activations. */
	tower->scratch_floats = floats < 2 * BLOCK_ROWS * widest ? 2 * BLOCK_ROWS * widest : floats;
}
