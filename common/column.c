/* See column.h. */
#include "column.h"

static void put(struct column *column, void *chunk, size_t at, uint64_t value)
{
	switch (column->width_bits) {
	case 0:
		((uint8_t *)chunk)[at] = (uint8_t)value;
		return;
	case 1:
		((uint16_t *)chunk)[at] = (uint16_t)value;
		return;
	case 2:
		((uint32_t *)chunk)[at] = (uint32_t)value;
		return;
	default:
		((uint64_t *)chunk)[at] = value;
	}
}

/* Doubles the width, a chunk at a time. */
static int widen(struct column *column, struct error *error)
{
	struct column wider = *column;
	wider.width_bits++;
	for (size_t c = 0; c < column->chunk_count; c++) {
		void *chunk = mem_alloc(COLUMN_CHUNK, (size_t)1 << wider.width_bits, error);
		if (!chunk)
			return -1;
		const size_t begin = c << COLUMN_CHUNK_BITS;
		const size_t left = column->count - begin < COLUMN_CHUNK ? (size_t)(column->count - begin) : COLUMN_CHUNK;
		for (size_t i = 0; i < left; i++) {
			struct column one = {.chunks = &column->chunks[c], .width_bits = column->width_bits};
			put(&wider, chunk, i, column_get(&one, i));
		}
		mem_free(column->chunks[c]);
		column->chunks[c] = chunk;
		/* Chunks behind this one still have the old width: finish all before anybody reads. */
	}
	column->width_bits = wider.width_bits;
	return 0;
}

/* ---- steps ---- */

uint32_t column_step(const struct column *column, uint64_t index)
{
	size_t low = 0, high = column->step_count; /* steps[low] <= index, and no step from `high` on is */
	while (high - low > 1) {
		const size_t middle = low + (high - low) / 2;
		if (column->steps[middle] <= index)
			low = middle;
		else
			high = middle;
	}
	return (uint32_t)low;
}

/* Takes as many of `count` values as are in turn. Returns how many, -1 on an error. */
static ptrdiff_t add_steps(struct column *column, const uint32_t *values, size_t count, struct error *error)
{
	size_t i = 0;
	if (column->count + count > UINT32_MAX)
		return 0;
	for (; i < count; i++) {
		if ((size_t)values[i] + 1 == column->step_count)
			continue;
		if (values[i] != column->step_count)
			break;
		if (mem_grow((void **)&column->steps, &column->step_capacity, column->step_count + 1, sizeof *column->steps,
		             error) < 0)
			return -1;
		column->steps[column->step_count++] = (uint32_t)(column->count + i);
	}
	column->count += i;
	return (ptrdiff_t)i;
}

static void read_steps(const struct column *column, uint64_t index, size_t count, uint32_t *values)
{
	size_t value = count > 0 ? column_step(column, index) : 0;
	for (size_t i = 0; i < count; value++) {
		const uint64_t end = value + 1 < column->step_count ? column->steps[value + 1] : column->count;
		const size_t stop = end - index < count ? (size_t)(end - index) : count;
		for (; i < stop; i++)
			values[i] = (uint32_t)value;
	}
}

/* Makes it an ordinary column. */
static int leave_steps(struct column *column, struct error *error)
{
	enum { BATCH = 1024 };
	uint32_t values[BATCH];
	struct column plain = {0};
	int result = 0;
	for (uint64_t r = 0; r < column->count && result == 0; r += BATCH) {
		const size_t some = column->count - r < BATCH ? (size_t)(column->count - r) : BATCH;
		read_steps(column, r, some, values);
		result = column_add_many(&plain, values, some, error);
	}
	column_release(result == 0 ? column : &plain);
	if (result == 0)
		*column = plain;
	return result;
}

/* ---- values ---- */

int column_add(struct column *column, uint64_t value, struct error *error)
{
	if (column->stepped) {
		const uint32_t narrow = (uint32_t)value;
		const ptrdiff_t took = value <= UINT32_MAX ? add_steps(column, &narrow, 1, error) : 0;
		if (took != 0)
			return took < 0 ? -1 : 0;
		if (leave_steps(column, error) < 0)
			return -1;
	}
	while (column->width_bits < 3 && value >> (8u << column->width_bits) != 0)
		if (widen(column, error) < 0)
			return -1;
	if ((column->count & (COLUMN_CHUNK - 1)) == 0) {
		if (mem_grow((void **)&column->chunks, &column->chunk_capacity, column->chunk_count + 1,
		             sizeof *column->chunks, error) < 0)
			return -1;
		void *chunk = mem_alloc(COLUMN_CHUNK, (size_t)1 << column->width_bits, error);
		if (!chunk)
			return -1;
		column->chunks[column->chunk_count++] = chunk;
	}
	put(column, column->chunks[column->chunk_count - 1], column->count & (COLUMN_CHUNK - 1), value);
	column->count++;
	return 0;
}

