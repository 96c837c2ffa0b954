/* What the scanner does to eight rows at once, with AVX-512 and AVX2: eight numbers of 32 bits (n32) and eight words
 * of 64 (w64), which hold eight bytes of text each, the first one lowest. Included by csv_scan_isa.c alone. */
#ifndef RECPIPE_CSV_SCAN_LANES_H
#define RECPIPE_CSV_SCAN_LANES_H

#include "simd.h"

enum { ROWS_AT_ONCE = 8 };

#if defined(KERNEL_ISA_avx512) || defined(KERNEL_ISA_avx2)
#define CSV_SCAN_HAS_LANES 1

typedef __m256i n32;

LANE_CODE n32 n32_set(uint32_t value) { return _mm256_set1_epi32((int)value); }
LANE_CODE n32 n32_load(const uint32_t *from) { return _mm256_loadu_si256((const __m256i *)from); }
LANE_CODE void n32_store(uint32_t *to, n32 a) { _mm256_storeu_si256((__m256i *)to, a); }
LANE_CODE n32 n32_add(n32 a, n32 b) { return _mm256_add_epi32(a, b); }
LANE_CODE n32 n32_sub(n32 a, n32 b) { return _mm256_sub_epi32(a, b); }
LANE_CODE n32 n32_and(n32 a, n32 b) { return _mm256_and_si256(a, b); }
LANE_CODE n32 n32_or(n32 a, n32 b) { return _mm256_or_si256(a, b); }
LANE_CODE n32 n32_xor(n32 a, n32 b) { return _mm256_xor_si256(a, b); }
LANE_CODE n32 n32_max(n32 a, n32 b) { return _mm256_max_epi32(a, b); }
/* All bits where a > b, both below 2^31. */
LANE_CODE n32 n32_above(n32 a, n32 b) { return _mm256_cmpgt_epi32(a, b); }
LANE_CODE n32 n32_equal(n32 a, n32 b) { return _mm256_cmpeq_epi32(a, b); }
LANE_CODE bool n32_any(n32 a) { return !_mm256_testz_si256(a, a); }
LANE_CODE bool n32_all(n32 a) { return (uint32_t)_mm256_movemask_epi8(a) == UINT32_MAX; }
/* from[0], from[stride], … */
LANE_CODE n32 n32_stride(const uint32_t *from, unsigned stride)
{
	const n32 lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
	return _mm256_i32gather_epi32((const int *)from, _mm256_mullo_epi32(lanes, n32_set(stride)), 4);
}
LANE_CODE n32 n32_two_quarters(const uint32_t *low, const uint32_t *high)
{
	return _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)low)),
	                               _mm_loadu_si128((const __m128i *)(const void *)high), 1);
}
/* The same for a stride of four, all four of them: to[k] is from[k], from[k + 4], … */
LANE_CODE void n32_fours(const uint32_t *from, n32 to[4])
{
	const n32 a = n32_two_quarters(from, from + 16), b = n32_two_quarters(from + 4, from + 20);
	const n32 c = n32_two_quarters(from + 8, from + 24), d = n32_two_quarters(from + 12, from + 28);
	const n32 ab = _mm256_unpacklo_epi32(a, b), cd = _mm256_unpacklo_epi32(c, d);
	const n32 ab_high = _mm256_unpackhi_epi32(a, b), cd_high = _mm256_unpackhi_epi32(c, d);
	to[0] = _mm256_unpacklo_epi64(ab, cd);
	to[1] = _mm256_unpackhi_epi64(ab, cd);
	to[2] = _mm256_unpacklo_epi64(ab_high, cd_high);
	to[3] = _mm256_unpackhi_epi64(ab_high, cd_high);
}
/* The four bytes at each place. */
LANE_CODE n32 n32_text(const char *bytes, n32 at) { return _mm256_i32gather_epi32((const int *)bytes, at, 1); }
/* first, a[0], … a[6] */
LANE_CODE n32 n32_behind(uint32_t first, n32 a)
{
	const n32 moved = _mm256_permutevar8x32_epi32(a, _mm256_setr_epi32(0, 0, 1, 2, 3, 4, 5, 6));
	return _mm256_blend_epi32(moved, n32_set(first), 1);
}
/* The least number without leading zeros that has one digit more than a (0 to 7). */
LANE_CODE n32 n32_least(n32 a)
{
	return _mm256_permutevar8x32_epi32(_mm256_setr_epi32(0, 10, 100, 1000, 10000, 100000, 1000000, 10000000), a);
}
LANE_CODE uint32_t n32_last(n32 a) { return (uint32_t)_mm256_extract_epi32(a, 7); }
/* The bytes below `length` (0 to 4) of each. */
LANE_CODE n32 n32_kept(n32 a, n32 length)
{
	const n32 drop = _mm256_slli_epi32(n32_sub(n32_set(4), length), 3);
	return _mm256_and_si256(a, _mm256_srlv_epi32(n32_set(UINT32_MAX), drop));
}

#if defined(KERNEL_ISA_avx512)

typedef __m512i w64;

