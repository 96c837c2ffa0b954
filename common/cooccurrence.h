/* How many users two items share: exact counts, a row at a time, so that nobody has to hold the whole table. */
#ifndef RECPIPE_COOCCURRENCE_H
#define RECPIPE_COOCCURRENCE_H

#include "compat.h"
#include "error.h"
#include "interactions.h"

struct cooccurrence {
	const struct interactions *interactions; /* borrowed: user -> items */
	uint64_t *offsets;                       /* items + 1 */
	uint32_t *users;                         /* of item i: users[offsets[i] .. offsets[i + 1]), ascending */
};

/* Turns the interactions around: 4 bytes each, 8 an item. They must outlive it. */
MUST_CHECK int cooccurrence_init(struct cooccurrence *cooccurrence, const struct interactions *interactions,
                                 struct error *error);
void cooccurrence_release(struct cooccurrence *cooccurrence);

/* counts[i] = users that have both `item` and i, for i in [0, limit): counts[item] is the item's popularity. */
void cooccurrence_row(const struct cooccurrence *cooccurrence, uint32_t item, uint32_t limit, uint32_t *counts);

#endif
