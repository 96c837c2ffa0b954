/* The tokeniser: records out of a sliding window of the input.
 *
 * The window holds the current record whole and grows up to CSV_RECORD_MAX; a longer one is a bad record,
 * and reading goes on behind its line. The window's bytes are never changed, so that a bad record can be kept
 * as it came: fields point into it, and only a field with doubled quotes is copied. A quote that is never
 * closed spoils only the line it begins in: the next record begins at the next line. */
#include "csv.h"

#include "mem.h"

enum {
	WINDOW_FIRST = 1 << 18,
	CSV_RECORD_MAX = CSV_FIELD_MAX + (CSV_FIELD_MAX >> 1), /* one longest field and room for the others */
	CSV_LINES_MAX = 1000, /* lines a quoted record may span, so that stray quotes stay cheap */
};

/* ---- the window ---- */

/* Reads more behind what is there. Returns 1 when there is more, 0 at the end of the input. */
static int fill_window(struct csv_reader *reader, struct error *error)
{
	if (reader->input_ended)
		return 0;
	if (reader->begin > 0 && reader->begin * 2 > reader->capacity) {
		memmove(reader->buffer, reader->buffer + reader->begin, reader->end - reader->begin);
		reader->end -= reader->begin;
		reader->begin = 0;
	}
	if (reader->end == reader->capacity &&
	    mem_grow((void **)&reader->buffer, &reader->capacity, reader->capacity + WINDOW_FIRST, 1, error) < 0)
		return -1;
	char *to = reader->buffer + reader->end;
	ptrdiff_t got = reader->more ? reader->more(reader->more_context, to, reader->capacity - reader->end, error)
	                             : input_read(&reader->input, to, reader->capacity - reader->end, error);
	if (got < 0)
		return -1;
	if (got == 0)
		reader->input_ended = true;
	reader->end += (size_t)got;
	return got > 0;
}

enum line_verdict { LINE_FOUND, LINE_LAST, LINE_TOO_LONG, LINE_ERROR };

/* Looks for a newline from `from_begin` bytes behind the window's begin on, filling the window as needed:
 * *at is where it stands (LINE_FOUND) or where the input ends (LINE_LAST), relative to begin. */
static enum line_verdict find_newline(struct csv_reader *reader, size_t from_begin, size_t *at, struct error *error)
{
	for (;;) {
		const char *start = reader->buffer + reader->begin;
		const size_t size = reader->end - reader->begin;
		const char *newline = size > from_begin ? memchr(start + from_begin, '\n', size - from_begin) : NULL;
		if (newline) {
			*at = (size_t)(newline - start);
			return LINE_FOUND;
		}
		if (size > CSV_RECORD_MAX)
			return LINE_TOO_LONG;
		from_begin = size;
		int more = fill_window(reader, error);
		if (more < 0)
			return LINE_ERROR;
		if (more == 0) {
			*at = size;
			return LINE_LAST;
		}
	}
}

/* Drops the rest of a line that is too long for the window. */
static int skip_long_line(struct csv_reader *reader, struct error *error)
{
	for (;;) {
		const char *start = reader->buffer + reader->begin;
		const char *newline = memchr(start, '\n', reader->end - reader->begin);
		size_t drop = newline ? (size_t)(newline - start) + 1 : reader->end - reader->begin;
		reader->begin += drop;
		reader->next_offset += drop;
		if (newline) {
			reader->next_line++;
			return 0;
		}
		reader->begin = reader->end = 0;
		int more = fill_window(reader, error);
		if (more <= 0)
			return more;
	}
}

/* ---- fields ---- */

static bool at_delimiter(const struct csv_reader *reader, const char *at, const char *end)
{
	if (*at != reader->delimiter[0])
		return false;
	return reader->delimiter[1] == '\0' || (at + 1 < end && at[1] == reader->delimiter[1]);
}

/* Takes the field that begins with the quote at `at`. One with doubled quotes is put together at *spare, which
 * moves on. Returns what follows the field, or NULL with reader->bad set. */
static const char *take_quoted(struct csv_reader *reader, const char *at, const char *end, char **spare,
                               struct csv_field *field)
{
	const char *from = at + 1, *quote;
	char *to = *spare;
	while ((quote = memchr(from, '"', (size_t)(end - from)))) {
		const size_t piece = (size_t)(quote - from);
		if (quote + 1 < end && quote[1] == '"') {
			memcpy(to, from, piece + 1);
			to += piece + 1;
			from = quote + 2;
			continue;
		}
		*field = (struct csv_field){from, piece};
		if (to != *spare) {
			memcpy(to, from, piece);
			to += piece;
			*field = (struct csv_field){*spare, (size_t)(to - *spare)};
			*spare = to;
		}
		if (quote + 1 < end && !at_delimiter(reader, quote + 1, end)) {
			reader->bad = "text behind a closing quote";
			return NULL;
		}
		return quote + 1;
	}
	reader->bad = "a quote that is never closed";
	return NULL;
}

