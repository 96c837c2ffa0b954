/* A small world to train in: interactions, a validation part, options, and runs with the fake backend. */
#ifndef RECPIPE_TRAINER_FIXTURE_H
#define RECPIPE_TRAINER_FIXTURE_H

#include "fake_backend.h"
#include "folder.h"
#include "io.h"
#include "rng.h"
#include "stream.h"
#include "trainer.h"

enum { WORLD_USERS = 30, WORLD_ITEMS = 120, WORLD_EACH = 8, WORLD_POSITIVES = WORLD_USERS * WORLD_EACH };

struct world {
	struct interactions train, valid;
	struct trainer_options options;
	struct trainer_inputs inputs;
	struct model_file model;       /* before and after the run */
	struct error error;
	int result;
};

/* User u has the items u, u + 13, u + 26, …; the truth is u + 5. */
static inline void world_pairs(struct interactions *interactions, uint32_t first, uint32_t each)
{
	struct error error = {0};
	uint32_t users[WORLD_POSITIVES], items[WORLD_POSITIVES];
	size_t count = 0;
	for (uint32_t u = 0; u < WORLD_USERS; u++)
		for (uint32_t i = 0; i < each; i++, count++) {
			users[count] = u;
			items[count] = (u + first + 13 * i) % WORLD_ITEMS;
		}
	CHECK_OK(interactions_from_pairs(interactions, WORLD_USERS, WORLD_ITEMS, users, items, count, &error), &error);
}

static inline void world_model(struct world *w)
{
	model_file_release(&w->model);
	CHECK_OK(model_shape_parse("8-5-1", &w->model.shape, &w->error), &w->error);
	w->model.shape.users = w->model.ids.users.count = WORLD_USERS;
	w->model.shape.items = w->model.ids.items.count = WORLD_ITEMS;
	CHECK_OK(parameters_init(&w->model.parameters, &w->model.shape, &w->error), &w->error);
	model_init_values(&w->model.shape, &w->model.parameters, w->options.seed, 0, w->options.ratio, 0, 0, false);
	w->model.metadata = json_pack("{s:s}", "tool", "test");
}

static inline void world_init(struct world *w)
{
	*w = (struct world){0};
	memset(&fake, 0, sizeof fake);
	fake.seed = 5;
	world_pairs(&w->train, 0, WORLD_EACH);
	world_pairs(&w->valid, 5, 1);
	w->options = (struct trainer_options){.seed = 5, .epochs = 4, .ratio = 2, .batch = 21, .rate = 0.5,
	                                      .valid_candidates = 50, .restarts = 3, .device = "cpu", .quiet = true};
	w->inputs = (struct trainer_inputs){.train = &w->train, .backend = &fake_backend};
	world_model(w);
}

static inline void world_release(struct world *w)
{
	interactions_release(&w->train);
	interactions_release(&w->valid);
	model_file_release(&w->model);
}

static inline int world_run(struct world *w)
{
	w->error = (struct error){0};
	w->result = trainer_run(&w->model, &w->options, &w->inputs, &w->error);
	return w->result;
}

/* The groups that the sampler would make, as a stream; `drop` fewer or more (negative) than there should be. */
static inline void world_write_samples(const struct world *w, const char *path, int64_t drop)
{
	struct error error = {0};
	const struct sampler_options options = {w->options.seed, w->options.ratio, w->options.alpha};
	const size_t group = 1 + (size_t)w->options.ratio;
	struct sampler sampler;
	struct output output;
	struct stream_writer writer;
	uint32_t users[1], items[8];
	json_t *metadata = json_pack("{s:i, s:i, s:i, s:{s:i, s:s}, s:{s:i, s:s}}", "ratio", (int)w->options.ratio,
	                             "epochs", (int)w->options.epochs, "positives", WORLD_POSITIVES, "users", "count",
	                             WORLD_USERS, "digest", "", "items", "count", WORLD_ITEMS, "digest", "");
	CHECK(metadata && group <= COUNT_OF(items));
	CHECK_OK(sampler_init(&sampler, &w->train, &options, &error), &error);
	CHECK_OK(output_open(&output, path, &error), &error);
	CHECK_OK(stream_writer_open(&writer, &output, STREAM_SAMPLES, metadata, false, &error), &error);
	const int64_t total = (int64_t)w->options.epochs * WORLD_POSITIVES - drop;
	for (int64_t g = 0; g < total; g++) {
		const uint64_t place = (uint64_t)g % WORLD_POSITIVES;
		if (place == 0)
			sampler_start_epoch(&sampler, (uint32_t)(g / WORLD_POSITIVES));
		(void)sampler_fill(&sampler, place, place + 1, users, items);
		CHECK_OK(sample_write(&writer, users[0], items, w->options.ratio, &error), &error);
	}
	CHECK_OK(stream_writer_finish(&writer, &error), &error);
	CHECK_OK(output_commit(&output, &error), &error);
	stream_writer_release(&writer);
	output_release(&output);
	sampler_release(&sampler);
	json_decref(metadata);
}

/* world_run, but the groups come from the stream in `path`. */
static inline int world_run_stream(struct world *w, const char *path)
{
	struct stream_reader reader;
	w->error = (struct error){0};
	CHECK_OK(stream_reader_open(&reader, path, STREAM_SAMPLES, &w->error), &w->error);
	w->inputs.train = NULL;
	w->inputs.samples = &reader;
	world_run(w);
	w->inputs.samples = NULL;
	w->inputs.train = &w->train;
	stream_reader_release(&reader);
	return w->result;
}

static inline const char *world_text(const struct world *w, const char *key)
{
	const char *text = json_string_value(json_object_get(w->model.metadata, key));
	return text ? text : "";
}

/* Same parameters, and the same of what the trainer says of them. */
static inline bool same_models(const struct model_file *a, const struct model_file *b)
{
	static const char *const keys[] = {"data", "metrics", "training"};
	bool same = a->parameters.size == b->parameters.size &&
	            memcmp(a->parameters.block, b->parameters.block, a->parameters.size * sizeof(float)) == 0;
	for (size_t k = 0; k < COUNT_OF(keys); k++) {
		const json_t *x = json_object_get(a->metadata, keys[k]), *y = json_object_get(b->metadata, keys[k]);
		same = same && (x == y || json_equal(x, y));
	}
	return same;
}

#endif
