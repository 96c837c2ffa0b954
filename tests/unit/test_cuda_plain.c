/* Training with the tower in whole matrices: against the CPU's, against the tower in tiles, by slices; when it is chosen; and
 * the emulated products. */
#include "cuda_plain_fixture.h"
#include "cuda_train_settings.h"
#include "plain.h"
#include "sampler.h"

static const size_t enough_room = (size_t)1 << 26;

static void train_by(struct fixture *f, const char *way, size_t steps, size_t less, struct trained_state *t)
{
	tower_by(way);
	fixture_train(f, cuda_under_test(&f->error), steps, less, t);
	tower_by(NULL);
}

/* After one step of Adam moment1 is a tenth of the gradient. */
static void check_same_gradients(const struct setting *setting, const struct trained_state *a, const struct trained_state *b)
{
	CHECK_EQUAL_U64(a->result.samples, b->result.samples);
	CHECK_EQUAL_U64(a->result.missing, b->result.missing);
	CHECK_CLOSE(a->result.loss_sum, b->result.loss_sum, 1e-5 * b->result.loss_sum);
	CHECK_CLOSE(difference(&a->moment1, &b->moment1), 0, 1e-5);
	if (difference(&a->moment1, &b->moment1) > 1e-5)
		printf("# %s\n", setting->name);
}

/* Each is a check of the other; a batch that is cut short, as the last one of an epoch is, among them (and alone where it is
 * watched). */
static void test_gradients_match_the_cpu_and_the_tiles(void)
{
	for (size_t t = 0; t < COUNT_OF(settings); t++)
		for (size_t cut = emulated_watched; cut < 2; cut++) {
			struct fixture f;
			struct trained_state cpu, plain, fused;
			fixture_init(&f, &settings[t]);
			const size_t less = cut * settings[t].groups / 3;
			fixture_train(&f, &backend_cpu, 1, less, &cpu);
			train_by(&f, "plain", 1, less, &plain);
			train_by(&f, "fused", 1, less, &fused);
			check_same_gradients(&settings[t], &plain, &cpu);
			check_same_gradients(&settings[t], &plain, &fused);
			if (settings[t].loss != LOSS_BINARY && settings[t].layers)
				CHECK(plain.moment1.matrices[matrix_bias(f.shape.layer_count - 1)].values[0] == 0.0f);
			trained_release(&cpu);
			trained_release(&plain);
			trained_release(&fused);
			fixture_release(&f);
		}
}

/* As many samples at a time as there is room for, down to one or a group: sums over slices are those of the batch. */
static void test_slices_make_a_batch(void)
{
	static const size_t of[] = {0, 2, 3, 6, 8, 9, 15};
	static const size_t rooms[] = {1, 3000, 9001};
	if (on_a_device())
		return;
	for (size_t t = emulated_watched; t < COUNT_OF(of); t += emulated_watched ? 3 : 1) {
		struct fixture f;
		struct trained_state cpu, plain;
		uint64_t products = 0;
		fixture_init(&f, &settings[of[t]]);
		const size_t less = settings[of[t]].groups / 3;
		fixture_train(&f, &backend_cpu, 1, less, &cpu);
		for (size_t r = COUNT_OF(rooms); r-- > 0;) {
			emulated_blas_settings.room = rooms[r];
			const uint64_t before = emulated_blas_settings.products;
			train_by(&f, "plain", 1, less, &plain);
			CHECK(emulated_blas_settings.products - before >= products);
			products = emulated_blas_settings.products - before;
			check_same_gradients(&settings[of[t]], &plain, &cpu);
			trained_release(&plain);
		}
		const size_t layers = f.shape.layer_count - 1, group = 1 + (size_t)settings[of[t]].ratio;
		const size_t slices = settings[of[t]].groups * (settings[of[t]].loss == LOSS_BINARY ? group : 1);
		CHECK_EQUAL_U64(products, 3 * layers * (slices + 1)); /* and once to warm up */
		emulated_blas_settings.room = enough_room;
		trained_release(&cpu);
		fixture_release(&f);
	}
}

/* Operands of every layer are rounded, whatever its width: another gradient, but for that much the same. */
static void test_precisions(void)
{
	static const struct setting of = {"wide and narrow", "48-24-20-8-1", 17, 31, 4, 61, MODEL_MLP, 0, LOSS_BINARY, false, false,
	                                  false, 0, 0};
	static const struct {
		enum precision precision;
		double rounding;
	} kinds[] = {{PRECISION_TF32, 0x1p-10}, {PRECISION_BF16, 0x1p-7}};
	for (size_t k = 0; k < COUNT_OF(kinds); k++) {
		struct fixture f;
		struct trained_state exact, rounded, again;
		fixture_init(&f, &of);
		train_by(&f, "plain", 1, 0, &exact);
		f.precision = kinds[k].precision;
		train_by(&f, "plain", 1, 0, &rounded);
		train_by(&f, "plain", 1, 0, &again);
		const double off = relative_length(&rounded.moment1, &exact.moment1);
		CHECK(off > 0 && off < 8 * kinds[k].rounding);
		CHECK(same_bits(&rounded, &again));
		trained_release(&exact);
		trained_release(&rounded);
		trained_release(&again);
		fixture_release(&f);
	}
}

