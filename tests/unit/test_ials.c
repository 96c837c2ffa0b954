/* Alternating least squares: each half against the normal equations in double, the objective against its
 * definition, the same bytes for any threads and instruction sets, odd shapes, and what cannot be solved. */
#include "ials.h"

#include "check.h"
#include "mem.h"
#include "rng.h"

enum { PAIRS_MAX = 20000 };

struct shape {
	uint32_t users, items;
	size_t factors;
	double density;
};

static const struct shape shapes[] = {
	{1, 1, 1, 2}, {1, 7, 3, 0.6}, {9, 1, 16, 0.6}, {20, 31, 1, 0.3}, {40, 30, 17, 0.3},
	{35, 60, 40, 0.6}, {150, 11, 16, 0.95}, {30, 140, 100, 0.5},
};

static struct ials_options options_for(size_t factors)
{
	struct ials_options options = ials_defaults;
	options.factors = factors;
	options.regularization = 0.05;
	options.threads = 1;
	options.seed = 3;
	return options;
}

/* User 2 and item 3 have nothing. */
static struct interactions make_interactions(const struct shape *shape)
{
	static uint32_t users[PAIRS_MAX], items[PAIRS_MAX];
	struct error error = {0};
	struct interactions interactions;
	struct rng rng;
	uint64_t count = 0;
	rng_init(&rng, 5, rng_stream(RNG_TEST, 0), shape->users);
	for (uint32_t u = 0; u < shape->users; u++)
		for (uint32_t i = 0; i < shape->items; i++) {
			const double chance = shape->density / (0.5 + (double)(u % 7) / 6);
			if (rng_unit(&rng) >= chance || u == 2 || i == 3 || count == PAIRS_MAX)
				continue;
			users[count] = u;
			items[count++] = i;
		}
	CHECK_OK(interactions_from_pairs(&interactions, shape->users, shape->items, users, items, count, &error),
	         &error);
	return interactions;
}

static float *rows_of(size_t count, size_t stride)
{
	struct error error = {0};
	float *rows = mem_alloc(count, stride * sizeof *rows, &error);
	if (!rows)
		abort();
	memset(rows, 0xff, count * stride * sizeof *rows); /* NaN: what is not written shows */
	return rows;
}

static double at(const float *rows, size_t factors, size_t row, size_t k)
{
	return (double)rows[row * ials_stride(factors) + k];
}

static double score(const float *user_rows, const float *item_rows, size_t factors, size_t user, size_t item)
{
	double sum = 0;
	for (size_t k = 0; k < factors; k++)
		sum += at(user_rows, factors, user, k) * at(item_rows, factors, item, k);
	return sum;
}

static double penalty(const struct ials_options *options, size_t count, size_t others)
{
	return options->regularization * pow((double)count + options->unobserved * (double)others, options->scaling);
}

/* Largest entry of the objective's gradient at a user's vector, over the scale of its terms: 0 at the minimum. */
static double gradient_of(const struct interactions *train, const struct ials_options *options, uint32_t user,
                          const float *user_rows, const float *item_rows)
{
	double most = 0, scale = 0;
	size_t count;
	(void)interactions_of(train, user, &count);
	for (size_t k = 0; k < options->factors; k++) {
		double sum = penalty(options, count, train->items) * at(user_rows, options->factors, user, k);
		for (uint32_t i = 0; i < train->items; i++) {
			const double s = score(user_rows, item_rows, options->factors, user, i);
			const double y = at(item_rows, options->factors, i, k), seen = interactions_has(train, user, i);
			sum += (seen * (s - 1) + options->unobserved * s) * y;
			scale = fmax(scale, fabs(y) * (double)(count + 1));
		}
		most = fmax(most, fabs(sum));
	}
	return scale > 0 ? most / scale : most;
}

static double objective_of(const struct interactions *train, const struct ials_options *options,
                           const float *user_rows, const float *item_rows)
{
	double sum = 0;
	for (uint32_t u = 0; u < train->users; u++)
		for (uint32_t i = 0; i < train->items; i++) {
			const double s = score(user_rows, item_rows, options->factors, u, i);
			sum += options->unobserved * s * s + (interactions_has(train, u, i) ? (s - 1) * (s - 1) : 0);
		}
	for (uint32_t u = 0; u < train->users; u++) {
		size_t count;
		(void)interactions_of(train, u, &count);
		sum += penalty(options, count, train->items) * score(user_rows, user_rows, options->factors, u, u);
	}
	for (uint32_t i = 0; i < train->items; i++)
		sum += penalty(options, train->popularity[i], train->users) *
		       score(item_rows, item_rows, options->factors, i, i);
	return sum;
}

