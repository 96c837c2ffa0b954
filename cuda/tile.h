/* Products over a tile: a matrix of units by samples, [unit][pitch], samples side by side. A phase of a kernel each.
 *
 * Work is cut into pieces of a few units (two, or four where a layer has enough) by four samples, for gradients of weights
 * by as many inputs, which a thread keeps in registers over the whole sum. The pitch is four floats more than the
 * samples, and rows of the weights' copy are as much longer than they must be, so that threads which go down the units
 * meet different banks of shared memory. Every output is one chain of fused multiply-adds in ascending order of the
 * summed index, from its bias on: the chain of common/kernels.h. */
#ifndef RECPIPE_CUDA_TILE_H
#define RECPIPE_CUDA_TILE_H

#include "device_maths.h"
#include "state.h"

ON_DEVICE struct float4 load_quad(const float *from)
{
	return *(const struct float4 *)(const void *)from;
}

/* The same of global memory, and asked for here, however late it is used: for what products are to hide. */
ON_DEVICE struct float4 load_early(const float *from)
{
#ifdef __CUDACC__
	struct float4 q;
	asm volatile("ld.global.v4.f32 {%0, %1, %2, %3}, [%4];" : "=f"(q.x), "=f"(q.y), "=f"(q.z), "=f"(q.w) : "l"(from));
	return q;
#else
	return load_quad(from);
#endif
}

ON_DEVICE void store_quad(float *to, struct float4 value)
{
	*(struct float4 *)(void *)to = value;
}

ON_DEVICE struct float2 load_pair(const float *from)
{
	return *(const struct float2 *)(const void *)from;
}

ON_DEVICE void store_pair(float *to, float x, float y)
{
	struct float2 q;
	q.x = x;
	q.y = y;
	*(struct float2 *)(void *)to = q;
}

ON_DEVICE struct float4 same_quad(float value)
{
	struct float4 q;
	q.x = q.y = q.z = q.w = value;
	return q;
}

