/* What the tests of training by users share: models of mf and of histories, random interactions, the CPU's way and CUDA's. */
#ifndef RECPIPE_CUDA_USERS_H
#define RECPIPE_CUDA_USERS_H

#include "cuda_fixture.h"
#include "state.h"

enum {
	SEED = 3, EPOCH = 2, BATCHES_MAX = 4,
	MANY_ITEMS = PIECE_ITEMS + 5, MANY_USERS = ROUND_USERS + 54, LARGE_BATCH = ROUND_USERS + 4, /* cut; watched, few as well */
};

struct users_setting {
	const char *name;
	enum model_kind kind;
	uint32_t users, items, factors, batch, pairs, features;
	double dropout;
	bool user_part;
};

/* Odd sizes; tiles, chunks, pieces and rounds that are cut, each by one more than it holds. */
static const struct users_setting all[] = {
	{"mf", MODEL_MF, 23, 61, 16, 23, 400, 0, 0, false},
	{"mf, odd", MODEL_MF, 23, 61, 5, 7, 400, 0, 0, false},
	{"mf, one of everything", MODEL_MF, 1, 1, 1, 1, 1, 0, 0, false},
	{"mf, tiles", MODEL_MF, 70, 257, 129, 65, 900, 0, 0, false},
	{"mf, pieces", MODEL_MF, 5, MANY_ITEMS, 2, 3, 300, 0, 0, false},
	{"mf, rounds", MODEL_MF, MANY_USERS, 3, 2, LARGE_BATCH, MANY_USERS * 3 / 2, 0, 0, false},
	{"history", MODEL_HISTORY, 23, 61, 14, 23, 400, 0, 0.5, false},
	{"history, own rows", MODEL_HISTORY, 23, 61, 30, 10, 400, 0, 0.3, true},
	{"history, own rows, features", MODEL_HISTORY, 23, 61, 9, 23, 400, 5, 0.7, true},
	{"history, features, nothing dropped", MODEL_HISTORY, 23, 61, 9, 12, 400, 5, 0, false},
	{"history, long ones, features of many", MODEL_HISTORY, 40, 530, 129, 39, 9000, 2, 0.5, true},
	{"history, rounds", MODEL_HISTORY, MANY_USERS, 7, 3, LARGE_BATCH, MANY_USERS * 2, 3, 0.5, true},
	{"history, one of everything", MODEL_HISTORY, 1, 1, 1, 1, 1, 1, 0.5, true},
};

static const double rates[BATCHES_MAX] = {0.01, 0.02, 0.01, 0.005};

struct users_fixture {
	struct users_setting setting;
	struct model_shape shape;
	struct parameters parameters;
	struct interactions histories;
	struct item_features features;
	uint32_t *offsets, *of_items;
	uint32_t *order, ordered; /* users; of histories those that have one */
	struct error error;
};

static inline void init_features(struct users_fixture *f)
{
	const uint32_t items = f->setting.items, features = f->setting.features;
	f->offsets = room_for((size_t)items + 1, sizeof *f->offsets);
	f->of_items = room_for((size_t)items * 2, sizeof *f->of_items);
	for (uint32_t i = 0; i < items; i++) {
		f->offsets[i + 1] = f->offsets[i] + i % 3;
		for (uint32_t n = f->offsets[i]; n < f->offsets[i + 1] && features > 0; n++)
			f->of_items[n] = (i + n) % features;
	}
	f->features = (struct item_features){items, features, f->offsets, f->of_items};
}

/* The last user but one, where there are more than two, has no interactions; the first one has many. */
static inline void init_histories(struct users_fixture *f, struct rng *rng)
{
	const struct users_setting *s = &f->setting;
	uint32_t *users = room_for(s->pairs, sizeof *users), *items = room_for(s->pairs, sizeof *items);
	for (size_t p = 0; p < s->pairs; p++) {
		users[p] = p % 4 == 0 ? 0 : (uint32_t)rng_below(rng, s->users);
		users[p] -= s->users > 2 && users[p] == s->users - 2;
		items[p] = (uint32_t)rng_below(rng, s->items > 2 ? s->items - 1 : s->items);
	}
	CHECK_OK(interactions_from_pairs(&f->histories, s->users, s->items, users, items, s->pairs, &f->error), &f->error);
	free(users);
	free(items);
}

static inline void users_init(struct users_fixture *f, const struct users_setting *setting)
{
	struct rng rng;
	*f = (struct users_fixture){.setting = *setting};
	f->shape = (struct model_shape){.kind = setting->kind, .users = setting->users, .items = setting->items,
	                                .factors = setting->factors, .user_part = setting->user_part,
	                                .features = setting->features};
	rng_init(&rng, 7, rng_stream(RNG_TEST, 0), 0);
	init_histories(f, &rng);
	init_features(f);
	CHECK_OK(parameters_init(&f->parameters, &f->shape, &f->error), &f->error);
	random_parameters(&f->parameters, &f->shape, &rng);
	f->order = room_for(setting->users, sizeof *f->order);
	for (uint32_t u = 0; u < setting->users; u++) {
		const uint32_t user = setting->users - 1 - u;
		if (setting->kind == MODEL_MF || f->histories.offsets[user + 1] > f->histories.offsets[user])
			f->order[f->ordered++] = user;
	}
}

static inline void users_release(struct users_fixture *f)
{
	parameters_release(&f->parameters);
	interactions_release(&f->histories);
	free(f->offsets);
	free(f->of_items);
	free(f->order);
}

static inline struct backend_options users_options(const struct users_fixture *f)
{
	return (struct backend_options){
		.threads = 1, .isa = "auto", .seed = SEED, .batch_groups = f->setting.batch, .loss = LOSS_CATALOGUE,
		.histories = &f->histories, .features = f->setting.features > 0 ? &f->features : NULL,
		.optimizer = {.beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8, .weight_decay = 0.1, .dropout = f->setting.dropout},
	};
}

static inline struct backend_state *users_open(struct users_fixture *f, const struct backend *backend)
{
	const struct backend_options options = users_options(f);
	struct backend_state *state = backend->open(&f->shape, &f->parameters, &options, &f->error);
	CHECK_OK(state ? 0 : -1, &f->error);
	if (!state)
		abort();
	return state;
}

static inline void users_take(struct users_fixture *f, const struct backend *backend, struct backend_state *state,
                              struct trained_state *t)
{
	CHECK_OK(parameters_init(&t->values, &f->shape, &f->error), &f->error);
	CHECK_OK(parameters_init(&t->moment1, &f->shape, &f->error), &f->error);
	CHECK_OK(parameters_init(&t->moment2, &f->shape, &f->error), &f->error);
	CHECK_OK(backend->get(state, &t->values, &t->moment1, &t->moment2, NULL, &f->error), &f->error);
}

/* Trains the first `count` of the users, or all there are. */
static inline void users_train(struct users_fixture *f, const struct backend *backend, size_t count, struct trained_state *t)
{
	const size_t most = (size_t)f->setting.batch * BATCHES_MAX;
	count = count < f->ordered ? count : f->ordered;
	struct backend_state *state = users_open(f, backend);
	const struct train_span span = {.epoch = EPOCH, .end = count < most ? count : most, .users = f->order, .rates = rates};
	CHECK_OK(backend->train(state, &span, &t->result, &f->error), &f->error);
	users_take(f, backend, state, t);
	backend->close(state);
}

#endif
