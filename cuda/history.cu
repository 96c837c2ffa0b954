/* Users by their histories: which items are put in, the vectors made of them, and back to the rows that were put in. */
#include "by_users.h"
#include "device_maths.h"

enum { RNG_DROPOUT_COPY = 6, LISTED = THREADS }; /* rng.h; entries of a history that are read at once */

/* ---- which items are put in ---- */

/* This thread's share of a history: puts in with the probability 1 - dropout, by (seed, epoch, user, place), four places a
 * block of words. Leaves how many it put in, and the least word with its place. */
ON_DEVICE uint32_t draw_inputs(uint32_t t, const struct round_arguments *a, uint32_t user, uint64_t begin, uint64_t end,
                               uint64_t *least)
{
	uint32_t kept = 0;
	*least = UINT64_MAX;
	for (uint64_t block = t; begin + 4 * block < end; block += THREADS) {
		uint32_t words[4];
		philox(a->seed, (uint32_t)RNG_DROPOUT_COPY << 24 | (a->epoch & 0xffffffu), user, (uint32_t)block, words);
		for (uint32_t i = 0; i < 4 && begin + 4 * block + i < end; i++) {
			const uint64_t place = 4 * block + i, word = (uint64_t)words[i] << 32 | place;
			const bool in = words[i] >= a->threshold;
			a->c.put_in[begin + place] = in;
			kept += in;
			*least = word < *least ? word : *least;
		}
	}
	return kept;
}

/* At least one item is left out: the one with the least word. */
ON_DEVICE uint32_t leave_one(const struct round_arguments *a, uint64_t begin, uint32_t count, uint32_t kept, uint64_t least)
{
	if (kept < count || count == 0)
		return kept;
	a->c.put_in[begin + (uint32_t)least] = 0;
	return count - 1;
}

/* A user of the batch a block. */
KERNEL(choose_inputs, struct round_arguments)
{
	uint64_t *const leasts = (uint64_t *)(void *)shared_floats();
	uint32_t *const kept = (uint32_t *)(void *)(leasts + THREADS);
	for (uint32_t b = BLOCK; b < a.count; b += BLOCKS) {
		const uint32_t user = a.users[b];
		const uint64_t begin = a.c.histories.offsets[user], end = a.c.histories.offsets[user + 1];
		const uint32_t count = (uint32_t)(end - begin);
		EACH_THREAD(t) {
			leasts[t] = UINT64_MAX;
			kept[t] = a.puts_in ? draw_inputs(t, &a, user, begin, end, &leasts[t]) : 0;
		}
		for (uint32_t half = THREADS / 2; half > 0; half /= 2)
			EACH_THREAD(t) {
				if (t < half) {
					kept[t] += kept[t + half];
					leasts[t] = leasts[t + half] < leasts[t] ? leasts[t + half] : leasts[t];
				}
			}
		EACH_THREAD(t) {
			if (t == 0) {
				const uint32_t put_in = a.puts_in ? leave_one(&a, begin, count, kept[0], leasts[0]) : 0;
				a.c.norms[b] = put_in > 0 ? 1.0f / sqrtf((float)put_in) : 0.0f;
				a.c.targets[b] = count - put_in;
				count_up(a.c.target_sum, count - put_in);
			}
		}
	}
}

void cuda_choose(struct backend_state *state, const struct round_arguments *round)
{
	device_zero(&state->device, STREAM_WORK, round->c.target_sum, sizeof *round->c.target_sum);
	LAUNCH(&state->device, STREAM_WORK, choose_inputs, blocks_for(round->count, 1, GRID_WIDE),
	       THREADS * (sizeof(uint64_t) + sizeof(uint32_t)), *round);
}

/* ---- the vectors ---- */

/* What a user's vector begins with: his own row, where there is one. */
ON_DEVICE float own_factor(const struct round_arguments *a, uint32_t user, uint32_t k)
{
	return user < a->own.rows && k < a->c.columns ? a->trained.values[a->own.at + user * a->own.stride + k] : 0.0f;
}

/* The columns of the biases: (0, 1). */
ON_DEVICE float fixed_factor(const struct round_arguments *a, uint32_t k, float value)
{
	return k == a->c.columns + 1 ? 1.0f : k < a->c.columns ? value : 0.0f;
}

/* An entry of a history, for the pool: its item, or NO_INPUT where it is left out; marks its use by user b of the batch. */
enum { NO_INPUT = -1 };

ON_DEVICE int32_t list_entry(const struct round_arguments *a, uint64_t i, uint32_t b, bool trains)
{
	const uint32_t item = a->c.histories.item_ids[i];
	if (trains && !a->c.put_in[i])
		return NO_INPUT;
	if (trains)
		count_up(&a->c.uses[(size_t)item * a->c.words + b / 32], UINT32_C(1) << b % 32);
	return (int32_t)item;
}

/* Adds the listed items' rows to the vector, in their order: a chain a column. */
ON_DEVICE void pool_listed(uint32_t t, const struct round_arguments *a, const int32_t *listed, uint32_t count, float norm,
                           float *vector)
{
	for (uint32_t k = t; k < a->c.columns; k += THREADS) {
		float sum = vector[k];
		for (uint32_t i = 0; i < count; i++)
			if (listed[i] != NO_INPUT)
				sum = fmaf(a->trained.values[a->c.history.at + (uint32_t)listed[i] * a->c.history.stride + k], norm, sum);
		vector[k] = sum;
	}
}

