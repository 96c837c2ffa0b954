/* The tower on one instruction set, in single precision: compiled with KERNEL_ISA set to avx512, avx2 and portable.
 * Its products are those of simd_tile.h: forward, back to the inputs, weight gradients. Its narrow layers are in
 * kernels_tail_isa.c, scoring of all items in kernels_score_isa.c. */
#include "kernels_block.h"
#include "kernels_score.h"
#include "kernels_tail.h"
#include "simd_tile.h"
#include "simd_transpose.h"

static void forward_layer(const float *x, size_t rows, const struct dense_layer *layer, float *out)
{
	const struct product p = {
		.x = x, .x_row = layer->inputs_padded, .x_step = 1, .y = layer->prepared,
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

static void project(const float *x, size_t x_stride, size_t rows, const struct dense_layer *layer, float *out,
                    size_t out_stride, float *scratch)
{
	(void)scratch;
	const struct product p = {
		.x = x, .x_row = x_stride, .x_step = 1, .y = layer->prepared, .y_step = layer->outputs_padded,
		.depth = layer->inputs, .out = out, .out_row = out_stride, .extra = layer->bias,
	};
	multiply(BIAS_ONLY, &p, padded_to(rows, TILE_ROWS), layer->outputs_padded);
}

static void project_back(const float *z_gradient, size_t z_stride, const float *x, size_t x_stride, size_t rows,
                         const struct dense_layer *layer, float *input_gradient, float *gradient, float *scratch)
{
	(void)scratch;
	add_weight_gradient(z_gradient, z_stride, x, x_stride, rows, layer, gradient);
	const struct product p = {
		.x = z_gradient, .x_row = z_stride, .x_step = 1, .y = layer->weight, .y_step = layer->inputs_padded,
		.depth = layer->outputs, .out = input_gradient, .out_row = x_stride,
	};
	multiply(NO_EPILOGUE, &p, padded_to(rows, TILE_ROWS), layer->inputs_padded);
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

/* The weights transposed, [inputs][outputs_padded]. */
static size_t prepared_floats(const struct dense_layer *layer)
{
	return layer->inputs * layer->outputs_padded;
}

static void prepare(const struct dense_layer *layer, size_t first, size_t rows, float *prepared)
{
	transpose_rows(layer->weight + first * layer->inputs_padded, layer->inputs_padded, rows, layer->inputs,
	               prepared + first, layer->outputs_padded);
}

extern const struct tower_kernels JOIN(tower_kernels_, KERNEL_ISA);
const struct tower_kernels JOIN(tower_kernels_, KERNEL_ISA) = {
	.name = TEXT(KERNEL_ISA),
	.prepared_floats = prepared_floats,
	.prepare = prepare,
	.project = project,
	.project_back = project_back,
	.train_forward = train_forward,
	.train_backward = train_backward,
	.sum_lanes = tail_sum_lanes,
	.score_block = score_one_block,
	.arranged_floats = score_weight_floats,
	.arrange_weights = score_arrange_weights,
	.arrange_items = score_arrange_items,
	.score_items = score_all_layers,
};
