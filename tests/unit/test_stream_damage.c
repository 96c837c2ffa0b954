/* Damaged streams: whatever is cut, flipped, or announced wrongly is refused, by the check that is meant. */
#include "stream.h"

#include "make_streams.h"
#include "sealed.h"

static const struct {
	enum stream_kind kind;
	bool compress;
} variants[] = {
	{STREAM_INTERACTIONS, false}, {STREAM_INTERACTIONS, true}, {STREAM_SAMPLES, false}, {STREAM_SAMPLES, true},
	{STREAM_LISTS, false},        {STREAM_LISTS, true},        {STREAM_IDS, false},
	{STREAM_SIMILARITY, false},   {STREAM_SIMILARITY, true},
};

static struct bytes make(enum stream_kind kind, bool compress)
{
	make_stream("whole", kind, compress);
	return bytes_read("whole");
}

static void test_every_truncation_is_refused(void)
{
	struct error error;
	for (size_t v = 0; v < COUNT_OF(variants); v++) {
		struct bytes bytes = make(variants[v].kind, variants[v].compress);
		CHECK(read_whole("whole", &error) == CODE_OK);
		for (size_t size = bytes.size; size-- > 0;) {
			CHECK(truncate("whole", (off_t)size) == 0);
			CHECK(read_whole("whole", &error) == CODE_DATA);
			CHECK(strstr(error.message, size ? "whole: byte " : "whole: empty, expected a stream"));
			CHECK(size == 0 || strstr(error.message, ": ends without its end block: the producer died or"));
		}
		free(bytes.at);
	}
}

static void test_every_flipped_bit_is_found(void)
{
	struct error error;
	for (size_t v = 0; v < COUNT_OF(variants); v++) {
		struct bytes bytes = make(variants[v].kind, variants[v].compress);
		FILE *file = fopen("whole", "r+b");
		CHECK(file);
		for (size_t bit = 0; file && bit < 8 * bytes.size; bit++) {
			const unsigned char flipped = (unsigned char)(bytes.at[bit / 8] ^ 1u << bit % 8);
			CHECK(fseek(file, (long)(bit / 8), SEEK_SET) == 0 && fwrite(&flipped, 1, 1, file) == 1);
			fflush(file);
			const int code = read_whole("whole", &error);
			CHECK(code == CODE_DATA);
			if (code != CODE_DATA)
				printf("#   kind %d, byte %zu, bit %zu\n", (int)variants[v].kind, bit / 8, bit % 8);
			CHECK(fseek(file, (long)(bit / 8), SEEK_SET) == 0 && fwrite(bytes.at + bit / 8, 1, 1, file) == 1);
			fflush(file);
		}
		CHECK(read_whole("whole", &error) == CODE_OK);
		if (file)
			fclose(file);
		free(bytes.at);
	}
}

static void test_anything_behind_the_end_is_refused(void)
{
	for (size_t v = 0; v < COUNT_OF(variants); v++) {
		struct bytes bytes = make(variants[v].kind, variants[v].compress);
		struct bytes twice = {malloc(2 * bytes.size), bytes.size + 1};
		CHECK(twice.at);
		memcpy(twice.at, bytes.at, bytes.size);
		memcpy(twice.at + bytes.size, bytes.at, bytes.size);
		check_refused(&twice, "a byte behind", "something follows the end block");
		twice.size = 2 * bytes.size;
		check_refused(&twice, "a stream behind", "something follows the end block");
		free(twice.at);
		free(bytes.at);
	}
}

/* A field of 32 bits, where it lies, what is put there, and what must be said of it. */
struct change {
	const char *what;
	size_t at;
	uint32_t value;
	const char *refusal; /* NULL: to be accepted */
};

/* In the header, or in the first block: each change is tried alone on a whole stream, sealed anew. */
static void try_changes(bool in_block, bool compress, const struct change *changes, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct bytes bytes = make(STREAM_INTERACTIONS, compress);
		const size_t from = in_block ? header_size(&bytes) : 0;
		put_u32(bytes.at + from + changes[i].at, changes[i].value);
		if (in_block)
			seal_block(&bytes, from);
		else if (header_size(&bytes) <= bytes.size)
			seal_header(&bytes);
		if (changes[i].refusal)
			check_refused(&bytes, changes[i].what, changes[i].refusal);
		else
			check_accepted(&bytes, changes[i].what);
		free(bytes.at);
	}
}

static void test_header_fields(void)
{
	static const struct change changes[] = {
		{"nothing", 8, STREAM_VERSION, NULL},
		{"version 0", 8, 0, "stream version 0, this program reads version 1"},
		{"version 2", 8, 2, "stream version 2, this program reads version 1"},
		{"kind 0", 12, 0, "a stream of unknown kind 0"},
		{"kind 6", 12, 6, "a stream of unknown kind 6"},
		{"kind huge", 12, UINT32_MAX, "a stream of unknown kind 4294967295"},
		{"another kind", 12, STREAM_LISTS, "expected one below 30"},
		{"a required flag", 16, 1, "needs features that this program does not know (flags 0x1)"},
		{"the last required flag", 16, 1u << 31, "needs features that this program does not know (flags 0x80000000)"},
		{"an optional flag", 20, 1, NULL},
		{"all optional flags", 20, UINT32_MAX, NULL},
		{"metadata beyond the file", 24, 1 << 20, "ends without its end block"},
		{"metadata too large", 24, STREAM_METADATA_MAX + 1, "metadata of 16777217 bytes, at most 16777216"},
		{"metadata huge", 24, UINT32_MAX, "metadata of 4294967295 bytes"},
		{"no metadata", 24, 0, "the metadata is no JSON object"},
	};
	try_changes(false, false, changes, COUNT_OF(changes));
}

