/* Which way the tower goes, in tiles that stay in a block or in whole matrices by cuBLAS, and the memory of the latter.
 *
 * Both do the same multiplications. So what a sample moves decides, in numbers to and from global memory. Whole matrices
 * are written and read again between products: eleven times while training (activation: product, bias, next product,
 * product of weights, mask; derivative: product, mask, two products), four times while scoring. Of tiles, a gradient
 * that is not shared is read and written once a tile, weights that are not are read twice, and a tile that is outside
 * itself is read anew for every four units; and each product reads the weights from shared memory once a tile. The prices
 * of the two were measured on one H200 (docs/design.md); the count takes caches for nothing in either. */
#include "plain.h"
#include "wide.h"

#include <stdlib.h>

enum { MOVES_TRAINING = 11, MOVES_SCORING = 4, PRODUCTS_TRAINING = 3, ROWS_A_BLOCK = 64, ALIGNED = 64, PAIRS_A_SLICE = 1 << 16 };

enum path { PATH_BY_SHAPE, PATH_FUSED, PATH_PLAIN };

static int read_path(enum path *path, struct error *error)
{
	static const struct {
		const char *name;
		enum path path;
	} paths[] = {{"", PATH_BY_SHAPE}, {"fused", PATH_FUSED}, {"plain", PATH_PLAIN}};
	const char *named = getenv("RECPIPE_CUDA_TOWER");
	*path = PATH_BY_SHAPE;
	for (size_t p = 0; named && p < COUNT_OF(paths); p++)
		if (strcmp(named, paths[p].name) == 0) {
			*path = paths[p].path;
			return 0;
		}
	if (!named)
		return 0;
	return cuda_error(error, CODE_USAGE, "RECPIPE_CUDA_TOWER: '%s' is unknown, expected fused or plain", named);
}

bool cuda_prefers_plain(const struct tower *tower, const struct plan *plan, bool trains)
{
	const double price_afar = 1.5, price_shared = 1.0; /* of a number moved for a tile, beside one of a whole matrix */
	double weights = 0, units = tower->width, a_tile = 0, again = 0;
	for (uint32_t l = 0; l < tower->layer_count; l++) {
		weights += (double)tower->layers[l].inputs * tower->layers[l].outputs;
		units += tower->layers[l].outputs;
	}
	if (trains && !plan->shares_gradient)
		a_tile += 2 * weights;
	if (plan->weight_floats == 0)
		a_tile += (trains ? 2 : 1) * weights;
	if (!plan->shares_tile)
		again = trains ? weights : weights / 4;
	const double shared = (trains ? PRODUCTS_TRAINING : 1) * weights / plan->tile;
	return price_afar * (a_tile / plan->tile + again) + price_shared * shared > units * (trains ? MOVES_TRAINING : MOVES_SCORING);
}

/* 1: whole matrices, and cuBLAS is open; 0: tiles. -1 on error. */
static int choose_plain(struct backend_state *state, enum path path, const struct plan *shares, bool trains,
                        struct error *error)
{
	struct error missing;
	memset(&missing, 0, sizeof missing);
	if (path == PATH_FUSED || (path == PATH_BY_SHAPE && !cuda_prefers_plain(&state->tower, shares, trains)))
		return 0;
	if (!state->blas)
		state->blas = blas_open(&state->device, path == PATH_PLAIN ? error : &missing);
	return state->blas ? 1 : path == PATH_PLAIN ? -1 : 0;
}

/* ---- memory ---- */

static const char what[] = "the activations of a slice of samples";

static uint32_t widest_of(const struct tower *tower)
{
	uint32_t widest = tower->width;
	for (uint32_t l = 0; l < tower->layer_count; l++)
		widest = tower->layers[l].outputs > widest ? tower->layers[l].outputs : widest;
	return widest;
}

/* Floats of all layers' gradient. */
static size_t gradient_of(const struct backend_state *state)
{
	const struct layer *last = &state->tower.layers[state->tower.layer_count - 1];
	return (size_t)last->gradient_at + layer_gradient_floats(state->options.precision, last->inputs, 1);
}

/* How many of `samples`, which go by `least` at once, are taken at a time where each takes so many floats. */
static uint32_t slice_of(uint32_t samples, uint32_t least, size_t floats_each)
{
	const size_t room = blas_room() / floats_each / least * least;
	return room < least ? least : room < samples ? (uint32_t)room : samples;
}

