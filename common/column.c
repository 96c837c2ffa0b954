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
		void *chunk = malloc((size_t)COLUMN_CHUNK << wider.width_bits);
		if (!chunk)
			return error_set(error, CODE_SYSTEM, "out of memory for a column");
		const size_t begin = c << COLUMN_CHUNK_BITS;
		const size_t left = column->count - begin < COLUMN_CHUNK ? (size_t)(column->count - begin) : COLUMN_CHUNK;
		for (size_t i = 0; i < left; i++) {
			struct column one = {.chunks = &column->chunks[c], .width_bits = column->width_bits};
			put(&wider, chunk, i, column_get(&one, i));
		}
		free(column->chunks[c]);
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
		void *chunk = malloc((size_t)COLUMN_CHUNK << column->width_bits);
		if (!chunk)
			return error_set(error, CODE_SYSTEM, "out of memory for a column");
		column->chunks[column->chunk_count++] = chunk;
	}
	put(column, column->chunks[column->chunk_count - 1], column->count & (COLUMN_CHUNK - 1), value);
	column->count++;
	return 0;
}

void column_release(struct column *column)
{
	for (size_t c = 0; c < column->chunk_count; c++)
		free(column->chunks[c]);
	mem_free(column->chunks);
	*column = (struct column){0};
}
