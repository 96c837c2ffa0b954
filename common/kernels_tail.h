/* The narrow layers at a tower's end, vectors across samples: [units][TRAIN_LANES]. The inside of the kernels of one
 * instruction set (kernels_isa.c), compiled with KERNEL_ISA as they are. */
#ifndef RECPIPE_KERNELS_TAIL_H
#define RECPIPE_KERNELS_TAIL_H

#include "kernels.h"
#include "simd.h"

#if defined(KERNEL_ISA_amx) /* which has nothing of its own for them */
#define TAIL_ISA avx512
#else
#define TAIL_ISA KERNEL_ISA
#endif

#define tail_forward JOIN(tail_forward_, TAIL_ISA)
#define tail_backward JOIN(tail_backward_, TAIL_ISA)
#define tail_sum_lanes JOIN(tail_sum_lanes_, TAIL_ISA)
#define drop_activations JOIN(drop_activations_, TAIL_ISA)

/* Activations of TRAIN_LANES samples, a row a sample, through the tail. `units` is scratch, kept for the way back: the
 * tail's inputs, then each layer's outputs. Returns the logits, [TRAIN_LANES]. NULL for `train`: no dropout. */
const float *tail_forward(const struct tower *tower, const struct train_block *train, const float *rows, size_t stride,
                          float *units);

/* Back from the gradients of the logits, [TRAIN_LANES], 0 where there is no sample, to those of the rows (whose
 * inactive units get 0); the tail's own are added to train->lanes. */
void tail_backward(const struct tower *tower, const struct train_block *train, const float *derivatives, float *units,
                   float *rows, size_t stride);

void tail_sum_lanes(const struct tower *tower, const float *lanes, float *gradient);

/* Inverted dropout on vectors of 16 activations of layer `layer`. */
void drop_activations(const struct tower *tower, const struct train_block *train, size_t layer, float *a,
                      size_t vectors);

/* Eight bits decide an activation: of 256, how many are dropped, and what the others are multiplied by. */
static inline uint32_t dropout_threshold(const struct tower *tower)
{
	return (uint32_t)(tower->dropout * 256.0 + 0.5);
}

static inline float dropout_scale(const struct tower *tower)
{
	return 256.0f / (256.0f - (float)dropout_threshold(tower));
}

#endif
