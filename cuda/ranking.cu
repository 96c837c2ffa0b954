/* The best items of all, for every user asked for. Users go by rounds, so that the host sorts the lists of one while the
 * device works on the next; within a round the catalogue goes by blocks where it is large, or where the device has no
 * room for the halves of all items or for a user's scores at once. Neither changes a list: top.cu. */
#include "ranking.h"

#include <stdlib.h>

#include "launch.h"
#include "rounds.h"

enum {
	SCORES_MAX = 1 << 26,     /* of a round and block */
	KEYS_MAX = 1 << 22,       /* of a round */
	USERS_MAX = 8192,
	BLOCK_MAX = 1 << 18,      /* items: so a round has 256 users at least, enough to keep a device busy */
	BLOCK_WORTH = 4096, USERS_WORTH = 64, /* what is not halved before the other is */
	BLOCK_LEAST = 256,
};

/* ---- memory ---- */

static size_t round_bytes(const struct ranking_need *need, const struct ranking_plan *plan)
{
	/* Two slots of users, counts and keys, and one of counts and keys from block to block. */
	const size_t a_user = 2 * sizeof(uint32_t) + 3 * (sizeof(uint32_t) + need->top * sizeof(uint64_t)) +
	                      (need->user_floats + plan->items) * sizeof(float);
	const size_t an_item = need->item_floats == 0 || plan->whole ? 0 : need->item_floats * sizeof(float) + sizeof(uint32_t);
	return plan->users * a_user + plan->items * an_item +
	       (plan->whole ? need->items * need->item_floats * sizeof(float) : 0);
}

