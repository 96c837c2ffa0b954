/* Rows of ratings in runs: the fast scanner (csv_scan.h) reads ahead in threads of its own, and every line that it
 * leaves goes through the parser of csv.h. The rows, their order, every reason and line number are those that
 * rating_row_next alone would give. */
#ifndef RECPIPE_CSV_ROWS_H
#define RECPIPE_CSV_ROWS_H

#include "compat.h"
#include "csv.h"
#include "csv_scan.h"
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

/* What csv_rows_next gives. After CSV_ROWS: `rows`, `count` >= 1 and the number of the first one's line; texts are
 * at bytes + user_at and so on, with CSV_SCAN_BEFORE and CSV_SCAN_BEHIND readable bytes around; all valid until the
 * next call. After CSV_RECORD and CSV_BAD: `odd`, as rating_row_next gives it. */
struct csv_rows_run {
	const struct csv_row *rows;
	size_t count;
	const char *bytes;
	uint64_t line;
	struct rating_row odd;
};

/* Opens `path` and finds the columns, as csv_open and ratings_columns_find do. `threads`: 1 does everything in the
 * caller, 0 is one a processor. `at_a_time`: CSV_ROWS_AT_A_TIME, or less for tests. On failure call csv_rows_release
 * all the same. */
MUST_CHECK int csv_rows_open(struct csv_rows *rows, const char *path, const char *delimiter, const char *columns,
                             size_t threads, size_t at_a_time, struct error *error);

/* CSV_ROWS, CSV_RECORD, CSV_BAD, CSV_END or CSV_ERROR. */
MUST_CHECK int csv_rows_next(struct csv_rows *rows, struct csv_rows_run *run, struct error *error);
void csv_rows_release(struct csv_rows *rows); /* a zeroed one is fine */

#endif
