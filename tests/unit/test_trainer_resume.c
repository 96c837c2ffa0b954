/* Training from a stream and from a checkpoint: the same bytes as at one go from a file, wherever it was cut
 * off, and a clear answer when the stream or the checkpoint is not what it should be. */
#include "trainer_fixture.h"

/* ---- streams ---- */

static void test_a_stream_gives_the_same(void)
{
	struct world file, stream;
	world_init(&file);
	file.inputs.valid = &file.valid;
	CHECK_OK(world_run(&file), &file.error);
	world_init(&stream);
	stream.inputs.valid = &stream.valid;
	world_write_samples(&stream, "samples", 0);
	CHECK_OK(world_run_stream(&stream, "samples"), &stream.error);
	CHECK(same_models(&file.model, &stream.model));
	world_release(&file);
	world_release(&stream);
}

/* The first attempt eats the stream, the second draws the same groups itself. */
static void test_a_tower_out_of_a_stream_begins_anew(void)
{
	struct world file, stream;
	world_init(&file);
	fake.dead_attempts = 1;
	CHECK_OK(world_run(&file), &file.error);
	world_init(&stream);
	fake.dead_attempts = 1;
	world_write_samples(&stream, "samples", 0);
	CHECK_OK(world_run_stream(&stream, "samples"), &stream.error);
	CHECK(same_models(&file.model, &stream.model));
	CHECK(strstr(world_text(&stream, "training"), "\"attempt\":1"));
	world_release(&file);
	world_release(&stream);
}

static void refuse_stream(int64_t drop, const char *text)
{
	struct world w;
	world_init(&w);
	world_write_samples(&w, "samples", drop);
	CHECK(world_run_stream(&w, "samples") < 0 && w.error.code == CODE_DATA);
	if (!strstr(w.error.message, text))
		printf("# %s\n", w.error.message);
	CHECK(strstr(w.error.message, text));
	world_release(&w);
}

static void test_streams_that_hold_more_or_less_are_refused(void)
{
	refuse_stream(1, "middle of an epoch");
	refuse_stream(WORLD_POSITIVES, "middle of an epoch");
	refuse_stream(4 * WORLD_POSITIVES, "ends after 0 samples");
	refuse_stream(-1, "expected 960");
}

static void test_a_stream_that_is_cut_is_refused(void)
{
	struct world w;
	char bytes[1 << 16];
	world_init(&w);
	world_write_samples(&w, "samples", 0);
	FILE *file = fopen("samples", "rb");
	size_t size = file ? fread(bytes, 1, sizeof bytes, file) : 0;
	CHECK(size > 1000 && size < sizeof bytes);
	if (file)
		fclose(file);
	put("cut", bytes, size - 1);
	CHECK(world_run_stream(&w, "cut") < 0 && w.error.code == CODE_DATA);
	world_release(&w);
}

/* Training stops early, and the producer's broken end is found all the same. */
static void test_a_broken_end_is_found_after_an_early_stop(void)
{
	static const double falling[] = {0.9, 0.5, 0.4, 0.3};
	struct world w;
	world_init(&w);
	world_write_samples(&w, "samples", 1);
	w.inputs.valid = fake.truth = &w.valid;
	fake.quality = falling;
	w.options.patience = 1;
	CHECK(world_run_stream(&w, "samples") < 0 && w.error.code == CODE_DATA);
	CHECK(strstr(w.error.message, "holds 959 samples, expected 960"));
	CHECK_EQUAL_U64(fake.groups, 2 * WORLD_POSITIVES);
	world_release(&w);
}

/* ---- checkpoints ---- */

struct plan {
	bool stream;
	uint32_t dead_attempts;
	uint64_t checkpoint_batches;
	double average;
};

static void prepare(struct world *w, const struct plan *plan)
{
	static const double quality[] = {0.3, 0.9, 0.7, 0.8};
	world_init(w);
	w->options.checkpoint_batches = plan->checkpoint_batches;
	w->options.average = plan->average;
	w->inputs.checkpoint_path = "checkpoint";
	w->inputs.valid = fake.truth = &w->valid;
	fake.quality = quality;
	fake.dead_attempts = plan->dead_attempts;
}

