/* The three products of a round of users and the catalogue: scores; from their gradients back to the users' vectors, by
 * chunks of items; and back to the items' rows, which Adam steps where the product ends. The columns of the biases are
 * left to the products' ends: an item's bias is added to its scores, and its gradient is the sum of theirs. */
#include "by_users.h"
#include "product.h"

ON_DEVICE uint32_t pieces_of(uint32_t count, uint32_t piece)
{
	return (count + piece - 1) / piece;
}

/* Rows of a table of factors, as columns of a product over the factors. */
ON_DEVICE struct operand factor_rows(const float *rows, size_t stride, uint32_t first, uint32_t count)
{
	struct operand o;
	o.at = rows + first * stride;
	o.row_step = stride;
	o.depth_step = 1;
	o.rows = behind(count, first);
	return o;
}

/* Columns of one: the depth goes down its rows. */
ON_DEVICE struct operand factor_columns(const float *rows, size_t stride, uint32_t first, uint32_t count)
{
	struct operand o;
	o.at = rows + first;
	o.row_step = 1;
	o.depth_step = stride;
	o.rows = behind(count, first);
	return o;
}

ON_DEVICE struct float4 plus_some(struct float4 q, const float *bias, size_t stride, uint32_t count)
{
	q.x += count > 0 ? bias[0] : 0.0f;
	q.y += count > 1 ? bias[stride] : 0.0f;
	q.z += count > 2 ? bias[2 * stride] : 0.0f;
	q.w += count > 3 ? bias[3 * stride] : 0.0f;
	return q;
}

/* A block has 64 users and 128 items. */
KERNEL(score_catalogue, struct round_arguments)
{
	PER_THREAD(struct float4, sums, SUMS_A_THREAD);
	const uint32_t across = pieces_of(a.count, ROWS_OF_PRODUCT);
	const uint32_t user = BLOCK % across * ROWS_OF_PRODUCT, item = BLOCK / across * COLUMNS_OF_PRODUCT;
	struct block_product p;
	p.x = factor_rows(a.c.queries, a.c.stride, user, a.count);
	p.y = factor_rows(a.c.item_rows, a.c.stride, item, a.items);
	p.depth = a.c.columns;
	multiply_block(&p, shared_floats(), true, true, sums, NULL);
	EACH_THREAD(t) {
		for (uint32_t i = 0; i < SUMS_A_THREAD; i++) {
			const uint32_t r = user + row_of_sum(t, i), n = item + column_of_sum(t, i), count = behind(a.items, n);
			const float *const bias = a.c.item_rows + n * a.c.stride + a.c.columns + 1;
			if (r < a.count && count > 0)
				store_some(a.c.scores + (size_t)r * a.c.pitch + n, plus_some(OF_THREAD(sums, t)[i], bias, a.c.stride, count),
				           count);
		}
	}
}

void cuda_score_round(struct backend_state *state, const struct round_arguments *round)
{
	const uint32_t blocks = blocks_for(round->count, ROWS_OF_PRODUCT, UINT32_MAX) *
	                        blocks_for(round->items, COLUMNS_OF_PRODUCT, UINT32_MAX);
	LAUNCH(&state->device, STREAM_WORK, score_catalogue, blocks, PRODUCT_FLOATS * sizeof(float), *round);
}

/* A block has 64 users, 128 factors and a chunk of items. */
KERNEL(back_to_users, struct round_arguments)
{
	PER_THREAD(struct float4, sums, SUMS_A_THREAD);
	const uint32_t across = pieces_of(a.count, ROWS_OF_PRODUCT), down = pieces_of(a.c.columns, COLUMNS_OF_PRODUCT);
	const uint32_t user = BLOCK % across * ROWS_OF_PRODUCT, factor = BLOCK / across % down * COLUMNS_OF_PRODUCT;
	const uint32_t chunk = BLOCK / across / down, item = chunk * a.c.chunk;
	struct block_product p;
	p.x = factor_rows(a.c.scores + item, a.c.pitch, user, a.count);
	p.y = factor_columns(a.c.item_rows + item * a.c.stride, a.c.stride, factor, a.c.columns);
	p.depth = least_of(a.c.chunk, a.items - item);
	multiply_block(&p, shared_floats(), true, false, sums, NULL);
	EACH_THREAD(t) {
		for (uint32_t i = 0; i < SUMS_A_THREAD; i++) {
			const uint32_t r = user + row_of_sum(t, i), k = factor + column_of_sum(t, i);
			if (r < a.count)
				store_some(a.c.partials + ((size_t)chunk * a.c.round + r) * a.c.stride + k, OF_THREAD(sums, t)[i],
				           behind(a.c.columns, k));
		}
	}
}

/* What the chunks say, in order. A user's bias is nothing to a softmax: it has no gradient, but decays as the row does. */
KERNEL(step_users, struct round_arguments)
{
	const uint64_t size = (uint64_t)a.count * a.c.stride;
	const bool idle = *a.c.target_sum == 0;
	EACH_THREAD(t) {
		for (uint64_t i = (uint64_t)BLOCK * THREADS + t; i < size && !idle; i += (uint64_t)BLOCKS * THREADS) {
			const uint32_t r = (uint32_t)(i / a.c.stride), k = (uint32_t)(i % a.c.stride), user = a.users[a.first + r];
			float sum = 0.0f;
			for (uint32_t chunk = 0; chunk < a.c.chunks && k < a.c.columns; chunk++)
				sum += a.c.partials[((size_t)chunk * a.c.round + r) * a.c.stride + k];
			a.c.query_gradients[(size_t)(a.first + r) * a.c.stride + k] = sum;
			if (user < a.own.rows && k <= a.c.columns)
				adam(&a.trained, a.own.at + user * a.own.stride + k, sum, a.step, a.step->decay);
		}
	}
}

