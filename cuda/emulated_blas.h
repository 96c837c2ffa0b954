/* What tests set of the emulated products. */
#ifndef RECPIPE_CUDA_EMULATED_BLAS_H
#define RECPIPE_CUDA_EMULATED_BLAS_H

#include "blas.h"

struct emulated_blas_settings {
	bool missing;             /* as if there were no cuBLAS */
	size_t room;              /* floats: what blas_room says */
	uint64_t products;        /* so far; those of a graph count when they are recorded */
};
extern struct emulated_blas_settings emulated_blas_settings;

#endif
