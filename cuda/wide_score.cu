/* Scores of pairs by the tower of wide.h. */
#include "wide_tile.h"

/* Samples of tile `tile`, 0 behind the last one. */
ON_DEVICE uint32_t pairs_of(const struct tower_arguments *a, uint64_t tile)
{
	const uint64_t first = tile * WIDE_TILE;
	return first < a->pairs ? least_of(a->pairs - (uint32_t)first, WIDE_TILE) : 0;
}

ON_DEVICE void find_pairs(uint32_t t, const struct tower_arguments *a, uint64_t tile, uint32_t *slots)
{
	if (pairs_of(a, tile) > 0)
		find_rows(t, a, slots, (uint32_t)tile * WIDE_TILE, pairs_of(a, tile));
}

ON_DEVICE void put_scores(uint32_t t, const struct tower_arguments *a, const struct wide_room *r, uint64_t tile)
{
	if (t < pairs_of(a, tile))
		a->scores[tile * WIDE_TILE + t] = forward_last(t, a, r);
}

/* All of the next tile's samples come while this one's first layer is multiplied; the last layer of the one before is done
 * beside it. */
ON_DEVICE void score_share(const struct tower_arguments *a)
{
	struct wide_room r = wide_room();
	uint64_t tile = BLOCK;
	EACH_THREAD(t) {
		copy_weights(t, a, &r);
		find_pairs(t, a, tile, r.slots);
	}
	EACH_THREAD(t) {
		if (pairs_of(a, tile) > 0)
			load_samples(t % WARP, t / WARP * EACH, PARTS, a, r.slots, r.in, pairs_of(a, tile));
	}
	EACH_THREAD(t) find_pairs(t, a, tile + BLOCKS, r.slots);
	for (; pairs_of(a, tile) > 0; tile += BLOCKS) {
		r.next_count = pairs_of(a, tile + BLOCKS);
		EACH_WARP(w) {
			struct fetched f[PARTS][WARP_LANES];
			UNROLLED
			for (uint32_t part = 0; part < PARTS; part++)
				fetch_ahead(w * EACH + part * TOGETHER, a, &r, f[part]);
			forward_first(w, a, &r);
			UNROLLED
			for (uint32_t part = 0; part < PARTS; part++)
				put_ahead(w * EACH + part * TOGETHER, &r, f[part]);
			EACH_LANE(l) {
				if (tile >= BLOCKS)
					put_scores(w * WARP + l, a, &r, tile - BLOCKS);
			}
		}
		EACH_WARP(w) {
			EACH_LANE(l) find_pairs(w * WARP + l, a, tile + 2 * (uint64_t)BLOCKS, r.slots);
			forward_second(w, a, &r);
		}
		uint32_t *const in = r.in;
		r.in = r.next;
		r.next = in;
	}
	EACH_THREAD(t) {
		if (tile >= BLOCKS)
			put_scores(t, a, &r, tile - BLOCKS);
	}
}

KERNEL_OF_ONE(score_wide, struct tower_arguments)
{
	if (HAS_MMA)
		score_share(&a);
}

void cuda_wide_score(struct backend_state *state, const struct tower_arguments *a)
{
	LAUNCH(&state->device, STREAM_WORK, score_wide, blocks_for(a->pairs, WIDE_TILE, a->plan.blocks), a->plan.shared_bytes, *a);
}
