/* Interactions in compressed rows by counting sort. It owns the rows and promises sorted items without
 * doubles in each, whatever the order of the input.
 *
 * A stream is gathered as 8-byte pairs in chunks and permuted in place to the order of users (American flag
 * sort: McIlroy, Bostic & McIlroy, "Engineering radix sort", 1993), which costs next to nothing when it comes
 * grouped by user. Chunks are given back while the rows fill, so that the peak stays at 8 bytes a pair. */
#include "interactions.h"

#include "mem.h"

enum { CHUNK_BITS = 18, CHUNK_PAIRS = 1 << CHUNK_BITS };

/* Pairs as user << 32 | item. */
struct pairs {
	uint64_t **chunks;
	size_t chunk_count, capacity;
	uint64_t count;
};

static inline uint64_t *pair_at(const struct pairs *pairs, uint64_t index)
{
	return &pairs->chunks[index >> CHUNK_BITS][index & (CHUNK_PAIRS - 1)];
}

static int pairs_add(struct pairs *pairs, const uint32_t *users, const uint32_t *items, size_t count,
                     struct error *error)
{
	for (size_t done = 0; done < count;) {
		if (pairs->count == (uint64_t)pairs->chunk_count << CHUNK_BITS) {
			if (mem_grow((void **)&pairs->chunks, &pairs->capacity, pairs->chunk_count + 1, sizeof *pairs->chunks,
			             error))
				return -1;
			uint64_t *chunk = mem_alloc(CHUNK_PAIRS, sizeof *chunk, error);
			if (!chunk)
				return -1;
			pairs->chunks[pairs->chunk_count++] = chunk;
		}
		const size_t room = CHUNK_PAIRS - (size_t)(pairs->count & (CHUNK_PAIRS - 1));
		const size_t some = count - done < room ? count - done : room;
		uint64_t *to = pair_at(pairs, pairs->count);
		for (size_t i = 0; i < some; i++)
			to[i] = (uint64_t)users[done + i] << 32 | items[done + i];
		pairs->count += some;
		done += some;
	}
	return 0;
}

static void pairs_release(struct pairs *pairs)
{
	for (size_t i = 0; i < pairs->chunk_count; i++)
		mem_free(pairs->chunks[i]);
	mem_free(pairs->chunks);
	*pairs = (struct pairs){ 0 };
}

/* From counts at [user + 1] to offsets. */
static void sum_up(uint64_t *offsets, uint32_t users)
{
	for (size_t u = 0; u < users; u++)
		offsets[u + 1] += offsets[u];
}

/* Groups the pairs by user where they lie; within a user their order is any. */
static int group_by_user(const struct pairs *pairs, const uint64_t *offsets, uint32_t users, struct error *error)
{
	uint64_t *next = mem_alloc(users, sizeof *next, error);
	if (!next)
		return -1;
	memcpy(next, offsets, users * sizeof *next);
	for (uint32_t user = 0; user < users; user++) {
		while (next[user] < offsets[user + 1]) {
			uint64_t pair = *pair_at(pairs, next[user]);
			while (pair >> 32 != user) {
				uint64_t *home = pair_at(pairs, next[pair >> 32]++);
				uint64_t displaced = *home;
				*home = pair;
				pair = displaced;
			}
			*pair_at(pairs, next[user]++) = pair;
		}
	}
	mem_free(next);
	return 0;
}

/* ---- rows: sorting and merging of doubles ---- */

static void sort_by_insertion(uint32_t *items, size_t count)
{
	for (size_t i = 1; i < count; i++) {
		uint32_t item = items[i];
		size_t j = i;
		for (; j > 0 && items[j - 1] > item; j--)
			items[j] = items[j - 1];
		items[j] = item;
	}
}

/* Least significant byte first, over as many bytes as `limit` (exclusive) has. */
static void sort_by_radix(uint32_t *items, uint32_t *scratch, size_t count, uint32_t limit)
{
	uint32_t *from = items, *to = scratch;
	for (unsigned shift = 0; shift < 32 && (limit - 1) >> shift; shift += 8) {
		size_t begins[257] = { 0 };
		for (size_t i = 0; i < count; i++)
			begins[(from[i] >> shift & 255) + 1]++;
		for (size_t b = 0; b < 256; b++)
			begins[b + 1] += begins[b];
		for (size_t i = 0; i < count; i++)
			to[begins[from[i] >> shift & 255]++] = from[i];
		uint32_t *swap = from;
		from = to;
		to = swap;
	}
	if (from != items)
		memcpy(items, from, count * sizeof *items);
}

