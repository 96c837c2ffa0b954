/* The greedy stages against references that try every entry at every place and compute the whole objective anew. */
#include "check.h"
#include "mem.h"
#include "rerank.h"
#include "rng.h"

enum { USERS = 3, ITEMS = 60, COUNT = 40, LEVELS = 3 };

/* A catalogue with few genres, so that many items share theirs; some have none. User 2 knows nothing. */
static uint64_t genres[ITEMS];
static const struct catalogue catalogue = {.items = ITEMS, .genres = genres};
static struct interactions known;

static void make_catalogue(void)
{
	uint32_t users[2 * ITEMS], items[2 * ITEMS], count = 0;
	struct error error = {0};
	for (uint32_t i = 0; i < ITEMS; i++) {
		struct rng rng;
		rng_init(&rng, 1, rng_stream(RNG_TEST, 0), i);
		genres[i] = rng_below(&rng, 8) == 0 ? 0 : 1 + rng_below(&rng, 31);
		for (uint32_t user = 0; user < 2; user++)
			if (rng_below(&rng, 3) == 0) {
				users[count] = user;
				items[count++] = i;
			}
	}
	CHECK_OK(interactions_from_pairs(&known, USERS, ITEMS, users, items, count, &error), &error);
}

struct lists {
	struct list list;
	uint32_t items[ITEMS], popularity[ITEMS];
	float scores[ITEMS];
	uint8_t relevant[ITEMS];
};

/* A list of `user` with `different` scores at most. */
static void make_list(struct lists *lists, uint32_t user, uint64_t trial, uint64_t different)
{
	struct rng rng;
	rng_permutation(2, rng_stream(RNG_TEST, 1), trial, lists->items, ITEMS);
	rng_init(&rng, 2, rng_stream(RNG_TEST, 2), trial);
	for (uint32_t i = 0; i < ITEMS; i++) {
		lists->scores[i] = (float)rng_below(&rng, different) / 7;
		lists->popularity[i] = known.popularity[lists->items[i]];
		lists->relevant[i] = i == 3;
	}
	lists->list = (struct list){.user = user, .count = COUNT, .relevant_total = 1, .items = lists->items,
	                            .scores = lists->scores, .popularity = lists->popularity, .relevant = lists->relevant};
}

static struct rerank_context make_context(size_t depth, double strength)
{
	struct rerank_context context = {.depth = depth, .lambda = 1 - strength, .calibration = strength, .tail = strength,
	                                 .seed = 5, .catalogue = &catalogue, .known = &known};
	struct error error = {0};
	CHECK_OK(popularity_levels_make(known.popularity, ITEMS, &context.levels, &error), &error);
	return context;
}

static void apply(struct rerank_context *context, const char *stage, struct lists *lists)
{
	struct error error = {0};
	CHECK_OK(rerank_apply(context, rerank_find(stage), &lists->list, &error), &error);
}

/* ---- references: what to pay for a list of `count` items ---- */

static double similarity(uint32_t a, uint32_t b)
{
	double both = 0, of_a = 0, of_b = 0;
	for (uint64_t bit = 1; bit; bit <<= 1) {
		both += (genres[a] & bit) && (genres[b] & bit);
		of_a += (genres[a] & bit) != 0;
		of_b += (genres[b] & bit) != 0;
	}
	return both > 0 ? both / sqrt(of_a * of_b) : 0;
}

/* The mean share of each of `groups` groups over items that have any; whether there are any. */
static bool shares(const uint32_t *items, size_t count, size_t groups, uint64_t (*groups_of)(uint32_t item), double *out)
{
	double total = 0;
	for (size_t g = 0; g < groups; g++)
		out[g] = 0;
	for (size_t i = 0; i < count; i++) {
		double of_item = 0;
		for (size_t g = 0; g < groups; g++)
			of_item += (groups_of(items[i]) >> g & 1) != 0;
		for (size_t g = 0; g < groups && of_item > 0; g++)
			out[g] += (double)(groups_of(items[i]) >> g & 1) / of_item;
		total += of_item > 0;
	}
	for (size_t g = 0; g < groups && total > 0; g++)
		out[g] /= total;
	return total > 0;
}

static uint64_t genres_of(uint32_t item)
{
	return genres[item];
}

