/* Choosing how a CRC-32 is summed: see checksum_isa.c. */
#include "checksum.h"

#include <zlib.h>

enum { SHORT = 256 }; /* bytes below which a choice takes longer than it saves */

extern checksum_function checksum_avx512, checksum_avx2, checksum_portable;

static checksum_function *const functions[ISA_COUNT] = {
	[ISA_AVX512] = checksum_avx512, [ISA_AVX2] = checksum_avx2, [ISA_PORTABLE] = checksum_portable,
};

checksum_function *checksum_of(enum isa isa)
{
	return functions[isa];
}

uint32_t checksum_crc32(const void *bytes, size_t size)
{
	enum isa isa = ISA_PORTABLE;
	struct error error;
	/* An instruction set that is not there is told by whoever must have one: any gives the same sum. */
	if (size < SHORT || isa_find("auto", &isa, &error) < 0)
		isa = ISA_PORTABLE;
	return functions[isa](bytes, size);
}
