/* Counting by the places of the item: each adds one to the counts of the items around it. A row costs as many
 * additions as the item has users times what is near, whatever the length of their histories. */
#include "nearby.h"

#include "mem.h"

/* The user's items, earliest first. A pair that k others are later than stands k places before the end, and those of
 * one time side by side: taken from the highest id down, they fill their places from behind. */
static void order_user(const struct histories *histories, uint32_t user, uint32_t *taken, uint32_t *ordered)
{
	size_t count;
	const uint32_t *items = interactions_of(&histories->interactions, user, &count);
	const uint32_t *later = histories->later + histories->interactions.offsets[user];
	memset(taken, 0, count * sizeof *taken);
	for (size_t k = count; k-- > 0;)
		ordered[count - 1 - later[k] - taken[later[k]]++] = items[k];
}

static size_t longest_history(const struct interactions *interactions)
{
	size_t longest = 0, count;
	for (uint32_t user = 0; user < interactions->users; user++) {
		(void)interactions_of(interactions, user, &count);
		longest = count > longest ? count : longest;
	}
	return longest;
}

static int order_users(struct nearby *nearby, const struct histories *histories, struct error *error)
{
	uint32_t *taken = mem_alloc(longest_history(nearby->interactions), sizeof *taken, error);
	if (!taken)
		return -1;
	for (uint32_t user = 0; user < nearby->interactions->users; user++)
		order_user(histories, user, taken, nearby->ordered + nearby->interactions->offsets[user]);
	mem_free(taken);
	return 0;
}

/* Offsets hold the ends of rows; filling from behind leaves their beginnings. */
static void find_places(struct nearby *nearby)
{
	const struct interactions *interactions = nearby->interactions;
	uint64_t end = 0;
	for (size_t i = 0; i < interactions->items; i++) {
		end += interactions->popularity[i];
		nearby->offsets[i] = end;
	}
	nearby->offsets[interactions->items] = end;
	for (uint32_t user = interactions->users; user-- > 0;) {
		const uint32_t *ordered = nearby->ordered + interactions->offsets[user];
		for (uint64_t k = interactions->offsets[user + 1] - interactions->offsets[user]; k-- > 0;)
			nearby->places[--nearby->offsets[ordered[k]]] = (struct nearby_place){user, (uint32_t)k};
	}
}

int nearby_init(struct nearby *nearby, const struct histories *histories, struct error *error)
{
	const struct interactions *interactions = &histories->interactions;
	*nearby = (struct nearby){.interactions = interactions};
	if (!histories->later)
		return error_set(error, CODE_DATA, "interactions without times (\"has_time\": false), expected some with "
		                                   "times to tell what is near or follows");
	nearby->ordered = mem_alloc(interactions->count, sizeof *nearby->ordered, error);
	nearby->offsets = mem_alloc((size_t)interactions->items + 1, sizeof *nearby->offsets, error);
	nearby->places = mem_alloc(interactions->count, sizeof *nearby->places, error);
	if (!nearby->ordered || !nearby->offsets || !nearby->places || order_users(nearby, histories, error) < 0)
		return -1;
	find_places(nearby);
	return 0;
}

void nearby_release(struct nearby *nearby)
{
	mem_free(nearby->ordered);
	mem_free(nearby->offsets);
	mem_free(nearby->places);
	*nearby = (struct nearby){0};
}

void nearby_row(const struct nearby *nearby, uint32_t item, uint32_t before, uint32_t after, uint32_t *counts)
{
	memset(counts, 0, nearby->interactions->items * sizeof *counts);
	for (uint64_t p = nearby->offsets[item]; p < nearby->offsets[item + 1]; p++) {
		const struct nearby_place at = nearby->places[p];
		const uint64_t begin = nearby->interactions->offsets[at.user];
		const uint64_t behind = nearby->interactions->offsets[at.user + 1] - begin - at.place - 1;
		const uint32_t *here = nearby->ordered + begin + at.place;
		const size_t back = before < at.place ? before : at.place;
		const size_t on = after < behind ? after : (size_t)behind;
		for (const uint32_t *near = here - back; near < here; near++)
			counts[*near]++;
		for (const uint32_t *near = here + on; near > here; near--)
			counts[*near]++;
	}
}
