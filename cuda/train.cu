/* Training: a span of batches is queued whole, and waited for at its end. */
#include "by_users.h"

/* base^n by squaring: exact operations of IEEE in one order, no library's power. */
static double power(double base, uint64_t n)
{
	double result = 1.0;
	for (; n > 0; n >>= 1, base *= base)
		if (n & 1)
			result *= base;
	return result;
}

/* Adam's constants as cpu_set_adam (common/cpu_train.c) has them. */
static void set_adam(const struct optimizer_options *o, double rate, struct step *step)
{
	step->rate = (float)(rate / (1.0 - power(o->beta1, step->number)));
	step->decay = (float)(1.0 - rate * o->weight_decay);
	step->beta1 = (float)o->beta1;
	step->rest1 = (float)(1.0 - o->beta1);
	step->beta2 = (float)o->beta2;
	step->rest2 = (float)(1.0 - o->beta2);
	step->scale2 = (float)(1.0 / sqrt(1.0 - power(o->beta2, step->number)));
	step->epsilon = (float)o->epsilon;
}

static int more_steps(struct backend_state *state, size_t count, struct error *error)
{
	struct device *device = &state->device;
	cuda_forget_graphs(state);
	device_release(device, state->steps);
	state->steps_max = 0;
	state->steps = (struct step *)device_alloc(device, count, sizeof *state->steps, "a span's batches", error);
	if (state->steps && !state->current)
		state->current = (struct step *)device_alloc(device, 2, sizeof *state->current, "a span's batches", error);
	if (state->steps && !state->cursor)
		state->cursor = (uint32_t *)device_alloc(device, 1, sizeof *state->cursor, "a span's batches", error);
	if (!state->steps || !state->current || !state->cursor)
		return -1;
	state->steps_max = count;
	return 0;
}

/* Batch `b` of the span, or this rank's part of it, which are equal but for a group. */
static void make_step(const struct backend_state *state, const struct train_span *span, size_t b, struct step *step)
{
	const uint64_t begin = span->begin + (uint64_t)b * state->options.batch_groups, left = span->end - begin;
	const uint32_t all = left < state->options.batch_groups ? (uint32_t)left : state->options.batch_groups;
	const uint32_t first = share_begin(all, state->ranks, state->rank);
	step->begin = begin + first;
	step->number = state->step + b + 1;
	step->groups = share_begin(all, state->ranks, state->rank + 1) - first;
	step->samples = step->groups * state->group;
	step->first_sample = first * state->group;
	step->samples_of_all = all * state->group;
	set_adam(&state->options.optimizer, span->rates[b], step);
	step->epoch = span->users ? 0 : span->sampler->epoch;
	if (!span->users)
		memcpy(step->keys, span->sampler->round_keys, sizeof step->keys);
}

/* The span's batches and an empty one behind them, on the host (freed by the caller) and on the device. NULL on error. */
struct step *cuda_make_steps(struct backend_state *state, const struct train_span *span, size_t count, struct error *error)
{
	if (count + 1 > state->steps_max && more_steps(state, count + 1, error) < 0)
		return NULL;
	struct step *steps = (struct step *)calloc(count + 1, sizeof *steps);
	if (!steps) {
		cuda_error(error, CODE_SYSTEM, "out of memory: a span of %zu batches", count);
		return NULL;
	}
	for (size_t b = 0; b < count; b++)
		make_step(state, span, b, &steps[b]);
	device_upload(&state->device, STREAM_AHEAD, state->steps, steps, (count + 1) * sizeof *steps);
	return steps;
}

struct finish_arguments {
	const double *losses;
	uint32_t count;
	const uint32_t *missing;
	double *loss_sum;
	uint64_t *missing_sum;
};

