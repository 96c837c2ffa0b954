/* Streams of lists in step: every list once and in order, whatever the batches and threads, and whose error is told. */
#include "list_streams.h"

#include <stdatomic.h>

#include "check.h"
#include "folder.h"

enum { PEOPLE = 500, THINGS = 50, STREAMS = 3, NEVER = -1 };

static const char digests[][33] = {"0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210"};

/* What list n of stream s holds; some are empty. */
static uint32_t entries_of(uint32_t n, uint32_t s)
{
	return (n * 7 + s) % 5;
}

static void make_lists(const char *path, uint32_t s, uint32_t count, bool scored, size_t items_of)
{
	struct error error = {0};
	struct output output = {.fd = -1};
	struct stream_writer writer = {0};
	struct stream_info info = {.users.count = PEOPLE, .items.count = THINGS};
	struct list list = {0};
	memcpy(info.items.digest, digests[items_of], sizeof digests[items_of]);
	json_t *metadata = records_metadata("test", "", &info, &error);
	json_object_set_new(metadata, "scored", json_boolean(scored));
	CHECK_OK(list_reserve(&list, 5, &error), &error);
	CHECK_OK(output_open(&output, path, &error), &error);
	CHECK_OK(stream_writer_open(&writer, &output, STREAM_LISTS, metadata, false, &error), &error);
	for (uint32_t n = 0; n < count; n++) {
		list.user = (n * 3 + 1) % PEOPLE;
		list.count = entries_of(n, s);
		list.relevant_total = 0;
		for (uint32_t i = 0; i < list.count; i++) {
			list.items[i] = (n + i) % THINGS;
			list.scores[i] = (float)(n * 10 + s);
			list.popularity[i] = i;
			list.relevant[i] = 0;
		}
		CHECK_OK(list_write(&writer, &list, &error), &error);
	}
	CHECK_OK(stream_writer_finish(&writer, &error), &error);
	CHECK_OK(output_commit(&output, &error), &error);
	stream_writer_release(&writer);
	output_release(&output);
	list_release(&list);
	json_decref(metadata);
}

/* What is done with the lists: they must be the ones that were written, each once; some fail. */
struct seen {
	struct list_streams streams;
	atomic_uint works[PEOPLE];
	uint32_t then;                /* lists done with, in order */
	int fails[2], then_fails;     /* list numbers, or NEVER */
};

static int work(void *context, size_t n, size_t worker, struct error *error)
{
	struct seen *seen = context;
	const uint32_t number = (uint32_t)(seen->then / LIST_BATCH * LIST_BATCH + n);
	CHECK(worker < 3);
	atomic_fetch_add(&seen->works[number], 1);
	for (size_t s = 0; s < seen->streams.count; s++) {
		const struct list *list = list_of(&seen->streams, n, s);
		const bool right = list->user == (number * 3 + 1) % PEOPLE && list->count == entries_of(number, (uint32_t)s) &&
		                   (list->count == 0 || list->scores[0] == (float)(number * 10 + s));
		if (!right)
			return error_set(error, CODE_BUG, "list %u of stream %zu is another one", number, s);
	}
	for (size_t f = 0; f < COUNT_OF(seen->fails); f++)
		if ((int)number == seen->fails[f])
			return error_set(error, CODE_NO, "work %u", number);
	return 0;
}

static int then(void *context, size_t n, struct error *error)
{
	struct seen *seen = context;
	if (n != seen->then % LIST_BATCH)
		return error_set(error, CODE_BUG, "list %u is out of order", seen->then);
	if ((int)seen->then == seen->then_fails)
		return error_set(error, CODE_NO, "then %u", seen->then);
	seen->then++;
	return 0;
}

/* Runs over `lengths` lists. `failing`: two lists whose work fails, one whose end does. Expects `done` lists done with and
 * the message ("": no error). */
static void check_run_over(const uint32_t lengths[STREAMS], const int failing[3], uint32_t done, const char *message)
{
	static const char *const paths[STREAMS] = {"a.rec", "b.rec", "c.rec"};
	static const struct list_work all = {work, then};
	for (uint32_t s = 0; s < STREAMS; s++)
		make_lists(paths[s], s, lengths[s], true, 0);
	for (size_t threads = 1; threads <= 3; threads += 2) {
		struct seen seen = {.fails = {failing[0], failing[1]}, .then_fails = failing[2]};
		struct error error = {0};
		struct pool *pool = pool_new(threads, &error);
		for (uint32_t s = 0; s < STREAMS; s++)
			CHECK_OK(list_streams_add(&seen.streams, paths[s], &error), &error);
		const int result = list_streams_run(&seen.streams, pool, &all, &seen, &error);
		CHECK(result == (*message ? -1 : 0));
		CHECK_EQUAL_TEXT(error.message, message);
		CHECK_EQUAL_U64(seen.then, done);
		for (uint32_t n = 0; n < done; n++)
			CHECK_EQUAL_U64(seen.works[n], 1);
		list_streams_release(&seen.streams);
		pool_free(pool);
	}
}

