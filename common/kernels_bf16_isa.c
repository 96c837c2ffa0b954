/* The tower with products of bfloat16 and everything else in single precision: compiled with KERNEL_ISA set to amx,
 * avx512, avx2 and portable, all of which give the same bits (simd_matrix.h). Weights, sums, activations between
 * products and the narrow layers at the end stay floats; operands are rounded when a product needs them. */
#include "kernels_bf16_product.h"
#include "kernels_block.h"
#include "kernels_tail.h"

/* ---- weights ---- */

static size_t forward_halves(const struct dense_layer *layer)
{
	return depth_of(layer->inputs) * layer->outputs_padded;
}

static size_t prepared_floats(const struct dense_layer *layer)
{
	return (forward_halves(layer) + depth_of(layer->outputs) * layer->inputs_padded) / 2;
}

/* Tiles of W^T, [outputs / 16][inputs / 32], for the way forward. */
static struct right forward_tiles(const struct dense_layer *layer)
{
	return (struct right){
		.from = (const uint16_t *)(const void *)layer->prepared, .k_step = HALVES_A_TILE,
		.n_step = tiles_of(layer->inputs, MATRIX_DEPTH) * HALVES_A_TILE, .stride = MATRIX_HALVES * sizeof(uint16_t),
	};
}

/* W itself with two outputs side by side, [outputs / 2][inputs][2], for the way back. */
static struct right backward_tiles(const struct dense_layer *layer)
{
	return (struct right){
		.from = (const uint16_t *)(const void *)layer->prepared + forward_halves(layer),
		.k_step = MATRIX_ROWS * 2 * layer->inputs_padded, .n_step = MATRIX_HALVES,
		.stride = 2 * layer->inputs_padded * sizeof(uint16_t),
	};
}

static void prepare(const struct dense_layer *layer, size_t first, size_t rows, float *prepared)
{
	const float *weight = layer->weight + first * layer->inputs_padded;
	const size_t tiles = tiles_of(layer->inputs, MATRIX_DEPTH), depth = tiles * MATRIX_DEPTH;
	uint16_t *forward = (uint16_t *)(void *)prepared, *backward = forward + forward_halves(layer);
	uint16_t row[MATRIX_HALVES];
	for (size_t o = 0; o < padded_to(rows, LANES); o++)
		for (size_t k = 0; k < depth; k += MATRIX_DEPTH) {
			uint16_t *tile = forward + ((first + o) / LANES * tiles + k / MATRIX_DEPTH) * HALVES_A_TILE;
			round_rows(weight + o * layer->inputs_padded + k, 0,
			           layer->inputs_padded - k < MATRIX_DEPTH ? layer->inputs_padded - k : MATRIX_DEPTH,
			           o < rows ? 1 : 0, 1, row);
			for (size_t pair = 0; pair < MATRIX_ROWS; pair++)
				memcpy(tile + pair * MATRIX_HALVES + (first + o) % LANES * 2, row + 2 * pair, 2 * sizeof *row);
		}
	/* Outputs up to a multiple of 32 are read: those behind the last one are zeros. */
	const size_t last = first + rows == layer->outputs ? depth_of(layer->outputs) - first : rows;
	pair_rows(weight, layer->inputs_padded, layer->inputs_padded, rows, last, backward + first * layer->inputs_padded);
}

/* ---- single layers ---- */

/* Gradients of a layer's weights and of its inputs, from z [count][z_stride] and x [count][x_stride], at most
 * TRAIN_LANES rows. `back` has room for those rounded up to whole tiles. */
struct back_pass {
	const struct dense_layer *layer;
	const float *z, *x;
	size_t z_stride, x_stride, count;
	float *back, *gradient, *scratch;
};

/* gradient[outputs][inputs_padded] += z^T x. Rows behind the last output belong to somebody else, so a number of outputs
 * that is not whole tiles goes through a copy. */
