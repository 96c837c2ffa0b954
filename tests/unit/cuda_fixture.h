/* What the tests of the CUDA backend share: the backend under test, on the emulated device, or, by `make test-gpu`
 * (RECPIPE_TEST_DEVICE), on a real one; random models and batches; and the CPU backend to compare with. */
#ifndef RECPIPE_CUDA_FIXTURE_H
#define RECPIPE_CUDA_FIXTURE_H

#include "backend.h"
#include "check.h"
#include "emulated.h"
#include "random_model.h"
#include "watch.h"

enum { CUDA_STEPS_MAX = 64 };

struct setting {
	const char *name, *layers;
	uint32_t users, items, ratio;
	uint32_t groups;      /* in a batch */
	enum model_kind kind;
	uint32_t factors;
	enum loss loss;
	bool dense, missing, offsets;
	double decay, dropout;
};

struct fixture {
	struct setting setting;
	struct model_shape shape;
	struct parameters parameters;
	struct interactions known;
	float *offsets;       /* of items */
	uint32_t *users, *items; /* of CUDA_STEPS_MAX batches at most */
	double rates[CUDA_STEPS_MAX];
	enum precision precision; /* fp32 unless a test says otherwise */
	struct error error;
};

/* NULL, with the reason in `error`, where there is no device. */
static inline const struct backend *cuda_under_test(struct error *error)
{
	const char *device = getenv("RECPIPE_TEST_DEVICE");
	const struct backend *linked = recpipe_cuda_backend(); /* the emulated one */
	if (device)
		return backend_find(device, error);
	return linked->probe(&(const int){0}, 1, error) == 0 ? linked : NULL;
}

static inline bool on_a_device(void)
{
	return getenv("RECPIPE_TEST_DEVICE") != NULL;
}

/* Whether the tests can run; else they are skipped with the reason, or fail where REQUIRE_CUDA is set. */
static inline bool cuda_is_here(const char *suite)
{
	struct error error = {0};
	const char *required = getenv("REQUIRE_CUDA");
	if (cuda_under_test(&error))
		return true;
	if (!required || strcmp(required, "1") != 0) {
		SKIP(suite, error.message);
		return false;
	}
	printf("not ok %d - %s\n# %s\n", ++check_cases, suite, error.message);
	check_failed_cases++;
	return false;
}

/* As check_done; what the watch finds behind the last device_finish, or of the host, fails the suite as well. */
static inline int cuda_done(void)
{
#ifdef WATCHED
	if (watch_findings.count > 0) {
		printf("not ok %d - the watch finds nothing\n# %s\n", ++check_cases, watch_findings.first);
		check_failed_cases++;
	}
#endif
	return check_done();
}

static inline void *room_for(size_t count, size_t size)
{
	void *room = calloc(count ? count : 1, size);
	if (!room)
		abort();
	return room;
}

/* Interactions: popular items, users without any, one who knows them all where `missing`. */
static inline void fixture_known(struct fixture *f, struct rng *rng)
{
	const uint32_t users = f->setting.users, items = f->setting.items;
	const size_t most = (size_t)users * 6 + items;
	uint32_t *pair_users = room_for(most, sizeof *pair_users), *pair_items = room_for(most, sizeof *pair_items);
	size_t count = 0;
	for (uint32_t u = 0; u < users; u++)
		for (uint32_t i = 0; (u % 7 != 3 || users < 4) && i < 6; i++, count++) {
			const uint64_t least = rng_below(rng, items);
			pair_users[count] = u;
			pair_items[count] = (uint32_t)rng_below(rng, least + 1);
		}
	for (uint32_t i = 0; f->setting.missing && i < items; i++, count++) {
		pair_users[count] = users - 1;
		pair_items[count] = i;
	}
	CHECK_OK(interactions_from_pairs(&f->known, users, items, pair_users, pair_items, count, &f->error), &f->error);
	free(pair_users);
	free(pair_items);
}

