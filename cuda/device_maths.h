/* What kernels compute beside products: exp and log by the polynomials of common/simd_maths.h and maths.c, losses,
 * Philox (rng.h). The same bits as those give. */
#ifndef RECPIPE_CUDA_DEVICE_MATHS_H
#define RECPIPE_CUDA_DEVICE_MATHS_H

#include "launch.h"

ON_DEVICE float float_of_bits(uint32_t bits)
{
#ifdef __CUDACC__
	return __uint_as_float(bits);
#else
	float value;
	memcpy(&value, &bits, sizeof value);
	return value;
#endif
}

ON_DEVICE uint32_t bits_of_float(float value)
{
#ifdef __CUDACC__
	return __float_as_uint(value);
#else
	uint32_t bits;
	memcpy(&bits, &value, sizeof bits);
	return bits;
#endif
}

/* What is no number stays none. */
ON_DEVICE float relu(float x)
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
	float larger;
	asm("max.NaN.f32 %0, %1, 0f00000000;" : "=f"(larger) : "f"(x));
	return larger;
#else
	return 0.0f > x ? 0.0f : x;
#endif
}

/* exp(x) for x in [-87, 0]. */
ON_DEVICE float exp_negative(float x)
{
	const float magic = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer */
	const float n = fmaf(x, 1.44269504088896341f, magic) - magic;
	float r = fmaf(n, -0.693359375f, x);
	r = fmaf(n, 2.12194440e-4f, r);
	float p = 1.3888889e-3f;
	p = fmaf(p, r, 8.3333333e-3f);
	p = fmaf(p, r, 4.1666667e-2f);
	p = fmaf(p, r, 1.6666667e-1f);
	p = fmaf(p, r, 0.5f);
	p = fmaf(p, r, 1.0f);
	p = fmaf(p, r, 1.0f);
	return p * float_of_bits((uint32_t)((int32_t)n + 127) << 23);
}

/* log(1 + t) for t in [0, 1]. */
ON_DEVICE float log_one_plus(float t)
{
	const float s = t / (t + 2.0f), q = s * s;
	float p = 2.0f / 15.0f;
	p = fmaf(p, q, 2.0f / 13.0f);
	p = fmaf(p, q, 2.0f / 11.0f);
	p = fmaf(p, q, 2.0f / 9.0f);
	p = fmaf(p, q, 2.0f / 7.0f);
	p = fmaf(p, q, 2.0f / 5.0f);
	p = fmaf(p, q, 2.0f / 3.0f);
	p = fmaf(p, q, 2.0f);
	return p * s;
}

/* Natural logarithm of a sum of shares: x finite and at least 2^-1022. */
ON_DEVICE double log_of(double x)
{
	const double ln2_high = 6.93147180369123816490e-01, ln2_low = 1.90821492927058770002e-10;
	uint64_t bits;
	double m;
	memcpy(&bits, &x, sizeof bits);
	int exponent = (int)(bits >> 52) - 1022;
	bits = (bits & ((UINT64_C(1) << 52) - 1)) | UINT64_C(1022) << 52; /* [0.5, 1) */
	memcpy(&m, &bits, sizeof m);
	if (m < 0.70710678118654752440) {
		m *= 2;
		exponent--;
	}
	const double f = m - 1, s = f / (2 + f), z = s * s, half = 0.5 * f * f;
	double series = 0;
	for (int k = 23; k >= 3; k -= 2)
		series = series * z + 2.0 / k;
	const double low = s * (half + z * series);
	return exponent * ln2_high - ((half - (low + exponent * ln2_low)) - f);
}

/* The loss softplus(z) - y z and its derivative sigmoid(z) - y. */
ON_DEVICE float cross_entropy(float z, float y, float *derivative)
{
	const float size = fabsf(z), capped = size - 87.0f > 0.0f ? 87.0f : size;
	const float t = exp_negative(0.0f - capped);
	const float over = 1.0f / (1.0f + t);
	const float sigmoid = z > 0.0f ? over : t * over;
	*derivative = sigmoid - y;
	return (relu(z) - y * z) + log_one_plus(t);
}

/* The four words of block `block` of (seed, stream, index), as rng_block has them. */
ON_DEVICE void philox(uint64_t seed, uint32_t stream, uint64_t index, uint32_t block, uint32_t words[4])
{
	uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
	uint32_t c0 = (uint32_t)index, c1 = (uint32_t)(index >> 32), c2 = block, c3 = stream;
	for (int round = 0; round < 10; round++, k0 += 0x9E3779B9u, k1 += 0xBB67AE85u) {
		const uint64_t p = (uint64_t)c0 * 0xD2511F53u, q = (uint64_t)c2 * 0xCD9E8D57u;
		c0 = (uint32_t)(q >> 32) ^ c1 ^ k0;
		c1 = (uint32_t)q;
		c2 = (uint32_t)(p >> 32) ^ c3 ^ k1;
		c3 = (uint32_t)p;
	}
	words[0] = c0;
	words[1] = c1;
	words[2] = c2;
	words[3] = c3;
}

#endif
