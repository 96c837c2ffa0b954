/* Rows of weights in and out of the bytes of a stream. A row may be longer than a block, so a record is a part
 * of a row; a part whose neighbours follow one another says where they begin and does not list them. */
#include <inttypes.h>
#include <math.h>

#include "mem.h"
#include "similarity.h"

enum {
	HEAD = 12,           /* item, count, first */
	RUN_PART = 16384,    /* weights a record at most, as written: 64 KiB, so that blocks fill well */
	LISTED_PART = 8192,
};

static const uint32_t listed = UINT32_MAX; /* in the place of `first`: the neighbours are listed */

static_assert(HEAD + 4 * RUN_PART < STREAM_BLOCK_MAX && HEAD + 8 * LISTED_PART < STREAM_BLOCK_MAX,
              "a part fits into a block");

/* ---- reading ---- */

static int refuse(const struct stream_reader *reader, const struct similarity_part *part, uint32_t entry,
                  const char *why, struct error *error)
{
	return error_set(error, CODE_DATA, "%s: record %" PRIu64 ": row %u, weight %u of %u: %s", reader->input.name,
	                 reader->records - reader->block_records + reader->taken, part->item, entry + 1, part->count,
	                 why);
}

static int reserve(struct similarity_part *part, size_t count, struct error *error)
{
	if (count <= part->capacity)
		return 0;
	const size_t capacity = count + count / 2;
	mem_free(part->neighbours);
	mem_free(part->weights);
	part->neighbours = mem_alloc(capacity, sizeof *part->neighbours, error);
	part->weights = mem_alloc(capacity, sizeof *part->weights, error);
	part->capacity = part->neighbours && part->weights ? capacity : 0;
	return part->capacity ? 0 : -1;
}

void similarity_part_release(struct similarity_part *part)
{
	mem_free(part->neighbours);
	mem_free(part->weights);
	*part = (struct similarity_part){0};
}

static int check_entries(const struct stream_reader *reader, const struct stream_info *info,
                         struct similarity_part *part, struct error *error)
{
	for (uint32_t i = 0; i < part->count; i++) {
		const uint64_t place = (uint64_t)part->item << 32 | part->neighbours[i];
		if (part->neighbours[i] >= info->items.count)
			return refuse(reader, part, i, "a neighbour that is no item", error);
		if (part->neighbours[i] == part->item)
			return refuse(reader, part, i, "an item is its own neighbour", error);
		if (place < part->next)
			return refuse(reader, part, i, "out of order, expected ascending rows and neighbours", error);
		if (!isfinite(part->weights[i]))
			return refuse(reader, part, i, "a weight that is not finite", error);
		part->next = place + 1;
	}
	return 0;
}

int similarity_part_read(struct stream_reader *reader, const struct stream_info *info, struct similarity_part *part,
                         struct error *error)
{
	int result = stream_next(reader, error);
	if (result <= 0)
		return result;
	const unsigned char *from = stream_take(reader, HEAD, error);
	if (!from)
		return -1;
	const uint32_t count = get_u32(from + 4), first = get_u32(from + 8);
	part->item = get_u32(from);
	part->count = count;
	if (part->item >= info->items.count)
		return refuse(reader, part, 0, "the row is of no item", error);
	if (count == 0)
		return refuse(reader, part, 0, "a part without weights", error);
	from = stream_take(reader, (size_t)count * (first == listed ? 8 : 4), error); /* checks the count */
	if (!from || reserve(part, count, error) < 0)
		return -1;
	for (uint32_t i = 0; i < count; i++) {
		const uint64_t neighbour = first == listed ? get_u32(from + 4 * (size_t)i) : (uint64_t)first + i;
		part->neighbours[i] = neighbour < UINT32_MAX ? (uint32_t)neighbour : UINT32_MAX;
	}
	from += first == listed ? 4 * (size_t)count : 0;
	for (uint32_t i = 0; i < count; i++)
		part->weights[i] = get_f32(from + 4 * (size_t)i);
	return check_entries(reader, info, part, error) < 0 ? -1 : 1;
}

/* ---- writing ---- */

/* A record's head; what follows is filled in by the caller. */
static unsigned char *begin_part(struct stream_writer *writer, uint32_t item, uint32_t count, uint32_t first,
                                 struct error *error)
{
	unsigned char *to = stream_reserve(writer, HEAD + (size_t)count * (first == listed ? 8 : 4), error);
	if (!to)
		return NULL;
	put_u32(to, item);
	put_u32(to + 4, count);
	put_u32(to + 8, first);
	return to + HEAD;
}

int similarity_write_run(struct stream_writer *writer, uint32_t item, uint32_t first, const float *weights,
                         uint32_t count, struct error *error)
{
	for (uint32_t at = 0, part; at < count; at += part) {
		part = count - at < RUN_PART ? count - at : RUN_PART;
		unsigned char *to = begin_part(writer, item, part, first + at, error);
		if (!to)
			return -1;
		for (uint32_t i = 0; i < part; i++)
			put_f32(to + 4 * (size_t)i, weights[at + i]);
	}
	return 0;
}

int similarity_write_listed(struct stream_writer *writer, uint32_t item, const uint32_t *neighbours,
                            const float *weights, uint32_t count, struct error *error)
{
	for (uint32_t at = 0, part; at < count; at += part) {
		part = count - at < LISTED_PART ? count - at : LISTED_PART;
		unsigned char *to = begin_part(writer, item, part, listed, error);
		if (!to)
			return -1;
		for (uint32_t i = 0; i < part; i++, to += 4)
			put_u32(to, neighbours[at + i]);
		for (uint32_t i = 0; i < part; i++, to += 4)
			put_f32(to, weights[at + i]);
	}
	return 0;
}
