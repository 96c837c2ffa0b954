/* Checkpoints: the state of training in a model file, from which it goes on to the same bytes. */
#include "mem.h"
#include "progress.h"
#include "trainer_internal.h"

/* Every field of struct position, once. */
#define POSITION_INTEGERS(X) \
	X(epoch, uint32_t) X(group, uint64_t) X(step, uint64_t) X(attempt, uint32_t) X(samples, uint64_t) \
	X(missing, uint64_t) X(best_epoch, uint32_t) X(stale, uint32_t)
#define POSITION_REALS(X) X(loss_sum) X(best_hr) X(best_ndcg)

static json_t *position_to_json(const struct trainer *trainer)
{
	json_t *object = json_object();
#define PUT_INTEGER(field, type) json_object_set_new(object, #field, json_integer((json_int_t)trainer->at.field));
#define PUT_REAL(field) json_object_set_new(object, #field, json_real(trainer->at.field));
	POSITION_INTEGERS(PUT_INTEGER)
	POSITION_REALS(PUT_REAL)
	json_object_set(object, "log", trainer->log_rows);
	json_object_set_new(object, "device", json_string(trainer->backend->name));
	return object;
}

static int position_from_json(struct trainer *trainer, const json_t *object, struct error *error)
{
	const json_t *log = json_object_get(object, "log");
	bool whole = json_is_array(log);
	for (size_t i = 0; i < json_array_size(log); i++)
		whole = whole && json_is_string(json_array_get(log, i));
#define GET_INTEGER(field, type) \
	whole = whole && json_is_integer(json_object_get(object, #field)); \
	trainer->at.field = (type)json_integer_value(json_object_get(object, #field));
#define GET_REAL(field) \
	whole = whole && json_is_number(json_object_get(object, #field)); \
	trainer->at.field = json_number_value(json_object_get(object, #field));
	POSITION_INTEGERS(GET_INTEGER)
	POSITION_REALS(GET_REAL)
	if (!whole || trainer->at.epoch > trainer->options->epochs || trainer->at.group > trainer->feed.positives ||
	    trainer->at.attempt > trainer->options->restarts ||
	    (trainer->at.best_epoch > 0) != trainer->model->has_best ||
	    (trainer->options->average > 0 && trainer->at.epoch > 0) != trainer->model->has_average)
		return error_set(error, CODE_DATA, "%s: the checkpoint's position is malformed or of other data",
		                 trainer->inputs->checkpoint_path);
	json_decref(trainer->log_rows);
	trainer->log_rows = json_deep_copy(log);
	return 0;
}

int checkpoint_write(struct trainer *trainer, struct error *error)
{
	struct model_file *model = trainer->model;
	if (!trainer->inputs->checkpoint_path)
		return 0;
	if (trainer->backend->get(trainer->state, &model->parameters, &model->moment1, &model->moment2, NULL, error) < 0)
		return -1;
	if (!parameters_finite(&model->parameters) || !parameters_finite(&model->moment1) ||
	    !parameters_finite(&model->moment2))
		return trainer_diverged(trainer, "a weight", error);
	json_t *position = position_to_json(trainer);
	char *text = json_dumps(position, JSON_COMPACT | JSON_SORT_KEYS | JSON_REAL_PRECISION(17));
	json_object_set_new(model->metadata, "training", json_string(text ? text : ""));
	free(text);
	json_decref(position);
	model->is_checkpoint = true;
	model->has_average = trainer->options->average > 0 && trainer->at.epoch > 0;
	model->has_best = trainer->at.best_epoch > 0;
	trainer->checkpoint_time = clock_seconds();
	trainer->checkpoint_step = trainer->at.step;
	return model_write(model, trainer->inputs->checkpoint_path, error);
}

/* NULL when there is none; the caller's to release. */
static json_t *read_position(const struct trainer *trainer)
{
	const json_t *text = json_object_get(trainer->model->metadata, "training");
	return trainer->model->is_checkpoint && json_is_string(text) ? json_loads(json_string_value(text), 0, NULL) : NULL;
}

void checkpoint_device(const struct trainer *trainer, char name[TRAINER_DEVICE_SIZE])
{
	json_t *position = read_position(trainer);
	const json_t *device = json_object_get(position, "device");
	snprintf(name, TRAINER_DEVICE_SIZE, "%s", json_is_string(device) ? json_string_value(device) : "");
	json_decref(position);
}

int checkpoint_restore(struct trainer *trainer, struct error *error)
{
	struct model_file *model = trainer->model;
	json_t *position = read_position(trainer);
	int result = position_from_json(trainer, position, error);
	json_decref(position);
	if (result < 0)
		return -1;
	return trainer->backend->put(trainer->state, &model->parameters, &model->moment1, &model->moment2,
	                             trainer->at.step, error);
}

int checkpoint_when_due(struct trainer *trainer, struct error *error)
{
	const struct trainer_options *options = trainer->options;
	bool by_time = options->checkpoint_minutes > 0 &&
	               clock_seconds() - trainer->checkpoint_time >= 60 * options->checkpoint_minutes;
	bool by_batches = options->checkpoint_batches > 0 &&
	                  trainer->at.step - trainer->checkpoint_step >= options->checkpoint_batches;
	return by_time || by_batches ? checkpoint_write(trainer, error) : 0;
}
