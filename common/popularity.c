/* See popularity.h. */
#include "popularity.h"

#include "mem.h"

enum { PARTS = 5 }; /* head and tail take a fifth each */

static int compare_counts(const void *a, const void *b)
{
	const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return (x > y) - (x < y);
}

int popularity_levels_make(const uint32_t *popularity, uint32_t items, struct popularity_levels *levels,
                           struct error *error)
{
	uint64_t total = 0, taken = 0;
	*levels = (struct popularity_levels){0};
	uint32_t *sorted = mem_alloc(items, sizeof *sorted, error);
	if (!sorted)
		return -1;
	for (uint32_t i = 0; i < items; i++) {
		sorted[i] = popularity[i];
		total += popularity[i];
	}
	qsort(sorted, items, sizeof *sorted, compare_counts);
	for (uint32_t i = items; i-- > 0 && PARTS * taken < total;) {
		levels->head_least = sorted[i];
		taken += sorted[i];
	}
	taken = 0;
	for (uint32_t i = 0; i < items && PARTS * taken < total && sorted[i] < levels->head_least; i++) {
		levels->tail_most = sorted[i];
		taken += sorted[i];
	}
	mem_free(sorted);
	return 0;
}
