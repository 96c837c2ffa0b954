/* What a model's matrices are to the backend, how kernels' tiles share memory, and all that training needs of it. */
#include "by_users.h"
#include "plain.h"
#include "wide.h"

enum {
	BUDGET_FLOATS = 1 << 26,  /* of all blocks' gradients of one kernel, and of their tiles outside of shared memory */
	FURTHER_BYTES = 256 * sizeof(double), /* shared memory beside the tile: a double a thread */
	SAMPLES_LIMIT = 1 << 30,
};

/* ---- the model ---- */

struct table cuda_find_table(const struct parameters *parameters, const char *name)
{
	struct table table = {0, 0, 0, 0};
	for (size_t m = 0; m < parameters->count; m++) {
		const struct matrix *matrix = &parameters->matrices[m];
		if (strcmp(matrix->name, name) == 0) {
			table.at = (size_t)(matrix->values - parameters->block);
			table.stride = matrix->stride;
			table.rows = matrix->rows;
			table.columns = matrix->columns;
		}
	}
	return table;
}

static int refuse(const struct backend_state *state, struct error *error)
{
	const struct model_shape *shape = &state->shape;
	const struct backend_options *options = &state->options;
	const bool trains = options->batch_groups > 0;
	static const char instead[] = "the CUDA backend does not have it, --device cpu does";
	if (shape->kind >= MODEL_KINDS)
		return cuda_error(error, CODE_USAGE, "a model of an unknown kind: %s", instead);
	if (state->ranks > 1 && trains && options->loss == LOSS_CATALOGUE)
		return cuda_error(error, CODE_USAGE, "training against the whole catalogue: several devices do not do it, one does");
	if (cuda_catalogue_check(state, error) < 0)
		return -1;
	if (trains && (options->loss == LOSS_SQUARES || shape->kind == MODEL_IALS))
		return cuda_error(error, CODE_USAGE, "training ials, by sweeps of least squares: %s", instead);
	if (options->precision != PRECISION_FP32 && !model_has_tower(shape))
		return cuda_error(error, CODE_USAGE, "a model without a tower: %s is for the products of one",
		                  options->precision == PRECISION_TF32 ? "tf32" : "bf16");
	if (model_has_tower(shape) && shape->layer_count < 2)
		return cuda_error(error, CODE_USAGE, "the tower needs a hidden layer at least");
	if (trains && model_has_tower(shape) && options->loss != LOSS_BINARY && options->ratio >= 60)
		return cuda_error(error, CODE_USAGE, "a tower takes at most 59 negatives a positive with this loss");
	if (trains && (uint64_t)options->batch_groups * (1 + (uint64_t)options->ratio) > SAMPLES_LIMIT)
		return cuda_error(error, CODE_USAGE, "a batch of more than %d samples is too large for the CUDA backend",
		                  (int)SAMPLES_LIMIT);
	return 0;
}

static struct layer find_layer(const struct parameters *parameters, uint32_t l)
{
	char name[48];
	struct layer layer;
	memset(&layer, 0, sizeof layer);
	snprintf(name, sizeof name, "mlp.%u.weight", l);
	const struct table weight = cuda_find_table(parameters, name);
	snprintf(name, sizeof name, "mlp.%u.bias", l);
	layer.weight = weight.at;
	layer.bias = cuda_find_table(parameters, name).at;
	layer.inputs = weight.columns;
	layer.outputs = weight.rows;
	layer.stride = (uint32_t)weight.stride;
	return layer;
}

static void lay_out_tower(struct backend_state *state, const struct parameters *parameters)
{
	struct tower *tower = &state->tower;
	uint32_t gradient = 0, weights = 0;
	state->first = find_layer(parameters, 0);
	tower->width = state->first.outputs;
	tower->layer_count = state->shape.layer_count - 1;
	uint32_t units = tower->width;
	for (uint32_t l = 0; l < tower->layer_count; l++) {
		struct layer layer = find_layer(parameters, l + 1);
		layer.gradient_at = gradient;
		layer.weight_at = weights;
		layer.unit_at = units;
		gradient += layer_gradient_floats(state->options.precision, layer.inputs, layer.outputs);
		weights += layer.outputs * layer_pitch(state->options.precision, layer.inputs, layer.outputs);
		units += layer.outputs;
		tower->layers[l] = layer;
	}
	state->sides[SIDE_USER].embeddings = cuda_find_table(parameters, "user_embedding");
	state->sides[SIDE_ITEM].embeddings = cuda_find_table(parameters, "item_embedding");
	state->sides[SIDE_USER].half = state->first.weight;
	state->sides[SIDE_ITEM].half = state->first.weight + state->shape.user_dimension;
}

