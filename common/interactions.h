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

/* Reads `count` files as one set, the pairs of all of them. Each must be of the ids in `info`, which `name` has (for
 * messages); an `info` without ids (both counts 0) receives those of the first file. `popularity`, unless NULL,
 * receives a copy of the first file's (mem_free): users that know each item, other files not counted. No files: an
 * empty set, and no popularity. */
MUST_CHECK int interactions_read_known(struct interactions *interactions, const char *const *paths, size_t count,
                                       const char *name, struct stream_info *info, uint32_t **popularity,
                                       struct error *error);

/* XXH3-128 of all pairs as hexadecimal text (docs/formats.md): the same for the same interactions. */
enum { INTERACTIONS_DIGEST_SIZE = 33 };
void interactions_digest(const struct interactions *interactions, char text[INTERACTIONS_DIGEST_SIZE]);

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
