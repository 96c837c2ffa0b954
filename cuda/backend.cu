/* The CUDA backend: opening, moving state in and out, closing. state.h tells how the work is cut. */
#include "by_users.h"
#include "comm.h"
#include "plain.h"
#include "several.h"
#include "wide.h"

#include <stdlib.h>

/* Of the last probe, which backend_find makes: open has no numbers. */
static struct {
	int numbers[BACKEND_DEVICES_MAX];
	size_t count;
} chosen;

static int cuda_probe(const int *devices, size_t count, struct error *error)
{
	for (size_t d = 0; d < count; d++)
		if (device_probe(devices[d], error) < 0)
			return -1;
	if (count > 1 && comm_probe(error) < 0)
		return -1;
	memcpy(chosen.numbers, devices, count * sizeof *devices);
	chosen.count = count;
	return 0;
}

void cuda_leave(struct backend_state *state)
{
	if (state->blas)
		device_use(&state->device);
	blas_close(state->blas);
	state->blas = NULL;
	device_close(&state->device);
}

static void cuda_close(struct backend_state *state)
{
	if (!state)
		return;
	if (state->several)
		several_close(state->several);
	cuda_leave(state);
	free(state->catalogue);
	free(state);
}

static int cuda_get(struct backend_state *state, struct parameters *parameters, struct parameters *moment1,
                    struct parameters *moment2, uint64_t *step, struct error *error)
{
	const float *const blocks[] = {state->values, state->moment1, state->moment2};
	struct parameters *const targets[] = {parameters, moment1, moment2};
	if (state->several)
		return several_get(state->several, targets, step, error);
	device_use(&state->device);
	for (size_t i = 0; i < COUNT_OF(targets); i++) {
		if (!targets[i])
			continue;
		if (!blocks[i])
			return cuda_error(error, CODE_BUG, "no moments: this backend was opened for scoring only");
		device_download(&state->device, STREAM_WORK, targets[i]->block, blocks[i], state->size * sizeof(float));
	}
	if (step)
		*step = state->step;
	return device_finish(&state->device, error);
}

void cuda_values_changed(struct backend_state *state)
{
	state->scoring.current = false;
	if (state->catalogue)
		state->catalogue->rows_current = false;
}

static int cuda_put(struct backend_state *state, const struct parameters *parameters, const struct parameters *moment1,
                    const struct parameters *moment2, uint64_t step, struct error *error)
{
	float *const blocks[] = {state->values, state->moment1, state->moment2};
	const struct parameters *const sources[] = {parameters, moment1, moment2};
	if (state->several)
		return several_put(state->several, sources, step, error);
	device_use(&state->device);
	for (size_t i = 0; i < COUNT_OF(sources); i++) {
		if (!sources[i])
			continue;
		if (!blocks[i])
			return cuda_error(error, CODE_BUG, "no moments: this backend was opened for scoring only");
		device_upload(&state->device, STREAM_WORK, blocks[i], sources[i]->block, state->size * sizeof(float));
	}
	state->step = step;
	cuda_values_changed(state);
	return device_finish(&state->device, error);
}

static float *new_block(struct backend_state *state, const char *what, struct error *error)
{
	float *block = (float *)device_alloc(&state->device, state->size, sizeof(float), what, error);
	if (block)
		device_zero(&state->device, STREAM_WORK, block, state->size * sizeof(float));
	return block;
}

static int init_offsets(struct backend_state *state, struct error *error)
{
	const size_t bytes = state->shape.items * sizeof(float);
	if (!state->options.item_offsets || state->options.batch_groups == 0)
		return 0;
	state->offsets = (float *)device_alloc(&state->device, state->shape.items, sizeof(float), "the items' offsets", error);
	if (state->offsets)
		device_upload(&state->device, STREAM_WORK, state->offsets, state->options.item_offsets, bytes);
	return state->offsets ? 0 : -1;
}

