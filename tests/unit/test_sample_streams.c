/* Samples written by threads ahead and read by a thread ahead: the bytes and the samples of a plain loop. */
#include <fcntl.h>
#include <sys/stat.h>

#include "make_streams.h"
#include "mem.h"
#include "sample_ahead.h"
#include "sample_stream.h"
#include "sealed.h"

enum { MANY_USERS = 400, MANY_ITEMS = 300, EPOCHS = 3 };

static struct interactions make_known(void)
{
	static uint32_t users[200000], items[200000];
	struct interactions known;
	struct error error = {0};
	uint64_t count = 0;
	for (uint32_t u = 0; u < MANY_USERS; u++)
		for (uint32_t i = 0; i < MANY_ITEMS; i++)
			if (u == 3 || (u * 31 + i * 17) % 11 == 0) {
				users[count] = u;
				items[count++] = i;
			}
	CHECK_OK(interactions_from_pairs(&known, MANY_USERS, MANY_ITEMS, users, items, count, &error), &error);
	return known;
}

static void write_plainly(const char *path, struct sampler *sampler, const json_t *metadata)
{
	const size_t group = 1 + (size_t)sampler->options.ratio;
	struct error error = {0};
	struct output output;
	struct stream_writer writer;
	uint32_t user, *items = malloc(group * sizeof *items);
	CHECK_OK(output_open(&output, path, &error), &error);
	CHECK_OK(stream_writer_open(&writer, &output, STREAM_SAMPLES, metadata, false, &error), &error);
	for (uint32_t epoch = 0; items && epoch < EPOCHS; epoch++) {
		sampler_start_epoch(sampler, epoch);
		for (uint64_t p = 0; p < sampler->known->count; p++) {
			sampler_fill(sampler, p, p + 1, &user, items);
			if (sample_write(&writer, user, items, sampler->options.ratio, &error) < 0)
				CHECK(false);
		}
		CHECK_OK(stream_flush(&writer, &error), &error);
	}
	CHECK_OK(stream_writer_finish(&writer, &error), &error);
	CHECK_OK(output_commit(&output, &error), &error);
	stream_writer_release(&writer);
	output_release(&output);
	free(items);
}

static void count_epochs(void *context, uint64_t epochs)
{
	uint64_t *told = context;
	CHECK_EQUAL_U64(epochs, ++*told);
}

static void write_by_threads(const char *path, const struct sampler *sampler, const json_t *metadata, size_t threads)
{
	uint64_t told = 0, missing;
	const struct sample_stream samples = {sampler, EPOCHS, threads, count_epochs, &told};
	struct error error = {0};
	struct output output;
	struct stream_writer writer;
	CHECK_OK(output_open(&output, path, &error), &error);
	CHECK_OK(stream_writer_open(&writer, &output, STREAM_SAMPLES, metadata, false, &error), &error);
	CHECK_OK(sample_stream_write(&samples, &writer, &missing, &error), &error);
	CHECK_EQUAL_U64(told, EPOCHS);
	CHECK_EQUAL_U64(missing, (uint64_t)EPOCHS * MANY_ITEMS * sampler->options.ratio); /* user 3 knows everything */
	CHECK_OK(stream_writer_finish(&writer, &error), &error);
	CHECK_OK(output_commit(&output, &error), &error);
	stream_writer_release(&writer);
	output_release(&output);
}

static void test_written_the_same_by_any_threads(void)
{
	static const uint32_t ratios[] = {0, 4, 200};
	static const size_t threads[] = {1, 2, 3, 8};
	struct interactions known = make_known();
	json_t *metadata = known_metadata(STREAM_SAMPLES);
	for (size_t r = 0; r < COUNT_OF(ratios); r++) {
		const struct sampler_options options = {.seed = 7, .ratio = ratios[r]};
		struct sampler sampler;
		struct error error = {0};
		CHECK_OK(sampler_init(&sampler, &known, &options, &error), &error);
		write_plainly("plain", &sampler, metadata);
		struct bytes plain = bytes_read("plain");
		for (size_t t = 0; t < COUNT_OF(threads); t++) {
			write_by_threads("threads", &sampler, metadata, threads[t]);
			struct bytes other = bytes_read("threads");
			CHECK(plain.size == other.size && memcmp(plain.at, other.at, plain.size) == 0);
			free(other.at);
		}
		free(plain.at);
		sampler_release(&sampler);
	}
	json_decref(metadata);
	interactions_release(&known);
}

/* ---- reading ---- */

