/* The CPU backend: opening, the layout of dense layers, and moving state in and out. Training is in
 * cpu_train.c, scoring in cpu_score.c; cpu_state.h tells how the work is cut. */
#include "cpu_state.h"

#include "mem.h"
#include "subnormal.h"

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
		cpu_dense_move(state, UNPACK, blocks[i], targets[i]);
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
		cpu_dense_move(state, PACK, blocks[i], sources[i]);
	}
	cpu_dense_prepare(state);
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
	const struct dense_layer *halves[SIDES] = {&state->sides[SIDE_USER].half, &state->sides[SIDE_ITEM].half};
	const size_t further = state->has_tower && state->towers->further_floats
	                       ? state->towers->further_floats(&state->tower, halves) : 0;
	state->worker_count = pool_threads(state->pool);
	state->workers = mem_alloc_zero(state->worker_count, sizeof *state->workers, error);
	if (!state->workers)
		return -1;
	for (size_t w = 0; w < state->worker_count; w++) {
		struct worker *worker = &state->workers[w];
		worker->scratch = mem_alloc_zero(state->tower.scratch_floats + further, sizeof(float), error);
		worker->lanes = mem_alloc_zero(state->tower.lanes_floats, sizeof(float), error);
		worker->parts = mem_alloc_zero(BLOCK_ROWS * state->tower.padded, sizeof(float), error);
		worker->rows = mem_alloc_zero(BLOCK_ROWS * widest, sizeof(float), error);
		worker->inputs = mem_alloc_zero(BLOCK_ROWS * widest, sizeof(float), error);
		worker->factor_rows = mem_alloc_zero(BLOCK_ROWS * part->stride, sizeof(float), error);
		worker->columns = mem_alloc_zero(BLOCK_ROWS * part->columns, sizeof(float), error);
		worker->dots = mem_alloc_zero((size_t)BLOCK_ROWS * FACTOR_COLUMNS_MAX, sizeof(float), error);
		if (!worker->scratch || !worker->lanes || !worker->parts || !worker->rows || !worker->inputs ||
		    !worker->factor_rows || !worker->columns || !worker->dots)
			return -1;
	}
	return 0;
}

static int init_side(struct backend_state *state, enum side_name which, size_t ids, struct error *error)
{
	struct side *side = &state->sides[which];
	const size_t most = (state->batch_samples < ids ? state->batch_samples : ids) + BLOCK_ROWS;
	side->slot_of = mem_alloc_zero(ids, sizeof *side->slot_of, error);
	side->parts = mem_alloc_zero(most * state->tower.padded, sizeof(float), error);
	if (!side->slot_of || !side->parts)
		return -1;
	if (state->has_factors && cpu_factors_init_training(state, which, most, error) < 0)
		return -1;
	if (!state->options.optimizer.dense_adam || !state->has_tower)
		return 0;
	side->gradients = mem_alloc_zero(ids * side->half.inputs_padded, sizeof(float), error);
	return side->gradients ? 0 : -1;
}

/* How many samples pass through the model together: whole groups, but for a tower's cross-entropy of single samples
 * in groups that are too large. */
static int choose_block(struct backend_state *state, size_t group, struct error *error)
{
	const bool large = group > TRAIN_ROWS;
	if (large && state->has_tower && state->options.loss != LOSS_BINARY)
		return error_set(error, CODE_USAGE, "a tower takes at most %d negatives a positive with this loss", TRAIN_ROWS - 1);
	const bool whole = !large || !state->has_tower;
	state->block_samples = !large ? TRAIN_ROWS / group * group : whole ? group : TRAIN_ROWS;
	state->piece = whole ? group : 1;
	return 0;
}

/* Buffers that only training needs. */
static int init_training(struct backend_state *state, struct error *error)
{
	const size_t group = 1 + (size_t)state->options.ratio, padded = state->tower.padded;
	state->batch_samples = state->options.batch_groups * group;
	if (parameters_init(&state->moment1, &state->shape, error) < 0 ||
	    parameters_init(&state->moment2, &state->shape, error) < 0)
		return -1;
	state->dense_moment1 = mem_alloc_zero(state->dense_size, sizeof(float), error);
	state->dense_moment2 = mem_alloc_zero(state->dense_size, sizeof(float), error);
	if (state->options.loss == LOSS_SQUARES)
		return cpu_ials_init(state, error);
	if (state->options.loss == LOSS_CATALOGUE)
		return state->dense_moment1 && state->dense_moment2 ? cpu_catalogue_init(state, error) : -1;
	if (choose_block(state, group, error) < 0)
		return -1;
	state->shard_gradients = mem_alloc_zero(GRADIENT_SHARDS * state->dense_size, sizeof(float), error);
	state->shard_losses = mem_alloc_zero(GRADIENT_SHARDS, sizeof(double), error);
	state->z1_gradients = mem_alloc_zero(state->batch_samples * padded, sizeof(float), error);
	state->piece_gradients = state->piece == 1 ? state->z1_gradients
	                         : mem_alloc_zero(state->batch_samples / state->piece * padded, sizeof(float), error);
	state->logits = mem_alloc_zero(state->batch_samples + MODEL_LANES, sizeof(float), error);
	if (!state->dense_moment1 || !state->dense_moment2 || !state->shard_gradients || !state->shard_losses ||
	    !state->z1_gradients || !state->piece_gradients || !state->logits)
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
		mem_free(state->workers[w].lanes);
		mem_free(state->workers[w].parts);
		mem_free(state->workers[w].rows);
		mem_free(state->workers[w].inputs);
		mem_free(state->workers[w].factor_rows);
		mem_free(state->workers[w].columns);
		mem_free(state->workers[w].dots);
	}
	cpu_factors_release(state);
	cpu_catalogue_release(state);
	ials_close(state->ials);
	for (int s = 0; s < SIDES; s++) {
		mem_free(state->sides[s].slot_of);
		mem_free(state->sides[s].parts);
		mem_free(state->sides[s].gradients);
	}
	parameters_release(&state->values);
	parameters_release(&state->moment1);
	parameters_release(&state->moment2);
	if (state->piece_gradients != state->z1_gradients)
		mem_free(state->piece_gradients);
	float *blocks[] = {state->dense, state->dense_moment1, state->dense_moment2, state->prepared,
	                   state->shard_gradients, state->z1_gradients, state->logits, state->item_parts,
	                   state->item_blocks};
	for (size_t i = 0; i < COUNT_OF(blocks); i++)
		mem_free(blocks[i]);
	mem_free(state->shard_losses);
	mem_free(state->workers);
	pool_free(state->pool);
	mem_free(state);
}

