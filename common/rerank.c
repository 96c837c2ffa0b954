/* See rerank.h. */
#include "rerank.h"

#include <math.h>

#include "mem.h"
#include "rerank_stages.h"
#include "rng.h"
#include "topk.h"

/* ---- what stages share ---- */

static void swap_entries(struct list *list, uint32_t a, uint32_t b)
{
	const uint32_t item = list->items[a], popularity = list->popularity[a];
	const float score = list->scores[a];
	const uint8_t relevant = list->relevant[a];
	list->items[a] = list->items[b];
	list->popularity[a] = list->popularity[b];
	list->scores[a] = list->scores[b];
	list->relevant[a] = list->relevant[b];
	list->items[b] = item;
	list->popularity[b] = popularity;
	list->scores[b] = score;
	list->relevant[b] = relevant;
}

static int make_room(struct rerank_context *context, size_t count, struct error *error)
{
	if (mem_grow((void **)&context->values, &context->values_capacity, count, sizeof *context->values, error) < 0)
		return -1;
	return mem_grow((void **)&context->order, &context->order_capacity, count, sizeof *context->order, error);
}

int rerank_sort(struct rerank_context *context, struct list *list, struct error *error)
{
	if (make_room(context, list->count, error) < 0)
		return -1;
	uint32_t *order = context->order;
	ranking_sort(list->scores, list->items, list->count, order);
	/* Follow each cycle of the permutation; a place that is done points to itself. */
	for (uint32_t i = 0; i < list->count; i++) {
		uint32_t at = i;
		while (order[at] != i) {
			const uint32_t next = order[at];
			swap_entries(list, at, next);
			order[at] = at;
			at = next;
		}
		order[at] = at;
	}
	return 0;
}

uint32_t rerank_whole_head(const struct list *list, size_t depth)
{
	if (list->count <= depth)
		return list->count;
	uint32_t head = (uint32_t)depth;
	while (head > 0 && list->scores[head - 1] == list->scores[depth])
		head--;
	return head;
}

/* Scores from values that say the order of the first `head`; the rest follow as they were. A score is minus the
 * number of different values ahead, so that equal ones stay equal. */
static void score_by_rank(struct list *list, const double *values, uint32_t head)
{
	uint32_t rank = 0;
	for (uint32_t i = 0; i < list->count; i++) {
		bool differs = i == 0 || i == head || values[i] != values[i - 1];
		rank += i > 0 && differs;
		list->scores[i] = -(float)rank;
	}
}

/* Sorts the first `head` entries by descending value, ties by ascending item; values move along. */
static void sort_head(struct list *list, double *values, uint32_t head)
{
	for (uint32_t i = 1; i < head; i++)
		for (uint32_t j = i; j > 0 && (values[j] > values[j - 1] ||
		                               (values[j] == values[j - 1] && list->items[j] < list->items[j - 1])); j--) {
			const double value = values[j];
			values[j] = values[j - 1];
			values[j - 1] = value;
			swap_entries(list, j, j - 1);
		}
}

/* ---- stages ---- */

static int keep_order(struct rerank_context *context, struct list *list, struct error *error)
{
	(void)context;
	(void)list;
	(void)error;
	return 0;
}

/* The seed's: the best few by how many users know them. */
static int by_popularity(struct rerank_context *context, struct list *list, struct error *error)
{
	const uint32_t head = rerank_whole_head(list, context->depth);
	(void)error;
	for (uint32_t i = 0; i < list->count; i++)
		context->values[i] = i < head ? (double)list->popularity[i] : (double)list->scores[i];
	sort_head(list, context->values, head);
	score_by_rank(list, context->values, head);
	return 0;
}

void rerank_standardise(double *values, size_t count)
{
	double mean = 0, square = 0;
	for (size_t i = 0; i < count; i++)
		mean += values[i] / (double)count;
	for (size_t i = 0; i < count; i++)
		square += (values[i] - mean) * (values[i] - mean) / (double)count;
	for (size_t i = 0; i < count; i++)
		values[i] = square > 0 ? (values[i] - mean) / sqrt(square) : 0;
}

/* Share of the user's interactions that have each genre; an item's affinity is the mean over its genres. */
static void genre_affinity(const struct rerank_context *context, const struct list *list, double *values)
{
	double profile[GENRES_MAX] = {0};
	size_t count = 0;
	const uint32_t *items = list->user < context->known->users
	                                ? interactions_of(context->known, list->user, &count) : NULL;
	for (size_t i = 0; i < count; i++)
		for (uint64_t genres = context->catalogue->genres[items[i]]; genres; genres &= genres - 1)
			profile[__builtin_ctzll(genres)] += 1.0 / (double)count;
	for (uint32_t i = 0; i < list->count; i++) {
		const uint64_t genres = context->catalogue->genres[list->items[i]];
		values[i] = 0;
		for (uint64_t left = genres; left; left &= left - 1)
			values[i] += profile[__builtin_ctzll(left)] / __builtin_popcountll(genres);
	}
}

