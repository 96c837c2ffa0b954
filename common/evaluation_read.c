/* From a stream of lists to the rows of an evaluation. */
#include "evaluation.h"
#include "idmap.h"
#include "mem.h"

/* What one list after another is worked on in. */
struct reading {
	struct evaluation *e;
	const char *name;            /* of the lists, for messages */
	struct list list;
	struct mix genres;           /* of the user's known items */
	uint32_t *ranks, *order, *shown;
	double *weights;             /* of an estimate, for each full rank up to the longest cutoff */
	size_t ranks_capacity, order_capacity, shown_capacity, weights_capacity;
};

static void reading_release(struct reading *reading)
{
	list_release(&reading->list);
	mem_free(reading->ranks);
	mem_free(reading->order);
	mem_free(reading->shown);
	mem_free(reading->weights);
}

/* ---- one user ---- */

static void set_truth(struct list *list, const struct interactions *truth)
{
	size_t truths;
	interactions_of(truth, list->user, &truths);
	list->relevant_total = (uint32_t)truths;
	for (uint32_t i = 0; i < list->count; i++)
		list->relevant[i] = interactions_has(truth, list->user, list->items[i]) ? LIST_RELEVANT : 0;
}

/* Items that the user did not know, the relevant one counted in: what candidates are drawn from. */
static uint32_t unknown_items(const struct evaluation *e, const struct list *list)
{
	size_t count;
	uint32_t relevant = 0;
	while (!list->relevant[relevant])
		relevant++;
	interactions_of(&e->known, list->user, &count);
	return e->items - (uint32_t)count + interactions_has(&e->known, list->user, list->items[relevant]);
}

static int sample_of(const struct reading *reading, const struct user_ranking *ranking, struct sampled_rank *sampled,
                     struct error *error)
{
	const struct list *list = &reading->list;
	if (ranking->relevant_total != 1)
		return error_set(error, CODE_DATA, "%s: user %u has %u relevant items, --correct expects one",
		                 reading->name, list->user, ranking->relevant_total);
	if (ranking->relevant_found != 1)
		return error_set(error, CODE_DATA, "%s: the list of user %u has lost the relevant item, --correct expects "
		                 "whole lists", reading->name, list->user);
	*sampled = (struct sampled_rank){
		.items = unknown_items(reading->e, list),
		.drawn = list->count - 1,
		.rank = ranking->ranks[0],
	};
	if (sampled->drawn >= sampled->items)
		return error_set(error, CODE_DATA, "%s: user %u has %u candidates, but only %u items that --known lacks: "
		                 "expected the interactions that the candidates were drawn with", reading->name,
		                 list->user, sampled->drawn, sampled->items - 1);
	if (sampled->drawn == 0 && sampled->items > 1)
		return error_set(error, CODE_DATA, "%s: user %u has no candidate beside the relevant item: nothing can be "
		                 "estimated", reading->name, list->user);
	return 0;
}

static int prepare_estimates(struct reading *reading, const struct user_ranking *ranking,
                             struct sampled_rank *sampled, struct error *error)
{
	const struct evaluation *e = reading->e;
	if (e->options->correction.method == CORRECTION_NONE)
		return 0;
	if (sample_of(reading, ranking, sampled, error) < 0)
		return -1;
	if (e->options->correction.method != CORRECTION_LEAST_SQUARES)
		return 0;
	const uint32_t count = e->longest_cutoff < sampled->items ? e->longest_cutoff : sampled->items;
	if (mem_grow((void **)&reading->weights, &reading->weights_capacity, count, sizeof *reading->weights, error) < 0)
		return -1;
	correction_weights(sampled, e->options->correction.gamma, reading->weights, count);
	return 0;
}

/* The first items of the list in the order they would be shown in, and what they are measured against. */
static int make_shown(struct reading *reading, struct shown_list *shown, struct error *error)
{
	const struct list *list = &reading->list;
	const struct list_background *background = &reading->e->background;
	const uint32_t longest = reading->e->longest_cutoff;
	shown->count = list->count < longest ? list->count : longest;
	if (mem_grow((void **)&reading->shown, &reading->shown_capacity, shown->count, sizeof *reading->shown, error) < 0)
		return -1;
	for (uint32_t i = 0; i < shown->count; i++)
		reading->shown[i] = list->items[reading->order[i]];
	shown->items = reading->shown;
	if (background->known && background->catalogue) {
		user_genres(background->known, background->catalogue, list->user, &reading->genres);
		shown->genres = &reading->genres;
	}
	return 0;
}