static const char *take_plain(const struct csv_reader *reader, const char *at, const char *end,
                              struct csv_field *field)
{
	const size_t width = reader->delimiter[1] ? 2 : 1;
	const char *stop = at;
	if (width == 1) {
		stop = memchr(at, reader->delimiter[0], (size_t)(end - at));
		if (!stop)
			stop = end;
	} else {
		while (stop < end && !at_delimiter(reader, stop, end))
			stop++;
	}
	*field = (struct csv_field){at, (size_t)(stop - at)};
	return stop;
}

/* Quotes are followed line by line without touching the bytes, so that a record that stays open can still
 * be given up after its first line. */
struct quote_state {
	bool inside, field_begins, malformed;
};

static void follow_quotes(const struct csv_reader *reader, struct quote_state *state, const char *at, const char *end)
{
	const size_t width = reader->delimiter[1] ? 2 : 1;
	while (at < end && !state->malformed) {
		if (state->inside) {
			const char *quote = memchr(at, '"', (size_t)(end - at));
			if (!quote)
				return;
			at = quote + 1;
			if (at < end && *at == '"') {
				at++;
				continue;
			}
			state->inside = false;
			state->malformed = at < end && *at != '\r' && *at != '\n' && !at_delimiter(reader, at, end);
			state->field_begins = false;
		} else if (state->field_begins && *at == '"') {
			state->inside = true;
			at++;
		} else {
			state->field_begins = at_delimiter(reader, at, end);
			at += state->field_begins ? width : 1;
		}
	}
}

/* Splits [at, end) into reader->fields. NULL, or why it cannot be. */
static const char *split_record(struct csv_reader *reader, const char *at, const char *end)
{
	const size_t width = reader->delimiter[1] ? 2 : 1;
	char *spare = reader->unquoted;
	reader->field_count = 0;
	for (;;) {
		if (reader->field_count == CSV_COLUMNS_MAX)
			return "too many columns";
		struct csv_field *field = &reader->fields[reader->field_count++];
		at = at < end && *at == '"' ? take_quoted(reader, at, end, &spare, field) : take_plain(reader, at, end, field);
		if (!at)
			return reader->bad;
		if (field->length > CSV_FIELD_MAX)
			return "a field longer than 1 MiB";
		if (at >= end)
			return NULL;
		at += width;
	}
}

/* ---- records ---- */

/* Where the record at the window's begin ends, relative to it. */
struct extent {
	size_t length;    /* without its line end */
	size_t consumed;
	uint64_t lines;
	bool quoted;      /* there are quotes: fields may have to be put together */
};

static enum csv_verdict find_record(struct csv_reader *reader, struct extent *extent, struct error *error)
{
	struct quote_state quotes = {.field_begins = true};
	size_t at = 0, begin = 0, first_line = 0;
	for (uint64_t lines = 1;; lines++, begin = at + 1) {
		enum line_verdict verdict = find_newline(reader, begin, &at, error);
		if (verdict == LINE_ERROR)
			return CSV_ERROR;
		if (verdict == LINE_TOO_LONG && lines == 1) {
			reader->bad = "a field longer than 1 MiB";
			return CSV_BAD;
		}
		const char *start = reader->buffer + reader->begin;
		bool whole = false;
		if (verdict != LINE_TOO_LONG) {
			/* Only a quote can carry a record over the end of its line. */
			extent->quoted = lines > 1 || memchr(start, '"', at);
			if (extent->quoted)
				follow_quotes(reader, &quotes, start + begin, start + at);
			whole = !quotes.inside && !quotes.malformed;
		}
		if (lines == 1)
			first_line = at;
		if (whole) {
			*extent = (struct extent){at, at + (verdict == LINE_FOUND), lines, extent->quoted};
			return CSV_RECORD;
		}
		/* Never closed, or closed in the wrong place: the first line alone is given up. */
		if (verdict != LINE_FOUND || quotes.malformed || lines == CSV_LINES_MAX) {
			*extent = (struct extent){first_line, first_line + (lines > 1 || verdict == LINE_FOUND), 1, true};
			return CSV_RECORD;
		}
	}
}

static void consume(struct csv_reader *reader, const struct extent *extent)
{
	reader->begin += extent->consumed;
	reader->next_offset += extent->consumed;
	reader->next_line += extent->lines;
}

/* Finds the next record that is not blank: it begins at the window's begin. */
static enum csv_verdict locate_record(struct csv_reader *reader, struct extent *extent, struct error *error)
{
	for (;;) {
		reader->line = reader->next_line;
		reader->offset = reader->next_offset;
		reader->bad = NULL;
		reader->raw = (struct csv_field){"", 0};
		enum csv_verdict verdict = find_record(reader, extent, error);
		if (verdict == CSV_BAD)
			return skip_long_line(reader, error) < 0 ? CSV_ERROR : CSV_BAD;
		if (verdict == CSV_ERROR)
			return CSV_ERROR;
		if (extent->consumed == 0)
			return CSV_END;
		const char *start = reader->buffer + reader->begin;
		while (extent->length > 0 && start[extent->length - 1] == '\r')
			extent->length--;
		if (extent->length > 0)
			return CSV_RECORD;
		consume(reader, extent);
	}
}

