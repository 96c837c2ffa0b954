/* One side of the first layer, per distinct row of a batch: forward, its half of z1; back, from the gradient of that
 * half to the row and to the layer's weights. Tiles of rows, as those of samples (tile.h). */
#include "rows.h"
#include "tile_phases.h"
#include "wide.h"

ON_DEVICE struct product half_product(const struct row_arguments *a, const struct workspace *w, const unsigned known,
                                      const enum precision kind)
{
	struct product p;
	p.aligned = (known & WEIGHTS_SHARED) || (kind == PRECISION_FP32 && w->weights);
	p.weight = p.aligned ? w->weights : a->weight;
	p.stride = p.aligned ? layer_pitch(kind, a->table.columns, a->width) : a->weight_stride;
	p.inputs = a->table.columns;
	p.outputs = a->width;
	p.bias = a->bias;
	p.in = w->units;
	p.out = w->units + (size_t)a->table.columns * a->plan.pitch;
	p.tile = a->plan.tile;
	p.pitch = a->plan.pitch;
	return p;
}

ON_DEVICE uint32_t row_id(const struct row_arguments *a, uint32_t slot)
{
	return a->rows ? a->rows[slot] : slot;
}

/* Rows of the table into the tile, zeros behind the last. */
ON_DEVICE void load_rows(uint32_t t, const struct row_arguments *a, float *units, uint32_t first, uint32_t count)
{
	for (uint32_t r = t / WARP * 4; r < a->plan.tile; r += WARPS * 4) {
		const float *row[4];
		for (uint32_t i = 0; i < 4; i++)
			row[i] = a->from + row_id(a, first + least_of(r + i, count - 1)) * a->table.stride;
		for (uint32_t k = t % WARP; k < a->table.columns; k += WARP) {
			float four[4];
			for (uint32_t i = 0; i < 4; i++)
				four[i] = r + i < count ? row[i][k] : 0.0f;
			put_four(units, a->plan.pitch, r, k, four);
		}
	}
}

ON_DEVICE void project_share(const struct row_arguments *a, const unsigned known, const enum precision kind)
{
	const struct workspace w = workspace_of(&a->plan, known);
	const uint32_t count = a->count_at ? *a->count_at : a->count, tiles = (count + a->plan.tile - 1) / a->plan.tile;
	const struct product p = half_product(a, &w, known, kind);
	EACH_THREAD(t) {
		if (w.weights)
			copy_layer(kind, t, a->weight, a->weight_stride, p.inputs, p.outputs, w.weights);
	}
	for (uint32_t tile = BLOCK; tile < tiles; tile += BLOCKS) {
		const uint32_t first = tile * p.tile, rows = least_of(count - first, p.tile);
		EACH_THREAD(t) load_rows(t, a, p.in, first, rows);
		forward_phase(kind, &p, false);
		EACH_THREAD(t) store_rows(t, p.out, p.pitch, a->width, first, rows, a->parts);
	}
}

KERNEL(project_rows, struct row_arguments)
{
	project_share(&a, 0, PRECISION_FP32);
}

KERNEL(project_rows_shared, struct row_arguments)
{
	project_share(&a, ALL_SHARED, PRECISION_FP32);
}

TENSOR_KERNELS(project_rows, struct row_arguments, project_share)

ON_DEVICE void load_sums(uint32_t t, const struct row_arguments *a, float *out, uint32_t first, uint32_t count)
{
	for (uint32_t r = t / WARP * 4; r < a->plan.tile; r += WARPS * 4)
		for (uint32_t n = t % WARP; n < a->width; n += WARP) {
			float four[4];
			for (uint32_t i = 0; i < 4; i++)
				four[i] = r + i < count ? row_sum(&a->sums, first + r + i, n) : 0.0f;
			put_four(out, a->plan.pitch, r, n, four);
		}
}

