/* The identity of an id map (its digest and those of the maps it grew from) and its file: a stream of kind
 * STREAM_IDS, a record of u32 length and bytes for each string in the order of ids. The digest is XXH3-128
 * over exactly the bytes of those records, so that of a map's first n strings is the digest of the map it
 * was when it had n, and a reader can verify every ancestor that the metadata claims. */
#include "compat.h"

#include <xxhash.h>

#include "idmap.h"

/* `digest` holds 33 bytes. */
static void digest_text(const XXH3_state_t *state, char *digest)
{
	XXH128_canonical_t canonical;
	XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(state));
	for (size_t i = 0; i < sizeof canonical.digest; i++) {
		digest[2 * i] = "0123456789abcdef"[canonical.digest[i] >> 4];
		digest[2 * i + 1] = "0123456789abcdef"[canonical.digest[i] & 15];
	}
	digest[2 * sizeof canonical.digest] = 0;
}

static XXH3_state_t *digest_start(struct error *error)
{
	XXH3_state_t *state = XXH3_createState();
	if (!state)
		error_set(error, CODE_SYSTEM, "out of memory");
	else
		XXH3_128bits_reset(state);
	return state;
}

static void digest_string(XXH3_state_t *state, const char *text, size_t length)
{
	unsigned char prefix[4];
	put_u32(prefix, (uint32_t)length);
	XXH3_128bits_update(state, prefix, sizeof prefix);
	if (length)
		XXH3_128bits_update(state, text, length);
}

/* Adds {"count", "digest"} to the array. */
static int add_ancestor(json_t *ancestors, uint32_t count, const char *digest, struct error *error)
{
	json_t *entry = json_pack("{s:I, s:s}", "count", (json_int_t)count, "digest", digest);
	if (!entry || json_array_append_new(ancestors, entry))
		return error_set(error, CODE_SYSTEM, "out of memory");
	return 0;
}

/* A new array of the maps that `map` grew from, the one it was read as included when strings were added. */
static json_t *ancestors_of(const struct idmap *map, struct error *error)
{
	json_t *ancestors = map->ancestors ? json_deep_copy(map->ancestors) : json_array();
	if (!ancestors) {
		error_set(error, CODE_SYSTEM, "out of memory");
		return NULL;
	}
	if (map->was_read && map->count > map->read_count &&
	    add_ancestor(ancestors, map->read_count, map->read_digest, error)) {
		json_decref(ancestors);
		return NULL;
	}
	return ancestors;
}

int idmap_space(const struct idmap *map, struct id_space *space, struct error *error)
{
	*space = (struct id_space){ .count = map->count };
	XXH3_state_t *state = digest_start(error);
	if (!state)
		return -1;
	for (uint32_t id = 0; id < map->count; id++) {
		size_t length;
		const char *text = idmap_text(map, id, &length);
		digest_string(state, text, length);
	}
	digest_text(state, space->digest);
	XXH3_freeState(state);
	space->ancestors = ancestors_of(map, error);
	return space->ancestors ? 0 : -1;
}

static int append_strings(const struct idmap *map, struct stream_writer *writer, struct error *error)
{
	for (uint32_t id = 0; id < map->count; id++) {
		size_t length;
		const char *text = idmap_text(map, id, &length);
		unsigned char *record = stream_reserve(writer, 4 + length, error);
		if (!record)
			return -1;
		put_u32(record, (uint32_t)length);
		if (length)
			memcpy(record + 4, text, length);
	}
	return stream_writer_finish(writer, error);
}

int idmap_write(const struct idmap *map, const char *what, struct output *output, struct error *error)
{
	int result = -1;
	struct stream_writer writer = { 0 };
	struct id_space space = { 0 };
	json_t *metadata = NULL;
	if (idmap_space(map, &space, error))
		goto out;
	metadata = json_pack("{s:s, s:s, s:I, s:s, s:O}", "tool", "encode-ids", "what", what, "count",
	                     (json_int_t)space.count, "digest", space.digest, "ancestors", space.ancestors);
	if (!metadata) {
		error_set(error, CODE_SYSTEM, "out of memory");
		goto out;
	}
	if (stream_writer_open(&writer, output, STREAM_IDS, metadata, false, error) ||
	    append_strings(map, &writer, error))
		goto out;
	result = 0;
out:
	stream_writer_release(&writer);
	json_decref(metadata);
	id_space_release(&space);
	return result;
}

/* ---- reading ---- */

/* What the header claims, to be verified while the strings are read. */
struct claims {
	uint32_t count;
	const char *digest;
	const json_t *ancestors; /* array, counts ascending */
	size_t next;             /* ancestor to verify next */
};

static bool claim_read(const json_t *object, uint32_t *count, const char **digest)
{
	const json_t *number = json_object_get(object, "count");
	*digest = json_string_value(json_object_get(object, "digest"));
	if (!json_is_integer(number) || json_integer_value(number) < 0 ||
	    json_integer_value(number) > (json_int_t)UINT32_MAX - 1 || !*digest || strlen(*digest) != 32)
		return false;
	*count = (uint32_t)json_integer_value(number);
	return true;
}

