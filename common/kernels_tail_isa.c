/* The narrow layers at a tower's end on one instruction set, and dropout. Gradients of the weights are sums over
 * samples: lane i of a vector adds up those of samples 16 v + i, block after block, and the lanes are summed once, in
 * order, when the shard is done. */
#include "kernels_tail.h"
#include "rng.h"
#include "simd_random.h"
#include "simd_tile.h"
#include "simd_transpose.h"

enum { VECTORS = TRAIN_LANES / LANES };

#if defined(KERNEL_ISA_avx512)
enum { OUTER_ROWS = 4 }; /* 4 x 4 accumulators of 32 registers */
#else
enum { OUTER_ROWS = 2 };
#endif

/* ---- dropout ---- */

/* Sixteen vectors share a call of the generator, a byte of each lane's words each. */
void drop_activations(const struct tower *tower, const struct train_block *train, size_t layer, float *a,
                      size_t vectors)
{
	static const uint32_t count_up[LANES] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
	const uint32_t threshold = dropout_threshold(tower), stream = rng_stream(RNG_DROPOUT, (uint32_t)layer);
	const vf scale = vf_set(dropout_scale(tower));
	for (size_t first = 0; first < vectors; first += 16) {
		vu words[4] = {vu_set((uint32_t)train->place), vu_set((uint32_t)(train->place >> 32)),
		               vu_add(vu_set((uint32_t)first), vu_load(count_up)), vu_set(stream)};
		random_words(tower->seed, words);
		for (size_t v = 0; v < 16 && first + v < vectors; v++, a += LANES)
			vf_store(a, vf_where_byte_reaches(words[v / 4], 8 * (uint32_t)(v % 4), threshold,
			                                  vf_mul(vf_load(a), scale)));
	}
}

/* ---- between rows and units ---- */

static void rows_to_units(const float *rows, size_t stride, size_t units, float *out)
{
	vf v[LANES];
	for (size_t n = 0; n < units; n += LANES)
		for (size_t s = 0; s < TRAIN_LANES; s += LANES) {
			for (size_t i = 0; i < LANES; i++)
				v[i] = vf_load(rows + (s + i) * stride + n);
			vf_transpose(v);
			for (size_t i = 0; i < LANES && n + i < units; i++)
				vf_store(out + (n + i) * TRAIN_LANES + s, v[i]);
		}
}

static void units_to_rows(const float *units, size_t count, float *rows, size_t stride)
{
	vf v[LANES];
	for (size_t n = 0; n < count; n += LANES)
		for (size_t s = 0; s < TRAIN_LANES; s += LANES) {
			for (size_t i = 0; i < LANES; i++)
				v[i] = n + i < count ? vf_load(units + (n + i) * TRAIN_LANES + s) : vf_set(0.0f);
			vf_transpose(v);
			for (size_t i = 0; i < LANES; i++)
				vf_store(rows + (s + i) * stride + n, v[i]);
		}
}

/* ---- forward ---- */

const float *tail_forward(const struct tower *tower, const struct train_block *train, const float *rows, size_t stride,
                          float *units)
{
	rows_to_units(rows, stride, tower->layers[tower->wide_count].inputs, units);
	for (size_t l = tower->wide_count; l < tower->layer_count; l++) {
		const struct dense_layer *layer = &tower->layers[l];
		float *out = units + layer->inputs * TRAIN_LANES;
		const struct product p = {
			.x = layer->weight, .x_row = layer->inputs_padded, .x_step = 1, .y = units, .y_step = TRAIN_LANES,
			.depth = layer->inputs, .out = out, .out_row = TRAIN_LANES, .extra = layer->bias,
		};
		units = out;
		if (l + 1 == tower->layer_count) {
			multiply_units(UNIT_BIAS_ONLY, &p, layer->outputs, TRAIN_LANES);
			break;
		}
		multiply_units(UNIT_BIAS_RELU, &p, layer->outputs, TRAIN_LANES);
		if (train && tower->dropout > 0.0)
			drop_activations(tower, train, l + 1, out, layer->outputs * VECTORS);
	}
	return units;
}

/* ---- back ---- */

/* lanes[o + i][k + j] += z[o + i] a[k + j], for `rows` and `columns` that are constants. */
LANE_CODE void outer_tile(const size_t rows, const size_t columns, const float *z, const float *a, size_t inputs,
                          float *lanes)
{
	vf sum[OUTER_ROWS][OUTER_ROWS];
#pragma GCC unroll 4
	for (size_t i = 0; i < rows; i++)
#pragma GCC unroll 4
		for (size_t j = 0; j < columns; j++)
			sum[i][j] = vf_load(lanes + (i * inputs + j) * LANES);
	for (size_t s = 0; s < TRAIN_LANES; s += LANES) {
		vf factor[OUTER_ROWS];
#pragma GCC unroll 4
		for (size_t i = 0; i < rows; i++)
			factor[i] = vf_load(z + i * TRAIN_LANES + s);
#pragma GCC unroll 4
		for (size_t j = 0; j < columns; j++) {
			const vf x = vf_load(a + j * TRAIN_LANES + s);
#pragma GCC unroll 4
			for (size_t i = 0; i < rows; i++)
				sum[i][j] = vf_fma(factor[i], x, sum[i][j]);
		}
	}
#pragma GCC unroll 4
	for (size_t i = 0; i < rows; i++)
#pragma GCC unroll 4
		for (size_t j = 0; j < columns; j++)
			vf_store(lanes + (i * inputs + j) * LANES, sum[i][j]);
}

