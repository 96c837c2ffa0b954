/* Groups for the trainer: see struct feed. Whoever trains from a stream keeps the first epoch's positives (8
 * bytes each, 12 while they come): from then on everything is known that the sampler knows. */
#include <inttypes.h>

#include "mem.h"
#include "rng.h"
#include "trainer_internal.h"

void trainer_digest(const struct interactions *interactions, char text[TRAINER_DIGEST_SIZE])
{
	interactions_digest(interactions, text);
}

/* Puts the positives' digest into the metadata, or finds that a checkpoint has another one there. */
static int note_data(struct trainer *trainer, const struct interactions *positives, struct error *error)
{
	char digest[TRAINER_DIGEST_SIZE];
	const json_t *before = json_object_get(trainer->model->metadata, "data");
	trainer_digest(positives, digest);
	if (json_is_string(before) && strcmp(json_string_value(before), digest) != 0)
		return error_set(error, CODE_DATA, "%s: cannot resume: it was trained on other interactions",
		                 trainer->inputs->checkpoint_path);
	if (json_object_set_new(trainer->model->metadata, "data", json_string(digest)) < 0)
		return error_set(error, CODE_SYSTEM, "out of memory for metadata");
	return 0;
}

static int init_stream(struct trainer *trainer, struct error *error)
{
	struct feed *feed = &trainer->feed;
	struct sample_shape shape;
	const size_t group = 1 + (size_t)trainer->options->ratio;
	feed->stream = trainer->inputs->samples;
	feed->collecting = true;
	if (sample_shape_read(feed->stream, &shape, error) < 0 ||
	    records_info(feed->stream, &feed->stream_ids, error) < 0)
		return -1;
	feed->positives = shape.positives;
	feed->users = mem_alloc(trainer->span_groups, sizeof *feed->users, error);
	feed->items = mem_alloc(trainer->span_groups * group, sizeof *feed->items, error);
	if (!feed->users || !feed->items)
		return -1;
	/* With one thread for everything, nothing runs beside it. */
	feed->ahead = sample_ahead_new(feed->stream, &feed->stream_ids, trainer->options->ratio,
	                               trainer->options->threads != 1, error);
	return feed->ahead ? 0 : -1;
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

/* Training by users: an epoch is every user that has interactions, once. */
static int init_users(struct trainer *trainer, struct error *error)
{
	struct feed *feed = &trainer->feed;
	const struct interactions *train = trainer->inputs->train;
	for (uint32_t user = 0; user < train->users; user++)
		feed->positives += train->offsets[user + 1] > train->offsets[user];
	feed->order = mem_alloc(feed->positives, sizeof *feed->order, error);
	feed->permutation = mem_alloc(feed->positives, sizeof *feed->permutation, error);
	return feed->order && feed->permutation ? 0 : -1;
}

static void order_users(struct trainer *trainer)
{
	struct feed *feed = &trainer->feed;
	const struct interactions *train = trainer->inputs->train;
	size_t place = 0;
	rng_permutation(trainer->options->seed, rng_stream(RNG_SHUFFLE, trainer->at.epoch), 0, feed->permutation,
	                feed->positives);
	for (uint32_t user = 0; user < train->users; user++)
		if (train->offsets[user + 1] > train->offsets[user])
			feed->order[feed->permutation[place++]] = user;
}

int feed_init(struct trainer *trainer, struct error *error)
{
	const enum loss loss = trainer->options->loss;
	if ((loss == LOSS_CATALOGUE || loss == LOSS_SQUARES) && trainer->inputs->samples)
		return error_set(error, CODE_USAGE, "training against the whole catalogue needs interactions, not samples of them");
	if (loss == LOSS_CATALOGUE)
		return init_users(trainer, error);
	if (loss == LOSS_SQUARES) {
		trainer->feed.positives = 1; /* a sweep */
		return 0;
	}
	if (trainer->inputs->samples)
		return init_stream(trainer, error);
	trainer->feed.positives = trainer->inputs->train->count;
	return init_sampler(trainer, trainer->inputs->train, error);
}

void feed_release(struct feed *feed)
{
	sample_ahead_free(feed->ahead);
	if (feed->has_sampler)
		sampler_release(&feed->sampler);
	interactions_release(&feed->collected);
	stream_info_release(&feed->stream_ids);
	mem_free(feed->pair_users);
	mem_free(feed->pair_items);
	mem_free(feed->users);
	mem_free(feed->items);
	mem_free(feed->order);
	mem_free(feed->permutation);
}

void feed_start_epoch(struct trainer *trainer)
{
	if (trainer->feed.has_sampler)
		sampler_start_epoch(&trainer->feed.sampler, trainer->at.epoch);
	if (trainer->feed.order)
		order_users(trainer);
}

/* Keeps the positives of some samples of the first epoch. Room grows with what has come: a count in a header proves
 * nothing. */
static int collect(struct feed *feed, uint64_t count, size_t group, struct error *error)
{
	if (mem_grow(&feed->pair_users, &feed->users_capacity, feed->pairs + count, sizeof *feed->users, error) < 0 ||
	    mem_grow(&feed->pair_items, &feed->items_capacity, feed->pairs + count, sizeof *feed->items, error) < 0)
		return -1;
	memcpy((uint32_t *)feed->pair_users + feed->pairs, feed->users, count * sizeof *feed->users);
	for (uint64_t g = 0; g < count; g++)
		((uint32_t *)feed->pair_items)[feed->pairs + g] = feed->items[g * group];
	feed->pairs += count;
	return 0;
}

/* The next `count` samples, at most a span, into feed->users and feed->items. */
static int read_groups(struct trainer *trainer, uint64_t count, struct error *error)
{
	struct feed *feed = &trainer->feed;
	const ptrdiff_t got = sample_ahead_take(feed->ahead, count, feed->users, feed->items, error);
	if (got < 0)
		return -1;
	feed->taken += (uint64_t)got;
	if ((uint64_t)got < count)
		return error_set(error, CODE_DATA, "%s: ends after %" PRIu64 " samples, in the middle of an epoch of "
		                 "%" PRIu64, feed->stream->input.name, feed->taken, feed->positives);
	return feed->collecting ? collect(feed, count, 1 + (size_t)trainer->options->ratio, error) : 0;
}

int feed_span(struct trainer *trainer, struct train_span *span, struct error *error)
{
	if (trainer->feed.order) {
		span->users = trainer->feed.order + span->begin;
		return 0;
	}
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
	if (!feed->collecting)
		return 0;
	feed->collecting = false;
	int result = interactions_from_pairs(&feed->collected, trainer->model->shape.users, trainer->model->shape.items,
	                                     feed->pair_users, feed->pair_items, feed->pairs, error);
	mem_free(feed->pair_users);
	mem_free(feed->pair_items);
	feed->pair_users = feed->pair_items = NULL;
	if (result == 0 && feed->collected.count != feed->positives)
		result = error_set(error, CODE_DATA, "%s: an epoch holds a positive twice", feed->stream->input.name);
	return result == 0 ? note_data(trainer, &feed->collected, error) : -1;
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

/* Reads what is left of the first epoch, when it is not over. */
static int finish_first_epoch(struct trainer *trainer, struct error *error)
{
	struct feed *feed = &trainer->feed;
	if (!feed->collecting)
		return 0;
	return skip_groups(trainer, feed->positives - feed->pairs, error) == 0 ? feed_end_epoch(trainer, error) : -1;
}

int feed_restart(struct trainer *trainer, struct error *error)
{
	if (!trainer->feed.stream)
		return 0;
	if (finish_first_epoch(trainer, error) < 0 || feed_drain(trainer, error) < 0)
		return -1;
	trainer->feed.stream = NULL;
	return init_sampler(trainer, &trainer->feed.collected, error);
}

int feed_skip(struct trainer *trainer, struct error *error)
{
	const struct position *at = &trainer->at;
	const struct feed *feed = &trainer->feed;
	if (!feed->stream)
		return note_data(trainer, trainer->inputs->train, error);
	/* After a restart samples are drawn here: the stream tells its positives and is done with. */
	if (at->attempt > 0)
		return feed_restart(trainer, error);
	if (at->epoch > 0 && (finish_first_epoch(trainer, error) < 0 ||
	                      skip_groups(trainer, (at->epoch - 1) * feed->positives, error) < 0))
		return -1;
	return skip_groups(trainer, at->group, error);
}

int feed_drain(struct trainer *trainer, struct error *error)
{
	struct feed *feed = &trainer->feed;
	const uint64_t expected = feed->positives * trainer->options->epochs;
	if (!feed->stream)
		return 0;
	for (ptrdiff_t got = 1; got > 0; feed->taken += (uint64_t)got)
		if ((got = sample_ahead_take(feed->ahead, trainer->span_groups, feed->users, feed->items, error)) < 0)
			return -1;
	if (feed->taken != expected)
		return error_set(error, CODE_DATA, "%s: holds %" PRIu64 " samples, expected %" PRIu64 " in all epochs",
		                 feed->stream->input.name, feed->taken, expected);
	return 0;
}

const struct interactions *feed_interactions(const struct trainer *trainer)
{
	return trainer->inputs->train ? trainer->inputs->train : &trainer->feed.collected;
}
