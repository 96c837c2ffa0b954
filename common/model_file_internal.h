/* The inside of model files, shared by model_file.c (layout, writing) and model_file_read.c. */
#ifndef RECPIPE_MODEL_FILE_INTERNAL_H
#define RECPIPE_MODEL_FILE_INTERNAL_H

#include "model.h"

enum {
	MODEL_SETS = 5, /* parameters, moment1, moment2, average, best */
	MODEL_TENSOR_NAME = 64,
	MODEL_DIGEST_SIZE = 33,
};

/* What stands before the names of each set's tensors. */
extern const char *const model_set_prefixes[MODEL_SETS];

/* The sets of a file, NULL for those it does not have. */
void model_sets(const struct model_file *file, const struct parameters *sets[MODEL_SETS]);

/* Adds the entry of one tensor to a header and moves *offset behind it. */
void model_add_tensor(json_t *header, const char *prefix, const struct matrix *matrix, uint64_t *offset);

/* Calls `visit` for each row of each tensor of each set, in file order. */
MUST_CHECK int model_for_each_row(const struct model_file *file,
                                  int (*visit)(void *context, float *row, size_t columns, struct error *error),
                                  void *context, struct error *error);

/* XXH3-128 of all tensor bytes in file order, in hexadecimal. */
MUST_CHECK int model_digest(const struct model_file *file, char text[MODEL_DIGEST_SIZE], struct error *error);

/* XXH3-128 of the metadata as compact JSON with sorted keys, but for "metadata_digest" itself. */
MUST_CHECK int model_metadata_digest(const json_t *metadata, char text[MODEL_DIGEST_SIZE], struct error *error);

#endif
