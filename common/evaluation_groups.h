/* Users in groups by how active they are or how popular their truth is, cut at quantiles. */
#ifndef RECPIPE_EVALUATION_GROUPS_H
#define RECPIPE_EVALUATION_GROUPS_H

#include "compat.h"
#include "evaluation.h"

enum { GROUPS_MAX = 16 };

struct user_group {
	double from, to;         /* least and largest key of its users */
	size_t users;
};

struct user_groups {
	struct user_group groups[GROUPS_MAX]; /* by ascending key */
	size_t count;
	uint8_t *of;             /* of each user of the evaluation: its group */
};

extern const char *const user_key_names[USER_KEYS + 1]; /* as options have them; NULL at the end */
extern const char *const user_key_meanings[USER_KEYS];

/* Cuts the users of an evaluation that kept `key` into `wanted` groups (1 to GROUPS_MAX) of like size. Users of equal
 * keys stay together, so groups may be fewer and of unlike size. Release with user_groups_release. */
MUST_CHECK int user_groups_make(struct user_groups *groups, const struct evaluation *evaluation, enum user_key key,
                                size_t wanted, struct error *error);
void user_groups_release(struct user_groups *groups);

/* The values of the users of one group, [groups->groups[group].users][evaluation->column_count], in `values`. */
void user_groups_select(const struct user_groups *groups, size_t group, const struct evaluation *evaluation,
                        double *values);

#endif
