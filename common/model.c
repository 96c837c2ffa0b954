/* Shapes, parameters and their first values.
 *
 * First values: embeddings are normal with deviation 0.01, hidden weights uniform with He's bound
 * sqrt(6 / inputs), hidden biases 0.05, and the last bias the log odds of a positive among its negatives.
 * Two things keep narrow ReLU towers alive. A row that would answer the mean input (embeddings of 0) with
 * nothing is turned around: else each unit of a layer of 4 is stillborn half the time, and all of them once in
 * 16. And with a first output of 0 the first steps would pull every logit down by the same road until the
 * small layers die together; starting at the prior leaves nothing to pull. Over 50 seeds of the seed's split
 * none died (3 of 24 with Xavier weights and zero biases). Larger embeddings learn slower and rank worse.
 * (He et al. 2015 for the bound; Lin et al. 2017 for the prior.) */
#include "model.h"

#include <math.h>

#include "maths.h"
#include "mem.h"
#include "options.h"
#include "rng.h"

const char *const model_kind_names[MODEL_KINDS + 1] = {"mlp", "gmf", "neumf", "mf", "history", "ials", NULL};

static const double embedding_deviation = 0.01;
static const float hidden_bias = 0.05f;

static int next_width(const char **at, int64_t *width, struct error *error)
{
	char number[16];
	size_t length = strcspn(*at, "-");
	if (length == 0 || length >= sizeof number)
		return error_set(error, CODE_USAGE, "--layers: expected widths like 128-64-32-16-8-4-1");
	memcpy(number, *at, length);
	number[length] = '\0';
	if (parse_int("--layers", number, 1, MODEL_WIDTH_MAX, width, error) < 0)
		return -1;
	*at += length;
	*at += **at == '-' && (*at)[1] != '\0';
	return 0;
}

int model_shape_parse(const char *layers, struct model_shape *shape, struct error *error)
{
	int64_t width = 0;
	const char *at = layers;
	*shape = (struct model_shape){0};
	if (next_width(&at, &width, error) < 0)
		return -1;
	if (width < 2 || width % 2 != 0)
		return error_set(error, CODE_USAGE, "--layers: the first width is the two embeddings, an even number");
	shape->user_dimension = shape->item_dimension = (uint32_t)width / 2;
	while (*at != '\0') {
		if (shape->layer_count == MODEL_LAYERS_MAX)
			return error_set(error, CODE_USAGE, "--layers: more than %d layers", MODEL_LAYERS_MAX);
		if (next_width(&at, &width, error) < 0)
			return -1;
		shape->widths[shape->layer_count++] = (uint32_t)width;
	}
	if (shape->layer_count < 2 || shape->widths[shape->layer_count - 1] != 1)
		return error_set(error, CODE_USAGE, "--layers: expected a hidden layer at least, and a last width of 1");
	return 0;
}

void model_shape_print(const struct model_shape *shape, char *text, size_t size)
{
	int used = snprintf(text, size, "%u", shape->user_dimension + shape->item_dimension);
	for (uint32_t l = 0; l < shape->layer_count && used >= 0 && (size_t)used < size; l++)
		used += snprintf(text + used, size - (size_t)used, "-%u", shape->widths[l]);
}

/* ---- parameters ---- */

static bool has_factor_role(const struct model_shape *shape, enum factor_role role)
{
	switch (role) {
	case FACTOR_USERS:
		return shape->kind != MODEL_HISTORY || shape->user_part;
	case FACTOR_ITEMS:
		return true;
	case FACTOR_WEIGHT:
		return shape->kind == MODEL_GMF || shape->kind == MODEL_NEUMF;
	case FACTOR_BIAS:
		return shape->kind == MODEL_GMF;
	case FACTOR_HISTORY:
		return shape->kind == MODEL_HISTORY;
	default:
		return shape->kind == MODEL_HISTORY && shape->features > 0;
	}
}

static size_t tower_matrices(const struct model_shape *shape)
{
	return model_has_tower(shape) ? MATRIX_LAYERS + 2 * (size_t)shape->layer_count : 0;
}

int model_factor_matrix(const struct model_shape *shape, enum factor_role role)
{
	int at = (int)tower_matrices(shape);
	if (!model_has_factors(shape) || !has_factor_role(shape, role))
		return NO_MATRIX;
	for (int r = 0; r < (int)role; r++)
		at += has_factor_role(shape, (enum factor_role)r);
	return at;
}

size_t model_matrix_count(const struct model_shape *shape)
{
	size_t count = tower_matrices(shape);
	for (int role = 0; role < FACTOR_ROLES && model_has_factors(shape); role++)
		count += has_factor_role(shape, (enum factor_role)role);
	return count;
}

