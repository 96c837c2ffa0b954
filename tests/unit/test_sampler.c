/* Negatives and candidates: never known, each epoch a permutation, drawn alike however they are cut, by the
 * right distribution, and exact for users who have seen nearly everything. */
#include "check.h"
#include "mem.h"
#include "rng.h"
#include "sampler_internal.h"

enum { USERS = 40, ITEMS = 90, RATIO = 4 };

/* User u has seen the items i with (i * 7 + u * 3) % 10 < share. */
static struct interactions make_interactions(uint32_t users, uint32_t items, uint32_t share)
{
	static uint32_t pair_users[200000], pair_items[200000];
	struct interactions interactions;
	struct error error = {0};
	uint64_t count = 0;
	for (uint32_t u = 0; u < users; u++)
		for (uint32_t i = 0; i < items; i++)
			if ((i * 7 + u * 3) % 10 < share) {
				pair_users[count] = u;
				pair_items[count++] = i;
			}
	CHECK_OK(interactions_from_pairs(&interactions, users, items, pair_users, pair_items, count, &error), &error);
	return interactions;
}

static struct sampler make_sampler(const struct interactions *known, uint32_t ratio, double alpha)
{
	const struct sampler_options options = {.seed = 5, .ratio = ratio, .alpha = alpha};
	struct sampler sampler;
	struct error error = {0};
	CHECK_OK(sampler_init(&sampler, known, &options, &error), &error);
	return sampler;
}

static void test_an_epoch_is_a_permutation(void)
{
	struct interactions known = make_interactions(USERS, ITEMS, 3);
	struct sampler sampler = make_sampler(&known, RATIO, 0);
	uint8_t *seen = calloc(known.count, 1);
	uint64_t in_place = 0;
	for (uint32_t epoch = 0; seen && epoch < 3; epoch++) {
		memset(seen, 0, known.count);
		sampler_start_epoch(&sampler, epoch);
		for (uint64_t p = 0; p < known.count; p++) {
			uint32_t positive = sampler_positive_at(&sampler, p);
			CHECK(positive < known.count && seen[positive] == 0);
			seen[positive] = 1;
			in_place += positive == p;
		}
	}
	CHECK(in_place < 20); /* one a permutation is expected by chance */
	free(seen);
	sampler_release(&sampler);
	interactions_release(&known);
}

/* Sizes around powers of two, one and two included. */
static void test_permutations_of_every_size(void)
{
	for (uint32_t count = 1; count < 140; count++) {
		uint8_t seen[140] = {0};
		const uint32_t users[140] = {0};
		uint32_t items[140];
		struct interactions known;
		struct error error = {0};
		for (uint32_t i = 0; i < count; i++)
			items[i] = i;
		CHECK_OK(interactions_from_pairs(&known, 1, 200, users, items, count, &error), &error);
		struct sampler sampler = make_sampler(&known, 1, 0);
		for (uint32_t p = 0; p < count; p++) {
			uint32_t positive = sampler_positive_at(&sampler, p);
			CHECK(positive < count && !seen[positive]);
			seen[positive % 140] = 1;
		}
		sampler_release(&sampler);
		interactions_release(&known);
	}
}

static void test_negatives_are_never_known(void)
{
	for (int weighted = 0; weighted < 2; weighted++) {
		struct interactions known = make_interactions(USERS, ITEMS, 4);
		struct sampler sampler = make_sampler(&known, RATIO, weighted ? 0.75 : 0);
		const size_t count = (size_t)known.count;
		uint32_t *users = malloc(count * sizeof *users), *items = malloc(count * (RATIO + 1) * sizeof *items);
		if (!users || !items)
			abort();
		CHECK_EQUAL_U64(sampler_fill(&sampler, 0, count, users, items), 0);
		for (size_t g = 0; g < count; g++) {
			CHECK(interactions_has(&known, users[g], items[g * (RATIO + 1)]));
			for (size_t j = 1; j <= RATIO; j++)
				CHECK(!interactions_has(&known, users[g], items[g * (RATIO + 1) + j]));
		}
		free(users);
		free(items);
		sampler_release(&sampler);
		interactions_release(&known);
	}
}

