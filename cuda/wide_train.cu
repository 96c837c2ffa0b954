/* The tower of wide.h over tiles of 64 samples, forward and back, in bf16 by tensor cores. What keeps it from memory: the
 * weights are in shared memory for a block's whole life, a tile's activations until their gradients take their places,
 * and the gradient of the weights, 41 thousand sums, stays in the registers of the block's 256 threads, which are 160 of
 * each, from its first tile to its last. There is one block on a multiprocessor.
 *
 * Rounded, as tile_mma.h does it, are the operands of the two wide products: weights, activations and gradients; and
 * beyond that the gradients of the first layer's sums, which are written as bf16. The last layer, biases, the loss and all
 * sums are single precision. */
#include "wide_tile.h"

enum {
	/* Pieces of gradients: of layer 1, 64 outputs by 64 inputs; of layer 2, 32 by 32. */
	TALL_1 = WIDE_1 / BELOW / MMA_ROWS, ACROSS_1 = WIDE_0 / WIDE_ACROSS / MMA_COLUMNS,
	TALL_2 = WIDE_2 / BELOW / MMA_ROWS, ACROSS_2 = WIDE_1 / WIDE_ACROSS / MMA_COLUMNS,
	TAIL_ROWS = THREADS / (WIDE_2 / 2), /* samples side by side where a thread has two units of the last layer's inputs */
};

/* What a thread keeps from tile to tile: of its two units' weights in the last layer and biases below it, and of a sample. */
enum { KEPT_WEIGHT = 0, KEPT_BIAS = 2, KEPT_LAST_BIAS = 4, KEPT = 5 };

/* ---- back ---- */

/* Gradients of the third layer's sums; of the last layer's weights and of biases what this thread has of them. */
ON_DEVICE void backward_last(uint32_t t, const struct tower_arguments *a, const struct wide_room *r, float kept[KEPT])
{
	const uint32_t pair = t % (WIDE_2 / 2);
	const float *const weight = a->values + a->tower.layers[2].weight + 2 * pair;
	const float w0 = weight[0], w1 = weight[1];
	UNROLLED
	for (uint32_t i = 0; i < WIDE_TILE / TAIL_ROWS; i++) {
		const uint32_t s = t / (WIDE_2 / 2) + i * TAIL_ROWS;
		const struct float2 x = load_pair(r->last + s * PITCH_LAST + 2 * pair);
		const float z = r->z[s], d0 = x.x > 0.0f ? w0 * z : 0.0f, d1 = x.y > 0.0f ? w1 * z : 0.0f;
		kept[KEPT_WEIGHT] = fmaf(z, x.x, kept[KEPT_WEIGHT]);
		kept[KEPT_WEIGHT + 1] = fmaf(z, x.y, kept[KEPT_WEIGHT + 1]);
		kept[KEPT_BIAS] += d0;
		kept[KEPT_BIAS + 1] += d1;
		r->out[s * PITCH_2 + pair] = bf16_word(d0, d1);
	}
	if (t < WIDE_TILE)
		kept[KEPT_LAST_BIAS] += r->z[t];
}

ON_DEVICE void gradient_second(uint32_t w, const struct wide_room *r, float *sums)
{
	const struct operand out = operand_of(r->out, WIDE_2, true), in = operand_of(r->middle, WIDE_1, true);
	multiply_block(TALL_2, ACROSS_2, WIDE_TILE, &out, piece_row(w, WIDE_2 / BELOW), &in,
	               piece_column(w, WIDE_1 / WIDE_ACROSS), sums);
}

ON_DEVICE void gradient_first(uint32_t w, const struct wide_room *r, float *sums)
{
	const struct operand out = operand_of(r->middle, WIDE_1, true), in = operand_of(r->in, WIDE_0, true);
	multiply_block(TALL_1, ACROSS_1, WIDE_TILE, &out, piece_row(w, WIDE_1 / BELOW), &in,
	               piece_column(w, WIDE_0 / WIDE_ACROSS), sums);
}

