/* One batch of training on the CPU, in four steps, each cut into shards:
 *   project  gather the distinct rows, multiply them by their half of the first layer;
 *   tower    blocks of samples forward and back; meanwhile the next batch is drawn;
 *   rows     sum z1 gradients per row, back through the half, Adam on the row; meanwhile the next batch is
 *            indexed;
 *   dense    sum the shards' gradients of dense layers in order, Adam, prepare the weights for the products. */
#include "cpu_state.h"

#include <math.h>

#include "maths.h"

struct step {
	struct backend_state *state;
	const struct train_span *span;
	struct batch *batch, *next;  /* next is NULL at the end of the span */
	size_t side_chunks[SIDES];   /* project: tasks of each side */
	size_t extra;                /* tasks that prepare the next batch, behind the others, which take longer */
};

enum { CHUNKS_A_SHARD = 4, ROWS_AHEAD = 4, EXPECTED_BYTES = 200000 };

static size_t chunks_of(size_t count)
{
	return (count + BLOCK_ROWS - 1) / BLOCK_ROWS;
}

/* Shards for `chunks` pieces of work. Every shard's gradient is summed by the last step, so small batches
 * get few; an even number, so that two threads share alike. */
static size_t shards_of(size_t chunks)
{
	size_t shards = (chunks / CHUNKS_A_SHARD + 1) / 2 * 2;
	if (shards < 2)
		shards = chunks < 2 ? chunks : 2;
	return shards < GRADIENT_SHARDS ? shards : GRADIENT_SHARDS;
}

enum first_table { WITH_VALUES, MOMENTS_ALONE };

/* Asks for a row of a table and of its moments, or of these alone: into the second-level cache, long before they are
 * needed. */
static void expect_row(const struct backend_state *state, size_t matrix, size_t row, enum first_table first)
{
	const struct matrix *tables[] = {&state->values.matrices[matrix], &state->moment1.matrices[matrix],
	                                 &state->moment2.matrices[matrix]};
	for (size_t t = first; t < COUNT_OF(tables); t++)
		for (size_t n = 0; n < tables[t]->stride; n += MODEL_LANES)
			__builtin_prefetch(tables[t]->values + row * tables[t]->stride + n, 0, 2);
}

/* When the moments of all of the batch's rows fit into that cache. */
static void expect_moments(const struct backend_state *state, const struct side *side, const struct side_index *index,
                           size_t first, size_t count)
{
	if (index->count * side->half.inputs_padded * sizeof(float) > EXPECTED_BYTES)
		return;
	for (size_t r = first; r < first + count; r++)
		expect_row(state, side->matrix, index->rows[r], MOMENTS_ALONE);
}

static void project_rows(void *context, size_t shard, size_t worker)
{
	struct step *step = context;
	struct backend_state *state = step->state;
	enum side_name which = shard < step->side_chunks[SIDE_USER] ? SIDE_USER : SIDE_ITEM;
	size_t chunk = which == SIDE_USER ? shard : shard - step->side_chunks[SIDE_USER];
	struct side *side = &state->sides[which];
	const struct side_index *index = &step->batch->sides[which];
	const size_t first = chunk * BLOCK_ROWS, stride = side->half.inputs_padded;
	const size_t count = index->count - first < BLOCK_ROWS ? index->count - first : BLOCK_ROWS;
	if (state->has_factors)
		cpu_factors_gather(state, which, index, first, count);
	if (!state->has_tower)
		return;
	float *rows = state->workers[worker].rows;
	state->kernels->gather(state->values.matrices[side->matrix].values, stride, index->rows + first, count,
	                       index->count - first, rows);
	expect_moments(state, side, index, first, count);
	state->towers->project(rows, stride, count, &side->half, side->parts + first * state->tower.padded,
	                       state->tower.padded, state->workers[worker].scratch);
}

