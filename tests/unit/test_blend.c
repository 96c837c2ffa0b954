/* Fitting a blend, against the plain reference of blend_fixture.h. */
#include "blend_fixture.h"
#include "folder.h"
#include "sealed.h"

static struct problem problem;

/* The signals speak for an item as planted; one candidate is drawn by its probability. */
static const double planted[WEIGHTS] = {1, 0.3, -0.5, 0, 0, 0.4, 0.5, 0, 0};

static void draw_relevant(struct raw *raw)
{
	double total = 0, left;
	struct rng rng;
	rng_init(&rng, 3, rng_stream(RNG_TEST, 2), raw->user);
	memset(raw->relevant, 0, sizeof raw->relevant);
	for (uint32_t c = 0; c < raw->count; c++)
		total += exp(score_of(raw, c, planted));
	left = total * (double)rng_below(&rng, 1 << 30) / (1 << 30);
	for (uint32_t c = 0; c < raw->count; c++) {
		left -= exp(score_of(raw, c, planted));
		if (left < 0 || c + 1 == raw->count) {
			raw->relevant[c] = 1;
			return;
		}
	}
}

/* Lists with one relevant item by the planted weights; `more`: in every third, a few others as well. */
static void plant(size_t lists, uint32_t fewest, uint32_t most, bool more)
{
	make_problem(&problem, lists, fewest, most);
	reference_transform(&problem);
	for (size_t n = 0; n < lists; n++) {
		struct raw *raw = &problem.raw[n];
		draw_relevant(raw);
		for (uint32_t c = 0; more && n % 3 == 0 && c < n % 4 && c + 1 < raw->count; c++)
			raw->relevant[c] = 1;
	}
	reference_transform(&problem); /* now it is known what is relevant */
}

static void check_maximum(double l2)
{
	const struct blend blend = fitted(&problem, l2, ISA_PORTABLE, 2);
	const double none[WEIGHTS] = {0};
	double weights[WEIGHTS], expected[WEIGHTS], steepest = 0;
	weights_of(&blend, weights);
	const struct reference at = reference_at(&problem, weights, l2, NULL, NULL);
	const struct reference at_none = reference_at(&problem, none, l2, NULL, NULL);
	reference_fit(&problem, expected, l2, NULL, NULL);
	for (size_t k = 0; k < WEIGHTS; k++) {
		steepest = fmax(steepest, fabs(at_none.gradient[k]));
		CHECK_CLOSE(weights[k], expected[k], 1e-5);
	}
	for (size_t k = 0; k < WEIGHTS; k++)
		CHECK_CLOSE(at.gradient[k], 0, 1e-4 * steepest);
	CHECK(at.value > at_none.value);
	for (uint64_t trial = 0; trial < 20; trial++) {
		double other[WEIGHTS];
		struct rng rng;
		rng_init(&rng, 4, rng_stream(RNG_TEST, 3), trial);
		for (size_t k = 0; k < WEIGHTS; k++)
			other[k] = weights[k] + 0.05 * normal(&rng);
		CHECK(reference_at(&problem, other, l2, NULL, NULL).value < at.value);
	}
	CHECK_CLOSE(blend.report.log_likelihood, reference_at(&problem, weights, 0, NULL, NULL).value / at.lists, 1e-6);
	CHECK_CLOSE(blend.report.uniform, at_none.value / at.lists, 1e-6);
	CHECK_EQUAL_U64(blend.report.lists, problem.lists);
	CHECK(blend.report.l2 == l2 && blend.report.tried == 0);
}

static void test_the_reference_has_the_gradient_of_its_value(void)
{
	const double step = 1e-5;
	double weights[WEIGHTS];
	plant(40, 2, CANDIDATES_HERE, true);
	for (size_t k = 0; k < WEIGHTS; k++)
		weights[k] = planted[k] - 0.2;
	const struct reference at = reference_at(&problem, weights, 2, NULL, NULL);
	for (size_t k = 0; k < WEIGHTS; k++) {
		const double here = weights[k];
		weights[k] = here + step;
		const struct reference above = reference_at(&problem, weights, 2, NULL, NULL);
		weights[k] = here - step;
		const struct reference below = reference_at(&problem, weights, 2, NULL, NULL);
		weights[k] = here;
		CHECK_CLOSE(at.gradient[k], (above.value - below.value) / (2 * step), 1e-5);
		for (size_t l = 0; l < WEIGHTS; l++)
			CHECK_CLOSE(at.hessian[k][l], (below.gradient[l] - above.gradient[l]) / (2 * step), 1e-5);
	}
}

