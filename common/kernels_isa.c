/* The kernels of one instruction set: compiled with KERNEL_ISA set to avx512, avx2 and portable.
 * The tower's products are those of simd_tile.h: forward, back to the inputs, weight gradients. Its narrow layers are
 * in kernels_tail_isa.c. */
#include "kernels.h"
#include "kernels_tail.h"
#include "simd.h"
#include "simd_tile.h"
#include "simd_transpose.h"

enum { AHEAD = 12 }; /* rows that are asked for before they are needed */

static void forward_layer(const float *x, size_t rows, const struct dense_layer *layer, float *out)
{
	const struct product p = {
		.x = x, .x_row = layer->inputs_padded, .x_step = 1, .y = layer->transposed,
		.y_step = layer->outputs_padded, .depth = layer->inputs, .out = out,
		.out_row = layer->outputs_padded, .extra = layer->bias,
	};
	multiply(BIAS_RELU, &p, rows, layer->outputs_padded);
}

static void add_weight_gradient(const float *z_gradient, size_t z_stride, const float *x, size_t x_stride,
                                size_t rows, const struct dense_layer *layer, float *gradient)
{
	const struct product p = {
		.x = z_gradient, .x_row = 1, .x_step = z_stride, .y = x, .y_step = x_stride, .depth = rows,
		.out = gradient + layer->weight_at, .out_row = layer->inputs_padded,
	};
	multiply_outputs(&p, layer->outputs, layer->inputs_padded);
}

/* Four chains, of every fourth row each: one would wait for each addition. */
static void add_bias_gradient(const float *z_gradient, size_t rows, size_t padded, float *gradient)
{
	for (size_t n = 0; n < padded; n += LANES) {
		const float *z = z_gradient + n;
		vf sum[4] = {vf_set(0.0f), vf_set(0.0f), vf_set(0.0f), vf_set(0.0f)};
		size_t r = 0;
		for (; r + 4 <= rows; r += 4)
			for (size_t i = 0; i < 4; i++)
				sum[i] = vf_add(sum[i], vf_load(z + (r + i) * padded));
		for (; r < rows; r++)
			sum[0] = vf_add(sum[0], vf_load(z + r * padded));
		const vf all = vf_add(vf_add(sum[0], sum[1]), vf_add(sum[2], sum[3]));
		vf_store(gradient + n, vf_add(vf_load(gradient + n), all));
	}
}

static void project(const float *x, size_t x_stride, size_t rows, const struct dense_layer *layer, float *out,
                    size_t out_stride)
{
	const struct product p = {
		.x = x, .x_row = x_stride, .x_step = 1, .y = layer->transposed, .y_step = layer->outputs_padded,
		.depth = layer->inputs, .out = out, .out_row = out_stride, .extra = layer->bias,
	};
	multiply(BIAS_ONLY, &p, padded_to(rows, TILE_ROWS), layer->outputs_padded);
}

static void project_back(const float *z_gradient, size_t z_stride, const float *x, size_t x_stride, size_t rows,
                         const struct dense_layer *layer, float *input_gradient, float *gradient)
{
	add_weight_gradient(z_gradient, z_stride, x, x_stride, rows, layer, gradient);
	const struct product p = {
		.x = z_gradient, .x_row = z_stride, .x_step = 1, .y = layer->weight, .y_step = layer->inputs_padded,
		.depth = layer->outputs, .out = input_gradient, .out_row = x_stride,
	};
	multiply(NO_EPILOGUE, &p, padded_to(rows, TILE_ROWS), layer->inputs_padded);
}

static inline void read_ahead(const float *row, size_t floats)
{
	for (size_t n = 0; n < floats; n += LANES)
		__builtin_prefetch(row + n);
}

