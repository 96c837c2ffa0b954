/* EASE and cosine: weights of an independent implementation (tests/golden/make_ease.py), the choice of the best of
 * each column against a plain one, the same bytes whatever computes them, and refusals. */
#include "similarity_make.h"

#include "cooccurrence.h"
#include "make_similarity.h"

static json_t *cases;

static struct histories case_histories(const json_t *c)
{
	struct error error = {0};
	struct histories histories = {.times = NULL};
	const json_t *users = json_object_get(c, "pair_users"), *items = json_object_get(c, "pair_items");
	const size_t count = json_array_size(users);
	uint32_t *pairs = malloc(2 * count * sizeof *pairs);
	CHECK(pairs && count > 0);
	for (size_t i = 0; i < count; i++) {
		pairs[i] = (uint32_t)json_integer_value(json_array_get(users, i));
		pairs[count + i] = (uint32_t)json_integer_value(json_array_get(items, i));
	}
	CHECK_OK(interactions_from_pairs(&histories.interactions, (uint32_t)json_integer_value(json_object_get(c, "users")),
	                                 (uint32_t)json_integer_value(json_object_get(c, "items")), pairs, pairs + count,
	                                 count, &error), &error);
	free(pairs);
	return histories;
}

/* ---- golden ---- */

static void run_case(const json_t *c, enum ease_choice side)
{
	const json_t *row;
	size_t index, compared = 0;
	struct histories histories = case_histories(c);
	struct similarity_options options = plain;
	options.side = side;
	const bool is_ease = strcmp(json_string_value(json_object_get(c, "method")), "ease") == 0;
	options.method = is_ease ? SIMILARITY_EASE : SIMILARITY_COSINE;
	options.regularization = json_number_value(json_object_get(c, "regularization"));
	options.dropout = json_number_value(json_object_get(c, "dropout"));
	options.shrinkage = json_number_value(json_object_get(c, "shrinkage"));
	options.items_max = (uint32_t)json_integer_value(json_object_get(c, "kept"));
	float *square = made_square(&histories, &options, NULL);
	json_array_foreach(json_object_get(c, "rows"), index, row) {
		const size_t item = (size_t)json_integer_value(json_object_get(row, "item"));
		const json_t *weights = json_object_get(row, "weights");
		CHECK_EQUAL_U64(json_array_size(weights), histories.interactions.items);
		for (size_t i = 0; i < json_array_size(weights); i++, compared++)
			CHECK_CLOSE((double)square[item * histories.interactions.items + i], json_number_value(json_array_get(weights, i)),
			            1e-7);
	}
	CHECK(compared >= 4);
	free(square);
	histories_release(&histories);
}

static void test_golden(void)
{
	const json_t *c;
	size_t index;
	CHECK(json_array_size(cases) >= 6);
	json_array_foreach(cases, index, c)
		for (int side = EASE_SHORTER; side <= EASE_USERS; side++)
			run_case(c, (enum ease_choice)side);
}

/* ---- the best of each column ---- */

/* Weights of the column above which (in magnitude, ties by lower row) weight (j, i) is. */
static size_t rank_in_column(const float *square, size_t n, size_t j, size_t i)
{
	size_t above = 0;
	for (size_t other = 0; other < n; other++) {
		const float a = fabsf(square[other * n + i]), b = fabsf(square[j * n + i]);
		above += a > b || (a == b && other < j);
	}
	return above;
}

static void check_top(const struct histories *histories, struct similarity_options options)
{
	static const uint32_t tops[] = {1, 2, 5, 12};
	const size_t n = histories->interactions.items;
	uint64_t all, kept;
	options.top = 0;
	float *whole = made_square(histories, &options, &all);
	for (size_t t = 0; t < COUNT_OF(tops); t++) {
		options.top = tops[t];
		float *best = made_square(histories, &options, &kept);
		CHECK(kept < all && kept > 0);
		for (size_t j = 0; j < n; j++)
			for (size_t i = 0; i < n; i++)
				CHECK(best[j * n + i] == (rank_in_column(whole, n, j, i) < tops[t] ? whole[j * n + i] : 0.0f));
		free(best);
	}
	options.top = (uint32_t)n; /* more than there are: all */
	float *best = made_square(histories, &options, &kept);
	CHECK_EQUAL_U64(kept, all);
	CHECK(memcmp(best, whole, n * n * sizeof *best) == 0);
	free(best);
	free(whole);
}

static void test_the_best_of_each_column(void)
{
	struct histories histories = case_histories(json_array_get(cases, 3));
	struct similarity_options options = plain;
	check_top(&histories, options);
	options.side = EASE_USERS;
	check_top(&histories, options);
	options.items_max = 15;
	check_top(&histories, options);
	options.side = EASE_ITEMS;
	check_top(&histories, options);
	options = plain;
	options.method = SIMILARITY_COSINE; /* counts are small: many ties */
	check_top(&histories, options);
	histories_release(&histories);
}

/* ---- the same bytes ---- */

