/* A span on several devices. For each batch the host waits for the next one's draw and index, beside which the devices
 * train; nothing else waits before the end. No graphs: how much goes from rank to rank differs from batch to batch. */
#include "several.h"

#include <stdlib.h>

/* Marks between a rank's streams: a batch's part is ready, of either of the two; what a rank is asked for has come; its
 * index is made. */
enum { MARK_READY = 0, MARK_ASKED = 2, MARK_INDEXED };

static void queue_ahead(struct several *several, const struct train_span *span, size_t b)
{
	for (size_t r = 0; r < several->count; r++) {
		struct rank *rank = &several->ranks[r];
		device_use(&rank->state->device);
		cuda_queue_ahead(rank->state, span, b, &rank->steps[b], rank->state->steps + b);
		exchange_find_cuts(several, r, &rank->state->batches[b % 2]);
	}
}

/* Waits for a stream of all devices at once: when one fails, others wait for it, and must not be waited for. */
static int await(struct several *several, enum device_stream stream)
{
	size_t done = 0;
	while (done < several->count) {
		done = 0;
		for (size_t r = 0; r < several->count; r++) {
			struct device *device = &several->ranks[r].state->device;
			device_use(device);
			const int status = device_poll(device, stream);
			if (status < 0)
				return -1;
			done += status > 0;
		}
	}
	return 0;
}

/* The cuts of the batch that was made ready last. -1 when a device has failed. */
static int read_cuts(struct several *several)
{
	const size_t bytes = (SIDES * (several->count + 1) + 1) * sizeof(uint32_t);
	if (await(several, STREAM_AHEAD) < 0)
		return -1;
	for (size_t r = 0; r < several->count; r++) {
		struct rank *rank = &several->ranks[r];
		device_use(&rank->state->device);
		device_download(&rank->state->device, STREAM_AHEAD, rank->host_cuts, rank->cuts, bytes);
	}
	return await(several, STREAM_AHEAD);
}

/* What only the cuts of all ranks tell: the missing samples of the whole batch, and how much an owner is asked for. It goes
 * by STREAM_AHEAD, which is at rest: an upload to the other one would wait for it. */
static void tell_sums(struct several *several, size_t b)
{
	uint32_t missing = 0;
	for (size_t r = 0; r < several->count; r++)
		missing += several->ranks[r].host_cuts[SIDES * (several->count + 1)];
	for (size_t r = 0; r < several->count; r++) {
		struct rank *rank = &several->ranks[r];
		struct device *device = &rank->state->device;
		struct step owner = rank->steps[b];
		owner.groups = exchange_asked(several, r, SIDE_USER);
		owner.samples = exchange_asked(several, r, SIDE_ITEM);
		device_use(device);
		device_upload(device, STREAM_AHEAD, rank->state->batches[b % 2].missing, &missing, sizeof missing);
		device_upload(device, STREAM_AHEAD, rank->owner_steps + b % 2, &owner, sizeof owner);
		device_mark(device, STREAM_AHEAD, MARK_READY + b % 2);
		device_wait(device, STREAM_WORK, MARK_READY + b % 2);
	}
}

/* Rows that were asked for are indexed beside what their owner does for its own part. */
static void queue_owned_index(struct several *several, size_t b)
{
	for (size_t r = 0; r < several->count; r++) {
		struct rank *rank = &several->ranks[r];
		struct device *device = &rank->state->device;
		device_use(device);
		device_mark(device, STREAM_WORK, MARK_ASKED);
		device_wait(device, STREAM_AHEAD, MARK_ASKED);
		for (int s = 0; s < SIDES; s++)
			cuda_index_ids(rank->state, (enum side_name)s, rank->owned[s].asked, rank->owned[s].asked_max,
			               &rank->owned[s].index, rank->owner_steps + b % 2);
		device_mark(device, STREAM_AHEAD, MARK_INDEXED);
	}
}

static void queue_part(struct several *several, size_t r, size_t b)
{
	struct rank *rank = &several->ranks[r];
	struct backend_state *state = rank->state;
	const struct step *step = state->steps + b;
	device_use(&state->device);
	cuda_queue_samples(state, &state->batches[b % 2], step);
	cuda_queue_rows(state, &state->batches[b % 2], step);
	cuda_sum_dense(state, step, rank->dense + r * cuda_dense_floats(state));
}

