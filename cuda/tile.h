/* Products over a tile: a matrix of units by samples, [unit][pitch], samples side by side. A phase of a kernel each.
 *
 * Work is cut into pieces of two units by four samples (of four weights by all samples, for their gradients), which
 * a thread keeps in registers over the whole sum. The pitch is four floats more than the samples, so that threads which
 * go down the units meet different banks of shared memory. Every output is one chain of fused multiply-adds in
 * ascending order of the summed index, from its bias on: the chain of common/kernels.h. */
#ifndef RECPIPE_CUDA_TILE_H
#define RECPIPE_CUDA_TILE_H

#include "launch.h"
#include "state.h"

ON_DEVICE struct float4 load_quad(const float *from)
{
	return *(const struct float4 *)(const void *)from;
}

ON_DEVICE void store_quad(float *to, struct float4 value)
{
	*(struct float4 *)(void *)to = value;
}

ON_DEVICE struct float4 same_quad(float value)
{
	struct float4 q;
	q.x = q.y = q.z = q.w = value;
	return q;
}

ON_DEVICE void add_product(struct float4 *sum, float factor, struct float4 x)
{
	sum->x = fmaf(factor, x.x, sum->x);
	sum->y = fmaf(factor, x.y, sum->y);
	sum->z = fmaf(factor, x.z, sum->z);
	sum->w = fmaf(factor, x.w, sum->w);
}

/* One chain over four samples, in order. */
ON_DEVICE float add_products(float sum, struct float4 a, struct float4 b)
{
	return fmaf(a.w, b.w, fmaf(a.z, b.z, fmaf(a.y, b.y, fmaf(a.x, b.x, sum))));
}

/* A layer at work on a tile. */
struct product {
	const float *weight;      /* [outputs][stride] */
	uint32_t stride, inputs, outputs;
	const float *bias;        /* NULL: zeros */
	float *in, *out;          /* [inputs][pitch], [outputs][pitch] */
	uint32_t tile, pitch;
};

ON_DEVICE void tile_forward(uint32_t thread, const struct product *p, bool rectify)
{
	const uint32_t quads = p->tile / 4, pieces = (p->outputs + 1) / 2 * quads;
	for (uint32_t piece = thread; piece < pieces; piece += THREADS) {
		const uint32_t s = piece % quads * 4, o = piece / quads * 2, next = least_of(o + 1, p->outputs - 1);
		const float *w0 = p->weight + (size_t)o * p->stride, *w1 = p->weight + (size_t)next * p->stride;
		const float *x = p->in + s;
		struct float4 sum0 = same_quad(p->bias ? p->bias[o] : 0.0f), sum1 = same_quad(p->bias ? p->bias[next] : 0.0f);
		for (uint32_t k = 0; k < p->inputs; k++, x += p->pitch) {
			const struct float4 column = load_quad(x);
			add_product(&sum0, w0[k], column);
			add_product(&sum1, w1[k], column);
		}
		if (rectify) {
			sum0.x = 0.0f > sum0.x ? 0.0f : sum0.x;
			sum0.y = 0.0f > sum0.y ? 0.0f : sum0.y;
			sum0.z = 0.0f > sum0.z ? 0.0f : sum0.z;
			sum0.w = 0.0f > sum0.w ? 0.0f : sum0.w;
			sum1.x = 0.0f > sum1.x ? 0.0f : sum1.x;
			sum1.y = 0.0f > sum1.y ? 0.0f : sum1.y;
			sum1.z = 0.0f > sum1.z ? 0.0f : sum1.z;
			sum1.w = 0.0f > sum1.w ? 0.0f : sum1.w;
		}
		store_quad(p->out + (size_t)o * p->pitch + s, sum0);
		if (next != o)
			store_quad(p->out + (size_t)next * p->pitch + s, sum1);
	}
}

/* What back to the inputs is done with. */
enum mask { MASK_NONE, MASK_POSITIVE };

ON_DEVICE void mask_quad(struct float4 *value, struct float4 by, float scale)
{
	value->x = by.x > 0.0f ? value->x * scale : 0.0f;
	value->y = by.y > 0.0f ? value->y * scale : 0.0f;
	value->z = by.z > 0.0f ? value->z * scale : 0.0f;
	value->w = by.w > 0.0f ? value->w * scale : 0.0f;
}

/* in[k] = sum over o of weight[o][k] out[o], in place of what masks it. */
ON_DEVICE void tile_backward(uint32_t thread, const struct product *p, enum mask mask, float scale)
{
	const uint32_t quads = p->tile / 4, pieces = (p->inputs + 1) / 2 * quads;
	for (uint32_t piece = thread; piece < pieces; piece += THREADS) {
		const uint32_t s = piece % quads * 4, k = piece / quads * 2, next = least_of(k + 1, p->inputs - 1);
		const float *w = p->weight, *z = p->out + s;
		struct float4 sum0 = same_quad(0.0f), sum1 = same_quad(0.0f);
		for (uint32_t o = 0; o < p->outputs; o++, w += p->stride, z += p->pitch) {
			const struct float4 column = load_quad(z);
			add_product(&sum0, w[k], column);
			add_product(&sum1, w[next], column);
		}
		float *to0 = p->in + (size_t)k * p->pitch + s, *to1 = p->in + (size_t)next * p->pitch + s;
		if (mask == MASK_POSITIVE) {
			mask_quad(&sum0, load_quad(to0), scale);
			mask_quad(&sum1, load_quad(to1), scale);
		}
		store_quad(to0, sum0);
		if (next != k)
			store_quad(to1, sum1);
	}
}

