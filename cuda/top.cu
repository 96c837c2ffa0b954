/* The best items of users among all: a round of users is scored against the whole catalogue, seen items are blotted
 * out, and the best are selected by the digits of keys (score, truth, item), each of which is there once: so which they
 * are does not depend on any order. The host sorts the few that are left.
 *
 * A key orders as the answer does: smaller is better. Its upper half is the score's bits, made to descend; the lower
 * one the item, with the truth behind all others. */
#include "device_maths.h"
#include "state.h"

enum {
	MATRIX_FLOATS = 1 << 26,  /* scores of a round */
	USERS_MAX = 8192,
	BUCKETS = 256, DIGITS = 8,
};

struct top_arguments {
	const uint32_t *users;
	struct interactions_copy seen, truth;
	uint32_t items, top;
	float *matrix;
	uint64_t *best;
	uint32_t *found;
};

/* Place of `item` among a user's, or UINT64_MAX. */
ON_DEVICE bool holds(const struct interactions_copy *of, uint32_t user, uint32_t item)
{
	if (user >= of->users)
		return false;
	uint64_t low = of->offsets[user], high = of->offsets[user + 1];
	const uint64_t end = high;
	while (low < high) {
		const uint64_t middle = low + (high - low) / 2;
		if (of->item_ids[middle] < item)
			low = middle + 1;
		else
			high = middle;
	}
	return low < end && of->item_ids[low] == item;
}

/* Seen items become NaN, which is never listed. */
KERNEL(blot_out, struct top_arguments)
{
	const uint32_t user = a.users[BLOCK];
	float *const scores = a.matrix + (size_t)BLOCK * a.items;
	const uint64_t begin = user < a.seen.users ? a.seen.offsets[user] : 0;
	const uint64_t end = user < a.seen.users ? a.seen.offsets[user + 1] : 0;
	EACH_THREAD(t) {
		for (uint64_t i = begin + t; i < end; i += THREADS)
			if (a.seen.item_ids[i] < a.items)
				scores[a.seen.item_ids[i]] = float_of_bits(0x7fc00000u);
	}
}

ON_DEVICE uint32_t descending_bits(float score)
{
	const uint32_t bits = bits_of_float(score + 0.0f); /* -0 is 0 */
	return bits >> 31 ? bits : ~bits & 0x7fffffffu;
}

/* The key, but its lower half only where the upper one is that of `prefix`: the truth is looked up for ties alone. */
ON_DEVICE uint64_t key_of(const struct top_arguments *a, uint32_t user, float score, uint32_t item, uint64_t prefix,
                          bool whole)
{
	const uint64_t upper = (uint64_t)descending_bits(score) << 32;
	if (!whole && upper != (prefix >> 32 << 32))
		return upper;
	return upper | item | (holds(&a->truth, user, item) ? UINT32_C(1) << 31 : 0);
}

/* Where the search for the last key that is listed stands. */
struct search {
	uint64_t prefix;          /* its digits so far, the others 0 */
	uint32_t wanted;          /* keys that are still to be found among those with the prefix */
	uint32_t in_bucket;
};

/* Takes the next digit: that of the bucket which the key of rank `wanted` falls into. */
ON_DEVICE void take_digit(struct search *search, const uint32_t *buckets, int digit)
{
	uint32_t bucket = 0, before = 0;
	while (bucket + 1 < BUCKETS && before + buckets[bucket] < search->wanted)
		before += buckets[bucket++];
	search->wanted -= before;
	search->in_bucket = buckets[bucket];
	search->prefix |= (uint64_t)bucket << (8 * digit);
}

