/* Products of matrices in global memory by blocks of outputs: 64 rows by 128 columns, of which a thread keeps 4 by 8 in
 * registers over the whole depth. Slabs of SLAB steps of the depth go through shared memory in two buffers: while one is
 * multiplied the next one is fetched into the other, so that a slab is one phase. Every output is one chain of fused
 * multiply-adds in ascending order of the depth, from zero on, as in common/kernels.h. */
#ifndef RECPIPE_CUDA_PRODUCT_H
#define RECPIPE_CUDA_PRODUCT_H

#include "tile.h"

enum {
	SLAB = 16, ROWS_OF_PRODUCT = 64, COLUMNS_OF_PRODUCT = 128,
	ROW_PITCH = ROWS_OF_PRODUCT + 4, COLUMN_PITCH = COLUMNS_OF_PRODUCT + 4,
	SLAB_FLOATS = SLAB * (ROW_PITCH + COLUMN_PITCH),
	PRODUCT_FLOATS = 2 * SLAB_FLOATS,
	SUMS_A_THREAD = 8,        /* quads: of row i of four, [2 i] and [2 i + 1] are 64 columns apart */
};

/* One side of a product: element (row, depth) is at[row * row_step + depth * depth_step], one of the steps is 1 and the other
 * one a multiple of four, as is the address. Rows behind `rows` are zeros. */
struct operand {
	const float *at;
	size_t row_step, depth_step;
	uint32_t rows;
};

/* out[i][j] = sum over d < depth of x[i][d] y[j][d]. */
struct block_product {
	struct operand x, y;
	uint32_t depth;
};

ON_DEVICE struct float4 load_some(const float *from, uint32_t count)
{
	struct float4 q;
	if (count >= 4)
		return load_quad(from);
	q.x = count > 0 ? from[0] : 0.0f;
	q.y = count > 1 ? from[1] : 0.0f;
	q.z = count > 2 ? from[2] : 0.0f;
	q.w = 0.0f;
	return q;
}

ON_DEVICE uint32_t behind(uint32_t end, uint32_t at)
{
	return at < end ? end - at : 0;
}

/* Which four elements quad `quad` of a slab is: along the depth where that is how they lie, else along the rows. */
ON_DEVICE struct float4 fetch_quad(const struct operand *o, const bool deep, const uint32_t rows, uint32_t quad,
                                   uint32_t first, uint32_t depth)
{
	const uint32_t row = deep ? quad / (SLAB / 4) : quad % (rows / 4) * 4;
	const uint32_t d = first + (deep ? quad % (SLAB / 4) * 4 : quad / (rows / 4));
	const uint32_t of_rows = behind(o->rows, row), of_depth = behind(depth, d);
	const uint32_t count = deep ? (of_rows > 0 ? of_depth : 0) : of_depth > 0 ? of_rows : 0;
	return count > 0 ? load_some(o->at + row * o->row_step + d * o->depth_step, count) : same_quad(0.0f);
}

/* Slabs lie as [depth][row]. */
ON_DEVICE void keep_quad(float *slab, const bool deep, const uint32_t rows, const uint32_t pitch, uint32_t quad,
                         struct float4 q)
{
	if (!deep) {
		store_quad(slab + quad / (rows / 4) * pitch + quad % (rows / 4) * 4, q);
		return;
	}
	float *const to = slab + quad % (SLAB / 4) * 4 * pitch + quad / (SLAB / 4);
	to[0] = q.x;
	to[pitch] = q.y;
	to[2 * pitch] = q.z;
	to[3 * pitch] = q.w;
}

/* What a thread brings of a slab. */
struct fetched {
	struct float4 x, y0, y1;
};

ON_DEVICE struct fetched fetch(uint32_t t, const struct block_product *p, const bool x_deep, const bool y_deep, uint32_t first)
{
	struct fetched f;
	f.x = fetch_quad(&p->x, x_deep, ROWS_OF_PRODUCT, t, first, p->depth);
	f.y0 = fetch_quad(&p->y, y_deep, COLUMNS_OF_PRODUCT, t, first, p->depth);
	f.y1 = fetch_quad(&p->y, y_deep, COLUMNS_OF_PRODUCT, t + THREADS, first, p->depth);
	return f;
}

