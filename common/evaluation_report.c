/* See evaluation_report.h: what is printed, computed. (evaluation_print.c prints it.) */
#include "evaluation_report.h"

#include "evaluation_groups.h"
#include "mem.h"

/* What a table is of: all users, or one group of them. */
struct subset {
	const struct report *report;
	size_t users;
	const double *values;  /* [users][columns of the evaluation] */
};

/* Rows of all columns into `rows`, which has room for them; estimates stand in the row of what they estimate. */
static int make_rows(const struct subset *subset, struct report_row *rows, size_t *count, struct error *error)
{
	const struct evaluation *e = subset->report->evaluation;
	const struct report_options *options = subset->report->options;
	const size_t columns = e->column_count;
	double *low = mem_alloc(columns, sizeof *low, error), *high = mem_alloc(columns, sizeof *high, error);
	int result = -1;
	if (low && high)
		result = bootstrap_intervals(subset->values, subset->users, columns, &options->resampling, low, high, error);
	for (size_t c = 0; result == 0 && c < columns; c++) {
		const struct interval interval = {compensated_mean(subset->values + c, subset->users, columns), low[c], high[c]};
		if (e->columns[c].kind == COLUMN_ESTIMATE) {
			rows[*count - 1].estimate = interval;
			rows[*count - 1].has_estimate = true;
			continue;
		}
		struct report_row *row = &rows[(*count)++];
		*row = (struct report_row){.has_interval = options->resampling.rounds > 0, .value = interval};
		snprintf(row->name, sizeof row->name, "%s", e->columns[c].name);
	}
	mem_free(low);
	mem_free(high);
	return result;
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

static int make_group(const struct subset *subset, enum user_key key, const struct user_group *users,
                      struct report_group *group, struct error *error)
{
	*group = (struct report_group){.by = user_key_names[key], .meaning = user_key_meanings[key], .from = users->from,
	                               .to = users->to, .users = users->users};
	group->rows = mem_alloc(subset->report->evaluation->column_count, sizeof *group->rows, error);
	return group->rows ? make_rows(subset, group->rows, &group->row_count, error) : -1;
}

static int make_groups(struct report *report, enum user_key key, struct error *error)
{
	const struct evaluation *e = report->evaluation;
	struct user_groups groups = {0};
	double *values = mem_alloc(e->count * e->column_count, sizeof *values, error);
	int result = values ? user_groups_make(&groups, e, key, report->options->groups, error) : -1;
	for (size_t g = 0; result == 0 && g < groups.count; g++) {
		const struct subset subset = {.report = report, .users = groups.groups[g].users, .values = values};
		user_groups_select(&groups, g, e, values);
		result = make_group(&subset, key, &groups.groups[g], &report->groups[report->group_count++], error);
	}
	user_groups_release(&groups);
	mem_free(values);
	return result;
}

int report_make(struct report *report, const struct evaluation *e, const struct report_options *options,
                struct error *error)
{
	*report = (struct report){.evaluation = e, .options = options};
	const struct subset all = {.report = report, .users = e->count, .values = e->values};
	report->rows = mem_alloc(e->column_count + e->exposure_count * e->cutoff_count, sizeof *report->rows, error);
	report->groups = mem_alloc_zero(USER_KEYS * options->groups, sizeof *report->groups, error);
	if (!report->rows || !report->groups)
		return -1;
	int result = make_rows(&all, report->rows, &report->row_count, error);
	if (result == 0)
		result = make_exposures(report, error);
	for (enum user_key key = 0; result == 0 && key < USER_KEYS; key++)
		if (e->options->keys[key])
			result = make_groups(report, key, error);
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
