/* The blocked inverse against a plain one, and the same bits whatever computes it. */
#include "inverse.h"

#include "check.h"
#include "mem.h"

static const char *const isas[] = {"avx512", "avx2", "portable"};

/* A number in [-1, 1) from a counter. */
static double scrambled(uint64_t k)
{
	k = (k + 0x9e3779b97f4a7c15) * 0xbf58476d1ce4e5b9;
	k = (k ^ k >> 31) * 0x94d049bb133111eb;
	return (double)(k >> 11) * 0x1p-52 - 1;
}

/* X^T X + I of n vectors of 40 values: far from diagonal, and positive definite. */
static void fill(double *square, size_t n)
{
	enum { DEPTH = 40 };
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < n; j++) {
			double sum = i == j;
			for (size_t k = 0; k < DEPTH; k++)
				sum += scrambled(k * n + i) * scrambled(k * n + j);
			square[i * n + j] = sum;
		}
}

static void set_matrix(struct symmetric *matrix, const double *square)
{
	for (size_t i = 0; i < matrix->order; i++)
		memcpy(symmetric_row(matrix, i), square + i * matrix->order, (i + 1) * sizeof *square);
}

/* Gauss and Jordan, pivots from the diagonal. */
static void invert_plainly(double *a, size_t n)
{
	for (size_t k = 0; k < n; k++) {
		const double pivot = a[k * n + k];
		a[k * n + k] = 1;
		for (size_t j = 0; j < n; j++)
			a[k * n + j] /= pivot;
		for (size_t i = 0; i < n; i++) {
			const double factor = a[i * n + k];
			if (i == k)
				continue;
			a[i * n + k] = 0;
			for (size_t j = 0; j < n; j++)
				a[i * n + j] -= factor * a[k * n + j];
		}
	}
}

/* The inverse of `square` in full, or NULL where the instruction set is not there. */
static double *invert(const double *square, size_t n, const char *name, size_t threads)
{
	struct error error = {0};
	struct symmetric matrix;
	enum isa isa;
	if (isa_find(name, &isa, &error) < 0) {
		CHECK(error.code == CODE_UNAVAILABLE);
		return NULL;
	}
	struct pool *pool = pool_new(threads, &error);
	double *full = malloc(n * n * sizeof *full);
	CHECK(pool && full);
	CHECK_OK(symmetric_init(&matrix, n, &error), &error);
	CHECK(symmetric_bytes(n) >= matrix.padded * (matrix.padded + 1) / 2 * sizeof(double));
	set_matrix(&matrix, square);
	CHECK_OK(symmetric_invert(&matrix, pool, isa, NULL, &error), &error);
	symmetric_expand(&matrix, 0, n / 3, full, n);
	symmetric_expand(&matrix, n / 3, n, full + n / 3 * n, n);
	symmetric_release(&matrix);
	pool_free(pool);
	return full;
}

static void check_order(size_t n)
{
	double *square = malloc(n * n * sizeof *square), *plain = malloc(n * n * sizeof *plain);
	double largest = 0, *first = NULL;
	CHECK(square && plain);
	fill(square, n);
	memcpy(plain, square, n * n * sizeof *plain);
	invert_plainly(plain, n);
	for (size_t s = 0; s < COUNT_OF(isas); s++) {
		double *full = invert(square, n, isas[s], 1 + s);
		for (size_t i = 0; full && i < n * n; i++)
			largest = fmax(largest, fabs(full[i] - plain[i]));
		CHECK(!full || !first || memcmp(full, first, n * n * sizeof *full) == 0);
		if (!first)
			first = full;
		else
			free(full);
	}
	CHECK(largest < 1e-12);
	if (!(largest < 1e-12))
		printf("#   order %zu: differs by %g\n", n, largest);
	free(first);
	free(square);
	free(plain);
}

