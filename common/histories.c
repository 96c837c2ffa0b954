/* Histories by the way of interactions.c: records are gathered in chunks, permuted in place to the order of users
 * (American flag sort) and written out user by user, chunks given back on the way. Here a record is 16 bytes, as
 * its time goes along until the doubles of a pair are known. */
#include "histories.h"

#include "mem.h"
#include "radix.h"

enum { CHUNK_BITS = 16, CHUNK_EVENTS = 1 << CHUNK_BITS };

struct event {
	uint32_t user, item;
	int64_t time;
};

static_assert(sizeof(struct event) == 16, "nothing between the fields");

struct events {
	struct event **chunks;
	size_t chunk_count, capacity;
	uint64_t count;
	bool has_time;
};

static inline struct event *event_at(const struct events *events, uint64_t index)
{
	return &events->chunks[index >> CHUNK_BITS][index & (CHUNK_EVENTS - 1)];
}

static void events_release(struct events *events)
{
	for (size_t i = 0; i < events->chunk_count; i++)
		mem_free(events->chunks[i]);
	mem_free(events->chunks);
	*events = (struct events){0};
}

/* ---- reading ---- */

static int events_add(struct events *events, const struct interaction_columns *columns, size_t count,
                      struct error *error)
{
	for (size_t i = 0; i < count; i++) {
		if (events->count == (uint64_t)events->chunk_count << CHUNK_BITS) {
			if (mem_grow((void **)&events->chunks, &events->capacity, events->chunk_count + 1,
			             sizeof *events->chunks, error) < 0)
				return -1;
			struct event *chunk = mem_alloc(CHUNK_EVENTS, sizeof *chunk, error);
			if (!chunk)
				return -1;
			events->chunks[events->chunk_count++] = chunk;
		}
		*event_at(events, events->count++) = (struct event){columns->users[i], columns->items[i], columns->times[i]};
	}
	return 0;
}

static int take_ids(const struct stream_reader *reader, const char *path, const char *name, struct stream_info *info,
                    struct error *error)
{
	struct stream_info found = {0};
	const int result = records_info(reader, &found, error);
	return result == 0 ? records_take_ids(name, info, path, &found, error) : result;
}

static int read_one(struct events *events, const char *path, const char *name, struct stream_info *info,
                    struct error *error)
{
	enum { BATCH = 1024 };
	uint32_t users[BATCH], items[BATCH];
	int64_t times[BATCH];
	const struct interaction_columns columns = {.users = users, .items = items, .times = times};
	struct stream_reader reader = {0};
	ptrdiff_t more = stream_reader_open(&reader, path, STREAM_INTERACTIONS, error);
	if (more == 0)
		more = take_ids(&reader, path, name, info, error);
	if (more == 0) {
		events->has_time = events->has_time && !json_is_false(json_object_get(reader.metadata, "has_time"));
		while ((more = interactions_take(&reader, info, &columns, BATCH, error)) > 0)
			if (events_add(events, &columns, (size_t)more, error) < 0) {
				more = -1;
				break;
			}
	}
	stream_reader_release(&reader);
	return more < 0 ? -1 : 0;
}

/* ---- the order of users ---- */

/* Groups the events by user where they lie; within a user their order is any. */
static int group_by_user(const struct events *events, const uint64_t *offsets, uint32_t users, struct error *error)
{
	uint64_t *next = mem_alloc(users, sizeof *next, error);
	if (!next)
		return -1;
	memcpy(next, offsets, users * sizeof *next);
	for (uint32_t user = 0; user < users; user++) {
		while (next[user] < offsets[user + 1]) {
			struct event event = *event_at(events, next[user]);
			while (event.user != user) {
				struct event *home = event_at(events, next[event.user]++);
				const struct event displaced = *home;
				*home = event;
				event = displaced;
			}
			*event_at(events, next[user]++) = event;
		}
	}
	mem_free(next);
	return 0;
}

/* ---- one user ---- */

/* A user's events, and room to sort them in: keys have what is sorted by above the place of the event. */
struct row {
	struct event *events;
	uint64_t *keys, *spare;
};

static int latest_first(const void *a, const void *b)
{
	const struct event *x = a, *y = b;
	return (x->time < y->time) - (x->time > y->time);
}

/* Orders the first `count` events latest first, and equal times any way, by keys where a distance in time and a place
 * fit into one; their keys are then the places, what is to be at place k is events[keys[k]]. */
static void order_by_time(struct row *row, size_t count)
{
	struct event *events = row->events;
	int64_t least = INT64_MAX, most = INT64_MIN;
	unsigned bits = 1;
	while (count > (size_t)1 << bits)
		bits++;
	for (size_t k = 0; k < count; k++) {
		least = events[k].time < least ? events[k].time : least;
		most = events[k].time > most ? events[k].time : most;
	}
	const bool fit = ((uint64_t)most - (uint64_t)least) >> (64 - bits) == 0;
	if (!fit)
		qsort(events, count, sizeof *events, latest_first);
	for (size_t k = 0; k < count; k++)
		row->keys[k] = fit ? ((uint64_t)most - (uint64_t)events[k].time) << bits | k : k;
	if (fit)
		radix_sort_with(row->keys, row->spare, count, bits);
	for (size_t k = 0; k < count; k++)
		row->keys[k] &= (UINT64_C(1) << bits) - 1;
}

/* The user's distinct items ascending to `items`; event k becomes (place k among them, item, latest time). Returns how
 * many they are. */
