/* Rankings: by blocks of the catalogue, of rounds of users (ranking.cu); the selection from a block (top.cu). */
#ifndef RECPIPE_CUDA_RANKING_H
#define RECPIPE_CUDA_RANKING_H

#include "state.h"

/* What a round needs of memory. */
struct ranking_need {
	size_t users, items, top; /* of the whole request; top at most items */
	size_t user_floats;       /* of a user: his half of the first layer, his query */
	size_t item_floats;       /* of an item's half of the first layer; 0: none, or all are there already */
};

struct ranking_plan {
	size_t users, items;      /* of a round, of a block */
	bool whole;               /* the halves of all items are kept */
	size_t bytes;
};

#ifdef __cplusplus
extern "C" {
#endif

/* The largest round and block that `room` bytes have room for; false, with the least that would do, when there is none. */
bool cuda_plan_ranking(const struct ranking_need *need, size_t room, struct ranking_plan *plan);

/* A block of items, scored for a round of users. */
struct block_of_items {
	const uint32_t *users;    /* [round] */
	struct interactions_copy seen, truth;
	uint32_t first, items, top;
	float *scores;            /* [round][items]; seen ones are overwritten */
	const uint64_t *kept;     /* [round][top]: keys of the blocks before */
	const uint32_t *kept_found; /* [round]; NULL: this is the first */
	uint64_t *best;           /* [round][top], in no order */
	uint32_t *found;          /* [round] */
};
void cuda_select_best(struct backend_state *state, const struct block_of_items *block, uint32_t users);

/* ids[i] = first + i. */
void cuda_number_items(struct backend_state *state, uint32_t first, uint32_t count, uint32_t *ids);

#ifdef __cplusplus
}
#endif
#endif
