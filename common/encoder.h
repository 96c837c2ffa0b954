/* Ratings in text → streams of interactions with dense ids, and the two maps: what encode-ids does, behind
 * its options. Inputs that build the maps go through a nameless spool (20 bytes a row) in the output folder,
 * because a stream's header names the digests of the final maps; the others are translated as they are read.
 * Memory: the two maps. */
#ifndef RECPIPE_ENCODER_H
#define RECPIPE_ENCODER_H

#include "compat.h"
#include "error.h"
#include "idmap.h"
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
	int64_t max_errors;              /* rows that may be unreadable; -1: any number */
};

/* One input and its stream. */
struct encoder_source {
	const char *path;
	char *target;                    /* owned; "-" is stdout */
	struct output output;
	bool builds, has_rating, has_time;
	uint64_t rows, unknown_users, unknown_items, unknown_rows;
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

/* Reads a source: into the spool while the maps grow, else right into its stream. */
MUST_CHECK int encoder_read(struct encoder *encoder, struct encoder_source *source, bool grow,
                            struct error *error);

/* Writes the stream of a source that was spooled. Sources come back in the order in which they were read. */
MUST_CHECK int encoder_write_spooled(struct encoder *encoder, struct encoder_source *source,
                                     struct error *error);

#endif
