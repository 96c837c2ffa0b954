/* The kernels of one instruction set: compiled with KERNEL_ISA set to avx512, avx2 and portable.
 *
 * One register tile serves all three products (forward, back to the inputs, weight gradients): rows times
 * vectors of outputs, the accumulators in registers over the whole depth. Tile shapes are constants of the
 * instruction set, so that the loops unroll and nothing is spilled. */
#include "kernels.h"
#include "rng.h"
#include "simd.h"

#if defined(KERNEL_ISA_avx512)
enum { TILE_VECTORS = 4 };  /* 6 x 4 or 12 x 2 accumulators of 32 registers */
#else
enum { TILE_VECTORS = 1 };  /* 6 x 1 pairs of 16 registers */
#endif

enum epilogue { BIAS_ONLY, BIAS_RELU, MASK_BY_POSITIVE, NO_EPILOGUE, ACCUMULATE };

/* A product to be tiled: out[m][n] = sum over r of x[m * x_row + r * x_step] * y[r * y_step + n]. */
struct product {
	const float *x;
	size_t x_row, x_step;
	const float *y;
	size_t y_step, depth;
	float *out;
	size_t out_row;
	const float *extra;       /* the bias, or what masks (laid out with extra_row) */
	size_t extra_row;
};

LANE_CODE vf start_value(enum epilogue how, const struct product *p, size_t m, size_t n)
{
	if (how == ACCUMULATE)
		return vf_load(p->out + m * p->out_row + n);
	if ((how == BIAS_ONLY || how == BIAS_RELU) && p->extra)
		return vf_load(p->extra + n);
	return vf_set(0.0f);
}

LANE_CODE vf end_value(enum epilogue how, const struct product *p, size_t m, size_t n, vf value)
{
	if (how == BIAS_RELU)
		return vf_relu(value);
	if (how == MASK_BY_POSITIVE)
		return vf_where_positive(vf_load(p->extra + m * p->extra_row + n), value, vf_set(0.0f));
	return value;
}

/* Rows m..m+rows and vectors n..n+16*vectors: `rows` and `vectors` are constants where this is inlined. */
LANE_CODE void tile(const size_t rows, const size_t vectors, enum epilogue how, const struct product *p, size_t m,
                    size_t n)
{
	vf sum[TILE_ROWS][4];
#pragma GCC unroll 12
	for (size_t i = 0; i < rows; i++)
#pragma GCC unroll 4
		for (size_t v = 0; v < vectors; v++)
			sum[i][v] = start_value(how, p, m + i, n + LANES * v);
	const float *x = p->x + m * p->x_row, *y = p->y + n;
	const size_t x_row = p->x_row, x_step = p->x_step, y_step = p->y_step;
	for (size_t r = p->depth; r-- > 0; x += x_step, y += y_step) {
		vf column[4];
#pragma GCC unroll 4
		for (size_t v = 0; v < vectors; v++)
			column[v] = vf_load(y + LANES * v);
#pragma GCC unroll 12
		for (size_t i = 0; i < rows; i++) {
			vf factor = vf_set(x[i * x_row]);
#pragma GCC unroll 4
			for (size_t v = 0; v < vectors; v++)
				sum[i][v] = vf_fma(factor, column[v], sum[i][v]);
		}
	}
#pragma GCC unroll 12
	for (size_t i = 0; i < rows; i++)
#pragma GCC unroll 4
		for (size_t v = 0; v < vectors; v++)
			vf_store(p->out + (m + i) * p->out_row + n + LANES * v,
			         end_value(how, p, m + i, n + LANES * v, sum[i][v]));
}

/* `rows` a multiple of TILE_ROWS, `width` of LANES: products whose rows are samples. */
LANE_CODE void multiply(enum epilogue how, const struct product *p, size_t rows, size_t width)
{
	size_t n = 0;
	for (; TILE_VECTORS >= 4 && n + 4 * LANES <= width; n += 4 * LANES)
		for (size_t m = 0; m < rows; m += 6)
			tile(6, 4, how, p, m, n);
	for (; TILE_VECTORS >= 2 && n + 2 * LANES <= width; n += 2 * LANES)
		for (size_t m = 0; m < rows; m += 12)
			tile(12, 2, how, p, m, n);
	for (; n < width; n += LANES)
		for (size_t m = 0; m < rows; m += TILE_VECTORS >= 2 ? 12 : 6)
			tile(TILE_VECTORS >= 2 ? 12 : 6, 1, how, p, m, n);
}

