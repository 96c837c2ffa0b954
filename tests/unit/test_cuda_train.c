/* Training by the CUDA backend against the CPU's: gradients, steps, loss curves, and the same bytes however it runs. */
#include "cuda_fixture.h"
#include "cuda_train_settings.h"

/* A loss of differences leaves alone what is added to all logits of a user: his bias, the last layer's. */
static void check_constants_stand(const struct fixture *f, const struct trained_state *t)
{
	const struct matrix *users = &t->moment1.matrices[0];
	if (f->setting.loss == LOSS_BINARY)
		return;
	for (size_t u = 0; u < users->rows && model_has_biases(&f->shape); u++)
		CHECK(users->values[u * users->stride + f->shape.factors] == 0.0f);
	if (model_has_tower(&f->shape))
		CHECK(t->moment1.matrices[matrix_bias(f->shape.layer_count - 1)].values[0] == 0.0f);
}

/* After one step of Adam moment1 is a tenth of the gradient. */
static void test_gradients_match_the_cpu(void)
{
	for (size_t t = 0; t < COUNT_OF(settings); t++) {
		struct fixture f;
		struct trained_state cpu, cuda;
		fixture_init(&f, &settings[t]);
		fixture_train(&f, &backend_cpu, 1, 0, &cpu);
		fixture_train(&f, cuda_under_test(&f.error), 1, 0, &cuda);
		CHECK_EQUAL_U64(cuda.result.samples, cpu.result.samples);
		CHECK_EQUAL_U64(cuda.result.missing, cpu.result.missing);
		CHECK_CLOSE(cuda.result.loss_sum, cpu.result.loss_sum, 1e-5 * cpu.result.loss_sum);
		CHECK_CLOSE(difference(&cuda.moment1, &cpu.moment1), 0, 1e-5);
		if (difference(&cuda.moment1, &cpu.moment1) > 1e-5)
			printf("# %s\n", settings[t].name);
		check_constants_stand(&f, &cuda);
		trained_release(&cpu);
		trained_release(&cuda);
		fixture_release(&f);
	}
}

static void test_steps_match_the_cpu(void)
{
	for (size_t t = 0; t < COUNT_OF(settings); t++) {
		struct fixture f;
		struct trained_state cpu, cuda;
		fixture_init(&f, &settings[t]);
		const size_t less = settings[t].groups / 3;
		fixture_train(&f, &backend_cpu, 4, less, &cpu);
		fixture_train(&f, cuda_under_test(&f.error), 4, less, &cuda);
		CHECK_CLOSE(settled_difference(&cuda, &cpu), 0, 1e-3);
		if (settled_difference(&cuda, &cpu) > 1e-3)
			printf("# %s\n", settings[t].name);
		trained_release(&cpu);
		trained_release(&cuda);
		fixture_release(&f);
	}
}

/* 200 steps in spans of 50, over and over the same batches; 50 where they are watched, which takes its time. */
static void test_loss_curves_follow_the_cpu(void)
{
	static const struct setting of[] = {
		{"tower", "24-16-8-1", 30, 40, 3, 12, MODEL_MLP, 0, LOSS_BINARY, false, false, false, 0, 0},
		{"neumf", "16-8-1", 30, 40, 2, 12, MODEL_NEUMF, 8, LOSS_SOFTMAX, false, false, false, 0.01, 0},
		{"mf", NULL, 30, 40, 3, 12, MODEL_MF, 8, LOSS_PAIRWISE, false, false, false, 0, 0},
	};
	for (size_t t = 0; t < COUNT_OF(of); t++) {
		struct fixture f;
		fixture_init(&f, &of[t]);
		const struct backend *backends[2] = {&backend_cpu, cuda_under_test(&f.error)};
		struct backend_state *states[2] = {fixture_open(&f, backends[0]), fixture_open(&f, backends[1])};
		double first = 0, last = 0;
		const size_t spans = emulated_watched ? 1 : 4;
		for (size_t s = 0; s < spans; s++) {
			struct train_result results[2];
			const struct train_span span = {.begin = 0, .end = 50 * (uint64_t)of[t].groups, .users = f.users,
			                                .items = f.items, .rates = f.rates};
			for (int b = 0; b < 2; b++)
				CHECK_OK(backends[b]->train(states[b], &span, &results[b], &f.error), &f.error);
			CHECK_CLOSE(results[1].loss_sum, results[0].loss_sum, 2e-3 * results[0].loss_sum);
			first = s == 0 ? results[1].loss_sum : first;
			last = results[1].loss_sum;
		}
		CHECK(spans == 1 || last < 0.95 * first);
		for (int b = 0; b < 2; b++)
			backends[b]->close(states[b]);
		fixture_release(&f);
	}
}

