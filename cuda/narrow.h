/* The seed's tower behind the first layer, 64-32-16-8-4-1, whose every size is a constant. A warp takes tiles
 * of its own, [row][samples + 4] in shared memory, and waits for no other.
 *
 * Of the wide products a lane has a piece in registers, up to eight rows by eight samples, so that an operand is used
 * often enough once it is read; behind them a lane takes a sample. Lanes are laid out so that those eight that shared
 * memory serves at once meet all banks: along the samples, or down consecutive rows, four samples at a time. Every
 * output is the chain of tile.h. */
#ifndef RECPIPE_CUDA_NARROW_H
#define RECPIPE_CUDA_NARROW_H

#include "mma.h"
#include "tile.h"
#include "tower.h"

enum { NARROW_LAYERS = 5, N0 = 64, N1 = 32, N2 = 16, N3 = 8, N4 = 4 };

/* Copies of the weights, by input (T) or by output; biases; ones. */
enum {
	NARROW_T1_PITCH = N1 + 4, NARROW_T2_PITCH = N2 + 4, NARROW_W1_PITCH = N0 + 8, NARROW_W2_PITCH = N1 + 8,
	NARROW_T1 = 0,
	NARROW_T2 = NARROW_T1 + N0 * NARROW_T1_PITCH,
	NARROW_W3 = NARROW_T2 + N1 * NARROW_T2_PITCH,
	NARROW_W4 = NARROW_W3 + N3 * N2,
	NARROW_W5 = NARROW_W4 + N4 * N3,
	NARROW_B1 = NARROW_W5 + N4,
	NARROW_B2 = NARROW_B1 + N1,
	NARROW_B3 = NARROW_B2 + N2,
	NARROW_B4 = NARROW_B3 + N3,
	NARROW_B5 = NARROW_B4 + N4,
	NARROW_FORWARD = NARROW_B5 + 4, /* what scoring needs */
	NARROW_W1 = NARROW_FORWARD,
	NARROW_W2 = NARROW_W1 + N1 * NARROW_W1_PITCH,
	NARROW_ONES = NARROW_W2 + N2 * NARROW_W2_PITCH,
	NARROW_WEIGHTS = NARROW_ONES + WARP,
};

ON_BOTH uint32_t narrow_pitch(uint32_t samples)
{
	return samples + 4;
}

/* ---- weights ---- */

/* A warp takes four outputs by eight inputs at once: so neither copy has conflicts. */
struct narrow_place {
	uint32_t o, k;
};

ON_DEVICE struct narrow_place narrow_place(uint32_t t, uint32_t i, const uint32_t outputs)
{
	const uint32_t patch = t / WARP + i * WARPS, across = outputs / 4;
	const struct narrow_place place = {patch % across * 4 + t % 4, patch / across * 8 + t % WARP / 4};
	return place;
}

/* Number i of what lies behind NARROW_W3. */
ON_DEVICE const float *narrow_rest(const struct tower_arguments *a, uint32_t i)
{
	const struct layer *l = a->tower.layers;
	if (i < N3 * N2)
		return a->values + l[2].weight + (size_t)(i / N2) * l[2].stride + i % N2;
	i -= N3 * N2;
	if (i < N4 * N3)
		return a->values + l[3].weight + (size_t)(i / N3) * l[3].stride + i % N3;
	i -= N4 * N3;
	if (i < N4)
		return a->values + l[4].weight + i;
	i -= N4;
	if (i < N1)
		return a->values + l[0].bias + i;
	i -= N1;
	if (i < N2)
		return a->values + l[1].bias + i;
	i -= N2;
	if (i < N3)
		return a->values + l[2].bias + i;
	return i - N3 < N4 ? a->values + l[3].bias + i - N3 : a->values + l[4].bias;
}

/* A thread's part of the weights, between global and shared memory. */
enum { NARROW_FIRST = N1 * N0 / THREADS, NARROW_SECOND = N2 * N1 / THREADS, NARROW_REST = NARROW_B5 + 1 - NARROW_W3 };
struct narrow_weights {
	float first[NARROW_FIRST], second[NARROW_SECOND], rest;
};

