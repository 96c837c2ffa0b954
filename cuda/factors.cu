/* The product of factors: logits of samples, losses of models without a tower, gradients of rows and of weights, scores.
 * Rows are gathered once a batch, so that both sides step from the values that the logits were made of. */
#include "by_users.h"
#include "loss.h"

/* A sum over a row goes in as many lanes, each a chain, which are added up by halves. */
enum { LANES = 16, SAMPLES_A_BLOCK = THREADS / LANES };

struct factor_arguments {
	const struct step *step;
	struct batch batch;
	struct trained trained;
	struct table table;
	const float *users, *items; /* [slots][stride], or the items' table */
	const float *weight, *bias; /* NULL: ones; none */
	uint32_t stride, columns, group;
	const float *offsets;
	float *logits;
	enum loss loss;
	double *losses;
	float *partials;          /* [blocks][stride + 1] */
	/* Rows */
	enum side_name which;
	const float *sums, *cuts;
	uint32_t fixed, idle;     /* columns: of ones; without a gradient */
	float *rows, *dense_gradients;
	bool by_slots;            /* dense_gradients are of slots, for the rows' owners */
	/* Scoring */
	const uint32_t *users_listed, *user_slots, *items_listed;
	uint32_t count, first_item, items_a_user, pairs;
	float *scores;
	bool adds;
};

/* to[slot] = the table's row, for every slot of the side. */
KERNEL(gather_rows, struct factor_arguments)
{
	const struct row_index *index = &a.batch.sides[a.which];
	const uint64_t size = (uint64_t)*index->count * a.stride;
	EACH_THREAD(t) {
		for (uint64_t i = (uint64_t)BLOCK * THREADS + t; i < size; i += (uint64_t)BLOCKS * THREADS)
			a.rows[i] = a.trained.values[a.table.at + (size_t)index->rows[i / a.stride] * a.stride + i % a.stride];
	}
}

KERNEL(make_logits, struct factor_arguments)
{
	float *const lanes = shared_floats();
	const uint32_t samples = a.step->samples;
	for (uint32_t first = BLOCK * SAMPLES_A_BLOCK; first < samples; first += BLOCKS * SAMPLES_A_BLOCK) {
		EACH_THREAD(t) {
			const uint32_t s = first + t / LANES;
			float sum = 0.0f;
			if (s < samples) {
				const float *x = a.users + (size_t)a.batch.sides[SIDE_USER].slots[s / a.group] * a.stride;
				const float *y = a.items + (size_t)a.batch.sides[SIDE_ITEM].slots[s] * a.stride;
				for (uint32_t k = t % LANES; k < a.stride; k += LANES)
					sum = fmaf(a.weight ? x[k] * a.weight[k] : x[k], y[k], sum);
			}
			lanes[t] = sum;
		}
		EACH_THREAD(t) {
			float *const of = lanes + t * LANES;
			for (uint32_t half = LANES / 2; half > 0 && t < SAMPLES_A_BLOCK; half /= 2)
				for (uint32_t i = 0; i < half; i++)
					of[i] += of[i + half];
			if (t < SAMPLES_A_BLOCK && first + t < samples)
				a.logits[first + t] = of[0] + (a.bias ? *a.bias : 0.0f);
		}
	}
}

/* The loss of models without a tower: logits become their gradients. */
KERNEL(take_losses, struct factor_arguments)
{
	double *const losses = (double *)(void *)shared_floats();
	const float scale = 1.0f / (float)(a.step->samples_of_all - *a.batch.missing);
	EACH_THREAD(t) {
		losses[t] = 0.0;
		for (uint32_t g = BLOCK * THREADS + t; g < a.step->groups; g += BLOCKS * THREADS) {
			float *const z = a.logits + (size_t)g * a.group;
			for (uint32_t s = 0; s < a.group && a.offsets; s++)
				z[s] -= a.offsets[a.batch.items[g * a.group + s]];
			losses[t] += group_loss(a.loss, z, a.batch.weights + (size_t)g * a.group, a.group, scale);
		}
	}
	EACH_THREAD(t) {
		for (uint32_t i = 1; t == 0 && i < THREADS; i++)
			losses[0] += losses[i];
		if (t == 0)
			a.losses[BLOCK] = losses[0];
	}
}

