/* Training by users against the whole catalogue, and models of histories, by the CUDA backend against the CPU's. */
#include "cuda_fixture.h"

enum { SEED = 3, EPOCH = 2, BATCHES_MAX = 4 };

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
	{"mf, tiles", MODEL_MF, 70, 517, 131, 65, 900, 0, 0, false},
	{"mf, pieces", MODEL_MF, 5, 4101, 2, 3, 300, 0, 0, false},
	{"mf, rounds", MODEL_MF, 4200, 3, 2, 4150, 6000, 0, 0, false},
	{"history", MODEL_HISTORY, 23, 61, 14, 23, 400, 0, 0.5, false},
	{"history, own rows", MODEL_HISTORY, 23, 61, 30, 10, 400, 0, 0.3, true},
	{"history, own rows, features", MODEL_HISTORY, 23, 61, 9, 23, 400, 5, 0.7, true},
	{"history, features, nothing dropped", MODEL_HISTORY, 23, 61, 9, 12, 400, 5, 0, false},
	{"history, long ones, many features", MODEL_HISTORY, 40, 700, 257, 39, 12000, 2, 0.5, true},
	{"history, rounds", MODEL_HISTORY, 4200, 7, 3, 4150, 9000, 3, 0.5, true},
	{"history, one of everything", MODEL_HISTORY, 1, 1, 1, 1, 1, 1, 0.5, true},
};

struct users_fixture {
	struct users_setting setting;
	struct model_shape shape;
	struct parameters parameters;
	struct interactions histories;
	struct item_features features;
	uint32_t *offsets, *of_items, *order;
	struct error error;
};

static void init_features(struct users_fixture *f)
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
static void init_histories(struct users_fixture *f, struct rng *rng)
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

static void users_init(struct users_fixture *f, const struct users_setting *setting)
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
	model_init_values(&f->shape, &f->parameters, 1, 0, 0, 0, 0, false);
	for (size_t m = 0; m < f->parameters.count; m++)
		for (size_t r = 0; r < f->parameters.matrices[m].rows; r++)
			for (size_t c = 0; c < f->shape.factors; c++)
				f->parameters.matrices[m].values[r * f->parameters.matrices[m].stride + c] =
					(float)(rng_unit(&rng) - 0.5);
	f->order = room_for(setting->users, sizeof *f->order);
	for (uint32_t u = 0, n = 0; u < setting->users; u++) {
		const uint32_t user = setting->users - 1 - u;
		if (f->histories.offsets[user + 1] > f->histories.offsets[user])
			f->order[n++] = user;
	}
}

static void users_release(struct users_fixture *f)
{
	parameters_release(&f->parameters);
	interactions_release(&f->histories);
	free(f->offsets);
	free(f->of_items);
	free(f->order);
}

static size_t active_users(const struct users_fixture *f)
{
	size_t active = 0;
	for (uint32_t u = 0; u < f->setting.users; u++)
		active += f->histories.offsets[u + 1] > f->histories.offsets[u];
	return active;
}

static struct backend_options users_options(const struct users_fixture *f)
{
	return (struct backend_options){
		.threads = 1, .isa = "auto", .seed = SEED, .batch_groups = f->setting.batch, .loss = LOSS_CATALOGUE,
		.histories = &f->histories, .features = f->setting.features > 0 ? &f->features : NULL,
		.optimizer = {.beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8, .weight_decay = 0.1, .dropout = f->setting.dropout},
	};
}

static struct backend_state *users_open(struct users_fixture *f, const struct backend *backend)
{
	const struct backend_options options = users_options(f);
	struct backend_state *state = backend->open(&f->shape, &f->parameters, &options, &f->error);
	CHECK_OK(state ? 0 : -1, &f->error);
	if (!state)
		abort();
	return state;
}

