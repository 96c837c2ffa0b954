/* From a scored list to the ranks of its relevant items, ties against them. */
#include "measures.h"
#include "topk.h"

static int compare_items(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return (x > y) - (x < y);
}

static int check_list(const struct list *list, uint32_t *scratch, struct error *error)
{
	for (uint32_t i = 0; i < list->count; i++)
		if (list->scores[i] != list->scores[i])
			return error_set(error, CODE_DATA, "user %u: item %u has a score that is not a number", list->user,
			                 list->items[i]);
	if (list->count == 0)
		return 0;
	memcpy(scratch, list->items, list->count * sizeof *scratch);
	qsort(scratch, list->count, sizeof *scratch, compare_items);
	for (uint32_t i = 1; i < list->count; i++)
		if (scratch[i] == scratch[i - 1])
			return error_set(error, CODE_DATA, "user %u: item %u is in the list twice", list->user, scratch[i]);
	return 0;
}

int user_ranking_make(const struct list *list, uint32_t *ranks, uint32_t *order, struct user_ranking *ranking,
                      struct error *error)
{
	uint32_t found = 0;
	*ranking = (struct user_ranking){.candidates = list->count, .relevant_total = list->relevant_total,
	                                 .ranks = ranks};
	if (check_list(list, order, error) < 0)
		return -1;
	ranking_sort(list->scores, list->items, list->count, order);
	for (uint32_t begin = 0, end; begin < list->count; begin = end) {
		/* A group of equal scores: its irrelevant items take the first ranks, its relevant ones the last. */
		uint32_t relevant = 0;
		for (end = begin; end < list->count && list->scores[order[end]] == list->scores[order[begin]]; end++)
			relevant += list->relevant[order[end]] & LIST_RELEVANT;
		for (uint32_t r = 0; r < relevant; r++)
			ranks[found++] = end - relevant + r + 1;
		if (relevant > 0 && relevant < end - begin)
			ranking->tied = true;
	}
	ranking->relevant_found = found;
	return 0;
}
