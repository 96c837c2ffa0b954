/* Half a sweep, for ials.c alone: every row of one side solved with the other side fixed. */
#ifndef RECPIPE_IALS_SOLVER_H
#define RECPIPE_IALS_SOLVER_H

#include "ials.h"
#include "linear.h"
#include "parallel.h"

enum { IALS_CHUNK = 128 }; /* rows of a product that are summed before they are added to the rest */

static inline size_t ials_chunk(size_t left)
{
	return left < IALS_CHUNK ? left : IALS_CHUNK;
}

/* What a thread works in. */
struct ials_worker {
	float *matrix, *inverse;  /* [width][stride]: the system of a row; of its diagonal */
	float *gathered;          /* [width, at least IALS_CHUNK][stride]: rows side by side, or W */
	float *right, *solution, *ones;
	struct linear_band band;
	size_t band_count;        /* interactions that the band is for; SIZE_MAX: none yet */
};

struct ials_solver {
	struct ials_options options;
	const struct linear *linear;
	struct pool *pool;
	struct ials_worker *workers;
	size_t width, stride;     /* of the caller's rows; of square matrices here */
	float *rotated;           /* the fixed side in the basis that makes its Gram matrix tridiagonal */
	float *basis, *transposed;/* that basis, [width][stride] */
	float *partial_grams;     /* [shards][width][stride] */
	double *gram, *vectors;   /* [factors][factors] */
	double *diagonal, *off;   /* [factors]: the tridiagonal matrix */
	double *scratch;
	uint64_t *order;          /* rows, those with most interactions first */
	double *parts, *norms;    /* of each row: its part of the objective; its vector's square */
};

/* Room for sides of up to `rows` rows. Release also after an error. */
MUST_CHECK int ials_solver_init(struct ials_solver *solver, const struct ials_options *options, size_t rows,
                                struct error *error);
void ials_solver_release(struct ials_solver *solver);

/* One half: `solved` has one row for each user of `history` (who may be an item), `fixed` for each item.
 * `objective` receives the terms that the solved rows are part of, `penalty` what regularisation is in it.
 * `what` names a row in errors. */
struct ials_half {
	const char *what;
	const struct interactions *history;
	const float *fixed;
	size_t fixed_count;
	float *solved;
	double objective, penalty;
};

MUST_CHECK int ials_solve(struct ials_solver *solver, struct ials_half *half, struct error *error);

/* One row, in the rotated basis: `rows` are those of its interactions (at least one) in solver->rotated,
 * `penalty` what regularisation puts on its diagonal. x[width] receives the vector, `part` its part of the
 * objective. False when the equations cannot be solved. */
MUST_CHECK bool ials_row_solve(const struct ials_solver *solver, struct ials_worker *worker, double penalty,
                               const struct linear_rows *rows, float *x, double *part);

#endif