static void test_the_fit_is_the_maximum(void)
{
	static const double penalties[] = {0.5, 20};
	for (size_t p = 0; p < COUNT_OF(penalties); p++) {
		plant(150, 2, CANDIDATES_HERE, false);
		check_maximum(penalties[p]);
		plant(150, 6, CANDIDATES_HERE, true);
		check_maximum(penalties[p]);
	}
	plant(5, 2, 3, false);
	check_maximum(1);
}

static void test_planted_weights_are_found(void)
{
	double weights[WEIGHTS];
	plant(LISTS_HERE, CANDIDATES_HERE, CANDIDATES_HERE, false);
	const struct blend blend = fitted(&problem, 0, ISA_PORTABLE, 2);
	weights_of(&blend, weights);
	for (size_t k = 0; k < WEIGHTS; k++)
		CHECK_CLOSE(weights[k], planted[k], 0.12);
	CHECK(blend.report.log_likelihood > blend.report.uniform + 0.1);
	CHECK_EQUAL_U64(blend.report.candidates, (uint64_t)LISTS_HERE * CANDIDATES_HERE);
}

/* ---- scales and scores ---- */

static void test_scales_and_scores_are_the_formula(void)
{
	plant(90, 6, CANDIDATES_HERE, true);
	const struct blend blend = fitted(&problem, 1, ISA_PORTABLE, 1);
	double weights[WEIGHTS];
	weights_of(&blend, weights);
	for (size_t s = 0; s < SIGNALS_HERE; s++) {
		CHECK_CLOSE(blend.signals[s].mean, problem.mean[s], 1e-9 * (1 + fabs(problem.mean[s])));
		CHECK_CLOSE(blend.signals[s].scale, problem.scale[s], 1e-9 * problem.scale[s]);
	}
	CHECK_CLOSE(blend.activity_mean, problem.activity_mean, 1e-12);
	CHECK_CLOSE(blend.activity_scale, problem.activity_scale, 1e-12);
	for (size_t n = 0; n < problem.lists; n++) {
		const struct raw *raw = &problem.raw[n];
		float values[SIGNALS_HERE * CANDIDATES_HERE], scores[CANDIDATES_HERE];
		flat_values(raw, values);
		blend_scores(&blend, values, raw->count, raw->interactions, scores);
		for (uint32_t c = 0; c < raw->count; c++)
			CHECK_CLOSE((double)scores[c], score_of(raw, c, weights), 1e-6 * (1 + fabs(score_of(raw, c, weights))));
	}
}

static void test_what_never_varies_counts_nothing(void)
{
	double weights[WEIGHTS];
	plant(60, 5, CANDIDATES_HERE, false);
	for (size_t n = 0; n < problem.lists; n++) {
		problem.raw[n].interactions = 5; /* sums of log(6) / 60 are rounded, and 0.1 is no power of two */
		for (uint32_t c = 0; c < CANDIDATES_HERE; c++)
			problem.raw[n].values[0][c] = 0.1f;
	}
	const struct blend blend = fitted(&problem, 1, ISA_PORTABLE, 1);
	CHECK(blend.signals[0].scale == 0);
	CHECK(blend.activity_scale == 0);
	CHECK(blend_activity(&blend, 1000) == 0);
	CHECK(blend_transform(&blend.signals[0], 7) == 0);
	weights_of(&blend, weights);
	for (size_t k = 0; k < WEIGHTS; k++)
		CHECK((weights[k] == 0) == (k % SIGNALS_HERE == 0 || k >= 2 * SIGNALS_HERE));
}

