/* Validation's figures against those of ranked lists (user_ranking_make), over scores with many ties. */
#include "check.h"
#include "measures.h"
#include "mem.h"
#include "rng.h"
#include "validation.h"

enum { USERS = 40, ITEMS = 90, CANDIDATES = 30, LONGEST = 60 };

static uint64_t levels;      /* how many different scores there are */
static bool broken;          /* one score is no number */

static float score_of(uint32_t user, uint32_t item)
{
	struct rng rng;
	rng_init(&rng, 3, rng_stream(RNG_TEST, 0), (uint64_t)user << 32 | item);
	return (float)rng_below(&rng, levels);
}

static int score_lists(struct backend_state *state, const struct score_lists *lists, struct error *error)
{
	(void)state;
	(void)error;
	for (size_t u = 0; u < lists->count; u++)
		for (size_t i = lists->offsets[u]; i < lists->offsets[u + 1]; i++)
			lists->scores[i] = score_of(lists->users[u], lists->items[i]);
	if (broken)
		lists->scores[5] = NAN;
	return 0;
}

static const struct backend backend = {.name = "scores", .score_lists = score_lists};

/* User u knows u, u + 1 and u + 2; of every third nothing is held out, of the others u % 4 + 1 items. */
static void make_parts(struct interactions *known, struct interactions *valid)
{
	uint32_t users[2][USERS * 8], items[2][USERS * 8];
	size_t count[2] = {0};
	struct error error = {0};
	for (uint32_t u = 0; u < USERS; u++) {
		const uint32_t held_out = u % 3 == 0 ? 0 : u % 4 + 1;
		for (uint32_t i = 0; i < 3 + held_out; i++) {
			const size_t part = i >= 3;
			users[part][count[part]] = u;
			items[part][count[part]++] = (u + (part ? 7 * i : i)) % ITEMS;
		}
	}
	CHECK_OK(interactions_from_pairs(known, USERS, ITEMS, users[0], items[0], count[0], &error), &error);
	CHECK_OK(interactions_from_pairs(valid, USERS, ITEMS, users[1], items[1], count[1], &error), &error);
}

static void reference(const struct validation *v, struct validation_result *result)
{
	uint32_t ranks[LONGEST], order[LONGEST], popularity[LONGEST] = {0};
	struct error error = {0};
	*result = (struct validation_result){0};
	for (size_t u = 0; u < v->count; u++) {
		const size_t at = v->offsets[u];
		struct user_ranking ranking;
		struct list list = {.user = v->users[u], .count = (uint32_t)(v->offsets[u + 1] - at), .items = v->items + at,
		                    .scores = v->scores + at, .popularity = popularity, .relevant = v->relevant + at};
		for (uint32_t i = 0; i < list.count; i++)
			list.relevant_total += list.relevant[i];
		CHECK_OK(user_ranking_make(&list, ranks, order, &ranking, &error), &error);
		result->hr10 += measure_find("HR")->value(&ranking, 10) / (double)v->count;
		result->ndcg10 += measure_find("NDCG")->value(&ranking, 10) / (double)v->count;
		result->tied += ranking.tied / (double)v->count;
	}
}

static void test_figures_are_those_of_ranked_lists(void)
{
	struct interactions known = {0}, valid = {0};
	struct validation v = {0};
	struct error error = {0};
	make_parts(&known, &valid);
	CHECK_OK(validation_init(&v, &valid, &known, CANDIDATES, 9, &error), &error);
	for (levels = 1; levels <= 10000; levels *= 10) {
		struct validation_result found, wanted;
		CHECK_OK(validation_run(&v, &backend, NULL, &found, &error), &error);
		reference(&v, &wanted);
		CHECK_CLOSE(found.hr10, wanted.hr10, 1e-12);
		CHECK_CLOSE(found.ndcg10, wanted.ndcg10, 1e-12);
		CHECK_CLOSE(found.tied, wanted.tied, 1e-12);
	}
	broken = true;
	struct validation_result none;
	CHECK(validation_run(&v, &backend, NULL, &none, &error) < 0);
	CHECK(error.code == CODE_DATA && strstr(error.message, "not a number"));
	broken = false;
	validation_release(&v);
	interactions_release(&known);
	interactions_release(&valid);
}

int main(void)
{
	RUN(test_figures_are_those_of_ranked_lists);
	return check_done();
}
