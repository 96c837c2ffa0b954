/* Beginning from models that are there: a warm start from the same kind of model, factors out of ials, the embeddings of
 * an mlp out of factors, a neumf out of its two parts. */
#ifndef RECPIPE_WARM_START_H
#define RECPIPE_WARM_START_H

#include "compat.h"
#include "error.h"
#include "model.h"

/* What a model took over. */
struct warm_start {
	double fusion;           /* set by the caller: the tower's share in a neumf of two parts */
	uint32_t users, items;   /* the least of the models': rows below need no first values */
	size_t models;
	bool tower, weights;     /* layers were taken over; the factors' weights were: the rest is to be drawn */
	float bias;              /* of a gmf, which a neumf has no place for but the tower's */
};

/* Copies from `old` every matrix that `model` has under the same name, rows that have come since left alone. Factors
 * without biases (ials) fill those of a model with them. CODE_DATA when ids, widths or factors differ, or when
 * nothing fits; `path` is for messages. */
MUST_CHECK int warm_start_take(struct warm_start *start, struct model_file *model, const struct model_file *old,
                               const char *path, struct error *error);

/* After the last model: a neumf of two parts gets each part's last layer times its share (He et al. 2017, equation 13:
 * alpha and 1 - alpha), so that it begins as their weighted mean. CODE_USAGE when a part is missing. */
MUST_CHECK int warm_start_finish(struct warm_start *start, struct model_file *model, struct error *error);

/* Reads the models at `paths` and takes them all over; their digests go into the model's metadata ("init", "init2"). */
MUST_CHECK int warm_start_from(struct warm_start *start, struct model_file *model, const char *const *paths, size_t count,
                               struct error *error);

/* Puts the checkpoint at `path` in the place of `model`. CODE_USAGE when it was made with other options, seed, data or
 * first values than `model` has in its metadata. */
MUST_CHECK int warm_start_resume(struct model_file *model, const char *path, struct error *error);

#endif