/* `rows` rows of weights, a constant. */
LANE_CODE void outer_rows(const size_t rows, const float *z, const float *a, size_t inputs, float *lanes)
{
	size_t k = 0;
	for (; k + OUTER_ROWS <= inputs; k += OUTER_ROWS)
		outer_tile(rows, OUTER_ROWS, z, a + k * TRAIN_LANES, inputs, lanes + k * LANES);
	for (; k < inputs; k++)
		outer_tile(rows, 1, z, a + k * TRAIN_LANES, inputs, lanes + k * LANES);
}

static void add_weight_lanes(const struct dense_layer *layer, const float *z, const float *a, float *lanes)
{
	const size_t row = layer->inputs * LANES;
	size_t o = 0;
	for (; o + OUTER_ROWS <= layer->outputs; o += OUTER_ROWS)
		outer_rows(OUTER_ROWS, z + o * TRAIN_LANES, a, layer->inputs, lanes + o * row);
	for (; o < layer->outputs; o++)
		outer_rows(1, z + o * TRAIN_LANES, a, layer->inputs, lanes + o * row);
}

static void add_bias_lanes(const struct dense_layer *layer, const float *z, float *lanes)
{
	for (size_t o = 0; o < layer->outputs; o++) {
		vf sum = vf_load(lanes + o * LANES);
		for (size_t s = 0; s < TRAIN_LANES; s += LANES)
			sum = vf_add(sum, vf_load(z + o * TRAIN_LANES + s));
		vf_store(lanes + o * LANES, sum);
	}
}

void tail_backward(const struct tower *tower, const struct train_block *train, const float *derivatives, float *units,
                   float *rows, size_t stride)
{
	float *a = units;
	for (size_t l = tower->wide_count; l < tower->layer_count; l++)
		a += tower->layers[l].inputs * TRAIN_LANES;
	memcpy(a, derivatives, TRAIN_LANES * sizeof *a); /* the logits were here */
	for (size_t l = tower->layer_count; l-- > tower->wide_count;) {
		const struct dense_layer *layer = &tower->layers[l];
		float *z = a, *lanes = train->lanes + layer->lanes_at;
		a -= layer->inputs * TRAIN_LANES;
		add_weight_lanes(layer, z, a, lanes);
		add_bias_lanes(layer, z, lanes + layer->outputs * layer->inputs * LANES);
		const struct product p = {
			.x = layer->weight, .x_row = 1, .x_step = layer->inputs_padded, .y = z, .y_step = TRAIN_LANES,
			.depth = layer->outputs, .out = a, .out_row = TRAIN_LANES, .extra = a, .extra_row = TRAIN_LANES,
			.scale = dropout_scale(tower),
		};
		if (tower->dropout > 0.0)
			multiply_units(MASK_AND_SCALE, &p, layer->inputs, TRAIN_LANES);
		else
			multiply_units(MASK_BY_POSITIVE, &p, layer->inputs, TRAIN_LANES);
	}
	units_to_rows(a, tower->layers[tower->wide_count].inputs, rows, stride);
}

/* ---- the end of a shard ---- */

/* to[n] += the lanes' sums of the `count` vectors at `lanes`, lane 0 first. */
static void sum_vectors(const float *lanes, size_t count, float *to)
{
	vf v[LANES];
	for (size_t n = 0; n < count; n += LANES) {
		for (size_t i = 0; i < LANES; i++)
			v[i] = n + i < count ? vf_load(lanes + (n + i) * LANES) : vf_set(0.0f);
		vf_transpose(v);
		for (size_t i = 1; i < LANES; i++)
			v[0] = vf_add(v[0], v[i]);
		vf_store(to + n, vf_add(vf_load(to + n), v[0]));
	}
}

void tail_sum_lanes(const struct tower *tower, const float *lanes, float *gradient)
{
	for (size_t l = tower->wide_count; l < tower->layer_count; l++) {
		const struct dense_layer *layer = &tower->layers[l];
		const float *at = lanes + layer->lanes_at;
		for (size_t o = 0; o < layer->outputs; o++, at += layer->inputs * LANES)
			sum_vectors(at, layer->inputs, gradient + layer->weight_at + o * layer->inputs_padded);
		sum_vectors(at, layer->outputs, gradient + layer->bias_at);
	}
}
