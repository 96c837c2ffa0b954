/* The best k of a stream of (score, item): a bounded heap with one fixed order everywhere, higher score
 * first, then lower item. NaN never enters. */
#ifndef RECPIPE_TOPK_H
#define RECPIPE_TOPK_H

#include "compat.h"
#include "error.h"

struct topk {
	size_t limit, count;
	float *scores;      /* a heap with the worst at 0 until topk_sort */
	uint32_t *items;
};

MUST_CHECK int topk_init(struct topk *topk, size_t limit, struct error *error);
void topk_release(struct topk *topk);
static inline void topk_clear(struct topk *topk) { topk->count = 0; }

/* True when (score, item) would enter: the cheap test before topk_offer. */
static inline bool topk_wants(const struct topk *topk, float score, uint32_t item)
{
	return topk->count < topk->limit || score > topk->scores[0] ||
	       (score == topk->scores[0] && item < topk->items[0]);
}

void topk_offer(struct topk *topk, float score, uint32_t item);

/* Best first. The heap is gone: clear before offering again. */
void topk_sort(struct topk *topk);

/* order[] becomes the positions 0..count-1 by descending score, ties by ascending item. */
void ranking_sort(const float *scores, const uint32_t *items, size_t count, uint32_t *order);

#endif
