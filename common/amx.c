/* Whether AMX can be used: the processor has it, the kernel grants it (to threads that are started later as well), and
 * a product comes out as its emulation says, bit for bit. */
#include "kernels.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "rng.h"
#include "subnormal.h"

enum { UNITS = 48, ROWS = BLOCK_ROWS };

static bool granted(void)
{
#if defined(__x86_64__) && defined(SYS_arch_prctl)
	enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18, LEAF_FEATURES = 7, BIT_BF16 = 22, BIT_TILE = 24 };
	unsigned a, b, c, d;
	if (!__get_cpuid_count(LEAF_FEATURES, 0, &a, &b, &c, &d) || !(d >> BIT_TILE & 1) || !(d >> BIT_BF16 & 1))
		return false;
	return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
#else
	return false;
#endif
}

/* out = W x + b of fixed random numbers, from far apart to nearly subnormal. */
static void try_product(const struct tower_kernels *kernels, float out[ROWS][UNITS])
{
	static _Alignas(64) float weight[UNITS][UNITS], bias[UNITS], x[ROWS][UNITS], prepared[4 * UNITS * UNITS],
		scratch[4 * ROWS * UNITS];
	const struct dense_layer layer = {
		.inputs = UNITS, .outputs = UNITS, .inputs_padded = UNITS, .outputs_padded = UNITS, .weight = weight[0],
		.prepared = prepared, .bias = bias,
	};
	struct rng rng;
	rng_init(&rng, 1, rng_stream(RNG_TEST, 2), 0);
	for (size_t i = 0; i < UNITS; i++) {
		bias[i] = (float)rng_unit(&rng);
		for (size_t j = 0; j < UNITS; j++) {
			weight[i][j] = (float)(rng_unit(&rng) - 0.5);
			x[i][j] = (float)((rng_unit(&rng) - 0.5) * (j % 5 == 0 ? 0x1p-60 : j % 7 == 0 ? 0x1p20 : 1.0));
		}
	}
	kernels->prepare(&layer, 0, UNITS, prepared);
	kernels->project(x[0], UNITS, ROWS, &layer, out[0], UNITS, scratch);
}

static bool agrees(void)
{
	static _Alignas(64) float ours[ROWS][UNITS], emulated[ROWS][UNITS];
	const unsigned before = subnormal_flush();
	try_product(bf16_kernels_of(ISA_AVX512, true), ours);
	try_product(bf16_kernels_of(ISA_AVX512, false), emulated);
	subnormal_restore(before);
	return memcmp(ours, emulated, sizeof ours) == 0;
}

bool amx_usable(void)
{
	static int answer = -1; /* asked once: the processor does not change */
	if (answer < 0)
		answer = granted() && agrees();
	return answer == 1;
}
