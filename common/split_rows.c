/* Rows by user: who has which, and the walk over all users in shards of about equally many rows. Their number is
 * fixed, and counts are sums, so that nothing depends on the threads. */
#include "mem.h"
#include "split_internal.h"

enum { SHARDS = 64, BATCH = 4096 };

/* ---- who has which rows ---- */

/* starts[u + 2] counts user u. Returns whether the rows of every user lie together, users ascending: their numbers
 * are those of first appearance, so that any file that keeps users together is such a one. */
static bool count_rows(const struct ratings *ratings, uint32_t *starts)
{
	uint64_t users[BATCH];
	uint32_t user = 0, run = 0;
	bool together = true;
	if (ratings->user.stepped) {
		for (uint32_t u = 0; u < ratings->users.count; u++)
			starts[u + 2] = (uint32_t)(u + 1 < ratings->users.count ? ratings->user.steps[u + 1] : ratings->count) -
			                ratings->user.steps[u];
		return true;
	}
	for (uint64_t r = 0; r < ratings->count; r += BATCH) {
		const size_t some = ratings->count - r < BATCH ? (size_t)(ratings->count - r) : BATCH;
		column_read(&ratings->user, r, some, users);
		for (size_t i = 0; i < some; i++, run++) {
			if (users[i] == user)
				continue;
			together &= users[i] > user;
			starts[user + 2] += run;
			run = 0;
			user = (uint32_t)users[i];
		}
	}
	starts[user + 2] += run;
	return together;
}

/* starts[u + 1] is where u begins and, filled, where u ends. */
static void fill_order(const struct ratings *ratings, struct user_rows *rows)
{
	uint64_t users[BATCH];
	for (uint64_t r = 0; r < ratings->count; r += BATCH) {
		const size_t some = ratings->count - r < BATCH ? (size_t)(ratings->count - r) : BATCH;
		column_read(&ratings->user, r, some, users);
		for (size_t i = 0; i < some; i++)
			rows->order[rows->starts[users[i] + 1]++] = (uint32_t)(r + i);
	}
}

int splitter_init(struct splitter *splitter, struct ratings *ratings, size_t threads, struct error *error)
{
	struct user_rows *rows = &splitter->rows;
	const uint32_t users = ratings->users.count;
	*splitter = (struct splitter){.ratings = ratings};
	splitter->pool = pool_new(threads, error);
	rows->starts = mem_alloc_zero((size_t)users + 2, sizeof *rows->starts, error);
	if (!splitter->pool || !rows->starts)
		return -1;
	const bool together = count_rows(ratings, rows->starts);
	for (uint32_t u = 0; u < users; u++)
		rows->starts[u + 2] += rows->starts[u + 1];
	if (together) {
		memmove(rows->starts, rows->starts + 1, ((size_t)users + 1) * sizeof *rows->starts);
		return 0;
	}
	rows->order = mem_alloc(ratings->count, sizeof *rows->order, error);
	if (!rows->order)
		return -1;
	fill_order(ratings, rows);
	return 0;
}

void splitter_release(struct splitter *splitter)
{
	pool_free(splitter->pool);
	mem_free(splitter->rows.starts);
	mem_free(splitter->rows.order);
	*splitter = (struct splitter){0};
}

/* ---- users one by one ---- */

struct walk {
	struct splitter *splitter;
	user_work *work;
	const void *context;
	int needed;
	struct split_counts counts[SHARDS];
	struct error errors[SHARDS];
	bool failed[SHARDS];
};