/* The batch's loss to the span's. One block. */
KERNEL(finish_batch, struct finish_arguments)
{
	double *const sums = (double *)(void *)shared_floats();
	EACH_THREAD(t) {
		const uint32_t end = share_begin(a.count, THREADS, t + 1);
		sums[t] = 0.0;
		for (uint32_t i = share_begin(a.count, THREADS, t); i < end; i++)
			sums[t] += a.losses[i];
	}
	for (uint32_t half = THREADS / 2; half > 0; half /= 2) {
		EACH_THREAD(t) {
			if (t < half)
				sums[t] += sums[t + half];
		}
	}
	EACH_THREAD(t) {
		if (t == 0) {
			*a.loss_sum += sums[0];
			*a.missing_sum += *a.missing;
		}
	}
}

static void queue_finish(struct backend_state *state, const struct batch *batch)
{
	struct finish_arguments a;
	a.losses = state->losses;
	a.count = state->loss_blocks;
	a.missing = batch->missing;
	a.loss_sum = state->loss_sum;
	a.missing_sum = state->missing_sum;
	LAUNCH(&state->device, STREAM_WORK, finish_batch, 1, THREADS * sizeof(double), a);
}

static void project_side(struct backend_state *state, enum side_name which, const struct batch *batch)
{
	const struct side *side = &state->sides[which];
	cuda_project(state, which, side->fetched ? NULL : batch->sides[which].rows, batch->sides[which].count, side->rows_max,
	             side->parts);
}

/* Forward and back: the gradients of samples. Either half of the first layer, and the factors, go by branches of the graph. */
void cuda_queue_samples(struct backend_state *state, const struct batch *batch, const struct step *step)
{
	struct device *device = &state->device;
	const bool by_sides = state->has_tower && !state->row_tiles;
	if (by_sides) {
		device_fork(device, STREAM_WORK, BRANCH_ITEM);
		project_side(state, SIDE_ITEM, batch);
	}
	if (state->has_factors) {
		device_fork(device, STREAM_WORK, BRANCH_FACTORS);
		cuda_factor_logits(state, batch, step);
	}
	device_trunk(device, STREAM_WORK);
	if (state->row_tiles)
		cuda_project_row_tiles(state, batch);
	if (by_sides) {
		project_side(state, SIDE_USER, batch);
		device_join(device, STREAM_WORK, BRANCH_ITEM);
	}
	if (state->has_factors)
		device_join(device, STREAM_WORK, BRANCH_FACTORS);
	if (state->has_tower)
		cuda_train_tower(state, batch, step);
	else
		cuda_factor_loss(state, batch, step);
}

/* The tower's rows, and, of one device alone, the first layer. The sides are summed together; each is stepped by a branch of
 * its own, or both by one launch. */
static void queue_tower_rows(struct backend_state *state, const struct batch *batch, const struct step *step)
{
	struct device *device = &state->device;
	cuda_sum_segments(state, batch, SEGMENT_TOWER, step);
	if (state->row_tiles) {
		cuda_step_row_tiles(state, batch, step);
	} else {
		device_fork(device, STREAM_WORK, BRANCH_ITEM);
		cuda_step_rows(state, SIDE_ITEM, batch, step);
		device_trunk(device, STREAM_WORK);
		cuda_step_rows(state, SIDE_USER, batch, step);
		device_join(device, STREAM_WORK, BRANCH_ITEM);
	}
	if (state->ranks == 1)
		cuda_step_dense(state, DENSE_HALVES, step);
}

/* The loss, gradients of rows, which are stepped on the spot where they are this device's, and of one device alone the dense
 * matrices. Branches of the graph read nothing that another one steps: the embeddings go with the first layer, the factors
 * with their weights, and nothing reads the other layers behind the tower. */
void cuda_queue_rows(struct backend_state *state, const struct batch *batch, const struct step *step)
{
	struct device *device = &state->device;
	device_fork(device, STREAM_WORK, BRANCH_DENSE);
	queue_finish(state, batch);
	if (state->ranks == 1)
		cuda_step_dense(state, DENSE_LAYERS, step);
	if (state->has_factors) {
		device_fork(device, STREAM_WORK, BRANCH_FACTORS);
		cuda_sum_segments(state, batch, SEGMENT_FACTORS, step);
		cuda_step_factors(state, batch, step);
		if (state->ranks == 1)
			cuda_step_dense(state, DENSE_WEIGHTS, step);
	}
	device_trunk(device, STREAM_WORK);
	if (state->has_tower)
		queue_tower_rows(state, batch, step);
	if (state->has_factors)
		device_join(device, STREAM_WORK, BRANCH_FACTORS);
	device_join(device, STREAM_WORK, BRANCH_DENSE);
}