/* Trains the first `count` of the users, or all there are. */
static void users_train(struct users_fixture *f, const struct backend *backend, size_t count, struct trained_state *t)
{
	static const double rates[BATCHES_MAX] = {0.01, 0.02, 0.01, 0.005};
	const size_t active = active_users(f), most = (size_t)f->setting.batch * BATCHES_MAX;
	count = count < active ? count : active;
	struct backend_state *state = users_open(f, backend);
	const struct train_span span = {.epoch = EPOCH, .end = count < most ? count : most, .users = f->order, .rates = rates};
	CHECK_OK(backend->train(state, &span, &t->result, &f->error), &f->error);
	CHECK_OK(parameters_init(&t->values, &f->shape, &f->error), &f->error);
	CHECK_OK(parameters_init(&t->moment1, &f->shape, &f->error), &f->error);
	CHECK_OK(parameters_init(&t->moment2, &f->shape, &f->error), &f->error);
	CHECK_OK(backend->get(state, &t->values, &t->moment1, &t->moment2, NULL, &f->error), &f->error);
	backend->close(state);
}

/* After one step of Adam moment1 is a tenth of the gradient. */
static void test_gradients_match_the_cpu(void)
{
	for (size_t t = 0; t < COUNT_OF(all); t++) {
		struct users_fixture f;
		struct trained_state cpu, cuda;
		users_init(&f, &all[t]);
		users_train(&f, &backend_cpu, f.setting.batch, &cpu);
		users_train(&f, cuda_under_test(&f.error), f.setting.batch, &cuda);
		CHECK_EQUAL_U64(cuda.result.samples, cpu.result.samples);
		CHECK_EQUAL_U64(cuda.result.missing, 0);
		CHECK_CLOSE(cuda.result.loss_sum, cpu.result.loss_sum, 1e-5 * cpu.result.loss_sum + 1e-9);
		CHECK_CLOSE(difference(&cuda.moment1, &cpu.moment1), 0, 1e-5);
		if (difference(&cuda.moment1, &cpu.moment1) > 1e-5)
			printf("# %s\n", all[t].name);
		trained_release(&cpu);
		trained_release(&cuda);
		users_release(&f);
	}
}

/* Several batches, the last one cut short: rows that are stepped now and then, decay, moments. */
static void test_steps_match_the_cpu(void)
{
	for (size_t t = 0; t < COUNT_OF(all); t++) {
		struct users_fixture f;
		struct trained_state cpu, cuda;
		double worst = 0;
		users_init(&f, &all[t]);
		users_train(&f, &backend_cpu, f.setting.users, &cpu);
		users_train(&f, cuda_under_test(&f.error), f.setting.users, &cuda);
		CHECK_CLOSE(cuda.result.loss_sum, cpu.result.loss_sum, 1e-5 * cpu.result.loss_sum + 1e-9);
		for (size_t i = 0; i < cpu.values.size; i++)
			if ((double)cpu.moment2.block[i] > 1e-17) /* else Adam makes whole steps of rounding */
				worst = fmax(worst, fabs((double)cuda.values.block[i] - (double)cpu.values.block[i]));
		CHECK_CLOSE(worst, 0, 1e-3);
		if (!(worst < 1e-3))
			printf("# %s\n", all[t].name);
		trained_release(&cpu);
		trained_release(&cuda);
		users_release(&f);
	}
}

/* The emulator runs threads and blocks in either order: what depends on one shows. */
static void test_bytes_repeat(void)
{
	for (size_t t = 0; t < COUNT_OF(all); t++) {
		struct users_fixture f;
		struct trained_state one, other;
		users_init(&f, &all[t]);
		users_train(&f, cuda_under_test(&f.error), f.setting.users, &one);
		emulated_settings.backwards = true;
		users_train(&f, cuda_under_test(&f.error), f.setting.users, &other);
		emulated_settings.backwards = false;
		CHECK(same_bits(&one, &other));
		trained_release(&one);
		trained_release(&other);
		users_release(&f);
	}
}

int main(void)
{
	if (!cuda_is_here("test_cuda_catalogue"))
		return check_done();
	RUN(test_gradients_match_the_cpu);
	RUN(test_steps_match_the_cpu);
	RUN(test_bytes_repeat);
	return check_done();
}
