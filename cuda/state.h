/* The inside of the CUDA backend, shared by its sources and nobody else.
 *
 * Parameters and moments lie on the device as the host has them: one block each, every matrix at the same place.
 * A batch goes through these steps, each a few kernels; nothing waits for the host within a span:
 *
 *   ahead     draw the groups (sample.cu); sort the uses of either side by row and number the distinct rows (index.cu)
 *   project   halves of the first layer for every distinct row (rows.cu), the factors' logits (factors.cu)
 *   tower     tiles of samples through the tower, the loss, and back, all in shared memory (tower.cu, tile.h); or the
 *             whole batch by cuBLAS, a layer at a time (plain.cu, blas.h)
 *   rows      gradients summed per row (segment.cu), back through the half, Adam on the row (rows.cu, factors.cu)
 *   dense     the blocks' gradients of layers summed in order, Adam (adam.cu)
 *
 * `ahead` of the next batch runs beside the others on a stream of its own. Sums go in an order that the batch alone
 * decides: a run repeats its bytes. */
#ifndef RECPIPE_CUDA_STATE_H
#define RECPIPE_CUDA_STATE_H

#include "device.h"
#include "fragments.h"

enum side_name { SIDE_USER, SIDE_ITEM, SIDES };

enum {
	NO_ITEM_ID = -1,          /* records.h: NO_ITEM */
	SAMPLER_ROUNDS_COPY = 8,  /* sampler_internal.h: SAMPLER_ROUNDS */
#ifdef WATCHED /* few, so that small batches take blocks round their loops, and are cut */
	GRID_MAX = 3, GRID_WIDE = 3, SORT_BLOCKS = 3, ROUND_USERS = 128, PIECE_ITEMS = 256,
#else
	GRID_MAX = 512,           /* blocks that accumulate gradients: each has a copy of its own */
	GRID_WIDE = 4096,         /* blocks that do not */
	SORT_BLOCKS = 128,        /* that sort a side's uses, each by the counts of all: index.cu */
	ROUND_USERS = 4096,       /* whose scores of the whole catalogue are kept at once: by_users.h */
	PIECE_ITEMS = 4096,       /* of a row of such scores that a block takes */
#endif
	LAYERS_MAX = MODEL_LAYERS_MAX,
	SEGMENTS_MAX = 2 * LAYERS_MAX + 8,
};

/* One batch of a span, as kernels want to know it. */
struct step {
	uint64_t begin;           /* first place in the epoch */
	uint64_t number;          /* of the optimiser's step */
	uint32_t groups, samples; /* 0 behind the last one */
	uint32_t first_sample, samples_of_all; /* where a rank's part begins in the batch; of all ranks (several.h) */
	uint32_t epoch, keys[SAMPLER_ROUNDS_COPY]; /* of the sampler's permutation */
	float rate, decay, beta1, rest1, beta2, rest2, scale2, epsilon; /* Adam: see kernels.h, adam_step */
};

/* A matrix of the parameters, by rows. */
struct table {
	size_t at, stride;        /* floats: where it begins in the block, and between rows */
	uint32_t rows, columns;
};

/* The distinct rows of one side of a batch, and the uses of each: groups of the user's side, samples of the item's. */
struct row_index {
	uint32_t *keys[2], *uses[2]; /* sorted by key, then use; which of the two, the number of passes decides */
	uint32_t *slots;          /* of each use */
	uint32_t *slot_at;        /* of each place in sorted order */
	uint32_t *rows, *starts;  /* of each slot: id; its uses' places begin. starts[count] is the number of uses */
	uint32_t *count;
};

struct batch {
	uint32_t *users, *items;  /* groups; samples */
	float *weights;           /* samples: 0 for those that do not exist, which have the item of their positive */
	uint32_t *missing;        /* how many those are */
	struct row_index sides[SIDES];
};

