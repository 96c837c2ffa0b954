/* Estimates of the full ranking from sampled ranks: closed forms, the normal equations of the paper solved plainly,
 * and a simulation that draws candidates and ranks them. */
#include "check.h"
#include "measures.h"
#include "measures_correction.h"
#include "mem.h"
#include "rng.h"

enum { ITEMS_MAX = 400, DRAWN_MAX = 60 };

static double estimate(const char *name, uint32_t cutoff, uint32_t items, uint32_t drawn, uint32_t rank, double gamma)
{
	double weights[ITEMS_MAX];
	const struct sampled_rank sampled = {items, drawn, rank};
	const struct correction correction = {CORRECTION_LEAST_SQUARES, gamma};
	correction_weights(&sampled, gamma, weights, items);
	return correction_estimate(&correction, measure_find(name), cutoff, &sampled, weights);
}

static double log_choose(uint32_t n, uint32_t k)
{
	static double log_factorial[ITEMS_MAX];
	for (uint32_t i = 1; i < ITEMS_MAX && log_factorial[ITEMS_MAX - 1] == 0; i++)
		log_factorial[i] = log_factorial[i - 1] + log(i);
	return log_factorial[n] - log_factorial[k] - log_factorial[n - k];
}

/* P(sampled rank | rank): of items - 1 irrelevant ones, rank - 1 of them ahead, `drawn` are taken. */
static double chance(uint32_t items, uint32_t drawn, uint32_t rank, uint32_t sampled)
{
	const uint32_t ahead = rank - 1, behind = items - rank, hits = sampled - 1, misses = drawn - hits;
	if (hits > ahead || misses > behind)
		return 0.0;
	return exp(log_choose(ahead, hits) + log_choose(behind, misses) - log_choose(items - 1, drawn));
}

/* ---- closed forms ---- */

static void test_a_measure_at_a_rank_is_that_of_one_relevant_item(void)
{
	for (size_t m = 0; m < measure_count; m++)
		for (uint32_t rank = 1; rank <= 30 && measures[m].at_rank; rank++)
			for (uint32_t cutoff = 1; cutoff <= 20; cutoff += 3) {
				const struct user_ranking ranking = {.candidates = 30, .relevant_total = 1, .relevant_found = 1,
				                                     .ranks = &rank};
				CHECK_CLOSE(measures[m].at_rank(rank, cutoff), measures[m].value(&ranking, cutoff), 1e-15);
			}
}

static void test_where_all_are_drawn_the_estimate_is_the_measure(void)
{
	static const double gammas[] = {1, 0.1, 0.0001};
	for (size_t g = 0; g < COUNT_OF(gammas); g++)
		for (uint32_t rank = 1; rank <= 30; rank++) {
			CHECK_CLOSE(estimate("NDCG", 7, 30, 29, rank, gammas[g]), rank <= 7 ? 1 / log2(rank + 1) : 0, 1e-11);
			CHECK_CLOSE(estimate("MRR", 30, 30, 29, rank, gammas[g]), 1.0 / rank, 1e-11);
			const struct sampled_rank sampled = {30, 29, rank};
			CHECK_CLOSE(correction_rank(&sampled), rank, 1e-12);
		}
	CHECK_CLOSE(estimate("HR", 1, 1, 0, 1, 0.01), 1, 1e-15);
}

/* Rank 1 always gives the sampled rank 1, which m + 1 of n ranks' worth of chance lead to. */
static void test_at_gamma_1_the_first_rank_has_its_share(void)
{
	CHECK_CLOSE(estimate("HR", 1, 50, 9, 1, 1), 10.0 / 50, 1e-12);
	for (uint32_t sampled = 2; sampled <= 10; sampled++)
		CHECK_CLOSE(estimate("HR", 1, 50, 9, sampled, 1), 0, 1e-12);
}

static void test_at_gamma_1_the_estimate_is_the_mean_over_possible_ranks(void)
{
	for (uint32_t sampled = 1; sampled <= 21; sampled++) {
		double sum = 0, total = 0;
		for (uint32_t rank = 1; rank <= 120; rank++) {
			const double p = chance(120, 20, rank, sampled);
			total += p;
			sum += rank <= 10 ? p / log2(rank + 1) : 0;
		}
		CHECK_CLOSE(estimate("NDCG", 10, 120, 20, sampled, 1), sum / total, 1e-12);
	}
}

static void test_the_rank_estimate_has_no_bias(void)
{
	for (uint32_t rank = 1; rank <= 90; rank++) {
		double mean = 0;
		for (uint32_t s = 1; s <= 26; s++) {
			const struct sampled_rank sampled = {90, 25, s};
			mean += chance(90, 25, rank, s) * correction_rank(&sampled);
		}
		CHECK_CLOSE(mean, rank, 1e-9);
	}
}

static void test_the_estimate_by_rank_is_the_measure_there(void)
{
	const struct correction by_rank = {CORRECTION_RANK, 0};
	const struct sampled_rank third = {101, 50, 3}; /* 1 + 100 * 2 / 50 = 5 */
	CHECK_CLOSE(correction_estimate(&by_rank, measure_find("MRR"), 5, &third, NULL), 0.2, 1e-15);
	CHECK_CLOSE(correction_estimate(&by_rank, measure_find("HR"), 4, &third, NULL), 0, 0);
	CHECK_CLOSE(correction_estimate(&by_rank, measure_find("precision"), 10, &third, NULL), 0.1, 1e-15);
}

