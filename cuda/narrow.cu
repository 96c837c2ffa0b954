/* The seed's tower by kernels of its own (narrow.h): tiles of 32 samples a warp, or of 8, where a batch has so few that
 * every multiprocessor gets some that way. A lane adds up its part of the gradient in registers over all tiles of its
 * warp; at the end the block adds up its warps, in order. */
#include "narrow_tile.h"

/* ---- gradients ---- */

/* sums[i][j] += z[i] x[j], summed over four samples, of rows that lie `z_step` and `x_step` floats apart. */
ON_DEVICE void add_outer(const uint32_t outputs, const uint32_t inputs, const float *z, const uint32_t z_step,
                         const float *x, const uint32_t x_step, float *sums)
{
	struct float4 of[8];
	UNROLLED
	for (uint32_t i = 0; i < outputs; i++)
		of[i] = load_quad(z + i * z_step);
	UNROLLED
	for (uint32_t j = 0; j < inputs; j++) {
		const struct float4 by = load_quad(x + j * x_step);
		UNROLLED
		for (uint32_t i = 0; i < outputs; i++)
			sums[i * inputs + j] = add_products(sums[i * inputs + j], of[i], by);
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

/* Derivatives of the second layer that a lane adds up for the bias: half of the samples. */
ON_DEVICE float *half_row(const uint32_t samples, const struct narrow_warp *w)
{
	return w->units + (ROW_D2 + w->lane % N2) * narrow_pitch(samples) + w->lane / N2 * (samples / 2);
}

/* Biases take derivatives as they are, products rounded. */
ON_DEVICE void add_and_round(const enum precision kind, const uint32_t samples, float *row, float *sum)
{
	*sum += row_sum(samples, row);
	UNROLLED
	for (uint32_t s = 0; s < samples; s += 4)
		store_quad(row + s, operand_quad(kind, load_quad(row + s)));
}

/* Of all layers but the first: their derivatives and inputs are there. */
ON_DEVICE void add_late_gradients(const enum precision kind, const uint32_t samples, const struct narrow_warp *w, float *sums)
{
	const uint32_t lane = w->lane, pitch = narrow_pitch(samples);
	const float *const rows = w->units;
	/* Biases are products with ones, the last weight's gradients with z. */
	const float *const last = rows + least_of(ROW_D3 + lane, ROWS_TRAINING - 1) * pitch;
	const float *const by = lane >= ROW_A4 - ROW_D3 ? rows + ROW_Z * pitch : w->weights + NARROW_ONES;
	ROLLED
	for (uint32_t s = 0; s < samples; s += 4) {
		add_outer(4, 4, rows + (ROW_D2 + lane / 8) * pitch + s, 4 * pitch, rows + (ROW_A1 + lane % 8) * pitch + s, 8 * pitch,
		          sums + SUM_2);
		add_outer(1, 4, rows + (ROW_D3 + lane / 4) * pitch + s, 0, rows + (ROW_A2 + lane % 4) * pitch + s, 4 * pitch, sums + SUM_3);
		add_outer(1, 1, rows + (ROW_D4 + lane / 8) * pitch + s, 0, rows + (ROW_A3 + lane % 8) * pitch + s, 0, sums + SUM_4);
		add_outer(1, 1, last + s, 0, by + s, 0, sums + SUM_REST);
	}
	if (kind == PRECISION_FP32)
		sums[SUM_B2] += row_sum(samples / 2, half_row(samples, w));
}

ON_DEVICE void add_first_gradient(const enum precision kind, const uint32_t samples, const struct narrow_warp *w, float *sums)
{
	const uint32_t lane = w->lane, pitch = narrow_pitch(samples);
	const float *const z = w->units + (ROW_A1 + lane / 8) * pitch, *const x = w->units + (ROW_A0 + lane % 8) * pitch;
	ROLLED
	for (uint32_t s = 0; s < samples; s += 4)
		add_outer(8, 8, z + s, 4 * pitch, x + s, 8 * pitch, sums + SUM_1);
	if (kind == PRECISION_FP32)
		sums[SUM_B1] += row_sum(samples, w->units + (ROW_A1 + lane) * pitch);
}

/* Adam looks for weights of wide layers in fragments where those go by tensor cores elsewhere. */
ON_DEVICE uint32_t weight_place(const enum precision kind, uint32_t output, uint32_t input, const uint32_t inputs)
{
	return kind == PRECISION_FP32 ? output * inputs + input : place_in_fragments(output, input, inputs);
}

/* Where in the block's gradient a lane's sum is, of which lanes that have none say NO_PLACE. */
ON_DEVICE uint32_t gradient_place(const enum precision kind, uint32_t sum, uint32_t lane)
{
	const uint32_t by = sum - SUM_2;
	if (sum < SUM_2)
		return GRADIENT_1 + weight_place(kind, lane / 8 + sum / 8 * 4, narrow_unit_of_row(lane % 8 + sum % 8 * 8), N0);
	if (sum < SUM_3)
		return GRADIENT_2 + weight_place(kind, lane / 8 + by / 4 * 4, lane % 8 + by % 4 * 8, N1);
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
ON_DEVICE void keep_sums(const enum precision kind, uint32_t t, const float *sums, uint32_t warps, float *gradient)
{
	for (uint32_t i = t; i < SUMS * WARP; i += THREADS) {
		const uint32_t place = gradient_place(kind, i / WARP, i % WARP);
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
	if (w->lane >= w->count && samples > w->lane)
		z[w->lane] = 0.0f;
	return loss;
}

/* Through the first layer's ReLU, to rows of global memory. */
ON_DEVICE void back_to_rows(const uint32_t samples, const struct tower_arguments *a, const struct narrow_warp *w)
{
	const struct narrow_piece p = narrow_piece(samples, samples == 32 ? 2 : 1, N1, N0, NARROW_W1_PITCH);
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
				const struct float4 m = where_positive_quad(load_quad(w->units + (ROW_A0 + narrow_row_of_unit(row + i)) * pitch + s), sum[u + i][q]);
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

/* A phase of those warps that have a tile, with it. */
#define EACH_OF_TILE(t, w) EACH_THREAD_OF_WARP(t) \
	for (struct narrow_warp w = narrow_warp(samples, true, t, tile, end, a->tile_samples, all), *is_##w = &w; is_##w; is_##w = NULL) \
		if (w.count > 0)

ON_DEVICE void narrow_train(const uint32_t samples, const enum precision kind, const struct tower_arguments *a)
{
	double *const losses = (double *)(void *)shared_floats();
	const uint32_t all = a->step->samples, tiles = (all + a->tile_samples - 1) / a->tile_samples, pitch = narrow_pitch(samples);
	const uint32_t begin = share_begin(tiles, BLOCKS, BLOCK), end = share_begin(tiles, BLOCKS, BLOCK + 1);
	const float scale = loss_scale(a);
	PER_THREAD(float, sums, SUMS);
	PER_THREAD(double, loss, 1);
	PER_THREAD(uint32_t, found, NARROW_TWO * FOUND);
	EACH_THREAD(t) {
		const struct narrow_weights weights = narrow_read_weights(t, a);
		find_samples(samples, a, narrow_warp(samples, true, t, begin, end, a->tile_samples, all), OF_THREAD(found, t));
		OF_THREAD(loss, t)[0] = 0.0;
		UNROLLED
		for (uint32_t i = 0; i < SUMS; i++)
			OF_THREAD(sums, t)[i] = 0.0f;
		narrow_put_weights(kind, t, &weights, true, shared_floats() + LOSS_FLOATS);
	}
	ROLLED
	for (uint32_t tile = begin; tile < end; tile += WARPS) {
		EACH_OF_TILE(t, w) {
			put_found(samples, &w, OF_THREAD(found, t));
			find_samples(samples, a, narrow_warp(samples, true, t, tile + WARPS, end, a->tile_samples, all), OF_THREAD(found, t));
		}
		EACH_OF_TILE(t, w) narrow_load(kind, samples, w.lane, a, w.found, w.units + ROW_A0 * pitch);
		EACH_OF_TILE(t, w) {
			struct float4 sum[NARROW_UNITS][NARROW_QUADS];
			narrow_product(forward_1(samples), w.lane, w.weights + NARROW_T1, w.weights + NARROW_B1, w.units + ROW_A0 * pitch, sum);
			narrow_store(kind, forward_1(samples), w.lane, false, sum, w.units + ROW_A1 * pitch);
		}
		EACH_OF_TILE(t, w) {
			struct float4 sum[NARROW_UNITS][NARROW_QUADS];
			narrow_product(forward_2(samples), w.lane, w.weights + NARROW_T2, w.weights + NARROW_B2, w.units + ROW_A1 * pitch, sum);
			narrow_store(PRECISION_FP32, forward_2(samples), w.lane, false, sum, w.units + ROW_A2 * pitch);
		}
		EACH_OF_TILE(t, w) {
			if (samples > w.lane)
				forward_tail(samples, &w);
		}
		EACH_OF_TILE(t, w) OF_THREAD(loss, t)[0] += narrow_loss(samples, a, &w, scale);
		EACH_OF_TILE(t, w) {
			if (samples > w.lane)
				back_tail(samples, &w);
		}
		if (kind != PRECISION_FP32)
			EACH_OF_TILE(t, w) add_and_round(kind, samples / 2, half_row(samples, &w), OF_THREAD(sums, t) + SUM_B2);
		EACH_OF_TILE(t, w) add_late_gradients(kind, samples, &w, OF_THREAD(sums, t));
		EACH_OF_TILE(t, w) {
			const struct narrow_piece p = narrow_piece(samples, 1, N2, N1, NARROW_W2_PITCH);
			struct float4 sum[NARROW_UNITS][NARROW_QUADS];
			narrow_product(p, w.lane, w.weights + NARROW_W2, NULL, w.units + ROW_D2 * pitch, sum);
			narrow_store(PRECISION_FP32, p, w.lane, true, sum, w.units + ROW_A1 * pitch);
		}
		if (kind != PRECISION_FP32)
			EACH_OF_TILE(t, w) add_and_round(kind, samples, w.units + (ROW_A1 + w.lane) * pitch, OF_THREAD(sums, t) + SUM_B1);
		EACH_OF_TILE(t, w) {
			add_first_gradient(kind, samples, &w, OF_THREAD(sums, t));
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
		keep_sums(kind, t, copies, least_of(end - begin, WARPS), a->plan.partials + (size_t)BLOCK * GRADIENT_FLOATS);
		for (uint32_t i = 1; t == 0 && i < LOSS_SHARES; i++)
			losses[0] += losses[i * LOSS_SHARES];
		if (t == 0)
			a->losses[BLOCK] = losses[0];
	}
}

NARROW_KERNELS(KERNEL_OF_ONE, train_narrow_32, narrow_train, 32)
NARROW_KERNELS(KERNEL_OF_ONE, train_narrow_8, narrow_train, 8)

void cuda_train_narrow(struct backend_state *state, const struct tower_arguments *of)
{
	struct tower_arguments a = *of;
	if (a.loss == LOSS_BINARY)
		a.tile_samples = a.plan.tile;
	if (a.plan.tile == 32)
		LAUNCH_NARROW(state, train_narrow_32, a.plan.blocks, a);
	else
		LAUNCH_NARROW(state, train_narrow_8, a.plan.blocks, a);
}
