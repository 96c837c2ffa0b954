/* The products of tile.h by tensor cores (mma.h), for layers that are wide enough; narrow ones stay as they are there.
 *
 * A warp takes pieces of 32 by 32 of the result (16 by 16 where there would be too few for all warps), over the whole sum.
 * Operands are rounded when they are loaded, sums begin at the bias and stay in registers until they are rectified,
 * masked or added to the gradient; they run upwards through the summed index, whatever the order of warps.
 *
 * Banks of shared memory, of which a warp's 32 addresses should each meet another one. In loads along the depth of a tile,
 * lane (g, t) reads unit t (tf32) or units 2 t and 2 t + 1 (bf16), sample g: units must be 8 or 24 banks apart, or 4, 12, 20
 * or 28. So the pitch is 8 floats more than the tile for tf32, 4 for bf16 (tile_pad). Gradients sum over samples, whose
 * order within a step is free, as long as both operands have the same one: for tf32 t stands for samples 2 t and 2 t + 1,
 * read as a pair; for bf16 for samples t + 0, 4, 8 and 12. A weight is read along its row going forward, lane (g, t) the word
 * t of output g, and down its column going back, word g of output t: so words of a copy are permuted by groups of four
 * within each 32 (swizzle), and rows are multiples of 32 words. With that none of these loads meets a bank twice. */
#ifndef RECPIPE_CUDA_TILE_MMA_H
#define RECPIPE_CUDA_TILE_MMA_H

#include "mma.h"
#include "tile.h"

/* ---- weights ---- */

/* Where word `word` of output o's row is within the row. */
ON_DEVICE uint32_t swizzle(uint32_t o, uint32_t word)
{
	return word ^ (o % 4 * 2 + o / 4 % 2) * 4;
}

/* The word of x[first * step] and, for bf16, of the next one; zeros from `end` on. `whole`: there is no end. */
ON_DEVICE uint32_t word_at(const enum precision kind, const float *x, size_t step, uint32_t first, uint32_t end,
                           const bool whole)
{
	const float low = whole || first < end ? x[first * step] : 0.0f;
	if (kind == PRECISION_TF32)
		return tf32_word(low);
	return bf16_word(low, whole || first + 1 < end ? x[(first + 1) * step] : 0.0f);
}

/* A weight's copy in words, zeros behind the inputs. */
ON_DEVICE void copy_words(const enum precision kind, uint32_t thread, const float *weight, uint32_t stride, uint32_t inputs,
                          uint32_t outputs, float *copy)
{
	uint32_t *const to = (uint32_t *)(void *)copy;
	const uint32_t pitch = copy_pitch(kind, inputs), a_word = mma_depth(kind) / MMA_WORDS;
	for (uint32_t o = thread / WARP; o < outputs; o += WARPS)
		for (uint32_t word = thread % WARP; word < pitch; word += WARP)
			to[o * pitch + swizzle(o, word)] = word_at(kind, weight + (size_t)o * stride, 1, word * a_word, inputs, false);
}

/* A = weight[o ..][k ..], for the way forward. p->aligned: it is a copy. */
ON_DEVICE void load_weight_rows(const enum precision kind, const uint32_t tall, const struct product *p, uint32_t o,
                                uint32_t k, const bool whole, uint32_t l, struct lane *r)
{
	const uint32_t *const words = (const uint32_t *)(const void *)p->weight;
	UNROLLED
	for (uint32_t i = 0; i < tall; i++) {
		UNROLLED
		for (uint32_t e = 0; e < 4; e++) {
			const uint32_t row = least_of(o + i * MMA_ROWS + l / 4 + 8 * (e % 2), p->outputs - 1);
			const uint32_t word = k * MMA_WORDS / mma_depth(kind) + l % 4 + 4 * (e / 2);
			r->a[i][e] = p->aligned ? words[row * p->stride + swizzle(row, word)]
			                        : word_at(kind, p->weight + (size_t)row * p->stride, 1, k + mma_first(kind, l, e / 2),
			                                  p->inputs, whole);
		}
	}
}

