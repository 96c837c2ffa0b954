/* A tower of products with rounded operands, plain: a sample at a time, forward and back in chains of fused multiply-adds,
 * as the emulated device has them, so that every activation is rounded from the same bits; gradients summed in double. */
#ifndef RECPIPE_TENSOR_REFERENCE_H
#define RECPIPE_TENSOR_REFERENCE_H

#include "cuda_fixture.h"
#include "loss.h"

enum { TENSOR_WIDTH_MAX = 256, TENSOR_LAYERS_MAX = 8, TENSOR_CHUNK = 64 };

/* To the nearest: tf32 has 11 bits and ties go away from zero, bf16 has 8 and ties go to the even one. */
static inline float rounded(enum precision kind, float x)
{
	int exponent;
	if (kind == PRECISION_FP32)
		return x;
	const double share = frexp((double)x, &exponent);
	if (kind == PRECISION_TF32)
		return (float)ldexp(round(share * 0x1p11), exponent - 11);
	return (float)ldexp(nearbyint(share * 0x1p8), exponent - 8);
}

struct tensor_reference {
	const struct fixture *f;
	enum precision kind;
	float *rows[2];           /* gradients of the first layer, added up: users' and items' [rows][width] */
	double *gradients[MODEL_MATRICES_MAX]; /* [rows][columns] */
};

/* Is it the tower that cuda/wide.h has kernels for? They leave the gradients of the first layer's sums in bf16. */
static inline bool goes_wide(const struct tensor_reference *r)
{
	static const size_t widths[] = {256, 128, 64, 1};
	const struct model_shape *shape = &r->f->shape;
	bool same = r->kind == PRECISION_BF16 && shape->layer_count == 4;
	for (size_t l = 0; same && l < 4; l++)
		same = shape->widths[l] == widths[l];
	return same;
}

/* What a layer's operands are rounded to. */
static inline enum precision kind_of(const struct tensor_reference *r, size_t inputs, size_t outputs)
{
	return inputs >= 16 && outputs >= 16 ? r->kind : PRECISION_FP32;
}

/* sum + the sum over k of w[k * step] x[k] */
static inline float chain(enum precision kind, float sum, const float *w, size_t step, const float *x, size_t count)
{
	for (size_t k = 0; k < count; k++)
		sum = fmaf(rounded(kind, w[k * step]), rounded(kind, x[k]), sum);
	return sum;
}

static inline const struct matrix *weights_of(const struct tensor_reference *r, size_t l)
{
	return &r->f->parameters.matrices[matrix_weight(l)];
}

static inline float bias_of(const struct tensor_reference *r, size_t l, size_t o)
{
	return r->f->parameters.matrices[matrix_bias(l)].values[o];
}

static inline const float *embedding(const struct tensor_reference *r, size_t table, uint32_t row)
{
	const struct matrix *matrix = &r->f->parameters.matrices[table];
	return matrix->values + (size_t)row * matrix->stride;
}

/* act[l] are the outputs of layer l. Returns the logit. */
static inline float tensor_forward(const struct tensor_reference *r, uint32_t user, uint32_t item,
                                   float act[TENSOR_LAYERS_MAX][TENSOR_WIDTH_MAX])
{
	const struct model_shape *shape = &r->f->shape;
	const size_t ud = shape->user_dimension, id = shape->item_dimension, last = shape->layer_count - 1;
	for (size_t o = 0; o < shape->widths[0]; o++) {
		const float *w = weights_of(r, 0)->values + o * weights_of(r, 0)->stride;
		const float u = chain(kind_of(r, ud, shape->widths[0]), bias_of(r, 0, o), w, 1, embedding(r, MATRIX_USERS, user), ud);
		const float i = chain(kind_of(r, id, shape->widths[0]), 0.0f, w + ud, 1, embedding(r, MATRIX_ITEMS, item), id);
		act[0][o] = u + i > 0 ? u + i : 0.0f;
	}
	for (size_t l = 1; l <= last; l++)
		for (size_t o = 0; o < shape->widths[l]; o++) {
			const float *w = weights_of(r, l)->values + o * weights_of(r, l)->stride;
			const float z = chain(kind_of(r, shape->widths[l - 1], shape->widths[l]), bias_of(r, l, o), w, 1, act[l - 1],
			                      shape->widths[l - 1]);
			act[l][o] = l == last || z > 0 ? z : 0.0f;
		}
	return act[last][0];
}

/* gradient[o][k] += d[o] x[k], of which both are rounded. */
static inline void add_outer(enum precision kind, const float *d, const float *x, size_t outputs, size_t inputs,
                             size_t columns, double *gradient)
{
	for (size_t o = 0; o < outputs; o++)
		for (size_t k = 0; k < inputs; k++)
			gradient[o * columns + k] += (double)rounded(kind, d[o]) * (double)rounded(kind, x[k]);
}

