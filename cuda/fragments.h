/* How things lie for products by tensor cores (mma.h, tile_mma.h), which the host must know to plan them: copies of
 * weights, the pitch of tiles, gradients of weights. In single precision all of it is as tile.h has it. */
#ifndef RECPIPE_CUDA_FRAGMENTS_H
#define RECPIPE_CUDA_FRAGMENTS_H

#include "backend.h"

#ifdef __CUDACC__
#define ON_EITHER static __host__ __device__ inline
#else
#define ON_EITHER static inline UNUSED
#endif

enum {
	MMA_LEAST = 16,           /* inputs and outputs of layers that go by tensor cores: a narrower one is mostly padding */
	COPY_WORDS = 32,          /* rows of copies are whole lines of the banks (tile_mma.h: swizzle) */
	FRAGMENT = 128,           /* floats of a gradient's 16 outputs by 8 inputs, as a warp's registers have them */
};

ON_EITHER uint32_t whole_of(uint32_t count, uint32_t size)
{
	return (count + size - 1) / size * size;
}

ON_EITHER bool goes_by_mma(enum precision kind, uint32_t inputs, uint32_t outputs)
{
	return kind != PRECISION_FP32 && inputs >= MMA_LEAST && outputs >= MMA_LEAST;
}

/* Floats between rows of a weight's copy in shared memory: aligned, and four rows down lie in other banks. */
ON_EITHER uint32_t weight_pitch(uint32_t inputs)
{
	return (inputs + 3) / 4 * 4 + 4;
}

/* The same in words of 32 bits of a product by tensor cores: a tf32 or two bf16. */
ON_EITHER uint32_t copy_pitch(enum precision kind, uint32_t inputs)
{
	return whole_of(kind == PRECISION_BF16 ? (inputs + 1) / 2 : inputs, COPY_WORDS);
}

/* Of either. */
ON_EITHER uint32_t layer_pitch(enum precision kind, uint32_t inputs, uint32_t outputs)
{
	return goes_by_mma(kind, inputs, outputs) ? copy_pitch(kind, inputs) : weight_pitch(inputs);
}

/* Floats between units of a tile beyond its samples. */
ON_EITHER uint32_t tile_pad(enum precision kind)
{
	return kind == PRECISION_TF32 ? 8 : 4;
}

/* A layer's gradient: that of its weights, [outputs][inputs] or by fragments; then of its biases. */
ON_EITHER uint32_t weight_gradient_floats(enum precision kind, uint32_t inputs, uint32_t outputs)
{
	return goes_by_mma(kind, inputs, outputs) ? whole_of(outputs, 16) * whole_of(inputs, 8) : outputs * inputs;
}

ON_EITHER uint32_t layer_gradient_floats(enum precision kind, uint32_t inputs, uint32_t outputs)
{
	const uint32_t floats = weight_gradient_floats(kind, inputs, outputs) + outputs;
	return kind == PRECISION_FP32 ? floats : whole_of(floats, 4); /* fragments are read by fours */
}

/* Which output and input element `place` of fragments is the gradient of: mma.h's D, a lane's four side by side. Beyond
 * the layer's own there is nothing but padding. */
ON_EITHER void fragment_place(uint32_t place, uint32_t inputs, uint32_t *output, uint32_t *input)
{
	const uint32_t across = (inputs + 7) / 8, block = place / FRAGMENT, lane = place % FRAGMENT / 4, i = place % 4;
	*output = block / across * 16 + lane / 4 + 8 * (i / 2);
	*input = block % across * 8 + lane % 4 * 2 + i % 2;
}

/* The place of an output's and input's element: fragment_place turned round. */
ON_EITHER uint32_t place_in_fragments(uint32_t output, uint32_t input, uint32_t inputs)
{
	const uint32_t across = (inputs + 7) / 8, block = output / 16 * across + input / 8;
	return block * FRAGMENT + (output % 8 * 4 + input % 8 / 2) * 4 + output % 16 / 8 * 2 + input % 2;
}

#endif
