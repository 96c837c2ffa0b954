/* Records of interactions, samples and lists: fields in and out of the bytes of a stream. */
#include "records.h"

#include <inttypes.h>

#include "mem.h"

enum {
	LIST_HEAD = 12,
	LIST_ENTRY = 13, /* item, score, popularity, relevant */
};

static int bad_id(const struct stream_reader *reader, const char *what, uint32_t id, uint32_t count,
                  struct error *error)
{
	return error_set(error, CODE_DATA, "%s: record %" PRIu64 ": %s %u, expected one below %u", reader->input.name,
	                 reader->records - reader->block_records + reader->taken, what, id, count);
}

/* Of `got` records that were taken together, the one at `place` is the last that counts as begun: for messages. */
static void go_back_to(struct stream_reader *reader, size_t got, size_t place)
{
	reader->taken -= (uint32_t)(got - 1 - place);
}

/* ---- interactions ---- */

int interaction_write(struct stream_writer *writer, const struct interaction *interaction, struct error *error)
{
	unsigned char *to = stream_reserve(writer, INTERACTION_SIZE, error);
	if (!to)
		return -1;
	put_u32(to, interaction->user);
	put_u32(to + 4, interaction->item);
	put_f32(to + 8, interaction->rating);
	put_u64(to + 12, (uint64_t)interaction->time);
	return 0;
}

int interaction_read(struct stream_reader *reader, const struct stream_info *info, struct interaction *interaction,
                     struct error *error)
{
	int result = stream_next(reader, error);
	if (result <= 0)
		return result;
	const unsigned char *from = stream_take(reader, INTERACTION_SIZE, error);
	if (!from)
		return -1;
	interaction->user = get_u32(from);
	interaction->item = get_u32(from + 4);
	interaction->rating = get_f32(from + 8);
	interaction->time = (int64_t)get_u64(from + 12);
	if (interaction->user >= info->users.count)
		return bad_id(reader, "user", interaction->user, info->users.count, error);
	if (interaction->item >= info->items.count)
		return bad_id(reader, "item", interaction->item, info->items.count, error);
	return 1;
}

json_t *interactions_metadata(const char *tool, const char *options, const struct stream_info *info, bool has_rating,
                              bool has_time, struct error *error)
{
	json_t *metadata = records_metadata(tool, options, info, error);
	if (metadata && (json_object_set_new(metadata, "has_rating", json_boolean(has_rating)) ||
	                 json_object_set_new(metadata, "has_time", json_boolean(has_time)))) {
		error_set(error, CODE_SYSTEM, "out of memory");
		json_decref(metadata);
		return NULL;
	}
	return metadata;
}

void interactions_pack(const struct interaction_columns *columns, size_t from, size_t count, unsigned char *to)
{
	const struct interaction_columns in = *columns; /* a copy, which the bytes written cannot change */
	for (size_t i = from; i < from + count; i++, to += INTERACTION_SIZE) {
		put_u32(to, in.users[i]);
		put_u32(to + 4, in.items[i]);
		put_f32(to + 8, in.ratings[i]);
		put_u64(to + 12, (uint64_t)in.times[i]);
	}
}

int interactions_write(struct stream_writer *writer, const struct interaction_columns *columns, size_t count,
                       struct error *error)
{
	for (size_t done = 0, got; done < count; done += got) {
		unsigned char *to = stream_reserve_many(writer, INTERACTION_SIZE, count - done, &got, error);
		if (!to)
			return -1;
		interactions_pack(columns, done, got, to);
	}
	return 0;
}

/* The first of `count` interactions whose user or item is too large. */
static int bad_interaction(struct stream_reader *reader, const struct stream_info *info,
                           const struct interaction_columns *columns, size_t count, struct error *error)
{
	size_t i = 0;
	while (columns->users[i] < info->users.count && columns->items[i] < info->items.count)
		i++;
	go_back_to(reader, count, i);
	if (columns->users[i] >= info->users.count)
		return bad_id(reader, "user", columns->users[i], info->users.count, error);
	return bad_id(reader, "item", columns->items[i], info->items.count, error);
}

ptrdiff_t interactions_take(struct stream_reader *reader, const struct stream_info *info,
                            const struct interaction_columns *columns, size_t count, struct error *error)
{
	const unsigned char *from;
	size_t got;
	bool bad = false;
	int result = stream_take_many(reader, INTERACTION_SIZE, count, &from, &got, error);
	if (result <= 0)
		return result;
	for (size_t i = 0; i < got; i++) {
		columns->users[i] = get_u32(from + i * INTERACTION_SIZE);
		columns->items[i] = get_u32(from + i * INTERACTION_SIZE + 4);
		bad |= columns->users[i] >= info->users.count || columns->items[i] >= info->items.count;
	}
	for (size_t i = 0; columns->ratings && i < got; i++)
		columns->ratings[i] = get_f32(from + i * INTERACTION_SIZE + 8);
	for (size_t i = 0; columns->times && i < got; i++)
		columns->times[i] = (int64_t)get_u64(from + i * INTERACTION_SIZE + 12);
	return bad ? bad_interaction(reader, info, columns, got, error) : (ptrdiff_t)got;
}

