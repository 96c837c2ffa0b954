/* Choosing the instruction set once, at start. */
#include "isa.h"

static bool has_avx512(void)
{
	return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
	       __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
	       __builtin_cpu_supports("fma") && __builtin_cpu_supports("pclmul");
}

static bool has_avx2(void)
{
	return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("pclmul");
}

static bool always(void)
{
	return true;
}

const char *const isa_names[ISA_COUNT] = {
	[ISA_AVX512] = "avx512", [ISA_AVX2] = "avx2", [ISA_PORTABLE] = "portable",
};

static bool (*const available[ISA_COUNT])(void) = {
	[ISA_AVX512] = has_avx512, [ISA_AVX2] = has_avx2, [ISA_PORTABLE] = always,
};

static const char *named_isa(const char *wanted)
{
	const char *named = getenv("RECPIPE_ISA");
	return strcmp(wanted, "auto") == 0 && named ? named : wanted;
}

bool isa_is_forced(const char *wanted)
{
	return strcmp(named_isa(wanted), "auto") != 0;
}

int isa_find(const char *wanted, enum isa *isa, struct error *error)
{
	wanted = named_isa(wanted);
	__builtin_cpu_init();
	for (int i = 0; i < ISA_COUNT; i++) {
		bool named = strcmp(wanted, isa_names[i]) == 0;
		*isa = (enum isa)i;
		if ((named || strcmp(wanted, "auto") == 0) && available[i]())
			return 0;
		if (named)
			return error_set(error, CODE_UNAVAILABLE, "this processor has no %s", wanted);
	}
	return error_set(error, CODE_USAGE, "unknown instruction set '%s', expected auto, avx512, avx2 or portable", wanted);
}
