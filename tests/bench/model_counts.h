/* The operations and bytes that a model must take at least, counted from its shape: what the speed of a device is held
 * against. A fused multiply-add is two operations; activations, the loss, the drawing and the sorting are not counted.
 *
 * Training, a batch of B samples with U distinct users and I distinct items, first layer of width W0 on rows of Du and
 * Di numbers, layers of in x out behind it, C columns of factors (the biases' among them), P dense parameters:
 *
 *   tower     6 B (sum of in * out behind the first layer): forward, back to the inputs, to the weights
 *   halves    6 W0 (U Du + I Di): the first layer, once a distinct row
 *   factors   6 B C: the dot product, back to either side; with learned weights 4 U C more: the weighted user, his gradient,
 *             the weights' from the user's sums (2)
 *   Adam      12 a number that is stepped: U (Du + C) + I (Di + C) + P of them
 *   bytes     24 a number that is stepped (value and both moments, read and written), 4 a sample's item, 4 a group's user
 *
 * Ranking all I items for U users, top K:
 *
 *   tower     2 U I (sum of in * out behind the first layer); halves 2 W0 (U Du + I Di); factors 2 U I C
 *   bytes     4 (U (Du + C) + I (Di + C)) + 8 U K
 *
 * Of these the products of matrices of at least 8 x 8 can be done by tensor cores (`matrix`); the rest cannot (`plain`). */
#ifndef RECPIPE_BENCH_MODEL_COUNTS_H
#define RECPIPE_BENCH_MODEL_COUNTS_H

#include "model.h"

/* Of a whole batch or ranking. */
struct model_counts {
	double matrix, plain;     /* operations */
	double bytes;             /* of the device's memory */
};

/* Samples of a batch, groups among them, and the distinct rows. */
struct batch_counts {
	double samples, groups, users, items;
};

enum { COUNTS_MATRIX_LEAST = 8 };

static inline void count_product(struct model_counts *counts, double operations, uint32_t inputs, uint32_t outputs)
{
	if (inputs >= COUNTS_MATRIX_LEAST && outputs >= COUNTS_MATRIX_LEAST)
		counts->matrix += operations;
	else
		counts->plain += operations;
}

/* Operations of the tower: `each` a multiply of a sample, `half` one of a row. */
static inline void count_tower(struct model_counts *counts, const struct model_shape *shape, double each, double samples,
                               double users, double items)
{
	const double width = model_has_tower(shape) ? shape->widths[0] : 0.0;
	if (!model_has_tower(shape))
		return;
	for (uint32_t l = 1; l < shape->layer_count; l++)
		count_product(counts, each * samples * shape->widths[l - 1] * shape->widths[l], shape->widths[l - 1], shape->widths[l]);
	count_product(counts, each * width * users * shape->user_dimension, shape->user_dimension, shape->widths[0]);
	count_product(counts, each * width * items * shape->item_dimension, shape->item_dimension, shape->widths[0]);
}

/* Numbers of a user's, or an item's, rows. */
static inline double count_row(const struct model_shape *shape, uint32_t dimension)
{
	return (model_has_tower(shape) ? dimension : 0.0) + (model_has_factors(shape) ? model_factor_columns(shape) : 0.0);
}

static inline double count_dense(const struct model_shape *shape)
{
	double dense = shape->kind == MODEL_GMF || shape->kind == MODEL_NEUMF ? shape->factors : 0.0;
	if (shape->kind == MODEL_GMF)
		dense += 1.0; /* its bias */
	for (uint32_t l = 0; model_has_tower(shape) && l < shape->layer_count; l++) {
		const double inputs = l == 0 ? shape->user_dimension + shape->item_dimension : shape->widths[l - 1];
		dense += (inputs + 1.0) * shape->widths[l];
	}
	return dense;
}

static inline struct model_counts count_training(const struct model_shape *shape, const struct batch_counts *batch)
{
	struct model_counts counts = {0, 0, 0};
	const double columns = model_has_factors(shape) ? model_factor_columns(shape) : 0.0;
	const double stepped = batch->users * count_row(shape, shape->user_dimension) +
	                       batch->items * count_row(shape, shape->item_dimension) + count_dense(shape);
	count_tower(&counts, shape, 6.0, batch->samples, batch->users, batch->items);
	counts.plain += 6.0 * batch->samples * columns + 12.0 * stepped;
	if (shape->kind == MODEL_GMF || shape->kind == MODEL_NEUMF)
		counts.plain += 4.0 * batch->users * columns;
	counts.bytes = 24.0 * stepped + 4.0 * (batch->samples + batch->groups);
	return counts;
}

static inline struct model_counts count_ranking(const struct model_shape *shape, double users, double top)
{
	struct model_counts counts = {0, 0, 0};
	const double items = shape->items, columns = model_has_factors(shape) ? model_factor_columns(shape) : 0.0;
	count_tower(&counts, shape, 2.0, users * items, users, items);
	counts.plain += 2.0 * users * items * columns;
	counts.bytes = 4.0 * (users * count_row(shape, shape->user_dimension) + items * count_row(shape, shape->item_dimension)) +
	               8.0 * users * top;
	return counts;
}

#endif
