/* A column of unsigned integers, as many bytes wide as its largest value needs (1, 2, 4 or 8), in chunks, so
 * that growing never copies what is there: what csvsplit holds 20 million ratings in. */
#ifndef RECPIPE_COLUMN_H
#define RECPIPE_COLUMN_H

#include "compat.h"
#include "error.h"
#include "mem.h"

enum { COLUMN_CHUNK_BITS = 20, COLUMN_CHUNK = 1 << COLUMN_CHUNK_BITS };

struct column {
	void **chunks;           /* of COLUMN_CHUNK values each */
	size_t chunk_count, chunk_capacity;
	uint64_t count;
	unsigned width_bits;     /* 0..3: values of 1 << width_bits bytes */
	bool stepped;            /* the values are 0, then each the one before or one more: no chunks, but */
	uint32_t *steps;         /* where each value begins */
	size_t step_count, step_capacity;
};

/* A zeroed struct is an empty column. One with `stepped` alone holds the numbers of users who come one after the other in
 * 4 bytes a user; the first value out of turn makes it an ordinary one. */
MUST_CHECK int column_add(struct column *column, uint64_t value, struct error *error);
/* The same for `count` values in order. */
MUST_CHECK int column_add_many(struct column *column, const uint32_t *values, size_t count, struct error *error);
MUST_CHECK int column_add_wide(struct column *column, const uint64_t *values, size_t count, struct error *error);
void column_release(struct column *column);

/* `count` values from `index` on, all of which exist; the second of a column whose values are all below 2^32. */
void column_read(const struct column *column, uint64_t index, size_t count, uint64_t *values);
void column_read_narrow(const struct column *column, uint64_t index, size_t count, uint32_t *values);

/* The value at `index` of a stepped column. */
uint32_t column_step(const struct column *column, uint64_t index);

/* The value at `index` < count. */
static inline uint64_t column_get(const struct column *column, uint64_t index)
{
	if (column->stepped)
		return column_step(column, index);
	const void *chunk = column->chunks[index >> COLUMN_CHUNK_BITS];
	const size_t at = index & (COLUMN_CHUNK - 1);
	switch (column->width_bits) {
	case 0:
		return ((const uint8_t *)chunk)[at];
	case 1:
		return ((const uint16_t *)chunk)[at];
	case 2:
		return ((const uint32_t *)chunk)[at];
	default:
		return ((const uint64_t *)chunk)[at];
	}
}

/* Signed values as small unsigned ones: 0, -1, 1, -2, … */
static inline uint64_t column_zigzag(int64_t value)
{
	return ((uint64_t)value << 1) ^ (uint64_t)(value >> 63);
}

static inline int64_t column_unzigzag(uint64_t value)
{
	return (int64_t)(value >> 1) ^ -(int64_t)(value & 1);
}

#endif