static size_t least_of_sizes(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* One step towards less memory; false when there is none. */
static bool shrink(const struct ranking_need *need, size_t room, struct ranking_plan *plan)
{
	if (plan->whole && (need->items * need->item_floats * sizeof(float) > room / 2 ||
	                    (plan->users == 1 && plan->items <= BLOCK_LEAST)))
		plan->whole = false;
	else if (plan->users > USERS_WORTH)
		plan->users = (plan->users + 1) / 2;
	else if (plan->items > BLOCK_WORTH)
		plan->items = (plan->items + 1) / 2;
	else if (plan->users > 1)
		plan->users = (plan->users + 1) / 2;
	else if (plan->items > BLOCK_LEAST)
		plan->items = (plan->items + 1) / 2;
	else
		return false;
	return true;
}

bool cuda_plan_ranking(const struct ranking_need *need, size_t room, struct ranking_plan *plan)
{
	plan->items = least_of_sizes(need->items, BLOCK_MAX);
	plan->users = least_of_sizes(least_of_sizes(need->users, USERS_MAX),
	                             least_of_sizes(SCORES_MAX / plan->items, KEYS_MAX / least_of_sizes(need->top, KEYS_MAX)));
	plan->whole = need->item_floats > 0;
	for (;;) {
		plan->bytes = round_bytes(need, plan);
		if (plan->bytes <= room)
			return true;
		if (!shrink(need, room, plan))
			return false;
	}
}

/* A round of users, on the device and, pinned, on the host. */
struct ranking_slot {
	uint32_t *users, *found;
	uint64_t *best;
	uint32_t *host_users, *host_found;
	uint64_t *host_best;
	size_t first;             /* of the request's users */
	uint32_t count;
};

/* All that one ranking needs; freed behind it. */
struct ranking {
	struct backend_state *state;
	const struct score_top *request;
	size_t top, next;         /* of a list; the first user that no round has */
	struct ranking_plan plan;
	struct interactions_copy seen, truth;
	struct ranking_slot slots[2];
	uint32_t *found, *ids;    /* from block to block; the block's items */
	uint64_t *best;
	float *user_parts, *queries, *item_parts, *scores;
	void *pinned;
};

int cuda_copy_interactions(struct backend_state *state, const struct interactions *from, struct interactions_copy *to,
                           const char *what, struct error *error)
{
	if (!from)
		return 0;
	to->offsets = (uint64_t *)device_alloc(&state->device, (size_t)from->users + 1, sizeof *to->offsets, what, error);
	to->item_ids = (uint32_t *)device_alloc(&state->device, from->count, sizeof *to->item_ids, what, error);
	if (!to->offsets || !to->item_ids)
		return -1;
	to->users = from->users;
	device_upload(&state->device, STREAM_WORK, to->offsets, from->offsets, ((size_t)from->users + 1) * sizeof *to->offsets);
	device_upload(&state->device, STREAM_WORK, to->item_ids, from->item_ids, from->count * sizeof *to->item_ids);
	return 0;
}

static int plan_ranking(struct ranking *r, struct error *error)
{
	const double mib = 1048576.0;
	struct backend_state *state = r->state;
	const struct device *device = &state->device;
	const size_t free_bytes = device_room(device), room = free_bytes / 32 * 31, stride = state->sides[SIDE_USER].factors.stride;
	struct ranking_need need = {r->request->count, state->shape.items, r->top, state->tower.width + stride, 0};
	if (cuda_item_parts_bytes(state) > 0)
		need.item_floats = state->tower.width;
	if (cuda_plan_ranking(&need, room, &r->plan))
		return 0;
	const size_t lists = 3 * r->top * sizeof(uint64_t), others = r->plan.bytes - lists;
	if (room > others + 3 * sizeof(uint64_t))
		return cuda_error(error, CODE_SYSTEM, "cuda:%d (%s) is out of memory: lists of %zu items need %.1f MiB, %.1f MiB are "
		                  "free, %.1f MiB are this model's already; lists of %zu items or --device cpu would fit", device->number,
		                  device->name, r->top, (double)r->plan.bytes / mib, (double)free_bytes / mib,
		                  (double)device->bytes / mib, (room - others) / (3 * sizeof(uint64_t)));
	return cuda_error(error, CODE_SYSTEM, "cuda:%d (%s) is out of memory: the ranking of one user by %zu items at a time needs "
	                  "%.2f MiB, %.2f MiB are free, %.1f MiB are this model's already; --device cpu would fit", device->number,
	                  device->name, r->plan.items, (double)r->plan.bytes / mib, (double)free_bytes / mib,
	                  (double)device->bytes / mib);
}

static int init_slot(struct ranking *r, struct ranking_slot *slot, size_t s, struct error *error)
{
	static const char what[] = "a round of users to rank for";
	struct device *device = &r->state->device;
	const size_t users = r->plan.users, bytes = users * (r->top * sizeof(uint64_t) + 2 * sizeof(uint32_t));
	slot->users = (uint32_t *)device_alloc(device, users, sizeof *slot->users, what, error);
	slot->found = (uint32_t *)device_alloc(device, users, sizeof *slot->found, what, error);
	slot->best = (uint64_t *)device_alloc(device, users * r->top, sizeof *slot->best, what, error);
	if (s == 0)
		r->pinned = device_pin(device, 2 * bytes, what, error);
	if (!slot->users || !slot->found || !slot->best || !r->pinned)
		return -1;
	slot->host_best = (uint64_t *)r->pinned + s * users * (r->top + 1);
	slot->host_users = (uint32_t *)(slot->host_best + users * r->top);
	slot->host_found = slot->host_users + users;
	return 0;
}

static int init_ranking(struct ranking *r, struct error *error)
{
	static const char what[] = "a round of users to rank for", copied[] = "interactions, seen or true";
	struct backend_state *state = r->state;
	struct device *device = &state->device;
	const size_t width = state->tower.width, stride = state->sides[SIDE_USER].factors.stride;
	if (cuda_copy_interactions(state, r->request->seen, &r->seen, copied, error) < 0 ||
	    cuda_copy_interactions(state, r->request->truth, &r->truth, copied, error) < 0 || plan_ranking(r, error) < 0)
		return -1;
	const size_t users = r->plan.users, items = r->plan.items;
	const bool by_blocks = state->has_tower && !r->plan.whole && !state->scoring.item_parts;
	if (init_slot(r, &r->slots[0], 0, error) < 0 || init_slot(r, &r->slots[1], 1, error) < 0)
		return -1;
	r->found = (uint32_t *)device_alloc(device, users, sizeof *r->found, what, error);
	r->best = (uint64_t *)device_alloc(device, users * r->top, sizeof *r->best, what, error);
	r->user_parts = (float *)device_alloc(device, users * width, sizeof(float), what, error);
	r->queries = (float *)device_alloc(device, users * stride, sizeof(float), what, error);
	r->scores = (float *)device_alloc(device, users * items, sizeof(float), what, error);
	if (!r->found || !r->best || !r->user_parts || !r->queries || !r->scores)
		return -1;
	if (!by_blocks)
		return cuda_score_items(state, error);
	r->ids = (uint32_t *)device_alloc(device, items, sizeof *r->ids, what, error);
	r->item_parts = (float *)device_alloc(device, items * width, sizeof(float), what, error);
	return r->ids && r->item_parts ? 0 : -1;
}

static void release_ranking(struct ranking *r)
{
	struct device *device = &r->state->device;
	void *const blocks[] = {r->seen.offsets, r->seen.item_ids, r->truth.offsets, r->truth.item_ids, r->found, r->best, r->ids,
	                        r->user_parts, r->queries, r->item_parts, r->scores, r->slots[0].users, r->slots[0].found,
	                        r->slots[0].best, r->slots[1].users, r->slots[1].found, r->slots[1].best};
	for (size_t i = 0; i < COUNT_OF(blocks); i++)
		device_release(device, blocks[i]);
	device_unpin(device, r->pinned);
}

/* ---- rounds ---- */

static bool send_users(void *context, size_t which)
{
	struct ranking *r = (struct ranking *)context;
	struct ranking_slot *slot = &r->slots[which];
	const size_t left = r->request->count - r->next;
	slot->first = r->next;
	slot->count = (uint32_t)least_of_sizes(left, r->plan.users);
	if (slot->count == 0)
		return false;
	r->next += slot->count;
	memcpy(slot->host_users, r->request->users + slot->first, slot->count * sizeof *slot->users);
	device_upload(&r->state->device, STREAM_AHEAD, slot->users, slot->host_users, slot->count * sizeof *slot->users);
	return true;
}

static void score_block(const struct ranking *r, const struct ranking_slot *slot, uint32_t first, uint32_t items)
{
	struct backend_state *state = r->state;
	const uint32_t pairs = slot->count * items;
	if (state->has_tower && !r->item_parts) {
		cuda_score_tower(state, r->user_parts, NULL, NULL, first, items, pairs, r->scores);
	} else if (state->has_tower) {
		cuda_number_items(state, first, items, r->ids);
		cuda_project(state, SIDE_ITEM, r->ids, NULL, items, r->item_parts);
		cuda_score_tower_of(state, r->item_parts, r->user_parts, NULL, NULL, 0, items, pairs, r->scores);
	}
	if (state->has_factors)
		cuda_score_factors(state, r->queries, NULL, NULL, first, items, pairs, r->scores);
}

/* Of all blocks the last one's best are the slot's; those before take turns with another place. */
static void work_users(void *context, size_t which)
{
	struct ranking *r = (struct ranking *)context;
	struct backend_state *state = r->state;
	const struct ranking_slot *slot = &r->slots[which];
	const uint32_t items = state->shape.items, step = (uint32_t)r->plan.items;
	bool here = (items + step - 1) / step % 2 == 1;
	struct block_of_items block;
	memset(&block, 0, sizeof block);
	block.users = slot->users;
	block.seen = r->seen;
	block.truth = r->truth;
	block.top = (uint32_t)r->top;
	block.scores = r->scores;
	if (state->has_tower)
		cuda_project(state, SIDE_USER, slot->users, NULL, slot->count, r->user_parts);
	if (state->has_factors)
		cuda_make_queries(state, slot->users, slot->count, r->queries);
	for (uint32_t first = 0; first < items; first += block.items, here = !here) {
		block.first = first;
		block.items = items - first < step ? items - first : step;
		block.kept = block.best;
		block.kept_found = block.found;
		block.best = here ? slot->best : r->best;
		block.found = here ? slot->found : r->found;
		score_block(r, slot, first, block.items);
		cuda_select_best(state, &block, slot->count);
	}
}

static void bring_users(void *context, size_t which)
{
	struct ranking *r = (struct ranking *)context;
	struct ranking_slot *slot = &r->slots[which];
	struct device *device = &r->state->device;
	device_download(device, STREAM_AHEAD, slot->host_found, slot->found, slot->count * sizeof *slot->found);
	device_download(device, STREAM_AHEAD, slot->host_best, slot->best, slot->count * r->top * sizeof *slot->best);
}

static int compare_keys(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

static void take_users(void *context, size_t which)
{
	const struct ranking *r = (const struct ranking *)context;
	const struct ranking_slot *slot = &r->slots[which];
	const struct score_top *request = r->request;
	for (size_t u = 0; u < slot->count; u++) {
		uint64_t *keys = slot->host_best + u * r->top;
		const size_t at = (slot->first + u) * request->top;
		qsort(keys, slot->host_found[u], sizeof *keys, compare_keys);
		request->counts[slot->first + u] = slot->host_found[u];
		for (size_t i = 0; i < slot->host_found[u]; i++) {
			const uint32_t upper = (uint32_t)(keys[i] >> 32), bits = upper >> 31 ? upper : ~upper & 0x7fffffffu;
			request->items[at + i] = (uint32_t)keys[i] & 0x7fffffffu;
			memcpy(&request->scores[at + i], &bits, sizeof bits);
		}
	}
}

int cuda_score_top(struct backend_state *state, const struct score_top *request, struct error *error)
{
	struct ranking r;
	struct error ignored = {0};
	const struct rounds rounds = {&r, send_users, work_users, bring_users, take_users};
	memset(&r, 0, sizeof r);
	r.state = state;
	r.request = request;
	r.top = least_of_sizes(request->top, state->shape.items);
	if (r.top == 0 || request->count == 0) {
		memset(request->counts, 0, request->count * sizeof *request->counts);
		return 0;
	}
	device_use(&state->device);
	int status = init_ranking(&r, error);
	if (status == 0)
		status = cuda_run_rounds(&state->device, &rounds, error);
	else
		(void)!device_finish(&state->device, &ignored); /* what is freed may be on its way still */
	release_ranking(&r);
	return status;
}
