/* Products by tensor cores, tf32 and bf16: scores and gradients against a plain reference with operands rounded in the
 * same way, tiles of any size, the same bytes in either order, and what is refused. */
#include "tensor_reference.h"

/* Widths that are whole pieces, prime ones, ones at the edge of what goes by tensor cores; one sample; rows whose uses
 * many chunks share. */
static const struct setting settings[] = {
	{"seed tower", "128-64-32-16-8-4-1", 40, 60, 4, 120, MODEL_MLP, 0, LOSS_BINARY, false, false, false, 0, 0},
	{"prime widths", "58-53-37-19-1", 17, 31, 6, 29, MODEL_MLP, 0, LOSS_BINARY, false, false, false, 0, 0},
	{"one of everything", "34-17-16-1", 1, 1, 0, 1, MODEL_MLP, 0, LOSS_BINARY, false, false, false, 0, 0},
	{"wide and narrow", "40-23-15-33-16-1", 9, 13, 3, 21, MODEL_MLP, 0, LOSS_BINARY, false, false, false, 0, 0},
	{"narrow halves", "24-29-18-1", 9, 13, 3, 21, MODEL_MLP, 0, LOSS_BINARY, false, false, false, 0, 0},
	{"many pieces", "64-100-128-96-1", 5, 9, 7, 33, MODEL_MLP, 0, LOSS_BINARY, false, false, false, 0, 0},
	{"NeuMF's tower", "256-256-128-64-1", 12, 20, 4, 27, MODEL_MLP, 0, LOSS_BINARY, false, false, false, 0, 0},
	{"one item, many uses", "36-24-17-1", 200, 1, 3, 101, MODEL_MLP, 0, LOSS_BINARY, false, false, false, 0, 0},
	{"the seed's width, many rows", "128-64-16-1", 300, 250, 1, 290, MODEL_MLP, 0, LOSS_BINARY, false, false, false, 0, 0},
};

static const enum precision kinds[] = {PRECISION_TF32, PRECISION_BF16};

/* Watched, each access is looked at: a setting has one precision, the next one the other. */
static bool is_left_out(size_t setting, size_t kind)
{
	return emulated_watched && kind != setting % COUNT_OF(kinds);
}

static void tensor_fixture_init(struct fixture *f, const struct setting *setting, enum precision kind)
{
	fixture_init(f, setting);
	f->precision = kind;
}

/* What rounding one operand the other way changes at most, of the largest. */
static double a_rounding(enum precision kind)
{
	return kind == PRECISION_TF32 ? 0x1p-10 : 0x1p-7;
}

/* ---- rounding ---- */

/* The tests' own rounding, against numbers worked out by hand. */
static void test_rounding(void)
{
	static const struct {
		float x, tf32, bf16;
	} of[] = {
		{0.0f, 0.0f, 0.0f},
		{1.0f + 0x1p-11f, 1.0f + 0x1p-10f, 1.0f},           /* tf32: a tie, away from zero */
		{-1.0f - 0x1p-11f, -1.0f - 0x1p-10f, -1.0f},
		{1.0f + 0x1p-11f - 0x1p-23f, 1.0f, 1.0f},
		{1.0f + 0x1p-8f, 1.0f + 0x1p-8f, 1.0f},             /* bf16: a tie, to the even one */
		{1.0f + 0x3p-8f, 1.0f + 0x3p-8f, 1.0f + 0x1p-6f},
		{2.0f - 0x1p-20f, 2.0f, 2.0f},
	};
	for (size_t i = 0; i < COUNT_OF(of); i++) {
		CHECK(rounded(PRECISION_TF32, of[i].x) == of[i].tf32);
		CHECK(rounded(PRECISION_BF16, of[i].x) == of[i].bf16);
		CHECK(rounded(PRECISION_FP32, of[i].x) == of[i].x);
	}
}

/* ---- scores ---- */

