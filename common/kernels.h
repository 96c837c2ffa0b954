/* The inner loops of training and scoring, one table of functions per instruction set, chosen at start.
 *
 * Layouts: a row-major matrix of activations is [rows][stride], stride a multiple of 16 with zeros in the
 * padding; a weight is kept as [outputs][padded inputs] and, for wide layers, in the form that the products of their
 * precision read. Every output is one chain of fused multiply-adds in ascending order of the
 * summed index: tile shapes differ between instruction sets, bits do not. */
#ifndef RECPIPE_KERNELS_H
#define RECPIPE_KERNELS_H

#include "compat.h"
#include "backend.h"
#include "error.h"
#include "isa.h"
#include "model.h"

enum {
	TILE_ROWS = 12,   /* rows are computed in multiples of this: buffers are padded to it */
	BLOCK_ROWS = 48,  /* rows of tables, or pairs to be scored, that go together: they stay in L1 */
	TRAIN_ROWS = 60,  /* samples that pass through the tower together: whole groups of 2, 3, 4, 5, 6, 10, 12 … */
	TRAIN_LANES = 64, /* the same in whole vectors */
	TAIL_OUTPUTS = 8, TAIL_INPUTS = 64, /* at most, of layers that are computed across samples */
};

/* A dense layer as the kernels read it. */
struct dense_layer {
	size_t inputs, outputs, inputs_padded, outputs_padded;
	const float *weight;      /* [outputs][inputs_padded] */
	const float *prepared;    /* for the products: see tower_kernels.prepare; the tail has none */
	const float *bias;        /* [outputs_padded] */
	size_t weight_at, bias_at;/* where their gradients lie in a block of dense gradients */
	size_t lanes_at;          /* of the tail: where they lie in sums by lanes */
};

/* The tower behind the first layer, whose two halves are projected per row (see cpu_state.h). Wide layers go a row a
 * sample, vectors across units. The narrow ones at the end, the tail, go a row a unit, vectors across samples: there
 * nothing is padded. */
struct tower {
	size_t width, padded;     /* of the first layer's output */
	size_t layer_count;       /* layers behind the first, at least 1 */
	size_t wide_count;        /* of them, before the tail; less than layer_count */
	struct dense_layer layers[MODEL_LAYERS_MAX];
	size_t units;             /* of the tail: its inputs and all its outputs */
	size_t scratch_floats;    /* what a block needs, without tower_kernels.further_floats */
	size_t lanes_floats;      /* what the tail's sums by lanes need */
	double dropout;
	uint64_t seed;
};

/* Samples that pass through the tower together. */
struct block {
	const float *user_part, *item_part; /* [slots][tower.padded]: the halves of z1, bias in the user's */
	const uint32_t *user_slots;         /* of each piece: `piece` samples that share the user */
	size_t piece;                       /* at least 1; `count` is whole pieces */
	const uint32_t *item_slots;         /* of each sample */
	size_t count;                       /* 1..TRAIN_ROWS */
	size_t known;                       /* item_slots that there are: rows are read ahead */
	float *scratch;                     /* see tower_kernels */
};

struct train_block {
	struct block block;
	uint64_t place;           /* of the block among all that were ever trained: dropout goes by it */
	float *z1_gradient;       /* [count][tower.padded], out; room for the rows padded to TILE_ROWS */
	float *piece_gradient;    /* [pieces][tower.padded], out: its sums over each piece */
	float *gradient;          /* block of dense gradients, added to, but for the tail's */
	float *lanes;             /* the tail's, [tower.lanes_floats], added to: see sum_lanes */
};

struct adam_step {
	float rate;               /* rate / (1 - beta1^t) */
	float decay;              /* 1 - rate * weight_decay */
	float beta1, beta2, one_minus_beta1, one_minus_beta2;
	float scale2;             /* 1 / sqrt(1 - beta2^t) */
	float epsilon;
};

/* What is done to rows of floats. */
struct kernels {
	const char *name;

	/* A bit for each of BLOCK_ROWS scores that is at least `least`. */
	uint64_t (*at_least)(const float *scores, float least);

	/* to[r] = table[index[r]] for rows of `stride` floats. Further entries of the index are read ahead up to
	 * index[known]. */
	void (*gather)(const float *table, size_t stride, const uint32_t *index, size_t count, size_t known, float *to);

	/* sum[width] = rows[index[0]] + rows[index[1]] + …, in that order. Further entries of the index are read ahead
	 * up to index[known]. */
	void (*sum_rows)(const float *rows, size_t stride, const uint32_t *index, size_t count, size_t known, float *sum);

	/* sum[i] += more[i] for count (a multiple of 16) floats. */
	void (*add)(float *sum, const float *more, size_t count);

	/* Adam on `count` (a multiple of 16) values. */
	void (*adam)(float *values, float *moment1, float *moment2, const float *gradient, size_t count,
	             const struct adam_step *step);
};

