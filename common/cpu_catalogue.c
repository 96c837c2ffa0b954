/* Training by users (LOSS_CATALOGUE): a batch is some users with all their items, each against the whole
 * catalogue. A step makes the users' vectors, their scores with every item, softmax, and goes back:
 *   prepare   which items of each history are put in and which are left out to be found again; the vectors
 *   scores    a chunk of items at a time
 *   softmax   a user at a time: losses, and scores become gradients
 *   items     a chunk at a time: what it says to the users' vectors, gradients of its rows, Adam
 *   users     sum of what the chunks say, in order; Adam on the users' own rows
 *   history   gradients of the rows that were put in, Adam
 *   features  gradients summed over the items that have the feature, Adam
 * Work is cut by users, items and features alone, so threads never change a bit. */
#include "cpu_state.h"

#include <math.h>

#include "mem.h"
#include "rng.h"

enum { CHUNK_ITEMS = 480, CHUNKS_MAX = 64, TASK_ROWS = 4, TASK_ITEMS = 64 };

struct catalogue_step {
	struct backend_state *state;
	const struct train_span *span;
	const uint32_t *users;
	size_t count;             /* users in the batch */
	float scale;              /* 1 / positives to be found in the batch */
};

static size_t round_up(size_t count, size_t multiple)
{
	return (count + multiple - 1) / multiple * multiple;
}

static bool has_history(const struct backend_state *state)
{
	return state->shape.kind == MODEL_HISTORY;
}

/* Items that nobody interacted with tell nothing of themselves: where features speak for them, they take no part, so
 * that they are not pushed down for it. */
static int find_cold_items(struct backend_state *state, struct error *error)
{
	struct catalogue *c = &state->catalogue;
	const struct interactions *histories = state->options.histories;
	if (state->shape.features == 0)
		return 0;
	c->cold = mem_alloc(state->shape.items, sizeof *c->cold, error);
	for (uint32_t n = 0; c->cold && n < state->shape.items; n++)
		if (n >= histories->items || histories->popularity[n] == 0)
			c->cold[c->cold_count++] = n;
	return c->cold ? 0 : -1;
}

int cpu_catalogue_init(struct backend_state *state, struct error *error)
{
	struct catalogue *c = &state->catalogue;
	const size_t stride = state->factors.stride, items = state->shape.items;
	c->users = state->options.batch_groups;
	c->rows = round_up(c->users, TILE_ROWS);
	c->items = round_up(items, BLOCK_ROWS);
	c->chunk = round_up((c->items + CHUNKS_MAX - 1) / CHUNKS_MAX, BLOCK_ROWS);
	if (c->chunk < CHUNK_ITEMS)
		c->chunk = CHUNK_ITEMS;
	c->chunks = (items + c->chunk - 1) / c->chunk;
	c->queries = mem_alloc_zero(c->rows * stride, sizeof(float), error);
	c->query_gradients = mem_alloc_zero(c->rows * stride, sizeof(float), error);
	c->partials = mem_alloc_zero(c->chunks * c->rows * stride, sizeof(float), error);
	c->scores = mem_alloc_zero(c->rows * c->items, sizeof(float), error);
	c->item_gradients = mem_alloc_zero(c->items * stride, sizeof(float), error);
	c->losses = mem_alloc_zero(c->users, sizeof *c->losses, error);
	c->starts = mem_alloc_zero(c->users + 1, sizeof *c->starts, error);
	c->norms = mem_alloc_zero(c->users, sizeof *c->norms, error);
	c->use_starts = mem_alloc_zero(items + 2, sizeof *c->use_starts, error);
	c->feature_gradients = mem_alloc_zero(state->shape.features * stride, sizeof(float), error);
	if (!c->queries || !c->query_gradients || !c->partials || !c->scores || !c->item_gradients || !c->losses ||
	    !c->starts || !c->norms || !c->use_starts || !c->feature_gradients)
		return -1;
	return find_cold_items(state, error);
}

void cpu_catalogue_release(struct backend_state *state)
{
	struct catalogue *c = &state->catalogue;
	void *arrays[] = {c->queries, c->query_gradients, c->partials, c->scores, c->item_gradients, c->losses, c->starts,
	                  c->norms, c->use_starts, c->feature_gradients, c->inputs, c->uses, c->cold};
	for (size_t i = 0; i < COUNT_OF(arrays); i++)
		mem_free(arrays[i]);
}

/* ---- which items are put in ---- */