static inline void fixture_init(struct fixture *f, const struct setting *setting)
{
	const size_t group = 1 + setting->ratio, groups = (size_t)setting->groups * CUDA_STEPS_MAX;
	struct rng rng;
	*f = (struct fixture){.setting = *setting};
	const struct model_shape of = {.kind = setting->kind, .factors = setting->factors, .users = setting->users,
	                               .items = setting->items};
	random_model(setting->layers, &of, &f->shape, &f->parameters, &rng, &f->error);
	fixture_known(f, &rng);
	f->offsets = room_for(setting->items, sizeof *f->offsets);
	for (size_t i = 0; i < setting->items; i++)
		f->offsets[i] = (float)rng_unit(&rng);
	f->users = room_for(groups, sizeof *f->users);
	f->items = room_for(groups * group, sizeof *f->items);
	random_groups(&f->shape, groups, group, setting->missing, &rng, f->users, f->items);
	for (size_t b = 0; b < CUDA_STEPS_MAX; b++)
		f->rates[b] = 0.01 / (1.0 + 0.1 * (double)b);
}

static inline void fixture_release(struct fixture *f)
{
	parameters_release(&f->parameters);
	interactions_release(&f->known);
	free(f->offsets);
	free(f->users);
	free(f->items);
}

static inline struct backend_options fixture_options(const struct fixture *f)
{
	return (struct backend_options){
		.precision = f->precision, .threads = 1, .isa = "auto", .seed = 3, .ratio = f->setting.ratio, .batch_groups = f->setting.groups,
		.loss = f->setting.loss, .item_offsets = f->setting.offsets ? f->offsets : NULL,
		.optimizer = {.beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8, .weight_decay = f->setting.decay,
		              .dropout = f->setting.dropout, .dense_adam = f->setting.dense},
	};
}

static inline struct backend_state *fixture_open(struct fixture *f, const struct backend *backend)
{
	const struct backend_options options = fixture_options(f);
	struct backend_state *state = backend->open(&f->shape, &f->parameters, &options, &f->error);
	CHECK_OK(state ? 0 : -1, &f->error);
	if (!state)
		abort();
	return state;
}

/* What training leaves. */
struct trained_state {
	struct parameters values, moment1, moment2;
	struct train_result result;
};

static inline void trained_release(struct trained_state *t)
{
	parameters_release(&t->values);
	parameters_release(&t->moment1);
	parameters_release(&t->moment2);
}

static inline void fixture_take(struct fixture *f, const struct backend *backend, struct backend_state *state,
                                struct trained_state *t)
{
	uint64_t step;
	CHECK_OK(parameters_init(&t->values, &f->shape, &f->error), &f->error);
	CHECK_OK(parameters_init(&t->moment1, &f->shape, &f->error), &f->error);
	CHECK_OK(parameters_init(&t->moment2, &f->shape, &f->error), &f->error);
	CHECK_OK(backend->get(state, &t->values, &t->moment1, &t->moment2, &step, &f->error), &f->error);
}

/* Trains `steps` batches of given samples, the last of them cut short by `less` groups, from the fixture's parameters. */
static inline void fixture_train(struct fixture *f, const struct backend *backend, size_t steps, size_t less,
                                 struct trained_state *t)
{
	struct backend_state *state = fixture_open(f, backend);
	const struct train_span span = {.begin = 10, .end = 10 + steps * f->setting.groups - less, .users = f->users,
	                                .items = f->items, .rates = f->rates};
	CHECK_OK(backend->train(state, &span, &t->result, &f->error), &f->error);
	fixture_take(f, backend, state, t);
	backend->close(state);
}

/* Largest difference between two sets of the same shape, relative to the largest value of each matrix. */
static inline double difference(const struct parameters *a, const struct parameters *b)
{
	double all = 0;
	for (size_t m = 0; m < a->count; m++) {
		double worst = 0, largest = 1e-12;
		const struct matrix *x = &a->matrices[m], *y = &b->matrices[m];
		for (size_t i = 0; i < (size_t)x->rows * x->stride; i++) {
			if (i % x->stride >= x->columns)
				continue;
			worst = fmax(worst, fabs((double)x->values[i] - (double)y->values[i]));
			largest = fmax(largest, fabs((double)y->values[i]));
			if (x->values[i] != x->values[i])
				worst = INFINITY;
		}
		all = fmax(all, worst / largest);
	}
	return all;
}

