/* Means, intervals by bootstrap and tests by randomisation: what stands beside a mean before anybody believes it. */
#include <math.h>

#include "measures.h"
#include "mem.h"
#include "rng.h"

double compensated_mean(const double *values, size_t count, size_t stride)
{
	double sum = 0.0, lost = 0.0;
	for (size_t i = 0; i < count; i++) {
		const double value = values[i * stride], total = sum + value;
		lost += fabs(sum) >= fabs(value) ? (sum - total) + value : (value - total) + sum;
		sum = total;
	}
	return count ? (sum + lost) / (double)count : 0.0;
}

static int compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

int bootstrap_interval(const double *values, size_t count, uint64_t seed, size_t resamples, double *low, double *high,
                       struct error *error)
{
	*low = *high = count ? values[0] : 0.0;
	if (count == 0 || resamples == 0)
		return 0;
	double *means = mem_alloc(resamples, sizeof *means, error);
	if (!means)
		return -1;
	for (size_t r = 0; r < resamples; r++) {
		struct rng rng;
		double sum = 0.0;
		rng_init(&rng, seed, rng_stream(RNG_BOOTSTRAP, 0), r);
		for (size_t i = 0; i < count; i++)
			sum += values[rng_below(&rng, count)];
		means[r] = sum / (double)count;
	}
	qsort(means, resamples, sizeof *means, compare_doubles);
	size_t cut = (size_t)((double)resamples * 0.025);
	*low = means[cut];
	*high = means[resamples - 1 - cut];
	mem_free(means);
	return 0;
}

double randomisation_test(const double *a, const double *b, size_t count, uint64_t seed, size_t rounds)
{
	double observed = 0.0;
	size_t hits = 0;
	for (size_t i = 0; i < count; i++)
		observed += a[i] - b[i];
	/* Sums of the same terms in another order differ in the last bits: those count as equal. */
	const double bound = fabs(observed) * (1 - 1e-12);
	for (size_t r = 0; r < rounds; r++) {
		struct rng rng;
		double sum = 0.0;
		uint32_t bits = 0;
		rng_init(&rng, seed, rng_stream(RNG_PERMUTATION, 0), r);
		for (size_t i = 0; i < count; i++) {
			if (i % 32 == 0)
				bits = rng_next(&rng);
			double difference = a[i] - b[i];
			sum += bits >> (i % 32) & 1 ? difference : -difference;
		}
		hits += fabs(sum) >= bound;
	}
	return (double)(hits + 1) / (double)(rounds + 1);
}
