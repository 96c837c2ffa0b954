/* A tile of 64 samples of the tower of wide.h on its way forward, which training and scoring share: where it lies in shared
 * memory, how samples come into it, and its layers. */
#ifndef RECPIPE_CUDA_WIDE_TILE_H
#define RECPIPE_CUDA_WIDE_TILE_H

#include "wide.h"
#include "wide_mma.h"

enum {
	PITCH_0 = WIDE_0 / 2 + WIDE_PAD, PITCH_1 = WIDE_1 / 2 + WIDE_PAD, PITCH_2 = WIDE_2 / 2 + WIDE_PAD, /* words */
	PITCH_LAST = WIDE_2 + 4,  /* floats of the last layer's inputs */
	BELOW = WARPS / WIDE_ACROSS, /* warps below each other */
	TALL = WIDE_TILE / BELOW / MMA_ROWS, /* of a piece of activations: 32 samples by a quarter of the units */
	LONG_1 = WIDE_1 / WIDE_ACROSS / MMA_COLUMNS, LONG_2 = WIDE_2 / WIDE_ACROSS / MMA_COLUMNS,
	EACH = WIDE_TILE / WARPS, TOGETHER = 2, PARTS = EACH / TOGETHER, /* samples of a warp; that it loads at a time */
	PASSES = WIDE_0 / (4 * WARP), /* of a warp along a row */
};

/* A block's shared memory, in words. */
struct wide_room {
	uint32_t *in;             /* activations of the first layer, then their gradients */
	uint32_t *middle;         /* those of the second */
	uint32_t *out;            /* gradients of the third layer's sums */
	uint32_t *weight1, *weight2;
	float *last;              /* [samples][PITCH_LAST]: activations of the third */
	float *z;                 /* [samples] */
	double *losses;           /* [THREADS] */
	uint32_t *slots;          /* [2][samples]: a tile's rows of halves, users' and items' */
	float *given;             /* [2][samples]: the factors' logits, and weights, of this tile */
	uint32_t *next;           /* what `in` will be of the next tile */
	uint32_t next_count;      /* its samples, 0 where there is none */
};

enum {
	AT_MIDDLE = WIDE_TILE * PITCH_0,
	AT_LAST = AT_MIDDLE + WIDE_TILE * PITCH_1,
	AT_WEIGHT1 = AT_LAST + WIDE_TILE * PITCH_LAST,
	AT_WEIGHT2 = AT_WEIGHT1 + WIDE_1 * PITCH_0,
	AT_LOSSES = AT_WEIGHT2 + WIDE_2 * PITCH_1,
	AT_Z = AT_LOSSES + 2 * THREADS,
	AT_SLOTS = AT_Z + WIDE_TILE,
	AT_NEXT = AT_SLOTS + 2 * WIDE_TILE,
	SCORING_WORDS = AT_NEXT + WIDE_TILE * PITCH_0,
	AT_OUT = SCORING_WORDS,
	AT_GIVEN = AT_OUT + WIDE_TILE * PITCH_2,
	TRAINING_WORDS = AT_GIVEN + 2 * WIDE_TILE,
};

ON_DEVICE struct wide_room wide_room(void)
{
	uint32_t *const words = (uint32_t *)(void *)shared_floats();
	struct wide_room r;
	r.in = words;
	r.middle = words + AT_MIDDLE;
	r.last = (float *)(void *)(words + AT_LAST);
	r.weight1 = words + AT_WEIGHT1;
	r.weight2 = words + AT_WEIGHT2;
	r.losses = (double *)(void *)(words + AT_LOSSES);
	r.z = (float *)(void *)(words + AT_Z);
	r.slots = words + AT_SLOTS;
	r.given = (float *)(void *)(words + AT_GIVEN);
	r.out = words + AT_OUT;
	r.next = words + AT_NEXT;
	r.next_count = 0;
	return r;
}

ON_DEVICE void copy_weights(uint32_t t, const struct tower_arguments *a, const struct wide_room *r)
{
	const struct layer *one = &a->tower.layers[0], *two = &a->tower.layers[1];
	copy_wide(t, a->values + one->weight, one->stride, WIDE_0, WIDE_1, r->weight1);
	copy_wide(t, a->values + two->weight, two->stride, WIDE_1, WIDE_2, r->weight2);
}

/* ---- forward ---- */

/* Four units of relu(user half + item half), as two words. */
ON_DEVICE void put_sample(uint32_t *words, struct float4 u, struct float4 i, bool exists)
{
	words[0] = exists ? bf16_word(relu(u.x + i.x), relu(u.y + i.y)) : 0;
	words[1] = exists ? bf16_word(relu(u.z + i.z), relu(u.w + i.w)) : 0;
}

/* Where the halves of `count` samples are; of those behind them, the last one's. */
ON_DEVICE void find_rows(uint32_t t, const struct tower_arguments *a, uint32_t *slots, uint32_t first, uint32_t count)
{
	if (t < WIDE_TILE)
		find_slots(a, first + least_of(t, count - 1), &slots[t], &slots[WIDE_TILE + t]);
}

/* What TOGETHER samples are made of: a lane's share of the rows of both halves. */
struct fetched {
	struct float4 user[TOGETHER][PASSES], item[TOGETHER][PASSES];
};

