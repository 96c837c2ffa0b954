/* What one side of the first layer is per distinct row of a batch, for the kernels of any width (rows.cu) and those of wide.h. */
#ifndef RECPIPE_CUDA_ROWS_H
#define RECPIPE_CUDA_ROWS_H

#include "adam.h"

struct row_arguments {
	struct plan plan;
	const struct step *step;
	const uint32_t *rows;     /* ids, by slot; NULL: slots are ids */
	const uint32_t *count_at; /* how many; NULL: `count` */
	uint32_t count;
	struct table table;
	const float *from;        /* its rows, or those that were fetched */
	struct trained trained;
	const float *weight, *bias; /* of the half; the bias is the user's side's */
	uint32_t weight_stride, width;
	float *parts;
	/* Back */
	struct row_sums sums;
	float *dense_gradients;   /* dense Adam, or rows that were fetched: they go here, by id */
	bool with_bias;
};

#endif
