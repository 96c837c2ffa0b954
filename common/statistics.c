/* Means, intervals by bootstrap and tests by randomisation: what stands beside a mean before anybody believes it. */
#include <math.h>

#include "measures.h"
#include "mem.h"
#include "parallel.h"
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

enum { DRAWN_AT_ONCE = 64, SHARDS = 256, FEW_DRAWS = 1 << 20 };

/* Runs `work` over the rounds' shards; on one thread where there is little to draw. */
static int share_rounds(size_t count, const struct resampling *by, void (*work)(void *, size_t, size_t), void *context,
                        struct error *error)
{
	const bool few = count < FEW_DRAWS / by->rounds;
	struct pool *pool = pool_new(few ? 1 : by->threads, error);
	if (!pool)
		return -1;
	pool_run(pool, SHARDS, work, context);
	pool_free(pool);
	return 0;
}

struct bootstrap {
	const double *values;
	size_t count, columns;
	const struct resampling *by;
	double *means;          /* [columns][rounds] */
	double *sums;           /* [SHARDS][columns] */
};

/* Sums of the columns of as many rows as there are drawn by `rng`, each in the order of the draws. */
static void sum_resample(const struct bootstrap *b, struct rng *rng, double *sums)
{
	const double *rows[DRAWN_AT_ONCE];
	memset(sums, 0, b->columns * sizeof *sums);
	for (size_t i = 0, drawn; i < b->count; i += drawn) {
		for (drawn = 0; drawn < DRAWN_AT_ONCE && i + drawn < b->count; drawn++) {
			rows[drawn] = b->values + rng_below(rng, b->count) * b->columns;
			__builtin_prefetch(rows[drawn]);
		}
		for (size_t d = 0; d < drawn; d++)
			for (size_t c = 0; c < b->columns; c++)
				sums[c] += rows[d][c];
	}
}

static void draw_resamples(void *context, size_t shard, size_t worker)
{
	const struct bootstrap *b = context;
	double *sums = b->sums + shard * b->columns;
	(void)worker;
	const size_t end = shard_begin(b->by->rounds, SHARDS, shard + 1);
	for (size_t r = shard_begin(b->by->rounds, SHARDS, shard); r < end; r++) {
		struct rng rng;
		rng_init(&rng, b->by->seed, rng_stream(RNG_BOOTSTRAP, 0), r);
		sum_resample(b, &rng, sums);
		for (size_t c = 0; c < b->columns; c++)
			b->means[c * b->by->rounds + r] = sums[c] / (double)b->count;
	}
}

int bootstrap_intervals(const double *values, size_t count, size_t columns, const struct resampling *by, double *low,
                        double *high, struct error *error)
{
	struct bootstrap b = {.values = values, .count = count, .columns = columns, .by = by};
	const size_t cut = (size_t)((double)by->rounds * 0.025);
	int result = -1;
	for (size_t c = 0; c < columns; c++)
		low[c] = high[c] = count ? values[c] : 0.0;
	if (count == 0 || by->rounds == 0)
		return 0;
	b.means = mem_alloc(by->rounds * columns, sizeof *b.means, error);
	b.sums = mem_alloc(SHARDS * columns, sizeof *b.sums, error);
	if (b.means && b.sums)
		result = share_rounds(count, by, draw_resamples, &b, error);
	for (size_t c = 0; result == 0 && c < columns; c++) {
		double *of = b.means + c * by->rounds;
		qsort(of, by->rounds, sizeof *of, compare_doubles);
		low[c] = of[cut];
		high[c] = of[by->rounds - 1 - cut];
	}
	mem_free(b.means);
	mem_free(b.sums);
	return result;
}

struct randomisation {
	const double *a, *b;
	size_t count;
	const struct resampling *by;
	double bound;           /* what counts as being as far from 0 as the observed sum */
	size_t hits[SHARDS];
};

static void flip_signs(void *context, size_t shard, size_t worker)
{
	struct randomisation *t = context;
	(void)worker;
	const size_t end = shard_begin(t->by->rounds, SHARDS, shard + 1);
	for (size_t r = shard_begin(t->by->rounds, SHARDS, shard); r < end; r++) {
		struct rng rng;
		double sum = 0.0;
		uint32_t bits = 0;
		rng_init(&rng, t->by->seed, rng_stream(RNG_PERMUTATION, 0), r);
		for (size_t i = 0; i < t->count; i++) {
			if (i % 32 == 0)
				bits = rng_next(&rng);
			const double difference = t->a[i] - t->b[i];
			sum += bits >> (i % 32) & 1 ? difference : -difference;
		}
		t->hits[shard] += fabs(sum) >= t->bound;
	}
}

int randomisation_test(const double *a, const double *b, size_t count, const struct resampling *by, double *p,
                       struct error *error)
{
	struct randomisation t = {.a = a, .b = b, .count = count, .by = by};
	double observed = 0.0;
	size_t hits = 0;
	for (size_t i = 0; i < count; i++)
		observed += a[i] - b[i];
	/* Sums of the same terms in another order differ in the last bits: those count as equal. */
	t.bound = fabs(observed) * (1 - 1e-12);
	if (by->rounds > 0 && share_rounds(count, by, flip_signs, &t, error) < 0)
		return -1;
	for (size_t s = 0; s < SHARDS; s++)
		hits += t.hits[s];
	*p = (double)(hits + 1) / (double)(by->rounds + 1);
	return 0;
}
