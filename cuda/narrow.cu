/* The seed's tower by kernels of its own (narrow.h): tiles of 32 samples a warp, or of 8, where a batch has so few that
 * every multiprocessor gets some that way. A lane adds up its part of the gradient in registers over all tiles of its
 * warp; at the end the block adds up its warps, in order. */
#include "narrow.h"

#include <stdlib.h>

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
		for (uint32_t f = 0; f < FOUND && w->lane < samples; f++)
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

/* ---- gradients ---- */

/* sums[i][j] += sum over the samples of z[i] x[j], rows that lie `z_step` and `x_step` apart. */
ON_DEVICE void add_outer(const uint32_t samples, const uint32_t outputs, const uint32_t inputs, const float *z,
                         const uint32_t z_step, const float *x, const uint32_t x_step, float *sums)
{
	const uint32_t pitch = narrow_pitch(samples);
	ROLLED
	for (uint32_t s = 0; s < samples; s += 4) {
		struct float4 of[8];
		UNROLLED
		for (uint32_t i = 0; i < outputs; i++)
			of[i] = load_quad(z + i * z_step * pitch + s);
		UNROLLED
		for (uint32_t j = 0; j < inputs; j++) {
			const struct float4 by = load_quad(x + j * x_step * pitch + s);
			UNROLLED
			for (uint32_t i = 0; i < outputs; i++)
				sums[i * inputs + j] = add_products(sums[i * inputs + j], of[i], by);
		}
	}
}

ON_DEVICE float row_sum(const uint32_t samples, const float *row)
{
	float sum = 0.0f;
	UNROLLED
	for (uint32_t s = 0; s < samples; s += 4) {
		const struct float4 q = load_quad(row + s);
		sum = sum + q.x + q.y + q.z + q.w;
	}
	return sum;
}

/* Of all layers but the first: their derivatives and inputs are there. */
ON_DEVICE void add_late_gradients(const uint32_t samples, const struct narrow_warp *w, float *sums)
{
	const uint32_t lane = w->lane, pitch = narrow_pitch(samples);
	float *const rows = w->units;
	add_outer(samples, 4, 4, rows + (ROW_D2 + lane / 8) * pitch, 4, rows + (ROW_A1 + lane % 8) * pitch, 8, sums + SUM_2);
	add_outer(samples, 1, 4, rows + (ROW_D3 + lane / 4) * pitch, 0, rows + (ROW_A2 + lane % 4) * pitch, 4, sums + SUM_3);
	add_outer(samples, 1, 1, rows + (ROW_D4 + lane / 8) * pitch, 0, rows + (ROW_A3 + lane % 8) * pitch, 0, sums + SUM_4);
	/* Biases are products with ones, the last weight's gradients with z. */
	const bool of_weight = lane >= ROW_A4 - ROW_D3;
	const uint32_t row = least_of(ROW_D3 + lane, ROWS_TRAINING - 1);
	add_outer(samples, 1, 1, rows + row * pitch, 0, of_weight ? rows + ROW_Z * pitch : w->weights + NARROW_ONES, 0, sums + SUM_REST);
	/* Half of the samples each. */
	sums[SUM_B2] += row_sum(samples / 2, rows + (ROW_D2 + lane % N2) * pitch + lane / N2 * (samples / 2));
}

ON_DEVICE void add_first_gradient(const uint32_t samples, const struct narrow_warp *w, float *sums)
{
	const uint32_t lane = w->lane, pitch = narrow_pitch(samples);
	add_outer(samples, 8, 8, w->units + (ROW_A1 + lane / 8) * pitch, 4, w->units + (ROW_A0 + lane % 8) * pitch, 8, sums + SUM_1);
	sums[SUM_B1] += row_sum(samples, w->units + (ROW_A1 + lane) * pitch);
}

