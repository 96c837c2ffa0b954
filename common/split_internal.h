/* Users one by one in the pool, shared by split_filter.c (doubled pairs) and split_users.c (the cut). */
#ifndef RECPIPE_SPLIT_INTERNAL_H
#define RECPIPE_SPLIT_INTERNAL_H

#include "split.h"

/* What a thread has for the users of its shard: room for the longest of them, made as far as it is `needed`. */
struct user_scratch {
	uint32_t *rows;           /* of the user that are not dropped */
	size_t count;             /* of those */
	uint64_t *values;         /* items, or times */
	uint64_t *seen;           /* SCRATCH_SEEN: a bit an item, all 0 between users */
	uint64_t *keys, *spare;   /* SCRATCH_KEYS: for sorting */
	void *events;             /* what only some users need: see mem_grow */
	size_t event_capacity;
};

enum { SCRATCH_SEEN = 1, SCRATCH_KEYS = 2 };

/* Work on one user whose rows are scratch->rows; counts are summed over all users. */
typedef int user_work(struct splitter *splitter, const void *context, uint32_t user, struct user_scratch *scratch,
                      struct split_counts *counts, struct error *error);

/* Calls `work` for every user that has rows. An error is that of the lowest user that has one. */
MUST_CHECK int split_each_user(struct splitter *splitter, user_work *work, const void *context, int needed,
                               struct error *error);

/* The items of scratch->rows into scratch->values, or the times, as ratings_time gives them. */
void user_items(const struct splitter *splitter, struct user_scratch *scratch);
void user_times(const struct splitter *splitter, struct user_scratch *scratch);

/* XXH3-64 of an id's text. */
uint64_t split_text_hash(const struct idmap *map, uint64_t id, uint64_t seed);

/* split_users.c: SPLIT_LAST, SPLIT_RANDOM and SPLIT_RATIO. */
MUST_CHECK int split_cut_by_user(struct splitter *splitter, const struct split_options *options, struct error *error);

#endif
