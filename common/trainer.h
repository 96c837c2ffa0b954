/* Training: epochs, the learning-rate schedule, validation, early stop, checkpoints, dead towers. Knows no
 * device (backend.h) and no command line (tools/train-mlp.c).
 *
 * Samples come from a sampler (positives in memory) or from a stream of samples (a pipe): the same groups in
 * the same order, so both give the same bytes. */
#ifndef RECPIPE_TRAINER_H
#define RECPIPE_TRAINER_H

#include "backend.h"
#include "compat.h"
#include "error.h"
#include "interactions.h"
#include "io.h"
#include "model.h"
#include "records.h"
#include "sampler.h"

enum rate_schedule { RATE_CONSTANT, RATE_LINEAR, RATE_COSINE };

struct trainer_options {
	uint64_t seed;
	uint32_t epochs, ratio;
	uint64_t batch;             /* samples a batch, negatives counted; at least one group */
	double rate;
	int schedule;               /* enum rate_schedule; LINEAR and COSINE fall to 0 at the last batch */
	double warmup_epochs;       /* the rate rises linearly over these */
	double average;             /* the model is the mean of all epochs' ends, each weighing this much less than the
	                               next; [0, 1), 0: the last epoch's end alone */
	enum loss loss;
	enum precision precision;
	double alpha;               /* negatives by popularity^alpha */
	struct optimizer_options optimizer;
	uint32_t patience;          /* epochs without a better validation NDCG@10 before stopping; 0: never */
	uint32_t valid_candidates;  /* 99 */
	double checkpoint_minutes;  /* 0: only at the end of epochs */
	uint64_t checkpoint_batches;/* also every N batches; 0: off (for tests) */
	uint32_t restarts;          /* how often a dead tower is begun anew (another attempt number) */
	size_t threads;
	const char *isa, *device;
	bool quiet;
};

struct trainer_inputs {
	const struct interactions *train;  /* positives to sample from; NULL when `samples` is given */
	struct stream_reader *samples;     /* an open stream of samples; NULL when `train` is given */
	struct interactions *known;        /* kept out of validation candidates beside the training positives, which
	                                      are added to it; NULL: those alone */
	const struct item_features *features; /* of the model's items; NULL when it has none */
	const struct interactions *valid;  /* truth of the validation; NULL: no validation */
	const char *checkpoint_path;       /* NULL: none */
	struct output *log;                /* TSV, one row an epoch; NULL: none */
	const struct backend *backend;     /* NULL: the one that options->device names */
	bool warm;                         /* the parameters come from another model: a dead tower is an error */
};

/* Trains `model`: on entry its shape, ids and initial parameters (and, when is_checkpoint, moments, best
 * epoch and position to go on from); on return the best epoch's parameters (the last without validation),
 * with metadata "data" (digest of the positives), "metrics" and "training". A loss or weight that is not
 * finite is CODE_DATA ("training diverged …"), the last checkpoint kept. A dead tower after all restarts is
 * CODE_NO. A checkpoint of other positives is CODE_DATA. */
MUST_CHECK int trainer_run(struct model_file *model, const struct trainer_options *options,
                           const struct trainer_inputs *inputs, struct error *error);

enum { TRAINER_DIGEST_SIZE = 33 };

/* XXH3-128 of who interacted with what, in hexadecimal: models and checkpoints tell by it what they were made of. */
void trainer_digest(const struct interactions *interactions, char text[TRAINER_DIGEST_SIZE]);

#endif
