/* The model again, plain and obviously right: double precision, one sample at a time, no blocks, no
 * halves, no padding. What every fast kernel is compared with. */
#ifndef RECPIPE_REFERENCE_TOWER_H
#define RECPIPE_REFERENCE_TOWER_H

#include <math.h>

#include "backend.h"
#include "kernels.h"
#include "model.h"
#include "rng.h"

enum { REFERENCE_WIDTH_MAX = 256 };

struct reference {
	struct model_shape shape;
	enum loss loss;
	const float *item_offsets;
	double *values;    /* every parameter, unpadded, matrix after matrix */
	double *gradient, *moment1, *moment2;
	size_t count;
	size_t at[MODEL_MATRICES_MAX];
	size_t rows[MODEL_MATRICES_MAX], columns[MODEL_MATRICES_MAX];
	const char *names[MODEL_MATRICES_MAX];
	size_t matrices;
	uint64_t step;
	double dropout;    /* with it: the generator's seed, samples a group, and the sample's place in the batch */
	uint64_t seed;
	size_t group, position;
};

static inline void reference_init(struct reference *r, const struct model_shape *shape, const struct parameters *from)
{
	*r = (struct reference){.shape = *shape, .matrices = from->count};
	for (size_t m = 0; m < from->count; m++) {
		r->at[m] = r->count;
		r->names[m] = from->matrices[m].name;
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

/* Layers whose units are side by side in memory, a vector a sample; the rest, at the end, have their samples side by
 * side, a vector a unit. Dropout goes by it (docs/design.md). */
static inline size_t reference_wide_layers(const struct model_shape *shape)
{
	size_t wide = shape->layer_count - 1;
	while (wide > 1 && shape->widths[wide - 1] <= TAIL_OUTPUTS && shape->widths[wide - 2] <= TAIL_INPUTS)
		wide--;
	return wide;
}

/* What dropout makes of the activation of unit u of layer l. */
static inline double reference_drop(const struct reference *r, size_t l, size_t u, double a)
{
	const size_t most = r->group > 0 && r->group <= TRAIN_ROWS ? TRAIN_ROWS / r->group * r->group : TRAIN_ROWS;
	const size_t s = r->position % most;
	const bool wide = l < reference_wide_layers(&r->shape);
	const size_t v = wide ? s * ((r->shape.widths[l] + 15) / 16) + u / 16 : u * (TRAIN_LANES / 16) + s / 16;
	const size_t lane = wide ? u % 16 : s % 16;
	const unsigned threshold = (unsigned)(r->dropout * 256 + 0.5);
	uint32_t words[4];
	if (r->dropout <= 0)
		return a;
	rng_block(r->seed, rng_stream(RNG_DROPOUT, (uint32_t)l), ((r->step + 1) << 24) + r->position - s,
	          (uint32_t)(v / 16 * 16 + lane), words);
	const unsigned byte = words[v % 16 / 4] >> v % 4 * 8 & 255;
	return byte < threshold ? 0.0 : a * 256 / (256 - threshold);
}

/* a[0] is the input [u ; i], a[l + 1] the output of layer l after its activation. Returns the tower's logit. */
static inline double reference_tower(const struct reference *r, uint32_t user, uint32_t item,
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
			a[l + 1][o] = l + 1 == r->shape.layer_count ? z : z < 0 ? 0.0 : reference_drop(r, l, o, z);
		}
		inputs = r->shape.widths[l];
	}
	return a[r->shape.layer_count][0];
}

/* Where the values of a factor's matrix begin in values and gradient; -1: the model has none. */
static inline ptrdiff_t reference_factor(const struct reference *r, enum factor_role role)
{
	const int m = model_factor_matrix(&r->shape, role);
	return m == NO_MATRIX ? -1 : (ptrdiff_t)r->at[m];
}

/* What the product of factors is made of, for one pair: x, y and the weight h (1 where there is none). */
struct reference_factors {
	size_t columns, x, y;
	ptrdiff_t h, bias;
};

static inline struct reference_factors reference_factors_of(const struct reference *r, uint32_t user, uint32_t item)
{
	const size_t columns = model_factor_columns(&r->shape);
	return (struct reference_factors){
		.columns = columns,
		.x = (size_t)reference_factor(r, FACTOR_USERS) + user * columns,
		.y = (size_t)reference_factor(r, FACTOR_ITEMS) + item * columns,
		.h = reference_factor(r, FACTOR_WEIGHT), .bias = reference_factor(r, FACTOR_BIAS),
	};
}

