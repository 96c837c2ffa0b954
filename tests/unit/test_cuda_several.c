/* Several devices that train together against one, and against the CPU. */
#include "cuda_plain_fixture.h"
#include "several_fixture.h"

/* ---- the same training ---- */

/* As difference() of cuda_fixture.h, but that a matrix may have nothing but rounding: the bias of units that are on for
 * every sample of a loss of differences, say. */
static double gradient_difference(const struct trained_state *a, const struct trained_state *b)
{
	const double rounding = 1e-8;
	double all = 0;
	for (size_t m = 0; m < b->moment1.count; m++) {
		const struct matrix *x = &a->moment1.matrices[m], *y = &b->moment1.matrices[m];
		double worst = 0, largest = rounding;
		for (size_t i = 0; i < (size_t)x->rows * x->stride; i++) {
			const double apart = fabs((double)x->values[i] - (double)y->values[i]);
			worst = apart != apart ? INFINITY : fmax(worst, apart);
			largest = fmax(largest, fabs((double)y->values[i]));
		}
		if (largest > rounding || worst > rounding)
			all = fmax(all, worst / largest);
	}
	return all;
}

/* `bound` is of gradients, relative to the largest of a matrix. */
static void compare(const char *name, size_t count, const struct trained_state *several, const struct trained_state *one,
                    double bound)
{
	const double gradients = gradient_difference(several, one);
	CHECK_EQUAL_U64(several->result.samples, one->result.samples);
	CHECK_EQUAL_U64(several->result.missing, one->result.missing);
	CHECK_CLOSE(several->result.loss_sum, one->result.loss_sum, 1e-5 * one->result.loss_sum);
	CHECK_CLOSE(gradients, 0, bound);
	if (!(gradients <= bound))
		printf("# %s, %zu devices\n", name, count);
}

static void check_gradients(const struct setting *setting, size_t less)
{
	struct fixture f;
	struct trained_state cpu, one, several;
	fixture_init(&f, setting);
	fixture_train(&f, &backend_cpu, 1, less, &cpu);
	fixture_train(&f, backend_of(1, &f.error), 1, less, &one);
	for (size_t c = 0; c < COUNT_OF(counts) && backend_of(counts[c], &f.error); c++) {
		fixture_train(&f, backend_of(counts[c], &f.error), 1, less, &several);
		compare(setting->name, counts[c], &several, &one, 1e-5);
		compare(setting->name, counts[c], &several, &cpu, 1e-5);
		trained_release(&several);
	}
	trained_release(&cpu);
	trained_release(&one);
	fixture_release(&f);
}

/* After one step of Adam moment1 is a tenth of the gradient. Also of a batch so short that most devices have no part of it. */
static void test_gradients_are_those_of_one(void)
{
	for (size_t t = 0; t < COUNT_OF(settings); t++) {
		if (is_one_of_some(t))
			check_gradients(&settings[t], 0);
		if (settings[t].groups > 2)
			check_gradients(&settings[t], settings[t].groups - 1 - t % 2);
	}
}

/* By cuBLAS, and by tensor cores: several devices are compared with one that goes the same way. A rank rounds what it has
 * of a row's gradient before the product that follows: so those of tf32 and bf16 are a rounding apart. */
static void test_towers_of_all_ways(void)
{
	static const struct setting of =
		{"wide", "48-24-20-8-1", 17, 31, 4, 29, MODEL_MLP, 0, LOSS_BINARY, false, false, false, 0.1, 0};
	static const struct {
		const char *tower;
		enum precision precision;
		double bound;
	} ways[] = {
		{"plain", PRECISION_FP32, 1e-5}, {"plain", PRECISION_BF16, 0x1p-7},
		{"fused", PRECISION_TF32, 0x1p-10}, {"fused", PRECISION_BF16, 0x1p-7},
	};
	for (size_t w = 0; w < COUNT_OF(ways); w++) {
		struct fixture f;
		struct trained_state one, several;
		fixture_init(&f, &of);
		f.precision = ways[w].precision;
		tower_by(on_a_device() ? "fused" : ways[w].tower); /* which may have no cuBLAS */
		fixture_train(&f, backend_of(1, &f.error), 1, 3, &one);
		for (size_t c = 0; c < COUNT_OF(counts) && backend_of(counts[c], &f.error); c++) {
			fixture_train(&f, backend_of(counts[c], &f.error), 1, 3, &several);
			compare(ways[w].tower, counts[c], &several, &one, ways[w].bound);
			trained_release(&several);
		}
		tower_by(NULL);
		trained_release(&one);
		fixture_release(&f);
	}
}

