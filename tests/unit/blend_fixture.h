/* Lists of made-up signals to fit blends on, and the plain reference: the penalised log likelihood of blend.h from the
 * lists as they came, in double precision by libm, with its gradient and Hessian over all weights side by side. */
#ifndef RECPIPE_BLEND_FIXTURE_H
#define RECPIPE_BLEND_FIXTURE_H

#include "blend.h"
#include "check.h"
#include "rng.h"

enum { SIGNALS_HERE = 3, POPULARITY = 1, CANDIDATES_HERE = 24, LISTS_HERE = 3000, WEIGHTS = 3 * SIGNALS_HERE };

struct raw {
	uint32_t user, count, interactions;
	uint8_t relevant[CANDIDATES_HERE];
	float values[SIGNALS_HERE][CANDIDATES_HERE];
	double x[SIGNALS_HERE][CANDIDATES_HERE], activity; /* of reference_transform */
};

struct problem {
	size_t lists;
	struct raw raw[LISTS_HERE];
	double mean[SIGNALS_HERE], scale[SIGNALS_HERE], activity_mean, activity_scale;
};

static inline double normal(struct rng *rng)
{
	double sum = -6;
	for (int i = 0; i < 12; i++)
		sum += (double)rng_below(rng, 1 << 30) / (1 << 30);
	return sum;
}

/* Signals on very different scales, the last with a heavy tail; nothing is relevant yet. */
static inline void make_problem(struct problem *problem, size_t lists, uint32_t fewest, uint32_t most)
{
	problem->lists = lists;
	for (uint32_t n = 0; n < lists; n++) {
		struct raw *raw = &problem->raw[n];
		struct rng rng;
		rng_init(&rng, 3, rng_stream(RNG_TEST, 1), n);
		*raw = (struct raw){.user = n, .count = fewest + (uint32_t)rng_below(&rng, most - fewest + 1),
		                    .interactions = (uint32_t)rng_below(&rng, 200)};
		for (uint32_t c = 0; c < raw->count; c++) {
			const double a = normal(&rng), b = normal(&rng), d = normal(&rng);
			raw->values[0][c] = (float)(a / 100 + 3);
			raw->values[1][c] = (float)(40 * (b + a / 2));
			raw->values[2][c] = (float)(d * d * d);
		}
	}
}

/* ---- the reference ---- */

/* Means and deviations of what is not relevant, and x_s. */
static inline void reference_transform(struct problem *problem)
{
	double square = 0, mean = 0;
	for (size_t s = 0; s < SIGNALS_HERE; s++) {
		double sum = 0, squares = 0, count = 0;
		for (int pass = 0; pass < 2; pass++)
			for (size_t n = 0; n < problem->lists; n++)
				for (uint32_t c = 0; c < problem->raw[n].count; c++) {
					const double value = (double)problem->raw[n].values[s][c];
					if (problem->raw[n].relevant[c])
						continue;
					count += pass == 0;
					sum += pass == 0 ? value : 0;
					squares += pass == 1 ? (value - sum / count) * (value - sum / count) : 0;
				}
		problem->mean[s] = sum / count;
		problem->scale[s] = sqrt(squares / count);
		for (size_t n = 0; n < problem->lists; n++)
			for (uint32_t c = 0; c < problem->raw[n].count; c++)
				problem->raw[n].x[s][c] =
					asinh(((double)problem->raw[n].values[s][c] - problem->mean[s]) / problem->scale[s]);
	}
	for (size_t n = 0; n < problem->lists; n++)
		mean += log(1.0 + problem->raw[n].interactions) / (double)problem->lists;
	for (size_t n = 0; n < problem->lists; n++)
		square += pow(log(1.0 + problem->raw[n].interactions) - mean, 2) / (double)problem->lists;
	problem->activity_mean = mean;
	problem->activity_scale = sqrt(square);
	for (size_t n = 0; n < problem->lists; n++)
		problem->raw[n].activity = (log(1.0 + problem->raw[n].interactions) - mean) / sqrt(square);
}

/* What the weights are multiplied with. */
static inline void features(const struct raw *raw, uint32_t c, double z[WEIGHTS])
{
	for (size_t s = 0; s < SIGNALS_HERE; s++) {
		z[s] = raw->x[s][c];
		z[SIGNALS_HERE + s] = raw->x[s][c] * raw->x[POPULARITY][c];
		z[2 * SIGNALS_HERE + s] = raw->x[s][c] * raw->activity;
	}
}

static inline double score_of(const struct raw *raw, uint32_t c, const double weights[WEIGHTS])
{
	double z[WEIGHTS], score = 0;
	features(raw, c, z);
	for (size_t k = 0; k < WEIGHTS; k++)
		score += weights[k] * z[k];
	return score;
}

/* Whether list n counts; NULL: all do. */
typedef bool (*chosen_function)(const void *context, size_t n);

struct reference {
	double value, lists, gradient[WEIGHTS], hessian[WEIGHTS][WEIGHTS]; /* of minus the value */
};

