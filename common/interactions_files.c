/* Interactions that come in several files, and the digest that says which they are. */
#include <inttypes.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "interactions.h"
#include "mem.h"

static int keep_popularity(const struct interactions *interactions, uint32_t **popularity, struct error *error)
{
	*popularity = mem_alloc(interactions->items, sizeof **popularity, error);
	if (!*popularity)
		return -1;
	memcpy(*popularity, interactions->popularity, interactions->items * sizeof **popularity);
	return 0;
}

/* Reads one file and makes sure of its ids. */
static int read_one(struct interactions *interactions, const char *path, const char *name, struct stream_info *info,
                    struct error *error)
{
	struct stream_info found = {0};
	const int result = interactions_read(interactions, path, &found, error);
	return result == 0 ? records_take_ids(name, info, path, &found, error) : result;
}

int interactions_read_known(struct interactions *interactions, const char *const *paths, size_t count,
                            const char *name, struct stream_info *info, uint32_t **popularity, struct error *error)
{
	*interactions = (struct interactions){0};
	if (popularity)
		*popularity = NULL;
	for (size_t f = 0; f < count; f++) {
		struct interactions some = {0};
		int result = read_one(f ? &some : interactions, paths[f], f ? paths[0] : name, info, error);
		if (result == 0 && f)
			result = interactions_merge(interactions, &some, error);
		if (result == 0 && !f && popularity)
			result = keep_popularity(interactions, popularity, error);
		interactions_release(&some);
		if (result < 0)
			return -1;
	}
	return 0;
}

void interactions_digest(const struct interactions *interactions, char text[INTERACTIONS_DIGEST_SIZE])
{
	const uint32_t counts[2] = {interactions->users, interactions->items};
	XXH3_state_t state;
	XXH3_INITSTATE(&state);
	XXH3_128bits_reset(&state);
	XXH3_128bits_update(&state, counts, sizeof counts);
	XXH3_128bits_update(&state, interactions->offsets, ((size_t)interactions->users + 1) * sizeof(uint64_t));
	XXH3_128bits_update(&state, interactions->item_ids, (size_t)interactions->count * sizeof(uint32_t));
	XXH128_hash_t hash = XXH3_128bits_digest(&state);
	snprintf(text, INTERACTIONS_DIGEST_SIZE, "%016" PRIx64 "%016" PRIx64, (uint64_t)hash.high64, (uint64_t)hash.low64);
}
