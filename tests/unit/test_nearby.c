/* Items near one another in time: counts and weights against a reference that asks every user about every pair. */
#include "nearby.h"

#include "make_similarity.h"

enum { USERS = 31, ITEMS = 29 };

/* Dense enough that histories are long, with few times so that many tie; user 4 has nothing, item 7 nobody. Times go
 * against the ids for some users. */
static struct histories made_histories(void)
{
	struct error error = {0};
	struct output output = {.fd = -1};
	struct stream_writer writer = {0};
	struct histories histories;
	struct stream_info info = {.users.count = USERS, .items.count = ITEMS}, found = {0};
	json_t *metadata = records_metadata("test", "", &info, &error);
	CHECK_OK(output_open(&output, "events", &error), &error);
	CHECK_OK(stream_writer_open(&writer, &output, STREAM_INTERACTIONS, metadata, false, &error), &error);
	for (uint32_t user = 0; user < USERS; user++)
		for (uint32_t item = 0; item < ITEMS; item++) {
			const uint32_t mixed = (user * 7919u + item * 104729u) % 1009u;
			const struct interaction one = {user, item, 1, (int64_t)(mixed * 31u % 13u)};
			if (user != 4 && item != 7 && mixed % 2 == 0)
				CHECK_OK(interaction_write(&writer, &one, &error), &error);
		}
	CHECK_OK(stream_writer_finish(&writer, &error), &error);
	CHECK_OK(output_commit(&output, &error), &error);
	CHECK_OK(histories_read(&histories, (const char *const[]){"events"}, 1, "events", &found, &error), &error);
	CHECK(histories.interactions.count > USERS * ITEMS / 3);
	stream_writer_release(&writer);
	output_release(&output);
	stream_info_release(&found);
	json_decref(metadata);
	return histories;
}

/* How many of the user's pairs come before pair `k`; -1 when there is no such item. */
static int64_t place_of(const struct histories *histories, uint32_t user, uint32_t item)
{
	const uint64_t begin = histories->interactions.offsets[user];
	size_t count, k = 0;
	const uint32_t *items = interactions_of(&histories->interactions, user, &count);
	const int64_t *times = histories->times + begin;
	int64_t place = 0;
	while (k < count && items[k] != item)
		k++;
	for (size_t other = 0; k < count && other < count; other++)
		place += times[other] < times[k] || (times[other] == times[k] && items[other] < item);
	return k < count ? place : -1;
}

/* Users with i at most `before` places before j or `after` behind it. */
static uint32_t slow_count(const struct histories *histories, uint32_t j, uint32_t i, uint32_t before, uint32_t after)
{
	uint32_t users = 0;
	for (uint32_t user = 0; user < USERS; user++) {
		const int64_t of_j = place_of(histories, user, j), of_i = place_of(histories, user, i);
		if (of_j < 0 || of_i < 0 || i == j)
			continue;
		users += of_i < of_j ? of_j - of_i <= before : of_i - of_j <= after;
	}
	return users;
}

static void test_counts(void)
{
	static const uint32_t ranges[][2] = {{UINT32_MAX, UINT32_MAX}, {0, UINT32_MAX}, {UINT32_MAX, 0}, {1, 1}, {0, 3},
	                                     {5, 2}, {0, 0}};
	struct error error = {0};
	struct nearby nearby;
	struct histories histories = made_histories();
	uint32_t counts[ITEMS + 1], total = 0;
	CHECK_OK(nearby_init(&nearby, &histories, &error), &error);
	for (size_t r = 0; r < COUNT_OF(ranges); r++)
		for (uint32_t j = 0; j < ITEMS; j++) {
			memset(counts, 0xff, sizeof counts);
			nearby_row(&nearby, j, ranges[r][0], ranges[r][1], counts);
			for (uint32_t i = 0; i < ITEMS; i++) {
				CHECK_EQUAL_U64(counts[i], slow_count(&histories, j, i, ranges[r][0], ranges[r][1]));
				total += counts[i];
			}
			CHECK_EQUAL_U64(counts[ITEMS], UINT32_MAX);
		}
	CHECK(total > 1000);
	nearby_release(&nearby);
	histories_release(&histories);
}

static void check_weights(const struct histories *histories, struct similarity_options options)
{
	const uint32_t *popularity = histories->interactions.popularity, window = options.window ? options.window : ITEMS;
	float *all = made_square(histories, &options, NULL);
	options.top = ITEMS - 2; /* less than all: by columns */
	float *best = made_square(histories, &options, NULL);
	for (uint32_t j = 0; j < ITEMS; j++)
		for (uint32_t i = 0; i < ITEMS; i++) {
			const uint32_t count = slow_count(histories, j, i, options.forward ? 0 : window, window);
			const double length = sqrt((double)popularity[j] * popularity[i]);
			const float expected = count ? (float)(count / (length + options.shrinkage)) : 0;
			CHECK(all[j * ITEMS + i] == expected);
			CHECK(best[j * ITEMS + i] == expected); /* item 7 has none, so that nothing is cut off */
		}
	free(all);
	free(best);
}

static void test_weights(void)
{
	static const uint32_t windows[] = {0, 1, 4, 4000000000u};
	struct histories histories = made_histories();
	struct similarity_options options = plain;
	options.method = SIMILARITY_COSINE;
	for (size_t w = 0; w < COUNT_OF(windows); w++)
		for (int forward = 0; forward < 2; forward++) {
			options.window = windows[w];
			options.forward = forward;
			options.top = 0;
			check_weights(&histories, options);
			check_same(&histories, options);
			options.top = 5;
			check_same(&histories, options);
		}
	histories_release(&histories);
}

static void test_no_times(void)
{
	struct error error = {0};
	struct histories histories = made_histories();
	struct similarity_options options = plain;
	mem_free(histories.later);
	histories.later = NULL;
	options.method = SIMILARITY_COSINE;
	CHECK_OK(make("anywhere", &histories, &options, 1, &error), &error);
	options.forward = true;
	CHECK(make("never", &histories, &options, 1, &error) < 0);
	CHECK(error.code == CODE_DATA && strstr(error.message, "without times"));
	error = (struct error){0};
	options.forward = false;
	options.window = 2;
	CHECK(make("never", &histories, &options, 1, &error) < 0);
	CHECK(error.code == CODE_DATA);
	histories_release(&histories);
}

static void test_nobody(void)
{
	struct error error = {0};
	struct nearby nearby;
	uint32_t later = 0, counts[3] = {9, 9, 9};
	struct histories histories = {.later = NULL};
	CHECK_OK(interactions_from_pairs(&histories.interactions, 0, 3, NULL, NULL, 0, &error), &error);
	histories.later = &later;
	CHECK_OK(nearby_init(&nearby, &histories, &error), &error);
	nearby_row(&nearby, 1, 3, 3, counts);
	CHECK(counts[0] == 0 && counts[1] == 0 && counts[2] == 0);
	nearby_release(&nearby);
	interactions_release(&histories.interactions);
}

int main(void)
{
	RUN_IN_FOLDER(test_counts);
	RUN_IN_FOLDER(test_weights);
	RUN_IN_FOLDER(test_no_times);
	RUN(test_nobody);
	return check_done();
}
