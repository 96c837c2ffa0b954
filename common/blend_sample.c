/* The lists that a blend is fitted on, gathered from streams. */
#include <math.h>

#include "blend.h"
#include "maths.h"
#include "mem.h"
#include "rng.h"

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
	uint32_t words[4];
	rng_block(seed, rng_stream(RNG_RERANK, 1), list->user, 0, words);
	struct blend_sample_list *to = &sample->lists[sample->count];
	*to = (struct blend_sample_list){.candidates = list->count, .relevant = relevant,
	                                 .interactions = (uint32_t)interactions, .lot = words[1], .fold = words[0] % BLEND_FOLDS};
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

/* ---- scales ---- */

/* What never varies must get scale 0 and not what rounding leaves of it, so that is asked of the values themselves. */
static void find_scale(const struct blend_sample *sample, size_t s, struct blend_signal *signal)
{
	const float first = sample->lists[0].values[s * sample->lists[0].candidates + sample->lists[0].relevant];
	double mean = 0, square = 0;
	uint64_t count = 0;
	bool varies = false;
	for (int pass = 0; pass < 2; pass++) {
		for (size_t n = 0; n < sample->count; n++) {
			const struct blend_sample_list *list = &sample->lists[n];
			const float *values = list->values + s * list->candidates;
			for (uint32_t c = list->relevant; c < list->candidates; c++) {
				const double value = (double)values[c];
				if (pass)
					square += (value - mean) * (value - mean);
				else
					mean += value;
				varies = varies || values[c] != first;
			}
			count += pass ? 0 : list->candidates - list->relevant;
		}
		mean = pass ? mean : mean / (double)count;
	}
	signal->mean = mean;
	signal->scale = varies ? sqrt(square / (double)count) : 0;
}

static void find_activity(const struct blend_sample *sample, struct blend *blend)
{
	double mean = 0, square = 0;
	bool varies = false;
	for (size_t n = 0; n < sample->count; n++) {
		mean += maths_log(1 + (double)sample->lists[n].interactions) / (double)sample->count;
		varies = varies || sample->lists[n].interactions != sample->lists[0].interactions;
	}
	for (size_t n = 0; n < sample->count; n++) {
		const double apart = maths_log(1 + (double)sample->lists[n].interactions) - mean;
		square += apart * apart / (double)sample->count;
	}
	blend->activity_mean = mean;
	blend->activity_scale = varies ? sqrt(square) : 0;
}

void blend_sample_transform(struct blend_sample *sample, struct blend *blend)
{
	find_activity(sample, blend);
	for (size_t s = 0; s < blend->count; s++)
		find_scale(sample, s, &blend->signals[s]);
	for (size_t n = 0; n < sample->count; n++) {
		const struct blend_sample_list *list = &sample->lists[n];
		for (size_t s = 0; s < blend->count; s++)
			for (uint32_t c = 0; c < list->candidates; c++) {
				float *value = &list->values[s * list->candidates + c];
				*value = (float)blend_transform(&blend->signals[s], *value);
			}
	}
}

/* ---- from streams ---- */

struct gathering {
	const struct signal_sources *sources;
	struct list_streams *streams;
	struct signal signals[SIGNALS_MAX];
	struct blend_sample *sample;
	uint64_t seed;
	struct signal_room *rooms;    /* [thread] */
	float *values[LIST_BATCH];    /* of each list, between work and then */
};

static int find_values(void *context, size_t n, size_t worker, struct error *error)
{
	struct gathering *gathering = context;
	const struct list *lists = list_of(gathering->streams, n, 0);
	float *values = mem_alloc(gathering->sample->signals * lists->count, sizeof *values, error);
	gathering->values[n] = values;
	return values ? signals_values(gathering->sources, gathering->signals, gathering->sample->signals, lists, lists + 1,
	                               &gathering->rooms[worker], values, error) : -1;
}

static int keep_values(void *context, size_t n, struct error *error)
{
	struct gathering *gathering = context;
	const struct list *list = list_of(gathering->streams, n, 0);
	const int result = blend_sample_add(gathering->sample, list, gathering->values[n],
	                                    signals_activity(gathering->sources, list->user), gathering->seed, error);
	mem_free(gathering->values[n]);
	gathering->values[n] = NULL;
	return result;
}

static int gather(struct gathering *gathering, struct pool *pool, struct error *error)
{
	static const struct list_work work = {find_values, keep_values};
	gathering->rooms = mem_alloc_zero(pool_threads(pool), sizeof *gathering->rooms, error);
	if (!gathering->rooms)
		return -1;
	const int result = list_streams_run(gathering->streams, pool, &work, gathering, error);
	for (size_t n = 0; n < LIST_BATCH; n++) /* those behind one that failed */
		mem_free(gathering->values[n]);
	for (size_t t = 0; t < pool_threads(pool); t++)
		signal_room_release(&gathering->rooms[t]);
	mem_free(gathering->rooms);
	return result;
}

int blend_fit_lists(struct blend *blend, const struct signal_sources *sources, struct list_streams *streams,
                    const struct blend_fit_options *options, struct pool *pool, struct error *error)
{
	struct blend_sample sample = {0};
	struct gathering gathering = {.sources = sources, .streams = streams, .sample = &sample, .seed = options->seed};
	*blend = (struct blend){0};
	blend->count = sample.signals = signals_list(sources, gathering.signals);
	for (size_t s = 0; s < blend->count; s++) {
		blend->signals[s].signal = gathering.signals[s];
		if (gathering.signals[s].kind == SIGNAL_POPULARITY)
			blend->popularity = s;
	}
	int result = gather(&gathering, pool, error);
	if (result == 0)
		result = blend_fit(blend, &sample, options, pool, error);
	blend_sample_release(&sample);
	return result;
}
