/* What a parser makes of a file of ratings, as text: rating_row_next row by row, or csv_rows_next with its runs taken
 * apart. The two must be equal for any bytes, threads and cuts. Shared by the unit test and the fuzz target. */
#ifndef RECPIPE_CSV_REFERENCE_H
#define RECPIPE_CSV_REFERENCE_H

#include <inttypes.h>
#include <stdarg.h>

#include "csv_rows.h"
#include "decimal.h"

struct transcript {
	char *text;
	size_t length, capacity;
};

__attribute__((format(printf, 2, 3))) static inline void transcript_add(struct transcript *out, const char *format, ...)
{
	va_list arguments;
	for (;;) {
		const size_t room = out->capacity - out->length;
		va_start(arguments, format);
		const int need = vsnprintf(out->text + out->length, room, format, arguments);
		va_end(arguments);
		if (need < 0)
			abort();
		if ((size_t)need < room) {
			out->length += (size_t)need;
			return;
		}
		out->capacity = 2 * out->capacity + (size_t)need + 1;
		out->text = realloc(out->text, out->capacity);
		if (!out->text)
			abort();
	}
}

static inline void transcript_field(struct transcript *out, const char *text, size_t length)
{
	/* In pieces: the bytes as they are, but for those that would hide in a message. */
	transcript_add(out, " %zu:", length);
	for (size_t i = 0; i < length;) {
		size_t plain = i;
		while (plain < length && text[plain] > ' ' && text[plain] < 0x7f)
			plain++;
		if (plain > i)
			transcript_add(out, "%.*s", (int)(plain - i), text + i);
		else
			transcript_add(out, "<%02x>", (unsigned char)text[plain++]);
		i = plain;
	}
}

static inline void transcript_row(struct transcript *out, uint64_t line, const struct rating_row *row)
{
	uint64_t bits;
	memcpy(&bits, &row->rating, sizeof bits);
	transcript_add(out, "%" PRIu64 " %" PRIx64 " %" PRId64, line, bits, row->time);
	transcript_field(out, row->user.text, row->user.length);
	transcript_field(out, row->item.text, row->item.length);
	transcript_field(out, row->rating_text.text, row->rating_text.length);
	transcript_add(out, "\n");
}

static inline void transcript_bad(struct transcript *out, const struct csv_reader *reader, const char *reason)
{
	transcript_add(out, "%" PRIu64 " at %" PRIu64 " %s", reader->line, reader->offset, reason);
	transcript_field(out, reader->raw.text, reader->raw.length);
	transcript_add(out, "\n");
}

/* The parser that takes everything, alone. */
static inline void transcript_robust(struct transcript *out, const char *path, const char *delimiter, const char *spec)
{
	static struct csv_reader reader;
	struct ratings_columns columns;
	struct rating_row row = {.rating = 0};
	struct error error = {0};
	enum csv_verdict verdict = CSV_ERROR;
	if (csv_open(&reader, path, delimiter, &error) == 0 && ratings_columns_find(&reader, spec, &columns, &error) == 0)
		while ((verdict = rating_row_next(&reader, &columns, &row, &error)) > CSV_END) {
			if (verdict == CSV_BAD)
				transcript_bad(out, &reader, row.reason);
			else
				transcript_row(out, reader.line, &row);
		}
	transcript_add(out, "end %d %d %s\n", (int)verdict, (int)error.code, error.message);
	csv_release(&reader);
}

static inline void transcript_run(struct transcript *out, const struct csv_rows_run *run)
{
	for (size_t r = 0; r < run->count; r++) {
		char rooms[3][DECIMAL_TEXT_MAX];
		const struct rating_row row = {
			.user = csv_run_user(run, r, rooms[0]),
			.item = csv_run_item(run, r, rooms[1]),
			.rating_text = csv_run_rating(run, r, rooms[2]),
			.rating = csv_run_value(run, r),
			.time = run->times[r],
		};
		transcript_row(out, run->line + r, &row);
		/* What only the fast rows have must agree with their own texts. */
		if (run->users[r] != decimal_number(row.user.text, row.user.length) ||
		    run->items[r] != decimal_number(row.item.text, row.item.length) ||
		    (run->ratings[r] == 0) != (row.rating_text.length == 0 || row.rating_text.length > 4))
			transcript_add(out, "wrong numbers\n");
	}
}

/* Runs, and what is between them. *ordinary counts the rows that came in runs. */
static inline void transcript_rows(struct transcript *out, const char *path, const char *delimiter, const char *spec,
                                   size_t threads, size_t at_a_time, uint64_t *ordinary)
{
	static struct csv_rows rows;
	struct csv_rows_run run;
	struct error error = {0};
	int verdict = CSV_ERROR;
	if (csv_rows_open(&rows, path, delimiter, spec, threads, at_a_time, &error) == 0)
		while ((verdict = csv_rows_next(&rows, &run, &error)) > CSV_END) {
			if (verdict == CSV_ROWS) {
				transcript_run(out, &run);
				*ordinary += run.count;
			} else if (verdict == CSV_BAD) {
				transcript_bad(out, &rows.reader, run.odd.reason);
			} else {
				transcript_row(out, rows.reader.line, &run.odd);
			}
		}
	transcript_add(out, "end %d %d %s\n", verdict, (int)error.code, error.message);
	csv_rows_release(&rows);
}

#endif