/* Where in the block's gradient a lane's sum is, of which lanes that have none say NO_PLACE. */
ON_DEVICE uint32_t gradient_place(uint32_t sum, uint32_t lane)
{
	const uint32_t by = sum - SUM_2;
	if (sum < SUM_2)
		return GRADIENT_1 + (lane / 8 + sum / 8 * 4) * N0 + lane % 8 + sum % 8 * 8;
	if (sum < SUM_3)
		return GRADIENT_2 + (lane / 8 + by / 4 * 4) * N1 + lane % 8 + by % 4 * 8;
	if (sum < SUM_4)
		return GRADIENT_3 + lane / 4 * N2 + lane % 4 + (sum - SUM_3) * 4;
	if (sum == SUM_4)
		return GRADIENT_4 + lane;
	if (sum == SUM_B1)
		return GRADIENT_2 - N1 + lane;
	if (sum == SUM_B2)
		return lane < N2 ? (uint32_t)(GRADIENT_3 - N2) + lane : (uint32_t)NO_PLACE;
	if (lane < N3)
		return GRADIENT_4 - N3 + lane;
	if (lane < N3 + N4)
		return GRADIENT_5 - N4 + lane - N3;
	if (lane == N3 + N4)
		return GRADIENT_FLOATS - 1;
	return lane < N3 + 2 * N4 + 1 ? GRADIENT_5 + lane - N3 - N4 - 1 : (uint32_t)NO_PLACE;
}

/* The sums of the first `warps` warps, which lie as their lanes had them. */
ON_DEVICE void keep_sums(uint32_t t, const float *sums, uint32_t warps, float *gradient)
{
	for (uint32_t i = t; i < SUMS * WARP; i += THREADS) {
		const uint32_t place = gradient_place(i / WARP, i % WARP);
		float sum = 0.0f;
		for (uint32_t w = 0; w < warps; w++) {
			sum += sums[w * SUMS * WARP + i];
			if (i / WARP == SUM_B2 && place != NO_PLACE)
				sum += sums[w * SUMS * WARP + i + N2];
		}
		if (place != NO_PLACE)
			gradient[place] = sum;
	}
}

/* ---- forward and back ---- */

ON_DEVICE void forward_tail(const uint32_t samples, const struct narrow_warp *w)
{
	const uint32_t pitch = narrow_pitch(samples);
	float *const column = w->units + w->lane;
	struct narrow_tail tail;
	narrow_tail(1, w->weights, column + ROW_A2 * pitch, pitch, &tail);
	UNROLLED
	for (uint32_t k = 0; k < N3; k++)
		column[(ROW_A3 + k) * pitch] = tail.third[0][k];
	UNROLLED
	for (uint32_t k = 0; k < N4; k++)
		column[(ROW_A4 + k) * pitch] = tail.fourth[0][k];
	column[ROW_Z * pitch] = tail.z[0][0];
}

/* back[k] = sum over o of weight[o][k] z[o] where in[k] is positive. */
ON_DEVICE void back_layer(const float *weight, const uint32_t inputs, const uint32_t outputs, const float *z,
                          const float *in, const uint32_t pitch, float *to, float *back)
{
	UNROLLED
	for (uint32_t k = 0; k < inputs; k++)
		back[k] = 0.0f;
	UNROLLED
	for (uint32_t o = 0; o < outputs; o++)
		UNROLLED
		for (uint32_t k = 0; k < inputs; k += 4) {
			const struct float4 w = load_quad(weight + o * inputs + k);
			back[k] = fmaf(w.x, z[o], back[k]);
			back[k + 1] = fmaf(w.y, z[o], back[k + 1]);
			back[k + 2] = fmaf(w.z, z[o], back[k + 2]);
			back[k + 3] = fmaf(w.w, z[o], back[k + 3]);
		}
	UNROLLED
	for (uint32_t k = 0; k < inputs; k++) {
		back[k] = where_positive(in[k * pitch], back[k]);
		to[k * pitch] = back[k];
	}
}

ON_DEVICE void back_tail(const uint32_t samples, const struct narrow_warp *w)
{
	const uint32_t pitch = narrow_pitch(samples);
	float *const column = w->units + w->lane, z[1] = {column[ROW_Z * pitch]};
	float fourth[N2], third[N2], second[N2];
	back_layer(w->weights + NARROW_W5, N4, 1, z, column + ROW_A4 * pitch, pitch, column + ROW_D4 * pitch, fourth);
	back_layer(w->weights + NARROW_W4, N3, N4, fourth, column + ROW_A3 * pitch, pitch, column + ROW_D3 * pitch, third);
	back_layer(w->weights + NARROW_W3, N2, N3, third, column + ROW_A2 * pitch, pitch, column + ROW_D2 * pitch, second);
}

/* The logits' derivatives in their place; returns the loss of this lane's samples or groups. */
ON_DEVICE double narrow_loss(const uint32_t samples, const struct tower_arguments *a, const struct narrow_warp *w, float scale)
{
	float *const z = w->units + ROW_Z * narrow_pitch(samples);
	const uint32_t group = a->loss == LOSS_BINARY ? 1 : a->group, s = w->lane * group;
	const float *const weights = (const float *)(const void *)(w->found + FOUND_WEIGHT * samples);
	double loss = 0.0;
	if (s < w->count)
		loss = take_weighted_loss(a, z + s, weights + s, w->first + s, group, scale);
	if (w->lane >= w->count && w->lane < samples)
		z[w->lane] = 0.0f;
	return loss;
}

