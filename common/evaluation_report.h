/* Evaluations in words: the table of one, the comparison of two, as TSV, JSON or text for people. */
#ifndef RECPIPE_EVALUATION_REPORT_H
#define RECPIPE_EVALUATION_REPORT_H

#include "compat.h"
#include "evaluation.h"
#include "io.h"

enum report_format { REPORT_TSV, REPORT_JSON, REPORT_TEXT };

extern const char *const report_formats[];      /* as options have them; NULL at the end */
extern const char *const correction_names[];    /* by enum correction_method, the same way */

struct report_options {
	enum report_format format;
	struct resampling resampling; /* of the intervals; 0 rounds: none */
	size_t groups;           /* of users for each key that the evaluation kept */
};

/* A mean over users and its 95% interval. */
struct interval {
	double mean, low, high;
};

/* One row of a table: a measure at a cutoff. */
struct report_row {
	char name[48];
	bool has_interval;       /* a mean over users, with resamples asked for */
	struct interval value;
	bool has_estimate;       /* sampled ranks were corrected */
	struct interval estimate;/* of the value that the full ranking would give */
};

struct report_group {
	const char *by;          /* one of user_key_names */
	const char *meaning;
	double from, to;
	size_t users;
	struct report_row *rows;
	size_t row_count;
};

struct report {
	const struct evaluation *evaluation;
	const struct report_options *options;
	struct report_row *rows;
	size_t row_count;
	struct report_group *groups;
	size_t group_count;
};

/* Computes all that is printed. The evaluation and the options are borrowed. Release it also after a failure. */
MUST_CHECK int report_make(struct report *report, const struct evaluation *evaluation,
                           const struct report_options *options, struct error *error);
void report_release(struct report *report);
MUST_CHECK int report_print(const struct report *report, struct output *output, struct error *error);

/* Every column of two evaluations side by side: means, their difference b - a with its interval, and the p of the
 * paired randomisation test. Other users, or another order of them, are CODE_DATA naming `names`. */
MUST_CHECK int comparison_print(const struct evaluation *a, const struct evaluation *b, const char *const names[2],
                                const struct report_options *options, struct output *output, struct error *error);

/* One row of TSV for each user, values of all columns. */
MUST_CHECK int evaluation_print_users(const struct evaluation *evaluation, struct output *output,
                                      struct error *error);

#endif
