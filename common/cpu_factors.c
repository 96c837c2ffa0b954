/* The product of factors on the CPU: a part of the model's logit beside the tower, or all of it. Rows are gathered
 * once a batch, so that both sides step from the values that the logits were made of. */
#include "cpu_state.h"

#include <math.h>

#include "mem.h"

size_t cpu_factors_shape(struct backend_state *state, size_t at)
{
	struct factor_part *part = &state->factors;
	const struct model_shape *shape = &state->shape;
	part->columns = model_factor_columns(shape);
	part->stride = padded_to(part->columns, MODEL_LANES);
	part->fixed[SIDE_USER] = model_has_biases(shape) ? shape->factors + 1 : part->columns;
	part->fixed[SIDE_ITEM] = model_has_biases(shape) ? shape->factors : part->columns;
	part->has_weight = model_factor_matrix(shape, FACTOR_WEIGHT) != NO_MATRIX;
	if (!part->has_weight)
		return at;
	part->weight_at = at;
	part->bias_at = at + part->stride;
	return part->bias_at + (model_factor_matrix(shape, FACTOR_BIAS) != NO_MATRIX ? MODEL_LANES : 0);
}

int cpu_factors_init(struct backend_state *state, struct error *error)
{
	struct factor_part *part = &state->factors;
	state->sides[SIDE_USER].factors = model_factor_matrix(&state->shape, FACTOR_USERS);
	state->sides[SIDE_ITEM].factors = model_factor_matrix(&state->shape, FACTOR_ITEMS);
	if (part->has_weight) {
		part->weight = state->dense + part->weight_at;
		if (model_factor_matrix(&state->shape, FACTOR_BIAS) != NO_MATRIX)
			part->bias = state->dense + part->bias_at;
		return 0;
	}
	part->ones = mem_alloc_zero(part->stride, sizeof(float), error);
	if (!part->ones)
		return -1;
	for (size_t n = 0; n < part->columns; n++)
		part->ones[n] = 1.0f;
	part->weight = part->ones;
	return 0;
}

int cpu_factors_init_training(struct backend_state *state, enum side_name which, size_t rows, struct error *error)
{
	struct side *side = &state->sides[which];
	const struct matrix *table = &state->values.matrices[side->factors];
	side->factor_inputs = mem_alloc_zero(rows * state->factors.stride, sizeof(float), error);
	if (!side->factor_inputs)
		return -1;
	if (!state->options.optimizer.dense_adam)
		return 0;
	side->factor_gradients = mem_alloc_zero((size_t)table->rows * table->stride, sizeof(float), error);
	return side->factor_gradients ? 0 : -1;
}

void cpu_factors_release(struct backend_state *state)
{
	for (int s = 0; s < SIDES; s++) {
		mem_free(state->sides[s].factor_inputs);
		mem_free(state->sides[s].factor_gradients);
	}
	mem_free(state->factors.ones);
	if (state->factors.own_rows)
		mem_free(state->factors.item_rows);
	mem_free(state->factors.item_columns);
}

void cpu_factors_gather(struct backend_state *state, enum side_name which, const struct side_index *index,
                        size_t first, size_t count)
{
	const struct side *side = &state->sides[which];
	const struct matrix *table = &state->values.matrices[side->factors];
	state->kernels->gather(table->values, table->stride, index->rows + first, count, index->count - first,
	                       side->factor_inputs + first * table->stride);
}

static struct factor_rows batch_rows(const struct backend_state *state)
{
	const struct factor_part *part = &state->factors;
	return (struct factor_rows){
		.users = state->sides[SIDE_USER].factor_inputs, .items = state->sides[SIDE_ITEM].factor_inputs,
		.piece = state->piece, .stride = part->stride, .weight = part->weight, .bias = part->bias ? part->bias[0] : 0.0f,
	};
}

void cpu_factors_forward(struct backend_state *state, const struct batch *batch, size_t first, size_t count)
{
	const struct factor_rows rows = batch_rows(state);
	state->factor_kernels->logits(&rows, batch->sides[SIDE_USER].slots + first / state->piece,
	                              batch->sides[SIDE_ITEM].slots + first, count, state->logits + first);
}

void cpu_factors_backward(struct backend_state *state, const struct batch *batch, size_t first, size_t count,
                          float *gradient)
{
	const struct factor_part *part = &state->factors;
	const struct factor_rows rows = batch_rows(state);
	float bias = 0.0f;
	if (!part->has_weight)
		return;
	state->factor_kernels->weight_gradient(&rows, batch->sides[SIDE_USER].slots + first / state->piece,
	                                       batch->sides[SIDE_ITEM].slots + first, count, state->logits + first,
	                                       gradient + part->weight_at, &bias);
	if (part->bias)
		gradient[part->bias_at] += bias;
}

