/* The CPU backend: opening, the layout of dense layers, and moving state in and out. Training is in
 * cpu_train.c, scoring in cpu_score.c; cpu_state.h tells how the work is cut. */
#include "cpu_state.h"

#include "mem.h"

void cpu_run(struct backend_state *state, bool in_line, size_t shards,
             void (*work)(void *context, size_t shard, size_t worker), void *context)
{
	if (!in_line) {
		pool_run(state->pool, shards, work, context);
		return;
	}
	for (size_t s = 0; s < shards; s++)
		work(context, s, 0);
}

/* Lays out one weight in the dense block (and its transposed twin); pointers follow in place_layers. */
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
	tower_scratch(tower);
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

/* Gives each layer its pointers; the transposed weights lie behind one another in their own block. */
static size_t place_layer(struct backend_state *state, struct dense_layer *layer, size_t at)
{
	layer->weight = state->dense + layer->weight_at;
	layer->transposed = state->transposed + at;
	return at + layer->inputs * layer->outputs_padded;
}

static void place_layers(struct backend_state *state)
{
	size_t at = place_layer(state, &state->sides[SIDE_USER].half, 0);
	state->sides[SIDE_USER].half.bias = state->dense + state->first_bias_at;
	at = place_layer(state, &state->sides[SIDE_ITEM].half, at);
	for (size_t l = 0; l < state->tower.layer_count; l++) {
		struct dense_layer *layer = &state->tower.layers[l];
		at = place_layer(state, layer, at);
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
	size_t rows = SLICE_FLOATS / layer->inputs_padded;
	if (rows * (DENSE_SLICES_MAX / MODEL_LAYERS_MAX / 2) < layer->outputs)
		rows = layer->outputs / (DENSE_SLICES_MAX / MODEL_LAYERS_MAX / 2) + 1;
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

enum direction { PACK, UNPACK };

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

static void move_dense(struct backend_state *state, enum direction direction, float *block,
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

/* Tables of users, items and features stay in the model's own layout. */
static void move_tables(const struct model_shape *shape, enum direction direction, struct parameters *own,
                        const struct parameters *other)
{
	for (size_t m = 0; m < own->count; m++) {
		const struct matrix *a = &own->matrices[m], *b = &other->matrices[m];
		if (model_matrix_rows(shape, m))
			memcpy(direction == PACK ? a->values : b->values, direction == PACK ? b->values : a->values,
			       (size_t)a->rows * a->stride * sizeof(float));
	}
}

static void transpose_layer(struct backend_state *state, const struct dense_layer *layer)
{
	float *to = state->transposed + (layer->transposed - state->transposed);
	for (size_t o = 0; o < layer->outputs; o++)
		for (size_t k = 0; k < layer->inputs; k++)
			to[k * layer->outputs_padded + o] = layer->weight[o * layer->inputs_padded + k];
}

static int cpu_get(struct backend_state *state, struct parameters *parameters, struct parameters *moment1,
                   struct parameters *moment2, uint64_t *step, struct error *error)
{
	struct parameters *tables[] = {&state->values, &state->moment1, &state->moment2};
	float *blocks[] = {state->dense, state->dense_moment1, state->dense_moment2};
	struct parameters *targets[] = {parameters, moment1, moment2};
	for (size_t i = 0; i < COUNT_OF(targets); i++) {
		if (!targets[i])
			continue;
		if (!blocks[i])
			return error_set(error, CODE_BUG, "no moments: this backend was opened for scoring only");
		move_tables(&state->shape, UNPACK, tables[i], targets[i]);
		move_dense(state, UNPACK, blocks[i], targets[i]);
	}
	if (step)
		*step = state->step;
	return 0;
}

static int cpu_put(struct backend_state *state, const struct parameters *parameters,
                   const struct parameters *moment1, const struct parameters *moment2, uint64_t step,
                   struct error *error)
{
	struct parameters *tables[] = {&state->values, &state->moment1, &state->moment2};
	float *blocks[] = {state->dense, state->dense_moment1, state->dense_moment2};
	const struct parameters *sources[] = {parameters, moment1, moment2};
	for (size_t i = 0; i < COUNT_OF(sources); i++) {
		if (!sources[i])
			continue;
		if (!blocks[i])
			return error_set(error, CODE_BUG, "no moments: this backend was opened for scoring only");
		move_tables(&state->shape, PACK, tables[i], sources[i]);
		move_dense(state, PACK, blocks[i], sources[i]);
	}
	for (int s = 0; s < SIDES && state->has_tower; s++)
		transpose_layer(state, &state->sides[s].half);
	for (size_t l = 0; l < state->tower.layer_count; l++)
		transpose_layer(state, &state->tower.layers[l]);
	state->step = step;
	state->items_current = false;
	return 0;
}

/* ---- opening and closing ---- */

static int init_workers(struct backend_state *state, struct error *error)
{
	const struct factor_part *part = &state->factors;
	size_t widest = state->sides[SIDE_USER].half.inputs_padded;
	if (state->sides[SIDE_ITEM].half.inputs_padded > widest)
		widest = state->sides[SIDE_ITEM].half.inputs_padded;
	state->worker_count = pool_threads(state->pool);
	state->workers = mem_alloc_zero(state->worker_count, sizeof *state->workers, error);
	if (!state->workers)
		return -1;
	for (size_t w = 0; w < state->worker_count; w++) {
		struct worker *worker = &state->workers[w];
		worker->scratch = mem_alloc_zero(state->tower.scratch_floats, sizeof(float), error);
		worker->parts = mem_alloc_zero(BLOCK_ROWS * state->tower.padded, sizeof(float), error);
		worker->inputs = mem_alloc_zero(BLOCK_ROWS * widest, sizeof(float), error);
		worker->factor_rows = mem_alloc_zero(BLOCK_ROWS * part->stride, sizeof(float), error);
		worker->columns = mem_alloc_zero(BLOCK_ROWS * part->columns, sizeof(float), error);
		worker->dots = mem_alloc_zero(BLOCK_ROWS * FACTOR_COLUMNS_MAX, sizeof(float), error);
		if (!worker->scratch || !worker->parts || !worker->inputs || !worker->factor_rows || !worker->columns ||
		    !worker->dots)
			return -1;
	}
	return 0;
}

static int init_dense(struct backend_state *state, struct error *error)
{
	size_t transposed = 0;
	state->dense_size = shape_dense(state);
	for (int s = 0; s < SIDES; s++)
		transposed += state->sides[s].half.inputs * state->sides[s].half.outputs_padded;
	for (size_t l = 0; l < state->tower.layer_count; l++)
		transposed += state->tower.layers[l].inputs * state->tower.layers[l].outputs_padded;
	state->dense = mem_alloc_zero(state->dense_size, sizeof(float), error);
	state->transposed = mem_alloc_zero(transposed, sizeof(float), error);
	if (!state->dense || !state->transposed)
		return -1;
	if (state->has_tower)
		place_layers(state);
	if (state->has_factors && cpu_factors_init(state, error) < 0)
		return -1;
	return slice_dense(state, error);
}

static int init_side(struct backend_state *state, enum side_name which, size_t ids, struct error *error)
{
	struct side *side = &state->sides[which];
	const size_t most = (state->batch_samples < ids ? state->batch_samples : ids) + BLOCK_ROWS;
	side->slot_of = mem_alloc_zero(ids, sizeof *side->slot_of, error);
	side->inputs = mem_alloc_zero(most * side->half.inputs_padded, sizeof(float), error);
	side->parts = mem_alloc_zero(most * state->tower.padded, sizeof(float), error);
	if (!side->slot_of || !side->inputs || !side->parts)
		return -1;
	if (state->has_factors && cpu_factors_init_training(state, which, most, error) < 0)
		return -1;
	if (!state->options.optimizer.dense_adam || !state->has_tower)
		return 0;
	side->gradients = mem_alloc_zero(ids * side->half.inputs_padded, sizeof(float), error);
	return side->gradients ? 0 : -1;
}

/* How many samples pass through the model together. */
static int choose_block(struct backend_state *state, size_t group, struct error *error)
{
	state->block_samples = BLOCK_ROWS;
	if (state->options.loss == LOSS_BINARY)
		return 0;
	if (group > BLOCK_ROWS && state->has_tower)
		return error_set(error, CODE_USAGE, "a tower takes at most %d negatives a positive with this loss", BLOCK_ROWS - 1);
	state->block_samples = group > BLOCK_ROWS ? group : BLOCK_ROWS / group * group;
	return 0;
}

/* Buffers that only training needs. */
static int init_training(struct backend_state *state, struct error *error)
{
	const size_t group = 1 + (size_t)state->options.ratio, padded = state->tower.padded;
	state->batch_samples = state->options.batch_groups * group;
	if (choose_block(state, group, error) < 0 || parameters_init(&state->moment1, &state->shape, error) < 0 ||
	    parameters_init(&state->moment2, &state->shape, error) < 0)
		return -1;
	state->dense_moment1 = mem_alloc_zero(state->dense_size, sizeof(float), error);
	state->dense_moment2 = mem_alloc_zero(state->dense_size, sizeof(float), error);
	state->shard_gradients = mem_alloc_zero(GRADIENT_SHARDS * state->dense_size, sizeof(float), error);
	state->shard_losses = mem_alloc_zero(GRADIENT_SHARDS, sizeof(double), error);
	state->z1_gradients = mem_alloc_zero(state->batch_samples * padded, sizeof(float), error);
	state->logits = mem_alloc_zero(state->batch_samples + MODEL_LANES, sizeof(float), error);
	if (!state->dense_moment1 || !state->dense_moment2 || !state->shard_gradients || !state->shard_losses ||
	    !state->z1_gradients || !state->logits)
		return -1;
	if (init_side(state, SIDE_USER, state->shape.users, error) < 0 ||
	    init_side(state, SIDE_ITEM, state->shape.items, error) < 0)
		return -1;
	return cpu_batches_init(state, error);
}

static void cpu_close(struct backend_state *state)
{
	if (!state)
		return;
	cpu_batches_release(state);
	for (size_t w = 0; state->workers && w < state->worker_count; w++) {
		mem_free(state->workers[w].scratch);
		mem_free(state->workers[w].parts);
		mem_free(state->workers[w].inputs);
		mem_free(state->workers[w].factor_rows);
		mem_free(state->workers[w].columns);
		mem_free(state->workers[w].dots);
	}
	cpu_factors_release(state);
	for (int s = 0; s < SIDES; s++) {
		mem_free(state->sides[s].slot_of);
		mem_free(state->sides[s].inputs);
		mem_free(state->sides[s].parts);
		mem_free(state->sides[s].gradients);
	}
	parameters_release(&state->values);
	parameters_release(&state->moment1);
	parameters_release(&state->moment2);
	float *blocks[] = {state->dense, state->dense_moment1, state->dense_moment2, state->transposed,
	                   state->shard_gradients, state->z1_gradients, state->logits, state->item_parts};
	for (size_t i = 0; i < COUNT_OF(blocks); i++)
		mem_free(blocks[i]);
	mem_free(state->shard_losses);
	mem_free(state->workers);
	pool_free(state->pool);
	mem_free(state);
}

static int check_shape(const struct model_shape *shape, struct error *error)
{
	if (model_has_tower(shape) && shape->layer_count < 2)
		return error_set(error, CODE_USAGE, "the tower needs a hidden layer at least");
	if (model_has_factors(shape) && model_factor_matrix(shape, FACTOR_USERS) == NO_MATRIX)
		return error_set(error, CODE_BUG, "a model of histories is folded before it is scored");
	return 0;
}

static struct backend_state *cpu_open(const struct model_shape *shape, const struct parameters *parameters,
                                      const struct backend_options *options, struct error *error)
{
	enum isa isa;
	struct backend_state *state = mem_alloc_zero(1, sizeof *state, error);
	if (!state)
		return NULL;
	state->shape = *shape;
	state->options = *options;
	state->tower.dropout = options->optimizer.dropout;
	state->tower.seed = options->seed;
	state->sides[SIDE_USER].matrix = MATRIX_USERS;
	state->sides[SIDE_ITEM].matrix = MATRIX_ITEMS;
	state->has_tower = model_has_tower(shape);
	state->has_factors = model_has_factors(shape);
	if (isa_find(options->isa, &isa, error) < 0 || check_shape(shape, error) < 0)
		goto fail;
	state->kernels = kernels_of(isa);
	state->losses = loss_kernels_of(isa);
	state->factor_kernels = factor_kernels_of(isa);
	state->pool = pool_new(options->threads, error);
	if (!state->pool || parameters_init(&state->values, shape, error) < 0 || init_dense(state, error) < 0 ||
	    init_workers(state, error) < 0)
		goto fail;
	if (options->batch_groups > 0 && init_training(state, error) < 0)
		goto fail;
	if (cpu_put(state, parameters, NULL, NULL, 0, error) < 0)
		goto fail;
	snprintf(state->description, sizeof state->description, "cpu, %s, %zu thread%s", state->kernels->name,
	         state->worker_count, state->worker_count == 1 ? "" : "s");
	return state;
fail:
	cpu_close(state);
	return NULL;
}

static int cpu_probe(int device, struct error *error)
{
	(void)device;
	(void)error;
	return 0;
}

static const char *cpu_describe(const struct backend_state *state)
{
	return state->description;
}

const struct backend backend_cpu = {
	.name = "cpu",
	.probe = cpu_probe,
	.open = cpu_open,
	.train = cpu_train,
	.score_lists = cpu_score_lists,
	.score_top = cpu_score_top,
	.get = cpu_get,
	.put = cpu_put,
	.close = cpu_close,
	.describe = cpu_describe,
};
