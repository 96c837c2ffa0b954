/* Groups for the trainer: see struct feed. */
#include <inttypes.h>

#include "mem.h"
#include "trainer_internal.h"

static int init_stream(struct trainer *trainer, struct error *error)
{
	struct feed *feed = &trainer->feed;
	struct sample_shape shape;
	const size_t group = 1 + (size_t)trainer->options->ratio;
	feed->stream = trainer->inputs->samples;
	if (sample_shape_read(feed->stream, &shape, error) < 0 ||
	    records_info(feed->stream, &feed->stream_ids, error) < 0)
		return -1;
	feed->positives = shape.positives;
	feed->pair_users = mem_alloc(feed->positives, sizeof *feed->pair_users, error);
	feed->pair_items = mem_alloc(feed->positives, sizeof *feed->pair_items, error);
	feed->users = mem_alloc(trainer->span_groups, sizeof *feed->users, error);
	feed->items = mem_alloc(trainer->span_groups * group, sizeof *feed->items, error);
	return feed->pair_users && feed->pair_items && feed->users && feed->items ? 0 : -1;
}

static int init_sampler(struct trainer *trainer, const struct interactions *train, struct error *error)
{
	const struct sampler_options options = {
		.seed = trainer->options->seed,
		.ratio = trainer->options->ratio,
		.alpha = trainer->options->alpha,
	};
	trainer->feed.has_sampler = true;
	return sampler_init(&trainer->feed.sampler, train, &options, error);
}

int feed_init(struct trainer *trainer, struct error *error)
{
	if (trainer->inputs->samples)
		return init_stream(trainer, error);
	trainer->feed.positives = trainer->inputs->train->count;
	return init_sampler(trainer, trainer->inputs->train, error);
}

void feed_release(struct feed *feed)
{
	if (feed->has_sampler)
		sampler_release(&feed->sampler);
	interactions_release(&feed->collected);
	stream_info_release(&feed->stream_ids);
	mem_free(feed->pair_users);
	mem_free(feed->pair_items);
	mem_free(feed->users);
	mem_free(feed->items);
}

void feed_start_epoch(struct trainer *trainer)
{
	if (trainer->feed.has_sampler)
		sampler_start_epoch(&trainer->feed.sampler, trainer->at.epoch);
}

static int read_groups(struct trainer *trainer, uint64_t count, struct error *error)
{
	struct feed *feed = &trainer->feed;
	const uint32_t ratio = trainer->options->ratio;
	const size_t group = 1 + (size_t)ratio;
	for (uint64_t g = 0; g < count; g++) {
		int result = sample_read(feed->stream, &feed->stream_ids, ratio, &feed->users[g], &feed->items[g * group],
		                         error);
		if (result < 0)
			return -1;
		if (result == 0)
			return error_set(error, CODE_DATA, "%s: ends in the middle of epoch %u, expected %" PRIu64
			                 " samples an epoch", feed->stream->input.name, trainer->at.epoch + 1,
			                 feed->positives);
		if (feed->pair_users && feed->pairs < feed->positives) {
			feed->pair_users[feed->pairs] = feed->users[g];
			feed->pair_items[feed->pairs++] = feed->items[g * group];
		}
	}
	return 0;
}

int feed_span(struct trainer *trainer, struct train_span *span, struct error *error)
{
	if (!trainer->feed.stream) {
		span->sampler = &trainer->feed.sampler;
		return 0;
	}
	if (read_groups(trainer, span->end - span->begin, error) < 0)
		return -1;
	span->users = trainer->feed.users;
	span->items = trainer->feed.items;
	return 0;
}

int feed_end_epoch(struct trainer *trainer, struct error *error)
{
	struct feed *feed = &trainer->feed;
	if (!feed->pair_users)
		return 0;
	int result = interactions_from_pairs(&feed->collected, trainer->model->shape.users, trainer->model->shape.items,
	                                     feed->pair_users, feed->pair_items, feed->pairs, error);
	mem_free(feed->pair_users);
	mem_free(feed->pair_items);
	feed->pair_users = feed->pair_items = NULL;
	return result;
}

int feed_restart(struct trainer *trainer, struct error *error)
{
	if (!trainer->feed.stream)
		return 0;
	if (feed_drain(trainer, error) < 0)
		return -1;
	trainer->feed.stream = NULL;
	return init_sampler(trainer, &trainer->feed.collected, error);
}

static int skip_groups(struct trainer *trainer, uint64_t count, struct error *error)
{
	while (count > 0) {
		uint64_t some = count < trainer->span_groups ? count : trainer->span_groups;
		if (read_groups(trainer, some, error) < 0)
			return -1;
		count -= some;
	}
	return 0;
}

int feed_skip(struct trainer *trainer, struct error *error)
{
	const struct position at = trainer->at;
	if (!trainer->feed.stream)
		return 0;
	for (trainer->at.epoch = 0; trainer->at.epoch < at.epoch; trainer->at.epoch++)
		if (skip_groups(trainer, trainer->feed.positives, error) < 0 || feed_end_epoch(trainer, error) < 0)
			return -1;
	/* After a restart the samples are drawn here: the stream has told its positives and is done with. */
	if (at.attempt > 0 && at.epoch == 0 &&
	    (skip_groups(trainer, trainer->feed.positives, error) < 0 || feed_end_epoch(trainer, error) < 0))
		return -1;
	if (at.attempt > 0)
		return feed_restart(trainer, error);
	return skip_groups(trainer, at.group, error);
}

int feed_drain(struct trainer *trainer, struct error *error)
{
	struct feed *feed = &trainer->feed;
	if (!feed->stream)
		return 0;
	for (;;) {
		int result = sample_read(feed->stream, &feed->stream_ids, trainer->options->ratio, feed->users,
		                         feed->items, error);
		if (result <= 0)
			return result;
	}
}

const struct interactions *feed_interactions(const struct trainer *trainer)
{
	return trainer->inputs->train ? trainer->inputs->train : &trainer->feed.collected;
}