static int run_plan(struct world *w, const struct plan *plan)
{
	return plan->stream ? world_run_stream(w, "samples") : world_run(w);
}

static void load_checkpoint(struct world *w)
{
	if (access("checkpoint", F_OK) != 0)
		return;
	model_file_release(&w->model);
	CHECK_OK(model_read(&w->model, "checkpoint", &w->error), &w->error);
	CHECK(w->model.is_checkpoint);
}

/* A run that is cut off after `after` batches, and the one that goes on from what it left. */
static void cut_and_resume(const struct plan *plan, uint64_t after, const struct model_file *expected)
{
	struct world cut, resumed;
	(void)remove("checkpoint");
	prepare(&cut, plan);
	fake.fail_after = after;
	CHECK(run_plan(&cut, plan) < 0 && cut.error.code == CODE_SYSTEM);
	world_release(&cut);
	prepare(&resumed, plan);
	load_checkpoint(&resumed);
	CHECK_OK(run_plan(&resumed, plan), &resumed.error);
	if (!same_models(expected, &resumed.model))
		printf("# cut off after %" PRIu64 " batches\n", after);
	CHECK(same_models(expected, &resumed.model));
	world_release(&resumed);
}

static void resume_everywhere(struct plan plan)
{
	struct world whole;
	prepare(&whole, &plan);
	world_write_samples(&whole, "samples", 0);
	CHECK_OK(run_plan(&whole, &plan), &whole.error);
	const uint64_t batches = fake.batches;
	for (uint64_t after = 1; after < batches; after += 23)
		cut_and_resume(&plan, after, &whole.model);
	world_release(&whole);
}

static void test_resumes_from_a_file(void)
{
	resume_everywhere((struct plan){false, 0, 7, 0.7});
}

static void test_resumes_from_a_stream(void)
{
	resume_everywhere((struct plan){true, 0, 11, 0});
}

static void test_resumes_between_epochs(void)
{
	resume_everywhere((struct plan){false, 0, 0, 0});
}

static void test_resumes_after_a_restart(void)
{
	resume_everywhere((struct plan){false, 1, 13, 0.7});
	resume_everywhere((struct plan){true, 1, 13, 0.7});
}

/* How often checkpoints are written changes no byte, nor does a checkpoint out of a finished run. */
static void test_checkpoints_change_nothing(void)
{
	struct plan plan = {false, 0, 1, 0.7};
	struct world often, never;
	prepare(&often, &plan);
	CHECK_OK(world_run(&often), &often.error);
	CHECK(fake.longest_span == 7 && fake.spans == fake.batches);
	plan.checkpoint_batches = 0;
	prepare(&never, &plan);
	never.inputs.checkpoint_path = NULL;
	CHECK_OK(world_run(&never), &never.error);
	CHECK(same_models(&often.model, &never.model));
	world_release(&never);
	prepare(&never, &plan);
	load_checkpoint(&never);
	CHECK_OK(world_run(&never), &never.error);
	CHECK_EQUAL_U64(fake.batches, 0);
	CHECK(same_models(&often.model, &never.model));
	world_release(&often);
	world_release(&never);
}

/* ---- checkpoints that do not fit ---- */

/* A checkpoint in the middle of epoch 2, and a run that goes on from it after `change`. */
static void resume_changed(void (*change)(struct world *w), const char *text)
{
	const struct plan plan = {false, 0, 3, 0.7};
	struct world w;
	(void)remove("checkpoint");
	prepare(&w, &plan);
	fake.fail_after = 40;
	CHECK(world_run(&w) < 0);
	world_release(&w);
	prepare(&w, &plan);
	load_checkpoint(&w);
	change(&w);
	CHECK(world_run(&w) < 0 && w.error.code == CODE_DATA);
	if (!strstr(w.error.message, text))
		printf("# %s\n", w.error.message);
	CHECK(strstr(w.error.message, text) && strstr(w.error.message, "checkpoint"));
	world_release(&w);
}

static void other_data(struct world *w)
{
	interactions_release(&w->train);
	world_pairs(&w->train, 1, WORLD_EACH);
}

