/* Training by users against the whole catalogue: the CPU backend against a plain reference, the reference against
 * finite differences, and the same bits with every instruction set and number of threads. */
#include <math.h>

#include "backend.h"
#include "check.h"
#include "isa.h"
#include "mem.h"
#include "rng.h"

enum { USERS = 23, ITEMS = 61, PAIRS = 400, FEATURES = 5, SEED = 3, EPOCH = 2, COLUMNS_MAX = 40 };

struct setting {
	enum model_kind kind;
	uint32_t factors, batch;
	double dropout;
	bool user_part, features;
};

static const struct setting settings[] = {
	{MODEL_MF, 16, 23, 0, false, false},
	{MODEL_MF, 5, 7, 0, false, false},
	{MODEL_HISTORY, 14, 23, 0.5, false, false},
	{MODEL_HISTORY, 30, 10, 0.3, true, false},
	{MODEL_HISTORY, 9, 23, 0.7, true, true},
	{MODEL_HISTORY, 9, 12, 0, false, true},
};

struct fixture {
	struct setting setting;
	struct model_shape shape;
	struct parameters parameters;
	struct interactions histories;
	uint32_t offsets[ITEMS + 1], of_items[2 * ITEMS], order[USERS];
	struct item_features features;
	struct error error;
};

static void fixture_init(struct fixture *f, const struct setting *setting)
{
	uint32_t users[PAIRS], items[PAIRS];
	struct rng rng;
	*f = (struct fixture){.setting = *setting};
	f->shape = (struct model_shape){
		.kind = setting->kind, .users = USERS, .items = ITEMS, .factors = setting->factors,
		.user_part = setting->user_part, .features = setting->features ? FEATURES : 0,
	};
	rng_init(&rng, 7, rng_stream(RNG_TEST, 0), 0);
	for (size_t p = 0; p < PAIRS; p++) {
		users[p] = p < USERS ? (uint32_t)p : (uint32_t)rng_below(&rng, USERS - 2);
		items[p] = (uint32_t)rng_below(&rng, ITEMS);
	}
	CHECK_OK(interactions_from_pairs(&f->histories, USERS, ITEMS, users, items, PAIRS, &f->error), &f->error);
	for (uint32_t i = 0; i < ITEMS; i++) {
		f->offsets[i + 1] = f->offsets[i] + i % 3;
		for (uint32_t n = f->offsets[i]; n < f->offsets[i + 1]; n++)
			f->of_items[n] = (i + n) % FEATURES;
	}
	f->features = (struct item_features){ITEMS, FEATURES, f->offsets, f->of_items};
	for (uint32_t u = 0; u < USERS; u++)
		f->order[u] = (u * 5 + 1) % USERS;
	CHECK_OK(parameters_init(&f->parameters, &f->shape, &f->error), &f->error);
	model_init_values(&f->shape, &f->parameters, 1, 0, 0, 0, 0, false);
	for (size_t m = 0; m < f->parameters.count; m++)
		for (size_t r = 0; r < f->parameters.matrices[m].rows; r++)
			for (size_t c = 0; c < f->shape.factors; c++)
				f->parameters.matrices[m].values[r * f->parameters.matrices[m].stride + c] =
					(float)(rng_unit(&rng) - 0.5);
}

static void fixture_release(struct fixture *f)
{
	parameters_release(&f->parameters);
	interactions_release(&f->histories);
}

/* ---- the reference ---- */

static double *row_of(struct fixture *f, double *values, enum factor_role role, size_t row)
{
	const int m = model_factor_matrix(&f->shape, role);
	const struct matrix *matrix = &f->parameters.matrices[m];
	return values + (matrix->values - f->parameters.block) + row * matrix->stride;
}

static bool is_input(const struct fixture *f, uint32_t user, size_t place, size_t count)
{
	const uint32_t threshold = (uint32_t)(f->setting.dropout * 0x1p32);
	uint32_t words[4], mine = 0, least = UINT32_MAX;
	size_t left_out = 0, smallest = 0;
	if (f->shape.kind != MODEL_HISTORY)
		return false;
	for (size_t i = 0; i < count; i++) {
		rng_block(SEED, rng_stream(RNG_DROPOUT, EPOCH), user, (uint32_t)(i / 4), words);
		left_out += words[i % 4] < threshold;
		smallest = words[i % 4] < least ? i : smallest;
		least = words[i % 4] < least ? words[i % 4] : least;
		mine = i == place ? words[i % 4] : mine;
	}
	return left_out ? mine >= threshold : place != smallest;
}

