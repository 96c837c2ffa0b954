/* From dense rows or columns of weights, computed by all threads, to the records of a stream in ascending order.
 * All weights: rows are computed in batches and written as they are. The best of each column: they are chosen
 * column by column (whoever scores an item wants the items that say most about it) and then turned into rows. */
#include <math.h>

#include "mem.h"
#include "progress.h"
#include "similarity_internal.h"
#include "topk.h"

enum { BATCH_GROUPS = 16 };

struct making {
	const struct weigher *weigher;
	uint32_t top;
	uint32_t begin;          /* of the batch */
	float *weights;          /* [worker or group of the batch][WEIGH_GROUP][items] */
	struct topk *best;       /* a worker's */
	uint32_t *counts;        /* weights kept of each column */
	uint32_t *neighbours;    /* [items][top] */
	float *kept;             /* [items][top] */
};

static uint32_t end_of_group(const struct weigher *weigher, uint32_t begin)
{
	return weigher->items - begin < WEIGH_GROUP ? weigher->items : begin + WEIGH_GROUP;
}

/* ---- the best of each column ---- */

static void choose(struct making *making, struct topk *best, uint32_t column, const float *weights)
{
	const size_t at = (size_t)column * making->top;
	topk_clear(best);
	for (uint32_t j = 0; j < making->weigher->items; j++) {
		const float size = fabsf(weights[j]);
		if (size > 0 && topk_wants(best, size, j))
			topk_offer(best, size, j);
	}
	making->counts[column] = (uint32_t)best->count;
	for (size_t k = 0; k < best->count; k++) {
		making->neighbours[at + k] = best->items[k];
		making->kept[at + k] = weights[best->items[k]];
	}
}

static void choose_group(void *context, size_t shard, size_t worker)
{
	struct making *making = context;
	const struct weigher *weigher = making->weigher;
	const uint32_t begin = (uint32_t)shard * WEIGH_GROUP, end = end_of_group(weigher, begin);
	float *weights = making->weights + worker * WEIGH_GROUP * weigher->items;
	weigher->weigh(weigher->context, worker, begin, end, true, weights);
	for (uint32_t column = begin; column < end; column++)
		choose(making, &making->best[worker], column, weights + (size_t)(column - begin) * weigher->items);
}

/* Turns columns into rows: columns are gone through in ascending order, so each row's neighbours ascend. */
static int write_turned(const struct making *making, struct stream_writer *writer, struct error *error)
{
	const uint32_t items = making->weigher->items;
	uint64_t total = 0;
	int result = -1;
	uint64_t *next = mem_alloc_zero((size_t)items + 1, sizeof *next, error);
	for (uint32_t i = 0; i < items; i++)
		total += making->counts[i];
	uint32_t *neighbours = mem_alloc(total, sizeof *neighbours, error);
	float *weights = mem_alloc(total, sizeof *weights, error);
	if (!next || !neighbours || !weights)
		goto out;
	for (uint32_t i = 0; i < items; i++)
		for (uint32_t k = 0; k < making->counts[i]; k++)
			next[making->neighbours[(size_t)i * making->top + k] + 1]++;
	for (uint32_t j = 0; j < items; j++)
		next[j + 1] += next[j];
	for (uint32_t i = 0; i < items; i++)
		for (size_t k = (size_t)i * making->top; k < (size_t)i * making->top + making->counts[i]; k++) {
			const uint64_t to = next[making->neighbours[k]]++;
			neighbours[to] = i;
			weights[to] = making->kept[k];
		}
	/* Now next[j] is where row j ends. */
	for (uint32_t j = 0; j < items; j++) {
		const uint64_t begin = j ? next[j - 1] : 0;
		if (similarity_write_listed(writer, j, neighbours + begin, weights + begin, (uint32_t)(next[j] - begin),
		                            error) < 0)
			goto out;
	}
	result = 0;
out:
	mem_free(next);
	mem_free(neighbours);
	mem_free(weights);
	return result;
}

