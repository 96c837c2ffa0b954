/* A bounded heap with the worst entry on top, and sorting by the same order. */
#include "topk.h"

#include "mem.h"

/* The one order: higher score, then lower item. */
static inline bool ahead(float score, uint32_t item, float other_score, uint32_t other_item)
{
	return score > other_score || (score == other_score && item < other_item);
}

static inline bool entry_ahead(const float *scores, const uint32_t *items, uint32_t a, uint32_t b)
{
	if (scores[a] == scores[b] && items[a] == items[b])
		return a < b;
	return ahead(scores[a], items[a], scores[b], items[b]);
}

int topk_init(struct topk *topk, size_t limit, struct error *error)
{
	*topk = (struct topk){.limit = limit};
	topk->scores = mem_alloc(limit, sizeof *topk->scores, error);
	topk->items = mem_alloc(limit, sizeof *topk->items, error);
	return topk->scores && topk->items ? 0 : -1;
}

void topk_release(struct topk *topk)
{
	mem_free(topk->scores);
	mem_free(topk->items);
	*topk = (struct topk){0};
}

/* Puts (score, item) at or below `at` in the heap of `count` entries. */
static void sift_down(struct topk *topk, size_t count, size_t at, float score, uint32_t item)
{
	for (;;) {
		size_t child = 2 * at + 1;
		if (child >= count)
			break;
		if (child + 1 < count && ahead(topk->scores[child], topk->items[child], topk->scores[child + 1],
		                               topk->items[child + 1]))
			child++;
		if (!ahead(score, item, topk->scores[child], topk->items[child]))
			break;
		topk->scores[at] = topk->scores[child];
		topk->items[at] = topk->items[child];
		at = child;
	}
	topk->scores[at] = score;
	topk->items[at] = item;
}

static void sift_up(struct topk *topk, float score, uint32_t item)
{
	size_t at = topk->count++;
	while (at > 0) {
		size_t parent = (at - 1) / 2;
		if (!ahead(topk->scores[parent], topk->items[parent], score, item))
			break;
		topk->scores[at] = topk->scores[parent];
		topk->items[at] = topk->items[parent];
		at = parent;
	}
	topk->scores[at] = score;
	topk->items[at] = item;
}

void topk_offer(struct topk *topk, float score, uint32_t item)
{
	if (score != score || topk->limit == 0)
		return;
	if (topk->count < topk->limit)
		sift_up(topk, score, item);
	else if (ahead(score, item, topk->scores[0], topk->items[0]))
		sift_down(topk, topk->count, 0, score, item);
}

void topk_sort(struct topk *topk)
{
	/* Heapsort: the worst goes behind the rest, so the best end up in front. */
	for (size_t left = topk->count; left > 1; left--) {
		float score = topk->scores[left - 1];
		uint32_t item = topk->items[left - 1];
		topk->scores[left - 1] = topk->scores[0];
		topk->items[left - 1] = topk->items[0];
		sift_down(topk, left - 1, 0, score, item);
	}
}

void ranking_sort(const float *scores, const uint32_t *items, size_t count, uint32_t *order)
{
	/* Heapsort over positions: no memory, no recursion, and one order for equal entries (by position). */
	size_t left = count, built = count / 2;
	for (size_t i = 0; i < count; i++)
		order[i] = (uint32_t)i;
	while (left > 1) {
		uint32_t moving;
		if (built > 0) {
			moving = order[--built];
		} else {
			moving = order[--left];
			order[left] = order[0];
		}
		size_t at = built;
		for (size_t child; (child = 2 * at + 1) < left; at = child) {
			if (child + 1 < left && entry_ahead(scores, items, order[child], order[child + 1]))
				child++;
			if (!entry_ahead(scores, items, moving, order[child]))
				break;
			order[at] = order[child];
		}
		order[at] = moving;
	}
}