/* What scoring takes the tower and its halves through. */
static int init_forward(struct backend_state *state, struct error *error)
{
	const struct tower *tower = &state->tower;
	if (cuda_plan_tower(state, false, error) < 0)
		return -1;
	for (int s = 0; s < SIDES; s++) {
		struct side *side = &state->sides[s];
		const uint32_t columns = side->embeddings.columns;
		const size_t weights = (size_t)layer_pitch(state->options.precision, columns, tower->width) * tower->width;
		const int status = cuda_rows_go_wide(state, (enum side_name)s, false)
		                       ? cuda_plan_wide_rows(state, (enum side_name)s, false, error)
		                       : cuda_plan(state, &side->forth, (size_t)columns + tower->width, 0, weights, UINT32_MAX, 1, error);
		if (status < 0)
			return -1;
	}
	return 0;
}

int cuda_open_state(struct backend_state *state, int number, struct error *error)
{
	const bool trains = state->options.batch_groups > 0;
	if (device_open(&state->device, number, error) < 0 || cuda_check_precision(state, error) < 0)
		return -1;
	state->values = new_block(state, "the model", error);
	if (!state->values || (state->has_tower && init_forward(state, error) < 0) ||
	    cuda_catalogue_open(state, error) < 0)
		return -1;
	if (trains) {
		state->moment1 = new_block(state, "the optimiser's moments", error);
		state->moment2 = state->moment1 ? new_block(state, "the optimiser's moments", error) : NULL;
		if (!state->moment2 || init_offsets(state, error) < 0 || cuda_init_training(state, error) < 0)
			return -1;
	}
	snprintf(state->description, sizeof state->description, "cuda:%d, %s%s%s", state->device.number, state->device.name,
	         state->blas ? ", tower by " : "", state->blas ? blas_name(state->blas) : "");
	return 0;
}

static int open_chosen(struct backend_state *state, const struct parameters *parameters, struct error *error)
{
	if (chosen.count > 1)
		state->several = several_open(state, parameters, chosen.numbers, chosen.count, error);
	else if (cuda_lay_out(state, parameters, error) < 0 || cuda_open_state(state, chosen.numbers[0], error) < 0)
		return -1;
	if (chosen.count > 1 && !state->several)
		return -1;
	return cuda_put(state, parameters, NULL, NULL, 0, error);
}

static struct backend_state *cuda_open(const struct model_shape *shape, const struct parameters *parameters,
                                       const struct backend_options *options, struct error *error)
{
	struct backend_state *state = (struct backend_state *)calloc(1, sizeof *state);
	if (!state) {
		cuda_error(error, CODE_SYSTEM, "out of memory: the state of the CUDA backend");
		return NULL;
	}
	state->shape = *shape;
	state->options = *options;
	state->ranks = 1;
	if (open_chosen(state, parameters, error) == 0)
		return state;
	cuda_close(state);
	return NULL;
}

static int train(struct backend_state *state, const struct train_span *span, struct train_result *result,
                 struct error *error)
{
	return state->several ? several_train(state->several, span, result, error) : cuda_train(state, span, result, error);
}

static int score_lists(struct backend_state *state, const struct score_lists *lists, struct error *error)
{
	return state->several ? several_lists(state->several, lists, error) : cuda_score_lists(state, lists, error);
}

static int score_top(struct backend_state *state, const struct score_top *request, struct error *error)
{
	return state->several ? several_top(state->several, request, error) : cuda_score_top(state, request, error);
}

static const char *cuda_describe(const struct backend_state *state)
{
	return state->description;
}

/* The object's only symbol that anybody looks up (common/backend.c); tests call it for the emulated device. */
#ifdef __cplusplus
extern "C"
#endif
__attribute__((visibility("default"))) const struct backend *recpipe_cuda_backend(void);

const struct backend *recpipe_cuda_backend(void)
{
	static const struct backend backend = {
		.name = "cuda",
		.probe = cuda_probe,
		.open = cuda_open,
		.train = train,
		.score_lists = score_lists,
		.score_top = score_top,
		.get = cuda_get,
		.put = cuda_put,
		.close = cuda_close,
		.describe = cuda_describe,
	};
	return &backend;
}
