/* One small stream of each kind for tests, with known contents. */
#ifndef RECPIPE_MAKE_STREAMS_H
#define RECPIPE_MAKE_STREAMS_H

#include "check.h"
#include "idmap.h"
#include "io.h"
#include "records.h"
#include "similarity.h"

enum { USERS = 30, ITEMS = 40, RATIO = 3, RECORDS = 12 };

static inline struct stream_info known_info(void)
{
	return (struct stream_info){
		.users = {USERS, "0123456789abcdef0123456789abcdef", NULL},
		.items = {ITEMS, "fedcba9876543210fedcba9876543210", NULL},
	};
}

static inline json_t *known_metadata(enum stream_kind kind)
{
	struct error error = {0};
	struct stream_info info = known_info();
	json_t *metadata = records_metadata("test", "", &info, &error);
	if (kind == STREAM_SAMPLES) {
		json_object_set_new(metadata, "ratio", json_integer(RATIO));
		json_object_set_new(metadata, "epochs", json_integer(2));
		json_object_set_new(metadata, "positives", json_integer(RECORDS / 2));
	}
	return metadata;
}

static inline struct interaction known_interaction(uint32_t i)
{
	return (struct interaction){i % USERS, i * 7 % ITEMS, (float)(i % 10) / 2, 1000000000 - 77 * (int64_t)i};
}

/* `items` has RATIO + 1 entries; now and then the last negative does not exist. */
static inline uint32_t known_sample(uint32_t i, uint32_t *items)
{
	for (uint32_t n = 0; n <= RATIO; n++)
		items[n] = n == RATIO && i % 5 == 0 ? (uint32_t)NO_ITEM : (i + 3 * n) % ITEMS;
	return i % USERS;
}

/* Lists of 0 to 3 entries; `list` holds RECORDS. */
static inline void known_list(uint32_t i, struct list *list)
{
	list->user = i % USERS;
	list->count = i % 4;
	list->relevant_total = 1 + i % 2;
	for (uint32_t n = 0; n < list->count; n++) {
		list->items[n] = (i + n) % ITEMS;
		list->scores[n] = (float)i - (float)n / 4;
		list->popularity[n] = 100 * n;
		list->relevant[n] = n == 1;
	}
}

/* Row i in two parts: two neighbours that are listed, three that follow one another. */
static inline float known_weight(uint32_t i, uint32_t neighbour)
{
	return (float)i / 4 - (float)neighbour / 64;
}

static inline int known_row(struct stream_writer *writer, uint32_t i, struct error *error)
{
	const uint32_t neighbours[2] = {i + 2, i + 5};
	float weights[3] = {known_weight(i, i + 2), known_weight(i, i + 5)};
	if (similarity_write_listed(writer, i, neighbours, weights, 2, error) < 0)
		return -1;
	for (uint32_t n = 0; n < 3; n++)
		weights[n] = known_weight(i, i + 7 + n);
	return similarity_write_run(writer, i, i + 7, weights, 3, error);
}

static inline int known_record(struct stream_writer *writer, enum stream_kind kind, uint32_t i, struct list *list,
                               struct error *error)
{
	uint32_t user, items[RATIO + 1];
	struct interaction interaction = known_interaction(i);
	switch (kind) {
	case STREAM_INTERACTIONS:
		return interaction_write(writer, &interaction, error);
	case STREAM_SAMPLES:
		user = known_sample(i, items);
		return sample_write(writer, user, items, RATIO, error);
	case STREAM_SIMILARITY:
		return known_row(writer, i, error);
	default:
		known_list(i, list);
		return list_write(writer, list, error);
	}
}

static inline void make_ids(struct output *output, struct error *error)
{
	struct idmap map;
	uint32_t id;
	char text[32];
	CHECK_OK(idmap_init(&map, error), error);
	for (uint32_t i = 0; i < RECORDS; i++) {
		snprintf(text, sizeof text, "item %u", i * i);
		CHECK_OK(idmap_add(&map, text, strlen(text), &id, error), error);
	}
	CHECK_OK(idmap_write(&map, "items", output, error), error);
	idmap_release(&map);
}

/* Writes the stream to `path`. Id maps are never compressed. */
static inline void make_stream(const char *path, enum stream_kind kind, bool compress)
{
	struct error error = {0};
	struct output output = {.fd = -1};
	struct stream_writer writer = {0};
	struct list list = {0};
	json_t *metadata = known_metadata(kind);
	CHECK_OK(output_open(&output, path, &error), &error);
	CHECK_OK(list_reserve(&list, RECORDS, &error), &error);
	if (kind == STREAM_IDS) {
		make_ids(&output, &error);
	} else {
		CHECK_OK(stream_writer_open(&writer, &output, kind, metadata, compress, &error), &error);
		for (uint32_t i = 0; i < RECORDS; i++)
			CHECK_OK(known_record(&writer, kind, i, &list, &error), &error);
		CHECK_OK(stream_writer_finish(&writer, &error), &error);
	}
	CHECK_OK(output_commit(&output, &error), &error);
	stream_writer_release(&writer);
	output_release(&output);
	list_release(&list);
	json_decref(metadata);
}

#endif