void cuda_back_to_users(struct backend_state *state, const struct round_arguments *round)
{
	const uint32_t blocks = blocks_for(round->count, ROWS_OF_PRODUCT, UINT32_MAX) *
	                        blocks_for(round->c.columns, COLUMNS_OF_PRODUCT, UINT32_MAX) * round->c.chunks;
	LAUNCH(&state->device, STREAM_WORK, back_to_users, blocks, PRODUCT_FLOATS * sizeof(float), *round);
	LAUNCH(&state->device, STREAM_WORK, step_users, blocks_for((uint64_t)round->count * round->c.stride, THREADS, GRID_WIDE),
	       0, *round);
}

/* ---- items ---- */

/* Four values side by side, or as many of them as there are. */
struct four {
	float of[4];
};

ON_DEVICE struct four load_four(const float *from, uint32_t count)
{
	const struct float4 q = load_some(from, count);
	const struct four f = {{q.x, q.y, q.z, q.w}};
	return f;
}

ON_DEVICE void store_four(float *to, const struct four *f, uint32_t count)
{
	struct float4 q;
	q.x = f->of[0];
	q.y = f->of[1];
	q.z = f->of[2];
	q.w = f->of[3];
	store_some(to, q, count);
}

ON_DEVICE void adam_four(const struct trained *of, size_t at, const struct four *gradients, uint32_t count,
                         const struct step *step)
{
	struct four values = load_four(of->values + at, count);
	struct four moments1 = load_four(of->moment1 + at, count), moments2 = load_four(of->moment2 + at, count);
	struct trained four;
	four.values = values.of;
	four.moment1 = moments1.of;
	four.moment2 = moments2.of;
	for (uint32_t i = 0; i < 4; i++)
		adam(&four, i, gradients->of[i], step, step->decay);
	store_four(of->values + at, &values, count);
	store_four(of->moment1 + at, &moments1, count);
	store_four(of->moment2 + at, &moments2, count);
}

/* Gradients of item n's columns from k on, a multiple of four or a single one: to those of earlier rounds, and, with the
 * last round, Adam. */
ON_DEVICE void take_item(const struct round_arguments *a, uint32_t n, uint32_t k, struct four gradients, uint32_t count)
{
	float *const kept = a->c.item_gradients ? a->c.item_gradients + n * a->c.stride + k : NULL;
	if (kept && !a->first_round) {
		const struct four before = load_four(kept, count);
		for (uint32_t i = 0; i < 4; i++)
			gradients.of[i] += before.of[i];
	}
	if (kept)
		store_four(kept, &gradients, count);
	if (a->last_round)
		adam_four(&a->trained, a->item_table.at + n * a->item_table.stride + k, &gradients, count, a->step);
}

/* A block has 64 items and 128 factors, and those with the first factors the items' biases. */
KERNEL(back_to_items, struct round_arguments)
{
	PER_THREAD(struct float4, sums, SUMS_A_THREAD);
	PER_THREAD(float, biases, 1);
	const uint32_t across = pieces_of(a.items, ROWS_OF_PRODUCT);
	const uint32_t item = BLOCK % across * ROWS_OF_PRODUCT, factor = BLOCK / across * COLUMNS_OF_PRODUCT;
	struct block_product p;
	p.x = factor_columns(a.c.scores, a.c.pitch, item, a.items);
	p.y = factor_columns(a.c.queries, a.c.stride, factor, a.c.columns);
	p.depth = a.count;
	if (*a.c.target_sum == 0)
		return;
	multiply_block(&p, shared_floats(), false, false, sums, biases);
	EACH_THREAD(t) {
		for (uint32_t i = 0; i < SUMS_A_THREAD; i++) {
			const uint32_t n = item + row_of_sum(t, i), k = factor + column_of_sum(t, i);
			const struct float4 q = OF_THREAD(sums, t)[i];
			const struct four gradients = {{q.x, q.y, q.z, q.w}};
			if (n < a.items && k < a.c.columns)
				take_item(&a, n, k, gradients, a.c.columns - k);
		}
		if (factor == 0 && t < ROWS_OF_PRODUCT && item + t < a.items) {
			const struct four bias = {{OF_THREAD(biases, t)[0], 0.0f, 0.0f, 0.0f}};
			take_item(&a, item + t, a.c.columns + 1, bias, 1);
		}
	}
}

void cuda_back_to_items(struct backend_state *state, const struct round_arguments *round)
{
	const uint32_t blocks = blocks_for(round->items, ROWS_OF_PRODUCT, UINT32_MAX) *
	                        blocks_for(round->c.columns, COLUMNS_OF_PRODUCT, UINT32_MAX);
	LAUNCH(&state->device, STREAM_WORK, back_to_items, blocks, PRODUCT_FLOATS * sizeof(float), *round);
}
