/* See ratings.h. */
#include "ratings.h"

#include <inttypes.h>

#include "idmap_rows.h"
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

enum { BATCH = 1024 };

/* Rows of a run on their way into the columns: those that are not below the least rating. */
struct batch {
	uint32_t rows[BATCH], user_numbers[BATCH], item_numbers[BATCH];
	uint32_t users[BATCH], items[BATCH], ratings[BATCH];
	int64_t times[BATCH];
	uint64_t distances[BATCH];
	size_t count;
	struct rating_memo memo;
};

/* Chooses among the rows [from, to), and gives their ratings codes. */
static int take_ratings(struct ratings *ratings, const struct csv_rows_run *run, size_t from, size_t to,
                        double minimum, struct batch *batch, struct error *error)
{
	char room[DECIMAL_TEXT_MAX];
	struct rating_memo *memo = &batch->memo;
	size_t kept = 0;
	for (size_t r = from; r < to; r++) {
		const size_t place = rating_memo_find(memo, run, r);
		if (memo->codes[place] == 0 && ratings->has_rating && memo->values[place] >= minimum) {
			uint32_t code;
			const struct csv_field text = csv_run_rating(run, r, room);
			if (idmap_add(&ratings->rating_texts, text.text, text.length, &code, error) < 0)
				return -1;
			memo->codes[place] = code + 1;
		}
		batch->rows[kept] = (uint32_t)r;
		batch->ratings[kept] = memo->codes[place] - 1;
		kept += memo->values[place] >= minimum;
	}
	batch->count = kept;
	ratings->below_minimum += to - from - kept;
	return 0;
}

static struct row_choice choose(const struct csv_rows_run *run, size_t from, size_t to, struct batch *batch)
{
	struct row_choice choice = {.run = run, .first = from, .count = batch->count, .users = run->users + from,
	                            .items = run->items + from};
	if (batch->count == to - from)
		return choice;
	for (size_t i = 0; i < batch->count; i++) {
		batch->user_numbers[i] = run->users[batch->rows[i]];
		batch->item_numbers[i] = run->items[batch->rows[i]];
		batch->times[i] = run->times[batch->rows[i]];
	}
	choice.rows = batch->rows;
	choice.users = batch->user_numbers;
	choice.items = batch->item_numbers;
	return choice;
}

static void take_times(struct ratings *ratings, const int64_t *times, size_t count, uint64_t *distances)
{
	if (ratings->count == 0)
		ratings->first_time = ratings->earliest = ratings->latest = times[0];
	int64_t earliest = ratings->earliest, latest = ratings->latest;
	for (size_t i = 0; i < count; i++) {
		earliest = times[i] < earliest ? times[i] : earliest;
		latest = times[i] > latest ? times[i] : latest;
		distances[i] = column_zigzag((int64_t)((uint64_t)times[i] - (uint64_t)ratings->first_time));
	}
	ratings->earliest = earliest;
	ratings->latest = latest;
}

/* Takes up to BATCH rows of a run. */
static int add_rows(struct ratings *ratings, const struct csv_rows_run *run, size_t from, size_t to, double minimum,
                    struct batch *batch, struct error *error)
{
	if (take_ratings(ratings, run, from, to, minimum, batch, error) < 0)
		return -1;
	const size_t count = batch->count;
	const struct row_choice choice = choose(run, from, to, batch);
	if (count == 0)
		return 0;
	if (count > UINT32_MAX - ratings->count)
		return error_set(error, CODE_DATA, "more than 2^32 - 1 ratings");
	take_times(ratings, choice.rows ? batch->times : run->times + from, count, batch->distances);
	if (idmap_users_of(&ratings->users, &choice, true, batch->users, error) < 0 ||
	    idmap_items_of(&ratings->items, &choice, true, batch->items, error) < 0 ||
	    column_add_many(&ratings->user, batch->users, count, error) < 0 ||
	    column_add_many(&ratings->item, batch->items, count, error) < 0 ||
	    (ratings->has_rating && column_add_many(&ratings->rating, batch->ratings, count, error) < 0) ||
	    (ratings->has_time && column_add_wide(&ratings->time, batch->distances, count, error) < 0))
		return -1;
	ratings->count += count;
	return 0;
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
	while (batch && result == 0 && (verdict = csv_rows_next(rows, &run, error)) > CSV_END)
		result = verdict == CSV_ROWS ? add_run(ratings, &run, minimum, batch, error)
		                             : add_odd(ratings, rows, verdict, &run.odd, minimum, errors, error);
	mem_free(batch);
	return result == 0 && verdict == CSV_END ? 0 : -1;
}

int ratings_read(struct ratings *ratings, const char *path, const struct ratings_source *source,
                 struct row_errors *errors, struct error *error)
{
	*ratings = (struct ratings){.user.stepped = true};
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
