/* See measures_correction.h.
 *
 * The paper solves the normal equations for g, a dense system of m + 1 unknowns that is nearly singular for small
 * gamma, and another one for every n, which is every user's own. With p uniform there is a closed form. Let A be the
 * operator from functions of s to functions of r, (A g)(r) = E[g(s) | r]. The factorial moments of the hypergeometric
 * distribution make A take a polynomial of degree k to one of degree k. s is uniform over 1..m+1 when r is uniform
 * over 1..n, and A is an expectation, so A takes the polynomials that are orthonormal under the first (v_k) to
 * multiples of those that are orthonormal under the second (u_k): discrete Chebyshev polynomials (Gram's) on both
 * sides. That is A's singular value decomposition. With
 *
 *     rho_k(N) = product over j = 1..k of (N - j) / (N + j)
 *
 * the singular values are sigma_k = sqrt(rho_k(m + 1) / rho_k(n)), and least squares is Tikhonov's filter on them:
 *
 *     g(s) = sum over k = 0..m of sigma_k / ((1 - gamma) sigma_k^2 + gamma) <f, u_k> v_k(s)
 *
 * (Var[g | r] = E[g^2 | r] - E[g | r]^2, hence the 1 - gamma). Where all are drawn, m = n - 1, every sigma is 1 and
 * g = f. sigma_k falls like exp(-k^2 / 2m), so that some sqrt(m) terms do. tests/unit/test_correction.c solves the
 * normal equations instead. */
#include "measures_correction.h"

#include <math.h>

/* Terms whose sigma is below this share of gamma change no digit that anybody prints. */
static const double negligible = 1e-16;

/* A discrete Chebyshev polynomial walked along x from 0, where it is 1, by its difference equation. Up to the middle it
 * grows or swings, which keeps rounding harmless; a recurrence over degrees would lose all digits near the ends. What
 * lies beyond the middle mirrors it, with the sign (-1)^degree. */
struct gram {
	double points, degree, x, before, value;
};

static void gram_advance(struct gram *gram)
{
	const double change = gram->x * (gram->points - gram->x) * (gram->value - gram->before) -
	                      gram->degree * (gram->degree + 1) * gram->value;
	gram->before = gram->value;
	gram->value += change / ((gram->x + 1) * (gram->points - 1 - gram->x));
	gram->x += 1;
}

/* The factor that makes the mean of its squares over all points 1. */
static double gram_norm(double rho, double degree)
{
	return sqrt(rho * (2 * degree + 1));
}

static double gram_at(uint32_t points, uint32_t degree, uint32_t x)
{
	struct gram gram = {.points = points, .degree = degree, .value = 1.0};
	const bool mirrored = x > points - 1 - x;
	for (uint32_t steps = mirrored ? points - 1 - x : x; steps > 0; steps--)
		gram_advance(&gram);
	return mirrored && degree % 2 ? -gram.value : gram.value;
}

/* values[x] += factor times the polynomial at x, for x below count. */
static void gram_add(uint32_t points, uint32_t degree, double factor, double *values, uint32_t count)
{
	struct gram gram = {.points = points, .degree = degree, .value = 1.0};
	for (uint32_t x = 0; x <= points - 1 - x; x++) {
		const uint32_t mirror = points - 1 - x;
		if (x >= count)
			return;
		values[x] += factor * gram.value;
		if (mirror != x && mirror < count)
			values[mirror] += degree % 2 ? -factor * gram.value : factor * gram.value;
		if (x < mirror)
			gram_advance(&gram);
	}
}

double correction_rank(const struct sampled_rank *sampled)
{
	if (sampled->drawn == 0)
		return 1.0;
	return 1.0 + (double)(sampled->items - 1) * (sampled->rank - 1) / sampled->drawn;
}

void correction_weights(const struct sampled_rank *sampled, double gamma, double *weights, uint32_t count)
{
	const double n = sampled->items, samples = (double)sampled->drawn + 1;
	double rho_items = 1.0, rho_samples = 1.0;
	for (uint32_t r = 0; r < count; r++)
		weights[r] = 0.0;
	for (uint32_t k = 0; k <= sampled->drawn; k++) {
		if (k > 0) {
			rho_items *= (n - k) / (n + k);
			rho_samples *= (samples - k) / (samples + k);
		}
		const double square = rho_samples / rho_items, sigma = sqrt(square);
		if (sigma < negligible * gamma)
			break;
		const double filter = sigma / ((1.0 - gamma) * square + gamma);
		const double value = gram_norm(rho_samples, k) * gram_at(sampled->drawn + 1, k, sampled->rank - 1);
		gram_add(sampled->items, k, filter * value * gram_norm(rho_items, k) / n, weights, count);
	}
}

double correction_estimate(const struct correction *correction, const struct measure *measure, uint32_t cutoff,
                           const struct sampled_rank *sampled, const double *weights)
{
	if (correction->method == CORRECTION_RANK)
		return measure->at_rank(correction_rank(sampled), cutoff);
	const uint32_t count = cutoff < sampled->items ? cutoff : sampled->items;
	double sum = 0.0;
	for (uint32_t r = 1; r <= count; r++)
		sum += weights[r - 1] * measure->at_rank(r, cutoff);
	return sum;
}
