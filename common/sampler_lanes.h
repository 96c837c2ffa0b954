/* Sixteen numbers of 32 bits (n16) for drawing negatives: one AVX-512 register, two AVX2 registers, or an array. All
 * operations are exact, so that every instruction set gives the same numbers. Included by sampler_isa.c alone. */
#ifndef RECPIPE_SAMPLER_LANES_H
#define RECPIPE_SAMPLER_LANES_H

#include "simd.h"

#if defined(KERNEL_ISA_avx512)

typedef __m512i n16;

LANE_CODE n16 n16_set(uint32_t a) { return _mm512_set1_epi32((int)a); }
LANE_CODE n16 n16_load(const uint32_t *from) { return _mm512_loadu_si512(from); }
LANE_CODE void n16_store(uint32_t *to, n16 a) { _mm512_storeu_si512(to, a); }
LANE_CODE n16 n16_add(n16 a, n16 b) { return _mm512_add_epi32(a, b); }
LANE_CODE n16 n16_and(n16 a, n16 b) { return _mm512_and_si512(a, b); }
LANE_CODE n16 n16_or(n16 a, n16 b) { return _mm512_or_si512(a, b); }
LANE_CODE n16 n16_xor(n16 a, n16 b) { return _mm512_xor_si512(a, b); }
LANE_CODE n16 n16_left(n16 a, unsigned bits) { return _mm512_sll_epi32(a, _mm_cvtsi32_si128((int)bits)); }
LANE_CODE n16 n16_right(n16 a, unsigned bits) { return _mm512_srl_epi32(a, _mm_cvtsi32_si128((int)bits)); }
LANE_CODE n16 n16_right_each(n16 a, n16 bits) { return _mm512_srlv_epi32(a, bits); }
LANE_CODE n16 n16_multiply(n16 a, n16 b) { return _mm512_mullo_epi32(a, b); }
/* The high half of each product; *low: the low one. */
LANE_CODE n16 n16_multiply_wide(n16 a, n16 b, n16 *low)
{
	const n16 even = _mm512_mul_epu32(a, b);
	const n16 odd = _mm512_mul_epu32(_mm512_srli_epi64(a, 32), _mm512_srli_epi64(b, 32));
	*low = _mm512_mask_blend_epi32(0xaaaa, even, _mm512_slli_epi64(odd, 32));
	return _mm512_mask_blend_epi32(0xaaaa, _mm512_srli_epi64(even, 32), odd);
}
/* Bit i: a[i] < b[i]. */
LANE_CODE uint32_t n16_below(n16 a, n16 b) { return _mm512_cmplt_epu32_mask(a, b); }
/* Bit i: a[i] is not 0. */
LANE_CODE uint32_t n16_some(n16 a) { return _mm512_test_epi32_mask(a, a); }
/* b where the bit is set, else a. */
LANE_CODE n16 n16_choose(uint32_t bits, n16 a, n16 b) { return _mm512_mask_blend_epi32((__mmask16)bits, a, b); }
/* from[at[i]], each at[i] below 2^31. */
LANE_CODE n16 n16_gather(const uint32_t *from, n16 at) { return _mm512_i32gather_epi32(at, (const int *)from, 4); }

#elif defined(KERNEL_ISA_avx2)

typedef struct numbers_pair {
	__m256i low, high;
} n16;

#define BOTH(operation, a, b) ((n16){operation((a).low, (b).low), operation((a).high, (b).high)})

