/* Scoring a block of items against plain loops, bit for bit on every instruction set: layers of whole tiles, of parts
 * of tiles, of odd widths, and a tower of one layer. */
#include <math.h>

#include "check.h"
#include "kernels.h"
#include "rng.h"

enum { WIDEST = 70, PADDED = 80, LAYERS = 5, GUARD = 16 };

static const float rubbish = -12345.0f;

static _Alignas(64) struct {
	float weights[LAYERS][WIDEST * PADDED], biases[LAYERS][PADDED], user[PADDED], parts[BLOCK_ROWS * PADDED];
	float arranged[LAYERS * WIDEST * PADDED], items[BLOCK_ROWS * PADDED], scratch[16 * BLOCK_ROWS * PADDED];
	float logits[BLOCK_ROWS + GUARD];
} data;

static float any(struct rng *rng)
{
	return (float)(rng_unit(rng) * 2.0 - 0.9);
}

/* A tower whose first layer has widths[0] units; 0 ends the widths. Padding is rubbish: nothing may depend on it. */
static struct tower make_tower(const size_t *widths, struct rng *rng)
{
	struct tower tower = {.width = widths[0], .padded = padded_to(widths[0], MODEL_LANES)};
	for (size_t l = 0; l < LAYERS && widths[l + 1] > 0; l++, tower.layer_count++) {
		struct dense_layer *layer = &tower.layers[l];
		*layer = (struct dense_layer){
			.inputs = widths[l], .outputs = widths[l + 1], .inputs_padded = padded_to(widths[l], MODEL_LANES),
			.outputs_padded = padded_to(widths[l + 1], MODEL_LANES), .weight = data.weights[l], .bias = data.biases[l],
		};
		for (size_t i = 0; i < layer->outputs * layer->inputs_padded; i++)
			data.weights[l][i] = i % layer->inputs_padded < layer->inputs ? any(rng) : rubbish;
		for (size_t o = 0; o < layer->outputs_padded; o++)
			data.biases[l][o] = o < layer->outputs ? any(rng) : rubbish;
	}
	for (size_t i = 0; i < BLOCK_ROWS * tower.padded; i++)
		data.parts[i] = any(rng);
	for (size_t k = 0; k < tower.padded; k++)
		data.user[k] = any(rng);
	tower_lay_out(&tower);
	return tower;
}

static float plain_score(const struct tower *tower, size_t item)
{
	float in[PADDED], out[PADDED];
	for (size_t k = 0; k < tower->width; k++)
		in[k] = fmaxf(0.0f, data.user[k] + data.parts[item * tower->padded + k]);
	for (size_t l = 0; l < tower->layer_count; l++) {
		const struct dense_layer *layer = &tower->layers[l];
		for (size_t o = 0; o < layer->outputs; o++) {
			out[o] = layer->bias[o];
			for (size_t k = 0; k < layer->inputs; k++)
				out[o] = fmaf(layer->weight[o * layer->inputs_padded + k], in[k], out[o]);
			if (l + 1 < tower->layer_count)
				out[o] = fmaxf(0.0f, out[o]);
		}
		memcpy(in, out, layer->outputs * sizeof *in);
	}
	return in[0];
}

static void check_tower(const struct tower_kernels *kernels, const struct tower *tower)
{
	const size_t floats = kernels->arranged_floats(tower);
	CHECK(tower->scratch_floats <= COUNT_OF(data.scratch) && floats + GUARD <= COUNT_OF(data.arranged));
	for (size_t i = 0; i < floats + GUARD; i++)
		data.arranged[i] = rubbish;
	for (size_t i = 0; i < COUNT_OF(data.logits); i++)
		data.logits[i] = rubbish;
	kernels->arrange_weights(tower, data.arranged);
	kernels->arrange_items(tower, data.parts, data.items);
	kernels->score_items(tower, data.arranged, data.user, data.items, data.scratch, data.logits);
	for (size_t i = 0; i < BLOCK_ROWS; i++)
		CHECK(data.logits[i] == plain_score(tower, i));
	CHECK(data.logits[BLOCK_ROWS] == rubbish && data.arranged[floats] == rubbish);
}

static void test_scores_are_those_of_plain_loops(void)
{
	static const size_t towers[][LAYERS + 1] = {
		{64, 32, 16, 8, 4, 1}, {1, 1}, {33, 1}, {7, 3, 1}, {40, 5, 1}, {48, 1, 1}, {13, 11, 10, 9, 1},
		{70, 24, 9, 1}, {16, 46, 17, 2, 1}, {10, 70, 1}, {12, 6, 14, 22, 1},
	};
	struct rng rng;
	rng_init(&rng, 5, rng_stream(RNG_TEST, 2), 0);
	for (size_t t = 0; t < COUNT_OF(towers); t++) {
		const struct tower tower = make_tower(towers[t], &rng);
		for (size_t i = 0; i < ISA_COUNT; i++) {
			struct error unavailable = {0};
			enum isa isa;
			if (isa_find(isa_names[i], &isa, &unavailable) == 0)
				check_tower(tower_kernels_of(isa), &tower);
		}
	}
}

int main(void)
{
	RUN(test_scores_are_those_of_plain_loops);
	return check_done();
}
