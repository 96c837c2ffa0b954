/* exp, log and what is made of them in sixteen lanes, for the sources that are compiled once for each
 * instruction set (NAME_isa.c): polynomials of fused multiply-adds, the same bits everywhere. */
#ifndef RECPIPE_SIMD_MATHS_H
#define RECPIPE_SIMD_MATHS_H

#include "simd.h"

/* exp(x) for x in [-87, 0]: Cody-Waite reduction, then a polynomial of degree 6 (error below 2 ulp). */
LANE_CODE vf exp_negative(vf x)
{
	const vf magic = vf_set(12582912.0f); /* 1.5 * 2^23: adding it rounds to an integer */
	vf n = vf_sub(vf_fma(x, vf_set(1.44269504088896341f), magic), magic);
	vf r = vf_fma(n, vf_set(-0.693359375f), x);
	r = vf_fma(n, vf_set(2.12194440e-4f), r);
	vf p = vf_set(1.3888889e-3f);
	p = vf_fma(p, r, vf_set(8.3333333e-3f));
	p = vf_fma(p, r, vf_set(4.1666667e-2f));
	p = vf_fma(p, r, vf_set(1.6666667e-1f));
	p = vf_fma(p, r, vf_set(0.5f));
	p = vf_fma(p, r, vf_set(1.0f));
	p = vf_fma(p, r, vf_set(1.0f));
	return vf_mul(p, vf_power_of_two(n));
}

/* log(1 + t) for t in [0, 1] by 2 atanh(t / (2 + t)). */
LANE_CODE vf log_one_plus(vf t)
{
	vf s = vf_div(t, vf_add(t, vf_set(2.0f)));
	vf q = vf_mul(s, s);
	vf p = vf_set(2.0f / 15.0f);
	p = vf_fma(p, q, vf_set(2.0f / 13.0f));
	p = vf_fma(p, q, vf_set(2.0f / 11.0f));
	p = vf_fma(p, q, vf_set(2.0f / 9.0f));
	p = vf_fma(p, q, vf_set(2.0f / 7.0f));
	p = vf_fma(p, q, vf_set(2.0f / 5.0f));
	p = vf_fma(p, q, vf_set(2.0f / 3.0f));
	p = vf_fma(p, q, vf_set(2.0f));
	return vf_mul(p, s);
}

/* Per lane: the loss softplus(z) - y z and its derivative sigmoid(z) - y, both by exp(-|z|). A logit that
 * is not finite gives a loss that is not, however far the clamp reaches. */
LANE_CODE void cross_entropy(vf z, vf y, vf *loss, vf *derivative)
{
	vf size = vf_abs(z);
	vf capped = vf_where_positive(vf_sub(size, vf_set(87.0f)), vf_set(87.0f), size);
	vf t = exp_negative(vf_sub(vf_set(0.0f), capped));
	vf one = vf_set(1.0f);
	vf over = vf_div(one, vf_add(one, t));
	vf sigmoid = vf_where_positive(z, over, vf_mul(t, over));
	*loss = vf_add(vf_sub(vf_relu(z), vf_mul(y, z)), log_one_plus(t));
	*derivative = vf_sub(sigmoid, y);
}

#endif
