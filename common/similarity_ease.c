/* EASE: counts into the lower triangle of a matrix, its inverse in place, weights read out of that. Items beyond
 * items_max take no part: they have no weights, and their interactions are left out of the matrix. */
#include <inttypes.h>

#include "cooccurrence.h"
#include "inverse.h"
#include "mem.h"
#include "progress.h"
#include "similarity_internal.h"

enum { COUNT_GROUP = 16 }; /* rows a shard */

struct ease {
	const struct similarity_options *options;
	uint32_t items, kept;    /* of the catalogue; in the matrix */
	uint32_t *ids;           /* [kept]: the catalogue's id of each row of the matrix, ascending */
	struct interactions part;/* when some items are left out: the others, renumbered */
	struct cooccurrence cooccurrence;
	struct symmetric matrix;
	uint32_t *counts;        /* [worker][kept] */
	double *rows;            /* [worker][WEIGH_GROUP][kept] */
	double *diagonal;        /* [kept], of the inverse */
};

/* ---- memory ---- */

static size_t sum(size_t a, size_t b)
{
	size_t total;
	return __builtin_add_overflow(a, b, &total) ? SIZE_MAX : total;
}

/* Bytes for a matrix of `kept` items; what holds the interactions is counted twice (both ways round), and once more
 * when they are renumbered. */
static size_t bytes_needed(const struct interactions *interactions, const struct similarity_options *options,
                           uint32_t kept, size_t threads)
{
	const size_t pairs = (size_t)interactions->count * sizeof(uint32_t);
	const size_t ends = ((size_t)interactions->users + interactions->items) * (sizeof(uint64_t) + sizeof(uint32_t));
	const size_t held = (kept < interactions->items ? 5 : 2) * (pairs + ends);
	const size_t workers = threads * kept * (WEIGH_GROUP * sizeof(double) + sizeof(uint32_t));
	/* The inverse's scratch is free again before weights are read out. */
	const size_t scratch = symmetric_scratch_bytes(kept);
	const size_t writing = workers + similarity_write_bytes(interactions->items, options, threads);
	return sum(sum(symmetric_bytes(kept), held), scratch > writing ? scratch : writing);
}

static int check_memory(const struct interactions *interactions, const struct similarity_options *options,
                        uint32_t kept, size_t threads, struct error *error)
{
	const size_t needed = bytes_needed(interactions, options, kept, threads);
	uint32_t fits = 0, too_many = kept;
	if (needed <= options->memory)
		return 0;
	while (too_many - fits > 1) {
		const uint32_t middle = fits + (too_many - fits) / 2;
		if (bytes_needed(interactions, options, middle, threads) <= options->memory)
			fits = middle;
		else
			too_many = middle;
	}
	const double mib = 1 << 20;
	return error_set(error, CODE_SYSTEM,
	                 "EASE of %" PRIu32 " items needs %.0f MiB, %.0f MiB are allowed (--memory): --items-max %" PRIu32
	                 " would fit; --method cosine needs little",
	                 kept, (double)needed / mib, (double)options->memory / mib, fits);
}

/* ---- which items ---- */

/* The popularity that the least popular item kept has, and how many of that popularity are kept (lowest ids). */
static int find_threshold(const struct interactions *interactions, uint32_t kept, uint32_t *least, uint32_t *of_least,
                          struct error *error)
{
	uint64_t *with = mem_alloc_zero((size_t)interactions->users + 1, sizeof *with, error);
	if (!with)
		return -1;
	for (uint32_t i = 0; i < interactions->items; i++)
		with[interactions->popularity[i]]++;
	uint32_t popularity = interactions->users;
	uint64_t before = 0;
	while (before + with[popularity] < kept)
		before += with[popularity--];
	*least = popularity;
	*of_least = (uint32_t)(kept - before);
	mem_free(with);
	return 0;
}

static int choose_items(struct ease *ease, const struct interactions *interactions, struct error *error)
{
	uint32_t least = 0, of_least = UINT32_MAX, used = 0;
	ease->ids = mem_alloc(ease->kept, sizeof *ease->ids, error);
	if (!ease->ids)
		return -1;
	if (ease->kept < ease->items && find_threshold(interactions, ease->kept, &least, &of_least, error) < 0)
		return -1;
	for (uint32_t i = 0; i < ease->items; i++)
		if (interactions->popularity[i] > least || (interactions->popularity[i] == least && of_least && of_least--))
			ease->ids[used++] = i;
	return 0;
}

/* The interactions of the items that are kept, renumbered. */
static int take_part(struct ease *ease, const struct interactions *interactions, struct error *error)
{
	int result = -1;
	uint64_t used = 0;
	uint32_t *rows = mem_alloc(interactions->items, sizeof *rows, error);
	uint32_t *users = mem_alloc(interactions->count, sizeof *users, error);
	uint32_t *items = mem_alloc(interactions->count, sizeof *items, error);
	if (!rows || !users || !items)
		goto out;
	memset(rows, 0xff, interactions->items * sizeof *rows);
	for (uint32_t k = 0; k < ease->kept; k++)
		rows[ease->ids[k]] = k;
	for (uint32_t user = 0; user < interactions->users; user++) {
		size_t count;
		const uint32_t *of_user = interactions_of(interactions, user, &count);
		for (size_t k = 0; k < count; k++)
			if (rows[of_user[k]] != UINT32_MAX) {
				users[used] = user;
				items[used++] = rows[of_user[k]];
			}
	}
	result = interactions_from_pairs(&ease->part, interactions->users, ease->kept, users, items, used, error);
out:
	mem_free(rows);
	mem_free(users);
	mem_free(items);
	return result;
}

