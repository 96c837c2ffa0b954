/* The best items of users, by blocks of the catalogue: a block's scores and the best of the blocks before it go in, the
 * best of both come out. Seen items are blotted out, and the best are selected by the digits of keys (score, truth,
 * item), each of which is there once: so which they are does not depend on any order, nor on the blocks. The host sorts
 * the few that are left (ranking.cu).
 *
 * A key orders as the answer does: smaller is better. Its upper half is the score's bits, made to descend; the lower
 * one the item, with the truth behind all others. */
#include "device_maths.h"
#include "ranking.h"

enum { BUCKETS = 256, DIGITS = 8 };

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
KERNEL(blot_out, struct block_of_items)
{
	const uint32_t user = a.users[BLOCK];
	float *const scores = a.scores + (size_t)BLOCK * a.items;
	const uint64_t begin = user < a.seen.users ? a.seen.offsets[user] : 0;
	const uint64_t end = user < a.seen.users ? a.seen.offsets[user + 1] : 0;
	EACH_THREAD(t) {
		for (uint64_t i = begin + t; i < end; i += THREADS)
			if (a.seen.item_ids[i] - a.first < a.items)
				scores[a.seen.item_ids[i] - a.first] = float_of_bits(0x7fc00000u);
	}
}

ON_DEVICE uint32_t descending_bits(float score)
{
	const uint32_t bits = bits_of_float(score + 0.0f); /* -0 is 0 */
	return bits >> 31 ? bits : ~bits & 0x7fffffffu;
}

/* The key, but its lower half only where the upper one is that of `prefix`: the truth is looked up for ties alone. */
ON_DEVICE uint64_t key_of(const struct block_of_items *a, uint32_t user, float score, uint32_t item, uint64_t prefix,
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

/* Whether a key has the digits above `digit` of the prefix. */
ON_DEVICE bool has_prefix(uint64_t key, uint64_t prefix, int digit)
{
	return digit == DIGITS - 1 || (key ^ prefix) >> (8 * digit + 8) == 0;
}

/* Counts this thread's share of the keys by their digit. */
ON_DEVICE void count_keys(uint32_t t, const struct block_of_items *a, uint64_t prefix, int digit, uint32_t *buckets)
{
	const uint32_t user = a->users[BLOCK], kept = a->kept_found ? a->kept_found[BLOCK] : 0;
	const float *const scores = a->scores + (size_t)BLOCK * a->items;
	const uint64_t *const keys = kept > 0 ? a->kept + (size_t)BLOCK * a->top : NULL;
	for (uint32_t i = t; i < a->items; i += THREADS) {
		if (scores[i] != scores[i])
			continue;
		const uint64_t key = key_of(a, user, scores[i], a->first + i, prefix, false);
		if (has_prefix(key, prefix, digit))
			count_up(&buckets[key >> (8 * digit) & (BUCKETS - 1)], 1);
	}
	for (uint32_t i = t; i < kept; i += THREADS)
		if (has_prefix(keys[i], prefix, digit))
			count_up(&buckets[keys[i] >> (8 * digit) & (BUCKETS - 1)], 1);
}

/* Takes this thread's share of the keys up to `last`. */
ON_DEVICE void take_keys(uint32_t t, const struct block_of_items *a, uint64_t last, uint32_t *counter)
{
	const uint32_t user = a->users[BLOCK], kept = a->kept_found ? a->kept_found[BLOCK] : 0;
	const float *const scores = a->scores + (size_t)BLOCK * a->items;
	const uint64_t *const keys = kept > 0 ? a->kept + (size_t)BLOCK * a->top : NULL;
	uint64_t *const best = a->best + (size_t)BLOCK * a->top;
	for (uint32_t i = t; i < a->items; i += THREADS) {
		if (scores[i] != scores[i] || (uint64_t)descending_bits(scores[i]) << 32 > last)
			continue;
		const uint64_t key = key_of(a, user, scores[i], a->first + i, last, true);
		if (key <= last)
			best[count_up(counter, 1)] = key;
	}
	for (uint32_t i = t; i < kept; i += THREADS)
		if (keys[i] <= last)
			best[count_up(counter, 1)] = keys[i];
}

KERNEL(select_best, struct block_of_items)
{
	struct search *const search = (struct search *)(void *)shared_floats();
	uint32_t *const buckets = (uint32_t *)(void *)(search + 1), *const counter = buckets + BUCKETS;
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
		EACH_THREAD(t) count_keys(t, &a, prefix, digit, buckets);
		EACH_THREAD(t) {
			if (t == 0)
				take_digit(search, buckets, digit);
		}
		last = search->prefix | ((UINT64_C(1) << (8 * digit)) - 1);
		if (search->in_bucket <= search->wanted)
			break;
	}
	EACH_THREAD(t) take_keys(t, &a, last, counter);
	EACH_THREAD(t) {
		if (t == 0)
			a.found[BLOCK] = *counter;
		for (uint32_t i = *counter + t; i < a.top; i += THREADS) /* the host copies all of them */
			a.best[(size_t)BLOCK * a.top + i] = UINT64_MAX;
	}
}

struct numbering {
	uint32_t *ids;
	uint32_t first, count;
};

KERNEL(number_items, struct numbering)
{
	EACH_THREAD(t) {
		for (uint32_t i = BLOCK * THREADS + t; i < a.count; i += BLOCKS * THREADS)
			a.ids[i] = a.first + i;
	}
}

void cuda_number_items(struct backend_state *state, uint32_t first, uint32_t count, uint32_t *ids)
{
	const struct numbering a = {ids, first, count};
	LAUNCH(&state->device, STREAM_WORK, number_items, blocks_for(count, THREADS, GRID_WIDE), 0, a);
}

void cuda_select_best(struct backend_state *state, const struct block_of_items *block, uint32_t users)
{
	const size_t shared = sizeof(struct search) + (BUCKETS + 2) * sizeof(uint32_t);
	if (block->seen.users > 0)
		LAUNCH(&state->device, STREAM_WORK, blot_out, users, 0, *block);
	LAUNCH(&state->device, STREAM_WORK, select_best, users, shared, *block);
}
