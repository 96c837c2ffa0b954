/* One side of the first layer of the tower that wide.h is about, per distinct row of a batch, in bf16: forward, its half of
 * z1; back, from the gradient of that half to the row, which is stepped, and to the layer's weights. Tiles of 64 rows. Going
 * back the gradient of the half's weights, 33 thousand sums, stays in the registers of the block's threads. */
#include "rows.h"
#include "wide.h"
#include "wide_mma.h"

enum {
	PITCH_ROW = WIDE_ROW / 2 + WIDE_PAD, PITCH_HALF = WIDE_0 / 2 + WIDE_PAD, /* words */
	PITCH_STEP = WIDE_ROW + 4, /* floats of a row's gradient, which takes the place of the half's */
	AT_HALF = WIDE_TILE * PITCH_ROW,
	AT_WEIGHT = AT_HALF + WIDE_TILE * PITCH_HALF,
	BACK_WORDS = AT_WEIGHT + WIDE_0 * PITCH_ROW,
	FORTH_WORDS = AT_HALF + WIDE_0 * PITCH_ROW,
	BELOW = WARPS / WIDE_ACROSS, TALL = WIDE_TILE / BELOW / MMA_ROWS,
	LONG_FORTH = WIDE_0 / WIDE_ACROSS / MMA_COLUMNS, LONG_BACK = WIDE_ROW / WIDE_ACROSS / MMA_COLUMNS,
	BLOCK_SIDE = 64,               /* outputs, and inputs, of a warp's piece of the weights' gradient */
	TALL_WEIGHT = BLOCK_SIDE / MMA_ROWS, LONG_WEIGHT = BLOCK_SIDE / MMA_COLUMNS,
	EACH = WIDE_TILE / WARPS, /* rows of a warp */
	PASSES = WIDE_0 / (4 * WARP), /* of a warp along a row of the half */
};

ON_DEVICE size_t place_of_row(const struct row_arguments *a, uint32_t slot)
{
	return (size_t)(a->rows ? a->rows[slot] : slot) * a->table.stride;
}

/* Two words of what may not be there. */
ON_DEVICE void put_quad(uint32_t *words, struct float4 q, bool exists)
{
	words[0] = exists ? bf16_word(q.x, q.y) : 0;
	words[1] = exists ? bf16_word(q.z, q.w) : 0;
}

/* A warp takes eight rows at once; zeros behind the `count`. */
ON_DEVICE void load_rows(uint32_t t, const struct row_arguments *a, uint32_t *words, uint32_t first, uint32_t count)
{
	const uint32_t l = t % WARP, begin = t / WARP * EACH;
	struct float4 row[EACH];
	UNROLLED
	for (uint32_t i = 0; i < EACH; i++)
		row[i] = load_quad(a->from + place_of_row(a, first + least_of(begin + i, count - 1)) + 4 * l);
	UNROLLED
	for (uint32_t i = 0; i < EACH; i++)
		put_quad(words + (begin + i) * PITCH_ROW + 2 * l, row[i], begin + i < count);
}

ON_DEVICE void project_share(const struct row_arguments *a)
{
	uint32_t *const in = (uint32_t *)(void *)shared_floats(), *const weight = in + AT_HALF;
	const uint32_t count = a->count_at ? *a->count_at : a->count, tiles = (count + WIDE_TILE - 1) / WIDE_TILE;
	EACH_THREAD(t) copy_wide(t, a->weight, a->weight_stride, WIDE_ROW, WIDE_0, weight);
	for (uint32_t tile = BLOCK; tile < tiles; tile += BLOCKS) {
		const uint32_t first = tile * WIDE_TILE, rows = least_of(count - first, WIDE_TILE);
		EACH_THREAD(t) load_rows(t, a, in, first, rows);
		EACH_WARP(w) {
			const struct operand row = operand_of(in, WIDE_ROW, false), half = operand_of(weight, WIDE_ROW, false);
			const uint32_t r = piece_row(w, WIDE_TILE / BELOW), n = piece_column(w, WIDE_0 / WIDE_ACROSS);
			float sums[WARP_LANES * TALL * LONG_FORTH * 4];
			EACH_LANE(l) start_columns(TALL, LONG_FORTH, a->bias, n, l, sums + OF_LANE(l) * TALL * LONG_FORTH * 4);
			multiply_block(TALL, LONG_FORTH, WIDE_ROW, &row, r, &half, n, sums);
			EACH_LANE(l) {
				UNROLLED
				for (uint32_t p = 0; p < 2 * TALL * LONG_FORTH; p++) {
					const float *const pair = sums + OF_LANE(l) * TALL * LONG_FORTH * 4 + 2 * p;
					const uint32_t at = r + pair_row(LONG_FORTH, p, l);
					if (at < rows)
						store_pair(a->parts + (size_t)(first + at) * WIDE_0 + n + pair_column(LONG_FORTH, p, l), pair[0], pair[1]);
				}
			}
		}
	}
}

KERNEL(project_wide, struct row_arguments)
{
	if (HAS_MMA)
		project_share(&a);
}

/* ---- back ---- */