static inline void add_reference(const struct raw *raw, const double weights[WEIGHTS], struct reference *to)
{
	double total = 0, relevant = 0, mean[WEIGHTS] = {0}, z[WEIGHTS];
	for (uint32_t c = 0; c < raw->count; c++) {
		total += exp(score_of(raw, c, weights));
		relevant += raw->relevant[c];
	}
	for (uint32_t c = 0; c < raw->count; c++) {
		const double share = exp(score_of(raw, c, weights)) / total;
		features(raw, c, z);
		to->value += raw->relevant[c] ? log(share) / relevant : 0;
		for (size_t k = 0; k < WEIGHTS; k++) {
			mean[k] += share * z[k];
			to->gradient[k] += (raw->relevant[c] / relevant - share) * z[k];
			for (size_t l = 0; l < WEIGHTS; l++)
				to->hessian[k][l] += share * z[k] * z[l];
		}
	}
	for (size_t k = 0; k < WEIGHTS; k++)
		for (size_t l = 0; l < WEIGHTS; l++)
			to->hessian[k][l] -= mean[k] * mean[l];
	to->lists++;
}

static inline struct reference reference_at(const struct problem *problem, const double weights[WEIGHTS], double l2,
                                            chosen_function chosen, const void *context)
{
	struct reference sums = {0};
	for (size_t n = 0; n < problem->lists; n++)
		if (!chosen || chosen(context, n))
			add_reference(&problem->raw[n], weights, &sums);
	for (size_t k = 0; k < WEIGHTS; k++) {
		sums.value -= l2 / 2 * weights[k] * weights[k];
		sums.gradient[k] -= l2 * weights[k];
		sums.hessian[k][k] += l2;
	}
	return sums;
}

/* weights += hessian^-1 gradient, by elimination. */
static inline void reference_step(struct reference *at, double weights[WEIGHTS])
{
	for (size_t k = 0; k < WEIGHTS; k++)
		for (size_t row = 0; row < WEIGHTS; row++) {
			const double factor = at->hessian[row][k] / at->hessian[k][k];
			for (size_t l = k; l < WEIGHTS && row != k; l++)
				at->hessian[row][l] -= factor * at->hessian[k][l];
			at->gradient[row] -= row != k ? factor * at->gradient[k] : 0;
		}
	for (size_t k = 0; k < WEIGHTS; k++)
		weights[k] += at->gradient[k] / at->hessian[k][k];
}

/* The weights of the maximum. */
static inline void reference_fit(const struct problem *problem, double weights[WEIGHTS], double l2,
                                 chosen_function chosen, const void *context)
{
	memset(weights, 0, WEIGHTS * sizeof *weights);
	for (int step = 0; step < 30; step++) {
		struct reference at = reference_at(problem, weights, l2, chosen, context);
		reference_step(&at, weights);
	}
}

/* ---- what is under test ---- */

static inline struct blend new_blend(void)
{
	static const struct signal signals[SIGNALS_HERE] = {
		{.kind = SIGNAL_SCORE, .name = "score"},
		{.kind = SIGNAL_POPULARITY, .name = "popularity"},
		{.kind = SIGNAL_WITH, .name = "other"},
	};
	struct blend blend = {.count = SIGNALS_HERE, .popularity = POPULARITY};
	for (size_t s = 0; s < SIGNALS_HERE; s++)
		blend.signals[s].signal = signals[s];
	return blend;
}

/* Values one behind the other, as signals_values has them. */
static inline void flat_values(const struct raw *raw, float values[SIGNALS_HERE * CANDIDATES_HERE])
{
	for (size_t s = 0; s < SIGNALS_HERE; s++)
		memcpy(values + s * raw->count, raw->values[s], raw->count * sizeof *values);
}

static inline void add_raw(struct blend_sample *sample, const struct raw *raw, uint64_t seed)
{
	float values[SIGNALS_HERE * CANDIDATES_HERE];
	uint8_t relevant[CANDIDATES_HERE];
	struct error error = {0};
	const struct list list = {.user = raw->user, .count = raw->count, .relevant = relevant};
	memcpy(relevant, raw->relevant, sizeof relevant);
	flat_values(raw, values);
	CHECK_OK(blend_sample_add(sample, &list, values, raw->interactions, seed, &error), &error);
}

static inline struct blend_sample sample_of(const struct problem *problem, uint64_t seed)
{
	struct blend_sample sample = {.signals = SIGNALS_HERE};
	for (size_t n = 0; n < problem->lists; n++)
		add_raw(&sample, &problem->raw[n], seed);
	return sample;
}

static inline struct blend fitted(const struct problem *problem, double l2, enum isa isa, size_t threads)
{
	const struct blend_fit_options options = {.l2 = l2, .seed = 5, .isa = isa};
	struct blend blend = new_blend();
	struct blend_sample sample = sample_of(problem, options.seed);
	struct error error = {0};
	struct pool *pool = pool_new(threads, &error);
	CHECK(pool);
	CHECK_OK(blend_fit(&blend, &sample, &options, pool, &error), &error);
	pool_free(pool);
	blend_sample_release(&sample);
	return blend;
}

static inline void weights_of(const struct blend *blend, double weights[WEIGHTS])
{
	for (size_t s = 0; s < SIGNALS_HERE; s++) {
		weights[s] = blend->signals[s].weight;
		weights[SIGNALS_HERE + s] = blend->signals[s].by_popularity;
		weights[2 * SIGNALS_HERE + s] = blend->signals[s].by_activity;
	}
}

#endif
