/* Strings to dense ids and back. An id is the position at which its string was added; adding never changes
 * an id that exists. The file is a stream of kind STREAM_IDS whose records are the strings in order. */
#ifndef RECPIPE_IDMAP_H
#define RECPIPE_IDMAP_H

#include "compat.h"
#include "error.h"
#include "records.h"

struct idmap {
	char *text;             /* all strings, one behind the other */
	uint64_t *offsets;      /* count + 1: where string i begins in `text` */
	uint32_t *slots;        /* open addressing, a power of two: id + 1, 0 for empty */
	uint32_t *tags;         /* hash bits beside each slot, so that most misses touch no text */
	size_t text_size, text_capacity, offsets_capacity;
	uint32_t count;
	uint32_t slot_count;
	json_t *ancestors;      /* maps this one grew from (see id_space) */
};

enum { IDMAP_MISSING = -1 }; /* as uint32_t */

MUST_CHECK int idmap_init(struct idmap *map, struct error *error);
void idmap_release(struct idmap *map);

/* The id of `text`, or (uint32_t)IDMAP_MISSING. */
uint32_t idmap_find(const struct idmap *map, const char *text, size_t length);

/* The id of `text`, added when it is new. CODE_DATA at 2^32 - 2 ids. */
MUST_CHECK int idmap_add(struct idmap *map, const char *text, size_t length, uint32_t *id, struct error *error);

/* The string of `id` < count (not NUL-terminated). */
const char *idmap_text(const struct idmap *map, uint32_t id, size_t *length);

/* Renumbers ids in the order of their strings: by number when all are decimal integers, else bytewise. */
MUST_CHECK int idmap_sort(struct idmap *map, struct error *error);

/* Identity for metadata; the caller releases it (id_space_release). */
MUST_CHECK int idmap_space(const struct idmap *map, struct id_space *space, struct error *error);

/* Reads a map; its digest is checked. Growing it afterwards records it as an ancestor when it is written. */
MUST_CHECK int idmap_read(struct idmap *map, const char *path, struct error *error);
MUST_CHECK int idmap_write(const struct idmap *map, const char *what, struct output *output, struct error *error);

#endif