/* Where the pieces of a tile lie. Whatever does not fit into shared memory lies in global memory. */
struct plan {
	uint32_t tile, pitch;     /* samples, and floats between units; a multiple of 4 */
	uint32_t units;           /* rows of the tile */
	uint32_t gradient_floats, weight_floats; /* a block's gradient; its copy of the weights, 0: none */
	bool shares_tile, shares_gradient;
	bool narrow;              /* narrow.cu: all is shared, units are that file's own */
	bool all;                 /* tile, gradient and weights are shared: kernels have a variant for it */
	bool wide;                /* goes as wide.h has it */
	uint32_t blocks;          /* at most */
	size_t shared_bytes;
	float *scratch;           /* [blocks][units][pitch], when the tile is not shared */
	float *partials;          /* [blocks][gradient_floats] */
};

/* One side: its embeddings with their half of the first layer, and its factors. */
struct side {
	struct table embeddings, factors;
	size_t half;              /* where the half begins in the block: the layer's weight, some columns on */
	uint32_t uses_max, rows_max; /* of a batch */
	uint32_t ids, passes, digit_bits; /* of the sort */
	struct plan forth, back;  /* through the half: gradient [width][dimension] of the half, then of the first bias */
	float *parts;             /* [rows_max][width]: halves of z1 */
	float *gradients;         /* dense Adam: a gradient for every row */
	float *factor_gradients;
	/* segment.cu: [rows_max][columns], [chunks][2][columns]; by side, and of the factors apart, as they go by branches of a graph */
	float *sums, *cuts, *factor_sums, *factor_cuts;
	uint32_t *sort_counts;    /* index.cu */
	/* Of a rank of several (several.h): embeddings and factors, by slot, as their owners sent them, and what goes back to
	 * those. NULL: rows are the tables', and are stepped there. */
	float *fetched, *fetched_gradients, *fetched_factors, *fetched_factor_gradients;
};

struct layer {
	size_t weight, bias;      /* in the block */
	uint32_t inputs, outputs, stride;
	uint32_t gradient_at;     /* [outputs][inputs], then [outputs], in a block's gradient (fragments.h) */
	uint32_t weight_at;       /* [outputs][layer_pitch()] in the shared copy of weights */
	uint32_t unit_at;         /* its outputs in the tile */
};

/* The tower behind the first layer. */
struct tower {
	uint32_t width;           /* of the first layer */
	uint32_t layer_count;
	struct layer layers[LAYERS_MAX];
};

/* The tower in whole matrices (plain.cu), which go by slices of a batch. */
struct plain {
	bool chosen;              /* else the tower stays in tiles */
	uint32_t slice;           /* samples */
	uint32_t blocks;          /* that sum over a slice's samples */
	size_t unit_at[LAYERS_MAX]; /* where each layer's [slice][outputs] begins in `units` */
	uint32_t bias_at[LAYERS_MAX], biases; /* where each layer's begin in a row of bias_sums; floats of a row */
	float *units, *spare;     /* spare: [slice][inputs] of any layer; scoring: both are, of any width */
	float *gradient;          /* of the layers' weights: each [outputs][inputs] at its gradient_at */
	float *bias_sums;         /* [blocks][biases] */
};

/* Dense matrices are stepped in parts, each once nothing reads it any more: the halves of the first layer behind their
 * sides' rows, the other layers behind the tower, the factors' weights behind the factors' rows. */
enum dense_part { DENSE_HALVES, DENSE_LAYERS, DENSE_WEIGHTS, DENSE_PARTS };

/* Part of a gradient of dense matrices, for Adam. */
struct segment {
	enum dense_part part;
	const float *partials;    /* [count][stride] */
	uint32_t count, stride;
	uint32_t rows, columns;   /* [rows][columns] at partials, or the fragments of that */
	size_t at, value_stride;  /* where its values are */
	bool decays, stands;      /* stands: its gradient is nothing but rounding and taken for 0 */
	bool fragments;           /* it lies as fragments.h has it, with padding */
	uint32_t size;            /* floats */
};