static uint32_t merge_doubles(struct row *row, size_t count, uint32_t *items)
{
	struct event *merged = (struct event *)(void *)row->spare; /* free once the keys are sorted */
	uint32_t used = 0;
	for (size_t k = 0; k < count; k++)
		row->keys[k] = (uint64_t)row->events[k].item << 32 | k;
	radix_sort_with(row->keys, row->spare, count, 32);
	for (size_t k = 0; k < count; k++) {
		const struct event event = row->events[(uint32_t)row->keys[k]];
		if (used && event.item == items[used - 1]) {
			merged[used - 1].time = event.time > merged[used - 1].time ? event.time : merged[used - 1].time;
			continue;
		}
		items[used] = event.item;
		merged[used] = (struct event){used, event.item, event.time};
		used++;
	}
	memcpy(row->events, merged, used * sizeof *merged);
	return used;
}

/* Appends the `count` events of a user, which are ruined, as pairs. */
static void add_user(struct histories *histories, struct row *row, size_t count)
{
	struct interactions *interactions = &histories->interactions;
	uint32_t *items = interactions->item_ids + interactions->count;
	const uint32_t used = merge_doubles(row, count, items);
	for (uint32_t k = 0; k < used; k++)
		interactions->popularity[items[k]]++;
	for (uint32_t k = 0; histories->times && k < used; k++)
		histories->times[interactions->count + k] = row->events[k].time;
	if (histories->later) {
		uint32_t *later = histories->later + interactions->count;
		order_by_time(row, used);
		for (uint32_t k = 0, first = 0; k < used; k++) {
			const struct event *event = &row->events[row->keys[k]];
			first = event->time == row->events[row->keys[first]].time ? first : k;
			later[event->user] = first;
		}
	}
	interactions->doubles += count - used;
	interactions->count += used;
}

static size_t longest_row(const uint64_t *offsets, uint32_t users)
{
	size_t longest = 0;
	for (uint32_t user = 0; user < users; user++)
		longest = offsets[user + 1] - offsets[user] > longest ? (size_t)(offsets[user + 1] - offsets[user]) : longest;
	return longest;
}

/* Rows out of grouped events, whose chunks are freed on the way. */
static int write_rows(struct histories *histories, struct events *events, struct error *error)
{
	struct interactions *interactions = &histories->interactions;
	uint64_t at = 0;
	const size_t longest = longest_row(interactions->offsets, interactions->users);
	struct row row = {.events = mem_alloc(longest, sizeof *row.events, error),
	                  .keys = mem_alloc(longest, sizeof *row.keys, error),
	                  .spare = mem_alloc(longest, sizeof *row.events, error)}; /* keys, then events */
	const bool made = row.events && row.keys && row.spare;
	for (uint32_t user = 0; made && user < interactions->users; user++) {
		const uint64_t end = interactions->offsets[user + 1];
		size_t count = 0;
		interactions->offsets[user] = interactions->count;
		for (; at < end; at++) {
			row.events[count++] = *event_at(events, at);
			if (((at + 1) & (CHUNK_EVENTS - 1)) == 0) {
				mem_free(events->chunks[at >> CHUNK_BITS]);
				events->chunks[at >> CHUNK_BITS] = NULL;
			}
		}
		add_user(histories, &row, count);
	}
	interactions->offsets[interactions->users] = interactions->count;
	mem_free(row.events);
	mem_free(row.keys);
	mem_free(row.spare);
	return made ? 0 : -1;
}

static int build(struct histories *histories, struct events *events, const struct stream_info *info,
                 struct error *error)
{
	struct interactions *interactions = &histories->interactions;
	interactions->users = info->users.count;
	interactions->items = info->items.count;
	interactions->offsets = mem_alloc_zero((size_t)interactions->users + 1, sizeof *interactions->offsets, error);
	interactions->popularity = mem_alloc_zero(interactions->items, sizeof *interactions->popularity, error);
	if (!interactions->offsets || !interactions->popularity)
		return -1;
	for (uint64_t i = 0; i < events->count; i++)
		interactions->offsets[(size_t)event_at(events, i)->user + 1]++;
	for (size_t u = 0; u < interactions->users; u++)
		interactions->offsets[u + 1] += interactions->offsets[u];
	interactions->item_ids = mem_alloc(events->count, sizeof *interactions->item_ids, error);
	if (!interactions->item_ids)
		return -1;
	if (events->has_time) {
		histories->times = mem_alloc(events->count, sizeof *histories->times, error);
		histories->later = mem_alloc(events->count, sizeof *histories->later, error);
		if (!histories->times || !histories->later)
			return -1;
	}
	if (events->count == 0)
		return 0;
	if (group_by_user(events, interactions->offsets, interactions->users, error) < 0)
		return -1;
	return write_rows(histories, events, error);
}

int histories_read(struct histories *histories, const char *const *paths, size_t count, const char *name,
                   struct stream_info *info, struct error *error)
{
	struct events events = {.has_time = true};
	int result = 0;
	*histories = (struct histories){0};
	for (size_t f = 0; f < count && result == 0; f++)
		result = read_one(&events, paths[f], f ? paths[0] : name, info, error);
	if (count > 0 && result == 0)
		result = build(histories, &events, info, error);
	events_release(&events);
	if (result < 0)
		histories_release(histories);
	return result;
}

void histories_release(struct histories *histories)
{
	interactions_release(&histories->interactions);
	mem_free(histories->times);
	mem_free(histories->later);
	*histories = (struct histories){0};
}
