/* Models of every kind with random parameters and batches, small enough for the plain reference. */
#ifndef RECPIPE_BACKEND_FIXTURE_H
#define RECPIPE_BACKEND_FIXTURE_H

#include "backend.h"
#include "check.h"
#include "mem.h"
#include "random_model.h"
#include "reference_tower.h"

enum { STEPS_MAX = 4 };

struct setting {
	const char *layers;
	uint32_t users, items, ratio;
	size_t groups;        /* in a batch */
	bool dense, missing;
	double decay, dropout;
	enum model_kind kind;
	uint32_t factors;
	enum loss loss;
	bool offsets;
	enum precision precision;
};

static const struct setting settings[] = {
	{"128-64-32-16-8-4-1", 40, 60, 4, 64, false, false, 0, 0, MODEL_MLP, 0, LOSS_BINARY, false, PRECISION_FP32},
	{"128-64-32-16-8-4-1", 40, 60, 4, 64, true, false, 0, 0, MODEL_MLP, 0, LOSS_BINARY, false, PRECISION_FP32},
	{"128-64-32-16-8-4-1", 300, 500, 4, 300, false, false, 0, 0, MODEL_MLP, 0, LOSS_BINARY, false, PRECISION_FP32},
	{"20-7-3-1", 5, 9, 2, 13, false, true, 0.1, 0, MODEL_MLP, 0, LOSS_BINARY, false, PRECISION_FP32},
	{"2-1-1", 1, 1, 0, 1, false, false, 0, 0, MODEL_MLP, 0, LOSS_BINARY, false, PRECISION_FP32},
	{"66-40-5-1", 17, 31, 7, 29, true, true, 0, 0, MODEL_MLP, 0, LOSS_BINARY, false, PRECISION_FP32},
	{"32-48-1", 17, 31, 1, 200, false, false, 0.01, 0, MODEL_MLP, 0, LOSS_BINARY, false, PRECISION_FP32},
	{"20-7-3-1", 5, 9, 2, 13, false, true, 0.1, 0, MODEL_NEUMF, 7, LOSS_BINARY, false, PRECISION_FP32},
	{"20-7-3-1", 5, 9, 6, 13, false, true, 0.1, 0, MODEL_NEUMF, 16, LOSS_PAIRWISE, false, PRECISION_FP32},
	{"20-7-3-1", 5, 9, 2, 40, true, true, 0.1, 0, MODEL_MLP, 0, LOSS_SOFTMAX, true, PRECISION_FP32},
	{NULL, 5, 9, 2, 40, false, true, 0.1, 0, MODEL_GMF, 5, LOSS_BINARY, false, PRECISION_FP32},
	{NULL, 5, 9, 60, 3, true, true, 0.1, 0, MODEL_MF, 15, LOSS_SOFTMAX, true, PRECISION_FP32},
	{NULL, 17, 31, 3, 300, false, false, 0.1, 0, MODEL_MF, 32, LOSS_PAIRWISE, false, PRECISION_FP32},
	{"32-16-8-1", 17, 31, 4, 300, true, false, 0.1, 0, MODEL_NEUMF, 24, LOSS_SOFTMAX, false, PRECISION_FP32},
	{NULL, 1, 1, 0, 1, false, false, 0, 0, MODEL_MF, 1, LOSS_BINARY, false, PRECISION_FP32},
	{"128-64-32-16-8-4-1", 40, 60, 4, 61, false, true, 0.1, 0.25, MODEL_MLP, 0, LOSS_BINARY, false, PRECISION_FP32},
	{"20-7-3-1", 5, 9, 2, 43, false, true, 0, 0.4, MODEL_MLP, 0, LOSS_BINARY, false, PRECISION_FP32},
	{"34-70-24-9-1", 17, 31, 6, 29, false, false, 0, 0.1, MODEL_NEUMF, 16, LOSS_PAIRWISE, false, PRECISION_FP32},
	{"24-40-4-8-1", 5, 9, 63, 3, false, true, 0, 0, MODEL_MLP, 0, LOSS_BINARY, false, PRECISION_FP32},
	{"10-100-1", 5, 9, 5, 23, false, false, 0.1, 0, MODEL_MLP, 0, LOSS_BINARY, false, PRECISION_FP32},
	{"128-64-32-16-8-4-1", 40, 60, 4, 201, false, true, 0.1, 0.25, MODEL_MLP, 0, LOSS_BINARY, false, PRECISION_BF16},
	{"66-40-5-1", 17, 31, 7, 29, true, true, 0, 0, MODEL_MLP, 0, LOSS_BINARY, false, PRECISION_BF16},
	{"34-70-24-9-1", 17, 31, 6, 29, false, false, 0, 0, MODEL_NEUMF, 16, LOSS_PAIRWISE, false, PRECISION_BF16},
};

/* Operands of eight bits are off by 2^-9 at most, and errors of a sum mostly cancel. */
static inline double tolerance_of(const struct setting *setting)
{
	return setting->precision == PRECISION_BF16 ? 5e-3 : 1e-5;
}

struct fixture {
	struct setting setting;
	struct model_shape shape;
	struct parameters parameters;
	uint32_t *users, *items;
	float offsets[512];   /* of items */
	struct error error;
};

static inline void fixture_init(struct fixture *f, const struct setting *setting)
{
	const size_t group = 1 + setting->ratio, groups = setting->groups * STEPS_MAX;
	struct rng rng;
	*f = (struct fixture){.setting = *setting};
	const struct model_shape of = {.kind = setting->kind, .factors = setting->factors, .users = setting->users,
	                               .items = setting->items};
	random_model(setting->layers, &of, &f->shape, &f->parameters, &rng, &f->error);
	for (size_t i = 0; i < COUNT_OF(f->offsets); i++)
		f->offsets[i] = (float)rng_unit(&rng);
	f->users = mem_alloc(groups, sizeof *f->users, &f->error);
	f->items = mem_alloc(groups * group, sizeof *f->items, &f->error);
	if (!f->users || !f->items)
		abort();
	random_groups(&f->shape, groups, group, setting->missing, &rng, f->users, f->items);
}

static inline void fixture_reference(const struct fixture *f, struct reference *r)
{
	reference_init(r, &f->shape, &f->parameters);
	r->loss = f->setting.loss;
	r->item_offsets = f->setting.offsets ? f->offsets : NULL;
	r->dropout = f->setting.dropout;
	r->seed = 3;
}

static inline void fixture_release(struct fixture *f)
{
	parameters_release(&f->parameters);
	mem_free(f->users);
	mem_free(f->items);
}

static inline struct backend_state *open_cpu(struct fixture *f, const char *isa, size_t threads)
{
	const struct backend_options options = {
		.precision = f->setting.precision, .threads = threads, .isa = isa, .seed = 3, .ratio = f->setting.ratio,
		.batch_groups = (uint32_t)f->setting.groups, .loss = f->setting.loss,
		.item_offsets = f->setting.offsets ? f->offsets : NULL,
		.optimizer = {.beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8, .weight_decay = f->setting.decay,
		              .dropout = f->setting.dropout, .dense_adam = f->setting.dense},
	};
	struct backend_state *state = backend_cpu.open(&f->shape, &f->parameters, &options, &f->error);
	CHECK_OK(state ? 0 : -1, &f->error);
	if (!state)
		abort();
	return state;
}

#endif