/* Back through all layers but the first; d[] becomes the gradient of its sums. */
static inline void tensor_back(struct tensor_reference *r, float slope, float act[TENSOR_LAYERS_MAX][TENSOR_WIDTH_MAX],
                               float d[TENSOR_WIDTH_MAX])
{
	const struct model_shape *shape = &r->f->shape;
	float below[TENSOR_WIDTH_MAX];
	d[0] = slope;
	for (size_t l = shape->layer_count; --l > 0;) {
		const size_t inputs = shape->widths[l - 1], outputs = shape->widths[l];
		const enum precision kind = kind_of(r, inputs, outputs);
		add_outer(kind, d, act[l - 1], outputs, inputs, inputs, r->gradients[matrix_weight(l)]);
		for (size_t o = 0; o < outputs; o++)
			r->gradients[matrix_bias(l)][o] += (double)d[o];
		for (size_t k = 0; k < inputs; k++) {
			const float sum = chain(kind, 0.0f, weights_of(r, l)->values + k, weights_of(r, l)->stride, d, outputs);
			below[k] = act[l - 1][k] > 0 ? sum : 0.0f;
		}
		memcpy(d, below, sizeof below);
	}
}

/* Uses of a row, sorted, are added up in chunks of TENSOR_CHUNK places. */
struct use {
	uint32_t row, use;
};

static inline int by_row(const void *a, const void *b)
{
	const struct use *x = a, *y = b;
	return x->row != y->row ? (x->row > y->row) - (x->row < y->row) : (x->use > y->use) - (x->use < y->use);
}

/* rows[row][n] = what its uses have in of_uses[use][n] */
static inline void sum_rows(struct use *uses, size_t count, const float *of_uses, size_t width, float *rows)
{
	qsort(uses, count, sizeof *uses, by_row);
	for (size_t n = 0; n < width; n++)
		for (size_t p = 0; p < count;) {
			const uint32_t row = uses[p].row;
			float *const total = rows + row * width + n;
			for (bool first = true; p < count && uses[p].row == row; first = false) {
				float sum = 0.0f;
				do
					sum += of_uses[uses[p++].use * width + n];
				while (p < count && uses[p].row == row && p % TENSOR_CHUNK);
				*total = first ? sum : *total + sum;
			}
		}
}

/* Through one half of the first layer, from the sums of rows. */
static inline void half_back(struct tensor_reference *r, size_t side)
{
	const struct model_shape *shape = &r->f->shape;
	const size_t ud = shape->user_dimension, id = shape->item_dimension, width = shape->widths[0];
	const size_t dimension = side ? id : ud, from = side ? ud : 0, table = side ? MATRIX_ITEMS : MATRIX_USERS;
	const enum precision kind = kind_of(r, dimension, width);
	for (uint32_t row = 0; row < r->f->parameters.matrices[table].rows; row++) {
		const float *d = r->rows[side] + row * width;
		add_outer(kind, d, embedding(r, table, row), width, dimension, ud + id, r->gradients[matrix_weight(0)] + from);
		for (size_t n = 0; n < width; n++) {
			const float *w = weights_of(r, 0)->values + n * weights_of(r, 0)->stride + from;
			r->gradients[matrix_bias(0)][n] += side ? 0.0 : (double)d[n];
			for (size_t k = 0; k < dimension; k++)
				r->gradients[table][row * dimension + k] += (double)rounded(kind, d[n]) * (double)rounded(kind, w[k]);
		}
	}
}

/* The gradient of the first batch of the fixture, whose loss is binary and whose samples all exist. */
static inline void tensor_gradient(struct tensor_reference *r)
{
	const struct fixture *f = r->f;
	const size_t group = 1 + f->setting.ratio, samples = f->setting.groups * group, width = f->shape.widths[0];
	static float act[TENSOR_LAYERS_MAX][TENSOR_WIDTH_MAX], d[TENSOR_WIDTH_MAX];
	float *of_items = room_for(samples * width, sizeof(float)), *of_users = room_for(samples * width, sizeof(float));
	struct use *uses = room_for(samples, sizeof *uses);
	for (size_t s = 0; s < samples; s++) {
		float z = tensor_forward(r, f->users[s / group], f->items[s], act);
		sample_loss(&z, s % group == 0, 1.0f, 1.0f / (float)samples);
		tensor_back(r, z, act, d);
		for (size_t n = 0; goes_wide(r) && n < width; n++)
			d[n] = rounded(PRECISION_BF16, d[n]);
		memcpy(of_items + s * width, d, width * sizeof(float));
		for (size_t n = 0; n < width; n++)
			of_users[s / group * width + n] = s % group ? of_users[s / group * width + n] + d[n] : d[n];
		uses[s] = (struct use){f->items[s], (uint32_t)s};
	}
	sum_rows(uses, samples, of_items, width, r->rows[1]);
	for (size_t g = 0; g < f->setting.groups; g++)
		uses[g] = (struct use){f->users[g], (uint32_t)g};
	sum_rows(uses, f->setting.groups, of_users, width, r->rows[0]);
	half_back(r, 0);
	half_back(r, 1);
	free(of_items);
	free(of_users);
	free(uses);
}

static inline void tensor_reference_init(struct tensor_reference *r, const struct fixture *f)
{
	*r = (struct tensor_reference){.f = f, .kind = f->precision};
	for (size_t side = 0; side < 2; side++)
		r->rows[side] = room_for((size_t)f->parameters.matrices[side].rows * f->shape.widths[0], sizeof(float));
	for (size_t m = 0; m < f->parameters.count; m++)
		r->gradients[m] = room_for((size_t)f->parameters.matrices[m].rows * f->parameters.matrices[m].columns,
		                           sizeof(double));
}

static inline void tensor_reference_release(struct tensor_reference *r)
{
	for (size_t side = 0; side < 2; side++)
		free(r->rows[side]);
	for (size_t m = 0; m < r->f->parameters.count; m++)
		free(r->gradients[m]);
}

#endif
