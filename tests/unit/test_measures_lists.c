/* Measures beyond accuracy by hand: mixes of groups, levels of popularity, each list and exposure measure. */
#include "check.h"
#include "evaluation_groups.h"
#include "measures_lists.h"
#include "mem.h"

/* ---- mixes ---- */

static struct mix mix_of(const uint64_t *groups, size_t count)
{
	struct mix mix = {0};
	for (size_t i = 0; i < count; i++)
		mix_add(&mix, groups[i]);
	return mix;
}

static void test_an_item_counts_one_in_parts(void)
{
	const uint64_t groups[] = {1, 3, 0, UINT64_C(1) << 63 | 7};
	struct mix mix = mix_of(groups, 4);
	CHECK_CLOSE(mix.total, 3, 0);
	CHECK_CLOSE(mix.amounts[0], 1 + 0.5 + 0.25, 1e-15);
	CHECK_CLOSE(mix.amounts[1], 0.5 + 0.25, 1e-15);
	CHECK_CLOSE(mix.amounts[63], 0.25, 1e-15);
}

static void test_divergence_by_hand(void)
{
	const uint64_t wanted[] = {1, 1, 1, 2}, got[] = {2, 2}, none[] = {0};
	const struct mix p = mix_of(wanted, 4), q = mix_of(got, 2), nothing = mix_of(none, 1);
	const double expected = 0.75 * log(0.75 / (0.01 * 0.75)) + 0.25 * log(0.25 / (0.99 * 1 + 0.01 * 0.25));
	CHECK_CLOSE(mix_divergence(&p, &q, 0.01), expected, 1e-13);
	CHECK_CLOSE(mix_divergence(&p, &p, 0.01), 0, 1e-15);
	CHECK_CLOSE(mix_divergence(&p, &nothing, 0.01), log(100), 1e-12);
	CHECK_CLOSE(mix_divergence(&nothing, &q, 0.01), 0, 0);
}

/* With one more item, for many sets of groups at once: as if each had been added. */
static void test_divergences_with_one_more(void)
{
	const uint64_t wanted[] = {3, 9, 1, 4}, got[] = {5, 2, 0};
	const uint64_t more[] = {0, 1, 2, 3, 8, 16, 27, UINT64_C(1) << 63};
	const struct mix p = mix_of(wanted, 4);
	for (size_t have = 0; have <= 3; have++) {
		const struct mix q = mix_of(got, have);
		double divergences[COUNT_OF(more)];
		mix_divergences_with(&p, &q, 0.01, more, COUNT_OF(more), divergences);
		for (size_t i = 0; i < COUNT_OF(more); i++) {
			struct mix with = q;
			mix_add(&with, more[i]);
			CHECK_CLOSE(divergences[i], mix_divergence(&p, &with, 0.01), 1e-13);
		}
	}
}

static void test_distance_by_hand(void)
{
	const uint64_t a[] = {1, 1, 1, 2}, b[] = {2, 2, 4, 1}, c[] = {8}, none[] = {0};
	const struct mix p = mix_of(a, 4), q = mix_of(b, 4), other = mix_of(c, 1), nothing = mix_of(none, 1);
	const double expected = (0.75 * log(0.75 / 0.5) + 0.25 * log(0.25 / 0.375) + 0.25 * log(0.25 / 0.5) +
	                         0.5 * log(0.5 / 0.375) + 0.25 * log(0.25 / 0.125)) / 2;
	CHECK_CLOSE(mix_distance(&p, &q), expected, 1e-13);
	CHECK_CLOSE(mix_distance(&q, &p), expected, 1e-13);
	CHECK_CLOSE(mix_distance(&p, &p), 0, 1e-15);
	CHECK_CLOSE(mix_distance(&p, &other), log(2), 1e-13);
	CHECK_CLOSE(mix_distance(&p, &nothing), log(2) / 2, 1e-13);
	CHECK_CLOSE(mix_distance(&nothing, &p), 0, 0);
}

/* ---- levels of popularity ---- */

static struct popularity_levels levels_of(const uint32_t *popularity, uint32_t items)
{
	struct popularity_levels levels;
	struct error error = {0};
	CHECK_OK(popularity_levels_make(popularity, items, &levels, &error), &error);
	return levels;
}