/* The pair in place of the activations that mask it, and by a word. */
ON_DEVICE void mask_pair(uint32_t *word, const float pair[2], float left[2])
{
	left[0] = (int16_t)*word > 0 ? pair[0] : 0.0f;
	left[1] = (int16_t)(*word >> 16) > 0 ? pair[1] : 0.0f;
	*word = bf16_word(left[0], left[1]);
}

/* A piece of 32 samples by 32 units of `to`, in place of what masks it: out * weight. `biases` is NULL, or has a lane's eight
 * columns added to it. */
ON_DEVICE void masked_piece(const struct operand *out, const struct operand *weight, const uint32_t outputs, uint32_t s,
                              uint32_t n, uint32_t *to, const uint32_t pitch, float *biases)
{
	float sums[WARP_LANES * TALL * 4 * 4];
	EACH_LANE(l) start_columns(TALL, 4, NULL, 0, l, sums + OF_LANE(l) * TALL * 4 * 4);
	multiply_block(TALL, 4, outputs, out, s, weight, n, sums);
	EACH_LANE(l) {
		UNROLLED
		for (uint32_t p = 0; p < 2 * TALL * 4; p++) {
			uint32_t *const word = to + (s + pair_row(4, p, l)) * pitch + (n + pair_column(4, p, l)) / 2;
			float left[2];
			mask_pair(word, sums + OF_LANE(l) * TALL * 4 * 4 + 2 * p, left);
			if (biases) {
				biases[OF_LANE(l) * 8 + p / 2 % 4 * 2] += left[0];
				biases[OF_LANE(l) * 8 + p / 2 % 4 * 2 + 1] += left[1];
			}
		}
	}
}

ON_DEVICE void backward_second(uint32_t w, const struct wide_room *r, float *biases)
{
	const struct operand out = operand_of(r->out, WIDE_2, false), weight = operand_of(r->weight2, WIDE_1, true);
	masked_piece(&out, &weight, WIDE_2, piece_row(w, WIDE_TILE / BELOW), piece_column(w, WIDE_1 / WIDE_ACROSS), r->middle,
	               PITCH_1, biases);
}

ON_DEVICE void backward_first(uint32_t w, const struct wide_room *r)
{
	const struct operand out = operand_of(r->middle, WIDE_1, false), weight = operand_of(r->weight1, WIDE_0, true);
	for (uint32_t half = 0; half < 2; half++)
		masked_piece(&out, &weight, WIDE_1, piece_row(w, WIDE_TILE / BELOW), piece_column(w, WIDE_0 / WIDE_ACROSS) + 32 * half,
		               r->in, PITCH_0, NULL);
}

/* Gradients of the first layer's sums: rows of words, WIDE_0 / 2 each. */
ON_DEVICE void store_samples(uint32_t t, const uint32_t *in, uint32_t first, uint32_t count, float *gradients)
{
	enum { QUADS = WIDE_0 / 2 / 4 };
	for (uint32_t i = t; i < count * QUADS; i += THREADS) {
		const uint32_t s = i / QUADS, at = i % QUADS * 4;
		store_quad(gradients + (size_t)(first + s) * (WIDE_0 / 2) + at,
		           load_quad((const float *)(const void *)(in + s * PITCH_0 + at)));
	}
}

/* ---- a block's gradients ---- */

/* Rows of what threads kept are added up: out[n] = the sum over `rows` of from[row][columns], in order. */
ON_DEVICE void add_rows(uint32_t t, const float *from, uint32_t rows, uint32_t columns, float *out)
{
	for (uint32_t n = t; n < columns; n += THREADS) {
		float sum = from[n];
		for (uint32_t row = 1; row < rows; row++)
			sum += from[row * columns + n];
		out[n] = sum;
	}
}

/* Where a lane's sums of the second layer's biases go: rows of WIDE_1, by the eight lanes that have a column and the warps below
 * each other. */
