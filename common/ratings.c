/* See ratings.h. */
#include "ratings.h"

#include <inttypes.h>

#include "mem.h"

static int add_row(struct ratings *ratings, const struct rating_row *row, struct error *error)
{
	uint32_t user = 0, item = 0, rating = 0;
	if (ratings->count == UINT32_MAX)
		return error_set(error, CODE_DATA, "more than 2^32 - 1 ratings");
	if (idmap_add(&ratings->users, row->user.text, row->user.length, &user, error) < 0 ||
	    idmap_add(&ratings->items, row->item.text, row->item.length, &item, error) < 0)
		return -1;
	if (column_add(&ratings->user, user, error) < 0 || column_add(&ratings->item, item, error) < 0)
		return -1;
	if (ratings->has_rating &&
	    (idmap_add(&ratings->rating_texts, row->rating_text.text, row->rating_text.length, &rating, error) < 0 ||
	     column_add(&ratings->rating, rating, error) < 0))
		return -1;
	if (ratings->count == 0)
		ratings->first_time = ratings->earliest = ratings->latest = row->time;
	if (ratings->has_time) {
		const int64_t distance = (int64_t)((uint64_t)row->time - (uint64_t)ratings->first_time);
		if (column_add(&ratings->time, column_zigzag(distance), error) < 0)
			return -1;
	}
	if (row->time < ratings->earliest)
		ratings->earliest = row->time;
	if (row->time > ratings->latest)
		ratings->latest = row->time;
	ratings->count++;
	return 0;
}

static int read_rows(struct ratings *ratings, struct csv_reader *reader, const struct ratings_columns *columns,
                     double minimum, struct row_errors *errors, struct error *error)
{
	for (;;) {
		struct rating_row row;
		enum csv_verdict verdict = rating_row_next(reader, columns, &row, error);
		if (verdict == CSV_END || verdict == CSV_ERROR)
			return verdict == CSV_END ? 0 : -1;
		ratings->rows++;
		if (verdict == CSV_RECORD && (row.user.length > IDMAP_TEXT_MAX || row.item.length > IDMAP_TEXT_MAX)) {
			row.reason = "an id is too long";
			verdict = CSV_BAD;
		}
		if (verdict == CSV_BAD) {
			if (row_errors_add(errors, reader, row.reason, error) < 0)
				return -1;
		} else if (row.rating < minimum) {
			ratings->below_minimum++;
		} else if (add_row(ratings, &row, error) < 0) {
			return -1;
		}
	}
}

int ratings_read(struct ratings *ratings, const char *path, const char *delimiter, const char *columns, double minimum,
                 struct row_errors *errors, struct error *error)
{
	struct csv_reader reader;
	struct ratings_columns at;
	*ratings = (struct ratings){0};
	int result = csv_open(&reader, path, delimiter, error);
	if (result == 0)
		result = ratings_columns_find(&reader, columns, &at, error);
	if (result == 0 && (idmap_init(&ratings->users, error) < 0 || idmap_init(&ratings->items, error) < 0 ||
	                    idmap_init(&ratings->rating_texts, error) < 0))
		result = -1;
	if (result == 0) {
		ratings->has_rating = at.at[COLUMN_RATING] >= 0;
		ratings->has_time = at.at[COLUMN_TIME] >= 0;
		result = read_rows(ratings, &reader, &at, minimum, errors, error);
	}
	if (result == 0 && ratings->count == 0)
		result = error_set(error, CODE_DATA, "%s: no rating could be taken out of %" PRIu64 " rows", reader.input.name,
		                   ratings->rows);
	csv_release(&reader);
	if (result < 0)
		return -1;
	ratings->part = mem_alloc_zero(ratings->count, 1, error);
	return ratings->part ? 0 : -1;
}

void ratings_release(struct ratings *ratings)
{
	idmap_release(&ratings->users);
	idmap_release(&ratings->items);
	idmap_release(&ratings->rating_texts);
	column_release(&ratings->user);
	column_release(&ratings->item);
	column_release(&ratings->rating);
	column_release(&ratings->time);
	mem_free(ratings->part);
	*ratings = (struct ratings){0};
}

int user_rows_make(struct user_rows *rows, const struct ratings *ratings, struct error *error)
{
	const uint32_t users = ratings->users.count;
	*rows = (struct user_rows){0};
	rows->starts = mem_alloc_zero((size_t)users + 2, sizeof *rows->starts, error);
	rows->order = mem_alloc(ratings->count, sizeof *rows->order, error);
	if (!rows->starts || !rows->order) {
		user_rows_release(rows);
		return -1;
	}
	/* starts[u + 2] counts user u; summed, starts[u + 1] is where u begins and, filled, where u ends. */
	for (uint64_t r = 0; r < ratings->count; r++)
		if (ratings->part[r] != PART_DROPPED)
			rows->starts[column_get(&ratings->user, r) + 2]++;
	for (uint32_t u = 0; u < users; u++)
		rows->starts[u + 2] += rows->starts[u + 1];
	for (uint64_t r = 0; r < ratings->count; r++)
		if (ratings->part[r] != PART_DROPPED)
			rows->order[rows->starts[column_get(&ratings->user, r) + 1]++] = (uint32_t)r;
	return 0;
}

void user_rows_release(struct user_rows *rows)
{
	mem_free(rows->order);
	mem_free(rows->starts);
	*rows = (struct user_rows){0};
}

static int write_text(const struct idmap *map, uint32_t id, char behind, struct output *output, struct error *error)
{
	size_t length;
	const char *text = idmap_text(map, id, &length);
	if (csv_write_field(output, text, length, ',', error) < 0)
		return -1;
	return output_write(output, &behind, 1, error);
}

static int write_number(int64_t value, struct output *output, struct error *error)
{
	char digits[24];
	size_t at = sizeof digits;
	uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
	digits[--at] = '\n';
	do
		digits[--at] = (char)('0' + rest % 10);
	while ((rest /= 10) > 0);
	if (value < 0)
		digits[--at] = '-';
	return output_write(output, digits + at, sizeof digits - at, error);
}

int ratings_write(const struct ratings *ratings, enum part part, struct output *output, struct error *error)
{
	const bool rating = ratings->has_rating, time = ratings->has_time;
	if (output_print(output, error, "userId,movieId%s%s\n", rating ? ",rating" : "", time ? ",timestamp" : "") < 0)
		return -1;
	for (uint64_t r = 0; r < ratings->count; r++) {
		if (ratings->part[r] != part)
			continue;
		if (write_text(&ratings->users, (uint32_t)column_get(&ratings->user, r), ',', output, error) < 0 ||
		    write_text(&ratings->items, (uint32_t)column_get(&ratings->item, r), rating || time ? ',' : '\n', output,
		               error) < 0)
			return -1;
		if (rating && write_text(&ratings->rating_texts, (uint32_t)column_get(&ratings->rating, r),
		                         time ? ',' : '\n', output, error) < 0)
			return -1;
		if (time && write_number(ratings_time(ratings, r), output, error) < 0)
			return -1;
	}
	return 0;
}