static bool ascending(const uint32_t *items, size_t count)
{
	for (size_t i = 1; i < count; i++)
		if (items[i - 1] >= items[i])
			return false;
	return true;
}

static size_t longest_row(const struct interactions *interactions)
{
	size_t longest = 0;
	for (uint32_t user = 0; user < interactions->users; user++) {
		size_t count;
		(void)interactions_of(interactions, user, &count);
		longest = count > longest ? count : longest;
	}
	return longest;
}

/* Sorts every row, drops doubles, and counts popularity. Rows only ever move to the front. */
static int finish_rows(struct interactions *interactions, struct error *error)
{
	enum { SHORT_ROW = 32 };
	uint32_t *scratch = mem_alloc(longest_row(interactions), sizeof *scratch, error);
	if (!scratch)
		return -1;
	uint32_t *items = interactions->item_ids;
	uint64_t begin = 0, used = 0;
	for (uint32_t user = 0; user < interactions->users; user++) {
		uint64_t end = interactions->offsets[user + 1];
		size_t count = (size_t)(end - begin);
		uint32_t *row = items + begin;
		if (count <= SHORT_ROW)
			sort_by_insertion(row, count);
		else if (!ascending(row, count))
			sort_by_radix(row, scratch, count, interactions->items);
		interactions->offsets[user] = used;
		for (size_t i = 0; i < count; i++) {
			if (i && row[i] == row[i - 1])
				continue;
			interactions->popularity[row[i]]++;
			items[used++] = row[i];
		}
		begin = end;
	}
	interactions->offsets[interactions->users] = used;
	interactions->doubles += begin - used;
	interactions->count = used;
	mem_free(scratch);
	return 0;
}

/* Zeroed offsets and popularity. */
static int start(struct interactions *interactions, uint32_t users, uint32_t items, struct error *error)
{
	*interactions = (struct interactions){ .users = users, .items = items };
	interactions->offsets = mem_alloc_zero((size_t)users + 1, sizeof *interactions->offsets, error);
	interactions->popularity = mem_alloc_zero(items, sizeof *interactions->popularity, error);
	return interactions->offsets && interactions->popularity ? 0 : -1;
}

/* Turns gathered pairs into rows; the chunks are freed on the way. */
static int build(struct interactions *interactions, struct pairs *pairs, uint32_t users, uint32_t items,
                 struct error *error)
{
	if (start(interactions, users, items, error))
		return -1;
	for (uint64_t i = 0; i < pairs->count; i++)
		interactions->offsets[(*pair_at(pairs, i) >> 32) + 1]++;
	sum_up(interactions->offsets, users);
	if (group_by_user(pairs, interactions->offsets, users, error))
		return -1;
	interactions->item_ids = mem_alloc(pairs->count, sizeof *interactions->item_ids, error);
	if (!interactions->item_ids)
		return -1;
	for (uint64_t i = 0; i < pairs->count; i++) {
		interactions->item_ids[i] = (uint32_t)*pair_at(pairs, i);
		if (((i + 1) & (CHUNK_PAIRS - 1)) == 0) {
			mem_free(pairs->chunks[i >> CHUNK_BITS]);
			pairs->chunks[i >> CHUNK_BITS] = NULL;
		}
	}
	return finish_rows(interactions, error);
}

int interactions_from_stream(struct interactions *interactions, struct stream_reader *reader,
                             struct stream_info *info, struct error *error)
{
	enum { BATCH = 2048 };
	int result = -1;
	ptrdiff_t got;
	struct pairs pairs = { 0 };
	uint32_t users[BATCH], items[BATCH];
	const struct interaction_columns columns = { users, items, NULL, NULL };
	*interactions = (struct interactions){ 0 };
	*info = (struct stream_info){ 0 };
	if (records_info(reader, info, error))
		goto out;
	while ((got = interactions_take(reader, info, &columns, BATCH, error)) > 0)
		if (pairs_add(&pairs, users, items, (size_t)got, error))
			goto out;
	if (got < 0)
		goto out;
	result = build(interactions, &pairs, info->users.count, info->items.count, error);
out:
	pairs_release(&pairs);
	if (result) {
		interactions_release(interactions);
		stream_info_release(info);
		*info = (struct stream_info){ 0 };
	}
	return result;
}

