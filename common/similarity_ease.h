/* What the two ways to EASE share. Both start from the interactions of the items that are kept, renumbered by rank
 * of id, and end in weights of a few rows or columns at a time. */
#ifndef RECPIPE_SIMILARITY_EASE_H
#define RECPIPE_SIMILARITY_EASE_H

#include "cooccurrence.h"
#include "inverse.h"
#include "similarity_internal.h"

struct ease_side;

struct ease {
	const struct similarity_options *options;
	const struct ease_side *side;
	uint32_t items, kept;    /* of the catalogue; with weights */
	uint32_t *ids;           /* [kept]: the catalogue's id of each, ascending */
	const struct interactions *interactions; /* of those kept, by number */
	struct interactions part;/* when some items are left out: the others' */
	struct cooccurrence cooccurrence;
	struct symmetric matrix; /* of items by items, or users by users */
	uint32_t *counts;        /* items' side: [worker][kept] */
	double *rows;            /* [worker] of what weigh needs */
	double *diagonal;        /* [kept]: of the inverse; users' side: its inverse, times the penalty's */
	double *square;          /* users' side: the inverse in full */
	double *penalties;       /* users' side: [kept], of each item 1 / what is added to the diagonal of X^T X */
	const struct ease_kernels *kernels;
};

/* A way to the weights. */
struct ease_side {
	/* Bytes beside the interactions, both ways round. */
	size_t (*bytes)(uint32_t users, uint32_t items, uint32_t kept, const struct similarity_options *options,
	                size_t threads);
	int (*fill)(struct ease *ease, struct pool *pool, struct error *error);
	int (*invert)(struct ease *ease, struct pool *pool, struct error *error);
	/* As struct weigher has it, for the kept items from number `first` to `last`, into zeros. */
	void (*weigh)(const struct ease *ease, size_t worker, uint32_t first, uint32_t last, bool columns,
	              float *const *weights);
};

extern const struct ease_side ease_items, ease_users;

/* What is added to the diagonal of X^T X for an item of that popularity. */
static inline double ease_penalty(const struct similarity_options *options, double popularity)
{
	return options->regularization + options->dropout / (1 - options->dropout) * popularity;
}

/* ease->matrix becomes its inverse, with progress lines. */
MUST_CHECK int ease_invert_matrix(struct ease *ease, struct pool *pool, struct error *error);

static inline size_t ease_sum(size_t a, size_t b)
{
	size_t total;
	return __builtin_add_overflow(a, b, &total) ? SIZE_MAX : total;
}

#endif
