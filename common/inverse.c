/* Inversion by sweeping one block of columns after another (the block form of Gauss and Jordan's method, which
 * needs no pivoting for a positive definite matrix; in place and in one pass as in Bientinesi, Gunter & van de Geijn,
 * "Families of Algorithms Related to the Inversion of a Symmetric Positive Definite Matrix", ACM TOMS 2008). With D
 * the pivot block and P the columns under and left of it,
 *
 *     D <- -D^-1      P <- P D^-1      the rest <- the rest - (P D^-1) P^T
 *
 * and after the last block the matrix is minus its inverse: n³ operations, nearly all of them in the last product.
 * How the work is cut and in what order every element is summed follows from the order of the matrix alone; a BLAS
 * would choose by processor and threads. */
#include "inverse.h"

#include <math.h>

#include "inverse_kernels.h"
#include "mem.h"

enum { W = INVERSE_WIDTH };

static_assert(W % TILES_MULTIPLE == 0 && TILES_MULTIPLE % TILE_ROWS == 0 && TILES_MULTIPLE % TILE_COLUMNS == 0,
              "blocks are whole tiles");

static const double least_pivot = 1e-12; /* of the diagonal element it was */

extern const struct inverse_kernels inverse_kernels_avx512, inverse_kernels_avx2, inverse_kernels_portable;

static const struct inverse_kernels *const all_kernels[ISA_COUNT] = {
	[ISA_AVX512] = &inverse_kernels_avx512,
	[ISA_AVX2] = &inverse_kernels_avx2,
	[ISA_PORTABLE] = &inverse_kernels_portable,
};

/* ---- the matrix ---- */

static size_t in_tiles(size_t order)
{
	return (order + TILES_MULTIPLE - 1) / TILES_MULTIPLE * TILES_MULTIPLE;
}

/* Values kept of a matrix, SIZE_MAX when that or its bytes overflow. */
static size_t values_of(size_t order)
{
	if (order > (size_t)1 << 30)
		return SIZE_MAX;
	const size_t padded = in_tiles(order), whole = padded / W, rest = padded % W;
	return (size_t)W * W * (whole * (whole + 1) / 2) + rest * padded;
}

size_t symmetric_bytes(size_t order)
{
	const size_t values = values_of(order);
	return values > SIZE_MAX / 2 / sizeof(double) ? SIZE_MAX : values * sizeof(double);
}

size_t symmetric_scratch_bytes(size_t order)
{
	return order > (size_t)1 << 30 ? SIZE_MAX : (2 * in_tiles(order) + 3 * W) * W * sizeof(double);
}

int symmetric_init(struct symmetric *matrix, size_t order, struct error *error)
{
	const size_t padded = in_tiles(order);
	*matrix = (struct symmetric){.order = order, .padded = padded, .blocks = (padded + W - 1) / W};
	matrix->values = mem_alloc_zero(values_of(order), sizeof *matrix->values, error);
	return matrix->values ? 0 : -1;
}

void symmetric_release(struct symmetric *matrix)
{
	mem_free(matrix->values);
	*matrix = (struct symmetric){0};
}

void symmetric_expand(const struct symmetric *matrix, size_t begin, size_t end, double *rows, size_t stride)
{
	for (size_t row = begin; row < end; row++)
		memcpy(rows + (row - begin) * stride, symmetric_row(matrix, row), (row + 1) * sizeof *rows);
	for (size_t column = begin + 1; column < matrix->order; column++) {
		const double *from = symmetric_row(matrix, column);
		const size_t last = column < end ? column : end;
		for (size_t row = begin; row < last; row++)
			rows[(row - begin) * stride + column] = from[row];
	}
}

/* ---- a step: one pivot block ---- */

struct inversion {
	const struct symmetric *matrix;
	const struct inverse_kernels *kernels;
	size_t pivot;      /* number of the pivot block */
	size_t begin, width; /* its first column, its columns */
	double *block;     /* [W][W]: the pivot block, then minus its inverse */
	double *block_right; /* the same in right-hand tiles */
	double *left;      /* [padded / TILE_ROWS] tiles of depth W: -P D^-1 */
	double *right;     /* [padded / TILE_COLUMNS] tiles of depth W: P */
	double *least, *column; /* [padded], [W] */
};

static void load_pivot(const struct inversion *in)
{
	for (size_t i = 0; i < in->width; i++)
		memcpy(in->block + i * W, symmetric_row(in->matrix, in->begin + i) + in->begin, (i + 1) * sizeof(double));
}

/* Back into the matrix, and mirrored into right-hand tiles. */
static void store_pivot(const struct inversion *in)
{
	for (size_t i = 0; i < in->width; i++) {
		memcpy(symmetric_row(in->matrix, in->begin + i) + in->begin, in->block + i * W, (i + 1) * sizeof(double));
		for (size_t j = 0; j < in->width; j++)
			in->block_right[j / TILE_COLUMNS * TILE_COLUMNS * W + i * TILE_COLUMNS + j % TILE_COLUMNS] =
				j <= i ? in->block[i * W + j] : in->block[j * W + i];
	}
}

/* Element (row, begin + k) of the columns of the pivot block lies at column[row * by_row + k * by_k]. */
struct panel {
	double *at;
	size_t by_row, by_k;
};

static struct panel find_panel(const struct inversion *in, size_t row)
{
	double *at = symmetric_row(in->matrix, row / W > in->pivot ? row : in->begin);
	const size_t stride = symmetric_row_end(in->matrix, row / W > in->pivot ? row : in->begin);
	return row / W > in->pivot ? (struct panel){at + in->begin, stride, 1} : (struct panel){at + row, 1, stride};
}