/* a1 = relu(user half + item half), a row a sample, zeros in the rows that the last tile takes along. */
static void gather_first_layer(const struct tower *tower, const struct block *block, float *out)
{
	const size_t padded = tower->padded, pieces = block->count / block->piece;
	const uint32_t *slots = block->item_slots;
	float *to = out;
	for (size_t p = 0; p < pieces; p++, slots += block->piece, to += block->piece * padded) {
		const float *user = block->user_part + block->user_slots[p] * padded;
		for (size_t s = 0; s < block->piece && slots + s + AHEAD < block->item_slots + block->known; s++)
			read_ahead(block->item_part + slots[s + AHEAD] * padded, padded);
		for (size_t n = 0; n < padded; n += LANES) {
			const vf half = vf_load(user + n);
			for (size_t s = 0; s < block->piece; s++) {
				const vf item = vf_load(block->item_part + slots[s] * padded + n);
				vf_store(to + s * padded + n, vf_relu(vf_add(half, item)));
			}
		}
	}
	memset(to, 0, (padded_to(block->count, TILE_ROWS) - block->count) * padded * sizeof *to);
}

/* Where a block's activations lie in its scratch: rows of the wide layers, then the tail's units. */
struct layout {
	float *rows[MODEL_LAYERS_MAX + 1], *units;
};

static struct layout lay_out(const struct tower *tower, float *scratch)
{
	struct layout at;
	at.rows[0] = scratch;
	scratch += TRAIN_LANES * tower->padded;
	for (size_t l = 0; l < tower->wide_count; l++) {
		at.rows[l + 1] = scratch;
		scratch += TRAIN_LANES * tower->layers[l].outputs_padded;
	}
	at.units = scratch;
	return at;
}

/* Forward: the activations stay in the block's scratch for the way back. Returns the logits. `train` NULL: no dropout. */
static const float *forward(const struct tower *tower, const struct block *block, const struct train_block *train)
{
	const struct layout at = lay_out(tower, block->scratch);
	const size_t rows = padded_to(block->count, TILE_ROWS), wide = tower->wide_count;
	const bool drops = train && tower->dropout > 0.0;
	size_t stride = tower->padded;
	gather_first_layer(tower, block, at.rows[0]);
	if (drops)
		drop_activations(tower, train, 0, at.rows[0], rows * stride / LANES);
	for (size_t l = 0; l < wide; l++) {
		forward_layer(at.rows[l], rows, &tower->layers[l], at.rows[l + 1]);
		stride = tower->layers[l].outputs_padded;
		if (drops)
			drop_activations(tower, train, l + 1, at.rows[l + 1], rows * stride / LANES);
	}
	memset(at.rows[wide] + rows * stride, 0, (TRAIN_LANES - rows) * stride * sizeof(float));
	return tail_forward(tower, train, at.rows[wide], stride, at.units);
}

static void train_forward(const struct tower *tower, const struct train_block *train, float *logits)
{
	const float *last = forward(tower, &train->block, train);
	for (size_t s = 0; s < train->block.count; s++)
		logits[s] += last[s];
}

static void score_one_block(const struct tower *tower, const struct block *block, float *logits)
{
	memcpy(logits, forward(tower, block, NULL), block->count * sizeof *logits);
}

/* Gradients of a wide layer's weights, and of its inputs: in place of those, or to `out`. */
static void backward_layer(const struct tower *tower, const struct dense_layer *layer, const float *z, size_t count,
                           float *a, float *out, float *gradient)
{
	const size_t rows = padded_to(count, TILE_ROWS);
	add_weight_gradient(z, layer->outputs_padded, a, layer->inputs_padded, count, layer, gradient);
	add_bias_gradient(z, count, layer->outputs_padded, gradient + layer->bias_at);
	const struct product p = {
		.x = z, .x_row = layer->outputs_padded, .x_step = 1, .y = layer->weight, .y_step = layer->inputs_padded,
		.depth = layer->outputs, .out = out, .out_row = layer->inputs_padded, .extra = a,
		.extra_row = layer->inputs_padded, .scale = dropout_scale(tower),
	};
	if (tower->dropout > 0.0)
		multiply(MASK_AND_SCALE, &p, rows, layer->inputs_padded);
	else
		multiply(MASK_BY_POSITIVE, &p, rows, layer->inputs_padded);
}