void cpu_factors_step(struct backend_state *state, enum side_name which, const struct batch *batch, size_t first,
                      size_t count, struct worker *worker)
{
	const struct factor_part *part = &state->factors;
	const enum side_name other = which == SIDE_USER ? SIDE_ITEM : SIDE_USER;
	const struct side *side = &state->sides[which];
	const struct side_index *index = &batch->sides[which];
	const struct matrix *table = &state->values.matrices[side->factors];
	const struct factor_rows rows = batch_rows(state);
	void (*row_gradient)(const struct factor_rows *, const float *, const uint32_t *, size_t, const uint32_t *, float *) =
		which == SIDE_USER ? state->factor_kernels->user_gradient : state->factor_kernels->item_gradient;
	for (size_t r = first; r < first + count; r++) {
		if (r + 1 < first + count && !side->factor_gradients)
			cpu_read_ahead(state, (size_t)side->factors, index->rows[r + 1]);
		const size_t at = (size_t)index->rows[r] * table->stride, fixed = part->fixed[which];
		float *gradient = side->factor_gradients ? side->factor_gradients + at : worker->factor_rows;
		row_gradient(&rows, state->logits, index->uses + index->starts[r],
		             index->starts[r + 1] - index->starts[r], batch->sides[other].slots, gradient);
		if (fixed < part->columns)
			gradient[fixed] = 0.0f;
		if (which == SIDE_USER && fixed < part->columns && state->options.loss != LOSS_BINARY)
			gradient[fixed - 1] = 0.0f; /* a user's bias: as leave_output_bias in cpu_train.c */
		if (side->factor_gradients)
			continue;
		state->kernels->adam(table->values + at, state->moment1.matrices[side->factors].values + at,
		                     state->moment2.matrices[side->factors].values + at, gradient, part->stride,
		                     &state->adam);
		if (fixed < part->columns)
			table->values[at + fixed] = 1.0f; /* not decayed */
	}
}

/* ---- scoring ---- */

void cpu_factors_refresh(struct backend_state *state, size_t first, size_t last)
{
	struct factor_part *part = &state->factors;
	const struct item_features *features = state->options.features;
	const struct matrix *table = &state->values.matrices[state->sides[SIDE_ITEM].factors];
	for (size_t n = first; n < last && part->own_rows; n++) {
		const struct matrix *of = &state->values.matrices[model_factor_matrix(&state->shape, FACTOR_FEATURES)];
		float *row = part->item_rows + n * part->stride;
		memcpy(row, table->values + n * part->stride, part->stride * sizeof *row);
		for (uint32_t f = features->offsets[n]; f < features->offsets[n + 1]; f++)
			state->kernels->add(row, of->values + features->features[f] * part->stride, part->stride);
	}
	state->catalogue_kernels->transpose(part->item_rows + first * part->stride, part->stride, last - first,
	                                    part->columns, part->item_columns + first, part->item_stride);
}

enum { REFRESH_ITEMS = 256 };

static void refresh_some(void *context, size_t task, size_t worker)
{
	struct backend_state *state = context;
	const size_t first = task * REFRESH_ITEMS, items = state->shape.items;
	(void)worker;
	cpu_factors_refresh(state, first, first + REFRESH_ITEMS < items ? first + REFRESH_ITEMS : items);
}

int cpu_factors_items(struct backend_state *state, struct error *error)
{
	struct factor_part *part = &state->factors;
	const struct matrix *table = &state->values.matrices[state->sides[SIDE_ITEM].factors];
	part->item_stride = padded_to(state->shape.items, MODEL_LANES);
	part->own_rows = state->shape.features > 0;
	if (!part->item_columns)
		part->item_columns = mem_alloc_zero(part->columns * part->item_stride, sizeof(float), error);
	if (!part->item_columns)
		return -1;
	if (!part->item_rows)
		part->item_rows = part->own_rows ? mem_alloc_zero((size_t)table->rows * part->stride, sizeof(float), error)
		                                 : table->values;
	if (!part->item_rows)
		return -1;
	pool_run(state->pool, (state->shape.items + REFRESH_ITEMS - 1) / REFRESH_ITEMS, refresh_some, state);
	return 0;
}

void cpu_factors_pool(const struct backend_state *state, const uint32_t *items, size_t count, float factor,
                      float *query)
{
	const struct matrix *table = &state->values.matrices[model_factor_matrix(&state->shape, FACTOR_HISTORY)];
	for (size_t i = 0; i < count; i++)
		state->catalogue_kernels->add_scaled(query, table->values + items[i] * table->stride, factor, table->stride);
}

/* A user's row, where there is one, and the mean of the history; of users with biases the columns (0, 1). */
static void history_query(const struct backend_state *state, uint32_t user, float *query)
{
	const struct interactions *histories = state->options.histories;
	const size_t stride = state->factors.stride, factors = state->shape.factors;
	const int own = state->sides[SIDE_USER].factors;
	size_t count = 0;
	const uint32_t *items = user < histories->users ? interactions_of(histories, user, &count) : NULL;
	memset(query, 0, stride * sizeof *query);
	if (own != NO_MATRIX && user < state->shape.users)
		memcpy(query, state->values.matrices[own].values + user * stride, stride * sizeof *query);
	if (count > 0)
		cpu_factors_pool(state, items, count, 1.0f / sqrtf((float)count), query);
	query[factors] = 0.0f;
	query[factors + 1] = 1.0f;
}

void cpu_factors_query(const struct backend_state *state, uint32_t user, float *query)
{
	const struct factor_part *part = &state->factors;
	if (state->shape.kind == MODEL_HISTORY) {
		history_query(state, user, query);
		return;
	}
	const struct matrix *table = &state->values.matrices[state->sides[SIDE_USER].factors];
	for (size_t n = 0; n < part->stride; n++)
		query[n] = table->values[user * table->stride + n] * part->weight[n];
}

void cpu_factors_score(const struct backend_state *state, struct worker *worker, const float *query,
                       const uint32_t *items, size_t count, float *scores)
{
	const struct factor_part *part = &state->factors;
	const size_t width = padded_to(count, MODEL_LANES);
	state->factor_kernels->gather_columns(part->item_rows, part->stride, items, count, part->columns, worker->columns,
	                                      BLOCK_ROWS);
	state->factor_kernels->dots(query, part->stride, part->columns, 1, worker->columns, BLOCK_ROWS, width,
	                            part->bias ? part->bias[0] : 0.0f, worker->dots, FACTOR_COLUMNS_MAX);
	memcpy(scores, worker->dots, count * sizeof *scores);
}
