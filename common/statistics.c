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

enum { DRAWN_AT_ONCE = 64 };

/* Sums of the columns of `count` rows drawn by `rng`, each in the order of the draws. */
static void sum_resample(const double *values, size_t count, size_t columns, struct rng *rng, double *sums)
{
	const double *rows[DRAWN_AT_ONCE];
	memset(sums, 0, columns * sizeof *sums);
	for (size_t i = 0, drawn; i < count; i += drawn) {
		for (drawn = 0; drawn < DRAWN_AT_ONCE && i + drawn < count; drawn++) {
			rows[drawn] = values + rng_below(rng, count) * columns;
			__builtin_prefetch(rows[drawn]);
		}
		for (size_t d = 0; d < drawn; d++)
			for (size_t c = 0; c < columns; c++)
				sums[c] += rows[d][c];
	}
}

int bootstrap_intervals(const double *values, size_t count, size_t columns, uint64_t seed, size_t resamples,
                        double *low, double *high, struct error *error)
{
	const size_t cut = (size_t)((double)resamples * 0.025);
	for (size_t c = 0; c < columns; c++)
		low[c] = high[c] = count ? values[c] : 0.0;
	if (count == 0 || resamples == 0)
		return 0;
	double *means = mem_alloc(resamples * columns, sizeof *means, error);
	double *sums = mem_alloc(columns, sizeof *sums, error);
	for (size_t r = 0; means && sums && r < resamples; r++) {
		struct rng rng;
		rng_init(&rng, seed, rng_stream(RNG_BOOTSTRAP, 0), r);
		sum_resample(values, count, columns, &rng, sums);
		for (size_t c = 0; c < columns; c++)
			means[c * resamples + r] = sums[c] / (double)count;
	}
	for (size_t c = 0; means && sums && c < columns; c++) {
		double *of = means + c * resamples;
		qsort(of, resamples, sizeof *of, compare_doubles);
		low[c] = of[cut];
		high[c] = of[resamples - 1 - cut];
	}
	const int result = means && sums ? 0 : -1;
	mem_free(means);
	mem_free(sums);
	return result;
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
