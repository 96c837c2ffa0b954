/* Training by users against the whole catalogue (LOSS_CATALOGUE), and models of histories: what catalogue.cu, products.cu,
 * softmax.cu, history.cu and features.cu share. A batch of users goes through these steps:
 *
 *   choose    of every history, which items are put in and which are left out to be found again (history.cu)
 *   queries   the users' vectors (history.cu)
 *   scores    of every item, by the block product (product.h, products.cu)
 *   softmax   losses, and scores become their gradients, in pieces of a user's row (softmax.cu)
 *   users     gradients of the vectors, by chunks of items that are summed in order; Adam on users' own rows
 *   items     gradients of the items' rows and Adam on them, in one kernel
 *   history   gradients of the rows that were put in, Adam (history.cu); features, likewise (features.cu)
 *
 * Scores are kept for a round of users, at most 2^26 of them: more users go by several rounds, over which the items'
 * gradients are added up. Rounds, chunks and pieces are cut by the problem alone. */
#ifndef RECPIPE_CUDA_BY_USERS_H
#define RECPIPE_CUDA_BY_USERS_H

#include "adam.h"

enum {
	ROUND_SCORES = 1 << 26,   /* and ROUND_USERS (state.h) */
	CHUNK_ITEMS = 256, CHUNKS_MAX = 64, /* items whose share of a user's gradient is one sum: at least; chunks at most */
	FEATURE_USES = 256,       /* items of a feature that are summed in one go */
};

/* Items with a feature, by chunks of FEATURE_USES of them, which no two features share. */
struct feature_index {
	uint32_t *offsets, *of_items; /* of item i: of_items[offsets[i] .. offsets[i + 1]) */
	uint32_t *items;          /* of all features, each one's ascending */
	uint32_t *chunk_starts, *first_chunks; /* chunks + 1; features + 1 */
	uint32_t chunks;
	float *partials;          /* [chunks][stride] */
};

struct catalogue_state {
	struct interactions_copy histories;
	struct table history, features; /* rows 0: none */
	size_t stride;            /* of all tables of factors */
	uint32_t columns;         /* of them that are factors; then the item's one and its bias */
	float *item_rows;         /* those of features added, or the table itself */
	bool rows_current, own_rows; /* item_rows is not the table, and up to date */
	struct feature_index index;

	/* Training */
	uint32_t *users;          /* of a span */
	size_t users_max;
	uint32_t round, pitch;    /* users of a round; floats between their scores */
	uint32_t chunk, chunks, pieces;
	uint8_t *put_in;          /* of each interaction: an input now */
	uint32_t *targets, *target_sum; /* of the batch's users: items to be found */
	float *norms;             /* 1 / sqrt(items put in) */
	uint32_t *uses, words;    /* [items][words]: a bit for each user of the batch that the item is put in for */
	float *queries, *query_gradients; /* [round][stride]; [batch][stride] */
	float *scores;            /* [round][pitch], then their gradients */
	float *partials;          /* [chunks][round][stride] */
	float *largest;           /* [round][pieces] */
	double *totals, *found;   /* [round][pieces]: sums of exp; of the scores that are to be found */
	double *losses;           /* [round] */
	float *item_gradients;    /* [items][stride]: NULL where one round steps at once */
	uint32_t *cold, cold_count; /* items without interactions, where there are features */
};

/* A batch's round, as kernels want to know it. */
struct round_arguments {
	struct catalogue_state c;
	struct trained trained;
	const struct step *step;
	struct table own, item_table; /* users' own rows, rows 0: none */
	const uint32_t *users;    /* of the batch */
	uint32_t first, count;    /* those of the round; in `choose` and behind the rounds: all of them */
	uint32_t items, epoch, threshold;
	bool puts_in;             /* a model of histories */
	bool first_round, last_round;
	uint64_t seed;
	double *loss_sum;
	uint64_t *target_total;   /* of the span */
	float *rows;              /* scoring: queries */
};

#ifdef __cplusplus
extern "C" {
#endif

/* products.cu: scores of a round; gradients of its vectors and Adam on users' own rows; gradients of items' rows, Adam. */
void cuda_score_round(struct backend_state *state, const struct round_arguments *round);
void cuda_back_to_users(struct backend_state *state, const struct round_arguments *round);
void cuda_back_to_items(struct backend_state *state, const struct round_arguments *round);

/* catalogue.cu: refuses what the kind of model is not trained by, or lacks. */
MUST_CHECK int cuda_catalogue_check(const struct backend_state *state, struct error *error);
/* What such models need beside their parameters, laid out and on the device; nothing for others. */
MUST_CHECK int cuda_catalogue_lay_out(struct backend_state *state, const struct parameters *parameters, struct error *error);
MUST_CHECK int cuda_catalogue_open(struct backend_state *state, struct error *error);
/* Training by users. */
MUST_CHECK int cuda_catalogue_init(struct backend_state *state, struct error *error);
/* A batch of `count` users, from users[first] of the span on. */
void cuda_train_users(struct backend_state *state, const struct train_span *span, size_t first, uint32_t count,
                      const struct step *step);
/* The span's users to the device: before its batches. */
MUST_CHECK int cuda_catalogue_span(struct backend_state *state, const struct train_span *span, struct error *error);
struct round_arguments cuda_round(const struct backend_state *state);

/* softmax.cu */
void cuda_softmax(struct backend_state *state, const struct round_arguments *round);
void cuda_finish_users(struct backend_state *state, const struct round_arguments *round);

/* history.cu */
void cuda_choose(struct backend_state *state, const struct round_arguments *round);
void cuda_round_queries(struct backend_state *state, const struct round_arguments *round);
void cuda_history_queries(struct backend_state *state, const uint32_t *users, uint32_t count, float *queries);
void cuda_step_history(struct backend_state *state, const struct round_arguments *round);

/* features.cu */
MUST_CHECK int cuda_features_init(struct backend_state *state, struct error *error);
/* The items' rows, brought up to date. */
const float *cuda_item_rows(struct backend_state *state);
void cuda_step_features(struct backend_state *state, const struct round_arguments *round);

#ifdef __cplusplus
}
#endif
#endif
