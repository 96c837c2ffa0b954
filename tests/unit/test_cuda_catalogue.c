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
	random_parameters(&f->parameters, &f->shape, &rng);
	f->order = room_for(setting->users, sizeof *f->order);
	for (uint32_t u = 0; u < setting->users; u++) {
		const uint32_t user = setting->users - 1 - u;
		if (setting->kind == MODEL_MF || f->histories.offsets[user + 1] > f->histories.offsets[user])
			f->order[f->ordered++] = user;
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

static void users_take(struct users_fixture *f, const struct backend *backend, struct backend_state *state,
                       struct trained_state *t)
{
	CHECK_OK(parameters_init(&t->values, &f->shape, &f->error), &f->error);
	CHECK_OK(parameters_init(&t->moment1, &f->shape, &f->error), &f->error);
	CHECK_OK(parameters_init(&t->moment2, &f->shape, &f->error), &f->error);
	CHECK_OK(backend->get(state, &t->values, &t->moment1, &t->moment2, NULL, &f->error), &f->error);
}

/* Trains the first `count` of the users, or all there are. */
static void users_train(struct users_fixture *f, const struct backend *backend, size_t count, struct trained_state *t)
{
	const size_t most = (size_t)f->setting.batch * BATCHES_MAX;
	count = count < f->ordered ? count : f->ordered;
	struct backend_state *state = users_open(f, backend);
	const struct train_span span = {.epoch = EPOCH, .end = count < most ? count : most, .users = f->order, .rates = rates};
	CHECK_OK(backend->train(state, &span, &t->result, &f->error), &f->error);
	users_take(f, backend, state, t);
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
		size_t others = 0;
		users_init(&f, &all[t]);
		users_train(&f, &backend_cpu, f.setting.users, &cpu);
		users_train(&f, cuda_under_test(&f.error), f.setting.users, &cuda);
		CHECK_CLOSE(cuda.result.loss_sum, cpu.result.loss_sum, 1e-5 * cpu.result.loss_sum + 1e-9);
		for (size_t i = 0; i < cpu.values.size; i++) /* those without a gradient decay; of rounding Adam makes whole steps */
			if (cpu.moment2.block[i] == 0.0f)
				others += cuda.values.block[i] != cpu.values.block[i];
			else if ((double)cpu.moment2.block[i] > 1e-17)
				worst = fmax(worst, fabs((double)cuda.values.block[i] - (double)cpu.values.block[i]));
		CHECK_EQUAL_U64(others, 0);
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

/* Cut into spans of a batch each, with the state taken out and put into a new backend in between: as a resumed run. */
static void test_spans_and_resumed_runs_give_the_same(void)
{
	for (size_t t = 0; t < COUNT_OF(all); t++) {
		struct users_fixture f;
		struct trained_state whole, part;
		users_init(&f, &all[t]);
		const struct backend *cuda = cuda_under_test(&f.error);
		users_train(&f, cuda, f.setting.users, &whole);
		struct backend_state *state = users_open(&f, cuda);
		size_t end = 0;
		for (size_t b = 0; b < BATCHES_MAX && end < f.ordered; b++) {
			const size_t begin = end;
			end = begin + f.setting.batch < f.ordered ? begin + f.setting.batch : f.ordered;
			const struct train_span span = {.epoch = EPOCH, .begin = begin, .end = end, .users = f.order + begin,
			                                .rates = rates + b};
			CHECK_OK(cuda->train(state, &span, &part.result, &f.error), &f.error);
			users_take(&f, cuda, state, &part);
			cuda->close(state);
			state = users_open(&f, cuda);
			CHECK_OK(cuda->put(state, &part.values, &part.moment1, &part.moment2, b + 1, &f.error), &f.error);
			part.result = whole.result;
			if (b + 1 == BATCHES_MAX || end == f.ordered)
				CHECK(same_bits(&whole, &part));
			trained_release(&part);
		}
		cuda->close(state);
		trained_release(&whole);
		users_release(&f);
	}
}

/* Users without interactions have nothing to be found: nothing is stepped, and nothing decays. */
static void test_batches_without_anything_to_find(void)
{
	struct users_fixture f;
	struct train_result result;
	users_init(&f, &all[0]);
	const struct backend *cuda = cuda_under_test(&f.error);
	const uint32_t user = f.setting.users - 2;
	const struct train_span span = {.epoch = EPOCH, .end = 1, .users = &user, .rates = rates};
	struct backend_state *state = users_open(&f, cuda);
	struct trained_state t;
	CHECK_OK(cuda->train(state, &span, &result, &f.error), &f.error);
	CHECK_EQUAL_U64(result.samples, 0);
	CHECK(result.loss_sum == 0);
	users_take(&f, cuda, state, &t);
	CHECK(memcmp(t.values.block, f.parameters.block, f.parameters.size * sizeof(float)) == 0);
	trained_release(&t);
	cuda->close(state);
	users_release(&f);
}

/* ---- scoring ---- */

/* Scores of all items for some users, one of them without a history, and the lists of the best. */
struct scores {
	float *of, *top_scores;
	uint32_t *top, *counts;
};

enum { SCORED = 5 };

static void take_scores(struct users_fixture *f, const struct backend *backend, struct backend_state *state,
                        const uint32_t users[SCORED], struct scores *s)
{
	const size_t items = f->setting.items;
	size_t offsets[SCORED + 1] = {0};
	uint32_t *listed = room_for(items * SCORED, sizeof *listed);
	for (size_t u = 0; u < SCORED; u++) {
		offsets[u + 1] = offsets[u] + items;
		for (uint32_t i = 0; i < items; i++)
			listed[offsets[u] + i] = i;
	}
	s->of = room_for(items * SCORED, sizeof *s->of);
	s->top_scores = room_for(items * SCORED, sizeof *s->top_scores);
	s->top = room_for(items * SCORED, sizeof *s->top);
	s->counts = room_for(SCORED, sizeof *s->counts);
	const struct score_lists lists = {SCORED, users, offsets, listed, s->of};
	const struct score_top request = {.count = SCORED, .users = users, .seen = &f->histories, .top = items, .items = s->top,
	                                  .scores = s->top_scores, .counts = s->counts};
	CHECK_OK(backend->score_lists(state, &lists, &f->error), &f->error);
	CHECK_OK(backend->score_top(state, &request, &f->error), &f->error);
	free(listed);
}

static void scores_release(struct scores *s)
{
	free(s->of);
	free(s->top_scores);
	free(s->top);
	free(s->counts);
}

/* Both give the same. */
static void check_scores(struct users_fixture *f, struct backend_state *states[2], const struct backend *backends[2])
{
	const uint32_t last = f->setting.users - 1, users[SCORED] = {0, last, last / 2, last > 0 ? last - 1 : 0, last / 3};
	struct scores scores[2];
	for (int b = 0; b < 2; b++)
		take_scores(f, backends[b], states[b], users, &scores[b]);
	CHECK(memcmp(scores[0].of, scores[1].of, f->setting.items * SCORED * sizeof(float)) == 0);
	for (size_t u = 0; u < SCORED; u++) {
		const size_t at = u * f->setting.items, bytes = scores[0].counts[u] * sizeof(float);
		CHECK_EQUAL_U64(scores[1].counts[u], scores[0].counts[u]);
		CHECK(memcmp(scores[0].top + at, scores[1].top + at, bytes) == 0);
		CHECK(memcmp(scores[0].top_scores + at, scores[1].top_scores + at, bytes) == 0);
	}
	scores_release(&scores[0]);
	scores_release(&scores[1]);
}

/* The CPU's bits, of users beyond those that the model was trained on as well; and once more of other parameters. */
static void test_scores_come_from_the_history(void)
{
	for (size_t t = 0; t < COUNT_OF(all); t++) {
		struct users_fixture f;
		struct backend_state *states[2];
		struct parameters fewer;
		if (all[t].kind != MODEL_HISTORY)
			continue;
		users_init(&f, &all[t]);
		const struct backend *backends[2] = {&backend_cpu, cuda_under_test(&f.error)};
		struct backend_options options = users_options(&f);
		options.batch_groups = 0;
		f.shape.users -= f.shape.users > 4 ? 4 : 0;
		CHECK_OK(parameters_init(&fewer, &f.shape, &f.error), &f.error);
		for (size_t m = 0; m < fewer.count; m++)
			memcpy(fewer.matrices[m].values, f.parameters.matrices[m].values,
			       fewer.matrices[m].rows * fewer.matrices[m].stride * sizeof(float));
		for (int b = 0; b < 2; b++) {
			states[b] = backends[b]->open(&f.shape, &fewer, &options, &f.error);
			CHECK_OK(states[b] ? 0 : -1, &f.error);
		}
		check_scores(&f, states, backends);
		for (size_t i = 0; i < fewer.size; i++)
			fewer.block[i] *= 0.7f;
		for (int b = 0; b < 2; b++)
			CHECK_OK(backends[b]->put(states[b], &fewer, NULL, NULL, 1, &f.error), &f.error);
		check_scores(&f, states, backends);
		for (int b = 0; b < 2; b++)
			backends[b]->close(states[b]);
		parameters_release(&fewer);
		users_release(&f);
	}
}

/* A model of ials is a dot product like others: who made it is nothing to its scores. */
static void test_ials_is_scored(void)
{
	static const struct users_setting of = {"ials", MODEL_IALS, 23, 61, 19, 23, 400, 0, 0, false};
	struct users_fixture f;
	struct backend_state *states[2];
	users_init(&f, &of);
	const struct backend *backends[2] = {&backend_cpu, cuda_under_test(&f.error)};
	struct backend_options options = users_options(&f);
	options.batch_groups = 0;
	for (int b = 0; b < 2; b++) {
		states[b] = backends[b]->open(&f.shape, &f.parameters, &options, &f.error);
		CHECK_OK(states[b] ? 0 : -1, &f.error);
	}
	check_scores(&f, states, backends);
	for (int b = 0; b < 2; b++)
		backends[b]->close(states[b]);
	users_release(&f);
}

/* Between epochs the state that trains is the one that scores: by what it has become. */
static void test_scores_follow_training(void)
{
	for (size_t t = 0; t < COUNT_OF(all); t++) {
		struct users_fixture f;
		struct trained_state trained;
		struct train_result result;
		users_init(&f, &all[t]);
		const struct backend *cuda = cuda_under_test(&f.error), *both[2] = {cuda, cuda};
		const struct train_span span = {.epoch = EPOCH, .end = 1, .users = f.order, .rates = rates};
		struct backend_state *states[2] = {users_open(&f, cuda), users_open(&f, cuda)};
		check_scores(&f, states, both);
		CHECK_OK(cuda->train(states[0], &span, &result, &f.error), &f.error);
		users_take(&f, cuda, states[0], &trained);
		CHECK_OK(cuda->put(states[1], &trained.values, NULL, NULL, 1, &f.error), &f.error);
		check_scores(&f, states, both);
		cuda->close(states[0]);
		cuda->close(states[1]);
		trained_release(&trained);
		users_release(&f);
	}
}

/* ---- what goes wrong ---- */

static void check_refused(struct users_fixture *f, const struct backend_options *options, const char *what)
{
	f->error = (struct error){0};
	CHECK(cuda_under_test(&f->error)->open(&f->shape, &f->parameters, options, &f->error) == NULL);
	CHECK_EQUAL_U64(f->error.code, CODE_USAGE);
	CHECK(strstr(f->error.message, what) != NULL);
}

static void test_what_it_cannot_train_is_refused(void)
{
	struct users_fixture f;
	users_init(&f, &all[8]);
	const struct backend_options whole = users_options(&f);
	struct backend_options options = whole;
	options.histories = NULL;
	check_refused(&f, &options, "histories");
	options = whole;
	options.features = NULL;
	check_refused(&f, &options, "features");
	options = whole;
	options.loss = LOSS_BINARY;
	check_refused(&f, &options, "against the whole catalogue alone");
	f.shape.kind = MODEL_GMF;
	check_refused(&f, &whole, "only mf and history");
	f.shape.kind = MODEL_IALS;
	options.loss = LOSS_SQUARES;
	check_refused(&f, &options, "ials");
	users_release(&f);
}

/* Whatever allocation it is that fails: told with what was needed, and nothing is left. */
static void test_memory_that_is_not_there_is_told(void)
{
	struct users_fixture f;
	const size_t before = emulated_settings.memory;
	size_t failures = 0;
	if (on_a_device())
		return;
	users_init(&f, &all[8]);
	const struct backend_options options = users_options(&f);
	for (size_t memory = 1000;; memory += 1000) {
		emulated_settings.memory = memory;
		f.error = (struct error){0};
		struct backend_state *state = recpipe_cuda_backend()->open(&f.shape, &f.parameters, &options, &f.error);
		recpipe_cuda_backend()->close(state);
		if (state)
			break;
		failures++;
		CHECK_EQUAL_U64(f.error.code, CODE_SYSTEM);
		CHECK(strstr(f.error.message, "out of memory") != NULL);
	}
	CHECK(failures > 20);
	emulated_settings.memory = before;
	users_release(&f);
}

/* A loss that is no number is told, not hidden. */
static void test_what_is_no_number_is_told(void)
{
	struct users_fixture f;
	struct trained_state t;
	users_init(&f, &all[7]);
	f.parameters.matrices[model_factor_matrix(&f.shape, FACTOR_USERS)].values[0] = NAN;
	users_train(&f, cuda_under_test(&f.error), f.setting.users, &t);
	CHECK(t.result.loss_sum != t.result.loss_sum);
	trained_release(&t);
	users_release(&f);
}

int main(void)
{
	if (!cuda_is_here("test_cuda_catalogue"))
		return check_done();
	RUN(test_gradients_match_the_cpu);
	RUN(test_steps_match_the_cpu);
	RUN(test_bytes_repeat);
	RUN(test_spans_and_resumed_runs_give_the_same);
	RUN(test_batches_without_anything_to_find);
	RUN(test_scores_come_from_the_history);
	RUN(test_ials_is_scored);
	RUN(test_scores_follow_training);
	RUN(test_what_it_cannot_train_is_refused);
	RUN(test_memory_that_is_not_there_is_told);
	RUN(test_what_is_no_number_is_told);
	return check_done();
}