static void check_scores(const struct setting *setting, enum precision kind)
{
	struct fixture f;
	struct tensor_reference r;
	static float act[TENSOR_LAYERS_MAX][TENSOR_WIDTH_MAX];
	const size_t users = setting->users < 7 ? setting->users : 7, items = setting->items;
	size_t off = 0, wrong = 0;
	tensor_fixture_init(&f, setting, kind);
	tensor_reference_init(&r, &f);
	uint32_t *user = room_for(users, sizeof *user), *item = room_for(users * items, sizeof *item);
	size_t *offsets = room_for(users + 1, sizeof *offsets);
	float *scores = room_for(users * items, sizeof *scores);
	for (size_t i = 0; i < users * items; i++) {
		user[i / items] = (uint32_t)(i / items);
		item[i] = (uint32_t)(i % items);
		offsets[i / items + 1] = i + 1;
	}
	const struct backend *cuda = cuda_under_test(&f.error);
	struct backend_state *state = fixture_open(&f, cuda);
	const struct score_lists lists = {users, user, offsets, item, scores};
	CHECK_OK(cuda->score_lists(state, &lists, &f.error), &f.error);
	cuda->close(state);
	for (size_t i = 0; i < users * items; i++) {
		const double wanted = (double)tensor_forward(&r, user[i / items], item[i], act), error = fabs((double)scores[i] - wanted);
		off += (double)scores[i] != wanted;
		wrong += !(error <= a_rounding(kind) * (1 + fabs(wanted)));
	}
	CHECK_EQUAL_U64(wrong, 0);
	if (!on_a_device())
		CHECK_EQUAL_U64(off, 0);
	free(user);
	free(item);
	free(offsets);
	free(scores);
	tensor_reference_release(&r);
	fixture_release(&f);
}

static void test_scores(void)
{
	for (size_t t = 0; t < COUNT_OF(settings); t++)
		for (size_t k = 0; k < COUNT_OF(kinds); k++)
			check_scores(&settings[t], kinds[k]);
	/* The seed's tower by smaller tiles (cuda/narrow.h). */
	const size_t before = emulated_settings.shared_limit;
	emulated_settings.shared_limit = 96 * 1024;
	for (size_t k = 0; k < COUNT_OF(kinds); k++)
		check_scores(&settings[0], kinds[k]);
	emulated_settings.shared_limit = before;
}

/* ---- gradients ---- */

/* After one step of Adam moment1 is a tenth of the gradient. All elements are within 1e-5 of the largest of their matrix,
 * on a device most: where another last bit of a sum rounds an operand the other way, within what that makes. */
static void check_gradient(const struct tensor_reference *r, const struct parameters *moment1)
{
	size_t off = 0, wrong = 0, all = 0;
	for (size_t m = 0; m < moment1->count; m++) {
		const struct matrix *matrix = &moment1->matrices[m];
		double largest = 1e-12;
		for (size_t i = 0; i < (size_t)matrix->rows * matrix->columns; i++)
			largest = fmax(largest, fabs(r->gradients[m][i]));
		for (size_t i = 0; i < (size_t)matrix->rows * matrix->columns; i++, all++) {
			const double got = (double)matrix->values[i / matrix->columns * matrix->stride + i % matrix->columns] / 0.1;
			const double error = fabs(got - r->gradients[m][i]) / largest;
			off += !(error <= 1e-5);
			wrong += !(error <= a_rounding(r->kind));
		}
	}
	CHECK_EQUAL_U64(wrong, 0);
	CHECK(off <= (on_a_device() ? all / 20 : 0));
	if (off > 0)
		printf("# %s: %zu of %zu are off\n", r->f->setting.name, off, all);
}