KERNEL(select_best, struct top_arguments)
{
	struct search *const search = (struct search *)(void *)shared_floats();
	uint32_t *const buckets = (uint32_t *)(void *)(search + 1), *const counter = buckets + BUCKETS;
	const uint32_t user = a.users[BLOCK];
	const float *const scores = a.matrix + (size_t)BLOCK * a.items;
	uint64_t last = 0;        /* the last key that is listed: all below are as well */
	EACH_THREAD(t) {
		if (t == 0) {
			search->prefix = 0;
			search->wanted = a.top;
			*counter = 0;
		}
	}
	for (int digit = DIGITS - 1; digit >= 0; digit--) {
		const uint64_t prefix = search->prefix;
		EACH_THREAD(t) buckets[t] = 0;
		EACH_THREAD(t) {
			for (uint32_t i = t; i < a.items; i += THREADS) {
				if (scores[i] != scores[i])
					continue;
				const uint64_t key = key_of(&a, user, scores[i], i, prefix, false);
				if (digit == DIGITS - 1 || (key ^ prefix) >> (8 * digit + 8) == 0)
					count_up(&buckets[key >> (8 * digit) & (BUCKETS - 1)], 1);
			}
		}
		EACH_THREAD(t) {
			if (t == 0)
				take_digit(search, buckets, digit);
		}
		last = search->prefix | ((UINT64_C(1) << (8 * digit)) - 1);
		if (search->in_bucket <= search->wanted)
			break;
	}
	EACH_THREAD(t) {
		for (uint32_t i = t; i < a.items; i += THREADS) {
			if (scores[i] != scores[i] || (uint64_t)descending_bits(scores[i]) << 32 > last)
				continue;
			const uint64_t key = key_of(&a, user, scores[i], i, last, true);
			if (key <= last)
				a.best[(size_t)BLOCK * a.top + count_up(counter, 1)] = key;
		}
	}
	EACH_THREAD(t) {
		if (t == 0)
			a.found[BLOCK] = *counter;
		for (uint32_t i = *counter + t; i < a.top; i += THREADS) /* the host copies all of them */
			a.best[(size_t)BLOCK * a.top + i] = UINT64_MAX;
	}
}

/* ---- the host's side ---- */

static int copy_interactions(struct backend_state *state, const struct interactions *from, struct interactions_copy *to,
                             struct error *error)
{
	static const char what[] = "interactions, seen or true";
	memset(to, 0, sizeof *to);
	if (!from)
		return 0;
	to->offsets = (uint64_t *)device_alloc(&state->device, (size_t)from->users + 1, sizeof *to->offsets, what, error);
	to->item_ids = (uint32_t *)device_alloc(&state->device, from->count, sizeof *to->item_ids, what, error);
	if (!to->offsets || !to->item_ids)
		return -1;
	to->users = from->users;
	device_upload(&state->device, STREAM_WORK, to->offsets, from->offsets, ((size_t)from->users + 1) * sizeof *to->offsets);
	device_upload(&state->device, STREAM_WORK, to->item_ids, from->item_ids, from->count * sizeof *to->item_ids);
	return 0;
}

static void release_copy(struct backend_state *state, struct interactions_copy *copy)
{
	device_release(&state->device, copy->offsets);
	device_release(&state->device, copy->item_ids);
}

/* All that one ranking needs on the device and of the host; freed behind it. */
struct ranking {
	struct interactions_copy seen, truth;
	uint32_t *users, *found, *host_found;
	float *user_parts, *queries, *matrix;
	uint64_t *best, *host_best;
	size_t round;             /* users */
};

static int init_ranking(struct backend_state *state, const struct score_top *request, struct ranking *r,
                        struct error *error)
{
	static const char what[] = "a round of users to rank for";
	struct device *device = &state->device;
	const size_t items = state->shape.items, fitting = MATRIX_FLOATS / items;
	const size_t most = request->count < USERS_MAX ? request->count : (size_t)USERS_MAX;
	memset(r, 0, sizeof *r);
	r->round = fitting < 1 ? 1 : fitting < most ? fitting : most;
	if (copy_interactions(state, request->seen, &r->seen, error) < 0 ||
	    copy_interactions(state, request->truth, &r->truth, error) < 0)
		return -1;
	r->users = (uint32_t *)device_alloc(device, r->round, sizeof *r->users, what, error);
	r->found = (uint32_t *)device_alloc(device, r->round, sizeof *r->found, what, error);
	r->best = (uint64_t *)device_alloc(device, r->round * request->top, sizeof *r->best, what, error);
	r->matrix = (float *)device_alloc(device, r->round * items, sizeof *r->matrix, what, error);
	r->user_parts = (float *)device_alloc(device, r->round * state->tower.width, sizeof(float), what, error);
	r->queries = (float *)device_alloc(device, r->round * state->sides[SIDE_USER].factors.stride, sizeof(float), what, error);
	if (!r->users || !r->found || !r->best || !r->matrix || !r->user_parts || !r->queries)
		return -1;
	r->host_found = (uint32_t *)malloc(r->round * sizeof *r->host_found);
	r->host_best = (uint64_t *)malloc(r->round * request->top * sizeof *r->host_best);
	return r->host_found && r->host_best ? 0 : cuda_error(error, CODE_SYSTEM, "out of memory: %s", what);
}

