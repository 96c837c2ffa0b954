/* The CPU backend against the plain reference: gradients, Adam, scores, and the same bits with every
 * instruction set and number of threads. */
#include "backend.h"
#include "check.h"
#include "kernels.h"
#include "mem.h"
#include "reference_tower.h"
#include "rng.h"

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
static double tolerance_of(const struct setting *setting)
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

static void fixture_init(struct fixture *f, const struct setting *setting)
{
	const size_t group = 1 + setting->ratio, groups = setting->groups * STEPS_MAX;
	struct rng rng;
	*f = (struct fixture){.setting = *setting};
	if (setting->layers)
		CHECK_OK(model_shape_parse(setting->layers, &f->shape, &f->error), &f->error);
	f->shape.kind = setting->kind;
	f->shape.factors = setting->factors;
	f->shape.users = setting->users;
	f->shape.items = setting->items;
	CHECK_OK(parameters_init(&f->parameters, &f->shape, &f->error), &f->error);
	rng_init(&rng, 7, rng_stream(RNG_TEST, 0), 0);
	for (size_t m = 0; m < f->parameters.count; m++) {
		const struct matrix *matrix = &f->parameters.matrices[m];
		double width = model_matrix_rows(&f->shape, m) ? 1.0 : 1.5 / sqrt((double)matrix->columns);
		for (size_t i = 0; i < matrix->rows; i++)
			for (size_t j = 0; j < matrix->columns; j++)
				matrix->values[i * matrix->stride + j] = (float)((rng_unit(&rng) * 2 - 0.8) * width);
	}
	for (size_t m = 0; m < f->parameters.count && model_has_biases(&f->shape); m++)
		for (size_t i = 0; i < f->parameters.matrices[m].rows; i++)
			f->parameters.matrices[m].values[i * f->parameters.matrices[m].stride + f->shape.factors +
			                                 (m == 0 ? 1 : 0)] = 1.0f;
	for (size_t i = 0; i < COUNT_OF(f->offsets); i++)
		f->offsets[i] = (float)rng_unit(&rng);
	f->users = mem_alloc(groups, sizeof *f->users, &f->error);
	f->items = mem_alloc(groups * group, sizeof *f->items, &f->error);
	if (!f->users || !f->items)
		abort();
	for (size_t g = 0; g < groups; g++)
		f->users[g] = (uint32_t)rng_below(&rng, setting->users);
	for (size_t s = 0; s < groups * group; s++) {
		f->items[s] = (uint32_t)rng_below(&rng, setting->items);
		if (setting->missing && s % group && rng_below(&rng, 5) == 0)
			f->items[s] = (uint32_t)NO_ITEM;
	}
}

static void fixture_reference(const struct fixture *f, struct reference *r)
{
	reference_init(r, &f->shape, &f->parameters);
	r->loss = f->setting.loss;
	r->item_offsets = f->setting.offsets ? f->offsets : NULL;
	r->dropout = f->setting.dropout;
	r->seed = 3;
}

static void fixture_release(struct fixture *f)
{
	parameters_release(&f->parameters);
	mem_free(f->users);
	mem_free(f->items);
}

static struct backend_state *open_cpu(struct fixture *f, const char *isa, size_t threads)
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

static void test_scores_match_the_reference(void)
{
	for (size_t t = 0; t < COUNT_OF(settings); t++) {
		struct fixture f;
		struct reference r;
		fixture_init(&f, &settings[t]);
		fixture_reference(&f, &r);
		r.dropout = 0; /* of training alone */
		struct backend_state *state = open_cpu(&f, "auto", 2);
		const size_t count = f.setting.users;
		uint32_t *users = malloc(count * sizeof *users);
		size_t *offsets = malloc((count + 1) * sizeof *offsets);
		uint32_t *items = malloc(count * f.setting.items * sizeof *items);
		float *scores = malloc(count * f.setting.items * sizeof *scores);
		if (!users || !offsets || !items || !scores)
			abort();
		offsets[0] = 0;
		for (size_t u = 0; u < count; u++) {
			users[u] = (uint32_t)(count - 1 - u);
			offsets[u + 1] = offsets[u] + u % (f.setting.items + 1);
			for (size_t i = offsets[u]; i < offsets[u + 1]; i++)
				items[i] = (uint32_t)(i % f.setting.items);
		}
		const struct score_lists lists = {count, users, offsets, items, scores};
		CHECK_OK(backend_cpu.score_lists(state, &lists, &f.error), &f.error);
		double worst = 0;
		for (size_t u = 0; u < count; u++)
			for (size_t i = offsets[u]; i < offsets[u + 1]; i++) {
				double want = reference_forward(&r, users[u], items[i]);
				worst = fmax(worst, fabs(want - (double)scores[i]) / (1 + fabs(want)));
			}
		CHECK_CLOSE(worst, 0, tolerance_of(&settings[t]));
		backend_cpu.close(state);
		free(users);
		free(offsets);
		free(items);
		free(scores);
		reference_release(&r);
		fixture_release(&f);
	}
}

