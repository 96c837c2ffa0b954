/* See blend_kernels.h. Plain loops over neighbours, which the compiler puts into vectors. */
#include "blend_kernels.h"
#include "simd.h"

static void find_scores(const float *restrict values, const float *restrict popular, size_t count, size_t signals,
                        const double *restrict weights, const double *restrict by_popular, double *restrict scores)
{
	memset(scores, 0, count * sizeof *scores);
	for (size_t s = 0; s < signals; s++)
		for (size_t c = 0; c < count; c++)
			scores[c] += (double)values[s * count + c] * (weights[s] + by_popular[s] * (double)popular[c]);
}

static void fill_rows(const float *restrict values, const float *restrict popular, size_t count, size_t signals,
                      size_t width, double *restrict rows)
{
	for (size_t c = 0; c < count; c++) {
		double *row = rows + c * width;
		for (size_t s = 0; s < signals; s++) {
			row[s] = (double)values[s * count + c];
			row[signals + s] = row[s] * (double)popular[c];
		}
		for (size_t k = 2 * signals; k < width; k++)
			row[k] = 0;
	}
}

static void centre_rows(double *restrict rows, const double *restrict shares, size_t count, size_t width,
                        double *restrict mean)
{
	memset(mean, 0, width * sizeof *mean);
	for (size_t c = 0; c < count; c++)
		for (size_t k = 0; k < width; k++)
			mean[k] += shares[c] * rows[c * width + k];
	for (size_t c = 0; c < count; c++)
		for (size_t k = 0; k < width; k++)
			rows[c * width + k] -= mean[k];
}

/* A register of doubles. */
#if defined(KERNEL_ISA_avx512)
enum { DOUBLES_A_REGISTER = 8 };
#elif defined(KERNEL_ISA_avx2)
enum { DOUBLES_A_REGISTER = 4 };
#else
enum { DOUBLES_A_REGISTER = 2 };
#endif
typedef double doubles __attribute__((vector_size(DOUBLES_A_REGISTER * sizeof(double))));

/* A tile of TILE rows and DOUBLES_A_REGISTER columns of the matrix stays in registers over all candidates. */
enum { TILE = 4 };

static_assert(BLEND_PAD % DOUBLES_A_REGISTER == 0 && BLEND_PAD % TILE == 0, "tiles cover the matrix");

static void find_tile(const double *restrict rows, const double *restrict shares, size_t count, size_t width, size_t i,
                      size_t j, double *restrict second)
{
	doubles s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0};
	for (size_t c = 0; c < count; c++) {
		const double *row = rows + c * width;
		doubles columns;
		memcpy(&columns, row + j, sizeof columns);
		s0 += (shares[c] * row[i]) * columns;
		s1 += (shares[c] * row[i + 1]) * columns;
		s2 += (shares[c] * row[i + 2]) * columns;
		s3 += (shares[c] * row[i + 3]) * columns;
	}
	const doubles sums[TILE] = {s0, s1, s2, s3};
	for (size_t a = 0; a < TILE; a++)
		memcpy(second + (i + a) * width + j, &sums[a], sizeof sums[a]);
}

static void find_products(const double *rows, const double *shares, size_t count, size_t width, double *second)
{
	for (size_t i = 0; i < width; i += TILE)
		for (size_t j = 0; j < i + TILE; j += DOUBLES_A_REGISTER)
			find_tile(rows, shares, count, width, i, j, second);
	for (size_t i = 0; i < width; i++)
		for (size_t j = i + 1; j < width; j++)
			second[i * width + j] = second[j * width + i];
}

extern const struct blend_kernels JOIN(blend_kernels_, KERNEL_ISA);
const struct blend_kernels JOIN(blend_kernels_, KERNEL_ISA) = {find_scores, fill_rows, centre_rows, find_products};