static void weight_product(struct matrix_registers *r, const struct back_pass *b, const uint16_t *turned,
                           const uint16_t *pairs, float *copy)
{
	const struct dense_layer *layer = b->layer;
	const size_t width = layer->inputs_padded, size = layer->outputs * width * sizeof(float);
	const bool whole = layer->outputs % MATRIX_ROWS == 0;
	float *gradient = b->gradient + layer->weight_at;
	const struct bf16_product p = {
		.left = turned, .left_stride = TRAIN_LANES, .rows = tiles_of(layer->outputs, MATRIX_ROWS),
		.right = {.from = pairs, .k_step = MATRIX_ROWS * 2 * width, .n_step = MATRIX_HALVES,
		          .stride = 2 * width * sizeof(uint16_t)},
		.columns = width / LANES, .depth = tiles_of(b->count, MATRIX_DEPTH), .start = START_SUM,
		.out = whole ? gradient : copy, .out_stride = width,
	};
	if (!whole)
		memcpy(copy, gradient, size);
	bf16_multiply(r, &p);
	if (!whole)
		memcpy(gradient, copy, size);
}

/* Floats of scratch that a layer's back pass needs. */
static size_t back_floats(const struct dense_layer *layer)
{
	const size_t halves = TRAIN_LANES * (depth_of(layer->outputs) + layer->outputs_padded + layer->inputs_padded);
	return halves / 2 + layer->outputs_padded * layer->inputs_padded;
}

static void back_layer(struct matrix_registers *r, const struct back_pass *b, const uint16_t *pairs)
{
	const struct dense_layer *layer = b->layer;
	const size_t depth = depth_of(layer->outputs), rows = padded_to(b->count, MATRIX_ROWS);
	uint16_t *rounded = (uint16_t *)(void *)b->scratch, *turned = rounded + TRAIN_LANES * depth;
	uint16_t *own = turned + TRAIN_LANES * layer->outputs_padded;
	float *copy = (float *)(void *)(own + TRAIN_LANES * layer->inputs_padded);
	round_rows(b->z, b->z_stride, layer->outputs_padded, b->count, rows, rounded);
	turn_rows(b->z, b->z_stride, layer->outputs_padded, b->count, turned);
	if (!pairs) {
		pair_rows(b->x, b->x_stride, layer->inputs_padded, b->count, TRAIN_LANES, own);
		pairs = own;
	}
	weight_product(r, b, turned, pairs, copy);
	const struct bf16_product p = {
		.left = rounded, .left_stride = depth, .right = backward_tiles(layer), .rows = rows / MATRIX_ROWS,
		.columns = layer->inputs_padded / LANES, .depth = depth / MATRIX_DEPTH, .out = b->back,
		.out_stride = layer->inputs_padded,
	};
	bf16_multiply(r, &p);
}

static void forward_product(struct matrix_registers *r, const uint16_t *rounded, size_t rows,
                            const struct dense_layer *layer, float *out, size_t out_stride)
{
	const size_t depth = depth_of(layer->inputs);
	const struct bf16_product p = {
		.left = rounded, .left_stride = depth, .right = forward_tiles(layer), .rows = tiles_of(rows, MATRIX_ROWS),
		.columns = layer->outputs_padded / LANES, .depth = depth / MATRIX_DEPTH,
		.start = layer->bias ? START_BIAS : START_ZERO, .bias = layer->bias, .out = out, .out_stride = out_stride,
	};
	bf16_multiply(r, &p);
}

static void project(const float *x, size_t x_stride, size_t rows, const struct dense_layer *layer, float *out,
                    size_t out_stride, float *scratch)
{
	struct matrix_registers r;
	uint16_t *rounded = (uint16_t *)(void *)scratch;
	round_rows(x, x_stride, layer->inputs_padded, rows, padded_to(rows, MATRIX_ROWS), rounded);
	matrix_begin(&r);
	forward_product(&r, rounded, rows, layer, out, out_stride);
	matrix_end(&r);
}