/* The first user of a shard: whose rows begin at its share of all rows, or behind. */
static uint32_t first_user(const struct splitter *splitter, size_t shard)
{
	const size_t row = shard_begin(splitter->ratings->count, SHARDS, shard);
	uint32_t low = 0, high = splitter->ratings->users.count;
	while (low < high) {
		const uint32_t middle = low + (high - low) / 2;
		if (splitter->rows.starts[middle] < row)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static void release_scratch(struct user_scratch *scratch)
{
	mem_free(scratch->rows);
	mem_free(scratch->values);
	mem_free(scratch->seen);
	mem_free(scratch->keys);
	mem_free(scratch->spare);
	mem_free(scratch->events);
}

static int make_scratch(const struct walk *walk, uint32_t first, uint32_t last, struct user_scratch *scratch,
                        struct error *error)
{
	const struct splitter *splitter = walk->splitter;
	const uint32_t *starts = splitter->rows.starts;
	const size_t words = splitter->ratings->items.count / 64 + 1;
	size_t longest = 0;
	for (uint32_t u = first; u < last; u++)
		longest = starts[u + 1] - starts[u] > longest ? starts[u + 1] - starts[u] : longest;
	*scratch = (struct user_scratch){.rows = mem_alloc(longest, sizeof *scratch->rows, error),
	                                 .values = mem_alloc(longest, sizeof *scratch->values, error)};
	if (!scratch->rows || !scratch->values)
		return -1;
	if (walk->needed & SCRATCH_SEEN && !(scratch->seen = mem_alloc_zero(words, sizeof *scratch->seen, error)))
		return -1;
	if (!(walk->needed & SCRATCH_KEYS))
		return 0;
	scratch->keys = mem_alloc(longest, sizeof *scratch->keys, error);
	scratch->spare = mem_alloc(longest, sizeof *scratch->spare, error);
	return scratch->keys && scratch->spare ? 0 : -1;
}

static void gather_rows(const struct splitter *splitter, uint32_t user, struct user_scratch *scratch)
{
	const struct user_rows *rows = &splitter->rows;
	const uint8_t *part = splitter->ratings->part;
	size_t count = 0;
	for (uint32_t i = rows->starts[user]; i < rows->starts[user + 1]; i++) {
		const uint32_t row = rows->order ? rows->order[i] : i;
		scratch->rows[count] = row;
		count += part[row] != PART_DROPPED;
	}
	scratch->count = count;
}

static void walk_shard(void *context, size_t shard, size_t worker)
{
	struct walk *walk = context;
	const uint32_t first = first_user(walk->splitter, shard), last = first_user(walk->splitter, shard + 1);
	struct user_scratch scratch;
	(void)worker;
	int result = make_scratch(walk, first, last, &scratch, &walk->errors[shard]);
	for (uint32_t user = first; result == 0 && user < last; user++) {
		gather_rows(walk->splitter, user, &scratch);
		if (scratch.count > 0)
			result = walk->work(walk->splitter, walk->context, user, &scratch, &walk->counts[shard],
			                    &walk->errors[shard]);
	}
	release_scratch(&scratch);
	walk->failed[shard] = result < 0;
}

int split_each_user(struct splitter *splitter, user_work *work, const void *context, int needed, struct error *error)
{
	struct walk *walk = mem_alloc_zero(1, sizeof *walk, error);
	int result = walk ? 0 : -1;
	if (!walk)
		return -1;
	walk->splitter = splitter;
	walk->work = work;
	walk->context = context;
	walk->needed = needed;
	pool_run(splitter->pool, SHARDS, walk_shard, walk);
	for (size_t s = 0; result == 0 && s < SHARDS; s++) {
		splitter->counts.doubled += walk->counts[s].doubled;
		splitter->counts.without_test += walk->counts[s].without_test;
		splitter->counts.without_valid += walk->counts[s].without_valid;
		if (walk->failed[s]) {
			*error = walk->errors[s];
			result = -1;
		}
	}
	mem_free(walk);
	return result;
}

/* Rows that follow one another in the file are read from the column together. */
static void gather(const struct column *column, const struct user_scratch *scratch, uint64_t *values)
{
	const size_t count = scratch->count;
	const uint32_t *rows = scratch->rows;
	if (rows[count - 1] - rows[0] == count - 1) {
		column_read(column, rows[0], count, values);
		return;
	}
	for (size_t i = 0; i < count; i++)
		values[i] = column_get(column, rows[i]);
}

void user_items(const struct splitter *splitter, struct user_scratch *scratch)
{
	gather(&splitter->ratings->item, scratch, scratch->values);
}

void user_times(const struct splitter *splitter, struct user_scratch *scratch)
{
	const struct ratings *ratings = splitter->ratings;
	gather(&ratings->time, scratch, scratch->values);
	for (size_t i = 0; i < scratch->count; i++)
		scratch->values[i] = (uint64_t)ratings->first_time + (uint64_t)column_unzigzag(scratch->values[i]);
}