static int reserve_inputs(struct catalogue_step *step, struct error *error)
{
	struct catalogue *c = &step->state->catalogue;
	uint64_t total = 0;
	for (size_t b = 0; b < step->count; b++) {
		size_t items;
		interactions_of(step->state->options.histories, step->users[b], &items);
		total += items;
	}
	if (mem_grow(&c->inputs, &c->input_capacity, total, sizeof(uint32_t), error) < 0 ||
	    mem_grow(&c->uses, &c->use_capacity, total, sizeof(uint32_t), error) < 0)
		return -1;
	return 0;
}

/* Puts in each item of the history with the probability 1 - dropout, by (seed, epoch, user, place); at least one is
 * left out. Returns how many are put in. */
static size_t choose_inputs(const struct catalogue_step *step, uint32_t user, const uint32_t *history, size_t count,
                            uint32_t *inputs)
{
	const struct backend_options *options = &step->state->options;
	const uint32_t threshold = (uint32_t)(options->optimizer.dropout * 0x1p32);
	const uint32_t stream = rng_stream(RNG_DROPOUT, step->span->epoch);
	size_t kept = 0, least = 0;
	uint32_t words[4] = {0}, smallest = UINT32_MAX;
	for (size_t i = 0; i < count; i++) {
		if (i % 4 == 0)
			rng_block(options->seed, stream, user, (uint32_t)(i / 4), words);
		if (words[i % 4] < smallest) {
			smallest = words[i % 4];
			least = i;
		}
		if (words[i % 4] >= threshold)
			inputs[kept++] = history[i];
	}
	if (kept < count)
		return kept;
	memmove(inputs + least, inputs + least + 1, (count - least - 1) * sizeof *inputs);
	return count - 1;
}

/* Inputs of all users of the batch, and where each item is put in. Returns the positives to be found. */
static uint64_t prepare_inputs(struct catalogue_step *step)
{
	struct catalogue *c = &step->state->catalogue;
	uint32_t *inputs = c->inputs, *uses = c->uses, *starts = c->use_starts;
	uint64_t targets = 0;
	memset(starts, 0, (step->state->shape.items + 2) * sizeof *starts);
	for (size_t b = 0; b < step->count; b++) {
		size_t items, kept = 0;
		const uint32_t *history = interactions_of(step->state->options.histories, step->users[b], &items);
		if (has_history(step->state))
			kept = choose_inputs(step, step->users[b], history, items, inputs + c->starts[b]);
		c->starts[b + 1] = c->starts[b] + kept;
		c->norms[b] = kept ? 1.0f / sqrtf((float)kept) : 0.0f;
		targets += items - kept;
	}
	for (size_t i = 0; i < c->starts[step->count]; i++)
		starts[inputs[i] + 2]++;
	for (size_t i = 2; i < step->state->shape.items + 2; i++)
		starts[i] += starts[i - 1];
	for (size_t b = 0; b < step->count; b++)
		for (size_t i = c->starts[b]; i < c->starts[b + 1]; i++)
			uses[starts[inputs[i] + 1]++] = (uint32_t)b;
	return targets;
}

/* ---- forward ---- */

static void make_query(void *context, size_t b, size_t worker)
{
	struct catalogue_step *step = context;
	struct backend_state *state = step->state;
	struct catalogue *c = &state->catalogue;
	const size_t stride = state->factors.stride;
	const int own = state->sides[SIDE_USER].factors;
	float *query = c->queries + b * stride;
	(void)worker;
	memset(query, 0, stride * sizeof *query);
	if (own != NO_MATRIX)
		memcpy(query, state->values.matrices[own].values + step->users[b] * stride, stride * sizeof *query);
	if (has_history(state))
		cpu_factors_pool(state, (const uint32_t *)c->inputs + c->starts[b], c->starts[b + 1] - c->starts[b],
		                 c->norms[b], query);
	query[state->shape.factors] = 0.0f;
	query[state->shape.factors + 1] = 1.0f;
}

static void score_chunk(void *context, size_t chunk, size_t worker)
{
	struct catalogue_step *step = context;
	struct backend_state *state = step->state;
	struct catalogue *c = &state->catalogue;
	const struct factor_part *part = &state->factors;
	const size_t first = chunk * c->chunk, rest = part->item_stride - first;
	(void)worker;
	const size_t width = c->chunk < rest ? c->chunk : rest;
	for (size_t at = 0; at < width; at += CHUNK_ITEMS) {
		const size_t left = width - at;
		state->factor_kernels->dots(c->queries, part->stride, part->columns, c->rows, part->item_columns + first + at,
		                            part->item_stride, left < CHUNK_ITEMS ? left : CHUNK_ITEMS, 0.0f,
		                            c->scores + first + at, c->items);
	}
}