static void test_bytes_repeat(void)
{
	for (size_t t = 0; t < COUNT_OF(settings); t++) {
		struct fixture f;
		if (emulated_watched && t % 4 != 3)
			continue;
		fixture_init(&f, &settings[t]);
		emulated_blas_settings.room = 9001;
		tower_by("plain");
		check_bytes_repeat(&f, 1 % settings[t].groups);
		tower_by(NULL);
		emulated_blas_settings.room = enough_room;
		fixture_release(&f);
	}
}

/* A span that the backend draws, by graphs, and one of the same samples given, launch by launch, end in the same bytes. */
static void test_graphs_repeat_what_is_queued(void)
{
	static const struct setting of = {
		"tower", "24-16-8-1", 30, 40, 3, 12, MODEL_MLP, 0, LOSS_BINARY, false, true, false, 0.01, 0.2,
	};
	const struct sampler_options options = {.seed = 11, .ratio = 3};
	struct fixture f;
	struct sampler sampler;
	fixture_init(&f, &of);
	const struct backend *cuda = cuda_under_test(&f.error);
	CHECK_OK(sampler_init(&sampler, &f.known, &options, &f.error), &f.error);
	emulated_blas_settings.room = 700;
	tower_by("plain");
	struct backend_state *drawing = fixture_open(&f, cuda), *given_to = fixture_open(&f, cuda);
	tower_by(NULL);
	emulated_blas_settings.room = enough_room;
	const struct train_span span = {.begin = 0, .end = 5 * of.groups - 2, .sampler = &sampler, .rates = f.rates};
	check_drawn_as_given(&f, cuda, drawing, given_to, span);
	cuda->close(drawing);
	cuda->close(given_to);
	sampler_release(&sampler);
	fixture_release(&f);
}

/* 200 steps in spans of 50 (watched, ten), over and over the same batches: the two towers learn alike. */
static void test_loss_curves_follow_the_tiles(void)
{
	static const struct setting of[] = {
		{"tower", "24-16-8-1", 30, 40, 3, 12, MODEL_MLP, 0, LOSS_BINARY, false, false, false, 0, 0},
		{"neumf", "16-8-1", 30, 40, 2, 12, MODEL_NEUMF, 8, LOSS_SOFTMAX, false, false, false, 0.01, 0},
	};
	const uint64_t steps = emulated_watched ? 10 : 50;
	for (size_t t = 0; t < COUNT_OF(of); t++) {
		struct fixture f;
		fixture_init(&f, &of[t]);
		const struct backend *cuda = cuda_under_test(&f.error);
		tower_by("plain");
		struct backend_state *plain = fixture_open(&f, cuda);
		tower_by("fused");
		struct backend_state *fused = fixture_open(&f, cuda);
		tower_by(NULL);
		double first = 0, last = 0;
		for (size_t s = 0; s < (emulated_watched ? 1 : 4); s++) {
			struct train_result results[2];
			const struct train_span span = {.begin = 0, .end = steps * of[t].groups, .users = f.users,
			                                .items = f.items, .rates = f.rates};
			CHECK_OK(cuda->train(plain, &span, &results[0], &f.error), &f.error);
			CHECK_OK(cuda->train(fused, &span, &results[1], &f.error), &f.error);
			CHECK_CLOSE(results[0].loss_sum, results[1].loss_sum, 2e-3 * results[1].loss_sum);
			first = s == 0 ? results[0].loss_sum : first;
			last = results[0].loss_sum;
		}
		CHECK(emulated_watched || last < 0.95 * first);
		cuda->close(plain);
		cuda->close(fused);
		fixture_release(&f);
	}
}

/* ---- the choice ---- */

static bool opens_blas(struct fixture *f, const char *way)
{
	tower_by(way);
	struct backend_state *state = fixture_open(f, cuda_under_test(&f->error));
	tower_by(NULL);
	const bool opens = strstr(cuda_under_test(&f->error)->describe(state), ", tower by cuBLAS") != NULL;
	cuda_under_test(&f->error)->close(state);
	return opens;
}

/* 100 units of 100, and one: 10100 weights, 201 activations, which whole matrices move 11 times in training, 4 times in
 * scoring. */