static void test_against_plain_elimination(void)
{
	static const size_t orders[] = {1, 2, 3, 15, 16, 17, 47, 48, 49, 63, 130, 239, 240, 241, 290};
	for (size_t i = 0; i < COUNT_OF(orders); i++)
		check_order(orders[i]);
}

/* Four block rows, the last of them narrow. */
static void test_the_same_bits_for_any_threads(void)
{
	enum { N = 3 * INVERSE_WIDTH + 20 };
	static const size_t threads[] = {2, 3, 8};
	double *square = malloc((size_t)N * N * sizeof *square);
	CHECK(square);
	fill(square, N);
	double *first = invert(square, N, "auto", 1);
	for (size_t t = 0; t < COUNT_OF(threads); t++) {
		double *again = invert(square, N, "auto", threads[t]);
		CHECK(first && again && memcmp(first, again, (size_t)N * N * sizeof *first) == 0);
		free(again);
	}
	/* The product with the matrix is the identity. */
	double largest = 0;
	for (size_t i = 0; first && i < N; i += 37)
		for (size_t j = 0; j < N; j++) {
			double sum = -(double)(i == j);
			for (size_t k = 0; k < N; k++)
				sum += first[i * N + k] * square[k * N + j];
			largest = fmax(largest, fabs(sum));
		}
	CHECK(largest < 1e-11);
	free(first);
	free(square);
}

/* Refused wherever the bad pivot stands. */
static void test_matrices_that_have_no_inverse(void)
{
	enum { N = 300 };
	static const struct {
		size_t row;
		double value; /* of the diagonal; elsewhere it is the identity */
	} cases[] = {{0, 0}, {0, -1}, {17, 0}, {239, -1e-9}, {240, 0}, {299, -4}, {299, NAN}};
	struct error error = {0};
	struct pool *pool = pool_new(1, &error);
	for (size_t c = 0; c < COUNT_OF(cases); c++) {
		struct symmetric matrix;
		char expected[64];
		CHECK_OK(symmetric_init(&matrix, N, &error), &error);
		for (size_t i = 0; i < N; i++)
			symmetric_row(&matrix, i)[i] = i == cases[c].row ? cases[c].value : 1;
		snprintf(expected, sizeof expected, "not positive definite (row %zu of 300)", cases[c].row + 1);
		CHECK(symmetric_invert(&matrix, pool, ISA_PORTABLE, NULL, &error) < 0);
		CHECK(error.code == CODE_DATA && strstr(error.message, expected));
		error = (struct error){0};
		symmetric_release(&matrix);
	}
	/* Two equal rows: the second's pivot is rounding alone. */
	struct symmetric twins;
	CHECK_OK(symmetric_init(&twins, 2, &error), &error);
	symmetric_row(&twins, 0)[0] = symmetric_row(&twins, 1)[0] = 1.0 / 3;
	symmetric_row(&twins, 1)[1] = 1.0 / 3 + 1e-16;
	CHECK(symmetric_invert(&twins, pool, ISA_PORTABLE, NULL, &error) < 0);
	symmetric_release(&twins);
	pool_free(pool);
}

static void test_sizes(void)
{
	struct error error = {0};
	struct symmetric matrix;
	CHECK(symmetric_bytes(20000) < (size_t)1700 << 20);
	CHECK(symmetric_bytes(20000) >= (size_t)20000 * 20001 / 2 * sizeof(double));
	CHECK(symmetric_bytes(SIZE_MAX / 2) == SIZE_MAX && symmetric_scratch_bytes(SIZE_MAX / 2) == SIZE_MAX);
	CHECK(symmetric_init(&matrix, SIZE_MAX / 2, &error) < 0);
	CHECK(error.code == CODE_SYSTEM);
	symmetric_release(&matrix);
}

int main(void)
{
	RUN(test_against_plain_elimination);
	RUN(test_the_same_bits_for_any_threads);
	RUN(test_matrices_that_have_no_inverse);
	RUN(test_sizes);
	return check_done();
}
