/* Item-to-item weights: how much each item of a user's history speaks for every other item. Made by item-sim
 * (EASE or cosine), kept as a stream of kind "similarity", used to score lists and to re-rank.
 *
 * Rows are the items of the history, columns the items that are scored: score(user, i) = sum over j in the
 * user's history, ascending, of weight(j, i). */
#ifndef RECPIPE_SIMILARITY_H
#define RECPIPE_SIMILARITY_H

#include "compat.h"
#include "error.h"
#include "interactions.h"
#include "records.h"

struct similarity {
	uint32_t items;
	uint64_t count;          /* weights kept */
	uint64_t *offsets;       /* items + 1 */
	uint32_t *neighbours;    /* of row j: neighbours[offsets[j] .. offsets[j + 1]), ascending */
	float *weights;
};

/* Reads a whole stream. `info` receives the id spaces (caller releases). CODE_DATA when it is broken. */
MUST_CHECK int similarity_read(struct similarity *similarity, const char *path, struct stream_info *info,
                               struct error *error);
void similarity_release(struct similarity *similarity);

/* scores[0 .. items) = what the `count` items of `history` (ascending ids; those the similarity does not know
 * are left out) say of each item. */
void similarity_scores(const struct similarity *similarity, const uint32_t *history, size_t count, float *scores);

#endif
