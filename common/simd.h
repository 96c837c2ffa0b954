/* Sixteen virtual lanes of float (vf) and eight of double (vd), the same on every instruction set: one AVX-512
 * register, two AVX2 registers, or a plain array. Only operations that IEEE 754 rounds in one way are offered (fused
 * multiply-add included), so that the lanes hold the same bits everywhere. Included only by the
 * sources that are compiled once for each instruction set (NAME_isa.c), with KERNEL_ISA set to its name. */
#ifndef RECPIPE_SIMD_H
#define RECPIPE_SIMD_H

#include "compat.h"

enum { LANES = 16, DOUBLE_LANES = 8 };

#define JOIN_NAMES(a, b) a##b
#define JOIN(a, b) JOIN_NAMES(a, b)
#define TEXT_OF(a) #a
#define TEXT(a) TEXT_OF(a)

#define LANE_CODE static inline __attribute__((always_inline))

#if defined(KERNEL_ISA_amx) /* AVX-512 and tiles (simd_matrix.h) */
#define KERNEL_ISA_avx512
#endif

#if defined(KERNEL_ISA_avx512)

#include <immintrin.h>

typedef __m512 vf;

LANE_CODE vf vf_load(const float *from) { return _mm512_loadu_ps(from); }
LANE_CODE void vf_store(float *to, vf a) { _mm512_storeu_ps(to, a); }
LANE_CODE vf vf_set(float a) { return _mm512_set1_ps(a); }
LANE_CODE vf vf_add(vf a, vf b) { return _mm512_add_ps(a, b); }
LANE_CODE vf vf_sub(vf a, vf b) { return _mm512_sub_ps(a, b); }
LANE_CODE vf vf_mul(vf a, vf b) { return _mm512_mul_ps(a, b); }
LANE_CODE vf vf_div(vf a, vf b) { return _mm512_div_ps(a, b); }
LANE_CODE vf vf_sqrt(vf a) { return _mm512_sqrt_ps(a); }
LANE_CODE vf vf_fma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
LANE_CODE vf vf_fma_by(const float *a, vf b, vf c) /* fma(*a, b, c), *a an operand in memory: compilers would load it */
{
	__asm__("vfmadd231ps %2%{1to16%}, %1, %0" : "+v"(c) : "v"(b), "m"(*a));
	return c;
}
LANE_CODE vf vf_relu(vf a) { return _mm512_max_ps(_mm512_setzero_ps(), a); }
LANE_CODE vf vf_abs(vf a) { return _mm512_abs_ps(a); }
LANE_CODE vf vf_where_positive(vf test, vf yes, vf no)
{
	return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(test, _mm512_setzero_ps(), _CMP_GT_OQ), no, yes);
}
LANE_CODE vf vf_power_of_two(vf n) /* 2^n for integral n in [-126, 127] */
{
	__m512i bits = _mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127));
	return _mm512_castsi512_ps(_mm512_slli_epi32(bits, 23));
}
LANE_CODE uint32_t vf_at_least(vf a, vf b) /* a bit for each lane with a >= b */
{
	return _mm512_cmp_ps_mask(a, b, _CMP_GE_OQ);
}

typedef __m512d vd;

LANE_CODE vd vd_load(const double *from) { return _mm512_loadu_pd(from); }
LANE_CODE void vd_store(double *to, vd a) { _mm512_storeu_pd(to, a); }
LANE_CODE vd vd_set(double a) { return _mm512_set1_pd(a); }
LANE_CODE vd vd_add(vd a, vd b) { return _mm512_add_pd(a, b); }
LANE_CODE vd vd_fma(vd a, vd b, vd c) { return _mm512_fmadd_pd(a, b, c); }

#elif defined(KERNEL_ISA_avx2)

#include <immintrin.h>

typedef struct lanes_pair {
	__m256 low, high;
} vf;

#define BOTH(operation) ((vf){operation(a.low, b.low), operation(a.high, b.high)})
LANE_CODE vf vf_load(const float *from) { return (vf){_mm256_loadu_ps(from), _mm256_loadu_ps(from + 8)}; }
LANE_CODE void vf_store(float *to, vf a)
{
	_mm256_storeu_ps(to, a.low);
	_mm256_storeu_ps(to + 8, a.high);
}
LANE_CODE vf vf_set(float a) { return (vf){_mm256_set1_ps(a), _mm256_set1_ps(a)}; }
LANE_CODE vf vf_add(vf a, vf b) { return BOTH(_mm256_add_ps); }
LANE_CODE vf vf_sub(vf a, vf b) { return BOTH(_mm256_sub_ps); }
LANE_CODE vf vf_mul(vf a, vf b) { return BOTH(_mm256_mul_ps); }
LANE_CODE vf vf_div(vf a, vf b) { return BOTH(_mm256_div_ps); }
LANE_CODE vf vf_sqrt(vf a) { return (vf){_mm256_sqrt_ps(a.low), _mm256_sqrt_ps(a.high)}; }
LANE_CODE vf vf_fma(vf a, vf b, vf c)
{
	return (vf){_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)};
}
LANE_CODE vf vf_fma_by(const float *a, vf b, vf c) { return vf_fma(vf_set(*a), b, c); }
LANE_CODE vf vf_relu(vf a)
{
	return (vf){_mm256_max_ps(_mm256_setzero_ps(), a.low), _mm256_max_ps(_mm256_setzero_ps(), a.high)};
}
LANE_CODE vf vf_abs(vf a)
{
	const __m256 sign = _mm256_set1_ps(-0.0f);
	return (vf){_mm256_andnot_ps(sign, a.low), _mm256_andnot_ps(sign, a.high)};
}
LANE_CODE __m256 half_where_positive(__m256 test, __m256 yes, __m256 no)
{
	return _mm256_blendv_ps(no, yes, _mm256_cmp_ps(test, _mm256_setzero_ps(), _CMP_GT_OQ));
}
LANE_CODE vf vf_where_positive(vf test, vf yes, vf no)
{
	return (vf){half_where_positive(test.low, yes.low, no.low), half_where_positive(test.high, yes.high, no.high)};
}
LANE_CODE __m256 half_power_of_two(__m256 n)
{
	__m256i bits = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
	return _mm256_castsi256_ps(_mm256_slli_epi32(bits, 23));
}
LANE_CODE vf vf_power_of_two(vf n) { return (vf){half_power_of_two(n.low), half_power_of_two(n.high)}; }
LANE_CODE uint32_t vf_at_least(vf a, vf b)
{
	const int low = _mm256_movemask_ps(_mm256_cmp_ps(a.low, b.low, _CMP_GE_OQ));
	const int high = _mm256_movemask_ps(_mm256_cmp_ps(a.high, b.high, _CMP_GE_OQ));
	return (uint32_t)low | (uint32_t)high << 8;
}
#undef BOTH

