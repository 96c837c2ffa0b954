/* Scores of lists: the item half of the first layer is computed once for all items, the user half once for each list;
 * the rest runs over pairs, in rounds of bounded size. Where the halves of all items are too large for the device, a
 * round computes those of its own pairs. */
#include "launch.h"
#include "rounds.h"
#include "state.h"

enum { PAIRS_A_ROUND = 1 << 18, PAIRS_LEAST = 1 << 10, USERS_A_ROUND = 4096 };

size_t cuda_item_parts_bytes(const struct backend_state *state)
{
	if (!state->has_tower || state->scoring.item_parts)
		return 0;
	return (size_t)state->shape.items * state->tower.width * sizeof(float);
}

int cuda_score_items(struct backend_state *state, struct error *error)
{
	struct scoring *scoring = &state->scoring;
	const size_t items = state->shape.items;
	if (!state->has_tower || scoring->current)
		return 0;
	if (!scoring->item_parts)
		scoring->item_parts = (float *)device_alloc(&state->device, items * state->tower.width, sizeof(float),
		                                            "the items' halves of the first layer", error);
	if (!scoring->item_parts)
		return -1;
	cuda_project(state, SIDE_ITEM, NULL, NULL, (uint32_t)items, scoring->item_parts);
	scoring->current = true;
	return 0;
}

void cuda_score_tower_of(struct backend_state *state, float *item_parts, const float *user_parts, const uint32_t *user_slots,
                         const uint32_t *items, uint32_t first_item, uint32_t items_a_user, uint32_t pairs, float *scores)
{
	float *const whole = state->scoring.item_parts;
	state->scoring.item_parts = item_parts; /* kernels are given it by value */
	cuda_score_tower(state, user_parts, user_slots, items, first_item, items_a_user, pairs, scores);
	state->scoring.item_parts = whole;
}

/* ---- memory ---- */

/* Bytes of rounds of so many pairs, with or without the items' halves of each. */
static size_t list_bytes(const struct backend_state *state, size_t pairs, bool with_parts)
{
	const size_t users = pairs < USERS_A_ROUND ? pairs : (size_t)USERS_A_ROUND;
	const size_t a_user = 2 * sizeof(uint32_t) + (state->tower.width + state->sides[SIDE_USER].factors.stride) * sizeof(float);
	return users * a_user + pairs * (6 * sizeof(uint32_t) + (with_parts ? state->tower.width * sizeof(float) : 0));
}

/* Whether the halves of all items leave room for rounds; and how many pairs a round then has: as many as fit, but so few
 * that others are not worth their launch where nothing does, so that the allocation tells. */
static size_t plan_lists(const struct backend_state *state, bool *whole)
{
	const size_t room = device_room(&state->device) / 32 * 31, parts = cuda_item_parts_bytes(state);
	size_t pairs = PAIRS_A_ROUND;
	*whole = parts == 0 || (parts <= room && list_bytes(state, PAIRS_A_ROUND / 16, false) <= room - parts);
	const size_t left = *whole ? room - (parts < room ? parts : room) : room;
	while (pairs > PAIRS_LEAST && list_bytes(state, pairs, !*whole) > left)
		pairs /= 2;
	return pairs;
}

static int init_slot(struct backend_state *state, struct list_slot *slot, size_t pairs, size_t users, struct error *error)
{
	struct device *device = &state->device;
	static const char what[] = "a round of pairs to score";
	slot->users = (uint32_t *)device_alloc(device, users, sizeof(uint32_t), what, error);
	slot->slots = (uint32_t *)device_alloc(device, pairs, sizeof(uint32_t), what, error);
	slot->items = (uint32_t *)device_alloc(device, pairs, sizeof(uint32_t), what, error);
	slot->scores = (float *)device_alloc(device, pairs, sizeof(float), what, error);
	slot->host_users = (uint32_t *)device_pin(device, (users + 3 * pairs) * sizeof(uint32_t), what, error);
	if (!slot->users || !slot->slots || !slot->items || !slot->scores || !slot->host_users)
		return -1;
	slot->host_slots = slot->host_users + users;
	slot->host_items = slot->host_slots + pairs;
	slot->host_scores = (float *)(void *)(slot->host_items + pairs);
	return 0;
}

static int init_lists(struct backend_state *state, struct error *error)
{
	struct scoring *scoring = &state->scoring;
	struct device *device = &state->device;
	static const char what[] = "a round of pairs to score";
	bool whole;
	if (scoring->pairs > 0)
		return scoring->item_parts ? cuda_score_items(state, error) : 0;
	const size_t pairs = plan_lists(state, &whole), users = pairs < USERS_A_ROUND ? pairs : (size_t)USERS_A_ROUND;
	const size_t width = state->tower.width, stride = state->sides[SIDE_USER].factors.stride;
	if (whole && cuda_score_items(state, error) < 0)
		return -1;
	if (!whole)
		scoring->round_parts = (float *)device_alloc(device, pairs * width, sizeof(float), what, error);
	if (state->has_tower)
		scoring->user_parts = (float *)device_alloc(device, users * width, sizeof(float), what, error);
	if (state->has_factors)
		scoring->queries = (float *)device_alloc(device, users * stride, sizeof(float), what, error);
	if ((!whole && !scoring->round_parts) || (state->has_tower && !scoring->user_parts) ||
	    (state->has_factors && !scoring->queries) || init_slot(state, &scoring->lists[0], pairs, users, error) < 0 ||
	    init_slot(state, &scoring->lists[1], pairs, users, error) < 0)
		return -1;
	scoring->pairs = pairs;
	return 0;
}

