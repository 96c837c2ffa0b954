/* Ranking measures as a table, one entry each with its formula and source.
 *
 * A user's ranking is reduced to the ranks of the relevant items, ties resolved against them (a relevant
 * item ranks below every irrelevant one of equal score): a constant model scores 0 and no order of the
 * input can flatter. Among themselves tied relevant items take consecutive ranks. */
#ifndef RECPIPE_MEASURES_H
#define RECPIPE_MEASURES_H

#include "compat.h"
#include "error.h"
#include "records.h"

/* What the measures see of one user. */
struct user_ranking {
	uint32_t candidates;        /* length of the list */
	uint32_t relevant_total;    /* truth, whether in the list or not */
	uint32_t relevant_found;    /* truth in the list: length of `ranks` */
	const uint32_t *ranks;      /* 1-based, ascending */
	bool tied;                  /* some relevant item shares its score with an irrelevant one */
};

struct measure {
	const char *name;           /* "HR", "NDCG", … */
	bool has_cutoff;            /* printed as NAME@k */
	double (*value)(const struct user_ranking *ranking, uint32_t cutoff);
	/* The same for a user whose one relevant item has this rank, which may be a fraction: what measures_correction.h
	 * corrects. NULL where sampled candidates do not bias the measure. */
	double (*at_rank)(double rank, uint32_t cutoff);
	const char *formula;        /* with its source */
};

extern const struct measure measures[];
extern const size_t measure_count;
const struct measure *measure_find(const char *name); /* case ignored; NULL when there is none */

/* Ranks of the relevant items of a scored list. `ranks` has room for list->count. A NaN score or a doubled
 * item is CODE_DATA naming the user. `order` (list->count entries) receives the positions in the order that the list
 * would be shown in: descending score, ties by ascending item. */
MUST_CHECK int user_ranking_make(const struct list *list, uint32_t *ranks, uint32_t *order,
                                 struct user_ranking *ranking, struct error *error);

/* Mean of `count` values that stand `stride` apart, summed in order with compensation (Neumaier 1974). 0 of nothing. */
double compensated_mean(const double *values, size_t count, size_t stride);

/* Draws by (seed, number of the draw). Nothing depends on the threads; 0: one a processor. */
struct resampling {
	uint64_t seed;
	size_t rounds, threads;
};

/* 95% percentile bootstrap intervals of the means of the columns of values[count][columns] (Efron & Tibshirani 1993):
 * each round draws as many rows with replacement. low[columns] and high[columns] receive the ends. */
MUST_CHECK int bootstrap_intervals(const double *values, size_t count, size_t columns, const struct resampling *by,
                                   double *low, double *high, struct error *error);

/* Two-sided paired randomisation test (Fisher; Smucker, Allan & Carterette 2007): *p is the share of the rounds' sign
 * flips whose mean difference is at least as far from 0 as the observed, (hits + 1) / (rounds + 1). */
MUST_CHECK int randomisation_test(const double *a, const double *b, size_t count, const struct resampling *by, double *p,
                                  struct error *error);

#endif