LANE_CODE n16 n16_set(uint32_t a) { return (n16){_mm256_set1_epi32((int)a), _mm256_set1_epi32((int)a)}; }
LANE_CODE n16 n16_load(const uint32_t *from)
{
	return (n16){_mm256_loadu_si256((const __m256i *)from), _mm256_loadu_si256((const __m256i *)(from + 8))};
}
LANE_CODE void n16_store(uint32_t *to, n16 a)
{
	_mm256_storeu_si256((__m256i *)to, a.low);
	_mm256_storeu_si256((__m256i *)(to + 8), a.high);
}
LANE_CODE n16 n16_add(n16 a, n16 b) { return BOTH(_mm256_add_epi32, a, b); }
LANE_CODE n16 n16_and(n16 a, n16 b) { return BOTH(_mm256_and_si256, a, b); }
LANE_CODE n16 n16_or(n16 a, n16 b) { return BOTH(_mm256_or_si256, a, b); }
LANE_CODE n16 n16_xor(n16 a, n16 b) { return BOTH(_mm256_xor_si256, a, b); }
LANE_CODE n16 n16_left(n16 a, unsigned bits)
{
	const __m128i count = _mm_cvtsi32_si128((int)bits);
	return (n16){_mm256_sll_epi32(a.low, count), _mm256_sll_epi32(a.high, count)};
}
LANE_CODE n16 n16_right(n16 a, unsigned bits)
{
	const __m128i count = _mm_cvtsi32_si128((int)bits);
	return (n16){_mm256_srl_epi32(a.low, count), _mm256_srl_epi32(a.high, count)};
}
LANE_CODE n16 n16_right_each(n16 a, n16 bits) { return BOTH(_mm256_srlv_epi32, a, bits); }
LANE_CODE n16 n16_multiply(n16 a, n16 b) { return BOTH(_mm256_mullo_epi32, a, b); }
LANE_CODE __m256i multiply_wide_half(__m256i a, __m256i b, __m256i *low)
{
	const __m256i even = _mm256_mul_epu32(a, b);
	const __m256i odd = _mm256_mul_epu32(_mm256_srli_epi64(a, 32), _mm256_srli_epi64(b, 32));
	*low = _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xaa);
	return _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xaa);
}
LANE_CODE n16 n16_multiply_wide(n16 a, n16 b, n16 *low)
{
	return (n16){multiply_wide_half(a.low, b.low, &low->low), multiply_wide_half(a.high, b.high, &low->high)};
}
LANE_CODE uint32_t top_bits(n16 a)
{
	return (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(a.low)) |
	       (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(a.high)) << 8;
}
LANE_CODE uint32_t n16_below(n16 a, n16 b)
{
	const n16 flip = n16_set(UINT32_C(1) << 31), x = n16_xor(a, flip), y = n16_xor(b, flip);
	return top_bits(BOTH(_mm256_cmpgt_epi32, y, x));
}
LANE_CODE uint32_t n16_some(n16 a)
{
	const n16 zero = n16_set(0);
	return ~top_bits(BOTH(_mm256_cmpeq_epi32, a, zero)) & 0xffff;
}
LANE_CODE n16 n16_choose(uint32_t bits, n16 a, n16 b)
{
	const __m256i places = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
	const __m256i low = _mm256_and_si256(_mm256_set1_epi32((int)bits), places);
	const __m256i high = _mm256_and_si256(_mm256_set1_epi32((int)(bits >> 8)), places);
	return (n16){_mm256_blendv_epi8(a.low, b.low, _mm256_cmpeq_epi32(low, places)),
	             _mm256_blendv_epi8(a.high, b.high, _mm256_cmpeq_epi32(high, places))};
}
LANE_CODE n16 n16_gather(const uint32_t *from, n16 at)
{
	return (n16){_mm256_i32gather_epi32((const int *)from, at.low, 4),
	             _mm256_i32gather_epi32((const int *)from, at.high, 4)};
}

#else

typedef struct numbers {
	uint32_t at[LANES];
} n16;

#define EACH(expression) \
	n16 result; \
	for (int i = 0; i < LANES; i++) \
		result.at[i] = (expression); \
	return result

LANE_CODE n16 n16_set(uint32_t a) { EACH(a); }
LANE_CODE n16 n16_load(const uint32_t *from) { EACH(from[i]); }
LANE_CODE void n16_store(uint32_t *to, n16 a) { memcpy(to, a.at, sizeof a.at); }
LANE_CODE n16 n16_add(n16 a, n16 b) { EACH(a.at[i] + b.at[i]); }
LANE_CODE n16 n16_and(n16 a, n16 b) { EACH(a.at[i] & b.at[i]); }
LANE_CODE n16 n16_or(n16 a, n16 b) { EACH(a.at[i] | b.at[i]); }
LANE_CODE n16 n16_xor(n16 a, n16 b) { EACH(a.at[i] ^ b.at[i]); }
LANE_CODE n16 n16_left(n16 a, unsigned bits) { EACH(a.at[i] << bits); }
LANE_CODE n16 n16_right(n16 a, unsigned bits) { EACH(a.at[i] >> bits); }
LANE_CODE n16 n16_right_each(n16 a, n16 bits) { EACH(a.at[i] >> bits.at[i]); }
LANE_CODE n16 n16_multiply(n16 a, n16 b) { EACH(a.at[i] * b.at[i]); }
LANE_CODE n16 n16_multiply_wide(n16 a, n16 b, n16 *low)
{
	*low = n16_multiply(a, b);
	EACH((uint32_t)((uint64_t)a.at[i] * b.at[i] >> 32));
}
LANE_CODE uint32_t n16_below(n16 a, n16 b)
{
	uint32_t bits = 0;
	for (int i = 0; i < LANES; i++)
		bits |= (uint32_t)(a.at[i] < b.at[i]) << i;
	return bits;
}
LANE_CODE uint32_t n16_some(n16 a)
{
	uint32_t bits = 0;
	for (int i = 0; i < LANES; i++)
		bits |= (uint32_t)(a.at[i] != 0) << i;
	return bits;
}
LANE_CODE n16 n16_choose(uint32_t bits, n16 a, n16 b) { EACH(bits >> i & 1 ? b.at[i] : a.at[i]); }
LANE_CODE n16 n16_gather(const uint32_t *from, n16 at) { EACH(from[at.at[i]]); }

#endif
#endif
