/* What the parts of the scorer share. */
#ifndef RECPIPE_SCORER_INTERNAL_H
#define RECPIPE_SCORER_INTERNAL_H

#include "scorer.h"

/* As in backend.h: with this bit the truth ranks behind every item of equal score. */
#define SCORER_TRUTH_LAST (UINT32_C(1) << 31)

static inline bool scorer_holds(const struct interactions *interactions, uint32_t user, uint32_t item)
{
	return interactions && user < interactions->users && interactions_has(interactions, user, item);
}

/* Requests as a backend gets them, answered by weights and histories. */
MUST_CHECK int scorer_similarity_lists(struct scorer *scorer, const struct score_lists *request, struct error *error);
MUST_CHECK int scorer_similarity_top(struct scorer *scorer, const struct score_top *request, struct error *error);

#endif
