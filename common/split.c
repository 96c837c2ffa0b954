/* The cut: within users (split_users.c), at one moment for all, or by users held out. */
#include "split.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "mem.h"
#include "split_internal.h"

enum { BATCH = 4096 };

uint64_t split_text_hash(const struct idmap *map, uint64_t id, uint64_t seed)
{
	size_t length;
	const char *text = idmap_text(map, (uint32_t)id, &length);
	return XXH3_64bits_withSeed(text, length, seed);
}

/* ---- one moment for all ---- */

/* Times of up to BATCH rows from `row` on, counted from `earliest`. Returns how many. */
static size_t read_times(const struct ratings *ratings, uint64_t row, uint64_t earliest, uint64_t since[BATCH])
{
	const size_t some = ratings->count - row < BATCH ? (size_t)(ratings->count - row) : BATCH;
	column_read(&ratings->time, row, some, since);
	for (size_t i = 0; i < some; i++)
		since[i] = (uint64_t)ratings->first_time + (uint64_t)column_unzigzag(since[i]) - earliest;
	return some;
}

enum { DIGIT_BITS = 16, DIGITS = 1 << DIGIT_BITS };

/* How many training rows there are of each digit at `shift`, among those that agree with `known` above it. */
static void count_digits(const struct ratings *ratings, unsigned shift, uint64_t known, uint64_t *counts)
{
	uint64_t since[BATCH];
	memset(counts, 0, DIGITS * sizeof *counts);
	for (uint64_t r = 0; r < ratings->count; r += BATCH) {
		const size_t some = read_times(ratings, r, (uint64_t)ratings->earliest, since);
		for (size_t i = 0; i < some; i++)
			if (ratings->part[r + i] == PART_TRAIN && (since[i] ^ known) >> shift < DIGITS)
				counts[since[i] >> shift & (DIGITS - 1)]++;
	}
}

/* The earliest moment until which at least the share 1 - `share` of the training rows happened: found digit by digit
 * of the time since the earliest, the highest first, by counting rows of each. */
static int find_cut(const struct ratings *ratings, double share, int64_t *cut, struct error *error)
{
	const uint64_t range = (uint64_t)ratings->latest - (uint64_t)ratings->earliest;
	uint64_t all = 0, before = 0, found = 0;
	unsigned shift = 0;
	uint64_t *counts = mem_alloc(DIGITS, sizeof *counts, error);
	if (!counts)
		return -1;
	for (uint64_t r = 0; r < ratings->count; r++)
		all += ratings->part[r] == PART_TRAIN;
	const double wanted = (double)all * (1 - share);
	while (shift + DIGIT_BITS < 64 && range >> (shift + DIGIT_BITS))
		shift += DIGIT_BITS;
	for (;; shift -= DIGIT_BITS) {
		uint64_t digit = 0;
		count_digits(ratings, shift, found, counts);
		while (digit < DIGITS - 1 && (double)(before + counts[digit]) < wanted)
			before += counts[digit++];
		found |= digit << shift;
		if (shift == 0)
			break;
	}
	mem_free(counts);
	*cut = (int64_t)((uint64_t)ratings->earliest + found);
	return 0;
}

static void move_later(struct ratings *ratings, int64_t cut, enum part to)
{
	uint64_t since[BATCH];
	for (uint64_t r = 0; r < ratings->count; r += BATCH) {
		const size_t some = read_times(ratings, r, 0, since);
		for (size_t i = 0; i < some; i++)
			if (ratings->part[r + i] == PART_TRAIN && (int64_t)since[i] > cut)
				ratings->part[r + i] = (uint8_t)to;
	}
}

static int cut_by_time(struct splitter *splitter, const struct split_options *options, struct error *error)
{
	struct ratings *ratings = splitter->ratings;
	struct split_counts *counts = &splitter->counts;
	if (!ratings->has_time)
		return error_set(error, CODE_DATA, "--split time needs a column of times");
	counts->cut = options->cut;
	if (!options->has_cut && find_cut(ratings, options->test_share, &counts->cut, error) < 0)
		return -1;
	move_later(ratings, counts->cut, PART_TEST);
	if (!options->valid)
		return 0;
	if (find_cut(ratings, options->test_share, &counts->valid_cut, error) < 0)
		return -1;
	move_later(ratings, counts->valid_cut, PART_VALID);
	return 0;
}

/* ---- users held out ---- */

static int cut_users(struct splitter *splitter, const struct split_options *options, struct error *error)
{
	/* A user's place in [0, 1) by hash: the test is below the share, the validation the same share of the rest. */
	const double test = options->test_share;
	const double valid = options->valid ? test + (1 - test) * test : test;
	struct ratings *ratings = splitter->ratings;
	uint64_t users[BATCH];
	uint8_t *parts = mem_alloc(ratings->users.count, sizeof *parts, error);
	if (!parts)
		return -1;
	for (uint32_t user = 0; user < ratings->users.count; user++) {
		const double place = (double)(split_text_hash(&ratings->users, user, options->seed) >> 11) * 0x1p-53;
		parts[user] = place < test ? PART_TEST : place < valid ? PART_VALID : PART_TRAIN;
	}
	for (uint64_t r = 0; r < ratings->count; r += BATCH) {
		const size_t some = ratings->count - r < BATCH ? (size_t)(ratings->count - r) : BATCH;
		column_read(&ratings->user, r, some, users);
		for (size_t i = 0; i < some; i++)
			if (ratings->part[r + i] != PART_DROPPED)
				ratings->part[r + i] = parts[users[i]];
	}
	mem_free(parts);
	return 0;
}

static void count_parts(const struct ratings *ratings, uint64_t counts[PARTS])
{
	uint64_t all[4][PART_DROPPED + 1] = {{0}}; /* in turns: an addition need not wait for the one before */
	for (uint64_t r = 0; r < ratings->count; r++)
		all[r % 4][ratings->part[r]]++;
	for (int p = 0; p < PARTS; p++)
		counts[p] += all[0][p] + all[1][p] + all[2][p] + all[3][p];
}

int split_cut(struct splitter *splitter, const struct split_options *options, struct error *error)
{
	int result = options->kind == SPLIT_TIME    ? cut_by_time(splitter, options, error)
	             : options->kind == SPLIT_USERS ? cut_users(splitter, options, error)
	                                            : split_cut_by_user(splitter, options, error);
	if (result < 0)
		return -1;
	count_parts(splitter->ratings, splitter->counts.parts);
	if (splitter->counts.parts[PART_TRAIN] == 0)
		return error_set(error, CODE_DATA, "nothing is left to train on");
	return 0;
}