/* Word of outputs o (and o + 1) at input k of a copy. */
ON_DEVICE uint32_t copied_column(const enum precision kind, const struct product *p, uint32_t o, uint32_t k,
                                 const bool whole)
{
	const uint32_t *const words = (const uint32_t *)(const void *)p->weight;
	const uint32_t word = kind == PRECISION_BF16 ? k / 2 : k;
	const uint32_t low = whole || o < p->outputs ? words[o * p->stride + swizzle(o, word)] : 0;
	if (kind == PRECISION_TF32)
		return low;
	const uint32_t high = whole || o + 1 < p->outputs ? words[(o + 1) * p->stride + swizzle(o + 1, word)] : 0;
	return halves_of(low, high, k % 2 == 1);
}

/* A = weight[o ..][k ..] turned, for the way back. */
ON_DEVICE void load_weight_columns(const enum precision kind, const uint32_t tall, const struct product *p, uint32_t k,
                                   uint32_t o, const bool whole, uint32_t l, struct lane *r)
{
	UNROLLED
	for (uint32_t i = 0; i < tall; i++) {
		UNROLLED
		for (uint32_t e = 0; e < 4; e++) {
			const uint32_t column = least_of(k + i * MMA_ROWS + l / 4 + 8 * (e % 2), p->inputs - 1);
			const uint32_t first = o + mma_first(kind, l, e / 2);
			r->a[i][e] = p->aligned ? copied_column(kind, p, first, column, whole)
			                        : word_at(kind, p->weight + column, p->stride, first, p->outputs, whole);
		}
	}
}

/* ---- tiles ---- */

/* B = units [u, u + depth) of samples [s, s + 8 wide), of which units from `end` on do not exist. */
ON_DEVICE void load_units(const enum precision kind, const uint32_t wide, const struct product *p, const float *units,
                          uint32_t u, uint32_t end, uint32_t s, const bool whole, uint32_t l, struct lane *r)
{
	UNROLLED
	for (uint32_t j = 0; j < wide; j++) {
		UNROLLED
		for (uint32_t e = 0; e < 2; e++)
			r->b[j][e] = word_at(kind, units + s + j * MMA_COLUMNS + l / 4, p->pitch, u + mma_first(kind, l, e), end, whole);
	}
}

/* Both words along the depth of a row of samples; see above for their order. */
ON_DEVICE void load_samples_of(const enum precision kind, const float *row, uint32_t l, uint32_t *first, uint32_t *second)
{
	if (kind == PRECISION_TF32) {
		const struct float2 pair = load_pair(row + l % 4 * 2);
		*first = tf32_word(pair.x);
		*second = tf32_word(pair.y);
	} else {
		*first = bf16_word(row[l % 4], row[l % 4 + 4]);
		*second = bf16_word(row[l % 4 + 8], row[l % 4 + 12]);
	}
}

/* A = outputs [o ..], B = inputs [k ..], both of samples [s, s + depth). */
ON_DEVICE void load_samples_of_both(const enum precision kind, const uint32_t tall, const uint32_t wide,
                                    const struct product *p, uint32_t o, uint32_t k, uint32_t s, uint32_t l, struct lane *r)
{
	UNROLLED
	for (uint32_t i = 0; i < tall; i++) {
		UNROLLED
		for (uint32_t e = 0; e < 2; e++) {
			const uint32_t row = least_of(o + i * MMA_ROWS + l / 4 + 8 * e, p->outputs - 1);
			load_samples_of(kind, p->out + (size_t)row * p->pitch + s, l, &r->a[i][e], &r->a[i][e + 2]);
		}
	}
	UNROLLED
	for (uint32_t j = 0; j < wide; j++) {
		const uint32_t row = least_of(k + j * MMA_COLUMNS + l / 4, p->inputs - 1);
		load_samples_of(kind, p->in + (size_t)row * p->pitch + s, l, &r->b[j][0], &r->b[j][1]);
	}
}

/* ---- forward ---- */

/* Sums begin at the biases of outputs [o ..] (NULL: zeros). */
ON_DEVICE void start_sums(const uint32_t tall, const uint32_t wide, const struct product *p, const float *bias, uint32_t o,
                          uint32_t l, struct lane *r)
{
	UNROLLED
	for (uint32_t i = 0; i < tall; i++) {
		UNROLLED
		for (uint32_t e = 0; e < 2; e++) {
			const float start = bias ? bias[least_of(o + i * MMA_ROWS + l / 4 + 8 * e, p->outputs - 1)] : 0.0f;
			UNROLLED
			for (uint32_t j = 0; j < wide; j++)
				r->sum[i][j][2 * e] = r->sum[i][j][2 * e + 1] = start;
		}
	}
}

