/* The record container that every binary stream uses: a header, checksummed blocks, an end block.
 * docs/formats.md specifies every byte; a reader tells whole from broken in each case.
 *
 * A record never straddles two blocks. Writers append whole records; readers take them back one by one.
 * Counts and sizes are checked against the block before anything is read or allocated by them. */
#ifndef RECPIPE_STREAM_H
#define RECPIPE_STREAM_H

#include <endian.h>
#include <jansson.h>

#include "compat.h"
#include "conveyor.h"
#include "error.h"
#include "io.h"

enum {
	STREAM_VERSION = 1,
	STREAM_BLOCK_MAX = 1 << 20,     /* bytes of records in a block, before compression */
	STREAM_METADATA_MAX = 1 << 24,
};

enum stream_kind {
	STREAM_INTERACTIONS = 1, /* user, item, rating, time */
	STREAM_SAMPLES = 2,      /* user, positive, negatives */
	STREAM_LISTS = 3,        /* candidate or scored lists */
	STREAM_IDS = 4,          /* strings in the order of their dense ids */
	STREAM_SIMILARITY = 5,   /* item-to-item weights */
};

/* "interactions", "samples", … ; NULL for an unknown kind. */
const char *stream_kind_name(uint32_t kind);

enum { STREAM_WRITER_BLOCKS = 3 };

/* Records gathered in memory. */
struct stream_gathered {
	unsigned char *bytes;        /* room for STREAM_BLOCK_MAX */
	size_t used;
	uint32_t records;
};

struct stream_writer {
	struct output *output;       /* the caller's; stream_writer_finish does not commit it */
	struct stream_gathered gathered[STREAM_WRITER_BLOCKS]; /* one, or as many as go to the thread in turns */
	size_t current;              /* the one that is being filled */
	unsigned char *packed;       /* room for the compressed block; NULL when not compressing */
	size_t packed_size, header_size;
	uint64_t records, blocks;    /* written */
	uint32_t content_crc;        /* CRC-32 of all records so far, uncompressed */
	bool compress;
	struct conveyor *conveyor;   /* NULL: the caller writes */
};

/* Writes the header. `metadata` is a JSON object (borrowed), written with sorted keys; NULL: empty.
 * `output` must stay open until the writer is finished or released. */
MUST_CHECK int stream_writer_open(struct stream_writer *writer, struct output *output, enum stream_kind kind,
                                  const json_t *metadata, bool compress, struct error *error);

/* Blocks are checksummed and written by a thread of their own from here on: the caller goes on with the next one. What
 * fails there is told by a later call, stream_writer_finish at the latest. */
MUST_CHECK int stream_writer_start_thread(struct stream_writer *writer, struct error *error);

/* Appends one record of 1 to STREAM_BLOCK_MAX bytes; CODE_DATA beyond. */
MUST_CHECK int stream_append(struct stream_writer *writer, const void *record, size_t size, struct error *error);

/* Room for one record of `size` bytes, to be filled in place by the caller before the next call. NULL on error. */
MUST_CHECK void *stream_reserve(struct stream_writer *writer, size_t size, struct error *error);

/* Room for some of `count` >= 1 records of `size` bytes each, one behind the other: as many as *got says, at least one,
 * all of which the caller fills before the next call. NULL on error. */
MUST_CHECK void *stream_reserve_many(struct stream_writer *writer, size_t size, size_t count, size_t *got,
                                     struct error *error);

/* A block whose records were packed elsewhere, by threads of the caller's say. */
struct stream_packed {
	const unsigned char *bytes;
	size_t size;                 /* 1 to STREAM_BLOCK_MAX */
	uint32_t records, crc;       /* crc: checksum_crc32 of the bytes */
};

/* Writes it, behind what is gathered. For writers that neither compress nor have a thread. */
MUST_CHECK int stream_put_block(struct stream_writer *writer, const struct stream_packed *block, struct error *error);