ON_DEVICE void step_rows(uint32_t t, const struct row_arguments *a, const float *in, uint32_t first, uint32_t count)
{
	for (uint32_t r = t / WARP * 4; r < count; r += WARPS * 4)
		for (uint32_t k = t % WARP; k < a->table.columns; k += WARP) {
			const struct float4 q = load_quad(in + (size_t)k * a->plan.pitch + r);
			const float four[4] = {q.x, q.y, q.z, q.w};
			for (uint32_t i = 0; i < 4 && r + i < count; i++) {
				const size_t at = (size_t)row_id(a, first + r + i) * a->table.stride + k;
				if (a->dense_gradients)
					a->dense_gradients[at] = four[i];
				else
					adam(&a->trained, a->table.at + at, four[i], a->step, a->step->decay);
			}
		}
}

ON_DEVICE void step_share(const struct row_arguments *a, const unsigned known, const enum precision kind)
{
	const struct workspace w = workspace_of(&a->plan, known);
	const uint32_t count = *a->count_at, tiles = (count + a->plan.tile - 1) / a->plan.tile;
	const uint32_t end = share_begin(tiles, BLOCKS, BLOCK + 1);
	const struct product p = half_product(a, &w, known, kind);
	EACH_THREAD(t) {
		clear_gradient(t, &a->plan, &w);
		if (w.weights)
			copy_layer(kind, t, a->weight, a->weight_stride, p.inputs, p.outputs, w.weights);
	}
	for (uint32_t tile = share_begin(tiles, BLOCKS, BLOCK); tile < end; tile++) {
		const uint32_t first = tile * p.tile, rows = least_of(count - first, p.tile);
		EACH_THREAD(t) {
			load_rows(t, a, p.in, first, rows);
			load_sums(t, a, p.out, first, rows);
		}
		gradient_phase(kind, &p, w.gradient, a->with_bias);
		backward_phase(kind, &p, MASK_NONE, 1.0f);
		EACH_THREAD(t) step_rows(t, a, p.in, first, rows);
	}
	EACH_THREAD(t) keep_gradient(t, &a->plan, &w);
}

KERNEL(step_tiles, struct row_arguments)
{
	step_share(&a, 0, PRECISION_FP32);
}

KERNEL(step_tiles_shared, struct row_arguments)
{
	step_share(&a, ALL_SHARED, PRECISION_FP32);
}

TENSOR_KERNELS(step_tiles, struct row_arguments, step_share)

static struct row_arguments side_arguments(const struct backend_state *state, enum side_name which)
{
	const struct side *side = &state->sides[which];
	struct row_arguments a;
	memset(&a, 0, sizeof a);
	a.table = side->embeddings;
	a.trained = trained_of(state);
	a.from = side->fetched ? side->fetched : state->values + side->embeddings.at;
	a.weight = state->values + side->half;
	a.weight_stride = state->first.stride;
	a.bias = which == SIDE_USER ? state->values + state->first.bias : NULL;
	a.with_bias = which == SIDE_USER;
	a.width = state->tower.width;
	return a;
}

void cuda_project(struct backend_state *state, enum side_name which, const uint32_t *rows, const uint32_t *count_at,
                  uint32_t count, float *parts)
{
	struct row_arguments a = side_arguments(state, which);
	a.plan = state->sides[which].forth;
	a.rows = rows;
	a.count_at = count_at;
	a.count = count;
	a.parts = parts;
	const uint32_t blocks = blocks_for(count, a.plan.tile, a.plan.blocks);
	if (a.plan.wide)
		cuda_wide_project(state, &a, blocks);
	else
		LAUNCH_PRODUCTS(state, project_rows, &a.plan, blocks, a);
}

void cuda_step_rows(struct backend_state *state, enum side_name which, const struct batch *batch, const struct step *step)
{
	const struct side *side = &state->sides[which];
	struct row_arguments a = side_arguments(state, which);
	a.plan = side->back;
	a.step = step;
	a.rows = side->fetched ? NULL : batch->sides[which].rows;
	a.count_at = batch->sides[which].count;
	a.sums = row_sums_of(side, SEGMENT_TOWER, &batch->sides[which], a.width);
	a.dense_gradients = side->fetched ? side->fetched_gradients : side->gradients;
	if (a.plan.wide)
		cuda_wide_step_rows(state, &a);
	else
		LAUNCH_PRODUCTS(state, step_tiles, &a.plan, a.plan.blocks, a);
}