static void test_draws_do_not_depend_on_cuts_or_bitmap(void)
{
	struct interactions known = make_interactions(USERS, ITEMS, 3);
	struct sampler sampler = make_sampler(&known, RATIO, 0);
	enum { COUNT = 300 };
	uint32_t users[COUNT], items[COUNT * (RATIO + 1)], some_users[COUNT], some_items[COUNT * (RATIO + 1)];
	sampler_start_epoch(&sampler, 2);
	sampler_fill(&sampler, 50, 50 + COUNT, users, items);
	uint32_t *bitmap = sampler.bitmap;
	CHECK(bitmap != NULL);
	sampler.bitmap = NULL;
	for (uint64_t at = 0; at < COUNT; at += 37)
		sampler_fill(&sampler, 50 + at, at + 37 < COUNT ? 50 + at + 37 : 50 + COUNT, some_users + at,
		             some_items + at * (RATIO + 1));
	sampler.bitmap = bitmap;
	CHECK(memcmp(users, some_users, sizeof users) == 0);
	CHECK(memcmp(items, some_items, sizeof items) == 0);
	sampler_start_epoch(&sampler, 3);
	sampler_fill(&sampler, 50, 50 + COUNT, some_users, some_items);
	CHECK(memcmp(items, some_items, sizeof items) != 0);
	sampler_release(&sampler);
	interactions_release(&known);
}

/* ---- every instruction set and every kind of membership against one positive after another ---- */

enum { MANY_USERS = 3000, MANY_ITEMS = 100000 }; /* too many for a bitmap */

/* Some users know a few items, some hundreds, user 5 all of the first 2,000, half of what small catalogues have. */
static struct interactions make_mixed(uint32_t users, uint32_t items)
{
	static uint32_t pair_users[240000], pair_items[240000];
	struct interactions interactions;
	struct error error = {0};
	uint64_t count = 0;
	struct rng rng;
	rng_init(&rng, 3, rng_stream(RNG_TEST, 1), users);
	for (uint32_t u = 0; u < users; u++) {
		const uint32_t some = u == 5 ? (items < 2000 ? items : 2000) : u % 7 == 0 ? items / 2 < 300 ? items / 2 : 300 : u % 40;
		for (uint32_t i = 0; i < some; i++) {
			pair_users[count] = u;
			pair_items[count++] = u == 5 ? i : (uint32_t)rng_below(&rng, items);
		}
	}
	CHECK_OK(interactions_from_pairs(&interactions, users, items, pair_users, pair_items, count, &error), &error);
	return interactions;
}

static uint64_t count_differences(const struct sampler *sampler, uint64_t begin, uint64_t end)
{
	const size_t group = 1 + (size_t)sampler->options.ratio, count = (size_t)(end - begin);
	uint32_t *users = malloc((count + 1) * sizeof *users), *items = malloc((count + 1) * group * sizeof *items);
	uint32_t *expected = malloc(group * sizeof *expected);
	uint64_t missing = 0, different = 0;
	if (!users || !items || !expected)
		abort();
	users[count] = items[count * group] = 12345; /* behind the last */
	const uint64_t told = sampler_fill(sampler, begin, end, users, items);
	for (size_t i = 0; i < count; i++) {
		const uint32_t positive = sampler_positive_at(sampler, begin + i);
		missing += sampler_fill_group(sampler, positive, expected);
		different += users[i] != interactions_user_at(sampler->known, positive);
		different += memcmp(expected, items + i * group, group * sizeof *items) != 0;
	}
	different += told != missing || users[count] != 12345 || items[count * group] != 12345;
	free(users);
	free(items);
	free(expected);
	return different;
}