ON_DEVICE void forward_step(const enum precision kind, const uint32_t tall, const uint32_t wide, const struct product *p,
                            uint32_t o, uint32_t s, uint32_t k, const bool whole, struct lane *r)
{
	EACH_LANE(l) {
		load_weight_rows(kind, tall, p, o, k, whole, l, &r[OF_LANE(l)]);
		load_units(kind, wide, p, p->in, k, p->inputs, s, whole, l, &r[OF_LANE(l)]);
	}
	mma_multiply(kind, tall, wide, r);
}

/* `tall` and `wide` are constants wherever this is inlined: outputs [o, o + 16 tall) of samples [s, s + 8 wide). */
ON_DEVICE void forward_block(const enum precision kind, const uint32_t tall, const uint32_t wide, const struct product *p,
                             uint32_t o, uint32_t s, bool rectify)
{
	struct lane r[WARP_LANES];
	const uint32_t depth = mma_depth(kind);
	uint32_t k = 0;
	EACH_LANE(l) start_sums(tall, wide, p, p->bias, o, l, &r[OF_LANE(l)]);
	for (; k + depth <= p->inputs; k += depth)
		forward_step(kind, tall, wide, p, o, s, k, true, r);
	if (k < p->inputs)
		forward_step(kind, tall, wide, p, o, s, k, false, r);
	EACH_LANE(l) {
		UNROLLED
		for (uint32_t n = 0; n < tall * wide * 2; n++) {
			const uint32_t i = n / 2 / wide, j = n / 2 % wide, e = n % 2 * 2;
			const uint32_t row = o + i * MMA_ROWS + l / 4 + 4 * e, at = s + j * MMA_COLUMNS + l % 4 * 2;
			const float *const sum = r[OF_LANE(l)].sum[i][j] + e;
			if (row < p->outputs)
				store_pair(p->out + (size_t)row * p->pitch + at, rectify ? relu(sum[0]) : sum[0],
				           rectify ? relu(sum[1]) : sum[1]);
		}
	}
}

/* Are there pieces of 32 by 32 for every warp? */
ON_DEVICE bool has_large_pieces(uint32_t rows, uint32_t columns)
{
	return (rows + 31) / 32 * (columns / 32) >= WARPS;
}

ON_DEVICE void mma_forward(const enum precision kind, uint32_t warp, const struct product *p, bool rectify)
{
	const bool large = has_large_pieces(p->outputs, p->tile);
	const uint32_t size = large ? 32 : 16, across = p->tile / size, pieces = (p->outputs + size - 1) / size * across;
	for (uint32_t piece = warp; piece < pieces; piece += WARPS) {
		warp_together();
		if (large)
			forward_block(kind, 2, 4, p, piece / across * 32, piece % across * 32, rectify);
		else
			forward_block(kind, 1, 2, p, piece / across * 16, piece % across * 16, rectify);
	}
}

/* ---- back to the inputs ---- */

ON_DEVICE void backward_step(const enum precision kind, const uint32_t tall, const uint32_t wide, const struct product *p,
                             uint32_t k, uint32_t s, uint32_t o, const bool whole, struct lane *r)
{
	EACH_LANE(l) {
		load_weight_columns(kind, tall, p, k, o, whole, l, &r[OF_LANE(l)]);
		load_units(kind, wide, p, p->out, o, p->outputs, s, whole, l, &r[OF_LANE(l)]);
	}
	mma_multiply(kind, tall, wide, r);
}

/* A pair in place of what masks it. */
ON_DEVICE void store_masked(float *to, const float sum[2], enum mask mask, float scale)
{
	const struct float2 by = load_pair(to);
	if (mask == MASK_NONE)
		store_pair(to, sum[0], sum[1]);
	else
		store_pair(to, by.x > 0.0f ? sum[0] * scale : 0.0f, by.y > 0.0f ? sum[1] * scale : 0.0f);
}