/* Forward, loss and backward of samples [first, first + count) of the batch; returns the sum of the losses. */
static double train_one_block(struct backend_state *state, const struct batch *batch, size_t first, size_t count,
                              struct worker *worker, float *gradient)
{
	float *logits = state->logits + first, z[LOSS_ROWS + MODEL_LANES];
	const struct loss_rows rows = {
		.position = first, .count = count, .group = 1 + (size_t)state->options.ratio,
		.weights = batch->missing ? batch->weights + first : NULL,
		.scale = 1.0f / (float)(batch->samples - batch->missing),
	};
	const struct train_block train = {
		.block = {
			.user_part = state->sides[SIDE_USER].parts,
			.item_part = state->sides[SIDE_ITEM].parts,
			.user_slots = batch->sides[SIDE_USER].slots + first / state->piece,
			.piece = state->piece,
			.item_slots = batch->sides[SIDE_ITEM].slots + first,
			.count = count,
			.known = batch->samples - first,
			.scratch = worker->scratch,
		},
		.place = (state->step << 24) + first,
		.z1_gradient = state->z1_gradients + first * state->tower.padded,
		.piece_gradient = state->piece_gradients + first / state->piece * state->tower.padded,
		.gradient = gradient,
		.lanes = worker->lanes,
	};
	memset(logits, 0, count * sizeof *logits);
	if (state->has_factors)
		cpu_factors_forward(state, batch, first, count);
	if (state->has_tower)
		state->towers->train_forward(&state->tower, &train, logits);
	for (size_t s = 0; state->options.item_offsets && s < count; s++)
		logits[s] -= state->options.item_offsets[batch->items[first + s]];
	memcpy(z, logits, count * sizeof *z);
	const double loss = state->losses->apply(state->options.loss, &rows, z);
	memcpy(logits, z, count * sizeof *z);
	if (state->has_tower)
		state->towers->train_backward(&state->tower, &train, logits);
	if (state->has_factors)
		cpu_factors_backward(state, batch, first, count, gradient);
	return loss;
}

static size_t blocks_of(const struct backend_state *state, const struct batch *batch)
{
	return (batch->samples + state->block_samples - 1) / state->block_samples;
}

/* A loss of differences does not depend on what is added to every logit: its gradient is nothing but rounding,
 * which Adam would blow up to whole steps. */
static void leave_output_bias(const struct backend_state *state, float *gradient)
{
	if (state->has_tower)
		gradient[state->tower.layers[state->tower.layer_count - 1].bias_at] = 0.0f;
	if (state->factors.bias)
		gradient[state->factors.bias_at] = 0.0f;
}

static void train_blocks(struct backend_state *state, const struct batch *batch, size_t shard, struct worker *worker)
{
	float *gradient = state->shard_gradients + shard * state->dense_size;
	const size_t blocks = blocks_of(state, batch), shards = state->region_shards[REGION_TOWER];
	const size_t most = state->block_samples;
	double loss = 0.0;
	memset(gradient + state->blocks_at, 0, (state->dense_size - state->blocks_at) * sizeof(float));
	memset(worker->lanes, 0, state->tower.lanes_floats * sizeof(float));
	for (size_t b = shard_begin(blocks, shards, shard); b < shard_begin(blocks, shards, shard + 1); b++) {
		const size_t first = b * most, left = batch->samples - first;
		loss += train_one_block(state, batch, first, left < most ? left : most, worker, gradient);
	}
	if (state->has_tower)
		state->towers->sum_lanes(&state->tower, worker->lanes, gradient);
	if (state->options.loss != LOSS_BINARY)
		leave_output_bias(state, gradient);
	state->shard_losses[shard] = loss;
}

static void tower_step(void *context, size_t shard, size_t worker)
{
	struct step *step = context;
	const size_t shards = step->state->region_shards[REGION_TOWER];
	if (shard >= shards)
		cpu_batch_draw(step->next, step->span, step->state->options.ratio, shard - shards);
	else
		train_blocks(step->state, step->batch, shard, &step->state->workers[worker]);
}

/* Gradients of z1, summed over the uses of rows [first, first + count) of the side's index. Meanwhile what belongs to
 * the rows behind them is asked for. */
static void sum_uses(struct backend_state *state, enum side_name which, const struct side_index *index, size_t first,
                     size_t count, float *sums)
{
	const size_t padded = state->tower.padded, all = index->starts[index->count];
	const float *rows = which == SIDE_USER ? state->piece_gradients : state->z1_gradients;
	for (size_t r = 0; r < count; r++) {
		const size_t at = index->starts[first + r];
		if (first + r + BLOCK_ROWS < index->count)
			expect_row(state, state->sides[which].matrix, index->rows[first + r + BLOCK_ROWS], WITH_VALUES);
		state->kernels->sum_rows(rows, padded, index->uses + at, index->starts[first + r + 1] - at, all - at,
		                         sums + r * padded);
	}
}

void cpu_read_ahead(const struct backend_state *state, size_t matrix, size_t row)
{
	const struct matrix *tables[] = {&state->values.matrices[matrix], &state->moment1.matrices[matrix],
	                                 &state->moment2.matrices[matrix]};
	for (size_t t = 0; t < COUNT_OF(tables); t++)
		for (size_t n = 0; n < tables[t]->stride; n += MODEL_LANES)
			__builtin_prefetch(tables[t]->values + row * tables[t]->stride + n, 1);
}