/* Dense Adam. */
void cuda_queue_tables(struct backend_state *state, const struct step *step)
{
	for (int s = 0; s < SIDES; s++) {
		const struct side *side = &state->sides[s];
		if (side->gradients)
			cuda_step_table(state, &side->embeddings, side->gradients, UINT32_MAX, step);
		if (side->factor_gradients)
			cuda_step_table(state, &side->factors, side->factor_gradients, fixed_column(state, (enum side_name)s), step);
	}
}

static void queue_steps(struct backend_state *state, const struct batch *batch, const struct step *step)
{
	cuda_queue_rows(state, batch, step);
	cuda_queue_tables(state, step);
}

/* Marks of the two batches: drawn and indexed; trained. And of a graph's two branches. */
enum { MARK_READY = 0, MARK_DONE = 2, MARK_FORK = 4, MARK_JOIN };

void cuda_queue_ahead(struct backend_state *state, const struct train_span *span, size_t b, const struct step *on_host,
                      const struct step *step)
{
	cuda_draw(state, &state->batches[b % 2], span, on_host, step);
	device_fork(&state->device, STREAM_AHEAD, BRANCH_AHEAD);
	cuda_index(state, &state->batches[b % 2], SIDE_ITEM, step);
	device_trunk(&state->device, STREAM_AHEAD);
	cuda_index(state, &state->batches[b % 2], SIDE_USER, step);
	device_join(&state->device, STREAM_AHEAD, BRANCH_AHEAD);
}

static void queue_span(struct backend_state *state, const struct train_span *span, const struct step *steps, size_t count)
{
	struct device *device = &state->device;
	for (size_t b = 0; b <= count; b++) {
		if (b < count) {
			if (b >= 2)
				device_wait(device, STREAM_AHEAD, MARK_DONE + b % 2);
			cuda_queue_ahead(state, span, b, &steps[b], state->steps + b);
			device_mark(device, STREAM_AHEAD, MARK_READY + b % 2);
		}
		if (b == 0)
			continue;
		const size_t now = b - 1;
		device_wait(device, STREAM_WORK, MARK_READY + now % 2);
		cuda_queue_samples(state, &state->batches[now % 2], state->steps + now);
		queue_steps(state, &state->batches[now % 2], state->steps + now);
		device_mark(device, STREAM_WORK, MARK_DONE + now % 2);
	}
}

/* ---- spans by graphs: where the samples are drawn, every batch is the same but for its step ---- */

struct cursor_arguments {
	const struct step *steps;
	struct step *to;
	uint32_t *cursor, *missing;
};

/* The next step, and a batch of which nothing is missing yet. */
KERNEL(take_step, struct cursor_arguments)
{
	EACH_THREAD(t) {
		if (t == 0) {
			*a.to = a.steps[(*a.cursor)++];
			*a.missing = 0;
		}
	}
}

static void queue_next(struct backend_state *state, const struct train_span *span, size_t b)
{
	struct cursor_arguments a;
	a.steps = state->steps;
	a.to = state->current + b % 2;
	a.cursor = state->cursor;
	a.missing = state->batches[b % 2].missing;
	LAUNCH(&state->device, STREAM_AHEAD, take_step, 1, 0, a);
	cuda_queue_ahead(state, span, b, NULL, a.to);
}

/* Graphs 0 and 1 are of a batch, which lies in the first or the second place; what is between two graphs costs as much as
 * a few small kernels, so the third one is of many batches. */
enum { GRAPH_OF_MANY = 2, MANY = 8 };

