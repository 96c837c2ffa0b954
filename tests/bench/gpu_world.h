/* The data that the bench of a device trains on: random pairs of the shape of a data set. */
#ifndef RECPIPE_BENCH_GPU_WORLD_H
#define RECPIPE_BENCH_GPU_WORLD_H

#include "gpu_rows.h"
#include "mem.h"
#include "model_counts.h"
#include "rng.h"
#include "sampler.h"

enum { RATIO = 4, COUNTED_BATCHES = 4 };

/* A data set, made when the first row wants it. */
struct world {
	struct interactions known;
	struct sampler sampler;
	bool made;
};

static inline uint64_t shrunk(double share, uint64_t count)
{
	const double some = (double)count * share;
	return some < 8 ? 8 : (uint64_t)some;
}

/* Pairs whose items are a third of them popular. */
static inline int make_known(const struct size *size, double share, struct interactions *known, struct error *error)
{
	const size_t count = shrunk(share, size->positives);
	const uint32_t users = (uint32_t)shrunk(share, size->users), items = (uint32_t)shrunk(share, size->items);
	uint32_t *pair_users = mem_alloc(count, sizeof *pair_users, error);
	uint32_t *pair_items = mem_alloc(count, sizeof *pair_items, error);
	int result = -1;
	for (size_t i = 0; pair_users && pair_items && i < count; i++) {
		uint32_t words[4];
		rng_block(1, rng_stream(RNG_TEST, 2), i, 0, words);
		pair_users[i] = rng_scale(words[0], users);
		pair_items[i] = rng_scale(words[1], words[2] % 3 ? items : rng_scale(words[3], items) + 1);
	}
	if (pair_users && pair_items)
		result = interactions_from_pairs(known, users, items, pair_users, pair_items, count, error);
	mem_free(pair_users);
	mem_free(pair_items);
	return result;
}

static inline int world_make(struct world *world, const struct size *size, double share, struct error *error)
{
	const struct sampler_options options = {.seed = 1, .ratio = RATIO};
	if (world->made)
		return 0;
	if (make_known(size, share, &world->known, error) < 0)
		return -1;
	if (sampler_init(&world->sampler, &world->known, &options, error) < 0) {
		interactions_release(&world->known);
		return -1;
	}
	sampler_start_epoch(&world->sampler, 0);
	world->made = true;
	return 0;
}

static inline void world_release(struct world *world)
{
	if (!world->made)
		return;
	sampler_release(&world->sampler);
	interactions_release(&world->known);
	world->made = false;
}

/* Samples and distinct rows of a batch of so many groups: the mean of the first few. */
static inline int world_count(const struct world *world, uint64_t groups, struct batch_counts *counts, struct error *error)
{
	const uint64_t most = world->known.count / groups, group = 1 + RATIO;
	const size_t all_users = world->known.users, all_items = world->known.items;
	const uint64_t batches = most < COUNTED_BATCHES ? most : COUNTED_BATCHES;
	uint32_t *users = mem_alloc(groups, sizeof *users, error), *items = mem_alloc(groups * group, sizeof *items, error);
	uint8_t *marks = mem_alloc_zero(all_users + all_items, sizeof *marks, error);
	*counts = (struct batch_counts){.samples = (double)(groups * group), .groups = (double)groups};
	int status = -1;
	if (!users || !items || !marks)
		goto out;
	for (uint64_t batch = 0; batch < batches; batch++) {
		const uint8_t mark = (uint8_t)(batch + 1);
		sampler_fill(&world->sampler, batch * groups, (batch + 1) * groups, users, items);
		for (uint64_t s = 0; s < groups * group; s++) {
			uint8_t *user = &marks[users[s / group]], *item = items[s] < all_items ? &marks[all_users + items[s]] : NULL;
			counts->users += *user != mark;
			*user = mark;
			if (item)
				counts->items += *item != mark;
			if (item)
				*item = mark;
		}
	}
	counts->users /= (double)batches;
	counts->items /= (double)batches;
	status = 0;
out:
	mem_free(users);
	mem_free(items);
	mem_free(marks);
	return status;
}

#endif