/* Two signals alike, one that tells all truths, and next to no penalty: weights stay numbers. */
static void test_next_to_no_penalty(void)
{
	static const double penalties[] = {1e-3, 1e-15, 1e-300};
	for (size_t p = 0; p < COUNT_OF(penalties); p++)
		for (int truth = 0; truth < 2; truth++) {
			double weights[WEIGHTS];
			plant(50, 5, CANDIDATES_HERE, false);
			for (size_t n = 0; n < problem.lists; n++)
				for (uint32_t c = 0; c < CANDIDATES_HERE; c++) {
					problem.raw[n].values[2][c] = problem.raw[n].values[0][c];
					problem.raw[n].values[1][c] += truth ? 500.0f * (float)problem.raw[n].relevant[c] : 0;
				}
			const struct blend blend = fitted(&problem, penalties[p], ISA_PORTABLE, 1);
			weights_of(&blend, weights);
			for (size_t k = 0; k < WEIGHTS; k++)
				CHECK(isfinite(weights[k]));
			CHECK(blend.report.log_likelihood > blend.report.uniform);
			CHECK(!truth || blend.report.log_likelihood > -0.05);
		}
}

/* ---- the sample ---- */

static void test_lists_that_teach_nothing_are_left_out(void)
{
	struct blend_sample sample = {.signals = SIGNALS_HERE};
	struct blend blend = new_blend();
	struct error error = {0};
	struct pool *pool = pool_new(1, &error);
	make_problem(&problem, 4, 6, 6);
	problem.raw[0].count = 0;
	memset(problem.raw[1].relevant, 1, sizeof problem.raw[1].relevant);
	problem.raw[3].count = 1;
	problem.raw[3].relevant[0] = 1;
	for (size_t n = 0; n < 4; n++)
		add_raw(&sample, &problem.raw[n], 1);
	CHECK_EQUAL_U64(sample.count, 0);
	CHECK(blend_fit(&blend, &sample, &(struct blend_fit_options){.isa = ISA_PORTABLE}, pool, &error) < 0);
	CHECK(error.code == CODE_DATA && strstr(error.message, "no list has a relevant item among others"));
	problem.raw[2].relevant[3] = problem.raw[2].relevant[5] = 1;
	add_raw(&sample, &problem.raw[2], 1);
	CHECK_EQUAL_U64(sample.count, 1);
	CHECK_EQUAL_U64(sample.lists[0].relevant, 2);
	for (size_t s = 0; s < SIGNALS_HERE; s++) { /* the relevant ones first, the others as they came */
		static const uint32_t order[] = {3, 5, 0, 1, 2, 4};
		for (size_t c = 0; c < 6; c++)
			CHECK(sample.lists[0].values[s * 6 + c] == problem.raw[2].values[s][order[c]]);
	}
	pool_free(pool);
	blend_sample_release(&sample);
}

static void test_folds_go_by_user_and_seed(void)
{
	size_t of_fold[BLEND_FOLDS] = {0}, moved = 0;
	plant(1000, 2, 3, false);
	struct blend_sample sample = sample_of(&problem, 1), other = sample_of(&problem, 2);
	for (size_t n = 0; n < problem.lists; n++) {
		CHECK(sample.lists[n].fold < BLEND_FOLDS);
		of_fold[sample.lists[n].fold]++;
		moved += sample.lists[n].fold != other.lists[n].fold;
	}
	for (size_t fold = 0; fold < BLEND_FOLDS; fold++)
		CHECK(of_fold[fold] > 190 && of_fold[fold] < 310);
	CHECK(moved > 600 && moved < 900);
	for (size_t n = 0; n < 3; n++) { /* again, in another place and with other values */
		struct raw raw = problem.raw[n];
		raw.values[0][0] = 99;
		add_raw(&sample, &raw, 1);
		CHECK_EQUAL_U64(sample.lists[problem.lists + n].fold, sample.lists[n].fold);
		CHECK_EQUAL_U64(sample.lists[problem.lists + n].lot, sample.lists[n].lot);
	}
	blend_sample_release(&sample);
	blend_sample_release(&other);
}

/* ---- the penalty ---- */

struct fold {
	const struct blend_sample *sample;
	uint32_t fold;
	bool inside;
};

static bool in_fold(const void *context, size_t n)
{
	const struct fold *fold = context;
	return (fold->sample->lists[n].fold == fold->fold) == fold->inside;
}