static void test_levels_take_a_fifth_at_each_end(void)
{
	/* 100 in all: 18 is less than a fifth, 18 + 17 more; 0 + 1 + 4 + 6 + 10 = 21 from below. */
	const uint32_t popularity[] = {6, 17, 0, 18, 14, 1, 15, 4, 15, 10};
	const struct popularity_levels levels = levels_of(popularity, 10);
	CHECK_EQUAL_U64(levels.head_least, 17);
	CHECK_EQUAL_U64(levels.tail_most, 10);
	CHECK_EQUAL_U64(popularity_level_of(&levels, 17), POPULARITY_HEAD);
	CHECK_EQUAL_U64(popularity_level_of(&levels, 14), POPULARITY_MIDDLE);
	CHECK_EQUAL_U64(popularity_level_of(&levels, 10), POPULARITY_TAIL);
	CHECK_EQUAL_U64(popularity_level_of(&levels, 0), POPULARITY_TAIL);
}

static void test_equal_popularity_is_one_level(void)
{
	const uint32_t equal[] = {3, 3, 3, 0, 3}, none[] = {0, 0};
	struct popularity_levels levels = levels_of(equal, 5);
	CHECK_EQUAL_U64(popularity_level_of(&levels, 3), POPULARITY_HEAD);
	CHECK_EQUAL_U64(popularity_level_of(&levels, 0), POPULARITY_TAIL);
	levels = levels_of(none, 2);
	CHECK_EQUAL_U64(popularity_level_of(&levels, 0), POPULARITY_HEAD);
	(void)levels_of(none, 0);
}

/* ---- list measures ---- */

/* 4 users, of whom one knows nothing; 6 items known by 3, 2, 1, 0, 1, 1 of them. */
static struct interactions known_interactions(void)
{
	static const uint32_t users[] = {0, 0, 0, 1, 1, 2, 2, 2}, items[] = {0, 1, 4, 0, 1, 0, 2, 5};
	struct interactions known;
	struct error error = {0};
	CHECK_OK(interactions_from_pairs(&known, 4, 6, users, items, 8, &error), &error);
	return known;
}

static double listed(const char *name, const uint32_t *items, uint32_t count)
{
	static uint64_t genres[] = {1, 3, 4, 0, 2, 6};
	const struct catalogue catalogue = {.items = 6, .genres = genres};
	struct interactions known = known_interactions();
	struct list_background background;
	struct error error = {0};
	struct mix mix;
	CHECK_OK(list_background_make(&background, &known, &catalogue, &error), &error);
	CHECK_CLOSE(background.active_users, 3, 0);
	user_genres(&known, &catalogue, 0, &mix);
	const struct shown_list list = {items, count, &mix};
	const double value = list_measure_find(name)->value(&background, &list, count);
	interactions_release(&known);
	return value;
}

static void test_novelty(void)
{
	const uint32_t items[] = {0, 1, 3};
	/* of 3 users 3, 2 and (in the place of 0) 1 know them */
	CHECK_CLOSE(listed("novelty", items, 3), (0 + log2(1.5) + log2(3)) / 3, 1e-13);
	CHECK_CLOSE(listed("novelty", items, 0), 0, 0);
}

static void test_long_tail(void)
{
	/* Of 8 interactions a fifth is 1.6: the tail is 3, 2, 4 and 5, the head 0. */
	const uint32_t items[] = {0, 5, 3, 1, 2};
	CHECK_CLOSE(listed("longtail", items, 5), 0.6, 1e-15);
	CHECK_CLOSE(listed("longtail", items, 1), 0, 0);
}

static void test_diversity(void)
{
	const uint32_t items[] = {0, 1, 2, 3};
	/* cosine of {a} and {a, b} is 1 / sqrt 2, all others are 0 */
	CHECK_CLOSE(listed("ild", items, 2), 1 - sqrt(0.5), 1e-15);
	CHECK_CLOSE(listed("ILD", items, 4), (6 - sqrt(0.5)) / 6, 1e-15);
	CHECK_CLOSE(listed("ILD", items, 1), 0, 0);
}

static void test_miscalibration(void)
{
	/* User 0 knows {a}, {a, b} and {b}: half and half; shown are {c} and {a}. */
	const uint32_t items[] = {2, 0};
	const double expected = 0.5 * log(0.5 / (0.99 * 0.5 + 0.005)) + 0.5 * log(0.5 / 0.005);
	CHECK_CLOSE(listed("miscalibration", items, 2), expected, 1e-13);
	CHECK_CLOSE(listed("miscalibration", items, 0), log(100), 1e-12);
}

static void test_every_measure_is_found(void)
{
	for (size_t m = 0; m < list_measure_count; m++)
		CHECK(list_measure_find(list_measures[m].name) == &list_measures[m] && list_measures[m].formula[0]);
	for (size_t m = 0; m < exposure_measure_count; m++)
		CHECK(exposure_measure_find(exposure_measures[m].name) == &exposure_measures[m]);
	CHECK(!list_measure_find("HR") && !exposure_measure_find("novelty"));
}

/* ---- exposure ---- */

static double exposed(const char *name, const uint32_t *shown, uint32_t items)
{
	return exposure_measure_find(name)->value(shown, items);
}

