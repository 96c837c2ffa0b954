/* Products of matrices in global memory. blas.cu has them from cuBLAS, which it opens at run time; emulated_blas.c makes them
 * by plain loops.
 *
 * They go by STREAM_WORK, in order with its kernels, and may be recorded in a graph: all that a product needs is there when
 * blas_open has returned, but for the code of a shape, which older drivers cannot load while they record: so run every
 * product once before. */
#ifndef RECPIPE_CUDA_BLAS_H
#define RECPIPE_CUDA_BLAS_H

#include "device.h"

#ifdef __cplusplus
extern "C" {
#endif

struct blas;

/* c[rows][columns] = a b, or c + a b where it `adds`; matrices lie by rows, `stride` floats apart. a is [rows][inner], or,
 * where it is `turned`, [inner][rows]; b is [inner][columns], or [columns][inner]. */
struct blas_product {
	const float *a, *b;
	float *c;
	uint32_t a_stride, b_stride, c_stride;
	uint32_t rows, columns, inner; /* none of them 0 */
	bool a_turned, b_turned, adds;
	enum precision precision; /* fp32: IEEE's; others: operands are rounded, sums are single precision */
};

/* For a device that is open and the thread's, until blas_close. NULL on error: CODE_UNAVAILABLE with what is missing, or what
 * device_alloc says. */
MUST_CHECK struct blas *blas_open(struct device *device, struct error *error);
void blas_close(struct blas *blas); /* NULL is fine; before device_close, which frees the workspace, behind device_use */
const char *blas_name(const struct blas *blas); /* "cuBLAS 13.1.0" */

/* Errors are told by device_finish. */
void blas_multiply(struct device *device, struct blas *blas, const struct blas_product *product);

/* Floats that matrices of intermediate results should have at most, all together. */
size_t blas_room(void);

#ifdef __cplusplus
}
#endif
#endif
