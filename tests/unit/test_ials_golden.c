/* Alternating least squares against an independent implementation: the files of tests/golden/make_ials.py. */
#include <jansson.h>

#include "check.h"
#include "ials.h"
#include "mem.h"

static const char golden[] = "tests/golden/ials.json";
static const double tolerance = 2e-5;

static json_t *cases;

static double real(const json_t *object, const char *key)
{
	return json_number_value(json_object_get(object, key));
}

static uint32_t integer(const json_t *object, const char *key)
{
	return (uint32_t)json_integer_value(json_object_get(object, key));
}

static float *rows_of(size_t count, size_t stride)
{
	struct error error = {0};
	float *rows = mem_alloc_zero(count, stride * sizeof *rows, &error);
	if (!rows)
		abort();
	return rows;
}

static void read_interactions(const json_t *lists, uint32_t items, struct interactions *interactions)
{
	struct error error = {0};
	uint32_t users[8192], ids[8192];
	size_t count = 0, user, i;
	const json_t *list, *id;
	json_array_foreach(lists, user, list)
		json_array_foreach(list, i, id) {
			if (count == COUNT_OF(users))
				abort();
			users[count] = (uint32_t)user;
			ids[count++] = (uint32_t)json_integer_value(id);
		}
	CHECK_OK(interactions_from_pairs(interactions, (uint32_t)json_array_size(lists), items, users, ids, count,
	                                 &error), &error);
}

/* The same formula as first_values() of the maker. */
static void set_first_values(size_t rows, size_t factors, float *values)
{
	for (uint64_t k = 0; k < rows * factors; k++)
		values[k / factors * ials_stride(factors) + k % factors] =
			(float)((double)((5 * k * k + 17 * k + 5) % 1013) / 1013.0 - 0.5);
}

static void check_values(const json_t *expected, const float *values)
{
	const json_t *value;
	size_t k;
	json_array_foreach(expected, k, value)
		CHECK_CLOSE((double)values[k], json_number_value(value), tolerance);
	CHECK(k > 0);
}

static void check_rows(const json_t *rows, size_t stride, const float *values)
{
	const json_t *row;
	size_t index;
	json_array_foreach(rows, index, row)
		check_values(json_object_get(row, "values"), values + integer(row, "row") * stride);
	CHECK(index >= 4);
}

static void check_folding(const json_t *c, const struct ials_options *options, const float *item_rows)
{
	struct error error = {0};
	struct interactions history;
	const size_t stride = ials_stride(options->factors);
	const json_t *lists = json_object_get(c, "new_users"), *folded = json_object_get(c, "folded"), *values;
	size_t user;
	read_interactions(lists, integer(c, "items"), &history);
	float *user_rows = rows_of(history.users, stride);
	CHECK_OK(ials_fold_in(item_rows, integer(c, "items"), options, &history, user_rows, &error), &error);
	json_array_foreach(folded, user, values)
		check_values(values, user_rows + user * stride);
	CHECK_EQUAL_U64(user, 3);
	mem_free(user_rows);
	interactions_release(&history);
}

static void run_case(const json_t *c, const char *isa, size_t threads)
{
	struct error error = {0};
	struct interactions train;
	const struct ials_options options = {
		.factors = integer(c, "factors"), .regularization = real(c, "regularization"),
		.unobserved = real(c, "unobserved"), .scaling = real(c, "scaling"), .threads = threads, .isa = isa,
	};
	const size_t stride = ials_stride(options.factors);
	const json_t *objectives = json_object_get(c, "objectives");
	read_interactions(json_object_get(c, "seen"), integer(c, "items"), &train);
	float *user_rows = rows_of(train.users, stride), *item_rows = rows_of(train.items, stride);
	struct ials *ials = ials_open(&train, &options, &error);
	if (!ials && error.code == CODE_UNAVAILABLE) {
		printf("# %s: not on this machine\n", isa);
		goto out;
	}
	CHECK_OK(ials ? 0 : -1, &error);
	CHECK_EQUAL_U64(json_array_size(objectives), integer(c, "sweeps"));
	set_first_values(train.items, options.factors, item_rows);
	for (size_t sweep = 0; sweep < json_array_size(objectives); sweep++) {
		const double expected = json_number_value(json_array_get(objectives, sweep));
		double objective = NAN;
		CHECK_OK(ials_sweep(ials, user_rows, item_rows, &objective, &error), &error);
		CHECK_CLOSE(objective, expected, 1e-6 * expected);
	}
	check_rows(json_object_get(c, "user_rows"), stride, user_rows);
	check_rows(json_object_get(c, "item_rows"), stride, item_rows);
	check_folding(c, &options, item_rows);
out:
	ials_close(ials);
	mem_free(user_rows);
	mem_free(item_rows);
	interactions_release(&train);
}

static void run_cases(const char *isa, size_t threads)
{
	const json_t *c;
	size_t index;
	CHECK(json_array_size(cases) >= 4);
	json_array_foreach(cases, index, c)
		run_case(c, isa, threads);
}

static void test_portable(void)
{
	run_cases("portable", 1);
}

static void test_avx2(void)
{
	run_cases("avx2", 1);
}

static void test_avx512(void)
{
	run_cases("avx512", 1);
}

static void test_threads(void)
{
	run_cases("auto", 3);
}

int main(void)
{
	json_error_t why;
	cases = json_load_file(golden, 0, &why);
	if (!cases)
		printf("# %s: %s\n", golden, why.text);
	RUN(test_portable);
	RUN(test_avx2);
	RUN(test_avx512);
	RUN(test_threads);
	json_decref(cases);
	return check_done();
}