static void check_padding(const float *rows, size_t count, size_t factors)
{
	for (size_t r = 0; r < count; r++)
		for (size_t k = factors; k < ials_stride(factors); k++)
			CHECK(rows[r * ials_stride(factors) + k] == 0);
}

static void check_shape(const struct shape *shape, double scaling)
{
	struct error error = {0};
	struct interactions train = make_interactions(shape);
	struct ials_options options = options_for(shape->factors);
	options.scaling = scaling;
	const size_t stride = ials_stride(shape->factors);
	float *user_rows = rows_of(train.users, stride), *item_rows = rows_of(train.items, stride);
	float *items_before = rows_of(train.items, stride);
	struct ials *ials = ials_open(&train, &options, &error);
	double before = INFINITY, objective = NAN;
	CHECK_OK(ials ? 0 : -1, &error);
	ials_first_values(&options, train.users, train.items, user_rows, item_rows);
	for (int sweep = 0; sweep < 4 && ials; sweep++) {
		memcpy(items_before, item_rows, train.items * stride * sizeof *item_rows);
		CHECK_OK(ials_sweep(ials, user_rows, item_rows, &objective, &error), &error);
		for (uint32_t u = 0; u < train.users; u++)
			CHECK_CLOSE(gradient_of(&train, &options, u, user_rows, items_before), 0, 1e-5);
		CHECK_CLOSE(objective, objective_of(&train, &options, user_rows, item_rows), 1e-6 * objective);
		CHECK(objective <= before * (1 + 1e-7));
		before = objective;
	}
	if (train.users > 2)
		CHECK(score(user_rows, user_rows, shape->factors, 2, 2) == 0);
	if (train.items > 3)
		CHECK(score(item_rows, item_rows, shape->factors, 3, 3) == 0);
	check_padding(user_rows, train.users, shape->factors);
	check_padding(item_rows, train.items, shape->factors);
	ials_close(ials);
	mem_free(user_rows);
	mem_free(item_rows);
	mem_free(items_before);
	interactions_release(&train);
}

static void test_halves_and_objective(void)
{
	for (size_t s = 0; s < COUNT_OF(shapes); s++)
		check_shape(&shapes[s], 1);
	check_shape(&shapes[4], 0);
	check_shape(&shapes[5], 0.4);
}

/* ---- the same bytes ---- */

struct rows {
	float *users, *items;
	size_t user_bytes, item_bytes;
};

static struct rows make_rows(const struct interactions *train, size_t factors)
{
	const size_t stride = ials_stride(factors);
	return (struct rows){rows_of(train->users, stride), rows_of(train->items, stride),
	                     train->users * stride * sizeof(float), train->items * stride * sizeof(float)};
}

static void release_rows(struct rows *rows)
{
	mem_free(rows->users);
	mem_free(rows->items);
}

static bool same_rows(const struct rows *a, const struct rows *b)
{
	return memcmp(a->users, b->users, a->user_bytes) == 0 && memcmp(a->items, b->items, a->item_bytes) == 0;
}

static void test_same_bytes(void)
{
	static const struct {
		const char *isa;
		size_t threads;
	} ways[] = {{"portable", 1}, {"portable", 3}, {"avx2", 1}, {"avx2", 2}, {"avx512", 1}, {"avx512", 2},
	            {"avx512", 3}, {"auto", 8}};
	for (size_t s = 4; s < COUNT_OF(shapes); s++) {
		struct interactions train = make_interactions(&shapes[s]);
		struct rows expected = make_rows(&train, shapes[s].factors), found = make_rows(&train, shapes[s].factors);
		for (size_t w = 0; w < COUNT_OF(ways); w++) {
			struct error error = {0};
			struct ials_options options = options_for(shapes[s].factors);
			options.isa = ways[w].isa;
			options.threads = ways[w].threads;
			options.sweeps = 2;
			struct rows *rows = w ? &found : &expected;
			if (ials_train(&train, &options, rows->users, rows->items, NULL, NULL, &error) < 0) {
				CHECK_EQUAL_U64(error.code, CODE_UNAVAILABLE);
				continue;
			}
			check_that(w == 0 || same_rows(&expected, &found), ways[w].isa, __FILE__, __LINE__);
		}
		release_rows(&expected);
		release_rows(&found);
		interactions_release(&train);
	}
}

