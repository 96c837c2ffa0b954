/* What is dropped before the cut: doubled pairs, rare users and items. */
#include "mem.h"
#include "split.h"

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

static int drop_of_user(struct ratings *ratings, int policy, struct occurrence *some, size_t count,
                        struct split_counts *counts, struct error *error)
{
	qsort(some, count, sizeof *some, by_item_then_time);
	for (size_t i = 1; i < count; i++) {
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

int split_drop_duplicates(struct ratings *ratings, int policy, struct split_counts *counts, struct error *error)
{
	struct user_rows rows;
	struct occurrence *some = NULL;
	size_t capacity = 0;
	int result = 0;
	if (user_rows_make(&rows, ratings, error) < 0)
		return -1;
	for (uint32_t u = 0; result == 0 && u < ratings->users.count; u++) {
		const size_t count = rows.starts[u + 1] - rows.starts[u];
		result = mem_grow((void **)&some, &capacity, count, sizeof *some, error);
		for (size_t i = 0; result == 0 && i < count; i++) {
			const uint32_t row = rows.order[rows.starts[u] + i];
			some[i] = (struct occurrence){(uint32_t)column_get(&ratings->item, row), row,
			                              ratings->has_time ? ratings_time(ratings, row) : 0};
		}
		if (result == 0)
			result = drop_of_user(ratings, policy, some, count, counts, error);
	}
	mem_free(some);
	user_rows_release(&rows);
	return result;
}

/* ---- minimum counts ---- */

struct tally {
	uint32_t *users, *items;
};

static void count_rows(const struct ratings *ratings, struct tally *tally)
{
	memset(tally->users, 0, ratings->users.count * sizeof *tally->users);
	memset(tally->items, 0, ratings->items.count * sizeof *tally->items);
	for (uint64_t r = 0; r < ratings->count; r++) {
		if (ratings->part[r] == PART_DROPPED)
			continue;
		tally->users[column_get(&ratings->user, r)]++;
		tally->items[column_get(&ratings->item, r)]++;
	}
}

static uint64_t drop_rare(struct ratings *ratings, const struct tally *tally, uint32_t least_user,
                          uint32_t least_item)
{
	uint64_t dropped = 0;
	for (uint64_t r = 0; r < ratings->count; r++) {
		if (ratings->part[r] == PART_DROPPED)
			continue;
		if (tally->users[column_get(&ratings->user, r)] >= least_user &&
		    tally->items[column_get(&ratings->item, r)] >= least_item)
			continue;
		ratings->part[r] = PART_DROPPED;
		dropped++;
	}
	return dropped;
}

static int nothing_left(const struct ratings *ratings, uint64_t dropped, struct error *error)
{
	uint64_t left = 0;
	for (uint64_t r = 0; r < ratings->count; r++)
		left += ratings->part[r] != PART_DROPPED;
	if (left > 0 || dropped == 0)
		return 0;
	return error_set(error, CODE_DATA, "no rating is left by the minimum counts");
}

int split_filter(struct ratings *ratings, uint32_t least_user, uint32_t least_item, uint32_t core,
                 struct split_counts *counts, struct error *error)
{
	struct tally tally = {0};
	int result = -1;
	uint64_t dropped = 0, before = counts->filtered;
	tally.users = mem_alloc(ratings->users.count, sizeof *tally.users, error);
	tally.items = mem_alloc(ratings->items.count, sizeof *tally.items, error);
	if (!tally.users || !tally.items)
		goto out;
	count_rows(ratings, &tally);
	if (least_item > 1)
		counts->filtered += drop_rare(ratings, &tally, 0, least_item);
	count_rows(ratings, &tally);
	if (least_user > 1)
		counts->filtered += drop_rare(ratings, &tally, least_user, 0);
	do {
		count_rows(ratings, &tally);
		dropped = core > 1 ? drop_rare(ratings, &tally, core, core) : 0;
		counts->filtered += dropped;
	} while (dropped > 0);
	for (uint32_t u = 0; u < ratings->users.count; u++)
		counts->users += tally.users[u] > 0;
	for (uint32_t i = 0; i < ratings->items.count; i++)
		counts->items += tally.items[i] > 0;
	result = nothing_left(ratings, counts->filtered - before, error);
out:
	mem_free(tally.users);
	mem_free(tally.items);
	return result;
}