static void count_shown(struct evaluation *e, const struct shown_list *shown)
{
	for (size_t c = 0; c < e->cutoff_count; c++)
		for (uint32_t place = 0; place < shown->count && place < e->cutoffs[c]; place++)
			e->shown[c * e->items + shown->items[place]]++;
}

static double column_value(const struct reading *reading, const struct column *column,
                           const struct user_ranking *ranking, const struct sampled_rank *sampled,
                           const struct shown_list *shown)
{
	const struct evaluation *e = reading->e;
	switch (column->kind) {
	case COLUMN_RANKS:
		return column->measure->value(ranking, column->cutoff);
	case COLUMN_ESTIMATE:
		return correction_estimate(&e->options->correction, column->measure, column->cutoff, sampled,
		                           reading->weights);
	case COLUMN_LIST:
		break;
	}
	return column->list_measure->value(&e->background, shown,
	                                   shown->count < column->cutoff ? shown->count : column->cutoff);
}

/* ---- what users are put into groups by ---- */

static double popularity_of(const struct evaluation *e, const struct list *list, uint32_t i)
{
	return e->options->known->count ? e->known.popularity[list->items[i]] : list->popularity[i];
}

/* The mean popularity of the user's truth: from the list where it has all of it. */
static int truth_popularity(const struct reading *reading, double *popularity, struct error *error)
{
	const struct evaluation *e = reading->e;
	const struct list *list = &reading->list;
	double sum = 0.0;
	size_t found = 0, truths = 0;
	for (uint32_t i = 0; i < list->count; i++)
		if (list->relevant[i]) {
			sum += popularity_of(e, list, i);
			found++;
		}
	if (found < list->relevant_total) {
		if (!e->has_truth || !e->options->known->count)
			return error_set(error, CODE_USAGE, "%s: the list of user %u has lost a relevant item: --by popularity "
			                 "needs --truth and --known", reading->name, list->user);
		const uint32_t *items = interactions_of(&e->truth, list->user, &truths);
		for (sum = 0.0, found = 0; found < truths; found++)
			sum += e->known.popularity[items[found]];
	}
	*popularity = found ? sum / (double)found : 0.0;
	return 0;
}

static int add_keys(struct reading *reading, struct error *error)
{
	struct evaluation *e = reading->e;
	for (size_t k = 0; k < USER_KEYS; k++) {
		size_t count = 0;
		if (!e->options->keys[k])
			continue;
		if (mem_grow((void **)&e->keys[k], &e->keys_capacity[k], e->count + 1, sizeof *e->keys[k], error) < 0)
			return -1;
		if (k == USER_POPULARITY && truth_popularity(reading, &e->keys[k][e->count], error) < 0)
			return -1;
		if (k == USER_ACTIVITY) {
			interactions_of(&e->known, reading->list.user, &count);
			e->keys[k][e->count] = (double)count;
		}
	}
	return 0;
}

static int add_user(struct reading *reading, const struct user_ranking *ranking, const struct shown_list *shown,
                    struct error *error)
{
	struct evaluation *e = reading->e;
	struct sampled_rank sampled = {0};
	if (prepare_estimates(reading, ranking, &sampled, error) < 0 || add_keys(reading, error) < 0 ||
	    mem_grow((void **)&e->users, &e->users_capacity, e->count + 1, sizeof *e->users, error) < 0 ||
	    mem_grow((void **)&e->values, &e->values_capacity, (e->count + 1) * e->column_count, sizeof *e->values,
	             error) < 0)
		return -1;
	e->users[e->count] = reading->list.user;
	for (size_t c = 0; c < e->column_count; c++)
		e->values[e->count * e->column_count + c] = column_value(reading, &e->columns[c], ranking, &sampled, shown);
	e->count++;
	return 0;
}

static int take_list(struct reading *reading, struct error *error)
{
	struct evaluation *e = reading->e;
	struct list *list = &reading->list;
	struct user_ranking ranking;
	struct shown_list shown = {0};
	if (e->has_truth)
		set_truth(list, &e->truth);
	if (mem_grow((void **)&reading->ranks, &reading->ranks_capacity, list->count, sizeof *reading->ranks, error) < 0 ||
	    mem_grow((void **)&reading->order, &reading->order_capacity, list->count, sizeof *reading->order, error) < 0)
		return -1;
	if (user_ranking_make(list, reading->ranks, reading->order, &ranking, error) < 0)
		return error_prefix(error, "%s", reading->name);
	if (make_shown(reading, &shown, error) < 0)
		return -1;
	count_shown(e, &shown);
	if (list->relevant_total == 0 && e->needs_truth) {
		e->without_truth++;
		return 0;
	}
	e->tied += ranking.tied;
	if (list->count < e->shortest)
		e->shortest = list->count;
	if (list->count > e->longest)
		e->longest = list->count;
	return add_user(reading, &ranking, &shown, error);
}

