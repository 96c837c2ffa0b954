/* The dense layers of the CPU backend as one block: its layout, its slices for the optimiser, and moving it between
 * the model's matrices and the block. */
#include "cpu_state.h"

#include "mem.h"

/* Lays out one weight in the dense block ; pointers follow in place_layers. */
static void shape_layer(struct dense_layer *layer, size_t inputs, size_t outputs, size_t *at)
{
	layer->inputs = inputs;
	layer->outputs = outputs;
	layer->inputs_padded = padded_to(inputs, MODEL_LANES);
	layer->outputs_padded = padded_to(outputs, MODEL_LANES);
	layer->weight_at = *at;
	*at += outputs * layer->inputs_padded;
}

static size_t shape_tower(struct backend_state *state)
{
	const struct model_shape *shape = &state->shape;
	struct tower *tower = &state->tower;
	size_t at = 0;
	shape_layer(&state->sides[SIDE_USER].half, shape->user_dimension, shape->widths[0], &at);
	tower->width = shape->widths[0];
	tower->padded = padded_to(tower->width, MODEL_LANES);
	state->first_bias_at = at;
	at += tower->padded;
	shape_layer(&state->sides[SIDE_ITEM].half, shape->item_dimension, shape->widths[0], &at);
	tower->layer_count = shape->layer_count - 1;
	for (size_t l = 0; l < tower->layer_count; l++) {
		struct dense_layer *layer = &tower->layers[l];
		shape_layer(layer, shape->widths[l], shape->widths[l + 1], &at);
		layer->bias_at = at;
		at += layer->outputs_padded;
	}
	tower_lay_out(tower);
	return at;
}

/* The dense block: the tower's layers, then the weights of the factors. Where the tower's halves end is where
 * the rest, which every shard of blocks adds to, begins. */
static size_t shape_dense(struct backend_state *state)
{
	size_t at = state->has_tower ? shape_tower(state) : 0;
	state->blocks_at = state->has_tower ? state->tower.layers[0].weight_at : 0;
	return state->has_factors ? cpu_factors_shape(state, at) : at;
}

/* Whole lines, so that none is shared. */
static size_t prepared_floats(const struct backend_state *state, const struct dense_layer *layer)
{
	return padded_to(state->towers->prepared_floats(layer), MODEL_LANES);
}

/* Gives each layer its pointers; what is prepared of the weights lies behind one another in a block of its own. The
 * tail needs nothing. */
static size_t place_layer(struct backend_state *state, struct dense_layer *layer, bool wide, size_t at)
{
	layer->weight = state->dense + layer->weight_at;
	layer->prepared = wide ? state->prepared + at : NULL;
	return at + (wide ? prepared_floats(state, layer) : 0);
}

static void place_layers(struct backend_state *state)
{
	size_t at = place_layer(state, &state->sides[SIDE_USER].half, true, 0);
	state->sides[SIDE_USER].half.bias = state->dense + state->first_bias_at;
	at = place_layer(state, &state->sides[SIDE_ITEM].half, true, at);
	for (size_t l = 0; l < state->tower.layer_count; l++) {
		struct dense_layer *layer = &state->tower.layers[l];
		at = place_layer(state, layer, l < state->tower.wide_count, at);
		layer->bias = state->dense + layer->bias_at;
	}
}

static int add_slice(struct backend_state *state, struct dense_slice slice, struct error *error)
{
	if (state->slice_count == DENSE_SLICES_MAX)
		return error_set(error, CODE_USAGE, "the tower's layers are too large for this backend");
	state->slices[state->slice_count++] = slice;
	return 0;
}

static int slice_layer(struct backend_state *state, const struct dense_layer *layer, int region, struct error *error)
{
	/* Whole vectors of rows, as prepare wants them. */
	const size_t most = DENSE_SLICES_MAX / MODEL_LAYERS_MAX / 2;
	const size_t few = padded_to(SLICE_FLOATS / layer->inputs_padded + 1, MODEL_LANES) - MODEL_LANES;
	size_t rows = few > MODEL_LANES ? few : MODEL_LANES;
	if (rows * most < layer->outputs)
		rows = padded_to(layer->outputs / most + 1, MODEL_LANES);
	for (size_t first = 0; first < layer->outputs; first += rows) {
		size_t count = layer->outputs - first < rows ? layer->outputs - first : rows;
		struct dense_slice slice = {
			.at = layer->weight_at + first * layer->inputs_padded, .count = count * layer->inputs_padded,
			.layer = layer, .first_row = first, .region = region,
		};
		if (add_slice(state, slice, error) < 0)
			return -1;
	}
	return 0;
}

