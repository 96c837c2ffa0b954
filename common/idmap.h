/* Strings to dense ids and back. An id is the position at which its string was added; adding never changes
 * an id that exists. The file is a stream of kind STREAM_IDS whose records are the strings in order.
 *
 * Memory: the strings, 8 bytes an id where they begin, and 12 to 24 bytes an id of table, half as much again while it
 * doubles: 10^8 ids of nine digits take 4 to 5 GB. A table that doubles is moved a few slots at a time, as ids are added,
 * so that none of them waits for all others. */
#ifndef RECPIPE_IDMAP_H
#define RECPIPE_IDMAP_H

#include "compat.h"
#include "decimal.h"
#include "error.h"
#include "records.h"

struct idmap {
	char *text;             /* all strings, one behind the other */
	uint64_t *offsets;      /* count + 1: where string i begins in `text` */
	uint64_t *slots;        /* open addressing, a power of two of them */
	uint64_t *old;          /* the table before, while it is moved: what is not found in `slots` may be there */
	size_t text_size, text_capacity, offsets_capacity;
	size_t moved;           /* slots of the old table that are in the new one */
	unsigned shift, old_shift; /* a string's place is the top bits of its hash: hash >> shift; 2^(64 - shift) slots */
	uint32_t count, texts;  /* ids; those whose strings are no decimal_number */
	json_t *ancestors;      /* maps this one grew from (see id_space), without the one read below; may be NULL */
	bool was_read;
	uint32_t read_count;    /* of the map as it was read: an ancestor once strings are added */
	char read_digest[33];
	char what[16];          /* "users" or "items", as read; "" for a new map */
};

enum {
	IDMAP_MISSING = -1,                      /* as uint32_t */
	IDMAP_TEXT_MAX = STREAM_BLOCK_MAX - 4,   /* bytes of one string: a record must fit a block */
	IDMAP_SLACK = 16,                        /* readable bytes behind each string of a map that has any */
};

MUST_CHECK int idmap_init(struct idmap *map, struct error *error);
void idmap_release(struct idmap *map); /* a zeroed or released one is fine */

/* The id of `text`, or (uint32_t)IDMAP_MISSING. */
uint32_t idmap_find(const struct idmap *map, const char *text, size_t length);

/* The id of `text`, added when it is new. CODE_DATA at 2^32 - 2 ids and beyond IDMAP_TEXT_MAX bytes. */
MUST_CHECK int idmap_add(struct idmap *map, const char *text, size_t length, uint32_t *id, struct error *error);

/* The id of a string whose decimal_number is at hand, IDMAP_MISSING when it is not there or the number is DECIMAL_NONE:
 * one line of the table and no look at the string. */
static inline uint32_t idmap_known_number(const struct idmap *map, uint32_t number);

/* The same for many: ids of as many of `count` numbers as are known one behind the other. Returns how many. */
size_t idmap_known_numbers(const struct idmap *map, const uint32_t *numbers, size_t count, uint32_t *ids);

/* The string of `id` < count (not NUL-terminated). */
static inline const char *idmap_text(const struct idmap *map, uint32_t id, size_t *length)
{
	*length = (size_t)(map->offsets[id + 1] - map->offsets[id]);
	return map->text ? map->text + map->offsets[id] : "";
}

/* Renumbers ids in the order of their strings: by number when all are decimal integers, else bytewise. The
 * map is then a new one: it forgets its ancestors. `renumbered` (may be NULL) receives count new ids by old
 * id, to be freed with mem_free. */
MUST_CHECK int idmap_sort(struct idmap *map, uint32_t **renumbered, struct error *error);

/* Identity for metadata; the caller releases it (id_space_release). */
MUST_CHECK int idmap_space(const struct idmap *map, struct id_space *space, struct error *error);

/* Reads a map; its digest and those of its ancestors are checked, and that no string is there twice.
 * Growing it afterwards records it as an ancestor when it is written. Initialises `map`; on failure there is
 * nothing to release. */
MUST_CHECK int idmap_read(struct idmap *map, const char *path, struct error *error);

/* The same from a reader that was opened on a stream of kind STREAM_IDS. */
MUST_CHECK int idmap_read_stream(struct idmap *map, struct stream_reader *reader, struct error *error);

/* The same as idmap_read, and a map of other things than `what` ("users", "items") is CODE_DATA. */
MUST_CHECK int idmap_read_as(struct idmap *map, const char *path, const char *what, struct error *error);

/* Writes the stream to `output`; the caller commits it. */
MUST_CHECK int idmap_write(const struct idmap *map, const char *what, struct output *output, struct error *error);

/* ---- the table ----
 *
 * A slot is id + 1 in the low half (0: empty) and what its string is compared by in the high one: the number itself
 * and a flag, or 31 bits of the hash, behind which the strings must be compared. */

#define IDMAP_NUMBER_FLAG (UINT64_C(1) << 32)

static inline uint64_t idmap_number_hash(uint32_t number)
{
	return number * UINT64_C(0x9e3779b97f4a7c15); /* 2^64 / golden ratio: Fibonacci hashing */
}

static inline uint64_t idmap_number_tag(uint32_t number)
{
	return (uint64_t)number << 33 | IDMAP_NUMBER_FLAG;
}

/* The number's id + 1 in a table, 0 when it is not there. */
static inline uint32_t idmap_number_in(const uint64_t *slots, unsigned shift, uint32_t number)
{
	const uint64_t tag = idmap_number_tag(number);
	const size_t mask = ((size_t)1 << (64 - shift)) - 1;
	size_t at = (size_t)(idmap_number_hash(number) >> shift);
	while (slots[at] != 0 && ((slots[at] ^ tag) & ~(uint64_t)UINT32_MAX) != 0)
		at = (at + 1) & mask;
	return (uint32_t)slots[at];
}

static inline uint32_t idmap_known_number(const struct idmap *map, uint32_t number)
{
	if (number == (uint32_t)DECIMAL_NONE)
		return (uint32_t)IDMAP_MISSING;
	uint32_t behind = idmap_number_in(map->slots, map->shift, number);
	if (behind == 0 && map->old)
		behind = idmap_number_in(map->old, map->old_shift, number);
	return behind - 1; /* 0 - 1 is IDMAP_MISSING */
}

#endif
