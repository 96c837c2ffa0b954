/* The four columns of raw ratings: finding them, and reading rows with every value checked. */
#include <ctype.h>
#include <math.h>

#include "csv_scan.h"
#include "options.h"

enum { SYNONYMS_MAX = 14, NAME_LENGTH_MAX = 64 };

/* Header names, lower case, letters and digits only. */
static const char *const synonyms[RATINGS_COLUMNS][SYNONYMS_MAX] = {
	[COLUMN_USER] = {"userid", "user", "uid", "userindex", "customerid", "customer", "visitorid", "reviewerid",
	                 "userno", "member", "memberid"},
	[COLUMN_ITEM] = {"movieid", "itemid", "item", "movie", "iid", "productid", "product", "bookid", "songid", "sku",
	                 "asin", "isbn", "artistid"},
	[COLUMN_RATING] = {"rating", "ratings", "score", "stars", "value", "preference", "weight", "overall", "plays"},
	[COLUMN_TIME] = {"timestamp", "time", "ts", "date", "unixreviewtime", "createdat", "datetime", "unixtime"},
};

static const char *const column_names[RATINGS_COLUMNS] = {"user", "item", "rating", "time"};

/* ---- values ---- */

/* Powers of ten that a double holds exactly, as it does whatever has fewer digits than there are powers. */
static const double tens[] = {1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};

/* Short decimals are one exact division; anything else goes to strtod. */
bool csv_rating_of(const char *from, size_t length, double *value)
{
	const char *at = from, *end = at + length;
	const bool negative = at < end && *at == '-';
	uint64_t digits = 0;
	size_t count = 0, behind = 0;
	bool point = false;
	for (at += negative; at < end && count + 1 < COUNT_OF(tens); at++) {
		if (*at == '.' && !point) {
			point = true;
			continue;
		}
		if (*at < '0' || *at > '9')
			break;
		digits = digits * 10 + (uint64_t)(*at - '0');
		count++;
		behind += point;
	}
	if (at == end && count > 0) {
		*value = (double)digits / tens[behind];
		*value = negative ? -*value : *value;
		return true;
	}
	char text[64], *stop;
	if (length == 0 || length >= sizeof text || isspace((unsigned char)from[0]))
		return false;
	memcpy(text, from, length);
	text[length] = '\0';
	*value = strtod(text, &stop);
	return *stop == '\0' && isfinite(*value) && !strpbrk(text, "xXpP");
}

bool csv_time_of(const char *text, size_t length, int64_t *value)
{
	const char *at = text, *end = at + length;
	const bool negative = at < end && *at == '-';
	int64_t number = 0;
	size_t digits = 0;
	for (at += negative; at < end && *at >= '0' && *at <= '9'; at++, digits++)
		if (__builtin_mul_overflow(number, 10, &number) ||
		    __builtin_sub_overflow(number, *at - '0', &number))
			return false;
	if (digits == 0)
		return false;
	if (at < end && *at == '.')
		for (at++; at < end && *at >= '0' && *at <= '9'; at++)
			;
	if (at < end || (!negative && number == INT64_MIN))
		return false;
	*value = negative ? number : -number;
	return true;
}

/* ---- finding columns ---- */

static void plain_name(const char *text, size_t length, char name[NAME_LENGTH_MAX])
{
	size_t used = 0;
	for (size_t i = 0; i < length && used + 1 < NAME_LENGTH_MAX; i++)
		if (isalnum((unsigned char)text[i]))
			name[used++] = (char)tolower((unsigned char)text[i]);
	name[used] = '\0';
}

static int column_of_name(const char *text, size_t length)
{
	char name[NAME_LENGTH_MAX];
	plain_name(text, length, name);
	for (int c = 0; c < RATINGS_COLUMNS; c++)
		for (size_t s = 0; s < SYNONYMS_MAX && synonyms[c][s]; s++)
			if (strcmp(synonyms[c][s], name) == 0)
				return c;
	return -1;
}

static int doubled(const struct csv_reader *reader, int column, struct error *error)
{
	return error_set(error, CODE_DATA, "%s:%llu: two columns for the %s, expected one (see --columns)",
	                 reader->input.name, (unsigned long long)reader->line, column_names[column]);
}

