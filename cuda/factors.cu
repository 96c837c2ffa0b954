/* The product of factors: logits of samples, losses of models without a tower, gradients of rows and of weights, scores.
 * Sums for both sides are complete before any row steps, so that both are of the values that the logits were made of. */
#include "by_users.h"
#include "loss.h"

/* A sum over a row goes in as many lanes, each a chain over every LANES-th four columns. */
enum { LANES = 4, SAMPLES_A_BLOCK = THREADS / LANES };

struct factor_arguments {
	const struct step *step;
	struct batch batch;
	struct trained trained;
	struct table table;
	const float *users, *items; /* rows: tables, or what was fetched of them */
	const uint32_t *user_of, *item_of; /* the row of each group, of each sample */
	const float *weight, *bias; /* NULL: ones; none */
	uint32_t stride, columns, group;
	const float *offsets;
	float *logits;
	enum loss loss;
	double *losses;
	/* Scoring */
	const uint32_t *users_listed, *user_slots, *items_listed;
	uint32_t count, first_item, items_a_user, pairs;
	float *rows, *scores;
	bool adds;
};

ON_DEVICE struct float4 times(struct float4 a, struct float4 b)
{
	a.x *= b.x;
	a.y *= b.y;
	a.z *= b.z;
	a.w *= b.w;
	return a;
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
				const float *x = a.users + (size_t)a.user_of[s / a.group] * a.stride;
				const float *y = a.items + (size_t)a.item_of[s] * a.stride;
				for (uint32_t k = t % LANES * 4; k < a.stride; k += LANES * 4) {
					const struct float4 u = load_quad(x + k), i = load_quad(y + k);
					sum = add_products(sum, a.weight ? times(u, load_quad(a.weight + k)) : u, i);
				}
			}
			lanes[t] = sum;
		}
		EACH_THREAD(t) {
			if (t < SAMPLES_A_BLOCK && first + t < samples) {
				const struct float4 of = load_quad(lanes + t * LANES);
				a.logits[first + t] = (of.x + of.y) + (of.z + of.w) + (a.bias ? *a.bias : 0.0f);
			}
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

/* ---- rows ---- */

struct factor_side {
	struct table table;
	const uint32_t *count, *rows;
	struct row_sums sums;
	uint32_t fixed, idle;     /* columns: of ones; without a gradient */
	float *dense_gradients;
	bool by_slots;            /* dense_gradients are of slots, for the rows' owners */
};

struct factor_rows_arguments {
	const struct step *step;
	struct trained trained;
	struct factor_side sides[SIDES];
	uint32_t user_blocks;     /* the first ones */
	uint32_t stride;
	const float *weight;      /* NULL: ones */
	const float *users;       /* rows, by id or slot, for the gradient of the weights */
	const float *derivatives;
	float *partials;          /* [user_blocks][stride + 4] */
};

/* `to` in the place of the column, if the quad from k on has that. */
ON_DEVICE void set_column(struct float4 *q, uint32_t k, uint32_t column, float to)
{
	q->x = k == column ? to : q->x;
	q->y = k + 1 == column ? to : q->y;
	q->z = k + 2 == column ? to : q->z;
	q->w = k + 3 == column ? to : q->w;
}

/* Columns [k, k + 4) of a row, whose sum is `sum`. */
ON_DEVICE void step_quad(const struct factor_rows_arguments *a, const struct factor_side *side, const struct adam_rates *rates,
                         uint32_t slot, uint32_t k, struct float4 sum)
{
	struct float4 gradient = a->weight ? times(sum, load_quad(a->weight + k)) : sum;
	set_column(&gradient, k, side->fixed, 0.0f);
	set_column(&gradient, k, side->idle, 0.0f);
	const size_t at = (size_t)(side->by_slots ? slot : side->rows[slot]) * a->stride + k;
	if (side->dense_gradients) {
		store_quad(side->dense_gradients + at, gradient);
		return;
	}
	struct adam_quad q = load_adam(&a->trained, side->table.at + at);
	adam_on_quad(rates, &q, gradient);
	set_column(&q.value, k, side->fixed, 1.0f); /* not decayed */
	store_adam(&a->trained, side->table.at + at, &q);
}

/* Columns [k, k + 4) of thread t's rows. Returns what they add to the gradient of the weights: the sum over samples of a
 * user's factor, an item's factor and the derivative is one over users, of the factor times its row's sum. */
ON_DEVICE struct float4 step_column(const struct factor_rows_arguments *a, const struct factor_side *side, uint32_t first,
                                    uint32_t apart, uint32_t k, bool weighs)
{
	const struct adam_rates rates = adam_rates_of(a->step);
	const uint32_t count = *side->count;
	struct float4 total = same_quad(0.0f);
	for (uint32_t slot = first; slot < count; slot += apart) {
		const struct float4 sum = row_sum_quad(&side->sums, slot, k);
		if (weighs) {
			const struct float4 x = load_quad(a->users + (size_t)(side->by_slots ? slot : side->rows[slot]) * a->stride + k);
			total.x = fmaf(x.x, sum.x, total.x);
			total.y = fmaf(x.y, sum.y, total.y);
			total.z = fmaf(x.z, sum.z, total.z);
			total.w = fmaf(x.w, sum.w, total.w);
		}
		step_quad(a, side, &rates, slot, k, sum);
	}
	return total;
}

/* The gradient of the bias: this block's part of the samples. */
ON_DEVICE void sum_bias(const struct factor_rows_arguments *a, float *sums, float *to)
{
	enum { PARTS = 16 };
	const uint32_t samples = a->step->samples, end = share_begin(samples, a->user_blocks, BLOCK + 1);
	EACH_THREAD(t) {
		sums[t] = 0.0f;
		for (uint32_t s = share_begin(samples, a->user_blocks, BLOCK) + t; s < end; s += THREADS)
			sums[t] += a->derivatives[s];
	}
	EACH_THREAD(t) {
		for (uint32_t i = t + PARTS; t < PARTS && i < THREADS; i += PARTS)
			sums[t] += sums[i];
	}
	EACH_THREAD(t) {
		for (uint32_t i = 1; t == 0 && i < PARTS; i++)
			sums[0] += sums[i];
		if (t == 0)
			*to = sums[0];
	}
}

/* Rows of both sides; of users' the gradient of the weights comes along. A power of two of threads goes along a row. */
KERNEL(step_rows, struct factor_rows_arguments)
{
	float *const sums = shared_floats();
	const bool by_users = BLOCK < a.user_blocks, weighs = by_users && a.weight;
	const struct factor_side *side = &a.sides[by_users ? SIDE_USER : SIDE_ITEM];
	const uint32_t block = by_users ? BLOCK : BLOCK - a.user_blocks, blocks = by_users ? a.user_blocks : BLOCKS - a.user_blocks;
	uint32_t across = 1;
	while (across < a.stride / 4 && across < THREADS)
		across *= 2;
	const uint32_t together = THREADS / across;
	float *const to = weighs ? a.partials + (size_t)BLOCK * (a.stride + 4) : NULL;
	for (uint32_t first = 0; first < a.stride; first += across * 4) {
		EACH_THREAD(t) {
			const uint32_t k = first + t % across * 4;
			struct float4 total = same_quad(0.0f);
			if (k < a.stride)
				total = step_column(&a, side, block * together + t / across, blocks * together, k, weighs);
			if (weighs)
				store_quad(sums + t * 4, total);
		}
		EACH_THREAD(t) {
			for (uint32_t k = t; weighs && k < across * 4 && first + k < a.stride; k += THREADS) {
				float sum = sums[k];
				for (uint32_t i = k + across * 4; i < THREADS * 4; i += across * 4)
					sum += sums[i];
				to[first + k] = sum;
			}
		}
	}
	if (weighs)
		sum_bias(&a, sums, to + a.stride);
}

/* ---- scoring ---- */

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

const float *cuda_factor_rows(const struct backend_state *state, enum side_name which, const struct batch *batch,
                              const uint32_t **row_of)
{
	const struct side *side = &state->sides[which];
	const uint32_t *ids = which == SIDE_USER ? batch->users : batch->items;
	*row_of = side->fetched_factors ? batch->sides[which].slots : ids;
	return side->fetched_factors ? side->fetched_factors : state->values + side->factors.at;
}

static struct factor_arguments factor_arguments(const struct backend_state *state, const struct batch *batch,
                                                const struct step *step)
{
	struct factor_arguments a;
	memset(&a, 0, sizeof a);
	a.step = step;
	if (batch) {
		a.batch = *batch;
		a.users = cuda_factor_rows(state, SIDE_USER, batch, &a.user_of);
		a.items = cuda_factor_rows(state, SIDE_ITEM, batch, &a.item_of);
	}
	a.trained = trained_of(state);
	a.weight = state->factor_weight.rows > 0 ? state->values + state->factor_weight.at : NULL;
	a.bias = state->factor_bias.rows > 0 ? state->values + state->factor_bias.at : NULL;
	a.stride = (uint32_t)state->sides[SIDE_USER].factors.stride;
	a.columns = state->sides[SIDE_USER].factors.columns;
	a.group = state->group;
	a.offsets = state->offsets;
	a.logits = state->logits;
	a.loss = state->options.loss;
	a.losses = state->losses;
	return a;
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

static struct factor_side factor_side(const struct backend_state *state, enum side_name which, const struct batch *batch)
{
	const struct side *side = &state->sides[which];
	struct factor_side s;
	s.table = side->factors;
	s.count = batch->sides[which].count;
	s.rows = batch->sides[which].rows;
	s.sums = row_sums_of(side, SEGMENT_FACTORS, &batch->sides[which], (uint32_t)side->factors.stride);
	s.fixed = fixed_column(state, which);
	/* A user's bias has no gradient but rounding where the loss is one of differences. */
	s.idle = state->has_biases && which == SIDE_USER && state->options.loss != LOSS_BINARY ? state->shape.factors : UINT32_MAX;
	s.by_slots = side->fetched_factor_gradients;
	s.dense_gradients = s.by_slots ? side->fetched_factor_gradients : side->factor_gradients;
	return s;
}

void cuda_step_factors(struct backend_state *state, const struct batch *batch, const struct step *step)
{
	struct factor_rows_arguments a;
	const uint32_t *row_of;
	memset(&a, 0, sizeof a);
	a.step = step;
	a.trained = trained_of(state);
	a.sides[SIDE_USER] = factor_side(state, SIDE_USER, batch);
	a.sides[SIDE_ITEM] = factor_side(state, SIDE_ITEM, batch);
	a.stride = (uint32_t)state->sides[SIDE_USER].factors.stride;
	a.weight = state->factor_weight.rows > 0 ? state->values + state->factor_weight.at : NULL;
	a.users = cuda_factor_rows(state, SIDE_USER, batch, &row_of);
	a.derivatives = state->logits;
	a.partials = state->weight_partials;
	a.user_blocks = state->factor_blocks;
	const uint64_t item_quads = (uint64_t)state->sides[SIDE_ITEM].rows_max * (a.stride / 4);
	LAUNCH(&state->device, STREAM_WORK, step_rows, a.user_blocks + blocks_for(item_quads, THREADS, GRID_WIDE),
	       THREADS * sizeof(struct float4), a);
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