/* Adam on rows of an embedding table, from the gradients [count][stride]. */
static void step_embeddings(struct backend_state *state, const struct side *side, const uint32_t *ids, size_t count,
                            const float *gradients)
{
	const size_t stride = side->half.inputs_padded;
	float *tables[] = {state->values.matrices[side->matrix].values, state->moment1.matrices[side->matrix].values,
	                   state->moment2.matrices[side->matrix].values};
	for (size_t r = 0; r < count; r++) {
		const size_t at = ids[r] * stride;
		if (r + ROWS_AHEAD < count)
			cpu_read_ahead(state, side->matrix, ids[r + ROWS_AHEAD]);
		if (side->gradients)
			memcpy(side->gradients + at, gradients + r * stride, stride * sizeof(float));
		else
			state->kernels->adam(tables[0] + at, tables[1] + at, tables[2] + at, gradients + r * stride, stride,
			                     &state->adam);
	}
}

/* Rows [first, first + count) of the side's index: summed gradients, back through the half, Adam. */
static void step_rows(struct backend_state *state, enum side_name which, const struct side_index *index, size_t first,
                      size_t count, struct worker *worker, float *gradient)
{
	const struct side *side = &state->sides[which];
	const size_t padded = state->tower.padded, stride = side->half.inputs_padded;
	sum_uses(state, which, index, first, count, worker->parts);
	state->kernels->gather(state->values.matrices[side->matrix].values, stride, index->rows + first, count, count,
	                       worker->rows);
	for (size_t r = 0; r < count && which == SIDE_USER; r++)
		state->kernels->add(gradient + state->first_bias_at, worker->parts + r * padded, padded);
	state->towers->project_back(worker->parts, padded, worker->rows, stride, count, &side->half, worker->inputs,
	                            gradient, worker->scratch);
	step_embeddings(state, side, index->rows + first, count, worker->inputs);
}

static void row_step(void *context, size_t shard, size_t worker)
{
	struct step *step = context;
	struct backend_state *state = step->state;
	const enum side_name which = shard < state->region_shards[SIDE_ITEM] ? SIDE_ITEM : SIDE_USER;
	if (which == SIDE_USER)
		shard -= state->region_shards[SIDE_ITEM];
	if (shard >= state->region_shards[which]) {
		cpu_batch_index(state, step->next, shard == state->region_shards[which] ? SIDE_ITEM : SIDE_USER);
		return;
	}
	const struct side *side = &state->sides[which];
	const struct side_index *index = &step->batch->sides[which];
	float *gradient = state->shard_gradients + shard * state->dense_size;
	const size_t chunks = chunks_of(index->count), shards = state->region_shards[which];
	memset(gradient + side->half.weight_at, 0,
	       side->half.outputs * side->half.inputs_padded * sizeof(float));
	if (which == SIDE_USER)
		memset(gradient + state->first_bias_at, 0, state->tower.padded * sizeof(float));
	for (size_t c = shard_begin(chunks, shards, shard); c < shard_begin(chunks, shards, shard + 1); c++) {
		const size_t first = c * BLOCK_ROWS, left = index->count - first;
		const size_t count = left < BLOCK_ROWS ? left : BLOCK_ROWS;
		if (state->has_tower)
			step_rows(state, which, index, first, count, &state->workers[worker], gradient);
		if (state->has_factors)
			cpu_factors_step(state, which, step->batch, first, count, &state->workers[worker]);
	}
}

static void dense_step(void *context, size_t shard, size_t worker)
{
	struct step *step = context;
	struct backend_state *state = step->state;
	const struct dense_slice *slice = &state->slices[shard];
	float *sum = state->shard_gradients + slice->at;
	(void)worker;
	for (size_t s = 1; s < state->region_shards[slice->region]; s++)
		state->kernels->add(sum, state->shard_gradients + s * state->dense_size + slice->at, slice->count);
	struct adam_step adam = state->adam;
	if (!slice->layer)
		adam.decay = 1.0f; /* biases are not decayed */
	state->kernels->adam(state->dense + slice->at, state->dense_moment1 + slice->at,
	                     state->dense_moment2 + slice->at, sum, slice->count, &adam);
	if (slice->layer && slice->layer->prepared)
		cpu_dense_prepare_rows(state, slice->layer, slice->first_row, slice->count / slice->layer->inputs_padded);
}

enum { DENSE_ROWS_A_TASK = 1024 };

/* Dense Adam: every row of a table, touched or not; touched gradients are cleared behind it. */
static void step_table(struct backend_state *state, size_t matrix, float *gradients, size_t first, size_t fixed)
{
	const struct matrix *table = &state->values.matrices[matrix];
	const size_t rows = table->rows - first < DENSE_ROWS_A_TASK ? table->rows - first : DENSE_ROWS_A_TASK;
	const size_t at = first * table->stride, count = rows * table->stride;
	state->kernels->adam(table->values + at, state->moment1.matrices[matrix].values + at,
	                     state->moment2.matrices[matrix].values + at, gradients + at, count, &state->adam);
	memset(gradients + at, 0, count * sizeof(float));
	for (size_t r = 0; r < rows && fixed < table->columns; r++)
		table->values[at + r * table->stride + fixed] = 1.0f;
}