/* ---- the normal equations ---- */

/* Gauss with pivoting: a (size x size) and right-hand sides b (size x columns), b receives the solutions. */
static void solve(double *a, double *b, size_t size, size_t columns)
{
	for (size_t k = 0; k < size; k++) {
		size_t pivot = k;
		for (size_t i = k + 1; i < size; i++)
			if (fabs(a[i * size + k]) > fabs(a[pivot * size + k]))
				pivot = i;
		for (size_t j = 0; j < size; j++) {
			const double swapped = a[k * size + j];
			a[k * size + j] = a[pivot * size + j];
			a[pivot * size + j] = swapped;
		}
		for (size_t j = 0; j < columns; j++) {
			const double swapped = b[k * columns + j];
			b[k * columns + j] = b[pivot * columns + j];
			b[pivot * columns + j] = swapped;
		}
		for (size_t i = 0; i < size; i++) {
			const double factor = a[i * size + k] / a[k * size + k];
			for (size_t j = k; j < size && i != k; j++)
				a[i * size + j] -= factor * a[k * size + j];
			for (size_t j = 0; j < columns && i != k; j++)
				b[i * columns + j] -= factor * b[k * columns + j];
		}
	}
	for (size_t i = 0; i < size; i++)
		for (size_t j = 0; j < columns; j++)
			b[i * columns + j] /= a[i * size + i];
}

/* ((1 - gamma) A^T P A + gamma C) g = A^T P f for each f that is 1 at one rank: reference[sampled][rank], from 0. */
static double *reference_weights(uint32_t items, uint32_t drawn, double gamma)
{
	struct error error = {0};
	const size_t size = drawn + 1;
	double *normal = mem_alloc_zero(size * size, sizeof *normal, &error);
	double *weights = mem_alloc_zero(size * items, sizeof *weights, &error);
	CHECK(normal && weights);
	for (uint32_t rank = 1; rank <= items; rank++)
		for (uint32_t i = 1; i <= size; i++) {
			const double p = chance(items, drawn, rank, i) / items;
			weights[(i - 1) * items + rank - 1] = p;
			normal[(i - 1) * size + i - 1] += gamma * p;
			for (uint32_t j = 1; j <= size; j++)
				normal[(i - 1) * size + j - 1] += (1 - gamma) * p * chance(items, drawn, rank, j);
		}
	solve(normal, weights, size, items);
	mem_free(normal);
	return weights;
}

static void check_weights(uint32_t items, uint32_t drawn, double gamma)
{
	double weights[ITEMS_MAX], largest = 0, error = 0;
	double *reference = reference_weights(items, drawn, gamma);
	for (size_t i = 0; i < (drawn + 1) * (size_t)items; i++)
		largest = fmax(largest, fabs(reference[i]));
	for (uint32_t rank = 1; rank <= drawn + 1; rank++) {
		const struct sampled_rank sampled = {items, drawn, rank};
		correction_weights(&sampled, gamma, weights, items);
		for (uint32_t r = 0; r < items; r++)
			error = fmax(error, fabs(weights[r] - reference[(rank - 1) * items + r]));
	}
	CHECK_CLOSE(error / largest, 0, 1e-9);
	mem_free(reference);
}

static void test_least_squares_solves_the_normal_equations(void)
{
	check_weights(2, 1, 0.5);
	check_weights(7, 1, 0.01);
	check_weights(12, 4, 0.001);
	check_weights(13, 12, 0.01);
	check_weights(200, 40, 1);
	check_weights(200, 40, 0.1);
	check_weights(200, 40, 0.01);
	check_weights(61, DRAWN_MAX, 0.01);
	check_weights(ITEMS_MAX, DRAWN_MAX, 0.01);
}

static void test_a_part_of_the_weights_is_that_part(void)
{
	double all[ITEMS_MAX], part[ITEMS_MAX];
	const struct sampled_rank sampled = {ITEMS_MAX, 30, 3};
	correction_weights(&sampled, 0.01, all, ITEMS_MAX);
	correction_weights(&sampled, 0.01, part, 10);
	CHECK(memcmp(all, part, 10 * sizeof *part) == 0);
}

/* Exactly, over all sampled ranks: squared bias and variance of NDCG@10, both meaned over ranks. */
static void bias_and_variance(double gamma, double *bias, double *variance)
{
	double estimates[41];
	*bias = *variance = 0;
	for (uint32_t s = 1; s <= 41; s++)
		estimates[s - 1] = estimate("NDCG", 10, 300, 40, s, gamma);
	for (uint32_t rank = 1; rank <= 300; rank++) {
		double mean = 0, square = 0;
		for (uint32_t s = 1; s <= 41; s++) {
			mean += chance(300, 40, rank, s) * estimates[s - 1];
			square += chance(300, 40, rank, s) * estimates[s - 1] * estimates[s - 1];
		}
		const double off = mean - (rank <= 10 ? 1 / log2(rank + 1) : 0);
		*bias += off * off / 300;
		*variance += (square - mean * mean) / 300;
	}
}