/* Abdollahpouri's levels, counted anew: what share of all interactions the more popular, and the less popular, have. */
static uint64_t level_of(uint32_t item)
{
	uint32_t all = 0, above = 0, below = 0;
	for (uint32_t i = 0; i < ITEMS; i++) {
		all += known.popularity[i];
		above += known.popularity[i] > known.popularity[item] ? known.popularity[i] : 0;
		below += known.popularity[i] < known.popularity[item] ? known.popularity[i] : 0;
	}
	if (5 * above < all)
		return 1;
	return 5 * below < all ? 4 : 2;
}

static double genre_cost(uint32_t user, const uint32_t *items, size_t count)
{
	double p[64], q[64], sum = 0;
	size_t known_count;
	const uint32_t *known_items = interactions_of(&known, user, &known_count);
	if (!shares(known_items, known_count, 64, genres_of, p))
		return 0;
	(void)shares(items, count, 64, genres_of, q);
	for (size_t g = 0; g < 64; g++)
		sum += p[g] > 0 ? p[g] * log(p[g] / (0.99 * q[g] + 0.01 * p[g])) : 0;
	return sum;
}

static double level_cost(uint32_t user, const uint32_t *items, size_t count)
{
	double p[LEVELS], q[LEVELS], sum = 0;
	size_t known_count;
	const uint32_t *known_items = interactions_of(&known, user, &known_count);
	if (!shares(known_items, known_count, LEVELS, level_of, p))
		return 0;
	(void)shares(items, count, LEVELS, level_of, q);
	for (size_t g = 0; g < LEVELS; g++) {
		sum += p[g] > 0 ? p[g] * log(2 * p[g] / (p[g] + q[g])) / 2 : 0;
		sum += q[g] > 0 ? q[g] * log(2 * q[g] / (p[g] + q[g])) / 2 : 0;
	}
	return sum;
}

/* MMR's last entry pays for its likeness to the nearest before; those before have paid. */
static double likeness_cost(uint32_t user, const uint32_t *items, size_t count)
{
	double nearest = 0;
	(void)user;
	for (size_t i = 0; i + 1 < count; i++)
		nearest = fmax(nearest, similarity(items[i], items[count - 1]));
	return nearest;
}

static const struct reference {
	const char *stage;
	double (*cost)(uint32_t user, const uint32_t *items, size_t count);
} references[] = {{"mmr", likeness_cost}, {"calibration", genre_cost}, {"tail", level_cost}};

/* Checks that each of the first `head` places of `after` went to an entry than which none of those left was better by
 * more than rounding, given the places before. */
static void check_greedy(const struct reference *reference, const struct lists *before, const struct lists *after,
                         uint32_t head, double strength)
{
	double mean = 0, square = 0;
	uint32_t chosen[COUNT];
	for (uint32_t i = 0; i < head; i++)
		mean += (double)before->scores[i] / head;
	for (uint32_t i = 0; i < head; i++)
		square += ((double)before->scores[i] - mean) * ((double)before->scores[i] - mean) / head;
	for (uint32_t place = 0; place < head; place++) {
		double best = -INFINITY, taken = NAN;
		for (uint32_t i = 0; i < head; i++) {
			bool gone = false;
			for (uint32_t c = 0; c < place; c++)
				gone = gone || chosen[c] == before->items[i];
			if (gone)
				continue;
			chosen[place] = before->items[i];
			const double score = ((double)before->scores[i] - mean) / sqrt(square);
			const double value = (1 - strength) * score -
			                     strength * reference->cost(before->list.user, chosen, place + 1);
			best = fmax(best, value);
			if (before->items[i] == after->items[place])
				taken = value;
		}
		CHECK_CLOSE(taken, best, 1e-9);
		CHECK(after->scores[place] == -(float)place);
		chosen[place] = after->items[place];
	}
}

static void check_stage(const struct reference *reference, uint32_t user, uint64_t trial, size_t depth,
                        double strength)
{
	static struct lists before, after;
	struct rerank_context context = make_context(depth, strength);
	make_list(&before, user, trial, 1000000);
	make_list(&after, user, trial, 1000000);
	apply(&context, "none", &before);
	apply(&context, reference->stage, &after);
	const uint32_t head = depth < COUNT ? (uint32_t)depth : COUNT;
	check_greedy(reference, &before, &after, head, strength);
	for (uint32_t i = head; i < COUNT; i++)
		CHECK_EQUAL_U64(after.items[i], before.items[i]);
	rerank_release(&context);
}

