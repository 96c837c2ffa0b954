/* Writing the record container: records are gathered in one block of memory, which goes out with its sizes and
 * checksums when the next record no longer fits. What is written depends on the records, the metadata and
 * calls of stream_flush alone. A stream that was not finished has no end block and is refused by readers. */
#include <zlib.h>

#include "mem.h"
#include "stream.h"
#include "stream_format.h"

static int write_header(struct stream_writer *writer, enum stream_kind kind, const json_t *metadata,
                        struct error *error)
{
	unsigned char head[HEADER_SIZE], tail[4];
	char *text = metadata ? json_dumps(metadata, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
	if (metadata && !text)
		return error_set(error, CODE_BUG, "%s: the metadata cannot be written as JSON", writer->output->path);
	const char *body = text ? text : "{}";
	const size_t size = strlen(body);
	int result = -1;
	if (size > STREAM_METADATA_MAX) {
		error_set(error, CODE_DATA, "%s: the metadata is larger than %d bytes", writer->output->path,
		          STREAM_METADATA_MAX);
		goto out;
	}
	memcpy(head, stream_magic, sizeof stream_magic);
	put_u32(head + 8, STREAM_VERSION);
	put_u32(head + 12, (uint32_t)kind);
	put_u32(head + 16, 0);
	put_u32(head + 20, 0);
	put_u32(head + 24, (uint32_t)size);
	uLong crc = crc32(0, head, sizeof head);
	put_u32(tail, (uint32_t)crc32(crc, (const Bytef *)body, (uInt)size));
	if (output_write(writer->output, head, sizeof head, error) < 0 ||
	    output_write(writer->output, body, size, error) < 0 ||
	    output_write(writer->output, tail, sizeof tail, error) < 0)
		goto out;
	result = 0;
out:
	free(text);
	return result;
}

int stream_writer_open(struct stream_writer *writer, struct output *output, enum stream_kind kind,
                       const json_t *metadata, bool compress, struct error *error)
{
	*writer = (struct stream_writer){.output = output, .compress = compress};
	writer->block = mem_alloc(STREAM_BLOCK_MAX, 1, error);
	if (!writer->block)
		return -1;
	if (compress) {
		writer->packed_size = compressBound(STREAM_BLOCK_MAX);
		writer->packed = mem_alloc(writer->packed_size, 1, error);
		if (!writer->packed)
			return -1;
	}
	return write_header(writer, kind, metadata, error);
}

int stream_flush(struct stream_writer *writer, struct error *error)
{
	unsigned char head[BLOCK_HEADER_SIZE];
	const unsigned char *stored = writer->block;
	size_t size = writer->used;
	if (writer->block_records == 0)
		return 0;
	if (writer->compress) {
		uLongf packed = (uLongf)writer->packed_size;
		if (compress2(writer->packed, &packed, writer->block, (uLong)writer->used, Z_BEST_SPEED) == Z_OK &&
		    packed < writer->used) {
			stored = writer->packed;
			size = packed;
		}
	}
	const uLong crc = crc32(0, stored, (uInt)size);
	put_u32(head, block_tag);
	put_u32(head + 4, writer->block_records);
	put_u32(head + 8, (uint32_t)writer->used);
	put_u32(head + 12, (uint32_t)size);
	put_u32(head + 16, (uint32_t)crc);
	put_u32(head + 20, (uint32_t)crc32(0, head, 20));
	const uLong content = stored == writer->block ? crc : crc32(0, writer->block, (uInt)writer->used);
	writer->content_crc = (uint32_t)crc32_combine(writer->content_crc, content, (z_off_t)writer->used);
	writer->records += writer->block_records;
	writer->blocks++;
	writer->used = 0;
	writer->block_records = 0;
	if (output_write(writer->output, head, sizeof head, error) < 0)
		return -1;
	return output_write(writer->output, stored, size, error);
}

void *stream_reserve(struct stream_writer *writer, size_t size, struct error *error)
{
	if (size < 1 || size > STREAM_BLOCK_MAX) {
		error_set(error, CODE_DATA, "%s: a record of %zu bytes, expected 1 to %d",
		          writer->output->path, size, STREAM_BLOCK_MAX);
		return NULL;
	}
	if (size > STREAM_BLOCK_MAX - writer->used && stream_flush(writer, error) < 0)
		return NULL;
	unsigned char *room = writer->block + writer->used;
	writer->used += size;
	writer->block_records++;
	return room;
}

int stream_append(struct stream_writer *writer, const void *record, size_t size, struct error *error)
{
	void *room = stream_reserve(writer, size, error);
	if (!room)
		return -1;
	memcpy(room, record, size);
	return 0;
}

int stream_writer_finish(struct stream_writer *writer, struct error *error)
{
	unsigned char end[END_SIZE];
	if (stream_flush(writer, error) < 0)
		return -1;
	put_u32(end, end_tag);
	put_u64(end + 4, writer->records);
	put_u64(end + 12, writer->blocks);
	put_u32(end + 20, writer->content_crc);
	put_u32(end + 24, (uint32_t)crc32(0, end, 24));
	return output_write(writer->output, end, sizeof end, error);
}

void stream_writer_release(struct stream_writer *writer)
{
	mem_free(writer->block);
	mem_free(writer->packed);
	*writer = (struct stream_writer){0};
}
