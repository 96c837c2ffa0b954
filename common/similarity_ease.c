/* EASE: which items take part, which way to their weights is shorter, and whether there is memory for it. Items beyond
 * items_max take no part: they have no weights, and their interactions are left out. */
#include "similarity_ease.h"

#include <inttypes.h>

#include "mem.h"
#include "progress.h"

/* ---- which side ---- */

/* The inverse takes the cube of what it is of. On the users' side, an element is added for every pair of an item and an
 * interaction as well, each worth sum_cost operations of the inverse: 13 to 31 measured, more where there are more
 * users. By counts alone, so that bytes do not depend on the machine. */
static const double sum_cost = 16;

static const struct ease_side *choose_side(const struct interactions *interactions,
                                           const struct similarity_options *options, uint32_t kept)
{
	static const struct ease_side *const sides[] = {[EASE_ITEMS] = &ease_items, [EASE_USERS] = &ease_users};
	const double users = interactions->users, items = kept, pairs = (double)interactions->count;
	if (options->side != EASE_SHORTER)
		return sides[options->side];
	return users * users * users + sum_cost * items * pairs < items * items * items ? &ease_users : &ease_items;
}

/* ---- memory ---- */

/* Bytes for `kept` items; what holds the interactions is counted twice (both ways round), and once more when they are
 * renumbered. */
static size_t bytes_needed(const struct interactions *interactions, const struct similarity_options *options,
                           uint32_t kept, size_t threads)
{
	const size_t pairs = (size_t)interactions->count * sizeof(uint32_t);
	const size_t ends = ((size_t)interactions->users + interactions->items) * (sizeof(uint64_t) + sizeof(uint32_t));
	const size_t held = (kept < interactions->items ? 5 : 2) * (pairs + ends);
	const struct ease_side *side = choose_side(interactions, options, kept);
	return ease_sum(held, side->bytes(interactions->users, interactions->items, kept, options, threads));
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

static int take_items(struct ease *ease, const struct interactions *interactions, struct error *error)
{
	int result = choose_items(ease, interactions, error);
	if (result == 0 && ease->kept < ease->items)
		result = take_part(ease, interactions, error);
	ease->interactions = ease->kept < ease->items ? &ease->part : interactions;
	return result == 0 ? cooccurrence_init(&ease->cooccurrence, ease->interactions, error) : -1;
}

int ease_invert_matrix(struct ease *ease, struct pool *pool, struct error *error)
{
	struct progress progress;
	progress_start(&progress, "block rows", ease->matrix.blocks, ease->options->quiet);
	int result = symmetric_invert(&ease->matrix, pool, ease->options->isa, &progress, error);
	progress_finish(&progress);
	if (result < 0 && error->code == CODE_DATA)
		return error_prefix(error, "--regularization %g is too small", ease->options->regularization);
	return result;
}

/* ---- weights ---- */

/* The first of the kept whose item is `item` or above. */
static uint32_t number_of(const struct ease *ease, uint32_t item)
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
	const uint32_t first = number_of(ease, begin), last = number_of(ease, end);
	float *rows[WEIGH_GROUP];
	memset(weights, 0, (size_t)(end - begin) * ease->items * sizeof *weights);
	for (uint32_t k = first; k < last; k++)
		rows[k - first] = weights + (size_t)(ease->ids[k] - begin) * ease->items;
	if (first < last)
		ease->side->weigh(ease, worker, first, last, columns, rows);
	for (uint32_t k = first; k < last; k++)
		rows[k - first][ease->ids[k]] = 0;
}

int similarity_make_ease(const struct interactions *interactions, const struct similarity_options *options,
                         struct pool *pool, struct stream_writer *writer, struct similarity_times *times,
                         struct error *error)
{
	struct ease ease = {.options = options, .items = interactions->items, .kept = interactions->items};
	if (options->items_max && options->items_max < ease.kept)
		ease.kept = options->items_max;
	ease.side = choose_side(interactions, options, ease.kept);
	const struct weigher weigher = {ease.items, ease.kept == ease.items, weigh, &ease};
	const double start = clock_seconds();
	double counted = start, inverted = start;
	int result = check_memory(interactions, options, ease.kept, pool_threads(pool), error);
	if (result == 0)
		result = take_items(&ease, interactions, error);
	if (result == 0) {
		result = ease.side->fill(&ease, pool, error);
		counted = clock_seconds();
	}
	if (result == 0) {
		result = ease.side->invert(&ease, pool, error);
		inverted = clock_seconds();
	}
	if (result == 0)
		result = similarity_write_all(&weigher, options, pool, writer, error);
	*times = (struct similarity_times){
		.count = counted - start,
		.invert = inverted - counted,
		.write = clock_seconds() - inverted,
		.items = ease.kept,
		.order = ease.side == &ease_users ? interactions->users : ease.kept,
	};
	mem_free(ease.ids);
	mem_free(ease.counts);
	mem_free(ease.rows);
	mem_free(ease.diagonal);
	mem_free(ease.square);
	mem_free(ease.penalties);
	cooccurrence_release(&ease.cooccurrence);
	interactions_release(&ease.part);
	symmetric_release(&ease.matrix);
	return result;
}