/* One user: the losses of the items to be found, and scores become their gradients. What was put in takes no part. */
static void softmax_row(struct catalogue_step *step, size_t b)
{
	struct backend_state *state = step->state;
	struct catalogue *c = &state->catalogue;
	const size_t items = state->shape.items, padded = padded_to(items, MODEL_LANES);
	const uint32_t *inputs = (const uint32_t *)c->inputs + c->starts[b];
	const size_t kept = c->starts[b + 1] - c->starts[b];
	float *row = c->scores + b * c->items;
	size_t count, in = 0;
	const uint32_t *history = interactions_of(step->state->options.histories, step->users[b], &count);
	double sum = 0.0;
	for (size_t i = 0; i < kept; i++)
		row[inputs[i]] = -INFINITY;
	for (size_t n = items; n < padded; n++)
		row[n] = -INFINITY;
	for (size_t n = 0; n < c->cold_count; n++)
		row[c->cold[n]] = -INFINITY;
	for (size_t i = 0; i < count; i++)
		sum += in < kept && inputs[in] == history[i] ? (in++, 0.0) : (double)row[history[i]];
	c->losses[b] = state->catalogue_kernels->softmax(row, items) * (double)(count - kept) - sum;
	const float weight = (float)(count - kept) * step->scale;
	for (size_t n = 0; n < padded; n++)
		row[n] *= weight;
	in = 0;
	for (size_t i = 0; i < count; i++) {
		if (in < kept && inputs[in] == history[i])
			in++;
		else
			row[history[i]] -= step->scale;
	}
}

static void softmax_rows(void *context, size_t task, size_t worker)
{
	struct catalogue_step *step = context;
	struct catalogue *c = &step->state->catalogue;
	(void)worker;
	for (size_t b = task * TASK_ROWS; b < (task + 1) * TASK_ROWS && b < c->rows; b++) {
		if (b < step->count)
			softmax_row(step, b);
		else
			memset(c->scores + b * c->items, 0, c->items * sizeof(float));
	}
}

/* ---- back ---- */

static void step_row(struct backend_state *state, int matrix, size_t row, float *gradient, size_t fixed)
{
	const struct matrix *table = &state->values.matrices[matrix];
	const size_t at = row * table->stride;
	gradient[fixed] = 0.0f;
	state->kernels->adam(table->values + at, state->moment1.matrices[matrix].values + at,
	                     state->moment2.matrices[matrix].values + at, gradient, table->stride, &state->adam);
}

/* Adam on rows [first, last) of the items, and their transposed copy where features do not come on top. */
static void step_items(struct backend_state *state, size_t first, size_t last)
{
	struct factor_part *part = &state->factors;
	const int matrix = state->sides[SIDE_ITEM].factors;
	const struct matrix *table = &state->values.matrices[matrix];
	const size_t ones = state->shape.factors;
	for (size_t n = first; n < last; n++) {
		step_row(state, matrix, n, state->catalogue.item_gradients + n * part->stride, ones);
		table->values[n * table->stride + ones] = 1.0f;
	}
	if (state->shape.features == 0)
		cpu_factors_refresh(state, first, last);
}

static void back_chunk(void *context, size_t chunk, size_t worker)
{
	struct catalogue_step *step = context;
	struct backend_state *state = step->state;
	struct catalogue *c = &state->catalogue;
	const size_t stride = state->factors.stride, first = chunk * c->chunk;
	const size_t last = first + c->chunk < state->shape.items ? first + c->chunk : state->shape.items;
	const float *rows = state->factors.item_rows;
	(void)worker;
	state->catalogue_kernels->back_to_users(c->scores + first, c->items, c->rows, rows + first * stride, stride,
	                                        last - first, c->partials + chunk * c->rows * stride);
	state->catalogue_kernels->back_to_items(c->scores + first, c->items, round_up(last - first, TILE_ROWS), c->queries,
	                                        stride, step->count, c->item_gradients + first * stride);
	step_items(state, first, last);
}

static void back_user(void *context, size_t b, size_t worker)
{
	struct catalogue_step *step = context;
	struct backend_state *state = step->state;
	struct catalogue *c = &state->catalogue;
	const size_t stride = state->factors.stride, factors = state->shape.factors;
	const int own = state->sides[SIDE_USER].factors;
	float *gradient = c->query_gradients + b * stride;
	(void)worker;
	memcpy(gradient, c->partials + b * stride, stride * sizeof *gradient);
	for (size_t chunk = 1; chunk < c->chunks; chunk++)
		state->kernels->add(gradient, c->partials + (chunk * c->rows + b) * stride, stride);
	gradient[factors] = gradient[factors + 1] = 0.0f; /* a user's bias is nothing to a softmax */
	if (own == NO_MATRIX)
		return;
	float own_gradient[FACTOR_COLUMNS_MAX + MODEL_LANES];
	memcpy(own_gradient, gradient, stride * sizeof *gradient);
	step_row(state, own, step->users[b], own_gradient, factors);
	state->values.matrices[own].values[step->users[b] * stride + factors + 1] = 1.0f;
}

