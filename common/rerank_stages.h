/* What the sources of the stages share, and the stages that have one of their own. */
#ifndef RECPIPE_RERANK_STAGES_H
#define RECPIPE_RERANK_STAGES_H

#include "compat.h"
#include "rerank.h"

/* How many of the first `depth` a stage may reorder: a group of equal scores that straddles the depth stays below as
 * a whole, tied. The list is in order. */
uint32_t rerank_whole_head(const struct list *list, size_t depth);

/* Mean 0 and variance 1; all 0 where they are all equal. */
void rerank_standardise(double *values, size_t count);

/* What breaks ties between entries that must get places of their own: by no id or order of the input. */
uint32_t rerank_tie_key(const struct rerank_context *context, uint32_t user, uint32_t item);

/* Scores become the list's own plus context->weight times `values`, both standardised over the list (`values` are
 * overwritten). Equal scores stay tied where the values do not tell them apart; a constant model is left as it is. */
void rerank_add(struct rerank_context *context, struct list *list, double *values);

/* rerank_signals.c */
MUST_CHECK int rerank_by_similarity(struct rerank_context *context, struct list *list, struct error *error);
MUST_CHECK int rerank_by_blend(struct rerank_context *context, struct list *list, struct error *error);

/* rerank_calibration.c */
MUST_CHECK int rerank_by_calibration(struct rerank_context *context, struct list *list, struct error *error);
MUST_CHECK int rerank_by_tail(struct rerank_context *context, struct list *list, struct error *error);

#endif