int cuda_lay_out(struct backend_state *state, const struct parameters *parameters, struct error *error)
{
	const struct model_shape *shape = &state->shape;
	if (refuse(state, error) < 0)
		return -1;
	state->size = parameters->size;
	state->has_tower = model_has_tower(shape);
	state->has_factors = model_has_factors(shape);
	state->has_biases = model_has_biases(shape);
	state->group = 1 + state->options.ratio;
	state->sides[SIDE_USER].ids = shape->users;
	state->sides[SIDE_ITEM].ids = shape->items;
	if (state->has_tower)
		lay_out_tower(state, parameters);
	if (state->has_factors) {
		state->sides[SIDE_USER].factors = cuda_find_table(parameters, "user_factors");
		state->sides[SIDE_ITEM].factors = cuda_find_table(parameters, "item_factors");
		const size_t stride = state->sides[SIDE_ITEM].factors.stride; /* where histories alone make users' vectors as well */
		state->sides[SIDE_USER].factors.stride = stride;
		state->sides[SIDE_USER].factors.columns = state->sides[SIDE_ITEM].factors.columns;
		state->factor_weight = cuda_find_table(parameters, "gmf.weight");
		state->factor_bias = cuda_find_table(parameters, "gmf.bias");
	}
	return cuda_catalogue_lay_out(state, parameters, error);
}

/* ---- tiles ---- */

/* Shared bytes of a plan: its tile, gradient and copy of the weights, as far as they are shared. */
size_t cuda_plan_bytes(const struct plan *plan)
{
	const size_t tile = plan->shares_tile ? (size_t)plan->units * plan->pitch : 0;
	const size_t gradient = plan->shares_gradient ? ((size_t)plan->gradient_floats + 3) / 4 * 4 : 0;
	return (tile + gradient + ((size_t)plan->weight_floats + 3) / 4 * 4) * sizeof(float) + FURTHER_BYTES;
}

/* Tries tiles from 64 samples down to 16, but not below `least`. */
static bool fits(struct plan *plan, uint32_t least, size_t limit)
{
	for (plan->tile = 64; plan->tile >= 16 && plan->tile >= least; plan->tile /= 2) {
		plan->pitch = plan->tile + 4;
		plan->shared_bytes = cuda_plan_bytes(plan);
		if (plan->shared_bytes <= limit)
			return true;
	}
	return false;
}

/* The most that fits is best, with room for two blocks on a processor if that can be; then weights stay in global
 * memory, then the gradient, then the tile itself. */
static void choose_shares(struct plan *plan, size_t weights, uint32_t least, const struct device *device)
{
	const size_t limit = device->shared_limit;
	plan->shares_tile = true;
	plan->shares_gradient = plan->gradient_floats > 0;
	plan->weight_floats = (uint32_t)weights;
	if (fits(plan, least > 32 ? least : 32, device->shared_half) || fits(plan, least, limit))
		return;
	plan->weight_floats = 0;
	if (fits(plan, least, limit))
		return;
	plan->shares_gradient = false;
	if (fits(plan, least, limit))
		return;
	plan->shares_tile = false;
	plan->tile = 64;
	plan->pitch = plan->tile + 4;
	plan->shared_bytes = cuda_plan_bytes(plan);
}