static void test_the_same_bytes(void)
{
	struct histories histories = case_histories(json_array_get(cases, 4));
	for (int method = 0; method < 2; method++)
		for (uint32_t top = 0; top < 20; top += 7) {
			struct similarity_options options = plain;
			options.method = (enum similarity_method)method;
			options.side = EASE_ITEMS; /* the other: test_similarity_sides.c */
			options.top = top;
			check_same(&histories, options);
		}
	histories_release(&histories);
}

/* ---- counts ---- */

static void test_counts(void)
{
	struct error error = {0};
	struct cooccurrence cooccurrence;
	struct histories histories = case_histories(json_array_get(cases, 1));
	uint32_t counts[64];
	const struct interactions interactions = histories.interactions;
	CHECK_OK(cooccurrence_init(&cooccurrence, &interactions, &error), &error);
	for (uint32_t j = 0; j < interactions.items; j++) {
		const uint32_t limit = j % 2 ? interactions.items : j + 1;
		memset(counts, 0xff, sizeof counts);
		cooccurrence_row(&cooccurrence, j, limit, counts);
		for (uint32_t i = 0; i < limit; i++) {
			uint32_t both = 0;
			for (uint32_t user = 0; user < interactions.users; user++)
				both += interactions_has(&interactions, user, i) && interactions_has(&interactions, user, j);
			CHECK_EQUAL_U64(counts[i], both);
		}
		CHECK_EQUAL_U64(counts[limit], UINT32_MAX);
		CHECK_EQUAL_U64(counts[j], interactions.popularity[j]);
	}
	cooccurrence_release(&cooccurrence);
	histories_release(&histories);
}

/* ---- refusals ---- */

static void test_too_little_memory(void)
{
	struct error error = {0};
	struct histories histories = case_histories(json_array_get(cases, 4));
	struct similarity_options options = plain;
	options.side = EASE_ITEMS;
	options.memory = (size_t)5 << 20;
	CHECK_OK(make("enough", &histories, &options, 1, &error), &error);
	options.memory = (size_t)2200 << 10; /* the scratch of one block column is most of it */
	CHECK(make("never", &histories, &options, 1, &error) < 0);
	CHECK(error.code == CODE_SYSTEM);
	const char *would_fit = strstr(error.message, "--items-max ");
	CHECK(strstr(error.message, "EASE of 260 items needs ") && would_fit);
	/* What it says would fit does fit, and one more does not. */
	options.items_max = would_fit ? (uint32_t)strtoul(would_fit + strlen("--items-max "), NULL, 10) : 0;
	CHECK(options.items_max > 0 && options.items_max < 260);
	error = (struct error){0};
	CHECK_OK(make("fits", &histories, &options, 1, &error), &error);
	options.items_max++;
	CHECK(make("never", &histories, &options, 1, &error) < 0);
	CHECK(error.code == CODE_SYSTEM);
	error = (struct error){0};
	options.method = SIMILARITY_COSINE; /* has no matrix */
	CHECK_OK(make("cosine", &histories, &options, 1, &error), &error);
	histories_release(&histories);
}

/* Two items that everybody has, and as good as no penalty. */
static void test_too_little_regularization(void)
{
	struct error error = {0};
	struct histories histories = {.times = NULL};
	static const uint32_t users[] = {0, 0, 1, 1, 2, 2}, items[] = {0, 1, 0, 1, 0, 1};
	struct similarity_options options = plain;
	CHECK_OK(interactions_from_pairs(&histories.interactions, 3, 2, users, items, COUNT_OF(users), &error), &error);
	options.regularization = 1e-15;
	CHECK(make("never", &histories, &options, 1, &error) < 0);
	CHECK(error.code == CODE_DATA && strstr(error.message, "--regularization 1e-15 is too small: the matrix is not"));
	histories_release(&histories);
}

static void test_no_items_and_one(void)
{
	static const uint32_t none[] = {0};
	for (uint32_t items = 0; items < 2; items++)
		for (int method = 0; method < 2; method++) {
			struct error error = {0};
			struct histories histories = {.times = NULL};
			struct similarity_options options = plain;
			uint64_t count = 99;
			options.method = (enum similarity_method)method;
			CHECK_OK(interactions_from_pairs(&histories.interactions, 1, items, none, none, items, &error), &error);
			free(made_square(&histories, &options, &count));
			CHECK_EQUAL_U64(count, 0);
			histories_release(&histories);
		}
}

int main(void)
{
	json_error_t why;
	cases = json_load_file("tests/golden/ease.json", 0, &why);
	if (!cases)
		printf("# tests/golden/ease.json: %s\n", why.text);
	RUN_IN_FOLDER(test_golden);
	RUN_IN_FOLDER(test_the_best_of_each_column);
	RUN_IN_FOLDER(test_the_same_bytes);
	RUN(test_counts);
	RUN_IN_FOLDER(test_too_little_memory);
	RUN_IN_FOLDER(test_too_little_regularization);
	RUN_IN_FOLDER(test_no_items_and_one);
	json_decref(cases);
	return check_done();
}
