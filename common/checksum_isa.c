/* CRC-32 by carry-less multiplication (V. Gopal et al., Fast CRC Computation for Generic Polynomials Using PCLMULQDQ
 * Instruction, Intel 2009), reflected. A sum is the remainder of the message, a polynomial over GF(2), by the CRC's: 128
 * bits at the front may be replaced by their products with x^n mod P further behind, which leaves the remainder as it is.
 * Four such pieces go over the message side by side, are folded into one, and zlib sums those last 16 bytes and what is
 * left behind them. */
#include "checksum.h"

#include <zlib.h>
#if !defined(KERNEL_ISA_portable)
#include <immintrin.h>
#endif

#include "simd.h"

extern checksum_function JOIN(checksum_, KERNEL_ISA);

#if defined(KERNEL_ISA_portable)

uint32_t JOIN(checksum_, KERNEL_ISA)(const unsigned char *bytes, size_t size)
{
	return (uint32_t)crc32_z(0, bytes, size);
}

#else

enum { PIECE = 16, PIECES = 4, STEP = PIECE * PIECES };

/* (x^(n - 32) mod P, x^(n + 32) mod P), reflected and shifted by one, for pieces that are n bits apart. */
#define STEP_FACTORS _mm_set_epi64x(INT64_C(0x1c6e41596), INT64_C(0x154442bd4))
#define PIECE_FACTORS _mm_set_epi64x(INT64_C(0x0ccaa009e), INT64_C(0x1751997d0))

static inline __m128i load(const unsigned char *bytes)
{
	return _mm_loadu_si128((const __m128i *)(const void *)bytes);
}

/* `piece` moved to where `onto` stands. */
static inline __m128i fold(__m128i piece, __m128i factors, __m128i onto)
{
	const __m128i low = _mm_clmulepi64_si128(piece, factors, 0x00), high = _mm_clmulepi64_si128(piece, factors, 0x11);
	return _mm_xor_si128(_mm_xor_si128(low, high), onto);
}

uint32_t JOIN(checksum_, KERNEL_ISA)(const unsigned char *bytes, size_t size)
{
	unsigned char last[PIECE];
	__m128i pieces[PIECES];
	if (size < (size_t)2 * STEP)
		return (uint32_t)crc32_z(0, bytes, size);
	for (size_t p = 0; p < PIECES; p++)
		pieces[p] = load(bytes + PIECE * p);
	pieces[0] = _mm_xor_si128(pieces[0], _mm_cvtsi32_si128(-1)); /* the first inversion */
	for (bytes += STEP, size -= STEP; size >= STEP; bytes += STEP, size -= STEP)
#pragma GCC unroll 4
		for (size_t p = 0; p < PIECES; p++)
			pieces[p] = fold(pieces[p], STEP_FACTORS, load(bytes + PIECE * p));
	for (size_t p = 1; p < PIECES; p++)
		pieces[p] = fold(pieces[p - 1], PIECE_FACTORS, pieces[p]);
	_mm_storeu_si128((__m128i *)(void *)last, pieces[PIECES - 1]);
	return (uint32_t)crc32_z(crc32_z(UINT32_MAX, last, PIECE), bytes, size); /* zlib inverts UINT32_MAX to nothing */
}

#endif
