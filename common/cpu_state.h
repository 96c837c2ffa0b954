/* The inside of the CPU backend, shared by its own sources (backend_cpu.c and cpu_*.c) and nobody else.
 *
 * The first layer is split: W1 [u ; i] = W1u u + W1i i. Each half is computed once for every distinct user
 * and item of a batch; backward, the gradients of z1 are first summed per row and then multiplied once. The
 * rest of the tower runs over blocks of TRAIN_ROWS samples. Samples of a group share their user, so the user's side
 * goes by pieces, the runs of samples of one user that blocks leave whole. Work is cut into shards by the batch alone;
 * each shard adds into its own gradient, and shards are summed in order: threads never change a bit. */
#ifndef RECPIPE_CPU_STATE_H
#define RECPIPE_CPU_STATE_H

#include "backend.h"
#include "ials.h"
#include "kernels.h"
#include "parallel.h"

enum {
	GRADIENT_SHARDS = 16,     /* at most; fewer for small batches */
	DENSE_SLICES_MAX = 512,
	SLICE_FLOATS = 1024,
	SAMPLING_PIECE = 512,     /* groups drawn by one task */
	INLINE_SAMPLES = 100,     /* batches below this are not worth waking threads for */
	SIDES = 2,
};

enum side_name { SIDE_USER, SIDE_ITEM };

/* The distinct rows of one side of a batch, and which uses (pieces of the user's side, samples of the item's) are
 * of each. */
struct side_index {
	uint32_t *rows;           /* ids in order of first appearance */
	size_t count;
	uint32_t *slots;          /* of each use: position in rows */
	uint32_t *starts;         /* count + 1 */
	uint32_t *uses;           /* of slot s: uses[starts[s] .. starts[s + 1]), ascending */
};

struct batch {
	uint64_t begin, end;      /* groups of the span's epoch */
	size_t groups, samples;
	uint32_t *users, *items;  /* groups; samples */
	float *weights;           /* samples; used when `missing` */
	uint64_t missing;
	uint64_t *piece_missing;
	struct side_index sides[SIDES];
};

/* One half of the first layer and the embedding table it multiplies; and the side's table of factors. */
struct side {
	size_t matrix;            /* MATRIX_USERS or MATRIX_ITEMS, where there is a tower */
	struct dense_layer half;
	uint32_t *slot_of;        /* of each id, while a batch is indexed (a sparse set: never cleared) */
	float *parts;             /* their halves of z1 [distinct][tower.padded] */
	float *gradients;         /* dense Adam only: a gradient for every row of the table */

	int factors;              /* matrix of the side's factors, NO_MATRIX without */
	float *factor_inputs;     /* gathered rows of the batch [distinct][factor_stride] */
	float *factor_gradients;  /* dense Adam only */
};

/* The product of factors (see model.h), where the model has one. */
struct factor_part {
	size_t stride, columns;
	float *weight;            /* [stride]: ones, or into the dense block */
	const float *bias;        /* NULL: none, or into the dense block */
	float *ones;              /* owned */
	size_t weight_at, bias_at;/* in the dense block; valid when has_weight, bias */
	bool has_weight;
	size_t fixed[SIDES];      /* the column of ones on each side; columns: none */
	/* Scoring: the items' factors, transposed [columns][item_stride], computed when the parameters change. */
	float *item_columns;
	size_t item_stride;
	float *item_rows;         /* [items][stride]: the items' factors, those of their features added */
	bool own_rows;            /* item_rows is not the table itself */
};

/* What training by users needs (cpu_catalogue.c). */
struct catalogue {
	size_t users, rows;       /* of a batch; rounded up to TILE_ROWS */
	size_t items;             /* rounded up to BLOCK_ROWS */
	size_t chunk, chunks;     /* items a task, and how many tasks */
	float *queries, *query_gradients; /* [rows][stride] */
	float *partials;          /* [chunks][rows][stride] */
	float *scores;            /* [rows][items]: scores, then their gradients */
	float *item_gradients;    /* [items][stride] */
	float *feature_gradients; /* [features][stride] */
	double *losses;
	float *norms;             /* 1 / sqrt(items put in) */
	void *inputs, *uses;      /* uint32_t: items put in, user by user; users, item by item */
	size_t input_capacity, use_capacity;
	size_t *starts;           /* of each user's inputs */
	uint32_t *use_starts;     /* of each item's uses */
	uint32_t *cold;           /* items without interactions, where there are features */
	size_t cold_count;
};