static void table_step(void *context, size_t shard, size_t worker)
{
	struct step *step = context;
	struct backend_state *state = step->state;
	(void)worker;
	const size_t user_tasks = (state->shape.users + DENSE_ROWS_A_TASK - 1) / DENSE_ROWS_A_TASK;
	const enum side_name which = shard < user_tasks ? SIDE_USER : SIDE_ITEM;
	const struct side *side = &state->sides[which];
	const size_t first = (shard < user_tasks ? shard : shard - user_tasks) * DENSE_ROWS_A_TASK;
	if (state->has_tower)
		step_table(state, side->matrix, side->gradients, first, SIZE_MAX);
	if (state->has_factors)
		step_table(state, (size_t)side->factors, side->factor_gradients, first, state->factors.fixed[which]);
}

void cpu_set_adam(struct backend_state *state, double rate)
{
	const struct optimizer_options *o = &state->options.optimizer;
	const double t = (double)state->step;
	state->adam = (struct adam_step){
		.rate = (float)(rate / (1.0 - maths_pow(o->beta1, t))),
		.decay = (float)(1.0 - rate * o->weight_decay),
		.beta1 = (float)o->beta1, .one_minus_beta1 = (float)(1.0 - o->beta1),
		.beta2 = (float)o->beta2, .one_minus_beta2 = (float)(1.0 - o->beta2),
		.scale2 = (float)(1.0 / sqrt(1.0 - maths_pow(o->beta2, t))),
		.epsilon = (float)o->epsilon,
	};
}

static void train_batch(struct step *step, double rate, struct train_result *result)
{
	struct backend_state *state = step->state;
	const struct batch *batch = step->batch;
	const bool in_line = batch->samples < INLINE_SAMPLES;
	state->step++;
	cpu_set_adam(state, rate);
	state->region_shards[REGION_TOWER] = shards_of(blocks_of(state, batch));
	for (int s = 0; s < SIDES; s++) {
		step->side_chunks[s] = chunks_of(batch->sides[s].count);
		state->region_shards[s] = shards_of(step->side_chunks[s]);
	}
	cpu_run(state, in_line, step->side_chunks[SIDE_USER] + step->side_chunks[SIDE_ITEM], project_rows, step);
	step->extra = step->next ? cpu_batch_pieces(step->next) : 0;
	cpu_run(state, in_line, step->extra + state->region_shards[REGION_TOWER], tower_step, step);
	for (size_t s = 0; s < state->region_shards[REGION_TOWER]; s++)
		result->loss_sum += state->shard_losses[s];
	step->extra = step->next ? SIDES : 0;
	cpu_run(state, in_line, step->extra + state->region_shards[SIDE_USER] + state->region_shards[SIDE_ITEM],
	        row_step, step);
	cpu_run(state, in_line, state->slice_count, dense_step, step);
	if (state->options.optimizer.dense_adam) {
		size_t tasks = (state->shape.users + DENSE_ROWS_A_TASK - 1) / DENSE_ROWS_A_TASK +
		               (state->shape.items + DENSE_ROWS_A_TASK - 1) / DENSE_ROWS_A_TASK;
		cpu_run(state, in_line, tasks, table_step, step);
	}
	result->samples += batch->samples - batch->missing;
	result->missing += batch->missing;
}

int cpu_train(struct backend_state *state, const struct train_span *span, struct train_result *result,
              struct error *error)
{
	const uint64_t size = state->options.batch_groups;
	*result = (struct train_result){0};
	if (size == 0)
		return error_set(error, CODE_BUG, "this backend was opened for scoring only");
	if (state->options.loss == LOSS_SQUARES)
		return cpu_ials_train(state, span, result, error);
	if (state->options.loss == LOSS_CATALOGUE)
		return cpu_catalogue_train(state, span, result, error);
	if (span->begin >= span->end)
		return 0;
	struct batch *batch = &state->batches[0], *next = &state->batches[1];
	const uint64_t first_end = span->end - span->begin < size ? span->end : span->begin + size;
	cpu_batch_place(state, batch, span->begin, first_end);
	for (size_t p = 0; p < cpu_batch_pieces(batch); p++)
		cpu_batch_draw(batch, span, state->options.ratio, p);
	cpu_batch_index(state, batch, SIDE_USER);
	cpu_batch_index(state, batch, SIDE_ITEM);
	state->items_current = false;
	for (uint64_t b = 0;; b++) {
		const bool more = batch->end < span->end;
		if (more)
			cpu_batch_place(state, next, batch->end,
			                span->end - batch->end < size ? span->end : batch->end + size);
		struct step step = {.state = state, .span = span, .batch = batch, .next = more ? next : NULL};
		train_batch(&step, span->rates[b], result);
		if (!more)
			return 0;
		struct batch *swap = batch;
		batch = next;
		next = swap;
	}
}
