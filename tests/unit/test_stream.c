/* The record container: what is written comes back, byte for byte as docs/formats.md has it. */
#include "stream.h"

#include <sys/stat.h>
#include <sys/wait.h>

#include "make_streams.h"
#include "mem.h"
#include "rng.h"
#include "sealed.h"

/* The bytes of record i, of a size that depends on i. */
static size_t record_bytes(uint32_t i, unsigned char *record)
{
	const size_t size = 1 + (size_t)i * 7919 % 5000;
	for (size_t n = 0; n < size; n++)
		record[n] = (unsigned char)(i + n / 16);
	return size;
}

enum { MANY = 1000 };

static void write_many(const char *path, bool compress)
{
	struct error error = {0};
	struct output output;
	struct stream_writer writer;
	static unsigned char record[5000];
	CHECK_OK(output_open(&output, path, &error), &error);
	CHECK_OK(stream_writer_open(&writer, &output, STREAM_LISTS, NULL, compress, &error), &error);
	for (uint32_t i = 0; i < MANY; i++) {
		size_t size = record_bytes(i, record);
		CHECK_OK(stream_append(&writer, record, size, &error), &error);
	}
	CHECK_OK(stream_writer_finish(&writer, &error), &error);
	CHECK_OK(output_commit(&output, &error), &error);
	stream_writer_release(&writer);
	output_release(&output);
}

/* The CRC of the content and the number of blocks are left in the reader's last state, which is returned. */
static struct stream_reader read_many(const char *path)
{
	struct error error = {0};
	struct stream_reader reader;
	static unsigned char record[5000];
	CHECK_OK(stream_reader_open(&reader, path, STREAM_LISTS, &error), &error);
	CHECK(json_object_size(reader.metadata) == 0 && json_is_object(reader.metadata));
	uint32_t i = 0;
	for (; stream_next(&reader, &error) > 0; i++) {
		size_t size = record_bytes(i, record);
		const unsigned char *bytes = stream_take(&reader, size, &error);
		CHECK(bytes && memcmp(bytes, record, size) == 0);
	}
	CHECK_EQUAL_U64(i, MANY);
	CHECK_EQUAL_U64(reader.records, MANY);
	CHECK(error.code == CODE_OK);
	CHECK(stream_next(&reader, &error) == 0); /* the end stays the end */
	struct stream_reader last = reader;
	stream_reader_release(&reader);
	return last;
}

static void test_records_come_back_across_blocks(void)
{
	struct stat plain, packed;
	write_many("plain", false);
	write_many("packed", true);
	struct stream_reader a = read_many("plain"), b = read_many("packed");
	CHECK(a.blocks > 2);
	CHECK_EQUAL_U64(a.blocks, b.blocks);
	CHECK_EQUAL_U64(a.content_crc, b.content_crc);
	CHECK(stat("plain", &plain) == 0 && stat("packed", &packed) == 0);
	CHECK(packed.st_size < plain.st_size / 2);
}

static void test_the_same_bytes_again(void)
{
	write_many("a", true);
	write_many("b", true);
	struct bytes a = bytes_read("a"), b = bytes_read("b");
	CHECK(a.size == b.size && memcmp(a.at, b.at, a.size) == 0);
	free(a.at);
	free(b.at);
}

/* Every byte of a stream of one record, spelled out. The checksums are another program's
 * (gzip's trailer has the same). */
