/* Histories by the way of interactions.c: records are gathered in chunks, permuted in place to the order of users
 * (American flag sort) and written out user by user, chunks given back on the way. Here a record is 16 bytes, as
 * its time goes along until the doubles of a pair are known. */
#include "histories.h"

#include "mem.h"

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

static int events_add(struct events *events, const struct interaction *one, struct error *error)
{
	if (events->count == (uint64_t)events->chunk_count << CHUNK_BITS) {
		if (mem_grow((void **)&events->chunks, &events->capacity, events->chunk_count + 1, sizeof *events->chunks,
		             error) < 0)
			return -1;
		struct event *chunk = mem_alloc(CHUNK_EVENTS, sizeof *chunk, error);
		if (!chunk)
			return -1;
		events->chunks[events->chunk_count++] = chunk;
	}
	*event_at(events, events->count++) = (struct event){one->user, one->item, one->time};
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
	struct stream_reader reader = {0};
	struct interaction one;
	int more = stream_reader_open(&reader, path, STREAM_INTERACTIONS, error);
	if (more == 0)
		more = take_ids(&reader, path, name, info, error);
	if (more == 0) {
		events->has_time = events->has_time && !json_is_false(json_object_get(reader.metadata, "has_time"));
		while ((more = interaction_read(&reader, info, &one, error)) > 0)
			if (events_add(events, &one, error) < 0) {
				more = -1;
				break;
			}
	}
	stream_reader_release(&reader);
	return more;
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

static int by_item_latest_first(const void *a, const void *b)
{
	const struct event *x = a, *y = b;
	if (x->item != y->item)
		return x->item < y->item ? -1 : 1;
	return (x->time < y->time) - (x->time > y->time);
}

static int latest_first(const void *a, const void *b)
{
	const struct event *x = a, *y = b;
	return (x->time < y->time) - (x->time > y->time);
}

/* Appends the `count` events of a user, which are ruined, as pairs. */
static void add_user(struct histories *histories, struct event *row, size_t count)
{
	struct interactions *interactions = &histories->interactions;
	uint32_t *items = interactions->item_ids + interactions->count;
	uint32_t used = 0;
	qsort(row, count, sizeof *row, by_item_latest_first);
	for (size_t k = 0; k < count; k++) {
		if (used && row[k].item == items[used - 1])
			continue;
		items[used] = row[k].item;
		interactions->popularity[row[k].item]++;
		row[used] = row[k];
		row[used].user = used; /* from here on: its place among the user's pairs */
		used++;
	}
	for (uint32_t k = 0; histories->times && k < used; k++)
		histories->times[interactions->count + k] = row[k].time;
	if (histories->later) {
		uint32_t *later = histories->later + interactions->count;
		qsort(row, used, sizeof *row, latest_first);
		for (uint32_t k = 0, first = 0; k < used; k++) {
			first = row[k].time == row[first].time ? first : k;
			later[row[k].user] = first;
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
	struct event *row = mem_alloc(longest_row(interactions->offsets, interactions->users), sizeof *row, error);
	if (!row)
		return -1;
	for (uint32_t user = 0; user < interactions->users; user++) {
		const uint64_t end = interactions->offsets[user + 1];
		size_t count = 0;
		interactions->offsets[user] = interactions->count;
		for (; at < end; at++) {
			row[count++] = *event_at(events, at);
			if (((at + 1) & (CHUNK_EVENTS - 1)) == 0) {
				mem_free(events->chunks[at >> CHUNK_BITS]);
				events->chunks[at >> CHUNK_BITS] = NULL;
			}
		}
		add_user(histories, row, count);
	}
	interactions->offsets[interactions->users] = interactions->count;
	mem_free(row);
	return 0;
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