ON_DEVICE struct narrow_weights narrow_read_weights(uint32_t t, const struct tower_arguments *a)
{
	const struct layer *l = a->tower.layers;
	struct narrow_weights w;
	UNROLLED
	for (uint32_t i = 0; i < NARROW_FIRST; i++) {
		const struct narrow_place p = narrow_place(t, i, N1);
		w.first[i] = a->values[l[0].weight + (size_t)p.o * l[0].stride + p.k];
	}
	UNROLLED
	for (uint32_t i = 0; i < NARROW_SECOND; i++) {
		const struct narrow_place p = narrow_place(t, i, N2);
		w.second[i] = a->values[l[1].weight + (size_t)p.o * l[1].stride + p.k];
	}
	w.rest = t < NARROW_REST ? *narrow_rest(a, t) : 0.0f;
	return w;
}

ON_DEVICE void narrow_put_weights(const enum precision kind, uint32_t t, const struct narrow_weights *w, const bool trains,
                                  float *to)
{
	UNROLLED
	for (uint32_t i = 0; i < NARROW_FIRST; i++) {
		const struct narrow_place p = narrow_place(t, i, N1);
		const float value = operand_value(kind, w->first[i]);
		to[NARROW_T1 + p.k * NARROW_T1_PITCH + p.o] = value;
		if (trains)
			to[NARROW_W1 + p.o * NARROW_W1_PITCH + p.k] = value;
	}
	UNROLLED
	for (uint32_t i = 0; i < NARROW_SECOND; i++) {
		const struct narrow_place p = narrow_place(t, i, N2);
		const float value = operand_value(kind, w->second[i]);
		to[NARROW_T2 + p.k * NARROW_T2_PITCH + p.o] = value;
		if (trains)
			to[NARROW_W2 + p.o * NARROW_W2_PITCH + p.k] = value;
	}
	if (t < NARROW_REST)
		to[NARROW_W3 + t] = w->rest;
	if (trains && t < WARP)
		to[NARROW_ONES + t] = 1.0f;
}

/* ---- products ---- */

/* What a lane has of out[r][s] = sum over k of w[k][r] in[k][s]. All but `lane` and pointers are constants. */
struct narrow_piece {
	uint32_t samples, quads;  /* of the tile; a lane has so many times four of them */
	uint32_t terms, results;
	uint32_t weight_pitch;
	uint32_t columns, groups, units; /* of lanes side by side and down; rows of a lane */
};

enum { NARROW_UNITS = 8, NARROW_QUADS = 2 };

ON_DEVICE struct narrow_piece narrow_piece(const uint32_t samples, const uint32_t quads, const uint32_t terms,
                                           const uint32_t results, const uint32_t weight_pitch)
{
	struct narrow_piece p;
	p.samples = samples;
	p.quads = quads;
	p.terms = terms;
	p.results = results;
	p.weight_pitch = weight_pitch;
	p.columns = samples / 4 / quads;
	p.groups = WARP / p.columns;
	p.units = results / p.groups;
	return p;
}

/* Which row a lane's unit u is: fours side by side, as far as there are any; which sample its quad q begins with. */
ON_DEVICE uint32_t narrow_row(const struct narrow_piece p, uint32_t lane, uint32_t u)
{
	const uint32_t group = lane / p.columns;
	return p.units >= 4 ? (u / 4 * p.groups + group) * 4 + u % 4 : group * p.units + u;
}

ON_DEVICE uint32_t narrow_sample(const struct narrow_piece p, uint32_t lane, uint32_t q)
{
	return (lane % p.columns + q * p.columns) * 4;
}

ON_DEVICE void narrow_load_weights(const struct narrow_piece p, uint32_t lane, const float *row, float w[NARROW_UNITS])
{
	if (p.units >= 4) {
		UNROLLED
		for (uint32_t u = 0; u < p.units; u += 4) {
			const struct float4 four = load_quad(row + narrow_row(p, lane, u));
			w[u] = four.x;
			w[u + 1] = four.y;
			w[u + 2] = four.z;
			w[u + 3] = four.w;
		}
	} else if (p.units == 2) {
		const struct float2 two = *(const struct float2 *)(const void *)(row + narrow_row(p, lane, 0));
		w[0] = two.x;
		w[1] = two.y;
	} else {
		w[0] = row[narrow_row(p, lane, 0)];
	}
}

