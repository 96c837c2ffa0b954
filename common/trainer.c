/* The course of training: see trainer.h. */
#include "trainer.h"

#include <inttypes.h>
#include <math.h>

#include "maths.h"
#include "mem.h"
#include "progress.h"
#include "trainer_internal.h"

enum { SPAN_SAMPLES = 1 << 19 };

static const char log_header[] = "epoch\tloss\tvalid_HR@10\tvalid_NDCG@10\trate\tsamples\tattempt";

/* ---- setting up ---- */

static void cut_spans(struct trainer *trainer)
{
	const struct trainer_options *options = trainer->options;
	const uint64_t group = 1 + (uint64_t)options->ratio;
	uint64_t batches;
	trainer->batch_groups = options->batch / group ? options->batch / group : 1;
	batches = SPAN_SAMPLES / (trainer->batch_groups * group);
	trainer->probe_group = trainer->batch_groups * (batches ? batches : 1);
	if (options->checkpoint_batches && options->checkpoint_batches < batches)
		batches = options->checkpoint_batches;
	trainer->span_groups = trainer->batch_groups * (batches ? batches : 1);
}

/* Sampled softmax: an item that is drawn more often has its logit lowered by the log of how much more. */
static int make_offsets(struct trainer *trainer, struct error *error)
{
	const struct interactions *train = trainer->inputs->train;
	const double alpha = trainer->options->alpha;
	if (trainer->options->loss != LOSS_SOFTMAX || alpha == 0)
		return 0;
	if (!train)
		return error_set(error, CODE_USAGE, "softmax with --alpha needs the interactions, not samples of them: the "
		                 "correction goes by each item's popularity");
	trainer->item_offsets = mem_alloc_zero(train->items, sizeof *trainer->item_offsets, error);
	for (uint32_t i = 0; trainer->item_offsets && i < train->items; i++)
		if (train->popularity[i] > 0)
			trainer->item_offsets[i] = (float)(alpha * maths_log(train->popularity[i]));
	return trainer->item_offsets ? 0 : -1;
}

/* Sets of parameters beside the current ones: moments for checkpoints, the average of epochs, the best epoch
 * for validation. */
static int make_sets(struct trainer *trainer, struct error *error)
{
	struct model_file *model = trainer->model;
	const bool wanted[] = {trainer->inputs->checkpoint_path != NULL, trainer->inputs->checkpoint_path != NULL,
	                       trainer->options->average > 0, trainer->inputs->valid != NULL};
	struct parameters *sets[] = {&model->moment1, &model->moment2, &model->average, &model->best};
	for (size_t s = 0; s < COUNT_OF(sets); s++)
		if (wanted[s] && !sets[s]->block && parameters_init(sets[s], &model->shape, error) < 0)
			return -1;
	return 0;
}

static int trainer_init(struct trainer *trainer, struct error *error)
{
	if (!trainer->model->metadata)
		trainer->model->metadata = json_object();
	trainer->log_rows = json_array();
	trainer->validates = trainer->inputs->valid != NULL;
	if (trainer_choose_backend(trainer, error) < 0)
		return -1;
	cut_spans(trainer);
	trainer->rates = mem_alloc(trainer->span_groups / trainer->batch_groups, sizeof *trainer->rates, error);
	if (!trainer->rates || feed_init(trainer, error) < 0 || make_offsets(trainer, error) < 0 ||
	    trainer_open_backend(trainer, error) < 0 || make_sets(trainer, error) < 0)
		return -1;
	trainer->checkpoint_time = clock_seconds();
	if (trainer->model->is_checkpoint && checkpoint_restore(trainer, error) < 0)
		return -1;
	trainer->checkpoint_step = trainer->at.step;
	return feed_skip(trainer, error);
}

static void trainer_release(struct trainer *trainer)
{
	if (trainer->backend)
		trainer->backend->close(trainer->state);
	validation_release(&trainer->validation);
	feed_release(&trainer->feed);
	json_decref(trainer->log_rows);
	mem_free(trainer->rates);
	mem_free(trainer->item_offsets);
}

/* ---- one epoch ---- */

int trainer_diverged(const struct trainer *trainer, const char *what, struct error *error)
{
	return error_set(error, CODE_DATA, "training diverged: %s is not finite in epoch %u; try a smaller --lr%s", what,
	                 trainer->at.epoch + 1, trainer->inputs->checkpoint_path ? " (the last checkpoint is kept)" : "");
}

