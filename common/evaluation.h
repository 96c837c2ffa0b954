/* A stream of scored lists measured: one row of values for each user, and what is told beside.
 *
 * Columns are measures at cutoffs, of three kinds: of the ranks of the relevant items (measures.h); their estimates
 * for the whole catalogue, where sampled ranks are to be corrected (measures_correction.h), each right behind the
 * column that it corrects; and of what the list shows (measures_lists.h). Where a column needs the truth, users
 * without any are left out of all columns. Exposure measures are of all lists. */
#ifndef RECPIPE_EVALUATION_H
#define RECPIPE_EVALUATION_H

#include "catalogue.h"
#include "compat.h"
#include "error.h"
#include "interactions.h"
#include "measures.h"
#include "measures_correction.h"
#include "measures_lists.h"
#include "options.h"

enum { COLUMNS_MAX = 256, CUTOFFS_MAX = 8, EXPOSURES_MAX = 4 };

enum column_kind { COLUMN_RANKS, COLUMN_ESTIMATE, COLUMN_LIST };

struct column {
	enum column_kind kind;
	const struct measure *measure;           /* of ranks and estimates */
	const struct list_measure *list_measure; /* of lists */
	uint32_t cutoff;                         /* 0 where the measure has none */
	char name[48];                           /* "HR@10", "AUC", "HR@10.full_estimate" */
};

/* By what users can be put into groups. */
enum user_key { USER_ACTIVITY, USER_POPULARITY, USER_KEYS };

struct evaluation_options {
	const struct text_list *measures;        /* names; none: all that the files given allow */
	const struct int_list *cutoffs;          /* at most CUTOFFS_MAX */
	const char *truth;                       /* interactions that override the relevance in the lists; NULL: not */
	const struct text_list *known;           /* interactions that the users had before; may be none */
	const char *movies, *genres, *items;     /* the catalogue and its id map; NULL: not */
	struct correction correction;            /* needs known */
	bool keys[USER_KEYS];                    /* what to keep of each user; activity needs known */
};

struct evaluation {
	const struct evaluation_options *options;
	struct column columns[COLUMNS_MAX];
	size_t column_count;
	const struct exposure_measure *exposures[EXPOSURES_MAX];
	size_t exposure_count, cutoff_count;
	uint32_t cutoffs[CUTOFFS_MAX], longest_cutoff;

	/* Of each user that is measured. */
	double *values;                          /* [users][column_count] */
	uint32_t *users;
	double *keys[USER_KEYS];                 /* NULL where they are not kept */
	size_t count, users_capacity, values_capacity, keys_capacity[USER_KEYS];

	/* What is told beside. */
	size_t without_truth;                    /* users left out for want of truth */
	size_t tied;                             /* users with a relevant item tied with an irrelevant one */
	uint32_t shortest, longest;              /* lengths of the lists */
	char ranking[16];                        /* "sampled", "full", "top" */
	bool needs_truth;                        /* some column does */
	uint32_t items;                          /* size of the catalogue */
	uint32_t *shown;                         /* [cutoff_count][items]: how often among somebody's first cutoff */

	/* What the measures know. */
	struct interactions known, truth;
	bool has_truth;
	struct catalogue catalogue;
	struct list_background background;
};

/* Chooses the columns. A name that is unknown, or whose files are not given, is CODE_USAGE. `options` is borrowed
 * until evaluation_release. */
MUST_CHECK int evaluation_init(struct evaluation *evaluation, const struct evaluation_options *options,
                               struct error *error);

/* Reads the lists at `path`. A cutoff longer than a cut list ("top", "full") can be trusted is CODE_USAGE. */
MUST_CHECK int evaluation_read(struct evaluation *evaluation, const char *path, struct error *error);
void evaluation_release(struct evaluation *evaluation);

/* The column of that name, or -1. */
int evaluation_find(const struct evaluation *evaluation, const char *name);

/* Mean of a column over users. */
double evaluation_mean(const struct evaluation *evaluation, size_t column);

/* The values of a column, one a user, as an array that the caller frees (mem_free). NULL on error. */
MUST_CHECK double *evaluation_column(const struct evaluation *evaluation, size_t column, struct error *error);

/* An exposure measure of the first cutoffs[which] of all lists. */
MUST_CHECK int evaluation_exposure(const struct evaluation *evaluation, const struct exposure_measure *measure,
                                   size_t which, double *value, struct error *error);

#endif