static inline double reference_forward(const struct reference *r, uint32_t user, uint32_t item)
{
	static double a[MODEL_LAYERS_MAX + 1][REFERENCE_WIDTH_MAX];
	double z = model_has_tower(&r->shape) ? reference_tower(r, user, item, a) : 0.0;
	if (!model_has_factors(&r->shape))
		return z;
	const struct reference_factors f = reference_factors_of(r, user, item);
	for (size_t k = 0; k < f.columns; k++)
		z += r->values[f.x + k] * r->values[f.y + k] * (f.h < 0 ? 1.0 : r->values[(size_t)f.h + k]);
	return z + (f.bias < 0 ? 0.0 : r->values[f.bias]);
}

static inline void reference_tower_back(struct reference *r, uint32_t user, uint32_t item, double slope)
{
	static double a[MODEL_LAYERS_MAX + 1][REFERENCE_WIDTH_MAX];
	double d[REFERENCE_WIDTH_MAX], below[REFERENCE_WIDTH_MAX];
	const size_t ud = r->shape.user_dimension, id = r->shape.item_dimension;
	reference_tower(r, user, item, a);
	d[0] = slope;
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
		const double kept = 256 / (256 - floor(r->dropout * 256 + 0.5));
		for (size_t k = 0; k < inputs; k++)
			d[k] = l == 0 ? below[k] : a[l][k] > 0 ? below[k] * kept : 0;
	}
	for (size_t k = 0; k < ud; k++)
		r->gradient[r->at[MATRIX_USERS] + user * ud + k] += d[k];
	for (size_t k = 0; k < id; k++)
		r->gradient[r->at[MATRIX_ITEMS] + item * id + k] += d[ud + k];
}

/* The columns of ones get no gradient. */
static inline void reference_factors_back(struct reference *r, uint32_t user, uint32_t item, double slope)
{
	const struct reference_factors f = reference_factors_of(r, user, item);
	const bool biases = model_has_biases(&r->shape);
	for (size_t k = 0; k < f.columns; k++) {
		const double x = r->values[f.x + k], y = r->values[f.y + k];
		const double h = f.h < 0 ? 1.0 : r->values[(size_t)f.h + k];
		if (!biases || k != r->shape.factors + 1)
			r->gradient[f.x + k] += slope * y * h;
		if (!biases || k != r->shape.factors)
			r->gradient[f.y + k] += slope * x * h;
		if (f.h >= 0)
			r->gradient[(size_t)f.h + k] += slope * x * y;
	}
	if (f.bias >= 0)
		r->gradient[f.bias] += slope;
}

static inline double reference_softplus(double z)
{
	return (z > 0 ? z : 0) + log1p(exp(-fabs(z)));
}

/* Losses of one group: z[0] is the positive's logit; slope[] becomes the derivatives. Samples that do not exist
 * are left out. Returns the sum. */
static inline double reference_group_loss(enum loss loss, const double *z, const bool *real, size_t group, double *slope)
{
	double sum = 0, total = 0;
	for (size_t s = 0; s < group; s++) {
		slope[s] = 0;
		total += real[s] ? exp(z[s]) : 0;
	}
	if (loss == LOSS_SOFTMAX) {
		for (size_t s = 0; s < group; s++)
			slope[s] = real[s] ? exp(z[s]) / total - (s == 0) : 0;
		return log(total) - z[0];
	}
	for (size_t s = 0; s < group; s++) {
		if (!real[s] || (loss == LOSS_PAIRWISE && s == 0))
			continue;
		const double margin = loss == LOSS_PAIRWISE ? z[s] - z[0] : s == 0 ? -z[s] : z[s];
		const double d = 1.0 / (1.0 + exp(-margin));
		sum += reference_softplus(margin);
		slope[s] += s == 0 ? -d : d;
		slope[0] -= loss == LOSS_PAIRWISE ? d : 0;
	}
	return sum;
}

