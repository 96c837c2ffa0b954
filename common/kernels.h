/* The inner loops of training and scoring, one table of functions per instruction set, chosen at start.
 *
 * Layouts: a row-major matrix of activations is [rows][stride], stride a multiple of 16 with zeros in the
 * padding; a weight is kept as [outputs][padded inputs] and as [inputs][padded outputs], so that no
 * product reads across rows. Every output is one chain of fused multiply-adds in ascending order of the
 * summed index: tile shapes differ between instruction sets, bits do not. */
#ifndef RECPIPE_KERNELS_H
#define RECPIPE_KERNELS_H

#include "compat.h"
#include "backend.h"
#include "error.h"
#include "isa.h"
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
	size_t position;          /* of the block's first sample in the batch */
	float *z1_gradient;       /* [count][tower.padded], out; room for the rows padded to TILE_ROWS */
	float *gradient;          /* block of dense gradients, added to */
	uint64_t step;            /* for dropout */
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

	/* Forward through one block: logits[count] are added to; then back from their gradients. */
	void (*train_forward)(const struct tower *tower, const struct train_block *block, float *logits);
	void (*train_backward)(const struct tower *tower, const struct train_block *block, const float *derivatives);

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

/* ---- losses ---- */

enum { LOSS_ROWS = 1088 }; /* at most so many samples at once: any group, and 63 more */

/* Consecutive samples of a batch, in groups of a positive and its negatives. */
struct loss_rows {
	size_t position;          /* of the first one in the batch; whole groups unless the loss is binary */
	size_t count, group;
	const float *weights;     /* 0 for samples that do not exist, 1 for others; NULL: all exist */
	float scale;              /* of the gradients: 1 / samples in the batch */
};

struct loss_kernels {
	/* Puts the gradients of the logits z[count] in their place (room for the next multiple of 16); returns the
	 * sum of the losses. */
	double (*apply)(enum loss loss, const struct loss_rows *rows, float *z);
};

/* ---- products of factors ---- */

enum { FACTOR_COLUMNS_MAX = 1024 };

/* Rows of factors of a batch, by slot, and what the products are weighted by. */
struct factor_rows {
	const float *users, *items; /* [slots][stride] */
	size_t stride;
	const float *weight;      /* [stride] */
	float bias;
};

struct factor_kernels {
	/* out[s] = bias + the weighted product of each sample's rows. */
	void (*logits)(const struct factor_rows *rows, const uint32_t *user_slots, const uint32_t *item_slots,
	               size_t count, float *out);

	/* Adds to the gradients of weight[stride] and bias. */
	void (*weight_gradient)(const struct factor_rows *rows, const uint32_t *user_slots, const uint32_t *item_slots,
	                        size_t count, const float *derivatives, float *weight, float *bias);

	/* out = weight * sum over samples[0..count), in order, of their derivative times the other side's row. */
	void (*row_gradient)(const float *derivatives, const uint32_t *samples, size_t count, const float *others,
	                     const uint32_t *other_slots, size_t stride, const float *weight, float *out);

	/* out[r][n] = bias + sum over k < depth, ascending, of queries[r][k] * columns[k][n], for 1 row or a multiple
	 * of TILE_ROWS, and `width` columns, a multiple of 16 up to FACTOR_COLUMNS_MAX. */
	void (*dots)(const float *queries, size_t stride, size_t depth, size_t rows, const float *columns,
	             size_t column_stride, size_t width, float bias, float *out, size_t out_stride);
};

/* ---- softmax over a catalogue ---- */

struct catalogue_kernels {
	/* scores[0 .. padded_to(items, 16)), -infinity behind `items`, becomes exp(score - the largest) / their sum;
	 * returns log of that sum plus the largest. */
	double (*softmax)(float *scores, size_t items);

	/* out[b][k] = sum over n < depth of gradients[b][n] * rows[n][k], b < users (a multiple of TILE_ROWS). */
	void (*back_to_users)(const float *gradients, size_t gradient_stride, size_t users, const float *rows,
	                      size_t stride, size_t depth, float *out);

	/* out[n][k] = sum over b < depth of gradients[b][n] * queries[b][k], n < items (a multiple of TILE_ROWS). */
	void (*back_to_items)(const float *gradients, size_t gradient_stride, size_t items, const float *queries,
	                      size_t stride, size_t depth, float *out);

	/* to[k] += factor * from[k] for a multiple of 16. */
	void (*add_scaled)(float *to, const float *from, float factor, size_t count);

	/* to[k * to_stride + r] = from[r * stride + k], r < rows, k < columns; zeros up to the next multiple of 16 of r.
	 * Rows of `from` are padded to a multiple of 16. */
	void (*transpose)(const float *from, size_t stride, size_t rows, size_t columns, float *to, size_t to_stride);
};

const struct catalogue_kernels *catalogue_kernels_of(enum isa isa);
const struct loss_kernels *loss_kernels_of(enum isa isa);
const struct factor_kernels *factor_kernels_of(enum isa isa);

const struct kernels *kernels_of(enum isa isa);

/* Fills tower->scratch_floats. */
void tower_scratch(struct tower *tower);

static inline size_t padded_to(size_t count, size_t multiple)
{
	return (count + multiple - 1) / multiple * multiple;
}

#endif
