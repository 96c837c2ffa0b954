/* EASE and cosine: weights of an independent implementation (tests/golden/make_ease.py), the choice of the best of
 * each column against a plain one, the same bytes whatever computes them, and refusals. */
#include "similarity_make.h"

#include "check.h"
#include "cooccurrence.h"
#include "folder.h"
#include "mem.h"
#include "sealed.h"
#include "similarity.h"

static json_t *cases;

static const struct similarity_options plain = {
	.regularization = 3, .shrinkage = 2, .memory = SIZE_MAX, .isa = ISA_PORTABLE, .quiet = true,
};

static struct interactions case_interactions(const json_t *c)
{
	struct error error = {0};
	struct interactions interactions;
	const json_t *users = json_object_get(c, "pair_users"), *items = json_object_get(c, "pair_items");
	const size_t count = json_array_size(users);
	uint32_t *pairs = malloc(2 * count * sizeof *pairs);
	CHECK(pairs && count > 0);
	for (size_t i = 0; i < count; i++) {
		pairs[i] = (uint32_t)json_integer_value(json_array_get(users, i));
		pairs[count + i] = (uint32_t)json_integer_value(json_array_get(items, i));
	}
	CHECK_OK(interactions_from_pairs(&interactions, (uint32_t)json_integer_value(json_object_get(c, "users")),
	                                 (uint32_t)json_integer_value(json_object_get(c, "items")), pairs, pairs + count,
	                                 count, &error), &error);
	free(pairs);
	return interactions;
}

/* Makes weights into the file `path`; 0 or -1. */
static int make(const char *path, const struct interactions *interactions, const struct similarity_options *options,
                size_t threads, struct error *error)
{
	struct output output;
	struct stream_writer writer = {0};
	struct similarity_times times;
	const struct stream_info info = {.users.count = interactions->users, .items.count = interactions->items};
	json_t *metadata = records_metadata("test", "", &info, error);
	struct pool *pool = pool_new(threads, error);
	CHECK(metadata && pool);
	CHECK_OK(output_open(&output, path, error), error);
	CHECK_OK(stream_writer_open(&writer, &output, STREAM_SIMILARITY, metadata, false, error), error);
	int result = similarity_make(interactions, options, pool, &writer, &times, error);
	if (result == 0) {
		CHECK_OK(stream_writer_finish(&writer, error), error);
		CHECK_OK(output_commit(&output, error), error);
	}
	stream_writer_release(&writer);
	output_release(&output);
	json_decref(metadata);
	pool_free(pool);
	return result;
}

/* All weights as a square, zeros where there is none. */
static float *made_square(const struct interactions *interactions, const struct similarity_options *options,
                          uint64_t *count)
{
	struct error error = {0};
	struct similarity similarity = {0};
	struct stream_info info = {0};
	const size_t n = interactions->items;
	float *square = calloc(n * n, sizeof *square);
	CHECK(square);
	CHECK_OK(make("square", interactions, options, 2, &error), &error);
	CHECK_OK(similarity_read(&similarity, "square", &info, &error), &error);
	for (size_t j = 0; j < n && similarity.items == n; j++)
		for (uint64_t k = similarity.offsets[j]; k < similarity.offsets[j + 1]; k++)
			square[j * n + similarity.neighbours[k]] = similarity.weights[k];
	if (count)
		*count = similarity.count;
	similarity_release(&similarity);
	stream_info_release(&info);
	return square;
}

/* ---- golden ---- */

static void run_case(const json_t *c)
{
	const json_t *row;
	size_t index, compared = 0;
	struct interactions interactions = case_interactions(c);
	struct similarity_options options = plain;
	const bool is_ease = strcmp(json_string_value(json_object_get(c, "method")), "ease") == 0;
	options.method = is_ease ? SIMILARITY_EASE : SIMILARITY_COSINE;
	options.regularization = json_number_value(json_object_get(c, "regularization"));
	options.dropout = json_number_value(json_object_get(c, "dropout"));
	options.shrinkage = json_number_value(json_object_get(c, "shrinkage"));
	options.items_max = (uint32_t)json_integer_value(json_object_get(c, "kept"));
	float *square = made_square(&interactions, &options, NULL);
	json_array_foreach(json_object_get(c, "rows"), index, row) {
		const size_t item = (size_t)json_integer_value(json_object_get(row, "item"));
		const json_t *weights = json_object_get(row, "weights");
		CHECK_EQUAL_U64(json_array_size(weights), interactions.items);
		for (size_t i = 0; i < json_array_size(weights); i++, compared++)
			CHECK_CLOSE((double)square[item * interactions.items + i], json_number_value(json_array_get(weights, i)),
			            1e-7);
	}
	CHECK(compared >= 4);
	free(square);
	interactions_release(&interactions);
}

