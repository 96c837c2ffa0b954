/* Histories against a plain reference that asks every pair of records: doubles, ties in time, users without items,
 * several files, and files without times. */
#include "histories.h"

#include "check.h"
#include "folder.h"
#include "make_streams.h"

enum { PEOPLE = 23, THINGS = 17, EVENTS = 400, FILES = 3 };

struct made {
	struct interaction events[EVENTS * FILES];
	size_t count;
};

static int64_t time_unit = 86400;

/* Few times, so that many tie, some before 1970; user 5 and the last are nobody's. */
static struct interaction made_event(size_t i)
{
	struct interaction one = {
		.user = (uint32_t)(i * 2654435761u >> 7) % (PEOPLE - 1),
		.item = (uint32_t)(i * 40503u >> 3) % THINGS,
		.rating = 1,
		.time = ((int64_t)(i * 7919u % 29) - 5) * time_unit,
	};
	one.user = one.user == 5 ? 6 : one.user;
	return one;
}

/* Some or no events into a file; has_time: 1, 0, or -1 to say nothing of it. */
static void write_file(const char *path, struct made *made, size_t first, size_t count, int has_time)
{
	struct error error = {0};
	struct output output = {.fd = -1};
	struct stream_writer writer = {0};
	const struct stream_info info = {.users.count = PEOPLE, .items.count = THINGS};
	json_t *metadata = records_metadata("test", "", &info, &error);
	if (has_time >= 0)
		json_object_set_new(metadata, "has_time", json_boolean(has_time));
	CHECK_OK(output_open(&output, path, &error), &error);
	CHECK_OK(stream_writer_open(&writer, &output, STREAM_INTERACTIONS, metadata, false, &error), &error);
	for (size_t i = 0; i < count; i++) {
		const struct interaction one = made_event(first + i);
		CHECK_OK(interaction_write(&writer, &one, &error), &error);
		made->events[made->count++] = one;
	}
	CHECK_OK(stream_writer_finish(&writer, &error), &error);
	CHECK_OK(output_commit(&output, &error), &error);
	stream_writer_release(&writer);
	output_release(&output);
	json_decref(metadata);
}

/* The latest time of (user, item), or false. */
static bool latest(const struct made *made, uint32_t user, uint32_t item, int64_t *time)
{
	bool found = false;
	for (size_t i = 0; i < made->count; i++)
		if (made->events[i].user == user && made->events[i].item == item) {
			*time = found && *time > made->events[i].time ? *time : made->events[i].time;
			found = true;
		}
	return found;
}

static void check_user(const struct histories *histories, const struct made *made, uint32_t user)
{
	size_t count, at = 0;
	const uint32_t *items = interactions_of(&histories->interactions, user, &count);
	const uint64_t begin = histories->interactions.offsets[user];
	for (uint32_t item = 0; item < THINGS; item++) {
		int64_t time = 0, other = 0;
		uint32_t later = 0;
		if (!latest(made, user, item, &time))
			continue;
		for (uint32_t i = 0; i < THINGS; i++)
			later += latest(made, user, i, &other) && other > time;
		CHECK(at < count && items[at] == item);
		if (histories->times && at < count) {
			CHECK(histories->times[begin + at] == time);
			CHECK_EQUAL_U64(histories->later[begin + at], later);
		}
		at++;
	}
	CHECK_EQUAL_U64(at, count);
}

/* Reads what interactions_read_known reads and compares with it and with the reference. */
static void check_files(const struct made *made, const char *const *paths, size_t count, bool timed)
{
	struct error error = {0};
	struct histories histories;
	struct interactions plain;
	struct stream_info info = {0}, same = {0};
	CHECK_OK(interactions_read_known(&plain, paths, count, "it", &same, NULL, &error), &error);
	CHECK_OK(histories_read(&histories, paths, count, "it", &info, &error), &error);
	const struct interactions *got = &histories.interactions;
	CHECK(info.users.count == PEOPLE && info.items.count == THINGS);
	CHECK(timed == (histories.times != NULL) && timed == (histories.later != NULL));
	CHECK(got->users == plain.users && got->items == plain.items);
	CHECK_EQUAL_U64(got->count, plain.count);
	CHECK_EQUAL_U64(got->doubles, plain.doubles);
	CHECK(memcmp(got->offsets, plain.offsets, (PEOPLE + 1) * sizeof *plain.offsets) == 0);
	CHECK(memcmp(got->item_ids, plain.item_ids, plain.count * sizeof *plain.item_ids) == 0);
	CHECK(memcmp(got->popularity, plain.popularity, THINGS * sizeof *plain.popularity) == 0);
	for (uint32_t user = 0; user < PEOPLE; user++)
		check_user(&histories, made, user);
	interactions_release(&plain);
	histories_release(&histories);
	CHECK(!histories.times && !histories.later && !histories.interactions.offsets);
	stream_info_release(&info);
	stream_info_release(&same);
}

static void test_one_file_and_several(void)
{
	static const char *const paths[FILES] = {"a", "b", "c"};
	struct made made = {.count = 0};
	write_file("a", &made, 0, EVENTS, 1);
	check_files(&made, paths, 1, true);
	write_file("b", &made, EVENTS / 2, EVENTS, -1); /* a file that does not say has times */
	check_files(&made, paths, 2, true);
	write_file("c", &made, 5 * EVENTS, EVENTS, 1);
	check_files(&made, paths, 3, true);
}

