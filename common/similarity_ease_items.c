/* EASE by the items: counts into the lower triangle of a matrix, its inverse in place, weights read out of that. */
#include "mem.h"
#include "similarity_ease.h"

enum { COUNT_GROUP = 16 }; /* rows a shard */

static size_t bytes(uint32_t users, uint32_t items, uint32_t kept, const struct similarity_options *options,
                    size_t threads)
{
	const size_t workers = threads * kept * (WEIGH_GROUP * sizeof(double) + sizeof(uint32_t));
	/* The inverse's scratch is free again before weights are read out. */
	const size_t scratch = symmetric_scratch_bytes(kept);
	const size_t writing = workers + similarity_write_bytes(items, options, threads);
	(void)users;
	return ease_sum(symmetric_bytes(kept), scratch > writing ? scratch : writing);
}

static void count_group(void *context, size_t shard, size_t worker)
{
	struct ease *ease = context;
	uint32_t *counts = ease->counts + worker * ease->kept;
	const size_t begin = shard * COUNT_GROUP, end = begin + COUNT_GROUP < ease->kept ? begin + COUNT_GROUP : ease->kept;
	for (size_t row = begin; row < end; row++) {
		double *to = symmetric_row(&ease->matrix, row);
		cooccurrence_row(&ease->cooccurrence, (uint32_t)row, (uint32_t)row + 1, counts);
		for (size_t i = 0; i <= row; i++)
			to[i] = (double)counts[i];
		to[row] += ease_penalty(ease->options, to[row]);
	}
}

/* X^T X and the penalty. */
static int fill(struct ease *ease, struct pool *pool, struct error *error)
{
	if (symmetric_init(&ease->matrix, ease->kept, error) < 0)
		return -1;
	ease->counts = mem_alloc(pool_threads(pool) * ease->kept, sizeof *ease->counts, error);
	if (!ease->counts)
		return -1;
	pool_run(pool, ((size_t)ease->kept + COUNT_GROUP - 1) / COUNT_GROUP, count_group, ease);
	mem_free(ease->counts);
	ease->counts = NULL;
	cooccurrence_release(&ease->cooccurrence);
	interactions_release(&ease->part);
	return 0;
}

static int invert(struct ease *ease, struct pool *pool, struct error *error)
{
	if (ease_invert_matrix(ease, pool, error) < 0)
		return -1;
	ease->diagonal = mem_alloc(ease->kept, sizeof *ease->diagonal, error);
	ease->rows = mem_alloc(pool_threads(pool) * WEIGH_GROUP * ease->kept, sizeof *ease->rows, error);
	if (!ease->diagonal || !ease->rows)
		return -1;
	for (size_t i = 0; i < ease->kept; i++)
		ease->diagonal[i] = symmetric_row(&ease->matrix, i)[i];
	return 0;
}

static void weigh(const struct ease *ease, size_t worker, uint32_t first, uint32_t last, bool columns,
                  float *const *weights)
{
	double *rows = ease->rows + worker * WEIGH_GROUP * ease->kept;
	symmetric_expand(&ease->matrix, first, last, rows, ease->kept);
	for (uint32_t row = first; row < last; row++, rows += ease->kept) {
		float *to = weights[row - first];
		for (uint32_t i = 0; i < ease->kept; i++)
			to[ease->ids[i]] = (float)(-rows[i] / ease->diagonal[columns ? row : i]);
	}
}

const struct ease_side ease_items = {bytes, fill, invert, weigh};
