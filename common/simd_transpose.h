/* Sixteen vectors of sixteen lanes, transposed: moves only, so that the bits are the same everywhere. */
#ifndef RECPIPE_SIMD_TRANSPOSE_H
#define RECPIPE_SIMD_TRANSPOSE_H

#include "simd.h"

#if defined(KERNEL_ISA_avx512)

LANE_CODE __m512 low_pairs(__m512 a, __m512 b)
{
	return _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)));
}

LANE_CODE __m512 high_pairs(__m512 a, __m512 b)
{
	return _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)));
}

/* v[i] lane j ↔ v[j] lane i. */
LANE_CODE void vf_transpose(vf v[LANES])
{
	vf four[LANES]; /* four[4 q + c]: in 128-bit part p, column 4 p + c of rows 4 q to 4 q + 3 */
#pragma GCC unroll 4
	for (int q = 0; q < LANES; q += 4) {
		const vf a = _mm512_unpacklo_ps(v[q], v[q + 1]), b = _mm512_unpackhi_ps(v[q], v[q + 1]);
		const vf c = _mm512_unpacklo_ps(v[q + 2], v[q + 3]), d = _mm512_unpackhi_ps(v[q + 2], v[q + 3]);
		four[q] = low_pairs(a, c);
		four[q + 1] = high_pairs(a, c);
		four[q + 2] = low_pairs(b, d);
		four[q + 3] = high_pairs(b, d);
	}
#pragma GCC unroll 4
	for (int c = 0; c < 4; c++) {
		const vf even = _mm512_shuffle_f32x4(four[c], four[4 + c], 0x88);
		const vf odd = _mm512_shuffle_f32x4(four[c], four[4 + c], 0xdd);
		const vf even_below = _mm512_shuffle_f32x4(four[8 + c], four[12 + c], 0x88);
		const vf odd_below = _mm512_shuffle_f32x4(four[8 + c], four[12 + c], 0xdd);
		v[c] = _mm512_shuffle_f32x4(even, even_below, 0x88);
		v[4 + c] = _mm512_shuffle_f32x4(odd, odd_below, 0x88);
		v[8 + c] = _mm512_shuffle_f32x4(even, even_below, 0xdd);
		v[12 + c] = _mm512_shuffle_f32x4(odd, odd_below, 0xdd);
	}
}

#elif defined(KERNEL_ISA_avx2)

LANE_CODE __m256 low_pairs(__m256 a, __m256 b)
{
	return _mm256_castpd_ps(_mm256_unpacklo_pd(_mm256_castps_pd(a), _mm256_castps_pd(b)));
}

LANE_CODE __m256 high_pairs(__m256 a, __m256 b)
{
	return _mm256_castpd_ps(_mm256_unpackhi_pd(_mm256_castps_pd(a), _mm256_castps_pd(b)));
}

LANE_CODE void transpose_eight(__m256 v[8])
{
	__m256 four[8]; /* four[4 q + c]: in 128-bit part p, column 4 p + c of rows 4 q to 4 q + 3 */
#pragma GCC unroll 2
	for (int q = 0; q < 8; q += 4) {
		const __m256 a = _mm256_unpacklo_ps(v[q], v[q + 1]), b = _mm256_unpackhi_ps(v[q], v[q + 1]);
		const __m256 c = _mm256_unpacklo_ps(v[q + 2], v[q + 3]), d = _mm256_unpackhi_ps(v[q + 2], v[q + 3]);
		four[q] = low_pairs(a, c);
		four[q + 1] = high_pairs(a, c);
		four[q + 2] = low_pairs(b, d);
		four[q + 3] = high_pairs(b, d);
	}
#pragma GCC unroll 4
	for (int c = 0; c < 4; c++) {
		v[c] = _mm256_permute2f128_ps(four[c], four[4 + c], 0x20);
		v[4 + c] = _mm256_permute2f128_ps(four[c], four[4 + c], 0x31);
	}
}

LANE_CODE void vf_transpose(vf v[LANES])
{
	__m256 upper_left[8], upper_right[8], lower_left[8], lower_right[8];
#pragma GCC unroll 8
	for (int i = 0; i < 8; i++) {
		upper_left[i] = v[i].low;
		upper_right[i] = v[i].high;
		lower_left[i] = v[8 + i].low;
		lower_right[i] = v[8 + i].high;
	}
	transpose_eight(upper_left);
	transpose_eight(upper_right);
	transpose_eight(lower_left);
	transpose_eight(lower_right);
#pragma GCC unroll 8
	for (int i = 0; i < 8; i++) {
		v[i] = (vf){upper_left[i], lower_left[i]};
		v[8 + i] = (vf){upper_right[i], lower_right[i]};
	}
}

#else

LANE_CODE void vf_transpose(vf v[LANES])
{
	for (int i = 0; i < LANES; i++)
		for (int j = 0; j < i; j++) {
			const float swap = v[i].lane[j];
			v[i].lane[j] = v[j].lane[i];
			v[j].lane[i] = swap;
		}
}

#endif

/* to[k * to_stride + r] = from[r * from_stride + k] for columns k and rows r; rows a multiple of 16, or the last of `to`,
 * whose stride is one. Rows of `from` are readable up to the next multiple of 16 columns. */
static inline void transpose_rows(const float *from, size_t from_stride, size_t rows, size_t columns, float *to,
                                  size_t to_stride)
{
	vf v[LANES];
	for (size_t r = 0; r < rows; r += LANES)
		for (size_t k = 0; k < columns; k += LANES) {
			for (size_t i = 0; i < LANES; i++)
				v[i] = r + i < rows ? vf_load(from + (r + i) * from_stride + k) : vf_set(0.0f);
			vf_transpose(v);
			for (size_t i = 0; i < LANES && k + i < columns; i++)
				vf_store(to + (k + i) * to_stride + r, v[i]);
		}
}

#endif
