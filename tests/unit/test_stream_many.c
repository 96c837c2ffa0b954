/* Records by the thousand, blocks written by a thread, headers put in later: the same bytes and the same errors as one
 * record after another, written by the caller, with the header known from the start. */
#include <fcntl.h>
#include <sys/stat.h>
#include <zlib.h>

#include "checksum.h"
#include "conveyor.h"
#include "make_streams.h"
#include "mem.h"
#include "sealed.h"

enum { MANY = 200000 }; /* four blocks of interactions */

static uint32_t user_of(uint32_t i) { return i * 2654435761u % USERS; }
static uint32_t item_of(uint32_t i) { return i * 40503u % ITEMS; }

/* ---- writing ---- */

struct way {
	bool many, thread, compress;
};

static void write_interactions(const char *path, struct way way, const json_t *first, const json_t *metadata)
{
	struct error error = {0};
	struct output output;
	struct stream_writer writer;
	static uint32_t users[MANY], items[MANY];
	static float ratings[MANY];
	static int64_t times[MANY];
	const struct interaction_columns columns = {users, items, ratings, times};
	for (uint32_t i = 0; i < MANY; i++) {
		users[i] = user_of(i);
		items[i] = item_of(i);
		ratings[i] = (float)(i % 11) / 2;
		times[i] = (int64_t)i * -12345678901;
	}
	CHECK_OK(output_open(&output, path, &error), &error);
	CHECK_OK(stream_writer_open(&writer, &output, STREAM_INTERACTIONS, first, way.compress, &error), &error);
	if (way.thread)
		CHECK_OK(stream_writer_start_thread(&writer, &error), &error);
	if (way.many)
		CHECK_OK(interactions_write(&writer, &columns, MANY, &error), &error);
	for (uint32_t i = 0; !way.many && i < MANY; i++) {
		const struct interaction one = {users[i], items[i], ratings[i], times[i]};
		if (interaction_write(&writer, &one, &error) < 0)
			CHECK(false);
	}
	CHECK_OK(stream_writer_finish(&writer, &error), &error);
	CHECK_EQUAL_U64(writer.records, MANY);
	if (first != metadata)
		CHECK_OK(stream_writer_restate(&writer, STREAM_INTERACTIONS, metadata, &error), &error);
	CHECK_OK(output_commit(&output, &error), &error);
	stream_writer_release(&writer);
	output_release(&output);
}

static bool equal_files(const char *a, const char *b)
{
	struct bytes x = bytes_read(a), y = bytes_read(b);
	const bool equal = x.size == y.size && memcmp(x.at, y.at, x.size) == 0;
	free(x.at);
	free(y.at);
	return equal;
}

static void test_every_way_gives_the_same_bytes(void)
{
	json_t *metadata = known_metadata(STREAM_INTERACTIONS);
	for (int compress = 0; compress < 2; compress++) {
		write_interactions("plain", (struct way){.compress = compress}, metadata, metadata);
		for (int way = 1; way < 4; way++) {
			write_interactions("other", (struct way){way & 1, way & 2, compress}, metadata, metadata);
			CHECK(equal_files("plain", "other"));
		}
	}
	json_decref(metadata);
}

static void test_headers_put_in_later(void)
{
	static const int lengths[] = {0, 1, 5, 300000};
	json_t *metadata = known_metadata(STREAM_INTERACTIONS);
	write_interactions("plain", (struct way){.many = true}, metadata, metadata);
	for (size_t i = 0; i < COUNT_OF(lengths); i++)
		for (int shorter = 0; shorter < 2; shorter++) {
			/* Another text in the metadata: shorter or longer than the one that is to be there. */
			char *text = calloc((size_t)lengths[i] + 100, 1);
			if (!text)
				abort();
			memset(text, 'x', (size_t)lengths[i] + 20);
			json_t *first = json_deep_copy(metadata), *last = json_deep_copy(metadata);
			json_object_set_new(first, "note", json_string(shorter ? text : "twenty characters ok"));
			json_object_set_new(last, "note", json_string(shorter ? "twenty characters ok" : text));
			write_interactions("expected", (struct way){.many = true}, last, last);
			write_interactions("other", (struct way){true, i % 2 == 0, false}, first, last);
			CHECK(equal_files("expected", "other"));
			json_decref(first);
			json_decref(last);
			free(text);
		}
	json_decref(metadata);
}

static void test_no_header_later_for_what_is_no_file(void)
{
	struct error error = {0};
	struct output output;
	struct stream_writer writer;
	CHECK_OK(output_open(&output, "/dev/null", &error), &error);
	CHECK_OK(stream_writer_open(&writer, &output, STREAM_LISTS, NULL, false, &error), &error);
	CHECK_OK(stream_writer_finish(&writer, &error), &error);
	CHECK(stream_writer_restate(&writer, STREAM_LISTS, NULL, &error) == -1);
	CHECK_EQUAL_U64(error.code, CODE_BUG);
	stream_writer_release(&writer);
	output_release(&output);
}