/* An item's factors, those of its features added. */
static void item_row(struct fixture *f, double *values, uint32_t item, double *row)
{
	memcpy(row, row_of(f, values, FACTOR_ITEMS, item), (f->shape.factors + 2) * sizeof *row);
	for (uint32_t n = f->offsets[item]; n < f->offsets[item + 1] && f->setting.features; n++)
		for (size_t k = 0; k < f->shape.factors + 2; k++)
			row[k] += row_of(f, values, FACTOR_FEATURES, f->of_items[n])[k];
}

/* One user's loss; gradients of `scale` times it are added. */
static double reference_user(struct fixture *f, double *values, double *gradient, uint32_t user, double scale)
{
	const size_t columns = f->shape.factors + 2;
	double x[COLUMNS_MAX] = {0}, dx[COLUMNS_MAX] = {0}, row[COLUMNS_MAX], z[ITEMS], total = 0, loss = 0;
	bool input[ITEMS] = {false}, target[ITEMS] = {false};
	size_t count, inputs = 0;
	const uint32_t *history = interactions_of(&f->histories, user, &count);
	for (size_t i = 0; i < count; i++) {
		input[history[i]] = is_input(f, user, i, count);
		target[history[i]] = !input[history[i]];
		inputs += input[history[i]];
	}
	for (size_t k = 0; k < f->shape.factors; k++) {
		if (model_factor_matrix(&f->shape, FACTOR_USERS) != NO_MATRIX)
			x[k] = row_of(f, values, FACTOR_USERS, user)[k];
		for (uint32_t i = 0; i < ITEMS; i++)
			if (input[i])
				x[k] += row_of(f, values, FACTOR_HISTORY, i)[k] / sqrt((double)inputs);
	}
	x[columns - 1] = 1;
	for (uint32_t i = 0; i < ITEMS; i++) {
		item_row(f, values, i, row);
		z[i] = 0;
		for (size_t k = 0; k < columns; k++)
			z[i] += x[k] * row[k];
		total += input[i] ? 0 : exp(z[i]);
	}
	for (uint32_t i = 0; i < ITEMS; i++) {
		double slope = input[i] ? 0 : exp(z[i]) / total * (double)(count - inputs) - target[i];
		loss += target[i] ? log(total) - z[i] : 0;
		item_row(f, values, i, row);
		for (size_t k = 0; k < columns; k++) {
			dx[k] += slope * row[k];
			double d = k == f->shape.factors ? 0 : slope * x[k] * scale;
			row_of(f, gradient, FACTOR_ITEMS, i)[k] += d;
			for (uint32_t n = f->offsets[i]; n < f->offsets[i + 1] && f->setting.features; n++)
				row_of(f, gradient, FACTOR_FEATURES, f->of_items[n])[k] += d;
		}
	}
	for (size_t k = 0; k < f->shape.factors; k++) {
		if (model_factor_matrix(&f->shape, FACTOR_USERS) != NO_MATRIX)
			row_of(f, gradient, FACTOR_USERS, user)[k] += dx[k] * scale;
		for (uint32_t i = 0; i < ITEMS; i++)
			if (input[i])
				row_of(f, gradient, FACTOR_HISTORY, i)[k] += dx[k] * scale / sqrt((double)inputs);
	}
	return loss;
}

static size_t targets_of(const struct fixture *f, uint32_t user)
{
	size_t count, targets = 0;
	interactions_of(&f->histories, user, &count);
	for (size_t i = 0; i < count; i++)
		targets += !is_input(f, user, i, count);
	return targets;
}

/* Sum of the losses of the first batch; the mean's gradient. */
static double reference_batch(struct fixture *f, double *values, double *gradient)
{
	double loss = 0, targets = 0;
	memset(gradient, 0, f->parameters.size * sizeof *gradient);
	for (size_t b = 0; b < f->setting.batch; b++)
		targets += (double)targets_of(f, f->order[b]);
	for (size_t b = 0; b < f->setting.batch; b++)
		loss += reference_user(f, values, gradient, f->order[b], 1 / targets);
	return loss / targets;
}

static double *copy_values(const struct fixture *f)
{
	double *values = malloc(f->parameters.size * sizeof *values);
	if (!values)
		abort();
	for (size_t i = 0; i < f->parameters.size; i++)
		values[i] = (double)f->parameters.block[i];
	return values;
}

/* ---- tests ---- */

static bool is_trained(const struct fixture *f, const struct matrix *matrix, size_t column)
{
	const bool items = matrix == &f->parameters.matrices[model_factor_matrix(&f->shape, FACTOR_ITEMS)];
	const int features = model_factor_matrix(&f->shape, FACTOR_FEATURES);
	const bool biases = items || (features != NO_MATRIX && matrix == &f->parameters.matrices[features]);
	return column < f->shape.factors || (biases && column == f->shape.factors + 1);
}