char model_matrix_rows(const struct model_shape *shape, size_t m)
{
	static const char of_role[FACTOR_ROLES] = {'u', 'i', 0, 0, 'i', 'f'};
	if (m < tower_matrices(shape))
		return m == MATRIX_USERS ? 'u' : m == MATRIX_ITEMS ? 'i' : 0;
	for (int role = 0; role < FACTOR_ROLES; role++)
		if (model_factor_matrix(shape, (enum factor_role)role) == (int)m)
			return of_role[role];
	return 0;
}

static void add_matrix(struct parameters *parameters, const char *name, uint32_t rows, uint32_t columns)
{
	struct matrix *matrix = &parameters->matrices[parameters->count++];
	*matrix = (struct matrix){.rows = rows, .columns = columns};
	snprintf(matrix->name, sizeof matrix->name, "%s", name);
	matrix->stride = ((size_t)columns + MODEL_LANES - 1) / MODEL_LANES * MODEL_LANES;
	parameters->size += (size_t)rows * matrix->stride;
}

static void add_tower(struct parameters *parameters, const struct model_shape *shape)
{
	char name[48];
	uint32_t inputs = shape->user_dimension + shape->item_dimension;
	add_matrix(parameters, "user_embedding", shape->users, shape->user_dimension);
	add_matrix(parameters, "item_embedding", shape->items, shape->item_dimension);
	for (uint32_t l = 0; l < shape->layer_count; l++) {
		snprintf(name, sizeof name, "mlp.%u.weight", l);
		add_matrix(parameters, name, shape->widths[l], inputs);
		snprintf(name, sizeof name, "mlp.%u.bias", l);
		add_matrix(parameters, name, 1, shape->widths[l]);
		inputs = shape->widths[l];
	}
}

static void add_factors(struct parameters *parameters, const struct model_shape *shape)
{
	const uint32_t columns = model_factor_columns(shape);
	const struct {
		const char *name;
		uint32_t rows, columns;
	} roles[FACTOR_ROLES] = {
		[FACTOR_USERS] = {"user_factors", shape->users, columns},
		[FACTOR_ITEMS] = {"item_factors", shape->items, columns},
		[FACTOR_WEIGHT] = {"gmf.weight", 1, columns},
		[FACTOR_BIAS] = {"gmf.bias", 1, 1},
		[FACTOR_HISTORY] = {"history_factors", shape->items, columns},
		[FACTOR_FEATURES] = {"feature_factors", shape->features, columns},
	};
	for (int role = 0; role < FACTOR_ROLES; role++)
		if (has_factor_role(shape, (enum factor_role)role))
			add_matrix(parameters, roles[role].name, roles[role].rows, roles[role].columns);
}

int parameters_init(struct parameters *parameters, const struct model_shape *shape, struct error *error)
{
	*parameters = (struct parameters){0};
	if (model_has_tower(shape))
		add_tower(parameters, shape);
	if (model_has_factors(shape))
		add_factors(parameters, shape);
	parameters->block = mem_alloc_zero(parameters->size, sizeof(float), error);
	if (!parameters->block)
		return -1;
	float *at = parameters->block;
	for (size_t m = 0; m < parameters->count; m++) {
		parameters->matrices[m].values = at;
		at += (size_t)parameters->matrices[m].rows * parameters->matrices[m].stride;
	}
	return 0;
}

void parameters_release(struct parameters *parameters)
{
	mem_free(parameters->block);
	*parameters = (struct parameters){0};
}

void parameters_copy(struct parameters *to, const struct parameters *from)
{
	memcpy(to->block, from->block, from->size * sizeof(float));
}

bool parameters_finite(const struct parameters *parameters)
{
	/* A value that is not finite makes its difference with itself not zero; padding is zero. */
	for (size_t i = 0; i < parameters->size; i++)
		if (parameters->block[i] - parameters->block[i] != 0.0f)
			return false;
	return true;
}

/* ---- first values ---- */

/* Every row has its own sequence, so a table's rows do not depend on how many there are. */
static void draw_rows(const struct matrix *matrix, size_t number, uint32_t first, double bound, bool normal,
                      uint64_t seed, uint32_t attempt)
{
	const uint32_t stream = rng_stream(RNG_INIT, attempt << 8 | (uint32_t)number);
	for (uint32_t r = first; r < matrix->rows; r++) {
		struct rng rng;
		rng_init(&rng, seed, stream, r);
		for (uint32_t c = 0; c < matrix->columns; c++)
			matrix->values[r * matrix->stride + c] =
				(float)(normal ? bound * rng_normal(&rng) : bound * (2 * rng_unit(&rng) - 1));
	}
}