void cuda_plan_shares(const struct backend_state *state, struct plan *plan, size_t units, size_t gradient, size_t weights,
                      uint32_t least)
{
	memset(plan, 0, sizeof *plan);
	plan->units = (uint32_t)units;
	plan->gradient_floats = (uint32_t)gradient;
	if (state->options.precision == PRECISION_FP32)
		choose_shares(plan, weights, least, &state->device);
	else
		cuda_choose_tensor_shares(plan, state->options.precision, weights, least, state->device.shared_half,
		                          state->device.shared_limit);
	plan->all = plan->shares_tile && plan->weight_floats > 0 && plan->shares_gradient == (gradient > 0);
}

int cuda_plan(struct backend_state *state, struct plan *plan, size_t units, size_t gradient, size_t weights,
              uint32_t things, uint32_t least, struct error *error)
{
	cuda_plan_shares(state, plan, units, gradient, weights, least);
	const uint32_t group = least > 1 ? least : 1, tile_samples = plan->tile / group * group;
	const size_t scratch = plan->shares_tile ? 0 : units * plan->pitch;
	size_t most = gradient > 0 ? GRID_MAX : GRID_WIDE;
	most = gradient > 0 && BUDGET_FLOATS / gradient < most ? BUDGET_FLOATS / gradient : most;
	/* Blocks that wait for others to end are no use to a tile in global memory. */
	const size_t busy = 4 * (size_t)state->device.processors;
	most = scratch > 0 && gradient == 0 && busy < most ? busy : most;
	most = scratch > 0 && BUDGET_FLOATS / scratch < most ? BUDGET_FLOATS / scratch : most;
	plan->blocks = blocks_for(things, tile_samples, most > 0 ? (uint32_t)most : 1);
	if (gradient > 0)
		plan->partials = (float *)device_alloc(&state->device, plan->blocks * gradient, sizeof(float),
		                                       "the gradient of the layers", error);
	if (scratch > 0)
		plan->scratch = (float *)device_alloc(&state->device, plan->blocks * scratch, sizeof(float),
		                                      "the activations of layers this wide", error);
	return (gradient > 0 && !plan->partials) || (scratch > 0 && !plan->scratch) ? -1 : 0;
}

/* ---- dense matrices ---- */

static void add_segment(struct segments *segments, struct segment segment)
{
	enum { LINE = 32 }; /* adam.cu */
	if (!segment.fragments)
		segment.size = segment.rows * segment.columns;
	segments->of[segments->count] = segment;
	segments->first_block[segments->count + 1] = segments->first_block[segments->count] + (segment.size + LINE - 1) / LINE;
	segments->count++;
}

static struct segment plan_segment(const struct backend_state *state, const struct plan *plan, size_t gradient_at,
                                   uint32_t rows, uint32_t columns, size_t at, size_t value_stride)
{
	struct segment segment;
	memset(&segment, 0, sizeof segment);
	segment.part = plan == &state->through ? DENSE_LAYERS : DENSE_HALVES;
	segment.partials = plan->partials + gradient_at;
	segment.count = plan->blocks;
	segment.stride = plan->gradient_floats;
	segment.rows = rows;
	segment.columns = columns;
	segment.at = at;
	segment.value_stride = value_stride;
	segment.decays = rows > 0 && value_stride > 0;
	return segment;
}

static struct segment weight_segment(const struct backend_state *state, const struct plan *plan, size_t gradient_at,
                                     const struct layer *layer, size_t at)
{
	struct segment segment = plan_segment(state, plan, gradient_at, layer->outputs, layer->inputs, at, layer->stride);
	/* Whole matrices (plain.cu) are rows whatever the precision, and so are those of row_tiles.cu. */
	const bool rows = plan == &state->through ? state->plain.chosen : state->row_tiles;
	segment.fragments = !rows && goes_by_mma(state->options.precision, layer->inputs, layer->outputs);
	segment.size = rows ? layer->outputs * layer->inputs
	                    : weight_gradient_floats(state->options.precision, layer->inputs, layer->outputs);
	return segment;
}

/* Half of the first layer, as a layer. */
static struct layer half_layer(const struct backend_state *state, const struct side *side)
{
	struct layer half = state->first;
	half.inputs = side->embeddings.columns;
	return half;
}