static void test_bytes_are_counted(void)
{
	static const struct {
		struct plan plan;
		bool trains, prefers;
	} cases[] = {
		{{.tile = 16, .shares_tile = true, .shares_gradient = true, .weight_floats = 1}, true, false}, /* 3 * 631 = 1894 < 2211 */
		{{.tile = 8, .shares_tile = true, .shares_gradient = true, .weight_floats = 1}, true, true},
		{{.tile = 16, .shares_tile = true, .weight_floats = 1}, false, false},      /* 10100 / 16 = 631 < 804 */
		{{.tile = 8, .shares_tile = true, .weight_floats = 1}, false, true},
		{{.tile = 32, .shares_tile = true, .shares_gradient = true}, true, false},  /* 1.5 * 2 * 316 + 947 = 1894 */
		{{.tile = 16, .shares_tile = true, .shares_gradient = true}, true, true},
		{{.tile = 32, .shares_tile = true, .weight_floats = 1}, true, false},
		{{.tile = 64, .shares_tile = true}, true, false},                           /* 1.5 * 4 * 158 + 473 = 1420 */
		{{.tile = 32, .shares_tile = true}, true, true},                            /* 1.5 * 4 * 316 + 947 = 2841 */
		{{.tile = 32, .shares_tile = true}, false, false},                          /* 1.5 * 316 + 316 = 789 */
		{{.tile = 16, .shares_tile = true}, false, true},
		{{.tile = 64, .shares_tile = false}, true, true},
		{{.tile = 64, .shares_tile = false}, false, true},
	};
	const struct tower tower = {
		.width = 100, .layer_count = 2, .layers = {{.inputs = 100, .outputs = 100}, {.inputs = 100, .outputs = 1}},
	};
	for (size_t c = 0; c < COUNT_OF(cases); c++) {
		CHECK(cuda_prefers_plain(&tower, &cases[c].plan, cases[c].trains) == cases[c].prefers);
		if (cuda_prefers_plain(&tower, &cases[c].plan, cases[c].trains) != cases[c].prefers)
			printf("# case %zu\n", c);
	}
}

/* Layers that a block has room for stay in tiles; others go by cuBLAS where there is one; the variable decides before. */
static void test_the_choice_goes_by_shape(void)
{
	static const struct setting small = {
		"small", "128-64-32-16-8-4-1", 9, 9, 1, 9, MODEL_MLP, 0, LOSS_BINARY, false, false, false, 0, 0,
	};
	static const struct setting wide = {
		"wide", "8-700-300-1", 9, 9, 1, 9, MODEL_MLP, 0, LOSS_BINARY, false, false, false, 0, 0,
	};
	struct fixture f;
	fixture_init(&f, &small);
	CHECK(!opens_blas(&f, NULL));
	CHECK(!opens_blas(&f, ""));
	CHECK(opens_blas(&f, "plain"));
	fixture_release(&f);
	fixture_init(&f, &wide);
	CHECK(!opens_blas(&f, "fused"));
	if (!on_a_device()) {
		const size_t before = emulated_settings.shared_limit;
		CHECK(opens_blas(&f, NULL));
		emulated_blas_settings.missing = true;
		CHECK(!opens_blas(&f, NULL));
		emulated_blas_settings.missing = false;
		emulated_settings.shared_limit = (size_t)4 << 20;
		CHECK(!opens_blas(&f, NULL));
		emulated_settings.shared_limit = before;
	}
	fixture_release(&f);
}

static void check_refused(const struct fixture *f, const char *way, int code, const char *part)
{
	struct error error = {0};
	const struct backend_options options = fixture_options(f);
	tower_by(way);
	struct backend_state *state = cuda_under_test(&error)->open(&f->shape, &f->parameters, &options, &error);
	tower_by(NULL);
	CHECK(state == NULL);
	CHECK_EQUAL_U64(error.code, code);
	CHECK(strstr(error.message, part) != NULL);
}

static void test_what_cannot_be_had_is_told(void)
{
	struct fixture f;
	fixture_init(&f, &settings[2]);
	check_refused(&f, "both", CODE_USAGE, "RECPIPE_CUDA_TOWER: 'both' is unknown, expected fused or plain");
	if (!on_a_device()) {
		emulated_blas_settings.missing = true;
		check_refused(&f, "plain", CODE_UNAVAILABLE, "the plain tower needs cuBLAS, which is not here");
		emulated_blas_settings.missing = false;
	}
	fixture_release(&f);
}

/* At every amount of memory either all is well or the message says what did not fit. */
static void test_out_of_memory_is_told(void)
{
	struct fixture f;
	if (on_a_device())
		return;
	fixture_init(&f, &settings[2]);
	tower_by("plain");
	emulated_blas_settings.room = 2000;
	check_memory_is_told(&f, 500);
	emulated_blas_settings.room = enough_room;
	tower_by(NULL);
	fixture_release(&f);
}