static void test_reference_matches_finite_differences(void)
{
	for (size_t t = 0; t < COUNT_OF(settings); t++) {
		struct fixture f;
		fixture_init(&f, &settings[t]);
		double *values = copy_values(&f), *gradient = copy_values(&f), *scratch = copy_values(&f);
		reference_batch(&f, values, gradient);
		for (size_t m = 0; m < f.parameters.count; m++)
			for (size_t i = 0; i < f.parameters.matrices[m].rows; i += 7)
				for (size_t c = 0; c < f.parameters.matrices[m].columns; c += 3) {
					const struct matrix *matrix = &f.parameters.matrices[m];
					double *value = values + (matrix->values - f.parameters.block) + i * matrix->stride + c;
					const double h = 1e-5, was = *value;
					if (!is_trained(&f, matrix, c))
						continue;
					*value = was + h;
					double above = reference_batch(&f, values, scratch);
					*value = was - h;
					double below = reference_batch(&f, values, scratch);
					*value = was;
					CHECK_CLOSE((above - below) / (2 * h), gradient[value - values], 1e-8);
				}
		free(values);
		free(gradient);
		free(scratch);
		fixture_release(&f);
	}
}

static struct backend_state *open_cpu(struct fixture *f, const char *isa, size_t threads)
{
	const struct backend_options options = {
		.threads = threads, .isa = isa, .seed = SEED, .batch_groups = f->setting.batch, .loss = LOSS_CATALOGUE,
		.histories = &f->histories, .features = f->setting.features ? &f->features : NULL,
		.optimizer = {.beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8, .weight_decay = 0.1,
		              .dropout = f->setting.dropout},
	};
	struct backend_state *state = backend_cpu.open(&f->shape, &f->parameters, &options, &f->error);
	CHECK_OK(state ? 0 : -1, &f->error);
	if (!state)
		abort();
	return state;
}

/* Trains groups [0, count) and copies the state out. */
static void train(struct fixture *f, struct backend_state *state, size_t count, struct train_result *result,
                  struct parameters *values, struct parameters *moment1)
{
	const double rates[] = {0.01, 0.02, 0.01, 0.005};
	const struct train_span span = {.epoch = EPOCH, .end = count, .users = f->order, .rates = rates};
	CHECK_OK(backend_cpu.train(state, &span, result, &f->error), &f->error);
	CHECK_OK(parameters_init(values, &f->shape, &f->error), &f->error);
	CHECK_OK(parameters_init(moment1, &f->shape, &f->error), &f->error);
	CHECK_OK(backend_cpu.get(state, values, moment1, NULL, NULL, &f->error), &f->error);
}

/* After the first step of Adam, moment1 is a tenth of the gradient. */
static void test_gradients_match_the_reference(void)
{
	for (size_t t = 0; t < COUNT_OF(settings); t++) {
		struct fixture f;
		struct train_result result;
		struct parameters values, moment1;
		fixture_init(&f, &settings[t]);
		double *copy = copy_values(&f), *gradient = copy_values(&f), worst = 0, largest = 0;
		const double loss = reference_batch(&f, copy, gradient);
		struct backend_state *state = open_cpu(&f, "auto", 2);
		train(&f, state, f.setting.batch, &result, &values, &moment1);
		CHECK_CLOSE(result.loss_sum / (double)result.samples, loss, 1e-5 * loss);
		for (size_t m = 0; m < f.parameters.count; m++)
			for (size_t i = 0; i < f.parameters.matrices[m].rows; i++)
				for (size_t c = 0; c < f.parameters.matrices[m].columns; c++) {
					const struct matrix *matrix = &f.parameters.matrices[m];
					const size_t at = (size_t)(matrix->values - f.parameters.block) + i * matrix->stride + c;
					const double want = is_trained(&f, matrix, c) ? 0.1 * gradient[at] : 0;
					worst = fmax(worst, fabs((double)moment1.block[at] - want));
					largest = fmax(largest, fabs(want));
					if (!is_trained(&f, matrix, c))
						CHECK(values.block[at] == f.parameters.block[at]);
				}
		CHECK_CLOSE(worst / largest, 0, 1e-5);
		backend_cpu.close(state);
		parameters_release(&values);
		parameters_release(&moment1);
		free(copy);
		free(gradient);
		fixture_release(&f);
	}
}