/* Packs the panel's rows of one shard, multiplies them by -D^-1, and puts them back. */
static void scale_rows(void *context, size_t shard, size_t worker)
{
	const struct inversion *in = context;
	const size_t first = shard * TILES_MULTIPLE;
	double product[TILE_ROWS * W];
	(void)worker;
	if (first / W == in->pivot)
		return;
	const struct panel panel = find_panel(in, first);
	double *right = in->right + first * W;
	for (size_t i = 0; i < TILES_MULTIPLE; i++)
		for (size_t k = 0; k < in->width; k++)
			right[i / TILE_COLUMNS * TILE_COLUMNS * W + k * TILE_COLUMNS + i % TILE_COLUMNS] =
				panel.at[i * panel.by_row + k * panel.by_k];
	for (size_t i = 0; i < TILES_MULTIPLE; i += TILE_ROWS) {
		double *left = in->left + (first + i) * W;
		for (size_t k = 0; k < in->width; k++)
			for (size_t r = 0; r < TILE_ROWS; r++)
				left[k * TILE_ROWS + r] = panel.at[(i + r) * panel.by_row + k * panel.by_k];
		memset(product, 0, sizeof product);
		for (size_t j = 0; j < in->width; j += TILE_COLUMNS)
			in->kernels->add_product(left, in->block_right + j * W, in->width, product + j, W);
		for (size_t k = 0; k < in->width; k++)
			for (size_t r = 0; r < TILE_ROWS; r++) {
				left[k * TILE_ROWS + r] = product[r * W + k];
				panel.at[(i + r) * panel.by_row + k * panel.by_k] = -product[r * W + k];
			}
	}
}

static size_t rows_of_block(const struct symmetric *matrix, size_t block)
{
	return matrix->padded - block * W < W ? matrix->padded - block * W : W;
}

/* The shard'th block of the lower triangle without the pivot's row and column: the rest of it. */
static void update_block(void *context, size_t shard, size_t worker)
{
	const struct inversion *in = context;
	size_t i = (size_t)((sqrt(8 * (double)shard + 1) - 1) / 2);
	(void)worker;
	while (i * (i + 1) / 2 > shard)
		i--;
	while ((i + 1) * (i + 2) / 2 <= shard)
		i++;
	size_t j = shard - i * (i + 1) / 2;
	i += i >= in->pivot;
	j += j >= in->pivot;
	const size_t rows = rows_of_block(in->matrix, i), columns = rows_of_block(in->matrix, j);
	const size_t stride = symmetric_row_end(in->matrix, i * W);
	double *c = symmetric_row(in->matrix, i * W) + j * W;
	for (size_t x = 0; x < columns; x += TILE_COLUMNS)
		for (size_t y = 0; y < rows; y += TILE_ROWS)
			if (i != j || y + TILE_ROWS > x) /* tiles above the diagonal are nobody's */
				in->kernels->add_product(in->left + (i * W + y) * W, in->right + (j * W + x) * W, in->width,
				                         c + y * stride + x, stride);
}

static int sweep_block(struct inversion *in, struct pool *pool, struct error *error)
{
	in->begin = in->pivot * W;
	in->width = rows_of_block(in->matrix, in->pivot);
	load_pivot(in);
	const size_t done = in->kernels->sweep(in->block, in->width, in->least + in->begin, in->column);
	if (done < in->width)
		return error_set(error, CODE_DATA, "the matrix is not positive definite (row %zu of %zu)",
		                 in->begin + done + 1, in->matrix->order);
	store_pivot(in);
	pool_run(pool, in->matrix->padded / TILES_MULTIPLE, scale_rows, in);
	const size_t others = in->matrix->blocks - 1;
	pool_run(pool, others * (others + 1) / 2, update_block, in);
	return 0;
}

static void negate_row(void *context, size_t shard, size_t worker)
{
	const struct inversion *in = context;
	double *row = symmetric_row(in->matrix, shard);
	(void)worker;
	for (size_t j = 0; j <= shard; j++)
		row[j] = -row[j];
}

int symmetric_invert(struct symmetric *matrix, struct pool *pool, enum isa isa, struct progress *progress,
                     struct error *error)
{
	const size_t padded = matrix->padded;
	struct inversion in = {.matrix = matrix, .kernels = all_kernels[isa]};
	int result = -1;
	in.block = mem_alloc_zero((size_t)W * W, sizeof *in.block, error);
	in.block_right = mem_alloc((size_t)W * W, sizeof *in.block_right, error);
	in.left = mem_alloc(padded * W, sizeof *in.left, error);
	in.right = mem_alloc(padded * W, sizeof *in.right, error);
	in.least = mem_alloc(padded, sizeof *in.least, error);
	in.column = mem_alloc(W, sizeof *in.column, error);
	if (!in.block || !in.block_right || !in.left || !in.right || !in.least || !in.column)
		goto out;
	for (size_t i = matrix->order; i < padded; i++)
		symmetric_row(matrix, i)[i] = 1;
	for (size_t i = 0; i < padded; i++)
		in.least[i] = least_pivot * symmetric_row(matrix, i)[i];
	for (in.pivot = 0; in.pivot < matrix->blocks; in.pivot++) {
		if (sweep_block(&in, pool, error) < 0)
			goto out;
		if (progress)
			progress_update(progress, in.pivot + 1);
	}
	pool_run(pool, matrix->order, negate_row, &in);
	result = 0;
out:
	mem_free(in.block);
	mem_free(in.block_right);
	mem_free(in.left);
	mem_free(in.right);
	mem_free(in.least);
	mem_free(in.column);
	return result;
}
