/* The second stage: stages that reorder a scored list, one entry of a table each.
 *
 * metrics goes by scores and lets the relevant lose every tie, so a stage says its order in scores, and entries
 * that it cannot tell apart keep one score: a constant model scores 0 behind every stage. No stage looks at
 * relevance. */
#ifndef RECPIPE_RERANK_H
#define RECPIPE_RERANK_H

#include "blend.h"
#include "catalogue.h"
#include "compat.h"
#include "error.h"
#include "interactions.h"
#include "popularity.h"
#include "records.h"
#include "signals.h"

struct rerank_context {
	size_t depth;                      /* popularity, mmr, calibration, tail: how far down they reorder */
	double weight;                     /* affinity, similarity: of theirs beside the model's score */
	double lambda;                     /* mmr: 1 is the model's order, 0 diversity alone */
	double calibration, tail;          /* those: 0 is the model's order, 1 the user's mix alone */
	struct popularity_levels levels;   /* tail: of known->popularity */
	uint64_t seed;
	const struct catalogue *catalogue; /* affinity, mmr, calibration */
	const struct interactions *known;  /* affinity, calibration, tail: what the users interacted with */
	const uint8_t *blocked;            /* blocklist: a flag an item */
	const struct signal_sources *sources; /* similarity, blend */
	const struct blend *blend;
	const struct list *with;           /* blend: the further lists of the same user (signals_values) */
	/* Room for a list, grown by rerank_apply. A context serves one thread; a copy of a new one serves another. */
	double *values;
	uint32_t *order;
	size_t values_capacity, order_capacity;
	float *signal_values;
	size_t signal_capacity;
	struct signal_room room;
};

struct rerank_stage {
	const char *name;
	int (*apply)(struct rerank_context *context, struct list *list, struct error *error);
	bool needs_catalogue, needs_known, needs_blocklist, needs_similarity, needs_blend;
};

const struct rerank_stage *rerank_find(const char *name); /* NULL when there is none */

/* Applies one stage; the list comes out in descending order of score, ties by ascending item. */
MUST_CHECK int rerank_apply(struct rerank_context *context, const struct rerank_stage *stage, struct list *list,
                            struct error *error);

/* Puts a list in that order. */
MUST_CHECK int rerank_sort(struct rerank_context *context, struct list *list, struct error *error);
void rerank_release(struct rerank_context *context);

#endif