/* ---- the stream ---- */

/* What the metadata says of the lists; unscored ones are refused. */
static int check_kind(struct evaluation *e, const struct stream_reader *reader, struct error *error)
{
	const json_t *ranking = json_object_get(reader->metadata, "ranking");
	if (!json_is_true(json_object_get(reader->metadata, "scored")))
		return error_set(error, CODE_DATA, "%s: its lists have no scores yet, expected the output of score or rerank",
		                 reader->input.name);
	snprintf(e->ranking, sizeof e->ranking, "%s", json_is_string(ranking) ? json_string_value(ranking) : "sampled");
	if (e->options->correction.method != CORRECTION_NONE && strcmp(e->ranking, "sampled") != 0)
		return error_set(error, CODE_USAGE, "%s: --correct is for sampled candidates, these lists are a %s ranking",
		                 reader->input.name, e->ranking);
	return 0;
}

/* A list cut to N items says nothing of ranks beyond N. */
static int check_cutoffs(const struct evaluation *e, const char *name, struct error *error)
{
	const bool cut = strcmp(e->ranking, "sampled") != 0 && e->longest < e->items;
	if (cut && e->count > 0 && e->longest_cutoff > e->longest)
		return error_set(error, CODE_USAGE, "%s: its lists are cut to %u items, expected a cutoff of no more than "
		                 "that, not %u", name, e->longest, e->longest_cutoff);
	return 0;
}

static int read_lists(struct evaluation *e, struct stream_reader *reader, const struct stream_info *info,
                      struct error *error)
{
	struct reading reading = {.e = e, .name = reader->input.name};
	int result;
	while ((result = list_read(reader, info, &reading.list, error)) > 0) {
		result = take_list(&reading, error);
		if (result < 0)
			break;
	}
	reading_release(&reading);
	if (result < 0)
		return -1;
	if (e->count == 0)
		return error_set(error, CODE_DATA, e->needs_truth ? "%s: no list has a relevant item, expected some truth"
		                                                  : "%s: no lists", reader->input.name);
	return check_cutoffs(e, reader->input.name, error);
}

/* The map must be the one that the lists' items are of. */
static int read_catalogue(struct evaluation *e, const char *name, const struct stream_info *info, struct error *error)
{
	const struct evaluation_options *o = e->options;
	struct idmap items = {0};
	struct stream_info of_map = {0}, of_lists = {.items = info->items};
	int result = idmap_read(&items, o->items, error);
	if (result == 0)
		result = idmap_space(&items, &of_map.items, error);
	if (result == 0)
		result = records_same_ids(o->items, &of_map, name, &of_lists, error);
	if (result == 0)
		result = catalogue_read(&e->catalogue, o->movies, o->genres, &items, error);
	stream_info_release(&of_map);
	idmap_release(&items);
	return result;
}

static int read_background(struct evaluation *e, const char *name, struct stream_info *info, struct error *error)
{
	const struct evaluation_options *o = e->options;
	const bool known = o->known->count > 0, catalogue = o->movies && o->items;
	e->has_truth = o->truth != NULL;
	e->items = info->items.count;
	if ((o->truth && interactions_read_known(&e->truth, &o->truth, 1, name, info, NULL, error) < 0) ||
	    interactions_read_known(&e->known, o->known->items, o->known->count, name, info, NULL, error) < 0 ||
	    (catalogue && read_catalogue(e, name, info, error) < 0))
		return -1;
	return list_background_make(&e->background, known ? &e->known : NULL, catalogue ? &e->catalogue : NULL, error);
}

int evaluation_read(struct evaluation *e, const char *path, struct error *error)
{
	struct stream_reader reader = {0};
	struct stream_info info = {0};
	int result = -1;
	if (stream_reader_open(&reader, path, STREAM_LISTS, error) < 0 || check_kind(e, &reader, error) < 0 ||
	    records_info(&reader, &info, error) < 0 || read_background(e, path, &info, error) < 0)
		goto out;
	e->shown = mem_alloc_zero(e->cutoff_count * e->items, sizeof *e->shown, error);
	if (e->shown)
		result = read_lists(e, &reader, &info, error);
out:
	stream_reader_release(&reader);
	stream_info_release(&info);
	return result;
}
