/* Products in the place of cuBLAS's, for the emulated device: an element is one chain of multiplications and additions in
 * ascending order. Operands are rounded, ties to even: how cuBLAS rounds to tf32 it does not say. */
#include "emulated_blas.h"

#include "device_maths.h"

struct emulated_blas_settings emulated_blas_settings = {.room = (size_t)1 << 26};

struct blas {
	char name[32];
};

struct blas *blas_open(struct device *device, struct error *error)
{
	(void)device;
	if (emulated_blas_settings.missing) {
		cuda_error(error, CODE_UNAVAILABLE, "the plain tower needs cuBLAS, which is not here: the emulated one is missing");
		return NULL;
	}
	struct blas *blas = calloc(1, sizeof *blas);
	if (!blas) {
		cuda_error(error, CODE_SYSTEM, "out of memory: the emulated cuBLAS");
		return NULL;
	}
	snprintf(blas->name, sizeof blas->name, "cuBLAS, emulated");
	return blas;
}

void blas_close(struct blas *blas)
{
	free(blas);
}

const char *blas_name(const struct blas *blas)
{
	return blas->name;
}

/* To the nearest number, ties to even, of `bits` less in the mantissa. */
static float rounded(float value, unsigned bits)
{
	const uint32_t word = bits_of_float(value), half = (UINT32_C(1) << bits >> 1) - 1 + (word >> bits & 1);
	return bits == 0 || value != value ? value : float_of_bits((word + half) >> bits << bits);
}

/* Bits that a precision's operands lose, of 23. */
static unsigned lost_bits(enum precision precision)
{
	return precision == PRECISION_BF16 ? 16 : precision == PRECISION_TF32 ? 13 : 0;
}

KERNEL(multiply, struct blas_product)
{
	const unsigned bits = lost_bits(a.precision);
	const size_t a_step = a.a_turned ? a.a_stride : 1, b_step = a.b_turned ? 1 : a.b_stride;
	EACH_THREAD(t) {
		for (size_t i = (size_t)BLOCK * THREADS + t; i < (size_t)a.rows * a.columns; i += (size_t)BLOCKS * THREADS) {
			const size_t r = i / a.columns, c = i % a.columns;
			const float *x = a.a + (a.a_turned ? r : r * a.a_stride), *y = a.b + (a.b_turned ? c * a.b_stride : c);
			float *const to = a.c + r * a.c_stride + c;
			float sum = a.adds ? *to : 0.0f;
			for (uint32_t k = 0; k < a.inner; k++, x += a_step, y += b_step)
				sum += rounded(*x, bits) * rounded(*y, bits);
			*to = sum;
		}
	}
}

void blas_multiply(struct device *device, struct blas *blas, const struct blas_product *product)
{
	(void)blas;
	if (product->rows == 0 || product->columns == 0 || product->inner == 0)
		cuda_error(&device->failure, CODE_BUG, "a product of %u x %u x %u", product->rows, product->inner, product->columns);
	LAUNCH(device, STREAM_WORK, multiply, 4, 0, *product);
	emulated_blas_settings.products++;
}

size_t blas_room(void)
{
	return emulated_blas_settings.room;
}
