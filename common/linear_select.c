/* The linear algebra of each instruction set. */
#include "isa.h"
#include "linear.h"

extern const struct linear linear_avx512, linear_avx2, linear_portable;

const struct linear *linear_find(const char *isa, struct error *error)
{
	static const struct linear *const all[ISA_COUNT] = {
		[ISA_AVX512] = &linear_avx512, [ISA_AVX2] = &linear_avx2, [ISA_PORTABLE] = &linear_portable,
	};
	enum isa chosen;
	return isa_find(isa, &chosen, error) < 0 ? NULL : all[chosen];
}