/* ---- samples ---- */

static int metadata_integer(const struct stream_reader *reader, const char *key, int64_t least, int64_t most,
                            int64_t *value, struct error *error)
{
	const json_t *number = json_object_get(reader->metadata, key);
	if (!json_is_integer(number) || json_integer_value(number) < least || json_integer_value(number) > most)
		return error_set(error, CODE_DATA, "%s: its metadata has no usable \"%s\"", reader->input.name, key);
	*value = json_integer_value(number);
	return 0;
}

int sample_shape_read(const struct stream_reader *reader, struct sample_shape *shape, struct error *error)
{
	int64_t ratio = 0, epochs = 0, positives = 0;
	if (metadata_integer(reader, "ratio", 0, UINT16_MAX, &ratio, error) < 0 ||
	    metadata_integer(reader, "epochs", 1, INT32_MAX, &epochs, error) < 0 ||
	    metadata_integer(reader, "positives", 1, UINT32_MAX, &positives, error) < 0)
		return -1;
	*shape = (struct sample_shape){(uint32_t)ratio, (uint32_t)epochs, (uint64_t)positives};
	return 0;
}

int sample_write(struct stream_writer *writer, uint32_t user, const uint32_t *items, uint32_t ratio,
                 struct error *error)
{
	unsigned char *to = stream_reserve(writer, 4 * ((size_t)ratio + 2), error);
	if (!to)
		return -1;
	put_u32(to, user);
	for (uint32_t i = 0; i <= ratio; i++)
		put_u32(to + 4 * ((size_t)i + 1), items[i]);
	return 0;
}

int sample_read(struct stream_reader *reader, const struct stream_info *info, uint32_t ratio, uint32_t *user,
                uint32_t *items, struct error *error)
{
	int result = stream_next(reader, error);
	if (result <= 0)
		return result;
	const unsigned char *from = stream_take(reader, 4 * ((size_t)ratio + 2), error);
	if (!from)
		return -1;
	*user = get_u32(from);
	if (*user >= info->users.count)
		return bad_id(reader, "user", *user, info->users.count, error);
	for (uint32_t i = 0; i <= ratio; i++) {
		items[i] = get_u32(from + 4 * ((size_t)i + 1));
		if (items[i] >= info->items.count && (i == 0 || items[i] != (uint32_t)NO_ITEM))
			return bad_id(reader, "item", items[i], info->items.count, error);
	}
	return 1;
}

int samples_write(struct stream_writer *writer, const uint32_t *users, const uint32_t *items, uint32_t ratio,
                  size_t count, struct error *error)
{
	const size_t group = 1 + (size_t)ratio, size = 4 * (1 + group);
	for (size_t done = 0, got; done < count; done += got) {
		unsigned char *to = stream_reserve_many(writer, size, count - done, &got, error);
		if (!to)
			return -1;
		for (size_t i = done; i < done + got; i++, to += 4 * group) {
			put_u32(to, users[i]);
			to += 4;
			for (size_t k = 0; k < group; k++)
				put_u32(to + 4 * k, items[i * group + k]);
		}
	}
	return 0;
}

static int bad_sample(struct stream_reader *reader, const struct stream_info *info, uint32_t ratio,
                      const uint32_t *users, const uint32_t *items, size_t count, struct error *error)
{
	const size_t group = 1 + (size_t)ratio;
	for (size_t i = 0; i < count; i++) {
		go_back_to(reader, count, i);
		if (users[i] >= info->users.count)
			return bad_id(reader, "user", users[i], info->users.count, error);
		for (size_t k = 0; k < group; k++) {
			const uint32_t item = items[i * group + k];
			if (item >= info->items.count && (k == 0 || item != (uint32_t)NO_ITEM))
				return bad_id(reader, "item", item, info->items.count, error);
		}
		reader->taken += (uint32_t)(count - 1 - i);
	}
	return error_set(error, CODE_BUG, "%s: a bad sample that cannot be found again", reader->input.name);
}

ptrdiff_t samples_take(struct stream_reader *reader, const struct stream_info *info, uint32_t ratio, size_t count,
                       uint32_t *users, uint32_t *items, struct error *error)
{
	const size_t group = 1 + (size_t)ratio, size = 4 * (1 + group);
	const unsigned char *from;
	size_t got;
	bool bad = false;
	int result = stream_take_many(reader, size, count, &from, &got, error);
	if (result <= 0)
		return result;
	for (size_t i = 0; i < got; i++, from += size) {
		uint32_t *to = items + i * group;
		users[i] = get_u32(from);
		to[0] = get_u32(from + 4);
		bad |= users[i] >= info->users.count || to[0] >= info->items.count;
		for (size_t k = 1; k < group; k++) {
			to[k] = get_u32(from + 4 * (1 + k));
			bad |= to[k] >= info->items.count && to[k] != (uint32_t)NO_ITEM;
		}
	}
	return bad ? bad_sample(reader, info, ratio, users, items, got, error) : (ptrdiff_t)got;
}

