/* See mix.h. Sums run over the groups in ascending order. */
#include "mix.h"

#include "maths.h"

void mix_add(struct mix *mix, uint64_t groups)
{
	if (!groups)
		return;
	const double part = 1.0 / __builtin_popcountll(groups);
	for (uint64_t left = groups; left; left &= left - 1)
		mix->amounts[__builtin_ctzll(left)] += part;
	mix->total += 1.0;
}

static double share(const struct mix *mix, size_t group)
{
	return mix->total > 0 ? mix->amounts[group] / mix->total : 0.0;
}

/* What a group adds to the divergence. */
static double divergence_term(double p, double q, double alpha)
{
	return p > 0 ? p * maths_log(p / ((1.0 - alpha) * q + alpha * p)) : 0.0;
}

double mix_divergence(const struct mix *wanted, const struct mix *got, double alpha)
{
	double sum = 0.0;
	for (size_t g = 0; g < MIX_GROUPS; g++)
		sum += divergence_term(share(wanted, g), share(got, g), alpha);
	return sum;
}

void mix_divergences_with(const struct mix *wanted, const struct mix *got, double alpha, const uint64_t *groups,
                          size_t count, double *divergences)
{
	const double total = got->total + 1.0;
	double terms[MIX_GROUPS], sum = 0.0;
	for (size_t g = 0; g < MIX_GROUPS; g++) {
		terms[g] = divergence_term(share(wanted, g), got->amounts[g] / total, alpha);
		sum += terms[g];
	}
	for (size_t i = 0; i < count; i++) {
		const double part = groups[i] ? 1.0 / __builtin_popcountll(groups[i]) : 0.0;
		divergences[i] = groups[i] ? sum : mix_divergence(wanted, got, alpha);
		for (uint64_t left = groups[i]; left; left &= left - 1) {
			const size_t g = (size_t)__builtin_ctzll(left);
			divergences[i] += divergence_term(share(wanted, g), (got->amounts[g] + part) / total, alpha) - terms[g];
		}
	}
}

double mix_distance(const struct mix *wanted, const struct mix *got)
{
	double sum = 0.0;
	if (!(wanted->total > 0))
		return 0.0;
	for (size_t g = 0; g < MIX_GROUPS; g++) {
		const double p = share(wanted, g), q = share(got, g), middle = (p + q) / 2;
		if (p > 0)
			sum += p * maths_log(p / middle) / 2;
		if (q > 0)
			sum += q * maths_log(q / middle) / 2;
	}
	return sum;
}
