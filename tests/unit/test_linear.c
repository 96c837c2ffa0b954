/* The linear algebra of every instruction set against plain loops in double, and in bytes against one another. */
#include "check.h"
#include "linear.h"
#include "mem.h"
#include "rng.h"

enum { ROWS = 40, PICKED = 21 };

static const size_t widths[] = {16, 32, 48, 80, 144};
static const char *const isas[] = {"avx512", "avx2", "portable"};

static void *array(size_t count, size_t size)
{
	struct error error = {0};
	void *values = mem_alloc_zero(count, size, &error);
	if (!values)
		abort();
	return values;
}

static float *random_values(uint64_t index, size_t count)
{
	struct rng rng;
	float *values = array(count, sizeof *values);
	rng_init(&rng, 7, rng_stream(RNG_TEST, 0), index);
	for (size_t i = 0; i < count; i++)
		values[i] = (float)rng_normal(&rng);
	return values;
}

static double largest(const float *values, size_t count)
{
	double most = 0;
	for (size_t i = 0; i < count; i++)
		most = fmax(most, fabs((double)values[i]));
	return most;
}

/* Everything a function writes goes through here: the same bytes as the instruction set before it. */
struct witness {
	float *values;
	size_t count, room;
};

static struct witness first_witness;
static size_t witnessed;

static void witness(const struct linear *linear, const float *values, size_t count)
{
	if (witnessed + count > first_witness.room) {
		first_witness.room = 2 * (witnessed + count);
		first_witness.values = realloc(first_witness.values, first_witness.room * sizeof *values);
		if (!first_witness.values)
			abort();
	}
	if (witnessed + count > first_witness.count) {
		memcpy(first_witness.values + witnessed, values, count * sizeof *values);
		first_witness.count = witnessed + count;
	} else {
		check_that(memcmp(first_witness.values + witnessed, values, count * sizeof *values) == 0, linear->name,
		           __FILE__, __LINE__);
	}
	witnessed += count;
}

/* Runs `body` on every instruction set this machine has, the same bytes expected of each. */
static void on_each(void (*body)(const struct linear *linear, size_t width))
{
	first_witness.count = 0;
	for (size_t i = 0; i < COUNT_OF(isas); i++) {
		struct error error = {0};
		const struct linear *linear = linear_find(isas[i], &error);
		if (!linear) {
			printf("# %s: not on this machine\n", isas[i]);
			continue;
		}
		witnessed = 0;
		for (size_t w = 0; w < COUNT_OF(widths); w++)
			body(linear, widths[w]);
		CHECK(witnessed > 0);
		CHECK_EQUAL_U64(witnessed, first_witness.count);
	}
}

/* The upper triangle, for what lies below is anything. */
static void witness_upper(const struct linear *linear, const float *upper, size_t stride, size_t width)
{
	for (size_t i = 0; i < width; i++)
		witness(linear, upper + i * stride + i, width - i);
}

static void check_gram(const struct linear *linear, size_t width)
{
	const size_t stride = linear_stride(width), counts[] = {0, 1, 5, ROWS};
	float *x = random_values(width, ROWS * stride);
	for (size_t c = 0; c < COUNT_OF(counts); c++) {
		float *upper = random_values(1000 + width, width * stride);
		float *before = random_values(1000 + width, width * stride);
		linear->add_gram(x, stride, counts[c], width, upper, stride);
		for (size_t i = 0; i < width; i++)
			for (size_t j = i; j < width; j++) {
				double sum = (double)before[i * stride + j];
				for (size_t r = 0; r < counts[c]; r++)
					sum += (double)x[r * stride + i] * (double)x[r * stride + j];
				CHECK_CLOSE((double)upper[i * stride + j], sum, 2e-5);
			}
		witness_upper(linear, upper, stride, width);
		mem_free(upper);
		mem_free(before);
	}
	mem_free(x);
}

static void test_gram(void)
{
	on_each(check_gram);
}

