/* Hand-computed rankings: ties, several relevant items, none, cuts; the heap; intervals and the paired test. */
#include "check.h"
#include "measures.h"
#include "mem.h"
#include "rng.h"
#include "topk.h"

enum { LIST_MAX = 128 };

static struct user_ranking ranking_of(const float *scores, const uint8_t *relevant, uint32_t count, uint32_t total,
                                      uint32_t ranks[LIST_MAX])
{
	static uint32_t items[LIST_MAX], popularity[LIST_MAX], scratch[LIST_MAX];
	static float own_scores[LIST_MAX];
	static uint8_t own_relevant[LIST_MAX];
	struct user_ranking ranking;
	struct error error = {0};
	for (uint32_t i = 0; i < count; i++) {
		items[i] = 1000 - i;
		own_scores[i] = scores[i];
		own_relevant[i] = relevant[i];
	}
	struct list list = {.count = count, .relevant_total = total, .items = items, .scores = own_scores,
	                    .popularity = popularity, .relevant = own_relevant};
	CHECK_OK(user_ranking_make(&list, ranks, scratch, &ranking, &error), &error);
	return ranking;
}

static double measured(const char *name, const struct user_ranking *ranking, uint32_t cutoff)
{
	return measure_find(name)->value(ranking, cutoff);
}

static void test_one_relevant_at_rank_two(void)
{
	const float scores[] = {0.1f, 0.9f, 0.5f, 0.2f};
	const uint8_t relevant[] = {0, 0, 1, 0};
	uint32_t ranks[LIST_MAX];
	struct user_ranking r = ranking_of(scores, relevant, 4, 1, ranks);
	CHECK_EQUAL_U64(ranks[0], 2);
	CHECK_CLOSE(measured("hr", &r, 1), 0, 0);
	CHECK_CLOSE(measured("HR", &r, 2), 1, 0);
	CHECK_CLOSE(measured("NDCG", &r, 10), 1 / log2(3), 1e-12);
	CHECK_CLOSE(measured("MRR", &r, 10), 0.5, 1e-15);
	CHECK_CLOSE(measured("precision", &r, 10), 0.1, 1e-15);
	CHECK_CLOSE(measured("AUC", &r, 0), 2.0 / 3, 1e-15);
	CHECK(!r.tied);
}

/* Eleven equal scores: the relevant one is last, whatever its place in the list. */
static void test_a_constant_model_scores_nothing(void)
{
	float scores[11];
	for (int i = 0; i < 11; i++)
		scores[i] = 0.25f;
	for (int place = 0; place < 11; place++) {
		uint8_t relevant[11] = {0};
		uint32_t ranks[LIST_MAX];
		relevant[place] = 1;
		struct user_ranking r = ranking_of(scores, relevant, 11, 1, ranks);
		CHECK_EQUAL_U64(ranks[0], 11);
		CHECK(r.tied);
		for (size_t m = 0; m < measure_count; m++)
			CHECK_CLOSE(measures[m].value(&r, 10), 0, 0);
	}
}

static void test_several_relevant_and_lost_ones(void)
{
	/* Ranks 1, 3 and (tied with an irrelevant one) 5 of 6; a fourth is not in the list. */
	const float scores[] = {6, 5, 4, 3, 3, 1};
	const uint8_t relevant[] = {1, 0, 1, 1, 0, 0};
	uint32_t ranks[LIST_MAX];
	struct user_ranking r = ranking_of(scores, relevant, 6, 4, ranks);
	CHECK_EQUAL_U64(r.relevant_found, 3);
	CHECK_EQUAL_U64(ranks[2], 5);
	CHECK_CLOSE(measured("recall", &r, 3), 0.5, 1e-15);
	CHECK_CLOSE(measured("precision", &r, 3), 2.0 / 3, 1e-15);
	CHECK_CLOSE(measured("MAP", &r, 10), (1.0 + 2.0 / 3 + 3.0 / 5) / 4, 1e-15);
	const double ideal = 1 + 1 / log2(3) + 0.5 + 1 / log2(5);
	CHECK_CLOSE(measured("NDCG", &r, 10), (1 + 0.5 + 1 / log2(6)) / ideal, 1e-12);
	CHECK_CLOSE(measured("AUC", &r, 0), (3 + 2 + 1) / (3.0 * 4), 1e-15);
}

static void test_no_truth_and_one_candidate(void)
{
	const float scores[] = {1, 2};
	const uint8_t none[] = {0, 0}, one[] = {1};
	uint32_t ranks[LIST_MAX];
	struct user_ranking r = ranking_of(scores, none, 2, 0, ranks);
	for (size_t m = 0; m < measure_count; m++)
		CHECK_CLOSE(measures[m].value(&r, 10), 0, 0);
	r = ranking_of(scores, one, 1, 1, ranks);
	CHECK_CLOSE(measured("HR", &r, 1), 1, 0);
	CHECK_CLOSE(measured("AUC", &r, 0), 0, 0); /* no pair to be right about */
}

