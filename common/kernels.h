/* The inner loops of training and scoring, one table of functions per instruction set, chosen at start.
 *
 * Layouts: a row-major matrix of activations is [rows][stride], stride a multiple of 16 with zeros in the
 * padding; a weight is kept as [outputs][padded inputs] and as [inputs][padded outputs], so that no
 * product reads across rows. Every output is one chain of fused multiply-adds in ascending order of the
 * summed index: tile shapes differ between instruction sets, bits do not. */
#ifndef RECPIPE_KERNELS_H
#define RECPIPE_KERNELS_H

#include "compat.h"
#include "error.h"
#include "model.h"

enum {
	BLOCK_ROWS = 48,  /* samples that pass through the tower together: their activations stay in L1 */
	TILE_ROWS = 12,   /* rows are computed in multiples of this: buffers are padded to it */
};

/* A dense layer as the kernels read it. */
struct dense_layer {
	size_t inputs, outputs, inputs_padded, outputs_padded;
	const float *weight;      /* [outputs][inputs_padded] */
	const float *transposed;  /* [inputs][outputs_padded] */
	const float *bias;        /* [outputs_padded] */
	size_t weight_at, bias_at;/* where their gradients lie in a block of dense gradients */
};

/* The tower behind the first layer, whose two halves are projected per row (see backend_cpu.h). */
struct tower {
	size_t width, padded;     /* of the first layer's output */
	size_t layer_count;       /* layers behind the first, at least 1 */
	struct dense_layer layers[MODEL_LAYERS_MAX];
	size_t scratch_floats;    /* what a block needs: tower_scratch() */
	double dropout;
	uint64_t seed;
};

/* Samples of a batch that pass through the tower together. */
struct block {
	const float *user_part, *item_part; /* [slots][tower.padded]: the halves of z1, bias in the user's */
	const uint32_t *user_slots;         /* of each sample */
	const uint32_t *item_slots;
	size_t count;                       /* 1..BLOCK_ROWS */
	float *scratch;                     /* tower.scratch_floats, 64-byte aligned */
};

struct train_block {
	struct block block;
	size_t position;          /* of the block's first sample in the batch: positives at multiples of group */
	size_t group;             /* 1 + ratio */
	const float *weights;     /* 0 for samples that do not exist, 1 for others; NULL: all exist */
	float scale;              /* 1 / samples in the batch */
	float *z1_gradient;       /* [count][tower.padded], out; room for the rows padded to TILE_ROWS */
	float *gradient;          /* block of dense gradients, added to */
	uint64_t step;            /* for dropout */
	double loss;              /* sum over the samples, out */
};

struct adam_step {
	float rate;               /* rate / (1 - beta1^t) */
	float decay;              /* 1 - rate * weight_decay */
	float beta1, beta2, one_minus_beta1, one_minus_beta2;
	float scale2;             /* 1 / sqrt(1 - beta2^t) */
	float epsilon;
};

struct kernels {
	const char *name;

	/* out[r][·] = bias + x[r] · transposed, for rows rounded up to TILE_ROWS; bias NULL: zeros. */
	void (*project)(const float *x, size_t x_stride, size_t rows, const struct dense_layer *layer,
	                float *out, size_t out_stride);

	/* input_gradient[r][·] = z_gradient[r] · weight (rows rounded up), and weight gradients added:
	 * gradient[layer->weight_at + …] += z_gradient^T x over exactly `rows` rows. */
	void (*project_back)(const float *z_gradient, size_t z_stride, const float *x, size_t x_stride, size_t rows,
	                     const struct dense_layer *layer, float *input_gradient, float *gradient);

	/* Forward, loss and backward of one block. */
	void (*train_block)(const struct tower *tower, struct train_block *block);

	/* Forward alone: logits[count]. */
	void (*score_block)(const struct tower *tower, const struct block *block, float *logits);

	/* sum[width] = rows[index[0]] + rows[index[1]] + …, in that order. */
	void (*sum_rows)(const float *rows, size_t stride, const uint32_t *index, size_t count, float *sum);

	/* sum[i] += more[i] for count (a multiple of 16) floats. */
	void (*add)(float *sum, const float *more, size_t count);

	/* Adam on `count` (a multiple of 16) values. */
	void (*adam)(float *values, float *moment1, float *moment2, const float *gradient, size_t count,
	             const struct adam_step *step);
};

/* The kernels named `isa` ("auto": the best this processor has; RECPIPE_ISA is read when it is "auto").
 * NULL with CODE_USAGE for an unknown name, CODE_UNAVAILABLE for one the processor lacks. */
MUST_CHECK const struct kernels *kernels_find(const char *isa, struct error *error);

/* Fills tower->scratch_floats. */
void tower_scratch(struct tower *tower);

static inline size_t padded_to(size_t count, size_t multiple)
{
	return (count + multiple - 1) / multiple * multiple;
}

#endif