static void check_penalty(double *chosen)
{
	static const double penalties[BLEND_PENALTIES] = {0.1, 0.3, 1, 3, 10, 30, 100, 300};
	struct blend_sample sample = sample_of(&problem, 5);
	double best = -INFINITY;
	const struct blend blend = fitted(&problem, 0, ISA_PORTABLE, 2);
	CHECK_EQUAL_U64(blend.report.tried, BLEND_PENALTIES);
	for (size_t p = 0; p < BLEND_PENALTIES; p++) {
		double held_out = 0, weights[WEIGHTS];
		for (uint32_t fold = 0; fold < BLEND_FOLDS; fold++) {
			const struct fold others = {&sample, fold, false}, left_out = {&sample, fold, true};
			reference_fit(&problem, weights, penalties[p], in_fold, &others);
			held_out += reference_at(&problem, weights, 0, in_fold, &left_out).value;
		}
		held_out /= (double)problem.lists;
		CHECK(blend.report.penalties[p] == penalties[p]);
		CHECK_CLOSE(blend.report.held_out[p], held_out, 2e-4);
		*chosen = held_out > best ? penalties[p] : *chosen;
		best = fmax(best, held_out);
	}
	CHECK(blend.report.l2 == *chosen);
	const struct blend again = fitted(&problem, *chosen, ISA_PORTABLE, 2);
	for (size_t s = 0; s < SIGNALS_HERE; s++)
		CHECK(blend.signals[s].weight == again.signals[s].weight);
	blend_sample_release(&sample);
}

static void test_the_penalty_is_the_best_on_lists_left_out(void)
{
	double of_few = 0, of_many = 0;
	plant(24, 6, 12, false);
	check_penalty(&of_few);
	plant(160, 6, CANDIDATES_HERE, true);
	check_penalty(&of_many);
	CHECK(of_few != of_many); /* so that the choice is one */
}

static void test_few_lists_and_one_user_of_many(void)
{
	plant(1, 4, 4, false);
	CHECK(fitted(&problem, 0, ISA_PORTABLE, 1).report.tried == BLEND_PENALTIES);
	plant(LISTS_HERE, 2, 2, false);
	bool without = false; /* such a user came */
	for (uint32_t user = 0; user < 20 && !without; user++) { /* beyond VALIDATED_LISTS some users have no fold */
		for (size_t n = 0; n < problem.lists; n++)
			problem.raw[n].user = user;
		const struct blend blend = fitted(&problem, 0, ISA_PORTABLE, 2);
		CHECK(blend.report.tried == 0 || blend.report.tried == BLEND_PENALTIES);
		CHECK(isfinite(blend.report.held_out[0]) && isfinite(blend.signals[0].weight));
		without = blend.report.tried == 0;
	}
	CHECK(without);
}

/* ---- the same bytes ---- */

static void test_threads_and_instruction_sets_change_nothing(void)
{
	static const size_t threads[] = {1, 2, 3, 8};
	struct error error = {0};
	plant(130, 2, CANDIDATES_HERE, true);
	const struct blend first = fitted(&problem, 0, ISA_PORTABLE, 1);
	CHECK_OK(blend_write(&first, "first", &error), &error);
	struct bytes expected = bytes_read("first");
	for (size_t t = 0; t < COUNT_OF(threads); t++)
		for (size_t i = 0; i < ISA_COUNT; i++) {
			enum isa isa;
			struct error lacking = {0};
			if (isa_find(isa_names[i], &isa, &lacking) < 0)
				continue;
			const struct blend blend = fitted(&problem, 0, isa, threads[t]);
			CHECK_OK(blend_write(&blend, "again", &error), &error);
			struct bytes got = bytes_read("again");
			CHECK(got.size == expected.size && memcmp(got.at, expected.at, got.size) == 0);
			free(got.at);
		}
	free(expected.at);
}

int main(void)
{
	RUN(test_the_reference_has_the_gradient_of_its_value);
	RUN(test_the_fit_is_the_maximum);
	RUN(test_planted_weights_are_found);
	RUN(test_scales_and_scores_are_the_formula);
	RUN(test_what_never_varies_counts_nothing);
	RUN(test_next_to_no_penalty);
	RUN(test_lists_that_teach_nothing_are_left_out);
	RUN(test_folds_go_by_user_and_seed);
	RUN(test_the_penalty_is_the_best_on_lists_left_out);
	RUN(test_few_lists_and_one_user_of_many);
	RUN_IN_FOLDER(test_threads_and_instruction_sets_change_nothing);
	return check_done();
}
