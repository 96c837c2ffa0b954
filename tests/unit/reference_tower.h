/* The tower again, plain and obviously right: double precision, one sample at a time, no blocks, no
 * halves, no padding. What every fast kernel is compared with. */
#ifndef RECPIPE_REFERENCE_TOWER_H
#define RECPIPE_REFERENCE_TOWER_H

#include <math.h>

#include "model.h"

enum { REFERENCE_WIDTH_MAX = 256 };

struct reference {
	struct model_shape shape;
	double *values;    /* every parameter, unpadded, matrix after matrix */
	double *gradient, *moment1, *moment2;
	size_t count;
	size_t at[MODEL_MATRICES_MAX];
	size_t rows[MODEL_MATRICES_MAX], columns[MODEL_MATRICES_MAX];
	size_t matrices;
	uint64_t step;
};

static inline void reference_init(struct reference *r, const struct model_shape *shape, const struct parameters *from)
{
	*r = (struct reference){.shape = *shape, .matrices = from->count};
	for (size_t m = 0; m < from->count; m++) {
		r->at[m] = r->count;
		r->rows[m] = from->matrices[m].rows;
		r->columns[m] = from->matrices[m].columns;
		r->count += r->rows[m] * r->columns[m];
	}
	r->values = calloc(4 * r->count, sizeof(double));
	if (!r->values)
		abort();
	r->gradient = r->values + r->count;
	r->moment1 = r->values + 2 * r->count;
	r->moment2 = r->values + 3 * r->count;
	for (size_t m = 0; m < from->count; m++)
		for (size_t i = 0; i < r->rows[m]; i++)
			for (size_t j = 0; j < r->columns[m]; j++)
				r->values[r->at[m] + i * r->columns[m] + j] =
					(double)from->matrices[m].values[i * from->matrices[m].stride + j];
}

static inline void reference_release(struct reference *r)
{
	free(r->values);
}

/* a[0] is the input [u ; i], a[l + 1] the output of layer l after its activation. Returns the logit. */
static inline double reference_forward(const struct reference *r, uint32_t user, uint32_t item,
                                       double a[MODEL_LAYERS_MAX + 1][REFERENCE_WIDTH_MAX])
{
	const size_t ud = r->shape.user_dimension, id = r->shape.item_dimension;
	for (size_t k = 0; k < ud; k++)
		a[0][k] = r->values[r->at[MATRIX_USERS] + user * ud + k];
	for (size_t k = 0; k < id; k++)
		a[0][ud + k] = r->values[r->at[MATRIX_ITEMS] + item * id + k];
	size_t inputs = ud + id;
	for (size_t l = 0; l < r->shape.layer_count; l++) {
		for (size_t o = 0; o < r->shape.widths[l]; o++) {
			double z = r->values[r->at[matrix_bias(l)] + o];
			for (size_t k = 0; k < inputs; k++)
				z += r->values[r->at[matrix_weight(l)] + o * inputs + k] * a[l][k];
			a[l + 1][o] = l + 1 < r->shape.layer_count && z < 0 ? 0.0 : z;
		}
		inputs = r->shape.widths[l];
	}
	return a[r->shape.layer_count][0];
}

static inline double reference_loss(double z, double y)
{
	return (z > 0 ? z : 0) - z * y + log1p(exp(-fabs(z)));
}

/* Adds the gradient of `scale` times the loss of one sample; returns the loss. */
static inline double reference_backward(struct reference *r, uint32_t user, uint32_t item, double y, double scale)
{
	static double a[MODEL_LAYERS_MAX + 1][REFERENCE_WIDTH_MAX];
	double d[REFERENCE_WIDTH_MAX], below[REFERENCE_WIDTH_MAX];
	const size_t ud = r->shape.user_dimension, id = r->shape.item_dimension;
	double z = reference_forward(r, user, item, a);
	d[0] = scale * (1.0 / (1.0 + exp(-z)) - y);
	for (size_t l = r->shape.layer_count; l-- > 0;) {
		size_t inputs = l ? r->shape.widths[l - 1] : ud + id;
		for (size_t k = 0; k < inputs; k++)
			below[k] = 0;
		for (size_t o = 0; o < r->shape.widths[l]; o++) {
			r->gradient[r->at[matrix_bias(l)] + o] += d[o];
			for (size_t k = 0; k < inputs; k++) {
				r->gradient[r->at[matrix_weight(l)] + o * inputs + k] += d[o] * a[l][k];
				below[k] += d[o] * r->values[r->at[matrix_weight(l)] + o * inputs + k];
			}
		}
		for (size_t k = 0; k < inputs; k++)
			d[k] = l == 0 || a[l][k] > 0 ? below[k] : 0;
	}
	for (size_t k = 0; k < ud; k++)
		r->gradient[r->at[MATRIX_USERS] + user * ud + k] += d[k];
	for (size_t k = 0; k < id; k++)
		r->gradient[r->at[MATRIX_ITEMS] + item * id + k] += d[ud + k];
	return reference_loss(z, y);
}

/* Mean loss of a batch; the gradient is left in r->gradient. Items may be NO_ITEM. */
static inline double reference_batch(struct reference *r, const uint32_t *users, const uint32_t *items, size_t groups,
                                     size_t group)
{
	size_t real = 0;
	double loss = 0;
	for (size_t i = 0; i < r->count; i++)
		r->gradient[i] = 0;
	for (size_t s = 0; s < groups * group; s++)
		real += items[s] != (uint32_t)NO_ITEM;
	for (size_t s = 0; s < groups * group; s++)
		if (items[s] != (uint32_t)NO_ITEM)
			loss += reference_backward(r, users[s / group], items[s], s % group == 0, 1.0 / (double)real);
	return loss / (double)real;
}

/* PyTorch's Adam on every parameter, or SparseAdam on the embedding rows that `touched` names. */
static inline void reference_adam(struct reference *r, double rate, double decay, const unsigned char *touched)
{
	r->step++;
	double c1 = 1 - pow(0.9, (double)r->step), c2 = 1 - pow(0.999, (double)r->step);
	for (size_t m = 0; m < r->matrices; m++)
		for (size_t i = 0; i < r->rows[m] * r->columns[m]; i++) {
			size_t p = r->at[m] + i;
			if (touched && m < MATRIX_LAYERS && !touched[r->at[m] + i / r->columns[m] * r->columns[m]])
				continue;
			double g = r->gradient[p];
			r->moment1[p] = 0.9 * r->moment1[p] + 0.1 * g;
			r->moment2[p] = 0.999 * r->moment2[p] + 0.001 * g * g;
			if (m < MATRIX_LAYERS || (m - MATRIX_LAYERS) % 2 == 0)
				r->values[p] *= 1 - rate * decay;
			r->values[p] -= rate / c1 * r->moment1[p] / (sqrt(r->moment2[p] / c2) + 1e-8);
		}
}

/* Marks the first element of every embedding row that a batch uses. */
static inline void reference_touch(const struct reference *r, const uint32_t *users, const uint32_t *items,
                                   size_t groups, size_t group, unsigned char *touched)
{
	memset(touched, 0, r->count);
	for (size_t s = 0; s < groups * group; s++) {
		touched[r->at[MATRIX_USERS] + users[s / group] * r->columns[MATRIX_USERS]] = 1;
		if (items[s] != (uint32_t)NO_ITEM)
			touched[r->at[MATRIX_ITEMS] + items[s] * r->columns[MATRIX_ITEMS]] = 1;
	}
}

#endif