/* The vector of one user, by a block: `begin` to `end` of the interactions are his history. */
ON_DEVICE void make_vector(const struct round_arguments *a, uint32_t user, uint32_t b, uint64_t begin, uint64_t end,
                           float norm, bool trains, float *to)
{
	float *const vector = shared_floats();
	int32_t *const listed = (int32_t *)(void *)(vector + a->c.stride);
	EACH_THREAD(t) {
		for (uint32_t k = t; k < a->c.stride; k += THREADS)
			vector[k] = own_factor(a, user, k);
	}
	for (uint64_t at = begin; at < end; at += LISTED) {
		const uint32_t count = end - at < LISTED ? (uint32_t)(end - at) : (uint32_t)LISTED;
		EACH_THREAD(t) {
			if (t < count)
				listed[t] = list_entry(a, at + t, b, trains);
		}
		EACH_THREAD(t) pool_listed(t, a, listed, count, norm, vector);
	}
	EACH_THREAD(t) {
		for (uint32_t k = t; k < a->c.stride; k += THREADS)
			to[k] = fixed_factor(a, k, vector[k]);
	}
}

KERNEL(make_round_queries, struct round_arguments)
{
	for (uint32_t r = BLOCK; r < a.count; r += BLOCKS) {
		const uint32_t b = a.first + r, user = a.users[b];
		const uint64_t begin = a.puts_in ? a.c.histories.offsets[user] : 0;
		const uint64_t end = a.puts_in ? a.c.histories.offsets[user + 1] : 0;
		make_vector(&a, user, b, begin, end, a.c.norms[b], true, a.c.queries + (size_t)r * a.c.stride);
	}
}

void cuda_round_queries(struct backend_state *state, const struct round_arguments *round)
{
	LAUNCH(&state->device, STREAM_WORK, make_round_queries, blocks_for(round->count, 1, GRID_WIDE),
	       (round->c.stride + LISTED) * sizeof(float), *round);
}

/* Scoring: the whole history is put in; users beyond those of the model have that alone. */
KERNEL(make_history_queries, struct round_arguments)
{
	for (uint32_t r = BLOCK; r < a.count; r += BLOCKS) {
		const uint32_t user = a.users[r];
		const bool known = user < a.c.histories.users;
		const uint64_t begin = known ? a.c.histories.offsets[user] : 0, end = known ? a.c.histories.offsets[user + 1] : 0;
		const float norm = end > begin ? 1.0f / sqrtf((float)(end - begin)) : 0.0f;
		make_vector(&a, user, 0, begin, end, norm, false, a.rows + (size_t)r * a.c.stride);
	}
}

void cuda_history_queries(struct backend_state *state, const uint32_t *users, uint32_t count, float *queries)
{
	struct round_arguments a = cuda_round(state);
	a.users = users;
	a.count = count;
	a.rows = queries;
	LAUNCH(&state->device, STREAM_WORK, make_history_queries, blocks_for(count, 1, GRID_WIDE),
	       (a.c.stride + LISTED) * sizeof(float), a);
}

/* ---- back ---- */

ON_DEVICE uint32_t lowest_bit(uint32_t bits)
{
#ifdef __CUDACC__
	return (uint32_t)__ffs((int)bits) - 1;
#else
	return (uint32_t)__builtin_ctz(bits);
#endif
}

/* The gradient of an item's row in a column: of the users that it was put in for, in ascending order. */
ON_DEVICE float history_gradient(const struct round_arguments *a, const uint32_t *uses, uint32_t k)
{
	float sum = 0.0f;
	for (uint32_t word = 0; word < a->c.words; word++)
		for (uint32_t bits = uses[word]; bits != 0; bits &= bits - 1) {
			const uint32_t b = word * 32 + lowest_bit(bits);
			sum = fmaf(a->c.query_gradients[(size_t)b * a->c.stride + k], a->c.norms[b], sum);
		}
	return sum;
}

/* A row that was put in nowhere is not stepped. The columns of biases have no gradient. */
KERNEL(step_history, struct round_arguments)
{
	const bool idle = *a.c.target_sum == 0;
	for (uint32_t n = BLOCK; n < a.items && !idle; n += BLOCKS) {
		const uint32_t *const uses = a.c.uses + (size_t)n * a.c.words;
		uint32_t any = 0;
		for (uint32_t word = 0; word < a.c.words; word++)
			any |= uses[word];
		if (any == 0)
			continue;
		EACH_THREAD(t) {
			for (uint32_t k = t; k < a.c.columns + 2; k += THREADS)
				adam(&a.trained, a.c.history.at + (size_t)n * a.c.history.stride + k,
				     k < a.c.columns ? history_gradient(&a, uses, k) : 0.0f, a.step, a.step->decay);
		}
	}
}

void cuda_step_history(struct backend_state *state, const struct round_arguments *round)
{
	LAUNCH(&state->device, STREAM_WORK, step_history, blocks_for(round->items, 1, GRID_WIDE), 0, *round);
}
