/* Scoring on several devices: each has the whole model, made of the ranks' rows when those have changed, and takes a part of
 * the lists or users. A score depends on its pair alone, so that parts change nothing. */
#include "launch.h"
#include "several.h"

/* Every rank's rows to every device's whole model; the dense layers from the device itself. */
static void gather_model(struct several *several)
{
	comm_begin(several->comm);
	for (size_t from = 0; from < several->count; from++)
		for (size_t to = 0; to < several->count; to++)
			for (size_t m = 0; m < several->matrix_count; m++) {
				const struct spread *matrix = &several->matrices[m];
				const bool cut = matrix->side < SIDES;
				const uint32_t ranks = (uint32_t)several->count, rank = (uint32_t)from;
				const uint32_t first = cut ? share_begin(matrix->rows, ranks, rank) : 0;
				const uint32_t end = cut ? share_begin(matrix->rows, ranks, rank + 1) : matrix->rows;
				const size_t bytes = (end - first) * matrix->stride * sizeof(float);
				if (bytes == 0 || (!cut && from != to))
					continue;
				comm_send(several->comm, from, to, several->ranks[from].state->values + several->ranks[from].at[m], bytes);
				comm_receive(several->comm, to, from,
				             several->scorers[to]->values + matrix->at + first * matrix->stride, bytes);
			}
	comm_end(several->comm);
}

static int refresh(struct several *several, struct error *error)
{
	if (several->scorers_current)
		return 0;
	if (several->broken)
		return cuda_error(error, CODE_SYSTEM, "a device failed before");
	for (; several->scorers_open < several->count; several->scorers_open++) {
		struct backend_state *scorer = several->scorers[several->scorers_open];
		if (cuda_open_state(scorer, several->numbers[several->scorers_open], error) < 0) {
			cuda_leave(scorer);
			return -1;
		}
	}
	/* Blocks of new states are cleared by streams of their own. */
	for (size_t r = 0; r < several->count; r++)
		if (device_finish(&several->scorers[r]->device, error) < 0)
			return -1;
	gather_model(several);
	for (size_t r = 0; r < several->count; r++) {
		device_use(&several->ranks[r].state->device);
		if (device_finish(&several->ranks[r].state->device, error) < 0)
			return -1;
		cuda_values_changed(several->scorers[r]);
	}
	several->scorers_current = true;
	return 0;
}

/* What one device does. */
struct turn {
	struct backend_state *scorer;
	struct score_lists lists;
	struct score_top top;
	int status;
	struct error error;
};

static void run_lists(void *context, size_t which)
{
	struct turn *turn = (struct turn *)context + which;
	turn->status = turn->lists.count > 0 ? cuda_score_lists(turn->scorer, &turn->lists, &turn->error) : 0;
}

static void run_top(void *context, size_t which)
{
	struct turn *turn = (struct turn *)context + which;
	turn->status = turn->top.count > 0 ? cuda_score_top(turn->scorer, &turn->top, &turn->error) : 0;
}

static int run_turns(const struct several *several, struct turn *turns, void (*run)(void *context, size_t which),
                     struct error *error)
{
	for (size_t r = 0; r < several->count; r++)
		turns[r].scorer = several->scorers[r];
	device_side_by_side(several->count, run, turns);
	for (size_t r = 0; r < several->count; r++)
		if (turns[r].status < 0)
			return cuda_error(error, (enum exit_code)turns[r].error.code, "%s", turns[r].error.message);
	return 0;
}

/* The first list that begins at or behind pair `pair`. */
static size_t list_at(const struct score_lists *lists, size_t pair)
{
	size_t low = 0, high = lists->count;
	while (low < high) {
		const size_t middle = low + (high - low) / 2;
		if (lists->offsets[middle] < pair)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

int several_lists(struct several *several, const struct score_lists *lists, struct error *error)
{
	struct turn turns[RANKS_MAX];
	memset(turns, 0, sizeof turns);
	if (lists->count == 0)
		return 0;
	if (refresh(several, error) < 0)
		return -1;
	const size_t begin = lists->offsets[0], pairs = lists->offsets[lists->count] - begin;
	size_t first = 0;
	for (size_t r = 0; r < several->count; r++) {
		const size_t end = r + 1 < several->count ? list_at(lists, begin + pairs / several->count * (r + 1)) : lists->count;
		turns[r].lists = *lists;
		turns[r].lists.count = end - first;
		turns[r].lists.users += first;
		turns[r].lists.offsets += first;
		first = end;
	}
	return run_turns(several, turns, run_lists, error);
}

int several_top(struct several *several, const struct score_top *request, struct error *error)
{
	struct turn turns[RANKS_MAX];
	memset(turns, 0, sizeof turns);
	if (request->count == 0)
		return 0;
	if (refresh(several, error) < 0)
		return -1;
	for (size_t r = 0; r < several->count; r++) {
		const size_t first = request->count * r / several->count, end = request->count * (r + 1) / several->count;
		turns[r].top = *request;
		turns[r].top.count = end - first;
		turns[r].top.users += first;
		turns[r].top.items += first * request->top;
		turns[r].top.scores += first * request->top;
		turns[r].top.counts += first;
	}
	return run_turns(several, turns, run_top, error);
}