enum { SAMPLES = 60000 };

static void write_samples(const char *path, uint32_t bad)
{
	struct error error = {0};
	struct output output;
	struct stream_writer writer;
	json_t *metadata = known_metadata(STREAM_SAMPLES);
	CHECK_OK(output_open(&output, path, &error), &error);
	CHECK_OK(stream_writer_open(&writer, &output, STREAM_SAMPLES, metadata, false, &error), &error);
	for (uint32_t i = 0; i < SAMPLES; i++) {
		uint32_t items[1 + RATIO], user = known_sample(i, items);
		if (sample_write(&writer, i == bad ? USERS : user, items, RATIO, &error) < 0)
			CHECK(false);
	}
	CHECK_OK(stream_writer_finish(&writer, &error), &error);
	CHECK_OK(output_commit(&output, &error), &error);
	stream_writer_release(&writer);
	output_release(&output);
	json_decref(metadata);
}

static void check_taken(const char *path, bool threaded, size_t step, int code)
{
	static uint32_t users[SAMPLES], items[SAMPLES * (1 + RATIO)];
	struct error error = {0}, told = {0};
	struct stream_reader reader;
	struct stream_info info;
	uint64_t seen = 0, wrong = 0;
	ptrdiff_t got = 0;
	CHECK_OK(stream_reader_open(&reader, path, STREAM_SAMPLES, &error), &error);
	CHECK_OK(records_info(&reader, &info, &error), &error);
	struct sample_ahead *ahead = sample_ahead_new(&reader, &info, RATIO, threaded, &error);
	CHECK(ahead != NULL);
	while (ahead && (got = sample_ahead_take(ahead, step, users, items, &told)) > 0) {
		for (ptrdiff_t i = 0; i < got; i++, seen++) {
			uint32_t expected[1 + RATIO];
			wrong += users[i] != known_sample((uint32_t)seen, expected);
			wrong += memcmp(expected, items + i * (1 + RATIO), sizeof expected) != 0;
		}
		wrong += (size_t)got < step && seen < SAMPLES;
	}
	CHECK_EQUAL_U64(wrong, 0);
	CHECK(got == (code ? -1 : 0) && told.code == code && (code || seen == SAMPLES));
	CHECK(!code || strstr(told.message, "record 30001: user"));
	if (!code)
		CHECK(sample_ahead_take(ahead, 1, users, items, &told) == 0); /* the end stays the end */
	sample_ahead_free(ahead);
	stream_info_release(&info);
	stream_reader_release(&reader);
}

static void test_taken_by_any_number(void)
{
	static const size_t steps[] = {1, 1000, 33333, SAMPLES};
	write_samples("good", UINT32_MAX);
	write_samples("bad", 30000);
	for (size_t s = 0; s < COUNT_OF(steps); s++)
		for (int threaded = 0; threaded < 2; threaded++) {
			check_taken("good", threaded, steps[s], 0);
			if (steps[s] <= 1000)
				check_taken("bad", threaded, steps[s], CODE_DATA);
		}
}

/* Freed while its thread waits for a pipe that says nothing more. */
static void test_freed_while_waiting(void)
{
	struct error error = {0};
	struct stream_reader reader;
	struct stream_info info;
	write_samples("s", UINT32_MAX);
	struct bytes bytes = bytes_read("s");
	CHECK(mkfifo("pipe", 0600) == 0);
	const int writer = open("pipe", O_RDWR);
	const size_t some = 1000000; /* less than a block and its header: zlib waits for half of that before it gives any */
	CHECK(fcntl(writer, F_SETPIPE_SZ, 1 << 20) >= 0 && bytes.size > some);
	CHECK(write(writer, bytes.at, some) == (ssize_t)some);
	CHECK_OK(stream_reader_open(&reader, "pipe", STREAM_SAMPLES, &error), &error);
	CHECK_OK(records_info(&reader, &info, &error), &error);
	struct sample_ahead *ahead = sample_ahead_new(&reader, &info, RATIO, true, &error);
	CHECK(ahead != NULL);
	sample_ahead_free(ahead);
	sample_ahead_free(NULL);
	stream_info_release(&info);
	stream_reader_release(&reader);
	free(bytes.at);
	CHECK(close(writer) == 0);
}

int main(void)
{
	RUN_IN_FOLDER(test_written_the_same_by_any_threads);
	RUN_IN_FOLDER(test_taken_by_any_number);
	RUN_IN_FOLDER(test_freed_while_waiting);
	return check_done();
}
