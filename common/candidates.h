/* Evaluation lists: each user's held-out items among candidates, drawn here or given in a text file. */
#ifndef RECPIPE_CANDIDATES_H
#define RECPIPE_CANDIDATES_H

#include "compat.h"
#include "error.h"
#include "interactions.h"
#include "records.h"

struct candidate_options {
	const struct interactions *known, *truth; /* borrowed, of the same id spaces */
	const struct stream_info *info;
	const uint32_t *popularity;               /* of each item */
	size_t candidates;                        /* drawn for each user */
	uint64_t seed;
	uint32_t draw;
	const char *given;                        /* a file of candidates instead; NULL: draw */
	const char *users_path, *items_path;      /* id maps for `given` */
	bool allow_known, quiet;
};

/* Writes one unscored list for each user with truth (drawn: by ascending user; given: in the file's order),
 * the truth first. What had to be dropped or does not exist is counted on stderr. */
MUST_CHECK int candidates_write(const struct candidate_options *options, struct stream_writer *writer,
                                struct error *error);

#endif