/* As many of `count` as end the last chunk, which has room. */
#define PUT_SOME(name, type) \
	static size_t name(struct column *column, const type *values, size_t count) \
	{ \
		const size_t at = column->count & (COLUMN_CHUNK - 1); \
		const unsigned width = column->width_bits; \
		void *chunk = column->chunks[column->chunk_count - 1]; \
		if (count > COLUMN_CHUNK - at) \
			count = COLUMN_CHUNK - at; \
		for (size_t i = 0; width == 0 && i < count; i++) \
			((uint8_t *)chunk)[at + i] = (uint8_t)values[i]; \
		for (size_t i = 0; width == 1 && i < count; i++) \
			((uint16_t *)chunk)[at + i] = (uint16_t)values[i]; \
		for (size_t i = 0; width == 2 && i < count; i++) \
			((uint32_t *)chunk)[at + i] = (uint32_t)values[i]; \
		for (size_t i = 0; width == 3 && i < count; i++) \
			((uint64_t *)chunk)[at + i] = values[i]; \
		column->count += count; \
		return count; \
	}

PUT_SOME(put_narrow, uint32_t)
PUT_SOME(put_wide, uint64_t)

#define ADD_ALL(name, put, type) \
	static int name(struct column *column, const type *values, size_t count, struct error *error) \
	{ \
		uint64_t bits = 0; \
		for (size_t i = 0; i < count; i++) \
			bits |= values[i]; \
		while (column->width_bits < 3 && bits >> (8u << column->width_bits) != 0) \
			if (widen(column, error) < 0) \
				return -1; \
		for (size_t done = 0; done < count;) { \
			/* The first value of a chunk makes it. */ \
			if ((column->count & (COLUMN_CHUNK - 1)) == 0) { \
				if (column_add(column, values[done++], error) < 0) \
					return -1; \
				continue; \
			} \
			done += put(column, values + done, count - done); \
		} \
		return 0; \
	}

ADD_ALL(add_narrow, put_narrow, uint32_t)
ADD_ALL(add_wide, put_wide, uint64_t)

int column_add_many(struct column *column, const uint32_t *values, size_t count, struct error *error)
{
	ptrdiff_t took = 0;
	if (column->stepped) {
		took = add_steps(column, values, count, error);
		if (took < 0 || (size_t)took == count)
			return took < 0 ? -1 : 0;
		if (leave_steps(column, error) < 0)
			return -1;
	}
	return add_narrow(column, values + took, count - (size_t)took, error);
}

int column_add_wide(struct column *column, const uint64_t *values, size_t count, struct error *error)
{
	if (column->stepped && leave_steps(column, error) < 0)
		return -1;
	return add_wide(column, values, count, error);
}

#define READ_ALL(name, type) \
	static void name(const struct column *column, uint64_t index, size_t count, type *values) \
	{ \
		const unsigned width = column->width_bits; \
		while (count > 0) { \
			const void *chunk = column->chunks[index >> COLUMN_CHUNK_BITS]; \
			const size_t at = index & (COLUMN_CHUNK - 1), some = count < COLUMN_CHUNK - at ? count : COLUMN_CHUNK - at; \
			for (size_t i = 0; width == 0 && i < some; i++) \
				values[i] = ((const uint8_t *)chunk)[at + i]; \
			for (size_t i = 0; width == 1 && i < some; i++) \
				values[i] = ((const uint16_t *)chunk)[at + i]; \
			for (size_t i = 0; width == 2 && i < some; i++) \
				values[i] = ((const uint32_t *)chunk)[at + i]; \
			for (size_t i = 0; width == 3 && i < some; i++) \
				values[i] = (type)((const uint64_t *)chunk)[at + i]; \
			index += some; \
			values += some; \
			count -= some; \
		} \
	}

READ_ALL(read_wide, uint64_t)
READ_ALL(read_narrow, uint32_t)

void column_read(const struct column *column, uint64_t index, size_t count, uint64_t *values)
{
	enum { BATCH = 1024 };
	uint32_t narrow[BATCH];
	if (!column->stepped) {
		read_wide(column, index, count, values);
		return;
	}
	for (size_t done = 0; done < count; done += BATCH) {
		const size_t some = count - done < BATCH ? count - done : BATCH;
		read_steps(column, index + done, some, narrow);
		for (size_t i = 0; i < some; i++)
			values[done + i] = narrow[i];
	}
}

void column_read_narrow(const struct column *column, uint64_t index, size_t count, uint32_t *values)
{
	if (column->stepped)
		read_steps(column, index, count, values);
	else
		read_narrow(column, index, count, values);
}

void column_release(struct column *column)
{
	for (size_t c = 0; c < column->chunk_count; c++)
		mem_free(column->chunks[c]);
	mem_free(column->chunks);
	mem_free(column->steps);
	*column = (struct column){0};
}
