/* Item-to-item weights: how much each item of a user's history speaks for every other item. Made by item-sim
 * (EASE or cosine), kept as a stream of kind "similarity", used to score lists and to re-rank.
 *
 * Rows are the items of the history, columns the items that are scored: score(user, i) = sum over j in the
 * user's history, ascending, of weight(j, i). No item speaks for itself. */
#ifndef RECPIPE_SIMILARITY_H
#define RECPIPE_SIMILARITY_H

#include "compat.h"
#include "error.h"
#include "interactions.h"
#include "isa.h"
#include "records.h"

struct similarity_kernels;

struct similarity {
	uint32_t items;
	uint64_t count;          /* weights kept */
	uint64_t *offsets;       /* items + 1 */
	uint32_t *neighbours;    /* of row j: neighbours[offsets[j] .. offsets[j + 1]), ascending, never j */
	float *weights;
	const struct similarity_kernels *kernels;
};

/* Reads a whole stream. `info` receives the id spaces (caller releases). CODE_DATA when it is broken. */
MUST_CHECK int similarity_read(struct similarity *similarity, const char *path, struct stream_info *info,
                               struct error *error);
void similarity_release(struct similarity *similarity);

/* Chooses the instruction set that similarity_scores uses; similarity_read takes the best there is. */
void similarity_use(struct similarity *similarity, enum isa isa);

/* scores[0 .. items) = what the `count` items of `history` (ascending ids; those the similarity does not know
 * are left out) say of each item. Single precision, one addition a weight, in the order of the history. */
void similarity_scores(const struct similarity *similarity, const uint32_t *history, size_t count, float *scores);

/* The same with what history[h] says multiplied by history_weights[h] before it is added; NULL: all 1. */
void similarity_scores_weighted(const struct similarity *similarity, const uint32_t *history,
                                const float *history_weights, size_t count, float *scores);

/* ---- records: parts of rows (docs/formats.md) ---- */

struct similarity_part {
	uint32_t item, count;    /* of row `item`; count is at least 1 */
	uint32_t *neighbours;
	float *weights;
	size_t capacity;         /* of each array */
	uint64_t next;           /* the next weight's place (item, neighbour) is at least this */
};

/* 1, 0 at the end, -1. The part's arrays are grown as needed and reused; zeroed before the first. Ids are
 * checked against `info`, places for their order, weights for being finite. */
MUST_CHECK int similarity_part_read(struct stream_reader *reader, const struct stream_info *info,
                                    struct similarity_part *part, struct error *error);
void similarity_part_release(struct similarity_part *part);

/* Writes weights of row `item`: of the neighbours `first`, `first` + 1, …, or of those listed (ascending). As
 * many records as it takes; none for no weights. Rows are written in ascending order. */
MUST_CHECK int similarity_write_run(struct stream_writer *writer, uint32_t item, uint32_t first,
                                    const float *weights, uint32_t count, struct error *error);
MUST_CHECK int similarity_write_listed(struct stream_writer *writer, uint32_t item, const uint32_t *neighbours,
                                       const float *weights, uint32_t count, struct error *error);

#endif