static void release_ranking(struct backend_state *state, struct ranking *r)
{
	void *const blocks[] = {r->users, r->found, r->best, r->matrix, r->user_parts, r->queries};
	for (size_t i = 0; i < COUNT_OF(blocks); i++)
		device_release(&state->device, blocks[i]);
	release_copy(state, &r->seen);
	release_copy(state, &r->truth);
	free(r->host_found);
	free(r->host_best);
}

static void queue_round(struct backend_state *state, const struct score_top *request, size_t first, uint32_t count,
                        struct ranking *r)
{
	struct device *device = &state->device;
	const uint32_t items = state->shape.items, pairs = count * items;
	struct top_arguments a;
	memset(&a, 0, sizeof a);
	a.users = r->users;
	a.seen = r->seen;
	a.truth = r->truth;
	a.items = items;
	a.top = (uint32_t)request->top;
	a.matrix = r->matrix;
	a.best = r->best;
	a.found = r->found;
	device_upload(device, STREAM_WORK, r->users, request->users + first, count * sizeof *r->users);
	if (state->has_tower) {
		cuda_project(state, SIDE_USER, r->users, NULL, count, r->user_parts);
		cuda_score_tower(state, r->user_parts, NULL, NULL, 0, items, pairs, r->matrix);
	}
	if (state->has_factors) {
		cuda_make_queries(state, r->users, count, r->queries);
		cuda_score_factors(state, r->queries, NULL, NULL, 0, items, pairs, r->matrix);
	}
	if (request->seen)
		LAUNCH(device, STREAM_WORK, blot_out, count, 0, a);
	LAUNCH(device, STREAM_WORK, select_best, count, sizeof(struct search) + (BUCKETS + 2) * sizeof(uint32_t), a);
	device_download(device, STREAM_WORK, r->host_found, r->found, count * sizeof *r->found);
	device_download(device, STREAM_WORK, r->host_best, r->best, (size_t)count * request->top * sizeof *r->best);
}

static int compare_keys(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

static void take_results(const struct score_top *request, size_t first, uint32_t count, const struct ranking *r)
{
	for (size_t u = 0; u < count; u++) {
		uint64_t *keys = r->host_best + u * request->top;
		const size_t at = (first + u) * request->top;
		qsort(keys, r->host_found[u], sizeof *keys, compare_keys);
		request->counts[first + u] = r->host_found[u];
		for (size_t i = 0; i < r->host_found[u]; i++) {
			const uint32_t upper = (uint32_t)(keys[i] >> 32), bits = upper >> 31 ? upper : ~upper & 0x7fffffffu;
			request->items[at + i] = (uint32_t)keys[i] & 0x7fffffffu;
			memcpy(&request->scores[at + i], &bits, sizeof bits);
		}
	}
}

int cuda_score_top(struct backend_state *state, const struct score_top *request, struct error *error)
{
	struct ranking r;
	int status = -1;
	if (request->top == 0 || request->count == 0) {
		memset(request->counts, 0, request->count * sizeof *request->counts);
		return 0;
	}
	if (request->top > UINT32_MAX)
		return cuda_error(error, CODE_USAGE, "lists of more than 2^32 - 1 items");
	device_use(&state->device);
	if (init_ranking(state, request, &r, error) < 0 || cuda_score_items(state, error) < 0)
		goto out;
	for (size_t first = 0; first < request->count; first += r.round) {
		const size_t left = request->count - first;
		const uint32_t count = (uint32_t)(left < r.round ? left : r.round);
		queue_round(state, request, first, count, &r);
		if (device_finish(&state->device, error) < 0)
			goto out;
		take_results(request, first, count, &r);
	}
	status = 0;
out:
	release_ranking(state, &r);
	return status;
}