/* The eight bytes that end at each place. */
LANE_CODE w64 w64_text(const char *bytes, n32 end) { return _mm512_i32gather_epi64(end, bytes - 8, 1); }
LANE_CODE w64 w64_set(uint64_t value) { return _mm512_set1_epi64((long long)value); }
LANE_CODE w64 w64_add(w64 a, w64 b) { return _mm512_add_epi64(a, b); }
LANE_CODE w64 w64_max_bytes(w64 a, w64 b) { return _mm512_max_epu8(a, b); }
LANE_CODE bool w64_are_digits(w64 a) { return _mm512_cmpgt_epu8_mask(a, _mm512_set1_epi8(9)) == 0; }
/* Digits as numbers 0 to 9 of the last `length` bytes, zeros before them; other bytes become more than 9. */
LANE_CODE w64 w64_digits(w64 text, n32 length)
{
	const n32 bits = n32_sub(n32_set(64), _mm256_slli_epi32(length, 3));
	const w64 drop = _mm512_cvtepu32_epi64(n32_max(bits, _mm256_setzero_si256()));
	const w64 kept = _mm512_sllv_epi64(_mm512_set1_epi64(-1), drop);
	return _mm512_and_si512(_mm512_xor_si512(text, _mm512_set1_epi8('0')), kept);
}
/* Pairs, fours, eights of digits. */
LANE_CODE w64 w64_value(w64 digits)
{
	const w64 pairs = _mm512_maddubs_epi16(digits, _mm512_set1_epi16(1 << 8 | 10));
	const w64 fours = _mm512_madd_epi16(pairs, _mm512_set1_epi32(1 << 16 | 100));
	return _mm512_add_epi64(_mm512_mul_epu32(fours, _mm512_set1_epi64(10000)), _mm512_srli_epi64(fours, 32));
}
/* a * 10^8 + b, both below 10^8 */
LANE_CODE w64 w64_joined(w64 a, w64 b) { return w64_add(_mm512_mul_epu32(a, _mm512_set1_epi64(100000000)), b); }
LANE_CODE n32 w64_narrow(w64 a) { return _mm512_cvtepi64_epi32(a); }
LANE_CODE void w64_store(int64_t *to, w64 a) { _mm512_storeu_si512((void *)to, a); }

#else

typedef struct words_pair {
	__m256i low, high;
} w64;

LANE_CODE __m128i low_half(n32 a) { return _mm256_castsi256_si128(a); }
LANE_CODE __m128i high_half(n32 a) { return _mm256_extracti128_si256(a, 1); }
LANE_CODE w64 w64_text(const char *bytes, n32 end)
{
	return (w64){_mm256_i32gather_epi64((const long long *)(const void *)(bytes - 8), low_half(end), 1),
	             _mm256_i32gather_epi64((const long long *)(const void *)(bytes - 8), high_half(end), 1)};
}
LANE_CODE w64 w64_set(uint64_t value)
{
	return (w64){_mm256_set1_epi64x((long long)value), _mm256_set1_epi64x((long long)value)};
}
LANE_CODE w64 w64_add(w64 a, w64 b)
{
	return (w64){_mm256_add_epi64(a.low, b.low), _mm256_add_epi64(a.high, b.high)};
}
LANE_CODE w64 w64_max_bytes(w64 a, w64 b)
{
	return (w64){_mm256_max_epu8(a.low, b.low), _mm256_max_epu8(a.high, b.high)};
}
LANE_CODE bool w64_are_digits(w64 a)
{
	const __m256i most = _mm256_max_epu8(_mm256_max_epu8(a.low, a.high), _mm256_set1_epi8(9));
	return n32_all(_mm256_cmpeq_epi8(most, _mm256_set1_epi8(9)));
}
LANE_CODE w64 w64_digits(w64 text, n32 length)
{
	const n32 bits = n32_max(n32_sub(n32_set(64), _mm256_slli_epi32(length, 3)), _mm256_setzero_si256());
	const __m256i all = _mm256_set1_epi64x(-1), zero = _mm256_set1_epi8('0');
	return (w64){_mm256_and_si256(_mm256_xor_si256(text.low, zero),
	                              _mm256_sllv_epi64(all, _mm256_cvtepu32_epi64(low_half(bits)))),
	             _mm256_and_si256(_mm256_xor_si256(text.high, zero),
	                              _mm256_sllv_epi64(all, _mm256_cvtepu32_epi64(high_half(bits))))};
}
LANE_CODE __m256i value_of_half(__m256i digits)
{
	const __m256i pairs = _mm256_maddubs_epi16(digits, _mm256_set1_epi16(1 << 8 | 10));
	const __m256i fours = _mm256_madd_epi16(pairs, _mm256_set1_epi32(1 << 16 | 100));
	return _mm256_add_epi64(_mm256_mul_epu32(fours, _mm256_set1_epi64x(10000)), _mm256_srli_epi64(fours, 32));
}
LANE_CODE w64 w64_value(w64 digits) { return (w64){value_of_half(digits.low), value_of_half(digits.high)}; }
LANE_CODE w64 w64_joined(w64 a, w64 b)
{
	const __m256i scale = _mm256_set1_epi64x(100000000);
	return w64_add((w64){_mm256_mul_epu32(a.low, scale), _mm256_mul_epu32(a.high, scale)}, b);
}
LANE_CODE n32 w64_narrow(w64 a)
{
	const __m256i even = _mm256_setr_epi32(0, 2, 4, 6, 0, 2, 4, 6);
	const __m256i low = _mm256_permutevar8x32_epi32(a.low, even), high = _mm256_permutevar8x32_epi32(a.high, even);
	return _mm256_blend_epi32(low, high, 0xf0);
}
LANE_CODE void w64_store(int64_t *to, w64 a)
{
	_mm256_storeu_si256((__m256i *)(void *)to, a.low);
	_mm256_storeu_si256((__m256i *)(void *)(to + 4), a.high);
}

#endif
#endif
#endif
