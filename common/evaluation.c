/* See evaluation.h: the choice of columns, and what comes out of them. (evaluation_read.c fills them.) */
#include "evaluation.h"

#include "mem.h"

/* ---- columns ---- */

static int add_column(struct evaluation *e, struct column column, const char *name, const char *behind,
                      struct error *error)
{
	if (e->column_count == COLUMNS_MAX)
		return error_set(error, CODE_USAGE, "more than %d columns", COLUMNS_MAX);
	if (column.cutoff)
		snprintf(column.name, sizeof column.name, "%s@%u%s", name, column.cutoff, behind);
	else
		snprintf(column.name, sizeof column.name, "%s%s", name, behind);
	e->columns[e->column_count++] = column;
	return 0;
}

static int add_measure(struct evaluation *e, const struct measure *measure, struct error *error)
{
	const bool corrected = e->options->correction.method != CORRECTION_NONE && measure->at_rank;
	const size_t times = measure->has_cutoff ? e->cutoff_count : 1;
	e->needs_truth = true;
	for (size_t c = 0; c < times; c++) {
		const uint32_t cutoff = measure->has_cutoff ? e->cutoffs[c] : 0;
		const struct column column = {.kind = COLUMN_RANKS, .measure = measure, .cutoff = cutoff};
		const struct column estimate = {.kind = COLUMN_ESTIMATE, .measure = measure, .cutoff = cutoff};
		if (add_column(e, column, measure->name, "", error) < 0 ||
		    (corrected && add_column(e, estimate, measure->name, ".full_estimate", error) < 0))
			return -1;
	}
	return 0;
}

static int add_list_measure(struct evaluation *e, const struct list_measure *measure, struct error *error)
{
	for (size_t c = 0; c < e->cutoff_count; c++) {
		const struct column column = {.kind = COLUMN_LIST, .list_measure = measure, .cutoff = e->cutoffs[c]};
		if (add_column(e, column, measure->name, "", error) < 0)
			return -1;
	}
	return 0;
}

static unsigned files_given(const struct evaluation_options *o)
{
	return (o->known->count ? LIST_NEEDS_KNOWN : 0u) | (o->movies && o->items ? LIST_NEEDS_CATALOGUE : 0u);
}

static int add_all(struct evaluation *e, struct error *error)
{
	for (size_t m = 0; m < measure_count; m++)
		if (add_measure(e, &measures[m], error) < 0)
			return -1;
	for (size_t m = 0; m < list_measure_count; m++)
		if (!(list_measures[m].needs & ~files_given(e->options)) &&
		    add_list_measure(e, &list_measures[m], error) < 0)
			return -1;
	for (size_t m = 0; m < exposure_measure_count; m++)
		e->exposures[e->exposure_count++] = &exposure_measures[m];
	return 0;
}

static int add_named(struct evaluation *e, const char *name, struct error *error)
{
	const struct measure *measure = measure_find(name);
	const struct list_measure *of_lists = list_measure_find(name);
	const struct exposure_measure *exposure = exposure_measure_find(name);
	if (measure)
		return add_measure(e, measure, error);
	if (!of_lists && !exposure)
		return error_set(error, CODE_USAGE, "unknown measure '%s'", name);
	if (of_lists) {
		const unsigned missing = of_lists->needs & ~files_given(e->options);
		if (missing)
			return error_set(error, CODE_USAGE, "%s needs %s", of_lists->name,
			                 missing & LIST_NEEDS_KNOWN ? "--known" : "--movies and --items");
		return add_list_measure(e, of_lists, error);
	}
	if (e->exposure_count == EXPOSURES_MAX)
		return error_set(error, CODE_USAGE, "%s is named too often", exposure->name);
	e->exposures[e->exposure_count++] = exposure;
	return 0;
}

int evaluation_init(struct evaluation *e, const struct evaluation_options *options, struct error *error)
{
	*e = (struct evaluation){.options = options, .shortest = UINT32_MAX};
	if (options->cutoffs->count > CUTOFFS_MAX)
		return error_set(error, CODE_USAGE, "more than %d cutoffs", CUTOFFS_MAX);
	for (size_t c = 0; c < options->cutoffs->count; c++) {
		const uint32_t cutoff = (uint32_t)options->cutoffs->items[c];
		e->cutoffs[e->cutoff_count++] = cutoff;
		if (cutoff > e->longest_cutoff)
			e->longest_cutoff = cutoff;
	}
	if (options->measures->count == 0)
		return add_all(e, error);
	for (size_t m = 0; m < options->measures->count; m++)
		if (add_named(e, options->measures->items[m], error) < 0)
			return -1;
	return 0;
}

void evaluation_release(struct evaluation *e)
{
	mem_free(e->values);
	mem_free(e->users);
	mem_free(e->shown);
	for (size_t k = 0; k < USER_KEYS; k++)
		mem_free(e->keys[k]);
	interactions_release(&e->known);
	interactions_release(&e->truth);
	catalogue_release(&e->catalogue);
	*e = (struct evaluation){0};
}

/* ---- results ---- */

int evaluation_find(const struct evaluation *e, const char *name)
{
	for (size_t c = 0; c < e->column_count; c++)
		if (strcmp(e->columns[c].name, name) == 0)
			return (int)c;
	return -1;
}

double evaluation_mean(const struct evaluation *e, size_t column)
{
	return compensated_mean(e->values + column, e->count, e->column_count);
}

double *evaluation_column(const struct evaluation *e, size_t column, struct error *error)
{
	double *values = mem_alloc(e->count, sizeof *values, error);
	for (size_t u = 0; values && u < e->count; u++)
		values[u] = e->values[u * e->column_count + column];
	return values;
}

static int compare_counts(const void *a, const void *b)
{
	const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return (x > y) - (x < y);
}

int evaluation_exposure(const struct evaluation *e, const struct exposure_measure *measure, size_t which,
                        double *value, struct error *error)
{
	uint32_t *sorted = mem_alloc(e->items, sizeof *sorted, error);
	if (!sorted)
		return -1;
	memcpy(sorted, e->shown + which * e->items, e->items * sizeof *sorted);
	qsort(sorted, e->items, sizeof *sorted, compare_counts);
	*value = e->items ? measure->value(sorted, e->items) : 0.0;
	mem_free(sorted);
	return 0;
}