/* Through the first layer's ReLU, to rows of global memory. */
ON_DEVICE void back_to_rows(const uint32_t samples, const struct tower_arguments *a, const struct narrow_warp *w)
{
	const struct narrow_piece p = narrow_piece(samples, samples == 32 ? 2 : 1, N1, N0, N0);
	const uint32_t lane = w->lane, pitch = narrow_pitch(samples);
	struct float4 sum[NARROW_UNITS][NARROW_QUADS];
	narrow_product(p, lane, w->weights + NARROW_W1, NULL, w->units + ROW_A1 * pitch, sum);
	UNROLLED
	for (uint32_t q = 0; q < p.quads; q++)
		UNROLLED
		for (uint32_t u = 0; u < p.units; u += 4) {
			const uint32_t row = narrow_row(p, lane, u), s = narrow_sample(p, lane, q);
			float four[4][4];
			UNROLLED
			for (uint32_t i = 0; i < 4; i++) {
				const struct float4 m = where_positive_quad(load_quad(w->units + (ROW_A0 + row + i) * pitch + s), sum[u + i][q]);
				four[0][i] = m.x;
				four[1][i] = m.y;
				four[2][i] = m.z;
				four[3][i] = m.w;
			}
			UNROLLED
			for (uint32_t i = 0; i < 4; i++)
				if (s + i < w->count)
					put_four(a->z1_gradients + (size_t)(w->first + s + i) * N0 + row, 0, 0, 0, four[i]);
		}
}

/* ---- kernels ---- */