static void test_layout(void)
{
	static const unsigned char expected[] = {
		0x89, 'R',  'E',  'C',  0x0d, 0x0a, 0x1a, 0x0a,                    /* magic */
		1,    0,    0,    0,    1,    0,    0,    0,                       /* version, kind */
		0,    0,    0,    0,    0,    0,    0,    0,                       /* required flags, optional flags */
		13,   0,    0,    0,    '{',  '"',  'a',  '"', ':', '1', ',', '"', /* metadata, keys sorted */
		'b',  '"',  ':',  '2',  '}',  0x16, 0x4d, 0xf1, 0xd1,              /* CRC */
		'B',  'L',  'K',  '1',  1,    0,    0,    0,                       /* tag, records */
		20,   0,    0,    0,    20,   0,    0,    0,                       /* size, stored size */
		0x8e, 0x30, 0x28, 0x06, 0x56, 0x85, 0x78, 0x60,                    /* CRC of the payload, of the above */
		1,    0,    0,    0,    2,    1,    0,    0,                       /* user 1, item 258 */
		0,    0,    0x90, 0x40, 0x15, 0xcd, 0x5b, 7,   0,   0,   0,   0,   /* rating 4.5, time 123456789 */
		'E',  'N',  'D',  '1',  1,    0,    0,    0,   0,   0,   0,   0,   /* tag, records */
		1,    0,    0,    0,    0,    0,    0,    0,                       /* blocks */
		0x8e, 0x30, 0x28, 0x06, 0xc2, 0xbf, 0x8f, 0x33,                    /* CRC of all records, of the above */
	};
	struct error error = {0};
	struct output output;
	struct stream_writer writer;
	struct interaction one = {1, 258, 4.5F, 123456789};
	json_t *metadata = json_pack("{s:i, s:i}", "b", 2, "a", 1);
	CHECK_OK(output_open(&output, "one", &error), &error);
	CHECK_OK(stream_writer_open(&writer, &output, STREAM_INTERACTIONS, metadata, false, &error), &error);
	CHECK_OK(interaction_write(&writer, &one, &error), &error);
	CHECK_OK(stream_writer_finish(&writer, &error), &error);
	CHECK_OK(output_commit(&output, &error), &error);
	struct bytes bytes = bytes_read("one");
	CHECK_EQUAL_U64(bytes.size, sizeof expected);
	for (size_t i = 0; i < sizeof expected && i < bytes.size; i++)
		if (bytes.at[i] != expected[i])
			printf("#   byte %zu: %02x, expected %02x\n", i, bytes.at[i], expected[i]);
	CHECK(bytes.size == sizeof expected && memcmp(bytes.at, expected, sizeof expected) == 0);
	free(bytes.at);
	stream_writer_release(&writer);
	output_release(&output);
	json_decref(metadata);
}

static void test_a_stream_without_records(void)
{
	struct error error = {0};
	struct output output;
	struct stream_writer writer;
	struct stream_reader reader;
	CHECK_OK(output_open(&output, "none", &error), &error);
	CHECK_OK(stream_writer_open(&writer, &output, STREAM_SAMPLES, NULL, true, &error), &error);
	CHECK_OK(stream_flush(&writer, &error), &error); /* nothing gathered: no block */
	CHECK_OK(stream_writer_finish(&writer, &error), &error);
	CHECK_OK(output_commit(&output, &error), &error);
	CHECK_OK(stream_reader_open(&reader, "none", 0, &error), &error);
	CHECK(stream_next(&reader, &error) == 0);
	CHECK_EQUAL_U64(reader.blocks, 0);
	CHECK_EQUAL_U64(reader.kind, STREAM_SAMPLES);
	stream_reader_release(&reader);
	stream_writer_release(&writer);
	output_release(&output);
}

/* Sizes at the edge of a block: a full one, one that no longer fits, one byte too large, none at all. */
static void test_sizes_of_records(void)
{
	struct error error = {0};
	struct output output;
	struct stream_writer writer;
	struct stream_reader reader;
	static const size_t sizes[] = {STREAM_BLOCK_MAX, 1, STREAM_BLOCK_MAX - 1, 1, 1};
	CHECK_OK(output_open(&output, "sizes", &error), &error);
	CHECK_OK(stream_writer_open(&writer, &output, STREAM_LISTS, NULL, false, &error), &error);
	for (size_t i = 0; i < COUNT_OF(sizes); i++) {
		unsigned char *room = stream_reserve(&writer, sizes[i], &error);
		CHECK(room);
		if (room)
			memset(room, (int)i, sizes[i]);
	}
	CHECK(!stream_reserve(&writer, STREAM_BLOCK_MAX + 1, &error));
	CHECK(error.code == CODE_DATA);
	error = (struct error){0};
	CHECK(stream_append(&writer, "", 0, &error) < 0);
	CHECK(error.code == CODE_DATA);
	error = (struct error){0};
	CHECK_OK(stream_writer_finish(&writer, &error), &error);
	CHECK_OK(output_commit(&output, &error), &error);
	CHECK_OK(stream_reader_open(&reader, "sizes", 0, &error), &error);
	for (size_t i = 0; i < COUNT_OF(sizes); i++) {
		CHECK(stream_next(&reader, &error) == 1);
		const unsigned char *bytes = stream_take(&reader, sizes[i], &error);
		CHECK(bytes && bytes[0] == i && bytes[sizes[i] - 1] == i);
	}
	CHECK(stream_next(&reader, &error) == 0);
	CHECK_EQUAL_U64(reader.blocks, 3); /* 1 Mi | 1 + (1 Mi - 1) | 1 + 1 */
	stream_reader_release(&reader);
	stream_writer_release(&writer);
	output_release(&output);
}