ON_DEVICE void keep_fetched(uint32_t t, float *slab, const bool x_deep, const bool y_deep, const struct fetched *f)
{
	float *const columns = slab + SLAB * ROW_PITCH;
	keep_quad(slab, x_deep, ROWS_OF_PRODUCT, ROW_PITCH, t, f->x);
	keep_quad(columns, y_deep, COLUMNS_OF_PRODUCT, COLUMN_PITCH, t, f->y0);
	keep_quad(columns, y_deep, COLUMNS_OF_PRODUCT, COLUMN_PITCH, t + THREADS, f->y1);
}

/* The outputs of a thread: rows from first_row(t) on, columns from first_column(t) on and 64 behind those. */
ON_DEVICE uint32_t first_row(uint32_t t)
{
	return t / 16 * 4;
}

ON_DEVICE uint32_t first_column(uint32_t t)
{
	return t % 16 * 4;
}

ON_DEVICE void multiply_slab(uint32_t t, const float *slab, struct float4 *sums)
{
	const float *x = slab + first_row(t), *y = slab + SLAB * ROW_PITCH + first_column(t);
	for (uint32_t d = 0; d < SLAB; d++, x += ROW_PITCH, y += COLUMN_PITCH) {
		const struct float4 rows = load_quad(x), near = load_quad(y), far = load_quad(y + COLUMNS_OF_PRODUCT / 2);
		add_product(&sums[0], rows.x, near);
		add_product(&sums[1], rows.x, far);
		add_product(&sums[2], rows.y, near);
		add_product(&sums[3], rows.y, far);
		add_product(&sums[4], rows.z, near);
		add_product(&sums[5], rows.z, far);
		add_product(&sums[6], rows.w, near);
		add_product(&sums[7], rows.w, far);
	}
}

/* The whole product of the block. `slabs`, in shared memory, has room for PRODUCT_FLOATS; the constants say how either side
 * lies; row_sums, unless NULL, receives the sums of x over the depth: those of row t are thread t's. */
ON_DEVICE void multiply_block(const struct block_product *p, float *slabs, const bool x_deep, const bool y_deep,
                              struct float4 (*sums)[SUMS_A_THREAD], float (*row_sums)[1])
{
	EACH_THREAD(t) {
		const struct fetched f = fetch(t, p, x_deep, y_deep, 0);
		keep_fetched(t, slabs, x_deep, y_deep, &f);
		for (uint32_t i = 0; i < SUMS_A_THREAD; i++)
			OF_THREAD(sums, t)[i] = same_quad(0.0f);
		if (row_sums)
			OF_THREAD(row_sums, t)[0] = 0.0f;
	}
	for (uint32_t first = 0; first < p->depth; first += SLAB) {
		const uint32_t turn = first / SLAB % 2;
		const float *const now = slabs + turn * SLAB_FLOATS;
		float *const next = slabs + (1 - turn) * SLAB_FLOATS;
		EACH_THREAD(t) {
			const bool more = first + SLAB < p->depth;
			struct fetched f;
			if (more)
				f = fetch(t, p, x_deep, y_deep, first + SLAB);
			multiply_slab(t, now, OF_THREAD(sums, t));
			for (uint32_t d = 0; row_sums && t < ROWS_OF_PRODUCT && d < SLAB; d++)
				OF_THREAD(row_sums, t)[0] += now[d * ROW_PITCH + t];
			if (more)
				keep_fetched(t, next, x_deep, y_deep, &f);
		}
	}
}

/* Whether quad i of a thread's sums is within `rows` by `columns`, and where it is. */
ON_DEVICE uint32_t row_of_sum(uint32_t t, uint32_t i)
{
	return first_row(t) + i / 2;
}

ON_DEVICE uint32_t column_of_sum(uint32_t t, uint32_t i)
{
	return first_column(t) + i % 2 * (COLUMNS_OF_PRODUCT / 2);
}

/* Stores those of the quad's values that are before column `end`. */
ON_DEVICE void store_some(float *to, struct float4 q, uint32_t count)
{
	if (count >= 4) {
		store_quad(to, q);
		return;
	}
	if (count > 0)
		to[0] = q.x;
	if (count > 1)
		to[1] = q.y;
	if (count > 2)
		to[2] = q.z;
}

#endif
