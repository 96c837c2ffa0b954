/* The course of training with a backend that trains nothing: what is trained, in which order, at which rate;
 * which epoch is kept; what happens when it diverges or dies. */
#include "trainer_fixture.h"

/* ---- groups, batches, rates ---- */

static void test_every_group_once_an_epoch(void)
{
	struct world w;
	world_init(&w);
	CHECK_OK(world_run(&w), &w.error);
	CHECK_EQUAL_U64(fake.groups, 4 * WORLD_POSITIVES);
	CHECK_EQUAL_U64(fake.batches, 4 * ((WORLD_POSITIVES + 6) / 7)); /* 21 samples: 7 groups of 3 */
	CHECK_EQUAL_U64(fake.spans, 4);
	CHECK(!w.model.is_checkpoint);
	CHECK_EQUAL_TEXT(world_text(&w, "training"), "{\"epochs\":4,\"best_epoch\":0,\"attempt\":0}");
	CHECK_EQUAL_U64(strlen(world_text(&w, "data")), 32);
	world_release(&w);
}

static void test_a_batch_holds_a_group_at_least(void)
{
	struct world w;
	world_init(&w);
	w.options.batch = 1;
	w.options.epochs = 1;
	CHECK_OK(world_run(&w), &w.error);
	CHECK_EQUAL_U64(fake.batches, WORLD_POSITIVES);
	world_model(&w);
	w.options.batch = 1000000;
	fake.batches = 0;
	CHECK_OK(world_run(&w), &w.error);
	CHECK_EQUAL_U64(fake.batches, 1);
	world_release(&w);
}

static void run_with_rates(enum rate_schedule schedule, double warmup)
{
	struct world w;
	world_init(&w);
	w.options.schedule = (int)schedule;
	w.options.warmup_epochs = warmup;
	CHECK_OK(world_run(&w), &w.error);
	world_release(&w);
}

static void test_schedules(void)
{
	enum { BATCHES = (WORLD_POSITIVES + 6) / 7, TOTAL = 4 * BATCHES };
	run_with_rates(RATE_CONSTANT, 0);
	for (int b = 0; b < TOTAL; b++)
		CHECK_CLOSE(fake.rates[b], 0.5, 0);
	run_with_rates(RATE_LINEAR, 0);
	for (int b = 0; b < TOTAL; b++)
		CHECK_CLOSE(fake.rates[b], 0.5 * (1 - (double)b / TOTAL), 1e-12);
	run_with_rates(RATE_COSINE, 0);
	for (int b = 0; b < TOTAL; b++)
		CHECK_CLOSE(fake.rates[b], 0.25 * (1 + cos(acos(-1.0) * b / TOTAL)), 1e-9);
	run_with_rates(RATE_LINEAR, 1);
	for (int b = 0; b < BATCHES; b++)
		CHECK_CLOSE(fake.rates[b], 0.5 * (b + 1) / (BATCHES + 1), 1e-12);
	for (int b = BATCHES; b < TOTAL; b++)
		CHECK_CLOSE(fake.rates[b], 0.5 * (1 - (double)(b - BATCHES) / (TOTAL - BATCHES)), 1e-12);
	run_with_rates(RATE_COSINE, 100); /* all of it is warm-up */
	CHECK(fake.rates[TOTAL - 1] < 0.5 * 4 / 100 + 1e-9);
}

/* ---- validation ---- */

static const double rising_and_falling[] = {0.3, 0.9, 0.7, 0.5, 0.4, 0.2};

static void run_validated(struct world *w, uint32_t epochs, uint32_t patience)
{
	w->options.epochs = epochs;
	w->options.patience = patience;
	w->inputs.valid = &w->valid;
	fake.quality = rising_and_falling;
	fake.truth = &w->valid;
	CHECK_OK(world_run(w), &w->error);
}

static void test_the_best_epoch_is_kept(void)
{
	struct world two, six;
	world_init(&two);
	run_validated(&two, 2, 0);
	world_init(&six);
	run_validated(&six, 6, 0);
	CHECK_EQUAL_U64(fake.groups, 6 * WORLD_POSITIVES);
	CHECK_EQUAL_TEXT(world_text(&six, "training"), "{\"epochs\":6,\"best_epoch\":2,\"attempt\":0}");
	CHECK_EQUAL_TEXT(world_text(&six, "metrics"), world_text(&two, "metrics"));
	CHECK(memcmp(two.model.parameters.block, six.model.parameters.block,
	             two.model.parameters.size * sizeof(float)) == 0);
	world_release(&two);
	world_release(&six);
}

