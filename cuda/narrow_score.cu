/* Scoring by the seed's tower (narrow.h): tiles of 64 pairs a warp, two a lane where they are narrow, or of 32. */
#include "narrow_tile.h"

/* A phase of those warps that have a tile, with it; and what a lane keeps of a layer. */
#define EACH_OF_SCORES(t, w) EACH_THREAD_OF_WARP(t) \
	for (struct narrow_warp w = narrow_warp(samples, false, t, tile, end, samples, a->pairs), *is_##w = &w; is_##w; is_##w = NULL) \
		if (w.count > 0)
#define OF_LAYER(sums, t) ((struct float4 (*)[NARROW_QUADS])(void *)OF_THREAD(sums, t))

ON_DEVICE void narrow_score(const uint32_t samples, const enum precision kind, const struct tower_arguments *a)
{
	const uint32_t tiles = (a->pairs + samples - 1) / samples, pitch = narrow_pitch(samples);
	const uint32_t begin = share_begin(tiles, BLOCKS, BLOCK), end = share_begin(tiles, BLOCKS, BLOCK + 1);
	PER_THREAD(struct float4, sums, NARROW_UNITS * NARROW_QUADS);
	PER_THREAD(uint32_t, found, NARROW_TWO * FOUND);
	EACH_THREAD(t) {
		const struct narrow_weights weights = narrow_read_weights(t, a);
		find_samples(samples, a, narrow_warp(samples, false, t, begin, end, samples, a->pairs), OF_THREAD(found, t));
		narrow_put_weights(kind, t, &weights, false, shared_floats());
	}
	ROLLED
	for (uint32_t tile = begin; tile < end; tile += WARPS) {
		EACH_OF_SCORES(t, w) {
			put_found(samples, &w, OF_THREAD(found, t));
			find_samples(samples, a, narrow_warp(samples, false, t, tile + WARPS, end, samples, a->pairs), OF_THREAD(found, t));
		}
		EACH_OF_SCORES(t, w) narrow_load(kind, samples, w.lane, a, w.found, w.units);
		EACH_OF_SCORES(t, w)
			narrow_product(forward_1(samples), w.lane, w.weights + NARROW_T1, w.weights + NARROW_B1, w.units, OF_LAYER(sums, t));
		EACH_OF_SCORES(t, w) narrow_store(kind, forward_1(samples), w.lane, false, OF_LAYER(sums, t), w.units);
		EACH_OF_SCORES(t, w)
			narrow_product(forward_2(samples), w.lane, w.weights + NARROW_T2, w.weights + NARROW_B2, w.units, OF_LAYER(sums, t));
		EACH_OF_SCORES(t, w) narrow_store(PRECISION_FP32, forward_2(samples), w.lane, false, OF_LAYER(sums, t), w.units);
		EACH_OF_SCORES(t, w) {
			struct narrow_tail tail;
			narrow_tail(samples / WARP, w.weights, w.units + w.lane, pitch, &tail);
			UNROLLED
			for (uint32_t i = 0; i < samples / WARP; i++)
				if (w.lane + i * WARP < w.count)
					a->scores[w.first + w.lane + i * WARP] = tail.z[i][0];
		}
	}
}

NARROW_KERNELS(KERNEL_OF_TWO, score_narrow_32, narrow_score, 32)
NARROW_KERNELS(KERNEL_OF_ONE, score_narrow_64, narrow_score, 64)

void cuda_score_narrow(struct backend_state *state, const struct tower_arguments *of)
{
	const struct tower_arguments a = *of;
	const uint32_t blocks = blocks_for(a.pairs, a.plan.tile, a.plan.blocks);
	if (a.plan.tile == 32)
		LAUNCH_NARROW(state, score_narrow_32, blocks, a);
	else
		LAUNCH_NARROW(state, score_narrow_64, blocks, a);
}