/* ---- X^T X + lambda I, and its inverse ---- */

static void count_group(void *context, size_t shard, size_t worker)
{
	struct ease *ease = context;
	const double dropout = ease->options->dropout;
	uint32_t *counts = ease->counts + worker * ease->kept;
	const size_t begin = shard * COUNT_GROUP, end = begin + COUNT_GROUP < ease->kept ? begin + COUNT_GROUP : ease->kept;
	for (size_t row = begin; row < end; row++) {
		double *to = symmetric_row(&ease->matrix, row);
		cooccurrence_row(&ease->cooccurrence, (uint32_t)row, (uint32_t)row + 1, counts);
		for (size_t i = 0; i <= row; i++)
			to[i] = (double)counts[i];
		to[row] += ease->options->regularization + dropout / (1 - dropout) * to[row];
	}
}

static int fill_matrix(struct ease *ease, const struct interactions *interactions, struct pool *pool,
                       struct error *error)
{
	int result = choose_items(ease, interactions, error);
	if (result == 0 && ease->kept < ease->items)
		result = take_part(ease, interactions, error);
	if (result == 0)
		result = cooccurrence_init(&ease->cooccurrence, ease->kept < ease->items ? &ease->part : interactions, error);
	if (result == 0)
		result = symmetric_init(&ease->matrix, ease->kept, error);
	if (result < 0)
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
	struct progress progress;
	progress_start(&progress, "block rows", ease->matrix.blocks, ease->options->quiet);
	int result = symmetric_invert(&ease->matrix, pool, ease->options->isa, &progress, error);
	progress_finish(&progress);
	if (result < 0)
		return error->code == CODE_DATA ? error_prefix(error, "--regularization %g is too small",
		                                               ease->options->regularization) : -1;
	ease->diagonal = mem_alloc(ease->kept, sizeof *ease->diagonal, error);
	ease->rows = mem_alloc(pool_threads(pool) * WEIGH_GROUP * ease->kept, sizeof *ease->rows, error);
	if (!ease->diagonal || !ease->rows)
		return -1;
	for (size_t i = 0; i < ease->kept; i++)
		ease->diagonal[i] = symmetric_row(&ease->matrix, i)[i];
	return 0;
}

/* ---- weights ---- */

/* The first row of the matrix whose item is `item` or above. */
static uint32_t row_of(const struct ease *ease, uint32_t item)
{
	uint32_t low = 0, high = ease->kept;
	while (low < high) {
		const uint32_t middle = low + (high - low) / 2;
		if (ease->ids[middle] < item)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static void weigh(void *context, size_t worker, uint32_t begin, uint32_t end, bool columns, float *weights)
{
	const struct ease *ease = context;
	double *rows = ease->rows + worker * WEIGH_GROUP * ease->kept;
	const uint32_t first = row_of(ease, begin), last = row_of(ease, end);
	memset(weights, 0, (size_t)(end - begin) * ease->items * sizeof *weights);
	symmetric_expand(&ease->matrix, first, last, rows, ease->kept);
	for (uint32_t row = first; row < last; row++, rows += ease->kept) {
		float *to = weights + (size_t)(ease->ids[row] - begin) * ease->items;
		for (uint32_t i = 0; i < ease->kept; i++)
			to[ease->ids[i]] = (float)(-rows[i] / ease->diagonal[columns ? row : i]);
		to[ease->ids[row]] = 0;
	}
}

int similarity_make_ease(const struct interactions *interactions, const struct similarity_options *options,
                         struct pool *pool, struct stream_writer *writer, struct similarity_times *times,
                         struct error *error)
{
	struct ease ease = {.options = options, .items = interactions->items, .kept = interactions->items};
	if (options->items_max && options->items_max < ease.kept)
		ease.kept = options->items_max;
	const struct weigher weigher = {ease.items, ease.kept == ease.items, weigh, &ease};
	const double start = clock_seconds();
	double counted = start, inverted = start;
	int result = check_memory(interactions, options, ease.kept, pool_threads(pool), error);
	if (result == 0) {
		result = fill_matrix(&ease, interactions, pool, error);
		counted = clock_seconds();
	}
	if (result == 0) {
		result = invert(&ease, pool, error);
		inverted = clock_seconds();
	}
	if (result == 0)
		result = similarity_write_all(&weigher, options, pool, writer, error);
	*times = (struct similarity_times){counted - start, inverted - counted, clock_seconds() - inverted, ease.kept};
	mem_free(ease.ids);
	mem_free(ease.counts);
	mem_free(ease.rows);
	mem_free(ease.diagonal);
	cooccurrence_release(&ease.cooccurrence);
	interactions_release(&ease.part);
	symmetric_release(&ease.matrix);
	return result;
}