static void sum_pieces(const float *rows, size_t padded, size_t count, size_t piece, float *out)
{
	for (size_t s = 0; s < count; s += piece, rows += piece * padded, out += padded)
		for (size_t n = 0; n < padded; n += LANES) {
			vf sum = vf_load(rows + n);
			for (size_t i = 1; i < piece; i++)
				sum = vf_add(sum, vf_load(rows + i * padded + n));
			vf_store(out + n, sum);
		}
}

static void train_backward(const struct tower *tower, const struct train_block *train, const float *derivatives)
{
	const size_t count = train->block.count, padded = tower->padded, wide = tower->wide_count;
	const struct layout at = lay_out(tower, train->block.scratch);
	float lanes[TRAIN_LANES] = {0};
	memcpy(lanes, derivatives, count * sizeof *lanes);
	tail_backward(tower, train, lanes, at.units, at.rows[wide], wide ? tower->layers[wide - 1].outputs_padded : padded);
	const bool in_place = wide == 0 || count % TILE_ROWS != 0;
	for (size_t l = wide; l-- > 0;)
		backward_layer(tower, &tower->layers[l], at.rows[l + 1], count, at.rows[l],
		               l > 0 || in_place ? at.rows[l] : train->z1_gradient, train->gradient);
	if (in_place)
		memcpy(train->z1_gradient, at.rows[0], count * padded * sizeof(float));
	if (train->block.piece > 1)
		sum_pieces(train->z1_gradient, padded, count, train->block.piece, train->piece_gradient);
}

/* Every layer with vectors across items: nothing is padded. */
static void score_items(const struct tower *tower, const float *user_part, const float *items, float *scratch,
                        float *logits)
{
	float *a = scratch, *other = scratch + tower->scratch_floats / 2 / LANES * LANES;
	for (size_t k = 0; k < tower->width; k++) {
		const vf half = vf_set(user_part[k]);
		for (size_t n = 0; n < BLOCK_ROWS; n += LANES)
			vf_store(a + k * BLOCK_ROWS + n, vf_relu(vf_add(half, vf_load(items + k * BLOCK_ROWS + n))));
	}
	for (size_t l = 0; l < tower->layer_count; l++) {
		const struct dense_layer *layer = &tower->layers[l];
		struct product p = {
			.x = layer->weight, .x_row = layer->inputs_padded, .x_step = 1, .y = a, .y_step = BLOCK_ROWS,
			.depth = layer->inputs, .out = other, .out_row = BLOCK_ROWS, .extra = layer->bias,
		};
		if (l + 1 < tower->layer_count) {
			multiply_units(UNIT_BIAS_RELU, &p, layer->outputs, BLOCK_ROWS);
		} else {
			p.out = logits;
			multiply_units(UNIT_BIAS_ONLY, &p, layer->outputs, BLOCK_ROWS);
		}
		float *swap = a;
		a = other;
		other = swap;
	}
}

static uint64_t at_least(const float *scores, float least)
{
	uint64_t found = 0;
	for (size_t n = 0; n < BLOCK_ROWS; n += LANES)
		found |= (uint64_t)vf_at_least(vf_load(scores + n), vf_set(least)) << n;
	return found;
}

static void gather(const float *table, size_t stride, const uint32_t *index, size_t count, float *to)
{
	for (size_t r = 0; r < count; r++, to += stride) {
		const float *row = table + index[r] * stride;
		if (r + AHEAD < count)
			read_ahead(table + index[r + AHEAD] * stride, stride);
		for (size_t n = 0; n < stride; n += LANES)
			vf_store(to + n, vf_load(row + n));
	}
}

