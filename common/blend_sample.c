/* The lists that a blend is fitted on. */
#include "blend.h"
#include "mem.h"
#include "rng.h"

static uint32_t fold_of(uint64_t seed, uint32_t user)
{
	uint32_t words[4];
	rng_block(seed, rng_stream(RNG_RERANK, 1), user, 0, words);
	return words[0] % BLEND_FOLDS;
}

int blend_sample_add(struct blend_sample *sample, const struct list *list, const float *values, size_t interactions,
                     uint64_t seed, struct error *error)
{
	uint32_t relevant = 0;
	for (uint32_t i = 0; i < list->count; i++)
		relevant += list->relevant[i] != 0;
	if (relevant == 0 || relevant == list->count)
		return 0;
	if (mem_grow((void **)&sample->lists, &sample->capacity, sample->count + 1, sizeof *sample->lists, error) < 0)
		return -1;
	struct blend_sample_list *to = &sample->lists[sample->count];
	*to = (struct blend_sample_list){.candidates = list->count, .relevant = relevant,
	                                 .interactions = (uint32_t)interactions, .fold = fold_of(seed, list->user)};
	to->values = mem_alloc(sample->signals * list->count, sizeof *to->values, error);
	if (!to->values)
		return -1;
	sample->count++;
	for (size_t s = 0; s < sample->signals; s++) {
		const float *from = values + s * list->count;
		float *row = to->values + s * list->count;
		uint32_t first = 0, rest = relevant;
		for (uint32_t i = 0; i < list->count; i++)
			row[list->relevant[i] ? first++ : rest++] = from[i];
	}
	return 0;
}

void blend_sample_release(struct blend_sample *sample)
{
	for (size_t n = 0; n < sample->count; n++)
		mem_free(sample->lists[n].values);
	mem_free(sample->lists);
	*sample = (struct blend_sample){0};
}