/* Turns the weights of units that would answer 0 to the mean input (embeddings of 0): draws are symmetric, so
 * only the sign is chosen. `a` holds the layer's inputs there and then its outputs. */
static void turn_units(const struct matrix *weight, const struct matrix *bias, bool last, double *a)
{
	double out[MODEL_WIDTH_MAX];
	for (uint32_t o = 0; o < weight->rows; o++) {
		float *row = weight->values + o * weight->stride;
		double z = 0.0;
		for (uint32_t c = 0; c < weight->columns; c++)
			z += (double)row[c] * a[c];
		for (uint32_t c = 0; c < weight->columns && z < 0 && !last; c++)
			row[c] = -row[c];
		z = last ? z : fabs(z);
		out[o] = z + (double)bias->values[o];
	}
	memcpy(a, out, weight->rows * sizeof *a);
}

static void init_tower(const struct model_shape *shape, struct matrix *matrices, uint64_t seed, uint32_t attempt,
                       uint32_t ratio, uint32_t kept_users, uint32_t kept_items, bool keep_tower)
{
	double response[MODEL_WIDTH_MAX] = {0};
	draw_rows(&matrices[MATRIX_USERS], MATRIX_USERS, kept_users, embedding_deviation, true, seed, attempt);
	draw_rows(&matrices[MATRIX_ITEMS], MATRIX_ITEMS, kept_items, embedding_deviation, true, seed, attempt);
	for (size_t l = 0; l < shape->layer_count && !keep_tower; l++) {
		const struct matrix *weight = &matrices[matrix_weight(l)], *bias = &matrices[matrix_bias(l)];
		const bool last = l + 1 == shape->layer_count;
		draw_rows(weight, matrix_weight(l), 0, sqrt(6.0 / weight->columns), false, seed, attempt);
		for (uint32_t o = 0; o < bias->columns; o++)
			bias->values[o] = last ? (float)(ratio ? -maths_log(ratio) : 0.0) : hidden_bias;
		turn_units(weight, bias, last, response);
	}
}

/* Biases and the ones that they are multiplied by: of users (bias, 1), of items (1, bias). */
static void init_biases(const struct model_shape *shape, const struct matrix *matrix, enum factor_role role,
                        uint32_t first, float prior)
{
	for (uint32_t r = first; r < matrix->rows && model_has_biases(shape); r++) {
		float *pair = matrix->values + r * matrix->stride + shape->factors;
		pair[0] = role == FACTOR_USERS ? prior : role == FACTOR_ITEMS ? 1.0f : 0.0f;
		pair[1] = role == FACTOR_USERS ? 1.0f : 0.0f;
	}
}

/* Rows of factors are normal with a deviation of 0.01 as well, those of ials of 0.1 / sqrt(factors) (Rendle et al.
 * 2022); the weights h begin at 1: a plain dot product. */
static void init_factors(const struct model_shape *shape, struct parameters *parameters, uint64_t seed,
                         uint32_t attempt, uint32_t ratio, uint32_t kept_users, uint32_t kept_items, bool keep_weights)
{
	const float prior = (float)(ratio ? -maths_log(ratio) : 0.0);
	const double deviation = shape->kind == MODEL_IALS ? 0.1 / sqrt(shape->factors) : embedding_deviation;
	for (int role = 0; role < FACTOR_ROLES; role++) {
		const int m = model_factor_matrix(shape, (enum factor_role)role);
		if (m == NO_MATRIX)
			continue;
		const struct matrix *matrix = &parameters->matrices[m];
		const char rows = model_matrix_rows(shape, (size_t)m);
		const uint32_t kept = rows == 'u' ? kept_users : rows == 'i' ? kept_items : keep_weights ? matrix->rows : 0;
		if (role == FACTOR_WEIGHT || role == FACTOR_BIAS) {
			for (uint32_t c = 0; c < matrix->columns && !keep_weights; c++)
				matrix->values[c] = role == FACTOR_WEIGHT ? 1.0f : prior;
			continue;
		}
		draw_rows(matrix, (size_t)m, kept, deviation, true, seed, attempt);
		init_biases(shape, matrix, (enum factor_role)role, kept, prior);
	}
}

void model_init_values(const struct model_shape *shape, struct parameters *parameters, uint64_t seed,
                       uint32_t attempt, uint32_t ratio, uint32_t kept_users, uint32_t kept_items, bool keep_tower)
{
	if (model_has_tower(shape))
		init_tower(shape, parameters->matrices, seed, attempt, ratio, kept_users, kept_items, keep_tower);
	if (model_has_factors(shape))
		init_factors(shape, parameters, seed, attempt, ratio, kept_users, kept_items, keep_tower);
}
