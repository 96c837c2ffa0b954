/* Evaluation candidates: distinct items that a user has not seen, uniform without replacement. */
#include "rng.h"
#include "sampler.h"

/* First position in the ascending items[0..count) that is not below `item`. */
static size_t place_of(const uint32_t *items, size_t count, uint32_t item)
{
	size_t low = 0, high = count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (items[middle] < item)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool has(const uint32_t *items, size_t count, uint32_t item)
{
	size_t place = place_of(items, count, item);
	return place < count && items[place] == item;
}

/* Rejection: for users with far more unseen items than are wanted. */
static void draw_sparse(const uint32_t *seen, size_t seen_count, const uint32_t *exclude, size_t excluded,
                        uint32_t all, struct rng *rng, size_t count, uint32_t *items)
{
	for (size_t have = 0; have < count;) {
		uint32_t item = (uint32_t)rng_below(rng, all);
		size_t place = place_of(items, have, item);
		if ((place < have && items[place] == item) || has(seen, seen_count, item) ||
		    has(exclude, excluded, item))
			continue;
		memmove(items + place + 1, items + place, (have - place) * sizeof *items);
		items[place] = item;
		have++;
	}
}

/* Selection sampling (Knuth, TAOCP 2, algorithm 3.4.2 S): each unseen item in turn is taken with
 * probability wanted / left. */
static void draw_dense(const uint32_t *seen, size_t seen_count, const uint32_t *exclude, size_t excluded,
                       uint32_t all, size_t unseen, struct rng *rng, size_t count, uint32_t *items)
{
	size_t have = 0;
	for (uint32_t item = 0; item < all && have < count; item++) {
		if (has(seen, seen_count, item) || has(exclude, excluded, item))
			continue;
		if (rng_below(rng, unseen--) < count - have)
			items[have++] = item;
	}
}

size_t sampler_candidates(const struct interactions *known, uint32_t user, const uint32_t *exclude, size_t excluded,
                          uint64_t seed, uint32_t draw, size_t count, uint32_t *items)
{
	struct rng rng;
	size_t seen_count, taken;
	const uint32_t *seen = interactions_of(known, user, &seen_count);
	taken = seen_count;
	for (size_t i = 0; i < excluded; i++)
		taken += !has(seen, seen_count, exclude[i]);
	const size_t unseen = known->items - taken;
	if (count > unseen)
		count = unseen;
	rng_init(&rng, seed, rng_stream(RNG_CANDIDATE, draw), user);
	if (unseen / 4 >= count && unseen >= known->items / 8)
		draw_sparse(seen, seen_count, exclude, excluded, known->items, &rng, count, items);
	else
		draw_dense(seen, seen_count, exclude, excluded, known->items, unseen, &rng, count, items);
	return count;
}
