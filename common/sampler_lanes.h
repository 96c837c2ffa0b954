/* What drawing negatives does to sixteen numbers at once, beside simd_random.h. All operations are exact, so that every
 * instruction set gives the same numbers. Included by sampler_isa.c alone. */
#ifndef RECPIPE_SAMPLER_LANES_H
#define RECPIPE_SAMPLER_LANES_H

#include "simd_random.h"

#if defined(KERNEL_ISA_avx512)

LANE_CODE vu vu_and(vu a, vu b) { return _mm512_and_si512(a, b); }
LANE_CODE vu vu_or(vu a, vu b) { return _mm512_or_si512(a, b); }
LANE_CODE vu vu_left(vu a, unsigned bits) { return _mm512_sll_epi32(a, _mm_cvtsi32_si128((int)bits)); }
LANE_CODE vu vu_right(vu a, unsigned bits) { return _mm512_srl_epi32(a, _mm_cvtsi32_si128((int)bits)); }
LANE_CODE vu vu_right_each(vu a, vu bits) { return _mm512_srlv_epi32(a, bits); }
LANE_CODE vu vu_multiply_low(vu a, vu b) { return _mm512_mullo_epi32(a, b); }
/* The high halves of a[i] * b[i], which vu_multiply has for a b that is the same in all lanes. */
LANE_CODE vu vu_multiply_high(vu a, vu b)
{
	const vu even = _mm512_mul_epu32(a, b), odd = _mm512_mul_epu32(_mm512_srli_epi64(a, 32), _mm512_srli_epi64(b, 32));
	return _mm512_mask_blend_epi32(0xaaaa, _mm512_srli_epi64(even, 32), odd);
}
/* Bit i: a[i] < b[i]. */
LANE_CODE uint32_t vu_below(vu a, vu b) { return _mm512_cmplt_epu32_mask(a, b); }
/* Bit i: a[i] is not 0. */
LANE_CODE uint32_t vu_some(vu a) { return _mm512_test_epi32_mask(a, a); }
/* b where the bit is set, else a. */
LANE_CODE vu vu_choose(uint32_t bits, vu a, vu b) { return _mm512_mask_blend_epi32((__mmask16)bits, a, b); }
/* from[at[i]], each at[i] below 2^31. */
LANE_CODE vu vu_gather(const uint32_t *from, vu at) { return _mm512_i32gather_epi32(at, (const int *)from, 4); }

#elif defined(KERNEL_ISA_avx2)

#define BOTH(operation, a, b) ((vu){operation((a).low, (b).low), operation((a).high, (b).high)})

LANE_CODE vu vu_and(vu a, vu b) { return BOTH(_mm256_and_si256, a, b); }
LANE_CODE vu vu_or(vu a, vu b) { return BOTH(_mm256_or_si256, a, b); }
LANE_CODE vu vu_left(vu a, unsigned bits)
{
	const __m128i count = _mm_cvtsi32_si128((int)bits);
	return (vu){_mm256_sll_epi32(a.low, count), _mm256_sll_epi32(a.high, count)};
}
LANE_CODE vu vu_right(vu a, unsigned bits)
{
	const __m128i count = _mm_cvtsi32_si128((int)bits);
	return (vu){_mm256_srl_epi32(a.low, count), _mm256_srl_epi32(a.high, count)};
}
LANE_CODE vu vu_right_each(vu a, vu bits) { return BOTH(_mm256_srlv_epi32, a, bits); }
LANE_CODE vu vu_multiply_low(vu a, vu b) { return BOTH(_mm256_mullo_epi32, a, b); }
LANE_CODE __m256i half_multiply_high(__m256i a, __m256i b)
{
	const __m256i even = _mm256_mul_epu32(a, b);
	const __m256i odd = _mm256_mul_epu32(_mm256_srli_epi64(a, 32), _mm256_srli_epi64(b, 32));
	return _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xaa);
}
LANE_CODE vu vu_multiply_high(vu a, vu b) { return BOTH(half_multiply_high, a, b); }
LANE_CODE uint32_t top_bits(vu a)
{
	return (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(a.low)) |
	       (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(a.high)) << 8;
}
LANE_CODE uint32_t vu_below(vu a, vu b)
{
	const vu flip = vu_set(UINT32_C(1) << 31), x = vu_xor(a, flip), y = vu_xor(b, flip);
	return top_bits(BOTH(_mm256_cmpgt_epi32, y, x));
}
LANE_CODE uint32_t vu_some(vu a)
{
	const vu zero = vu_set(0);
	return ~top_bits(BOTH(_mm256_cmpeq_epi32, a, zero)) & 0xffff;
}
LANE_CODE __m256i half_choose(uint32_t bits, __m256i a, __m256i b)
{
	const __m256i places = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
	const __m256i set = _mm256_and_si256(_mm256_set1_epi32((int)bits), places);
	return _mm256_blendv_epi8(a, b, _mm256_cmpeq_epi32(set, places));
}
LANE_CODE vu vu_choose(uint32_t bits, vu a, vu b)
{
	return (vu){half_choose(bits, a.low, b.low), half_choose(bits >> 8, a.high, b.high)};
}
LANE_CODE vu vu_gather(const uint32_t *from, vu at)
{
	return (vu){_mm256_i32gather_epi32((const int *)from, at.low, 4),
	            _mm256_i32gather_epi32((const int *)from, at.high, 4)};
}
#undef BOTH

#else

#define EACH(expression) \
	vu r; \
	for (int i = 0; i < LANES; i++) \
		r.lane[i] = (expression); \
	return r
LANE_CODE vu vu_and(vu a, vu b) { EACH(a.lane[i] & b.lane[i]); }
LANE_CODE vu vu_or(vu a, vu b) { EACH(a.lane[i] | b.lane[i]); }
LANE_CODE vu vu_left(vu a, unsigned bits) { EACH(a.lane[i] << bits); }
LANE_CODE vu vu_right(vu a, unsigned bits) { EACH(a.lane[i] >> bits); }
LANE_CODE vu vu_right_each(vu a, vu bits) { EACH(a.lane[i] >> bits.lane[i]); }
LANE_CODE vu vu_multiply_low(vu a, vu b) { EACH(a.lane[i] * b.lane[i]); }
LANE_CODE vu vu_multiply_high(vu a, vu b) { EACH((uint32_t)((uint64_t)a.lane[i] * b.lane[i] >> 32)); }
LANE_CODE uint32_t vu_below(vu a, vu b)
{
	uint32_t bits = 0;
	for (int i = 0; i < LANES; i++)
		bits |= (uint32_t)(a.lane[i] < b.lane[i]) << i;
	return bits;
}
LANE_CODE uint32_t vu_some(vu a)
{
	uint32_t bits = 0;
	for (int i = 0; i < LANES; i++)
		bits |= (uint32_t)(a.lane[i] != 0) << i;
	return bits;
}
LANE_CODE vu vu_choose(uint32_t bits, vu a, vu b) { EACH(bits >> i & 1 ? b.lane[i] : a.lane[i]); }
LANE_CODE vu vu_gather(const uint32_t *from, vu at) { EACH(from[at.lane[i]]); }
#undef EACH

#endif
#endif