/* What fails in the thread is told by the caller's next calls, once and with its cause. */
static void test_full_disk_behind(void)
{
	struct error error = {0};
	struct output output;
	struct stream_writer writer;
	int result = 0;
	CHECK_OK(output_open(&output, "/dev/full", &error), &error);
	CHECK_OK(stream_writer_open(&writer, &output, STREAM_LISTS, NULL, false, &error), &error);
	CHECK_OK(stream_writer_start_thread(&writer, &error), &error);
	for (int i = 0; result == 0 && i < 8; i++)
		result = stream_reserve(&writer, STREAM_BLOCK_MAX, &error) ? 0 : -1;
	CHECK(result < 0 && error.code == CODE_IO && strstr(error.message, "/dev/full: cannot write"));
	struct error again = {0};
	CHECK(stream_writer_finish(&writer, &again) < 0 && again.code == CODE_IO);
	stream_writer_release(&writer);
	output_release(&output);
}

/* Released while the thread waits for a pipe that nobody reads. */
static void test_released_while_writing(void)
{
	struct error error = {0};
	struct output output;
	struct stream_writer writer;
	CHECK(mkfifo("pipe", 0600) == 0);
	const int reader = open("pipe", O_RDWR);
	CHECK_OK(output_open(&output, "pipe", &error), &error);
	CHECK_OK(stream_writer_open(&writer, &output, STREAM_LISTS, NULL, false, &error), &error);
	CHECK_OK(stream_writer_start_thread(&writer, &error), &error);
	for (int i = 0; i < 3; i++)
		CHECK(stream_reserve(&writer, STREAM_BLOCK_MAX, &error) != NULL);
	stream_writer_release(&writer);
	output_release(&output);
	CHECK(close(reader) == 0);
}

/* ---- reading ---- */

static void test_interactions_taken_by_any_number(void)
{
	static const size_t steps[] = {1, 7, 4096, 60000, MANY + 5};
	static uint32_t users[MANY + 5], items[MANY + 5];
	static float ratings[MANY + 5];
	static int64_t times[MANY + 5];
	json_t *metadata = known_metadata(STREAM_INTERACTIONS);
	write_interactions("s", (struct way){.many = true, .compress = true}, metadata, metadata);
	for (size_t s = 0; s < COUNT_OF(steps); s++) {
		struct error error = {0};
		struct stream_reader reader;
		struct stream_info info;
		uint64_t wrong = 0, seen = 0;
		ptrdiff_t got;
		const struct interaction_columns columns = {users, items, s % 2 ? ratings : NULL, s % 2 ? times : NULL};
		CHECK_OK(stream_reader_open(&reader, "s", STREAM_INTERACTIONS, &error), &error);
		CHECK_OK(records_info(&reader, &info, &error), &error);
		while ((got = interactions_take(&reader, &info, &columns, steps[s], &error)) > 0) {
			for (ptrdiff_t k = 0; k < got; k++, seen++) {
				wrong += users[k] != user_of((uint32_t)seen) || items[k] != item_of((uint32_t)seen);
				wrong += s % 2 && (ratings[k] != (float)(seen % 11) / 2 || times[k] != (int64_t)seen * -12345678901);
			}
			CHECK((size_t)got <= steps[s]);
		}
		CHECK(got == 0 && seen == MANY && wrong == 0);
		stream_info_release(&info);
		stream_reader_release(&reader);
	}
	json_decref(metadata);
}