/* A header is a first record that names the user and the item. */
static int find_by_header(const struct csv_reader *reader, struct ratings_columns *columns, struct error *error)
{
	size_t named = 0;
	for (size_t f = 0; f < reader->field_count; f++) {
		int column = column_of_name(reader->fields[f].text, reader->fields[f].length);
		if (column < 0)
			continue;
		if (columns->at[column] >= 0)
			return doubled(reader, column, error);
		columns->at[column] = (int)f;
		named++;
	}
	columns->has_header = named > 0;
	return 0;
}

static int find_by_position(const struct csv_reader *reader, struct ratings_columns *columns, struct error *error)
{
	if (reader->field_count < 2)
		return error_set(error, CODE_DATA,
		                 "%s:%llu: 1 column, expected a user and an item at least (is it the right --delimiter?)",
		                 reader->input.name, (unsigned long long)reader->line);
	for (int c = 0; c < RATINGS_COLUMNS; c++)
		columns->at[c] = (size_t)c < reader->field_count ? c : -1;
	double number;
	for (int c = COLUMN_RATING; c <= COLUMN_TIME; c++)
		if (columns->at[c] >= 0 && !csv_rating_of(reader->fields[c].text, reader->fields[c].length, &number))
			return error_set(error, CODE_DATA,
			                 "%s:%llu: column %d is no number and the header is not known, "
			                 "expected names like userId,movieId,rating,timestamp (or --columns)",
			                 reader->input.name, (unsigned long long)reader->line, c + 1);
	return 0;
}

static int column_of_word(const char *word)
{
	for (int c = 0; c < RATINGS_COLUMNS; c++)
		if (strcmp(column_names[c], word) == 0)
			return c;
	return column_of_name(word, strlen(word));
}

/* A field by its number from 1, or by its header name. */
static int field_of_word(const struct csv_reader *reader, const char *word, bool *by_name, struct error *error)
{
	int64_t number = 0;
	if (isdigit((unsigned char)word[0])) {
		if (parse_int("--columns", word, 1, CSV_COLUMNS_MAX, &number, error) < 0)
			return -1;
		return (int)number - 1;
	}
	for (size_t f = 0; f < reader->field_count; f++)
		if (reader->fields[f].length == strlen(word) &&
		    memcmp(reader->fields[f].text, word, strlen(word)) == 0) {
			*by_name = true;
			return (int)f;
		}
	return error_set(error, CODE_DATA, "%s:%llu: no column named '%s'", reader->input.name,
	                 (unsigned long long)reader->line, word);
}

/* One part of --columns: "user=3", "item=sku", or a name at its position ("-" for none of ours). */
static int take_column_word(const struct csv_reader *reader, char *word, int position, struct ratings_columns *columns,
                            struct error *error)
{
	char *equals = strchr(word, '=');
	int field = position;
	if (strcmp(word, "-") == 0)
		return 0;
	if (equals)
		*equals = '\0';
	int column = column_of_word(word);
	if (column < 0)
		return error_set(error, CODE_USAGE, "--columns: '%s' is unknown, expected user, item, rating or time", word);
	if (equals && (field = field_of_word(reader, equals + 1, &columns->has_header, error)) < 0)
		return -1;
	if (columns->at[column] >= 0)
		return error_set(error, CODE_USAGE, "--columns: two columns for the %s", column_names[column]);
	columns->at[column] = field;
	return 0;
}

static int find_by_spec(const struct csv_reader *reader, const char *spec, struct ratings_columns *columns,
                        struct error *error)
{
	int position = 0;
	for (const char *at = spec; *at; position++) {
		char word[NAME_LENGTH_MAX];
		size_t length = strcspn(at, ",");
		if (length >= sizeof word)
			return error_set(error, CODE_USAGE, "--columns: '%s' is too long", spec);
		memcpy(word, at, length);
		word[length] = '\0';
		if (take_column_word(reader, word, position, columns, error) < 0)
			return -1;
		at += length;
		at += *at == ',';
	}
	/* A first record whose columns are named is a header, also when the spec goes by position. */
	for (size_t f = 0; f < reader->field_count && !columns->has_header; f++)
		columns->has_header = column_of_name(reader->fields[f].text, reader->fields[f].length) >= 0;
	return 0;
}

