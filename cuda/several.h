/* Several devices of one machine that train together, and score side by side.
 *
 * Every device is a rank. It has the dense layers whole and of each table a contiguous range of rows, which it owns: its
 * state (state.h) is that of a model with so many users and items. Of a batch it takes a contiguous part of the groups, so
 * that the samples are those of one device, word for word. A batch of a rank goes through these steps:
 *
 *   ahead     draw the part; index it; find where the distinct rows of each owner begin (they are in ascending order)
 *   ask       the host reads those places; ids of rows go to their owners, who index what they are asked for
 *   fetch     owners gather the rows and send them back: by slot, as the rank's index has them
 *   part      forward and back as on one device, but for gradients of rows, which are left by slot
 *   return    those go to their owners; gradients of dense layers to everybody
 *   step      owners sum the gradients of a row by rank and step it; everybody steps all of the dense layers
 *
 * One thread of the host queues all of it. No sum depends on the order of arrival: a run repeats its bytes, and the dense
 * layers are the same on all ranks, bit for bit. */
#ifndef RECPIPE_CUDA_SEVERAL_H
#define RECPIPE_CUDA_SEVERAL_H

#include "comm.h"
#include "state.h"

enum { RANKS_MAX = BACKEND_DEVICES_MAX, TABLES_MAX = 4, CUTS_MAX = SIDES * (RANKS_MAX + 1) + 1 };

/* A table of which rows are fetched. */
struct traded {
	enum side_name which;
	struct table table;       /* this rank's rows */
	uint32_t fixed;           /* column of ones */
	float *fetched, *gradients; /* [slots][stride]: rows, and what goes back */
	float *passing;           /* [asked][stride]: rows that others asked for, then their gradients */
	float *dense_gradients;   /* dense Adam: of every row of this rank */
};

/* What a rank owns of one side, and what it is asked for in a batch. */
struct owned {
	uint32_t first, rows;
	uint32_t asked_max;
	uint32_t *asked;          /* ids, those of rank 0 first */
	struct row_index index;
};

struct rank {
	struct backend_state *state;
	size_t at[MODEL_MATRICES_MAX]; /* where its rows of each matrix begin in its blocks */
	struct owned owned[SIDES];
	struct traded tables[TABLES_MAX];
	size_t table_count;
	struct step *owner_steps; /* [2]: of the two batches, with what is asked for as groups and samples */
	struct step *steps;       /* of the span, on the host */
	/* Where the rows of each owner begin among the distinct ones, [SIDES][ranks + 1]; then the missing samples. */
	uint32_t *cuts, host_cuts[CUTS_MAX];
	float *dense;             /* [ranks][cuda_dense_floats] */
};

/* A matrix of the whole model. */
struct spread {
	size_t at, stride;
	uint32_t rows;
	int side;                 /* enum side_name of its rows, or SIDES: every rank has it whole */
};

struct several {
	size_t count;             /* ranks */
	struct spread matrices[MODEL_MATRICES_MAX];
	size_t matrix_count;
	bool trains;
	struct rank ranks[RANKS_MAX];
	struct comm *comm;        /* NULL, or when it was broken: nothing can be trained */
	bool broken;
	uint64_t step;
	uint64_t moved;           /* bytes from a device to another one, in training */
	/* Scoring: a state of the whole model for each device, opened when it is needed. */
	int numbers[RANKS_MAX];
	struct backend_state *scorers[RANKS_MAX];
	size_t scorers_open;
	bool scorers_current;
};

#ifdef __cplusplus
extern "C" {
#endif

/* several.cu: a state for devices `numbers`, of the shape and options of `of`, which gets a description; for training, or,
 * when batches have no groups, for scoring alone. Its parameters are still to be put. NULL on error. */
MUST_CHECK struct several *several_open(struct backend_state *of, const struct parameters *parameters, const int *numbers,
                                        size_t count, struct error *error);
void several_close(struct several *several);
/* As backend.h has them: parameters and both moments, NULL for what is not wanted. */
int several_get(struct several *several, struct parameters *const of[3], uint64_t *step, struct error *error);
int several_put(struct several *several, const struct parameters *const of[3], uint64_t step, struct error *error);

/* exchange.cu: the memory of it, and its pieces; those of all ranks are queued by one call */
MUST_CHECK int exchange_init(struct several *several, size_t rank, struct error *error);
void exchange_find_cuts(struct several *several, size_t rank, const struct batch *batch); /* on STREAM_AHEAD */
uint32_t exchange_asked(const struct several *several, size_t owner, enum side_name which);
void exchange_ask(struct several *several, size_t parity);
void exchange_fetch(struct several *several);
void exchange_return(struct several *several);
void exchange_step(struct several *several, size_t rank, const struct step *step);

/* several_train.cu, several_score.cu */
int several_train(struct several *several, const struct train_span *span, struct train_result *result, struct error *error);
int several_lists(struct several *several, const struct score_lists *lists, struct error *error);
int several_top(struct several *several, const struct score_top *request, struct error *error);

#ifdef __cplusplus
}
#endif

#endif
