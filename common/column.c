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

int column_add(struct column *column, uint64_t value, struct error *error)
{
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
	int name(struct column *column, const type *values, size_t count, struct error *error) \
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

ADD_ALL(column_add_many, put_narrow, uint32_t)
ADD_ALL(column_add_wide, put_wide, uint64_t)

#define READ_ALL(name, type) \
	void name(const struct column *column, uint64_t index, size_t count, type *values) \
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

READ_ALL(column_read, uint64_t)
READ_ALL(column_read_narrow, uint32_t)

void column_release(struct column *column)
{
	for (size_t c = 0; c < column->chunk_count; c++)
		mem_free(column->chunks[c]);
	mem_free(column->chunks);
	*column = (struct column){0};
}
