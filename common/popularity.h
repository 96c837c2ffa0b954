/* Three levels of popularity, as Abdollahpouri, Mansoury, Burke, Mobasher & Malthouse define them ("User-centered
 * evaluation of popularity bias in recommender systems", UMAP 2021): the head are the most popular items that
 * together take a fifth of all interactions, the tail the least popular ones that take another fifth, the middle
 * what is between. Items of equal popularity are of one level; where both ends claim them, of the head. */
#ifndef RECPIPE_POPULARITY_H
#define RECPIPE_POPULARITY_H

#include "compat.h"
#include "error.h"

enum popularity_level { POPULARITY_HEAD, POPULARITY_MIDDLE, POPULARITY_TAIL };

struct popularity_levels {
	uint32_t head_least;     /* an item of the head has at least as many interactions */
	uint32_t tail_most;      /* one of the tail has at most as many; below head_least */
};

/* From the interactions of each of `items` items. Without any, every item is of the head. */
MUST_CHECK int popularity_levels_make(const uint32_t *popularity, uint32_t items, struct popularity_levels *levels,
                                      struct error *error);

static inline enum popularity_level popularity_level_of(const struct popularity_levels *levels, uint32_t popularity)
{
	if (popularity >= levels->head_least)
		return POPULARITY_HEAD;
	return popularity <= levels->tail_most ? POPULARITY_TAIL : POPULARITY_MIDDLE;
}

#endif
