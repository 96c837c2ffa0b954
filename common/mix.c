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

double mix_divergence(const struct mix *wanted, const struct mix *got, double alpha)
{
	double sum = 0.0;
	for (size_t g = 0; g < MIX_GROUPS; g++) {
		const double p = share(wanted, g), q = share(got, g);
		if (p > 0)
			sum += p * maths_log(p / ((1.0 - alpha) * q + alpha * p));
	}
	return sum;
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
