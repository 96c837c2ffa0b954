/* The inside of the trainer, shared by trainer.c and trainer_*.c. */
#ifndef RECPIPE_TRAINER_INTERNAL_H
#define RECPIPE_TRAINER_INTERNAL_H

#include "sample_ahead.h"
#include "trainer.h"
#include "validation.h"

/* Where groups come from: a sampler over interactions, or a stream of samples. From a stream the first
 * epoch's positives are kept, so that validation knows them and a dead tower can be begun anew. */
struct feed {
	struct sampler sampler;
	bool has_sampler;
	struct stream_reader *stream;     /* NULL once its groups are no longer used */
	struct sample_ahead *ahead;       /* what reads it */
	struct stream_info stream_ids;
	struct interactions collected;
	bool collecting;                  /* the first epoch's positives are still coming */
	void *pair_users, *pair_items;    /* those so far, uint32_t each */
	size_t users_capacity, items_capacity;
	uint64_t pairs;
	uint64_t positives;               /* groups in an epoch */
	uint64_t taken;                   /* groups read from the stream so far */
	uint32_t *users, *items;          /* a span's groups out of the stream */
	uint32_t *order;                  /* training by users: those with interactions, in the epoch's order */
	uint32_t *permutation;
};

enum { TRAINER_DEVICE_SIZE = 16 };

/* How far training has come: what a checkpoint must hold beside parameters and moments. */
struct position {
	uint32_t epoch;                   /* from 0; options->epochs when done */
	uint64_t group;                   /* groups of the epoch that are done */
	uint64_t step;                    /* batches since the start */
	uint32_t attempt;                 /* restarts of a dead tower so far */
	double loss_sum;                  /* of the epoch so far */
	uint64_t samples, missing;
	uint32_t best_epoch;              /* 1-based; 0: none yet */
	double best_hr, best_ndcg;
	uint32_t stale;                   /* epochs since the best */
};

struct trainer {
	struct model_file *model;
	const struct trainer_options *options;
	const struct trainer_inputs *inputs;
	struct backend_choice choice;
	char begun_on[TRAINER_DEVICE_SIZE]; /* the backend's name in the checkpoint; empty: none, or not said */
	const struct backend *backend;    /* once it is open */
	struct backend_state *state;
	struct feed feed;
	struct validation validation;
	bool validates;
	struct position at;
	json_t *log_rows;                 /* array of strings, one a finished epoch */
	uint64_t batch_groups, span_groups;
	uint64_t probe_group;             /* of the first epoch: where a stillborn tower is looked for */
	double *rates;
	float *item_offsets;              /* of the loss; NULL: zeros */
	double checkpoint_time;           /* when the last one was written */
	uint64_t checkpoint_step;
};

/* trainer.c */
int trainer_diverged(const struct trainer *trainer, const char *what, struct error *error);

/* trainer_feed.c */
MUST_CHECK int feed_init(struct trainer *trainer, struct error *error);
void feed_release(struct feed *feed);
/* Makes the trainer's epoch the current one. */
void feed_start_epoch(struct trainer *trainer);
/* Sets where the groups [begin, end) of the current epoch come from. */
MUST_CHECK int feed_span(struct trainer *trainer, struct train_span *span, struct error *error);
/* At the end of the first epoch out of a stream: gathers its positives, and checks what a checkpoint says
 * of them. */
MUST_CHECK int feed_end_epoch(struct trainer *trainer, struct error *error);
/* Goes on from a sampler that makes what the stream would have brought: a dead tower begins anew. */
MUST_CHECK int feed_restart(struct trainer *trainer, struct error *error);
/* Compares the positives with those that a checkpoint was made of, where they are known yet, and skips the
 * groups that it has behind it. */
MUST_CHECK int feed_skip(struct trainer *trainer, struct error *error);
/* Reads a stream to its end, so that its producer can finish and a broken end is told. */
MUST_CHECK int feed_drain(struct trainer *trainer, struct error *error);
/* The training positives, once the first epoch is over. */
const struct interactions *feed_interactions(const struct trainer *trainer);

/* trainer_backend.c */
/* Finds the device that options name. auto keeps to the CPU where the checkpoint's run was on it. */
MUST_CHECK int trainer_choose_backend(struct trainer *trainer, struct error *error);
/* Sets backend and state, and says what is trained on, and that a resumed run was on another device. */
MUST_CHECK int trainer_open_backend(struct trainer *trainer, struct error *error);

/* trainer_checkpoint.c */
/* The name of the backend that the checkpoint's run was on; empty where it does not say so. */
void checkpoint_device(const struct trainer *trainer, char name[TRAINER_DEVICE_SIZE]);
MUST_CHECK int checkpoint_write(struct trainer *trainer, struct error *error);
MUST_CHECK int checkpoint_restore(struct trainer *trainer, struct error *error);
MUST_CHECK int checkpoint_when_due(struct trainer *trainer, struct error *error);

#endif