static void test_order_of_entries_changes_nothing(void)
{
	for (uint64_t trial = 0; trial < 200; trial++) {
		struct rng rng;
		float scores[40], shuffled_scores[40];
		uint8_t relevant[40], shuffled_relevant[40];
		uint32_t ranks[LIST_MAX], shuffled_ranks[LIST_MAX], order[40], total = 0;
		rng_init(&rng, 1, rng_stream(RNG_TEST, 0), trial);
		for (size_t i = 0; i < 40; i++) {
			scores[i] = (float)rng_below(&rng, 12);
			relevant[i] = rng_below(&rng, 5) == 0;
			total += relevant[i];
		}
		rng_permutation(2, rng_stream(RNG_TEST, 1), trial, order, 40);
		for (size_t i = 0; i < 40; i++) {
			shuffled_scores[i] = scores[order[i]];
			shuffled_relevant[i] = relevant[order[i]];
		}
		struct user_ranking a = ranking_of(scores, relevant, 40, total, ranks);
		struct user_ranking b = ranking_of(shuffled_scores, shuffled_relevant, 40, total, shuffled_ranks);
		CHECK_EQUAL_U64(a.relevant_found, b.relevant_found);
		CHECK(memcmp(ranks, shuffled_ranks, a.relevant_found * sizeof *ranks) == 0);
	}
}

static void test_doubled_items_and_nan_are_refused(void)
{
	uint32_t items[] = {4, 7, 4}, popularity[3] = {0}, ranks[3], scratch[3];
	float scores[] = {1, 2, 3};
	uint8_t relevant[3] = {1, 0, 0};
	struct list list = {.user = 42, .count = 3, .relevant_total = 1, .items = items, .scores = scores,
	                    .popularity = popularity, .relevant = relevant};
	struct user_ranking ranking;
	struct error error = {0};
	CHECK(user_ranking_make(&list, ranks, scratch, &ranking, &error) == -1);
	CHECK_EQUAL_U64(error.code, CODE_DATA);
	CHECK(strstr(error.message, "user 42") != NULL);
	items[2] = 5;
	scores[1] = NAN;
	error = (struct error){0};
	CHECK(user_ranking_make(&list, ranks, scratch, &ranking, &error) == -1);
	CHECK_EQUAL_U64(error.code, CODE_DATA);
}

static void test_heap_matches_sorting(void)
{
	for (uint64_t trial = 0; trial < 300; trial++) {
		struct rng rng;
		struct topk topk;
		struct error error = {0};
		float scores[100];
		uint32_t items[100], order[100];
		rng_init(&rng, 3, rng_stream(RNG_TEST, 2), trial);
		const size_t count = rng_below(&rng, 101), limit = 1 + rng_below(&rng, 20);
		for (size_t i = 0; i < count; i++) {
			scores[i] = (float)rng_below(&rng, 9);
			items[i] = (uint32_t)(i * 37 % 101);
		}
		CHECK_OK(topk_init(&topk, limit, &error), &error);
		for (size_t i = 0; i < count; i++) {
			bool wanted = topk_wants(&topk, scores[i], items[i]);
			size_t before = topk.count;
			float worst = before ? topk.scores[0] : 0;
			uint32_t worst_item = before ? topk.items[0] : 0;
			topk_offer(&topk, scores[i], items[i]);
			bool entered = topk.count != before || topk.scores[0] != worst || topk.items[0] != worst_item;
			CHECK(wanted == entered || limit == 1);
		}
		topk_offer(&topk, NAN, 5);
		ranking_sort(scores, items, count, order);
		topk_sort(&topk);
		CHECK_EQUAL_U64(topk.count, count < limit ? count : limit);
		for (size_t i = 0; i < topk.count; i++) {
			CHECK(topk.scores[i] == scores[order[i]]);
			CHECK_EQUAL_U64(topk.items[i], items[order[i]]);
		}
		topk_release(&topk);
	}
}

/* A 95% interval covers the true mean of coin flips in about 95 of 100 samples. */
static void test_bootstrap_covers(void)
{
	int covered = 0;
	for (uint64_t trial = 0; trial < 200; trial++) {
		struct rng rng;
		struct error error = {0};
		double values[200], low, high;
		rng_init(&rng, 4, rng_stream(RNG_TEST, 3), trial);
		for (size_t i = 0; i < 200; i++)
			values[i] = rng_unit(&rng) < 0.3;
		const struct resampling by = {.seed = trial, .rounds = 300, .threads = 1};
		CHECK_OK(bootstrap_intervals(values, 200, 1, &by, &low, &high, &error), &error);
		CHECK(low <= high);
		covered += low <= 0.3 && 0.3 <= high;
	}
	CHECK(covered >= 180 && covered <= 198);
}