static void test_patience(void)
{
	struct world w;
	world_init(&w);
	run_validated(&w, 6, 2);
	CHECK_EQUAL_U64(fake.groups, 4 * WORLD_POSITIVES);
	CHECK_EQUAL_TEXT(world_text(&w, "training"), "{\"epochs\":4,\"best_epoch\":2,\"attempt\":0}");
	world_release(&w);
}

/* With the truth above every candidate both measures are 1; below every one, 0. */
static void test_measures_of_the_validation(void)
{
	static const double best[] = {2.0}, worst[] = {-1.0};
	struct world w;
	world_init(&w);
	w.options.epochs = 1;
	w.inputs.valid = fake.truth = &w.valid;
	fake.quality = best;
	CHECK_OK(world_run(&w), &w.error);
	CHECK_EQUAL_TEXT(world_text(&w, "metrics"), "{\"valid_HR@10\":1.000000,\"valid_NDCG@10\":1.000000}");
	world_model(&w);
	fake.quality = worst;
	CHECK_OK(world_run(&w), &w.error);
	CHECK_EQUAL_TEXT(world_text(&w, "metrics"), "{\"valid_HR@10\":0.000000,\"valid_NDCG@10\":0.000000}");
	world_release(&w);
}

/* Everything but ten items is known: candidates are among those ten, and the truth is always found. */
static void test_known_items_are_no_candidates(void)
{
	static const double middling[] = {0.0};
	struct error error = {0};
	struct world w;
	struct interactions known;
	uint32_t users[WORLD_USERS * WORLD_ITEMS], items[WORLD_USERS * WORLD_ITEMS];
	size_t count = 0;
	world_init(&w);
	for (uint32_t u = 0; u < WORLD_USERS; u++)
		for (uint32_t i = 0; i < WORLD_ITEMS - 10; i++, count++) {
			users[count] = u;
			items[count] = (u + 11 + i) % WORLD_ITEMS;
		}
	CHECK_OK(interactions_from_pairs(&known, WORLD_USERS, WORLD_ITEMS, users, items, count, &error), &error);
	w.options.epochs = 1;
	w.inputs.valid = fake.truth = &w.valid;
	w.inputs.known = &known;
	fake.quality = middling;
	CHECK_OK(world_run(&w), &w.error);
	CHECK(strstr(world_text(&w, "metrics"), "\"valid_HR@10\":1.0"));
	world_release(&w);
	interactions_release(&known);
}

static void test_an_empty_validation_is_refused(void)
{
	struct world w;
	world_init(&w);
	interactions_release(&w.valid);
	world_pairs(&w.valid, 5, 0);
	w.inputs.valid = &w.valid;
	CHECK(world_run(&w) < 0 && w.error.code == CODE_DATA && strstr(w.error.message, "validation"));
	world_release(&w);
}

/* ---- averages ---- */

static void run_averaged(struct world *w, uint32_t epochs, double average)
{
	world_init(w);
	w->options.epochs = epochs;
	w->options.average = average;
	CHECK_OK(world_run(w), &w->error);
}

/* Of three epochs' ends with 0.5: weights 1, 2, 4, over 7. */
static void test_the_average_of_epochs(void)
{
	struct world ends[3], averaged;
	for (uint32_t e = 0; e < 3; e++)
		run_averaged(&ends[e], e + 1, 0);
	run_averaged(&averaged, 3, 0.5);
	for (size_t i = 0; i < averaged.model.parameters.size; i++) {
		double expected = 0;
		for (int e = 0; e < 3; e++)
			expected += (1 << e) / 7.0 * (double)ends[e].model.parameters.block[i];
		CHECK_CLOSE((double)averaged.model.parameters.block[i], expected, 1e-6 * (1 + fabs(expected)));
	}
	world_release(&averaged);
	run_averaged(&averaged, 1, 0.5);
	CHECK(memcmp(averaged.model.parameters.block, ends[0].model.parameters.block,
	             averaged.model.parameters.size * sizeof(float)) == 0);
	world_release(&averaged);
	for (int e = 0; e < 3; e++)
		world_release(&ends[e]);
}

