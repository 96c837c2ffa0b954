/* Implicit alternating least squares: Hu, Koren & Volinsky, "Collaborative filtering for implicit feedback
 * datasets" (ICDM 2008), in the form of Rendle, Krichene, Zhang & Koren, "Revisiting the performance of iALS on
 * item recommendation benchmarks" (RecSys 2022). Vectors x of users and y of items minimise
 *
 *     sum over observed (u, i) of (x_u . y_i - 1)^2  +  unobserved * sum over all (u, i) of (x_u . y_i)^2
 *     + regularization * (sum over u of (n_u + unobserved * items)^scaling |x_u|^2
 *                       + sum over i of (n_i + unobserved * users)^scaling |y_i|^2)
 *
 * where n counts a row's interactions. A sweep solves all users with the items fixed, then all items with the
 * users fixed, each exactly, so the objective never rises (up to rounding). The score of a pair is x_u . y_i.
 *
 * Rows are [count][ials_stride()] floats with zeros in the padding, owned by the caller. The same bytes for any
 * number of threads and any instruction set; a sweep depends on the item rows alone, so training goes on from
 * saved rows to the same bytes. A row without interactions is solved to zeros. */
#ifndef RECPIPE_IALS_H
#define RECPIPE_IALS_H

#include "compat.h"
#include "error.h"
#include "interactions.h"

enum { IALS_FACTORS_MAX = 1024 }; /* LINEAR_WIDTH_MAX of linear.h */

struct ials_options {
	size_t factors;          /* 1..IALS_FACTORS_MAX */
	size_t sweeps;           /* ials_train only */
	double regularization;   /* >= 0 */
	double unobserved;       /* >= 0: the weight of every pair, seen or not */
	double scaling;          /* >= 0: 1 grows the regularisation with a row's interactions, 0 does not */
	double deviation;        /* >= 0: first values are normal with this deviation / sqrt(factors) */
	uint64_t seed;
	size_t threads;          /* 0: one a processor */
	const char *isa;         /* see isa.h; NULL: "auto" */
};

/* What measured well from 600 to 6,000 users; docs/design.md says how. */
extern const struct ials_options ials_defaults;

size_t ials_stride(size_t factors);

/* First values, by (seed, side, row): N(0, (deviation / sqrt(factors))^2). The users' are there to be stored;
 * a sweep never reads them. */
void ials_first_values(const struct ials_options *options, uint32_t users, uint32_t items, float *user_rows,
                       float *item_rows);

/* Training opened step by step, so that the caller can validate or save between sweeps. `train` is borrowed
 * until ials_close. NULL with CODE_USAGE for options out of range, CODE_SYSTEM when memory or threads lack. */
struct ials;
MUST_CHECK struct ials *ials_open(const struct interactions *train, const struct ials_options *options,
                                  struct error *error);

/* One sweep: item_rows are read, then both are replaced. `objective` receives the value of the formula above
 * after the sweep. CODE_DATA when a row cannot be solved in single precision (regularization too low): the
 * rows are then unfinished. */
MUST_CHECK int ials_sweep(struct ials *ials, float *user_rows, float *item_rows, double *objective,
                          struct error *error);
void ials_close(struct ials *ials); /* NULL is fine */

/* After each sweep, counted from 1: > 0 ends training, < 0 is an error that `error` tells. */
typedef int ials_after_sweep(void *context, size_t sweep, double objective, struct error *error);

/* First values and options->sweeps sweeps. `after` may be NULL. */
MUST_CHECK int ials_train(const struct interactions *train, const struct ials_options *options, float *user_rows,
                          float *item_rows, ials_after_sweep *after, void *context, struct error *error);

/* The vectors that fit the users of `history` to given items, in closed form: what the first half of a sweep
 * does, so users need not have been trained on. `history` must not know more items than `items`. Uses the
 * factors, weights, threads and isa of `options`; to be like the trained users, those of the training. */
MUST_CHECK int ials_fold_in(const float *item_rows, uint32_t items, const struct ials_options *options,
                            const struct interactions *history, float *user_rows, struct error *error);

#endif
