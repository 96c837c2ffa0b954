/* See scorer.h. Models go through the backend, weights through the same requests to scorer_similarity.c; baselines
 * are scored here, a user at a time. */
#include "ials_model.h"
#include "mem.h"
#include "rng.h"
#include "scorer_internal.h"
#include "topk.h"

int scorer_open_model(struct scorer *scorer, const char *path, const char *device,
                      const struct backend_options *options, struct error *error)
{
	*scorer = (struct scorer){.kind = SCORE_BY_MODEL};
	if (backend_choose(device, options->isa, &scorer->choice, error) < 0 || model_read(&scorer->model, path, error) < 0)
		return -1;
	if (scorer->model.has_best)
		parameters_copy(&scorer->model.parameters, &scorer->model.best);
	else if (scorer->model.has_average)
		parameters_copy(&scorer->model.parameters, &scorer->model.average);
	scorer->options = *options;
	return 0;
}

void scorer_open_baseline(struct scorer *scorer, enum scorer_kind kind, uint64_t seed)
{
	*scorer = (struct scorer){.kind = kind, .seed = seed};
}

bool scorer_needs_history(const struct scorer *scorer)
{
	return scorer->kind == SCORE_BY_SIMILARITY ||
	       (scorer->kind == SCORE_BY_MODEL && scorer->model.shape.kind == MODEL_HISTORY);
}

bool scorer_takes_history(const struct scorer *scorer)
{
	return scorer_needs_history(scorer) ||
	       (scorer->kind == SCORE_BY_MODEL && scorer->model.shape.kind == MODEL_IALS);
}

const struct stream_info *scorer_ids(const struct scorer *scorer)
{
	return scorer->kind == SCORE_BY_MODEL ? &scorer->model.ids : &scorer->ids;
}

/* Nothing of users is in weights and in a model of histories alone: their ids need not even be of the same map. */
bool scorer_serves_strangers(const struct scorer *scorer)
{
	return scorer_needs_history(scorer) && !(scorer->kind == SCORE_BY_MODEL && scorer->model.shape.user_part);
}

int scorer_start(struct scorer *scorer, const struct interactions *history, struct error *error)
{
	scorer->history = history;
	if (scorer->kind != SCORE_BY_MODEL)
		return 0;
	const struct ials_options how = {.threads = scorer->options.threads, .isa = scorer->options.isa};
	if (history && scorer->model.shape.kind == MODEL_IALS &&
	    ials_serve_strangers(&scorer->model, history, &how, error) < 0)
		return -1;
	scorer->options.histories = history;
	scorer->state = backend_open(&scorer->choice, &scorer->model.shape, &scorer->model.parameters, &scorer->options, error);
	return scorer->state ? 0 : -1;
}

void scorer_release(struct scorer *scorer)
{
	if (scorer->choice.backend)
		scorer->choice.backend->close(scorer->state);
	if (scorer->kind == SCORE_BY_MODEL)
		model_file_release(&scorer->model);
	similarity_release(&scorer->similarity);
	stream_info_release(&scorer->ids);
	pool_free(scorer->pool);
	*scorer = (struct scorer){0};
}

/* Hands a request to whatever computes it. */
static int score_lists(struct scorer *scorer, const struct score_lists *request, struct error *error)
{
	if (scorer->kind == SCORE_BY_SIMILARITY)
		return scorer_similarity_lists(scorer, request, error);
	return scorer->choice.backend->score_lists(scorer->state, request, error);
}

static int score_top(struct scorer *scorer, const struct score_top *request, struct error *error)
{
	if (scorer->kind == SCORE_BY_SIMILARITY)
		return scorer_similarity_top(scorer, request, error);
	return scorer->choice.backend->score_top(scorer->state, request, error);
}

static bool is_baseline(const struct scorer *scorer)
{
	return scorer->kind == SCORE_BY_POPULARITY || scorer->kind == SCORE_BY_RANDOM;
}

/* In [0, 1), 24 bits: what a float holds exactly. */
static float random_score(uint64_t seed, uint32_t user, uint32_t item)
{
	uint32_t words[4];
	rng_block(seed, rng_stream(RNG_SCORE, 0), user, item, words);
	return (float)(words[0] >> 8) * 0x1p-24f;
}

static float baseline_score(const struct scorer *scorer, uint32_t user, uint32_t item, uint32_t popularity)
{
	return scorer->kind == SCORE_BY_RANDOM ? random_score(scorer->seed, user, item) : (float)popularity;
}

/* ---- lists ---- */

/* Puts the entries of `list` in the order of ranking_sort, through a copy of each column. */
static int sort_list(struct list *list, uint32_t *order, uint32_t *words, struct error *error)
{
	uint32_t *columns[] = {list->items, list->popularity};
	ranking_sort(list->scores, list->items, list->count, order);
	for (size_t c = 0; c < COUNT_OF(columns); c++) {
		memcpy(words, columns[c], list->count * sizeof *words);
		for (size_t i = 0; i < list->count; i++)
			columns[c][i] = words[order[i]];
	}
	for (size_t i = 0; i < list->count; i++)
		memcpy(&words[i], &list->scores[order[i]], sizeof(float));
	memcpy(list->scores, words, list->count * sizeof(float));
	for (size_t i = 0; i < list->count; i++)
		words[i] = list->relevant[order[i]];
	for (size_t i = 0; i < list->count; i++)
		list->relevant[i] = (uint8_t)words[i];
	for (size_t i = 0; i < list->count; i++)
		if (list->scores[i] != list->scores[i])
			return error_set(error, CODE_DATA, "user %u gets a score that is not a number", list->user);
	return 0;
}