ON_DEVICE void put_biases(uint32_t w, uint32_t l, const float biases[8], float *rows)
{
	for (uint32_t c = 0; c < 8; c++)
		rows[(w / WIDE_ACROSS * 8 + l / 4) * WIDE_1 + piece_column(w, WIDE_1 / WIDE_ACROSS) + c / 2 * MMA_COLUMNS + l % 4 * 2 + c % 2] =
			biases[c];
}

/* Through `scratch`: [TAIL_ROWS][WIDE_2] of weights, the same of biases, [WIDE_TILE] of the last bias. */
ON_DEVICE void put_kept(uint32_t t, const float kept[KEPT], float *scratch)
{
	const uint32_t at = t / (WIDE_2 / 2) * WIDE_2 + t % (WIDE_2 / 2) * 2;
	for (uint32_t e = 0; e < 2; e++) {
		scratch[at + e] = kept[KEPT_WEIGHT + e];
		scratch[TAIL_ROWS * WIDE_2 + at + e] = kept[KEPT_BIAS + e];
	}
	if (t < WIDE_TILE)
		scratch[2 * TAIL_ROWS * WIDE_2 + t] = kept[KEPT_LAST_BIAS];
}

ON_DEVICE void keep_tail(uint32_t t, const struct tower_arguments *a, const float *scratch, const float *biases, float *partials)
{
	const struct layer *const layers = a->tower.layers;
	float *const two = partials + layers[1].gradient_at, *const last = partials + layers[2].gradient_at;
	add_rows(t, biases, BELOW * 8, WIDE_1, partials + layers[0].gradient_at + WIDE_0 * WIDE_1);
	add_rows(t, scratch + TAIL_ROWS * WIDE_2, TAIL_ROWS, WIDE_2, two + WIDE_1 * WIDE_2);
	add_rows(t, scratch, TAIL_ROWS, WIDE_2, last);
	add_rows(t, scratch + 2 * TAIL_ROWS * WIDE_2, WIDE_TILE, 1, last + WIDE_2);
}

/* ---- training ---- */

/* What comes with thread t's sample, of this tile and the next one. */
struct coming {
	uint32_t user, item;      /* rows of the halves */
	float given, weight;
};

ON_DEVICE void ask_for(uint32_t t, const struct tower_arguments *a, const struct wide_room *r, uint32_t first, uint32_t count,
                       struct coming *c)
{
	const uint32_t s = first + least_of(t, count - 1);
	c->given = a->has_factors ? a->logits[s] : 0.0f;
	c->weight = a->batch.weights[s];
	find_slots(a, r->next_count > 0 ? first + a->tile_samples + least_of(t, r->next_count - 1) : s, &c->user, &c->item);
}

ON_DEVICE void put_coming(uint32_t t, const struct wide_room *r, const struct coming *c)
{
	r->slots[t] = c->user;
	r->slots[WIDE_TILE + t] = c->item;
	r->given[t] = c->given;
	r->given[WIDE_TILE + t] = c->weight;
}

/* Logits of the tile, which has `count` samples, and their loss; logits become their gradients. Where samples lose by
 * themselves thread t does all of it for sample t. Meanwhile other warps bring three quarters of the next tile. */
ON_DEVICE double first_loss(uint32_t t, const struct tower_arguments *a, const struct wide_room *r, uint32_t first,
                            uint32_t count, float scale)
{
	enum { OTHERS = WARPS - WIDE_TILE / WARP };
	if (t >= WIDE_TILE) {
		load_samples(t % WARP, WIDE_TILE / 4 + (t - WIDE_TILE) / WARP * (WIDE_TILE * 3 / 4 / OTHERS),
		             WIDE_TILE * 3 / 4 / OTHERS / TOGETHER, a, r->slots, r->next, r->next_count);
		return 0.0;
	}
	float z = t < count ? forward_last(t, a, r) : 0.0f;
	double loss = 0.0;
	if (t < count && a->loss == LOSS_BINARY)
		loss = take_sample(a, &z, first + t, r->given[t], r->given[WIDE_TILE + t], scale);
	r->z[t] = z;
	return loss;
}

