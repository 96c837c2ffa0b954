/* EASE by an inverse of items by items and by one of users by users: the same weights, the choice between them, and
 * what each needs. (Both against an independent implementation: test_similarity_make.c.) */
#include "make_similarity.h"

/* `pairs` random ones, the first items more popular; the last user and item 3 have none. */
static struct histories random_histories(uint32_t users, uint32_t items, size_t pairs)
{
	struct error error = {0};
	struct histories histories = {.times = NULL};
	uint32_t *ids = calloc(2 * pairs, sizeof *ids);
	CHECK(ids);
	for (size_t i = 0; i < pairs; i++) {
		const uint32_t mixed = (uint32_t)(i * 2654435761u) ^ (uint32_t)(i * 40503u) >> 5;
		const uint64_t a = mixed % 1013, b = (mixed >> 10) % 1019;
		ids[i] = (uint32_t)(a * (users - 1) / 1013);
		ids[pairs + i] = (uint32_t)(b * b * items / (1019 * 1019));
		ids[pairs + i] = ids[pairs + i] == 3 ? 4 : ids[pairs + i];
	}
	CHECK_OK(interactions_from_pairs(&histories.interactions, users, items, ids, ids + pairs, pairs, &error), &error);
	free(ids);
	return histories;
}

static void check_sides(const struct histories *histories, struct similarity_options options)
{
	const size_t n = histories->interactions.items;
	uint64_t of_items, of_users;
	double largest = 0, apart = 0;
	options.side = EASE_ITEMS;
	float *by_items = made_square(histories, &options, &of_items);
	options.side = EASE_USERS;
	float *by_users = made_square(histories, &options, &of_users);
	CHECK_EQUAL_U64(of_items, of_users);
	for (size_t k = 0; k < n * n; k++) {
		largest = fmax(largest, fabs((double)by_items[k]));
		apart = fmax(apart, fabs((double)by_items[k] - (double)by_users[k]));
	}
	CHECK(largest > 1e-3);
	CHECK(apart < 1e-7 * largest);
	free(by_items);
	free(by_users);
}

static void test_both_sides_agree(void)
{
	static const uint32_t shapes[][3] = {{7, 31, 90}, {37, 211, 1100}, {61, 60, 700}, {250, 263, 3000}, {90, 17, 600}};
	for (size_t s = 0; s < COUNT_OF(shapes); s++) {
		struct histories histories = random_histories(shapes[s][0], shapes[s][1], shapes[s][2]);
		struct similarity_options options = plain;
		check_sides(&histories, options);
		options.dropout = 0.3;
		check_sides(&histories, options);
		options.items_max = shapes[s][1] / 2;
		check_sides(&histories, options);
		options.items_max = 0;
		options.top = 5;
		check_sides(&histories, options);
		options.top = 0;
		options.regularization = 0.01;
		check_sides(&histories, options);
		histories_release(&histories);
	}
}

static void test_the_same_bytes(void)
{
	struct histories histories = random_histories(53, 301, 2000);
	struct similarity_options options = plain;
	options.side = EASE_USERS;
	for (uint32_t top = 0; top < 20; top += 9) {
		options.top = top;
		check_same(&histories, options);
	}
	options.items_max = 133;
	options.dropout = 0.5;
	check_same(&histories, options);
	histories_release(&histories);
}

static void test_the_choice(void)
{
	static const struct {
		uint32_t users, items, pairs, items_max, order;
	} rows[] = {
		{31, 700, 1500, 0, 31},
		{700, 31, 1500, 0, 31},
		{60, 61, 700, 0, 61},    /* not worth the sums */
		{31, 700, 1500, 20, 20},
		{31, 700, 1500, 300, 31},
		{50, 100, 300, 0, 50},   /* the users' cube and 16 times items times pairs: less than the items' cube */
		{50, 100, 900, 0, 100},
	};
	for (size_t r = 0; r < COUNT_OF(rows); r++) {
		struct error error = {0};
		struct histories histories = random_histories(rows[r].users, rows[r].items, rows[r].pairs);
		struct similarity_options options = plain;
		options.items_max = rows[r].items_max;
		CHECK_OK(make("shorter", &histories, &options, 1, &error), &error);
		CHECK_EQUAL_U64(made_times.order, rows[r].order);
		histories_release(&histories);
	}
}

static void test_too_little_memory(void)
{
	struct error error = {0};
	struct histories histories = random_histories(300, 4000, 6000);
	struct similarity_options options = plain;
	options.top = 3;
	options.memory = (size_t)3 << 20;
	CHECK(make("never", &histories, &options, 1, &error) < 0);
	CHECK(error.code == CODE_SYSTEM && strstr(error.message, "EASE of 4000 items needs "));
	const char *would_fit = strstr(error.message, "--items-max ");
	options.items_max = would_fit ? (uint32_t)strtoul(would_fit + strlen("--items-max "), NULL, 10) : 0;
	CHECK(options.items_max > 0 && options.items_max < 4000);
	error = (struct error){0};
	CHECK_OK(make("fits", &histories, &options, 1, &error), &error);
	options.items_max++;
	CHECK(make("never", &histories, &options, 1, &error) < 0);
	histories_release(&histories);
}

static void test_too_little_regularization(void)
{
	struct error error = {0};
	struct histories histories = random_histories(31, 300, 1500);
	struct similarity_options options = plain;
	options.side = EASE_USERS;
	options.regularization = 1e-15;
	CHECK(make("never", &histories, &options, 1, &error) < 0);
	CHECK(error.code == CODE_DATA && strstr(error.message, "--regularization 1e-15 is too small: "));
	histories_release(&histories);
}

/* No users, and users without items: every weight is 0. */
static void test_nobody(void)
{
	for (uint32_t users = 0; users < 3; users += 2) {
		struct error error = {0};
		struct histories histories = {.times = NULL};
		uint64_t count = 0;
		CHECK_OK(interactions_from_pairs(&histories.interactions, users, 9, NULL, NULL, 0, &error), &error);
		float *square = made_square(&histories, &plain, &count);
		CHECK_EQUAL_U64(count, 9 * 8);
		for (size_t k = 0; k < 9 * 9; k++)
			CHECK(square[k] == 0);
		free(square);
		histories_release(&histories);
	}
}

int main(void)
{
	RUN_IN_FOLDER(test_both_sides_agree);
	RUN_IN_FOLDER(test_the_same_bytes);
	RUN_IN_FOLDER(test_the_choice);
	RUN_IN_FOLDER(test_too_little_memory);
	RUN_IN_FOLDER(test_too_little_regularization);
	RUN_IN_FOLDER(test_nobody);
	return check_done();
}
