/* See catalogue.h. */
#include "catalogue.h"

#include <strings.h>

#include "csv.h"
#include "mem.h"

enum { ITEM_TITLE = 1, ITEM_FLAGS = 5, NO_COLUMN = -1 };

/* Where the fields are: of movies.csv by name, of u.item by place. */
struct layout {
	int item, title, genres;
	bool flags;              /* genres are columns of 0 and 1 from `genres` on, and the text is ISO-8859-1 */
	bool has_header;
};

static bool is_named(const struct csv_field *field, const char *name)
{
	return field->length == strlen(name) && strncasecmp(field->text, name, field->length) == 0;
}

static int find_layout(struct csv_reader *reader, struct layout *layout, struct error *error)
{
	*layout = (struct layout){NO_COLUMN, NO_COLUMN, NO_COLUMN, false, true};
	enum csv_verdict verdict = csv_peek(reader, error);
	if (verdict == CSV_ERROR)
		return -1;
	for (size_t f = 0; verdict == CSV_RECORD && f < reader->field_count; f++) {
		const struct csv_field *field = &reader->fields[f];
		if (is_named(field, "movieId") || is_named(field, "itemId") || is_named(field, "item"))
			layout->item = (int)f;
		else if (is_named(field, "title") || is_named(field, "name"))
			layout->title = (int)f;
		else if (is_named(field, "genres") || is_named(field, "genre"))
			layout->genres = (int)f;
	}
	if (layout->item >= 0 && layout->title >= 0)
		return csv_next(reader, error) == CSV_ERROR ? -1 : 0;
	if (verdict == CSV_RECORD && strcmp(reader->delimiter, "|") == 0 && reader->field_count > ITEM_FLAGS) {
		*layout = (struct layout){0, ITEM_TITLE, ITEM_FLAGS, true, false};
		return 0;
	}
	return error_set(error, CODE_DATA, "%s:1: expected a header like movieId,title,genres, or MovieLens 100K's u.item",
	                 reader->input.name);
}

/* ISO-8859-1 to UTF-8: every byte is its code point. */
static char *utf8_of_latin1(const struct csv_field *field, struct error *error)
{
	char *text = mem_alloc(2 * field->length + 1, 1, error), *to = text;
	for (size_t i = 0; text && i < field->length; i++) {
		const unsigned char byte = (unsigned char)field->text[i];
		if (byte < 0x80) {
			*to++ = (char)byte;
		} else {
			*to++ = (char)(0xc0 | byte >> 6);
			*to++ = (char)(0x80 | (byte & 0x3f));
		}
	}
	if (text)
		*to = '\0';
	return text;
}

static int genre_number(struct catalogue *catalogue, const char *name, size_t length, size_t *number,
                        struct error *error)
{
	for (*number = 0; *number < catalogue->genre_count; ++*number)
		if (strlen(catalogue->genre_names[*number]) == length &&
		    memcmp(catalogue->genre_names[*number], name, length) == 0)
			return 0;
	if (catalogue->genre_count == GENRES_MAX)
		return error_set(error, CODE_DATA, "more than %d genres", GENRES_MAX);
	catalogue->genre_names[catalogue->genre_count] = mem_copy_text(name, length, error);
	return catalogue->genre_names[catalogue->genre_count++] ? 0 : -1;
}

/* "Comedy|Romance"; "(no genres listed)" is none. */
static int parse_genres(struct catalogue *catalogue, const struct csv_field *field, uint64_t *genres,
                        struct error *error)
{
	const char *at = field->text, *end = at + field->length;
	*genres = 0;
	if (field->length == 0 || *at == '(')
		return 0;
	while (at <= end) {
		const char *bar = memchr(at, '|', (size_t)(end - at));
		const size_t length = (size_t)((bar ? bar : end) - at);
		size_t number = 0;
		if (length > 0 && genre_number(catalogue, at, length, &number, error) < 0)
			return -1;
		if (length > 0)
			*genres |= UINT64_C(1) << number;
		at += length + 1;
	}
	return 0;
}

/* The year of "Toy Story (1995)": the last brackets, when they hold four digits; else 0. */
static uint16_t title_year(const char *title)
{
	const char *open = strrchr(title, '(');
	unsigned year = 0;
	if (!open || strlen(open) < 6 || open[5] != ')')
		return 0;
	for (int i = 1; i <= 4; i++) {
		if (open[i] < '0' || open[i] > '9')
			return 0;
		year = 10 * year + (unsigned)(open[i] - '0');
	}
	return (uint16_t)year;
}

static uint64_t parse_flags(const struct csv_reader *reader, int first)
{
	uint64_t genres = 0;
	for (size_t f = (size_t)first; f < reader->field_count && f - (size_t)first < GENRES_MAX; f++)
		if (is_named(&reader->fields[f], "1"))
			genres |= UINT64_C(1) << (f - (size_t)first);
	return genres;
}