/* Gradients of the weights and the bias: a block's share of the samples, its threads in LANES columns at a time. */
KERNEL(sum_weights, struct factor_arguments)
{
	float *const some = shared_floats();
	const uint32_t samples = a.step->samples;
	const uint32_t begin = share_begin(samples, BLOCKS, BLOCK), end = share_begin(samples, BLOCKS, BLOCK + 1);
	float *const to = a.partials + (size_t)BLOCK * (a.stride + 1);
	for (uint32_t first = 0; first <= a.stride; first += LANES) {
		EACH_THREAD(t) {
			const uint32_t k = first + t % LANES;
			float sum = 0.0f;
			for (uint32_t s = begin + t / LANES; s < end && k <= a.stride; s += THREADS / LANES) {
				const size_t x = (size_t)a.batch.sides[SIDE_USER].slots[s / a.group] * a.stride + k;
				const size_t y = (size_t)a.batch.sides[SIDE_ITEM].slots[s] * a.stride + k;
				sum = k < a.stride ? fmaf(a.users[x] * a.items[y], a.logits[s], sum) : sum + a.logits[s];
			}
			some[t] = sum;
		}
		EACH_THREAD(t) {
			float sum = some[t];
			for (uint32_t i = t + LANES; t < LANES && i < THREADS; i += LANES)
				sum += some[i];
			if (t < LANES && first + t <= a.stride)
				to[first + t] = sum;
		}
	}
}

KERNEL(step_rows, struct factor_arguments)
{
	const struct row_index *index = &a.batch.sides[a.which];
	const uint64_t size = (uint64_t)*index->count * a.stride;
	EACH_THREAD(t) {
		for (uint64_t i = (uint64_t)BLOCK * THREADS + t; i < size; i += (uint64_t)BLOCKS * THREADS) {
			const uint32_t slot = (uint32_t)(i / a.stride), k = (uint32_t)(i % a.stride);
			const float sum = row_sum(a.sums, a.cuts, index->starts, a.stride, slot, k);
			const float gradient = k == a.fixed || k == a.idle ? 0.0f : a.weight ? sum * a.weight[k] : sum;
			const size_t at = (size_t)(a.by_slots ? slot : index->rows[slot]) * a.stride + k;
			if (a.dense_gradients) {
				a.dense_gradients[at] = gradient;
				continue;
			}
			adam(&a.trained, a.table.at + at, gradient, a.step, a.step->decay);
			if (k == a.fixed)
				a.trained.values[a.table.at + at] = 1.0f; /* not decayed */
		}
	}
}

KERNEL(make_queries, struct factor_arguments)
{
	EACH_THREAD(t) {
		for (uint64_t i = (uint64_t)BLOCK * THREADS + t; i < (uint64_t)a.count * a.stride; i += (uint64_t)BLOCKS * THREADS) {
			const uint32_t k = (uint32_t)(i % a.stride);
			const float x = a.trained.values[a.table.at + (size_t)a.users_listed[i / a.stride] * a.stride + k];
			a.rows[i] = a.weight ? x * a.weight[k] : x;
		}
	}
}

/* A chain over the columns from the bias on, a thread a pair. */
KERNEL(score_pairs, struct factor_arguments)
{
	EACH_THREAD(t) {
		for (uint32_t p = BLOCK * THREADS + t; p < a.pairs; p += BLOCKS * THREADS) {
			const uint32_t user = a.user_slots ? a.user_slots[p] : p / a.items_a_user;
			const uint32_t item = a.items_listed ? a.items_listed[p] : a.first_item + p % a.items_a_user;
			const float *x = a.users + (size_t)user * a.stride, *y = a.items + (size_t)item * a.stride;
			float sum = a.bias ? *a.bias : 0.0f;
			for (uint32_t k = 0; k < a.columns; k++)
				sum = fmaf(x[k], y[k], sum);
			a.scores[p] = a.adds ? sum + a.scores[p] : sum;
		}
	}
}

