/* Products of bfloat16 matrices in the way of AMX's TDPBF16PS, which is what they are made of where the processor has
 * it. Elsewhere the same registers are emulated with fused multiply-adds, to the same bits (Intel's Software
 * Developer's Manual, volume 2, TDPBF16PS): for each element of the sum, the products of even positions are added up in
 * ascending order, so are those of odd positions, from 0 both, and the two sums are added to each other and then to
 * the element. Subnormal numbers are 0: callers flush them (subnormal.h).
 *
 * Eight registers, all of 16 rows of 64 bytes: 0 to 3 hold sums (16 x 16 floats), 4 and 5 a left operand (16 rows, 32
 * positions), 6 and 7 a right one (16 rows of 16 columns: row r holds positions 2 r and 2 r + 1 of each column, side by
 * side). */
#ifndef RECPIPE_SIMD_MATRIX_H
#define RECPIPE_SIMD_MATRIX_H

#include "simd.h"

enum {
	MATRIX_ROWS = 16,      /* of any register */
	MATRIX_DEPTH = 32,     /* positions of an operand */
	MATRIX_HALVES = 2 * 16 /* bfloat16 in a row of an operand */
};

/* ---- conversion: rounded to nearest even, subnormals to 0, NaN stays one ---- */

#if defined(KERNEL_ISA_avx512)

/* 16 bfloat16 in the low halves of the lanes. */
LANE_CODE __m512i bf16_bits(vf a)
{
	const __m512i bits = _mm512_castps_si512(a);
	const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
	const __m512i rounded = _mm512_srli_epi32(_mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd), 16);
	const __mmask16 tiny = _mm512_testn_epi32_mask(bits, _mm512_set1_epi32(0x7f800000));
	const __m512i flushed = _mm512_mask_srli_epi32(rounded, tiny, _mm512_and_si512(bits, _mm512_set1_epi32(INT32_MIN)), 16);
	const __mmask16 nan = _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q);
	return _mm512_mask_or_epi32(flushed, nan, _mm512_srli_epi32(bits, 16), _mm512_set1_epi32(0x40));
}

/* out[i] = a[i] for 16 values. */
LANE_CODE void bf16_store(uint16_t *out, vf a)
{
	_mm256_storeu_si256((__m256i *)(void *)out, _mm512_cvtepi32_epi16(bf16_bits(a)));
}

/* out[2 i] = even[i], out[2 i + 1] = odd[i]. */
LANE_CODE void bf16_store_pairs(uint16_t *out, vf even, vf odd)
{
	_mm512_storeu_si512(out, _mm512_or_si512(bf16_bits(even), _mm512_slli_epi32(bf16_bits(odd), 16)));
}

#else