static void compare_ways(const struct interactions *known, const char *isa)
{
	static const uint32_t ratios[] = {0, 1, 4, 7, 100};
	for (int weighted = 0; weighted < 2; weighted++)
		for (size_t r = 0; r < COUNT_OF(ratios); r++) {
			struct sampler sampler = make_sampler(known, ratios[r], weighted ? 0.75 : 0);
			CHECK((sampler.bitmap == NULL) == (known->items == MANY_ITEMS));
			CHECK((sampler.bitmap == NULL) == (sampler.filter != NULL));
			uint64_t different = 0;
			for (uint32_t epoch = 0; epoch < 3; epoch++) {
				struct sampler other = sampler;
				sampler_start_epoch(&other, epoch * 1000);
				different += count_differences(&other, epoch * 13, epoch * 13 + 130);
				different += count_differences(&other, known->count - 65 * epoch, known->count);
				other.bitmap = other.filter = NULL; /* by search alone */
				different += count_differences(&other, 7, 7 + 64 * epoch + 1);
			}
			if (different)
				printf("# %s: %" PRIu64 " differences, ratio %u\n", isa, different, ratios[r]);
			CHECK_EQUAL_U64(different, 0);
			sampler_release(&sampler);
		}
}

static void test_every_instruction_set_and_membership(void)
{
	struct interactions small = make_mixed(60, 700), large = make_mixed(MANY_USERS, MANY_ITEMS);
	for (int i = 0; i < ISA_COUNT; i++) {
		enum isa isa;
		struct error error = {0};
		CHECK(setenv("RECPIPE_ISA", isa_names[i], 1) == 0);
		if (isa_find("auto", &isa, &error) < 0)
			continue;
		compare_ways(&small, isa_names[i]);
		compare_ways(&large, isa_names[i]);
	}
	CHECK(unsetenv("RECPIPE_ISA") == 0);
	interactions_release(&small);
	interactions_release(&large);
}

/* A user who has seen all but two items gets just those; one who has seen all gets none. */
static void test_users_who_have_seen_nearly_everything(void)
{
	uint32_t users[2 * ITEMS], items[2 * ITEMS], count = 0;
	struct interactions known;
	struct error error = {0};
	for (uint32_t i = 0; i < ITEMS; i++) {
		users[count] = 0;
		items[count++] = i;
		if (i == 11 || i == 77)
			continue;
		users[count] = 1;
		items[count++] = i;
	}
	CHECK_OK(interactions_from_pairs(&known, 2, ITEMS, users, items, count, &error), &error);
	struct sampler sampler = make_sampler(&known, RATIO, 0);
	uint32_t got_users[2 * ITEMS], got_items[2 * ITEMS * (RATIO + 1)];
	uint64_t missing = sampler_fill(&sampler, 0, known.count, got_users, got_items);
	CHECK_EQUAL_U64(missing, (uint64_t)ITEMS * RATIO);
	bool low = false, high = false;
	for (uint64_t g = 0; g < known.count; g++)
		for (size_t j = 1; j <= RATIO; j++) {
			uint32_t item = got_items[g * (RATIO + 1) + j];
			CHECK(got_users[g] == 0 ? item == (uint32_t)NO_ITEM : item == 11 || item == 77);
			low = low || item == 11;
			high = high || item == 77;
		}
	CHECK(low && high);
	uint32_t candidates[10];
	const uint32_t truth[] = {11};
	CHECK_EQUAL_U64(sampler_candidates(&known, 0, NULL, 0, 1, 0, 10, candidates), 0);
	CHECK_EQUAL_U64(sampler_candidates(&known, 1, truth, 1, 1, 0, 10, candidates), 1);
	CHECK_EQUAL_U64(candidates[0], 77);
	sampler_release(&sampler);
	interactions_release(&known);
}