/* `vectors`, a constant, of them from column n on. */
LANE_CODE void sum_columns(const size_t vectors, const float *rows, size_t stride, const uint32_t *index, size_t count,
                           size_t known, float *sum)
{
	vf total[4];
#pragma GCC unroll 4
	for (size_t v = 0; v < vectors; v++)
		total[v] = vf_load(rows + index[0] * stride + v * LANES);
	for (size_t i = 1; i < count; i++) {
		if (i + AHEAD < known)
			read_ahead(rows + index[i + AHEAD] * stride, vectors * LANES);
#pragma GCC unroll 4
		for (size_t v = 0; v < vectors; v++)
			total[v] = vf_add(total[v], vf_load(rows + index[i] * stride + v * LANES));
	}
#pragma GCC unroll 4
	for (size_t v = 0; v < vectors; v++)
		vf_store(sum + v * LANES, total[v]);
}

static void sum_rows(const float *rows, size_t stride, const uint32_t *index, size_t count, size_t known, float *sum)
{
	size_t n = 0;
	if (AHEAD < known)
		read_ahead(rows + index[AHEAD] * stride, stride);
	for (; n + 4 * LANES <= stride; n += 4 * LANES)
		sum_columns(4, rows + n, stride, index, count, known, sum + n);
	for (; n < stride; n += LANES)
		sum_columns(1, rows + n, stride, index, count, known, sum + n);
}

static void add(float *sum, const float *more, size_t count)
{
	for (size_t n = 0; n < count; n += LANES)
		vf_store(sum + n, vf_add(vf_load(sum + n), vf_load(more + n)));
}

static void adam(float *values, float *moment1, float *moment2, const float *gradient, size_t count,
                 const struct adam_step *step)
{
	const vf beta1 = vf_set(step->beta1), rest1 = vf_set(step->one_minus_beta1);
	const vf beta2 = vf_set(step->beta2), rest2 = vf_set(step->one_minus_beta2);
	for (size_t n = 0; n < count; n += LANES) {
		vf g = vf_load(gradient + n);
		vf m = vf_fma(beta1, vf_load(moment1 + n), vf_mul(rest1, g));
		vf v = vf_fma(beta2, vf_load(moment2 + n), vf_mul(vf_mul(rest2, g), g));
		vf root = vf_fma(vf_sqrt(v), vf_set(step->scale2), vf_set(step->epsilon));
		vf kept = vf_mul(vf_load(values + n), vf_set(step->decay));
		vf_store(moment1 + n, m);
		vf_store(moment2 + n, v);
		vf_store(values + n, vf_sub(kept, vf_mul(vf_set(step->rate), vf_div(m, root))));
	}
}

static void transpose(const float *from, size_t from_stride, size_t rows, size_t columns, float *to, size_t to_stride)
{
	vf v[LANES];
	for (size_t r = 0; r < rows; r += LANES)
		for (size_t k = 0; k < columns; k += LANES) {
			for (size_t i = 0; i < LANES; i++)
				v[i] = r + i < rows ? vf_load(from + (r + i) * from_stride + k) : vf_set(0.0f);
			vf_transpose(v);
			for (size_t i = 0; i < LANES && k + i < columns; i++)
				vf_store(to + (k + i) * to_stride + r, v[i]);
		}
}

extern const struct kernels JOIN(kernels_, KERNEL_ISA);
const struct kernels JOIN(kernels_, KERNEL_ISA) = {
	.name = TEXT(KERNEL_ISA),
	.project = project,
	.project_back = project_back,
	.train_forward = train_forward,
	.train_backward = train_backward,
	.sum_lanes = tail_sum_lanes,
	.score_block = score_one_block,
	.score_items = score_items,
	.at_least = at_least,
	.gather = gather,
	.sum_rows = sum_rows,
	.transpose = transpose,
	.add = add,
	.adam = adam,
};
