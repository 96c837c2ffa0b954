/* Cosine with shrinkage: a row of counts is all that has to be held. Unless counts go forward alone, they are
 * symmetric, so rows are columns. */
#include <math.h>

#include "cooccurrence.h"
#include "mem.h"
#include "nearby.h"
#include "progress.h"
#include "similarity_internal.h"

struct cosine {
	const struct similarity_options *options;
	const struct interactions *interactions;
	struct cooccurrence cooccurrence; /* items anywhere in a history */
	struct nearby nearby;             /* or in the order of time */
	uint32_t *counts;                 /* [worker][items] */
};

/* Users that have `item` and i, for all i; of a column, `item` is the one that follows. */
static void count_row(const struct cosine *cosine, uint32_t item, bool column, uint32_t *counts)
{
	const struct similarity_options *options = cosine->options;
	const uint32_t window = options->window ? options->window : UINT32_MAX;
	if (similarity_needs_times(options)) {
		nearby_row(&cosine->nearby, item, options->forward && !column ? 0 : window,
		           options->forward && column ? 0 : window, counts);
	} else {
		cooccurrence_row(&cosine->cooccurrence, item, cosine->interactions->items, counts);
		counts[item] = 0;
	}
}

static void weigh(void *context, size_t worker, uint32_t begin, uint32_t end, bool columns, float *weights)
{
	struct cosine *cosine = context;
	const uint32_t items = cosine->interactions->items;
	const uint32_t *popularity = cosine->interactions->popularity;
	uint32_t *counts = cosine->counts + worker * items;
	for (uint32_t item = begin; item < end; item++, weights += items) {
		count_row(cosine, item, columns, counts);
		for (uint32_t i = 0; i < items; i++) {
			if (!counts[i]) {
				weights[i] = 0;
				continue;
			}
			const double length = sqrt((double)popularity[item] * (double)popularity[i]);
			weights[i] = (float)((double)counts[i] / (length + cosine->options->shrinkage));
		}
	}
}

int similarity_make_cosine(const struct histories *histories, const struct similarity_options *options,
                           struct pool *pool, struct stream_writer *writer, struct similarity_times *times,
                           struct error *error)
{
	struct cosine cosine = {.options = options, .interactions = &histories->interactions};
	const uint32_t items = cosine.interactions->items;
	const struct weigher weigher = {items, false, weigh, &cosine};
	const double start = clock_seconds();
	int result = similarity_needs_times(options) ? nearby_init(&cosine.nearby, histories, error)
	                                             : cooccurrence_init(&cosine.cooccurrence, cosine.interactions, error);
	if (result == 0) {
		cosine.counts = mem_alloc(pool_threads(pool) * items, sizeof *cosine.counts, error);
		result = cosine.counts ? 0 : -1;
	}
	if (result == 0)
		result = similarity_write_all(&weigher, options, pool, writer, error);
	times->write = clock_seconds() - start;
	times->items = items;
	cooccurrence_release(&cosine.cooccurrence);
	nearby_release(&cosine.nearby);
	mem_free(cosine.counts);
	return result;
}