static struct factor_arguments factor_arguments(const struct backend_state *state, const struct batch *batch,
                                                const struct step *step)
{
	struct factor_arguments a;
	memset(&a, 0, sizeof a);
	a.step = step;
	if (batch)
		a.batch = *batch;
	a.trained = trained_of(state);
	a.users = state->sides[SIDE_USER].factor_rows;
	a.items = state->sides[SIDE_ITEM].factor_rows;
	a.weight = state->factor_weight.rows > 0 ? state->values + state->factor_weight.at : NULL;
	a.bias = state->factor_bias.rows > 0 ? state->values + state->factor_bias.at : NULL;
	a.stride = (uint32_t)state->sides[SIDE_USER].factors.stride;
	a.columns = state->sides[SIDE_USER].factors.columns;
	a.group = state->group;
	a.offsets = state->offsets;
	a.logits = state->logits;
	a.loss = state->options.loss;
	a.losses = state->losses;
	a.partials = state->weight_partials;
	return a;
}

void cuda_gather_factors(struct backend_state *state, enum side_name which, const struct batch *batch)
{
	const struct side *side = &state->sides[which];
	struct factor_arguments a = factor_arguments(state, batch, NULL);
	a.which = which;
	a.table = side->factors;
	a.rows = side->factor_rows;
	LAUNCH(&state->device, STREAM_WORK, gather_rows, blocks_for((uint64_t)side->rows_max * a.stride, THREADS, GRID_WIDE), 0, a);
}

void cuda_factor_logits(struct backend_state *state, const struct batch *batch, const struct step *step)
{
	const struct factor_arguments a = factor_arguments(state, batch, step);
	LAUNCH(&state->device, STREAM_WORK, make_logits, blocks_for(state->samples_max, SAMPLES_A_BLOCK, GRID_WIDE),
	       THREADS * sizeof(float), a);
}

void cuda_factor_loss(struct backend_state *state, const struct batch *batch, const struct step *step)
{
	const struct factor_arguments a = factor_arguments(state, batch, step);
	LAUNCH(&state->device, STREAM_WORK, take_losses, state->loss_blocks, THREADS * sizeof(double), a);
}

void cuda_factor_weights(struct backend_state *state, const struct batch *batch, const struct step *step)
{
	const struct factor_arguments a = factor_arguments(state, batch, step);
	LAUNCH(&state->device, STREAM_WORK, sum_weights, state->weight_blocks, THREADS * sizeof(float), a);
}

void cuda_step_factors(struct backend_state *state, enum side_name which, const struct batch *batch,
                       const struct step *step)
{
	const struct side *side = &state->sides[which];
	struct factor_arguments a = factor_arguments(state, batch, step);
	a.which = which;
	a.table = side->factors;
	a.sums = side->factor_sums;
	a.cuts = side->factor_cuts;
	a.fixed = fixed_column(state, which);
	/* A user's bias has no gradient but rounding where the loss is one of differences. */
	a.idle = state->has_biases && which == SIDE_USER && a.loss != LOSS_BINARY ? state->shape.factors : UINT32_MAX;
	a.by_slots = side->fetched_factor_gradients;
	a.dense_gradients = a.by_slots ? side->fetched_factor_gradients : side->factor_gradients;
	LAUNCH(&state->device, STREAM_WORK, step_rows, blocks_for((uint64_t)side->rows_max * a.stride, THREADS, GRID_WIDE), 0, a);
}

void cuda_make_queries(struct backend_state *state, const uint32_t *users, uint32_t count, float *queries)
{
	struct factor_arguments a = factor_arguments(state, NULL, NULL);
	if (state->shape.kind == MODEL_HISTORY) {
		cuda_history_queries(state, users, count, queries);
		return;
	}
	a.table = state->sides[SIDE_USER].factors;
	a.users_listed = users;
	a.count = count;
	a.rows = queries;
	LAUNCH(&state->device, STREAM_WORK, make_queries, blocks_for((uint64_t)count * a.stride, THREADS, GRID_WIDE), 0, a);
}

void cuda_score_factors(struct backend_state *state, const float *queries, const uint32_t *user_slots,
                        const uint32_t *items, uint32_t first_item, uint32_t items_a_user, uint32_t pairs, float *scores)
{
	struct factor_arguments a = factor_arguments(state, NULL, NULL);
	a.users = queries;
	a.items = state->catalogue ? cuda_item_rows(state) : state->values + state->sides[SIDE_ITEM].factors.at;
	a.user_slots = user_slots;
	a.items_listed = items;
	a.first_item = first_item;
	a.items_a_user = items_a_user;
	a.pairs = pairs;
	a.scores = scores;
	a.adds = state->has_tower;
	LAUNCH(&state->device, STREAM_WORK, score_pairs, blocks_for(pairs, THREADS, GRID_WIDE), 0, a);
}
