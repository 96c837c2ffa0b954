/* Id spaces in the metadata of streams: whose dense ids a stream holds, and whether two streams agree. */
#include <inttypes.h>

#include "mem.h"
#include "records.h"

enum { DIGEST_LENGTH = 32 };

static_assert(sizeof(((struct id_space *)0)->digest) == DIGEST_LENGTH + 1, "a digest and its NUL");

static json_t *space_to_json(const struct id_space *space)
{
	json_t *object = json_pack("{s:I, s:s}", "count", (json_int_t)space->count, "digest", space->digest);
	if (object && json_array_size(space->ancestors) > 0 &&
	    json_object_set(object, "ancestors", space->ancestors) < 0) {
		json_decref(object);
		return NULL;
	}
	return object;
}

json_t *records_metadata(const char *tool, const char *options, const struct stream_info *info, struct error *error)
{
	json_t *metadata = json_pack("{s:s, s:s, s:o, s:o}", "tool", tool, "options", options, "users",
	                             space_to_json(&info->users), "items", space_to_json(&info->items));
	if (!metadata)
		error_set(error, CODE_SYSTEM, "out of memory for metadata, or options that are no UTF-8");
	return metadata;
}

static bool is_digest(const json_t *text)
{
	if (!json_is_string(text))
		return false;
	size_t length = json_string_length(text);
	return (length == 0 || length == DIGEST_LENGTH) &&
	       strspn(json_string_value(text), "0123456789abcdef") == length;
}

static bool is_space(const json_t *object)
{
	const json_t *count = json_object_get(object, "count");
	return json_is_integer(count) && json_integer_value(count) >= 0 && json_integer_value(count) < UINT32_MAX &&
	       is_digest(json_object_get(object, "digest"));
}

static int space_from_json(const char *name, const char *key, const json_t *object, struct id_space *space,
                           struct error *error)
{
	if (!is_space(object))
		return error_set(error, CODE_DATA, "%s: its metadata has no usable \"%s\"", name, key);
	const json_t *ancestors = json_object_get(object, "ancestors");
	if (ancestors && !json_is_array(ancestors))
		return error_set(error, CODE_DATA, "%s: the ancestors of its \"%s\" are no list", name, key);
	for (size_t i = 0; i < json_array_size(ancestors); i++)
		if (!is_space(json_array_get(ancestors, i)))
			return error_set(error, CODE_DATA, "%s: the ancestors of its \"%s\" are malformed", name, key);
	space->count = (uint32_t)json_integer_value(json_object_get(object, "count"));
	snprintf(space->digest, sizeof space->digest, "%s", json_string_value(json_object_get(object, "digest")));
	space->ancestors = ancestors ? json_deep_copy(ancestors) : NULL;
	if (ancestors && !space->ancestors)
		return error_set(error, CODE_SYSTEM, "out of memory for ids");
	return 0;
}

int stream_info_from_json(const char *name, const json_t *metadata, struct stream_info *info, struct error *error)
{
	*info = (struct stream_info){0};
	if (space_from_json(name, "users", json_object_get(metadata, "users"), &info->users, error) < 0 ||
	    space_from_json(name, "items", json_object_get(metadata, "items"), &info->items, error) < 0) {
		stream_info_release(info);
		return -1;
	}
	return 0;
}

int records_info(const struct stream_reader *reader, struct stream_info *info, struct error *error)
{
	return stream_info_from_json(reader->input.name, reader->metadata, info, error);
}

void id_space_release(struct id_space *space)
{
	json_decref(space->ancestors);
	*space = (struct id_space){0};
}

void stream_info_release(struct stream_info *info)
{
	id_space_release(&info->users);
	id_space_release(&info->items);
}

static bool same_space(const struct id_space *a, const struct id_space *b)
{
	if (a->count != b->count)
		return false;
	return a->digest[0] == '\0' || b->digest[0] == '\0' || strcmp(a->digest, b->digest) == 0;
}

static int tell_difference(const char *what, const char *name_a, const struct id_space *a, const char *name_b,
                           const struct id_space *b, struct error *error)
{
	return error_set(error, CODE_DATA,
	                 "%s and %s are of different %s: %u ids (%.8s) and %u (%.8s), expected the same id map", name_a,
	                 name_b, what, a->count, a->digest, b->count, b->digest);
}

int records_same_ids(const char *name_a, const struct stream_info *a, const char *name_b, const struct stream_info *b,
                     struct error *error)
{
	if (!same_space(&a->users, &b->users))
		return tell_difference("users", name_a, &a->users, name_b, &b->users, error);
	if (!same_space(&a->items, &b->items))
		return tell_difference("items", name_a, &a->items, name_b, &b->items, error);
	return 0;
}

int records_take_ids(const char *name, struct stream_info *info, const char *path, struct stream_info *found,
                     struct error *error)
{
	int result = 0;
	if (info->users.count == 0 && info->items.count == 0) {
		stream_info_release(info);
		*info = *found;
		*found = (struct stream_info){0};
	} else {
		result = records_same_ids(name, info, path, found, error);
		stream_info_release(found);
	}
	return result;
}

bool id_space_extends(const struct id_space *grown, const struct id_space *old)
{
	if (same_space(grown, old))
		return true;
	for (size_t i = 0; i < json_array_size(grown->ancestors); i++) {
		const json_t *ancestor = json_array_get(grown->ancestors, i);
		if (json_integer_value(json_object_get(ancestor, "count")) == (json_int_t)old->count &&
		    strcmp(json_string_value(json_object_get(ancestor, "digest")), old->digest) == 0)
			return true;
	}
	return false;
}