static void test_gradients(void)
{
	for (size_t t = 0; t < COUNT_OF(settings); t++)
		for (size_t k = 0; k < COUNT_OF(kinds); k++) {
			struct fixture f;
			struct tensor_reference r;
			struct trained_state trained;
			if (is_left_out(t, k))
				continue;
			tensor_fixture_init(&f, &settings[t], kinds[k]);
			tensor_reference_init(&r, &f);
			tensor_gradient(&r);
			fixture_train(&f, cuda_under_test(&f.error), 1, 0, &trained);
			check_gradient(&r, &trained.moment1);
			trained_release(&trained);
			tensor_reference_release(&r);
			fixture_release(&f);
		}
}

/* Everything shared, weights outside, gradients outside, the tile outside: tiles of all sizes. */
static void test_tiles_of_any_size(void)
{
	static const size_t limits[] = {227 * 1024, 164 * 1024, 60 * 1024, 40 * 1024, 24 * 1024, 12 * 1024, 5 * 1024, 3 * 1024};
	static const size_t of[] = {0, 1, 5};
	const size_t before = emulated_settings.shared_limit, step = emulated_watched ? 3 : 1; /* each access is looked at */
	if (on_a_device())
		return;
	for (size_t t = 0; t < COUNT_OF(of) * COUNT_OF(kinds); t += step) {
		struct fixture f;
		struct tensor_reference r;
		struct trained_state trained;
		tensor_fixture_init(&f, &settings[of[t / 2]], kinds[t % 2]);
		tensor_reference_init(&r, &f);
		tensor_gradient(&r);
		for (size_t l = 0; l < COUNT_OF(limits); l += step) {
			emulated_settings.shared_limit = limits[l];
			fixture_train(&f, recpipe_cuda_backend(), 1, 0, &trained);
			check_gradient(&r, &trained.moment1);
			trained_release(&trained);
		}
		emulated_settings.shared_limit = before;
		tensor_reference_release(&r);
		fixture_release(&f);
	}
}

/* ---- the same bytes, near single precision, like the CPU's bf16 ---- */

static const struct setting kinds_of_models[] = {
	{"decay, missing", "66-40-20-1", 17, 31, 7, 29, MODEL_MLP, 0, LOSS_BINARY, true, true, false, 0.1, 0},
	{"neumf, pairwise", "34-70-24-9-1", 17, 31, 6, 29, MODEL_NEUMF, 16, LOSS_PAIRWISE, false, true, false, 0.1, 0},
	{"softmax, offsets", "48-17-16-1", 5, 9, 2, 40, MODEL_MLP, 0, LOSS_SOFTMAX, true, true, true, 0.1, 0},
	{"dropout", "40-24-20-6-1", 17, 31, 4, 61, MODEL_MLP, 0, LOSS_BINARY, false, true, false, 0.1, 0.25},
	{"seed tower", "128-64-32-16-8-4-1", 40, 60, 4, 64, MODEL_MLP, 0, LOSS_BINARY, false, false, false, 0, 0},
	{"NeuMF's tower", "256-256-128-64-1", 12, 20, 3, 35, MODEL_NEUMF, 64, LOSS_SOFTMAX, false, true, true, 0.1, 0},
};

static void test_bytes_repeat(void)
{
	for (size_t t = 0; t < COUNT_OF(kinds_of_models); t++)
		for (size_t k = 0; k < COUNT_OF(kinds); k++) {
			struct fixture f;
			if (is_left_out(t, k))
				continue;
			tensor_fixture_init(&f, &kinds_of_models[t], kinds[k]);
			check_bytes_repeat(&f, 0);
			fixture_release(&f);
		}
}

/* Single roundings mostly cancel; what they do to a unit that is about to be cut off is more. */
static void test_gradients_are_near_single_precision(void)
{
	for (size_t t = 0; t < COUNT_OF(kinds_of_models); t++) {
		struct fixture f;
		struct trained_state exact, near;
		fixture_init(&f, &kinds_of_models[t]);
		fixture_train(&f, &backend_cpu, 1, 0, &exact);
		for (size_t k = 0; k < COUNT_OF(kinds); k++) {
			f.precision = kinds[k];
			fixture_train(&f, cuda_under_test(&f.error), 1, 0, &near);
			CHECK_CLOSE(near.result.loss_sum, exact.result.loss_sum, a_rounding(kinds[k]) * exact.result.loss_sum);
			const double off = relative_length(&near.moment1, &exact.moment1);
			CHECK(off > 0 && off < 4 * a_rounding(kinds[k]));
			trained_release(&near);
		}
		trained_release(&exact);
		fixture_release(&f);
	}
}