static void back_history(void *context, size_t task, size_t worker)
{
	struct catalogue_step *step = context;
	struct backend_state *state = step->state;
	struct catalogue *c = &state->catalogue;
	const size_t stride = state->factors.stride, items = state->shape.items;
	const int matrix = model_factor_matrix(&state->shape, FACTOR_HISTORY);
	const uint32_t *uses = c->uses;
	float gradient[FACTOR_COLUMNS_MAX + MODEL_LANES];
	(void)worker;
	for (size_t n = task * TASK_ITEMS; n < (task + 1) * TASK_ITEMS && n < items; n++) {
		/* Filling them moved each start to where the next one begins. */
		const size_t begin = c->use_starts[n], end = c->use_starts[n + 1];
		if (begin == end)
			continue;
		memset(gradient, 0, stride * sizeof *gradient);
		for (size_t u = begin; u < end; u++)
			state->catalogue_kernels->add_scaled(gradient, c->query_gradients + uses[u] * stride, c->norms[uses[u]],
			                                     stride);
		step_row(state, matrix, n, gradient, state->shape.factors);
	}
}

/* ---- features ---- */

/* Gradients of features are sums over their items in ascending order: few, so one task makes them. */
static void step_features(struct backend_state *state)
{
	struct catalogue *c = &state->catalogue;
	const struct item_features *features = state->options.features;
	const size_t stride = state->factors.stride, count = state->shape.features * stride;
	const int matrix = model_factor_matrix(&state->shape, FACTOR_FEATURES);
	memset(c->feature_gradients, 0, count * sizeof(float));
	for (size_t n = 0; n < state->shape.items; n++)
		for (uint32_t f = features->offsets[n]; f < features->offsets[n + 1]; f++)
			state->kernels->add(c->feature_gradients + features->features[f] * stride,
			                    c->item_gradients + n * stride, stride);
	for (size_t f = 0; f < state->shape.features; f++)
		step_row(state, matrix, f, c->feature_gradients + f * stride, state->shape.factors);
}

static void refresh_items(void *context, size_t task, size_t worker)
{
	struct backend_state *state = context;
	const size_t first = task * TASK_ITEMS, items = state->shape.items;
	(void)worker;
	cpu_factors_refresh(state, first, first + TASK_ITEMS < items ? first + TASK_ITEMS : items);
}

/* ---- the course ---- */

static int train_users(struct catalogue_step *step, struct train_result *result, struct error *error)
{
	struct backend_state *state = step->state;
	struct catalogue *c = &state->catalogue;
	if (reserve_inputs(step, error) < 0)
		return -1;
	const uint64_t targets = prepare_inputs(step);
	if (targets == 0)
		return 0;
	step->scale = 1.0f / (float)targets;
	pool_run(state->pool, step->count, make_query, step);
	pool_run(state->pool, c->chunks, score_chunk, step);
	pool_run(state->pool, (c->rows + TASK_ROWS - 1) / TASK_ROWS, softmax_rows, step);
	pool_run(state->pool, c->chunks, back_chunk, step);
	pool_run(state->pool, step->count, back_user, step);
	if (has_history(state))
		pool_run(state->pool, (state->shape.items + TASK_ITEMS - 1) / TASK_ITEMS, back_history, step);
	if (state->shape.features > 0) {
		step_features(state);
		pool_run(state->pool, (state->shape.items + TASK_ITEMS - 1) / TASK_ITEMS, refresh_items, state);
	}
	for (size_t b = 0; b < step->count; b++)
		result->loss_sum += c->losses[b];
	result->samples += targets;
	return 0;
}

int cpu_catalogue_train(struct backend_state *state, const struct train_span *span, struct train_result *result,
                        struct error *error)
{
	const uint64_t size = state->options.batch_groups;
	*result = (struct train_result){0};
	state->items_current = false;
	if (cpu_factors_items(state, error) < 0)
		return -1;
	uint64_t b = 0;
	for (uint64_t begin = span->begin; begin < span->end; begin += size, b++) {
		struct catalogue_step step = {
			.state = state, .span = span, .users = span->users + (begin - span->begin),
			.count = (size_t)(span->end - begin < size ? span->end - begin : size),
		};
		state->step++;
		cpu_set_adam(state, span->rates[b]);
		if (train_users(&step, result, error) < 0)
			return -1;
	}
	return 0;
}
