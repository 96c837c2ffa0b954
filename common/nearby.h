/* How many users have two items near one another in the order of time: exact counts, a row at a time, as
 * cooccurrence.h gives them for items anywhere in a history. */
#ifndef RECPIPE_NEARBY_H
#define RECPIPE_NEARBY_H

#include "compat.h"
#include "error.h"
#include "histories.h"

/* Where an item stands: histories are in the order of time, ties by item id. */
struct nearby_place {
	uint32_t user, place;    /* the place'th item of the user's history */
};

struct nearby {
	const struct interactions *interactions; /* borrowed */
	uint32_t *ordered;                       /* of each user (offsets of the interactions): items, earliest first */
	uint64_t *offsets;                       /* items + 1 */
	struct nearby_place *places;             /* of item i: places[offsets[i] .. offsets[i + 1]), users ascending */
};

/* 12 bytes a pair, 8 an item. CODE_DATA when the histories have no times. They must outlive it. */
MUST_CHECK int nearby_init(struct nearby *nearby, const struct histories *histories, struct error *error);
void nearby_release(struct nearby *nearby);

/* counts[i] = users in whose history i stands at most `before` places before `item`, or at most `after` behind it, for
 * all items i; counts[item] is 0. */
void nearby_row(const struct nearby *nearby, uint32_t item, uint32_t before, uint32_t after, uint32_t *counts);

#endif
