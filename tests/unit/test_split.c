/* The cut: against plain oracles on random ratings, and against the same ratings shuffled. */
#include "check.h"
#include "folder.h"
#include "split.h"

enum { USERS = 40, ITEMS = 60, ROWS = 1500, TIMES = 300 };

struct row {
	uint32_t user, item;
	int64_t time;
};

static uint32_t draw_state;

/* Numbers below `bound`, the same in every run: test data, nothing more. */
static uint32_t draw(uint32_t bound)
{
	draw_state = draw_state * 1664525u + 1013904223u;
	return (uint32_t)(((uint64_t)draw_state * bound) >> 32);
}

/* `count` rows; items are unevenly popular; without doubled pairs where `distinct`. */
static size_t make_rows(struct row *rows, size_t count, bool distinct, uint32_t seed)
{
	static bool seen[USERS][ITEMS];
	size_t made = 0;
	memset(seen, 0, sizeof seen);
	draw_state = seed;
	for (size_t i = 0; i < count; i++) {
		const uint32_t user = draw(USERS), most = 1 + draw(ITEMS), item = draw(most);
		if (distinct && seen[user][item])
			continue;
		seen[user][item] = true;
		rows[made++] = (struct row){user, item, draw(TIMES)};
	}
	return made;
}

static void load(struct ratings *ratings, const struct row *rows, size_t count)
{
	const struct ratings_source source = {.minimum = -INFINITY, .threads = 1};
	struct row_errors errors = {.most = 0};
	struct error error = {0};
	FILE *file = fopen("r.csv", "w");
	CHECK(file != NULL);
	if (!file)
		return;
	fprintf(file, "user,item,rating,time\n");
	for (size_t i = 0; i < count; i++)
		fprintf(file, "u%u,i%u,%u.5,%lld\n", rows[i].user, rows[i].item, (unsigned)(i % 5), (long long)rows[i].time);
	CHECK(fclose(file) == 0);
	CHECK_OK(ratings_read(ratings, "r.csv", &source, &errors, &error), &error);
	CHECK_EQUAL_U64(ratings->count, count);
}

static struct splitter start(struct ratings *ratings)
{
	struct splitter splitter;
	struct error error = {0};
	CHECK_OK(splitter_init(&splitter, ratings, 1 + draw(3), &error), &error);
	return splitter;
}

static void cut(struct ratings *ratings, const struct split_options *options, struct split_counts *counts)
{
	struct error error = {0};
	struct splitter splitter = start(ratings);
	CHECK_OK(split_cut(&splitter, options, &error), &error);
	*counts = splitter.counts;
	splitter_release(&splitter);
}

/* ---- columns ---- */

static void test_times_at_both_ends_of_64_bits(void)
{
	const int64_t times[] = {5, INT64_MIN, INT64_MAX, 0, -1};
	struct row rows[COUNT_OF(times)];
	struct ratings ratings = {0};
	struct split_counts counts;
	const struct split_options options = {.kind = SPLIT_TIME, .test_share = 0.3};
	for (uint32_t i = 0; i < COUNT_OF(times); i++)
		rows[i] = (struct row){i, i, times[i]};
	load(&ratings, rows, COUNT_OF(times));
	for (uint32_t i = 0; i < COUNT_OF(times); i++)
		CHECK(ratings_time(&ratings, i) == times[i]);
	CHECK(ratings.earliest == INT64_MIN && ratings.latest == INT64_MAX);
	cut(&ratings, &options, &counts);
	CHECK(counts.cut == 5);
	CHECK(ratings.part[2] == PART_TEST);
	CHECK_EQUAL_U64(counts.parts[PART_TEST], 1);
	ratings_release(&ratings);
}

/* ---- what is dropped ---- */

/* True when row `i` is the one of its pair that `policy` keeps, looked up the slow way. */
static bool is_kept(const struct row *rows, size_t count, size_t i, int policy)
{
	for (size_t j = 0; j < count; j++) {
		if (j == i || rows[j].user != rows[i].user || rows[j].item != rows[i].item)
			continue;
		const bool later = rows[j].time != rows[i].time ? rows[j].time > rows[i].time : j > i;
		if (later == (policy == DUPLICATES_LAST))
			return false;
	}
	return true;
}