/* Of one term. */
struct narrow_operands {
	struct float4 x[NARROW_QUADS];
	float w[NARROW_UNITS];
};

/* Term `fours` * 4 + `i`. N0 terms are the first layer's outputs, whose rows are those of narrow_load. */
ON_DEVICE void narrow_operands(const struct narrow_piece p, uint32_t lane, const float *weights, const float *in,
                               uint32_t fours, const uint32_t i, struct narrow_operands *of)
{
	const uint32_t row = p.terms == N0 ? i * (N0 / 4) + fours : fours * 4 + i;
	narrow_load_weights(p, lane, weights + (fours * 4 + i) * p.weight_pitch, of->w);
	UNROLLED
	for (uint32_t q = 0; q < p.quads; q++)
		of->x[q] = load_quad(in + row * narrow_pitch(p.samples) + narrow_sample(p, lane, q));
}

/* `bias` NULL: zeros. A term's operands are on their way while the one before it is added. */
ON_DEVICE void narrow_product(const struct narrow_piece p, uint32_t lane, const float *weights, const float *bias,
                              const float *in, struct float4 sum[NARROW_UNITS][NARROW_QUADS])
{
	struct narrow_operands of[2];
	UNROLLED
	for (uint32_t u = 0; u < p.units; u++)
		UNROLLED
		for (uint32_t q = 0; q < p.quads; q++)
			sum[u][q] = same_quad(bias ? bias[narrow_row(p, lane, u)] : 0.0f);
	narrow_operands(p, lane, weights, in, 0, 0, &of[0]);
	ROLLED
	for (uint32_t fours = 0; fours < p.terms / 4; fours++)
		UNROLLED
		for (uint32_t i = 0; i < 4; i++) {
			const uint32_t next = i < 3 ? fours : (fours + 1) % (p.terms / 4); /* behind the last one any that there is */
			narrow_operands(p, lane, weights, in, next, (i + 1) % 4, &of[(i + 1) % 2]);
			UNROLLED
			for (uint32_t u = 0; u < p.units; u++)
				UNROLLED
				for (uint32_t q = 0; q < p.quads; q++)
					add_product(&sum[u][q], of[i % 2].w[u], of[i % 2].x[q]);
		}
}

ON_DEVICE float where_positive(float by, float value)
{
	return by > 0.0f ? value : 0.0f;
}

ON_DEVICE struct float4 where_positive_quad(struct float4 by, struct float4 value)
{
	value.x = where_positive(by.x, value.x);
	value.y = where_positive(by.y, value.y);
	value.z = where_positive(by.z, value.z);
	value.w = where_positive(by.w, value.w);
	return value;
}

/* Rectified and rounded, or masked by what they replace. */
ON_DEVICE void narrow_store(const enum precision kind, const struct narrow_piece p, uint32_t lane, const bool masks,
                            struct float4 sum[NARROW_UNITS][NARROW_QUADS], float *out)
{
	UNROLLED
	for (uint32_t u = 0; u < p.units; u++)
		UNROLLED
		for (uint32_t q = 0; q < p.quads; q++) {
			float *const to = out + narrow_row(p, lane, u) * narrow_pitch(p.samples) + narrow_sample(p, lane, q);
			store_quad(to, masks ? where_positive_quad(load_quad(to), sum[u][q]) : operand_quad(kind, rectified(sum[u][q])));
		}
}

/* ---- the narrow layers: a lane takes `count` samples, a warp apart ---- */

enum { NARROW_TWO = 2 };

/* out[o] = relu(bias[o] + sum over k of weight[o][k] in[k]). */
ON_DEVICE void narrow_layer(const uint32_t count, const float *weight, const float *bias, const uint32_t inputs,
                            const uint32_t outputs, float in[NARROW_TWO][N2], float out[NARROW_TWO][N3])
{
	UNROLLED
	for (uint32_t o = 0; o < outputs; o++) {
		UNROLLED
		for (uint32_t i = 0; i < count; i++)
			out[i][o] = bias[o];
		UNROLLED
		for (uint32_t k = 0; k < inputs; k += 4) {
			const struct float4 w = load_quad(weight + o * inputs + k);
			UNROLLED
			for (uint32_t i = 0; i < count; i++)
				out[i][o] = fmaf(w.w, in[i][k + 3], fmaf(w.z, in[i][k + 2], fmaf(w.y, in[i][k + 1], fmaf(w.x, in[i][k], out[i][o]))));
		}
	}
}

