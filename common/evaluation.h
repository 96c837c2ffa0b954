/* A stream of scored lists measured: one row of values for each user with truth, and what is told beside. */
#ifndef RECPIPE_EVALUATION_H
#define RECPIPE_EVALUATION_H

#include "compat.h"
#include "error.h"
#include "interactions.h"
#include "measures.h"

enum { COLUMNS_MAX = 256 };

/* One column of the table: a measure at a cutoff. */
struct column {
	const struct measure *measure;
	uint32_t cutoff;         /* 0 where the measure has none */
	char name[32];           /* "HR@10", "AUC" */
};

struct evaluation {
	struct column columns[COLUMNS_MAX];
	size_t column_count;
	double *values;          /* [users][column_count] */
	uint32_t *users;
	size_t count, users_capacity, values_capacity;
	size_t without_truth;    /* lists whose user has no truth: left out */
	size_t tied;             /* users with a relevant item tied with an irrelevant one */
	uint32_t shortest, longest; /* lengths of the lists */
	char ranking[16];        /* "sampled", "full", "top" */
	uint32_t items;          /* size of the catalogue */
	uint32_t coverage_cutoff;/* the largest cutoff */
	uint8_t *shown;          /* items that were among somebody's first coverage_cutoff, by cutoff index bit */
	size_t cutoff_count;
	uint32_t cutoffs[8];
};

/* Columns for each of `measures_wanted` (NULL-terminated names; NULL: all) at each cutoff (at most 8). */
MUST_CHECK int evaluation_init(struct evaluation *evaluation, const char *const *measures_wanted,
                               const int64_t *cutoffs, size_t cutoff_count, struct error *error);

/* Reads the lists at `path`. `truth_path` (interactions) overrides the relevance in them; NULL: not.
 * A cutoff longer than a cut list ("top", "full") can be trusted is CODE_USAGE. */
MUST_CHECK int evaluation_read(struct evaluation *evaluation, const char *path, const char *truth_path,
                               struct error *error);
void evaluation_release(struct evaluation *evaluation);

/* Mean of a column over users, summed in order with compensation (Neumaier 1974). */
double evaluation_mean(const struct evaluation *evaluation, size_t column);

/* The values of a column, one a user, as an array that the caller frees (mem_free). NULL on error. */
MUST_CHECK double *evaluation_column(const struct evaluation *evaluation, size_t column, struct error *error);

/* Share of the catalogue that is among somebody's first cutoffs[which]. */
double evaluation_coverage(const struct evaluation *evaluation, size_t which);

#endif