static void test_every_place_goes_to_the_best(void)
{
	static const double strengths[] = {0, 0.2, 0.5, 0.9, 0.99, 1};
	for (size_t r = 0; r < COUNT_OF(references); r++)
		for (size_t s = 0; s < COUNT_OF(strengths); s++)
			for (uint64_t trial = 0; trial < 12; trial++)
				check_stage(&references[r], (uint32_t)(trial % USERS), trial, trial % 4 == 0 ? 100 : 7 + trial,
				            strengths[s]);
}

/* ---- what must stay as it is ---- */

static bool same_order(const struct lists *a, const struct lists *b)
{
	return memcmp(a->items, b->items, COUNT * sizeof *a->items) == 0;
}

static void test_strength_0_and_strangers_keep_the_order(void)
{
	static struct lists before, after;
	for (size_t r = 0; r < COUNT_OF(references); r++) {
		struct rerank_context context = make_context(25, 0);
		make_list(&before, 0, 1, 1000000);
		make_list(&after, 0, 1, 1000000);
		apply(&context, "none", &before);
		apply(&context, references[r].stage, &after);
		CHECK(same_order(&before, &after));
		context.calibration = context.tail = 0.9;
		make_list(&before, 2, 1, 1000000);
		make_list(&after, 2, 1, 1000000);
		apply(&context, "none", &before);
		apply(&context, references[r].stage, &after);
		CHECK(same_order(&before, &after));
		rerank_release(&context);
	}
}

/* The relevant entry of a constant model stays tied with all others: nothing is told apart, nothing can flatter. */
static void test_a_constant_model_stays_constant(void)
{
	static struct lists lists;
	for (size_t r = 0; r < COUNT_OF(references); r++)
		for (size_t depth = 10; depth <= 100; depth += 90) {
			struct rerank_context context = make_context(depth, 0.9);
			make_list(&lists, 0, 4, 1);
			apply(&context, references[r].stage, &lists);
			for (uint32_t i = 1; i < COUNT; i++)
				CHECK(lists.scores[i] == lists.scores[0]);
			rerank_release(&context);
		}
}

/* Scores of few values: the group that straddles the depth stays below as a whole, and below ties stay ties. */
static void test_ties_across_the_depth_and_below_it_stay(void)
{
	static struct lists before, after;
	for (size_t r = 0; r < COUNT_OF(references); r++)
		for (uint64_t trial = 0; trial < 20; trial++) {
			struct rerank_context context = make_context(15, 0.8);
			make_list(&before, 1, trial, 9);
			make_list(&after, 1, trial, 9);
			apply(&context, "none", &before);
			apply(&context, references[r].stage, &after);
			uint32_t head = 15;
			while (head > 0 && before.scores[head - 1] == before.scores[15])
				head--;
			for (uint32_t i = head; i < COUNT; i++)
				CHECK_EQUAL_U64(after.items[i], before.items[i]);
			for (uint32_t i = head + 1; i < COUNT; i++)
				CHECK((after.scores[i] == after.scores[i - 1]) == (before.scores[i] == before.scores[i - 1]));
			CHECK(head == 0 || after.scores[head - 1] > after.scores[head]);
			rerank_release(&context);
		}
}

/* Relevance, popularity and items travel together. */
static void test_entries_stay_whole(void)
{
	static struct lists before, after;
	for (size_t r = 0; r < COUNT_OF(references); r++) {
		struct rerank_context context = make_context(30, 0.9);
		make_list(&before, 0, 8, 1000);
		make_list(&after, 0, 8, 1000);
		apply(&context, references[r].stage, &after);
		uint32_t relevant = 0;
		for (uint32_t i = 0; i < COUNT; i++) {
			CHECK_EQUAL_U64(after.popularity[i], known.popularity[after.items[i]]);
			CHECK(!after.relevant[i] || after.items[i] == before.items[3]);
			relevant += after.relevant[i];
		}
		CHECK_EQUAL_U64(relevant, 1);
		rerank_release(&context);
	}
}

int main(void)
{
	make_catalogue();
	RUN(test_every_place_goes_to_the_best);
	RUN(test_strength_0_and_strangers_keep_the_order);
	RUN(test_a_constant_model_stays_constant);
	RUN(test_ties_across_the_depth_and_below_it_stay);
	RUN(test_entries_stay_whole);
	interactions_release(&known);
	return check_done();
}