/* A warp's rows, four at a time: what begins each of their sums is asked for at once. biases[p] has columns (p WARP + l) 4 ..
 * added up over this warp's rows. */
ON_DEVICE void load_halves(uint32_t t, const struct row_arguments *a, uint32_t *words, uint32_t first, uint32_t count,
                           struct float4 biases[PASSES])
{
	enum { TOGETHER = 4 };
	const uint32_t l = t % WARP;
	for (uint32_t r = t / WARP * EACH; r < t / WARP * EACH + EACH; r += TOGETHER) {
		struct float4 q[TOGETHER][PASSES];
		struct row_cuts cuts[TOGETHER];
		UNROLLED
		for (uint32_t i = 0; i < TOGETHER; i++) {
			UNROLLED
			for (uint32_t p = 0; p < PASSES; p++)
				q[i][p] = first_of_cuts(&a->sums, first + least_of(r + i, count - 1), (p * WARP + l) * 4, &cuts[i]);
		}
		UNROLLED
		for (uint32_t i = 0; i < TOGETHER; i++) {
			UNROLLED
			for (uint32_t p = 0; p < PASSES; p++) {
				const struct float4 sum = add_cuts(&a->sums, (p * WARP + l) * 4, &cuts[i], q[i][p]);
				put_quad(words + (r + i) * PITCH_HALF + (p * WARP + l) * 2, sum, r + i < count);
				if (r + i < count)
					biases[p] = added(biases[p], sum);
			}
		}
	}
}

/* A warp's rows, four at a time: everything is asked for before anything is stepped. */
ON_DEVICE void step_rows(uint32_t t, const struct row_arguments *a, const float *gradients, uint32_t first, uint32_t count)
{
	enum { TOGETHER = 4 };
	const struct adam_rates rates = adam_rates_of(a->step);
	for (uint32_t r = t / WARP * EACH; r < t / WARP * EACH + EACH && r < count; r += TOGETHER) {
		struct adam_quad rows[TOGETHER];
		size_t at[TOGETHER];
		UNROLLED
		for (uint32_t i = 0; i < TOGETHER; i++) {
			at[i] = a->table.at + place_of_row(a, first + least_of(r + i, count - 1)) + t % WARP * 4;
			rows[i] = load_adam(&a->trained, at[i]);
		}
		UNROLLED
		for (uint32_t i = 0; i < TOGETHER; i++) {
			adam_on_quad(&rates, &rows[i], load_quad(gradients + (r + i) * PITCH_STEP + t % WARP * 4));
			if (r + i < count)
				store_adam(&a->trained, at[i], &rows[i]);
		}
	}
}

/* Dense Adam, or rows of another rank. */
ON_DEVICE void leave_rows(uint32_t t, const struct row_arguments *a, const float *gradients, uint32_t first, uint32_t count)
{
	for (uint32_t r = t / WARP; r < count; r += WARPS)
		store_quad(a->dense_gradients + place_of_row(a, first + r) + t % WARP * 4,
		           load_quad(gradients + r * PITCH_STEP + t % WARP * 4));
}

ON_DEVICE void multiply_back(uint32_t w, const uint32_t *half, const uint32_t *weight, float *sums)
{
	const struct operand out = operand_of(half, WIDE_0, false), by = operand_of(weight, WIDE_ROW, true);
	EACH_LANE(l) start_columns(TALL, LONG_BACK, NULL, 0, l, sums + OF_LANE(l) * TALL * LONG_BACK * 4);
	multiply_block(TALL, LONG_BACK, WIDE_0, &out, piece_row(w, WIDE_TILE / BELOW), &by, piece_column(w, WIDE_ROW / WIDE_ACROSS),
	               sums);
}

ON_DEVICE void put_gradients(uint32_t w, uint32_t l, const float *sums, float *gradients)
{
	UNROLLED
	for (uint32_t p = 0; p < 2 * TALL * LONG_BACK; p++)
		store_pair(gradients + (piece_row(w, WIDE_TILE / BELOW) + pair_row(LONG_BACK, p, l)) * PITCH_STEP +
		           piece_column(w, WIDE_ROW / WIDE_ACROSS) + pair_column(LONG_BACK, p, l), sums[2 * p], sums[2 * p + 1]);
}

/* The first layer's biases: what the warps have of each column, added up in their order. */
ON_DEVICE void put_biases(uint32_t t, const struct float4 biases[PASSES], float *rows)
{
	UNROLLED
	for (uint32_t p = 0; p < PASSES; p++)
		store_quad(rows + t / WARP * WIDE_0 + (p * WARP + t % WARP) * 4, biases[p]);
}

ON_DEVICE void keep_biases(uint32_t t, const float *rows, float *out)
{
	for (uint32_t n = t; n < WIDE_0; n += THREADS) {
		float sum = rows[n];
		for (uint32_t w = 1; w < WARPS; w++)
			sum += rows[w * WIDE_0 + n];
		out[n] = sum;
	}
}

