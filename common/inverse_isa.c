/* The kernels of symmetric_invert. Lanes run over columns, never inside a sum, so tile shapes may differ between
 * instruction sets while every element stays the same chain of operations. */
#include "inverse.h"
#include "inverse_kernels.h"
#include "simd.h"

/* What stays in registers: 24 of 32 with AVX-512, 12 of 16 with AVX2 (a lane vector is two of them there). */
#if defined(KERNEL_ISA_avx512)
enum { ROWS = 12, VECTORS = 2 };
#elif defined(KERNEL_ISA_avx2)
enum { ROWS = 6, VECTORS = 1 };
#else
enum { ROWS = 2, VECTORS = 1 };
#endif

LANE_CODE void add_tile(const double *left, const double *right, size_t depth, double *c, size_t stride)
{
	vd sum[ROWS][VECTORS];
#pragma GCC unroll 12
	for (int i = 0; i < ROWS; i++)
#pragma GCC unroll 2
		for (int v = 0; v < VECTORS; v++)
			sum[i][v] = vd_set(0);
	for (size_t k = 0; k < depth; k++, left += TILE_ROWS, right += TILE_COLUMNS) {
		vd across[VECTORS];
#pragma GCC unroll 2
		for (int v = 0; v < VECTORS; v++)
			across[v] = vd_load(right + DOUBLE_LANES * v);
#pragma GCC unroll 12
		for (int i = 0; i < ROWS; i++) {
			const vd factor = vd_set(left[i]);
#pragma GCC unroll 2
			for (int v = 0; v < VECTORS; v++)
				sum[i][v] = vd_fma(factor, across[v], sum[i][v]);
		}
	}
#pragma GCC unroll 12
	for (int i = 0; i < ROWS; i++)
#pragma GCC unroll 2
		for (int v = 0; v < VECTORS; v++) {
			double *to = c + (size_t)i * stride + DOUBLE_LANES * v;
			vd_store(to, vd_add(vd_load(to), sum[i][v]));
		}
}

static void add_product(const double *left, const double *right, size_t depth, double *c, size_t stride)
{
	for (size_t i = 0; i < TILE_ROWS; i++) { /* they come from memory while the sums are made */
		__builtin_prefetch(c + i * stride, 1);
		__builtin_prefetch(c + i * stride + TILE_COLUMNS / 2, 1);
	}
	for (size_t i = 0; i < TILE_ROWS; i += ROWS)
		for (size_t j = 0; j < TILE_COLUMNS; j += DOUBLE_LANES * VECTORS)
			add_tile(left + i, right + j, depth, c + i * stride + j, stride);
}

/* One pivot: d -= column column^T / pivot, but for the pivot's own row and column, which become column / pivot and
 * -1 / pivot (the sweep operator: Goodnight, "A Tutorial on the SWEEP Operator", 1979). */
static void sweep_one(double *d, size_t width, size_t pivot, double *column)
{
	const size_t stride = INVERSE_WIDTH;
	const double inverse = 1 / d[pivot * stride + pivot];
	for (size_t j = 0; j < pivot; j++)
		column[j] = d[pivot * stride + j];
	for (size_t i = pivot; i < width; i++)
		column[i] = d[i * stride + pivot];
	for (size_t i = 0; i < width; i++) {
		const vd factor = vd_set(-(column[i] * inverse));
		for (size_t j = 0; j <= i; j += DOUBLE_LANES) /* what it writes above the diagonal is never read */
			vd_store(d + i * stride + j, vd_fma(factor, vd_load(column + j), vd_load(d + i * stride + j)));
	}
	for (size_t j = 0; j < pivot; j++)
		d[pivot * stride + j] = column[j] * inverse;
	for (size_t i = pivot + 1; i < width; i++)
		d[i * stride + pivot] = column[i] * inverse;
	d[pivot * stride + pivot] = -inverse;
}

static size_t sweep(double *d, size_t width, const double *least, double *column)
{
	for (size_t k = 0; k < width; k++) {
		if (!(d[k * INVERSE_WIDTH + k] > least[k]))
			return k;
		sweep_one(d, width, k, column);
	}
	return width;
}

extern const struct inverse_kernels JOIN(inverse_kernels_, KERNEL_ISA);
const struct inverse_kernels JOIN(inverse_kernels_, KERNEL_ISA) = {add_product, sweep};