/* What is added to every logit of a user has no gradient but for rounding: it is left alone. */
static inline void reference_leave_constants(struct reference *r)
{
	const ptrdiff_t bias = reference_factor(r, FACTOR_BIAS);
	if (model_has_tower(&r->shape))
		r->gradient[r->at[matrix_bias(r->shape.layer_count - 1)]] = 0;
	if (bias >= 0)
		r->gradient[bias] = 0;
	for (size_t u = 0; model_has_biases(&r->shape) && u < r->shape.users; u++)
		r->gradient[(size_t)reference_factor(r, FACTOR_USERS) + u * model_factor_columns(&r->shape) +
		            r->shape.factors] = 0;
}

/* Mean loss of a batch; the gradient is left in r->gradient. Items may be NO_ITEM. */
static inline double reference_batch(struct reference *r, const uint32_t *users, const uint32_t *items, size_t groups,
                                     size_t group)
{
	enum { GROUP_MAX = 64 };
	double z[GROUP_MAX], slope[GROUP_MAX], loss = 0, count = 0;
	bool real[GROUP_MAX];
	for (size_t i = 0; i < r->count; i++)
		r->gradient[i] = 0;
	for (size_t s = 0; s < groups * group; s++)
		count += items[s] != (uint32_t)NO_ITEM;
	r->group = group;
	for (size_t g = 0; g < groups; g++) {
		const uint32_t *of = items + g * group;
		for (size_t s = 0; s < group; s++) {
			real[s] = of[s] != (uint32_t)NO_ITEM;
			r->position = g * group + s;
			z[s] = real[s] ? reference_forward(r, users[g], of[s]) : 0;
			z[s] -= real[s] && r->item_offsets ? (double)r->item_offsets[of[s]] : 0;
		}
		loss += reference_group_loss(r->loss, z, real, group, slope);
		for (size_t s = 0; s < group; s++) {
			r->position = g * group + s;
			if (real[s] && model_has_tower(&r->shape))
				reference_tower_back(r, users[g], of[s], slope[s] / count);
			if (real[s] && model_has_factors(&r->shape))
				reference_factors_back(r, users[g], of[s], slope[s] / count);
		}
	}
	if (r->loss != LOSS_BINARY)
		reference_leave_constants(r);
	return loss / count;
}

/* Tables decay but for their columns of ones, weights of layers do, biases and the factors' weights do not. */
static inline bool reference_decays(const struct reference *r, size_t m, size_t i)
{
	const char rows = model_matrix_rows(&r->shape, m);
	const bool factors = strstr(r->names[m], "factors") != NULL;
	if (rows && factors && model_has_biases(&r->shape))
		return i % r->columns[m] != r->shape.factors + (rows == 'u' ? 1 : 0);
	return rows || (strncmp(r->names[m], "mlp.", 4) == 0 && strstr(r->names[m], "weight"));
}

/* PyTorch's Adam on every parameter, or SparseAdam on the embedding rows that `touched` names. */
static inline void reference_adam(struct reference *r, double rate, double decay, const unsigned char *touched)
{
	r->step++;
	double c1 = 1 - pow(0.9, (double)r->step), c2 = 1 - pow(0.999, (double)r->step);
	for (size_t m = 0; m < r->matrices; m++)
		for (size_t i = 0; i < r->rows[m] * r->columns[m]; i++) {
			size_t p = r->at[m] + i;
			const bool table = model_matrix_rows(&r->shape, m) != 0;
			if (touched && table && !touched[r->at[m] + i / r->columns[m] * r->columns[m]])
				continue;
			double g = r->gradient[p];
			r->moment1[p] = 0.9 * r->moment1[p] + 0.1 * g;
			r->moment2[p] = 0.999 * r->moment2[p] + 0.001 * g * g;
			if (reference_decays(r, m, i))
				r->values[p] *= 1 - rate * decay;
			r->values[p] -= rate / c1 * r->moment1[p] / (sqrt(r->moment2[p] / c2) + 1e-8);
		}
}

/* Marks the first element of every embedding row that a batch uses. */
static inline void reference_touch(const struct reference *r, const uint32_t *users, const uint32_t *items,
                                   size_t groups, size_t group, unsigned char *touched)
{
	memset(touched, 0, r->count);
	for (size_t m = 0; m < r->matrices; m++) {
		const char rows = model_matrix_rows(&r->shape, m);
		for (size_t s = 0; rows && s < groups * group; s++)
			if (rows == 'u' || items[s] != (uint32_t)NO_ITEM)
				touched[r->at[m] + (rows == 'u' ? users[s / group] : items[s]) * r->columns[m]] = 1;
	}
}

#endif
