/* The table from strings to dense ids: one block of text, one array of offsets, and open addressing with
 * linear probing over XXH3 hashes, or over multiplied numbers for ids that are. It owns that memory and promises that an id, once given, never changes,
 * and that the order of ids depends only on the order of the calls. Files are idmap_file.c's. */
#include "compat.h"

#include <xxhash.h>

#include "idmap.h"
#include "mem.h"
#include "radix.h"

enum {
	SHIFT_FIRST = 64 - 10,
	MOVED_AT_ONCE = 16, /* slots for each id that is added: an old table is gone long before the new one is full */
};

static_assert((uint32_t)IDMAP_MISSING + 1 == 0, "no slot, less one, is a missing id");

static_assert(DECIMAL_DIGITS_MAX <= 9, "a number must fit the 31 bits that a slot has for it");

static const uint64_t id_bits = UINT32_MAX;

static size_t slots_of(unsigned shift)
{
	return (size_t)1 << (64 - shift);
}

int idmap_init(struct idmap *map, struct error *error)
{
	*map = (struct idmap){ .shift = SHIFT_FIRST };
	map->slots = mem_alloc_zero(slots_of(SHIFT_FIRST), sizeof *map->slots, error);
	if (!map->slots || mem_grow((void **)&map->offsets, &map->offsets_capacity, slots_of(SHIFT_FIRST),
	                            sizeof *map->offsets, error)) {
		idmap_release(map);
		return -1;
	}
	map->offsets[0] = 0;
	return 0;
}

void idmap_release(struct idmap *map)
{
	mem_free(map->text);
	mem_free(map->offsets);
	mem_free(map->slots);
	mem_free(map->old);
	json_decref(map->ancestors);
	*map = (struct idmap){ 0 };
}

/* What a string is found by: its place comes from the top bits of `hash`, `tag` is the high half of its slot. */
struct probe {
	uint64_t hash, tag;
};

static struct probe probe_of(const char *text, size_t length)
{
	const uint32_t number = decimal_number(text, length);
	if (number != (uint32_t)DECIMAL_NONE)
		return (struct probe){ idmap_number_hash(number), idmap_number_tag(number) };
	const uint64_t hash = XXH3_64bits(text, length);
	return (struct probe){ hash, hash << 33 };
}

/* The slot of a table that holds the string, or the empty one where it belongs. */
static uint64_t *slot_in(const struct idmap *map, uint64_t *slots, unsigned shift, const char *text, size_t length,
                         struct probe probe)
{
	const size_t mask = slots_of(shift) - 1;
	for (size_t at = (size_t)(probe.hash >> shift);; at = (at + 1) & mask) {
		const uint64_t slot = slots[at];
		if (!slot)
			return &slots[at];
		if ((slot ^ probe.tag) & ~id_bits)
			continue;
		if (slot & IDMAP_NUMBER_FLAG)
			return &slots[at];
		size_t held;
		const char *other = idmap_text(map, (uint32_t)(slot & id_bits) - 1, &held);
		if (held == length && memcmp(other, text, length) == 0)
			return &slots[at];
	}
}

/* The same of both tables: the empty one is the new table's. */
static uint64_t *slot_of(const struct idmap *map, const char *text, size_t length, struct probe probe)
{
	uint64_t *slot = slot_in(map, map->slots, map->shift, text, length, probe);
	if (*slot || !map->old)
		return slot;
	uint64_t *old = slot_in(map, map->old, map->old_shift, text, length, probe);
	return *old ? old : slot;
}

uint32_t idmap_find(const struct idmap *map, const char *text, size_t length)
{
	const uint64_t slot = *slot_of(map, text, length, probe_of(text, length));
	return slot ? (uint32_t)(slot & id_bits) - 1 : (uint32_t)IDMAP_MISSING;
}

size_t idmap_known_numbers(const struct idmap *map, const uint32_t *numbers, size_t count, uint32_t *ids)
{
	enum { AHEAD = 16 };
	const uint64_t *slots = map->slots;
	const unsigned shift = map->shift;
	uint32_t last = (uint32_t)DECIMAL_NONE, last_id = 0; /* a user's rows often come together */
	for (size_t i = 0; i < count; i++) {
		if (i + AHEAD < count)
			__builtin_prefetch(&slots[idmap_number_hash(numbers[i + AHEAD]) >> shift]);
		if (numbers[i] != last || last == (uint32_t)DECIMAL_NONE) {
			last = numbers[i];
			last_id = last == (uint32_t)DECIMAL_NONE ? (uint32_t)IDMAP_MISSING : idmap_number_in(slots, shift, last) - 1;
			if (last_id == (uint32_t)IDMAP_MISSING &&
			    (!map->old || (last_id = idmap_known_number(map, last)) == (uint32_t)IDMAP_MISSING))
				return i;
		}
		ids[i] = last_id;
	}
	return count;
}