const struct kernels *kernels_of(enum isa isa);

/* ---- the tower ---- */

/* Every precision has a table of these for each instruction set. Scratch is [tower.scratch_floats + further_floats],
 * zeroed once, 64-byte aligned. */
struct tower_kernels {
	const char *name;

	/* Scratch beyond tower.scratch_floats, for a tower and its halves; NULL: none. */
	size_t (*further_floats)(const struct tower *tower, const struct dense_layer *halves[2]);

	/* What the products need of a layer's weights beside `weight`, in dense_layer.prepared: how many floats, and
	 * bringing it up to date for rows [first, first + rows), `first` a multiple of 16 and `rows` as well or up to
	 * the last one. */
	size_t (*prepared_floats)(const struct dense_layer *layer);
	void (*prepare)(const struct dense_layer *layer, size_t first, size_t rows, float *prepared);

	/* out[r][·] = bias + W x[r], for rows up to BLOCK_ROWS, rounded up to TILE_ROWS or 16; bias NULL: zeros. */
	void (*project)(const float *x, size_t x_stride, size_t rows, const struct dense_layer *layer,
	                float *out, size_t out_stride, float *scratch);

	/* input_gradient[r][·] = z_gradient[r] W (rows rounded up), and weight gradients added:
	 * gradient[layer->weight_at + …] += z_gradient^T x over exactly `rows` rows. */
	void (*project_back)(const float *z_gradient, size_t z_stride, const float *x, size_t x_stride, size_t rows,
	                     const struct dense_layer *layer, float *input_gradient, float *gradient, float *scratch);

	/* Forward through one block: logits[count] are added to; then back from their gradients. */
	void (*train_forward)(const struct tower *tower, const struct train_block *block, float *logits);
	void (*train_backward)(const struct tower *tower, const struct train_block *block, const float *derivatives);

	/* gradient += the tail's gradients, whose sixteen lanes are summed. */
	void (*sum_lanes)(const struct tower *tower, const float *lanes, float *gradient);

	/* Forward alone, without dropout: logits[count]. */
	void (*score_block)(const struct tower *tower, const struct block *block, float *logits);

	/* The same for one user and BLOCK_ROWS items, whose halves arrange_items has put in the order it likes,
	 * tower.padded * BLOCK_ROWS floats, by weights that arrange_weights has (NULL: it needs none). The same bits as
	 * score_block. */
	size_t (*arranged_floats)(const struct tower *tower);
	void (*arrange_weights)(const struct tower *tower, float *weights);
	void (*arrange_items)(const struct tower *tower, const float *parts, float *items);
	void (*score_items)(const struct tower *tower, const float *weights, const float *user_part, const float *items,
	                    float *scratch, float *logits);
};

/* Single precision; products of bfloat16, by AMX where `amx` says so (amx_usable). */
const struct tower_kernels *tower_kernels_of(enum isa isa);
const struct tower_kernels *bf16_kernels_of(enum isa isa, bool amx);

/* Whether this process may use AMX, and it does what simd_matrix.h emulates. Asked before any thread is started. */
bool amx_usable(void);

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
	size_t piece;             /* samples that share an entry of the users' slots */
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

	/* Gradients of one row. Of a user: weight * sum over its pieces, in order, of the derivatives of their samples
	 * times the items' rows; of an item: the same over its samples and the users' rows. */
	void (*user_gradient)(const struct factor_rows *rows, const float *derivatives, const uint32_t *pieces,
	                      size_t count, const uint32_t *item_slots, float *out);
	void (*item_gradient)(const struct factor_rows *rows, const float *derivatives, const uint32_t *samples,
	                      size_t count, const uint32_t *user_slots, float *out);

	/* out[r][n] = bias + sum over k < depth, ascending, of queries[r][k] * columns[k][n], for 1 row or a multiple
	 * of TILE_ROWS, and `width` columns, a multiple of 16 up to FACTOR_COLUMNS_MAX. */
	void (*dots)(const float *queries, size_t stride, size_t depth, size_t rows, const float *columns,
	             size_t column_stride, size_t width, float bias, float *out, size_t out_stride);

	/* columns[k * column_stride + i] = rows[at[i]][k] for i < count and k < depth; lanes up to the next multiple of 16
	 * receive any of the rows. */
	void (*gather_columns)(const float *rows, size_t stride, const uint32_t *at, size_t count, size_t depth,
	                       float *columns, size_t column_stride);
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

/* Chooses where the tail begins, and fills wide_count, lanes_at of its layers, scratch_floats and lanes_floats. */
void tower_lay_out(struct tower *tower);

static inline size_t padded_to(size_t count, size_t multiple)
{
	return (count + multiple - 1) / multiple * multiple;
}

#endif
