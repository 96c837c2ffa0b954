/* See evaluation.h. */
#include "evaluation.h"

#include <math.h>

#include "mem.h"
#include "topk.h"

static int add_columns(struct evaluation *e, const struct measure *measure, struct error *error)
{
	const size_t times = measure->has_cutoff ? e->cutoff_count : 1;
	for (size_t c = 0; c < times; c++) {
		if (e->column_count == COLUMNS_MAX)
			return error_set(error, CODE_USAGE, "more than %d columns", COLUMNS_MAX);
		struct column *column = &e->columns[e->column_count++];
		column->measure = measure;
		column->cutoff = measure->has_cutoff ? e->cutoffs[c] : 0;
		if (measure->has_cutoff)
			snprintf(column->name, sizeof column->name, "%s@%u", measure->name, column->cutoff);
		else
			snprintf(column->name, sizeof column->name, "%s", measure->name);
	}
	return 0;
}

int evaluation_init(struct evaluation *e, const char *const *measures_wanted, const int64_t *cutoffs,
                    size_t cutoff_count, struct error *error)
{
	*e = (struct evaluation){.shortest = UINT32_MAX};
	if (cutoff_count > COUNT_OF(e->cutoffs))
		return error_set(error, CODE_USAGE, "more than %zu cutoffs", COUNT_OF(e->cutoffs));
	for (size_t c = 0; c < cutoff_count; c++) {
		e->cutoffs[e->cutoff_count++] = (uint32_t)cutoffs[c];
		if (e->cutoffs[c] > e->coverage_cutoff)
			e->coverage_cutoff = e->cutoffs[c];
	}
	for (size_t m = 0; !measures_wanted && m < measure_count; m++)
		if (add_columns(e, &measures[m], error) < 0)
			return -1;
	for (size_t w = 0; measures_wanted && measures_wanted[w]; w++) {
		const struct measure *measure = measure_find(measures_wanted[w]);
		if (!measure)
			return error_set(error, CODE_USAGE, "unknown measure '%s'", measures_wanted[w]);
		if (add_columns(e, measure, error) < 0)
			return -1;
	}
	return 0;
}

void evaluation_release(struct evaluation *e)
{
	mem_free(e->values);
	mem_free(e->users);
	mem_free(e->shown);
	*e = (struct evaluation){0};
}

/* ---- reading ---- */

struct scratch {
	uint32_t *ranks, *order;
	size_t ranks_capacity, order_capacity;
};

static int add_user(struct evaluation *e, uint32_t user, const struct user_ranking *ranking, struct error *error)
{
	if (mem_grow((void **)&e->users, &e->users_capacity, e->count + 1, sizeof *e->users, error) < 0 ||
	    mem_grow((void **)&e->values, &e->values_capacity, (e->count + 1) * e->column_count, sizeof *e->values,
	             error) < 0)
		return -1;
	e->users[e->count] = user;
	for (size_t c = 0; c < e->column_count; c++)
		e->values[e->count * e->column_count + c] = e->columns[c].measure->value(ranking, e->columns[c].cutoff);
	e->count++;
	return 0;
}

/* Marks the first items of a list, in the order that the list would be shown in. */
static void mark_shown(struct evaluation *e, const struct list *list, uint32_t *order)
{
	ranking_sort(list->scores, list->items, list->count, order);
	for (uint32_t place = 0; place < list->count && place < e->coverage_cutoff; place++)
		for (size_t c = 0; c < e->cutoff_count; c++)
			if (place < e->cutoffs[c])
				e->shown[list->items[order[place]]] |= (uint8_t)(1u << c);
}

static void set_truth(struct list *list, const struct interactions *truth)
{
	size_t truths;
	interactions_of(truth, list->user, &truths);
	list->relevant_total = (uint32_t)truths;
	for (uint32_t i = 0; i < list->count; i++)
		list->relevant[i] = interactions_has(truth, list->user, list->items[i]) ? LIST_RELEVANT : 0;
}