/* Times that are too far apart to be sorted as numbers with a place behind them. */
static void test_times_far_apart(void)
{
	struct made made = {.count = 0};
	time_unit = INT64_MAX / 24;
	write_file("a", &made, 0, EVENTS, 1);
	check_files(&made, (const char *const[]){"a"}, 1, true);
	time_unit = 86400;
}

static void test_few_and_no_pairs(void)
{
	static const char *const paths[FILES] = {"none", "few", "none"};
	struct made made = {.count = 0};
	write_file("none", &made, 0, 0, 1);
	check_files(&made, paths, 1, true);
	write_file("few", &made, 9, 4, 1);
	check_files(&made, paths, 3, true);
}

static void test_files_without_times(void)
{
	static const char *const paths[FILES] = {"timed", "untimed", "timed"};
	struct made made = {.count = 0};
	write_file("timed", &made, 0, EVENTS, 1);
	write_file("untimed", &made, 3 * EVENTS, EVENTS, 0);
	check_files(&made, paths, 2, false);
	check_files(&made, paths, 3, false);
}

static void test_no_files(void)
{
	struct error error = {0};
	struct histories histories;
	struct stream_info info = {0};
	CHECK_OK(histories_read(&histories, NULL, 0, "it", &info, &error), &error);
	CHECK(histories.interactions.count == 0 && !histories.times && !histories.later);
	histories_release(&histories);
}

/* More events than a chunk holds. */
static void test_many_events(void)
{
	enum { MANY = 200000 };
	struct error error = {0};
	struct output output = {.fd = -1};
	struct stream_writer writer = {0};
	struct histories histories;
	struct stream_info info = {.users.count = 7, .items.count = MANY}, found = {0};
	json_t *metadata = records_metadata("test", "", &info, &error);
	CHECK_OK(output_open(&output, "many", &error), &error);
	CHECK_OK(stream_writer_open(&writer, &output, STREAM_INTERACTIONS, metadata, false, &error), &error);
	for (uint32_t i = 0; i < MANY; i++) { /* later ids are earlier, two at a time */
		const struct interaction one = {i % 7, i, 1, MANY - i / 14};
		CHECK_OK(interaction_write(&writer, &one, &error), &error);
	}
	CHECK_OK(stream_writer_finish(&writer, &error), &error);
	CHECK_OK(output_commit(&output, &error), &error);
	CHECK_OK(histories_read(&histories, (const char *const[]){"many"}, 1, "many", &found, &error), &error);
	CHECK_EQUAL_U64(histories.interactions.count, MANY);
	for (uint32_t user = 0, wrong = 0; user < 7; user++) {
		size_t count;
		const uint32_t *items = interactions_of(&histories.interactions, user, &count);
		const uint64_t begin = histories.interactions.offsets[user];
		for (uint32_t k = 0; k < count; k++)
			wrong += items[k] != user + 7 * k || histories.times[begin + k] != MANY - items[k] / 14 ||
			         histories.later[begin + k] != k / 2 * 2;
		CHECK_EQUAL_U64(wrong, 0);
	}
	histories_release(&histories);
	stream_info_release(&found);
	stream_writer_release(&writer);
	output_release(&output);
	json_decref(metadata);
}

static void check_refused(const char *const *paths, size_t count, int code, const char *text)
{
	struct error error = {0};
	struct histories histories;
	struct stream_info info = {0};
	CHECK(histories_read(&histories, paths, count, "it", &info, &error) < 0);
	CHECK(error.code == code && strstr(error.message, text));
	CHECK(!histories.interactions.offsets && !histories.times && !histories.later);
	stream_info_release(&info);
}

static void test_refusals(void)
{
	struct made made = {.count = 0};
	write_file("good", &made, 0, 20, 1);
	make_stream("other", STREAM_INTERACTIONS, false);
	make_stream("lists", STREAM_LISTS, false);
	check_refused((const char *const[]){"nothing"}, 1, CODE_NO_INPUT, "nothing");
	check_refused((const char *const[]){"lists"}, 1, CODE_DATA, "a stream of lists, expected interactions");
	check_refused((const char *const[]){"good", "other"}, 2, CODE_DATA, "other");
	FILE *file = fopen("good", "r+b");
	CHECK(file && fseek(file, -40, SEEK_END) == 0 && ftruncate(fileno(file), ftell(file)) == 0);
	CHECK(file && fclose(file) == 0);
	check_refused((const char *const[]){"other", "good"}, 2, CODE_DATA, "good");
	check_refused((const char *const[]){"good"}, 1, CODE_DATA, "good: byte ");
}

int main(void)
{
	RUN_IN_FOLDER(test_one_file_and_several);
	RUN_IN_FOLDER(test_times_far_apart);
	RUN_IN_FOLDER(test_few_and_no_pairs);
	RUN_IN_FOLDER(test_files_without_times);
	RUN_IN_FOLDER(test_no_files);
	RUN_IN_FOLDER(test_many_events);
	RUN_IN_FOLDER(test_refusals);
	return check_done();
}