static void project_back(const float *z_gradient, size_t z_stride, const float *x, size_t x_stride, size_t rows,
                         const struct dense_layer *layer, float *input_gradient, float *gradient, float *scratch)
{
	struct matrix_registers r;
	const struct back_pass b = {
		.layer = layer, .z = z_gradient, .z_stride = z_stride, .x = x, .x_stride = x_stride, .count = rows,
		.back = input_gradient, .gradient = gradient, .scratch = scratch,
	};
	matrix_begin(&r);
	back_layer(&r, &b, NULL);
	matrix_end(&r);
}

/* ---- blocks ---- */

/* What lies behind the block's layout: each wide layer's inputs with two samples side by side, room for rounded rows,
 * gradients of activations, and a back pass's scratch. */
struct bf16_layout {
	uint16_t *pairs[MODEL_LAYERS_MAX], *rounded;
	float *back, *scratch;
};

static size_t widest_input(const struct tower *tower)
{
	size_t widest = tower->padded;
	for (size_t l = 0; l < tower->wide_count; l++)
		widest = widest < tower->layers[l].outputs_padded ? tower->layers[l].outputs_padded : widest;
	return widest;
}

static size_t further_floats(const struct tower *tower, const struct dense_layer *halves[2])
{
	size_t widest = widest_input(tower), floats = 0, most = 0;
	for (size_t l = 0; l < tower->wide_count; l++) {
		floats += TRAIN_LANES * tower->layers[l].inputs_padded / 2;
		most = most < back_floats(&tower->layers[l]) ? back_floats(&tower->layers[l]) : most;
	}
	floats += TRAIN_LANES * (depth_of(widest) / 2 + widest);
	for (size_t h = 0; h < 2; h++) {
		const size_t rounded = TRAIN_LANES * depth_of(halves[h]->inputs) / 2;
		most = most < back_floats(halves[h]) ? back_floats(halves[h]) : most;
		most = most < rounded ? rounded : most;
	}
	return floats + most;
}

static struct bf16_layout lay_out_further(const struct tower *tower, float *at)
{
	const size_t widest = widest_input(tower);
	struct bf16_layout further;
	for (size_t l = 0; l < tower->wide_count; l++) {
		further.pairs[l] = (uint16_t *)(void *)at;
		at += TRAIN_LANES * tower->layers[l].inputs_padded / 2;
	}
	further.rounded = (uint16_t *)(void *)at;
	further.back = at + TRAIN_LANES * depth_of(widest) / 2;
	further.scratch = further.back + TRAIN_LANES * widest;
	return further;
}

static void relu_rows(float *rows, size_t count)
{
	for (size_t n = 0; n < count; n += LANES)
		vf_store(rows + n, vf_relu(vf_load(rows + n)));
}

/* From the first layer's activations, rows[0] of `at`, to the logits. */
static const float *forward_rows(const struct tower *tower, const struct layout *at, size_t count,
                                 const struct train_block *train)
{
	const struct bf16_layout further = lay_out_further(tower, at->further);
	const bool drops = train && tower->dropout > 0.0;
	const size_t rows = padded_to(count, TILE_ROWS);
	size_t stride = tower->padded;
	struct matrix_registers r;
	matrix_begin(&r);
	for (size_t l = 0; l < tower->wide_count; l++) {
		const struct dense_layer *layer = &tower->layers[l];
		round_rows(at->rows[l], stride, stride, count, TRAIN_LANES, further.rounded);
		if (train)
			pair_rows(at->rows[l], stride, stride, count, TRAIN_LANES, further.pairs[l]);
		forward_product(&r, further.rounded, TRAIN_LANES, layer, at->rows[l + 1], layer->outputs_padded);
		stride = layer->outputs_padded;
		relu_rows(at->rows[l + 1], TRAIN_LANES * stride);
		if (drops)
			drop_activations(tower, train, l + 1, at->rows[l + 1], rows * stride / LANES);
	}
	matrix_end(&r);
	memset(at->rows[tower->wide_count] + rows * stride, 0, (TRAIN_LANES - rows) * stride * sizeof(float));
	return tail_forward(tower, train, at->rows[tower->wide_count], stride, at->units);
}

