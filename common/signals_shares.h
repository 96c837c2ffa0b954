/* What everybody's interactions are made of, to compare a user with: shares of genres and years, and when each item
 * was met. Used by signals.c alone; formulas in signals.h. */
#ifndef RECPIPE_SIGNALS_SHARES_H
#define RECPIPE_SIGNALS_SHARES_H

#include "catalogue.h"
#include "histories.h"
#include "records.h"

struct signal_shares;

/* `catalogue` may be NULL. NULL on error; free with shares_free. */
MUST_CHECK struct signal_shares *shares_new(const struct histories *histories, const struct catalogue *catalogue,
                                            struct error *error);
void shares_free(struct signal_shares *shares);

/* Of a user's history of `count` items (weights NULL: all 1), values[i] for each entry of the list. */
void shares_genres(const struct signal_shares *shares, const struct catalogue *catalogue, const uint32_t *history,
                   const float *weights, size_t count, const struct list *list, float *values);
void shares_years(const struct signal_shares *shares, const struct catalogue *catalogue, const uint32_t *history,
                  const float *weights, size_t count, const struct list *list, float *values);
/* The histories have times. */
void shares_recency(const struct signal_shares *shares, const struct histories *histories, const struct list *list,
                    float *values);

#endif
