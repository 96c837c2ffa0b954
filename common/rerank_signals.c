/* Stages that go by signals (signals.h): what the user's history says of an item, and the fitted blend. */
#include <math.h>

#include "blend.h"
#include "mem.h"
#include "rerank_stages.h"

/* The signals' values for the list, in the context's own room. */
static int find_values(struct rerank_context *context, const struct signal *signals, size_t count,
                       const struct list *list, struct error *error)
{
	if (mem_grow((void **)&context->signal_values, &context->signal_capacity, count * list->count + 1,
	             sizeof *context->signal_values, error) < 0)
		return -1;
	return signals_values(context->sources, signals, count, list, context->with, &context->room,
	                      context->signal_values, error);
}

int rerank_by_similarity(struct rerank_context *context, struct list *list, struct error *error)
{
	const struct signal says = {.kind = SIGNAL_SIMILARITY, .name = "similarity"};
	double *values = mem_alloc(list->count, sizeof *values, error);
	if (!values)
		return -1;
	const int result = find_values(context, &says, 1, list, error);
	if (result == 0) {
		for (uint32_t i = 0; i < list->count; i++)
			values[i] = (double)context->signal_values[i];
		rerank_add(context, list, values);
	}
	mem_free(values);
	return result;
}

int rerank_by_blend(struct rerank_context *context, struct list *list, struct error *error)
{
	struct signal signals[SIGNALS_MAX];
	for (size_t s = 0; s < context->blend->count; s++)
		signals[s] = context->blend->signals[s].signal;
	if (find_values(context, signals, context->blend->count, list, error) < 0)
		return -1;
	blend_scores(context->blend, context->signal_values, list->count,
	             signals_activity(context->sources, list->user), list->scores);
	for (uint32_t i = 0; i < list->count; i++)
		if (!isfinite(list->scores[i])) /* weights may come from anybody */
			return error_set(error, CODE_DATA, "the blend of user %u and item %u is not finite", list->user,
			                 list->items[i]);
	return 0;
}