/* Sends what is gathered as a block now (the end of an epoch, say); nothing when it is empty. */
MUST_CHECK int stream_flush(struct stream_writer *writer, struct error *error);

/* Writes the last block and the end block with totals. */
MUST_CHECK int stream_writer_finish(struct stream_writer *writer, struct error *error);

/* Puts another header in place of the first, after stream_writer_finish: for metadata that were not known before. The
 * output is a file. Records are moved where the header has another size than the first. */
MUST_CHECK int stream_writer_restate(struct stream_writer *writer, enum stream_kind kind, const json_t *metadata,
                                     struct error *error);
void stream_writer_release(struct stream_writer *writer); /* writes nothing: unfinished, the stream stays cut */

struct stream_reader {
	struct input input;
	uint32_t kind;
	json_t *metadata;            /* owned; always an object once open */
	unsigned char *block, *packed;
	size_t block_size, position; /* bytes of the current block; where the next record begins */
	uint32_t block_records, taken; /* records in the block; records begun so far in it */
	uint64_t records, blocks;    /* totals so far, of finished blocks */
	uint32_t content_crc;
	bool ended;
};

/* Opens `path` and reads the header. `kind` 0 accepts any; another kind is CODE_DATA and both are named. */
MUST_CHECK int stream_reader_open(struct stream_reader *reader, const char *path, uint32_t kind,
                                  struct error *error);

/* What stream_next and stream_take do at the end of a block. */
MUST_CHECK int stream_next_block(struct stream_reader *reader, struct error *error);
const unsigned char *stream_too_short(const struct stream_reader *reader, struct error *error);

/* Begins the next record: 1 when there is one, 0 at a whole end (end block seen, totals agree, nothing
 * behind it), -1 on an error with file and offset in the message. */
MUST_CHECK static inline int stream_next(struct stream_reader *reader, struct error *error)
{
	if (reader->taken == reader->block_records)
		return stream_next_block(reader, error);
	reader->taken++;
	return 1;
}

/* The next `size` bytes of the record begun; valid until the next stream_next. NULL and CODE_DATA when the
 * block is too short for them. */
MUST_CHECK static inline const unsigned char *stream_take(struct stream_reader *reader, size_t size,
                                                          struct error *error)
{
	if (size > reader->block_size - reader->position)
		return stream_too_short(reader, error);
	const unsigned char *bytes = reader->block + reader->position;
	reader->position += size;
	return bytes;
}

/* Some of the next `count` >= 1 records, all of `size` bytes, one behind the other: 1 and as many as *got says, valid
 * until the next call; 0 at a whole end; -1. */
MUST_CHECK int stream_take_many(struct stream_reader *reader, size_t size, size_t count, const unsigned char **bytes,
                                size_t *got, struct error *error);

void stream_reader_release(struct stream_reader *reader); /* also after a failed open; a zeroed one is fine */

/* Little-endian fields. */
static inline void put_u32(unsigned char *to, uint32_t value)
{
	const uint32_t little = htole32(value);
	memcpy(to, &little, sizeof little);
}

static inline void put_u64(unsigned char *to, uint64_t value)
{
	const uint64_t little = htole64(value);
	memcpy(to, &little, sizeof little);
}

static inline void put_f32(unsigned char *to, float value)
{
	uint32_t bits;
	memcpy(&bits, &value, sizeof bits);
	put_u32(to, bits);
}

static inline uint32_t get_u32(const unsigned char *from)
{
	return (uint32_t)from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 | (uint32_t)from[3] << 24;
}

static inline uint64_t get_u64(const unsigned char *from)
{
	return (uint64_t)get_u32(from) | (uint64_t)get_u32(from + 4) << 32;
}

static inline float get_f32(const unsigned char *from)
{
	uint32_t bits = get_u32(from);
	float value;
	memcpy(&value, &bits, sizeof value);
	return value;
}

#endif
