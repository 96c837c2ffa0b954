/* Reading the record container. Every count is checked against what is there before it is used; the end of
 * the input is believed only behind an end block whose totals agree. */
#include <zlib.h>

#include "checksum.h"
#include "mem.h"
#include "stream.h"
#include "stream_format.h"

static const char *const kind_names[] = {
	[STREAM_INTERACTIONS] = "interactions",
	[STREAM_SAMPLES] = "samples",
	[STREAM_LISTS] = "lists",
	[STREAM_IDS] = "ids",
	[STREAM_SIMILARITY] = "similarity",
};

const char *stream_kind_name(uint32_t kind)
{
	return kind < COUNT_OF(kind_names) ? kind_names[kind] : NULL;
}

/* Fills `buffer` as far as the input goes. Returns the bytes read. */
static ptrdiff_t read_up_to(struct stream_reader *reader, void *buffer, size_t size, struct error *error)
{
	size_t have = 0;
	while (have < size) {
		ptrdiff_t got = input_read(&reader->input, (char *)buffer + have, size - have, error);
		if (got < 0)
			return -1;
		if (got == 0)
			break;
		have += (size_t)got;
	}
	return (ptrdiff_t)have;
}

static int broken(const struct stream_reader *reader, struct error *error, const char *what)
{
	return error_set(error, CODE_DATA, "%s: byte %llu: %s", reader->input.name,
	                 (unsigned long long)reader->input.offset, what);
}

static int cut_short(const struct stream_reader *reader, struct error *error)
{
	return broken(reader, error, "ends without its end block: the producer died or the file was cut");
}

static int read_exactly(struct stream_reader *reader, void *buffer, size_t size, struct error *error)
{
	ptrdiff_t got = read_up_to(reader, buffer, size, error);
	if (got < 0)
		return -1;
	return (size_t)got == size ? 0 : cut_short(reader, error);
}

static int check_header(struct stream_reader *reader, const unsigned char *head, uint32_t kind, struct error *error)
{
	const char *name = reader->input.name;
	const uint32_t version = get_u32(head + 8), flags = get_u32(head + 16);
	reader->kind = get_u32(head + 12);
	if (version != STREAM_VERSION)
		return error_set(error, CODE_DATA, "%s: stream version %u, this program reads version %d", name, version,
		                 STREAM_VERSION);
	if (flags != 0)
		return error_set(error, CODE_DATA, "%s: needs features that this program does not know (flags 0x%x)",
		                 name, flags);
	if (!stream_kind_name(reader->kind))
		return error_set(error, CODE_DATA, "%s: a stream of unknown kind %u", name, reader->kind);
	if (kind != 0 && reader->kind != kind)
		return error_set(error, CODE_DATA, "%s: a stream of %s, expected %s", name,
		                 stream_kind_name(reader->kind), stream_kind_name(kind));
	if (get_u32(head + 24) > STREAM_METADATA_MAX)
		return error_set(error, CODE_DATA, "%s: metadata of %u bytes, at most %d are allowed", name,
		                 get_u32(head + 24), STREAM_METADATA_MAX);
	return 0;
}

static int read_metadata(struct stream_reader *reader, const unsigned char *head, struct error *error)
{
	const size_t size = get_u32(head + 24);
	json_error_t why;
	int result = -1;
	unsigned char *text = mem_alloc(size + 4, 1, error);
	if (!text || read_exactly(reader, text, size + 4, error) < 0)
		goto out;
	uLong crc = crc32(crc32(0, head, HEADER_SIZE), text, (uInt)size);
	if ((uint32_t)crc != get_u32(text + size)) {
		broken(reader, error, "the header is damaged (CRC)");
		goto out;
	}
	reader->metadata = json_loadb((const char *)text, size, JSON_REJECT_DUPLICATES, &why);
	if (!json_is_object(reader->metadata)) {
		broken(reader, error, "the metadata is no JSON object");
		goto out;
	}
	result = 0;
out:
	mem_free(text);
	return result;
}

int stream_reader_open(struct stream_reader *reader, const char *path, uint32_t kind, struct error *error)
{
	unsigned char head[HEADER_SIZE];
	*reader = (struct stream_reader){0};
	if (input_open(&reader->input, path, error) < 0)
		return -1;
	ptrdiff_t got = read_up_to(reader, head, sizeof head, error);
	if (got < 0)
		return -1;
	const char *name = reader->input.name;
	if (got == 0)
		return error_set(error, CODE_DATA, "%s: empty, expected a stream%s%s", name, kind ? " of " : "",
		                 kind ? stream_kind_name(kind) : "");
	size_t known = (size_t)got < sizeof stream_magic ? (size_t)got : sizeof stream_magic;
	if (memcmp(head, stream_magic, known) != 0)
		return error_set(error, CODE_DATA, "%s: not a recpipe stream (text, or another program's file?)", name);
	if ((size_t)got < sizeof head)
		return cut_short(reader, error);
	if (check_header(reader, head, kind, error) < 0 || read_metadata(reader, head, error) < 0)
		return -1;
	reader->block = mem_alloc(STREAM_BLOCK_MAX, 1, error);
	return reader->block ? 0 : -1;
}