/* A stretch of the dense block that one task reduces, steps and prepares. */
struct dense_slice {
	size_t at, count;
	const struct dense_layer *layer; /* NULL for biases */
	size_t first_row;
	int region;               /* which shards added to it: SIDE_USER, SIDE_ITEM or REGION_TOWER */
};

enum { REGION_TOWER = SIDES, REGIONS };

struct worker {
	float *scratch;           /* a block's activations */
	float *lanes;             /* gradients of the tower's tail, by lanes */
	float *parts;             /* [BLOCK_ROWS][tower.padded]: halves of z1, or their gradients */
	float *rows, *inputs;     /* [BLOCK_ROWS][widest half]: rows of embeddings; those to be scored, or gradients */
	float *factor_rows;       /* [BLOCK_ROWS][factor stride]: queries, or a gradient */
	float *dots;              /* [BLOCK_ROWS][FACTOR_COLUMNS_MAX] */
	float *columns;           /* [factor columns][BLOCK_ROWS]: factors of listed items, transposed */
};

struct backend_state {
	struct model_shape shape;
	struct backend_options options;
	const struct kernels *kernels;
	const struct tower_kernels *towers;
	const struct loss_kernels *losses;
	const struct factor_kernels *factor_kernels;
	const struct catalogue_kernels *catalogue_kernels;
	struct pool *pool;
	struct parameters values, moment1, moment2; /* embeddings live here, in the model's own layout */

	/* The dense layers as one block: user half, first bias, item half, then weight and bias of each layer. */
	size_t dense_size;
	float *dense, *dense_moment1, *dense_moment2, *prepared;
	float *shard_gradients;   /* [GRADIENT_SHARDS][dense_size] */
	double *shard_losses;
	size_t region_shards[REGIONS];
	struct dense_slice slices[DENSE_SLICES_MAX];
	size_t slice_count;
	size_t first_bias_at;
	size_t blocks_at;         /* from here on blocks of samples add to it */

	bool has_tower, has_factors;
	struct tower tower;
	struct factor_part factors;
	struct catalogue catalogue;
	struct ials *ials;        /* LOSS_SQUARES */
	struct side sides[SIDES];
	struct worker *workers;
	size_t worker_count;

	/* Training */
	size_t batch_samples;     /* room in the buffers below */
	struct batch batches[2];  /* the current one and the one being prepared */
	size_t block_samples;     /* at most TRAIN_ROWS where there is a tower */
	size_t piece;             /* the group where blocks hold whole groups, else 1 */
	float *z1_gradients;      /* [samples][tower.padded] */
	float *piece_gradients;   /* [pieces][tower.padded], their sums; z1_gradients where a piece is a sample */
	float *logits;            /* [samples]: logits, then their gradients */
	uint64_t step;
	struct adam_step adam;
	char description[64];

	/* Scoring: item halves of all items, computed when the parameters change: a row an item, [items][tower.padded], and
	 * (for rankings of all items) side by side, [blocks][tower.width][BLOCK_ROWS]. The same goes for the factors. */
	float *item_parts, *item_blocks;
	bool items_current;
};

/* cpu_batch.c */
MUST_CHECK int cpu_batches_init(struct backend_state *state, struct error *error);
void cpu_batches_release(struct backend_state *state);
/* Sets which groups a batch holds. */
void cpu_batch_place(struct backend_state *state, struct batch *batch, uint64_t begin, uint64_t end);
size_t cpu_batch_pieces(const struct batch *batch);
/* Draws or copies the groups of piece `piece`. */
void cpu_batch_draw(struct batch *batch, const struct train_span *span, uint32_t ratio, size_t piece);
/* Distinct rows of one side; the item's comes with the weights of samples that do not exist. */
void cpu_batch_index(struct backend_state *state, struct batch *batch, enum side_name which);