static int sort_lists(struct list *lists, size_t count, struct error *error)
{
	size_t longest = 0;
	for (size_t l = 0; l < count; l++)
		longest = lists[l].count > longest ? lists[l].count : longest;
	uint32_t *order = mem_alloc(longest, sizeof *order, error);
	uint32_t *words = mem_alloc(longest, sizeof *words, error);
	int result = order && words ? 0 : -1;
	for (size_t l = 0; result == 0 && l < count; l++)
		result = sort_list(&lists[l], order, words, error);
	mem_free(order);
	mem_free(words);
	return result;
}

/* Gathers the lists into one request; scores are written straight into it and copied back. */
static int request_lists(struct scorer *scorer, struct list *lists, size_t count, struct error *error)
{
	int result = -1;
	size_t total = 0;
	for (size_t l = 0; l < count; l++)
		total += lists[l].count;
	uint32_t *users = mem_alloc(count, sizeof *users, error);
	uint32_t *items = mem_alloc(total, sizeof *items, error);
	size_t *offsets = mem_alloc(count + 1, sizeof *offsets, error);
	float *scores = mem_alloc(total, sizeof *scores, error);
	if (!users || !items || !offsets || !scores)
		goto out;
	offsets[0] = 0;
	for (size_t l = 0; l < count; l++) {
		users[l] = lists[l].user;
		memcpy(items + offsets[l], lists[l].items, lists[l].count * sizeof *items);
		offsets[l + 1] = offsets[l] + lists[l].count;
	}
	const struct score_lists request = {count, users, offsets, items, scores};
	if (score_lists(scorer, &request, error) < 0)
		goto out;
	for (size_t l = 0; l < count; l++)
		memcpy(lists[l].scores, scores + offsets[l], lists[l].count * sizeof *scores);
	result = 0;
out:
	mem_free(users);
	mem_free(items);
	mem_free(offsets);
	mem_free(scores);
	return result;
}

int scorer_lists(struct scorer *scorer, struct list *lists, size_t count, struct error *error)
{
	if (!is_baseline(scorer)) {
		if (request_lists(scorer, lists, count, error) < 0)
			return -1;
		return sort_lists(lists, count, error);
	}
	for (size_t l = 0; l < count; l++)
		for (size_t i = 0; i < lists[l].count; i++)
			lists[l].scores[i] = baseline_score(scorer, lists[l].user, lists[l].items[i],
			                                    lists[l].popularity[i]);
	return sort_lists(lists, count, error);
}

/* ---- all items ---- */

static int fill_list(const struct full_ranking *ranking, uint32_t user, const uint32_t *items, const float *scores,
                     size_t count, struct list *list, struct error *error)
{
	if (list_reserve(list, count, error) < 0)
		return -1;
	size_t truths = 0;
	if (ranking->truth && user < ranking->truth->users)
		interactions_of(ranking->truth, user, &truths);
	list->user = user;
	list->count = (uint32_t)count;
	list->relevant_total = (uint32_t)truths;
	for (size_t i = 0; i < count; i++) {
		list->items[i] = items[i];
		list->scores[i] = scores[i];
		list->popularity[i] = ranking->popularity ? ranking->popularity[items[i]] : 0;
		list->relevant[i] = scorer_holds(ranking->truth, user, items[i]) ? LIST_RELEVANT : 0;
	}
	return 0;
}

static int request_top(struct scorer *scorer, const struct full_ranking *ranking, const uint32_t *users,
                     struct list *lists, size_t count, struct error *error)
{
	int result = -1;
	uint32_t *items = mem_alloc(count * ranking->top, sizeof *items, error);
	float *scores = mem_alloc(count * ranking->top, sizeof *scores, error);
	uint32_t *counts = mem_alloc(count, sizeof *counts, error);
	if (!items || !scores || !counts)
		goto out;
	const struct score_top request = {
		.count = count, .users = users, .seen = ranking->seen, .truth = ranking->truth,
		.top = ranking->top, .items = items, .scores = scores, .counts = counts,
	};
	if (score_top(scorer, &request, error) < 0)
		goto out;
	for (size_t u = 0; u < count; u++)
		if (fill_list(ranking, users[u], items + u * ranking->top, scores + u * ranking->top, counts[u],
		              &lists[u], error) < 0)
			goto out;
	result = 0;
out:
	mem_free(items);
	mem_free(scores);
	mem_free(counts);
	return result;
}

static int baseline_top(struct scorer *scorer, const struct full_ranking *ranking, uint32_t user, struct topk *best,
                        struct list *list, struct error *error)
{
	topk_clear(best);
	for (uint32_t item = 0; item < ranking->items; item++) {
		float score = baseline_score(scorer, user, item, ranking->popularity ? ranking->popularity[item] : 0);
		if (!topk_wants(best, score, item) || scorer_holds(ranking->seen, user, item))
			continue;
		topk_offer(best, score, scorer_holds(ranking->truth, user, item) ? item | SCORER_TRUTH_LAST : item);
	}
	topk_sort(best);
	for (size_t i = 0; i < best->count; i++)
		best->items[i] &= ~SCORER_TRUTH_LAST;
	return fill_list(ranking, user, best->items, best->scores, best->count, list, error);
}

int scorer_top(struct scorer *scorer, const struct full_ranking *ranking, const uint32_t *users, struct list *lists,
               size_t count, struct error *error)
{
	if (!is_baseline(scorer))
		return request_top(scorer, ranking, users, lists, count, error);
	struct topk best;
	if (topk_init(&best, ranking->top, error) < 0)
		return -1;
	int result = 0;
	for (size_t u = 0; result == 0 && u < count; u++)
		result = baseline_top(scorer, ranking, users[u], &best, &lists[u], error);
	topk_release(&best);
	return result;
}
