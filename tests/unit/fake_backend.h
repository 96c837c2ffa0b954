/* A backend that trains nothing and remembers everything: its parameters hold a hash of all the groups, rates
 * and epochs it was given, in order. Two runs that end with the same bytes were given the same. On demand it
 * fails, answers NaN, dies, or ranks the validation's truth as well as the test wants. */
#ifndef RECPIPE_FAKE_BACKEND_H
#define RECPIPE_FAKE_BACKEND_H

#include <math.h>

#include "backend.h"
#include "check.h"
#include "mem.h"

enum { FAKE_RATES_MAX = 4096, FAKE_ATTEMPTS_MAX = 8 };

/* What the fake is to do, and what it saw. */
static struct {
	uint64_t fail_after;          /* batches, over all attempts; 0: never */
	uint64_t nan_loss_at, nan_weight_at; /* steps; 0: never */
	uint32_t dead_attempts;       /* attempts whose every logit is equal */
	bool dead_by_ties;            /* … equal for each user alone */
	const double *quality;        /* of each epoch: higher ranks the truth better */
	const struct interactions *truth;
	uint64_t seed;

	uint64_t batches, groups, spans, longest_span;
	double rates[FAKE_RATES_MAX];
	uint32_t first_epoch;         /* of the first span */
} fake;

struct backend_state {
	struct backend_options options;
	struct model_shape shape;
	struct parameters values, moment1, moment2;
	uint64_t step;
	uint32_t epoch;
};

/* The hash lives in the first bias as 16-bit parts, which floats hold exactly. */
static inline float *fake_place(struct parameters *parameters)
{
	return parameters->matrices[matrix_bias(0)].values;
}

static inline uint64_t fake_hash(struct parameters *parameters)
{
	uint64_t hash = 0;
	for (int i = 0; i < 4; i++)
		hash |= (uint64_t)fake_place(parameters)[i] << (16 * i);
	return hash;
}

static inline void fake_absorb(uint64_t *hash, const void *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++)
		*hash = (*hash ^ ((const unsigned char *)bytes)[i]) * 0x100000001b3u;
}

static int fake_probe(const int *devices, size_t count, struct error *error)
{
	(void)devices;
	(void)count;
	(void)error;
	return 0;
}

static void fake_close(struct backend_state *state)
{
	if (!state)
		return;
	parameters_release(&state->values);
	parameters_release(&state->moment1);
	parameters_release(&state->moment2);
	free(state);
}

static struct backend_state *fake_open(const struct model_shape *shape, const struct parameters *parameters,
                                       const struct backend_options *options, struct error *error)
{
	struct backend_state *state = calloc(1, sizeof *state);
	if (!state || parameters_init(&state->values, shape, error) < 0 ||
	    parameters_init(&state->moment1, shape, error) < 0 || parameters_init(&state->moment2, shape, error) < 0)
		abort();
	state->options = *options;
	state->shape = *shape;
	parameters_copy(&state->values, parameters);
	for (int i = 0; i < 4; i++)
		fake_place(&state->values)[i] = 0.0f;
	return state;
}

static void fake_batch(struct backend_state *state, const struct train_span *span, uint64_t begin, uint64_t end,
                       uint64_t *hash, struct train_result *result)
{
	const size_t group = 1 + (size_t)state->options.ratio, count = (size_t)(end - begin);
	const double rate = span->rates[(begin - span->begin) / state->options.batch_groups];
	struct error error = {0};
	uint32_t *users = mem_alloc(count, sizeof *users, &error);
	uint32_t *items = mem_alloc(count * group, sizeof *items, &error);
	if (!users || !items)
		abort();
	if (span->users) {
		memcpy(users, span->users + (begin - span->begin), count * sizeof *users);
		memcpy(items, span->items + (begin - span->begin) * group, count * group * sizeof *items);
	} else {
		(void)sampler_fill(span->sampler, begin, end, users, items);
	}
	for (size_t i = 0; i < count * group; i++)
		result->missing += items[i] == (uint32_t)NO_ITEM;
	fake_absorb(hash, users, count * sizeof *users);
	fake_absorb(hash, items, count * group * sizeof *items);
	fake_absorb(hash, &rate, sizeof rate);
	fake_absorb(hash, &span->epoch, sizeof span->epoch);
	if (state->step < FAKE_RATES_MAX)
		fake.rates[state->step] = rate;
	fake.batches++;
	fake.groups += count;
	state->step++;
	mem_free(users);
	mem_free(items);
}

