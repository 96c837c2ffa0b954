/* The cut itself. Users' rows are ordered by (time, key): the key of equal times is a hash of the seed and the
 * two ids' texts, or the place in the file; never the item's number, which would leak popularity. */
#include "split.h"

#include <math.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "mem.h"

/* A user's row with what it is ordered by. */
struct event {
	int64_t time;
	uint64_t key;
	uint32_t row;
};

static uint64_t text_hash(const struct idmap *map, uint64_t id, uint64_t seed)
{
	size_t length;
	const char *text = idmap_text(map, (uint32_t)id, &length);
	return XXH3_64bits_withSeed(text, length, seed);
}

static int by_time(const void *a, const void *b)
{
	const struct event *x = a, *y = b;
	if (x->time != y->time)
		return x->time < y->time ? -1 : 1;
	if (x->key != y->key)
		return x->key < y->key ? -1 : 1;
	return x->row < y->row ? -1 : x->row > y->row;
}

static void order_events(const struct ratings *ratings, const struct split_options *options, const uint32_t *rows,
                         size_t count, uint64_t user_hash, struct event *events)
{
	const bool timed = options->kind != SPLIT_RANDOM && ratings->has_time;
	const bool hashed = options->kind == SPLIT_RANDOM || options->ties == TIES_HASH;
	for (size_t i = 0; i < count; i++) {
		const uint32_t row = rows[i];
		events[i] = (struct event){
			.time = timed ? ratings_time(ratings, row) : 0,
			.key = hashed ? text_hash(&ratings->items, column_get(&ratings->item, row), user_hash) : 0,
			.row = row,
		};
	}
	qsort(events, count, sizeof *events, by_time);
}

/* How many of a user's `count` ratings test, and how many validate. */
static void user_shares(const struct split_options *options, size_t count, size_t *test, size_t *valid)
{
	if (options->kind != SPLIT_RATIO) {
		*test = count >= 2;
		*valid = options->valid && count >= 3;
		return;
	}
	size_t train = (size_t)ceil((double)count * options->ratio - 1e-9);
	train = train < 1 ? 1 : train;
	size_t kept = (size_t)ceil((double)train * options->ratio - 1e-9);
	kept = kept < 1 ? 1 : kept;
	*test = count - train;
	*valid = options->valid ? train - kept : 0;
}

static void cut_user(struct ratings *ratings, const struct split_options *options, const struct event *events,
                     size_t count, struct split_counts *counts)
{
	size_t test = 0, valid = 0;
	user_shares(options, count, &test, &valid);
	counts->without_test += test == 0;
	counts->without_valid += options->valid && valid == 0;
	for (size_t i = 0; i < count; i++)
		ratings->part[events[i].row] = i + test >= count           ? PART_TEST
		                               : i + test + valid >= count ? PART_VALID
		                                                           : PART_TRAIN;
}

static int cut_by_user(struct ratings *ratings, const struct split_options *options, struct split_counts *counts,
                       struct error *error)
{
	struct user_rows rows;
	struct event *events = NULL;
	size_t capacity = 0;
	int result = 0;
	if (user_rows_make(&rows, ratings, error) < 0)
		return -1;
	for (uint32_t u = 0; result == 0 && u < ratings->users.count; u++) {
		const size_t count = rows.starts[u + 1] - rows.starts[u];
		if (count == 0)
			continue;
		result = mem_grow((void **)&events, &capacity, count, sizeof *events, error);
		if (result < 0)
			break;
		order_events(ratings, options, rows.order + rows.starts[u], count,
		             text_hash(&ratings->users, u, options->seed), events);
		cut_user(ratings, options, events, count, counts);
	}
	mem_free(events);
	user_rows_release(&rows);
	return result;
}

/* ---- one moment for all ---- */

static uint64_t count_until(const struct ratings *ratings, enum part from, int64_t moment)
{
	uint64_t count = 0;
	for (uint64_t r = 0; r < ratings->count; r++)
		count += ratings->part[r] == from && ratings_time(ratings, r) <= moment;
	return count;
}

/* The earliest moment until which at least the share 1 - `share` of the rows of `from` happened: found by
 * bisection over time, which needs no memory. */
static int64_t find_cut(const struct ratings *ratings, enum part from, double share)
{
	const uint64_t all = count_until(ratings, from, ratings->latest);
	const double wanted = (double)all * (1 - share);
	int64_t low = ratings->earliest, high = ratings->latest;
	while (low < high) {
		const int64_t middle = (int64_t)((uint64_t)low + ((uint64_t)high - (uint64_t)low) / 2);
		if ((double)count_until(ratings, from, middle) >= wanted)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

static void move_later(struct ratings *ratings, int64_t cut, enum part to)
{
	for (uint64_t r = 0; r < ratings->count; r++)
		if (ratings->part[r] == PART_TRAIN && ratings_time(ratings, r) > cut)
			ratings->part[r] = (uint8_t)to;
}

static int cut_by_time(struct ratings *ratings, const struct split_options *options, struct split_counts *counts,
                       struct error *error)
{
	if (!ratings->has_time)
		return error_set(error, CODE_DATA, "--split time needs a column of times");
	counts->cut = options->has_cut ? options->cut : find_cut(ratings, PART_TRAIN, options->test_share);
	move_later(ratings, counts->cut, PART_TEST);
	if (options->valid) {
		counts->valid_cut = find_cut(ratings, PART_TRAIN, options->test_share);
		move_later(ratings, counts->valid_cut, PART_VALID);
	}
	return 0;
}

/* ---- users held out ---- */

static void cut_users(struct ratings *ratings, const struct split_options *options)
{
	/* A user's place in [0, 1) by hash: the test is below the share, the validation the same share of the rest. */
	const double test = options->test_share;
	const double valid = options->valid ? test + (1 - test) * test : test;
	for (uint64_t r = 0; r < ratings->count; r++) {
		if (ratings->part[r] == PART_DROPPED)
			continue;
		const uint64_t hash = text_hash(&ratings->users, column_get(&ratings->user, r), options->seed);
		const double place = (double)(hash >> 11) * 0x1p-53;
		ratings->part[r] = place < test ? PART_TEST : place < valid ? PART_VALID : PART_TRAIN;
	}
}

int split_cut(struct ratings *ratings, const struct split_options *options, struct split_counts *counts,
              struct error *error)
{
	int result = 0;
	if (options->kind == SPLIT_TIME)
		result = cut_by_time(ratings, options, counts, error);
	else if (options->kind == SPLIT_USERS)
		cut_users(ratings, options);
	else
		result = cut_by_user(ratings, options, counts, error);
	for (uint64_t r = 0; result == 0 && r < ratings->count; r++)
		if (ratings->part[r] != PART_DROPPED)
			counts->parts[ratings->part[r]]++;
	if (result == 0 && counts->parts[PART_TRAIN] == 0)
		return error_set(error, CODE_DATA, "nothing is left to train on");
	return result;
}
