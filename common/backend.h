/* What a device must do: train spans of batches, score lists, score everything to top-N.
 *
 * The interface is coarse so that a GPU is never called for less than a stretch of work. The trainer knows
 * no device; a backend knows no epochs, early stops or files. All backends follow one definition of the
 * arithmetic (docs/design.md); each repeats its own bytes for the same seed.
 *
 * Training minimises the mean loss over a batch's samples with Adam (Kingma & Ba 2015).
 * A batch is `batch_groups` consecutive groups: a positive and its negatives, always together. Embedding
 * rows are updated only in batches that touch them, as PyTorch's SparseAdam does (bias correction by the
 * global step); `dense_adam` updates every row at each step, as PyTorch's Adam does. Weight decay is
 * decoupled (Loshchilov & Hutter 2019) and falls on touched rows and on the tower's weights. */
#ifndef RECPIPE_BACKEND_H
#define RECPIPE_BACKEND_H

#include "compat.h"
#include "error.h"
#include "interactions.h"
#include "model.h"
#include "sampler.h"

#ifdef __cplusplus
extern "C" {
#endif

struct optimizer_options {
	double beta1, beta2, epsilon; /* 0.9, 0.999, 1e-8 */
	double weight_decay;
	double dropout;               /* on hidden activations, [0, 1) */
	bool dense_adam;
	double regularization, unobserved, scaling; /* LOSS_SQUARES alone: see ials.h */
};

/* What training minimises over a positive and its negatives. */
enum loss {
	LOSS_BINARY,   /* cross-entropy of each sample by itself */
	LOSS_PAIRWISE, /* -log sigmoid(positive - negative), summed over the negatives (BPR: Rendle et al. 2009) */
	LOSS_SOFTMAX,  /* -log of the positive's share of exp(logit) in its group */
	LOSS_CATALOGUE,/* the same among all items, all of a user's items at once: groups are users, not positives, and
	                  no negatives are drawn. For dot products alone: mf and history */
	LOSS_SQUARES,  /* the objective of ials.h, for ials alone: an epoch is one group, which is one sweep */
};

/* Features of items, compressed rows: item i has features[offsets[i] .. offsets[i + 1]). */
struct item_features {
	uint32_t items, count;        /* features are below count */
	const uint32_t *offsets, *features;
};

/* Of the tower's products. Parameters, sums and everything else are single precision. */
enum precision { PRECISION_FP32, PRECISION_BF16, PRECISION_TF32 };

/* "fp32", "bf16", "tf32"; NULL ends them. */
extern const char *const precision_names[];

struct backend_options {
	enum precision precision;
	size_t threads;               /* 0: all processors */
	const char *isa;              /* "auto", "avx512", "avx2", "portable" */
	struct optimizer_options optimizer;
	uint64_t seed;                /* of dropout */
	uint32_t ratio;               /* negatives a positive in every batch */
	uint32_t batch_groups;        /* groups in a batch, at least 1; 0 when only scoring */
	enum loss loss;
	const float *item_offsets;    /* subtracted from an item's logit in training, borrowed; NULL: zeros. The softmax
	                                 of negatives by popularity^alpha needs alpha log popularity (log-Q correction:
	                                 Bengio & Senecal 2008, Yi et al. 2019) */
	const struct interactions *histories; /* borrowed; needed by LOSS_CATALOGUE and LOSS_SQUARES, and to score by a history model */
	const struct item_features *features; /* borrowed; needed when the shape has features */
};

/* A stretch of training: groups [begin, end) of `epoch`, cut into batches of batch_groups from `begin` on.
 * users[i] and items[i * (1 + ratio)] are group begin + i, or both are NULL and the backend draws them
 * from `sampler` (whose epoch has been started). With LOSS_CATALOGUE users[i] is group begin + i, and
 * samples are counted by positives. rates[b] is the learning rate of batch b. */
struct train_span {
	uint32_t epoch;
	uint64_t begin, end;
	const uint32_t *users, *items;
	const struct sampler *sampler;
	const double *rates;
};

struct train_result {
	double loss_sum;    /* over the span's samples, in nats */
	uint64_t samples;
	uint64_t missing;   /* negatives that do not exist */
};

/* Lists to score: items[offsets[i] .. offsets[i + 1]) for users[i]; scores has the same layout. */
struct score_lists {
	size_t count;
	const uint32_t *users;
	const size_t *offsets;
	const uint32_t *items;
	float *scores;
};

/* Top-N over all items: results of user i at items[i * top] and scores[i * top], best first (ties by
 * ascending item), counts[i] of them. Items in `seen` are left out. An item in `truth` loses every tie, so
 * that a cut list never flatters. Both may be NULL. Items are below 2^31. */
struct score_top {
	size_t count;
	const uint32_t *users;
	const struct interactions *seen, *truth;
	size_t top;
	uint32_t *items;
	float *scores;
	uint32_t *counts;
};

enum { BACKEND_DEVICES_MAX = 16 };

struct backend_state;

struct backend {
	const char *name;   /* "cpu", "cuda" */

	/* 0 when the devices can be used, several of them together, as states opened from now on do; -1 with
	 * CODE_UNAVAILABLE and why not. `count` is 1 to BACKEND_DEVICES_MAX. */
	int (*probe)(const int *devices, size_t count, struct error *error);

	/* A state with the parameters of `parameters` (copied) and zero moments. NULL on error. */
	struct backend_state *(*open)(const struct model_shape *shape, const struct parameters *parameters,
	                              const struct backend_options *options, struct error *error);

	int (*train)(struct backend_state *state, const struct train_span *span, struct train_result *result,
	             struct error *error);
	int (*score_lists)(struct backend_state *state, const struct score_lists *lists, struct error *error);
	int (*score_top)(struct backend_state *state, const struct score_top *request, struct error *error);

	/* Copies the state out or in; moments may be NULL. `step` counts batches since the start. */
	int (*get)(struct backend_state *state, struct parameters *parameters, struct parameters *moment1,
	           struct parameters *moment2, uint64_t *step, struct error *error);
	int (*put)(struct backend_state *state, const struct parameters *parameters,
	           const struct parameters *moment1, const struct parameters *moment2, uint64_t step,
	           struct error *error);
	void (*close)(struct backend_state *state); /* NULL is fine */

	/* One line about what was chosen ("cpu, avx512, 2 threads"), valid while the state is open. */
	const char *(*describe)(const struct backend_state *state);
};

extern const struct backend backend_cpu;

/* The backend for a device that is named: "cpu", "cuda", "cuda:N", or several devices of one machine, "cuda:0,2" or "cuda:0-3".
 * NULL with CODE_USAGE for another word, CODE_UNAVAILABLE when the one asked for cannot be had. */
MUST_CHECK const struct backend *backend_find(const char *device, struct error *error);

/* What --device came to. */
struct backend_choice {
	const struct backend *backend;
	bool automatic;   /* a device that auto took: what it refuses to open goes to the CPU */
	bool news;        /* auto came to a device, or past one although there are a CUDA backend and a driver */
	struct error why; /* why auto came to the CPU; no message: it did not, or nobody wonders */
};

/* Is `device`, or what RECPIPE_DEVICE says that it is, "auto"? */
bool backend_is_automatic(const char *device);

/* As backend_find; "auto" is what RECPIPE_DEVICE names, else CUDA device 0 where there is one that works, else the CPU. Who
 * names an instruction set (`isa`, RECPIPE_ISA) means the CPU. */
MUST_CHECK int backend_choose(const char *device, const char *isa, struct backend_choice *choice, struct error *error);

/* The backend's `open`; the CPU's where that of a device that auto took fails, whatever the reason. */
MUST_CHECK struct backend_state *backend_open(struct backend_choice *choice, const struct model_shape *shape,
                                              const struct parameters *parameters,
                                              const struct backend_options *options, struct error *error);

/* "training on cpu, avx512, 2 threads (no CUDA: there is no …)" on stderr; "training" is `doing`. */
void backend_tell(const char *doing, const struct backend_choice *choice, const struct backend_state *state);

#ifdef __cplusplus
}
#endif
#endif