static void test_duplicates(void)
{
	static struct row rows[ROWS];
	const size_t count = make_rows(rows, ROWS, false, 1);
	for (int policy = DUPLICATES_LAST; policy <= DUPLICATES_FIRST; policy++) {
		struct ratings ratings = {0};
		struct error error = {0};
		uint64_t wrong = 0, dropped = 0;
		load(&ratings, rows, count);
		struct splitter splitter = start(&ratings);
		CHECK_OK(split_drop_duplicates(&splitter, policy, &error), &error);
		for (size_t i = 0; i < count; i++) {
			wrong += (ratings.part[i] != PART_DROPPED) != is_kept(rows, count, i, policy);
			dropped += ratings.part[i] == PART_DROPPED;
		}
		CHECK_EQUAL_U64(wrong, 0);
		CHECK(dropped > 0);
		CHECK_EQUAL_U64(splitter.counts.doubled, dropped);
		splitter_release(&splitter);
		ratings_release(&ratings);
	}
}

/* Rows left of user or item `id`. */
static uint32_t degree(const struct row *rows, const bool *kept, size_t count, bool of_user, uint32_t id)
{
	uint32_t all = 0;
	for (size_t i = 0; i < count; i++)
		all += kept[i] && (of_user ? rows[i].user : rows[i].item) == id;
	return all;
}

/* Drops the rows of every user, or item, that has fewer than `least`. */
static bool drop_few(const struct row *rows, bool *kept, size_t count, bool of_user, uint32_t least)
{
	bool any = false;
	for (uint32_t id = 0; id < (of_user ? USERS : ITEMS); id++) {
		if (degree(rows, kept, count, of_user, id) >= least)
			continue;
		for (size_t i = 0; i < count; i++) {
			if (!kept[i] || (of_user ? rows[i].user : rows[i].item) != id)
				continue;
			kept[i] = false;
			any = true;
		}
	}
	return any;
}

/* The k-core is unique, whatever the order of dropping: users and items in turns here, together there. */
static void test_minimum_counts_and_core(void)
{
	static const struct {
		uint32_t user, item, core;
	} cases[] = {{1, 1, 1}, {25, 1, 1}, {1, 15, 1}, {15, 12, 1}, {1, 1, 8}, {15, 3, 11}};
	static struct row rows[ROWS];
	static bool kept[ROWS];
	const size_t count = make_rows(rows, ROWS, true, 2);
	for (size_t c = 0; c < COUNT_OF(cases); c++) {
		struct ratings ratings = {0};
		struct error error = {0};
		uint64_t wrong = 0, left = 0;
		uint32_t users = 0, items = 0;
		load(&ratings, rows, count);
		struct splitter splitter = start(&ratings);
		CHECK_OK(split_filter(&splitter, cases[c].user, cases[c].item, cases[c].core, &error), &error);
		memset(kept, 1, sizeof kept);
		drop_few(rows, kept, count, false, cases[c].item);
		drop_few(rows, kept, count, true, cases[c].user);
		for (bool any = true; any;) {
			any = drop_few(rows, kept, count, true, cases[c].core);
			any = drop_few(rows, kept, count, false, cases[c].core) || any;
		}
		for (size_t i = 0; i < count; i++) {
			wrong += kept[i] != (ratings.part[i] != PART_DROPPED);
			left += kept[i];
		}
		CHECK_EQUAL_U64(wrong, 0);
		CHECK(left > 0 && (c == 0) == (left == count));
		for (uint32_t id = 0; id < ITEMS; id++) {
			users += id < USERS && degree(rows, kept, count, true, id) > 0;
			items += degree(rows, kept, count, false, id) > 0;
		}
		CHECK_EQUAL_U64(splitter.counts.filtered, count - left);
		CHECK_EQUAL_U64(splitter.counts.users, users);
		CHECK_EQUAL_U64(splitter.counts.items, items);
		splitter_release(&splitter);
		ratings_release(&ratings);
	}
}

/* ---- the cut ---- */

