/* The tower 256-128-64-1 behind a first layer of 256 units (NeuMF's of the NCF benchmarks) in bf16, with widths known when
 * its kernels are compiled: wide_train.cu, wide_score.cu, wide_rows.cu. Chosen by shape; every other tower goes as tower.cu or plain.cu has it. */
#ifndef RECPIPE_CUDA_WIDE_H
#define RECPIPE_CUDA_WIDE_H

#include "rows.h"
#include "tower.h"

enum {
	WIDE_0 = 256, WIDE_1 = 128, WIDE_2 = 64, /* units of the first three layers; the last one has one */
	WIDE_ROW = 128,           /* of an embedding: the first layer's halves */
};

/* tower.cu's shape, precision and options allow it. `trains`: with gradients. */
bool cuda_goes_wide(const struct backend_state *state, bool trains);
/* How a tile of it lies, for cuda_plan_tower. */
MUST_CHECK int cuda_plan_wide(struct backend_state *state, bool trains, size_t gradient, struct error *error);
void cuda_wide_train(struct backend_state *state, const struct tower_arguments *a);
void cuda_wide_score(struct backend_state *state, const struct tower_arguments *a);

/* The same of a side's half of the first layer: rows.cu's cuda_project, and, with gradients, its cuda_step_rows. */
bool cuda_rows_go_wide(const struct backend_state *state, enum side_name which, bool trains);
MUST_CHECK int cuda_plan_wide_rows(struct backend_state *state, enum side_name which, bool trains, struct error *error);
void cuda_wide_project(struct backend_state *state, const struct row_arguments *a, uint32_t blocks);
void cuda_wide_step_rows(struct backend_state *state, const struct row_arguments *a);

#endif