static void test_exposure(void)
{
	const uint32_t even[] = {2, 2, 2, 2}, one[] = {0, 0, 0, 9}, some[] = {0, 1, 3}, none[] = {0, 0};
	CHECK_CLOSE(exposed("gini", even, 4), 0, 1e-15);
	CHECK_CLOSE(exposed("Gini", one, 4), 1, 1e-15);
	/* half the mean difference over the mean, by n - 1: (1 + 3 + 2) / (3 * 4 / 3) / 2 */
	CHECK_CLOSE(exposed("Gini", some, 3), 6 / (4.0 / 3 * 3) / 2, 1e-15);
	CHECK_CLOSE(exposed("Gini", none, 2), 0, 0);
	CHECK_CLOSE(exposed("Gini", one + 3, 1), 0, 0);
	CHECK_CLOSE(exposed("coverage", some, 3), 2.0 / 3, 1e-15);
	CHECK_CLOSE(exposed("coverage", none, 2), 0, 0);
}

/* ---- groups ---- */

static struct user_groups groups_of(double *keys, size_t users, size_t wanted)
{
	struct evaluation e = {.count = users, .keys = {[USER_ACTIVITY] = keys}};
	struct user_groups groups;
	struct error error = {0};
	CHECK_OK(user_groups_make(&groups, &e, USER_ACTIVITY, wanted, &error), &error);
	return groups;
}

static void test_groups_are_quantiles(void)
{
	double keys[] = {50, 10, 30, 20, 40, 60, 80, 70};
	static const uint8_t of[] = {2, 0, 1, 0, 1, 2, 3, 3};
	struct user_groups groups = groups_of(keys, 8, 4);
	CHECK_EQUAL_U64(groups.count, 4);
	CHECK(memcmp(groups.of, of, sizeof of) == 0);
	CHECK_CLOSE(groups.groups[2].from, 50, 0);
	CHECK_CLOSE(groups.groups[2].to, 60, 0);
	CHECK_EQUAL_U64(groups.groups[2].users, 2);
	user_groups_release(&groups);
}

static void test_equal_keys_stay_together(void)
{
	double keys[] = {1, 1, 1, 1, 1, 2, 9, 9}, same[] = {3, 3, 3}, two[] = {5, 4};
	struct user_groups groups = groups_of(keys, 8, 4);
	CHECK_EQUAL_U64(groups.count, 3);
	CHECK_EQUAL_U64(groups.groups[0].users, 5);
	CHECK_CLOSE(groups.groups[0].to, 1, 0);
	CHECK_EQUAL_U64(groups.groups[1].users, 1);
	CHECK_EQUAL_U64(groups.groups[2].users, 2);
	user_groups_release(&groups);
	groups = groups_of(same, 3, 4);
	CHECK_EQUAL_U64(groups.count, 1);
	CHECK_EQUAL_U64(groups.groups[0].users, 3);
	user_groups_release(&groups);
	groups = groups_of(two, 2, 16);
	CHECK_EQUAL_U64(groups.count, 2);
	user_groups_release(&groups);
}

/* Every user is in one group, and its key within the group's bounds. */
static void test_groups_hold_everybody(void)
{
	double keys[101];
	for (size_t u = 0; u < COUNT_OF(keys); u++)
		keys[u] = (double)(u * 37 % 23);
	for (size_t wanted = 1; wanted <= GROUPS_MAX; wanted++) {
		struct user_groups groups = groups_of(keys, COUNT_OF(keys), wanted);
		size_t users = 0;
		for (size_t g = 0; g < groups.count; g++)
			users += groups.groups[g].users;
		for (size_t u = 0; u < COUNT_OF(keys); u++)
			CHECK(groups.groups[groups.of[u]].from <= keys[u] && keys[u] <= groups.groups[groups.of[u]].to);
		CHECK_EQUAL_U64(users, COUNT_OF(keys));
		CHECK(groups.count <= wanted);
		user_groups_release(&groups);
	}
}

int main(void)
{
	RUN(test_an_item_counts_one_in_parts);
	RUN(test_divergence_by_hand);
	RUN(test_divergences_with_one_more);
	RUN(test_distance_by_hand);
	RUN(test_levels_take_a_fifth_at_each_end);
	RUN(test_equal_popularity_is_one_level);
	RUN(test_novelty);
	RUN(test_long_tail);
	RUN(test_diversity);
	RUN(test_miscalibration);
	RUN(test_every_measure_is_found);
	RUN(test_exposure);
	RUN(test_groups_are_quantiles);
	RUN(test_equal_keys_stay_together);
	RUN(test_groups_hold_everybody);
	return check_done();
}
