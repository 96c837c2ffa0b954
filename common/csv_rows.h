/* Rows of ratings in runs: the fast scanner (csv_scan.h) reads ahead in threads of its own, and every line that it
 * leaves goes through the parser of csv.h. The rows, their order, every reason and line number are those that
 * rating_row_next alone would give. */
#ifndef RECPIPE_CSV_ROWS_H
#define RECPIPE_CSV_ROWS_H

#include "compat.h"
#include "csv.h"
#include "csv_scan.h"
#include "decimal.h"
#include "error.h"
#include "relay.h"

enum {
	CSV_ROWS = 3,                /* beside enum csv_verdict: a run of ordinary rows */
	CSV_ROWS_AT_A_TIME = 1 << 19 /* bytes that are scanned at a time, for csv_rows_open */
};

struct csv_rows_slot;

struct csv_rows {
	struct csv_reader reader;         /* of the odd lines; its line and raw are those of the odd row */
	struct ratings_columns columns;
	struct csv_scan_shape shape;
	csv_scan_function *scan;
	struct relay *relay;
	struct csv_rows_slot *slots, *slot; /* `slot`: the one being handed out; NULL: none */
	size_t slot_count, slot_bytes;
	size_t at, next_row, next_odd;    /* in `slot`: byte, row, stretch of odd lines to come next */
	/* Of the thread that fetches: */
	char *pending;                    /* what was read and belongs to the next slot */
	size_t pending_at, pending_end, pending_capacity;
	uint64_t fetched;                 /* offset of the next slot's first byte */
	bool inside;                      /* the last slot ended within a line */
};

/* What csv_rows_next gives. After CSV_ROWS: `count` >= 1 rows, columns as in struct csv_scan, and the number of the
 * first one's line; valid until the next call. After CSV_RECORD and CSV_BAD: `odd`, as rating_row_next gives it. */
struct csv_rows_run {
	const uint32_t *users, *items, *ratings;
	const int64_t *times;
	const struct csv_place *places;
	const char *bytes;                /* what places are in */
	bool has_rating;
	size_t count;
	uint64_t line;
	struct rating_row odd;
};

/* The text of an id, the user's or the item's, of `row` of a run: its place, or digits written to `room`. */
static inline struct csv_field csv_run_user(const struct csv_rows_run *run, size_t row, char room[DECIMAL_TEXT_MAX])
{
	if (run->users[row] == (uint32_t)DECIMAL_NONE)
		return (struct csv_field){run->bytes + run->places[row].user_at, run->places[row].user_length};
	return (struct csv_field){room, (size_t)(decimal_write(room, run->users[row]) - room)};
}

static inline struct csv_field csv_run_item(const struct csv_rows_run *run, size_t row, char room[DECIMAL_TEXT_MAX])
{
	if (run->items[row] == (uint32_t)DECIMAL_NONE)
		return (struct csv_field){run->bytes + run->places[row].item_at, run->places[row].item_length};
	return (struct csv_field){room, (size_t)(decimal_write(room, run->items[row]) - room)};
}

/* The same of the rating, and its value (1 where there is no column). Texts of up to four bytes are the key: whoever
 * takes many rows remembers what it is worth. */
struct csv_field csv_run_rating(const struct csv_rows_run *run, size_t row, char room[DECIMAL_TEXT_MAX]);
double csv_run_value(const struct csv_rows_run *run, size_t row);

/* Opens `path` and finds the columns, as csv_open and ratings_columns_find do. `threads`: 1 does everything in the
 * caller, 0 is one a processor. `at_a_time`: CSV_ROWS_AT_A_TIME, or less for tests. On failure call csv_rows_release
 * all the same. */
MUST_CHECK int csv_rows_open(struct csv_rows *rows, const char *path, const char *delimiter, const char *columns,
                             size_t threads, size_t at_a_time, struct error *error);

/* CSV_ROWS, CSV_RECORD, CSV_BAD, CSV_END or CSV_ERROR. */
MUST_CHECK int csv_rows_next(struct csv_rows *rows, struct csv_rows_run *run, struct error *error);
void csv_rows_release(struct csv_rows *rows); /* a zeroed one is fine */

#endif
