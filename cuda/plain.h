/* The tower as products of whole matrices: what tower.cu does in tiles, for layers that are too wide for those, and as a
 * check of it. plain_plan.cu chooses between the two and has the memory, plain.cu does the work. */
#ifndef RECPIPE_CUDA_PLAIN_H
#define RECPIPE_CUDA_PLAIN_H

#include "blas.h"
#include "state.h"

struct tower_arguments; /* tower.h */

#ifdef __cplusplus
extern "C" {
#endif

/* Chooses the way of the tower, for training or for scoring, and allocates what that takes: `plain` or `through`,
 * `plain_forward` or `forward`. RECPIPE_CUDA_TOWER=plain or fused decides, else cuda_prefers_plain, where there is cuBLAS. */
MUST_CHECK int cuda_plan_tower(struct backend_state *state, bool trains, struct error *error);

/* Whether tiles of that plan would move more bytes than whole matrices. */
bool cuda_prefers_plain(const struct tower *tower, const struct plan *plan, bool trains);

/* Points Adam to the gradient of layer l's bias. */
void cuda_plain_bias(const struct backend_state *state, uint32_t l, struct segment *bias);

void cuda_plain_train(struct backend_state *state, const struct batch *batch, const struct step *step);
void cuda_plain_score(struct backend_state *state, const struct tower_arguments *of);
/* Every product of a batch once, of nothing, so that their code is there when they are recorded. Nothing where tiles were
 * chosen. */
void cuda_plain_warm(struct backend_state *state);

#ifdef __cplusplus
}
#endif
#endif
