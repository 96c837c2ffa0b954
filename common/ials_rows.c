/* One row of a half sweep: n interactions with rows y of the fixed side, whose Gram matrix is G.
 *
 * It has to solve (unobserved G + c I + sum of y y^T) x = sum of y, c depending on n alone. G = Q T Q^T is
 * brought to tridiagonal form once for all rows (ials_solver.c); in the basis Q, where the rows are z = Q^T y,
 * the matrix is B + Z^T Z with B = unobserved T + c I tridiagonal. Then
 * - many interactions: B + Z^T Z is formed and factored (Cholesky);
 * - fewer than factors: with B = L L^T and W = L^-1 Z^T, by the identity of Woodbury
 *   x = B^-1 Z^T t, (I + W^T W) t = 1, a system as large as the row has interactions.
 * Which of the two depends on n and the factors alone. The objective is a by-product: a row's part, the sum of
 * (z.x - 1)^2 and x.Bx, is at the minimum n - (sum of z).x, which in the second form is the sum of t. */
#include "ials_solver.h"

#include <math.h>

/* B = unobserved T + penalty I = L L^T in double; rows of equal length come one after another and share it. */
static bool make_band(const struct ials_solver *solver, double penalty, struct linear_band *band)
{
	const size_t factors = solver->options.factors;
	const double unobserved = solver->options.unobserved;
	double below = 0, inverse_before = 0; /* l[k][k - 1], 1 / l[k - 1][k - 1] */
	for (size_t k = 0; k < band->width; k++) {
		const bool inside = k < factors;
		const double square = inside ? unobserved * solver->diagonal[k] + penalty - below * below : 1;
		if (!(square > 0))
			return false;
		const double inverse = 1 / sqrt(square);
		band->inverse[k] = (float)inverse;
		band->forward[k] = (float)(-below * inverse);
		if (k)
			band->backward[k - 1] = (float)(-below * inverse_before);
		below = inside ? unobserved * solver->off[k] * inverse : 0;
		inverse_before = inverse;
	}
	band->backward[band->width - 1] = 0;
	return true;
}

/* The short form. Returns whether the system could be solved; `part` receives the objective's. */
static bool solve_short(const struct ials_solver *solver, struct ials_worker *worker,
                        const struct linear_rows *rows, float *x, double *part)
{
	const struct linear *linear = solver->linear;
	const size_t width = linear_width(rows->count), stride = linear_stride(width);
	linear->whiten(rows, &worker->band, worker->gathered, stride);
	memset(worker->matrix, 0, width * stride * sizeof *worker->matrix);
	for (size_t i = 0; i < width; i++)
		worker->matrix[i * stride + i] = 1;
	for (size_t k = 0; k < rows->width; k += IALS_CHUNK)
		linear->add_gram(worker->gathered + k * stride, stride, ials_chunk(rows->width - k), width, worker->matrix,
		                 stride);
	if (!linear->factor(worker->matrix, stride, width, worker->inverse))
		return false;
	for (size_t i = 0; i < width; i++)
		worker->solution[i] = i < rows->count ? 1 : 0;
	linear->solve(worker->matrix, stride, width, worker->inverse, worker->solution);
	*part = 0;
	for (size_t i = 0; i < rows->count; i++)
		*part += (double)worker->solution[i];
	memset(x, 0, rows->width * sizeof *x);
	linear->add_rows(rows, worker->solution, x);
	linear->solve_band(&worker->band, x);
	return true;
}

/* B + Z^T Z, and in worker->right the sum of z. */
static void make_system(const struct ials_solver *solver, struct ials_worker *worker, double penalty,
                        const struct linear_rows *rows)
{
	const size_t stride = solver->stride, factors = solver->options.factors;
	const double unobserved = solver->options.unobserved;
	float *matrix = worker->matrix;
	memset(matrix, 0, rows->width * stride * sizeof *matrix);
	memset(worker->right, 0, rows->width * sizeof *worker->right);
	for (size_t k = 0; k < rows->width; k++) {
		matrix[k * stride + k] = k < factors ? (float)(unobserved * solver->diagonal[k] + penalty) : 1;
		if (k + 1 < factors)
			matrix[k * stride + k + 1] = (float)(unobserved * solver->off[k]);
	}
	for (size_t first = 0; first < rows->count; first += IALS_CHUNK) {
		struct linear_rows some = *rows;
		some.ids += first;
		some.count = ials_chunk(rows->count - first);
		for (size_t j = 0; j < some.count; j++)
			memcpy(worker->gathered + j * stride, rows->values + some.ids[j] * rows->stride,
			       rows->width * sizeof *matrix);
		solver->linear->add_gram(worker->gathered, stride, some.count, rows->width, matrix, stride);
		solver->linear->add_rows(&some, worker->ones, worker->right);
	}
}

/* Sum of (z . x - 1)^2 over the rows. */
static double residuals(const struct ials_solver *solver, struct ials_worker *worker,
                        const struct linear_rows *rows, const float *x)
{
	double sum = 0;
	for (size_t first = 0; first < rows->count; first += IALS_CHUNK) {
		struct linear_rows some = *rows;
		some.ids += first;
		some.count = ials_chunk(rows->count - first);
		solver->linear->dot_rows(&some, x, worker->right);
		for (size_t j = 0; j < some.count; j++)
			sum += ((double)worker->right[j] - 1) * ((double)worker->right[j] - 1);
	}
	return sum;
}

/* x . B x */
static double band_square(const struct ials_solver *solver, double penalty, const float *x)
{
	const double unobserved = solver->options.unobserved;
	double sum = 0, before = 0, off = 0;
	for (size_t k = 0; k < solver->options.factors; k++) {
		const double value = (double)x[k];
		sum += value * (value * (unobserved * solver->diagonal[k] + penalty) + before * (2 * unobserved * off));
		before = value;
		off = solver->off[k];
	}
	return sum;
}

static bool solve_long(const struct ials_solver *solver, struct ials_worker *worker, double penalty,
                       const struct linear_rows *rows, float *x, double *part)
{
	make_system(solver, worker, penalty, rows);
	if (!solver->linear->factor(worker->matrix, solver->stride, rows->width, worker->inverse))
		return false;
	memcpy(x, worker->right, rows->width * sizeof *x);
	solver->linear->solve(worker->matrix, solver->stride, rows->width, worker->inverse, x);
	*part = residuals(solver, worker, rows, x) + band_square(solver, penalty, x);
	return true;
}

bool ials_row_solve(const struct ials_solver *solver, struct ials_worker *worker, double penalty,
                    const struct linear_rows *rows, float *x, double *part)
{
	if (linear_width(rows->count) >= solver->width)
		return solve_long(solver, worker, penalty, rows, x, part);
	if (worker->band_count != rows->count) {
		worker->band_count = SIZE_MAX;
		if (!make_band(solver, penalty, &worker->band))
			return false;
		worker->band_count = rows->count;
	}
	return solve_short(solver, worker, rows, x, part);
}