static double rate_at(const struct trainer *trainer, uint64_t step)
{
	const struct trainer_options *options = trainer->options;
	const uint64_t batches = (trainer->feed.positives + trainer->batch_groups - 1) / trainer->batch_groups;
	const double total = (double)batches * options->epochs, warmup = options->warmup_epochs * (double)batches;
	const double now = (double)step;
	if (now < warmup)
		return options->rate * (now + 1) / (warmup + 1);
	const double part = total > warmup ? (now - warmup) / (total - warmup) : 0.0;
	if (options->schedule == RATE_LINEAR)
		return options->rate * (1 - part);
	if (options->schedule == RATE_COSINE)
		return options->rate * 0.5 * (1 + maths_cos_pi(part));
	return options->rate;
}

static int train_span(struct trainer *trainer, struct error *error)
{
	struct position *at = &trainer->at;
	struct train_span span = {.epoch = at->epoch, .begin = at->group, .rates = trainer->rates};
	struct train_result result;
	span.end = at->group + trainer->span_groups;
	if (span.end > trainer->feed.positives)
		span.end = trainer->feed.positives;
	if (at->epoch == 0 && at->group < trainer->probe_group && span.end > trainer->probe_group)
		span.end = trainer->probe_group;
	const uint64_t batches = (span.end - span.begin + trainer->batch_groups - 1) / trainer->batch_groups;
	for (uint64_t b = 0; b < batches; b++)
		trainer->rates[b] = rate_at(trainer, at->step + b);
	if (feed_span(trainer, &span, error) < 0 || trainer->backend->train(trainer->state, &span, &result, error) < 0)
		return -1;
	at->group = span.end;
	at->step += batches;
	at->loss_sum += result.loss_sum;
	at->samples += result.samples;
	at->missing += result.missing;
	return isfinite(result.loss_sum) ? 0 : trainer_diverged(trainer, "the loss", error);
}

/* ---- between epochs ---- */

static int start_validation(struct trainer *trainer, struct error *error)
{
	const struct interactions *train = feed_interactions(trainer), *known = train;
	if (trainer->inputs->known) {
		if (interactions_merge(trainer->inputs->known, train, error) < 0)
			return -1;
		known = trainer->inputs->known;
	}
	return validation_init(&trainer->validation, trainer->inputs->valid, known, trainer->options->valid_candidates,
	                       trainer->options->seed, error);
}

/* Takes the epoch's end into the average. The weights of all ends sum to 1 from the first on, as in Adam's
 * correction of its moments: 1, then 1 / (1 + a), … down to 1 - a. (Averaging: Polyak & Juditsky 1992; over
 * epochs of a network: Izmailov et al. 2018.) */
static void average_epoch(struct trainer *trainer)
{
	const double decay = trainer->options->average;
	const struct parameters *now = &trainer->model->parameters;
	struct parameters *average = &trainer->model->average;
	double rest = decay;
	if (decay > 0 && trainer->at.epoch == 0)
		parameters_copy(average, now);
	if (decay <= 0 || trainer->at.epoch == 0)
		return;
	for (uint32_t e = 0; e < trainer->at.epoch; e++)
		rest *= decay;
	const double share = (1 - decay) / (1 - rest);
	for (size_t i = 0; i < now->size; i++)
		average->block[i] = (float)((double)average->block[i] +
		                            share * ((double)now->block[i] - (double)average->block[i]));
}

/* The parameters that training up to here is to be judged by. */
static const struct parameters *epoch_result(const struct trainer *trainer)
{
	return trainer->options->average > 0 ? &trainer->model->average : &trainer->model->parameters;
}

/* Swaps the epoch's result in for the validation; moments stay where they are. */
static int validate(struct trainer *trainer, struct validation_result *result, struct error *error)
{
	const struct parameters *now = &trainer->model->parameters, *judged = epoch_result(trainer);
	const uint64_t step = trainer->at.step;
	if (trainer->validation.count == 0 && start_validation(trainer, error) < 0)
		return -1;
	if (judged != now && trainer->backend->put(trainer->state, judged, NULL, NULL, step, error) < 0)
		return -1;
	if (validation_run(&trainer->validation, trainer->backend, trainer->state, result, error) < 0)
		return -1;
	return judged != now ? trainer->backend->put(trainer->state, now, NULL, NULL, step, error) : 0;
}

