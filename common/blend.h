/* The second stage that is fitted: a weighted sum of signals (signals.h), its weights found on candidates whose truth is
 * known.
 *
 *     x_s = asinh((signal_s - mean_s) / scale_s)
 *     score = sum over s of x_s (weight_s + by_popularity_s x_popularity + by_activity_s activity)
 *
 * mean and scale are those of the irrelevant candidates; activity is log(1 + interactions of the user), standardised. So
 * one signal may count more for popular items or for active users. Weights maximise the sum over users of
 * log(exp(score of the relevant) / sum over the candidates of exp(score)), McFadden's conditional logit (1974), less
 * l2 / 2 times the sum of their squares: Newton's method, which is exact up to rounding. */
#ifndef RECPIPE_BLEND_H
#define RECPIPE_BLEND_H

#include "compat.h"
#include "error.h"
#include "isa.h"
#include "list_streams.h"
#include "parallel.h"
#include "signals.h"

struct blend_signal {
	struct signal signal;
	double mean, scale;           /* of the signal; scale 0: it never varies, and counts nothing */
	double weight, by_popularity, by_activity;
};

enum { BLEND_PENALTIES = 8, BLEND_FOLDS = 4 };

/* What the fit found, for the reader of the file; not used afterwards. */
struct blend_fit_report {
	uint64_t lists, candidates;
	double l2, log_likelihood;    /* a list, with the weights; natural */
	double uniform;               /* the same of equal scores */
	size_t tried;                 /* penalties that were compared */
	double penalties[BLEND_PENALTIES], held_out[BLEND_PENALTIES]; /* log likelihood a list that was left out */
};

struct blend {
	struct blend_signal signals[SIGNALS_MAX];
	size_t count, popularity;     /* signals[popularity] is the popularity */
	double activity_mean, activity_scale;
	struct blend_fit_report report;
};

/* Reads or writes the file (JSON, docs/formats.md). Reading finds the signals among the sources: CODE_DATA when one
 * cannot be had, or the file is no blend. `path` is written whole or not at all. */
MUST_CHECK int blend_read(struct blend *blend, const char *path, const struct signal_sources *sources,
                          struct error *error);
MUST_CHECK int blend_write(const struct blend *blend, const char *path, struct error *error);

/* scores[0..count) from values[s * count + i] of its signals, of a user with `interactions`. */
void blend_scores(const struct blend *blend, const float *values, size_t count, size_t interactions, float *scores);

/* asinh((value - mean) / scale). */
double blend_transform(const struct blend_signal *signal, float value);

/* log(1 + interactions), standardised. */
double blend_activity(const struct blend *blend, size_t interactions);

/* ---- fitting ---- */

/* Lists to fit on: gathered one after the other. */
struct blend_sample {
	size_t signals;
	size_t count, capacity;       /* lists */
	struct blend_sample_list {
		uint32_t candidates;
		uint32_t relevant;        /* of them, the first ones */
		uint32_t interactions;
		uint32_t lot, fold;      /* for cross-validation, by the user's hash */
		float *values;            /* [signal][candidate] */
	} *lists;
};

/* Adds a list's values (as of signals_values); lists that teach nothing (no relevant entry, or no other) are left out.
 * A user's fold depends on the seed and the user alone. */
MUST_CHECK int blend_sample_add(struct blend_sample *sample, const struct list *list, const float *values,
                                size_t interactions, uint64_t seed, struct error *error);
/* Finds the scales of the blend's signals and of activity, and turns the values into x_s: what they are when the blend is
 * applied, but for a rounding to single precision. */
void blend_sample_transform(struct blend_sample *sample, struct blend *blend);
void blend_sample_release(struct blend_sample *sample);

struct blend_fit_options {
	double l2;                    /* 0: the one of 0.1, 0.3, 1 … 300 under which lists left out are likeliest, in four folds */
	uint64_t seed;                /* of the folds */
	enum isa isa;
};

/* Finds the weights of `blend`, whose signals are set. The sample's values are transformed in place. CODE_DATA when it is
 * empty. */
MUST_CHECK int blend_fit(struct blend *blend, struct blend_sample *sample, const struct blend_fit_options *options,
                         struct pool *pool, struct error *error);

/* The same from streams (the lists, then those of sources->with_names), with every signal that the sources give. */
MUST_CHECK int blend_fit_lists(struct blend *blend, const struct signal_sources *sources, struct list_streams *streams,
                               const struct blend_fit_options *options, struct pool *pool, struct error *error);

#endif