/* Splits the record that `extent` found at the window's begin. */
static enum csv_verdict split_located(struct csv_reader *reader, const struct extent *extent, struct error *error)
{
	const char *start = reader->buffer + reader->begin;
	reader->raw = (struct csv_field){start, extent->length};
	if (extent->quoted && mem_grow((void **)&reader->unquoted, &reader->unquoted_capacity, extent->length, 1,
	                               error) < 0)
		return CSV_ERROR;
	reader->bad = memchr(start, '\0', extent->length) ? "a NUL byte"
	                                                  : split_record(reader, start, start + extent->length);
	return reader->bad ? CSV_BAD : CSV_RECORD;
}

enum csv_verdict csv_next(struct csv_reader *reader, struct error *error)
{
	struct extent extent;
	enum csv_verdict verdict = locate_record(reader, &extent, error);
	if (verdict != CSV_RECORD)
		return verdict;
	verdict = split_located(reader, &extent, error);
	consume(reader, &extent);
	return verdict;
}

enum csv_verdict csv_peek(struct csv_reader *reader, struct error *error)
{
	struct extent extent;
	enum csv_verdict verdict = locate_record(reader, &extent, error);
	return verdict == CSV_RECORD ? split_located(reader, &extent, error) : verdict;
}

/* ---- opening ---- */

static const char *const delimiters[] = {"::", ",", "\t", ";", "|"};

/* The byte order mark, and the blank lines before the first record, which would mislead find_delimiter. */
static int skip_mark_and_blank_lines(struct csv_reader *reader, struct error *error)
{
	int more = 1;
	while (reader->end < 3 && more > 0)
		more = fill_window(reader, error);
	if (more >= 0 && reader->end >= 3 && memcmp(reader->buffer, "\xef\xbb\xbf", 3) == 0)
		reader->begin = reader->next_offset = 3;
	while (more >= 0) {
		while (reader->begin < reader->end &&
		       (reader->buffer[reader->begin] == '\n' || reader->buffer[reader->begin] == '\r')) {
			reader->next_line += reader->buffer[reader->begin++] == '\n';
			reader->next_offset++;
		}
		if (reader->begin < reader->end || (more = fill_window(reader, error)) == 0)
			return 0;
	}
	return -1;
}

static size_t count_fields(struct csv_reader *reader, const char *delimiter, const char *line, size_t length)
{
	size_t count = 1;
	bool quoted = false;
	snprintf(reader->delimiter, sizeof reader->delimiter, "%s", delimiter);
	for (const char *at = line; at < line + length; at++) {
		if (*at == '"')
			quoted = !quoted;
		else if (!quoted && at_delimiter(reader, at, line + length))
			count++;
	}
	return count;
}

/* The delimiter that gives most fields in the first line; one that gives as many in the second wins. */
static int find_delimiter(struct csv_reader *reader, struct error *error)
{
	const char *best = ",";
	size_t first = 0, second = 0, best_score = 0;
	if (find_newline(reader, 0, &first, error) == LINE_ERROR ||
	    find_newline(reader, first + 1, &second, error) == LINE_ERROR)
		return -1;
	const char *line = reader->buffer + reader->begin;
	for (size_t c = 0; c < COUNT_OF(delimiters); c++) {
		size_t count = count_fields(reader, delimiters[c], line, first);
		bool again = second > first && count_fields(reader, delimiters[c], line + first + 1,
		                                            second - first - 1) == count;
		size_t score = count < 2 ? 0 : 2 * count + (again ? CSV_COLUMNS_MAX : 0);
		if (score > best_score) {
			best_score = score;
			best = delimiters[c];
		}
	}
	snprintf(reader->delimiter, sizeof reader->delimiter, "%s", best);
	return 0;
}

static bool is_delimiter(const char *text)
{
	size_t i = 0;
	while (i < COUNT_OF(delimiters) && strcmp(delimiters[i], text) != 0)
		i++;
	return i < COUNT_OF(delimiters);
}

int csv_open(struct csv_reader *reader, const char *path, const char *delimiter, struct error *error)
{
	*reader = (struct csv_reader){.next_line = 1};
	if (delimiter && strcmp(delimiter, "\\t") == 0)
		delimiter = "\t";
	if (delimiter && !is_delimiter(delimiter))
		return error_set(error, CODE_USAGE, "--delimiter: '%s' is unknown, expected , tab ; | or ::", delimiter);
	if (input_open(&reader->input, path, error) < 0 ||
	    mem_grow((void **)&reader->buffer, &reader->capacity, WINDOW_FIRST, 1, error) < 0)
		return -1;
	if (skip_mark_and_blank_lines(reader, error) < 0)
		return -1;
	if (!delimiter)
		return find_delimiter(reader, error);
	snprintf(reader->delimiter, sizeof reader->delimiter, "%s", delimiter);
	return 0;
}

void csv_release(struct csv_reader *reader)
{
	input_release(&reader->input);
	mem_free(reader->buffer);
	mem_free(reader->unquoted);
	*reader = (struct csv_reader){0};
}
