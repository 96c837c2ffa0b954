/* The inside of the CPU backend, shared by its own sources (backend_cpu.c, cpu_batch.c, cpu_train.c,
 * cpu_score.c) and nobody else.
 *
 * The first layer is split: W1 [u ; i] = W1u u + W1i i. Each half is computed once for every distinct user
 * and item of a batch; backward, the gradients of z1 are first summed per row and then multiplied once. The
 * rest of the tower runs over blocks of BLOCK_ROWS samples. Work is cut into shards by the batch alone;
 * each shard adds into its own gradient, and shards are summed in order: threads never change a bit. */
#ifndef RECPIPE_CPU_STATE_H
#define RECPIPE_CPU_STATE_H

#include "backend.h"
#include "kernels.h"
#include "parallel.h"

enum {
	GRADIENT_SHARDS = 16,     /* at most; fewer for small batches */
	DENSE_SLICES_MAX = 512,
	SLICE_FLOATS = 1024,
	SAMPLING_PIECE = 512,     /* groups drawn by one task */
	INLINE_SAMPLES = 256,     /* batches below this are not worth waking threads for */
	SIDES = 2,
};

enum side_name { SIDE_USER, SIDE_ITEM };

/* The distinct rows of one side of a batch, and which samples use each. */
struct side_index {
	uint32_t *rows;           /* ids in order of first appearance */
	size_t count;
	uint32_t *slots;          /* of each sample: position in rows */
	uint32_t *starts;         /* count + 1 */
	uint32_t *samples;        /* of slot s: samples[starts[s] .. starts[s + 1]), ascending */
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

/* One half of the first layer and the embedding table it multiplies. */
struct side {
	size_t matrix;            /* MATRIX_USERS or MATRIX_ITEMS */
	struct dense_layer half;
	uint32_t *slot_of;        /* of each id, while a batch is indexed (a sparse set: never cleared) */
	float *inputs;            /* gathered rows of the batch [distinct][half.inputs_padded] */
	float *parts;             /* their halves of z1 [distinct][tower.padded] */
	float *gradients;         /* dense Adam only: a gradient for every row of the table */
};

/* A stretch of the dense block that one task reduces, steps and transposes. */
struct dense_slice {
	size_t at, count;
	const struct dense_layer *layer; /* NULL for biases */
	size_t first_row;
	int region;               /* which shards added to it: SIDE_USER, SIDE_ITEM or REGION_TOWER */
};

enum { REGION_TOWER = SIDES, REGIONS };

struct worker {
	float *scratch;           /* a block's activations */
	float *parts;             /* [BLOCK_ROWS][tower.padded]: halves of z1, or their gradients */
	float *inputs;            /* [BLOCK_ROWS][widest half]: rows of embeddings, or their gradients */
};

struct backend_state {
	struct model_shape shape;
	struct backend_options options;
	const struct kernels *kernels;
	struct pool *pool;
	struct parameters values, moment1, moment2; /* embeddings live here, in the model's own layout */

	/* The dense layers as one block: user half, first bias, item half, then weight and bias of each layer. */
	size_t dense_size;
	float *dense, *dense_moment1, *dense_moment2, *transposed;
	float *shard_gradients;   /* [GRADIENT_SHARDS][dense_size] */
	double *shard_losses;
	size_t region_shards[REGIONS];
	struct dense_slice slices[DENSE_SLICES_MAX];
	size_t slice_count;
	size_t first_bias_at;

	struct tower tower;
	struct side sides[SIDES];
	struct worker *workers;
	size_t worker_count;

	/* Training */
	size_t batch_samples;     /* room in the buffers below */
	struct batch batches[2];  /* the current one and the one being prepared */
	float *z1_gradients;      /* [samples][tower.padded] */
	uint64_t step;
	struct adam_step adam;
	char description[64];

	/* Scoring: item halves of all items, computed when the parameters change */
	float *item_parts;
	bool item_parts_current;
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

/* cpu_train.c */
int cpu_train(struct backend_state *state, const struct train_span *span, struct train_result *result,
              struct error *error);

/* cpu_score.c */
int cpu_score_lists(struct backend_state *state, const struct score_lists *lists, struct error *error);
int cpu_score_top(struct backend_state *state, const struct score_top *request, struct error *error);

#endif