struct segments {
	uint32_t count;
	uint32_t first_block[SEGMENTS_MAX + 1];
	struct segment of[SEGMENTS_MAX];
};

/* The sampler's tables on the device, and which sampler they are of. */
struct sampler_copy {
	struct sampler of;
	const uint32_t *known_items;
	uint64_t known_count, fingerprint;
	uint64_t *offsets;
	uint32_t *item_ids, *users, *bitmap, *alias_least, *alias_other;
};

/* CSR on the device. */
struct interactions_copy {
	uint32_t users;
	uint64_t *offsets;
	uint32_t *item_ids;
};

/* A round of pairs, on the device and, pinned, on the host. */
struct list_slot {
	uint32_t *users, *slots, *items;
	float *scores;
	uint32_t *host_users, *host_slots, *host_items;
	float *host_scores;
	size_t first, pairs;
	uint32_t user_count;
};

struct scoring {
	bool current;             /* item_parts are of the parameters */
	float *item_parts;        /* [items][width]; NULL: not made yet, or too large for the device */
	struct list_slot lists[2];
	size_t pairs;             /* of a round at most; 0 until lists are scored */
	float *user_parts, *queries;
	float *round_parts;       /* [pairs][width], where item_parts are too large */
};

struct backend_state {
	struct device device;
	struct model_shape shape;
	struct backend_options options;
	size_t size;              /* floats in a block */
	float *values, *moment1, *moment2;
	bool has_tower, has_factors, has_biases;
	uint32_t group;           /* samples */
	struct layer first;       /* the first layer: weight, bias, stride, outputs */
	struct tower tower;
	struct side sides[SIDES];
	struct table factor_weight, factor_bias; /* rows 0: none */
	struct plan forward;      /* of the tower, for scoring */
	float *offsets;           /* of items' logits; NULL: none */
	struct blas *blas;        /* blas.h; NULL where nothing goes by it */
	struct plain plain, plain_forward; /* in the places of through and forward */

	/* Training */
	uint32_t samples_max, groups_max;
	struct batch batches[2];
	struct plan through;      /* the tower: gradient of its layers */
	float *z1_gradients;      /* [samples][width] */
	bool row_tiles;           /* halves of the first layer go by row_tiles.cu */
	bool z1_halves;           /* as bf16, two columns a word, the lower half first: [samples][width / 2] */
	float *logits;            /* [samples]: the factors', then the derivatives */
	float *weight_partials;   /* [blocks][factor stride + 4]: gradients of the factors' weights, then the bias */
	uint32_t factor_blocks, loss_blocks; /* factor_blocks: of users' rows */
	double *losses;           /* [loss_blocks] */
	double *loss_sum;         /* of the span */
	uint64_t *missing_sum;
	struct segments segments;
	struct sampler_copy sampler;
	struct step *steps;       /* of a span */
	size_t steps_max;
	struct step *current;     /* [2]: of the two batches, when graphs are replayed */
	uint32_t *cursor;         /* the next of `steps` */
	bool has_graphs;
	uint64_t step;

	uint32_t rank, ranks;     /* 0 of 1, or of several devices that train together */
	struct several *several;  /* the state of several devices, which has nothing of its own beside; NULL: of one */

	struct scoring scoring;
	struct catalogue_state *catalogue; /* of mf trained by users and of histories (by_users.h); owned, NULL: neither */
	char description[DEVICE_NAME_SIZE + 64];
};

