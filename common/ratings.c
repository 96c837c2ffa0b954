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

/* ---- rows in runs ---- */

enum { BATCH = 1024, PREFETCHED = 12, CODES = 256 };

/* Rows of a run on their way into the columns. */
struct batch {
	uint32_t users[BATCH], items[BATCH], ratings[BATCH];
	uint64_t times[BATCH];
	size_t count;
	/* What short rating texts are worth, by their bytes: nearly all files have ten of them. */
	uint32_t keys[CODES], codes[CODES];
	double values[CODES];
};

/* Where the rating of a row is found in `keys`, after it was put there if it was not; texts of more than four bytes
 * are not remembered. */
static int rating_code(struct ratings *ratings, struct batch *batch, const struct csv_rows_run *run, size_t row,
                       size_t *place, struct error *error)
{
	const uint32_t key = run->ratings[row];
	*place = (key * UINT32_C(0x9e3779b1)) >> 24;
	if (key != 0 && batch->keys[*place] == key)
		return 0;
	char room[DECIMAL_TEXT_MAX];
	const struct csv_field text = csv_run_rating(run, row, room);
	batch->keys[*place] = key;
	batch->values[*place] = csv_run_value(run, row);
	return idmap_add(&ratings->rating_texts, text.text, text.length, &batch->codes[*place], error);
}

static int user_and_item(struct ratings *ratings, const struct csv_rows_run *run, size_t row, uint32_t *user,
                         uint32_t *item, struct error *error)
{
	char rooms[2][DECIMAL_TEXT_MAX];
	const uint32_t user_number = run->users[row], item_number = run->items[row];
	struct csv_field text;
	if ((*user = idmap_known_number(&ratings->users, user_number)) == (uint32_t)IDMAP_MISSING) {
		text = csv_run_user(run, row, rooms[0]);
		if (idmap_add(&ratings->users, text.text, text.length, user, error) < 0)
			return -1;
	}
	if ((*item = idmap_known_number(&ratings->items, item_number)) == (uint32_t)IDMAP_MISSING) {
		text = csv_run_item(run, row, rooms[1]);
		if (idmap_add(&ratings->items, text.text, text.length, item, error) < 0)
			return -1;
	}
	return 0;
}

static int flush_batch(struct ratings *ratings, struct batch *batch, struct error *error)
{
	const size_t count = batch->count;
	batch->count = 0;
	if (column_add_many(&ratings->user, batch->users, count, error) < 0 ||
	    column_add_many(&ratings->item, batch->items, count, error) < 0 ||
	    (ratings->has_rating && column_add_many(&ratings->rating, batch->ratings, count, error) < 0) ||
	    (ratings->has_time && column_add_wide(&ratings->time, batch->times, count, error) < 0))
		return -1;
	ratings->count += count;
	return 0;
}

/* Takes up to BATCH rows of a run. */
static int add_rows(struct ratings *ratings, const struct csv_rows_run *run, size_t from, size_t to, double minimum,
                    struct batch *batch, struct error *error)
{
	int64_t earliest = ratings->earliest, latest = ratings->latest;
	for (size_t r = from; r < to; r++) {
		const size_t b = batch->count;
		size_t place = 0;
		if (r + PREFETCHED < to) {
			idmap_prefetch(&ratings->users, run->users[r + PREFETCHED]);
			idmap_prefetch(&ratings->items, run->items[r + PREFETCHED]);
		}
		if (ratings->has_rating && rating_code(ratings, batch, run, r, &place, error) < 0)
			return -1;
		if (batch->values[place] < minimum) {
			ratings->below_minimum++;
			continue;
		}
		if (ratings->count + b == UINT32_MAX)
			return error_set(error, CODE_DATA, "more than 2^32 - 1 ratings");
		if (user_and_item(ratings, run, r, &batch->users[b], &batch->items[b], error) < 0)
			return -1;
		const int64_t time = run->times[r];
		if (ratings->count + b == 0)
			ratings->first_time = earliest = latest = time;
		batch->ratings[b] = batch->codes[place];
		batch->times[b] = column_zigzag((int64_t)((uint64_t)time - (uint64_t)ratings->first_time));
		earliest = time < earliest ? time : earliest;
		latest = time > latest ? time : latest;
		batch->count++;
	}
	ratings->earliest = earliest;
	ratings->latest = latest;
	return flush_batch(ratings, batch, error);
}

static int add_run(struct ratings *ratings, const struct csv_rows_run *run, double minimum, struct batch *batch,
                   struct error *error)
{
	ratings->rows += run->count;
	for (size_t from = 0; from < run->count; from += BATCH) {
		const size_t to = run->count - from < BATCH ? run->count : from + BATCH;
		if (add_rows(ratings, run, from, to, minimum, batch, error) < 0)
			return -1;
	}
	return 0;
}

static int add_odd(struct ratings *ratings, struct csv_rows *rows, int verdict, struct rating_row *row,
                   double minimum, struct row_errors *errors, struct error *error)
{
	ratings->rows++;
	if (verdict == CSV_RECORD && (row->user.length > IDMAP_TEXT_MAX || row->item.length > IDMAP_TEXT_MAX)) {
		row->reason = "an id is too long";
		verdict = CSV_BAD;
	}
	if (verdict == CSV_BAD)
		return row_errors_add(errors, &rows->reader, row->reason, error);
	if (row->rating < minimum) {
		ratings->below_minimum++;
		return 0;
	}
	return add_row(ratings, row, error);
}

static int read_rows(struct ratings *ratings, struct csv_rows *rows, double minimum, struct row_errors *errors,
                     struct error *error)
{
	struct csv_rows_run run;
	int verdict = CSV_ERROR, result = 0;
	struct batch *batch = mem_alloc_zero(1, sizeof *batch, error);
	if (batch)
		batch->values[0] = 1.0; /* of all rows where there is no rating */
	while (batch && result == 0 && (verdict = csv_rows_next(rows, &run, error)) > CSV_END)
		result = verdict == CSV_ROWS ? add_run(ratings, &run, minimum, batch, error)
		                             : add_odd(ratings, rows, verdict, &run.odd, minimum, errors, error);
	mem_free(batch);
	return result == 0 && verdict == CSV_END ? 0 : -1;
}

int ratings_read(struct ratings *ratings, const char *path, const struct ratings_source *source,
                 struct row_errors *errors, struct error *error)
{
	*ratings = (struct ratings){0};
	struct csv_rows *rows = mem_alloc_zero(1, sizeof *rows, error);
	if (!rows)
		return -1;
	int result = csv_rows_open(rows, path, source->delimiter, source->columns, source->threads, CSV_ROWS_AT_A_TIME,
	                           error);
	if (result == 0 && (idmap_init(&ratings->users, error) < 0 || idmap_init(&ratings->items, error) < 0 ||
	                    idmap_init(&ratings->rating_texts, error) < 0))
		result = -1;
	if (result == 0) {
		ratings->has_rating = rows->columns.at[COLUMN_RATING] >= 0;
		ratings->has_time = rows->columns.at[COLUMN_TIME] >= 0;
		result = read_rows(ratings, rows, source->minimum, errors, error);
	}
	if (result == 0 && ratings->count == 0)
		result = error_set(error, CODE_DATA, "%s: no rating could be taken out of %" PRIu64 " rows",
		                   rows->reader.input.name, ratings->rows);
	csv_rows_release(rows);
	mem_free(rows);
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