/* Chi-square against the expected shares: uniform over unseen items, and popularity^1 over them. */
static void test_distributions(void)
{
	enum { DRAWS = 40000, SMALL = 20 };
	uint32_t users[64], items[64], count = 0;
	struct interactions known;
	struct error error = {0};
	for (uint32_t u = 1; u <= 10; u++)        /* item i is known to 10 - i / 2 users */
		for (uint32_t i = 0; i < 2 * (11 - u) && count < 64; i += 2) {
			users[count] = u;
			items[count++] = i;
		}
	users[count] = 0;
	items[count++] = 0;
	CHECK_OK(interactions_from_pairs(&known, 11, SMALL, users, items, count, &error), &error);
	for (int weighted = 0; weighted < 2; weighted++) {
		struct sampler sampler = make_sampler(&known, 100, weighted);
		double observed[SMALL] = {0}, total = 0, chi = 0;
		uint32_t user = 0, drawn[101];
		size_t kinds = 0;
		for (uint32_t epoch = 0; total < DRAWS; epoch++) {
			sampler_start_epoch(&sampler, epoch);
			for (uint64_t p = 0; p < known.count; p++) {
				sampler_fill(&sampler, p, p + 1, &user, drawn);
				for (size_t j = 1; user == 0 && j <= 100; j++, total++)
					observed[drawn[j]]++;
			}
		}
		double weight_sum = 0;
		for (uint32_t i = 1; i < SMALL; i++)
			weight_sum += weighted ? known.popularity[i] : 1;
		for (uint32_t i = 1; i < SMALL; i++) {
			double expected = total * (weighted ? known.popularity[i] : 1) / weight_sum;
			if (expected == 0) {
				CHECK_CLOSE(observed[i], 0, 0);
				continue;
			}
			chi += (observed[i] - expected) * (observed[i] - expected) / expected;
			kinds++;
		}
		CHECK(observed[0] == 0);
		CHECK(chi < (double)kinds + 4 * sqrt(2.0 * (double)kinds)); /* four deviations */
		sampler_release(&sampler);
	}
	interactions_release(&known);
}

static void test_candidates(void)
{
	for (uint32_t share = 1; share < 10; share++) {
		struct interactions known = make_interactions(USERS, ITEMS, share);
		const uint32_t truth[] = {3, 40, 41};
		for (uint32_t user = 0; user < USERS; user++) {
			uint32_t items[60], again[60], other[60], unseen = 0;
			for (uint32_t i = 0; i < ITEMS; i++)
				unseen += !interactions_has(&known, user, i) && i != 3 && i != 40 && i != 41;
			size_t count = sampler_candidates(&known, user, truth, 3, 9, 0, 60, items);
			CHECK_EQUAL_U64(count, unseen < 60 ? unseen : 60);
			for (size_t i = 0; i < count; i++) {
				CHECK(!interactions_has(&known, user, items[i]) && items[i] != 3 && items[i] != 40);
				CHECK(i == 0 || items[i - 1] < items[i]);
			}
			CHECK_EQUAL_U64(sampler_candidates(&known, user, truth, 3, 9, 0, 60, again), count);
			CHECK(memcmp(items, again, count * sizeof *items) == 0);
			size_t fewer = count / 2;
			CHECK_EQUAL_U64(sampler_candidates(&known, user, truth, 3, 9, 1, fewer, other), fewer);
		}
		interactions_release(&known);
	}
}

static void test_bad_settings_are_refused(void)
{
	struct interactions known = make_interactions(USERS, ITEMS, 3), empty;
	struct sampler sampler;
	struct error error = {0};
	const struct sampler_options too_many = {.ratio = SAMPLER_RATIO_MAX + 1}, fine = {.ratio = 1};
	CHECK(sampler_init(&sampler, &known, &too_many, &error) == -1);
	CHECK_EQUAL_U64(error.code, CODE_USAGE);
	sampler_release(&sampler);
	error = (struct error){0};
	CHECK_OK(interactions_from_pairs(&empty, 3, 3, NULL, NULL, 0, &error), &error);
	CHECK(sampler_init(&sampler, &empty, &fine, &error) == -1);
	CHECK_EQUAL_U64(error.code, CODE_DATA);
	sampler_release(&sampler);
	interactions_release(&known);
	interactions_release(&empty);
}

int main(void)
{
	RUN(test_an_epoch_is_a_permutation);
	RUN(test_permutations_of_every_size);
	RUN(test_negatives_are_never_known);
	RUN(test_draws_do_not_depend_on_cuts_or_bitmap);
	RUN(test_every_instruction_set_and_membership);
	RUN(test_users_who_have_seen_nearly_everything);
	RUN(test_distributions);
	RUN(test_candidates);
	RUN(test_bad_settings_are_refused);
	return check_done();
}
