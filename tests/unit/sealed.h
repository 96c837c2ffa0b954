/* Streams in memory for tests: made with the writer, changed byte by byte, sealed anew (so that the checksums
 * agree with the change and only the check under test can refuse it), written to a file and read. */
#ifndef RECPIPE_SEALED_H
#define RECPIPE_SEALED_H

#include <zlib.h>

#include "check.h"
#include "folder.h"
#include "idmap.h"
#include "io.h"
#include "records.h"
#include "similarity.h"
#include "stream_format.h"

struct bytes {
	unsigned char *at;
	size_t size;
};

static inline struct bytes bytes_read(const char *path)
{
	struct bytes bytes = {0};
	FILE *file = fopen(path, "rb");
	CHECK(file && fseek(file, 0, SEEK_END) == 0);
	long size = file ? ftell(file) : -1;
	if (size >= 0) {
		rewind(file);
		bytes = (struct bytes){malloc((size_t)size + 1), (size_t)size};
		CHECK(bytes.at && fread(bytes.at, 1, bytes.size, file) == bytes.size);
	}
	if (file)
		fclose(file);
	return bytes;
}

/* The bytes of the header with its metadata and checksum. */
static inline size_t header_size(const struct bytes *bytes)
{
	return (size_t)HEADER_SIZE + get_u32(bytes->at + 24) + 4;
}

static inline void seal_header(const struct bytes *bytes)
{
	const size_t size = header_size(bytes) - 4;
	put_u32(bytes->at + size, (uint32_t)crc32(0, bytes->at, (uInt)size));
}

/* The checksums of the block at `block`: its payload's (as far as the file goes), then its header's. */
static inline void seal_block(const struct bytes *bytes, size_t block)
{
	unsigned char *at = bytes->at + block;
	size_t stored = get_u32(at + 12), there = bytes->size - block - BLOCK_HEADER_SIZE;
	if (stored <= there)
		put_u32(at + 16, (uint32_t)crc32(0, at + BLOCK_HEADER_SIZE, (uInt)stored));
	put_u32(at + 20, (uint32_t)crc32(0, at, 20));
}

/* The end block's: the content is `size` bytes at `content`. */
static inline void seal_end(const struct bytes *bytes, const unsigned char *content, size_t size)
{
	unsigned char *end = bytes->at + bytes->size - END_SIZE;
	put_u32(end + 20, (uint32_t)crc32(0, content, (uInt)size));
	put_u32(end + 24, (uint32_t)crc32(0, end, 24));
}

/* Seals a stream of one uncompressed block. */
static inline void seal_all(const struct bytes *bytes)
{
	const size_t block = header_size(bytes);
	seal_header(bytes);
	seal_block(bytes, block);
	seal_end(bytes, bytes->at + block + BLOCK_HEADER_SIZE, bytes->size - block - BLOCK_HEADER_SIZE - END_SIZE);
}

/* Reads a stream of any kind to its end through the readers that tools use. The error's code. */
static inline int read_whole(const char *path, struct error *error)
{
	struct stream_reader reader;
	struct stream_info info = {0};
	struct sample_shape shape = {0};
	struct interaction interaction;
	struct list list = {0};
	struct similarity_part part = {0};
	struct idmap map = {0};
	uint32_t user, items[16];
	*error = (struct error){0};
	int more = stream_reader_open(&reader, path, 0, error) < 0 ? -1 : 1;
	if (more > 0 && reader.kind == STREAM_IDS)
		more = idmap_read_stream(&map, &reader, error);
	else if (more > 0 && records_info(&reader, &info, error) < 0)
		more = -1;
	if (more > 0 && reader.kind == STREAM_SAMPLES && sample_shape_read(&reader, &shape, error) < 0)
		more = -1;
	CHECK(shape.ratio < COUNT_OF(items));
	while (more > 0 && shape.ratio < COUNT_OF(items)) {
		if (reader.kind == STREAM_INTERACTIONS)
			more = interaction_read(&reader, &info, &interaction, error);
		else if (reader.kind == STREAM_SAMPLES)
			more = sample_read(&reader, &info, shape.ratio, &user, items, error);
		else if (reader.kind == STREAM_SIMILARITY)
			more = similarity_part_read(&reader, &info, &part, error);
		else
			more = list_read(&reader, &info, &list, error);
	}
	CHECK((more < 0) == (error->code != CODE_OK));
	idmap_release(&map);
	list_release(&list);
	similarity_part_release(&part);
	stream_info_release(&info);
	stream_reader_release(&reader);
	return error->code;
}

/* Writes the bytes to a file and reads it: must be CODE_DATA with `text` in its message. */
static inline void check_refused(const struct bytes *bytes, const char *what, const char *text)
{
	struct error error;
	put("refused", bytes->at, bytes->size);
	const int code = read_whole("refused", &error);
	const bool refused = code == CODE_DATA && strstr(error.message, text) && strstr(error.message, "refused");
	CHECK(refused);
	if (!refused)
		printf("#   %s: expected \"%s\", got %d \"%s\"\n", what, text, code, error.message);
}

static inline void check_accepted(const struct bytes *bytes, const char *what)
{
	struct error error;
	put("accepted", bytes->at, bytes->size);
	CHECK(read_whole("accepted", &error) == CODE_OK);
	if (error.code != CODE_OK)
		printf("#   %s: %s\n", what, error.message);
}

#endif