static int write_best(struct making *making, struct pool *pool, struct stream_writer *writer, struct error *error)
{
	const size_t items = making->weigher->items, threads = pool_threads(pool);
	making->weights = mem_alloc(threads * WEIGH_GROUP * items, sizeof *making->weights, error);
	making->best = mem_alloc_zero(threads, sizeof *making->best, error);
	making->counts = mem_alloc(items, sizeof *making->counts, error);
	making->neighbours = mem_alloc(items * making->top, sizeof *making->neighbours, error);
	making->kept = mem_alloc(items * making->top, sizeof *making->kept, error);
	if (!making->weights || !making->best || !making->counts || !making->neighbours || !making->kept)
		return -1;
	for (size_t t = 0; t < threads; t++)
		if (topk_init(&making->best[t], making->top, error) < 0)
			return -1;
	pool_run(pool, (items + WEIGH_GROUP - 1) / WEIGH_GROUP, choose_group, making);
	return write_turned(making, writer, error);
}

/* ---- all weights ---- */

static void weigh_group(void *context, size_t shard, size_t worker)
{
	struct making *making = context;
	const struct weigher *weigher = making->weigher;
	const uint32_t begin = making->begin + (uint32_t)shard * WEIGH_GROUP;
	weigher->weigh(weigher->context, worker, begin, end_of_group(weigher, begin), false,
	               making->weights + shard * WEIGH_GROUP * weigher->items);
}

/* A dense row: whole, or what is not 0 of it. */
static int write_row(const struct weigher *weigher, uint32_t item, float *weights, uint32_t *neighbours,
                     struct stream_writer *writer, struct error *error)
{
	uint32_t count = 0;
	if (weigher->full) {
		if (similarity_write_run(writer, item, 0, weights, item, error) < 0)
			return -1;
		return similarity_write_run(writer, item, item + 1, weights + item + 1, weigher->items - item - 1, error);
	}
	for (uint32_t i = 0; i < weigher->items; i++)
		if (weights[i] != 0) {
			neighbours[count] = i;
			weights[count++] = weights[i];
		}
	return similarity_write_listed(writer, item, neighbours, weights, count, error);
}

static int write_rows(struct making *making, struct pool *pool, struct stream_writer *writer, struct error *error)
{
	const struct weigher *weigher = making->weigher;
	const size_t items = weigher->items, batch = BATCH_GROUPS * WEIGH_GROUP;
	making->weights = mem_alloc(batch * items, sizeof *making->weights, error);
	making->neighbours = mem_alloc(items, sizeof *making->neighbours, error);
	if (!making->weights || !making->neighbours)
		return -1;
	for (size_t begin = 0; begin < items; begin += batch) {
		const size_t count = items - begin < batch ? items - begin : batch;
		making->begin = (uint32_t)begin;
		pool_run(pool, (count + WEIGH_GROUP - 1) / WEIGH_GROUP, weigh_group, making);
		for (size_t r = 0; r < count; r++)
			if (write_row(weigher, (uint32_t)(begin + r), making->weights + r * items, making->neighbours, writer,
			              error) < 0)
				return -1;
	}
	return 0;
}

/* ---- both ---- */

static uint32_t top_of(uint32_t items, const struct similarity_options *options)
{
	return options->top + 1 < items ? options->top : 0; /* all others are all weights */
}

size_t similarity_write_bytes(uint32_t items, const struct similarity_options *options, size_t threads)
{
	const size_t top = top_of(items, options), n = items;
	if (top)
		return (threads * WEIGH_GROUP * n + 4 * n * top + 4 * n) * sizeof(float);
	return (BATCH_GROUPS * WEIGH_GROUP + 1) * n * sizeof(float);
}

int similarity_write_all(const struct weigher *weigher, const struct similarity_options *options, struct pool *pool,
                         struct stream_writer *writer, struct error *error)
{
	struct making making = {.weigher = weigher, .top = top_of(weigher->items, options)};
	int result = making.top ? write_best(&making, pool, writer, error) : write_rows(&making, pool, writer, error);
	for (size_t t = 0; making.best && t < pool_threads(pool); t++)
		topk_release(&making.best[t]);
	mem_free(making.best);
	mem_free(making.weights);
	mem_free(making.counts);
	mem_free(making.neighbours);
	mem_free(making.kept);
	return result;
}

int similarity_make(const struct histories *histories, const struct similarity_options *options,
                    struct pool *pool, struct stream_writer *writer, struct similarity_times *times,
                    struct error *error)
{
	*times = (struct similarity_times){0};
	return options->method == SIMILARITY_EASE
	               ? similarity_make_ease(&histories->interactions, options, pool, writer, times, error)
	               : similarity_make_cosine(histories, options, pool, writer, times, error);
}