/* ---- lists ---- */

int list_reserve(struct list *list, size_t count, struct error *error)
{
	if (count <= list->capacity)
		return 0;
	struct list grown = {
		.capacity = count + count / 2,
		.user = list->user,
		.relevant_total = list->relevant_total,
	};
	grown.items = mem_alloc(grown.capacity, sizeof *grown.items, error);
	grown.scores = mem_alloc(grown.capacity, sizeof *grown.scores, error);
	grown.popularity = mem_alloc(grown.capacity, sizeof *grown.popularity, error);
	grown.relevant = mem_alloc(grown.capacity, sizeof *grown.relevant, error);
	if (!grown.items || !grown.scores || !grown.popularity || !grown.relevant) {
		list_release(&grown);
		return -1;
	}
	if (list->count > 0) {
		memcpy(grown.items, list->items, list->count * sizeof *list->items);
		memcpy(grown.scores, list->scores, list->count * sizeof *list->scores);
		memcpy(grown.popularity, list->popularity, list->count * sizeof *list->popularity);
		memcpy(grown.relevant, list->relevant, list->count * sizeof *list->relevant);
	}
	grown.count = list->count;
	list_release(list);
	*list = grown;
	return 0;
}

void list_release(struct list *list)
{
	mem_free(list->items);
	mem_free(list->scores);
	mem_free(list->popularity);
	mem_free(list->relevant);
	*list = (struct list){0};
}

uint32_t list_count_max(void)
{
	return (STREAM_BLOCK_MAX - LIST_HEAD) / LIST_ENTRY;
}

int list_write(struct stream_writer *writer, const struct list *list, struct error *error)
{
	if (list->count > list_count_max())
		return error_set(error, CODE_DATA, "user %u: a list of %u items, at most %u fit into a block", list->user,
		                 list->count, list_count_max());
	unsigned char *to = stream_reserve(writer, LIST_HEAD + (size_t)list->count * LIST_ENTRY, error);
	if (!to)
		return -1;
	put_u32(to, list->user);
	put_u32(to + 4, list->count);
	put_u32(to + 8, list->relevant_total);
	to += LIST_HEAD;
	for (uint32_t i = 0; i < list->count; i++, to += 4)
		put_u32(to, list->items[i]);
	for (uint32_t i = 0; i < list->count; i++, to += 4)
		put_f32(to, list->scores[i]);
	for (uint32_t i = 0; i < list->count; i++, to += 4)
		put_u32(to, list->popularity[i]);
	if (list->count > 0)
		memcpy(to, list->relevant, list->count);
	return 0;
}

static int check_entry(const struct stream_reader *reader, const struct stream_info *info, const struct list *list,
                       uint32_t i, struct error *error)
{
	if (list->items[i] >= info->items.count)
		return bad_id(reader, "item", list->items[i], info->items.count, error);
	if (list->relevant[i] > LIST_RELEVANT)
		return error_set(error, CODE_DATA, "%s: user %u: relevance %u, expected 0 or 1", reader->input.name,
		                 list->user, list->relevant[i]);
	return 0;
}

int list_read(struct stream_reader *reader, const struct stream_info *info, struct list *list, struct error *error)
{
	int result = stream_next(reader, error);
	if (result <= 0)
		return result;
	const unsigned char *from = stream_take(reader, LIST_HEAD, error);
	if (!from)
		return -1;
	const uint32_t count = get_u32(from + 4);
	list->user = get_u32(from);
	list->relevant_total = get_u32(from + 8);
	list->count = 0;
	if (list->user >= info->users.count)
		return bad_id(reader, "user", list->user, info->users.count, error);
	from = stream_take(reader, (size_t)count * LIST_ENTRY, error); /* checks the count against the block */
	if (!from || list_reserve(list, count, error) < 0)
		return -1;
	list->count = count;
	uint32_t found = 0;
	for (uint32_t i = 0; i < count; i++) {
		list->items[i] = get_u32(from + 4 * (size_t)i);
		list->scores[i] = get_f32(from + 4 * ((size_t)count + i));
		list->popularity[i] = get_u32(from + 4 * (2 * (size_t)count + i));
		list->relevant[i] = from[12 * (size_t)count + i];
		if (check_entry(reader, info, list, i, error) < 0)
			return -1;
		found += list->relevant[i];
	}
	if (found > list->relevant_total)
		return error_set(error, CODE_DATA, "%s: user %u: %u relevant items, %u in all are announced",
		                 reader->input.name, list->user, found, list->relevant_total);
	return 1;
}