static int check_shape(const struct model_shape *shape, const struct backend_options *options, struct error *error)
{
	const bool by_users = options->loss == LOSS_CATALOGUE && options->batch_groups > 0;
	const bool by_sweeps = options->loss == LOSS_SQUARES && options->batch_groups > 0;
	if (model_has_tower(shape) && shape->layer_count < 2)
		return error_set(error, CODE_USAGE, "the tower needs a hidden layer at least");
	if (options->precision == PRECISION_TF32)
		return error_set(error, CODE_USAGE, "products of tf32 are for tensor cores: --device cuda has them, the CPU fp32 and "
		                 "bf16");
	if (options->precision == PRECISION_BF16 && !model_has_tower(shape))
		return error_set(error, CODE_USAGE, "a %s has no tower: bf16 is for the products of one",
		                 model_kind_names[shape->kind]);
	if (by_users && shape->kind != MODEL_MF && shape->kind != MODEL_HISTORY)
		return error_set(error, CODE_USAGE, "a %s is not trained against the whole catalogue, only mf and history are",
		                 model_kind_names[shape->kind]);
	if (shape->kind == MODEL_HISTORY && options->batch_groups > 0 && !by_users)
		return error_set(error, CODE_USAGE, "a history model is trained against the whole catalogue alone");
	if (options->batch_groups > 0 && by_sweeps != (shape->kind == MODEL_IALS))
		return error_set(error, CODE_USAGE, "ials and no other kind of model is trained by sweeps of least squares");
	if ((shape->kind == MODEL_HISTORY || by_users || by_sweeps) && !options->histories)
		return error_set(error, CODE_USAGE, "the users' histories are needed (interactions, not samples of them)");
	if (shape->features > 0 && (!options->features || options->features->items < shape->items ||
	                            options->features->count != shape->features))
		return error_set(error, CODE_USAGE, "the features of the model's items are needed");
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
	if (isa_find(options->isa, &isa, error) < 0 || check_shape(shape, options, error) < 0)
		goto fail;
	state->kernels = kernels_of(isa);
	state->towers = options->precision == PRECISION_BF16
	                ? bf16_kernels_of(isa, isa == ISA_AVX512 && !isa_is_forced(options->isa) && amx_usable())
	                : tower_kernels_of(isa);
	state->losses = loss_kernels_of(isa);
	state->factor_kernels = factor_kernels_of(isa);
	state->catalogue_kernels = catalogue_kernels_of(isa);
	const unsigned before = subnormal_flush(); /* the pool's threads inherit it */
	state->pool = pool_new(options->threads, error);
	subnormal_restore(before);
	if (!state->pool || parameters_init(&state->values, shape, error) < 0 || cpu_dense_init(state, error) < 0 ||
	    init_workers(state, error) < 0)
		goto fail;
	if (options->batch_groups > 0 && init_training(state, error) < 0)
		goto fail;
	if (cpu_put(state, parameters, NULL, NULL, 0, error) < 0)
		goto fail;
	snprintf(state->description, sizeof state->description, "cpu, %s, %zu thread%s", state->has_tower ? state->towers->name : state->kernels->name,
	         state->worker_count, state->worker_count == 1 ? "" : "s");
	return state;
fail:
	cpu_close(state);
	return NULL;
}

static int train(struct backend_state *state, const struct train_span *span, struct train_result *result,
                 struct error *error)
{
	const unsigned before = subnormal_flush();
	const int status = cpu_train(state, span, result, error);
	subnormal_restore(before);
	return status;
}

static int score_lists(struct backend_state *state, const struct score_lists *lists, struct error *error)
{
	const unsigned before = subnormal_flush();
	const int status = cpu_score_lists(state, lists, error);
	subnormal_restore(before);
	return status;
}

static int score_top(struct backend_state *state, const struct score_top *request, struct error *error)
{
	const unsigned before = subnormal_flush();
	const int status = cpu_score_top(state, request, error);
	subnormal_restore(before);
	return status;
}

static int cpu_probe(const int *devices, size_t count, struct error *error)
{
	(void)devices;
	(void)count;
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
	.train = train,
	.score_lists = score_lists,
	.score_top = score_top,
	.get = cpu_get,
	.put = cpu_put,
	.close = cpu_close,
	.describe = cpu_describe,
};