/* ---- the same bytes ---- */

static void test_bytes_repeat(void)
{
	for (size_t t = 0; t < COUNT_OF(settings); t++) {
		struct fixture f;
		if (emulated_watched && t % 4 != 3) /* each access is looked at: of a loss and kind of model each */
			continue;
		fixture_init(&f, &settings[t]);
		check_bytes_repeat(&f, 0);
		fixture_release(&f);
	}
}

/* Cut into spans of a batch each, with the state taken out and put into a new backend in between: as a resumed run. */
static void test_spans_and_resumed_runs_give_the_same(void)
{
	enum { STEPS = 5 };
	for (size_t t = 0; t < COUNT_OF(settings); t += emulated_watched ? 6 : 3) {
		struct fixture f;
		struct trained_state whole, part;
		fixture_init(&f, &settings[t]);
		const struct backend *cuda = cuda_under_test(&f.error);
		const size_t groups = f.setting.groups, group = 1 + f.setting.ratio;
		fixture_train(&f, cuda, STEPS, 0, &whole);
		struct backend_state *state = fixture_open(&f, cuda);
		for (size_t s = 0; s < STEPS; s++) {
			const struct train_span span = {.begin = s * groups, .end = (s + 1) * groups, .users = f.users + s * groups,
			                                .items = f.items + s * groups * group, .rates = f.rates + s};
			CHECK_OK(cuda->train(state, &span, &part.result, &f.error), &f.error);
			fixture_take(&f, cuda, state, &part);
			cuda->close(state);
			state = fixture_open(&f, cuda);
			CHECK_OK(cuda->put(state, &part.values, &part.moment1, &part.moment2, s + 1, &f.error), &f.error);
			part.result = whole.result;
			if (s + 1 == STEPS)
				CHECK(same_bits(&whole, &part));
			trained_release(&part);
		}
		cuda->close(state);
		trained_release(&whole);
		fixture_release(&f);
	}
}

/* However much of a tile fits into shared memory, down to none. */
static void test_tiles_of_any_size(void)
{
	static const size_t limits[] = {227 * 1024, 40 * 1024, 24 * 1024, 12 * 1024, 5 * 1024, 3 * 1024};
	static const size_t of[] = {0, 2, 6, 8, 9, 15};
	const size_t before = emulated_settings.shared_limit;
	if (on_a_device())
		return;
	setenv("RECPIPE_CUDA_TOWER", "fused", 1);
	for (size_t t = 0; t < COUNT_OF(of); t++) {
		struct fixture f;
		struct trained_state cpu, cuda;
		fixture_init(&f, &settings[of[t]]);
		fixture_train(&f, &backend_cpu, 1, 0, &cpu);
		for (size_t l = 0; l < COUNT_OF(limits); l += emulated_watched ? 2 : 1) {
			emulated_settings.shared_limit = limits[l];
			fixture_train(&f, recpipe_cuda_backend(), 1, 0, &cuda);
			CHECK_CLOSE(difference(&cuda.moment1, &cpu.moment1), 0, 1e-5);
			CHECK_CLOSE(cuda.result.loss_sum, cpu.result.loss_sum, 1e-5 * cpu.result.loss_sum);
			trained_release(&cuda);
		}
		emulated_settings.shared_limit = before;
		trained_release(&cpu);
		fixture_release(&f);
	}
	unsetenv("RECPIPE_CUDA_TOWER");
}

/* A loss that is no number is told, not hidden. */
static void test_what_is_no_number_is_told(void)
{
	struct fixture f;
	struct trained_state cuda;
	fixture_init(&f, &settings[0]);
	f.parameters.matrices[matrix_weight(1)].values[0] = NAN;
	fixture_train(&f, cuda_under_test(&f.error), 1, 0, &cuda);
	CHECK(cuda.result.loss_sum != cuda.result.loss_sum);
	trained_release(&cuda);
	fixture_release(&f);
}

int main(void)
{
	if (!cuda_is_here("test_cuda_train"))
		return cuda_done();
	RUN(test_gradients_match_the_cpu);
	RUN(test_steps_match_the_cpu);
	RUN(test_loss_curves_follow_the_cpu);
	RUN(test_bytes_repeat);
	RUN(test_spans_and_resumed_runs_give_the_same);
	RUN(test_tiles_of_any_size);
	RUN(test_what_is_no_number_is_told);
	return cuda_done();
}
