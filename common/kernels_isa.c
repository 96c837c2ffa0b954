/* The kernels of one instruction set: compiled with KERNEL_ISA set to avx512, avx2 and portable.
 * The tower's products are those of simd_tile.h: forward, back to the inputs, weight gradients. */
#include "kernels.h"
#include "rng.h"
#include "simd.h"
#include "simd_tile.h"

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

/* Forward: the logits are added to, the activations stay in the block's scratch for the way back. */
static void train_forward(const struct tower *tower, const struct train_block *train, float *logits)
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
	const size_t stride = tower->layers[last - 1].outputs_padded;
	for (size_t s = 0; s < count; s++)
		logits[s] += at[last][s * stride];
}

/* The logits' gradients take the place of the last activations. */
static void start_back(const struct tower *tower, const float *derivatives, size_t count, float *last)
{
	const size_t stride = tower->layers[tower->layer_count - 1].outputs_padded;
	memset(last, 0, count * stride * sizeof(float));
	for (size_t s = 0; s < count; s++)
		last[s * stride] = derivatives[s];
}

static void train_backward(const struct tower *tower, const struct train_block *train, const float *derivatives)
{
	float *at[MODEL_LAYERS_MAX + 1];
	const size_t count = train->block.count, rows = padded_to(count, TILE_ROWS), last = tower->layer_count;
	lay_out(tower, train->block.scratch, at);
	start_back(tower, derivatives, count, at[last]);
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
		if (tower->dropout > 0.0)
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
	.train_forward = train_forward,
	.train_backward = train_backward,
	.score_block = score_one_block,
	.sum_rows = sum_rows,
	.add = add,
	.adam = adam,
};
