/* What rows.cu does, for halves of the first layer that are ROW_UNITS by ROW_UNITS (row_tiles.h): both sides by one launch,
 * whose blocks are shared out by how many rows a batch can have of each. Of a step, half of a block's threads go back to the
 * rows, while the others, who keep their part in registers over all of the block's tiles, add up the gradient of the
 * weights. Where a batch has few rows, tiles are small, so that all processors have some.
 *
 * For tf32 and bf16 operands are rounded as they enter a tile and multiplied as any: products of so few bits are exact. */
#include "adam.h"
#include "row_tiles.h"

struct tile_side {
	const uint32_t *rows;     /* ids, by slot; NULL: slots are ids */
	const uint32_t *count;
	const float *from;        /* the table's rows, or those that were fetched */
	size_t table_at;
	const float *weight, *bias; /* bias NULL: zeros */
	float *parts;
	struct row_sums sums;
	float *dense_gradients;   /* dense Adam, or rows that were fetched: they go here, by id */
	float *partials;          /* [blocks][gradient] */
	uint32_t gradient;        /* floats */
};

struct row_tile_arguments {
	const struct step *step;
	struct trained trained;
	struct tile_side sides[SIDES];
	uint32_t user_blocks;     /* the first ones */
	uint32_t weight_stride;
};