void rerank_add(struct rerank_context *context, struct list *list, double *values)
{
	bool constant = true;
	for (uint32_t i = 0; i < list->count; i++) {
		context->values[i] = (double)list->scores[i];
		constant = constant && list->scores[i] == list->scores[0];
	}
	rerank_standardise(context->values, list->count);
	rerank_standardise(values, list->count);
	for (uint32_t i = 0; i < list->count && !constant; i++)
		list->scores[i] = (float)(context->values[i] + context->weight * values[i]);
}

/* The model's score and the user's own affinity to the item's genres. */
static int by_affinity(struct rerank_context *context, struct list *list, struct error *error)
{
	double *affinity = mem_alloc(list->count, sizeof *affinity, error);
	if (!affinity)
		return -1;
	genre_affinity(context, list, affinity);
	rerank_add(context, list, affinity);
	mem_free(affinity);
	return 0;
}

uint32_t rerank_tie_key(const struct rerank_context *context, uint32_t user, uint32_t item)
{
	uint32_t words[4];
	rng_block(context->seed, rng_stream(RNG_RERANK, 0), user, item, words);
	return words[0];
}

/* Maximal marginal relevance (Carbonell & Goldstein 1998): again and again the entry with the best
 * lambda * standardised score - (1 - lambda) * similarity to the nearest one already taken. */
static int by_mmr(struct rerank_context *context, struct list *list, struct error *error)
{
	const uint32_t head = rerank_whole_head(list, context->depth);
	const uint64_t *genres = context->catalogue->genres;
	if (head == 0 || list->scores[0] == list->scores[head - 1])
		return 0; /* nothing is traded off where the model says nothing */
	double *nearest = mem_alloc_zero(head, sizeof *nearest, error);
	if (!nearest)
		return -1;
	for (uint32_t i = 0; i < list->count; i++)
		context->values[i] = (double)list->scores[i];
	rerank_standardise(context->values, head);
	for (uint32_t place = 0; place < head; place++) {
		uint32_t best = place;
		double best_value = -INFINITY;
		for (uint32_t i = place; i < head; i++) {
			const double value = context->lambda * context->values[i] - (1 - context->lambda) * nearest[i];
			if (value > best_value ||
			    (value == best_value && rerank_tie_key(context, list->user, list->items[i]) <
			                                    rerank_tie_key(context, list->user, list->items[best]))) {
				best = i;
				best_value = value;
			}
		}
		swap_entries(list, place, best);
		const double value = context->values[best], near = nearest[best];
		context->values[best] = context->values[place];
		nearest[best] = nearest[place];
		context->values[place] = value;
		nearest[place] = near;
		for (uint32_t i = place + 1; i < head; i++)
			nearest[i] = fmax(nearest[i], genres_similarity(genres[list->items[i]], genres[list->items[place]]));
	}
	/* Every place of the head is one of its own; below, ties stay. */
	for (uint32_t i = 0; i < head; i++)
		context->values[i] = -(double)i;
	score_by_rank(list, context->values, head);
	mem_free(nearest);
	return 0;
}

static int by_blocklist(struct rerank_context *context, struct list *list, struct error *error)
{
	uint32_t kept = 0;
	(void)error;
	for (uint32_t i = 0; i < list->count; i++)
		if (!context->blocked[list->items[i]])
			swap_entries(list, kept++, i);
	list->count = kept;
	return 0;
}

static const struct rerank_stage stages[] = {
	{.name = "none", .apply = keep_order},
	{.name = "popularity", .apply = by_popularity},
	{.name = "similarity", .apply = rerank_by_similarity, .needs_known = true, .needs_similarity = true},
	{.name = "blend", .apply = rerank_by_blend, .needs_blend = true},
	{.name = "affinity", .apply = by_affinity, .needs_catalogue = true, .needs_known = true},
	{.name = "mmr", .apply = by_mmr, .needs_catalogue = true},
	{.name = "calibration", .apply = rerank_by_calibration, .needs_catalogue = true, .needs_known = true},
	{.name = "tail", .apply = rerank_by_tail, .needs_known = true},
	{.name = "blocklist", .apply = by_blocklist, .needs_blocklist = true},
};

const struct rerank_stage *rerank_find(const char *name)
{
	for (size_t s = 0; s < COUNT_OF(stages); s++)
		if (strcmp(stages[s].name, name) == 0)
			return &stages[s];
	return NULL;
}

int rerank_apply(struct rerank_context *context, const struct rerank_stage *stage, struct list *list,
                 struct error *error)
{
	/* Stages take the list in order. */
	if (rerank_sort(context, list, error) < 0 || stage->apply(context, list, error) < 0)
		return -1;
	return rerank_sort(context, list, error);
}

void rerank_release(struct rerank_context *context)
{
	mem_free(context->values);
	mem_free(context->order);
	mem_free(context->signal_values);
	signal_room_release(&context->room);
	context->values = NULL;
	context->order = NULL;
	context->signal_values = NULL;
}
