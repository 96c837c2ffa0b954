/* Raw ratings held whole for splitting: ids and rating texts once each, numbers in narrow columns. At the size
 * of MovieLens 20M a rating takes 8 bytes; where users do not come one after the other 12, and 4 more while each user's
 * rows are looked up; beside the strings. */
#ifndef RECPIPE_RATINGS_H
#define RECPIPE_RATINGS_H

#include "column.h"
#include "compat.h"
#include "csv_rows.h"
#include "error.h"
#include "idmap.h"
#include "row_errors.h"

/* Where a rating goes; also the order in which the parts are written. */
enum part { PART_TRAIN, PART_VALID, PART_TEST, PARTS, PART_DROPPED = PARTS };

struct ratings {
	struct idmap users, items, rating_texts;
	struct column user, item, rating, time; /* time: zigzag of the distance to first_time */
	uint8_t *part;           /* enum part of each; made by ratings_close */
	uint64_t count;
	int64_t first_time, earliest, latest;
	bool has_rating, has_time;
	uint64_t rows;           /* read, bad ones and those below the least rating included */
	uint64_t below_minimum;
};

/* How a file is read. */
struct ratings_source {
	const char *delimiter, *columns; /* as csv_open and ratings_columns_find take them; NULL: found */
	double minimum;                  /* ratings below are counted and left out; -INFINITY: none */
	size_t threads;                  /* as csv_rows_open takes them; the result does not depend on them */
};

/* Reads `path` to its end. */
MUST_CHECK int ratings_read(struct ratings *ratings, const char *path, const struct ratings_source *source,
                            struct row_errors *errors, struct error *error);
void ratings_release(struct ratings *ratings);

static inline int64_t ratings_time(const struct ratings *ratings, uint64_t row)
{
	return (int64_t)((uint64_t)ratings->first_time +
	                 (uint64_t)column_unzigzag(column_get(&ratings->time, row)));
}

/* Writes the rows of each part as CSV in file order: userId,movieId[,rating][,timestamp], texts as they came.
 * parts[p] NULL: not written. `threads` as in struct ratings_source. */
MUST_CHECK int ratings_write(const struct ratings *ratings, struct output *const parts[PARTS], size_t threads,
                             struct error *error);

/* Where ratings_write_records writes to. */
struct ratings_streams {
	struct output *parts[PARTS];  /* NULL: not written */
	struct output *users, *items; /* the maps */
	/* Rows of each part that were left out, and how many had an unknown user, or an unknown item: */
	uint64_t unknown_rows[PARTS], unknown_users[PARTS], unknown_items[PARTS];
};

/* Writes what encode-ids makes of the parts as text when it has no options, to the byte: a stream of interactions of each,
 * and the maps. Ids are those of the training part, in order of first appearance; rows of other parts with another user or
 * item are left out, counted, and in `ratings` dropped. Beside the ratings it takes the maps once more. */
MUST_CHECK int ratings_write_records(struct ratings *ratings, struct ratings_streams *streams, size_t threads,
                                     struct error *error);

#endif