/* Any number of rows: products whose rows are outputs of a layer (weight gradients). */
LANE_CODE void multiply_outputs(const struct product *p, size_t rows, size_t width)
{
	size_t n = 0;
	for (; TILE_VECTORS >= 4 && n + 2 * LANES <= width; n += 2 * LANES) {
		size_t m = 0;
		for (; m + 8 <= rows; m += 8)
			tile(8, 2, ACCUMULATE, p, m, n);
		for (; m + 4 <= rows; m += 4)
			tile(4, 2, ACCUMULATE, p, m, n);
		for (; m < rows; m++)
			tile(1, 2, ACCUMULATE, p, m, n);
	}
	for (; n < width; n += LANES) {
		size_t m = 0;
		for (; TILE_VECTORS >= 4 && m + 8 <= rows; m += 8)
			tile(8, 1, ACCUMULATE, p, m, n);
		for (; m + 4 <= rows; m += 4)
			tile(4, 1, ACCUMULATE, p, m, n);
		for (; m < rows; m++)
			tile(1, 1, ACCUMULATE, p, m, n);
	}
}

static void forward_layer(enum epilogue how, const float *x, size_t rows, const struct dense_layer *layer, float *out)
{
	const struct product p = {
		.x = x, .x_row = layer->inputs_padded, .x_step = 1, .y = layer->transposed,
		.y_step = layer->outputs_padded, .depth = layer->inputs, .out = out,
		.out_row = layer->outputs_padded, .extra = layer->bias,
	};
	if (how == BIAS_RELU)
		multiply(BIAS_RELU, &p, rows, layer->outputs_padded);
	else
		multiply(BIAS_ONLY, &p, rows, layer->outputs_padded);
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

static void add_bias_gradient(const float *z_gradient, size_t rows, size_t padded, float *gradient)
{
	for (size_t n = 0; n < padded; n += LANES) {
		vf sum = vf_load(gradient + n);
		for (size_t r = 0; r < rows; r++)
			sum = vf_add(sum, vf_load(z_gradient + r * padded + n));
		vf_store(gradient + n, sum);
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

/* a1 = relu(user half + item half), a row a sample. */
static void gather_first_layer(const struct tower *tower, const struct block *block, float *out)
{
	const size_t padded = tower->padded;
	for (size_t s = 0; s < block->count; s++) {
		const float *user = block->user_part + block->user_slots[s] * padded;
		const float *item = block->item_part + block->item_slots[s] * padded;
		for (size_t n = 0; n < padded; n += LANES)
			vf_store(out + s * padded + n, vf_relu(vf_add(vf_load(user + n), vf_load(item + n))));
	}
}

/* exp(x) for x in [-87, 0]: Cody-Waite reduction, then a polynomial of degree 6 (error below 2 ulp). */
LANE_CODE vf exp_negative(vf x)
{
	const vf magic = vf_set(12582912.0f); /* 1.5 * 2^23: adding it rounds to an integer */
	vf n = vf_sub(vf_fma(x, vf_set(1.44269504088896341f), magic), magic);
	vf r = vf_fma(n, vf_set(-0.693359375f), x);
	r = vf_fma(n, vf_set(2.12194440e-4f), r);
	vf p = vf_set(1.3888889e-3f);
	p = vf_fma(p, r, vf_set(8.3333333e-3f));
	p = vf_fma(p, r, vf_set(4.1666667e-2f));
	p = vf_fma(p, r, vf_set(1.6666667e-1f));
	p = vf_fma(p, r, vf_set(0.5f));
	p = vf_fma(p, r, vf_set(1.0f));
	p = vf_fma(p, r, vf_set(1.0f));
	return vf_mul(p, vf_power_of_two(n));
}

/* log(1 + t) for t in [0, 1] by 2 atanh(t / (2 + t)). */
LANE_CODE vf log_one_plus(vf t)
{
	vf s = vf_div(t, vf_add(t, vf_set(2.0f)));
	vf q = vf_mul(s, s);
	vf p = vf_set(2.0f / 15.0f);
	p = vf_fma(p, q, vf_set(2.0f / 13.0f));
	p = vf_fma(p, q, vf_set(2.0f / 11.0f));
	p = vf_fma(p, q, vf_set(2.0f / 9.0f));
	p = vf_fma(p, q, vf_set(2.0f / 7.0f));
	p = vf_fma(p, q, vf_set(2.0f / 5.0f));
	p = vf_fma(p, q, vf_set(2.0f / 3.0f));
	p = vf_fma(p, q, vf_set(2.0f));
	return vf_mul(p, s);
}

/* Per lane: the loss softplus(z) - y z and its derivative sigmoid(z) - y, both by exp(-|z|). A logit that
 * is not finite gives a loss that is not, however far the clamp reaches. */
LANE_CODE void cross_entropy(vf z, vf y, vf *loss, vf *derivative)
{
	vf size = vf_abs(z);
	vf capped = vf_where_positive(vf_sub(size, vf_set(87.0f)), vf_set(87.0f), size);
	vf t = exp_negative(vf_sub(vf_set(0.0f), capped));
	vf one = vf_set(1.0f);
	vf over = vf_div(one, vf_add(one, t));
	vf sigmoid = vf_where_positive(z, over, vf_mul(t, over));
	*loss = vf_add(vf_sub(vf_relu(z), vf_mul(y, z)), log_one_plus(t));
	*derivative = vf_sub(sigmoid, y);
}

/* Reads the logits out of column 0 of the last activations and puts their gradients back in their place. */
static void loss_and_gradient(struct train_block *train, float *last, size_t stride)
{
	const size_t count = train->block.count;
	float z[BLOCK_ROWS], y[BLOCK_ROWS], loss[BLOCK_ROWS], derivative[BLOCK_ROWS];
	size_t in_group = train->position % train->group;
	for (size_t s = 0; s < BLOCK_ROWS; s++) {
		z[s] = s < count ? last[s * stride] : 0.0f;
		y[s] = in_group == 0 ? 1.0f : 0.0f;
		in_group = in_group + 1 == train->group ? 0 : in_group + 1;
	}
	for (size_t s = 0; s < BLOCK_ROWS; s += LANES) {
		vf lane_loss, lane_derivative;
		cross_entropy(vf_load(z + s), vf_load(y + s), &lane_loss, &lane_derivative);
		vf_store(loss + s, lane_loss);
		vf_store(derivative + s, vf_mul(lane_derivative, vf_set(train->scale)));
	}
	double sum = 0.0;
	for (size_t s = 0; s < count; s++) {
		float weight = train->weights ? train->weights[s] : 1.0f;
		sum += (double)(loss[s] * weight);
		for (size_t n = 0; n < stride; n++)
			last[s * stride + n] = 0.0f;
		last[s * stride] = derivative[s] * weight;
	}
	train->loss = sum;
}

/* rng_block for LANES consecutive indices at once: words[w][lane] is word w of index first + lane. */
static void random_lanes(uint64_t seed, uint32_t stream, uint64_t first, uint32_t block, uint32_t words[4][LANES])
{
	uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
	for (size_t i = 0; i < LANES; i++) {
		words[0][i] = (uint32_t)(first + i);
		words[1][i] = (uint32_t)((first + i) >> 32);
		words[2][i] = block;
		words[3][i] = stream;
	}
	for (int round = 0; round < 10; round++, k0 += 0x9E3779B9u, k1 += 0xBB67AE85u)
		for (size_t i = 0; i < LANES; i++) {
			const uint64_t p = (uint64_t)0xD2511F53u * words[0][i], q = (uint64_t)0xCD9E8D57u * words[2][i];
			words[0][i] = (uint32_t)(q >> 32) ^ words[1][i] ^ k0;
			words[1][i] = (uint32_t)q;
			words[2][i] = (uint32_t)(p >> 32) ^ words[3][i] ^ k1;
			words[3][i] = (uint32_t)p;
		}
}

enum { UNITS_A_BLOCK = 8 }; /* 16 bits decide a unit: four words, two units each */

/* Inverted dropout: each activation is dropped or scaled by 1 / (1 - p), decided by 16 bits of
 * (seed, layer, the sample's position over all steps, unit). Padding is 0 and stays so. */
static void drop_activations(const struct tower *tower, const struct train_block *train, size_t layer, float *a,
                             size_t stride)
{
	const uint32_t threshold = (uint32_t)(tower->dropout * 65536.0);
	const float scale = 1.0f / (1.0f - (float)tower->dropout);
	const uint32_t stream = rng_stream(RNG_DROPOUT, (uint32_t)layer);
	const uint64_t index = (train->step << 24) + train->position;
	uint32_t words[4][LANES];
	for (size_t s = 0; s < train->block.count; s += LANES)
		for (size_t n = 0; n < stride; n += UNITS_A_BLOCK) {
			random_lanes(tower->seed, stream, index + s, (uint32_t)(n / UNITS_A_BLOCK), words);
			for (size_t i = 0; i < LANES; i++) {
				float *unit = a + (s + i) * stride + n;
				for (size_t w = 0; w < 4; w++) {
					unit[2 * w] *= (words[w][i] & 0xffffu) < threshold ? 0.0f : scale;
					unit[2 * w + 1] *= words[w][i] >> 16 < threshold ? 0.0f : scale;
				}
			}
		}
}

/* Gradients of activations that dropout kept carry its scale; those it dropped are masked as 0. */
static void scale_rows(float *a, size_t count, float scale)
{
	for (size_t i = 0; i < count; i++)
		a[i] *= scale;
}

/* Where the activations of each layer lie in a block's scratch. */
static void lay_out(const struct tower *tower, float *scratch, float *at[MODEL_LAYERS_MAX + 1])
{
	at[0] = scratch;
	scratch += BLOCK_ROWS * tower->padded;
	for (size_t l = 0; l < tower->layer_count; l++) {
		at[l + 1] = scratch;
		scratch += BLOCK_ROWS * tower->layers[l].outputs_padded;
	}
}

static void train_one_block(const struct tower *tower, struct train_block *train)
{
	float *at[MODEL_LAYERS_MAX + 1];
	const size_t count = train->block.count, rows = padded_to(count, TILE_ROWS), last = tower->layer_count;
	const bool drops = tower->dropout > 0.0;
	lay_out(tower, train->block.scratch, at);
	gather_first_layer(tower, &train->block, at[0]);
	if (drops)
		drop_activations(tower, train, 0, at[0], tower->padded);
	for (size_t l = 0; l < last; l++) {
		const struct dense_layer *layer = &tower->layers[l];
		forward_layer(l + 1 < last ? BIAS_RELU : BIAS_ONLY, at[l], rows, layer, at[l + 1]);
		if (drops && l + 1 < last)
			drop_activations(tower, train, l + 1, at[l + 1], layer->outputs_padded);
	}
	loss_and_gradient(train, at[last], tower->layers[last - 1].outputs_padded);
	for (size_t l = last; l-- > 0;) {
		const struct dense_layer *layer = &tower->layers[l];
		add_weight_gradient(at[l + 1], layer->outputs_padded, at[l], layer->inputs_padded, count, layer,
		                    train->gradient);
		add_bias_gradient(at[l + 1], count, layer->outputs_padded, train->gradient + layer->bias_at);
		float *out = l == 0 && rows == count ? train->z1_gradient : at[l];
		const struct product p = {
			.x = at[l + 1], .x_row = layer->outputs_padded, .x_step = 1, .y = layer->weight,
			.y_step = layer->inputs_padded, .depth = layer->outputs, .out = out,
			.out_row = layer->inputs_padded, .extra = at[l], .extra_row = layer->inputs_padded,
		};
		multiply(MASK_BY_POSITIVE, &p, rows, layer->inputs_padded);
		if (drops)
			scale_rows(out, count * layer->inputs_padded, 1.0f / (1.0f - (float)tower->dropout));
	}
	if (rows != count)
		memcpy(train->z1_gradient, at[0], count * tower->padded * sizeof(float));
}

static void score_one_block(const struct tower *tower, const struct block *block, float *logits)
{
	float *at[MODEL_LAYERS_MAX + 1];
	const size_t rows = padded_to(block->count, TILE_ROWS), last = tower->layer_count;
	lay_out(tower, block->scratch, at);
	gather_first_layer(tower, block, at[0]);
	for (size_t l = 0; l < last; l++)
		forward_layer(l + 1 < last ? BIAS_RELU : BIAS_ONLY, at[l], rows, &tower->layers[l], at[l + 1]);
	for (size_t s = 0; s < block->count; s++)
		logits[s] = at[last][s * tower->layers[last - 1].outputs_padded];
}

static void sum_rows(const float *rows, size_t stride, const uint32_t *index, size_t count, float *sum)
{
	for (size_t n = 0; n < stride; n += LANES) {
		vf total = vf_load(rows + index[0] * stride + n);
		for (size_t i = 1; i < count; i++)
			total = vf_add(total, vf_load(rows + index[i] * stride + n));
		vf_store(sum + n, total);
	}
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

extern const struct kernels JOIN(kernels_, KERNEL_ISA);
const struct kernels JOIN(kernels_, KERNEL_ISA) = {
	.name = TEXT(KERNEL_ISA),
	.project = project,
	.project_back = project_back,
	.train_block = train_one_block,
	.score_block = score_one_block,
	.sum_rows = sum_rows,
	.add = add,
	.adam = adam,
};
