/* Tiles of the kernels of narrow.h: what lies in a warp's, and which samples. */
#ifndef RECPIPE_CUDA_NARROW_TILE_H
#define RECPIPE_CUDA_NARROW_TILE_H

#include "narrow.h"

/* Rows of a training warp's tile: outputs of each layer and, apart from them, derivatives of the later ones. */
enum {
	ROW_A0 = 0, ROW_A1 = ROW_A0 + N0, ROW_A2 = ROW_A1 + N1, ROW_D2 = ROW_A2 + N2, ROW_A3 = ROW_D2 + N2, ROW_D3 = ROW_A3 + N3,
	ROW_D4 = ROW_D3 + N3, ROW_Z = ROW_D4 + N4, ROW_A4 = ROW_Z + 1, ROWS_TRAINING = ROW_A4 + N4,
	ROWS_SCORING = N0,        /* outputs take the place of inputs */
};

/* A lane's sums, by layer; those of the last biases and the last weight; the two first biases. */
enum { SUM_1 = 0, SUM_2 = 64, SUM_3 = 80, SUM_4 = 84, SUM_REST, SUM_B1, SUM_B2, SUMS };

/* The gradient as lay_out_tower has it. */
enum {
	GRADIENT_1 = 0, GRADIENT_2 = GRADIENT_1 + N1 * (N0 + 1), GRADIENT_3 = GRADIENT_2 + N2 * (N1 + 1),
	GRADIENT_4 = GRADIENT_3 + N3 * (N2 + 1), GRADIENT_5 = GRADIENT_4 + N4 * (N3 + 1), GRADIENT_FLOATS = GRADIENT_5 + N4 + 1,
};

/* What is looked up of a sample: the rows of its user and item, its weight. */
enum { FOUND_USER, FOUND_ITEM, FOUND_WEIGHT, FOUND };

enum { LOSS_FLOATS = THREADS * sizeof(double) / sizeof(float), NO_PLACE = UINT16_MAX, LOSS_SHARES = 16 };

/* Floats of shared memory. */
ON_BOTH uint32_t tile_floats(uint32_t samples, bool trains)
{
	return (trains ? ROWS_TRAINING : ROWS_SCORING) * narrow_pitch(samples) + FOUND * samples;
}

ON_BOTH uint32_t narrow_floats(uint32_t samples, bool trains)
{
	const uint32_t tiles = WARPS * tile_floats(samples, trains);
	if (!trains)
		return NARROW_FORWARD + tiles;
	const uint32_t sums = WARPS * SUMS * WARP; /* in the place of everything but the losses */
	return LOSS_FLOATS + (NARROW_WEIGHTS + tiles > sums ? NARROW_WEIGHTS + tiles : sums);
}

/* ---- tiles ---- */

/* Where a warp's tile and weights are, and which samples it has. */
struct narrow_warp {
	const float *weights;
	float *units;
	uint32_t *found;
	uint32_t lane, first, count;
};

/* Tiles of a block go round its warps. */
ON_DEVICE struct narrow_warp narrow_warp(const uint32_t samples, const bool trains, uint32_t t, uint32_t tile, uint32_t end,
                                         uint32_t tile_samples, uint32_t all)
{
	struct narrow_warp w;
	w.weights = shared_floats() + (trains ? LOSS_FLOATS : 0);
	w.units = shared_floats() + (trains ? LOSS_FLOATS + NARROW_WEIGHTS : NARROW_FORWARD) + t / WARP * tile_floats(samples, trains);
	w.found = (uint32_t *)(void *)(w.units + (trains ? ROWS_TRAINING : ROWS_SCORING) * narrow_pitch(samples));
	w.lane = t % WARP;
	tile += t / WARP;
	w.first = tile * tile_samples;
	w.count = tile < end ? least_of(all - w.first, tile_samples) : 0;
	return w;
}

/* Of this lane's samples, a warp apart. */
ON_DEVICE void find_samples(const uint32_t samples, const struct tower_arguments *a, const struct narrow_warp w,
                            uint32_t found[NARROW_TWO * FOUND])
{
	UNROLLED
	for (uint32_t i = 0; i < (samples + WARP - 1) / WARP && w.count > 0; i++) {
		const uint32_t sample = w.first + least_of(w.lane + i * WARP, w.count - 1);
		uint32_t *const of = found + i * FOUND;
		if (a->scores) {
			of[FOUND_USER] = a->user_slots ? a->user_slots[sample] : sample / a->items_a_user;
			of[FOUND_ITEM] = a->items ? a->items[sample] : a->first_item + sample % a->items_a_user;
			of[FOUND_WEIGHT] = 0;
		} else {
			of[FOUND_USER] = a->batch.sides[SIDE_USER].slots[sample / a->group];
			of[FOUND_ITEM] = a->batch.sides[SIDE_ITEM].slots[sample];
			of[FOUND_WEIGHT] = bits_of_float(a->batch.weights[sample]);
		}
	}
}

ON_DEVICE void put_found(const uint32_t samples, const struct narrow_warp *w, const uint32_t found[NARROW_TWO * FOUND])
{
	UNROLLED
	for (uint32_t i = 0; i < (samples + WARP - 1) / WARP; i++)
		for (uint32_t f = 0; f < FOUND && samples > w->lane; f++)
			w->found[f * samples + w->lane + i * WARP] = found[i * FOUND + f];
}

ON_DEVICE struct narrow_piece forward_1(const uint32_t samples)
{
	return narrow_piece(samples, samples == 64 ? 2 : 1, N0, N1, NARROW_T1_PITCH);
}

ON_DEVICE struct narrow_piece forward_2(const uint32_t samples)
{
	return narrow_piece(samples, samples == 64 ? 2 : 1, N1, N2, NARROW_T2_PITCH);
}

/* A kernel's variants by precision. */
#define NARROW_KERNELS(kernel_of, name, body, samples) \
	kernel_of(name, struct tower_arguments) { body(samples, PRECISION_FP32, &a); } \
	kernel_of(name##_tf32, struct tower_arguments) { if (HAS_MMA) body(samples, PRECISION_TF32, &a); } \
	kernel_of(name##_bf16, struct tower_arguments) { if (HAS_MMA) body(samples, PRECISION_BF16, &a); }

#define LAUNCH_NARROW(state, name, blocks, a) \
	do { \
		if ((state)->options.precision == PRECISION_TF32) \
			LAUNCH(&(state)->device, STREAM_WORK, name##_tf32, blocks, (a).plan.shared_bytes, a); \
		else if ((state)->options.precision == PRECISION_BF16) \
			LAUNCH(&(state)->device, STREAM_WORK, name##_bf16, blocks, (a).plan.shared_bytes, a); \
		else \
			LAUNCH(&(state)->device, STREAM_WORK, name, blocks, (a).plan.shared_bytes, a); \
	} while (0)

#endif
