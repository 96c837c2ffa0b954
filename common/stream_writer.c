/* Writing the record container: records are gathered in one block of memory, which goes out with its sizes and
 * checksums when the next record no longer fits. What is written depends on the records, the metadata and
 * calls of stream_flush alone. A stream that was not finished has no end block and is refused by readers. */
#include <zlib.h>

#include "checksum.h"
#include "mem.h"
#include "stream.h"
#include "stream_format.h"

/* The bytes of the header, to be freed with mem_free; NULL on error. */
static unsigned char *make_header(const struct stream_writer *writer, enum stream_kind kind, const json_t *metadata,
                                  size_t *size, struct error *error)
{
	char *text = metadata ? json_dumps(metadata, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
	const char *body = text ? text : "{}";
	const size_t length = strlen(body);
	unsigned char *head = NULL;
	if (metadata && !text)
		error_set(error, CODE_BUG, "%s: the metadata cannot be written as JSON", writer->output->path);
	else if (length > STREAM_METADATA_MAX)
		error_set(error, CODE_DATA, "%s: the metadata is larger than %d bytes", writer->output->path,
		          STREAM_METADATA_MAX);
	else
		head = mem_alloc(HEADER_SIZE + length + 4, 1, error);
	if (head) {
		memcpy(head, stream_magic, sizeof stream_magic);
		put_u32(head + 8, STREAM_VERSION);
		put_u32(head + 12, (uint32_t)kind);
		put_u32(head + 16, 0);
		put_u32(head + 20, 0);
		put_u32(head + 24, (uint32_t)length);
		memcpy(head + HEADER_SIZE, body, length);
		put_u32(head + HEADER_SIZE + length, checksum_crc32(head, HEADER_SIZE + length));
		*size = HEADER_SIZE + length + 4;
	}
	free(text);
	return head;
}

int stream_writer_open(struct stream_writer *writer, struct output *output, enum stream_kind kind,
                       const json_t *metadata, bool compress, struct error *error)
{
	*writer = (struct stream_writer){.output = output, .compress = compress};
	writer->gathered[0].bytes = mem_alloc(STREAM_BLOCK_MAX, 1, error);
	if (!writer->gathered[0].bytes)
		return -1;
	if (compress) {
		writer->packed_size = compressBound(STREAM_BLOCK_MAX);
		writer->packed = mem_alloc(writer->packed_size, 1, error);
		if (!writer->packed)
			return -1;
	}
	unsigned char *head = make_header(writer, kind, metadata, &writer->header_size, error);
	int result = head ? output_write(output, head, writer->header_size, error) : -1;
	mem_free(head);
	return result;
}

/* Writes a block of the records `content`; `stored`: the same, or what they were compressed to. */
static int send_block(struct stream_writer *writer, const struct stream_packed *content,
                      const struct stream_packed *stored, struct error *error)
{
	unsigned char head[BLOCK_HEADER_SIZE];
	put_u32(head, block_tag);
	put_u32(head + 4, content->records);
	put_u32(head + 8, (uint32_t)content->size);
	put_u32(head + 12, (uint32_t)stored->size);
	put_u32(head + 16, stored->crc);
	put_u32(head + 20, checksum_crc32(head, 20));
	writer->content_crc = (uint32_t)crc32_combine(writer->content_crc, content->crc, (z_off_t)content->size);
	writer->records += content->records;
	writer->blocks++;
	if (output_write(writer->output, head, sizeof head, error) < 0)
		return -1;
	return output_write(writer->output, stored->bytes, stored->size, error);
}

/* Checksums and writes what was gathered. */
static int write_block(void *context, size_t which, struct error *error)
{
	struct stream_writer *writer = context;
	const struct stream_gathered *block = &writer->gathered[which];
	const struct stream_packed content = {.bytes = block->bytes, .size = block->used, .records = block->records,
	                                      .crc = checksum_crc32(block->bytes, block->used)};
	struct stream_packed stored = content;
	uLongf packed = (uLongf)writer->packed_size;
	if (writer->compress && compress2(writer->packed, &packed, block->bytes, (uLong)block->used, Z_BEST_SPEED) == Z_OK &&
	    packed < block->used)
		stored = (struct stream_packed){.bytes = writer->packed, .size = packed,
		                                .crc = checksum_crc32(writer->packed, packed)};
	return send_block(writer, &content, &stored, error);
}

int stream_put_block(struct stream_writer *writer, const struct stream_packed *block, struct error *error)
{
	if (stream_flush(writer, error) < 0)
		return -1;
	return send_block(writer, block, block, error);
}

int stream_writer_start_thread(struct stream_writer *writer, struct error *error)
{
	for (size_t b = 0; b < STREAM_WRITER_BLOCKS; b++)
		if (!writer->gathered[b].bytes && !(writer->gathered[b].bytes = mem_alloc(STREAM_BLOCK_MAX, 1, error)))
			return -1;
	writer->conveyor = conveyor_new(STREAM_WRITER_BLOCKS, write_block, writer, error);
	return writer->conveyor ? 0 : -1;
}

int stream_flush(struct stream_writer *writer, struct error *error)
{
	ptrdiff_t next = 0;
	if (writer->gathered[writer->current].records == 0)
		return 0;
	if (!writer->conveyor && write_block(writer, 0, error) < 0)
		return -1;
	if (writer->conveyor && (next = conveyor_send(writer->conveyor, error)) < 0)
		return -1;
	writer->current = (size_t)next;
	writer->gathered[next].used = writer->gathered[next].records = 0;
	return 0;
}

void *stream_reserve_many(struct stream_writer *writer, size_t size, size_t count, size_t *got, struct error *error)
{
	if (size < 1 || size > STREAM_BLOCK_MAX) {
		error_set(error, CODE_DATA, "%s: a record of %zu bytes, expected 1 to %d",
		          writer->output->path, size, STREAM_BLOCK_MAX);
		return NULL;
	}
	if (size > STREAM_BLOCK_MAX - writer->gathered[writer->current].used && stream_flush(writer, error) < 0)
		return NULL;
	struct stream_gathered *block = &writer->gathered[writer->current];
	const size_t room = (STREAM_BLOCK_MAX - block->used) / size;
	*got = count < room ? count : room;
	unsigned char *to = block->bytes + block->used;
	block->used += *got * size;
	block->records += (uint32_t)*got;
	return to;
}

void *stream_reserve(struct stream_writer *writer, size_t size, struct error *error)
{
	size_t one;
	return stream_reserve_many(writer, size, 1, &one, error);
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
	if (stream_flush(writer, error) < 0 || (writer->conveyor && conveyor_finish(writer->conveyor, error) < 0))
		return -1;
	put_u32(end, end_tag);
	put_u64(end + 4, writer->records);
	put_u64(end + 12, writer->blocks);
	put_u32(end + 20, writer->content_crc);
	put_u32(end + 24, checksum_crc32(end, 24));
	return output_write(writer->output, end, sizeof end, error);
}

int stream_writer_restate(struct stream_writer *writer, enum stream_kind kind, const json_t *metadata,
                          struct error *error)
{
	size_t size = 0;
	unsigned char *head = make_header(writer, kind, metadata, &size, error);
	int result = head ? output_replace_head(writer->output, writer->header_size, head, size, error) : -1;
	writer->header_size = size;
	mem_free(head);
	return result;
}

void stream_writer_release(struct stream_writer *writer)
{
	conveyor_free(writer->conveyor);
	for (size_t b = 0; b < STREAM_WRITER_BLOCKS; b++)
		mem_free(writer->gathered[b].bytes);
	mem_free(writer->packed);
	*writer = (struct stream_writer){0};
}
