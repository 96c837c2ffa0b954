/* A model: its architecture, its parameters, and the safetensors file that holds them.
 *
 * Parameters live in one aligned block of named matrices of float, rows padded with zeros to a multiple of
 * 16 so that kernels need no tails; files hold the unpadded rows. A model is a tower, a product of factors, or
 * their sum:
 *   tower    z1 = W1 [user_embedding ; item_embedding] + b1,  a = relu(z),  z(l+1) = W(l+1) a(l) + b(l+1)
 *   factors  sum over k of h_k x_k y_k, x a row of user_factors, y of item_factors
 * with PyTorch's [out, in] layout and names user_embedding, item_embedding, mlp.0.weight, mlp.0.bias, …
 *
 *   mlp      the tower (He et al. 2017)
 *   gmf      factors with learned weights h and a bias (generalised matrix factorisation, the same)
 *   neumf    both, summed: one bias, the tower's (the same)
 *   mf       a biased dot product: h = 1, and two more columns hold (bias, 1) of users and (1, bias) of items
 *   history  as mf, but x is the mean of history_factors over the items of the user's history (asymmetric
 *            factors: Paterek 2007, Koren 2008) plus, with a user part, a row of user_factors; y may gain the
 *            sum of feature_factors over the item's features
 *   ials     a dot product by weighted alternating least squares (ials.h) */
#ifndef RECPIPE_MODEL_H
#define RECPIPE_MODEL_H

#include <jansson.h>

#include "compat.h"
#include "error.h"
#include "records.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { MODEL_LAYERS_MAX = 16, MODEL_LANES = 16, MODEL_MATRICES_MAX = 64, MODEL_WIDTH_MAX = 4096 };

enum model_kind { MODEL_MLP, MODEL_GMF, MODEL_NEUMF, MODEL_MF, MODEL_HISTORY, MODEL_IALS, MODEL_KINDS };

/* "mlp", "gmf", … in the order of the enum; NULL ends them. */
extern const char *const model_kind_names[MODEL_KINDS + 1];

struct model_shape {
	enum model_kind kind;
	uint32_t users, items;
	uint32_t user_dimension, item_dimension; /* 64 and 64 in the seed; each a multiple of 16 not required */
	uint32_t layer_count;                    /* dense layers, the last has width 1; 0: no tower */
	uint32_t widths[MODEL_LAYERS_MAX];       /* outputs of each layer: 64, 32, 16, 8, 4, 1 */
	uint32_t factors;                        /* of the product; 0: none */
	uint32_t features;                       /* history: of items (genres, years); 0: none */
	bool user_part;                          /* history: users have factors of their own */
};

static inline bool model_has_tower(const struct model_shape *shape)
{
	return shape->kind == MODEL_MLP || shape->kind == MODEL_NEUMF;
}
static inline bool model_has_factors(const struct model_shape *shape)
{
	return shape->kind != MODEL_MLP;
}
/* Whether rows of factors end with the columns of the biases. */
static inline bool model_has_biases(const struct model_shape *shape)
{
	return shape->kind == MODEL_MF || shape->kind == MODEL_HISTORY;
}
static inline uint32_t model_factor_columns(const struct model_shape *shape)
{
	return shape->factors + (model_has_biases(shape) ? 2 : 0);
}

/* One named matrix of a parameter set. Vectors (biases) have rows = 1. */
struct matrix {
	char name[48];
	uint32_t rows, columns;
	size_t stride;            /* floats between rows: columns rounded up to MODEL_LANES */
	float *values;            /* into the block of the set */
};

/* All parameters of a model, or one moment of the optimiser for each (the same layout). */
struct parameters {
	struct matrix matrices[MODEL_MATRICES_MAX];
	size_t count;
	float *block;             /* owned */
	size_t size;              /* floats in the block */
};

/* Positions in parameters.matrices of a tower: the embeddings, then weight and bias of each layer. */
enum { MATRIX_USERS = 0, MATRIX_ITEMS = 1, MATRIX_LAYERS = 2 };
static inline size_t matrix_weight(size_t layer) { return MATRIX_LAYERS + 2 * layer; }
static inline size_t matrix_bias(size_t layer) { return MATRIX_LAYERS + 2 * layer + 1; }

/* What a matrix is of the product of factors; they stand behind those of the tower. */
enum factor_role { FACTOR_USERS, FACTOR_ITEMS, FACTOR_WEIGHT, FACTOR_BIAS, FACTOR_HISTORY, FACTOR_FEATURES, FACTOR_ROLES };

enum { NO_MATRIX = -1 };

/* Position of the matrix of `role` in parameters.matrices, NO_MATRIX when the kind of model has none. */
int model_factor_matrix(const struct model_shape *shape, enum factor_role role);

/* How many matrices a model has. */
size_t model_matrix_count(const struct model_shape *shape);

/* What the rows of matrix `m` are of: 'u' users, 'i' items, 'f' features, 0 none of them (its rows do not grow). */
char model_matrix_rows(const struct model_shape *shape, size_t m);

/* Reads "128-64-32-16-8-4-1" into the tower of a shape: the first number is the input width (user + item dimension,
 * halved), the last must be 1. The shape's kind becomes MODEL_MLP. CODE_USAGE otherwise. */
MUST_CHECK int model_shape_parse(const char *layers, struct model_shape *shape, struct error *error);
void model_shape_print(const struct model_shape *shape, char *text, size_t size);

/* Zeroed parameters of `shape`. */
MUST_CHECK int parameters_init(struct parameters *parameters, const struct model_shape *shape, struct error *error);
void parameters_release(struct parameters *parameters);
/* Copies values between two sets of the same shape. */
void parameters_copy(struct parameters *to, const struct parameters *from);
/* True when every value is finite. */
bool parameters_finite(const struct parameters *parameters);

/* Draws initial values by (seed, attempt): see model.c for the scheme and why towers do not die of it.
 * Rows below `kept_users` and `kept_items` and, when `keep_tower`, the dense layers are left as they are. */
void model_init_values(const struct model_shape *shape, struct parameters *parameters, uint64_t seed,
                       uint32_t attempt, uint32_t ratio, uint32_t kept_users, uint32_t kept_items, bool keep_tower);

/* ---- safetensors: 8-byte length, JSON header, then the tensors ---- */

/* Further named float32 tensors that a file holds beside the parameters (optimiser, best epoch). */
struct model_file {
	struct model_shape shape;
	struct stream_info ids;             /* id maps the model was trained on (owned) */
	json_t *metadata;                   /* owned: "options", "seed", "metrics", "training" position …: strings only,
	                                       as safetensors demands; NULL allowed when writing */
	struct parameters parameters;
	/* A checkpoint has these as well, under "adam.m.", "adam.v.", "average." and "best." + name. */
	bool is_checkpoint, has_average, has_best;
	struct parameters moment1, moment2, average, best;
};

/* Writes `file` to `path` atomically. The digest of the tensors goes into the metadata. */
MUST_CHECK int model_write(const struct model_file *file, const char *path, struct error *error);

/* The same into an output that is open: a tool that trains for hours finds out first whether it can write. */
struct output;
MUST_CHECK int model_write_to(const struct model_file *file, struct output *output, struct error *error);

/* Reads and checks everything: sizes against the file before any allocation, names, shapes, dtype, digest,
 * finite values. CODE_DATA with what is wrong. Release `file` in any case. */
MUST_CHECK int model_read(struct model_file *file, const char *path, struct error *error);
void model_file_release(struct model_file *file);

#ifdef __cplusplus
}
#endif
#endif