static int fake_train(struct backend_state *state, const struct train_span *span, struct train_result *result,
                      struct error *error)
{
	const uint64_t batch = state->options.batch_groups;
	uint64_t hash = fake_hash(&state->values);
	*result = (struct train_result){0};
	if (fake.spans++ == 0)
		fake.first_epoch = span->epoch;
	if (span->end - span->begin > fake.longest_span)
		fake.longest_span = span->end - span->begin;
	for (uint64_t begin = span->begin; begin < span->end; begin += batch) {
		if (fake.fail_after && fake.batches >= fake.fail_after)
			return error_set(error, CODE_SYSTEM, "the fake failed");
		fake_batch(state, span, begin, begin + batch < span->end ? begin + batch : span->end, &hash, result);
	}
	for (int i = 0; i < 4; i++)
		fake_place(&state->values)[i] = (float)(hash >> (16 * i) & 0xffff);
	fake_place(&state->moment1)[0] = fake_place(&state->moment2)[0] = (float)state->step;
	state->epoch = span->epoch;
	result->samples = (span->end - span->begin) * (1 + (uint64_t)state->options.ratio) - result->missing;
	result->loss_sum = 0.25 * (double)result->samples;
	if (fake.nan_loss_at && state->step >= fake.nan_loss_at)
		result->loss_sum = NAN;
	if (fake.nan_weight_at && state->step >= fake.nan_weight_at)
		fake_place(&state->values)[4] = NAN;
	return 0;
}

/* Which attempt the parameters began as: the fake leaves the item table alone. */
static inline uint32_t fake_attempt(struct backend_state *state)
{
	struct error error = {0};
	struct parameters first;
	uint32_t attempt = 0;
	CHECK_OK(parameters_init(&first, &state->shape, &error), &error);
	for (; attempt < FAKE_ATTEMPTS_MAX; attempt++) {
		model_init_values(&state->shape, &first, fake.seed, attempt, state->options.ratio, 0, 0, false);
		if (first.matrices[MATRIX_ITEMS].values[0] == state->values.matrices[MATRIX_ITEMS].values[0])
			break;
	}
	parameters_release(&first);
	return attempt;
}

static int fake_score_lists(struct backend_state *state, const struct score_lists *lists, struct error *error)
{
	const bool dead = fake.dead_attempts > 0 && fake_attempt(state) < fake.dead_attempts;
	(void)error;
	for (size_t l = 0; l < lists->count; l++)
		for (size_t i = lists->offsets[l]; i < lists->offsets[l + 1]; i++) {
			const uint32_t user = lists->users[l], item = lists->items[i];
			float score = (float)(item * 7919u % 1009u) / 1009.0f;
			if (fake.truth && fake.quality && interactions_has(fake.truth, user, item))
				score = (float)fake.quality[state->epoch];
			if (dead)
				score = fake.dead_by_ties ? (float)user : 0.5f;
			lists->scores[i] = score;
		}
	return 0;
}

static int fake_score_top(struct backend_state *state, const struct score_top *request, struct error *error)
{
	(void)state;
	(void)request;
	return error_set(error, CODE_BUG, "the trainer needs no top lists");
}

static int fake_get(struct backend_state *state, struct parameters *parameters, struct parameters *moment1,
                    struct parameters *moment2, uint64_t *step, struct error *error)
{
	(void)error;
	parameters_copy(parameters, &state->values);
	if (moment1)
		parameters_copy(moment1, &state->moment1);
	if (moment2)
		parameters_copy(moment2, &state->moment2);
	if (step)
		*step = state->step;
	return 0;
}

static int fake_put(struct backend_state *state, const struct parameters *parameters,
                    const struct parameters *moment1, const struct parameters *moment2, uint64_t step,
                    struct error *error)
{
	parameters_copy(&state->values, parameters);
	if (moment1)
		parameters_copy(&state->moment1, moment1);
	if (moment2)
		parameters_copy(&state->moment2, moment2);
	state->step = step;
	if (step == 0)
		for (int i = 0; i < 4; i++)
			fake_place(&state->values)[i] = 0.0f;
	if (fake_place(&state->moment1)[0] != (float)step || fake_place(&state->moment2)[0] != (float)step)
		return error_set(error, CODE_BUG, "moments of another step");
	return 0;
}

static const char *fake_describe(const struct backend_state *state)
{
	(void)state;
	return "a fake";
}

static const struct backend fake_backend = {
	.name = "fake", .probe = fake_probe, .open = fake_open, .train = fake_train, .score_lists = fake_score_lists,
	.score_top = fake_score_top, .get = fake_get, .put = fake_put, .close = fake_close, .describe = fake_describe,
};

#endif
