/* Ratings in text → streams of interactions with dense ids, and the two maps: what encode-ids does, behind
 * its options. A stream's header names the digests of the final maps, so that an input that builds them cannot have its
 * own before it was read: its first rows go through a nameless spool (20 bytes a row) in the output folder, further ones
 * right into the stream, whose header is put in place at the end. Where that cannot be (stdout, sorted ids) all go
 * through the spool. Memory: the two maps. */
#ifndef RECPIPE_ENCODER_H
#define RECPIPE_ENCODER_H

#include "compat.h"
#include "csv_rows.h"
#include "error.h"
#include "idmap.h"
#include "idmap_rows.h"
#include "io.h"
#include "progress.h"
#include "records.h"
#include "spool.h"

/* What becomes of rows whose user or item is not in the maps, in inputs that do not build them. */
enum encoder_unknown { UNKNOWN_DROP, UNKNOWN_KEEP, UNKNOWN_ERROR };

struct encoder_settings {
	const char *users, *items;       /* paths of the maps */
	const char *folder;              /* of the streams and the spool */
	const char *delimiter, *columns; /* as csv_open and ratings_columns_find take them; NULL: found */
	const char *tool, *described;    /* for the metadata of the streams */
	enum encoder_unknown unknown;
	bool build_all;                  /* every input builds the maps, not the first alone */
	bool sorted;                     /* the ids of the building inputs are sorted; not with update or frozen */
	bool update;                     /* the maps exist and grow */
	bool frozen;                     /* the maps exist and are only read; not with UNKNOWN_KEEP */
	bool quiet;                      /* no progress line, no summary of what went well */
	size_t threads;                  /* as csv_rows_open takes them; nothing that is written depends on them */
	int64_t max_errors;              /* rows that may be unreadable; -1: any number */
};

/* One input and its stream. */
struct encoder_source {
	const char *path;
	char *target;                    /* owned; "-" is stdout */
	struct output output;
	struct stream_writer writer;
	bool is_open;                    /* `writer` is: rows go there */
	bool builds, has_rating, has_time;
	uint32_t half_users, half_items; /* ids when half of the rows that are held were read */
	uint64_t rows, unknown_users, unknown_items, unknown_rows;
};

/* Rows on their way to the spool or a stream. */
enum { ENCODER_CHUNK = 1024 };

struct encoder_chunk {
	uint32_t users[ENCODER_CHUNK], items[ENCODER_CHUNK];
	float ratings[ENCODER_CHUNK];
	int64_t times[ENCODER_CHUNK];
	struct rating_memo memo;
};

struct encoder {
	const struct encoder_settings *settings;
	struct encoder_source *sources;
	size_t source_count;
	struct idmap users, items;
	uint32_t *user_numbers, *item_numbers; /* by provisional id, when ids were sorted after spooling */
	struct stream_info info;
	struct output users_output, items_output;
	struct spool spool;
	uint64_t spooled;                /* rows in it */
	struct encoder_chunk *chunk;
	struct progress progress;
	uint64_t rows, bad;
};

/* Plans one stream for each path: X.csv or X.csv.gz becomes FOLDER/X.rec, "-" stdout. CODE_USAGE when two
 * would be the same file. `settings` and `paths` are borrowed until encoder_release. */
MUST_CHECK int encoder_init(struct encoder *encoder, const struct encoder_settings *settings, char **paths,
                            size_t path_count, struct error *error);

/* Does it all; either every output is published or none. Tells on stderr what was skipped or dropped. */
MUST_CHECK int encoder_run(struct encoder *encoder, struct error *error);
void encoder_release(struct encoder *encoder);

/* ---- between encoder.c and encoder_rows.c ---- */

/* Reads a source: while the maps grow into the spool or its stream, else right into its stream. */
MUST_CHECK int encoder_read(struct encoder *encoder, struct encoder_source *source, bool grow,
                            struct error *error);

/* Opens a source's stream, of the maps in `info`. */
MUST_CHECK int encoder_open_stream(const struct encoder *encoder, struct encoder_source *source,
                                   const struct stream_info *info, struct error *error);

/* The same while the maps still grow, once enough rows are in the spool to guess how large they will be; the rows move
 * from the spool to the stream. Does nothing where it is too early, or cannot be done. */
MUST_CHECK int encoder_open_early(struct encoder *encoder, struct encoder_source *source, const struct csv_rows *rows,
                                  struct error *error);

/* Writes the stream of a source that was spooled, or, where it has been written, its final header. Sources come back in
 * the order in which they were read. */
MUST_CHECK int encoder_complete(struct encoder *encoder, struct encoder_source *source, struct error *error);

#endif