/* Biases do not decay. A loss of differences does not depend on what is added to every logit: the last bias stands. */
static void list_tower(struct backend_state *state, struct segments *segments)
{
	const enum precision kind = state->options.precision;
	for (int s = 0; s < SIDES; s++) {
		const struct side *side = &state->sides[s];
		const struct layer half = half_layer(state, side);
		const size_t bias_at = state->row_tiles ? (size_t)half.inputs * half.outputs
		                                        : weight_gradient_floats(kind, half.inputs, half.outputs);
		add_segment(segments, weight_segment(state, &side->back, 0, &half, side->half));
		if (s == SIDE_USER)
			add_segment(segments, plan_segment(state, &side->back, bias_at, 1, half.outputs, state->first.bias, 0));
	}
	for (uint32_t l = 0; l < state->tower.layer_count; l++) {
		const struct layer *layer = &state->tower.layers[l];
		const size_t bias_at = layer->gradient_at + weight_gradient_floats(kind, layer->inputs, layer->outputs);
		struct segment bias = plan_segment(state, &state->through, bias_at, 1, layer->outputs, layer->bias, 0);
		cuda_plain_bias(state, l, &bias);
		bias.stands = l + 1 == state->tower.layer_count && state->options.loss != LOSS_BINARY;
		add_segment(segments, weight_segment(state, &state->through, layer->gradient_at, layer, layer->weight));
		add_segment(segments, bias);
	}
}

static void list_factors(const struct backend_state *state, struct segments *segments)
{
	const uint32_t stride = (uint32_t)state->sides[SIDE_USER].factors.stride;
	struct segment segment;
	memset(&segment, 0, sizeof segment);
	segment.part = DENSE_WEIGHTS;
	segment.partials = state->weight_partials;
	segment.count = state->factor_blocks;
	segment.stride = stride + 4;
	segment.rows = 1;
	segment.columns = state->factor_weight.columns;
	segment.at = state->factor_weight.at;
	add_segment(segments, segment);
	if (state->factor_bias.rows == 0)
		return;
	segment.partials += stride;
	segment.columns = 1;
	segment.at = state->factor_bias.at;
	segment.stands = state->options.loss != LOSS_BINARY;
	add_segment(segments, segment);
}

/* ---- training ---- */

static int init_batches(struct backend_state *state, struct error *error)
{
	struct device *device = &state->device;
	for (int b = 0; b < 2; b++) {
		struct batch *batch = &state->batches[b];
		batch->users = (uint32_t *)device_alloc(device, state->groups_max, sizeof(uint32_t), "a batch", error);
		batch->items = (uint32_t *)device_alloc(device, state->samples_max, sizeof(uint32_t), "a batch", error);
		batch->weights = device_floats(&state->device, state->samples_max, "a batch", error);
		batch->missing = (uint32_t *)device_alloc(device, 1, sizeof(uint32_t), "a batch", error);
		if (!batch->users || !batch->items || !batch->weights || !batch->missing)
			return -1;
	}
	return cuda_index_init(state, error);
}

/* A table's worth of zeros, for dense Adam. */
static int init_gradients(struct backend_state *state, const struct table *table, float **gradients, struct error *error)
{
	const size_t size = (size_t)table->rows * table->stride;
	if (!state->options.optimizer.dense_adam)
		return 0;
	*gradients = device_floats(&state->device, size, "the gradient of a table", error);
	if (*gradients)
		device_zero(&state->device, STREAM_WORK, *gradients, size * sizeof(float));
	return *gradients ? 0 : -1;
}