ON_DEVICE void step_share(const struct row_arguments *a)
{
	uint32_t *const in = (uint32_t *)(void *)shared_floats(), *const half = in + AT_HALF, *const weight = in + AT_WEIGHT;
	float *const gradients = (float *)(void *)half, *const partials = a->plan.partials + (size_t)BLOCK * a->plan.gradient_floats;
	const uint32_t count = *a->count_at, tiles = (count + WIDE_TILE - 1) / WIDE_TILE;
	const uint32_t end = share_begin(tiles, BLOCKS, BLOCK + 1);
	PER_WARP(float, kept, TALL_WEIGHT * LONG_WEIGHT * 4);
	PER_WARP(float, sums, TALL * LONG_BACK * 4);
	PER_THREAD(struct float4, biases, PASSES);
	EACH_WARP(w) {
		EACH_LANE(l) start_columns(TALL_WEIGHT, LONG_WEIGHT, NULL, 0, l, OF_WARP(kept, w) + OF_LANE(l) * TALL_WEIGHT * LONG_WEIGHT * 4);
	}
	EACH_THREAD(t) {
		copy_wide(t, a->weight, a->weight_stride, WIDE_ROW, WIDE_0, weight);
		UNROLLED
		for (uint32_t p = 0; p < PASSES; p++)
			OF_THREAD(biases, t)[p] = same_quad(0.0f);
	}
	for (uint32_t tile = share_begin(tiles, BLOCKS, BLOCK); tile < end; tile++) {
		const uint32_t first = tile * WIDE_TILE, rows = least_of(count - first, WIDE_TILE);
		EACH_THREAD(t) {
			load_rows(t, a, in, first, rows);
			load_halves(t, a, half, first, rows, OF_THREAD(biases, t));
		}
		EACH_WARP(w) {
			const struct operand out = operand_of(half, WIDE_0, true), row = operand_of(in, WIDE_ROW, true);
			multiply_block(TALL_WEIGHT, LONG_WEIGHT, WIDE_TILE, &out, w / 2 * BLOCK_SIDE, &row, w % 2 * BLOCK_SIDE, OF_WARP(kept, w));
			multiply_back(w, half, weight, OF_WARP(sums, w));
		}
		EACH_WARP(w) {
			EACH_LANE(l) put_gradients(w, l, OF_WARP(sums, w) + OF_LANE(l) * TALL * LONG_BACK * 4, gradients);
		}
		EACH_THREAD(t) {
			if (a->dense_gradients)
				leave_rows(t, a, gradients, first, rows);
			else
				step_rows(t, a, gradients, first, rows);
		}
	}
	EACH_WARP(w) {
		EACH_LANE(l) keep_fragments(TALL_WEIGHT, LONG_WEIGHT, WIDE_ROW, w / 2 * BLOCK_SIDE, w % 2 * BLOCK_SIDE, l,
		                            OF_WARP(kept, w) + OF_LANE(l) * TALL_WEIGHT * LONG_WEIGHT * 4, partials);
	}
	if (a->with_bias) {
		EACH_THREAD(t) put_biases(t, OF_THREAD(biases, t), gradients);
		EACH_THREAD(t) keep_biases(t, gradients, partials + WIDE_ROW * WIDE_0);
	}
}

KERNEL_OF_ONE(step_wide, struct row_arguments)
{
	if (HAS_MMA)
		step_share(&a);
}

/* ---- the host's part ---- */

bool cuda_rows_go_wide(const struct backend_state *state, enum side_name which, bool trains)
{
	return state->options.precision == PRECISION_BF16 && state->tower.width == WIDE_0 &&
	       state->sides[which].embeddings.columns == WIDE_ROW &&
	       (trains ? BACK_WORDS : FORTH_WORDS) * sizeof(uint32_t) <= state->device.shared_limit;
}

int cuda_plan_wide_rows(struct backend_state *state, enum side_name which, bool trains, struct error *error)
{
	struct side *side = &state->sides[which];
	struct plan *plan = trains ? &side->back : &side->forth;
	const uint32_t processors = state->device.processors;
	memset(plan, 0, sizeof *plan);
	plan->wide = true;
	plan->tile = WIDE_TILE;
	plan->shared_bytes = (trains ? BACK_WORDS : FORTH_WORDS) * sizeof(uint32_t);
	plan->blocks = trains ? blocks_for(side->rows_max, WIDE_TILE, processors) : 2 * processors;
	if (!trains)
		return 0;
	plan->gradient_floats = layer_gradient_floats(PRECISION_BF16, WIDE_ROW, WIDE_0);
	plan->partials = device_floats(&state->device, (size_t)plan->blocks * plan->gradient_floats, "the gradient of the layers", error);
	return plan->partials ? 0 : -1;
}

void cuda_wide_project(struct backend_state *state, const struct row_arguments *a, uint32_t blocks)
{
	LAUNCH(&state->device, STREAM_WORK, project_wide, blocks, a->plan.shared_bytes, *a);
}

void cuda_wide_step_rows(struct backend_state *state, const struct row_arguments *a)
{
	LAUNCH(&state->device, STREAM_WORK, step_wide, a->plan.blocks, a->plan.shared_bytes, *a);
}