static int take_line(struct catalogue *catalogue, const struct csv_reader *reader, const struct layout *layout,
                     const struct idmap *map, struct error *error)
{
	if ((size_t)layout->item >= reader->field_count || (size_t)layout->title >= reader->field_count)
		return error_set(error, CODE_DATA, "%s:%llu: too few columns", reader->input.name,
		                 (unsigned long long)reader->line);
	const struct csv_field *id = &reader->fields[layout->item], *title = &reader->fields[layout->title];
	const uint32_t item = idmap_find(map, id->text, id->length);
	if (item == (uint32_t)IDMAP_MISSING) {
		catalogue->unknown++;
		return 0;
	}
	mem_free(catalogue->titles[item]);
	catalogue->titles[item] = layout->flags ? utf8_of_latin1(title, error)
	                                        : mem_copy_text(title->text, title->length, error);
	if (!catalogue->titles[item])
		return -1;
	catalogue->years[item] = title_year(catalogue->titles[item]);
	if (layout->flags)
		catalogue->genres[item] = parse_flags(reader, layout->genres);
	else if (layout->genres >= 0 && (size_t)layout->genres < reader->field_count)
		return parse_genres(catalogue, &reader->fields[layout->genres], &catalogue->genres[item], error);
	return 0;
}

/* u.genre: name|number. */
static int read_genre_names(struct catalogue *catalogue, const char *path, struct error *error)
{
	struct csv_reader reader = {0};
	enum csv_verdict verdict = CSV_END;
	size_t number;
	int result = csv_open(&reader, path, "|", error);
	while (result == 0 && (verdict = csv_next(&reader, error)) == CSV_RECORD)
		if (reader.fields[0].length > 0)
			result = genre_number(catalogue, reader.fields[0].text, reader.fields[0].length, &number, error);
	if (result == 0 && verdict != CSV_END)
		result = error_set(error, CODE_DATA, "%s:%llu: %s", path, (unsigned long long)reader.line,
		                   reader.bad ? reader.bad : "cannot be read");
	csv_release(&reader);
	return result;
}

static int name_genres(struct catalogue *catalogue, struct error *error)
{
	char name[32];
	size_t number;
	while (catalogue->genre_count < GENRES_MAX) {
		snprintf(name, sizeof name, "genre %zu", catalogue->genre_count);
		if (genre_number(catalogue, name, strlen(name), &number, error) < 0)
			return -1;
	}
	return 0;
}

int catalogue_read(struct catalogue *catalogue, const char *path, const char *genres_path, const struct idmap *map,
                   struct error *error)
{
	struct csv_reader reader = {0};
	struct layout layout;
	enum csv_verdict verdict = CSV_END;
	*catalogue = (struct catalogue){.items = map->count};
	catalogue->titles = mem_alloc_zero(map->count, sizeof *catalogue->titles, error);
	catalogue->years = mem_alloc_zero(map->count, sizeof *catalogue->years, error);
	catalogue->genres = mem_alloc_zero(map->count, sizeof *catalogue->genres, error);
	if (!catalogue->titles || !catalogue->years || !catalogue->genres)
		return -1;
	int result = csv_open(&reader, path, NULL, error);
	if (result == 0)
		result = find_layout(&reader, &layout, error);
	if (result == 0 && layout.flags)
		result = genres_path ? read_genre_names(catalogue, genres_path, error) : name_genres(catalogue, error);
	while (result == 0 && (verdict = csv_next(&reader, error)) == CSV_RECORD)
		result = take_line(catalogue, &reader, &layout, map, error);
	if (result == 0 && verdict != CSV_END)
		result = error_set(error, CODE_DATA, "%s:%llu: %s", path, (unsigned long long)reader.line,
		                   reader.bad ? reader.bad : "cannot be read");
	csv_release(&reader);
	return result;
}

void catalogue_release(struct catalogue *catalogue)
{
	for (uint32_t i = 0; catalogue->titles && i < catalogue->items; i++)
		mem_free(catalogue->titles[i]);
	for (size_t g = 0; g < catalogue->genre_count; g++)
		mem_free(catalogue->genre_names[g]);
	mem_free(catalogue->titles);
	mem_free(catalogue->years);
	mem_free(catalogue->genres);
	*catalogue = (struct catalogue){0};
}

void catalogue_genres_text(const struct catalogue *catalogue, uint64_t genres, char *text, size_t size)
{
	text[0] = '\0';
	for (size_t g = 0; g < catalogue->genre_count; g++) {
		size_t used = strlen(text);
		if (genres >> g & 1)
			snprintf(text + used, size - used, "%s%s", used ? "|" : "", catalogue->genre_names[g]);
	}
}