/* Columns together, as many rows as several stretches of draws take, against the plain resampling of one. */
static void test_bootstrap_of_columns_is_that_of_each(void)
{
	enum { ROWS = 151, COLUMNS = 3, RESAMPLES = 80 };
	double values[ROWS * COLUMNS], low[COLUMNS], high[COLUMNS];
	struct error error = {0};
	for (size_t i = 0; i < ROWS * COLUMNS; i++)
		values[i] = 1.0 / (double)(1 + i * 7 % 31) + (double)(i % COLUMNS);
	const struct resampling by = {.seed = 9, .rounds = RESAMPLES, .threads = 1};
	CHECK_OK(bootstrap_intervals(values, ROWS, COLUMNS, &by, low, high, &error), &error);
	for (size_t c = 0; c < COLUMNS; c++) {
		size_t below = 0, above = 0, met = 0;
		for (size_t r = 0; r < RESAMPLES; r++) {
			struct rng rng;
			double sum = 0;
			rng_init(&rng, 9, rng_stream(RNG_BOOTSTRAP, 0), r);
			for (size_t i = 0; i < ROWS; i++)
				sum += values[rng_below(&rng, ROWS) * COLUMNS + c];
			below += sum / ROWS < low[c];
			above += sum / ROWS > high[c];
			met += sum / ROWS == low[c] || sum / ROWS == high[c];
		}
		CHECK(below == 2 && above == 2 && met >= 2); /* 2.5 % of 80 */
	}
}

static double randomised(const double *a, const double *b, size_t count, const struct resampling *by)
{
	struct error error = {0};
	double p = -1;
	CHECK_OK(randomisation_test(a, b, count, by, &p, &error), &error);
	return p;
}

static void test_randomisation(void)
{
	const struct resampling by = {.seed = 1, .rounds = 500, .threads = 1};
	double a[60], b[60];
	for (size_t i = 0; i < 60; i++) {
		a[i] = (double)(i % 7);
		b[i] = a[i];
	}
	CHECK_CLOSE(randomised(a, b, 60, &by), 1.0, 0);
	for (size_t i = 0; i < 60; i++)
		b[i] += 0.5;
	CHECK_CLOSE(randomised(a, b, 60, &by), 1.0 / 501, 1e-15);
	for (size_t i = 0; i < 60; i += 2)
		b[i] -= 1;
	CHECK(randomised(a, b, 60, &by) > 0.5);
}

/* Enough rows for the rounds to be shared out. */
static void test_threads_draw_the_same(void)
{
	enum { ROWS = 20011, COLUMNS = 2, ROUNDS = 333 };
	struct error error = {0};
	double *values = malloc(ROWS * COLUMNS * sizeof *values), low[2][COLUMNS], high[2][COLUMNS], p[2];
	if (!values)
		abort();
	struct rng rng;
	rng_init(&rng, 4, rng_stream(RNG_TEST, 3), 0);
	for (size_t i = 0; i < ROWS * COLUMNS; i++)
		values[i] = rng_unit(&rng) + (i < ROWS ? 0.003 : 0.0);
	for (size_t t = 0; t < 2; t++) {
		const struct resampling by = {.seed = 5, .rounds = ROUNDS, .threads = 1 + 2 * t};
		CHECK_OK(bootstrap_intervals(values, ROWS, COLUMNS, &by, low[t], high[t], &error), &error);
		p[t] = randomised(values, values + ROWS, ROWS, &by);
	}
	CHECK(memcmp(low[0], low[1], sizeof low[0]) == 0 && memcmp(high[0], high[1], sizeof high[0]) == 0);
	CHECK(low[0][0] < high[0][0] && p[0] == p[1] && p[0] > 0.01 && p[0] < 0.99);
	free(values);
}

int main(void)
{
	RUN(test_one_relevant_at_rank_two);
	RUN(test_a_constant_model_scores_nothing);
	RUN(test_several_relevant_and_lost_ones);
	RUN(test_no_truth_and_one_candidate);
	RUN(test_order_of_entries_changes_nothing);
	RUN(test_doubled_items_and_nan_are_refused);
	RUN(test_heap_matches_sorting);
	RUN(test_bootstrap_covers);
	RUN(test_bootstrap_of_columns_is_that_of_each);
	RUN(test_randomisation);
	RUN(test_threads_draw_the_same);
	return check_done();
}