static void put_slot(uint64_t *slots, unsigned shift, uint64_t hash, uint64_t slot)
{
	const size_t mask = slots_of(shift) - 1;
	size_t at = (size_t)(hash >> shift);
	while (slots[at])
		at = (at + 1) & mask;
	slots[at] = slot;
}

/* Moves some slots of the old table. Hashes of numbers are made anew from the slots, those of strings from the
 * strings; so both tables are gone through in order. */
static void move_some(struct idmap *map, size_t count)
{
	const size_t all = slots_of(map->old_shift), end = all - map->moved < count ? all : map->moved + count;
	for (; map->moved < end; map->moved++) {
		const uint64_t slot = map->old[map->moved];
		size_t length;
		if (slot & IDMAP_NUMBER_FLAG) {
			put_slot(map->slots, map->shift, idmap_number_hash((uint32_t)(slot >> 33)), slot);
		} else if (slot) {
			const char *text = idmap_text(map, (uint32_t)(slot & id_bits) - 1, &length);
			put_slot(map->slots, map->shift, XXH3_64bits(text, length), slot);
		}
	}
	if (map->moved < all)
		return;
	mem_free(map->old);
	map->old = NULL;
}

/* Begins to move to a table of twice the size. */
static int double_table(struct idmap *map, struct error *error)
{
	uint64_t *slots = mem_alloc_zero(slots_of(map->shift - 1), sizeof *slots, error);
	if (!slots)
		return -1;
	if (map->old) /* never by one id after another: MOVED_AT_ONCE */
		move_some(map, SIZE_MAX / 2);
	map->old = map->slots;
	map->old_shift = map->shift;
	map->moved = 0;
	map->slots = slots;
	map->shift--;
	return 0;
}

int idmap_add(struct idmap *map, const char *text, size_t length, uint32_t *id, struct error *error)
{
	const struct probe probe = probe_of(text, length);
	uint64_t *slot = slot_of(map, text, length, probe);
	if (*slot) {
		*id = (uint32_t)(*slot & id_bits) - 1;
		return 0;
	}
	if (length > IDMAP_TEXT_MAX)
		return error_set(error, CODE_DATA, "an id of %zu bytes, at most %d are allowed", length, IDMAP_TEXT_MAX);
	if (map->count >= UINT32_MAX - 1)
		return error_set(error, CODE_DATA, "more than %u different ids", UINT32_MAX - 1);
	if (mem_grow((void **)&map->text, &map->text_capacity, map->text_size + length + IDMAP_SLACK, 1, error) ||
	    mem_grow((void **)&map->offsets, &map->offsets_capacity, (size_t)map->count + 2, sizeof *map->offsets,
	             error))
		return -1;
	if (length)
		memcpy(map->text + map->text_size, text, length);
	map->text_size += length;
	memset(map->text + map->text_size, 0, IDMAP_SLACK);
	*id = map->count++;
	map->offsets[map->count] = map->text_size;
	*slot = probe.tag | map->count;
	map->texts += !(probe.tag & IDMAP_NUMBER_FLAG);
	if (map->old)
		move_some(map, MOVED_AT_ONCE);
	/* Two thirds full at most: linear probing stays short. */
	return map->count > slots_of(map->shift) / 3 * 2 ? double_table(map, error) : 0;
}

/* Puts every string into the table, with its present id. */
static void index_again(struct idmap *map)
{
	mem_free(map->old);
	map->old = NULL;
	memset(map->slots, 0, slots_of(map->shift) * sizeof *map->slots);
	for (uint32_t id = 0; id < map->count; id++) {
		size_t length;
		const char *text = idmap_text(map, id, &length);
		const struct probe probe = probe_of(text, length);
		put_slot(map->slots, map->shift, probe.hash, probe.tag | (id + 1));
	}
}

/* ---- sorting ---- */

struct number {
	const char *digits; /* without leading zeros */
	size_t length;
	bool negative;
};

static bool number_of(const char *text, size_t length, struct number *number)
{
	number->negative = length > 1 && text[0] == '-';
	size_t at = number->negative;
	if (at == length)
		return false;
	for (size_t i = at; i < length; i++)
		if (text[i] < '0' || text[i] > '9')
			return false;
	while (at + 1 < length && text[at] == '0')
		at++;
	number->digits = text + at;
	number->length = length - at;
	return true;
}

