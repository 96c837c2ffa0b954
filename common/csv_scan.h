/* Ordinary rows of ratings, fast: many lines at once are cut by masks of 64 bytes and their numbers read eight rows
 * at a time. What is not ordinary is left alone, line by line, for the parser that takes everything (csv.h): the two
 * give the same rows for every input, which tests compare.
 *
 * A line is ordinary when it has exactly the columns of the shape, no quote, NUL or byte above 127, is no longer than
 * CSV_SCAN_LINE_MAX, may end in one CR, and its ids, rating and time are as rating_row_next wants them. */
#ifndef RECPIPE_CSV_SCAN_H
#define RECPIPE_CSV_SCAN_H

#include "compat.h"
#include "csv.h"
#include "isa.h"

enum {
	CSV_SCAN_COLUMNS_MAX = 16,
	CSV_SCAN_LINE_MAX = 60000,
	CSV_SCAN_BEFORE = 64, /* readable bytes that the caller has before the first line */
	CSV_SCAN_BEHIND = 64, /* and behind the last */
	CSV_SCAN_MARKS = 9216, /* scratch of the scanner */
};

/* Where the columns are. `columns` 0: no line is ordinary. */
struct csv_scan_shape {
	char delimiter;
	unsigned width;            /* of the delimiter: 2 for "::" */
	unsigned columns;          /* 2 to CSV_SCAN_COLUMNS_MAX */
	int at[RATINGS_COLUMNS];   /* as in struct ratings_columns, each below `columns` */
};

/* Where the texts of a row are in the scanned bytes. */
struct csv_place {
	uint32_t user_at, item_at, rating_at;
	uint16_t user_length, item_length, rating_length;
};

/* Lines that are not ordinary: bytes [begin, end), between rows `row` - 1 and `row`. */
struct csv_odd {
	uint32_t begin, end, row;
};

/* The ordinary rows, column by column. Room for csv_scan_rows_max(bytes) of each, one more of `odds`. */
struct csv_scan {
	uint32_t *users, *items;   /* decimal_number of the ids, DECIMAL_NONE for others */
	uint32_t *ratings;         /* the text of up to four bytes, first one lowest; 0: a longer one, or no column */
	int64_t *times;            /* 0 where there is no column */
	struct csv_place *places;  /* only of rows whose user, item or rating is not all in the columns above */
	struct csv_odd *odds;
	uint32_t *marks;           /* CSV_SCAN_MARKS */
	size_t row_count, odd_count;
};

/* Makes room for what `size` bytes can hold. csv_scan_release also after a failure. */
MUST_CHECK int csv_scan_init(struct csv_scan *scan, size_t size, struct error *error);
void csv_scan_release(struct csv_scan *scan); /* a zeroed one is fine */

/* The most ordinary rows that `size` bytes can hold: "a,b\n"; whole groups of them. */
static inline size_t csv_scan_rows_max(size_t size)
{
	return size / 4 + 8;
}

/* Cuts the lines of [begin, end); end - begin < 2^30. Bytes behind the last newline are odd. */
typedef void csv_scan_function(const struct csv_scan_shape *shape, const char *bytes, size_t begin, size_t end,
                               struct csv_scan *scan);

csv_scan_function *csv_scan_of(enum isa isa);

/* Values as rating_row_next takes them: false when the text is none. */
bool csv_rating_of(const char *text, size_t length, double *value);
bool csv_time_of(const char *text, size_t length, int64_t *value);

#endif