LANE_CODE uint16_t bf16_of(float a)
{
	uint32_t bits;
	memcpy(&bits, &a, sizeof bits);
	if ((bits & 0x7fffffffu) > 0x7f800000u)
		return (uint16_t)(bits >> 16 | 0x40);
	if ((bits & 0x7f800000u) == 0)
		return (uint16_t)(bits >> 16 & 0x8000u);
	return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

LANE_CODE void bf16_store(uint16_t *out, vf a)
{
	float lanes[LANES];
	vf_store(lanes, a);
	for (size_t i = 0; i < LANES; i++)
		out[i] = bf16_of(lanes[i]);
}

LANE_CODE void bf16_store_pairs(uint16_t *out, vf even, vf odd)
{
	float first[LANES], second[LANES];
	vf_store(first, even);
	vf_store(second, odd);
	for (size_t i = 0; i < LANES; i++) {
		out[2 * i] = bf16_of(first[i]);
		out[2 * i + 1] = bf16_of(second[i]);
	}
}

#endif

/* ---- registers: struct matrix_registers is what they are declared with, strides are in bytes ---- */

#if defined(KERNEL_ISA_amx)

struct matrix_registers {
	char none; /* they are the processor's */
};

/* Palette 1, eight registers of 16 rows of 64 bytes. The compiler's own intrinsics of gcc 12 do not say that they read
 * and write memory; these do. */
LANE_CODE void matrix_begin(struct matrix_registers *m)
{
	_Alignas(64) static const uint8_t configuration[64] = {
		1, [16] = 64, [18] = 64, [20] = 64, [22] = 64, [24] = 64, [26] = 64, [28] = 64, [30] = 64,
		[48] = 16, [49] = 16, [50] = 16, [51] = 16, [52] = 16, [53] = 16, [54] = 16, [55] = 16,
	};
	(void)m;
	__asm__ volatile("ldtilecfg %0" : : "m"(configuration) : "memory");
}

LANE_CODE void matrix_end(struct matrix_registers *m)
{
	(void)m;
	__asm__ volatile("tilerelease" : : : "memory");
}

#define MATRIX_LOAD_SUM(m, n, from, stride) MATRIX_LOAD(n, from, stride)
#define MATRIX_LOAD_LEFT(m, n, from, stride) MATRIX_LOAD(n, from, stride)
#define MATRIX_LOAD_RIGHT(m, n, from, stride) MATRIX_LOAD(n, from, stride)
#define MATRIX_LOAD(n, from, stride) \
	__asm__ volatile("tileloadd (%0,%1,1), %%tmm" #n : : "r"(from), "r"((size_t)(stride)) : "memory")
#define MATRIX_ZERO(m, n) __asm__ volatile("tilezero %%tmm" #n : : : "memory")
#define MATRIX_STORE(m, n, to, stride) \
	__asm__ volatile("tilestored %%tmm" #n ", (%0,%1,1)" : : "r"(to), "r"((size_t)(stride)) : "memory")
#define MATRIX_MULTIPLY(m, sum, left, right) \
	__asm__ volatile("tdpbf16ps %%tmm" #right ", %%tmm" #left ", %%tmm" #sum : : : "memory")

#else

/* Operands are kept widened, even and odd positions apart. */
struct matrix_registers {
	_Alignas(64) float sum[4][MATRIX_ROWS][LANES];
	_Alignas(64) float even[4][MATRIX_ROWS][LANES], odd[4][MATRIX_ROWS][LANES];
};

LANE_CODE void matrix_begin(struct matrix_registers *m) { (void)m; }
LANE_CODE void matrix_end(struct matrix_registers *m) { (void)m; }

static inline void matrix_load_sum(struct matrix_registers *m, size_t n, const float *from, size_t stride)
{
	for (size_t r = 0; r < MATRIX_ROWS; r++)
		vf_store(m->sum[n][r], vf_load(from + r * stride / sizeof(float)));
}

static inline void matrix_zero(struct matrix_registers *m, size_t n)
{
	for (size_t r = 0; r < MATRIX_ROWS; r++)
		vf_store(m->sum[n][r], vf_set(0.0f));
}

static inline void matrix_store(const struct matrix_registers *m, size_t n, float *to, size_t stride)
{
	for (size_t r = 0; r < MATRIX_ROWS; r++)
		vf_store(to + r * stride / sizeof(float), vf_load(m->sum[n][r]));
}

static inline void matrix_load(struct matrix_registers *m, size_t n, const uint16_t *from, size_t stride)
{
	for (size_t r = 0; r < MATRIX_ROWS; r++)
		for (size_t i = 0; i < LANES; i++) {
			const uint16_t *pair = from + r * stride / sizeof *from + 2 * i;
			const uint32_t bits[2] = {(uint32_t)pair[0] << 16, (uint32_t)pair[1] << 16};
			memcpy(&m->even[n - 4][r][i], &bits[0], sizeof bits[0]);
			memcpy(&m->odd[n - 4][r][i], &bits[1], sizeof bits[1]);
		}
}

/* `rows`, a constant, of them from row r on. */
LANE_CODE void matrix_multiply_rows(const size_t rows, struct matrix_registers *m, size_t sum, size_t left, size_t right,
                                    size_t r)
{
	vf even[4], odd[4];
#pragma GCC unroll 4
	for (size_t i = 0; i < rows; i++)
		even[i] = odd[i] = vf_set(0.0f);
	for (size_t k = 0; k < MATRIX_ROWS; k++) {
		const vf x = vf_load(m->even[right][k]), y = vf_load(m->odd[right][k]);
#pragma GCC unroll 4
		for (size_t i = 0; i < rows; i++) {
			even[i] = vf_fma(vf_set(m->even[left][r + i][k]), x, even[i]);
			odd[i] = vf_fma(vf_set(m->odd[left][r + i][k]), y, odd[i]);
		}
	}
#pragma GCC unroll 4
	for (size_t i = 0; i < rows; i++)
		vf_store(m->sum[sum][r + i], vf_add(vf_load(m->sum[sum][r + i]), vf_add(even[i], odd[i])));
}

static inline void matrix_multiply(struct matrix_registers *m, size_t sum, size_t left, size_t right)
{
	for (size_t r = 0; r < MATRIX_ROWS; r += 4)
		matrix_multiply_rows(4, m, sum, left - 4, right - 4, r);
}

#define MATRIX_LOAD_SUM(m, n, from, stride) matrix_load_sum(m, n, from, stride)
#define MATRIX_LOAD_LEFT(m, n, from, stride) matrix_load(m, n, from, stride)
#define MATRIX_LOAD_RIGHT(m, n, from, stride) matrix_load(m, n, from, stride)
#define MATRIX_ZERO(m, n) matrix_zero(m, n)
#define MATRIX_STORE(m, n, to, stride) matrix_store(m, n, to, stride)
#define MATRIX_MULTIPLY(m, sum, left, right) matrix_multiply(m, sum, left, right)

#endif

#endif
