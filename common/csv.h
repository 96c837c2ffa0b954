/* Delimited text with named columns and line numbers: RFC 4180 quoting, `,` tab `;` `|` or MovieLens' `::`,
 * LF or CRLF, a UTF-8 byte order mark, .gz. Fields are handed out as bytes of the current record. */
#ifndef RECPIPE_CSV_H
#define RECPIPE_CSV_H

#include "compat.h"
#include "error.h"
#include "io.h"

enum {
	CSV_COLUMNS_MAX = 4096,
	CSV_FIELD_MAX = 1 << 20,  /* a longer field makes the record a bad one (CSV_BAD), never an allocation by it */
};

enum csv_verdict { CSV_RECORD = 1, CSV_END = 0, CSV_ERROR = -1, CSV_BAD = 2 };

struct csv_field {
	const char *text;   /* not NUL-terminated; unquoted, "" halved; valid until the next csv_next */
	size_t length;
};

struct csv_reader {
	struct input input;
	ptrdiff_t (*more)(void *context, void *buffer, size_t size, struct error *error); /* read instead of `input`, as */
	void *more_context;     /* input_read does; NULL: read `input` */
	char delimiter[3];      /* "," "\t" ";" "|" or "::" */
	char *buffer;           /* the window of the input that holds the current record */
	size_t capacity, begin, end;
	char *unquoted;         /* fields of the current record that had doubled quotes, without them */
	size_t unquoted_capacity;
	bool input_ended;
	uint64_t line;          /* 1-based number of the line where the current record begins */
	uint64_t next_line;
	uint64_t offset;        /* byte offset of the current record in the (uncompressed) input */
	uint64_t next_offset;
	struct csv_field fields[CSV_COLUMNS_MAX];
	size_t field_count;
	const char *bad;        /* after CSV_BAD: why the record cannot be read */
	struct csv_field raw;   /* the bytes of the current record as they came, without the line end; empty when it
	                           was too long to be held */
};

/* Opens `path`. `delimiter` NULL: found from the first record (the one that gives most fields, the same
 * number in the second record preferred). */
MUST_CHECK int csv_open(struct csv_reader *reader, const char *path, const char *delimiter, struct error *error);

/* The next record. Blank lines are skipped. CSV_BAD: a record that cannot be split (unclosed quote, NUL
 * byte, field over CSV_FIELD_MAX, too many columns): `bad` says why, reading can go on behind it. */
MUST_CHECK enum csv_verdict csv_next(struct csv_reader *reader, struct error *error);
void csv_release(struct csv_reader *reader);

/* Looks at the first record without consuming it. */
MUST_CHECK enum csv_verdict csv_peek(struct csv_reader *reader, struct error *error);

/* ---- ratings: the four columns of raw ratings, by header name, by --columns, or by position ---- */

enum ratings_column { COLUMN_USER, COLUMN_ITEM, COLUMN_RATING, COLUMN_TIME, RATINGS_COLUMNS };

struct ratings_columns {
	int at[RATINGS_COLUMNS]; /* 0-based field numbers; -1: there is none (rating and time only) */
	bool has_header;
};

/* Finds the columns from the first record: a header names them (userId, user_id, user, uid, …; movieId,
 * item, …; rating, score, …; timestamp, time, …; case and punctuation ignored); without a header they are
 * user, item[, rating[, time]] by position. `spec` (--columns) overrides: "user=3,item=1" or names in the
 * order of the file, "user,item,-,time" or header names "user=visitor,item=sku".
 * Consumes the header. Missing or doubled columns are CODE_DATA (CODE_USAGE for a bad spec). */
MUST_CHECK int ratings_columns_find(struct csv_reader *reader, const char *spec, struct ratings_columns *columns,
                                    struct error *error);

/* A row of ratings with its ids as text. `reason` after CSV_BAD: "rating is not a number", … */
struct rating_row {
	struct csv_field user, item, rating_text;
	double rating;   /* 1 where there is no rating column */
	int64_t time;    /* 0 where there is no time column */
	const char *reason;
};

/* CSV_BAD covers what csv_next calls bad and also: a missing field, an empty id, a rating that is no finite
 * number, a time that is no integer of 64 bits (a decimal fraction is cut off), invalid UTF-8 in an id. */
MUST_CHECK enum csv_verdict rating_row_next(struct csv_reader *reader, const struct ratings_columns *columns,
                                            struct rating_row *row, struct error *error);

/* Whether a field goes out as it is, or has to be quoted. */
bool csv_is_plain(const char *text, size_t length, char delimiter);

/* Writes one field at `to`, quoted where it must be: room for 2 * length + 2 bytes. Returns what is behind it. */
char *csv_put_field(char *to, const char *text, size_t length, char delimiter);

/* The same to an output. */
MUST_CHECK int csv_write_field(struct output *output, const char *text, size_t length, char delimiter,
                               struct error *error);

#endif