struct narrow_tail {
	float in[NARROW_TWO][N2], third[NARROW_TWO][N3], fourth[NARROW_TWO][N3], z[NARROW_TWO][N3];
};

/* From the second layer's outputs, down a column of `in`, to the logit. */
ON_DEVICE void narrow_tail(const uint32_t count, const float *weights, const float *in, const uint32_t pitch,
                           struct narrow_tail *tail)
{
	float wide[NARROW_TWO][N2];
	UNROLLED
	for (uint32_t k = 0; k < N2; k++)
		UNROLLED
		for (uint32_t i = 0; i < count; i++)
			tail->in[i][k] = in[k * pitch + i * WARP];
	narrow_layer(count, weights + NARROW_W3, weights + NARROW_B3, N2, N3, tail->in, tail->third);
	UNROLLED
	for (uint32_t k = 0; k < N3; k++)
		UNROLLED
		for (uint32_t i = 0; i < count; i++)
			wide[i][k] = tail->third[i][k] = relu(tail->third[i][k]);
	narrow_layer(count, weights + NARROW_W4, weights + NARROW_B4, N3, N4, wide, tail->fourth);
	UNROLLED
	for (uint32_t k = 0; k < N4; k++)
		UNROLLED
		for (uint32_t i = 0; i < count; i++)
			wide[i][k] = tail->fourth[i][k] = relu(tail->fourth[i][k]);
	narrow_layer(count, weights + NARROW_W5, weights + NARROW_B5, N4, 1, wide, tail->z);
}

/* ---- samples ---- */

/* Where unit n of the first layer's output is in a tile: four units that a lane reads at once are far apart there, and
 * those of its neighbours side by side. And which unit is there. */
ON_DEVICE uint32_t narrow_row_of_unit(uint32_t n)
{
	return n % 4 * (N0 / 4) + n / 4;
}

ON_DEVICE uint32_t narrow_unit_of_row(uint32_t row)
{
	return row % (N0 / 4) * 4 + row / (N0 / 4);
}

/* relu(user half + item half), rounded: half a warp takes a sample, for four of them at a time. `found` has the users' rows and
 * behind them the items'. */
ON_DEVICE void narrow_load(const enum precision kind, const uint32_t samples, uint32_t lane, const struct tower_arguments *a,
                           const uint32_t *found, float *units)
{
	enum { HALF = WARP / 2, TURNS = 2 };
	const uint32_t turns = samples > 8 ? TURNS : 1, n = lane % HALF * 4;
	const float *const users = a->user_parts + n, *const items = a->item_parts + n;
	ROLLED
	for (uint32_t first = lane / HALF * 4; first < samples; first += turns * 8) {
		struct float4 of[TURNS][4], item[TURNS][4];
		UNROLLED
		for (uint32_t turn = 0; turn < turns; turn++)
			UNROLLED
			for (uint32_t i = 0; i < 4; i++) {
				const uint32_t s = first + turn * 8 + i;
				of[turn][i] = load_quad(users + (size_t)found[s] * N0);
				item[turn][i] = load_quad(items + (size_t)found[samples + s] * N0);
			}
		UNROLLED
		for (uint32_t turn = 0; turn < turns; turn++) {
			float *const to = units + lane % HALF * narrow_pitch(samples) + first + turn * 8;
			float rows[4][4];
			UNROLLED
			for (uint32_t i = 0; i < 4; i++) {
				rows[0][i] = operand_value(kind, relu(of[turn][i].x + item[turn][i].x));
				rows[1][i] = operand_value(kind, relu(of[turn][i].y + item[turn][i].y));
				rows[2][i] = operand_value(kind, relu(of[turn][i].z + item[turn][i].z));
				rows[3][i] = operand_value(kind, relu(of[turn][i].w + item[turn][i].w));
			}
			UNROLLED
			for (uint32_t i = 0; i < 4; i++)
				put_four(to, narrow_pitch(samples), 0, i * (N0 / 4), rows[i]);
		}
	}
}

#endif