/* gradient[o][k] += sum over the tile's samples of out[o] in[k]. */
ON_DEVICE void tile_weight_gradient(uint32_t thread, const struct product *p, float *gradient)
{
	const uint32_t across = (p->inputs + 1) / 2, pieces = (p->outputs + 1) / 2 * across;
	for (uint32_t piece = thread; piece < pieces; piece += THREADS) {
		const uint32_t o0 = piece / across * 2, k0 = piece % across * 2;
		const uint32_t o1 = least_of(o0 + 1, p->outputs - 1), k1 = least_of(k0 + 1, p->inputs - 1);
		const float *z0 = p->out + (size_t)o0 * p->pitch, *z1 = p->out + (size_t)o1 * p->pitch;
		const float *x0 = p->in + (size_t)k0 * p->pitch, *x1 = p->in + (size_t)k1 * p->pitch;
		float sum00 = 0.0f, sum01 = 0.0f, sum10 = 0.0f, sum11 = 0.0f;
		for (uint32_t s = 0; s < p->tile; s += 4) {
			const struct float4 a0 = load_quad(z0 + s), a1 = load_quad(z1 + s), b0 = load_quad(x0 + s), b1 = load_quad(x1 + s);
			sum00 = add_products(sum00, a0, b0);
			sum01 = add_products(sum01, a0, b1);
			sum10 = add_products(sum10, a1, b0);
			sum11 = add_products(sum11, a1, b1);
		}
		float *to = gradient + (size_t)o0 * p->inputs;
		to[k0] += sum00;
		if (k1 != k0)
			to[k1] += sum01;
		to += p->inputs;
		if (o1 != o0)
			to[k0] += sum10;
		if (o1 != o0 && k1 != k0)
			to[k1] += sum11;
	}
}

/* gradient[o] += sum over the samples of out[o]; by the last threads, which have the least to do. */
ON_DEVICE void tile_bias_gradient(uint32_t thread, const struct product *p, float *gradient)
{
	for (uint32_t o = THREADS - 1 - thread; o < p->outputs; o += THREADS) {
		const float *z = p->out + (size_t)o * p->pitch;
		float sum = 0.0f;
		for (uint32_t s = 0; s < p->tile; s += 4) {
			const struct float4 q = load_quad(z + s);
			sum = sum + q.x + q.y + q.z + q.w;
		}
		gradient[o] += sum;
	}
}

/* The pieces of a tile's plan for this block: its units, its gradient and its copy of weights. */
struct workspace {
	float *units, *gradient, *weights;
	float *further;           /* shared memory behind them */
};

ON_DEVICE struct workspace workspace_of(const struct plan *plan)
{
	struct workspace w;
	float *next = shared_floats();
	w.units = plan->shares_tile ? next : plan->scratch + (size_t)BLOCK * plan->units * plan->pitch;
	next += plan->shares_tile ? (size_t)plan->units * plan->pitch : 0;
	w.gradient = plan->shares_gradient ? next : plan->partials + (size_t)BLOCK * plan->gradient_floats;
	next += plan->shares_gradient ? (plan->gradient_floats + 3) / 4 * 4 : 0;
	w.weights = plan->weight_floats > 0 ? next : NULL;
	w.further = next + (plan->weight_floats + 3) / 4 * 4;
	return w;
}

/* The block's gradient to where Adam looks for it. */
ON_DEVICE void keep_gradient(uint32_t thread, const struct plan *plan, const struct workspace *w)
{
	float *to = plan->partials + (size_t)BLOCK * plan->gradient_floats;
	for (uint32_t i = thread; plan->shares_gradient && i < plan->gradient_floats; i += THREADS)
		to[i] = w->gradient[i];
}

ON_DEVICE void clear_gradient(uint32_t thread, const struct plan *plan, const struct workspace *w)
{
	for (uint32_t i = thread; i < plan->gradient_floats; i += THREADS)
		w->gradient[i] = 0.0f;
}

/* A weight's copy, rows of an odd number of floats, so that columns meet different banks. */
ON_DEVICE void copy_weight(uint32_t thread, const float *weight, uint32_t stride, uint32_t inputs, uint32_t outputs,
                           float *to)
{
	for (uint32_t i = thread; i < inputs * outputs; i += THREADS)
		to[i / inputs * (inputs | 1) + i % inputs] = weight[(size_t)(i / inputs) * stride + i % inputs];
}

#endif
