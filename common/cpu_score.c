/* Scoring on the CPU: the item half of the first layer is computed once for all items, the user half once
 * for each user; the rest of the tower runs over blocks of pairs. Rankings of the whole catalogue have the items of
 * a block side by side, so that no layer is padded, and pass every user of a task by a block before the next one.
 * Users are cut into tasks whose results land at fixed places, so threads never change the output. */
#include "cpu_state.h"

#include <math.h>

#include "mem.h"
#include "topk.h"

enum {
	TASK_USERS = BLOCK_ROWS,      /* users a task: their halves are one product */
	ITEM_CHUNK = 16 * BLOCK_ROWS, /* items each user of a task passes before the next ones: they stay in L2 */
};

/* Added to the ids of the truth while ranking, so that they lose every tie. */
static const uint32_t truth_last = UINT32_C(1) << 31;

struct score_job {
	struct backend_state *state;
	const struct score_lists *lists;
	const struct score_top *top;
	struct topk *best;            /* TASK_USERS heaps for each worker */
	float *weights;               /* as score_items of the kernels likes them, or NULL */
};

/* Halves of z1 for rows ids[0..count) of a table, count <= BLOCK_ROWS, through the worker's input rows. */
static void project_ids(struct backend_state *state, enum side_name which, const uint32_t *ids, size_t count,
                        struct worker *worker, float *parts)
{
	const struct side *side = &state->sides[which];
	const struct matrix *table = &state->values.matrices[side->matrix];
	const size_t stride = side->half.inputs_padded;
	for (size_t r = 0; r < count; r++)
		memcpy(worker->inputs + r * stride, table->values + (size_t)ids[r] * table->stride,
		       stride * sizeof(float));
	state->towers->project(worker->inputs, stride, count, &side->half, parts, state->tower.padded, worker->scratch);
}

static void project_items(void *context, size_t shard, size_t worker)
{
	struct backend_state *state = context;
	uint32_t ids[BLOCK_ROWS];
	const size_t first = shard * BLOCK_ROWS;
	size_t count = state->shape.items - first < BLOCK_ROWS ? state->shape.items - first : BLOCK_ROWS;
	for (size_t r = 0; r < count; r++)
		ids[r] = (uint32_t)(first + r);
	project_ids(state, SIDE_ITEM, ids, count, &state->workers[worker],
	            state->item_parts + first * state->tower.padded);
}

static void arrange_block(struct backend_state *state, size_t block)
{
	const size_t padded = state->tower.padded;
	float *to = state->item_blocks + block * padded * BLOCK_ROWS;
	state->towers->arrange_items(&state->tower, state->item_parts + block * BLOCK_ROWS * padded, to);
}

static void prepare_items(void *context, size_t block, size_t worker)
{
	struct backend_state *state = context;
	if (!state->items_current)
		project_items(context, block, worker);
	if (state->item_blocks)
		arrange_block(state, block);
}

/* Brings what scoring needs of the items up to date; once a ranking of all items was asked for, its blocks too. */
static int make_item_parts(struct backend_state *state, bool all_items, struct error *error)
{
	if (state->has_factors && !state->items_current && cpu_factors_items(state, error) < 0)
		return -1;
	const size_t blocks = (state->shape.items + BLOCK_ROWS - 1) / BLOCK_ROWS;
	const bool first = all_items && !state->item_blocks;
	if (state->has_tower && !state->item_parts)
		state->item_parts = mem_alloc_zero(blocks * BLOCK_ROWS * state->tower.padded, sizeof(float), error);
	if (state->has_tower && first)
		state->item_blocks = mem_alloc_zero(blocks * BLOCK_ROWS * state->tower.padded, sizeof(float), error);
	if (state->has_tower && (!state->item_parts || (first && !state->item_blocks)))
		return -1;
	if (state->has_tower && (!state->items_current || first))
		pool_run(state->pool, blocks, prepare_items, state);
	state->items_current = true;
	return 0;
}

/* What the tower says of one user (slot `user` of the worker's parts) with items[0..count), count <= BLOCK_ROWS. */
static void tower_scores(struct backend_state *state, struct worker *worker, size_t user, const uint32_t *items,
                        size_t count, float *logits)
{
	static const uint32_t same_row[1];
	const struct block block = {
		.user_part = worker->parts + user * state->tower.padded,
		.item_part = state->item_parts,
		.user_slots = same_row,
		.piece = count,
		.item_slots = items,
		.count = count,
		.known = count,
		.scratch = worker->scratch,
	};
	state->towers->score_block(&state->tower, &block, logits);
}

