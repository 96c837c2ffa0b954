/* Products of bfloat16 against a plain model of what the processor's tiles do: every bit, on every instruction set. */
#include <math.h>

#include "check.h"
#include "kernels.h"
#include "mem.h"
#include "rng.h"
#include "subnormal.h"

enum { ROWS_MAX = 48, WIDTH_MAX = 96 };

/* ---- the plain model ---- */

static float rounded(float a)
{
	uint32_t bits;
	if (a != a || fabsf(a) == INFINITY)
		return a;
	if (fabsf(a) < 0x1p-126f)
		return copysignf(0.0f, a);
	memcpy(&bits, &a, sizeof bits);
	const uint32_t low = bits & 0xffff;
	bits -= low;
	if (low > 0x8000 || (low == 0x8000 && (bits >> 16 & 1)))
		bits += 0x10000;
	memcpy(&a, &bits, sizeof bits);
	return a;
}

/* start + the sum over k of x[k * x_step] y[k * y_step], 32 at a time: even and odd positions apart. */
static float tile_sum(float start, const float *x, size_t x_step, const float *y, size_t y_step, size_t depth)
{
	for (size_t first = 0; first < depth; first += 32) {
		float sums[2] = {0.0f, 0.0f};
		for (size_t k = first; k < first + 32; k++) {
			const float a = k < depth ? rounded(x[k * x_step]) : 0.0f, b = k < depth ? rounded(y[k * y_step]) : 0.0f;
			sums[k % 2] = fmaf(a, b, sums[k % 2]);
		}
		start += sums[0] + sums[1];
	}
	return start;
}

/* ---- a layer ---- */

struct fixture {
	struct dense_layer layer;
	float weight[WIDTH_MAX * WIDTH_MAX], bias[WIDTH_MAX], x[ROWS_MAX * WIDTH_MAX], z[ROWS_MAX * WIDTH_MAX];
	float out[ROWS_MAX * WIDTH_MAX], back[ROWS_MAX * WIDTH_MAX], gradient[(WIDTH_MAX + 1) * WIDTH_MAX];
	float *prepared, *scratch;
	size_t rows;
};

/* Numbers of very different sizes, some of them subnormal. */
static void fill(struct rng *rng, float *values, size_t rows, size_t columns, size_t stride)
{
	for (size_t r = 0; r < rows; r++)
		for (size_t n = 0; n < stride; n++) {
			const double scale = n % 7 == 0 ? 0x1p-70 : n % 5 == 0 ? 0x1p12 : n % 11 == 10 ? 0x1p-130 : 1.0;
			values[r * stride + n] = n < columns ? (float)((rng_unit(rng) - 0.5) * scale) : 0.0f;
		}
}

static void fixture_init(struct fixture *f, size_t inputs, size_t outputs, size_t rows)
{
	struct rng rng;
	struct error error = {0};
	memset(f, 0, sizeof *f);
	rng_init(&rng, inputs * 1000 + outputs, rng_stream(RNG_TEST, 3), rows);
	f->rows = rows;
	f->layer = (struct dense_layer){
		.inputs = inputs, .outputs = outputs, .inputs_padded = padded_to(inputs, 16),
		.outputs_padded = padded_to(outputs, 16), .weight = f->weight, .bias = f->bias,
	};
	fill(&rng, f->weight, outputs, inputs, f->layer.inputs_padded);
	fill(&rng, f->bias, 1, outputs, f->layer.outputs_padded);
	fill(&rng, f->x, rows, inputs, f->layer.inputs_padded);
	fill(&rng, f->z, rows, outputs, f->layer.outputs_padded);
	f->prepared = mem_alloc_zero(4 * WIDTH_MAX * WIDTH_MAX, sizeof(float), &error);
	f->scratch = mem_alloc_zero(8 * (size_t)(TRAIN_LANES + WIDTH_MAX) * WIDTH_MAX, sizeof(float), &error);
	if (!f->prepared || !f->scratch)
		abort();
	f->layer.prepared = f->prepared;
}

static void fixture_release(struct fixture *f)
{
	mem_free(f->prepared);
	mem_free(f->scratch);
}

static void check_layer(const struct tower_kernels *kernels, struct fixture *f)
{
	const struct dense_layer *layer = &f->layer;
	const size_t in = layer->inputs_padded, out = layer->outputs_padded;
	size_t wrong = 0;
	for (size_t first = 0; first < layer->outputs; first += 16)
		kernels->prepare(layer, first, layer->outputs - first < 16 ? layer->outputs - first : 16, f->prepared);
	kernels->project(f->x, in, f->rows, layer, f->out, out, f->scratch);
	for (size_t r = 0; r < f->rows; r++)
		for (size_t o = 0; o < layer->outputs; o++)
			wrong += f->out[r * out + o] != tile_sum(f->bias[o], f->x + r * in, 1, f->weight + o * in, 1, layer->inputs);
	CHECK_EQUAL_U64(wrong, 0);
	for (size_t i = 0; i < COUNT_OF(f->gradient); i++)
		f->gradient[i] = (float)(i % 13);
	kernels->project_back(f->z, out, f->x, in, f->rows, layer, f->back, f->gradient, f->scratch);
	for (size_t o = 0; o < layer->outputs; o++)
		for (size_t k = 0; k < layer->inputs; k++)
			wrong += f->gradient[o * in + k] !=
			         tile_sum((float)((o * in + k) % 13), f->z + o, out, f->x + k, in, f->rows);
	CHECK_EQUAL_U64(wrong, 0);
	for (size_t i = layer->outputs * in; i < COUNT_OF(f->gradient); i++)
		wrong += f->gradient[i] != (float)(i % 13); /* somebody else's */
	CHECK_EQUAL_U64(wrong, 0);
	for (size_t r = 0; r < f->rows; r++)
		for (size_t k = 0; k < layer->inputs; k++)
			wrong += f->back[r * in + k] != tile_sum(0.0f, f->z + r * out, 1, f->weight + k, in, layer->outputs);
	CHECK_EQUAL_U64(wrong, 0);
}

static void check_kernels(const struct tower_kernels *kernels)
{
	static const size_t shapes[][3] = {{64, 64, 48}, {64, 32, 48}, {32, 16, 31}, {20, 7, 5}, {1, 1, 1},
	                                   {33, 17, 16}, {96, 48, 33}, {16, 96, 17}, {50, 40, 32}};
	static struct fixture f;
	const unsigned before = subnormal_flush();
	for (size_t s = 0; s < COUNT_OF(shapes); s++) {
		fixture_init(&f, shapes[s][0], shapes[s][1], shapes[s][2]);
		check_layer(kernels, &f);
		fixture_release(&f);
	}
	subnormal_restore(before);
}

static void check_isa(const char *name)
{
	struct error unavailable = {0};
	enum isa isa;
	if (isa_find(name, &isa, &unavailable) == 0)
		check_kernels(bf16_kernels_of(isa, false));
}

static void test_portable(void)
{
	check_isa("portable");
}

static void test_avx2(void)
{
	check_isa("avx2");
}

static void test_avx512(void)
{
	check_isa("avx512");
}

static void test_amx(void)
{
	check_kernels(bf16_kernels_of(ISA_AVX512, true));
}

int main(void)
{
	RUN(test_portable);
	RUN(test_avx2);
	RUN(test_avx512);
	if (amx_usable())
		RUN(test_amx);
	else
		SKIP("test_amx", "no AMX here");
	return check_done();
}
