/* Random parameters and batches, for the tests of backends. */
#ifndef RECPIPE_RANDOM_MODEL_H
#define RECPIPE_RANDOM_MODEL_H

#include <math.h>

#include "check.h"
#include "model.h"
#include "rng.h"
#include "sampler.h"

/* Fixed columns of models with biases are ones. */
static inline void random_parameters(struct parameters *parameters, const struct model_shape *shape, struct rng *rng)
{
	for (size_t m = 0; m < parameters->count; m++) {
		const struct matrix *matrix = &parameters->matrices[m];
		const char rows = model_matrix_rows(shape, m);
		const double width = rows ? 1.0 : 1.5 / sqrt((double)matrix->columns);
		for (size_t i = 0; i < matrix->rows; i++)
			for (size_t j = 0; j < matrix->columns; j++)
				matrix->values[i * matrix->stride + j] = (float)((rng_unit(rng) * 2 - 0.8) * width);
		for (size_t i = 0; i < matrix->rows && model_has_biases(shape); i++)
			matrix->values[i * matrix->stride + shape->factors + (rows == 'u' ? 1 : 0)] = 1.0f;
	}
}

/* A model of the shape that `layers` (NULL: no tower) and the fields of `of` say. */
static inline void random_model(const char *layers, const struct model_shape *of, struct model_shape *shape,
                                struct parameters *parameters, struct rng *rng, struct error *error)
{
	if (layers)
		CHECK_OK(model_shape_parse(layers, shape, error), error);
	shape->kind = of->kind;
	shape->factors = of->factors;
	shape->users = of->users;
	shape->items = of->items;
	CHECK_OK(parameters_init(parameters, shape, error), error);
	rng_init(rng, 7, rng_stream(RNG_TEST, 0), 0);
	random_parameters(parameters, shape, rng);
}

/* users[groups] and items[groups * group]; with `missing` a fifth of the negatives do not exist. */
static inline void random_groups(const struct model_shape *shape, size_t groups, size_t group, bool missing,
                                 struct rng *rng, uint32_t *users, uint32_t *items)
{
	for (size_t g = 0; g < groups; g++)
		users[g] = (uint32_t)rng_below(rng, shape->users);
	for (size_t s = 0; s < groups * group; s++) {
		items[s] = (uint32_t)rng_below(rng, shape->items);
		if (missing && s % group && rng_below(rng, 5) == 0)
			items[s] = (uint32_t)NO_ITEM;
	}
}

#endif