static int claims_read(const struct stream_reader *reader, struct claims *claims, struct error *error)
{
	const char *name = reader->input.name;
	claims->ancestors = json_object_get(reader->metadata, "ancestors");
	claims->next = 0;
	if (!claim_read(reader->metadata, &claims->count, &claims->digest) ||
	    (claims->ancestors && !json_is_array(claims->ancestors)))
		return error_set(error, CODE_DATA, "%s: its metadata is not that of an id map", name);
	int64_t before = -1;
	for (size_t i = 0; i < json_array_size(claims->ancestors); i++) {
		uint32_t count;
		const char *digest;
		if (!claim_read(json_array_get(claims->ancestors, i), &count, &digest) || count <= before ||
		    count >= claims->count)
			return error_set(error, CODE_DATA, "%s: ancestor %zu of the id map is malformed", name, i + 1);
		before = count;
	}
	return 0;
}

/* Checks the ancestor that had as many strings as were read by now, if there is one. */
static int verify_ancestor(const char *name, struct claims *claims, uint32_t count, const XXH3_state_t *state,
                           struct error *error)
{
	uint32_t claimed;
	const char *digest;
	char actual[33];
	if (claims->next >= json_array_size(claims->ancestors) ||
	    !claim_read(json_array_get(claims->ancestors, claims->next), &claimed, &digest) || claimed != count)
		return 0;
	digest_text(state, actual);
	claims->next++;
	if (strcmp(actual, digest) != 0)
		return error_set(error, CODE_DATA, "%s: its first %u ids are not those of the ancestor it names", name,
		                 claimed);
	return 0;
}

static int read_string(struct stream_reader *reader, struct idmap *map, XXH3_state_t *state, struct error *error)
{
	const unsigned char *bytes = stream_take(reader, 4, error);
	if (!bytes)
		return -1;
	size_t length = get_u32(bytes);
	bytes = stream_take(reader, length, error);
	if (!bytes)
		return -1;
	uint32_t id, expected = map->count;
	if (idmap_add(map, (const char *)bytes, length, &id, error))
		return error_prefix(error, "%s", reader->input.name);
	if (id != expected)
		return error_set(error, CODE_DATA, "%s: ids %u and %u are the same string", reader->input.name, id,
		                 expected);
	digest_string(state, (const char *)bytes, length);
	return 0;
}

static int read_strings(struct stream_reader *reader, struct idmap *map, struct claims *claims,
                        struct error *error)
{
	const char *name = reader->input.name;
	XXH3_state_t *state = digest_start(error);
	if (!state)
		return -1;
	int more = verify_ancestor(name, claims, 0, state, error) ? -1 : 1;
	while (more > 0 && (more = stream_next(reader, error)) > 0)
		if (read_string(reader, map, state, error) ||
		    verify_ancestor(name, claims, map->count, state, error))
			more = -1;
	digest_text(state, map->read_digest);
	XXH3_freeState(state);
	if (more < 0)
		return -1;
	if (map->count != claims->count || strcmp(map->read_digest, claims->digest) != 0)
		return error_set(error, CODE_DATA, "%s: holds %u ids of digest %s, its header says %u of %s", name,
		                 map->count, map->read_digest, claims->count, claims->digest);
	map->was_read = true;
	map->read_count = map->count;
	return 0;
}

int idmap_read_stream(struct idmap *map, struct stream_reader *reader, struct error *error)
{
	struct claims claims = { 0 };
	*map = (struct idmap){ 0 };
	if (claims_read(reader, &claims, error) || idmap_init(map, error) ||
	    read_strings(reader, map, &claims, error))
		goto failed;
	const char *what = json_string_value(json_object_get(reader->metadata, "what"));
	(void)snprintf(map->what, sizeof map->what, "%s", what ? what : "");
	if (json_array_size(claims.ancestors)) {
		map->ancestors = json_deep_copy(claims.ancestors);
		if (!map->ancestors) {
			error_set(error, CODE_SYSTEM, "out of memory");
			goto failed;
		}
	}
	return 0;
failed:
	idmap_release(map);
	return -1;
}

int idmap_read(struct idmap *map, const char *path, struct error *error)
{
	struct stream_reader reader = { 0 };
	*map = (struct idmap){ 0 };
	int result = stream_reader_open(&reader, path, STREAM_IDS, error);
	if (result == 0)
		result = idmap_read_stream(map, &reader, error);
	stream_reader_release(&reader);
	return result;
}

int idmap_read_as(struct idmap *map, const char *path, const char *what, struct error *error)
{
	if (idmap_read(map, path, error))
		return -1;
	if (strcmp(map->what, what) == 0)
		return 0;
	error_set(error, CODE_DATA, "%s: a map of %s, expected one of %s", path, map->what, what);
	idmap_release(map);
	return -1;
}
