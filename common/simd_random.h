/* Philox4x32-10 (rng.h) for sixteen counters at once, for the sources that are compiled once for each instruction set
 * (NAME_isa.c): the same words as rng_block. */
#ifndef RECPIPE_SIMD_RANDOM_H
#define RECPIPE_SIMD_RANDOM_H

#include "simd.h"

/* Sixteen lanes of uint32_t. */
#if defined(KERNEL_ISA_avx512)

typedef __m512i vu;

LANE_CODE vu vu_set(uint32_t a) { return _mm512_set1_epi32((int)a); }
LANE_CODE vu vu_load(const uint32_t *from) { return _mm512_loadu_si512(from); }
LANE_CODE void vu_store(uint32_t *to, vu a) { _mm512_storeu_si512(to, a); }
LANE_CODE vu vu_add(vu a, vu b) { return _mm512_add_epi32(a, b); }
LANE_CODE vu vu_xor(vu a, vu b) { return _mm512_xor_si512(a, b); }

/* The 64-bit products of a and b, their halves apart. */
LANE_CODE vu vu_multiply(vu a, vu b, vu *high)
{
	const vu even = _mm512_mul_epu32(a, b), odd = _mm512_mul_epu32(_mm512_srli_epi64(a, 32), b);
	*high = _mm512_mask_blend_epi32(0xaaaa, _mm512_srli_epi64(even, 32), odd);
	return _mm512_mask_blend_epi32(0xaaaa, even, _mm512_slli_epi64(odd, 32));
}

/* `value` in the lanes whose bits [shift, shift + 8) are at least `threshold`, 0 in the others. */
LANE_CODE vf vf_where_byte_reaches(vu bits, uint32_t shift, uint32_t threshold, vf value)
{
	const vu byte = _mm512_and_si512(_mm512_srl_epi32(bits, _mm_cvtsi32_si128((int)shift)), vu_set(255));
	return _mm512_maskz_mov_ps(_mm512_cmpge_epu32_mask(byte, vu_set(threshold)), value);
}

#elif defined(KERNEL_ISA_avx2)

typedef struct unsigned_lanes_pair {
	__m256i low, high;
} vu;

#define BOTH(operation) ((vu){operation(a.low, b.low), operation(a.high, b.high)})
LANE_CODE vu vu_set(uint32_t a) { return (vu){_mm256_set1_epi32((int)a), _mm256_set1_epi32((int)a)}; }
LANE_CODE vu vu_load(const uint32_t *from)
{
	const __m256i *at = (const __m256i *)(const void *)from;
	return (vu){_mm256_loadu_si256(at), _mm256_loadu_si256(at + 1)};
}
LANE_CODE void vu_store(uint32_t *to, vu a)
{
	__m256i *at = (__m256i *)(void *)to;
	_mm256_storeu_si256(at, a.low);
	_mm256_storeu_si256(at + 1, a.high);
}
LANE_CODE vu vu_add(vu a, vu b) { return BOTH(_mm256_add_epi32); }
LANE_CODE vu vu_xor(vu a, vu b) { return BOTH(_mm256_xor_si256); }
#undef BOTH

LANE_CODE __m256i half_multiply(__m256i a, __m256i b, __m256i *high)
{
	const __m256i even = _mm256_mul_epu32(a, b), odd = _mm256_mul_epu32(_mm256_srli_epi64(a, 32), b);
	*high = _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xaa);
	return _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xaa);
}
LANE_CODE vu vu_multiply(vu a, vu b, vu *high)
{
	vu low;
	low.low = half_multiply(a.low, b.low, &high->low);
	low.high = half_multiply(a.high, b.high, &high->high);
	return low;
}
LANE_CODE __m256 half_where_byte_reaches(__m256i bits, uint32_t shift, uint32_t threshold, __m256 value)
{
	const __m256i byte = _mm256_and_si256(_mm256_srl_epi32(bits, _mm_cvtsi32_si128((int)shift)),
	                                      _mm256_set1_epi32(255));
	const __m256i below = _mm256_cmpgt_epi32(_mm256_set1_epi32((int)threshold), byte);
	return _mm256_andnot_ps(_mm256_castsi256_ps(below), value);
}
LANE_CODE vf vf_where_byte_reaches(vu bits, uint32_t shift, uint32_t threshold, vf value)
{
	return (vf){half_where_byte_reaches(bits.low, shift, threshold, value.low),
	            half_where_byte_reaches(bits.high, shift, threshold, value.high)};
}

#else

typedef struct unsigned_lanes {
	uint32_t lane[LANES];
} vu;

#define EACH(expression) \
	vu r; \
	for (int i = 0; i < LANES; i++) \
		r.lane[i] = (expression); \
	return r
LANE_CODE vu vu_set(uint32_t a) { EACH(a); }
LANE_CODE vu vu_load(const uint32_t *from) { EACH(from[i]); }
LANE_CODE void vu_store(uint32_t *to, vu a) { memcpy(to, a.lane, sizeof a.lane); }
LANE_CODE vu vu_add(vu a, vu b) { EACH(a.lane[i] + b.lane[i]); }
LANE_CODE vu vu_xor(vu a, vu b) { EACH(a.lane[i] ^ b.lane[i]); }
LANE_CODE vu vu_multiply(vu a, vu b, vu *high)
{
	for (int i = 0; i < LANES; i++)
		high->lane[i] = (uint32_t)((uint64_t)a.lane[i] * b.lane[i] >> 32);
	EACH(a.lane[i] * b.lane[i]);
}
#undef EACH
LANE_CODE vf vf_where_byte_reaches(vu bits, uint32_t shift, uint32_t threshold, vf value)
{
	for (int i = 0; i < LANES; i++)
		if ((bits.lane[i] >> shift & 255u) < threshold)
			value.lane[i] = 0.0f;
	return value;
}

#endif

/* words[w] becomes word w of the blocks that these counters name: index (low, high), block and stream of rng_block,
 * in words[0] to words[3]. */
LANE_CODE void random_words(uint64_t seed, vu words[4])
{
	uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
	for (int round = 0; round < 10; round++, k0 += 0x9E3779B9u, k1 += 0xBB67AE85u) {
		vu p_high, q_high;
		const vu p_low = vu_multiply(words[0], vu_set(0xD2511F53u), &p_high);
		const vu q_low = vu_multiply(words[2], vu_set(0xCD9E8D57u), &q_high);
		words[0] = vu_xor(vu_xor(q_high, words[1]), vu_set(k0));
		words[1] = q_low;
		words[2] = vu_xor(vu_xor(p_high, words[3]), vu_set(k1));
		words[3] = p_low;
	}
}

#endif
