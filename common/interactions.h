/* Who interacted with what: user → sorted items in compressed rows, held once (8 bytes an interaction with
 * the file order kept, else 4). Built from a stream of interactions or from pairs. */
#ifndef RECPIPE_INTERACTIONS_H
#define RECPIPE_INTERACTIONS_H

#include "compat.h"
#include "error.h"
#include "records.h"

struct interactions {
	uint32_t users, items;
	uint64_t count;          /* distinct pairs */
	uint64_t *offsets;       /* users + 1 */
	uint32_t *item_ids;      /* of user u: item_ids[offsets[u] .. offsets[u + 1]), ascending, no doubles */
	uint32_t *popularity;    /* items: number of users that interacted with each */
	uint64_t doubles;        /* pairs that came more than once and were merged */
};

/* Reads a whole stream of interactions. `info` receives the id spaces (caller releases). */
MUST_CHECK int interactions_read(struct interactions *interactions, const char *path, struct stream_info *info,
                                 struct error *error);

/* The same from a stream that is open already, for tools that find out the kind first. */
MUST_CHECK int interactions_from_stream(struct interactions *interactions, struct stream_reader *reader,
                                        struct stream_info *info, struct error *error);

/* From `count` pairs (borrowed). Ids must be below `users` and `items`. */
MUST_CHECK int interactions_from_pairs(struct interactions *interactions, uint32_t users, uint32_t items,
                                       const uint32_t *pair_users, const uint32_t *pair_items, uint64_t count,
                                       struct error *error);

/* Adds every pair of `more` (the same id spaces, or smaller ones). */
MUST_CHECK int interactions_merge(struct interactions *interactions, const struct interactions *more,
                                  struct error *error);
void interactions_release(struct interactions *interactions);

/* Items of `user`, ascending. */
static inline const uint32_t *interactions_of(const struct interactions *interactions, uint32_t user, size_t *count)
{
	*count = (size_t)(interactions->offsets[user + 1] - interactions->offsets[user]);
	return interactions->item_ids + interactions->offsets[user];
}

/* Binary search. */
bool interactions_has(const struct interactions *interactions, uint32_t user, uint32_t item);

/* User of pair number `index` (binary search over offsets): pairs are numbered in row order. */
uint32_t interactions_user_at(const struct interactions *interactions, uint64_t index);

#endif