/* Scores of one user: the tower's, the factors' (whose query is the worker's first row), or their sum. */
static void score_items(struct backend_state *state, struct worker *worker, size_t user, const uint32_t *items,
                        size_t count, float *scores)
{
	float logits[BLOCK_ROWS] = {0};
	if (state->has_tower)
		tower_scores(state, worker, user, items, count, logits);
	if (!state->has_factors) {
		memcpy(scores, logits, count * sizeof *scores);
		return;
	}
	cpu_factors_score(state, worker, worker->factor_rows, items, count, scores);
	for (size_t i = 0; i < count; i++)
		scores[i] += logits[i];
}

/* What the factors say of all users of a task and a chunk of items: [TASK_USERS][FACTOR_COLUMNS_MAX] in worker->dots. */
static void chunk_dots(struct backend_state *state, struct worker *worker, size_t chunk, size_t width)
{
	const struct factor_part *part = &state->factors;
	state->factor_kernels->dots(worker->factor_rows, part->stride, part->columns, TASK_USERS,
	                            part->item_columns + chunk, part->item_stride, padded_to(width, MODEL_LANES),
	                            part->bias ? part->bias[0] : 0.0f, worker->dots, FACTOR_COLUMNS_MAX);
}

/* Where lists hold much of the catalogue, products with all of it cost less than gathering what they hold. */
enum { DENSE_SHARE = 8 }; /* an item of so many */

static bool are_dense(const struct backend_state *state, const struct score_lists *lists, size_t first, size_t count)
{
	const size_t entries = lists->offsets[first + count] - lists->offsets[first];
	return state->has_factors && !state->has_tower && entries >= count * (state->shape.items / DENSE_SHARE + 1);
}

/* The same scores as score_items gives: each is one chain over the factors either way. */
static void score_dense_lists(struct backend_state *state, struct worker *worker, const struct score_lists *lists,
                              size_t first, size_t count)
{
	const size_t items = state->shape.items;
	for (size_t u = 0; u < count; u++)
		cpu_factors_query(state, lists->users[first + u], worker->factor_rows + u * state->factors.stride);
	for (size_t chunk = 0; chunk < items; chunk += ITEM_CHUNK) {
		const size_t width = items - chunk < ITEM_CHUNK ? items - chunk : ITEM_CHUNK;
		chunk_dots(state, worker, chunk, width);
		for (size_t u = 0; u < count; u++)
			for (size_t at = lists->offsets[first + u]; at < lists->offsets[first + u + 1]; at++) {
				const size_t place = lists->items[at] - chunk;
				if (place < width)
					lists->scores[at] = worker->dots[u * FACTOR_COLUMNS_MAX + place] + 0.0f;
			}
	}
}

static void score_some_lists(void *context, size_t shard, size_t worker_number)
{
	struct score_job *job = context;
	struct backend_state *state = job->state;
	struct worker *worker = &state->workers[worker_number];
	const struct score_lists *lists = job->lists;
	const size_t first = shard * TASK_USERS;
	const size_t count = lists->count - first < TASK_USERS ? lists->count - first : TASK_USERS;
	if (are_dense(state, lists, first, count)) {
		score_dense_lists(state, worker, lists, first, count);
		return;
	}
	if (state->has_tower)
		project_ids(state, SIDE_USER, lists->users + first, count, worker, worker->parts);
	for (size_t l = first; l < first + count; l++) {
		if (state->has_factors)
			cpu_factors_query(state, lists->users[l], worker->factor_rows);
		for (size_t at = lists->offsets[l]; at < lists->offsets[l + 1]; at += BLOCK_ROWS) {
			const size_t left = lists->offsets[l + 1] - at;
			score_items(state, worker, l - first, lists->items + at, left < BLOCK_ROWS ? left : BLOCK_ROWS,
			            lists->scores + at);
		}
	}
}

int cpu_score_lists(struct backend_state *state, const struct score_lists *lists, struct error *error)
{
	struct score_job job = {.state = state, .lists = lists};
	if (make_item_parts(state, false, error) < 0)
		return -1;
	pool_run(state->pool, (lists->count + TASK_USERS - 1) / TASK_USERS, score_some_lists, &job);
	return 0;
}

/* ---- top-N over all items ---- */

static bool holds(const struct interactions *interactions, uint32_t user, uint32_t item)
{
	return interactions && user < interactions->users && interactions_has(interactions, user, item);
}

/* The score that the next one must reach to enter: most items fail here, so only few are looked up. */
static float least_wanted(const struct topk *best)
{
	return best->count < best->limit || best->limit == 0 ? -INFINITY : best->scores[0];
}