/* Stops after `stop` sweeps, or fails; remembers what it was told. */
struct watcher {
	size_t stop, fail, calls;
	double last;
};

static int watch(void *context, size_t sweep, double objective, struct error *error)
{
	struct watcher *watcher = context;
	CHECK_EQUAL_U64(sweep, ++watcher->calls);
	CHECK(sweep == 1 || objective < watcher->last);
	watcher->last = objective;
	if (sweep == watcher->fail)
		return error_set(error, CODE_IO, "the watcher fell asleep");
	return sweep == watcher->stop;
}

static void test_goes_on_from_saved_rows(void)
{
	struct error error = {0};
	struct interactions train = make_interactions(&shapes[5]);
	struct ials_options options = options_for(shapes[5].factors);
	struct rows whole = make_rows(&train, options.factors), parts = make_rows(&train, options.factors);
	struct watcher all = {0}, some = {.stop = 2};
	double objective = NAN;
	options.sweeps = 3;
	CHECK_OK(ials_train(&train, &options, whole.users, whole.items, watch, &all, &error), &error);
	CHECK_EQUAL_U64(all.calls, 3);
	CHECK_OK(ials_train(&train, &options, parts.users, parts.items, watch, &some, &error), &error);
	CHECK_EQUAL_U64(some.calls, 2);
	CHECK(!same_rows(&whole, &parts));
	struct ials *ials = ials_open(&train, &options, &error);
	CHECK_OK(ials ? 0 : -1, &error);
	memset(parts.users, 0xff, parts.user_bytes); /* not needed to go on */
	CHECK_OK(ials_sweep(ials, parts.users, parts.items, &objective, &error), &error);
	CHECK(same_rows(&whole, &parts));
	CHECK(objective == all.last);
	ials_close(ials);
	struct watcher failing = {.fail = 2};
	CHECK(ials_train(&train, &options, parts.users, parts.items, watch, &failing, &error) < 0);
	CHECK_EQUAL_U64(error.code, CODE_IO);
	CHECK_EQUAL_U64(failing.calls, 2);
	release_rows(&whole);
	release_rows(&parts);
	interactions_release(&train);
}

static void test_folding_in_is_the_first_half(void)
{
	for (size_t s = 0; s < COUNT_OF(shapes); s++) {
		struct error error = {0};
		struct interactions train = make_interactions(&shapes[s]), last;
		struct ials_options options = options_for(shapes[s].factors);
		const size_t stride = ials_stride(options.factors);
		struct rows rows = make_rows(&train, options.factors);
		float *before = rows_of(train.items, stride), *folded = rows_of(train.users, stride);
		struct ials *ials = ials_open(&train, &options, &error);
		double objective;
		ials_first_values(&options, train.users, train.items, rows.users, rows.items);
		CHECK_OK(ials_sweep(ials, rows.users, rows.items, &objective, &error), &error);
		memcpy(before, rows.items, rows.item_bytes);
		CHECK_OK(ials_sweep(ials, rows.users, rows.items, &objective, &error), &error);
		options.threads = 2;
		CHECK_OK(ials_fold_in(before, train.items, &options, &train, folded, &error), &error);
		CHECK(memcmp(folded, rows.users, rows.user_bytes) == 0);
		/* One user alone, never seen by that training under this number. */
		const uint32_t user = train.users - 1;
		size_t count;
		static const uint32_t zeros[PAIRS_MAX];
		const uint32_t *items = interactions_of(&train, user, &count);
		CHECK_OK(interactions_from_pairs(&last, 1, train.items, zeros, items, count, &error), &error);
		CHECK_OK(ials_fold_in(before, train.items, &options, &last, folded, &error), &error);
		CHECK(memcmp(folded, rows.users + user * stride, stride * sizeof *folded) == 0);
		ials_close(ials);
		interactions_release(&last);
		interactions_release(&train);
		release_rows(&rows);
		mem_free(before);
		mem_free(folded);
	}
}

/* ---- refusals ---- */

