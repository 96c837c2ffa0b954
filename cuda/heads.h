/* Runs of equal keys in sorted order: their heads are numbered, a tile at a time. */
#ifndef RECPIPE_CUDA_HEADS_H
#define RECPIPE_CUDA_HEADS_H

#include "block_sort.h"
#include "state.h"

ON_DEVICE bool is_head(const uint32_t *keys, uint32_t i)
{
	return i == 0 || keys[i] != keys[i - 1];
}

/* Of the first `count` warps. */
ON_DEVICE uint32_t sum_warps(const uint32_t *warps, uint32_t count)
{
	uint32_t sum = 0;
	UNROLLED
	for (uint32_t w = 0; w < WARPS; w++)
		sum += w < count ? warps[w] : 0;
	return sum;
}

/* Sorted keys and their uses, and a tile of them, [begin, end). */
struct sorted {
	const uint32_t *keys, *uses;
	uint32_t begin, end;
};

/* votes[i]: which of the warp's items i are heads; warps[w]: how many there are. Everything is read before it is looked at,
 * so that one access does not wait for the other. */
ON_DEVICE void find_heads(const uint32_t items, const struct sorted *s, uint32_t *warps, uint32_t (*votes)[MOST_ITEMS])
{
	EACH_WARP(w) {
		uint32_t key[MOST_ITEMS][WARP_LANES], before[MOST_ITEMS][WARP_LANES];
		bool head[WARP_LANES];
		uint32_t heads = 0;
		UNROLLED
		for (uint32_t i = 0; i < items; i++) {
			EACH_LANE(l) {
				const uint32_t at = s->begin + (w * items + i) * WARP + l;
				key[i][OF_LANE(l)] = at < s->end ? s->keys[at] : 0;
				before[i][OF_LANE(l)] = at < s->end && at > 0 ? s->keys[at - 1] : UINT32_MAX; /* which no key is */
			}
		}
		UNROLLED
		for (uint32_t i = 0; i < items; i++) {
			EACH_LANE(l) {
				const uint32_t at = s->begin + (w * items + i) * WARP + l;
				head[OF_LANE(l)] = at < s->end && key[i][OF_LANE(l)] != before[i][OF_LANE(l)];
			}
			const uint32_t all = vote(head);
			EACH_LANE(l) OF_THREAD(votes, w * WARP + l)[i] = all;
			heads += count_bits(all);
		}
		EACH_LANE(l) {
			if (l == 0)
				warps[w] = heads;
		}
	}
}

/* Numbers the tile's rows from `first` on; returns how many they are. */
ON_DEVICE uint32_t place_heads(const uint32_t items, const struct row_index *index, const struct sorted *s, uint32_t first,
                               uint32_t *warps)
{
	PER_THREAD(uint32_t, votes, MOST_ITEMS);
	find_heads(items, s, warps, votes);
	EACH_WARP(w) {
		EACH_LANE(l) {
			uint32_t next = first + sum_warps(warps, w), key[MOST_ITEMS], use[MOST_ITEMS];
			UNROLLED
			for (uint32_t i = 0; i < items; i++) {
				const uint32_t at = s->begin + (w * items + i) * WARP + l;
				key[i] = at < s->end ? s->keys[at] : 0;
				use[i] = at < s->end ? s->uses[at] : 0;
			}
			UNROLLED
			for (uint32_t i = 0; i < items; i++) {
				const uint32_t at = s->begin + (w * items + i) * WARP + l, heads = OF_THREAD(votes, w * WARP + l)[i];
				const bool head = heads >> l & 1;
				const uint32_t slot = next + lanes_before(heads, l) + head - 1;
				if (head) {
					index->rows[slot] = key[i];
					index->starts[slot] = at;
				}
				if (at < s->end) {
					index->slot_at[at] = slot;
					index->slots[use[i]] = slot;
				}
				next += count_bits(heads);
			}
		}
	}
	return sum_warps(warps, WARPS);
}

ON_DEVICE void put_count(uint32_t t, const struct row_index *index, uint32_t count, uint32_t uses)
{
	if (t == 0) {
		*index->count = count;
		index->starts[count] = uses;
	}
}

#endif