enum { TOP_USERS = 50, TOP_ITEMS = 913 };

/* Every pair by score_lists, ranked the slow way, must be what score_top says: seen items left out, the
 * truth behind its ties (here: all equal scores of duplicated items). */
static void check_top(const struct setting *of)
{
	enum { TOP = 7, USERS = TOP_USERS, ITEMS = TOP_ITEMS };
	struct fixture f;
	const struct setting setting = *of;
	uint32_t pair_users[3 * USERS], pair_items[3 * USERS], truth_items[USERS], all[ITEMS], users[USERS];
	struct interactions seen, truth;
	fixture_init(&f, &setting);
	f.setting.groups = 0; /* opened for scoring alone */
	for (size_t m = 0; m < f.parameters.count; m++) {
		const struct matrix *table = &f.parameters.matrices[m];
		for (size_t i = 1; i < ITEMS && model_matrix_rows(&f.shape, m) == 'i'; i += 2)
			memcpy(table->values + i * table->stride, table->values + (i - 1) * table->stride,
			       table->stride * sizeof(float)); /* twins: every score comes twice */
	}
	for (uint32_t i = 0; i < ITEMS; i++)
		all[i] = i;
	for (uint32_t u = 0; u < USERS; u++) {
		users[u] = u;
		truth_items[u] = u * 2 % ITEMS;
		for (uint32_t j = 0; j < 3; j++) {
			pair_users[3 * u + j] = u;
			pair_items[3 * u + j] = (u * 31 + j * 17 + 1) % ITEMS;
		}
	}
	CHECK_OK(interactions_from_pairs(&seen, USERS, ITEMS, pair_users, pair_items, 3 * USERS, &f.error), &f.error);
	CHECK_OK(interactions_from_pairs(&truth, USERS, ITEMS, users, truth_items, USERS, &f.error), &f.error);
	struct backend_state *state = open_cpu(&f, "auto", 3);
	uint32_t items[USERS * TOP], counts[USERS];
	float scores[USERS * TOP], every[ITEMS];
	const struct score_top top = {USERS, users, &seen, &truth, TOP, items, scores, counts};
	CHECK_OK(backend_cpu.score_top(state, &top, &f.error), &f.error);
	for (uint32_t u = 0; u < USERS; u++) {
		const size_t offsets[2] = {0, ITEMS};
		const struct score_lists lists = {1, &u, offsets, all, every};
		CHECK_OK(backend_cpu.score_lists(state, &lists, &f.error), &f.error);
		CHECK_EQUAL_U64(counts[u], TOP);
		for (size_t place = 0; place < TOP; place++) {
			uint32_t item = items[u * TOP + place];
			size_t better = 0;
			CHECK(scores[u * TOP + place] == every[item]);
			CHECK(!interactions_has(&seen, u, item));
			for (uint32_t other = 0; other < ITEMS; other++) {
				bool item_true = item == truth_items[u], other_true = other == truth_items[u];
				bool ahead = every[other] > every[item] ||
				             (every[other] == every[item] &&
				              (other_true != item_true ? item_true : other < item));
				better += ahead && other != item && !interactions_has(&seen, u, other);
			}
			CHECK_EQUAL_U64(better, place);
		}
	}
	backend_cpu.close(state);
	interactions_release(&seen);
	interactions_release(&truth);
	fixture_release(&f);
}

static void test_top_matches_brute_force(void)
{
	const struct setting of[] = {
		{"32-16-8-1", TOP_USERS, TOP_ITEMS, 1, 10, false, false, 0, 0, MODEL_MLP, 0, LOSS_BINARY, false, PRECISION_FP32},
		{"32-16-8-1", TOP_USERS, TOP_ITEMS, 1, 10, false, false, 0, 0, MODEL_NEUMF, 20, LOSS_BINARY, false, PRECISION_FP32},
		{NULL, TOP_USERS, TOP_ITEMS, 1, 10, false, false, 0, 0, MODEL_MF, 16, LOSS_BINARY, false, PRECISION_FP32},
		{NULL, TOP_USERS, TOP_ITEMS, 1, 10, false, false, 0, 0, MODEL_IALS, 9, LOSS_BINARY, false, PRECISION_FP32},
		{"32-20-8-1", TOP_USERS, TOP_ITEMS, 1, 10, false, false, 0, 0, MODEL_MLP, 0, LOSS_BINARY, false, PRECISION_BF16},
	};
	for (size_t t = 0; t < COUNT_OF(of); t++)
		check_top(&of[t]);
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
	RUN(test_scores_match_the_reference);
	RUN(test_top_matches_brute_force);
	RUN(test_unknown_isa_is_refused);
	return check_done();
}