/* Offers scores[0 .. BLOCK_ROWS) of the items from first_item on, `count` of which exist. */
static void offer_scores(const struct score_job *job, uint32_t user, uint32_t first_item, const float *scores,
                         size_t count, struct topk *best)
{
	const struct score_top *request = job->top;
	uint64_t wanted = job->state->kernels->at_least(scores, least_wanted(best)) & ((UINT64_C(1) << count) - 1);
	for (; wanted; wanted &= wanted - 1) {
		const size_t i = (size_t)__builtin_ctzll(wanted);
		const uint32_t item = first_item + (uint32_t)i;
		if (!topk_wants(best, scores[i], item) || holds(request->seen, user, item))
			continue;
		topk_offer(best, scores[i], holds(request->truth, user, item) ? item + truth_last : item);
	}
}

static void take_results(const struct score_top *request, size_t user, struct topk *best)
{
	topk_sort(best);
	request->counts[user] = (uint32_t)best->count;
	for (size_t i = 0; i < best->count; i++) {
		request->items[user * request->top + i] = best->items[i] & ~truth_last;
		request->scores[user * request->top + i] = best->scores[i];
	}
	topk_clear(best);
}

/* One user and one block of items: `dots` beside the tower's logits, or alone. */
static void score_block(struct score_job *job, struct worker *worker, size_t user, uint32_t id, size_t first,
                        const float *dots, struct topk *best)
{
	struct backend_state *state = job->state;
	const size_t left = state->shape.items - first;
	_Alignas(64) float logits[BLOCK_ROWS] = {0};
	if (state->has_tower)
		state->towers->score_items(&state->tower, job->weights, worker->parts + user * state->tower.padded,
		                           state->item_blocks + first * state->tower.padded, worker->scratch, logits);
	for (size_t i = 0; state->has_factors && i < BLOCK_ROWS && i < left; i++)
		logits[i] = dots[i] + logits[i];
	offer_scores(job, id, (uint32_t)first, logits, left < BLOCK_ROWS ? left : BLOCK_ROWS, best);
}

static void score_some_users(void *context, size_t shard, size_t worker_number)
{
	struct score_job *job = context;
	struct backend_state *state = job->state;
	struct worker *worker = &state->workers[worker_number];
	struct topk *best = job->best + worker_number * TASK_USERS;
	const struct score_top *request = job->top;
	const size_t first = shard * TASK_USERS, items = state->shape.items;
	const size_t count = request->count - first < TASK_USERS ? request->count - first : TASK_USERS;
	if (state->has_tower)
		project_ids(state, SIDE_USER, request->users + first, count, worker, worker->parts);
	for (size_t u = 0; u < count && state->has_factors; u++)
		cpu_factors_query(state, request->users[first + u], worker->factor_rows + u * state->factors.stride);
	for (size_t chunk = 0; chunk < items; chunk += ITEM_CHUNK) {
		const size_t width = items - chunk < ITEM_CHUNK ? items - chunk : ITEM_CHUNK;
		if (state->has_factors)
			chunk_dots(state, worker, chunk, width);
		for (size_t at = 0; at < width; at += BLOCK_ROWS)
			for (size_t u = 0; u < count; u++)
				score_block(job, worker, u, request->users[first + u], chunk + at,
				            worker->dots + u * FACTOR_COLUMNS_MAX + at, &best[u]);
	}
	for (size_t u = 0; u < count; u++)
		take_results(request, first + u, &best[u]);
}

static int arrange_weights(struct score_job *job, struct error *error)
{
	const struct backend_state *state = job->state;
	if (!state->has_tower || !state->towers->arrange_weights)
		return 0;
	job->weights = mem_alloc_zero(state->towers->arranged_floats(&state->tower), sizeof(float), error);
	if (!job->weights)
		return -1;
	state->towers->arrange_weights(&state->tower, job->weights);
	return 0;
}

int cpu_score_top(struct backend_state *state, const struct score_top *request, struct error *error)
{
	const size_t heaps = state->worker_count * TASK_USERS;
	struct score_job job = {.state = state, .top = request};
	int result = -1;
	job.best = mem_alloc_zero(heaps, sizeof *job.best, error);
	if (!job.best || make_item_parts(state, true, error) < 0 || arrange_weights(&job, error) < 0)
		goto out;
	for (size_t h = 0; h < heaps; h++)
		if (topk_init(&job.best[h], request->top, error) < 0)
			goto out;
	pool_run(state->pool, (request->count + TASK_USERS - 1) / TASK_USERS, score_some_users, &job);
	result = 0;
out:
	for (size_t h = 0; job.best && h < heaps; h++)
		topk_release(&job.best[h]);
	mem_free(job.best);
	mem_free(job.weights);
	return result;
}