/* Not all of it was there: what was is given back, so that another call may try. */
static void release_lists(struct backend_state *state)
{
	struct scoring *scoring = &state->scoring;
	struct device *device = &state->device;
	for (size_t s = 0; s < COUNT_OF(scoring->lists); s++) {
		struct list_slot *slot = &scoring->lists[s];
		void *const blocks[] = {slot->users, slot->slots, slot->items, slot->scores};
		for (size_t b = 0; b < COUNT_OF(blocks); b++)
			device_release(device, blocks[b]);
		device_unpin(device, slot->host_users);
		memset(slot, 0, sizeof *slot);
	}
	device_release(device, scoring->round_parts);
	device_release(device, scoring->user_parts);
	device_release(device, scoring->queries);
	scoring->round_parts = scoring->user_parts = scoring->queries = NULL;
}

/* ---- rounds ---- */

/* Lists, or pieces of them, that are scored together: their pairs lie behind one another. */
struct listing {
	struct backend_state *state;
	const struct score_lists *lists;
	size_t now, at;           /* list and pair that the next round begins with */
};

/* Takes as much of the list as the round has room for. */
static void take_piece(struct listing *listing, struct list_slot *slot)
{
	const struct score_lists *lists = listing->lists;
	const size_t left = lists->offsets[listing->now + 1] - listing->at, room = listing->state->scoring.pairs - slot->pairs;
	const size_t count = left < room ? left : room;
	for (size_t i = 0; i < count; i++)
		slot->host_slots[slot->pairs + i] = slot->user_count;
	slot->host_users[slot->user_count++] = lists->users[listing->now];
	slot->pairs += count;
	listing->at += count;
}

static bool send_lists(void *context, size_t which)
{
	struct listing *listing = (struct listing *)context;
	struct scoring *s = &listing->state->scoring;
	struct device *device = &listing->state->device;
	struct list_slot *slot = &s->lists[which];
	const size_t users = s->pairs < USERS_A_ROUND ? s->pairs : (size_t)USERS_A_ROUND;
	slot->first = listing->at;
	slot->pairs = slot->user_count = 0;
	while (listing->now != listing->lists->count && slot->pairs < s->pairs && slot->user_count < users) {
		if (listing->at < listing->lists->offsets[listing->now + 1])
			take_piece(listing, slot);
		if (listing->at == listing->lists->offsets[listing->now + 1])
			listing->now++;
	}
	if (slot->pairs == 0)
		return false;
	memcpy(slot->host_items, listing->lists->items + slot->first, slot->pairs * sizeof *slot->host_items);
	device_upload(device, STREAM_AHEAD, slot->users, slot->host_users, slot->user_count * sizeof *slot->users);
	device_upload(device, STREAM_AHEAD, slot->slots, slot->host_slots, slot->pairs * sizeof *slot->slots);
	device_upload(device, STREAM_AHEAD, slot->items, slot->host_items, slot->pairs * sizeof *slot->items);
	return true;
}

static void work_lists(void *context, size_t which)
{
	struct backend_state *state = ((struct listing *)context)->state;
	struct scoring *s = &state->scoring;
	const struct list_slot *slot = &s->lists[which];
	const uint32_t pairs = (uint32_t)slot->pairs;
	if (state->has_tower) {
		cuda_project(state, SIDE_USER, slot->users, NULL, slot->user_count, s->user_parts);
		if (s->item_parts) {
			cuda_score_tower(state, s->user_parts, slot->slots, slot->items, 0, 1, pairs, slot->scores);
		} else {
			cuda_project(state, SIDE_ITEM, slot->items, NULL, pairs, s->round_parts);
			cuda_score_tower_of(state, s->round_parts, s->user_parts, slot->slots, NULL, 0, pairs, pairs, slot->scores);
		}
	}
	if (state->has_factors) {
		cuda_make_queries(state, slot->users, slot->user_count, s->queries);
		cuda_score_factors(state, s->queries, slot->slots, slot->items, 0, 1, pairs, slot->scores);
	}
}

static void bring_lists(void *context, size_t which)
{
	struct backend_state *state = ((struct listing *)context)->state;
	struct list_slot *slot = &state->scoring.lists[which];
	device_download(&state->device, STREAM_AHEAD, slot->host_scores, slot->scores, slot->pairs * sizeof *slot->scores);
}

static void take_lists(void *context, size_t which)
{
	const struct listing *listing = (const struct listing *)context;
	const struct list_slot *slot = &listing->state->scoring.lists[which];
	memcpy(listing->lists->scores + slot->first, slot->host_scores, slot->pairs * sizeof *slot->host_scores);
}

int cuda_score_lists(struct backend_state *state, const struct score_lists *lists, struct error *error)
{
	struct listing listing = {state, lists, 0, lists->count > 0 ? lists->offsets[0] : 0};
	const struct rounds rounds = {&listing, send_lists, work_lists, bring_lists, take_lists};
	device_use(&state->device);
	if (init_lists(state, error) == 0)
		return cuda_run_rounds(&state->device, &rounds, error);
	if (state->scoring.pairs == 0)
		release_lists(state);
	return -1;
}