static void test_bits_do_not_depend_on_isa_or_threads(void)
{
	static const size_t threads[] = {1, 2, 3, 8};
	for (size_t t = 0; t < COUNT_OF(settings); t++) {
		struct fixture f;
		struct train_result first_result, result;
		struct parameters first, values, moment1;
		fixture_init(&f, &settings[t]);
		struct backend_state *state = open_cpu(&f, "portable", 1);
		train(&f, state, USERS, &first_result, &first, &moment1);
		backend_cpu.close(state);
		parameters_release(&moment1);
		for (size_t i = 0; i < ISA_COUNT * COUNT_OF(threads); i++) {
			struct error unavailable = {0};
			enum isa found;
			if (isa_find(isa_names[i / COUNT_OF(threads)], &found, &unavailable) < 0)
				continue;
			state = open_cpu(&f, isa_names[i / COUNT_OF(threads)], threads[i % COUNT_OF(threads)]);
			train(&f, state, USERS, &result, &values, &moment1);
			CHECK(memcmp(values.block, first.block, first.size * sizeof(float)) == 0);
			CHECK(memcmp(&first_result, &result, sizeof result) == 0);
			backend_cpu.close(state);
			parameters_release(&values);
			parameters_release(&moment1);
		}
		parameters_release(&first);
		fixture_release(&f);
	}
}

/* Scores are those of the whole history, of users beyond those that the model was trained on as well. */
static void test_scores_come_from_the_history(void)
{
	struct fixture f;
	fixture_init(&f, &settings[4]);
	f.shape.users = USERS - 4;
	struct parameters fewer;
	CHECK_OK(parameters_init(&fewer, &f.shape, &f.error), &f.error);
	for (size_t m = 0; m < fewer.count; m++)
		memcpy(fewer.matrices[m].values, f.parameters.matrices[m].values,
		       fewer.matrices[m].rows * fewer.matrices[m].stride * sizeof(float));
	const struct backend_options options = {.threads = 2, .isa = "auto", .histories = &f.histories,
	                                        .features = &f.features};
	struct backend_state *state = backend_cpu.open(&f.shape, &fewer, &options, &f.error);
	CHECK_OK(state ? 0 : -1, &f.error);
	double *values = copy_values(&f);
	for (uint32_t user = USERS - 5; user < USERS; user++) {
		uint32_t items[ITEMS], top[ITEMS], found;
		float scores[ITEMS], top_scores[ITEMS];
		const size_t offsets[2] = {0, ITEMS};
		size_t count;
		const uint32_t *history = interactions_of(&f.histories, user, &count);
		for (uint32_t i = 0; i < ITEMS; i++)
			items[i] = i;
		const struct score_lists lists = {1, &user, offsets, items, scores};
		const struct score_top request = {.count = 1, .users = &user, .top = ITEMS, .items = top,
		                                  .scores = top_scores, .counts = &found};
		CHECK_OK(backend_cpu.score_lists(state, &lists, &f.error), &f.error);
		CHECK_OK(backend_cpu.score_top(state, &request, &f.error), &f.error);
		CHECK_EQUAL_U64(found, ITEMS);
		for (uint32_t i = 0; i < ITEMS; i++) {
			double x, row[COLUMNS_MAX], want;
			item_row(&f, values, top[i], row);
			want = row[f.shape.factors + 1];
			for (size_t k = 0; k < f.shape.factors; k++) {
				x = user < f.shape.users ? row_of(&f, values, FACTOR_USERS, user)[k] : 0;
				for (size_t h = 0; h < count; h++)
					x += row_of(&f, values, FACTOR_HISTORY, history[h])[k] / sqrt((double)count);
				want += x * row[k];
			}
			CHECK_CLOSE((double)scores[top[i]], want, 1e-5);
			CHECK(top_scores[i] == scores[top[i]]);
		}
	}
	free(values);
	backend_cpu.close(state);
	parameters_release(&fewer);
	fixture_release(&f);
}

static void test_what_it_cannot_train_is_refused(void)
{
	struct fixture f;
	fixture_init(&f, &settings[2]);
	struct backend_options options = {.threads = 1, .isa = "auto", .batch_groups = 4, .loss = LOSS_CATALOGUE};
	CHECK(backend_cpu.open(&f.shape, &f.parameters, &options, &f.error) == NULL);
	CHECK_EQUAL_U64(f.error.code, CODE_USAGE);
	options.histories = &f.histories;
	options.loss = LOSS_BINARY;
	CHECK(backend_cpu.open(&f.shape, &f.parameters, &options, &f.error) == NULL);
	CHECK_EQUAL_U64(f.error.code, CODE_USAGE);
	f.shape.kind = MODEL_GMF;
	options.loss = LOSS_CATALOGUE;
	CHECK(backend_cpu.open(&f.shape, &f.parameters, &options, &f.error) == NULL);
	CHECK_EQUAL_U64(f.error.code, CODE_USAGE);
	fixture_release(&f);
}

int main(void)
{
	RUN(test_reference_matches_finite_differences);
	RUN(test_gradients_match_the_reference);
	RUN(test_bits_do_not_depend_on_isa_or_threads);
	RUN(test_scores_come_from_the_history);
	RUN(test_what_it_cannot_train_is_refused);
	return check_done();
}