static void check_multiply(const struct linear *linear, size_t width)
{
	const size_t rows = 32, depths[] = {0, 1, 19, 64}, x_stride = 64, stride = linear_stride(width);
	float *x = random_values(1, rows * x_stride), *y = random_values(2, 64 * stride);
	for (size_t d = 0; d < COUNT_OF(depths); d++) {
		float *out = random_values(3, rows * stride);
		linear->multiply(x, x_stride, rows, y, stride, depths[d], out, stride, width);
		for (size_t m = 0; m < rows; m++)
			for (size_t n = 0; n < width; n++) {
				double sum = 0;
				for (size_t r = 0; r < depths[d]; r++)
					sum += (double)x[m * x_stride + r] * (double)y[r * stride + n];
				CHECK_CLOSE((double)out[m * stride + n], sum, 2e-5);
			}
		witness(linear, out, rows * stride); /* the padding was left alone */
		mem_free(out);
	}
	mem_free(x);
	mem_free(y);
}

static void test_multiply(void)
{
	on_each(check_multiply);
}

/* PICKED of ROWS rows, in no order, one twice. */
static struct linear_rows picked_rows(size_t width, size_t count)
{
	static uint32_t ids[PICKED];
	for (size_t j = 0; j < PICKED; j++)
		ids[j] = (uint32_t)(j * 11 % ROWS);
	ids[PICKED - 1] = ids[0];
	return (struct linear_rows){.values = random_values(width, ROWS * width), .stride = width, .width = width,
	                            .ids = ids, .count = count};
}

static void check_rows_by_number(const struct linear *linear, size_t width)
{
	static const size_t counts[] = {0, 1, 15, 16, PICKED};
	for (size_t c = 0; c < COUNT_OF(counts); c++) {
		const struct linear_rows rows = picked_rows(width, counts[c]);
		float *weights = random_values(5, PICKED), dots[32];
		float *out = random_values(6, width), *before = random_values(6, width);
		linear->add_rows(&rows, weights, out);
		for (size_t k = 0; k < width; k++) {
			double sum = (double)before[k];
			for (size_t j = 0; j < counts[c]; j++)
				sum += (double)weights[j] * (double)rows.values[rows.ids[j] * width + k];
			CHECK_CLOSE((double)out[k], sum, 1e-5);
		}
		witness(linear, out, width);
		mem_free(weights);
		weights = random_values(9, width);
		linear->dot_rows(&rows, weights, dots);
		for (size_t j = 0; j < (counts[c] + 15) / 16 * 16; j++) {
			double sum = 0;
			for (size_t k = 0; j < counts[c] && k < width; k++)
				sum += (double)weights[k] * (double)rows.values[rows.ids[j] * width + k];
			CHECK_CLOSE((double)dots[j], sum, 1e-5);
		}
		witness(linear, dots, (counts[c] + 15) / 16 * 16);
		mem_free(weights);
		mem_free(out);
		mem_free(before);
		mem_free((void *)rows.values);
	}
}

static void test_rows_by_number(void)
{
	on_each(check_rows_by_number);
}

/* B = L L^T with l[k][k] = 1 + k % 3, l[k][k - 1] = 0.5 + k % 2, over `size` rows, padded to width. */
static double diagonal_of(size_t k)
{
	return 1 + (double)(k % 3);
}

static double below_of(size_t k)
{
	return k ? 0.5 + (double)(k % 2) : 0;
}

static struct linear_band band_of(size_t size, size_t width)
{
	const struct linear_band band = {.width = width, .inverse = array(width, sizeof(float)),
	                                 .forward = array(width, sizeof(float)),
	                                 .backward = array(width, sizeof(float))};
	for (size_t k = 0; k < width; k++) {
		const bool inside = k < size;
		band.inverse[k] = inside ? (float)(1 / diagonal_of(k)) : 1;
		band.forward[k] = inside ? (float)(-below_of(k) / diagonal_of(k)) : 0;
		band.backward[k] = k + 1 < size ? (float)(-below_of(k + 1) / diagonal_of(k)) : 0;
	}
	return band;
}