ON_DEVICE double losses_of_groups(uint32_t t, const struct tower_arguments *a, const struct wide_room *r, uint32_t first,
                                  uint32_t count, float scale)
{
	double loss = 0.0;
	for (uint32_t s = t * a->group; s < count; s += THREADS * a->group)
		loss += take_loss(a, r->z + s, first + s, a->group, scale);
	return loss;
}

ON_DEVICE void train_share(const struct tower_arguments *a)
{
	struct wide_room r = wide_room();
	const uint32_t samples = a->step->samples, tiles = (samples + a->tile_samples - 1) / a->tile_samples;
	const uint32_t begin = share_begin(tiles, BLOCKS, BLOCK), end = share_begin(tiles, BLOCKS, BLOCK + 1);
	const float scale = loss_scale(a);
	float *const partials = a->plan.partials + (size_t)BLOCK * a->plan.gradient_floats;
	PER_WARP(float, sums1, TALL_1 * ACROSS_1 * 4);
	PER_WARP(float, sums2, TALL_2 * ACROSS_2 * 4);
	PER_WARP(float, biases, 8);
	PER_THREAD(float, kept, KEPT);
	EACH_WARP(w) {
		EACH_LANE(l) {
			start_columns(TALL_1, ACROSS_1, NULL, 0, l, OF_WARP(sums1, w) + OF_LANE(l) * TALL_1 * ACROSS_1 * 4);
			start_columns(TALL_2, ACROSS_2, NULL, 0, l, OF_WARP(sums2, w) + OF_LANE(l) * TALL_2 * ACROSS_2 * 4);
			UNROLLED
			for (uint32_t c = 0; c < 8; c++)
				OF_WARP(biases, w)[OF_LANE(l) * 8 + c] = 0.0f;
		}
	}
	EACH_THREAD(t) {
		copy_weights(t, a, &r);
		for (uint32_t i = 0; i < KEPT; i++)
			OF_THREAD(kept, t)[i] = 0.0f;
		r.losses[t] = 0.0;
		if (begin < end)
			find_rows(t, a, r.slots, begin * a->tile_samples, least_of(samples - begin * a->tile_samples, a->tile_samples));
	}
	EACH_THREAD(t) {
		if (begin < end)
			load_samples(t % WARP, t / WARP * EACH, PARTS, a, r.slots, r.in,
			             least_of(samples - begin * a->tile_samples, a->tile_samples));
	}
	for (uint32_t tile = begin; tile < end; tile++) {
		const uint32_t first = tile * a->tile_samples, count = least_of(samples - first, a->tile_samples);
		r.next_count = tile + 1 < end ? least_of(samples - first - a->tile_samples, a->tile_samples) : 0;
		EACH_WARP(w) {
			struct coming c[WARP_LANES];
			EACH_LANE(l) {
				if (w < WIDE_TILE / WARP)
					ask_for(w * WARP + l, a, &r, first, count, &c[OF_LANE(l)]);
			}
			forward_first(w, a, &r);
			EACH_LANE(l) {
				if (w < WIDE_TILE / WARP)
					put_coming(w * WARP + l, &r, &c[OF_LANE(l)]);
			}
		}
		EACH_WARP(w) {
			struct fetched f[WARP_LANES];
			fetch_ahead(w * TOGETHER, a, &r, f);
			forward_second(w, a, &r);
			put_ahead(w * TOGETHER, &r, f);
		}
		EACH_THREAD(t) r.losses[t] += first_loss(t, a, &r, first, count, scale);
		if (a->loss != LOSS_BINARY)
			EACH_THREAD(t) r.losses[t] += losses_of_groups(t, a, &r, first, count, scale);
		EACH_THREAD(t) backward_last(t, a, &r, OF_THREAD(kept, t));
		EACH_WARP(w) gradient_second(w, &r, OF_WARP(sums2, w));
		EACH_WARP(w) backward_second(w, &r, OF_WARP(biases, w));
		EACH_WARP(w) gradient_first(w, &r, OF_WARP(sums1, w));
		EACH_WARP(w) backward_first(w, &r);
		EACH_THREAD(t) store_samples(t, r.in, first, count, a->z1_gradients);
		uint32_t *const in = r.in;
		r.in = r.next;
		r.next = in;
	}
	float *const scratch = (float *)(void *)r.in, *const rows = (float *)(void *)r.middle;
	EACH_WARP(w) {
		EACH_LANE(l) {
			keep_fragments(TALL_1, ACROSS_1, WIDE_0, piece_row(w, WIDE_1 / BELOW), piece_column(w, WIDE_0 / WIDE_ACROSS), l,
			               OF_WARP(sums1, w) + OF_LANE(l) * TALL_1 * ACROSS_1 * 4, partials + a->tower.layers[0].gradient_at);
			keep_fragments(TALL_2, ACROSS_2, WIDE_1, piece_row(w, WIDE_2 / BELOW), piece_column(w, WIDE_1 / WIDE_ACROSS), l,
			               OF_WARP(sums2, w) + OF_LANE(l) * TALL_2 * ACROSS_2 * 4, partials + a->tower.layers[1].gradient_at);
			put_biases(w, l, OF_WARP(biases, w) + OF_LANE(l) * 8, rows);
		}
	}
	EACH_THREAD(t) put_kept(t, OF_THREAD(kept, t), scratch);
	EACH_THREAD(t) {
		keep_tail(t, a, scratch, rows, partials);
		for (uint32_t i = 1; t == 0 && i < WIDE_TILE; i++)
			r.losses[0] += r.losses[i];
		if (t == 0)
			a->losses[BLOCK] = r.losses[0];
	}
}