static void test_golden(void)
{
	const json_t *c;
	size_t index;
	CHECK(json_array_size(cases) >= 6);
	json_array_foreach(cases, index, c)
		run_case(c);
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

static void check_top(const struct interactions *interactions, struct similarity_options options)
{
	static const uint32_t tops[] = {1, 2, 5, 12};
	const size_t n = interactions->items;
	uint64_t all, kept;
	options.top = 0;
	float *whole = made_square(interactions, &options, &all);
	for (size_t t = 0; t < COUNT_OF(tops); t++) {
		options.top = tops[t];
		float *best = made_square(interactions, &options, &kept);
		CHECK(kept < all && kept > 0);
		for (size_t j = 0; j < n; j++)
			for (size_t i = 0; i < n; i++)
				CHECK(best[j * n + i] == (rank_in_column(whole, n, j, i) < tops[t] ? whole[j * n + i] : 0.0f));
		free(best);
	}
	options.top = (uint32_t)n; /* more than there are: all */
	float *best = made_square(interactions, &options, &kept);
	CHECK_EQUAL_U64(kept, all);
	CHECK(memcmp(best, whole, n * n * sizeof *best) == 0);
	free(best);
	free(whole);
}

static void test_the_best_of_each_column(void)
{
	struct interactions interactions = case_interactions(json_array_get(cases, 3));
	struct similarity_options options = plain;
	check_top(&interactions, options);
	options.items_max = 15;
	check_top(&interactions, options);
	options = plain;
	options.method = SIMILARITY_COSINE; /* counts are small: many ties */
	check_top(&interactions, options);
	interactions_release(&interactions);
}

/* ---- the same bytes ---- */

static bool same_files(const char *a, const char *b)
{
	struct bytes one = bytes_read(a), other = bytes_read(b);
	const bool same = one.size == other.size && memcmp(one.at, other.at, one.size) == 0;
	free(one.at);
	free(other.at);
	return same;
}

static void check_same(const struct interactions *interactions, struct similarity_options options)
{
	static const size_t threads[] = {2, 3, 8};
	static const char *const isas[] = {"avx512", "avx2", "portable"};
	struct error error = {0};
	CHECK_OK(make("first", interactions, &options, 1, &error), &error);
	for (size_t t = 0; t < COUNT_OF(threads); t++) {
		CHECK_OK(make("again", interactions, &options, threads[t], &error), &error);
		CHECK(same_files("first", "again"));
	}
	for (size_t s = 0; s < COUNT_OF(isas); s++) {
		if (isa_find(isas[s], &options.isa, &error) < 0) {
			printf("# %s: not on this machine\n", isas[s]);
			error = (struct error){0};
			continue;
		}
		CHECK_OK(make("again", interactions, &options, 2, &error), &error);
		CHECK(same_files("first", "again"));
	}
}

static void test_the_same_bytes(void)
{
	struct interactions interactions = case_interactions(json_array_get(cases, 4));
	for (int method = 0; method < 2; method++)
		for (uint32_t top = 0; top < 20; top += 7) {
			struct similarity_options options = plain;
			options.method = (enum similarity_method)method;
			options.top = top;
			check_same(&interactions, options);
		}
	interactions_release(&interactions);
}

/* ---- counts ---- */

static void test_counts(void)
{
	struct error error = {0};
	struct cooccurrence cooccurrence;
	struct interactions interactions = case_interactions(json_array_get(cases, 1));
	uint32_t counts[64];
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
	interactions_release(&interactions);
}

/* ---- refusals ---- */

static void test_too_little_memory(void)
{
	struct error error = {0};
	struct interactions interactions = case_interactions(json_array_get(cases, 4));
	struct similarity_options options = plain;
	options.memory = (size_t)5 << 20;
	CHECK_OK(make("enough", &interactions, &options, 1, &error), &error);
	options.memory = (size_t)2200 << 10; /* the scratch of one block column is most of it */
	CHECK(make("never", &interactions, &options, 1, &error) < 0);
	CHECK(error.code == CODE_SYSTEM);
	const char *would_fit = strstr(error.message, "--items-max ");
	CHECK(strstr(error.message, "EASE of 260 items needs ") && would_fit);
	/* What it says would fit does fit, and one more does not. */
	options.items_max = would_fit ? (uint32_t)strtoul(would_fit + strlen("--items-max "), NULL, 10) : 0;
	CHECK(options.items_max > 0 && options.items_max < 260);
	error = (struct error){0};
	CHECK_OK(make("fits", &interactions, &options, 1, &error), &error);
	options.items_max++;
	CHECK(make("never", &interactions, &options, 1, &error) < 0);
	CHECK(error.code == CODE_SYSTEM);
	error = (struct error){0};
	options.method = SIMILARITY_COSINE; /* has no matrix */
	CHECK_OK(make("cosine", &interactions, &options, 1, &error), &error);
	interactions_release(&interactions);
}

/* Two items that everybody has, and as good as no penalty. */
static void test_too_little_regularization(void)
{
	struct error error = {0};
	struct interactions interactions;
	static const uint32_t users[] = {0, 0, 1, 1, 2, 2}, items[] = {0, 1, 0, 1, 0, 1};
	struct similarity_options options = plain;
	CHECK_OK(interactions_from_pairs(&interactions, 3, 2, users, items, COUNT_OF(users), &error), &error);
	options.regularization = 1e-15;
	CHECK(make("never", &interactions, &options, 1, &error) < 0);
	CHECK(error.code == CODE_DATA && strstr(error.message, "--regularization 1e-15 is too small: the matrix is not"));
	interactions_release(&interactions);
}

static void test_no_items_and_one(void)
{
	static const uint32_t none[] = {0};
	for (uint32_t items = 0; items < 2; items++)
		for (int method = 0; method < 2; method++) {
			struct error error = {0};
			struct interactions interactions;
			struct similarity_options options = plain;
			uint64_t count = 99;
			options.method = (enum similarity_method)method;
			CHECK_OK(interactions_from_pairs(&interactions, 1, items, none, none, items, &error), &error);
			free(made_square(&interactions, &options, &count));
			CHECK_EQUAL_U64(count, 0);
			interactions_release(&interactions);
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