/* Variants of a kernel for the other precisions; and a launch of the one that a state's precision takes. */
#define ROUNDED_KERNELS(name, body, a_thread) \
	KERNEL_OF_TWO(name##_tf32, struct row_tile_arguments) { if (HAS_MMA) body(PRECISION_TF32, a_thread, &a); } \
	KERNEL_OF_TWO(name##_bf16, struct row_tile_arguments) { if (HAS_MMA) body(PRECISION_BF16, a_thread, &a); }

#define LAUNCH_ROUNDED(state, name, blocks, bytes, arguments) \
	do { \
		if ((state)->options.precision == PRECISION_TF32) \
			LAUNCH(&(state)->device, STREAM_WORK, name##_tf32, blocks, bytes, arguments); \
		else if ((state)->options.precision == PRECISION_BF16) \
			LAUNCH(&(state)->device, STREAM_WORK, name##_bf16, blocks, bytes, arguments); \
		else \
			LAUNCH(&(state)->device, STREAM_WORK, name, blocks, bytes, arguments); \
	} while (0)

/* The side that a block is of, and which of that side's blocks it is. */
struct tile_share {
	const struct tile_side *side;
	uint32_t block, blocks, count;
};

ON_DEVICE struct tile_share share_of(const struct row_tile_arguments *a)
{
	struct tile_share s;
	const bool of_users = BLOCK < a->user_blocks;
	s.side = &a->sides[of_users ? SIDE_USER : SIDE_ITEM];
	s.block = of_users ? BLOCK : BLOCK - a->user_blocks;
	s.blocks = of_users ? a->user_blocks : BLOCKS - a->user_blocks;
	s.count = *s.side->count;
	return s;
}

ON_DEVICE uint32_t tile_row_id(const struct tile_side *side, uint32_t slot)
{
	return side->rows ? side->rows[slot] : slot;
}

/* Rows [first, first + tile) of the table, ROW_QUADS threads to a row; behind the last one that again. */
ON_DEVICE void load_tile(const enum precision kind, const uint32_t a_thread, uint32_t t, const struct tile_share *s, uint32_t first, float *x)
{
	enum { ROWS_AT_ONCE = THREADS / ROW_QUADS, MOST = 8 };
	struct float4 q[MOST];
	UNROLLED for (uint32_t i = 0; i < a_thread; i++) {
		const uint32_t slot = least_of(first + t / ROW_QUADS + i * ROWS_AT_ONCE, s->count - 1);
		q[i] = load_quad(s->side->from + (size_t)tile_row_id(s->side, slot) * ROW_UNITS + t % ROW_QUADS * 4);
	}
	UNROLLED for (uint32_t i = 0; i < a_thread; i++)
		store_quad(x + (t / ROW_QUADS + i * ROWS_AT_ONCE) * ROW_PITCH + t % ROW_QUADS * 4, operand_quad(kind, q[i]));
}

/* Their sums, zeros behind the last. Returns what the thread's rows add to the gradient of the bias. */
ON_DEVICE struct float4 load_tile_sums(const enum precision kind, const uint32_t a_thread, uint32_t t, const struct tile_share *s,
                                       uint32_t first, float *z)
{
	enum { ROWS_AT_ONCE = THREADS / ROW_QUADS };
	struct float4 q[ROWS_A_THREAD];
	struct row_cuts cuts[ROWS_A_THREAD];
	struct float4 total = same_quad(0.0f);
	UNROLLED for (uint32_t i = 0; i < a_thread; i++) {
		const uint32_t slot = least_of(first + t / ROW_QUADS + i * ROWS_AT_ONCE, s->count - 1);
		q[i] = first_of_cuts(&s->side->sums, slot, t % ROW_QUADS * 4, &cuts[i]);
	}
	UNROLLED for (uint32_t i = 0; i < a_thread; i++) {
		const uint32_t r = t / ROW_QUADS + i * ROWS_AT_ONCE;
		q[i] = add_cuts(&s->side->sums, t % ROW_QUADS * 4, &cuts[i], q[i]);
		q[i] = first + r < s->count ? q[i] : same_quad(0.0f);
		store_quad(z + r * ROW_PITCH + t % ROW_QUADS * 4, operand_quad(kind, q[i]));
		total.x += q[i].x;
		total.y += q[i].y;
		total.z += q[i].z;
		total.w += q[i].w;
	}
	return total;
}

/* ---- forward ---- */

/* to[k][o] = weight[o][k] */
ON_DEVICE void copy_turned(const enum precision kind, uint32_t t, const float *weight, uint32_t stride, float *to)
{
	for (uint32_t i = t; i < ROW_UNITS * ROW_QUADS; i += THREADS) {
		const uint32_t o = i / ROW_QUADS, k = i % ROW_QUADS * 4;
		const struct float4 q = operand_quad(kind, load_quad(weight + (size_t)o * stride + k));
		to[k * ROW_PITCH + o] = q.x;
		to[(k + 1) * ROW_PITCH + o] = q.y;
		to[(k + 2) * ROW_PITCH + o] = q.z;
		to[(k + 3) * ROW_PITCH + o] = q.w;
	}
}

ON_DEVICE void project_tile(const uint32_t a_thread, uint32_t t, const struct tile_share *s, uint32_t first, const float *x,
                            const float *turned)
{
	enum { APART = THREADS / COLUMN_THREADS };
	const uint32_t row = t / COLUMN_THREADS;
	struct row_piece sum;
	UNROLLED for (uint32_t i = 0; i < a_thread; i++)
		UNROLLED for (uint32_t h = 0; h < 2; h++)
			sum.of[i][h] = s->side->bias ? load_quad(s->side->bias + piece_column(t, h)) : same_quad(0.0f);
	multiply_rows(a_thread, t, x, row, APART, turned, &sum);
	UNROLLED for (uint32_t i = 0; i < a_thread; i++)
		UNROLLED for (uint32_t h = 0; h < 2 && first + row + i * APART < s->count; h++)
			store_quad(s->side->parts + (size_t)(first + row + i * APART) * ROW_UNITS + piece_column(t, h), sum.of[i][h]);
}

ON_DEVICE void project_tiles_of(const enum precision kind, const uint32_t a_thread, const struct row_tile_arguments *a)
{
	const uint32_t tile = a_thread * (THREADS / COLUMN_THREADS);
	const struct tile_share s = share_of(a);
	float *const turned = shared_floats(), *const x = turned + ROW_UNITS * ROW_PITCH;
	if (s.block * tile >= s.count)
		return;
	EACH_THREAD(t) {
		copy_turned(kind, t, s.side->weight, a->weight_stride, turned);
		load_tile(kind, 2 * a_thread, t, &s, s.block * tile, x);
	}
	for (uint32_t first = s.block * tile; first < s.count; first += s.blocks * tile) {
		EACH_THREAD(t) project_tile(a_thread, t, &s, first, x, turned);
		if (first + s.blocks * tile < s.count)
			EACH_THREAD(t) load_tile(kind, 2 * a_thread, t, &s, first + s.blocks * tile, x);
	}
}

KERNEL_OF_TWO(project_row_tiles, struct row_tile_arguments)
{
	project_tiles_of(PRECISION_FP32, ROWS_A_THREAD, &a);
}

KERNEL_OF_TWO(project_few_rows, struct row_tile_arguments)
{
	project_tiles_of(PRECISION_FP32, 1, &a);
}

ROUNDED_KERNELS(project_row_tiles, project_tiles_of, ROWS_A_THREAD)
ROUNDED_KERNELS(project_few_rows, project_tiles_of, 1)

/* ---- back ---- */

/* What threads of the second half have of the gradient: four outputs by eight inputs; and one of the bias's. */
enum { KEPT_QUADS = ROWS_A_THREAD * 2 };

struct back_tile {
	float *x, *z, *gradients, *weight;
	uint32_t tile;
};

ON_DEVICE void copy_straight(const enum precision kind, uint32_t t, const float *weight, uint32_t stride, float *to)
{
	for (uint32_t i = t; i < ROW_UNITS * ROW_QUADS; i += THREADS) {
		const uint32_t o = i / ROW_QUADS, k = i % ROW_QUADS * 4;
		store_quad(to + o * ROW_PITCH + k, operand_quad(kind, load_quad(weight + (size_t)o * stride + k)));
	}
}

ON_DEVICE void back_to_rows(const uint32_t a_thread, uint32_t t, const struct back_tile *b)
{
	enum { APART = HALF_THREADS / COLUMN_THREADS };
	const uint32_t row = t / COLUMN_THREADS;
	struct row_piece sum;
	UNROLLED for (uint32_t i = 0; i < a_thread; i++)
		sum.of[i][0] = sum.of[i][1] = same_quad(0.0f);
	multiply_rows(a_thread, t, b->z, row, APART, b->weight, &sum);
	UNROLLED for (uint32_t i = 0; i < a_thread; i++)
		UNROLLED for (uint32_t h = 0; h < 2; h++)
			store_quad(b->gradients + (row + i * APART) * ROW_PITCH + piece_column(t, h), sum.of[i][h]);
}

/* The last threads have a column of the bias each. */
ON_DEVICE float add_bias(uint32_t t, const struct back_tile *b, float sum)
{
	for (uint32_t r = 0; r < b->tile; r++)
		sum += b->z[r * ROW_PITCH + t % ROW_UNITS];
	return sum;
}

/* Adam on `rows` of a thread's rows, from `row` of the tile on. */
ON_DEVICE void step_some(const enum precision kind, const uint32_t rows, uint32_t t, const struct row_tile_arguments *a, const struct tile_share *s,
                         const struct adam_rates *rates, uint32_t first, uint32_t row, const struct back_tile *b)
{
	enum { ROWS_AT_ONCE = THREADS / ROW_QUADS };
	const uint32_t k = t % ROW_QUADS * 4;
	struct adam_quad q[ROWS_A_THREAD];
	size_t at[ROWS_A_THREAD];
	UNROLLED for (uint32_t i = 0; i < rows; i++) {
		const uint32_t r = row + i * ROWS_AT_ONCE, slot = least_of(first + r, s->count - 1);
		at[i] = (size_t)tile_row_id(s->side, slot) * ROW_UNITS + k;
		if (!s->side->dense_gradients && first + r < s->count) {
			q[i].m = load_quad(a->trained.moment1 + s->side->table_at + at[i]);
			q[i].v = load_quad(a->trained.moment2 + s->side->table_at + at[i]);
		}
	}
	UNROLLED for (uint32_t i = 0; i < rows; i++) {
		const uint32_t r = row + i * ROWS_AT_ONCE;
		const struct float4 gradient = load_quad(b->gradients + r * ROW_PITCH + k);
		if (first + r >= s->count)
			continue;
		if (s->side->dense_gradients) {
			store_quad(s->side->dense_gradients + at[i], gradient);
			continue;
		}
		/* The tile has it, but for what rounding took. */
		if (kind == PRECISION_FP32)
			q[i].value = load_quad(b->x + r * ROW_PITCH + k);
		else
			q[i].value = load_quad(a->trained.values + s->side->table_at + at[i]);
		adam_on_quad(rates, &q[i], gradient);
		store_adam(&a->trained, s->side->table_at + at[i], &q[i]);
	}
}

ON_DEVICE void step_tile(const enum precision kind, const uint32_t a_thread, uint32_t t, const struct row_tile_arguments *a, const struct tile_share *s,
                         const struct adam_rates *rates, uint32_t first, const struct back_tile *b)
{
	const uint32_t at_once = a_thread < 2 ? a_thread : 2, apart = THREADS / ROW_QUADS;
	ROLLED for (uint32_t i = 0; i < a_thread; i += at_once)
		step_some(kind, at_once, t, a, s, rates, first, t / ROW_QUADS + i * apart, b);
}

ON_DEVICE void step_tiles_of(const enum precision kind, const uint32_t a_thread, const struct row_tile_arguments *a)
{
	PER_THREAD(struct row_piece, kept, 1);
	PER_THREAD(float, bias, 1);   /* a column's, of what is in the tile; or, where that is rounded, */
	PER_THREAD(struct float4, biases, 1); /* of the thread's rows, before */
	const uint32_t tile = a_thread * (HALF_THREADS / COLUMN_THREADS);
	const struct tile_share s = share_of(a);
	const uint32_t tiles = (s.count + tile - 1) / tile, end = share_begin(tiles, s.blocks, s.block + 1);
	struct back_tile b;
	b.tile = tile;
	b.weight = shared_floats();
	b.x = b.weight + ROW_UNITS * ROW_PITCH;
	b.z = b.x + tile * ROW_PITCH;
	b.gradients = b.z + tile * ROW_PITCH;
	const struct adam_rates rates = adam_rates_of(a->step);
	EACH_THREAD(t) {
		UNROLLED for (uint32_t i = 0; i < ROWS_A_THREAD; i++)
			OF_THREAD(kept, t)[0].of[i][0] = OF_THREAD(kept, t)[0].of[i][1] = same_quad(0.0f);
		OF_THREAD(bias, t)[0] = 0.0f;
		OF_THREAD(biases, t)[0] = same_quad(0.0f);
		copy_straight(kind, t, s.side->weight, a->weight_stride, b.weight);
	}
	for (uint32_t at = share_begin(tiles, s.blocks, s.block); at < end; at++) {
		EACH_THREAD(t) {
			load_tile(kind, a_thread, t, &s, at * tile, b.x);
			const struct float4 more = load_tile_sums(kind, a_thread, t, &s, at * tile, b.z);
			if (kind != PRECISION_FP32)
				add_product(&OF_THREAD(biases, t)[0], 1.0f, more);
		}
		EACH_THREAD(t) {
			if (t < HALF_THREADS)
				back_to_rows(a_thread, t, &b);
			else
				multiply_columns(tile, t, b.z, (t - HALF_THREADS) / COLUMN_THREADS * 4, b.x, &OF_THREAD(kept, t)[0]);
		}
		EACH_THREAD(t) {
			step_tile(kind, a_thread, t, a, &s, &rates, at * tile, &b);
			if (kind == PRECISION_FP32 && s.side->bias && t >= THREADS - ROW_UNITS)
				OF_THREAD(bias, t)[0] = add_bias(t, &b, OF_THREAD(bias, t)[0]);
		}
	}
	float *const to = s.side->partials + (size_t)s.block * s.side->gradient;
	if (kind != PRECISION_FP32) {
		EACH_THREAD(t) store_quad(b.x + t / ROW_QUADS * ROW_PITCH + t % ROW_QUADS * 4, OF_THREAD(biases, t)[0]);
		EACH_THREAD(t) {
			for (uint32_t r = 0; r < THREADS / ROW_QUADS && t >= THREADS - ROW_UNITS; r++)
				OF_THREAD(bias, t)[0] += b.x[r * ROW_PITCH + t % ROW_UNITS];
		}
	}
	EACH_THREAD(t) {
		const uint32_t output = (t - HALF_THREADS) / COLUMN_THREADS * 4;
		UNROLLED for (uint32_t i = 0; i < ROWS_A_THREAD; i++)
			UNROLLED for (uint32_t h = 0; h < 2 && t >= HALF_THREADS; h++)
				store_quad(to + (output + i) * ROW_UNITS + piece_column(t, h), OF_THREAD(kept, t)[0].of[i][h]);
		if (s.side->bias && t >= THREADS - ROW_UNITS)
			to[ROW_UNITS * ROW_UNITS + t % ROW_UNITS] = OF_THREAD(bias, t)[0];
	}
}

KERNEL_OF_TWO(step_row_tiles, struct row_tile_arguments)
{
	step_tiles_of(PRECISION_FP32, ROWS_A_THREAD, &a);
}

KERNEL_OF_TWO(step_few_rows, struct row_tile_arguments)
{
	step_tiles_of(PRECISION_FP32, 1, &a);
}

ROUNDED_KERNELS(step_row_tiles, step_tiles_of, ROWS_A_THREAD)
ROUNDED_KERNELS(step_few_rows, step_tiles_of, 1)

/* ---- host ---- */

static bool has_few_rows(const struct backend_state *state)
{
	const uint64_t rows = (uint64_t)state->sides[SIDE_USER].rows_max + state->sides[SIDE_ITEM].rows_max;
	return rows <= (uint64_t)state->device.processors * ROW_UNITS;
}

/* Of `most` blocks those that a side has. */
static uint32_t side_blocks(const struct backend_state *state, enum side_name which, uint32_t tile, uint32_t most)
{
	const struct side *user = &state->sides[SIDE_USER], *item = &state->sides[SIDE_ITEM];
	/* Rows that a batch of uses of ids is expected to have, about: the beginning of 1 - exp(-uses / ids). */
	double rows[SIDES];
	for (int s = 0; s < SIDES; s++) {
		const double x = (double)state->sides[s].uses_max / (double)state->sides[s].ids;
		rows[s] = (double)state->sides[s].ids * (1.0 - 1.0 / (1.0 + x + x * x / 2 + x * x * x / 6));
	}
	const uint32_t users = (uint32_t)(most * rows[SIDE_USER] / (rows[SIDE_USER] + rows[SIDE_ITEM]) + 0.5);
	const uint32_t share = which == SIDE_USER ? users : most - users;
	return blocks_for(which == SIDE_USER ? user->rows_max : item->rows_max, tile, share < 1 ? 1 : share);
}

static uint32_t grid_of_two(const struct backend_state *state)
{
	const uint32_t most = 2 * state->device.processors;
	return most < GRID_MAX ? most : (uint32_t)GRID_MAX;
}

/* Of shared memory. */
static size_t step_bytes(uint32_t tile)
{
	return (ROW_UNITS + 3 * (size_t)tile) * ROW_PITCH * sizeof(float);
}

bool cuda_row_tiles_fit(const struct backend_state *state)
{
	for (int s = 0; s < SIDES; s++) {
		const struct table *table = &state->sides[s].embeddings;
		if (table->columns != ROW_UNITS || table->stride != ROW_UNITS || state->sides[s].half % 4 != 0)
			return false;
	}
	return state->tower.width == ROW_UNITS && state->first.stride % 4 == 0 &&
	       step_bytes(ROW_UNITS) <= state->device.shared_limit;
}

int cuda_plan_row_tiles(struct backend_state *state, enum side_name which, struct error *error)
{
	struct plan *plan = &state->sides[which].back;
	memset(plan, 0, sizeof *plan);
	plan->gradient_floats = ROW_UNITS * ROW_UNITS + ROW_UNITS;
	plan->blocks = side_blocks(state, which, has_few_rows(state) ? ROW_UNITS / 4 : ROW_UNITS, grid_of_two(state));
	plan->partials = device_floats(&state->device, (size_t)plan->blocks * plan->gradient_floats, "the gradient of the layers", error);
	return plan->partials ? 0 : -1;
}

static struct row_tile_arguments tile_arguments(const struct backend_state *state, const struct batch *batch,
                                                const struct step *step)
{
	struct row_tile_arguments a;
	memset(&a, 0, sizeof a);
	a.step = step;
	a.trained = trained_of(state);
	a.weight_stride = state->first.stride;
	for (int s = 0; s < SIDES; s++) {
		const struct side *side = &state->sides[s];
		struct tile_side *to = &a.sides[s];
		to->rows = side->fetched ? NULL : batch->sides[s].rows;
		to->count = batch->sides[s].count;
		to->from = side->fetched ? side->fetched : state->values + side->embeddings.at;
		to->table_at = side->embeddings.at;
		to->weight = state->values + side->half;
		to->bias = s == SIDE_USER ? state->values + state->first.bias : NULL;
		to->parts = side->parts;
		to->sums = row_sums_of(side, SEGMENT_TOWER, &batch->sides[s], ROW_UNITS);
		to->dense_gradients = side->fetched ? side->fetched_gradients : side->gradients;
		to->partials = side->back.partials;
		to->gradient = side->back.gradient_floats;
	}
	return a;
}

void cuda_project_row_tiles(struct backend_state *state, const struct batch *batch)
{
	const bool few = has_few_rows(state);
	struct row_tile_arguments a = tile_arguments(state, batch, NULL);
	const uint32_t tile = (few ? 1 : ROWS_A_THREAD) * (THREADS / COLUMN_THREADS);
	const size_t bytes = (ROW_UNITS + (size_t)tile) * ROW_PITCH * sizeof(float);
	a.user_blocks = side_blocks(state, SIDE_USER, tile, 2 * grid_of_two(state));
	const uint32_t blocks = a.user_blocks + side_blocks(state, SIDE_ITEM, tile, 2 * grid_of_two(state));
	if (few)
		LAUNCH_ROUNDED(state, project_few_rows, blocks, bytes, a);
	else
		LAUNCH_ROUNDED(state, project_row_tiles, blocks, bytes, a);
}

void cuda_step_row_tiles(struct backend_state *state, const struct batch *batch, const struct step *step)
{
	const bool few = has_few_rows(state);
	struct row_tile_arguments a = tile_arguments(state, batch, step);
	const uint32_t tile = (few ? 1 : ROWS_A_THREAD) * (HALF_THREADS / COLUMN_THREADS);
	const size_t bytes = step_bytes(tile);
	a.user_blocks = state->sides[SIDE_USER].back.blocks;
	const uint32_t blocks = a.user_blocks + state->sides[SIDE_ITEM].back.blocks;
	if (few)
		LAUNCH_ROUNDED(state, step_few_rows, blocks, bytes, a);
	else
		LAUNCH_ROUNDED(state, step_row_tiles, blocks, bytes, a);
}