/* The CPU's bf16 rounds the same operands where all layers but the last are wide, and adds up in another order. */
static void test_bf16_is_the_cpus(void)
{
	static const struct setting setting =
		{"wide", "80-48-33-16-1", 40, 60, 4, 61, MODEL_MLP, 0, LOSS_BINARY, false, false, false, 0, 0};
	struct fixture f;
	struct trained_state cpu, cuda, exact;
	fixture_init(&f, &setting);
	fixture_train(&f, &backend_cpu, 1, 0, &exact);
	f.precision = PRECISION_BF16;
	fixture_train(&f, &backend_cpu, 1, 0, &cpu);
	fixture_train(&f, cuda_under_test(&f.error), 1, 0, &cuda);
	CHECK_CLOSE(cuda.result.loss_sum, cpu.result.loss_sum, 1e-5 * cpu.result.loss_sum);
	CHECK_CLOSE(relative_length(&cuda.moment1, &cpu.moment1), 0, on_a_device() ? 3e-4 : 1e-5);
	CHECK(relative_length(&exact.moment1, &cpu.moment1) > 1e-3);
	trained_release(&cpu);
	trained_release(&cuda);
	trained_release(&exact);
	fixture_release(&f);
}

/* ---- refusals ---- */

static void check_refused(const struct backend *backend, const struct fixture *f, const char *part)
{
	struct error error = {0};
	const struct backend_options options = fixture_options(f);
	struct backend_state *state = backend->open(&f->shape, &f->parameters, &options, &error);
	CHECK(state == NULL);
	CHECK_EQUAL_U64(error.code, CODE_USAGE);
	CHECK(strstr(error.message, part) != NULL);
	backend->close(state);
}

static void test_what_cannot_be_is_refused(void)
{
	static const struct setting mf = {"mf", NULL, 5, 9, 2, 4, MODEL_MF, 5, LOSS_BINARY, false, false, false, 0, 0};
	struct fixture f;
	fixture_init(&f, &settings[1]);
	f.precision = PRECISION_TF32;
	check_refused(&backend_cpu, &f, "--device cuda");
	for (size_t k = 0; k < COUNT_OF(kinds) && !on_a_device(); k++) {
		f.precision = kinds[k];
		emulated_settings.capability = 75;
		check_refused(recpipe_cuda_backend(), &f, "is of 7.5");
		check_refused(recpipe_cuda_backend(), &f, precision_names[kinds[k]]);
		emulated_settings.capability = 80;
		recpipe_cuda_backend()->close(fixture_open(&f, recpipe_cuda_backend()));
		emulated_settings.capability = 90;
	}
	fixture_release(&f);
	fixture_init(&f, &mf);
	f.precision = PRECISION_TF32;
	check_refused(cuda_under_test(&f.error), &f, "tf32 is for the products");
	f.precision = PRECISION_BF16;
	check_refused(cuda_under_test(&f.error), &f, "bf16 is for the products");
	fixture_release(&f);
}

int main(void)
{
	RUN(test_rounding);
	if (!cuda_is_here("test_cuda_tensor"))
		return cuda_done();
	setenv("RECPIPE_CUDA_TOWER", "fused", 1);
	RUN(test_scores);
	RUN(test_gradients);
	RUN(test_tiles_of_any_size);
	RUN(test_bytes_repeat);
	RUN(test_gradients_are_near_single_precision);
	RUN(test_bf16_is_the_cpus);
	RUN(test_what_cannot_be_is_refused);
	return cuda_done();
}
