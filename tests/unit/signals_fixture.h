/* Users, items and sources of signals, made up: for the tests of signals.h. */
#ifndef RECPIPE_SIGNALS_FIXTURE_H
#define RECPIPE_SIGNALS_FIXTURE_H

#include "check.h"
#include "mem.h"
#include "rng.h"
#include "signals.h"

/* The catalogue and the weights know fewer items than there are, as when they are older. User 4 has no history. */
enum { USERS = 9, ITEMS = 40, CATALOGUE = 35, WEIGHED = 30, WITHS = 2, ENTRIES = 25, NOBODY = 4 };

static UNUSED const int64_t day = 86400, year = 365 * INT64_C(86400);

static struct histories histories;
static struct similarity similarity;
static float square[WEIGHED][WEIGHED];
static bool known[USERS][ITEMS];
static int64_t times[USERS][ITEMS];
static uint16_t years[CATALOGUE];
static uint64_t genres[CATALOGUE];
static const struct catalogue catalogue = {.items = CATALOGUE, .years = years, .genres = genres};

static inline struct rng random_at(uint64_t stream, uint64_t index)
{
	struct rng rng;
	rng_init(&rng, 7, rng_stream(RNG_TEST, (uint32_t)stream), index);
	return rng;
}

/* ---- what there is ---- */

/* Few times, so that many tie: some before 1970, some exactly a year apart, all of user 3's. */
static inline void make_pairs(void)
{
	uint32_t users[USERS * ITEMS], items[USERS * ITEMS];
	struct error error = {0};
	uint64_t count = 0;
	for (uint32_t u = 0; u < USERS; u++)
		for (uint32_t i = 0; i < ITEMS; i++) {
			struct rng rng = random_at(1, u * ITEMS + i);
			known[u][i] = u != NOBODY && rng_below(&rng, 3) == 0;
			times[u][i] = (int64_t)rng_below(&rng, 6) * year / 2 - (int64_t)rng_below(&rng, 3) * day - year;
			times[u][i] = u == 3 ? -5 * year : times[u][i];
			if (known[u][i]) {
				users[count] = u;
				items[count++] = i;
			}
		}
	CHECK_OK(interactions_from_pairs(&histories.interactions, USERS, ITEMS, users, items, count, &error), &error);
}

static inline uint32_t later_ones(uint32_t user, uint32_t item)
{
	uint32_t later = 0;
	for (uint32_t i = 0; i < ITEMS; i++)
		later += known[user][i] && times[user][i] > times[user][item];
	return later;
}

static inline void make_histories(void)
{
	struct error error = {0};
	make_pairs();
	const struct interactions *pairs = &histories.interactions;
	histories.times = mem_alloc(pairs->count, sizeof *histories.times, &error);
	histories.later = mem_alloc(pairs->count, sizeof *histories.later, &error);
	for (uint32_t u = 0; u < USERS; u++)
		for (uint64_t k = pairs->offsets[u]; k < pairs->offsets[u + 1]; k++) {
			histories.times[k] = times[u][pairs->item_ids[k]];
			histories.later[k] = later_ones(u, pairs->item_ids[k]);
		}
}

/* Item 2 speaks for all others, the others for some. */
static inline void make_similarity(void)
{
	struct error error = {0};
	similarity.items = WEIGHED;
	similarity.offsets = mem_alloc_zero(WEIGHED + 1, sizeof *similarity.offsets, &error);
	similarity.neighbours = mem_alloc(WEIGHED * WEIGHED, sizeof *similarity.neighbours, &error);
	similarity.weights = mem_alloc(WEIGHED * WEIGHED, sizeof *similarity.weights, &error);
	for (uint32_t j = 0; j < WEIGHED; j++) {
		struct rng rng = random_at(2, j);
		for (uint32_t i = 0; i < WEIGHED; i++) {
			const float weight = (float)rng_below(&rng, 1000) / 500 - 1;
			if (i == j || (j != 2 && rng_below(&rng, 4) != 0))
				continue;
			square[j][i] = weight;
			similarity.neighbours[similarity.count] = i;
			similarity.weights[similarity.count++] = weight;
		}
		similarity.offsets[j + 1] = similarity.count;
	}
	similarity_use(&similarity, ISA_PORTABLE);
}

/* Items without a year or genres, and years at both ends of what is counted and beyond. */
static inline void make_catalogue(void)
{
	static const uint16_t odd[] = {0, 1879, 1880, 1881, 2079, 2080, 9999, 1895};
	for (uint32_t i = 0; i < CATALOGUE; i++) {
		struct rng rng = random_at(3, i);
		years[i] = i < COUNT_OF(odd) ? odd[i] : (uint16_t)(1960 + rng_below(&rng, 60));
		genres[i] = i % 6 == 5 ? 0 : 1 + rng_below(&rng, 15);
		genres[i] |= i % 9 == 0 ? UINT64_C(1) << 63 : 0;
	}
}

static inline struct signal_sources all_sources(void)
{
	return (struct signal_sources){
		.histories = &histories, .catalogue = &catalogue, .similarities = {&similarity}, .similarity_names = {"ease"},
		.similarity_count = 1, .with_names = {"first", "second"}, .with_count = WITHS,
	};
}

/* ---- lists ---- */

struct made_list {
	struct list list;
	uint32_t items[ITEMS], popularity[ITEMS];
	float scores[ITEMS];
	uint8_t relevant[ITEMS];
};

static inline void make_list(struct made_list *made, uint32_t user, uint32_t count, uint64_t trial)
{
	struct rng rng = random_at(4, trial);
	rng_permutation(7, rng_stream(RNG_TEST, 5), trial, made->items, ITEMS);
	for (uint32_t i = 0; i < ITEMS; i++) {
		made->scores[i] = (float)rng_below(&rng, 1000) / 100 - 5;
		made->popularity[i] = (uint32_t)rng_below(&rng, 50);
		made->relevant[i] = i == 0;
	}
	made->list = (struct list){.user = user, .count = count, .relevant_total = 1, .items = made->items,
	                           .scores = made->scores, .popularity = made->popularity, .relevant = made->relevant};
}

/* The list, then those of --with: all items, each in an order of its own. */
static inline void make_lists(struct made_list made[1 + WITHS], struct list lists[1 + WITHS], uint32_t user, uint32_t count)
{
	for (uint32_t n = 0; n <= WITHS; n++) {
		make_list(&made[n], user, n ? ITEMS : count, user * 10 + n);
		lists[n] = made[n].list;
	}
}

static inline void make_fixture(void)
{
	make_histories();
	make_similarity();
	make_catalogue();
}

static inline void release_fixture(void)
{
	histories_release(&histories);
	similarity_release(&similarity);
}

#endif