static void test_block_fields(void)
{
	static const struct change changes[] = {
		{"nothing", 4, RECORDS, NULL},
		{"no block", 0, 0x324b4c42, "neither a block nor the end block follows"},
		{"no records", 4, 0, "a block's sizes are impossible"},
		{"a record too few", 4, RECORDS - 1, "a block holds more than its records"},
		{"a record too many", 4, RECORDS + 1, "a record goes beyond its block"},
		{"more records than bytes", 4, 20 * RECORDS + 1, "a block's sizes are impossible"},
		{"records huge", 4, UINT32_MAX, "a block's sizes are impossible"},
		{"size huge", 8, UINT32_MAX, "a block's sizes are impossible"},
		{"size above a block", 8, STREAM_BLOCK_MAX + 1, "a block's sizes are impossible"},
		{"size larger than stored", 8, 20 * RECORDS + 1, "a compressed block cannot be unpacked"},
		{"size smaller than stored", 8, 20 * RECORDS - 1, "a block's sizes are impossible"},
		{"stored beyond the size", 12, 20 * RECORDS + 1, "a block's sizes are impossible"},
		{"stored huge", 12, UINT32_MAX, "a block's sizes are impossible"},
		{"nothing stored", 12, 0, "a compressed block cannot be unpacked"},
	};
	try_changes(true, false, changes, COUNT_OF(changes));
}

static void test_compressed_block_fields(void)
{
	static const struct change changes[] = {
		{"nothing", 4, RECORDS, NULL},
		{"unpacks to less than it says", 8, 20 * RECORDS + 1, "a compressed block cannot be unpacked"},
		{"unpacks to more than it says", 8, 20 * RECORDS - 1, "a compressed block cannot be unpacked"},
		{"unpacks to a block, it says", 8, STREAM_BLOCK_MAX, "a compressed block cannot be unpacked"},
		{"ends before it is unpacked", 12, 40, "a compressed block cannot be unpacked"},
		{"no zlib data", BLOCK_HEADER_SIZE, 0, "a compressed block cannot be unpacked"},
	};
	try_changes(true, true, changes, COUNT_OF(changes));
}

/* The checksums alone, and the totals under a good one. */
static void test_end_fields(void)
{
	static const struct {
		const char *what;
		size_t at;
		bool seal;
		const char *refusal;
	} changes[] = {
		{"records", 4, true, "the totals of the end block do not agree"},
		{"records, high half", 8, true, "the totals of the end block do not agree"},
		{"blocks", 12, true, "the totals of the end block do not agree"},
		{"content", 20, true, "the totals of the end block do not agree"},
		{"records", 4, false, "the end block is damaged (CRC)"},
		{"checksum", 24, false, "the end block is damaged (CRC)"},
	};
	for (size_t i = 0; i < COUNT_OF(changes); i++) {
		struct bytes bytes = make(STREAM_INTERACTIONS, false);
		unsigned char *end = bytes.at + bytes.size - END_SIZE;
		end[changes[i].at] ^= 1;
		if (changes[i].seal)
			put_u32(end + 24, (uint32_t)crc32(0, end, 24));
		check_refused(&bytes, changes[i].what, changes[i].refusal);
		free(bytes.at);
	}
}

/* A block that is whole but is not the one the producer wrote: dropped, doubled, or put in another place. */
static void test_whole_blocks_out_of_place(void)
{
	struct error error = {0};
	struct output output;
	struct stream_writer writer;
	json_t *metadata = known_metadata(STREAM_INTERACTIONS);
	CHECK_OK(output_open(&output, "two", &error), &error);
	CHECK_OK(stream_writer_open(&writer, &output, STREAM_INTERACTIONS, metadata, false, &error), &error);
	for (uint32_t i = 0; i < 2; i++) {
		struct interaction interaction = known_interaction(i);
		CHECK_OK(interaction_write(&writer, &interaction, &error), &error);
		CHECK_OK(stream_flush(&writer, &error), &error);
	}
	CHECK_OK(stream_writer_finish(&writer, &error), &error);
	CHECK_OK(output_commit(&output, &error), &error);
	stream_writer_release(&writer);
	output_release(&output);
	json_decref(metadata);

	enum { SIZE = BLOCK_HEADER_SIZE + 20 };
	struct bytes bytes = bytes_read("two"), changed = {malloc(bytes.size + SIZE), bytes.size};
	const size_t first = header_size(&bytes), second = first + SIZE, end = second + SIZE;
	CHECK(end + END_SIZE == bytes.size && changed.at);
	check_accepted(&bytes, "two blocks");
	memcpy(changed.at, bytes.at, bytes.size);
	memcpy(changed.at + first, bytes.at + second, SIZE);
	memcpy(changed.at + second, bytes.at + first, SIZE);
	check_refused(&changed, "blocks in another order", "the totals of the end block do not agree");
	changed.size = bytes.size - SIZE;
	memcpy(changed.at + second, bytes.at + end, END_SIZE);
	check_refused(&changed, "a block dropped", "the totals of the end block do not agree");
	changed.size = bytes.size + SIZE;
	memcpy(changed.at, bytes.at, end);
	memcpy(changed.at + end, bytes.at + second, SIZE + END_SIZE);
	memcpy(changed.at + end + SIZE, bytes.at + end, END_SIZE);
	check_refused(&changed, "a block doubled", "the totals of the end block do not agree");
	free(changed.at);
	free(bytes.at);
}

