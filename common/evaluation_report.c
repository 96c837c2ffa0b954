/* See evaluation_report.h: what is printed, computed. (evaluation_print.c prints it.) */
#include "evaluation_report.h"

#include "evaluation_groups.h"
#include "mem.h"

/* The mean of `values` and its interval. */
static int make_interval(const double *values, size_t count, const struct report_options *options,
                         struct interval *interval, struct error *error)
{
	interval->mean = compensated_mean(values, count, 1);
	return bootstrap_interval(values, count, options->seed, options->resamples, &interval->low, &interval->high,
	                          error);
}

/* What a table is of: all users, or one group of them. */
struct subset {
	const struct report *report;
	const struct user_groups *groups; /* NULL: all users */
	size_t group, users;
	double *values;                   /* room for a column */
};

static void take_column(const struct subset *subset, size_t column)
{
	const struct evaluation *e = subset->report->evaluation;
	if (subset->groups) {
		user_groups_select(subset->groups, subset->group, e, column, subset->values);
		return;
	}
	for (size_t u = 0; u < e->count; u++)
		subset->values[u] = e->values[u * e->column_count + column];
}

/* The row of a column, and of the estimate that may stand behind it. */
static int make_row(const struct subset *subset, size_t column, struct report_row *row, struct error *error)
{
	const struct evaluation *e = subset->report->evaluation;
	const struct report_options *options = subset->report->options;
	*row = (struct report_row){.has_interval = options->resamples > 0};
	snprintf(row->name, sizeof row->name, "%s", e->columns[column].name);
	take_column(subset, column);
	if (make_interval(subset->values, subset->users, options, &row->value, error) < 0)
		return -1;
	row->has_estimate = column + 1 < e->column_count && e->columns[column + 1].kind == COLUMN_ESTIMATE;
	if (!row->has_estimate)
		return 0;
	take_column(subset, column + 1);
	return make_interval(subset->values, subset->users, options, &row->estimate, error);
}

/* Rows of all columns into `rows`, which has room for them. */
static int make_rows(const struct subset *subset, struct report_row *rows, size_t *count, struct error *error)
{
	const struct evaluation *e = subset->report->evaluation;
	for (size_t c = 0; c < e->column_count; c++)
		if (e->columns[c].kind != COLUMN_ESTIMATE && make_row(subset, c, &rows[(*count)++], error) < 0)
			return -1;
	return 0;
}

static int make_exposures(struct report *report, struct error *error)
{
	const struct evaluation *e = report->evaluation;
	for (size_t m = 0; m < e->exposure_count; m++)
		for (size_t c = 0; c < e->cutoff_count; c++) {
			struct report_row *row = &report->rows[report->row_count++];
			*row = (struct report_row){0};
			snprintf(row->name, sizeof row->name, "%s@%u", e->exposures[m]->name, e->cutoffs[c]);
			if (evaluation_exposure(e, e->exposures[m], c, &row->value.mean, error) < 0)
				return -1;
		}
	return 0;
}

static int make_group(struct subset *subset, enum user_key key, struct report_group *group, struct error *error)
{
	const struct user_group *users = &subset->groups->groups[subset->group];
	*group = (struct report_group){.by = user_key_names[key], .meaning = user_key_meanings[key], .from = users->from,
	                               .to = users->to, .users = users->users};
	subset->users = users->users;
	group->rows = mem_alloc(subset->report->evaluation->column_count, sizeof *group->rows, error);
	return group->rows ? make_rows(subset, group->rows, &group->row_count, error) : -1;
}

static int make_groups(struct report *report, enum user_key key, double *values, struct error *error)
{
	struct user_groups groups = {0};
	struct subset subset = {.report = report, .groups = &groups, .values = values};
	int result = user_groups_make(&groups, report->evaluation, key, report->options->groups, error);
	for (size_t g = 0; result == 0 && g < groups.count; g++) {
		subset.group = g;
		result = make_group(&subset, key, &report->groups[report->group_count++], error);
	}
	user_groups_release(&groups);
	return result;
}

int report_make(struct report *report, const struct evaluation *e, const struct report_options *options,
                struct error *error)
{
	*report = (struct report){.evaluation = e, .options = options};
	const size_t rows = e->column_count + e->exposure_count * e->cutoff_count;
	struct subset all = {.report = report, .users = e->count};
	int result = -1;
	all.values = mem_alloc(e->count, sizeof *all.values, error);
	report->rows = mem_alloc(rows, sizeof *report->rows, error);
	report->groups = mem_alloc_zero(USER_KEYS * options->groups, sizeof *report->groups, error);
	if (!all.values || !report->rows || !report->groups)
		goto out;
	result = make_rows(&all, report->rows, &report->row_count, error);
	if (result == 0)
		result = make_exposures(report, error);
	for (enum user_key key = 0; result == 0 && key < USER_KEYS; key++)
		if (e->options->keys[key])
			result = make_groups(report, key, all.values, error);
out:
	mem_free(all.values);
	return result;
}

void report_release(struct report *report)
{
	for (size_t g = 0; g < report->group_count; g++)
		mem_free(report->groups[g].rows);
	mem_free(report->groups);
	mem_free(report->rows);
	*report = (struct report){0};
}