static int init_tower(struct backend_state *state, struct error *error)
{
	const struct tower *tower = &state->tower;
	const enum precision kind = state->options.precision;
	if (cuda_plan_tower(state, true, error) < 0)
		return -1;
	state->row_tiles = cuda_row_tiles_fit(state);
	for (int s = 0; s < SIDES; s++) {
		struct side *side = &state->sides[s];
		const uint32_t columns = side->embeddings.columns;
		const size_t weights = (size_t)layer_pitch(kind, columns, tower->width) * tower->width;
		const size_t gradient = layer_gradient_floats(kind, columns, tower->width);
		const enum side_name which = (enum side_name)s;
		int status;
		if (state->row_tiles)
			status = cuda_plan_row_tiles(state, which, error);
		else if (cuda_rows_go_wide(state, which, true))
			status = cuda_plan_wide_rows(state, which, true, error);
		else
			status = cuda_plan(state, &side->back, (size_t)columns + tower->width, gradient, weights, side->rows_max, 1, error);
		if (status < 0 || init_gradients(state, &side->embeddings, &side->gradients, error) < 0)
			return -1;
		side->parts = device_floats(&state->device, (size_t)side->rows_max * tower->width, "a batch's halves of the first layer", error);
		if (!side->parts)
			return -1;
	}
	state->z1_gradients = device_floats(&state->device, (size_t)state->samples_max * tower->width, "the gradients of a batch", error);
	list_tower(state, &state->segments);
	if (state->z1_gradients)
		cuda_plain_warm(state);
	return state->z1_gradients ? 0 : -1;
}

static int init_factors(struct backend_state *state, struct error *error)
{
	for (int s = 0; s < SIDES; s++) {
		struct side *side = &state->sides[s];
		if (init_gradients(state, &side->factors, &side->factor_gradients, error) < 0)
			return -1;
	}
	const struct side *users = &state->sides[SIDE_USER];
	const uint64_t quads = users->rows_max * (uint64_t)users->factors.stride / 4;
	state->factor_blocks = blocks_for(quads, 256, state->factor_weight.rows > 0 ? GRID_MAX : GRID_WIDE);
	if (state->factor_weight.rows == 0)
		return 0;
	state->weight_partials = device_floats(&state->device, state->factor_blocks * (users->factors.stride + 4),
	                                       "the gradient of the weights", error);
	list_factors(state, &state->segments);
	return state->weight_partials ? 0 : -1;
}

/* Where the gradients of a side's rows are summed, in rows of `columns`. */
static int init_sums(struct backend_state *state, const struct side *side, size_t columns, float **sums, float **cuts,
                     struct error *error)
{
	static const char what[] = "the gradients of rows";
	const size_t chunks = ((size_t)side->uses_max >> cuda_segment_shift(side->uses_max)) + 1;
	if (columns == 0)
		return 0;
	*sums = device_floats(&state->device, side->rows_max * columns, what, error);
	*cuts = *sums ? device_floats(&state->device, chunks * 2 * columns, what, error) : NULL;
	return *cuts ? 0 : -1;
}

int cuda_init_training(struct backend_state *state, struct error *error)
{
	if (state->options.loss == LOSS_CATALOGUE)
		return cuda_catalogue_init(state, error);
	state->groups_max = (state->options.batch_groups - 1) / state->ranks + 1;
	state->samples_max = state->groups_max * state->group;
	if (init_batches(state, error) < 0 || (state->has_tower && init_tower(state, error) < 0) ||
	    (state->has_factors && init_factors(state, error) < 0))
		return -1;
	const size_t factors = state->has_factors ? state->sides[SIDE_USER].factors.stride : 0;
	for (int s = 0; s < SIDES; s++) {
		struct side *side = &state->sides[s];
		if (init_sums(state, side, state->tower.width, &side->sums, &side->cuts, error) < 0 ||
		    init_sums(state, side, factors, &side->factor_sums, &side->factor_cuts, error) < 0)
			return -1;
	}
	state->logits = device_floats(&state->device, state->samples_max, "the logits of a batch", error);
	state->loss_blocks = state->has_tower ? state->through.blocks : blocks_for(state->groups_max, 256, GRID_MAX);
	if (state->plain.chosen)
		state->loss_blocks = state->plain.blocks;
	state->losses = (double *)device_alloc(&state->device, state->loss_blocks, sizeof(double), "the loss", error);
	state->loss_sum = (double *)device_alloc(&state->device, 1, sizeof(double), "the loss", error);
	state->missing_sum = (uint64_t *)device_alloc(&state->device, 1, sizeof(uint64_t), "the loss", error);
	return state->logits && state->losses && state->loss_sum && state->missing_sum ? 0 : -1;
}
