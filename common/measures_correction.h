/* What the rank among sampled candidates says of the rank in the whole catalogue (Krichene & Rendle, "On sampled
 * metrics for item recommendation", KDD 2020; Communications of the ACM 65(7), 2022).
 *
 * A user's one relevant item has rank r among n items: itself and the n - 1 that are irrelevant. Of the latter m are
 * drawn uniformly without replacement, and among them the item has the sampled rank s. s - 1 is hypergeometric: each
 * of the r - 1 items ahead is drawn with probability m / (n - 1). A measure f(r) is estimated by some function of s,
 * user by user; the estimates are worth something as means alone, and may lie outside the measure's range.
 *
 * Both estimators of the paper are here. In the rank's place:
 *
 *     f(1 + (n - 1)(s - 1) / m)
 *
 * whose inner part is an unbiased estimate of r; f of it is biased where f is not linear. And least squares, the
 * function g of s with the smallest
 *
 *     sum over r of p(r) [ (E[g(s) | r] - f(r))^2 + gamma Var[g(s) | r] ]
 *
 * with p uniform over ranks: gamma near 0 buys little bias with much variance; at gamma 1 g(s) is the mean of f over
 * the ranks that could have given s. */
#ifndef RECPIPE_MEASURES_CORRECTION_H
#define RECPIPE_MEASURES_CORRECTION_H

#include "compat.h"
#include "measures.h"

enum correction_method { CORRECTION_NONE, CORRECTION_RANK, CORRECTION_LEAST_SQUARES };

struct correction {
	enum correction_method method;
	double gamma;            /* least squares: the weight of variance, above 0 and at most 1 */
};

/* What is known of one user. */
struct sampled_rank {
	uint32_t items;          /* n: the relevant item and those that could have been drawn */
	uint32_t drawn;          /* m, at most n - 1; 0 only where n is 1 */
	uint32_t rank;           /* s, from 1 to m + 1 */
};

/* The unbiased estimate of the rank. */
double correction_rank(const struct sampled_rank *sampled);

/* Least squares is linear in f: its estimate is the sum over r = 1..n of weights[r - 1] f(r). Fills the first
 * `count` weights (at most n), all that a measure cut at `count` needs. */
void correction_weights(const struct sampled_rank *sampled, double gamma, double *weights, uint32_t count);

/* The estimate of a measure that has at_rank. `weights`, for least squares alone, are at least min(cutoff, n). */
double correction_estimate(const struct correction *correction, const struct measure *measure, uint32_t cutoff,
                           const struct sampled_rank *sampled, const double *weights);

#endif