static void log_epoch(struct trainer *trainer, const struct validation_result *result, double seconds)
{
	const struct position *at = &trainer->at;
	const double loss = at->samples ? at->loss_sum / (double)at->samples : 0.0;
	char row[256], words[64] = "";
	if (trainer->validates)
		snprintf(row, sizeof row, "%u\t%.6f\t%.6f\t%.6f\t%.6g\t%" PRIu64 "\t%u", at->epoch + 1, loss,
		         result->hr10, result->ndcg10, rate_at(trainer, at->step - 1), at->samples, at->attempt);
	else
		snprintf(row, sizeof row, "%u\t%.6f\t\t\t%.6g\t%" PRIu64 "\t%u", at->epoch + 1, loss,
		         rate_at(trainer, at->step - 1), at->samples, at->attempt);
	json_array_append_new(trainer->log_rows, json_string(row));
	if (trainer->options->quiet)
		return;
	if (at->missing && at->epoch == 0)
		note("%" PRIu64 " negatives do not exist: their users have interacted with every item", at->missing);
	if (trainer->validates)
		snprintf(words, sizeof words, ", valid HR@10 %.4f NDCG@10 %.4f", result->hr10, result->ndcg10);
	note("epoch %u: loss %.4f%s, %.2f s, %.3g samples/s", at->epoch + 1, loss, words, seconds,
	     seconds > 0 ? (double)at->samples / seconds : 0.0);
}

/* Keeps the epoch when it is the best so far. */
static void weigh_epoch(struct trainer *trainer, const struct validation_result *result)
{
	struct position *at = &trainer->at;
	if (!trainer->validates)
		return;
	if (at->best_epoch > 0 && result->ndcg10 <= at->best_ndcg) {
		at->stale++;
		return;
	}
	at->best_epoch = at->epoch + 1;
	at->best_hr = result->hr10;
	at->best_ndcg = result->ndcg10;
	at->stale = 0;
	parameters_copy(&trainer->model->best, epoch_result(trainer));
}

/* Begins anew from other first values: a dead tower gets no gradient and stays as it is. */
static int restart(struct trainer *trainer, struct error *error)
{
	struct model_file *model = trainer->model;
	struct position *at = &trainer->at;
	struct parameters zero;
	if (trainer->inputs->warm)
		return error_set(error, CODE_NO, "the tower is dead: every logit is equal in epoch %u of a warm start",
		                 at->epoch + 1);
	if (at->attempt >= trainer->options->restarts)
		return error_set(error, CODE_NO, "the tower is dead: every logit is equal in epoch %u, after %u restarts; "
		                 "try another --seed or wider --layers", at->epoch + 1, at->attempt);
	note("the tower is dead in epoch %u (every logit is equal): beginning anew from other first values",
	     at->epoch + 1);
	if (feed_restart(trainer, error) < 0 || parameters_init(&zero, &model->shape, error) < 0)
		return -1;
	*at = (struct position){.attempt = at->attempt + 1};
	json_array_clear(trainer->log_rows);
	memset(model->parameters.block, 0, model->parameters.size * sizeof(float));
	model_init_values(&model->shape, &model->parameters, trainer->options->seed, at->attempt, trainer->options->ratio,
	                  0, 0, false);
	int result = trainer->backend->put(trainer->state, &model->parameters, &zero, &zero, 0, error);
	parameters_release(&zero);
	return result;
}

/* Spans until the epoch is over, or the probe of the first one finds a stillborn tower (*dead). */
static int train_epoch(struct trainer *trainer, bool *dead, struct error *error)
{
	struct position *at = &trainer->at;
	struct progress progress;
	char what[64];
	int result = 0;
	*dead = false;
	snprintf(what, sizeof what, "positives of epoch %u", at->epoch + 1);
	progress_start(&progress, what, trainer->feed.positives, trainer->options->quiet);
	feed_start_epoch(trainer);
	while (result == 0 && at->group < trainer->feed.positives && !*dead) {
		result = train_span(trainer, error);
		if (result < 0)
			break;
		progress_update(&progress, at->group);
		if (at->epoch == 0 && at->group == trainer->probe_group)
			result = tower_is_dead(&trainer->model->shape, trainer->backend, trainer->state, dead, error);
		if (result == 0 && !*dead && at->group < trainer->feed.positives)
			result = checkpoint_when_due(trainer, error);
	}
	progress_finish(&progress);
	return result < 0 || *dead ? result : feed_end_epoch(trainer, error);
}

