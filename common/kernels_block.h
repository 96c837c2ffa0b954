/* What every precision of the tower shares: the first layer's sum, where a block's activations lie, gradients of biases,
 * sums over pieces. The inside of the kernels of one instruction set. */
#ifndef RECPIPE_KERNELS_BLOCK_H
#define RECPIPE_KERNELS_BLOCK_H

#include "kernels.h"
#include "simd.h"

enum { AHEAD = 12 }; /* rows that are asked for before they are needed */

static inline void read_ahead(const float *row, size_t floats)
{
	for (size_t n = 0; n < floats; n += LANES)
		__builtin_prefetch(row + n);
}

/* a1 = relu(user half + item half), a row a sample, zeros in the rows that the last tile takes along. */
static inline void gather_first_layer(const struct tower *tower, const struct block *block, float *out)
{
	const size_t padded = tower->padded, pieces = block->count / block->piece;
	const uint32_t *slots = block->item_slots;
	float *to = out;
	for (size_t p = 0; p < pieces; p++, slots += block->piece, to += block->piece * padded) {
		const float *user = block->user_part + block->user_slots[p] * padded;
		for (size_t s = 0; s < block->piece && slots + s + AHEAD < block->item_slots + block->known; s++)
			read_ahead(block->item_part + slots[s + AHEAD] * padded, padded);
		for (size_t n = 0; n < padded; n += LANES) {
			const vf half = vf_load(user + n);
			for (size_t s = 0; s < block->piece; s++) {
				const vf item = vf_load(block->item_part + slots[s] * padded + n);
				vf_store(to + s * padded + n, vf_relu(vf_add(half, item)));
			}
		}
	}
	memset(to, 0, (padded_to(block->count, TILE_ROWS) - block->count) * padded * sizeof *to);
}

/* Where a block's activations lie in its scratch: rows of the wide layers, the tail's units, and what further a
 * precision needs. */
struct layout {
	float *rows[MODEL_LAYERS_MAX + 1], *units, *further;
};

static inline struct layout lay_out(const struct tower *tower, float *scratch)
{
	struct layout at;
	at.rows[0] = scratch;
	scratch += TRAIN_LANES * tower->padded;
	for (size_t l = 0; l < tower->wide_count; l++) {
		at.rows[l + 1] = scratch;
		scratch += TRAIN_LANES * tower->layers[l].outputs_padded;
	}
	at.units = scratch;
	at.further = scratch + tower->units * TRAIN_LANES;
	return at;
}

/* Four chains, of every fourth row each: one would wait for each addition. */
static inline void add_bias_gradient(const float *z_gradient, size_t rows, size_t padded, float *gradient)
{
	for (size_t n = 0; n < padded; n += LANES) {
		const float *z = z_gradient + n;
		vf sum[4] = {vf_set(0.0f), vf_set(0.0f), vf_set(0.0f), vf_set(0.0f)};
		size_t r = 0;
		for (; r + 4 <= rows; r += 4)
			for (size_t i = 0; i < 4; i++)
				sum[i] = vf_add(sum[i], vf_load(z + (r + i) * padded));
		for (; r < rows; r++)
			sum[0] = vf_add(sum[0], vf_load(z + r * padded));
		const vf all = vf_add(vf_add(sum[0], sum[1]), vf_add(sum[2], sum[3]));
		vf_store(gradient + n, vf_add(vf_load(gradient + n), all));
	}
}

static inline void sum_pieces(const float *rows, size_t padded, size_t count, size_t piece, float *out)
{
	for (size_t s = 0; s < count; s += piece, rows += piece * padded, out += padded)
		for (size_t n = 0; n < padded; n += LANES) {
			vf sum = vf_load(rows + n);
			for (size_t i = 1; i < piece; i++)
				sum = vf_add(sum, vf_load(rows + i * padded + n));
			vf_store(out + n, sum);
		}
}

#endif