static int init_forward(struct backend_state *state, struct error *error)
{
	struct plain *plain = &state->plain_forward;
	const size_t widest = widest_of(&state->tower);
	plain->slice = slice_of(PAIRS_A_SLICE, 1, 2 * widest);
	plain->units = device_floats(&state->device, plain->slice * widest, what, error);
	plain->spare = plain->units ? device_floats(&state->device, plain->slice * widest, what, error) : NULL;
	plain->chosen = plain->spare != NULL;
	return plain->chosen ? 0 : -1;
}

/* Where each layer's outputs begin, as cuda_plain_units has it; their end. */
static size_t place_units(const struct tower *tower, struct plain *plain)
{
	size_t at = 0;
	for (uint32_t l = 0; l < tower->layer_count; l++) {
		plain->unit_at[l] = at;
		plain->bias_at[l] = plain->biases;
		plain->biases += tower->layers[l].outputs;
		at += ((size_t)plain->slice * tower->layers[l].outputs + ALIGNED - 1) / ALIGNED * ALIGNED;
	}
	return at;
}

static int init_training(struct backend_state *state, uint32_t least, struct error *error)
{
	struct plain *plain = &state->plain;
	const struct tower *tower = &state->tower;
	const size_t gradient = gradient_of(state), widest = widest_of(tower);
	size_t outputs = 0;
	for (uint32_t l = 0; l < tower->layer_count; l++)
		outputs += tower->layers[l].outputs;
	plain->slice = slice_of(state->samples_max, least, widest + outputs);
	plain->blocks = blocks_for(plain->slice, ROWS_A_BLOCK, GRID_MAX);
	plain->units = device_floats(&state->device, place_units(tower, plain), what, error);
	plain->spare = plain->units ? device_floats(&state->device, plain->slice * widest, what, error) : NULL;
	if (!plain->spare)
		return -1;
	plain->gradient = (float *)device_alloc(&state->device, gradient, sizeof(float), "the gradient of the layers", error);
	plain->bias_sums = (float *)device_alloc(&state->device, (size_t)plain->blocks * plain->biases, sizeof(float),
	                                         "the gradient of the layers", error);
	plain->chosen = plain->gradient && plain->bias_sums;
	if (!plain->chosen)
		return -1;
	/* Adam finds the weights' gradient where it would be if one block had added it up. */
	state->through.partials = plain->gradient;
	state->through.gradient_floats = (uint32_t)gradient;
	state->through.blocks = 1;
	return 0;
}

int cuda_plan_tower(struct backend_state *state, bool trains, struct error *error)
{
	const struct tower *tower = &state->tower;
	const struct layer *last = &tower->layers[tower->layer_count - 1];
	const uint32_t least = trains && state->options.loss != LOSS_BINARY ? state->group : 1;
	const size_t units = (size_t)last->unit_at + 1, gradient = trains ? gradient_of(state) : 0;
	const size_t weights = (size_t)last->weight_at + weight_pitch(last->inputs);
	struct plan shares;
	enum path path;
	if (read_path(&path, error) < 0)
		return -1;
	if (path != PATH_PLAIN && cuda_goes_wide(state, trains))
		return cuda_plan_wide(state, trains, gradient, error);
	cuda_plan_shares(state, &shares, units, gradient, weights, least);
	const int plain = choose_plain(state, path, &shares, trains, error);
	if (plain < 0)
		return -1;
	if (plain > 0)
		return trains ? init_training(state, least, error) : init_forward(state, error);
	const int narrow = cuda_plan_narrow(state, trains ? &state->through : &state->forward, trains, error);
	if (narrow != 0)
		return narrow > 0 ? 0 : -1;
	return trains ? cuda_plan(state, &state->through, units, gradient, weights, state->samples_max, least, error)
	              : cuda_plan(state, &state->forward, units, 0, weights, UINT32_MAX, 1, error);
}

void cuda_plain_bias(const struct backend_state *state, uint32_t l, struct segment *bias)
{
	if (!state->plain.chosen)
		return;
	bias->partials = state->plain.bias_sums + state->plain.bias_at[l];
	bias->count = state->plain.blocks;
	bias->stride = state->plain.biases;
}