static int compare_bytes(const char *a, size_t a_length, const char *b, size_t b_length)
{
	size_t shorter = a_length < b_length ? a_length : b_length;
	int order = shorter ? memcmp(a, b, shorter) : 0;
	return order ? order : (a_length > b_length) - (a_length < b_length);
}

static int compare_ids_bytewise(const void *a, const void *b, void *context)
{
	size_t a_length, b_length;
	const char *a_text = idmap_text(context, *(const uint32_t *)a, &a_length);
	const char *b_text = idmap_text(context, *(const uint32_t *)b, &b_length);
	return compare_bytes(a_text, a_length, b_text, b_length);
}

static int compare_ids_as_numbers(const void *a, const void *b, void *context)
{
	size_t a_length, b_length;
	const char *a_text = idmap_text(context, *(const uint32_t *)a, &a_length);
	const char *b_text = idmap_text(context, *(const uint32_t *)b, &b_length);
	struct number left, right;
	(void)number_of(a_text, a_length, &left);
	(void)number_of(b_text, b_length, &right);
	int order = right.negative - left.negative;
	if (order)
		return order;
	order = (left.length > right.length) - (left.length < right.length);
	if (!order)
		order = memcmp(left.digits, right.digits, left.length);
	if (!order) /* "7" and "07" are different ids */
		return compare_bytes(a_text, a_length, b_text, b_length);
	return left.negative ? -order : order;
}

static bool all_numbers(const struct idmap *map)
{
	struct number number;
	for (uint32_t id = 0; id < map->count; id++) {
		size_t length;
		const char *text = idmap_text(map, id, &length);
		if (!number_of(text, length, &number))
			return false;
	}
	return true;
}

/* Lays text and offsets out in `order` (order[new id] = old id). */
static int lay_out(struct idmap *map, const uint32_t *order, struct error *error)
{
	char *text = mem_alloc(map->text_size + IDMAP_SLACK, 1, error);
	uint64_t *offsets = mem_alloc((size_t)map->count + 1, sizeof *offsets, error);
	if (!text || !offsets) {
		mem_free(text);
		mem_free(offsets);
		return -1;
	}
	size_t used = 0;
	offsets[0] = 0;
	for (uint32_t id = 0; id < map->count; id++) {
		size_t length;
		const char *from = idmap_text(map, order[id], &length);
		memcpy(text + used, from, length);
		used += length;
		offsets[id + 1] = used;
	}
	memset(text + used, 0, IDMAP_SLACK);
	mem_free(map->text);
	mem_free(map->offsets);
	map->text = text;
	map->text_capacity = map->text_size + IDMAP_SLACK;
	map->offsets = offsets;
	map->offsets_capacity = (size_t)map->count + 1;
	index_again(map);
	return 0;
}

/* order[i] becomes the id of the i-th string. Where all have a decimal_number, by radix. */
static int order_ids(const struct idmap *map, uint32_t *order, struct error *error)
{
	if (map->texts > 0) {
		for (uint32_t id = 0; id < map->count; id++)
			order[id] = id;
		qsort_r(order, map->count, sizeof *order, all_numbers(map) ? compare_ids_as_numbers : compare_ids_bytewise,
		        (void *)(uintptr_t)map);
		return 0;
	}
	uint64_t *keys = mem_alloc(map->count, sizeof *keys, error);
	if (!keys)
		return -1;
	for (uint32_t id = 0; id < map->count; id++) {
		size_t length;
		const char *text = idmap_text(map, id, &length);
		keys[id] = (uint64_t)decimal_number(text, length) << 32 | id;
	}
	int result = radix_sort(keys, map->count, 32, error);
	for (uint32_t id = 0; id < map->count; id++)
		order[id] = (uint32_t)keys[id];
	mem_free(keys);
	return result;
}

int idmap_sort(struct idmap *map, uint32_t **renumbered, struct error *error)
{
	int result = -1;
	uint32_t *order = mem_alloc(map->count, sizeof *order, error);
	uint32_t *ids = renumbered ? mem_alloc(map->count, sizeof *ids, error) : NULL;
	if (!order || (renumbered && !ids))
		goto out;
	if (order_ids(map, order, error))
		goto out;
	if (lay_out(map, order, error))
		goto out;
	if (ids) {
		for (uint32_t id = 0; id < map->count; id++)
			ids[order[id]] = id;
		*renumbered = ids;
		ids = NULL;
	}
	json_decref(map->ancestors);
	map->ancestors = NULL;
	map->was_read = false;
	result = 0;
out:
	mem_free(order);
	mem_free(ids);
	return result;
}