static const int none[3] = {NEVER, NEVER, NEVER};

static void test_every_list_once_and_in_order(void)
{
	static const uint32_t lengths[] = {0, 1, LIST_BATCH - 1, LIST_BATCH, LIST_BATCH + 1, 2 * LIST_BATCH, 333};
	for (size_t n = 0; n < COUNT_OF(lengths); n++)
		check_run_over((uint32_t[]){lengths[n], lengths[n], lengths[n]}, none, lengths[n], "");
}

static void test_streams_of_other_lengths(void)
{
	static const char *const b_first = "b.rec ends before a.rec does, expected lists of the same users";
	static const char *const a_first = "a.rec ends before b.rec does, expected lists of the same users";
	check_run_over((uint32_t[]){100, 90, 100}, none, 90, b_first);
	check_run_over((uint32_t[]){100, LIST_BATCH, 100}, none, LIST_BATCH, b_first);
	check_run_over((uint32_t[]){LIST_BATCH, LIST_BATCH + 1, LIST_BATCH}, none, LIST_BATCH, a_first);
	check_run_over((uint32_t[]){0, 1, 0}, none, 0, a_first);
	check_run_over((uint32_t[]){3, 3, 0}, none, 0, "c.rec ends before a.rec does, expected lists of the same users");
}

/* The error is that of the first list, whatever failed there; those before it are done. */
static void test_the_first_error_is_told(void)
{
	static const uint32_t all[] = {200, 200, 200}, cut[] = {200, 200, 50};
	check_run_over(all, (int[]){70, 90, NEVER}, 70, "work 70");
	check_run_over(all, (int[]){90, 70, NEVER}, 70, "work 70");
	check_run_over(all, (int[]){0, 150, NEVER}, 0, "work 0");
	check_run_over(all, (int[]){80, NEVER, 75}, 75, "then 75");
	check_run_over(all, (int[]){75, NEVER, 80}, 75, "work 75");
	check_run_over(cut, (int[]){40, NEVER, NEVER}, 40, "work 40");
	check_run_over(cut, (int[]){60, NEVER, NEVER}, 50, "c.rec ends before a.rec does, expected lists of the same users");
	check_run_over(cut, (int[]){NEVER, NEVER, 49}, 49, "then 49");
}

static void check_added(const char *path, int code, const char *message)
{
	struct list_streams streams = {0};
	struct error error = {0};
	CHECK_OK(list_streams_add(&streams, "good.rec", &error), &error);
	CHECK(list_streams_add(&streams, path, &error) < 0);
	CHECK(error.code == code && strstr(error.message, message));
	if (error.code != code || !strstr(error.message, message))
		printf("#   %d %s\n", error.code, error.message);
	list_streams_release(&streams);
}

static void test_streams_that_are_refused(void)
{
	struct list_streams streams = {0};
	struct error error = {0};
	make_lists("good.rec", 0, 3, true, 0);
	make_lists("unscored.rec", 0, 3, false, 0);
	make_lists("others.rec", 0, 3, true, 1);
	check_added("unscored.rec", CODE_DATA, "unscored.rec: its lists have no scores yet, expected the output of score");
	check_added("others.rec", CODE_DATA, "good.rec and others.rec are of different items");
	check_added("nothing.rec", CODE_NO_INPUT, "nothing.rec");
	for (size_t s = 0; s < LIST_STREAMS_MAX; s++)
		CHECK_OK(list_streams_add(&streams, "good.rec", &error), &error);
	CHECK(list_streams_add(&streams, "good.rec", &error) < 0 && error.code == CODE_USAGE);
	CHECK_EQUAL_TEXT(error.message, "more than 17 streams of lists");
	list_streams_release(&streams);
}

int main(void)
{
	RUN_IN_FOLDER(test_every_list_once_and_in_order);
	RUN_IN_FOLDER(test_streams_of_other_lengths);
	RUN_IN_FOLDER(test_the_first_error_is_told);
	RUN_IN_FOLDER(test_streams_that_are_refused);
	return check_done();
}