int ratings_columns_find(struct csv_reader *reader, const char *spec, struct ratings_columns *columns,
                         struct error *error)
{
	*columns = (struct ratings_columns){.at = {-1, -1, -1, -1}};
	enum csv_verdict verdict = csv_peek(reader, error);
	if (verdict == CSV_ERROR)
		return -1;
	if (verdict == CSV_END)
		return error_set(error, CODE_DATA, "%s: empty, expected ratings", reader->input.name);
	if (verdict == CSV_BAD)
		return error_set(error, CODE_DATA, "%s:%llu: %s, expected a header or a rating", reader->input.name,
		                 (unsigned long long)reader->line, reader->bad);
	int result = spec ? find_by_spec(reader, spec, columns, error) : find_by_header(reader, columns, error);
	if (result == 0 && !spec && !columns->has_header)
		result = find_by_position(reader, columns, error);
	if (result < 0)
		return -1;
	for (int c = COLUMN_USER; c <= COLUMN_ITEM; c++)
		if (columns->at[c] < 0)
			return error_set(error, CODE_DATA, "%s:%llu: no column for the %s, expected a header like "
			                 "userId,movieId,rating,timestamp (or --columns)",
			                 reader->input.name, (unsigned long long)reader->line, column_names[c]);
	if (columns->has_header && csv_next(reader, error) == CSV_ERROR)
		return -1;
	return 0;
}

/* ---- rows ---- */

static bool is_utf8(const char *text, size_t length)
{
	const unsigned char *at = (const unsigned char *)text, *end = at + length;
	while (at < end) {
		if (*at < 0x80) {
			at++;
			continue;
		}
		size_t more = *at >= 0xf0 && *at < 0xf5 ? 3 : *at >= 0xe0 ? 2 : *at >= 0xc2 ? 1 : 0;
		if (*at >= 0xf5 || more == 0 || (size_t)(end - at) <= more)
			return false;
		uint32_t code = *at & (0x3fu >> more);
		for (size_t i = 1; i <= more; i++) {
			if ((at[i] & 0xc0) != 0x80)
				return false;
			code = code << 6 | (at[i] & 0x3fu);
		}
		static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
		if (code < least[more] || (code >= 0xd800 && code < 0xe000) || code > 0x10ffff)
			return false;
		at += more + 1;
	}
	return true;
}

static bool refuse(struct rating_row *row, const char *reason)
{
	row->reason = reason;
	return false;
}

static bool take_id(const struct csv_reader *reader, int at, struct csv_field *id, struct rating_row *row)
{
	if ((size_t)at >= reader->field_count)
		return refuse(row, "too few columns");
	*id = reader->fields[at];
	if (id->length == 0)
		return refuse(row, "an empty id");
	return is_utf8(id->text, id->length) ? true : refuse(row, "an id that is not UTF-8");
}

static bool check_row(const struct csv_reader *reader, const struct ratings_columns *columns, struct rating_row *row)
{
	const int rating = columns->at[COLUMN_RATING], time = columns->at[COLUMN_TIME];
	if (!take_id(reader, columns->at[COLUMN_USER], &row->user, row) ||
	    !take_id(reader, columns->at[COLUMN_ITEM], &row->item, row))
		return false;
	row->rating = 1.0;
	row->time = 0;
	row->rating_text = (struct csv_field){"", 0};
	if (rating >= 0) {
		if ((size_t)rating >= reader->field_count)
			return refuse(row, "too few columns");
		row->rating_text = reader->fields[rating];
		if (!csv_rating_of(row->rating_text.text, row->rating_text.length, &row->rating))
			return refuse(row, "a rating that is no finite number");
	}
	if (time >= 0) {
		if ((size_t)time >= reader->field_count)
			return refuse(row, "too few columns");
		if (!csv_time_of(reader->fields[time].text, reader->fields[time].length, &row->time))
			return refuse(row, "a time that is no 64-bit integer");
	}
	return true;
}

enum csv_verdict rating_row_next(struct csv_reader *reader, const struct ratings_columns *columns,
                                 struct rating_row *row, struct error *error)
{
	enum csv_verdict verdict = csv_next(reader, error);
	row->reason = reader->bad;
	if (verdict != CSV_RECORD)
		return verdict;
	return check_row(reader, columns, row) ? CSV_RECORD : CSV_BAD;
}