static void test_steps_are_those_of_one(void)
{
	const size_t steps = emulated_watched ? 2 : 4;
	for (size_t t = 0; t < COUNT_OF(settings); t++) {
		struct fixture f;
		struct trained_state one, several;
		fixture_init(&f, &settings[t]);
		const size_t less = settings[t].groups / 3;
		fixture_train(&f, backend_of(1, &f.error), steps, less, &one);
		for (size_t c = 0; c < COUNT_OF(counts) && backend_of(counts[c], &f.error); c++) {
			fixture_train(&f, backend_of(counts[c], &f.error), steps, less, &several);
			/* Where a gradient was rounding in one batch and more in the next, whole steps remain: those of 0.01. */
			const double bound = settings[t].loss == LOSS_BINARY ? 1e-4 : 4e-3;
			CHECK_CLOSE(settled_difference(&several, &one), 0, bound);
			if (!(settled_difference(&several, &one) <= bound))
				printf("# %s, %zu devices\n", settings[t].name, counts[c]);
			trained_release(&several);
		}
		trained_release(&one);
		fixture_release(&f);
	}
}

/* 200 steps in spans of 50, over and over the same batches. */
static void test_loss_curves_follow_one(void)
{
	static const struct setting of[] = {
		{"tower", "24-16-8-1", 30, 40, 3, 12, MODEL_MLP, 0, LOSS_BINARY, false, false, false, 0, 0},
		{"mf", NULL, 30, 40, 3, 12, MODEL_MF, 8, LOSS_PAIRWISE, false, false, false, 0, 0},
	};
	const uint64_t steps = emulated_watched ? 10 : 50;
	for (size_t t = 0; t < COUNT_OF(of); t++) {
		struct fixture f;
		fixture_init(&f, &of[t]);
		struct backend_state *states[2];
		const struct backend *backend = backend_of(1, &f.error);
		states[0] = fixture_open(&f, backend);
		backend = backend_of_most(3, &f.error);
		states[1] = fixture_open(&f, backend);
		for (size_t s = 0; s < (emulated_watched ? 1 : 4); s++) {
			struct train_result results[2];
			const struct train_span span = {.begin = 0, .end = steps * of[t].groups, .users = f.users,
			                                .items = f.items, .rates = f.rates};
			for (int b = 0; b < 2; b++)
				CHECK_OK(backend->train(states[b], &span, &results[b], &f.error), &f.error);
			CHECK_CLOSE(results[1].loss_sum, results[0].loss_sum, 2e-3 * results[0].loss_sum);
		}
		for (int b = 0; b < 2; b++)
			backend->close(states[b]);
		fixture_release(&f);
	}
}

/* ---- the same bytes ---- */

static void test_bytes_repeat(void)
{
	for (size_t t = 0; t < COUNT_OF(settings); t++)
		for (size_t c = 0; c < COUNT_OF(counts) && is_one_of_some(t); c++) {
			struct fixture f;
			struct trained_state one, other;
			fixture_init(&f, &settings[t]);
			const struct backend *backend = backend_of(counts[c], &f.error);
			for (int twice = 0; backend && twice < 2; twice++) {
				emulated_settings.backwards = twice;
				fixture_train(&f, backend, 3, settings[t].groups / 2, twice ? &other : &one);
			}
			emulated_settings.backwards = false;
			if (backend) {
				CHECK(same_bits(&one, &other));
				trained_release(&one);
				trained_release(&other);
			}
			fixture_release(&f);
		}
}

/* Every device steps all of the dense layers, from the same sums: they must never part. */
static void test_dense_layers_are_the_same_everywhere(void)
{
	if (on_a_device())
		return;
	for (size_t t = 0; t < COUNT_OF(settings); t++) {
		struct fixture f;
		struct train_result result;
		if (!is_one_of_some(t))
			continue;
		fixture_init(&f, &settings[t]);
		const struct backend *backend = backend_of(3, &f.error);
		struct backend_state *state = fixture_open(&f, backend);
		const struct train_span span = {.begin = 0, .end = 5 * (uint64_t)f.setting.groups, .users = f.users,
		                                .items = f.items, .rates = f.rates};
		CHECK_OK(backend->train(state, &span, &result, &f.error), &f.error);
		const struct several *several = state->several;
		for (size_t m = 0; m < several->matrix_count; m++)
			for (size_t r = 1; r < several->count && several->matrices[m].side == SIDES; r++) {
				const struct rank *first = &several->ranks[0], *other = &several->ranks[r];
				const size_t bytes = several->matrices[m].rows * several->matrices[m].stride * sizeof(float);
				CHECK(memcmp(first->state->values + first->at[m], other->state->values + other->at[m], bytes) == 0);
				CHECK(memcmp(first->state->moment1 + first->at[m], other->state->moment1 + other->at[m], bytes) == 0);
				CHECK(memcmp(first->state->moment2 + first->at[m], other->state->moment2 + other->at[m], bytes) == 0);
			}
		backend->close(state);
		fixture_release(&f);
	}
}

