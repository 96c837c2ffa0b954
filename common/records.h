/* Schemas of the stream kinds: what a record of interactions, samples or lists holds, and the metadata
 * they share. (Id maps have their own module, idmap.h.)
 *
 * Metadata of every stream: "tool", "options" (text), "seed" where one was used, and "users" and "items",
 * each {"count": N, "digest": "…", "ancestors": [{"count", "digest"} …]}: the id map the dense ids are of.
 * Tools that read two streams refuse to mix maps (records_same_ids). */
#ifndef RECPIPE_RECORDS_H
#define RECPIPE_RECORDS_H

#include "compat.h"
#include "error.h"
#include "stream.h"

/* The identity of an id map as streams and models carry it. */
struct id_space {
	uint32_t count;           /* ids are in [0, count) */
	char digest[33];          /* hex XXH3-128 of the strings in order; "" when the ids are not of a map */
	json_t *ancestors;        /* owned array or NULL: {"count","digest"} of smaller maps this one grew from,
	                             oldest first; the digest of a map is that of its first `count` strings */
};

/* Metadata common to all kinds. `seed` is written when has_seed. */
struct stream_info {
	struct id_space users, items;
};

/* A new metadata object {"tool", "options", "users", "items"}; the caller owns it (json_decref). NULL on error. */
MUST_CHECK json_t *records_metadata(const char *tool, const char *options, const struct stream_info *info,
                                    struct error *error);

/* Reads "users" and "items" out of a reader's metadata; CODE_DATA when they are missing or malformed. */
MUST_CHECK int records_info(const struct stream_reader *reader, struct stream_info *info, struct error *error);

/* The same out of a JSON object, for model files; `name` is for messages. */
MUST_CHECK int stream_info_from_json(const char *name, const json_t *metadata, struct stream_info *info,
                                     struct error *error);
void id_space_release(struct id_space *space);
void stream_info_release(struct stream_info *info);

/* 0 when both are of the same maps, else CODE_DATA naming both sides. Empty digests match by count. */
MUST_CHECK int records_same_ids(const char *name_a, const struct stream_info *a, const char *name_b,
                                const struct stream_info *b, struct error *error);

/* Makes `found`, the ids of `path`, agree with `info`, those of `name`: an `info` without ids (both counts 0) takes them
 * over, else they must be the same (CODE_DATA). `found` is empty afterwards. */
MUST_CHECK int records_take_ids(const char *name, struct stream_info *info, const char *path, struct stream_info *found,
                                struct error *error);

/* True when `grown` is `old` itself or lists it as an ancestor (so every id of `old` means the same). */
bool id_space_extends(const struct id_space *grown, const struct id_space *old);

/* ---- interactions: user u32, item u32, rating f32, time i64 (20 bytes) ---- */

struct interaction {
	uint32_t user, item;
	float rating;
	int64_t time;  /* seconds since 1970, or 0 where the source has none (metadata "has_time": false) */
};

MUST_CHECK int interaction_write(struct stream_writer *writer, const struct interaction *interaction,
                                 struct error *error);
/* 1, 0 at the end, -1. Ids outside the id spaces of `info` are CODE_DATA. */
MUST_CHECK int interaction_read(struct stream_reader *reader, const struct stream_info *info,
                                struct interaction *interaction, struct error *error);

/* Many at a time, by columns. */
struct interaction_columns {
	uint32_t *users, *items;
	float *ratings;
	int64_t *times;
};

enum { INTERACTION_SIZE = 20 };

/* records_metadata and what interactions have beside it: whether the source had the two columns. */
MUST_CHECK json_t *interactions_metadata(const char *tool, const char *options, const struct stream_info *info,
                                         bool has_rating, bool has_time, struct error *error);

/* `count` records into the bytes of a stream; INTERACTION_SIZE each at `to`. */
void interactions_pack(const struct interaction_columns *columns, size_t from, size_t count, unsigned char *to);
MUST_CHECK int interactions_write(struct stream_writer *writer, const struct interaction_columns *columns, size_t count,
                                  struct error *error);
/* Up to `count` >= 1 of them: how many, 0 at the end, -1. `ratings` and `times` may be NULL. Ids are checked as
 * interaction_read does. */
MUST_CHECK ptrdiff_t interactions_take(struct stream_reader *reader, const struct stream_info *info,
                                       const struct interaction_columns *columns, size_t count, struct error *error);

/* ---- samples: user u32, positive u32, negative u32 × ratio ---- */

enum { NO_ITEM = -1 }; /* as uint32_t: a negative that does not exist (the user has seen everything) */

/* Metadata beside the common: "ratio" (negatives a positive), "epochs", "positives" (samples an epoch),
 * "epoch_begin" (the number of the first epoch in the stream). Epochs follow one another. */
struct sample_shape {
	uint32_t ratio, epochs;
	uint64_t positives;
};

MUST_CHECK int sample_shape_read(const struct stream_reader *reader, struct sample_shape *shape, struct error *error);

/* `items` is the positive and then `ratio` negatives. */
MUST_CHECK int sample_write(struct stream_writer *writer, uint32_t user, const uint32_t *items, uint32_t ratio,
                            struct error *error);
MUST_CHECK int sample_read(struct stream_reader *reader, const struct stream_info *info, uint32_t ratio,
                           uint32_t *user, uint32_t *items, struct error *error);
/* Many: users[i], and items[i * (1 + ratio)] on. samples_take: up to `count` >= 1, how many there were, 0 at the end, -1. */
MUST_CHECK int samples_write(struct stream_writer *writer, const uint32_t *users, const uint32_t *items, uint32_t ratio,
                             size_t count, struct error *error);
MUST_CHECK ptrdiff_t samples_take(struct stream_reader *reader, const struct stream_info *info, uint32_t ratio,
                                  size_t count, uint32_t *users, uint32_t *items, struct error *error);

/* ---- lists: user u32, count u32, relevant_total u32, then item u32[], score f32[], popularity u32[],
 * relevant u8[] ----
 *
 * One list a user: items to rank, or ranked. `popularity` is the item's number of training interactions,
 * so that filters can re-rank and baselines be printed without another file. `relevant` marks the truth;
 * relevant_total counts it, also where the list was cut and lost some. Metadata beside the common:
 * "scored" (bool: scores mean something), "ranking" ("sampled", "full" or "top": how candidates came
 * about, so that figures can be labelled). Scored lists from rerank and score are in descending order of
 * score, ties by ascending item; metrics goes by scores, never by order. */
enum { LIST_RELEVANT = 1 };

struct list {
	uint32_t user, count, relevant_total;
	uint32_t *items;
	float *scores;
	uint32_t *popularity;
	uint8_t *relevant;       /* LIST_RELEVANT or 0 */
	size_t capacity;         /* of each array */
};

MUST_CHECK int list_reserve(struct list *list, size_t count, struct error *error);
void list_release(struct list *list);
/* Lists are cut to what a block holds: at most list_count_max() entries, CODE_DATA beyond. */
uint32_t list_count_max(void);
MUST_CHECK int list_write(struct stream_writer *writer, const struct list *list, struct error *error);
/* 1, 0 at the end, -1. The list's arrays are grown as needed and reused. Ids are checked against `info`. */
MUST_CHECK int list_read(struct stream_reader *reader, const struct stream_info *info, struct list *list,
                         struct error *error);

#endif