#ifdef __cplusplus
extern "C" {
#endif

/* backend.cu: a state that was laid out gets device `number` and all its memory; its parameters are still to be put. On
 * errors too cuda_leave frees what there is. */
MUST_CHECK int cuda_open_state(struct backend_state *state, int number, struct error *error);
/* Gives the device back. */
void cuda_leave(struct backend_state *state);
/* What was computed from the parameters for scoring is no longer theirs. */
void cuda_values_changed(struct backend_state *state);

/* layout.cu: a matrix of the model, rows 0 when it has none of that name. */
struct table cuda_find_table(const struct parameters *parameters, const char *name);
/* Finds the matrices; refuses what the backend does not do, naming it. */
MUST_CHECK int cuda_lay_out(struct backend_state *state, const struct parameters *parameters, struct error *error);
/* A tile of `units` rows, with `gradient` and `weights` floats beside it, for a kernel over up to `things` samples, which
 * go by `least` at once. */
MUST_CHECK int cuda_plan(struct backend_state *state, struct plan *plan, size_t units, size_t gradient, size_t weights,
                         uint32_t things, uint32_t least, struct error *error);
/* The same, but memory: how it would lie. */
void cuda_plan_shares(const struct backend_state *state, struct plan *plan, size_t units, size_t gradient, size_t weights,
                      uint32_t least);
MUST_CHECK int cuda_init_training(struct backend_state *state, struct error *error);
size_t cuda_plan_bytes(const struct plan *plan); /* of shared memory */

/* tensor.cu: refuses a precision that the device does not have; finds the shares of a plan for the others than fp32, with
 * `limit` bytes at most, `half` where there are to be two blocks on a processor, which is preferred if nothing is lost. */
MUST_CHECK int cuda_check_precision(const struct backend_state *state, struct error *error);
void cuda_choose_tensor_shares(struct plan *plan, enum precision kind, size_t weights, uint32_t least, size_t half,
                               size_t limit);

/* sample.cu */
MUST_CHECK int cuda_sampler_copy(struct backend_state *state, const struct sampler *sampler, struct error *error);
void cuda_sampler_release(struct backend_state *state);
/* Graphs hold addresses: forgets them when those change. */
void cuda_forget_graphs(struct backend_state *state);
void cuda_draw(struct backend_state *state, struct batch *batch, const struct train_span *span, const struct step *on_host,
               const struct step *step);

/* index.cu */
MUST_CHECK int cuda_index_init(struct backend_state *state, struct error *error);
void cuda_index(struct backend_state *state, struct batch *batch, enum side_name which, const struct step *step);
/* The same of ids that are no batch's: as many as `step` has groups, for users, or samples, and `most` at most. */
MUST_CHECK int cuda_index_alloc(struct backend_state *state, struct row_index *index, size_t uses, size_t rows,
                                struct error *error);
void cuda_index_ids(struct backend_state *state, enum side_name which, const uint32_t *ids, uint32_t most,
                    const struct row_index *index, const struct step *step);

/* rows.cu: forward, rows of an index; or rows [0, count) of the table, or those that `rows` names */
void cuda_project(struct backend_state *state, enum side_name which, const uint32_t *rows, const uint32_t *count_at,
                  uint32_t count, float *parts);
void cuda_step_rows(struct backend_state *state, enum side_name which, const struct batch *batch, const struct step *step);

/* row_tiles.cu: the same of both sides of a batch, where their halves are of the shape that it is made for. */
bool cuda_row_tiles_fit(const struct backend_state *state);
MUST_CHECK int cuda_plan_row_tiles(struct backend_state *state, enum side_name which, struct error *error);
void cuda_project_row_tiles(struct backend_state *state, const struct batch *batch);
void cuda_step_row_tiles(struct backend_state *state, const struct batch *batch, const struct step *step);

/* tower.cu; plain.cu where that is chosen */
void cuda_train_tower(struct backend_state *state, const struct batch *batch, const struct step *step);
void cuda_score_tower(struct backend_state *state, const float *user_parts, const uint32_t *user_slots,
                      const uint32_t *items, uint32_t first_item, uint32_t items_a_user, uint32_t pairs, float *scores);

/* segment.cu */
enum segment_of { SEGMENT_TOWER, SEGMENT_FACTORS };
/* Sums of both sides' rows, into their sums and cuts. */
void cuda_sum_segments(struct backend_state *state, const struct batch *batch, enum segment_of of, const struct step *step);
uint32_t cuda_segment_shift(uint32_t uses); /* chunks are of 1 << that, where a batch has so many uses at most */

/* factors.cu */
/* A side's factors, and which row of them is each use's. */
const float *cuda_factor_rows(const struct backend_state *state, enum side_name which, const struct batch *batch,
                              const uint32_t **row_of);
void cuda_factor_logits(struct backend_state *state, const struct batch *batch, const struct step *step);
void cuda_factor_loss(struct backend_state *state, const struct batch *batch, const struct step *step);
/* Both sides' rows; what the gradients of the weights and the bias are summed of. */
void cuda_step_factors(struct backend_state *state, const struct batch *batch, const struct step *step);
void cuda_make_queries(struct backend_state *state, const uint32_t *users, uint32_t count, float *queries);
/* Adds to the scores where there is a tower, else writes them. */
void cuda_score_factors(struct backend_state *state, const float *queries, const uint32_t *user_slots,
                        const uint32_t *items, uint32_t first_item, uint32_t items_a_user, uint32_t pairs, float *scores);

/* adam.cu */
void cuda_step_dense(struct backend_state *state, enum dense_part part, const struct step *step);
/* The gradients alone, one behind the other: cuda_dense_floats of them, zeros between. And a step by the sum of `ranks` of
 * such arrays, in their order. */
size_t cuda_dense_floats(const struct backend_state *state);
void cuda_sum_dense(struct backend_state *state, const struct step *step, float *sums);
void cuda_step_sums(struct backend_state *state, const struct step *step, const float *sums, uint32_t ranks);
void cuda_step_table(struct backend_state *state, const struct table *table, float *gradients, uint32_t fixed,
                     const struct step *step);

/* train.cu: the pieces of a batch, which cuda_train and several.cu put together */
MUST_CHECK struct step *cuda_make_steps(struct backend_state *state, const struct train_span *span, size_t count,
                                        struct error *error);
void cuda_queue_ahead(struct backend_state *state, const struct train_span *span, size_t b, const struct step *on_host,
                      const struct step *step);
void cuda_queue_samples(struct backend_state *state, const struct batch *batch, const struct step *step);
/* And, of one device alone, the dense matrices. */
void cuda_queue_rows(struct backend_state *state, const struct batch *batch, const struct step *step);
void cuda_queue_tables(struct backend_state *state, const struct step *step);

/* train.cu, score.cu, ranking.cu */
int cuda_train(struct backend_state *state, const struct train_span *span, struct train_result *result,
               struct error *error);
/* CSR to the device; nothing where `from` is NULL. */
MUST_CHECK int cuda_copy_interactions(struct backend_state *state, const struct interactions *from,
                                      struct interactions_copy *to, const char *what, struct error *error);
/* All items' halves of the first layer; bytes that they would still take, 0 when they are there or there is no tower. */
size_t cuda_item_parts_bytes(const struct backend_state *state);
MUST_CHECK int cuda_score_items(struct backend_state *state, struct error *error);
/* The tower's scores with `item_parts` in the place of all items'. */
void cuda_score_tower_of(struct backend_state *state, float *item_parts, const float *user_parts, const uint32_t *user_slots,
                         const uint32_t *items, uint32_t first_item, uint32_t items_a_user, uint32_t pairs, float *scores);
int cuda_score_lists(struct backend_state *state, const struct score_lists *lists, struct error *error);
int cuda_score_top(struct backend_state *state, const struct score_top *request, struct error *error);

#ifdef __cplusplus
}
#endif

static inline uint32_t blocks_for(uint64_t things, uint32_t a_block, uint32_t most)
{
	const uint64_t blocks = (things + a_block - 1) / a_block;
	return blocks < 1 ? 1 : blocks > most ? most : (uint32_t)blocks;
}

/* Column of ones of a side's factors: the number of columns where there is none. */
static inline uint32_t fixed_column(const struct backend_state *state, enum side_name which)
{
	return state->has_biases ? state->shape.factors + (which == SIDE_USER ? 1 : 0) : UINT32_MAX;
}

#endif