static int take_list(struct evaluation *e, const char *name, struct list *list, struct scratch *scratch,
                     struct error *error)
{
	struct user_ranking ranking;
	if (mem_grow((void **)&scratch->ranks, &scratch->ranks_capacity, list->count, sizeof *scratch->ranks, error) < 0 ||
	    mem_grow((void **)&scratch->order, &scratch->order_capacity, list->count, sizeof *scratch->order, error) < 0)
		return -1;
	if (user_ranking_make(list, scratch->ranks, scratch->order, &ranking, error) < 0)
		return error_prefix(error, "%s", name);
	mark_shown(e, list, scratch->order);
	if (list->relevant_total == 0) {
		e->without_truth++;
		return 0;
	}
	e->tied += ranking.tied;
	if (list->count < e->shortest)
		e->shortest = list->count;
	if (list->count > e->longest)
		e->longest = list->count;
	return add_user(e, list->user, &ranking, error);
}

/* What the metadata says of the lists; unscored ones are refused. */
static int check_kind(struct evaluation *e, const struct stream_reader *reader, struct error *error)
{
	const json_t *ranking = json_object_get(reader->metadata, "ranking");
	if (!json_is_true(json_object_get(reader->metadata, "scored")))
		return error_set(error, CODE_DATA, "%s: its lists have no scores yet, expected the output of score or rerank",
		                 reader->input.name);
	snprintf(e->ranking, sizeof e->ranking, "%s", json_is_string(ranking) ? json_string_value(ranking) : "sampled");
	return 0;
}

/* A list cut to N items says nothing of ranks beyond N. */
static int check_cutoffs(const struct evaluation *e, const char *name, struct error *error)
{
	const bool cut = strcmp(e->ranking, "sampled") != 0 && e->longest < e->items;
	if (cut && e->count > 0 && e->coverage_cutoff > e->longest)
		return error_set(error, CODE_USAGE, "%s: its lists are cut to %u items, expected a cutoff of no more than "
		                 "that, not %u", name, e->longest, e->coverage_cutoff);
	return 0;
}

static int read_lists(struct evaluation *e, struct stream_reader *reader, const struct stream_info *info,
                      const struct interactions *truth, struct error *error)
{
	struct list list = {0};
	struct scratch scratch = {0};
	int result;
	while ((result = list_read(reader, info, &list, error)) > 0) {
		if (truth)
			set_truth(&list, truth);
		result = take_list(e, reader->input.name, &list, &scratch, error);
		if (result < 0)
			break;
	}
	list_release(&list);
	mem_free(scratch.ranks);
	mem_free(scratch.order);
	if (result < 0)
		return -1;
	if (e->count == 0)
		return error_set(error, CODE_DATA, "%s: no list has a relevant item, expected some truth", reader->input.name);
	return check_cutoffs(e, reader->input.name, error);
}

int evaluation_read(struct evaluation *e, const char *path, const char *truth_path, struct error *error)
{
	struct stream_reader reader = {0};
	struct stream_info info = {0}, truth_info = {0};
	struct interactions truth = {0};
	int result = -1;
	if (stream_reader_open(&reader, path, STREAM_LISTS, error) < 0 || check_kind(e, &reader, error) < 0 ||
	    records_info(&reader, &info, error) < 0)
		goto out;
	if (truth_path && (interactions_read(&truth, truth_path, &truth_info, error) < 0 ||
	                   records_same_ids(path, &info, truth_path, &truth_info, error) < 0))
		goto out;
	e->items = info.items.count;
	e->shown = mem_alloc_zero(e->items, 1, error);
	if (!e->shown)
		goto out;
	result = read_lists(e, &reader, &info, truth_path ? &truth : NULL, error);
out:
	stream_reader_release(&reader);
	stream_info_release(&info);
	stream_info_release(&truth_info);
	interactions_release(&truth);
	return result;
}

/* ---- results ---- */

double evaluation_mean(const struct evaluation *e, size_t column)
{
	double sum = 0.0, lost = 0.0;
	for (size_t u = 0; u < e->count; u++) {
		double value = e->values[u * e->column_count + column], total = sum + value;
		lost += fabs(sum) >= fabs(value) ? (sum - total) + value : (value - total) + sum;
		sum = total;
	}
	return e->count ? (sum + lost) / (double)e->count : 0.0;
}

double *evaluation_column(const struct evaluation *e, size_t column, struct error *error)
{
	double *values = mem_alloc(e->count, sizeof *values, error);
	for (size_t u = 0; values && u < e->count; u++)
		values[u] = e->values[u * e->column_count + column];
	return values;
}

double evaluation_coverage(const struct evaluation *e, size_t which)
{
	size_t shown = 0;
	for (uint32_t item = 0; item < e->items; item++)
		shown += e->shown[item] >> which & 1;
	return e->items ? (double)shown / e->items : 0.0;
}
