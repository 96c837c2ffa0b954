/* Scores of lists: the item half of the first layer is computed once for all items, the user half once for each list;
 * the rest runs over pairs, in rounds of bounded size. */
#include "launch.h"
#include "state.h"

enum { PAIRS_A_ROUND = 1 << 18, USERS_A_ROUND = 4096 };

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

static int init_lists(struct backend_state *state, struct error *error)
{
	struct scoring *scoring = &state->scoring;
	struct device *device = &state->device;
	static const char what[] = "a round of pairs to score";
	if (scoring->scores)
		return 0;
	scoring->users = (uint32_t *)device_alloc(device, USERS_A_ROUND, sizeof(uint32_t), what, error);
	scoring->slots = (uint32_t *)device_alloc(device, PAIRS_A_ROUND, sizeof(uint32_t), what, error);
	scoring->items = (uint32_t *)device_alloc(device, PAIRS_A_ROUND, sizeof(uint32_t), what, error);
	if (!scoring->users || !scoring->slots || !scoring->items)
		return -1;
	if (state->has_tower)
		scoring->user_parts = (float *)device_alloc(device, USERS_A_ROUND * (size_t)state->tower.width, sizeof(float), what,
		                                            error);
	if (state->has_factors)
		scoring->queries = (float *)device_alloc(device, USERS_A_ROUND * state->sides[SIDE_USER].factors.stride,
		                                         sizeof(float), what, error);
	if ((state->has_tower && !scoring->user_parts) || (state->has_factors && !scoring->queries))
		return -1;
	scoring->scores = (float *)device_alloc(device, PAIRS_A_ROUND, sizeof(float), what, error);
	return scoring->scores ? 0 : -1;
}

/* Lists, or pieces of them, that are scored together: their pairs lie behind one another. */
struct round {
	uint32_t *users, *slots;  /* of the pieces; of the pairs */
	uint32_t user_count;
	size_t first, pairs;
};

static void score_round(struct backend_state *state, const struct score_lists *lists, const struct round *round)
{
	struct scoring *s = &state->scoring;
	struct device *device = &state->device;
	const uint32_t pairs = (uint32_t)round->pairs;
	device_upload(device, STREAM_WORK, s->users, round->users, round->user_count * sizeof *s->users);
	device_upload(device, STREAM_WORK, s->slots, round->slots, round->pairs * sizeof *s->slots);
	device_upload(device, STREAM_WORK, s->items, lists->items + round->first, round->pairs * sizeof *s->items);
	if (state->has_tower) {
		cuda_project(state, SIDE_USER, s->users, NULL, round->user_count, s->user_parts);
		cuda_score_tower(state, s->user_parts, s->slots, s->items, 0, 1, pairs, s->scores);
	}
	if (state->has_factors) {
		cuda_make_queries(state, s->users, round->user_count, s->queries);
		cuda_score_factors(state, s->queries, s->slots, s->items, 0, 1, pairs, s->scores);
	}
	device_download(device, STREAM_WORK, lists->scores + round->first, s->scores, round->pairs * sizeof *s->scores);
}

/* Takes as much of list `l` from `at` on as the round has room for. */
static size_t take_piece(struct round *round, const struct score_lists *lists, size_t l, size_t at)
{
	const size_t left = lists->offsets[l + 1] - at, room = PAIRS_A_ROUND - round->pairs;
	const size_t count = left < room ? left : room;
	if (round->pairs == 0)
		round->first = at;
	for (size_t i = 0; i < count; i++)
		round->slots[round->pairs + i] = round->user_count;
	round->users[round->user_count++] = lists->users[l];
	round->pairs += count;
	return at + count;
}

static void score_rounds(struct backend_state *state, const struct score_lists *lists, struct round *round)
{
	for (size_t l = 0; l < lists->count; l++)
		for (size_t at = lists->offsets[l]; at < lists->offsets[l + 1];) {
			at = take_piece(round, lists, l, at);
			if (round->pairs < PAIRS_A_ROUND && round->user_count < USERS_A_ROUND)
				continue;
			score_round(state, lists, round);
			round->pairs = round->user_count = 0;
		}
	if (round->pairs > 0)
		score_round(state, lists, round);
}

int cuda_score_lists(struct backend_state *state, const struct score_lists *lists, struct error *error)
{
	struct round round;
	device_use(&state->device);
	if (cuda_score_items(state, error) < 0 || init_lists(state, error) < 0)
		return -1;
	memset(&round, 0, sizeof round);
	round.users = (uint32_t *)malloc(USERS_A_ROUND * sizeof *round.users);
	round.slots = (uint32_t *)malloc(PAIRS_A_ROUND * sizeof *round.slots);
	int status = -1;
	if (round.users && round.slots) {
		score_rounds(state, lists, &round);
		status = device_finish(&state->device, error);
	} else {
		cuda_error(error, CODE_SYSTEM, "out of memory: a round of pairs to score");
	}
	free(round.users);
	free(round.slots);
	return status;
}