static void queue_batch(struct several *several, size_t b)
{
	tell_sums(several, b);
	exchange_ask(several, b % 2);
	queue_owned_index(several, b);
	exchange_fetch(several);
	for (size_t r = 0; r < several->count; r++)
		queue_part(several, r, b);
	exchange_return(several);
	for (size_t r = 0; r < several->count; r++) {
		struct backend_state *state = several->ranks[r].state;
		device_use(&state->device);
		device_wait(&state->device, STREAM_WORK, MARK_INDEXED);
		exchange_step(several, r, several->ranks[r].owner_steps + b % 2);
	}
}

/* Tables of the sampler and the span's batches on every device. */
static int begin_span(struct several *several, const struct train_span *span, size_t count, struct error *error)
{
	for (size_t r = 0; r < several->count; r++) {
		struct rank *rank = &several->ranks[r];
		struct backend_state *state = rank->state;
		device_use(&state->device);
		if (!span->users && cuda_sampler_copy(state, span->sampler, error) < 0)
			return -1;
		free(rank->steps);
		rank->steps = cuda_make_steps(state, span, count, error);
		if (!rank->steps)
			return -1;
		device_zero(&state->device, STREAM_WORK, state->loss_sum, sizeof *state->loss_sum);
		device_zero(&state->device, STREAM_WORK, state->missing_sum, sizeof *state->missing_sum);
	}
	return 0;
}

/* The first error of any device. Others wait for the one that failed: they are stopped first. */
static int break_off(struct several *several, struct error *error)
{
	several->broken = true;
	comm_break(several->comm);
	for (size_t r = 0; r < several->count; r++) {
		const struct error *failure = &several->ranks[r].state->device.failure;
		if (failure->code != CODE_OK)
			return cuda_error(error, (enum exit_code)failure->code, "%s", failure->message);
	}
	return cuda_error(error, CODE_BUG, "devices that train together: none of them failed");
}

/* Losses in the order of ranks; what is missing every rank knows. */
static int end_span(struct several *several, uint64_t *missing, double *loss, struct error *error)
{
	double losses[RANKS_MAX];
	if (await(several, STREAM_WORK) < 0)
		return break_off(several, error);
	for (size_t r = 0; r < several->count; r++) {
		struct backend_state *state = several->ranks[r].state;
		device_use(&state->device);
		device_download(&state->device, STREAM_WORK, &losses[r], state->loss_sum, sizeof losses[r]);
		if (r == 0)
			device_download(&state->device, STREAM_WORK, missing, state->missing_sum, sizeof *missing);
		if (device_finish(&state->device, error) < 0)
			return break_off(several, error);
	}
	for (size_t r = 0; r < several->count; r++)
		*loss += losses[r];
	return 0;
}

int several_train(struct several *several, const struct train_span *span, struct train_result *result, struct error *error)
{
	uint64_t missing = 0;
	memset(result, 0, sizeof *result);
	if (!several->trains)
		return cuda_error(error, CODE_BUG, "this backend was opened for scoring only");
	if (several->broken)
		return cuda_error(error, CODE_SYSTEM, "a device failed before");
	if (span->begin >= span->end)
		return 0;
	const uint32_t batch = several->ranks[0].state->options.batch_groups, group = several->ranks[0].state->group;
	const size_t count = (size_t)((span->end - span->begin + batch - 1) / batch);
	if (begin_span(several, span, count, error) < 0)
		return -1;
	several->scorers_current = false;
	queue_ahead(several, span, 0);
	for (size_t b = 0; b < count; b++) {
		if (read_cuts(several) < 0)
			return break_off(several, error);
		queue_batch(several, b);
		if (b + 1 < count)
			queue_ahead(several, span, b + 1);
	}
	if (end_span(several, &missing, &result->loss_sum, error) < 0)
		return -1;
	several->step += count;
	for (size_t r = 0; r < several->count; r++)
		several->ranks[r].state->step = several->step;
	result->missing = missing;
	result->samples = (span->end - span->begin) * group - missing;
	return 0;
}