int interactions_read(struct interactions *interactions, const char *path, struct stream_info *info,
                      struct error *error)
{
	struct stream_reader reader = { 0 };
	*interactions = (struct interactions){ 0 };
	*info = (struct stream_info){ 0 };
	int result = stream_reader_open(&reader, path, STREAM_INTERACTIONS, error);
	if (result == 0)
		result = interactions_from_stream(interactions, &reader, info, error);
	stream_reader_release(&reader);
	return result;
}

int interactions_from_pairs(struct interactions *interactions, uint32_t users, uint32_t items,
                            const uint32_t *pair_users, const uint32_t *pair_items, uint64_t count,
                            struct error *error)
{
	if (start(interactions, users, items, error))
		goto fail;
	for (uint64_t i = 0; i < count; i++) {
		if (pair_users[i] >= users || pair_items[i] >= items) {
			error_set(error, CODE_DATA, "pair %llu is (%u, %u), expected ids below %u and %u",
			          (unsigned long long)i, pair_users[i], pair_items[i], users, items);
			goto fail;
		}
		interactions->offsets[pair_users[i]]++;
	}
	interactions->item_ids = mem_alloc(count, sizeof *interactions->item_ids, error);
	if (!interactions->item_ids)
		goto fail;
	/* Offsets hold counts, then the ends of rows; filling from behind leaves their beginnings. */
	uint64_t end = 0;
	for (size_t user = 0; user <= users; user++) {
		end += interactions->offsets[user];
		interactions->offsets[user] = end;
	}
	for (uint64_t i = count; i-- > 0;)
		interactions->item_ids[--interactions->offsets[pair_users[i]]] = pair_items[i];
	if (finish_rows(interactions, error))
		goto fail;
	return 0;
fail:
	interactions_release(interactions);
	return -1;
}

/* Writes the union of two ascending rows to `out`; returns its length. */
static size_t unite(const uint32_t *a, size_t a_count, const uint32_t *b, size_t b_count, uint32_t *out)
{
	size_t i = 0, j = 0, used = 0;
	while (i < a_count || j < b_count) {
		bool from_a = j == b_count || (i < a_count && a[i] <= b[j]);
		bool from_b = i == a_count || (j < b_count && b[j] <= a[i]);
		out[used++] = from_a ? a[i] : b[j];
		i += from_a;
		j += from_b;
	}
	return used;
}

int interactions_merge(struct interactions *interactions, const struct interactions *more, struct error *error)
{
	if (more->users > interactions->users || more->items > interactions->items)
		return error_set(error, CODE_DATA, "cannot add interactions of %u users and %u items to %u and %u",
		                 more->users, more->items, interactions->users, interactions->items);
	uint64_t total = interactions->count + more->count, used = 0;
	struct interactions merged;
	if (start(&merged, interactions->users, interactions->items, error) ||
	    !(merged.item_ids = mem_alloc(total, sizeof *merged.item_ids, error))) {
		interactions_release(&merged);
		return -1;
	}
	for (uint32_t user = 0; user < merged.users; user++) {
		size_t old_count, new_count = 0;
		const uint32_t *old = interactions_of(interactions, user, &old_count), *new = NULL;
		if (user < more->users)
			new = interactions_of(more, user, &new_count);
		used += unite(old, old_count, new, new_count, merged.item_ids + used);
		merged.offsets[user + 1] = used;
	}
	for (uint64_t i = 0; i < used; i++)
		merged.popularity[merged.item_ids[i]]++;
	merged.count = used;
	merged.doubles = interactions->doubles + more->doubles + (total - used);
	interactions_release(interactions);
	*interactions = merged;
	return 0;
}

void interactions_release(struct interactions *interactions)
{
	mem_free(interactions->offsets);
	mem_free(interactions->item_ids);
	mem_free(interactions->popularity);
	*interactions = (struct interactions){ 0 };
}

bool interactions_has(const struct interactions *interactions, uint32_t user, uint32_t item)
{
	size_t count;
	const uint32_t *row = interactions_of(interactions, user, &count);
	while (count > 1) {
		size_t half = count / 2;
		row += row[half] <= item ? half : 0;
		count -= half;
	}
	return count && *row == item;
}

uint32_t interactions_user_at(const struct interactions *interactions, uint64_t index)
{
	/* The last user whose row begins at or before `index`: rows without items end where they begin. */
	uint32_t low = 0, high = interactions->users;
	while (high - low > 1) {
		uint32_t middle = low + (high - low) / 2;
		if (interactions->offsets[middle] <= index)
			low = middle;
		else
			high = middle;
	}
	return low;
}