/* Batch b trains, the other one is made ready beside it. */
static void queue_turn(struct backend_state *state, const struct train_span *span, size_t b)
{
	struct device *device = &state->device;
	device_mark(device, STREAM_WORK, MARK_FORK);
	device_wait(device, STREAM_AHEAD, MARK_FORK);
	queue_next(state, span, 1 - b);
	device_mark(device, STREAM_AHEAD, MARK_JOIN);
	cuda_queue_samples(state, &state->batches[b], state->current + b);
	queue_steps(state, &state->batches[b], state->current + b);
	device_wait(device, STREAM_WORK, MARK_JOIN);
}

static void record_graphs(struct backend_state *state, const struct train_span *span)
{
	struct device *device = &state->device;
	for (size_t graph = 0; graph < DEVICE_GRAPHS; graph++) {
		device_record(device);
		for (size_t b = 0; b < (graph == GRAPH_OF_MANY ? MANY : 1); b++)
			queue_turn(state, span, (graph + b) % 2);
		device_record_end(device, graph);
	}
	state->has_graphs = true;
}

/* The last graph makes the empty step ready, which is nothing. */
static void replay_span(struct backend_state *state, const struct train_span *span, size_t count)
{
	struct device *device = &state->device;
	if (!state->has_graphs)
		record_graphs(state, span);
	device_zero(device, STREAM_AHEAD, state->cursor, sizeof *state->cursor);
	queue_next(state, span, 0);
	device_mark(device, STREAM_AHEAD, MARK_READY);
	device_wait(device, STREAM_WORK, MARK_READY);
	for (size_t b = 0; b < count;) {
		const bool many = count - b >= MANY;
		device_replay(device, many ? (size_t)GRAPH_OF_MANY : b % 2);
		b += many ? MANY : 1;
	}
}

/* Batches of users: the host's part is small, so they are queued one by one. */
static void queue_users(struct backend_state *state, const struct train_span *span, const struct step *steps, size_t count)
{
	device_mark(&state->device, STREAM_AHEAD, MARK_READY);
	device_wait(&state->device, STREAM_WORK, MARK_READY);
	for (size_t b = 0; b < count; b++)
		cuda_train_users(state, span, b * state->groups_max, steps[b].groups, state->steps + b);
}

void cuda_forget_graphs(struct backend_state *state)
{
	if (state->has_graphs)
		device_forget(&state->device);
	state->has_graphs = false;
}

int cuda_train(struct backend_state *state, const struct train_span *span, struct train_result *result,
               struct error *error)
{
	const bool by_users = state->options.loss == LOSS_CATALOGUE;
	uint64_t missing = 0;     /* or, by users, found */
	memset(result, 0, sizeof *result);
	if (state->groups_max == 0)
		return cuda_error(error, CODE_BUG, "this backend was opened for scoring only");
	if (span->begin >= span->end)
		return 0;
	device_use(&state->device);
	const size_t count = (size_t)((span->end - span->begin + state->groups_max - 1) / state->groups_max);
	if (!span->users && cuda_sampler_copy(state, span->sampler, error) < 0)
		return -1;
	if (by_users && cuda_catalogue_span(state, span, error) < 0)
		return -1;
	struct step *steps = cuda_make_steps(state, span, count, error);
	if (!steps)
		return -1;
	state->scoring.current = false;
	device_zero(&state->device, STREAM_WORK, state->loss_sum, sizeof *state->loss_sum);
	device_zero(&state->device, STREAM_WORK, state->missing_sum, sizeof *state->missing_sum);
	if (by_users)
		queue_users(state, span, steps, count);
	else if (span->users)
		queue_span(state, span, steps, count);
	else
		replay_span(state, span, count);
	device_download(&state->device, STREAM_WORK, &result->loss_sum, state->loss_sum, sizeof result->loss_sum);
	device_download(&state->device, STREAM_WORK, &missing, state->missing_sum, sizeof missing);
	const int status = device_finish(&state->device, error);
	free(steps);
	if (status < 0)
		return -1;
	state->step += count;
	result->missing = by_users ? 0 : missing;
	result->samples = by_users ? missing : (span->end - span->begin) * state->group - missing;
	return 0;
}