static void test_less_gamma_is_less_bias_and_more_variance(void)
{
	static const double gammas[] = {1, 0.3, 0.1, 0.03, 0.01, 0.001};
	double before_bias = INFINITY, before_variance = 0;
	for (size_t g = 0; g < COUNT_OF(gammas); g++) {
		double bias, variance;
		bias_and_variance(gammas[g], &bias, &variance);
		CHECK(bias < before_bias);
		CHECK(variance > before_variance);
		before_bias = bias;
		before_variance = variance;
	}
}

/* ---- a simulation ---- */

enum { USERS = 400, CATALOGUE = 300, CANDIDATES = 40, DRAWS = 50 };

/* The rank of the relevant item among the candidates of a draw, through real lists: item i has the score -i, the
 * relevant one is `relevant`, the others drawn by cutting a permutation. */
static uint32_t draw_rank(uint32_t relevant, uint64_t draw, uint32_t user)
{
	uint32_t others[CATALOGUE - 1], items[CANDIDATES + 1], popularity[CANDIDATES + 1], ranks[CANDIDATES + 1],
		order[CANDIDATES + 1];
	float scores[CANDIDATES + 1];
	uint8_t marks[CANDIDATES + 1] = {1};
	struct user_ranking ranking;
	struct error error = {0};
	rng_permutation(user, rng_stream(RNG_TEST, 1), draw, others, CATALOGUE - 1);
	items[0] = relevant;
	for (uint32_t c = 0; c < CANDIDATES; c++)
		items[c + 1] = others[c] + (others[c] >= relevant);
	for (uint32_t c = 0; c <= CANDIDATES; c++)
		scores[c] = -(float)items[c];
	struct list list = {.count = CANDIDATES + 1, .relevant_total = 1, .items = items, .scores = scores,
	                    .popularity = popularity, .relevant = marks};
	CHECK_OK(user_ranking_make(&list, ranks, order, &ranking, &error), &error);
	return ranks[0];
}

/* Users whose relevant items stand high, as a usable model has it. The mean of many draws must meet the expectation
 * that chance() gives, and come near the figure of the full ranking, which the sampled one is far from. */
static void test_simulated_draws_meet_the_full_ranking(void)
{
	double estimates[CANDIDATES + 1], full = 0, expected = 0, by_rank = 0, sampled = 0, sum = 0, squares = 0;
	for (uint32_t s = 1; s <= CANDIDATES + 1; s++)
		estimates[s - 1] = estimate("HR", 10, CATALOGUE, CANDIDATES, s, 0.01);
	for (uint32_t user = 0; user < USERS; user++) {
		struct rng rng;
		rng_init(&rng, 9, rng_stream(RNG_TEST, 0), user);
		const double u = rng_unit(&rng);
		const uint32_t relevant = (uint32_t)(CATALOGUE * u * u * u);
		full += relevant < 10 ? 1.0 / USERS : 0;
		for (uint32_t s = 1; s <= CANDIDATES + 1; s++)
			expected += chance(CATALOGUE, CANDIDATES, relevant + 1, s) * estimates[s - 1] / USERS;
		for (uint64_t draw = 0; draw < DRAWS; draw++) {
			const struct sampled_rank rank = {CATALOGUE, CANDIDATES, draw_rank(relevant, draw, user)};
			const double value = estimates[rank.rank - 1];
			by_rank += correction_rank(&rank) / (USERS * DRAWS) - (relevant + 1.0) / (USERS * DRAWS);
			sampled += rank.rank <= 10 ? 1.0 / (USERS * DRAWS) : 0;
			sum += value;
			squares += value * value;
		}
	}
	const double count = USERS * DRAWS, mean = sum / count;
	const double error = sqrt((squares / count - mean * mean) / count);
	printf("# full %.4f, sampled %.4f, estimated %.4f (expected %.4f, standard error %.4f)\n", full, sampled, mean,
	       expected, error);
	CHECK(fabs(mean - expected) < 4 * error);
	CHECK(fabs(mean - full) < 0.03);
	CHECK(sampled - full > 0.25);
	CHECK(fabs(by_rank) < 0.5); /* ranks of 1 to 300 */
}

int main(void)
{
	RUN(test_a_measure_at_a_rank_is_that_of_one_relevant_item);
	RUN(test_where_all_are_drawn_the_estimate_is_the_measure);
	RUN(test_at_gamma_1_the_first_rank_has_its_share);
	RUN(test_at_gamma_1_the_estimate_is_the_mean_over_possible_ranks);
	RUN(test_the_rank_estimate_has_no_bias);
	RUN(test_the_estimate_by_rank_is_the_measure_there);
	RUN(test_least_squares_solves_the_normal_equations);
	RUN(test_a_part_of_the_weights_is_that_part);
	RUN(test_less_gamma_is_less_bias_and_more_variance);
	RUN(test_simulated_draws_meet_the_full_ranking);
	return check_done();
}
