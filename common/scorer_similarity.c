/* Scores of item-to-item weights: for each user the sums over the history, once, from which lists or the best are
 * read. Threads share out users, and each user's scores are one fixed chain of additions. */
#include "mem.h"
#include "scorer_internal.h"
#include "topk.h"

enum { USERS_A_SHARD = 16 };

int scorer_open_similarity(struct scorer *scorer, const char *path, const struct backend_options *options,
                           struct error *error)
{
	enum isa isa;
	*scorer = (struct scorer){.kind = SCORE_BY_SIMILARITY};
	if (isa_find(options->isa, &isa, error) < 0 ||
	    similarity_read(&scorer->similarity, path, &scorer->ids, error) < 0)
		return -1;
	similarity_use(&scorer->similarity, isa);
	scorer->pool = pool_new(options->threads, error);
	return scorer->pool ? 0 : -1;
}

struct scoring {
	const struct scorer *scorer;
	const struct score_lists *lists; /* one of the two */
	const struct score_top *top;
	uint32_t items;          /* of the catalogue: at least those that have weights */
	float *scores;           /* [worker][items] */
	struct topk *best;       /* a worker's */
};

/* Items that came after the weights were made keep their 0. */
static void score_user(const struct scoring *scoring, uint32_t user, float *scores)
{
	const struct interactions *history = scoring->scorer->history;
	size_t count = 0;
	const uint32_t *items = user < history->users ? interactions_of(history, user, &count) : NULL;
	similarity_scores(&scoring->scorer->similarity, items, count, scores);
}

static void lists_shard(void *context, size_t shard, size_t worker)
{
	const struct scoring *scoring = context;
	const struct score_lists *lists = scoring->lists;
	float *scores = scoring->scores + worker * scoring->items;
	const size_t begin = shard * USERS_A_SHARD;
	for (size_t u = begin; u < lists->count && u < begin + USERS_A_SHARD; u++) {
		score_user(scoring, lists->users[u], scores);
		for (size_t i = lists->offsets[u]; i < lists->offsets[u + 1]; i++)
			lists->scores[i] = scores[lists->items[i]];
	}
}

static void choose_best(const struct scoring *scoring, uint32_t user, const float *scores, struct topk *best)
{
	topk_clear(best);
	for (uint32_t item = 0; item < scoring->items; item++) {
		if (!topk_wants(best, scores[item], item) || scorer_holds(scoring->top->seen, user, item))
			continue;
		const bool is_truth = scorer_holds(scoring->top->truth, user, item);
		topk_offer(best, scores[item], is_truth ? item | SCORER_TRUTH_LAST : item);
	}
	topk_sort(best);
}

static void top_shard(void *context, size_t shard, size_t worker)
{
	const struct scoring *scoring = context;
	const struct score_top *top = scoring->top;
	float *scores = scoring->scores + worker * scoring->items;
	struct topk *best = &scoring->best[worker];
	const size_t begin = shard * USERS_A_SHARD;
	for (size_t u = begin; u < top->count && u < begin + USERS_A_SHARD; u++) {
		score_user(scoring, top->users[u], scores);
		choose_best(scoring, top->users[u], scores, best);
		top->counts[u] = (uint32_t)best->count;
		for (size_t i = 0; i < best->count; i++) {
			top->items[u * top->top + i] = best->items[i] & ~SCORER_TRUTH_LAST;
			top->scores[u * top->top + i] = best->scores[i];
		}
	}
}

/* Zeroed, so that items without weights score 0. */
static int alloc_scores(struct scoring *scoring, struct error *error)
{
	scoring->items = scoring->scorer->history->items;
	if (scoring->items < scoring->scorer->similarity.items)
		scoring->items = scoring->scorer->similarity.items;
	scoring->scores = mem_alloc_zero(pool_threads(scoring->scorer->pool) * scoring->items, sizeof *scoring->scores,
	                                 error);
	return scoring->scores ? 0 : -1;
}

int scorer_similarity_lists(struct scorer *scorer, const struct score_lists *request, struct error *error)
{
	struct scoring scoring = {.scorer = scorer, .lists = request};
	if (alloc_scores(&scoring, error) < 0)
		return -1;
	pool_run(scorer->pool, (request->count + USERS_A_SHARD - 1) / USERS_A_SHARD, lists_shard, &scoring);
	mem_free(scoring.scores);
	return 0;
}

int scorer_similarity_top(struct scorer *scorer, const struct score_top *request, struct error *error)
{
	struct scoring scoring = {.scorer = scorer, .top = request};
	const size_t threads = pool_threads(scorer->pool);
	int result = alloc_scores(&scoring, error);
	if (result == 0) {
		scoring.best = mem_alloc_zero(threads, sizeof *scoring.best, error);
		result = scoring.best ? 0 : -1;
	}
	for (size_t t = 0; result == 0 && t < threads; t++)
		result = topk_init(&scoring.best[t], request->top, error);
	if (result == 0)
		pool_run(scorer->pool, (request->count + USERS_A_SHARD - 1) / USERS_A_SHARD, top_shard, &scoring);
	for (size_t t = 0; scoring.best && t < threads; t++)
		topk_release(&scoring.best[t]);
	mem_free(scoring.best);
	mem_free(scoring.scores);
	return result;
}
