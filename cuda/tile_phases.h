/* A layer's products as phases of a kernel, by tensor cores or as tile.h has them, as its precision and the layer's width
 * say; and the kernels' variants of the other precisions. `kind` is a constant wherever these are inlined. */
#ifndef RECPIPE_CUDA_TILE_PHASES_H
#define RECPIPE_CUDA_TILE_PHASES_H

#include "tile_mma.h"

ON_DEVICE void forward_phase(const enum precision kind, const struct product *p, bool rectify)
{
	if (kind != PRECISION_FP32 && goes_by_mma(kind, p->inputs, p->outputs))
		EACH_WARP(w) mma_forward(kind, w, p, rectify);
	else
		EACH_THREAD(t) tile_forward(t, p, rectify);
}

ON_DEVICE void backward_phase(const enum precision kind, const struct product *p, enum mask mask, float scale)
{
	if (kind != PRECISION_FP32 && goes_by_mma(kind, p->inputs, p->outputs))
		EACH_WARP(w) mma_backward(kind, w, p, mask, scale);
	else
		EACH_THREAD(t) tile_backward(t, p, mask, scale);
}

/* The gradient of the biases is behind that of the weights. */
ON_DEVICE void gradient_phase(const enum precision kind, const struct product *p, float *gradient, bool with_bias)
{
	float *const bias = gradient + weight_gradient_floats(kind, p->inputs, p->outputs);
	if (kind != PRECISION_FP32 && goes_by_mma(kind, p->inputs, p->outputs)) {
		EACH_WARP(w) {
			mma_weight_gradient(kind, w, p, gradient);
			EACH_LANE(l) {
				if (with_bias)
					tile_bias_gradient(w * WARP + l, p, bias);
			}
		}
	} else {
		EACH_THREAD(t) {
			tile_weight_gradient(t, p, gradient);
			if (with_bias)
				tile_bias_gradient(t, p, bias);
		}
	}
}

/* A weight's copy in the form that its product takes. */
ON_DEVICE void copy_layer(const enum precision kind, uint32_t thread, const float *weight, uint32_t stride, uint32_t inputs,
                          uint32_t outputs, float *to)
{
	if (kind != PRECISION_FP32 && goes_by_mma(kind, inputs, outputs))
		copy_words(kind, thread, weight, stride, inputs, outputs, to);
	else
		copy_weight(thread, weight, stride, inputs, outputs, to);
}

enum { COPIES_SHARED = TILE_SHARED | WEIGHTS_SHARED };

/* What a launch has to choose from: kernels of either precision, for plans with everything, with the tile alone, and with
 * nothing for certain in shared memory. */
#define TENSOR_KERNELS(name, arguments_type, body) \
	KERNEL_OF_TWO(name##_tf32_shared, arguments_type) { if (HAS_MMA) body(&a, COPIES_SHARED, PRECISION_TF32); } \
	KERNEL_OF_TWO(name##_tf32_tile, arguments_type) { if (HAS_MMA) body(&a, TILE_SHARED, PRECISION_TF32); } \
	KERNEL_OF_TWO(name##_tf32, arguments_type) { if (HAS_MMA) body(&a, 0, PRECISION_TF32); } \
	KERNEL_OF_TWO(name##_bf16_shared, arguments_type) { if (HAS_MMA) body(&a, COPIES_SHARED, PRECISION_BF16); } \
	KERNEL_OF_TWO(name##_bf16_tile, arguments_type) { if (HAS_MMA) body(&a, TILE_SHARED, PRECISION_BF16); } \
	KERNEL_OF_TWO(name##_bf16, arguments_type) { if (HAS_MMA) body(&a, 0, PRECISION_BF16); }

#define LAUNCH_KIND(device, name, kind, plan, blocks, arguments) \
	do { \
		if ((plan)->weight_floats > 0) \
			LAUNCH(device, STREAM_WORK, name##_##kind##_shared, blocks, (plan)->shared_bytes, arguments); \
		else if ((plan)->shares_tile) \
			LAUNCH(device, STREAM_WORK, name##_##kind##_tile, blocks, (plan)->shared_bytes, arguments); \
		else \
			LAUNCH(device, STREAM_WORK, name##_##kind, blocks, (plan)->shared_bytes, arguments); \
	} while (0)

#define LAUNCH_PRODUCTS(state, name, plan, blocks, arguments) \
	do { \
		if ((state)->options.precision == PRECISION_TF32) \
			LAUNCH_KIND(&(state)->device, name, tf32, plan, blocks, arguments); \
		else if ((state)->options.precision == PRECISION_BF16) \
			LAUNCH_KIND(&(state)->device, name, bf16, plan, blocks, arguments); \
		else if ((plan)->all) \
			LAUNCH(&(state)->device, STREAM_WORK, name##_shared, blocks, (plan)->shared_bytes, arguments); \
		else \
			LAUNCH(&(state)->device, STREAM_WORK, name, blocks, (plan)->shared_bytes, arguments); \
	} while (0)

#endif
