/* Training on the CPU against an independent implementation: the files of tests/golden/make_tower.py. */
#include "backend.h"
#include "check.h"
#include "mem.h"

static const char golden[] = "tests/golden/tower.json";
static const double tolerance = 2e-5;

static double real(const json_t *object, const char *key)
{
	return json_number_value(json_object_get(object, key));
}

static uint32_t integer(const json_t *object, const char *key)
{
	return (uint32_t)json_integer_value(json_object_get(object, key));
}

static uint32_t *integers(const json_t *array)
{
	struct error error = {0};
	uint32_t *values = mem_alloc(json_array_size(array), sizeof *values, &error);
	if (!values)
		abort();
	for (size_t i = 0; i < json_array_size(array); i++)
		values[i] = (uint32_t)json_integer_value(json_array_get(array, i));
	return values;
}

/* The same formula as first_values() of the maker. */
static void set_first_values(struct parameters *parameters)
{
	for (size_t m = 0; m < parameters->count; m++) {
		const struct matrix *matrix = &parameters->matrices[m];
		const bool weight = m >= MATRIX_LAYERS && (m - MATRIX_LAYERS) % 2 == 0;
		const double scale = weight ? 3.0 / sqrt((double)matrix->columns) : 1.0;
		for (uint64_t k = 0; k < (uint64_t)matrix->rows * matrix->columns; k++) {
			uint64_t scrambled = (5 * k * k + (2 * m + 17) * k + 11 * m + 5) % 1013;
			matrix->values[k / matrix->columns * matrix->stride + k % matrix->columns] =
				(float)(scale * ((double)scrambled / 1013.0 - 0.3));
		}
	}
}

static struct backend_state *open_case(const json_t *c, const char *isa, size_t threads, struct model_shape *shape,
                                       struct parameters *parameters, struct error *error)
{
	const struct backend_options options = {
		.threads = threads, .isa = isa, .ratio = integer(c, "ratio"), .batch_groups = integer(c, "groups"),
		.optimizer = {.beta1 = 0.9, .beta2 = 0.999, .epsilon = real(c, "epsilon"),
		              .weight_decay = real(c, "weight_decay"), .dense_adam = json_is_true(json_object_get(c, "dense"))},
	};
	CHECK_OK(model_shape_parse(json_string_value(json_object_get(c, "layers")), shape, error), error);
	shape->users = integer(c, "users");
	shape->items = integer(c, "items");
	CHECK_OK(parameters_init(parameters, shape, error), error);
	set_first_values(parameters);
	return backend_cpu.open(shape, parameters, &options, error);
}

/* One span a batch, so that every batch's loss can be compared. */
static void train_case(const json_t *c, struct backend_state *state, struct error *error)
{
	const json_t *rates = json_object_get(c, "rates"), *losses = json_object_get(c, "losses");
	const json_t *samples = json_object_get(c, "samples");
	const uint64_t groups = integer(c, "groups"), group = 1 + integer(c, "ratio");
	uint32_t *users = integers(json_object_get(samples, "users")), *items = integers(json_object_get(samples, "items"));
	CHECK(json_array_size(rates) > 0 && json_array_size(losses) == json_array_size(rates));
	for (uint64_t b = 0; b < json_array_size(rates); b++) {
		const double rate = json_number_value(json_array_get(rates, b));
		const struct train_span span = {.begin = b * groups, .end = (b + 1) * groups, .users = users + b * groups,
		                                .items = items + b * groups * group, .rates = &rate};
		struct train_result result = {0};
		CHECK_OK(backend_cpu.train(state, &span, &result, error), error);
		CHECK_EQUAL_U64(result.samples + result.missing, groups * group);
		CHECK_CLOSE(result.loss_sum / (double)result.samples, json_number_value(json_array_get(losses, b)), tolerance);
	}
	mem_free(users);
	mem_free(items);
}

static void check_rows(const json_t *c, const struct parameters *parameters)
{
	const json_t *row;
	size_t index, checked = 0;
	json_array_foreach(json_object_get(c, "rows"), index, row)
		for (size_t m = 0; m < parameters->count; m++) {
			const struct matrix *matrix = &parameters->matrices[m];
			const json_t *values = json_object_get(row, "values");
			if (strcmp(matrix->name, json_string_value(json_object_get(row, "matrix"))) != 0)
				continue;
			CHECK_EQUAL_U64(json_array_size(values), matrix->columns);
			for (size_t k = 0; k < matrix->columns; k++)
				CHECK_CLOSE((double)matrix->values[integer(row, "row") * matrix->stride + k],
				            json_number_value(json_array_get(values, k)), tolerance);
			checked++;
		}
	CHECK_EQUAL_U64(checked, json_array_size(json_object_get(c, "rows")));
	CHECK(checked > parameters->count);
}

static void check_logits(const json_t *c, struct backend_state *state, struct error *error)
{
	const json_t *logits = json_object_get(c, "logits"), *values = json_object_get(logits, "values");
	uint32_t *users = integers(json_object_get(logits, "users")), *items = integers(json_object_get(logits, "items"));
	for (size_t i = 0; i < json_array_size(values); i++) {
		const size_t offsets[2] = {0, 1};
		float score = NAN;
		const struct score_lists lists = {1, &users[i], offsets, &items[i], &score};
		CHECK_OK(backend_cpu.score_lists(state, &lists, error), error);
		CHECK_CLOSE((double)score, json_number_value(json_array_get(values, i)), tolerance);
	}
	mem_free(users);
	mem_free(items);
}

static void run_case(const json_t *c, const char *isa, size_t threads)
{
	struct error error = {0};
	struct model_shape shape;
	struct parameters parameters;
	struct backend_state *state = open_case(c, isa, threads, &shape, &parameters, &error);
	if (!state && error.code == CODE_UNAVAILABLE) {
		printf("# %s: not on this machine\n", isa);
	} else {
		CHECK_OK(state ? 0 : -1, &error);
		train_case(c, state, &error);
		CHECK_OK(backend_cpu.get(state, &parameters, NULL, NULL, NULL, &error), &error);
		check_rows(c, &parameters);
		check_logits(c, state, &error);
	}
	backend_cpu.close(state);
	parameters_release(&parameters);
}

static json_t *cases;

static void run_cases(const char *isa, size_t threads)
{
	const json_t *c;
	size_t index;
	CHECK(json_array_size(cases) >= 4);
	json_array_foreach(cases, index, c)
		run_case(c, isa, threads);
}

static void test_portable(void)
{
	run_cases("portable", 1);
}

static void test_avx2(void)
{
	run_cases("avx2", 1);
}

static void test_avx512(void)
{
	run_cases("avx512", 1);
}

static void test_threads(void)
{
	run_cases("auto", 3);
}

int main(void)
{
	json_error_t why;
	cases = json_load_file(golden, 0, &why);
	if (!cases)
		printf("# %s: %s\n", golden, why.text);
	RUN(test_portable);
	RUN(test_avx2);
	RUN(test_avx512);
	RUN(test_threads);
	json_decref(cases);
	return check_done();
}