static void test_samples_many_at_a_time(void)
{
	enum { SAMPLES = 70000 };
	static uint32_t users[SAMPLES], items[SAMPLES * (1 + RATIO)], got_users[SAMPLES], got_items[SAMPLES * (1 + RATIO)];
	struct error error = {0};
	struct output outputs[2];
	struct stream_writer writers[2];
	json_t *metadata = known_metadata(STREAM_SAMPLES);
	for (uint32_t i = 0; i < SAMPLES; i++)
		users[i] = known_sample(i, items + (size_t)i * (1 + RATIO));
	for (int w = 0; w < 2; w++) {
		CHECK_OK(output_open(&outputs[w], w ? "many" : "one", &error), &error);
		CHECK_OK(stream_writer_open(&writers[w], &outputs[w], STREAM_SAMPLES, metadata, false, &error), &error);
	}
	for (uint32_t i = 0; i < SAMPLES; i++)
		if (sample_write(&writers[0], users[i], items + (size_t)i * (1 + RATIO), RATIO, &error) < 0)
			CHECK(false);
	CHECK_OK(samples_write(&writers[1], users, items, RATIO, SAMPLES, &error), &error);
	for (int w = 0; w < 2; w++) {
		CHECK_OK(stream_writer_finish(&writers[w], &error), &error);
		CHECK_OK(output_commit(&outputs[w], &error), &error);
		stream_writer_release(&writers[w]);
		output_release(&outputs[w]);
	}
	CHECK(equal_files("one", "many"));
	struct stream_reader reader;
	struct stream_info info;
	size_t have = 0;
	ptrdiff_t got;
	CHECK_OK(stream_reader_open(&reader, "many", STREAM_SAMPLES, &error), &error);
	CHECK_OK(records_info(&reader, &info, &error), &error);
	while ((got = samples_take(&reader, &info, RATIO, 1 + have % 999 < SAMPLES - have ? 1 + have % 999 : SAMPLES - have + 1,
	                           got_users + have, got_items + have * (1 + RATIO), &error)) > 0)
		have += (size_t)got;
	CHECK(got == 0 && have == SAMPLES);
	CHECK(memcmp(users, got_users, sizeof users) == 0 && memcmp(items, got_items, sizeof items) == 0);
	stream_info_release(&info);
	stream_reader_release(&reader);
	json_decref(metadata);
}

/* A record with an id that does not exist is told by its number, as one by one. */
static void bad_record(uint32_t at, bool of_samples, bool item)
{
	const enum stream_kind kind = of_samples ? STREAM_SAMPLES : STREAM_INTERACTIONS;
	struct error error = {0}, expected = {0};
	struct output output;
	struct stream_writer writer;
	json_t *metadata = known_metadata(kind);
	CHECK_OK(output_open(&output, "bad", &error), &error);
	CHECK_OK(stream_writer_open(&writer, &output, kind, metadata, false, &error), &error);
	for (uint32_t i = 0; i < 100; i++) {
		uint32_t items[1 + RATIO] = {1, 2, 3, (uint32_t)NO_ITEM}, user = i == at && !item ? USERS : 3;
		items[of_samples ? 2 : 0] = i == at && item ? ITEMS + 7 : 4;
		const struct interaction one = {.user = user, .item = items[0]};
		CHECK_OK(of_samples ? sample_write(&writer, user, items, RATIO, &error) : interaction_write(&writer, &one, &error),
		         &error);
		if (i == 30)
			CHECK_OK(stream_flush(&writer, &error), &error);
	}
	CHECK_OK(stream_writer_finish(&writer, &error), &error);
	CHECK_OK(output_commit(&output, &error), &error);
	stream_writer_release(&writer);
	output_release(&output);
	json_decref(metadata);
	for (int many = 0; many < 2; many++) {
		struct error *told = many ? &error : &expected;
		struct stream_reader reader;
		struct stream_info info;
		uint32_t users[64], items[64 * (1 + RATIO)];
		struct interaction one;
		const struct interaction_columns columns = {users, items, NULL, NULL};
		ptrdiff_t got = 1;
		CHECK_OK(stream_reader_open(&reader, "bad", kind, &error), &error);
		CHECK_OK(records_info(&reader, &info, &error), &error);
		while (got > 0)
			got = many ? of_samples ? samples_take(&reader, &info, RATIO, 64, users, items, told)
			                        : interactions_take(&reader, &info, &columns, 64, told)
			           : of_samples ? sample_read(&reader, &info, RATIO, users, items, told)
			                        : interaction_read(&reader, &info, &one, told);
		CHECK(got == -1 && told->code == CODE_DATA);
		stream_info_release(&info);
		stream_reader_release(&reader);
	}
	CHECK_EQUAL_TEXT(error.message, expected.message);
}

static void test_bad_records_by_their_number(void)
{
	static const uint32_t places[] = {0, 1, 30, 31, 32, 99};
	for (size_t p = 0; p < COUNT_OF(places); p++)
		for (int way = 0; way < 4; way++)
			bad_record(places[p], way & 1, way & 2);
}