/* The best epoch's average is kept, and judging it does not disturb the training. */
static void test_the_best_average_is_kept(void)
{
	struct world two, six;
	run_averaged(&two, 2, 0.5);
	world_init(&six);
	six.options.average = 0.5;
	run_validated(&six, 6, 0);
	CHECK(strstr(world_text(&six, "training"), "\"best_epoch\":2"));
	CHECK(memcmp(two.model.parameters.block, six.model.parameters.block,
	             two.model.parameters.size * sizeof(float)) == 0);
	world_release(&two);
	world_release(&six);
}

/* ---- divergence ---- */

static void diverge(uint64_t nan_loss_at, uint64_t nan_weight_at, uint64_t checkpoint_batches)
{
	struct error error = {0};
	struct world w;
	struct model_file checkpoint;
	world_init(&w);
	w.inputs.checkpoint_path = "checkpoint";
	w.options.checkpoint_batches = checkpoint_batches;
	fake.nan_loss_at = nan_loss_at;
	fake.nan_weight_at = nan_weight_at;
	CHECK(world_run(&w) < 0 && w.error.code == CODE_DATA && strstr(w.error.message, "training diverged"));
	CHECK(strstr(w.error.message, "epoch 2") && strstr(w.error.message, "the last checkpoint is kept"));
	CHECK_OK(model_read(&checkpoint, "checkpoint", &error), &error);
	CHECK(checkpoint.is_checkpoint && parameters_finite(&checkpoint.parameters));
	model_file_release(&checkpoint);
	world_release(&w);
}

static void test_divergence_keeps_the_last_good_checkpoint(void)
{
	diverge(40, 0, 0);
	diverge(0, 40, 0);
	diverge(40, 0, 3);
	diverge(0, 40, 3);
}

static void test_errors_of_the_backend_are_passed_on(void)
{
	struct world w;
	world_init(&w);
	fake.fail_after = 50;
	CHECK(world_run(&w) < 0 && w.error.code == CODE_SYSTEM);
	CHECK_EQUAL_TEXT(w.error.message, "the fake failed");
	world_release(&w);
}

static void test_unknown_devices(void)
{
	static const struct { const char *device; int code; } rows[] = {
		{"tpu", CODE_USAGE}, {"", CODE_USAGE}, {"cuda:", CODE_USAGE}, {"cuda:x", CODE_USAGE},
		{"cuda:-1", CODE_USAGE}, {"cudas", CODE_USAGE}, {"cuda", CODE_UNAVAILABLE}, {"cuda:0", CODE_UNAVAILABLE},
	};
	setenv("RECPIPE_CUDA", "/nonexistent/recpipe_cuda.so", 1);
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct error error = {0};
		CHECK(backend_find(rows[i].device, &error) == NULL);
		CHECK_EQUAL_U64(error.code, rows[i].code);
	}
	struct error error = {0};
	CHECK(backend_find("cpu", &error) == &backend_cpu);
	unsetenv("RECPIPE_CUDA");
}

static struct backend_state *refuse(const struct model_shape *shape, const struct parameters *parameters,
                                    const struct backend_options *options, struct error *error)
{
	(void)shape;
	(void)parameters;
	(void)options;
	error_set(error, CODE_SYSTEM, "fake:0 is out of memory");
	return NULL;
}

/* What the device that auto took has no room for goes to the CPU; what the CPU refuses then tells both. One that was
 * named is the only one to be asked. */
static void test_auto_goes_to_the_cpu_when_the_device_refuses(void)
{
	struct backend refusing = fake_backend;
	struct backend_options options = {.threads = 1, .isa = "portable", .batch_groups = 7, .ratio = 2};
	struct world w;
	world_init(&w);
	refusing.open = refuse;
	struct backend_choice choice = {.backend = &refusing, .automatic = true};
	struct backend_state *state = backend_open(&choice, &w.model.shape, &w.model.parameters, &options, &w.error);
	CHECK(state && choice.backend == &backend_cpu && w.error.code == CODE_OK);
	CHECK_EQUAL_TEXT(choice.why.message, "fake:0 is out of memory");
	backend_cpu.close(state);
	options.precision = PRECISION_TF32;
	choice = (struct backend_choice){.backend = &refusing, .automatic = true};
	CHECK(!backend_open(&choice, &w.model.shape, &w.model.parameters, &options, &w.error));
	CHECK(w.error.code == CODE_USAGE && strstr(w.error.message, "fake:0 is out of memory; on the CPU: products of tf32"));
	w.error = (struct error){0};
	choice = (struct backend_choice){.backend = &refusing};
	CHECK(!backend_open(&choice, &w.model.shape, &w.model.parameters, &options, &w.error));
	CHECK_EQUAL_TEXT(w.error.message, "fake:0 is out of memory");
	world_release(&w);
}

