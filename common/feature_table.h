/* Features of items for models that have a feature part: genres and the decade of the year in the title, so that
 * an item without interactions can be ranked. */
#ifndef RECPIPE_FEATURE_TABLE_H
#define RECPIPE_FEATURE_TABLE_H

#include "backend.h"
#include "catalogue.h"
#include "compat.h"
#include "error.h"
#include "model.h"

/* Owned arrays behind a struct item_features. */
struct feature_table {
	struct item_features view;
	uint32_t *offsets, *features;
};

/* Features of every item of the catalogue: a number for each genre, then one for each decade from the 1890s on; an
 * item without genres or year has none of them. */
MUST_CHECK int feature_table_init(struct feature_table *table, const struct catalogue *catalogue, struct error *error);
/* The same from files: titles and genres at `movies` (`genres`: see catalogue_read; NULL) of the `count` items that the
 * id map at `items` numbers. CODE_DATA when it numbers others. */
MUST_CHECK int feature_table_read(struct feature_table *table, const char *movies, const char *genres, const char *items,
                                  uint32_t count, struct error *error);
void feature_table_release(struct feature_table *table);

enum { FEATURE_DIGEST_SIZE = 33 };

/* XXH3-128 of which item has what, in hexadecimal. */
void feature_table_digest(const struct feature_table *table, char text[FEATURE_DIGEST_SIZE]);

/* Adds to each row of item_factors those of the item's features and leaves the features out of the model: what is
 * scored by from then on. `model` must be a history model with features. */
MUST_CHECK int feature_table_fold(struct model_file *model, const struct item_features *features, struct error *error);

#endif
