/* Scoring a block of items that stand side by side, in single precision: vectors across items through every layer. The
 * inside of the kernels of one instruction set, compiled with KERNEL_ISA as they are. */
#ifndef RECPIPE_KERNELS_SCORE_H
#define RECPIPE_KERNELS_SCORE_H

#include "kernels.h"
#include "simd.h"

#define score_weight_floats JOIN(score_weight_floats_, KERNEL_ISA)
#define score_arrange_weights JOIN(score_arrange_weights_, KERNEL_ISA)
#define score_arrange_items JOIN(score_arrange_items_, KERNEL_ISA)
#define score_all_layers JOIN(score_all_layers_, KERNEL_ISA)

/* Of tower_kernels: arranged_floats, arrange_weights, arrange_items ([tower.width][BLOCK_ROWS]) and score_items. */
size_t score_weight_floats(const struct tower *tower);
void score_arrange_weights(const struct tower *tower, float *weights);
void score_arrange_items(const struct tower *tower, const float *parts, float *items);
void score_all_layers(const struct tower *tower, const float *weights, const float *user_part, const float *items,
                      float *scratch, float *logits);

#endif
