/* Validation between epochs: each user's held-out items among unseen candidates that stay the same for all
 * epochs, ranked by the model as it is, ties against the truth. */
#ifndef RECPIPE_VALIDATION_H
#define RECPIPE_VALIDATION_H

#include "backend.h"
#include "compat.h"
#include "error.h"
#include "interactions.h"

struct validation {
	size_t count;            /* users with truth */
	uint32_t *users;
	size_t *offsets;         /* count + 1 */
	uint32_t *items;         /* of each list: the truth, then candidates */
	uint8_t *relevant;
	float *scores;
	uint32_t *ranks;
	float *truth_scores;     /* of a user, descending */
};

struct validation_result {
	double hr10, ndcg10;
	double tied;             /* share of users whose truth ties with a candidate */
};

/* Draws up to `candidates` items for each user of `valid`, outside `known` and the truth, by `seed`. */
MUST_CHECK int validation_init(struct validation *validation, const struct interactions *valid,
                               const struct interactions *known, size_t candidates, uint64_t seed,
                               struct error *error);
MUST_CHECK int validation_run(struct validation *validation, const struct backend *backend,
                              struct backend_state *state, struct validation_result *result, struct error *error);
void validation_release(struct validation *validation);

/* True when the tower is dead: a spread of users and items all get one and the same logit. */
MUST_CHECK int tower_is_dead(const struct model_shape *shape, const struct backend *backend,
                             struct backend_state *state, bool *dead, struct error *error);

#endif
