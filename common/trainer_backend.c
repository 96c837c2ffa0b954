/* What a run is trained on: see trainer.h. Devices of two kinds train to other bytes, so a run that goes on from a checkpoint
 * stays where it began as far as it may choose, and says so where it does not. */
#include "trainer_internal.h"

int trainer_choose_backend(struct trainer *trainer, struct error *error)
{
	const struct trainer_options *options = trainer->options;
	struct backend_choice *choice = &trainer->choice;
	checkpoint_device(trainer, trainer->begun_on);
	const bool stays = backend_is_automatic(options->device) && strcmp(trainer->begun_on, backend_cpu.name) == 0;
	if (!trainer->inputs->backend)
		return backend_choose(stays ? backend_cpu.name : options->device, options->isa, choice, error);
	choice->backend = trainer->inputs->backend;
	return 0;
}

static void tell(const struct trainer *trainer)
{
	const char *begun_on = trainer->begun_on, *now = trainer->backend->name;
	if (trainer->options->quiet)
		return;
	backend_tell("training", &trainer->choice, trainer->state);
	if (begun_on[0] != '\0' && strcmp(begun_on, now) != 0)
		note("%s: that run was on %s; on %s it ends with other bytes than it would have there",
		     trainer->inputs->checkpoint_path, begun_on, now);
}

int trainer_open_backend(struct trainer *trainer, struct error *error)
{
	const struct trainer_options *options = trainer->options;
	uint64_t groups = trainer->batch_groups < trainer->feed.positives ? trainer->batch_groups
	                                                                   : trainer->feed.positives;
	const struct backend_options backend = {
		.precision = options->precision, .threads = options->threads, .isa = options->isa, .optimizer = options->optimizer,
		.seed = options->seed, .ratio = options->ratio, .batch_groups = (uint32_t)groups,
		.loss = options->loss, .item_offsets = trainer->item_offsets,
		.histories = trainer->inputs->train, .features = trainer->inputs->features,
	};
	trainer->state = backend_open(&trainer->choice, &trainer->model->shape, &trainer->model->parameters, &backend, error);
	trainer->backend = trainer->choice.backend;
	if (!trainer->state)
		return -1;
	tell(trainer);
	return 0;
}