/* A loss that is no number is told, not hidden. */
static void test_what_is_no_number_is_told(void)
{
	struct fixture f;
	struct trained_state plain;
	fixture_init(&f, &settings[0]);
	f.parameters.matrices[matrix_weight(1)].values[0] = NAN;
	train_by(&f, "plain", 1, 0, &plain);
	CHECK(plain.result.loss_sum != plain.result.loss_sum);
	trained_release(&plain);
	fixture_release(&f);
}

/* ---- products ---- */

/* What an emulated product leaves of `fill` in c, of a and b that lie with spare columns. */
static void product_by(struct device *device, const struct blas_product *shape, const float *numbers, float fill, float *c)
{
	struct error error = {0};
	struct blas *blas = blas_open(device, &error);
	struct blas_product p = *shape;
	const size_t a_size = (size_t)p.a_stride * (p.a_turned ? p.inner : p.rows), c_size = (size_t)p.c_stride * p.rows;
	for (size_t i = 0; i < c_size; i++)
		c[i] = fill;
	p.a = numbers;
	p.b = numbers + a_size;
	p.c = c;
	CHECK(blas != NULL);
	blas_multiply(device, blas, &p);
	CHECK_OK(device_finish(device, &error), &error);
	blas_close(blas);
}

static void check_product(struct device *device, const struct blas_product *p, const float *numbers)
{
	enum { MOST = 1024 };
	static float c[MOST];
	const float *const a = numbers, *const b = numbers + (size_t)p->a_stride * (p->a_turned ? p->inner : p->rows);
	product_by(device, p, numbers, 0.5f, c);
	for (size_t r = 0; r < p->rows; r++)
		for (size_t col = 0; col < p->c_stride; col++) {
			float sum = p->adds || col >= p->columns ? 0.5f : 0.0f;
			for (size_t k = 0; k < p->inner && col < p->columns; k++)
				sum += a[p->a_turned ? k * p->a_stride + r : r * p->a_stride + k] *
				       b[p->b_turned ? col * p->b_stride + k : k * p->b_stride + col];
			CHECK(c[r * p->c_stride + col] == sum);
		}
}

/* Every way that matrices can lie; operands of bf16 are rounded to the nearest, ties to even. */
static void test_emulated_products(void)
{
	static float numbers[4096];
	struct device device;
	struct error error = {0};
	float c[1];
	if (on_a_device() || emulated_watched) /* of the host's memory */
		return;
	CHECK_OK(device_open(&device, 0, &error), &error);
	for (size_t i = 0; i < COUNT_OF(numbers); i++)
		numbers[i] = (float)((int)(i * 37 % 101) - 50) / 16.0f;
	for (unsigned way = 0; way < 8; way++) {
		struct blas_product p = {.rows = 7, .columns = 19, .inner = 33, .c_stride = 21, .a_turned = way & 1,
		                         .b_turned = way & 2, .adds = way & 4};
		p.a_stride = (p.a_turned ? p.rows : p.inner) + 2;
		p.b_stride = (p.b_turned ? p.inner : p.columns) + 1;
		check_product(&device, &p, numbers);
	}
	const struct blas_product one = {.rows = 1, .columns = 1, .inner = 1, .a_stride = 1, .b_stride = 1, .c_stride = 1,
	                                 .precision = PRECISION_BF16};
	static const float rounds[][2] = {
		{1.00390625f, 1.0f}, {1.01171875f, 1.015625f}, {1.00390637f, 1.0078125f}, {-3.0f, -3.0f}, {65280.0f * 4, 65280.0f * 4},
	};
	for (size_t i = 0; i < COUNT_OF(rounds); i++) {
		const float pair[2] = {rounds[i][0], 1.0f};
		product_by(&device, &one, pair, 0, c);
		CHECK(c[0] == rounds[i][1]);
	}
	device_close(&device);
}

int main(void)
{
	if (!blas_is_here("test_cuda_plain"))
		return cuda_done();
	RUN(test_gradients_match_the_cpu_and_the_tiles);
	RUN(test_slices_make_a_batch);
	RUN(test_precisions);
	RUN(test_bytes_repeat);
	RUN(test_graphs_repeat_what_is_queued);
	RUN(test_loss_curves_follow_the_tiles);
	RUN(test_bytes_are_counted);
	RUN(test_the_choice_goes_by_shape);
	RUN(test_what_cannot_be_had_is_told);
	RUN(test_out_of_memory_is_told);
	RUN(test_what_is_no_number_is_told);
	RUN(test_emulated_products);
	return cuda_done();
}