/* Cut into spans of a batch each, with the state taken out and put into a new backend in between: as a resumed run. */
static void test_spans_and_resumed_runs_give_the_same(void)
{
	enum { STEPS = 4 };
	for (size_t t = 0; t < COUNT_OF(settings); t += 3) {
		struct fixture f;
		struct trained_state whole, part;
		if (!is_one_of_some(t))
			continue;
		fixture_init(&f, &settings[t]);
		const struct backend *backend = backend_of_most(3, &f.error);
		const size_t groups = f.setting.groups, group = 1 + f.setting.ratio;
		fixture_train(&f, backend, STEPS, 0, &whole);
		struct backend_state *state = fixture_open(&f, backend);
		for (size_t s = 0; s < STEPS; s++) {
			uint64_t step = 0;
			const struct train_span span = {.begin = s * groups, .end = (s + 1) * groups, .users = f.users + s * groups,
			                                .items = f.items + s * groups * group, .rates = f.rates + s};
			CHECK_OK(backend->train(state, &span, &part.result, &f.error), &f.error);
			fixture_take(&f, backend, state, &part);
			CHECK_OK(backend->get(state, NULL, NULL, NULL, &step, &f.error), &f.error);
			CHECK_EQUAL_U64(step, s + 1);
			backend->close(state);
			state = fixture_open(&f, backend);
			CHECK_OK(backend->put(state, &part.values, &part.moment1, &part.moment2, s + 1, &f.error), &f.error);
			part.result = whole.result;
			if (s + 1 == STEPS)
				CHECK(same_bits(&whole, &part));
			trained_release(&part);
		}
		backend->close(state);
		trained_release(&whole);
		fixture_release(&f);
	}
}

/* What is put comes back, bit for bit, however it was spread. */
static void test_what_was_put_comes_back(void)
{
	for (size_t t = 0; t < COUNT_OF(settings); t++) {
		struct fixture f;
		struct trained_state back;
		fixture_init(&f, &settings[t]);
		const struct backend *backend = backend_of_most(5, &f.error);
		struct backend_state *state = fixture_open(&f, backend);
		CHECK_OK(backend->put(state, &f.parameters, NULL, &f.parameters, 7, &f.error), &f.error);
		fixture_take(&f, backend, state, &back);
		CHECK(memcmp(back.values.block, f.parameters.block, f.parameters.size * sizeof(float)) == 0);
		CHECK(memcmp(back.moment2.block, f.parameters.block, f.parameters.size * sizeof(float)) == 0);
		CHECK(difference(&back.moment1, &f.parameters) > 0.5);
		trained_release(&back);
		backend->close(state);
		fixture_release(&f);
	}
}

/* Groups that the devices draw are those of the CPU's sampler, given by the host: the same bytes. */
static void test_the_stream_of_samples_is_the_same(void)
{
	static const struct setting of = {"drawn", "16-8-1", 50, 70, 4, 37, MODEL_MLP, 0, LOSS_BINARY, false, true, false, 0, 0};
	struct fixture f;
	struct sampler sampler;
	fixture_init(&f, &of);
	const struct backend *backend = backend_of_most(3, &f.error);
	const struct sampler_options options = {.seed = 11, .ratio = of.ratio, .alpha = 0.75};
	CHECK_OK(sampler_init(&sampler, &f.known, &options, &f.error), &f.error);
	struct backend_state *drawing = fixture_open(&f, backend), *given_to = fixture_open(&f, backend);
	for (uint32_t epoch = 0; epoch < 2; epoch++) {
		const uint64_t begin = 11, end = begin + 3 * of.groups + 2;
		const struct train_span span = {.epoch = epoch, .begin = begin, .end = end, .sampler = &sampler, .rates = f.rates};
		sampler_start_epoch(&sampler, epoch);
		check_drawn_as_given(&f, backend, drawing, given_to, span);
	}
	backend->close(drawing);
	backend->close(given_to);
	sampler_release(&sampler);
	fixture_release(&f);
}

int main(void)
{
	if (!several_are_here("test_cuda_several"))
		return cuda_done();
	RUN(test_gradients_are_those_of_one);
	RUN(test_towers_of_all_ways);
	RUN(test_steps_are_those_of_one);
	RUN(test_loss_curves_follow_one);
	RUN(test_bytes_repeat);
	RUN(test_dense_layers_are_the_same_everywhere);
	RUN(test_spans_and_resumed_runs_give_the_same);
	RUN(test_what_was_put_comes_back);
	RUN(test_the_stream_of_samples_is_the_same);
	return cuda_done();
}