/* Rows of the same user that come before row `i` in (time, file order). */
static size_t rank_of(const struct row *rows, size_t count, size_t i, size_t *of)
{
	size_t before = 0;
	*of = 0;
	for (size_t j = 0; j < count; j++) {
		if (rows[j].user != rows[i].user)
			continue;
		++*of;
		before += rows[j].time < rows[i].time || (rows[j].time == rows[i].time && j < i);
	}
	return before;
}

static void test_last_and_ratio_by_file_order(void)
{
	static struct row rows[ROWS];
	const size_t count = make_rows(rows, ROWS / 8, true, 3);
	const struct split_options last = {.kind = SPLIT_LAST, .valid = true, .ties = TIES_ORDER};
	const struct split_options ratio = {.kind = SPLIT_RATIO, .valid = true, .ties = TIES_ORDER, .ratio = 0.75};
	struct ratings ratings = {0};
	struct split_counts counts;
	uint64_t wrong = 0;
	load(&ratings, rows, count);
	cut(&ratings, &last, &counts);
	for (size_t i = 0; i < count; i++) {
		size_t of, rank = rank_of(rows, count, i, &of);
		const int part = of >= 2 && rank + 1 == of ? PART_TEST : of >= 3 && rank + 2 == of ? PART_VALID : PART_TRAIN;
		wrong += ratings.part[i] != part;
	}
	CHECK_EQUAL_U64(wrong, 0);
	CHECK_EQUAL_U64(counts.parts[PART_TEST] + counts.without_test, ratings.users.count);
	CHECK_EQUAL_U64(counts.parts[PART_VALID] + counts.without_valid, ratings.users.count);
	cut(&ratings, &ratio, &counts);
	for (size_t i = 0; i < count; i++) {
		size_t of, rank = rank_of(rows, count, i, &of);
		const size_t train = (3 * of + 3) / 4, kept = (3 * train + 3) / 4; /* rounded up */
		wrong += ratings.part[i] != (rank >= train ? PART_TEST : rank >= kept ? PART_VALID : PART_TRAIN);
	}
	CHECK_EQUAL_U64(wrong, 0);
	ratings_release(&ratings);
}

/* The earliest moment by which the wanted number has happened, looked up the slow way. */
static int64_t slow_cut(const struct row *rows, const bool *in, size_t count, double share)
{
	size_t all = 0;
	for (size_t i = 0; i < count; i++)
		all += in[i];
	for (int64_t moment = 0;; moment++) {
		size_t until = 0;
		for (size_t i = 0; i < count; i++)
			until += in[i] && rows[i].time <= moment;
		if ((double)until >= (double)all * (1 - share))
			return moment;
	}
}

static void test_one_moment_for_all(void)
{
	static struct row rows[ROWS];
	static bool in[ROWS];
	const size_t count = make_rows(rows, ROWS, true, 4);
	struct ratings ratings = {0};
	struct split_counts counts;
	load(&ratings, rows, count);
	for (int tenths = 1; tenths <= 9; tenths += 2) {
		const struct split_options options = {.kind = SPLIT_TIME, .valid = true, .test_share = tenths / 10.0};
		uint64_t wrong = 0;
		memset(ratings.part, PART_TRAIN, count);
		cut(&ratings, &options, &counts);
		memset(in, 1, sizeof in);
		CHECK(counts.cut == slow_cut(rows, in, count, options.test_share));
		for (size_t i = 0; i < count; i++)
			in[i] = rows[i].time <= counts.cut;
		CHECK(counts.valid_cut == slow_cut(rows, in, count, options.test_share));
		for (size_t i = 0; i < count; i++)
			wrong += ratings.part[i] != (rows[i].time > counts.cut         ? PART_TEST
			                             : rows[i].time > counts.valid_cut ? PART_VALID
			                                                               : PART_TRAIN);
		CHECK_EQUAL_U64(wrong, 0);
		CHECK(counts.parts[PART_TEST] > 0 && counts.parts[PART_TRAIN] > 0);
	}
	ratings_release(&ratings);
}