static void test_refuses_options(void)
{
	struct interactions train = make_interactions(&shapes[3]);
	const struct ials_options good = options_for(8);
	struct ials_options bad[7] = {good, good, good, good, good, good, good};
	bad[0].factors = 0;
	bad[1].factors = IALS_FACTORS_MAX + 1;
	bad[2].regularization = -1;
	bad[3].unobserved = NAN;
	bad[4].scaling = INFINITY;
	bad[5].deviation = -0.1;
	bad[6].isa = "abacus";
	for (size_t i = 0; i < COUNT_OF(bad); i++) {
		struct error error = {0}, fold_error = {0};
		struct rows rows = make_rows(&train, 8);
		CHECK(ials_open(&train, &bad[i], &error) == NULL);
		CHECK_EQUAL_U64(error.code, CODE_USAGE);
		CHECK(ials_fold_in(rows.items, train.items, &bad[i], &train, rows.users, &fold_error) < 0);
		CHECK_EQUAL_U64(fold_error.code, CODE_USAGE);
		release_rows(&rows);
	}
	struct error error = {0};
	struct rows rows = make_rows(&train, 8);
	CHECK(ials_fold_in(rows.items, train.items - 1, &good, &train, rows.users, &error) < 0);
	CHECK_EQUAL_U64(error.code, CODE_DATA);
	release_rows(&rows);
	interactions_release(&train);
}

/* Without regularisation and weight of the unobserved, what a row can want is more than its items say; values
 * that overflow cannot be solved either. Both forms of the equations must notice. */
static void test_tells_what_cannot_be_solved(void)
{
	static const struct shape dense = {30, 20, 16, 2}, sparse = {30, 60, 50, 0.1};
	const struct shape *const tried[] = {&dense, &sparse};
	for (size_t s = 0; s < COUNT_OF(tried); s++)
		for (int overflow = 0; overflow < 2; overflow++) {
			struct error error = {0};
			struct interactions train = make_interactions(tried[s]);
			struct ials_options options = options_for(tried[s]->factors);
			struct rows rows = make_rows(&train, options.factors);
			double objective;
			options.regularization = 0;
			options.unobserved = overflow ? 1 : 0;
			options.deviation = overflow ? 1e30 : 0;
			struct ials *ials = ials_open(&train, &options, &error);
			CHECK_OK(ials ? 0 : -1, &error);
			ials_first_values(&options, train.users, train.items, rows.users, rows.items);
			CHECK(ials_sweep(ials, rows.users, rows.items, &objective, &error) < 0);
			CHECK_EQUAL_U64(error.code, CODE_DATA);
			CHECK(strstr(error.message, "user 0 ") != NULL);
			CHECK(strstr(error.message, "larger regularization") != NULL);
			ials_close(ials);
			release_rows(&rows);
			interactions_release(&train);
		}
}

static void test_first_values(void)
{
	struct ials_options options = options_for(50);
	const size_t stride = ials_stride(50), count = 400;
	float *users = rows_of(count, stride), *items = rows_of(count, stride), *fewer = rows_of(10, stride);
	double sum = 0, squares = 0;
	ials_first_values(&options, (uint32_t)count, 10, users, fewer);
	ials_first_values(&options, 10, (uint32_t)count, fewer, items);
	CHECK(memcmp(users, fewer, 10 * stride * sizeof *users) == 0);
	CHECK(memcmp(users, items, 10 * stride * sizeof *users) != 0);
	for (size_t r = 0; r < count; r++)
		for (size_t k = 0; k < 50; k++) {
			sum += at(users, 50, r, k);
			squares += at(users, 50, r, k) * at(users, 50, r, k);
		}
	const double values = (double)count * 50, deviation = 0.1 / sqrt(50.0);
	CHECK_CLOSE(sum / values, 0, 4 * deviation / sqrt(values));
	CHECK_CLOSE(sqrt(squares / values) / deviation, 1, 4 / sqrt(2 * values));
	check_padding(users, count, 50);
	mem_free(users);
	mem_free(items);
	mem_free(fewer);
}

int main(void)
{
	RUN(test_halves_and_objective);
	RUN(test_same_bytes);
	RUN(test_goes_on_from_saved_rows);
	RUN(test_folding_in_is_the_first_half);
	RUN(test_refuses_options);
	RUN(test_tells_what_cannot_be_solved);
	RUN(test_first_values);
	return check_done();
}
