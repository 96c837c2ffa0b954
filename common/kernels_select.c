/* Choosing the instruction set once, at start. */
#include "kernels.h"

extern const struct kernels kernels_avx512, kernels_avx2, kernels_portable;

static bool has_avx512(void)
{
	return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
	       __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
	       __builtin_cpu_supports("fma");
}

static bool has_avx2(void)
{
	return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

static bool always(void)
{
	return true;
}

/* Best first. */
static const struct {
	const struct kernels *kernels;
	bool (*available)(void);
} choices[] = {
	{&kernels_avx512, has_avx512},
	{&kernels_avx2, has_avx2},
	{&kernels_portable, always},
};

const struct kernels *kernels_find(const char *isa, struct error *error)
{
	const char *wanted = isa;
	if (strcmp(isa, "auto") == 0 && getenv("RECPIPE_ISA") != NULL)
		wanted = getenv("RECPIPE_ISA");
	__builtin_cpu_init();
	for (size_t i = 0; i < COUNT_OF(choices); i++) {
		bool named = strcmp(wanted, choices[i].kernels->name) == 0;
		if ((named || strcmp(wanted, "auto") == 0) && choices[i].available())
			return choices[i].kernels;
		if (named) {
			error_set(error, CODE_UNAVAILABLE, "this processor has no %s", wanted);
			return NULL;
		}
	}
	error_set(error, CODE_USAGE, "unknown instruction set '%s', expected auto, avx512, avx2 or portable", wanted);
	return NULL;
}

void tower_scratch(struct tower *tower)
{
	size_t floats = BLOCK_ROWS * tower->padded;
	for (size_t l = 0; l < tower->layer_count; l++)
		floats += BLOCK_ROWS * tower->layers[l].outputs_padded;
	tower->scratch_floats = floats;
}