ON_DEVICE void fetch_samples(uint32_t l, uint32_t s, const struct tower_arguments *a, const uint32_t *slots, struct fetched *f)
{
	UNROLLED
	for (uint32_t i = 0; i < TOGETHER; i++) {
		UNROLLED
		for (uint32_t p = 0; p < PASSES; p++) {
			f->user[i][p] = load_early(a->user_parts + (size_t)slots[s + i] * WIDE_0 + (p * WARP + l) * 4);
			f->item[i][p] = load_early(a->item_parts + (size_t)slots[WIDE_TILE + s + i] * WIDE_0 + (p * WARP + l) * 4);
		}
	}
}

/* Into the tile, zeros behind its `count` samples. */
ON_DEVICE void put_samples(uint32_t l, uint32_t s, const struct fetched *f, uint32_t *in, uint32_t count)
{
	UNROLLED
	for (uint32_t i = 0; i < TOGETHER; i++) {
		UNROLLED
		for (uint32_t p = 0; p < PASSES; p++)
			put_sample(in + (s + i) * PITCH_0 + (p * WARP + l) * 2, f->user[i][p], f->item[i][p], s + i < count);
	}
}

/* `pieces`, an even number, times TOGETHER samples from s on, by one warp. */
ON_DEVICE void load_samples(uint32_t l, uint32_t s, const uint32_t pieces, const struct tower_arguments *a, const uint32_t *slots,
                            uint32_t *in, uint32_t count)
{
	for (uint32_t end = s + pieces * TOGETHER; s < end; s += 2 * TOGETHER) {
		struct fetched f[2];
		fetch_samples(l, s, a, slots, &f[0]);
		fetch_samples(l, s + TOGETHER, a, slots, &f[1]);
		put_samples(l, s, &f[0], in, count);
		put_samples(l, s + TOGETHER, &f[1], in, count);
	}
}

/* What the next tile's samples are made of is asked for before products of this one, and put in its place behind them. Behind
 * the last tile its own rows once more, which nobody uses: a branch would cost registers. */
ON_DEVICE void fetch_ahead(uint32_t s, const struct tower_arguments *a, const struct wide_room *r,
                           struct fetched f[WARP_LANES])
{
	EACH_LANE(l) fetch_samples(l, s, a, r->slots, &f[OF_LANE(l)]);
}

ON_DEVICE void put_ahead(uint32_t s, const struct wide_room *r, const struct fetched f[WARP_LANES])
{
	EACH_LANE(l) put_samples(l, s, &f[OF_LANE(l)], r->next, r->next_count);
}

ON_DEVICE void forward_first(uint32_t w, const struct tower_arguments *a, const struct wide_room *r)
{
	const struct operand in = operand_of(r->in, WIDE_0, false), weight = operand_of(r->weight1, WIDE_0, false);
	const uint32_t s = piece_row(w, WIDE_TILE / BELOW), n = piece_column(w, WIDE_1 / WIDE_ACROSS);
	float sums[WARP_LANES * TALL * LONG_1 * 4];
	EACH_LANE(l) start_columns(TALL, LONG_1, a->values + a->tower.layers[0].bias, n, l, sums + OF_LANE(l) * TALL * LONG_1 * 4);
	multiply_block(TALL, LONG_1, WIDE_0, &in, s, &weight, n, sums);
	EACH_LANE(l) {
		UNROLLED
		for (uint32_t p = 0; p < 2 * TALL * LONG_1; p++) {
			const float *const pair = sums + OF_LANE(l) * TALL * LONG_1 * 4 + 2 * p;
			r->middle[(s + pair_row(LONG_1, p, l)) * PITCH_1 + (n + pair_column(LONG_1, p, l)) / 2] =
				bf16_word(relu(pair[0]), relu(pair[1]));
		}
	}
}

ON_DEVICE void forward_second(uint32_t w, const struct tower_arguments *a, const struct wide_room *r)
{
	const struct operand in = operand_of(r->middle, WIDE_1, false), weight = operand_of(r->weight2, WIDE_1, false);
	const uint32_t s = piece_row(w, WIDE_TILE / BELOW), n = piece_column(w, WIDE_2 / WIDE_ACROSS);
	float sums[WARP_LANES * TALL * LONG_2 * 4];
	EACH_LANE(l) start_columns(TALL, LONG_2, a->values + a->tower.layers[1].bias, n, l, sums + OF_LANE(l) * TALL * LONG_2 * 4);
	multiply_block(TALL, LONG_2, WIDE_1, &in, s, &weight, n, sums);
	EACH_LANE(l) {
		UNROLLED
		for (uint32_t p = 0; p < 2 * TALL * LONG_2; p++) {
			const float *const pair = sums + OF_LANE(l) * TALL * LONG_2 * 4 + 2 * p;
			store_pair(r->last + (s + pair_row(LONG_2, p, l)) * PITCH_LAST + n + pair_column(LONG_2, p, l), relu(pair[0]),
			           relu(pair[1]));
		}
	}
}

/* The logit of the tower of sample t of the tile. */
ON_DEVICE float forward_last(uint32_t t, const struct tower_arguments *a, const struct wide_room *r)
{
	const struct layer *layer = &a->tower.layers[2];
	const float *const weight = a->values + layer->weight, *const x = r->last + t * PITCH_LAST;
	float sum = a->values[layer->bias];
	UNROLLED
	for (uint32_t k = 0; k < WIDE_2; k += 4) {
		const struct float4 w = load_quad(weight + k), q = load_quad(x + k);
		sum = fmaf(w.w, q.w, fmaf(w.z, q.z, fmaf(w.y, q.y, fmaf(w.x, q.x, sum))));
	}
	return sum;
}

#endif