/* Whether the tower is dead, and the validation's figures. Probing finds towers that answer the same to
 * everything; one that does so only to nearly everything shows in the ties. */
static int examine(struct trainer *trainer, struct validation_result *result, bool *dead, struct error *error)
{
	if (tower_is_dead(&trainer->model->shape, trainer->backend, trainer->state, dead, error) < 0)
		return -1;
	if (*dead)
		return 0;
	average_epoch(trainer);
	if (!trainer->validates)
		return 0;
	if (validate(trainer, result, error) < 0)
		return -1;
	*dead = result->tied >= 1.0 && result->hr10 <= 0.0;
	return 0;
}

/* Checks, validates, logs and keeps the epoch that was trained; moves to the next. */
static int end_epoch(struct trainer *trainer, double began, struct error *error)
{
	struct validation_result result = {0};
	struct position *at = &trainer->at;
	bool dead = false;
	if (trainer->backend->get(trainer->state, &trainer->model->parameters, NULL, NULL, NULL, error) < 0)
		return -1;
	if (!parameters_finite(&trainer->model->parameters))
		return trainer_diverged(trainer, "a weight", error);
	if (examine(trainer, &result, &dead, error) < 0)
		return -1;
	if (dead)
		return restart(trainer, error);
	log_epoch(trainer, &result, clock_seconds() - began);
	weigh_epoch(trainer, &result);
	at->epoch++;
	at->group = at->samples = at->missing = 0;
	at->loss_sum = 0.0;
	return checkpoint_write(trainer, error);
}

static int run_epoch(struct trainer *trainer, struct error *error)
{
	const double began = clock_seconds();
	bool dead;
	if (train_epoch(trainer, &dead, error) < 0)
		return -1;
	return dead ? restart(trainer, error) : end_epoch(trainer, began, error);
}

/* ---- the end ---- */

static int write_log(struct trainer *trainer, struct error *error)
{
	struct output *log = trainer->inputs->log;
	if (!log)
		return 0;
	if (output_print(log, error, "%s\n", log_header) < 0)
		return -1;
	for (size_t i = 0; i < json_array_size(trainer->log_rows); i++)
		if (output_print(log, error, "%s\n", json_string_value(json_array_get(trainer->log_rows, i))) < 0)
			return -1;
	return 0;
}

static void describe_result(struct trainer *trainer)
{
	const struct position *at = &trainer->at;
	char text[256];
	snprintf(text, sizeof text, "{\"epochs\":%u,\"best_epoch\":%u,\"attempt\":%u}", at->epoch, at->best_epoch,
	         at->attempt);
	json_object_set_new(trainer->model->metadata, "training", json_string(text));
	if (!trainer->validates)
		return;
	snprintf(text, sizeof text, "{\"valid_HR@10\":%.6f,\"valid_NDCG@10\":%.6f}", at->best_hr, at->best_ndcg);
	json_object_set_new(trainer->model->metadata, "metrics", json_string(text));
}

static int finish(struct trainer *trainer, struct error *error)
{
	struct model_file *model = trainer->model;
	if (feed_drain(trainer, error) < 0 || write_log(trainer, error) < 0)
		return -1;
	if (trainer->at.best_epoch > 0)
		parameters_copy(&model->parameters, &model->best);
	else if (trainer->options->average > 0)
		parameters_copy(&model->parameters, &model->average);
	model->is_checkpoint = model->has_average = model->has_best = false;
	describe_result(trainer);
	return 0;
}

static bool is_over(const struct trainer *trainer)
{
	const struct position *at = &trainer->at;
	bool stale = trainer->validates && trainer->options->patience > 0 && at->stale >= trainer->options->patience;
	return at->epoch >= trainer->options->epochs || stale;
}

int trainer_run(struct model_file *model, const struct trainer_options *options, const struct trainer_inputs *inputs,
                struct error *error)
{
	struct trainer trainer = {.model = model, .options = options, .inputs = inputs};
	int result = trainer_init(&trainer, error);
	while (result == 0 && !is_over(&trainer))
		result = run_epoch(&trainer, error);
	if (result == 0)
		result = finish(&trainer, error);
	trainer_release(&trainer);
	return result;
}