static int slice_tower(struct backend_state *state, struct error *error)
{
	struct dense_slice first_bias = {.at = state->first_bias_at, .count = state->tower.padded, .region = SIDE_USER};
	if (add_slice(state, first_bias, error) < 0)
		return -1;
	for (int s = 0; s < SIDES; s++)
		if (slice_layer(state, &state->sides[s].half, s, error) < 0)
			return -1;
	for (size_t l = 0; l < state->tower.layer_count; l++) {
		const struct dense_layer *layer = &state->tower.layers[l];
		struct dense_slice bias = {.at = layer->bias_at, .count = layer->outputs_padded, .region = REGION_TOWER};
		if (slice_layer(state, layer, REGION_TOWER, error) < 0 || add_slice(state, bias, error) < 0)
			return -1;
	}
	return 0;
}

static int slice_dense(struct backend_state *state, struct error *error)
{
	const struct factor_part *part = &state->factors;
	if (state->has_tower && slice_tower(state, error) < 0)
		return -1;
	if (!part->has_weight)
		return 0;
	const struct dense_slice weights = {.at = part->weight_at, .count = state->dense_size - part->weight_at,
	                                    .region = REGION_TOWER};
	return add_slice(state, weights, error);
}

/* ---- moving dense layers between the model's matrices and the block ---- */


static void move_rows(enum direction direction, float *block, size_t block_stride, float *matrix, size_t stride,
                      size_t rows, size_t columns)
{
	for (size_t r = 0; r < rows; r++) {
		float *in_block = block + r * block_stride, *in_matrix = matrix + r * stride;
		memcpy(direction == PACK ? in_block : in_matrix, direction == PACK ? in_matrix : in_block,
		       columns * sizeof(float));
	}
}

static void move_tower(struct backend_state *state, enum direction direction, float *block,
                       const struct parameters *parameters)
{
	const struct matrix *first = &parameters->matrices[matrix_weight(0)];
	const struct dense_layer *user = &state->sides[SIDE_USER].half, *item = &state->sides[SIDE_ITEM].half;
	move_rows(direction, block + user->weight_at, user->inputs_padded, first->values, first->stride, first->rows,
	          user->inputs);
	move_rows(direction, block + item->weight_at, item->inputs_padded, first->values + user->inputs,
	          first->stride, first->rows, item->inputs);
	move_rows(direction, block + state->first_bias_at, 0, parameters->matrices[matrix_bias(0)].values, 0, 1,
	          state->tower.width);
	for (size_t l = 0; l < state->tower.layer_count; l++) {
		const struct dense_layer *layer = &state->tower.layers[l];
		const struct matrix *weight = &parameters->matrices[matrix_weight(l + 1)];
		move_rows(direction, block + layer->weight_at, layer->inputs_padded, weight->values, weight->stride,
		          weight->rows, layer->inputs);
		move_rows(direction, block + layer->bias_at, 0, parameters->matrices[matrix_bias(l + 1)].values, 0, 1,
		          layer->outputs);
	}
}

void cpu_dense_move(struct backend_state *state, enum direction direction, float *block,
                       const struct parameters *parameters)
{
	const struct factor_part *part = &state->factors;
	const int weight = model_factor_matrix(&state->shape, FACTOR_WEIGHT);
	const int bias = model_factor_matrix(&state->shape, FACTOR_BIAS);
	if (state->has_tower)
		move_tower(state, direction, block, parameters);
	if (weight != NO_MATRIX)
		move_rows(direction, block + part->weight_at, 0, parameters->matrices[weight].values, 0, 1, part->columns);
	if (bias != NO_MATRIX)
		move_rows(direction, block + part->bias_at, 0, parameters->matrices[bias].values, 0, 1, 1);
}

void cpu_dense_prepare_rows(struct backend_state *state, const struct dense_layer *layer, size_t first, size_t rows)
{
	state->towers->prepare(layer, first, rows, state->prepared + (layer->prepared - state->prepared));
}

void cpu_dense_prepare(struct backend_state *state)
{
	for (int s = 0; s < SIDES && state->has_tower; s++)
		cpu_dense_prepare_rows(state, &state->sides[s].half, 0, state->tower.width);
	for (size_t l = 0; l < state->tower.wide_count; l++)
		cpu_dense_prepare_rows(state, &state->tower.layers[l], 0, state->tower.layers[l].outputs);
}

int cpu_dense_init(struct backend_state *state, struct error *error)
{
	size_t prepared = 0;
	state->dense_size = shape_dense(state);
	for (int s = 0; s < SIDES; s++)
		prepared += prepared_floats(state, &state->sides[s].half);
	for (size_t l = 0; l < state->tower.wide_count; l++)
		prepared += prepared_floats(state, &state->tower.layers[l]);
	state->dense = mem_alloc_zero(state->dense_size, sizeof(float), error);
	state->prepared = mem_alloc_zero(prepared, sizeof(float), error);
	if (!state->dense || !state->prepared)
		return -1;
	if (state->has_tower)
		place_layers(state);
	if (state->has_factors && cpu_factors_init(state, error) < 0)
		return -1;
	return slice_dense(state, error);
}