static const float *forward(const struct tower *tower, const struct block *block, const struct train_block *train)
{
	const struct layout at = lay_out(tower, block->scratch);
	gather_first_layer(tower, block, at.rows[0]);
	if (train && tower->dropout > 0.0)
		drop_activations(tower, train, 0, at.rows[0], padded_to(block->count, TILE_ROWS) * tower->padded / LANES);
	return forward_rows(tower, &at, block->count, train);
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

/* out = back, scaled, where the activations are positive, else 0. */
static void mask_rows(const float *a, const float *back, size_t count, float scale, float *out)
{
	const vf factor = vf_set(scale);
	for (size_t n = 0; n < count; n += LANES)
		vf_store(out + n, vf_where_positive(vf_load(a + n), vf_mul(vf_load(back + n), factor), vf_set(0.0f)));
}

static void train_backward(const struct tower *tower, const struct train_block *train, const float *derivatives)
{
	const size_t count = train->block.count, wide = tower->wide_count;
	const struct layout at = lay_out(tower, train->block.scratch);
	const struct bf16_layout further = lay_out_further(tower, at.further);
	float lanes[TRAIN_LANES] = {0};
	struct matrix_registers r;
	memcpy(lanes, derivatives, count * sizeof *lanes);
	tail_backward(tower, train, lanes, at.units, at.rows[wide],
	              wide ? tower->layers[wide - 1].outputs_padded : tower->padded);
	matrix_begin(&r);
	for (size_t l = wide; l-- > 0;) {
		const struct dense_layer *layer = &tower->layers[l];
		const struct back_pass b = {
			.layer = layer, .z = at.rows[l + 1], .z_stride = layer->outputs_padded, .count = count,
			.back = further.back, .gradient = train->gradient, .scratch = further.scratch,
		};
		add_bias_gradient(at.rows[l + 1], count, layer->outputs_padded, train->gradient + layer->bias_at);
		back_layer(&r, &b, further.pairs[l]);
		mask_rows(at.rows[l], further.back, count * layer->inputs_padded, dropout_scale(tower), at.rows[l]);
	}
	matrix_end(&r);
	memcpy(train->z1_gradient, at.rows[0], count * tower->padded * sizeof(float));
	if (train->block.piece > 1)
		sum_pieces(train->z1_gradient, tower->padded, count, train->block.piece, train->piece_gradient);
}

static void arrange_items(const struct tower *tower, const float *parts, float *items)
{
	memcpy(items, parts, BLOCK_ROWS * tower->padded * sizeof *items);
}

static void score_items(const struct tower *tower, const float *weights, const float *user_part, const float *items,
                        float *scratch, float *logits)
{
	(void)weights;
	const struct layout at = lay_out(tower, scratch);
	for (size_t s = 0; s < BLOCK_ROWS; s++)
		for (size_t n = 0; n < tower->padded; n += LANES) {
			const vf sum = vf_add(vf_load(user_part + n), vf_load(items + s * tower->padded + n));
			vf_store(at.rows[0] + s * tower->padded + n, vf_relu(sum));
		}
	memcpy(logits, forward_rows(tower, &at, BLOCK_ROWS, NULL), BLOCK_ROWS * sizeof *logits);
}

extern const struct tower_kernels JOIN(bf16_kernels_, KERNEL_ISA);
const struct tower_kernels JOIN(bf16_kernels_, KERNEL_ISA) = {
	.name = TEXT(KERNEL_ISA) " bf16",
	.further_floats = further_floats,
	.prepared_floats = prepared_floats,
	.prepare = prepare,
	.project = project,
	.project_back = project_back,
	.train_forward = train_forward,
	.train_backward = train_backward,
	.sum_lanes = tail_sum_lanes,
	.score_block = score_one_block,
	.arrange_items = arrange_items,
	.score_items = score_items,
};
