/* Stages that make lists like what the user knows: its genres (Steck, "Calibrated recommendations", RecSys 2018), or
 * its share of popular and rare items (Abdollahpouri, Mansoury, Burke, Mobasher & Malthouse, "User-centered evaluation
 * of popularity bias in recommender systems", UMAP 2021).
 *
 * Both fill the list from the top, each time with the entry that makes
 *
 *     (1 - lambda) * sum of scores - lambda * divergence(mix of the user's known items, mix of the list so far)
 *
 * largest. The divergence is Kullback and Leibler's with the list's mix smoothed by alpha = 0.01 for genres, Jensen
 * and Shannon's for popularity. Scores are standardised over the head that is reordered, so that lambda means the same
 * for every model. A head of equal scores is left as it is: nothing is traded off where the model says nothing. */
#include <math.h>

#include "mem.h"
#include "mix.h"
#include "popularity.h"
#include "rerank_stages.h"

/* What lists shall be like. */
struct likeness {
	uint64_t (*groups_of)(const struct rerank_context *context, uint32_t item);
	/* costs[k] is the divergence of a list that has `got` and one more item, of kinds[k]. */
	void (*find_costs)(const struct mix *wanted, const struct mix *got, const uint64_t *kinds, size_t count,
	                   double *costs);
	double lambda;
};

/* One list being filled. Entries of the same groups are of one kind: what one costs, the other does. */
struct filling {
	const struct likeness *likeness;
	struct mix wanted, got;
	uint32_t head;
	uint32_t *kind;          /* [head] of each entry */
	bool *taken;             /* [head] */
	uint64_t *kinds;         /* [kind_count] their groups */
	double *costs;           /* [kind_count] */
	size_t kind_count;
};

static void filling_release(struct filling *filling)
{
	mem_free(filling->kind);
	mem_free(filling->taken);
	mem_free(filling->kinds);
	mem_free(filling->costs);
}

static void find_kind(struct filling *filling, uint32_t entry, uint64_t groups)
{
	size_t kind = 0;
	while (kind < filling->kind_count && filling->kinds[kind] != groups)
		kind++;
	if (kind == filling->kind_count)
		filling->kinds[filling->kind_count++] = groups;
	filling->kind[entry] = (uint32_t)kind;
}

static int filling_init(struct filling *filling, const struct rerank_context *context, const struct list *list,
                        struct error *error)
{
	size_t count = 0;
	const uint32_t *known = list->user < context->known->users
	                                ? interactions_of(context->known, list->user, &count) : NULL;
	for (size_t i = 0; i < count; i++)
		mix_add(&filling->wanted, filling->likeness->groups_of(context, known[i]));
	filling->kind = mem_alloc(filling->head, sizeof *filling->kind, error);
	filling->taken = mem_alloc_zero(filling->head, sizeof *filling->taken, error);
	filling->kinds = mem_alloc(filling->head, sizeof *filling->kinds, error);
	filling->costs = mem_alloc(filling->head, sizeof *filling->costs, error);
	if (!filling->kind || !filling->taken || !filling->kinds || !filling->costs)
		return -1;
	for (uint32_t i = 0; i < filling->head; i++)
		find_kind(filling, i, filling->likeness->groups_of(context, list->items[i]));
	return 0;
}

static uint32_t best_entry(const struct rerank_context *context, const struct filling *filling,
                           const struct list *list)
{
	const double lambda = filling->likeness->lambda;
	uint32_t best = 0;
	double best_value = -INFINITY;
	for (uint32_t i = 0; i < filling->head; i++) {
		if (filling->taken[i])
			continue;
		const double value = (1 - lambda) * context->values[i] - lambda * filling->costs[filling->kind[i]];
		/* The list is in order: of equal values the first has the best score, and keys decide between equal scores. */
		if (value > best_value ||
		    (value == best_value && context->values[i] == context->values[best] &&
		     rerank_tie_key(context, list->user, list->items[i]) <
		             rerank_tie_key(context, list->user, list->items[best]))) {
			best = i;
			best_value = value;
		}
	}
	return best;
}

/* Below the head, different scores take the numbers that follow those of its places. */
static void score_below(struct list *list, uint32_t head)
{
	float before = 0, place = 1 - (float)head;
	for (uint32_t i = head; i < list->count; i++) {
		const float score = list->scores[i];
		if (i == head || score != before)
			place -= 1;
		before = score;
		list->scores[i] = place;
	}
}

static int fill(struct rerank_context *context, struct list *list, const struct likeness *likeness,
                struct error *error)
{
	struct filling filling = {.likeness = likeness, .head = rerank_whole_head(list, context->depth)};
	if (filling.head == 0 || list->scores[0] == list->scores[filling.head - 1])
		return 0;
	int result = filling_init(&filling, context, list, error);
	for (uint32_t i = 0; i < filling.head; i++)
		context->values[i] = (double)list->scores[i];
	rerank_standardise(context->values, filling.head);
	for (uint32_t place = 0; result == 0 && place < filling.head; place++) {
		likeness->find_costs(&filling.wanted, &filling.got, filling.kinds, filling.kind_count, filling.costs);
		const uint32_t best = best_entry(context, &filling, list);
		filling.taken[best] = true;
		mix_add(&filling.got, filling.kinds[filling.kind[best]]);
		list->scores[best] = 0.0f - (float)place;
	}
	if (result == 0)
		score_below(list, filling.head);
	filling_release(&filling);
	return result;
}

/* ---- genres ---- */

static uint64_t genres_of(const struct rerank_context *context, uint32_t item)
{
	return context->catalogue->genres[item];
}

static void find_genre_costs(const struct mix *wanted, const struct mix *got, const uint64_t *kinds, size_t count,
                             double *costs)
{
	static const double alpha = 0.01;
	mix_divergences_with(wanted, got, alpha, kinds, count, costs);
}

int rerank_by_calibration(struct rerank_context *context, struct list *list, struct error *error)
{
	const struct likeness likeness = {genres_of, find_genre_costs, context->calibration};
	return fill(context, list, &likeness, error);
}

/* ---- popularity ---- */

static uint64_t level_of(const struct rerank_context *context, uint32_t item)
{
	return UINT64_C(1) << popularity_level_of(&context->levels, context->known->popularity[item]);
}

static void find_level_costs(const struct mix *wanted, const struct mix *got, const uint64_t *kinds, size_t count,
                             double *costs)
{
	for (size_t k = 0; k < count; k++) {
		struct mix with = *got;
		mix_add(&with, kinds[k]);
		costs[k] = mix_distance(wanted, &with);
	}
}

int rerank_by_tail(struct rerank_context *context, struct list *list, struct error *error)
{
	const struct likeness likeness = {level_of, find_level_costs, context->tail};
	return fill(context, list, &likeness, error);
}