typedef struct double_lanes_pair {
	__m256d low, high;
} vd;

LANE_CODE vd vd_load(const double *from) { return (vd){_mm256_loadu_pd(from), _mm256_loadu_pd(from + 4)}; }
LANE_CODE void vd_store(double *to, vd a)
{
	_mm256_storeu_pd(to, a.low);
	_mm256_storeu_pd(to + 4, a.high);
}
LANE_CODE vd vd_set(double a) { return (vd){_mm256_set1_pd(a), _mm256_set1_pd(a)}; }
LANE_CODE vd vd_add(vd a, vd b) { return (vd){_mm256_add_pd(a.low, b.low), _mm256_add_pd(a.high, b.high)}; }
LANE_CODE vd vd_fma(vd a, vd b, vd c)
{
	return (vd){_mm256_fmadd_pd(a.low, b.low, c.low), _mm256_fmadd_pd(a.high, b.high, c.high)};
}

#else

#include <math.h>

typedef struct lanes_array {
	float lane[LANES];
} vf;

#define EACH(expression) \
	vf r; \
	for (int i = 0; i < LANES; i++) \
		r.lane[i] = (expression); \
	return r
LANE_CODE vf vf_load(const float *from) { EACH(from[i]); }
LANE_CODE void vf_store(float *to, vf a)
{
	for (int i = 0; i < LANES; i++)
		to[i] = a.lane[i];
}
LANE_CODE vf vf_set(float a) { EACH(a); }
LANE_CODE vf vf_add(vf a, vf b) { EACH(a.lane[i] + b.lane[i]); }
LANE_CODE vf vf_sub(vf a, vf b) { EACH(a.lane[i] - b.lane[i]); }
LANE_CODE vf vf_mul(vf a, vf b) { EACH(a.lane[i] * b.lane[i]); }
LANE_CODE vf vf_div(vf a, vf b) { EACH(a.lane[i] / b.lane[i]); }
LANE_CODE vf vf_sqrt(vf a) { EACH(sqrtf(a.lane[i])); }
LANE_CODE vf vf_fma(vf a, vf b, vf c) { EACH(fmaf(a.lane[i], b.lane[i], c.lane[i])); }
LANE_CODE vf vf_fma_by(const float *a, vf b, vf c) { return vf_fma(vf_set(*a), b, c); }
LANE_CODE vf vf_relu(vf a) { EACH(0.0f > a.lane[i] ? 0.0f : a.lane[i]); }
LANE_CODE vf vf_abs(vf a) { EACH(fabsf(a.lane[i])); }
LANE_CODE vf vf_where_positive(vf test, vf yes, vf no)
{
	EACH(test.lane[i] > 0.0f ? yes.lane[i] : no.lane[i]);
}
LANE_CODE vf vf_power_of_two(vf n)
{
	vf r;
	for (int i = 0; i < LANES; i++) {
		uint32_t bits = (uint32_t)((int32_t)n.lane[i] + 127) << 23;
		memcpy(&r.lane[i], &bits, sizeof bits);
	}
	return r;
}
LANE_CODE uint32_t vf_at_least(vf a, vf b)
{
	uint32_t lanes = 0;
	for (int i = 0; i < LANES; i++)
		lanes |= (uint32_t)(a.lane[i] >= b.lane[i]) << i;
	return lanes;
}
#undef EACH

typedef struct double_lanes_array {
	double lane[DOUBLE_LANES];
} vd;

#define EACH(expression) \
	vd r; \
	for (int i = 0; i < DOUBLE_LANES; i++) \
		r.lane[i] = (expression); \
	return r
LANE_CODE vd vd_load(const double *from) { EACH(from[i]); }
LANE_CODE void vd_store(double *to, vd a)
{
	for (int i = 0; i < DOUBLE_LANES; i++)
		to[i] = a.lane[i];
}
LANE_CODE vd vd_set(double a) { EACH(a); }
LANE_CODE vd vd_add(vd a, vd b) { EACH(a.lane[i] + b.lane[i]); }
LANE_CODE vd vd_fma(vd a, vd b, vd c) { EACH(fma(a.lane[i], b.lane[i], c.lane[i])); }
#undef EACH

#endif

#endif