ON_DEVICE void narrow_train(const uint32_t samples, const struct tower_arguments *a)
{
	double *const losses = (double *)(void *)shared_floats();
	const uint32_t all = a->step->samples, tiles = (all + a->tile_samples - 1) / a->tile_samples, pitch = narrow_pitch(samples);
	const uint32_t begin = share_begin(tiles, BLOCKS, BLOCK), end = share_begin(tiles, BLOCKS, BLOCK + 1);
	const float scale = loss_scale(a);
	PER_THREAD(float, sums, SUMS);
	PER_THREAD(double, loss, 1);
	PER_THREAD(uint32_t, found, NARROW_TWO * FOUND);
	EACH_THREAD(t) {
		narrow_copy_weights(t, a, true, shared_floats() + LOSS_FLOATS);
		OF_THREAD(loss, t)[0] = 0.0;
		UNROLLED
		for (uint32_t i = 0; i < SUMS; i++)
			OF_THREAD(sums, t)[i] = 0.0f;
		find_samples(samples, a, narrow_warp(samples, true, t, begin, end, a->tile_samples, all), OF_THREAD(found, t));
	}
	ROLLED
	for (uint32_t tile = begin; tile < end; tile += WARPS) {
#define EACH_OF_TILE(t, w) EACH_THREAD_OF_WARP(t) \
		for (struct narrow_warp w = narrow_warp(samples, true, t, tile, end, a->tile_samples, all), *is_##w = &w; is_##w; is_##w = NULL) \
			if (w.count > 0)
		EACH_OF_TILE(t, w) {
			put_found(samples, &w, OF_THREAD(found, t));
			find_samples(samples, a, narrow_warp(samples, true, t, tile + WARPS, end, a->tile_samples, all), OF_THREAD(found, t));
		}
		EACH_OF_TILE(t, w) narrow_load(samples, w.lane, a, w.found, w.count, w.units + ROW_A0 * pitch);
		EACH_OF_TILE(t, w) {
			struct float4 sum[NARROW_UNITS][NARROW_QUADS];
			narrow_product(forward_1(samples), w.lane, w.weights + NARROW_T1, w.weights + NARROW_B1, w.units + ROW_A0 * pitch, sum);
			narrow_store(forward_1(samples), w.lane, false, sum, w.units + ROW_A1 * pitch);
		}
		EACH_OF_TILE(t, w) {
			struct float4 sum[NARROW_UNITS][NARROW_QUADS];
			narrow_product(forward_2(samples), w.lane, w.weights + NARROW_T2, w.weights + NARROW_B2, w.units + ROW_A1 * pitch, sum);
			narrow_store(forward_2(samples), w.lane, false, sum, w.units + ROW_A2 * pitch);
		}
		EACH_OF_TILE(t, w) {
			if (w.lane < samples)
				forward_tail(samples, &w);
		}
		EACH_OF_TILE(t, w) OF_THREAD(loss, t)[0] += narrow_loss(samples, a, &w, scale);
		EACH_OF_TILE(t, w) {
			if (w.lane < samples)
				back_tail(samples, &w);
		}
		EACH_OF_TILE(t, w) add_late_gradients(samples, &w, OF_THREAD(sums, t));
		EACH_OF_TILE(t, w) {
			const struct narrow_piece p = narrow_piece(samples, 1, N2, N1, N1);
			struct float4 sum[NARROW_UNITS][NARROW_QUADS];
			narrow_product(p, w.lane, w.weights + NARROW_W2, NULL, w.units + ROW_D2 * pitch, sum);
			narrow_store(p, w.lane, true, sum, w.units + ROW_A1 * pitch);
		}
		EACH_OF_TILE(t, w) {
			add_first_gradient(samples, &w, OF_THREAD(sums, t));
			back_to_rows(samples, a, &w);
		}
	}
	float *const copies = shared_floats() + LOSS_FLOATS;
	EACH_THREAD(t) losses[t] = OF_THREAD(loss, t)[0];
	EACH_THREAD(t) {
		UNROLLED
		for (uint32_t i = 0; i < SUMS; i++)
			copies[(t / WARP * SUMS + i) * WARP + t % WARP] = OF_THREAD(sums, t)[i];
		for (uint32_t i = 1; t < LOSS_SHARES && i < LOSS_SHARES; i++)
			losses[t * LOSS_SHARES] += losses[t * LOSS_SHARES + i];
	}
	EACH_THREAD(t) {
		keep_sums(t, copies, least_of(end - begin, WARPS), a->plan.partials + (size_t)BLOCK * GRADIENT_FLOATS);
		for (uint32_t i = 1; t == 0 && i < LOSS_SHARES; i++)
			losses[0] += losses[i * LOSS_SHARES];
		if (t == 0)
			a->losses[BLOCK] = losses[0];
	}
}

KERNEL_OF_ONE(train_narrow_32, struct tower_arguments)
{
	narrow_train(32, &a);
}

KERNEL_OF_ONE(train_narrow_8, struct tower_arguments)
{
	narrow_train(8, &a);
}

ON_DEVICE void narrow_score(const uint32_t samples, const struct tower_arguments *a)
{
	const uint32_t tiles = (a->pairs + samples - 1) / samples, pitch = narrow_pitch(samples);
	const uint32_t begin = share_begin(tiles, BLOCKS, BLOCK), end = share_begin(tiles, BLOCKS, BLOCK + 1);
	PER_THREAD(struct float4, sums, NARROW_UNITS * NARROW_QUADS);
	PER_THREAD(uint32_t, found, NARROW_TWO * FOUND);
	EACH_THREAD(t) {
		narrow_copy_weights(t, a, false, shared_floats());
		find_samples(samples, a, narrow_warp(samples, false, t, begin, end, samples, a->pairs), OF_THREAD(found, t));
	}
	ROLLED
	for (uint32_t tile = begin; tile < end; tile += WARPS) {
#define EACH_OF_SCORES(t, w) EACH_THREAD_OF_WARP(t) \
		for (struct narrow_warp w = narrow_warp(samples, false, t, tile, end, samples, a->pairs), *is_##w = &w; is_##w; is_##w = NULL) \
			if (w.count > 0)
#define OF_LAYER(sums, t) ((struct float4 (*)[NARROW_QUADS])(void *)OF_THREAD(sums, t))
		EACH_OF_SCORES(t, w) {
			put_found(samples, &w, OF_THREAD(found, t));
			find_samples(samples, a, narrow_warp(samples, false, t, tile + WARPS, end, samples, a->pairs), OF_THREAD(found, t));
		}
		EACH_OF_SCORES(t, w) narrow_load(samples, w.lane, a, w.found, w.count, w.units);
		EACH_OF_SCORES(t, w)
			narrow_product(forward_1(samples), w.lane, w.weights + NARROW_T1, w.weights + NARROW_B1, w.units, OF_LAYER(sums, t));
		EACH_OF_SCORES(t, w) narrow_store(forward_1(samples), w.lane, false, OF_LAYER(sums, t), w.units);
		EACH_OF_SCORES(t, w)
			narrow_product(forward_2(samples), w.lane, w.weights + NARROW_T2, w.weights + NARROW_B2, w.units, OF_LAYER(sums, t));
		EACH_OF_SCORES(t, w) narrow_store(forward_2(samples), w.lane, false, OF_LAYER(sums, t), w.units);
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

KERNEL_OF_TWO(score_narrow_32, struct tower_arguments)
{
	narrow_score(32, &a);
}

KERNEL_OF_ONE(score_narrow_64, struct tower_arguments)
{
	narrow_score(64, &a);
}

/* ---- plans ---- */

static bool has_this_tower(const struct tower *tower)
{
	static const uint32_t outputs[NARROW_LAYERS] = {N1, N2, N3, N4, 1};
	bool same = tower->width == N0 && tower->layer_count == NARROW_LAYERS;
	for (uint32_t l = 0; same && l < NARROW_LAYERS; l++)
		same = tower->layers[l].outputs == outputs[l];
	return same;
}

/* Tiles of `samples`, if they fit: into shared memory, and whole groups into them. */
static bool fits(const struct backend_state *state, struct plan *plan, uint32_t samples, uint32_t least, bool trains)
{
	plan->tile = samples;
	plan->pitch = narrow_pitch(samples);
	plan->shared_bytes = narrow_floats(samples, trains) * sizeof(float);
	return least <= samples && plan->shared_bytes <= state->device.shared_limit;
}

static bool choose_tile(const struct backend_state *state, struct plan *plan, uint32_t least, bool trains)
{
	const char *wanted = getenv("RECPIPE_NARROW_TILE");
	const uint32_t tile = wanted ? (uint32_t)strtoul(wanted, NULL, 10) : 0;
	if ((tile == 32 || tile == (trains ? 8 : 64)) && fits(state, plan, tile, least, trains))
		return true;
	if (!trains)
		return fits(state, plan, 64, 1, false) || fits(state, plan, 32, 1, false);
	/* A warp takes as long for a tile of 32 as for some of 8: those are for batches that leave most warps without one. */
	const uint32_t few = 32 * WARPS / 2 * state->device.processors;
	return (state->samples_max < few && fits(state, plan, 8, least, true)) || fits(state, plan, 32, least, true) ||
	       fits(state, plan, 8, least, true);
}

int cuda_plan_narrow(struct backend_state *state, struct plan *plan, bool trains, struct error *error)
{
	const uint32_t least = trains && state->options.loss != LOSS_BINARY ? state->group : 1;
	if (state->options.precision != PRECISION_FP32 || !has_this_tower(&state->tower) ||
	    (trains && state->options.optimizer.dropout > 0.0))
		return 0;
	memset(plan, 0, sizeof *plan);
	if (!choose_tile(state, plan, least, trains))
		return 0;
	plan->narrow = true;
	plan->blocks = state->device.processors * (trains || plan->tile == 64 ? 1 : 2);
	if (!trains)
		return 1;
	plan->blocks = blocks_for(state->samples_max, plan->tile / least * least, plan->blocks < GRID_MAX ? plan->blocks : (uint32_t)GRID_MAX);
	plan->gradient_floats = GRADIENT_FLOATS;
	plan->partials = (float *)device_alloc(&state->device, plan->blocks * (size_t)GRADIENT_FLOATS, sizeof(float),
	                                       "the gradient of the layers", error);
	return plan->partials ? 1 : -1;
}

void cuda_train_narrow(struct backend_state *state, const struct tower_arguments *of)
{
	struct tower_arguments a = *of;
	if (a.loss == LOSS_BINARY)
		a.tile_samples = a.plan.tile;
	if (a.plan.tile == 32)
		LAUNCH(&state->device, STREAM_WORK, train_narrow_32, a.plan.blocks, a.plan.shared_bytes, a);
	else
		LAUNCH(&state->device, STREAM_WORK, train_narrow_8, a.plan.blocks, a.plan.shared_bytes, a);
}

void cuda_score_narrow(struct backend_state *state, const struct tower_arguments *of)
{
	const struct tower_arguments a = *of;
	const uint32_t blocks = blocks_for(a.pairs, a.plan.tile, a.plan.blocks);
	if (a.plan.tile == 32)
		LAUNCH(&state->device, STREAM_WORK, score_narrow_32, blocks, a.plan.shared_bytes, a);
	else
		LAUNCH(&state->device, STREAM_WORK, score_narrow_64, blocks, a.plan.shared_bytes, a);
}