/* ---- dead towers ---- */

static void die(struct world *w, uint32_t attempts, bool by_ties)
{
	world_init(w);
	fake.dead_attempts = attempts;
	fake.dead_by_ties = by_ties;
	if (by_ties)
		w->inputs.valid = &w->valid;
}

static void test_a_dead_tower_begins_anew(void)
{
	for (int by_ties = 0; by_ties < 2; by_ties++) {
		struct world dead, alive;
		die(&dead, 2, by_ties != 0);
		CHECK_OK(world_run(&dead), &dead.error);
		CHECK_EQUAL_U64(fake.groups, (2 + 4) * WORLD_POSITIVES);
		CHECK(strstr(world_text(&dead, "training"), "\"attempt\":2"));
		world_init(&alive);
		model_init_values(&alive.model.shape, &alive.model.parameters, 5, 2, 2, 0, 0, false);
		alive.inputs.valid = dead.inputs.valid ? &alive.valid : NULL;
		CHECK_OK(world_run(&alive), &alive.error);
		CHECK(memcmp(alive.model.parameters.block, dead.model.parameters.block,
		             alive.model.parameters.size * sizeof(float)) == 0);
		world_release(&dead);
		world_release(&alive);
	}
}

static void test_a_tower_that_dies_again_and_again_is_told(void)
{
	struct world w;
	die(&w, FAKE_ATTEMPTS_MAX, false);
	CHECK(world_run(&w) < 0 && w.error.code == CODE_NO && strstr(w.error.message, "the tower is dead"));
	CHECK_EQUAL_U64(fake.groups, 4 * WORLD_POSITIVES); /* one epoch of each attempt: the first and 3 restarts */
	world_release(&w);
}

static void test_a_dead_warm_start_is_told(void)
{
	struct world w;
	die(&w, 1, false);
	w.inputs.warm = true;
	CHECK(world_run(&w) < 0 && w.error.code == CODE_NO && strstr(w.error.message, "warm start"));
	world_release(&w);
}

/* ---- the log ---- */

static void test_log(void)
{
	struct error error = {0};
	struct output log;
	struct world w;
	die(&w, 1, false);
	CHECK_OK(output_open(&log, "log", &error), &error);
	w.inputs.log = &log;
	w.options.epochs = 2;
	CHECK_OK(world_run(&w), &w.error);
	CHECK_OK(output_commit(&log, &error), &error);
	output_release(&log);
	CHECK(holds("log", "epoch\tloss\tvalid_HR@10\tvalid_NDCG@10\trate\tsamples\tattempt\n"
	                   "1\t0.250000\t\t\t0.5\t720\t1\n2\t0.250000\t\t\t0.5\t720\t1\n"));
	world_release(&w);
}

int main(void)
{
	RUN(test_every_group_once_an_epoch);
	RUN(test_a_batch_holds_a_group_at_least);
	RUN(test_schedules);
	RUN(test_the_best_epoch_is_kept);
	RUN(test_patience);
	RUN(test_measures_of_the_validation);
	RUN(test_known_items_are_no_candidates);
	RUN(test_an_empty_validation_is_refused);
	RUN(test_the_average_of_epochs);
	RUN(test_the_best_average_is_kept);
	RUN_IN_FOLDER(test_divergence_keeps_the_last_good_checkpoint);
	RUN(test_errors_of_the_backend_are_passed_on);
	RUN(test_unknown_devices);
	RUN(test_auto_goes_to_the_cpu_when_the_device_refuses);
	RUN(test_a_dead_tower_begins_anew);
	RUN(test_a_tower_that_dies_again_and_again_is_told);
	RUN(test_a_dead_warm_start_is_told);
	RUN_IN_FOLDER(test_log);
	return check_done();
}