/* What does not shrink is stored as it is, so that no block grows. */
static void test_random_bytes_are_stored(void)
{
	struct error error = {0};
	struct output output;
	struct stream_writer writer;
	struct rng rng;
	CHECK_OK(output_open(&output, "random", &error), &error);
	CHECK_OK(stream_writer_open(&writer, &output, STREAM_LISTS, NULL, true, &error), &error);
	unsigned char *room = stream_reserve(&writer, 1000, &error);
	rng_init(&rng, 1, rng_stream(RNG_TEST, 30), 0);
	for (size_t i = 0; room && i < 1000; i++)
		room[i] = (unsigned char)rng_below(&rng, 256);
	CHECK_OK(stream_writer_finish(&writer, &error), &error);
	CHECK_OK(output_commit(&output, &error), &error);
	struct bytes bytes = bytes_read("random");
	CHECK_EQUAL_U64(bytes.size, header_size(&bytes) + BLOCK_HEADER_SIZE + 1000 + END_SIZE);
	CHECK_EQUAL_U64(get_u32(bytes.at + header_size(&bytes) + 12), 1000);
	free(bytes.at);
	stream_writer_release(&writer);
	output_release(&output);
}

/* A .gz of a stream reads like the stream, from a pipe as well. */
static void test_gz_and_pipe(void)
{
	struct error error = {0};
	write_many("plain", false);
	struct bytes bytes = bytes_read("plain");
	gzFile gz = gzopen("plain.gz", "wb1");
	CHECK(gz && gzwrite(gz, bytes.at, (unsigned)bytes.size) == (int)bytes.size && gzclose(gz) == Z_OK);
	(void)read_many("plain.gz");
	CHECK(mkfifo("pipe", 0600) == 0);
	pid_t writer = fork();
	if (writer == 0) {
		const int before = check_failures;
		write_many("pipe", true);
		_exit(check_failures != before);
	}
	int status = -1;
	(void)read_many("pipe");
	CHECK(waitpid(writer, &status, 0) == writer && status == 0);
	/* cut after the .gz's data: the .gz tells it, before the stream does */
	struct bytes packed = bytes_read("plain.gz");
	put("cut.gz", packed.at, packed.size / 2);
	CHECK(read_whole("cut.gz", &error) == CODE_DATA);
	CHECK(strstr(error.message, "cut.gz: "));
	free(packed.at);
	free(bytes.at);
}

/* A writer that is released unfinished leaves a stream that is refused. */
static void test_unfinished_is_refused(void)
{
	struct error error = {0};
	struct output output;
	struct stream_writer writer;
	struct interaction one = known_interaction(1);
	json_t *metadata = known_metadata(STREAM_INTERACTIONS);
	CHECK_OK(output_open(&output, "half", &error), &error);
	CHECK_OK(stream_writer_open(&writer, &output, STREAM_INTERACTIONS, metadata, false, &error), &error);
	CHECK_OK(interaction_write(&writer, &one, &error), &error);
	CHECK_OK(stream_flush(&writer, &error), &error);
	stream_writer_release(&writer);
	CHECK_OK(output_commit(&output, &error), &error);
	CHECK(read_whole("half", &error) == CODE_DATA);
	CHECK(strstr(error.message, "half: byte ") && strstr(error.message, "the producer died or the file was cut"));
	output_release(&output);
	json_decref(metadata);
}

static void test_full_disk(void)
{
	struct error error = {0};
	struct output output;
	struct stream_writer writer;
	int result = 0;
	CHECK_OK(output_open(&output, "/dev/full", &error), &error);
	CHECK_OK(stream_writer_open(&writer, &output, STREAM_LISTS, NULL, false, &error), &error);
	for (int i = 0; result == 0 && i < 8; i++)
		result = stream_reserve(&writer, STREAM_BLOCK_MAX, &error) ? 0 : -1;
	CHECK(result < 0);
	CHECK(error.code == CODE_IO);
	stream_writer_release(&writer);
	output_release(&output);
}

static void test_kind_names(void)
{
	CHECK_EQUAL_TEXT(stream_kind_name(STREAM_INTERACTIONS), "interactions");
	CHECK_EQUAL_TEXT(stream_kind_name(STREAM_IDS), "ids");
	CHECK(!stream_kind_name(0));
	CHECK_EQUAL_TEXT(stream_kind_name(STREAM_SIMILARITY), "similarity");
	CHECK(!stream_kind_name(6));
	CHECK(!stream_kind_name(UINT32_MAX));
}

int main(void)
{
	RUN_IN_FOLDER(test_records_come_back_across_blocks);
	RUN_IN_FOLDER(test_the_same_bytes_again);
	RUN_IN_FOLDER(test_layout);
	RUN_IN_FOLDER(test_a_stream_without_records);
	RUN_IN_FOLDER(test_sizes_of_records);
	RUN_IN_FOLDER(test_random_bytes_are_stored);
	RUN_IN_FOLDER(test_gz_and_pipe);
	RUN_IN_FOLDER(test_unfinished_is_refused);
	RUN_IN_FOLDER(test_full_disk);
	RUN(test_kind_names);
	return check_done();
}