ON_DEVICE struct float4 added(struct float4 a, struct float4 b)
{
	a.x += b.x;
	a.y += b.y;
	a.z += b.z;
	a.w += b.w;
	return a;
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

ON_DEVICE struct float4 rectified(struct float4 q)
{
	q.x = relu(q.x);
	q.y = relu(q.y);
	q.z = relu(q.z);
	q.w = relu(q.w);
	return q;
}

/* A layer at work on a tile. */
struct product {
	const float *weight;      /* [outputs][stride] */
	bool aligned;             /* a copy of it: rows begin at multiples of four floats */
	uint32_t stride, inputs, outputs;
	const float *bias;        /* NULL: zeros */
	float *in, *out;          /* [inputs][pitch], [outputs][pitch] */
	uint32_t tile, pitch;
};

enum { PIECE = 4, QUADS_OF_WORK = THREADS / 2 }; /* units at most; pieces that keep a block busy enough */

/* Four weights that lie side by side: of a copy, whose rows are aligned, or one by one. */
ON_DEVICE struct float4 load_weights(const float *weight, bool aligned)
{
	struct float4 q;
	if (aligned)
		return load_quad(weight);
	q.x = weight[0];
	q.y = weight[1];
	q.z = weight[2];
	q.w = weight[3];
	return q;
}

/* `units` is a constant wherever this is inlined: outputs [o, o + units) of four samples. */
ON_DEVICE void forward_piece(const uint32_t units, const struct product *p, uint32_t o, uint32_t s, bool rectify)
{
	struct float4 sum[PIECE];
	const float *weight[PIECE], *x = p->in + s;
	for (uint32_t i = 0; i < units; i++) {
		const uint32_t unit = least_of(o + i, p->outputs - 1);
		weight[i] = p->weight + (size_t)unit * p->stride;
		sum[i] = same_quad(p->bias ? p->bias[unit] : 0.0f);
	}
	uint32_t k = 0;
	for (; k + 4 <= p->inputs; k += 4, x += 4 * (size_t)p->pitch) {
		const struct float4 x0 = load_quad(x), x1 = load_quad(x + p->pitch);
		const struct float4 x2 = load_quad(x + 2 * (size_t)p->pitch), x3 = load_quad(x + 3 * (size_t)p->pitch);
		for (uint32_t i = 0; i < units; i++) {
			const struct float4 w = load_weights(weight[i] + k, p->aligned);
			add_product(&sum[i], w.x, x0);
			add_product(&sum[i], w.y, x1);
			add_product(&sum[i], w.z, x2);
			add_product(&sum[i], w.w, x3);
		}
	}
	for (; k < p->inputs; k++, x += p->pitch)
		for (uint32_t i = 0; i < units; i++)
			add_product(&sum[i], weight[i][k], load_quad(x));
	for (uint32_t i = 0; i < units && o + i < p->outputs; i++)
		store_quad(p->out + (size_t)(o + i) * p->pitch + s, rectify ? rectified(sum[i]) : sum[i]);
}

ON_DEVICE void tile_forward(uint32_t thread, const struct product *p, bool rectify)
{
	const uint32_t quads = p->tile / 4, fours = (p->outputs + 3) / 4 * quads, twos = (p->outputs + 1) / 2 * quads;
	if (fours >= QUADS_OF_WORK)
		for (uint32_t piece = thread; piece < fours; piece += THREADS)
			forward_piece(4, p, piece / quads * 4, piece % quads * 4, rectify);
	else
		for (uint32_t piece = thread; piece < twos; piece += THREADS)
			forward_piece(2, p, piece / quads * 2, piece % quads * 4, rectify);
}

/* What back to the inputs is done with. */
enum mask { MASK_NONE, MASK_POSITIVE };

ON_DEVICE struct float4 masked(struct float4 value, struct float4 by, float scale)
{
	value.x = by.x > 0.0f ? value.x * scale : 0.0f;
	value.y = by.y > 0.0f ? value.y * scale : 0.0f;
	value.z = by.z > 0.0f ? value.z * scale : 0.0f;
	value.w = by.w > 0.0f ? value.w * scale : 0.0f;
	return value;
}

/* Inputs [k, k + units) of four samples, in place of what masks them. The last piece's weights may reach behind the
 * row, as far as the copy's rows go. */
ON_DEVICE void backward_piece(const uint32_t units, const struct product *p, uint32_t k, uint32_t s, enum mask mask,
                              float scale)
{
	struct float4 sum[PIECE];
	const float *w = p->weight + k, *z = p->out + s;
	const uint32_t last = p->inputs - 1 - k;
	for (uint32_t i = 0; i < units; i++)
		sum[i] = same_quad(0.0f);
	for (uint32_t o = 0; o < p->outputs; o++, w += p->stride, z += p->pitch) {
		const struct float4 column = load_quad(z);
		if (units == 4 && p->aligned) {
			const struct float4 four = load_quad(w);
			add_product(&sum[0], four.x, column);
			add_product(&sum[1], four.y, column);
			add_product(&sum[2], four.z, column);
			add_product(&sum[3], four.w, column);
			continue;
		}
		for (uint32_t i = 0; i < units; i++)
			add_product(&sum[i], w[least_of(i, last)], column);
	}
	for (uint32_t i = 0; i < units && k + i < p->inputs; i++) {
		float *const to = p->in + (size_t)(k + i) * p->pitch + s;
		store_quad(to, mask == MASK_POSITIVE ? masked(sum[i], load_quad(to), scale) : sum[i]);
	}
}

/* in[k] = sum over o of weight[o][k] out[o]. */
ON_DEVICE void tile_backward(uint32_t thread, const struct product *p, enum mask mask, float scale)
{
	const uint32_t quads = p->tile / 4, fours = (p->inputs + 3) / 4 * quads, twos = (p->inputs + 1) / 2 * quads;
	if (fours >= QUADS_OF_WORK)
		for (uint32_t piece = thread; piece < fours; piece += THREADS)
			backward_piece(4, p, piece / quads * 4, piece % quads * 4, mask, scale);
	else
		for (uint32_t piece = thread; piece < twos; piece += THREADS)
			backward_piece(2, p, piece / quads * 2, piece % quads * 4, mask, scale);
}

/* Gradients of weights [o, o + units) by [k, k + units). */
ON_DEVICE void gradient_piece(const uint32_t units, const struct product *p, uint32_t o, uint32_t k, float *gradient)
{
	float sum[PIECE][PIECE];
	const float *z[PIECE], *x[PIECE];
	for (uint32_t i = 0; i < units; i++) {
		z[i] = p->out + (size_t)least_of(o + i, p->outputs - 1) * p->pitch;
		x[i] = p->in + (size_t)least_of(k + i, p->inputs - 1) * p->pitch;
		for (uint32_t j = 0; j < units; j++)
			sum[i][j] = 0.0f;
	}
	for (uint32_t s = 0; s < p->tile; s += 4) {
		struct float4 a[PIECE];
		for (uint32_t i = 0; i < units; i++)
			a[i] = load_quad(z[i] + s);
		for (uint32_t j = 0; j < units; j++) {
			const struct float4 b = load_quad(x[j] + s);
			for (uint32_t i = 0; i < units; i++)
				sum[i][j] = add_products(sum[i][j], a[i], b);
		}
	}
	for (uint32_t i = 0; i < units && o + i < p->outputs; i++)
		for (uint32_t j = 0; j < units && k + j < p->inputs; j++)
			gradient[(size_t)(o + i) * p->inputs + k + j] += sum[i][j];
}

/* gradient[o][k] += sum over the tile's samples of out[o] in[k]. */
ON_DEVICE void tile_weight_gradient(uint32_t thread, const struct product *p, float *gradient)
{
	const uint32_t by_four = (p->inputs + 3) / 4, fours = (p->outputs + 3) / 4 * by_four;
	const uint32_t by_two = (p->inputs + 1) / 2, twos = (p->outputs + 1) / 2 * by_two;
	if (fours >= QUADS_OF_WORK)
		for (uint32_t piece = thread; piece < fours; piece += THREADS)
			gradient_piece(4, p, piece / by_four * 4, piece % by_four * 4, gradient);
	else
		for (uint32_t piece = thread; piece < twos; piece += THREADS)
			gradient_piece(2, p, piece / by_two * 2, piece % by_two * 2, gradient);
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

/* What a kernel knows to lie in shared memory when it is compiled. */
enum { TILE_SHARED = 1, WEIGHTS_SHARED = 2, GRADIENT_SHARED = 4, ALL_SHARED = 7 };

/* `known` is a constant where this is inlined. */
ON_DEVICE struct workspace workspace_of(const struct plan *plan, const unsigned known)
{
	struct workspace w;
	float *next = shared_floats();
	w.units = next;
	if (!(known & TILE_SHARED) && !plan->shares_tile)
		w.units = plan->scratch + (size_t)BLOCK * plan->units * plan->pitch;
	else
		next += (size_t)plan->units * plan->pitch;
	w.gradient = next;
	if (!(known & GRADIENT_SHARED) && !plan->shares_gradient)
		w.gradient = plan->partials + (size_t)BLOCK * plan->gradient_floats;
	else
		next += (plan->gradient_floats + 3) / 4 * 4;
	w.weights = (known & WEIGHTS_SHARED) || plan->weight_floats > 0 ? next : NULL;
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

/* A weight's copy; zeros between its rows, which backward_piece reads. */
ON_DEVICE void copy_weight(uint32_t thread, const float *weight, uint32_t stride, uint32_t inputs, uint32_t outputs,
                           float *to)
{
	const uint32_t pitch = weight_pitch(inputs);
	for (uint32_t o = thread / WARP; o < outputs; o += WARPS)
		for (uint32_t k = thread % WARP; k < pitch; k += WARP)
			to[o * pitch + k] = k < inputs ? weight[(size_t)o * stride + k] : 0.0f;
}

/* ---- between tiles and rows in global memory: a warp takes four rows, its threads go along them ---- */

/* units[n][s + i] = four[i]. */
ON_DEVICE void put_four(float *units, uint32_t pitch, uint32_t s, uint32_t n, const float four[4])
{
	struct float4 q;
	q.x = four[0];
	q.y = four[1];
	q.z = four[2];
	q.w = four[3];
	store_quad(units + (size_t)n * pitch + s, q);
}

/* rows[(first + s) * width + n] = units[n][s] for s < count. */
ON_DEVICE void store_rows(uint32_t thread, const float *units, uint32_t pitch, uint32_t width, uint32_t first,
                          uint32_t count, float *rows)
{
	for (uint32_t s = thread / WARP * 4; s < count; s += WARPS * 4)
		for (uint32_t n = thread % WARP; n < width; n += WARP) {
			const struct float4 q = load_quad(units + (size_t)n * pitch + s);
			const float four[4] = {q.x, q.y, q.z, q.w};
			for (uint32_t i = 0; i < 4; i++)
				if (s + i < count)
					rows[(size_t)(first + s + i) * width + n] = four[i];
		}
}

#endif
