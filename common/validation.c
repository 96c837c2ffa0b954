/* See validation.h. */
#include "validation.h"

#include "measures.h"
#include "mem.h"

enum {
	CUTOFF = 10,
	VALIDATION_DRAW = 0xffffff, /* a draw of candidates that no evaluation uses */
	PROBE_USERS = 64,
	PROBE_ITEMS = 16,
};

static int allocate(struct validation *v, size_t entries, size_t longest, struct error *error)
{
	v->items = mem_alloc(entries, sizeof *v->items, error);
	v->relevant = mem_alloc_zero(entries, sizeof *v->relevant, error);
	v->scores = mem_alloc(entries, sizeof *v->scores, error);
	v->ranks = mem_alloc(longest, sizeof *v->ranks, error);
	v->truth_scores = mem_alloc(longest, sizeof *v->truth_scores, error);
	return v->items && v->relevant && v->scores && v->ranks && v->truth_scores ? 0 : -1;
}

int validation_init(struct validation *v, const struct interactions *valid, const struct interactions *known,
                    size_t candidates, uint64_t seed, struct error *error)
{
	size_t longest = 0, entries = 0;
	*v = (struct validation){0};
	v->users = mem_alloc(valid->users, sizeof *v->users, error);
	v->offsets = mem_alloc((size_t)valid->users + 1, sizeof *v->offsets, error);
	if (!v->users || !v->offsets)
		return -1;
	for (uint32_t user = 0; user < valid->users; user++) {
		size_t truths;
		interactions_of(valid, user, &truths);
		if (truths == 0)
			continue;
		v->users[v->count++] = user;
		entries += truths + candidates;
		longest = truths + candidates > longest ? truths + candidates : longest;
	}
	if (v->count == 0)
		return error_set(error, CODE_DATA, "the validation part holds no interactions");
	if (allocate(v, entries, longest, error) < 0)
		return -1;
	v->offsets[0] = 0;
	for (size_t u = 0; u < v->count; u++) {
		size_t truths, at = v->offsets[u];
		const uint32_t *truth = interactions_of(valid, v->users[u], &truths);
		memcpy(v->items + at, truth, truths * sizeof *truth);
		memset(v->relevant + at, LIST_RELEVANT, truths);
		size_t drawn = sampler_candidates(known, v->users[u], truth, truths, seed, VALIDATION_DRAW, candidates,
		                                  v->items + at + truths);
		v->offsets[u + 1] = at + truths + drawn;
	}
	return 0;
}

static int descending(const void *a, const void *b)
{
	const float x = *(const float *)a, y = *(const float *)b;
	return (x < y) - (x > y);
}

/* What user_ranking_make finds, by counting: the truths stand first, nothing is doubled, and only their ranks matter. */
static int rank_user(struct validation *v, size_t u, struct user_ranking *ranking, struct error *error)
{
	const size_t at = v->offsets[u], count = v->offsets[u + 1] - at;
	uint32_t truths = 0;
	for (size_t i = 0; i < count; i++) {
		truths += v->relevant[at + i];
		if (v->scores[at + i] != v->scores[at + i])
			return error_set(error, CODE_DATA, "user %u: item %u has a score that is not a number", v->users[u],
			                 v->items[at + i]);
	}
	*ranking = (struct user_ranking){.candidates = (uint32_t)count, .relevant_total = truths, .relevant_found = truths,
	                                 .ranks = v->ranks};
	memcpy(v->truth_scores, v->scores + at, truths * sizeof *v->truth_scores);
	qsort(v->truth_scores, truths, sizeof *v->truth_scores, descending);
	for (uint32_t r = 0; r < truths; r++) {
		const float score = v->truth_scores[r];
		uint32_t ahead = 0, equal = 0;
		for (size_t i = truths; i < count; i++) {
			ahead += v->scores[at + i] >= score;
			equal += v->scores[at + i] == score;
		}
		v->ranks[r] = ahead + r + 1;
		ranking->tied |= equal > 0;
	}
	return 0;
}

int validation_run(struct validation *v, const struct backend *backend, struct backend_state *state,
                   struct validation_result *result, struct error *error)
{
	const struct measure *hr = measure_find("HR"), *ndcg = measure_find("NDCG");
	const struct score_lists lists = {v->count, v->users, v->offsets, v->items, v->scores};
	size_t tied = 0;
	*result = (struct validation_result){0};
	if (backend->score_lists(state, &lists, error) < 0)
		return -1;
	for (size_t u = 0; u < v->count; u++) {
		struct user_ranking ranking;
		if (rank_user(v, u, &ranking, error) < 0)
			return -1;
		result->hr10 += hr->value(&ranking, CUTOFF);
		result->ndcg10 += ndcg->value(&ranking, CUTOFF);
		tied += ranking.tied;
	}
	result->hr10 /= (double)v->count;
	result->ndcg10 /= (double)v->count;
	result->tied = (double)tied / (double)v->count;
	return 0;
}

void validation_release(struct validation *v)
{
	void *arrays[] = {v->users, v->offsets, v->items, v->relevant, v->scores, v->ranks, v->truth_scores};
	for (size_t i = 0; i < COUNT_OF(arrays); i++)
		mem_free(arrays[i]);
	*v = (struct validation){0};
}

int tower_is_dead(const struct model_shape *shape, const struct backend *backend, struct backend_state *state,
                  bool *dead, struct error *error)
{
	uint32_t users[PROBE_USERS], items[PROBE_USERS * PROBE_ITEMS];
	size_t offsets[PROBE_USERS + 1];
	float scores[PROBE_USERS * PROBE_ITEMS];
	offsets[0] = 0;
	for (size_t u = 0; u < PROBE_USERS; u++) {
		users[u] = (uint32_t)((uint64_t)shape->users * u / PROBE_USERS);
		offsets[u + 1] = (u + 1) * PROBE_ITEMS;
	}
	for (size_t i = 0; i < COUNT_OF(items); i++)
		items[i] = (uint32_t)((uint64_t)shape->items * i / COUNT_OF(items));
	const struct score_lists lists = {PROBE_USERS, users, offsets, items, scores};
	if (backend->score_lists(state, &lists, error) < 0)
		return -1;
	*dead = shape->users > 1 || shape->items > 1;
	for (size_t i = 1; i < COUNT_OF(scores); i++)
		if (scores[i] != scores[0])
			*dead = false;
	return 0;
}