static int inflate_block(struct stream_reader *reader, size_t stored, struct error *error)
{
	uLongf size = (uLongf)reader->block_size;
	uLong used = (uLong)stored;
	if (uncompress2(reader->block, &size, reader->packed, &used) != Z_OK || size != reader->block_size ||
	    used != stored)
		return broken(reader, error, "a compressed block cannot be unpacked");
	return 0;
}

static int read_block(struct stream_reader *reader, const unsigned char *head, struct error *error)
{
	const uint32_t records = get_u32(head + 4), size = get_u32(head + 8), stored = get_u32(head + 12);
	if (get_u32(head + 20) != (uint32_t)crc32(0, head, 20))
		return broken(reader, error, "a block's header is damaged (CRC)");
	if (size > STREAM_BLOCK_MAX || stored > size || records == 0 || records > size)
		return broken(reader, error, "a block's sizes are impossible");
	if (stored < size && !reader->packed) {
		reader->packed = mem_alloc(STREAM_BLOCK_MAX, 1, error);
		if (!reader->packed)
			return -1;
	}
	unsigned char *to = stored < size ? reader->packed : reader->block;
	if (read_exactly(reader, to, stored, error) < 0)
		return -1;
	if (get_u32(head + 16) != checksum_crc32(to, stored))
		return broken(reader, error, "a block is damaged (CRC)");
	reader->block_size = size;
	if (stored < size && inflate_block(reader, stored, error) < 0)
		return -1;
	const uLong crc = stored < size ? checksum_crc32(reader->block, size) : get_u32(head + 16);
	reader->content_crc = (uint32_t)crc32_combine(reader->content_crc, crc, (z_off_t)size);
	reader->block_records = records;
	reader->records += records;
	reader->blocks++;
	reader->taken = 0;
	reader->position = 0;
	return 1;
}

static int read_end(struct stream_reader *reader, const unsigned char *head, struct error *error)
{
	unsigned char end[END_SIZE], behind;
	memcpy(end, head, BLOCK_HEADER_SIZE);
	if (read_exactly(reader, end + BLOCK_HEADER_SIZE, END_SIZE - BLOCK_HEADER_SIZE, error) < 0)
		return -1;
	if (get_u32(end + 24) != (uint32_t)crc32(0, end, 24))
		return broken(reader, error, "the end block is damaged (CRC)");
	if (get_u64(end + 4) != reader->records || get_u64(end + 12) != reader->blocks ||
	    get_u32(end + 20) != reader->content_crc)
		return broken(reader, error, "the totals of the end block do not agree with what came before");
	ptrdiff_t more = read_up_to(reader, &behind, 1, error);
	if (more < 0)
		return -1;
	if (more > 0)
		return broken(reader, error, "something follows the end block");
	reader->ended = true;
	return 0;
}

int stream_next_block(struct stream_reader *reader, struct error *error)
{
	unsigned char head[BLOCK_HEADER_SIZE];
	if (reader->ended)
		return 0;
	if (reader->position != reader->block_size)
		return broken(reader, error, "a block holds more than its records");
	if (read_exactly(reader, head, sizeof head, error) < 0)
		return -1;
	if (get_u32(head) == end_tag)
		return read_end(reader, head, error);
	if (get_u32(head) != block_tag)
		return broken(reader, error, "neither a block nor the end block follows");
	int result = read_block(reader, head, error);
	reader->taken += result > 0;
	return result;
}

int stream_take_many(struct stream_reader *reader, size_t size, size_t count, const unsigned char **bytes, size_t *got,
                     struct error *error)
{
	int result = stream_next(reader, error);
	if (result <= 0)
		return result;
	*bytes = stream_take(reader, size, error);
	if (!*bytes)
		return -1;
	/* What the block still holds, as far as its records go. */
	size_t more = (reader->block_size - reader->position) / size;
	more = more < reader->block_records - reader->taken ? more : reader->block_records - reader->taken;
	more = more < count - 1 ? more : count - 1;
	reader->position += more * size;
	reader->taken += (uint32_t)more;
	*got = 1 + more;
	return 1;
}

const unsigned char *stream_too_short(const struct stream_reader *reader, struct error *error)
{
	broken(reader, error, "a record goes beyond its block");
	return NULL;
}

void stream_reader_release(struct stream_reader *reader)
{
	input_release(&reader->input);
	json_decref(reader->metadata);
	mem_free(reader->block);
	mem_free(reader->packed);
	*reader = (struct stream_reader){0};
}