/* Inputs [k, k + 16 tall) of samples [s, s + 8 wide). */
ON_DEVICE void backward_block(const enum precision kind, const uint32_t tall, const uint32_t wide, const struct product *p,
                              uint32_t k, uint32_t s, enum mask mask, float scale)
{
	struct lane r[WARP_LANES];
	const uint32_t depth = mma_depth(kind);
	uint32_t o = 0;
	EACH_LANE(l) start_sums(tall, wide, p, NULL, 0, l, &r[OF_LANE(l)]);
	for (; o + depth <= p->outputs; o += depth)
		backward_step(kind, tall, wide, p, k, s, o, true, r);
	if (o < p->outputs)
		backward_step(kind, tall, wide, p, k, s, o, false, r);
	EACH_LANE(l) {
		UNROLLED
		for (uint32_t n = 0; n < tall * wide * 2; n++) {
			const uint32_t i = n / 2 / wide, j = n / 2 % wide, e = n % 2 * 2;
			const uint32_t row = k + i * MMA_ROWS + l / 4 + 4 * e, at = s + j * MMA_COLUMNS + l % 4 * 2;
			if (row < p->inputs)
				store_masked(p->in + (size_t)row * p->pitch + at, r[OF_LANE(l)].sum[i][j] + e, mask, scale);
		}
	}
}

ON_DEVICE void mma_backward(const enum precision kind, uint32_t warp, const struct product *p, enum mask mask, float scale)
{
	const bool large = has_large_pieces(p->inputs, p->tile);
	const uint32_t size = large ? 32 : 16, across = p->tile / size, pieces = (p->inputs + size - 1) / size * across;
	for (uint32_t piece = warp; piece < pieces; piece += WARPS) {
		warp_together();
		if (large)
			backward_block(kind, 2, 4, p, piece / across * 32, piece % across * 32, mask, scale);
		else
			backward_block(kind, 1, 2, p, piece / across * 16, piece % across * 16, mask, scale);
	}
}

/* ---- gradients of weights ---- */

/* Outputs [o, o + 16 tall) by inputs [k, k + 8 wide). The gradient lies as the sums do in registers (fragment_place): a
 * lane's four floats together, a warp's behind one another. */
ON_DEVICE void gradient_block(const enum precision kind, const uint32_t tall, const uint32_t wide, const struct product *p,
                              uint32_t o, uint32_t k, float *gradient)
{
	struct lane r[WARP_LANES];
	EACH_LANE(l) start_sums(tall, wide, p, NULL, 0, l, &r[OF_LANE(l)]);
	for (uint32_t s = 0; s < p->tile; s += mma_depth(kind)) {
		EACH_LANE(l) load_samples_of_both(kind, tall, wide, p, o, k, s, l, &r[OF_LANE(l)]);
		mma_multiply(kind, tall, wide, r);
	}
	const uint32_t across = (p->inputs + MMA_COLUMNS - 1) / MMA_COLUMNS;
	EACH_LANE(l) {
		UNROLLED
		for (uint32_t n = 0; n < tall * wide; n++) {
			const uint32_t i = n / wide, j = n % wide, row = o / MMA_ROWS + i, column = k / MMA_COLUMNS + j;
			const float *const sum = r[OF_LANE(l)].sum[i][j];
			float *const to = gradient + ((size_t)row * across + column) * FRAGMENT + 4 * l;
			if (row * MMA_ROWS >= p->outputs || column >= across)
				continue;
			struct float4 q = load_quad(to);
			q.x += sum[0];
			q.y += sum[1];
			q.z += sum[2];
			q.w += sum[3];
			store_quad(to, q);
		}
	}
}

ON_DEVICE void mma_weight_gradient(const enum precision kind, uint32_t warp, const struct product *p, float *gradient)
{
	const bool large = has_large_pieces(p->outputs, p->inputs);
	const uint32_t size = large ? 32 : 16, across = (p->inputs + size - 1) / size;
	const uint32_t pieces = (p->outputs + size - 1) / size * across;
	for (uint32_t piece = warp; piece < pieces; piece += WARPS) {
		warp_together();
		if (large)
			gradient_block(kind, 2, 4, p, piece / across * 32, piece % across * 32, gradient);
		else
			gradient_block(kind, 1, 2, p, piece / across * 16, piece % across * 16, gradient);
	}
}

#endif
