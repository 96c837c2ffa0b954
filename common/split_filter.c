/* What is dropped before the cut: doubled pairs, rare users and items. */
#include "mem.h"
#include "split_internal.h"

/* ---- doubled pairs ---- */

/* A user's row beside what duplicates are sorted by. */
struct occurrence {
	uint32_t item, row;
	int64_t time;
};

static int by_item_then_time(const void *a, const void *b)
{
	const struct occurrence *x = a, *y = b;
	if (x->item != y->item)
		return x->item < y->item ? -1 : 1;
	if (x->time != y->time)
		return x->time < y->time ? -1 : 1;
	return x->row < y->row ? -1 : x->row > y->row;
}

static int doubled_error(const struct ratings *ratings, uint32_t row, struct error *error)
{
	size_t user_length, item_length;
	const char *user = idmap_text(&ratings->users, (uint32_t)column_get(&ratings->user, row), &user_length);
	const char *item = idmap_text(&ratings->items, (uint32_t)column_get(&ratings->item, row), &item_length);
	return error_set(error, CODE_DATA, "user '%.*s' rates item '%.*s' more than once (see --duplicates)",
	                 (int)user_length, user, (int)item_length, item);
}

/* Whether an item comes twice among scratch->values. */
static bool has_doubles(struct user_scratch *scratch)
{
	uint64_t doubles = 0;
	for (size_t i = 0; i < scratch->count; i++) {
		const uint64_t item = scratch->values[i], bit = UINT64_C(1) << (item % 64);
		doubles |= scratch->seen[item / 64] & bit;
		scratch->seen[item / 64] |= bit;
	}
	for (size_t i = 0; i < scratch->count; i++)
		scratch->seen[scratch->values[i] / 64] = 0;
	return doubles != 0;
}

static int drop_of_user(struct splitter *splitter, const void *context, uint32_t user, struct user_scratch *scratch,
                        struct split_counts *counts, struct error *error)
{
	struct ratings *ratings = splitter->ratings;
	const int policy = *(const int *)context;
	(void)user;
	user_items(splitter, scratch);
	if (!has_doubles(scratch))
		return 0;
	if (mem_grow(&scratch->events, &scratch->event_capacity, scratch->count, sizeof(struct occurrence), error) < 0)
		return -1;
	struct occurrence *some = scratch->events;
	for (size_t i = 0; i < scratch->count; i++) {
		const uint32_t row = scratch->rows[i];
		some[i] = (struct occurrence){(uint32_t)scratch->values[i], row,
		                              ratings->has_time ? ratings_time(ratings, row) : 0};
	}
	qsort(some, scratch->count, sizeof *some, by_item_then_time);
	for (size_t i = 1; i < scratch->count; i++) {
		if (some[i].item != some[i - 1].item)
			continue;
		if (policy == DUPLICATES_ERROR)
			return doubled_error(ratings, some[i].row, error);
		if (policy == DUPLICATES_LAST) {
			ratings->part[some[i - 1].row] = PART_DROPPED;
		} else {
			ratings->part[some[i].row] = PART_DROPPED;
			some[i].row = some[i - 1].row; /* the first stays the one to keep */
		}
		counts->doubled++;
	}
	return 0;
}

int split_drop_duplicates(struct splitter *splitter, int policy, struct error *error)
{
	return split_each_user(splitter, drop_of_user, &policy, SCRATCH_SEEN, error);
}

/* ---- minimum counts ---- */

enum { BATCH = 4096 };

/* Ratings of each user and item: before a pass, and what is left of them so far. */
struct tally {
	uint32_t *users, *items, *users_left, *items_left;
};

/* The users and items of up to BATCH rows from `row` on. Returns how many. */
static size_t read_pairs(const struct ratings *ratings, uint64_t row, uint64_t users[BATCH], uint64_t items[BATCH])
{
	const size_t some = ratings->count - row < BATCH ? (size_t)(ratings->count - row) : BATCH;
	column_read(&ratings->user, row, some, users);
	column_read(&ratings->item, row, some, items);
	return some;
}

static void count_left(const struct ratings *ratings, struct tally *tally)
{
	uint64_t users[BATCH], items[BATCH];
	for (uint64_t r = 0; r < ratings->count; r += BATCH) {
		const size_t some = read_pairs(ratings, r, users, items);
		for (size_t i = 0; i < some; i++) {
			const uint32_t kept = ratings->part[r + i] != PART_DROPPED;
			tally->users_left[users[i]] += kept;
			tally->items_left[items[i]] += kept;
		}
	}
}

/* Drops by what was left before this pass. */
static uint64_t drop_rare(struct ratings *ratings, struct tally *tally, uint32_t least_user, uint32_t least_item)
{
	uint64_t users[BATCH], items[BATCH], dropped = 0;
	memcpy(tally->users, tally->users_left, ratings->users.count * sizeof *tally->users);
	memcpy(tally->items, tally->items_left, ratings->items.count * sizeof *tally->items);
	for (uint64_t r = 0; r < ratings->count; r += BATCH) {
		const size_t some = read_pairs(ratings, r, users, items);
		for (size_t i = 0; i < some; i++) {
			if (ratings->part[r + i] == PART_DROPPED ||
			    (tally->users[users[i]] >= least_user && tally->items[items[i]] >= least_item))
				continue;
			ratings->part[r + i] = PART_DROPPED;
			tally->users_left[users[i]]--;
			tally->items_left[items[i]]--;
			dropped++;
		}
	}
	return dropped;
}

static int make_tally(struct tally *tally, const struct ratings *ratings, struct error *error)
{
	*tally = (struct tally){
		.users = mem_alloc(ratings->users.count, sizeof *tally->users, error),
		.items = mem_alloc(ratings->items.count, sizeof *tally->items, error),
		.users_left = mem_alloc_zero(ratings->users.count, sizeof *tally->users_left, error),
		.items_left = mem_alloc_zero(ratings->items.count, sizeof *tally->items_left, error),
	};
	return tally->users && tally->items && tally->users_left && tally->items_left ? 0 : -1;
}

static uint32_t count_some(const uint32_t *left, uint32_t count)
{
	uint32_t some = 0;
	for (uint32_t i = 0; i < count; i++)
		some += left[i] > 0;
	return some;
}

int split_filter(struct splitter *splitter, uint32_t least_user, uint32_t least_item, uint32_t core,
                 struct error *error)
{
	struct ratings *ratings = splitter->ratings;
	struct split_counts *counts = &splitter->counts;
	struct tally tally;
	uint64_t filtered = 0, dropped = 0;
	counts->users = ratings->users.count; /* of a doubled pair one is left */
	counts->items = ratings->items.count;
	if (least_user <= 1 && least_item <= 1 && core <= 1)
		return 0;
	int result = make_tally(&tally, ratings, error);
	if (result == 0) {
		count_left(ratings, &tally);
		if (least_item > 1)
			filtered += drop_rare(ratings, &tally, 0, least_item);
		if (least_user > 1)
			filtered += drop_rare(ratings, &tally, least_user, 0);
		do {
			dropped = core > 1 ? drop_rare(ratings, &tally, core, core) : 0;
			filtered += dropped;
		} while (dropped > 0);
		counts->filtered += filtered;
		counts->users = count_some(tally.users_left, ratings->users.count);
		counts->items = count_some(tally.items_left, ratings->items.count);
		if (counts->users == 0)
			result = error_set(error, CODE_DATA, "no rating is left by the minimum counts");
	}
	mem_free(tally.users);
	mem_free(tally.items);
	mem_free(tally.users_left);
	mem_free(tally.items_left);
	return result;
}