static void test_other_files(void)
{
	static const struct {
		const char *what, *text, *refusal;
	} files[] = {
		{"text", "user,item,rating\n1,2,3\n", "not a recpipe stream (text, or another program's file?)"},
		{"a letter", "u", "not a recpipe stream"},
		{"PNG", "\x89PNG\r\n\x1a\n", "not a recpipe stream"},
		{"line ends translated", "\x89REC\n\x1a\n.....................................", "not a recpipe stream"},
		{"the high bit lost", "\x09REC\r\n\x1a\n....................................", "not a recpipe stream"},
		{"the magic alone", "\x89REC\r\n\x1a\n", "ends without its end block"},
		{"half the magic", "\x89REC", "ends without its end block"},
		{"nothing", "", "empty, expected a stream"},
	};
	for (size_t i = 0; i < COUNT_OF(files); i++) {
		struct bytes bytes = {(unsigned char *)(uintptr_t)files[i].text, strlen(files[i].text)};
		check_refused(&bytes, files[i].what, files[i].refusal);
	}
}

/* Metadata as text: the header is sealed over it. */
static void test_metadata_text(void)
{
	static const struct {
		const char *text, *refusal;
	} cases[] = {
		{"[]", "the metadata is no JSON object"},
		{"\"users\"", "the metadata is no JSON object"},
		{"{\"users\":{}", "the metadata is no JSON object"},
		{"{}{}", "the metadata is no JSON object"},
		{"{\"a\":1,\"a\":2}", "the metadata is no JSON object"},
		{"{\"a\":\"\xff\"}", "the metadata is no JSON object"},
		{"{\"a\":\"\\u0000\"}", "the metadata is no JSON object"},
		{"{}", "its metadata has no usable \"users\""},
	};
	struct bytes whole = make(STREAM_INTERACTIONS, false);
	const size_t before = header_size(&whole);
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		const size_t length = strlen(cases[i].text), rest = whole.size - before;
		struct bytes bytes = {malloc(whole.size + length), HEADER_SIZE + length + 4 + rest};
		CHECK(bytes.at);
		memcpy(bytes.at, whole.at, HEADER_SIZE);
		put_u32(bytes.at + 24, (uint32_t)length);
		memcpy(bytes.at + HEADER_SIZE, cases[i].text, length);
		memcpy(bytes.at + HEADER_SIZE + length + 4, whole.at + before, rest);
		seal_header(&bytes);
		check_refused(&bytes, cases[i].text, cases[i].refusal);
		free(bytes.at);
	}
	free(whole.at);
}

static void test_kind_wanted(void)
{
	struct stream_reader reader;
	struct error error = {0};
	make_stream("whole", STREAM_SAMPLES, false);
	CHECK(stream_reader_open(&reader, "whole", STREAM_LISTS, &error) < 0);
	CHECK(error.code == CODE_DATA);
	CHECK_EQUAL_TEXT(error.message, "whole: a stream of samples, expected lists");
	stream_reader_release(&reader);
	error = (struct error){0};
	put("empty", "", 0);
	CHECK(stream_reader_open(&reader, "empty", STREAM_LISTS, &error) < 0);
	CHECK_EQUAL_TEXT(error.message, "empty: empty, expected a stream of lists");
	stream_reader_release(&reader);
	error = (struct error){0};
	CHECK(stream_reader_open(&reader, "missing", 0, &error) < 0);
	CHECK(error.code == CODE_NO_INPUT);
	stream_reader_release(&reader);
}

int main(void)
{
	RUN_IN_FOLDER(test_every_truncation_is_refused);
	RUN_IN_FOLDER(test_every_flipped_bit_is_found);
	RUN_IN_FOLDER(test_anything_behind_the_end_is_refused);
	RUN_IN_FOLDER(test_header_fields);
	RUN_IN_FOLDER(test_block_fields);
	RUN_IN_FOLDER(test_compressed_block_fields);
	RUN_IN_FOLDER(test_end_fields);
	RUN_IN_FOLDER(test_whole_blocks_out_of_place);
	RUN_IN_FOLDER(test_other_files);
	RUN_IN_FOLDER(test_metadata_text);
	RUN_IN_FOLDER(test_kind_wanted);
	return check_done();
}
