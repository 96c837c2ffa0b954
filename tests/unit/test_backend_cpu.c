/* Training of the CPU backend against the plain reference: gradients, Adam, and the same bits with every instruction
 * set and number of threads. */
#include "backend_fixture.h"
#include "isa.h"

/* Trains `steps` batches in one span and copies the state out. */
static void train(struct fixture *f, struct backend_state *state, size_t steps, struct train_result *result,
                  struct parameters *values, struct parameters *moment1)
{
	const double rates[STEPS_MAX] = {0.01, 0.01, 0.005, 0.002};
	const struct train_span span = {.begin = 10, .end = 10 + steps * f->setting.groups, .users = f->users,
	                                .items = f->items, .rates = rates};
	CHECK_OK(backend_cpu.train(state, &span, result, &f->error), &f->error);
	CHECK_OK(parameters_init(values, &f->shape, &f->error), &f->error);
	if (moment1)
		CHECK_OK(parameters_init(moment1, &f->shape, &f->error), &f->error);
	CHECK_OK(backend_cpu.get(state, values, moment1, NULL, NULL, &f->error), &f->error);
}

/* Largest difference to the reference's numbers, relative to the largest of them. */
static double difference(const struct parameters *fast, const struct reference *r, const double *slow)
{
	double worst = 0, largest = 1e-30;
	for (size_t m = 0; m < r->matrices; m++)
		for (size_t i = 0; i < r->rows[m]; i++)
			for (size_t j = 0; j < r->columns[m]; j++) {
				double want = slow[r->at[m] + i * r->columns[m] + j];
				double got = (double)fast->matrices[m].values[i * fast->matrices[m].stride + j];
				worst = fmax(worst, fabs(got - want));
				largest = fmax(largest, fabs(want));
			}
	return worst / largest;
}

/* After the first step of Adam, moment1 is a tenth of the gradient. */
static void test_gradients_match_the_reference(void)
{
	for (size_t t = 0; t < COUNT_OF(settings); t++) {
		struct fixture f;
		struct reference r;
		struct train_result result;
		struct parameters values, moment1;
		fixture_init(&f, &settings[t]);
		fixture_reference(&f, &r);
		const size_t group = 1 + f.setting.ratio;
		double loss = reference_batch(&r, f.users, f.items, f.setting.groups, group);
		for (size_t i = 0; i < r.count; i++)
			r.moment1[i] = 0.1 * r.gradient[i];
		struct backend_state *state = open_cpu(&f, "auto", 1);
		train(&f, state, 1, &result, &values, &moment1);
		CHECK_CLOSE(result.loss_sum / (double)result.samples, loss, tolerance_of(&settings[t]) * loss);
		CHECK_CLOSE(difference(&moment1, &r, r.moment1), 0,
		            settings[t].precision == PRECISION_BF16 ? 5e-2 : 1e-5);
		backend_cpu.close(state);
		parameters_release(&values);
		parameters_release(&moment1);
		reference_release(&r);
		fixture_release(&f);
	}
}

/* Whether a value is one of the columns of ones, which get no gradient. */
static bool is_fixed(const struct reference *r, size_t i)
{
	size_t m = r->matrices - 1;
	while (r->at[m] > i)
		m--;
	return model_has_biases(&r->shape) && (i - r->at[m]) % r->columns[m] == r->shape.factors + (m == 0 ? 1 : 0);
}

/* The reference itself against finite differences of its own loss. */
static void check_finite_differences(const struct setting *setting)
{
	struct fixture f;
	struct reference r;
	fixture_init(&f, setting);
	fixture_reference(&f, &r);
	const size_t group = 1 + f.setting.ratio;
	double *gradient = malloc(r.count * sizeof *gradient);
	if (!gradient)
		abort();
	reference_batch(&r, f.users, f.items, f.setting.groups, group);
	memcpy(gradient, r.gradient, r.count * sizeof *gradient);
	for (size_t i = 0; i < r.count; i++) {
		const double h = 1e-6, value = r.values[i];
		r.values[i] = value + h;
		double above = reference_batch(&r, f.users, f.items, f.setting.groups, group);
		r.values[i] = value - h;
		double below = reference_batch(&r, f.users, f.items, f.setting.groups, group);
		r.values[i] = value;
		CHECK_CLOSE(is_fixed(&r, i) ? 0.0 : (above - below) / (2 * h), gradient[i], 1e-7);
	}
	free(gradient);
	reference_release(&r);
	fixture_release(&f);
}

static void test_reference_matches_finite_differences(void)
{
	for (size_t t = 0; t < COUNT_OF(settings); t++)
		if (settings[t].users < 10)
			check_finite_differences(&settings[t]);
}