static void fewer_epochs(struct world *w)
{
	w->options.epochs = 1;
	json_object_set_new(w->model.metadata, "training",
	                    json_string("{\"epoch\":2,\"group\":0,\"step\":1,\"attempt\":0,\"samples\":0,\"missing\":0,"
	                                "\"best_epoch\":1,\"stale\":0,\"loss_sum\":0,\"best_hr\":0,\"best_ndcg\":0,"
	                                "\"log\":[]}"));
}

static void no_position(struct world *w)
{
	json_object_del(w->model.metadata, "training");
}

static void broken_position(struct world *w)
{
	json_object_set_new(w->model.metadata, "training", json_string("{\"epoch\":1"));
}

static void position_without_step(struct world *w)
{
	json_t *position = json_loads(world_text(w, "training"), 0, NULL);
	json_object_del(position, "step");
	char *text = json_dumps(position, 0);
	json_object_set_new(w->model.metadata, "training", json_string(text));
	free(text);
	json_decref(position);
}

static void log_of_numbers(struct world *w)
{
	json_t *position = json_loads(world_text(w, "training"), 0, NULL);
	json_object_set_new(position, "log", json_pack("[i]", 3));
	char *text = json_dumps(position, 0);
	json_object_set_new(w->model.metadata, "training", json_string(text));
	free(text);
	json_decref(position);
}

static void no_average(struct world *w)
{
	w->model.has_average = false;
}

static void no_best(struct world *w)
{
	w->model.has_best = false;
}

static void test_checkpoints_that_do_not_fit_are_refused(void)
{
	resume_changed(other_data, "other interactions");
	resume_changed(fewer_epochs, "position");
	resume_changed(no_position, "position");
	resume_changed(broken_position, "position");
	resume_changed(position_without_step, "position");
	resume_changed(log_of_numbers, "position");
	resume_changed(no_average, "position");
	resume_changed(no_best, "position");
}

/* ---- stillborn towers ---- */

/* With groups of 1,025 samples the probe comes after 511 of them, before the first of 600 ends. */
static void test_a_stillborn_tower_is_found_early(void)
{
	enum { USERS = 60, ITEMS = 2000, POSITIVES = 600, PROBE = (1 << 19) / 1025 };
	struct error error = {0};
	struct world w;
	uint32_t users[POSITIVES], items[POSITIVES];
	world_init(&w);
	interactions_release(&w.train);
	for (uint32_t i = 0; i < POSITIVES; i++) {
		users[i] = i % USERS;
		items[i] = i * 3;
	}
	CHECK_OK(interactions_from_pairs(&w.train, USERS, ITEMS, users, items, POSITIVES, &error), &error);
	parameters_release(&w.model.parameters);
	w.model.shape.users = USERS;
	w.model.shape.items = ITEMS;
	CHECK_OK(parameters_init(&w.model.parameters, &w.model.shape, &error), &error);
	model_init_values(&w.model.shape, &w.model.parameters, 5, 0, 1024, 0, 0, false);
	w.options.ratio = 1024;
	w.options.batch = 1025;
	w.options.epochs = 1;
	fake.dead_attempts = 1;
	CHECK_OK(world_run(&w), &w.error);
	CHECK_EQUAL_U64(fake.groups, PROBE + POSITIVES);
	CHECK_EQUAL_U64(fake.longest_span, PROBE);
	world_release(&w);
}

int main(void)
{
	RUN_IN_FOLDER(test_a_stream_gives_the_same);
	RUN_IN_FOLDER(test_a_tower_out_of_a_stream_begins_anew);
	RUN_IN_FOLDER(test_streams_that_hold_more_or_less_are_refused);
	RUN_IN_FOLDER(test_a_stream_that_is_cut_is_refused);
	RUN_IN_FOLDER(test_a_broken_end_is_found_after_an_early_stop);
	RUN_IN_FOLDER(test_resumes_from_a_file);
	RUN_IN_FOLDER(test_resumes_from_a_stream);
	RUN_IN_FOLDER(test_resumes_between_epochs);
	RUN_IN_FOLDER(test_resumes_after_a_restart);
	RUN_IN_FOLDER(test_checkpoints_change_nothing);
	RUN_IN_FOLDER(test_checkpoints_that_do_not_fit_are_refused);
	RUN_IN_FOLDER(test_a_stillborn_tower_is_found_early);
	return check_done();
}
