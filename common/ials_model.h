/* iALS in model files: the settings that a model was trained with, and users that it was not trained on. */
#ifndef RECPIPE_IALS_MODEL_H
#define RECPIPE_IALS_MODEL_H

#include "compat.h"
#include "error.h"
#include "ials.h"
#include "interactions.h"
#include "model.h"

/* Puts regularization, unobserved and scaling into a model's metadata, under "ials". */
MUST_CHECK int ials_note_settings(json_t *metadata, const struct ials_options *options, struct error *error);

/* Gives users of `history` who are strangers to an ials model (ids that it has no row for, or a row of zeros) the
 * vectors that fit their histories; others keep theirs. Of `how`, threads and isa are used. CODE_DATA when the model
 * does not tell its settings. */
MUST_CHECK int ials_serve_strangers(struct model_file *model, const struct interactions *history,
                                    const struct ials_options *how, struct error *error);

#endif