/* Largest difference of values that have a gradient: one that is nothing but rounding (of what is added to all logits of
 * a loss of differences) is made into whole steps by Adam, of any sign. */
static inline double settled_difference(const struct trained_state *a, const struct trained_state *b)
{
	const double rounding = 1e-17; /* of moment2, a thousandth of the square of a gradient */
	double worst = 0;
	for (size_t i = 0; i < a->values.size; i++)
		if ((double)b->moment2.block[i] > rounding)
			worst = fmax(worst, fabs((double)a->values.block[i] - (double)b->values.block[i]));
	return worst;
}

/* Length of the difference of two sets, relative to that of the second. */
static inline double relative_length(const struct parameters *a, const struct parameters *b)
{
	double between = 0, all = 0;
	for (size_t i = 0; i < a->size; i++) {
		between += pow((double)a->block[i] - (double)b->block[i], 2);
		all += pow((double)b->block[i], 2);
	}
	return sqrt(between / all);
}

static inline bool same_bits(const struct trained_state *a, const struct trained_state *b)
{
	const size_t bytes = a->values.size * sizeof(float);
	return memcmp(a->values.block, b->values.block, bytes) == 0 &&
	       memcmp(a->moment1.block, b->moment1.block, bytes) == 0 &&
	       memcmp(a->moment2.block, b->moment2.block, bytes) == 0 &&
	       memcmp(&a->result, &b->result, sizeof a->result) == 0;
}

/* A span that one state draws and the same samples given to another one end in the same bytes. */
static inline void check_drawn_as_given(struct fixture *f, const struct backend *backend, struct backend_state *drawing,
                                        struct backend_state *given_to, struct train_span span)
{
	struct trained_state drawn, given;
	CHECK_OK(backend->train(drawing, &span, &drawn.result, &f->error), &f->error);
	fixture_take(f, backend, drawing, &drawn);
	CHECK_EQUAL_U64(sampler_fill(span.sampler, span.begin, span.end, f->users, f->items), drawn.result.missing);
	span.users = f->users;
	span.items = f->items;
	CHECK_OK(backend->train(given_to, &span, &given.result, &f->error), &f->error);
	fixture_take(f, backend, given_to, &given);
	CHECK(same_bits(&drawn, &given));
	trained_release(&drawn);
	trained_release(&given);
}

/* The emulator runs threads and blocks in either order: what depends on one shows. */
static inline void check_bytes_repeat(struct fixture *f, size_t less)
{
	struct trained_state one, other;
	fixture_train(f, cuda_under_test(&f->error), 3, less, &one);
	emulated_settings.backwards = true;
	fixture_train(f, cuda_under_test(&f->error), 3, less, &other);
	emulated_settings.backwards = false;
	CHECK(same_bits(&one, &other));
	trained_release(&one);
	trained_release(&other);
}

/* Whatever memory the emulated device has, by so many bytes more at a time, until the model can be trained. */
static inline void check_memory_is_told(struct fixture *f, size_t more)
{
	size_t refused = 0;
	const struct backend_options options = fixture_options(f);
	for (emulated_settings.memory = 1000; refused < 1000; emulated_settings.memory += more) {
		struct error error = {0};
		struct backend_state *state = recpipe_cuda_backend()->open(&f->shape, &f->parameters, &options, &error);
		recpipe_cuda_backend()->close(state);
		if (state)
			break;
		refused++;
		CHECK_EQUAL_U64(error.code, CODE_SYSTEM);
		CHECK(strstr(error.message, "out of memory") && strstr(error.message, "MiB are free"));
	}
	CHECK(refused > 10 && refused < 1000);
	emulated_settings.memory = SIZE_MAX;
}

#endif