static void check_band(const struct linear *linear, size_t width)
{
	const size_t size = width - 3, stride = linear_stride(32);
	const struct linear_band band = band_of(size, width);
	const struct linear_rows rows = picked_rows(width, PICKED);
	float *out = array(width * stride, sizeof *out);
	float *x = random_values(8, width), *given = random_values(8, width);
	linear->whiten(&rows, &band, out, stride);
	for (size_t j = 0; j < 32; j++)
		for (size_t k = 0; k < width; k++) { /* L times the result is the row */
			double sum = (double)out[k * stride + j];
			if (k < size)
				sum = diagonal_of(k) * sum + (k ? below_of(k) * (double)out[(k - 1) * stride + j] : 0);
			CHECK_CLOSE(sum, j < PICKED ? (double)rows.values[rows.ids[j] * width + k] : 0, 1e-5);
		}
	for (size_t k = 0; k < width; k++)
		witness(linear, out + k * stride, 32);
	for (size_t k = size; k < width; k++)
		x[k] = given[k] = 0;
	linear->solve_band(&band, x);
	const double scale = fmax(1, largest(x, width));
	for (size_t k = 0; k < size; k++) { /* B times the result is what was given */
		double sum = (diagonal_of(k) * diagonal_of(k) + below_of(k) * below_of(k)) * (double)x[k];
		if (k)
			sum += below_of(k) * diagonal_of(k - 1) * (double)x[k - 1];
		if (k + 1 < size)
			sum += below_of(k + 1) * diagonal_of(k) * (double)x[k + 1];
		CHECK_CLOSE(sum, (double)given[k], 2e-5 * scale);
	}
	witness(linear, x, width);
	mem_free(band.inverse);
	mem_free(band.forward);
	mem_free(band.backward);
	mem_free(out);
	mem_free(x);
	mem_free(given);
	mem_free((void *)rows.values);
}

static void test_band(void)
{
	on_each(check_band);
}

/* A positive definite matrix, its lower triangle poisoned. */
static float *definite(size_t width, size_t stride)
{
	float *x = random_values(width, 2 * width * width), *a = array(width * stride, sizeof *a);
	for (size_t i = 0; i < width; i++)
		for (size_t j = 0; j < width; j++) {
			double sum = i == j;
			for (size_t r = 0; r < 2 * width; r++)
				sum += (double)x[r * width + i] * (double)x[r * width + j];
			a[i * stride + j] = j < i ? NAN : (float)sum;
		}
	mem_free(x);
	return a;
}

static void check_cholesky(const struct linear *linear, size_t width)
{
	const size_t stride = linear_stride(width);
	float *a = definite(width, stride), *u = definite(width, stride);
	float *inverse = array(width, sizeof *inverse), *x = random_values(4, width), *b = random_values(4, width);
	CHECK(linear->factor(u, stride, width, inverse));
	for (size_t i = 0; i < width; i++)
		for (size_t j = i; j < width; j++) {
			double sum = 0;
			for (size_t r = 0; r <= i; r++)
				sum += (double)u[r * stride + i] * (double)u[r * stride + j];
			CHECK_CLOSE(sum, (double)a[i * stride + j], 1e-6 * (double)a[i * stride + i] + 1e-4);
		}
	witness_upper(linear, u, stride, width);
	linear->solve(u, stride, width, inverse, x);
	const double scale = (double)width * largest(x, width);
	for (size_t i = 0; i < width; i++) {
		double sum = 0;
		for (size_t j = 0; j < width; j++)
			sum += (double)(j < i ? a[j * stride + i] : a[i * stride + j]) * (double)x[j];
		CHECK_CLOSE(sum, (double)b[i], 1e-4 * fmax(1, scale));
	}
	witness(linear, x, width);
	/* A pivot at 0, and one that is no number, somewhere in the last block. */
	const float bad[] = {0, -1, NAN};
	for (size_t i = 0; i < COUNT_OF(bad); i++) {
		const size_t at = width - 5;
		memset(u, 0, width * stride * sizeof *u);
		for (size_t k = 0; k < width; k++)
			u[k * stride + k] = 4;
		CHECK(linear->factor(u, stride, width, inverse));
		CHECK_CLOSE((double)u[at * stride + at], 2, 0);
		for (size_t k = 0; k < width; k++)
			u[k * stride + k] = k == at ? bad[i] : 4;
		CHECK(!linear->factor(u, stride, width, inverse));
	}
	mem_free(a);
	mem_free(u);
	mem_free(inverse);
	mem_free(x);
	mem_free(b);
}