static void test_steps_match_the_reference(void)
{
	const double rates[STEPS_MAX] = {0.01, 0.01, 0.005, 0.002};
	for (size_t t = 0; t < COUNT_OF(settings); t++) {
		struct fixture f;
		struct reference r;
		struct train_result result;
		struct parameters values;
		fixture_init(&f, &settings[t]);
		fixture_reference(&f, &r);
		unsigned char *touched = malloc(r.count);
		if (!touched)
			abort();
		const size_t group = 1 + f.setting.ratio, groups = f.setting.groups;
		for (size_t s = 0; s < STEPS_MAX; s++) {
			const uint32_t *users = f.users + s * groups, *items = f.items + s * groups * group;
			reference_batch(&r, users, items, groups, group);
			reference_touch(&r, users, items, groups, group, touched);
			reference_adam(&r, rates[s], f.setting.decay, f.setting.dense ? NULL : touched);
		}
		struct backend_state *state = open_cpu(&f, "auto", 2);
		train(&f, state, STEPS_MAX, &result, &values, NULL);
		CHECK_CLOSE(difference(&values, &r, r.values), 0, 100 * tolerance_of(&settings[t]));
		backend_cpu.close(state);
		parameters_release(&values);
		free(touched);
		reference_release(&r);
		fixture_release(&f);
	}
}

static bool same_bits(const struct parameters *a, const struct parameters *b)
{
	return a->size == b->size && memcmp(a->block, b->block, a->size * sizeof(float)) == 0;
}

/* Without vectors and under sanitizers, the first run is all that there is time for. */
static bool too_slow(const char *isa)
{
	return getenv("RECPIPE_SANITIZED") && strcmp(isa, "portable") == 0;
}

static void test_bits_do_not_depend_on_isa_or_threads(void)
{
	static const char *const isas[] = {"portable", "avx2", "avx512"};
	static const size_t threads[] = {1, 2, 3, 8};
	for (size_t t = 0; t < COUNT_OF(settings); t++) {
		struct fixture f;
		struct train_result first_result, result;
		struct parameters first, values;
		fixture_init(&f, &settings[t]);
		struct backend_state *state = open_cpu(&f, "portable", 1);
		train(&f, state, STEPS_MAX, &first_result, &first, NULL);
		backend_cpu.close(state);
		for (size_t i = 0; i < COUNT_OF(isas) * COUNT_OF(threads); i++) {
			struct error unavailable = {0};
			const char *isa = isas[i / COUNT_OF(threads)];
			enum isa found;
			if (isa_find(isa, &found, &unavailable) < 0 || too_slow(isa))
				continue;
			state = open_cpu(&f, isa, threads[i % COUNT_OF(threads)]);
			train(&f, state, STEPS_MAX, &result, &values, NULL);
			CHECK(same_bits(&first, &values));
			CHECK(memcmp(&first_result, &result, sizeof result) == 0);
			backend_cpu.close(state);
			parameters_release(&values);
		}
		parameters_release(&first);
		fixture_release(&f);
	}
}

static void test_spans_cut_anywhere_give_the_same(void)
{
	struct fixture f;
	struct train_result result;
	struct parameters whole, parts;
	const double rates[STEPS_MAX] = {0.01, 0.01, 0.005, 0.002};
	fixture_init(&f, &settings[0]);
	struct backend_state *state = open_cpu(&f, "auto", 2);
	train(&f, state, STEPS_MAX, &result, &whole, NULL);
	backend_cpu.close(state);
	state = open_cpu(&f, "auto", 2);
	for (size_t s = 0; s < STEPS_MAX; s++) {
		const size_t groups = f.setting.groups, group = 1 + f.setting.ratio;
		const struct train_span span = {.begin = s * groups, .end = (s + 1) * groups,
		                                .users = f.users + s * groups,
		                                .items = f.items + s * groups * group, .rates = rates + s};
		CHECK_OK(backend_cpu.train(state, &span, &result, &f.error), &f.error);
	}
	CHECK_OK(parameters_init(&parts, &f.shape, &f.error), &f.error);
	CHECK_OK(backend_cpu.get(state, &parts, NULL, NULL, NULL, &f.error), &f.error);
	CHECK(same_bits(&whole, &parts));
	backend_cpu.close(state);
	parameters_release(&whole);
	parameters_release(&parts);
	fixture_release(&f);
}

static void test_unknown_isa_is_refused(void)
{
	struct error error = {0};
	enum isa isa;
	CHECK(isa_find("mmx", &isa, &error) < 0);
	CHECK_EQUAL_U64(error.code, CODE_USAGE);
}

int main(void)
{
	RUN(test_reference_matches_finite_differences);
	RUN(test_gradients_match_the_reference);
	RUN(test_steps_match_the_reference);
	RUN(test_bits_do_not_depend_on_isa_or_threads);
	RUN(test_spans_cut_anywhere_give_the_same);
	RUN(test_unknown_isa_is_refused);
	return check_done();
}