/* Parts by (user, item), for comparing two orders of the same rows. */
static void parts_by_pair(const struct row *rows, size_t count, const struct split_options *options,
                          uint8_t parts[USERS][ITEMS])
{
	struct ratings ratings = {0};
	struct split_counts counts;
	load(&ratings, rows, count);
	cut(&ratings, options, &counts);
	memset(parts, PARTS, USERS * ITEMS);
	for (size_t i = 0; i < count; i++)
		parts[rows[i].user][rows[i].item] = ratings.part[i];
	CHECK(counts.parts[PART_TEST] > 0 && counts.parts[PART_VALID] > 0);
	ratings_release(&ratings);
}

/* Ids are numbered as they appear, so a shuffled file numbers them otherwise: that a pair's part stays shows
 * that ties go by the ids' texts alone. Another seed must cut elsewhere. */
static void test_neither_order_nor_numbers_of_ids_decide(void)
{
	static struct row rows[ROWS], shuffled[ROWS];
	static uint8_t parts[USERS][ITEMS], again[USERS][ITEMS];
	const size_t count = make_rows(rows, ROWS, true, 5);
	for (size_t i = 0; i < count; i++)
		rows[i].time /= 50; /* many ties */
	memcpy(shuffled, rows, sizeof rows);
	for (size_t i = count - 1; i > 0; i--) {
		const size_t j = draw((uint32_t)i + 1);
		const struct row held = shuffled[i];
		shuffled[i] = shuffled[j];
		shuffled[j] = held;
	}
	for (int kind = SPLIT_LAST; kind <= SPLIT_USERS; kind++) {
		struct split_options options = {.kind = kind, .valid = true, .ratio = 0.8, .test_share = 0.2, .seed = 7};
		parts_by_pair(rows, count, &options, parts);
		parts_by_pair(shuffled, count, &options, again);
		CHECK(memcmp(parts, again, sizeof parts) == 0);
		options.seed = 8;
		parts_by_pair(rows, count, &options, again);
		CHECK((memcmp(parts, again, sizeof parts) == 0) == (kind == SPLIT_TIME));
	}
}

/* A keyed hash favours no place: of 3,000 users with three ratings at one time, each rating tests a third. */
static void test_random_is_even(void)
{
	enum { MANY = 3000 };
	static struct row rows[3 * MANY];
	struct ratings ratings = {0};
	struct split_counts counts;
	for (uint32_t i = 0; i < 3 * MANY; i++)
		rows[i] = (struct row){i / 3, i % 3, 9};
	load(&ratings, rows, COUNT_OF(rows));
	for (int kind = SPLIT_LAST; kind <= SPLIT_RANDOM; kind++) {
		const struct split_options options = {.kind = kind, .seed = 1};
		uint32_t tested[3] = {0};
		cut(&ratings, &options, &counts);
		for (size_t i = 0; i < COUNT_OF(rows); i++)
			tested[i % 3] += ratings.part[i] == PART_TEST;
		for (int k = 0; k < 3; k++)
			CHECK_CLOSE(tested[k], 1000, 5 * 25.8); /* five standard deviations of a binomial */
	}
	ratings_release(&ratings);
}

static void test_nothing_to_train_on_is_an_error(void)
{
	const struct row rows[] = {{0, 0, 5}, {0, 1, 6}};
	const struct split_options options = {.kind = SPLIT_TIME, .has_cut = true, .cut = 4};
	struct ratings ratings = {0};
	struct error error = {0};
	load(&ratings, rows, COUNT_OF(rows));
	struct splitter splitter = start(&ratings);
	CHECK(split_cut(&splitter, &options, &error) == -1);
	CHECK_EQUAL_U64(error.code, CODE_DATA);
	splitter_release(&splitter);
	ratings_release(&ratings);
}

int main(void)
{
	RUN_IN_FOLDER(test_times_at_both_ends_of_64_bits);
	RUN_IN_FOLDER(test_duplicates);
	RUN_IN_FOLDER(test_minimum_counts_and_core);
	RUN_IN_FOLDER(test_last_and_ratio_by_file_order);
	RUN_IN_FOLDER(test_one_moment_for_all);
	RUN_IN_FOLDER(test_neither_order_nor_numbers_of_ids_decide);
	RUN_IN_FOLDER(test_random_is_even);
	RUN_IN_FOLDER(test_nothing_to_train_on_is_an_error);
	return check_done();
}