/* backend_cpu.c */
void cpu_run(struct backend_state *state, bool in_line, size_t shards,
             void (*work)(void *context, size_t shard, size_t worker), void *context);

/* cpu_dense.c */
enum direction { PACK, UNPACK };
/* Lays out and allocates the dense block of the state's shape. */
MUST_CHECK int cpu_dense_init(struct backend_state *state, struct error *error);
/* Moves dense layers between the model's matrices and `block`. */
void cpu_dense_move(struct backend_state *state, enum direction direction, float *block,
                    const struct parameters *parameters);
/* Brings what is prepared of the weights up to date: all of it, or of rows [first, first + rows) of a wide layer. */
void cpu_dense_prepare(struct backend_state *state);
void cpu_dense_prepare_rows(struct backend_state *state, const struct dense_layer *layer, size_t first, size_t rows);

/* cpu_factors.c */
/* Lays out what the dense block holds of the factors from `at` on; returns where it ends. */
size_t cpu_factors_shape(struct backend_state *state, size_t at);
MUST_CHECK int cpu_factors_init(struct backend_state *state, struct error *error);
MUST_CHECK int cpu_factors_init_training(struct backend_state *state, enum side_name which, size_t rows,
                                         struct error *error);
void cpu_factors_release(struct backend_state *state);
/* Rows [first, first + count) of a side's index into its factor_inputs. */
void cpu_factors_gather(struct backend_state *state, enum side_name which, const struct side_index *index,
                        size_t first, size_t count);
/* Logits of a batch's samples [first, first + count), less the items' offsets; and, from their gradients, those of
 * the weights. */
void cpu_factors_forward(struct backend_state *state, const struct batch *batch, size_t first, size_t count);
void cpu_factors_backward(struct backend_state *state, const struct batch *batch, size_t first, size_t count,
                          float *gradient);
/* Gradients and Adam for rows [first, first + count) of a side's index. */
void cpu_factors_step(struct backend_state *state, enum side_name which, const struct batch *batch, size_t first,
                      size_t count, struct worker *worker);
/* Brings item_rows and item_columns up to date, room for them included; of rows [first, last) alone, `last` a multiple
 * of 16 or the last item. */
MUST_CHECK int cpu_factors_items(struct backend_state *state, struct error *error);
void cpu_factors_refresh(struct backend_state *state, size_t first, size_t last);
/* Adds the items of a history, each times `factor`, to a user's vector. */
void cpu_factors_pool(const struct backend_state *state, const uint32_t *items, size_t count, float factor,
                      float *query);
/* Scoring: a user's query; scores of a block of listed items. */
void cpu_factors_query(const struct backend_state *state, uint32_t user, float *query);
void cpu_factors_score(const struct backend_state *state, struct worker *worker, const float *query,
                       const uint32_t *items, size_t count, float *scores);

/* cpu_catalogue.c */
MUST_CHECK int cpu_catalogue_init(struct backend_state *state, struct error *error);
void cpu_catalogue_release(struct backend_state *state);
int cpu_catalogue_train(struct backend_state *state, const struct train_span *span, struct train_result *result,
                        struct error *error);

/* cpu_ials.c */
MUST_CHECK int cpu_ials_init(struct backend_state *state, struct error *error);
int cpu_ials_train(struct backend_state *state, const struct train_span *span, struct train_result *result,
                   struct error *error);

/* cpu_train.c */
/* Adam's constants for the state's step. */
void cpu_set_adam(struct backend_state *state, double rate);
/* Asks for what Adam is about to change: a row of a table and of its moments. */
void cpu_read_ahead(const struct backend_state *state, size_t matrix, size_t row);
int cpu_train(struct backend_state *state, const struct train_span *span, struct train_result *result,
              struct error *error);

/* cpu_score.c */
int cpu_score_lists(struct backend_state *state, const struct score_lists *lists, struct error *error);
int cpu_score_top(struct backend_state *state, const struct score_top *request, struct error *error);

#endif