/* Records that do not fill their block, or go beyond it. */
static void test_blocks_of_other_sizes(void)
{
	static const size_t sizes[] = {19, 21, 39, 41};
	for (size_t s = 0; s < COUNT_OF(sizes); s++) {
		static const unsigned char zeros[64];
		struct error error = {0};
		struct output output;
		struct stream_writer writer;
		struct stream_reader reader;
		struct stream_info info;
		uint32_t users[8], items[8];
		const struct interaction_columns columns = {users, items, NULL, NULL};
		json_t *metadata = known_metadata(STREAM_INTERACTIONS);
		ptrdiff_t got = 1;
		CHECK_OK(output_open(&output, "odd", &error), &error);
		CHECK_OK(stream_writer_open(&writer, &output, STREAM_INTERACTIONS, metadata, false, &error), &error);
		if (sizes[s] > 32)
			CHECK_OK(stream_append(&writer, zeros, 20, &error), &error);
		CHECK_OK(stream_append(&writer, zeros, sizes[s] > 32 ? sizes[s] - 20 : sizes[s], &error), &error);
		CHECK_OK(stream_writer_finish(&writer, &error), &error);
		CHECK_OK(output_commit(&output, &error), &error);
		CHECK_OK(stream_reader_open(&reader, "odd", STREAM_INTERACTIONS, &error), &error);
		CHECK_OK(records_info(&reader, &info, &error), &error);
		while (got > 0)
			got = interactions_take(&reader, &info, &columns, 8, &error);
		CHECK(got == -1 && error.code == CODE_DATA);
		CHECK(strstr(error.message, sizes[s] % 20 == 19 ? "a record goes beyond its block" : "a block holds more than its records"));
		stream_info_release(&info);
		stream_reader_release(&reader);
		stream_writer_release(&writer);
		output_release(&output);
		json_decref(metadata);
	}
}

/* ---- the conveyor ---- */

struct belt {
	int slots[2];
	int seen[1100], count, fail_at;
};

static int look(void *context, size_t slot, struct error *error)
{
	struct belt *belt = context;
	if (belt->slots[slot] == belt->fail_at)
		return error_set(error, CODE_IO, "number %d", belt->fail_at);
	belt->seen[belt->count++] = belt->slots[slot];
	return 0;
}

static void test_conveyor_keeps_the_order(void)
{
	static struct belt belt;
	struct error error = {0};
	belt.fail_at = -1;
	struct conveyor *conveyor = conveyor_new(2, look, &belt, &error);
	CHECK(conveyor != NULL);
	ptrdiff_t slot = 0;
	for (int i = 0; i < 1000 && slot >= 0; i++) {
		belt.slots[slot] = i;
		slot = conveyor_send(conveyor, &error);
	}
	CHECK_OK(conveyor_finish(conveyor, &error), &error);
	int wrong = belt.count != 1000;
	for (int i = 0; i < 1000; i++)
		wrong += belt.seen[i] != i;
	CHECK_EQUAL_U64(wrong, 0);
	belt.fail_at = 1005; /* nothing is being worked on now */
	int sent = 1000;
	for (; sent < 1100 && slot >= 0; sent++) {
		belt.slots[slot] = sent;
		slot = conveyor_send(conveyor, &error);
	}
	CHECK(slot < 0 && error.code == CODE_IO && sent >= 1006 && sent <= 1008);
	conveyor_free(conveyor);
	conveyor_free(NULL);
}

/* ---- checksums ---- */

/* Every instruction set gives zlib's sum, at any length and place. */
static void test_checksums_are_those_of_zlib(void)
{
	enum { SIZE = 5000 };
	static unsigned char bytes[SIZE];
	for (size_t i = 0; i < SIZE; i++)
		bytes[i] = (unsigned char)(i * 2654435761u >> 11);
	for (int i = 0; i < ISA_COUNT; i++) {
		struct error error = {0};
		enum isa isa;
		int wrong = 0;
		if (isa_find(isa_names[i], &isa, &error) < 0)
			continue;
		for (size_t size = 0; size < 1200; size++)
			wrong += checksum_of(isa)(bytes + size % 23, size) != crc32(0, bytes + size % 23, (uInt)size);
		wrong += checksum_of(isa)(bytes, SIZE) != crc32(0, bytes, SIZE);
		CHECK_EQUAL_U64(wrong, 0);
	}
	CHECK_EQUAL_U64(checksum_crc32(bytes, SIZE), crc32(0, bytes, SIZE));
	CHECK_EQUAL_U64(checksum_crc32(bytes, 9), crc32(0, bytes, 9));
	CHECK_EQUAL_U64(checksum_crc32("123456789", 9), 0xcbf43926); /* the check value of this CRC */
}

int main(void)
{
	RUN(test_checksums_are_those_of_zlib);
	RUN_IN_FOLDER(test_every_way_gives_the_same_bytes);
	RUN_IN_FOLDER(test_headers_put_in_later);
	RUN(test_no_header_later_for_what_is_no_file);
	RUN(test_full_disk_behind);
	RUN_IN_FOLDER(test_released_while_writing);
	RUN_IN_FOLDER(test_interactions_taken_by_any_number);
	RUN_IN_FOLDER(test_samples_many_at_a_time);
	RUN_IN_FOLDER(test_bad_records_by_their_number);
	RUN_IN_FOLDER(test_blocks_of_other_sizes);
	RUN(test_conveyor_keeps_the_order);
	return check_done();
}