KERNEL_OF_ONE(train_wide, struct tower_arguments)
{
	if (HAS_MMA)
		train_share(&a);
}

/* ---- the host's part ---- */

static size_t wide_bytes(bool trains)
{
	return (trains ? (size_t)TRAINING_WORDS : (size_t)SCORING_WORDS) * sizeof(uint32_t);
}

bool cuda_goes_wide(const struct backend_state *state, bool trains)
{
	static const uint32_t widths[] = {WIDE_1, WIDE_2, 1};
	const struct tower *tower = &state->tower;
	if (state->options.precision != PRECISION_BF16 || tower->width != WIDE_0 || tower->layer_count != COUNT_OF(widths))
		return false;
	for (uint32_t l = 0; l < COUNT_OF(widths); l++)
		if (tower->layers[l].outputs != widths[l])
			return false;
	if (trains && (state->options.optimizer.dropout > 0 || (state->options.loss != LOSS_BINARY && state->group > WIDE_TILE)))
		return false;
	return wide_bytes(trains) <= state->device.shared_limit;
}

int cuda_plan_wide(struct backend_state *state, bool trains, size_t gradient, struct error *error)
{
	struct plan *plan = trains ? &state->through : &state->forward;
	memset(plan, 0, sizeof *plan);
	plan->wide = true;
	plan->tile = WIDE_TILE;
	plan->shared_bytes = wide_bytes(trains);
	plan->gradient_floats = (uint32_t)gradient;
	plan->blocks = blocks_for(trains ? state->samples_max : UINT32_MAX, WIDE_TILE, state->device.processors);
	state->z1_halves = trains;
	if (!trains)
		return 0;
	plan->partials = device_floats(&state->device, plan->blocks * gradient, "the gradient of the layers", error);
	return plan->partials ? 0 : -1;
}

void cuda_wide_train(struct backend_state *state, const struct tower_arguments *arguments)
{
	struct tower_arguments a = *arguments;
	a.tile_samples = a.loss == LOSS_BINARY ? (uint32_t)WIDE_TILE : WIDE_TILE / a.group * a.group;
	LAUNCH(&state->device, STREAM_WORK, train_wide, a.plan.blocks, a.plan.shared_bytes, a);
}
