/* Counting by the users of the item: each adds one to the count of every item of theirs. Integers, so the order
 * of the users means nothing, and a row costs what its users' histories are long. */
#include "cooccurrence.h"

#include "mem.h"

int cooccurrence_init(struct cooccurrence *cooccurrence, const struct interactions *interactions, struct error *error)
{
	const size_t items = interactions->items;
	*cooccurrence = (struct cooccurrence){.interactions = interactions};
	cooccurrence->offsets = mem_alloc_zero(items + 1, sizeof *cooccurrence->offsets, error);
	cooccurrence->users = mem_alloc(interactions->count, sizeof *cooccurrence->users, error);
	if (!cooccurrence->offsets || !cooccurrence->users)
		return -1;
	/* Offsets hold the ends of rows; filling from behind leaves their beginnings. */
	uint64_t end = 0;
	for (size_t i = 0; i < items; i++) {
		end += interactions->popularity[i];
		cooccurrence->offsets[i] = end;
	}
	cooccurrence->offsets[items] = end;
	for (uint32_t user = interactions->users; user-- > 0;) {
		size_t count;
		const uint32_t *row = interactions_of(interactions, user, &count);
		for (size_t k = 0; k < count; k++)
			cooccurrence->users[--cooccurrence->offsets[row[k]]] = user;
	}
	return 0;
}

void cooccurrence_release(struct cooccurrence *cooccurrence)
{
	mem_free(cooccurrence->offsets);
	mem_free(cooccurrence->users);
	*cooccurrence = (struct cooccurrence){0};
}

void cooccurrence_row(const struct cooccurrence *cooccurrence, uint32_t item, uint32_t limit, uint32_t *counts)
{
	memset(counts, 0, limit * sizeof *counts);
	for (uint64_t u = cooccurrence->offsets[item]; u < cooccurrence->offsets[item + 1]; u++) {
		size_t count;
		const uint32_t *row = interactions_of(cooccurrence->interactions, cooccurrence->users[u], &count);
		for (size_t k = 0; k < count && row[k] < limit; k++)
			counts[row[k]]++;
	}
}
