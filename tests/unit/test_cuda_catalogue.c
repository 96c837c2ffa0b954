/* Training by users against the whole catalogue by the CUDA backend against the CPU's, and what it refuses. */
#include "cuda_users.h"

/* Watched, each access is looked at: all settings are stepped, some do what else is tested. */
static bool is_left_out(size_t setting, size_t rest)
{
	return emulated_watched && setting % 3 != rest;
}

/* After one step of Adam moment1 is a tenth of the gradient. */
static void test_gradients_match_the_cpu(void)
{
	for (size_t t = 0; t < COUNT_OF(all); t++) {
		struct users_fixture f;
		struct trained_state cpu, cuda;
		if (is_left_out(t, 1))
			continue;
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
		if (is_left_out(t, 2))
			continue;
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
	for (size_t t = 0; t < COUNT_OF(all); t += emulated_watched ? 4 : 2) {
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
		return cuda_done();
	RUN(test_gradients_match_the_cpu);
	RUN(test_steps_match_the_cpu);
	RUN(test_bytes_repeat);
	RUN(test_spans_and_resumed_runs_give_the_same);
	RUN(test_batches_without_anything_to_find);
	RUN(test_what_it_cannot_train_is_refused);
	RUN(test_memory_that_is_not_there_is_told);
	RUN(test_what_is_no_number_is_told);
	return cuda_done();
}
