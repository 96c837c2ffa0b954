/* The inside of the sampler, shared by sampler.c and sampler_isa.c. */
#ifndef RECPIPE_SAMPLER_INTERNAL_H
#define RECPIPE_SAMPLER_INTERNAL_H

#include "isa.h"
#include "sampler.h"

enum { SAMPLER_ROUNDS = 8 }; /* of the permutation */

/* One positive and its negatives, try by try: what the kernels leave to it, and what they must agree with. Returns how
 * many negatives do not exist. */
uint64_t sampler_fill_group(const struct sampler *sampler, uint32_t positive, uint32_t *items);

/* sampler_fill of one instruction set. */
typedef uint64_t sampler_fill_function(const struct sampler *sampler, uint64_t begin, uint64_t end, uint32_t *users,
                                       uint32_t *items);
extern sampler_fill_function sampler_fill_avx512, sampler_fill_avx2, sampler_fill_portable;

/* The filter: of a user's words one is chosen by the item's number times the first, two of its bits by ten bits of the
 * number times the second (a Bloom filter whose bits lie in one word: Putze, Sanders & Singler 2007). With a word for
 * every 2.5 of the user's items, three of a hundred other items seem to be there. */
#define SAMPLER_FILTER_WORD 0x9e3779b1u
#define SAMPLER_FILTER_BITS 0x85ebca6bu
enum { SAMPLER_FILTER_ITEMS_2 = 5 }; /* twice the items a word */

/* Multipliers of the mixing function between rounds. */
#define SAMPLER_MIX_1 0x85ebca6bu
#define SAMPLER_MIX_2 0xc2b2ae35u

#endif
