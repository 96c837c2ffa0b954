/* What users interacted with and in which order: interactions with the time of each. For whatever looks at the end
 * of a history or at what followed what. */
#ifndef RECPIPE_HISTORIES_H
#define RECPIPE_HISTORIES_H

#include "compat.h"
#include "error.h"
#include "interactions.h"
#include "records.h"

struct histories {
	struct interactions interactions;
	int64_t *times;          /* of each pair, in the order of interactions.item_ids: the latest of its times; NULL
	                            when a file says "has_time": false, or there is no file */
	uint32_t *later;         /* of each pair: how many of the user's other pairs are strictly later; NULL likewise */
};

/* Reads `count` files as one set, each once from its beginning to its end, so that a pipe will do. `paths`, `name` and
 * `info` are those of interactions_read_known, and so are the interactions. Takes 16 bytes a record while it reads, and
 * 16 a pair afterwards (4 without times). On error nothing is held but what `info` may have received. */
MUST_CHECK int histories_read(struct histories *histories, const char *const *paths, size_t count, const char *name,
                              struct stream_info *info, struct error *error);
void histories_release(struct histories *histories);

#endif
