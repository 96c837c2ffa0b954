/* Cosine with shrinkage: a row of counts is all that has to be held. Symmetric, so rows are columns. */
#include <math.h>

#include "cooccurrence.h"
#include "mem.h"
#include "progress.h"
#include "similarity_internal.h"

struct cosine {
	struct cooccurrence cooccurrence;
	double shrinkage;
	uint32_t *counts;        /* [worker][items] */
};

static void weigh(void *context, size_t worker, uint32_t begin, uint32_t end, bool columns, float *weights)
{
	struct cosine *cosine = context;
	const uint32_t items = cosine->cooccurrence.interactions->items;
	const uint32_t *popularity = cosine->cooccurrence.interactions->popularity;
	uint32_t *counts = cosine->counts + worker * items;
	(void)columns;
	for (uint32_t item = begin; item < end; item++, weights += items) {
		cooccurrence_row(&cosine->cooccurrence, item, items, counts);
		counts[item] = 0;
		for (uint32_t i = 0; i < items; i++) {
			if (!counts[i]) {
				weights[i] = 0;
				continue;
			}
			const double length = sqrt((double)popularity[item] * (double)popularity[i]);
			weights[i] = (float)((double)counts[i] / (length + cosine->shrinkage));
		}
	}
}

int similarity_make_cosine(const struct interactions *interactions, const struct similarity_options *options,
                           struct pool *pool, struct stream_writer *writer, struct similarity_times *times,
                           struct error *error)
{
	struct cosine cosine = {.shrinkage = options->shrinkage};
	const struct weigher weigher = {interactions->items, false, weigh, &cosine};
	const double start = clock_seconds();
	int result = cooccurrence_init(&cosine.cooccurrence, interactions, error);
	if (result == 0) {
		cosine.counts = mem_alloc(pool_threads(pool) * interactions->items, sizeof *cosine.counts, error);
		result = cosine.counts ? 0 : -1;
	}
	if (result == 0)
		result = similarity_write_all(&weigher, options, pool, writer, error);
	times->write = clock_seconds() - start;
	times->items = interactions->items;
	cooccurrence_release(&cosine.cooccurrence);
	mem_free(cosine.counts);
	return result;
}
