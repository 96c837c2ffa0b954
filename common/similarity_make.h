/* Making item-to-item weights from interactions.
 *
 * EASE (Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019): of all weights B with a diagonal of
 * 0, those that least miss X by X B in squares, with lambda |B|² added: P = (X^T X + lambda I)^-1,
 * B[j][i] = -P[j][i] / P[i][i]. With dropout p, lambda I grows by p / (1 - p) times the diagonal of X^T X (Steck,
 * "Autoencoders that don't overfit towards the Identity", NeurIPS 2020).
 *
 * Cosine: B[j][i] = users of both / (sqrt(users of j · users of i) + shrinkage), diagonal 0. With a window, of the users
 * of both those alone in whose history (by time, ties by item id) the two are at most so many places apart; forward,
 * those alone in whose history j comes before i. */
#ifndef RECPIPE_SIMILARITY_MAKE_H
#define RECPIPE_SIMILARITY_MAKE_H

#include "compat.h"
#include "error.h"
#include "histories.h"
#include "isa.h"
#include "parallel.h"
#include "stream.h"

enum similarity_method { SIMILARITY_EASE, SIMILARITY_COSINE };

/* EASE inverts a matrix of items by items, or of users by users: the same weights up to rounding. */
enum ease_choice { EASE_SHORTER, EASE_ITEMS, EASE_USERS };

struct similarity_options {
	enum similarity_method method;
	double regularization;   /* EASE: lambda, above 0 */
	double dropout;          /* EASE: p, in [0, 1) */
	double shrinkage;        /* cosine: at least 0 */
	uint32_t window;         /* cosine: places apart at most; 0: anywhere */
	bool forward;            /* cosine: the row's item before the column's alone */
	uint32_t top;            /* weights kept of each column, the largest in magnitude; 0: all */
	uint32_t items_max;      /* EASE: the most popular items alone have weights, ties by lower id; 0: all items */
	size_t memory;           /* bytes that may be used */
	enum isa isa;
	enum ease_choice side;   /* EASE: 0, but for tests, is what takes fewer operations */
	bool quiet;              /* no progress lines */
};

/* What it took. */
struct similarity_times {
	double count, invert, write; /* seconds */
	uint32_t items;              /* items that have weights */
	uint32_t order;              /* EASE: of the matrix that was inverted, items or users */
};

/* True when the options ask for the order of histories, for which similarity_make needs times. */
static inline bool similarity_needs_times(const struct similarity_options *options)
{
	return options->method == SIMILARITY_COSINE && (options->window || options->forward);
}

/* Writes the rows to `writer`, which is open. `histories` may be without times unless the options need them; CODE_DATA
 * then. EASE is refused with CODE_SYSTEM before any work when its matrix does
 * not fit into options->memory; the message says how many items would. CODE_DATA when lambda is too small. */
MUST_CHECK int similarity_make(const struct histories *histories, const struct similarity_options *options,
                               struct pool *pool, struct stream_writer *writer, struct similarity_times *times,
                               struct error *error);

#endif
