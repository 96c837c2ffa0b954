/* Scoring a block of items on one instruction set. Activations are [units][BLOCK_ROWS]: a vector is sixteen items, a
 * weight is broadcast, so that no layer is padded. A tile is some units of a layer times some vectors, its sums in
 * registers over the whole depth. The first layer's sum and activation are made by the first tile of the layer behind
 * it, between its products, which hide what they cost. Weights lie in the order in which tiles read them, so that
 * addresses need no arithmetic. */
#include "kernels_score.h"
#include "simd_transpose.h"

#if defined(KERNEL_ISA_avx512)
enum { TILE_UNITS = 8, TILE_VECTORS = 3 }; /* 24 sums of 32 registers */
#else
enum { TILE_UNITS = 6, TILE_VECTORS = 1 }; /* 6 pairs of 16 registers */
#endif
enum { SMALL_TILE = 4 };

static_assert(BLOCK_ROWS % (TILE_VECTORS * LANES) == 0, "blocks are whole tiles");

enum source { STANDING, MAKING };
enum epilogue { LINEAR, RELU };

/* A layer's way through a column of tiles. */
struct pass {
	const float *weight, *bias;
	size_t depth;
	float *in, *out;           /* [depth], [units][BLOCK_ROWS] */
	const float *user, *items; /* MAKING: the halves that the inputs are made of */
};

/* How many units the next tile takes: rather 4 and 4 than 6 and 2. */
static inline size_t units_of_tile(size_t left)
{
	if (left >= TILE_UNITS && left != TILE_UNITS + 2)
		return TILE_UNITS;
	return left >= SMALL_TILE ? SMALL_TILE : 1;
}

/* sum[u] += weight[u] * in, for one input of the tile's items; MAKING, it is put in its place for the other tiles as
 * well. Every other weight is an operand in memory, broadcast again for each vector: load ports have time, while every
 * instruction less counts where another thread shares the core. */
LANE_CODE void add_products(const size_t units, enum source source, struct pass *at, vf sum[][TILE_VECTORS])
{
	const vf half = vf_set(source == MAKING ? *at->user++ : 0.0f);
	vf in[TILE_VECTORS];
#pragma GCC unroll 4
	for (size_t v = 0; v < TILE_VECTORS; v++)
		in[v] = source == MAKING ? vf_relu(vf_add(half, vf_load(at->items + v * LANES)))
		                         : vf_load(at->in + v * LANES);
#pragma GCC unroll 4
	for (size_t v = 0; source == MAKING && v < TILE_VECTORS; v++)
		vf_store(at->in + v * LANES, in[v]);
#pragma GCC unroll 8
	for (size_t u = 0; u < units; u++) {
		const vf factor = vf_set(at->weight[u]);
#pragma GCC unroll 4
		for (size_t v = 0; v < TILE_VECTORS; v++)
			sum[u][v] = u % 2 ? vf_fma_by(at->weight + u, in[v], sum[u][v]) : vf_fma(factor, in[v], sum[u][v]);
	}
	at->weight += units;
	at->in += BLOCK_ROWS;
	at->items += source == MAKING ? BLOCK_ROWS : 0;
}

/* All of one tile: `units`, a constant. */
LANE_CODE void tile(const size_t units, enum source source, enum epilogue how, const struct pass *p)
{
	struct pass at = *p;
	vf sum[TILE_UNITS][TILE_VECTORS];
#pragma GCC unroll 8
	for (size_t u = 0; u < units; u++)
#pragma GCC unroll 4
		for (size_t v = 0; v < TILE_VECTORS; v++)
			sum[u][v] = vf_set(at.bias[u]);
	for (const float *end = at.weight + at.depth * units; at.weight != end;)
		add_products(units, source, &at, sum);
#pragma GCC unroll 8
	for (size_t u = 0; u < units; u++)
#pragma GCC unroll 4
		for (size_t v = 0; v < TILE_VECTORS; v++)
			vf_store(at.out + u * BLOCK_ROWS + v * LANES, how == RELU ? vf_relu(sum[u][v]) : sum[u][v]);
}

/* One tile of a hidden layer. */
LANE_CODE void hidden_tile(size_t units, enum source source, const struct pass *p)
{
	if (units == TILE_UNITS)
		tile(TILE_UNITS, source, RELU, p);
	else if (units == SMALL_TILE)
		tile(SMALL_TILE, source, RELU, p);
	else
		tile(1, source, RELU, p);
}

/* A column of a layer; `making`: of the first one behind the halves. */
LANE_CODE void hidden_layer(struct pass p, size_t units, bool making)
{
	while (units > 0) {
		const size_t n = units_of_tile(units);
		if (making)
			hidden_tile(n, MAKING, &p);
		else
			hidden_tile(n, STANDING, &p);
		making = false;
		units -= n;
		p.weight += n * p.depth;
		p.bias += n;
		p.out += n * BLOCK_ROWS;
	}
}

/* Of one unit. */
LANE_CODE void last_layer(const struct pass *p, bool making)
{
	if (making)
		tile(1, MAKING, LINEAR, p);
	else
		tile(1, STANDING, LINEAR, p);
}

void score_all_layers(const struct tower *tower, const float *weights, const float *user_part, const float *items,
                      float *scratch, float *logits)
{
	float *in = scratch, *out = scratch + tower->scratch_floats / 2 / LANES * LANES;
	for (size_t l = 0; l < tower->layer_count; l++) {
		const struct dense_layer *layer = &tower->layers[l];
		const bool last = l + 1 == tower->layer_count;
		for (size_t n = 0; n < BLOCK_ROWS; n += TILE_VECTORS * LANES) {
			const struct pass p = {
				.weight = weights, .bias = layer->bias, .depth = layer->inputs, .in = in + n,
				.out = (last ? logits : out) + n, .user = user_part, .items = items + n,
			};
			if (last)
				last_layer(&p, l == 0);
			else
				hidden_layer(p, layer->outputs, l == 0);
		}
		weights += layer->outputs * layer->inputs;
		float *swap = in;
		in = out;
		out = swap;
	}
}

size_t score_weight_floats(const struct tower *tower)
{
	size_t floats = 0;
	for (size_t l = 0; l < tower->layer_count; l++)
		floats += tower->layers[l].outputs * tower->layers[l].inputs;
	return floats;
}

void score_arrange_weights(const struct tower *tower, float *weights)
{
	for (size_t l = 0; l < tower->layer_count; l++) {
		const struct dense_layer *layer = &tower->layers[l];
		for (size_t first = 0, units; first < layer->outputs; first += units) {
			units = units_of_tile(layer->outputs - first);
			for (size_t k = 0; k < layer->inputs; k++)
				for (size_t u = 0; u < units; u++)
					*weights++ = layer->weight[(first + u) * layer->inputs_padded + k];
		}
	}
}

void score_arrange_items(const struct tower *tower, const float *parts, float *items)
{
	transpose_rows(parts, tower->padded, BLOCK_ROWS, tower->width, items, BLOCK_ROWS);
}