static void test_cholesky(void)
{
	on_each(check_cholesky);
}

/* Random symmetric matrices; of rank 1; diagonal already. */
static double entry_of(size_t kind, const float *values, size_t size, size_t i, size_t j)
{
	const size_t low = i < j ? i : j, high = i < j ? j : i;
	if (kind == 0)
		return (double)values[low * size + high];
	if (kind == 1)
		return (double)values[i] * (double)values[j];
	return i == j ? (double)values[i] : 0;
}

static void check_tridiagonal_of(const struct linear *linear, size_t size, size_t kind)
{
	float *values = random_values(size, size * size);
	double *a = array(size * size, sizeof *a), *q = array(size * size, sizeof *q);
	double *scratch = array(2 * size, sizeof *a);
	double *diagonal = array(size, sizeof *a), *off = array(size, sizeof *a);
	for (size_t i = 0; i < size * size; i++)
		a[i] = entry_of(kind, values, size, i / size, i % size);
	linear->tridiagonalize(a, size, diagonal, off, q, scratch);
	CHECK_CLOSE(off[size - 1], 0, 0);
	for (size_t i = 0; i < size; i++)
		for (size_t j = 0; j < size; j++) {
			double product = 0, unit = 0; /* Q T Q^T, Q Q^T */
			for (size_t k = 0; k < size; k++) {
				const double before = k ? off[k - 1] * q[j * size + k - 1] : 0;
				const double after = k + 1 < size ? off[k] * q[j * size + k + 1] : 0;
				product += q[i * size + k] * (before + diagonal[k] * q[j * size + k] + after);
				unit += q[i * size + k] * q[j * size + k];
			}
			CHECK_CLOSE(unit, i == j, 1e-13);
			CHECK_CLOSE(product, entry_of(kind, values, size, i, j), 1e-12 * (double)(size + 1));
		}
	witness(linear, (const float *)diagonal, 2 * size);
	witness(linear, (const float *)off, 2 * size);
	witness(linear, (const float *)q, 2 * size * size);
	mem_free(values);
	mem_free(a);
	mem_free(q);
	mem_free(scratch);
	mem_free(diagonal);
	mem_free(off);
}

static void check_tridiagonal(const struct linear *linear, size_t width)
{
	if (width == 16)
		for (size_t size = 1; size < 6; size++)
			for (size_t kind = 0; kind < 3; kind++)
				check_tridiagonal_of(linear, size, kind);
	for (size_t kind = 0; kind < 3; kind++)
		check_tridiagonal_of(linear, width - 3, kind);
}

static void test_tridiagonal(void)
{
	on_each(check_tridiagonal);
}

static void test_unknown_isa(void)
{
	struct error error = {0};
	CHECK(linear_find("abacus", &error) == NULL);
	CHECK_EQUAL_U64(error.code, CODE_USAGE);
}

int main(void)
{
	RUN(test_gram);
	RUN(test_multiply);
	RUN(test_rows_by_number);
	RUN(test_band);
	RUN(test_cholesky);
	RUN(test_tridiagonal);
	RUN(test_unknown_isa);
	free(first_witness.values);
	return check_done();
}
