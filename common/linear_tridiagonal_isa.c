/* Householder's reduction in double. Plain loops over whole rows, which the compiler vectorises across
 * columns: no sum is cut, nothing is fused, so every instruction set gives the same bits. */
#include "linear_tridiagonal.h"

#include <math.h>

#include "simd.h"

/* y[0..count) += factor * x[0..count) */
static void add_scaled(size_t count, double factor, const double *RESTRICT x, double *RESTRICT y)
{
	for (size_t j = 0; j < count; j++)
		y[j] += factor * x[j];
}

/* y -= a * u + b * v */
static void subtract_two(size_t count, double a, const double *RESTRICT u, double b, const double *RESTRICT v,
                         double *RESTRICT y)
{
	for (size_t j = 0; j < count; j++)
		y[j] -= a * u[j] + b * v[j];
}

static double dot(size_t count, const double *x, const double *y)
{
	double sum = 0;
	for (size_t j = 0; j < count; j++)
		sum += x[j] * y[j];
	return sum;
}

/* Makes the vector x its own Householder vector v: (1 - beta v v^T) x = (result, 0, …). Returns beta, 0 when
 * nothing is to be done. */
static double make_reflection(double *x, size_t count, double *result)
{
	const double rest = dot(count - 1, x + 1, x + 1), first = x[0];
	*result = first;
	if (!(rest > 0))
		return 0;
	const double norm = sqrt(first * first + rest);
	*result = first > 0 ? -norm : norm;
	x[0] = first - *result;
	return 2 / (x[0] * x[0] + rest);
}

/* The trailing matrix `a` (stride `size`, `count` rows) becomes H a H, H = 1 - beta v v^T. */
static void reflect_both(double *a, size_t size, size_t count, const double *v, double beta, double *w)
{
	memset(w, 0, count * sizeof *w);
	for (size_t i = 0; i < count; i++)
		add_scaled(count, beta * v[i], a + i * size, w);
	add_scaled(count, -(beta / 2) * dot(count, w, v), v, w);
	for (size_t i = 0; i < count; i++)
		subtract_two(count, v[i], w, w[i], v, a + i * size);
}

/* q (stride `size`, `count` rows and columns) becomes H q. */
static void reflect_left(double *q, size_t size, size_t count, const double *v, double beta, double *sums)
{
	memset(sums, 0, count * sizeof *sums);
	for (size_t i = 0; i < count; i++)
		add_scaled(count, v[i], q + i * size, sums);
	for (size_t i = 0; i < count; i++)
		add_scaled(count, -(beta * v[i]), sums, q + i * size);
}

/* Row k of `a`, right of the diagonal, keeps the vector of reflection k; scratch its beta. */
void JOIN(linear_tridiagonalize_, KERNEL_ISA)(double *a, size_t size, double *diagonal, double *off,
                                              double *basis, double *scratch)
{
	double *betas = scratch, *row = scratch + size;
	for (size_t k = 0; k < size; k++) {
		const size_t rest = size - k - 1;
		double *v = a + k * size + k + 1;
		diagonal[k] = a[k * size + k];
		off[k] = rest ? v[0] : 0;
		betas[k] = rest > 1 ? make_reflection(v, rest, &off[k]) : 0;
		if (betas[k] > 0)
			reflect_both(a + (k + 1) * (size + 1), size, rest, v, betas[k], row);
	}
	memset(basis, 0, size * size * sizeof *basis);
	for (size_t k = 0; k < size; k++)
		basis[k * size + k] = 1;
	for (size_t k = size; k-- > 0;)
		if (betas[k] > 0)
			reflect_left(basis + (k + 1) * (size + 1), size, size - k - 1, a + k * size + k + 1, betas[k], row);
}
