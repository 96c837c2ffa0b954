/* Opening several devices, and their parameters: each rank's rows of every table, in and out. */
#include "blas.h"
#include "several.h"

#include "launch.h"

#include <stdlib.h>

/* Which matrices are cut by rows, and of which side those are. */
static int side_of(const char *name)
{
	static const struct {
		const char *name;
		enum side_name side;
	} tables[] = {
		{"user_embedding", SIDE_USER}, {"item_embedding", SIDE_ITEM}, {"user_factors", SIDE_USER}, {"item_factors", SIDE_ITEM},
	};
	for (size_t t = 0; t < COUNT_OF(tables); t++)
		if (strcmp(tables[t].name, name) == 0)
			return (int)tables[t].side;
	return SIDES;
}

/* Rows of a matrix that are the rank's. */
struct range {
	uint32_t first, count;
};

static struct range range_of(const struct several *several, size_t rank, const struct spread *matrix)
{
	struct range range = {0, matrix->rows};
	if (matrix->side < SIDES) {
		const uint32_t ranks = (uint32_t)several->count, r = (uint32_t)rank;
		range.first = share_begin(matrix->rows, ranks, r);
		range.count = share_begin(matrix->rows, ranks, r + 1) - range.first;
	}
	return range;
}

static void list_matrices(struct several *several, const struct parameters *parameters)
{
	several->matrix_count = parameters->count;
	for (size_t m = 0; m < parameters->count; m++) {
		const struct matrix *matrix = &parameters->matrices[m];
		several->matrices[m].at = (size_t)(matrix->values - parameters->block);
		several->matrices[m].stride = matrix->stride;
		several->matrices[m].rows = matrix->rows;
		several->matrices[m].side = side_of(matrix->name);
	}
}

/* A state with the shape and options of `of`, laid out for `parameters`. */
static struct backend_state *new_state(const struct backend_state *of, const struct parameters *parameters,
                                       uint32_t batch_groups, uint32_t rank, uint32_t ranks, struct error *error)
{
	struct backend_state *state = (struct backend_state *)calloc(1, sizeof *state);
	if (!state) {
		cuda_error(error, CODE_SYSTEM, "out of memory: the state of the CUDA backend");
		return NULL;
	}
	state->shape = of->shape;
	state->options = of->options;
	state->options.batch_groups = batch_groups;
	state->rank = rank;
	state->ranks = ranks;
	if (cuda_lay_out(state, parameters, error) == 0)
		return state;
	free(state);
	return NULL;
}

static int open_rank(struct several *several, size_t rank, const struct backend_state *of,
                     const struct parameters *parameters, struct error *error)
{
	struct rank *r = &several->ranks[rank];
	/* The layout of its own rows, as parameters_init makes one; nothing reads its values. */
	struct parameters own = *parameters;
	own.size = 0;
	for (size_t m = 0; m < own.count; m++) {
		own.matrices[m].rows = range_of(several, rank, &several->matrices[m]).count;
		own.matrices[m].values = own.block + own.size;
		r->at[m] = own.size;
		own.size += own.matrices[m].rows * own.matrices[m].stride;
	}
	r->state = new_state(of, &own, of->options.batch_groups, (uint32_t)rank, (uint32_t)several->count, error);
	if (!r->state || cuda_open_state(r->state, several->numbers[rank], error) < 0)
		return -1;
	return exchange_init(several, rank, error);
}

static int open_ranks(struct several *several, const struct backend_state *of, const struct parameters *parameters,
                      struct error *error)
{
	struct device *devices[RANKS_MAX];
	for (size_t r = 0; r < several->count; r++) {
		if (open_rank(several, r, of, parameters, error) < 0)
			return -1;
		devices[r] = &several->ranks[r].state->device;
	}
	several->comm = comm_open(devices, several->count, error);
	return several->comm ? 0 : -1;
}

static void describe(const struct several *several, struct backend_state *of)
{
	const struct backend_state *first = several->trains ? several->ranks[0].state : several->scorers[0];
	size_t length = (size_t)snprintf(of->description, sizeof of->description, "cuda:%d", several->numbers[0]);
	for (size_t r = 1; r < several->count; r++)
		length += (size_t)snprintf(of->description + length, sizeof of->description - length, ",%d", several->numbers[r]);
	snprintf(of->description + length, sizeof of->description - length, ", %s%s%s", first->device.name,
	         first->blas ? ", tower by " : "", first->blas ? blas_name(first->blas) : "");
}

struct several *several_open(struct backend_state *of, const struct parameters *parameters, const int *numbers,
                             size_t count, struct error *error)
{
	struct several *several = (struct several *)calloc(1, sizeof *several);
	if (!several) {
		cuda_error(error, CODE_SYSTEM, "out of memory: the state of several devices");
		return NULL;
	}
	several->count = count;
	several->trains = of->options.batch_groups > 0;
	memcpy(several->numbers, numbers, count * sizeof *numbers);
	list_matrices(several, parameters);
	if (several->trains && open_ranks(several, of, parameters, error) < 0)
		goto failed;
	for (size_t r = 0; r < count; r++) {
		several->scorers[r] = new_state(of, parameters, 0, 0, 1, error);
		if (!several->scorers[r])
			goto failed;
	}
	for (; !several->trains && several->scorers_open < count; several->scorers_open++)
		if (cuda_open_state(several->scorers[several->scorers_open], numbers[several->scorers_open], error) < 0)
			goto failed;
	describe(several, of);
	return several;
failed:
	several_close(several);
	return NULL;
}

void several_close(struct several *several)
{
	comm_close(several->comm);
	for (size_t r = 0; r < several->count; r++) {
		struct backend_state *const states[] = {several->ranks[r].state, several->scorers[r]};
		for (size_t i = 0; i < COUNT_OF(states); i++) {
			if (!states[i])
				continue;
			cuda_leave(states[i]);
			free(states[i]->catalogue);
			free(states[i]);
		}
		free(several->ranks[r].steps);
	}
	free(several);
}

static int finish_ranks(struct several *several, struct error *error)
{
	int status = 0;
	for (size_t r = 0; r < several->count; r++) {
		struct device *device = several->trains ? &several->ranks[r].state->device : &several->scorers[r]->device;
		device_use(device);
		if (device_finish(device, error) < 0)
			status = -1;
	}
	return status;
}

static float *block_of(const struct backend_state *state, size_t which)
{
	float *const blocks[] = {state->values, state->moment1, state->moment2};
	return blocks[which];
}

static int no_moments(struct error *error)
{
	return cuda_error(error, CODE_BUG, "no moments: this backend was opened for scoring only");
}

/* Between a rank's rows of one set and those of the whole, which one of `from` and `to` is. */
static void copy_rows(const struct several *several, size_t rank, size_t which, const struct parameters *from,
                      const struct parameters *to)
{
	const struct rank *r = &several->ranks[rank];
	float *const block = block_of(r->state, which);
	device_use(&r->state->device);
	for (size_t m = 0; m < several->matrix_count; m++) {
		const struct spread *matrix = &several->matrices[m];
		const struct range range = range_of(several, rank, matrix);
		const size_t at = range.first * matrix->stride, bytes = range.count * matrix->stride * sizeof(float);
		if (from)
			device_upload(&r->state->device, STREAM_WORK, block + r->at[m], from->matrices[m].values + at, bytes);
		else if (matrix->side < SIDES || rank == 0)
			device_download(&r->state->device, STREAM_WORK, to->matrices[m].values + at, block + r->at[m], bytes);
	}
}

int several_get(struct several *several, struct parameters *const of[3], uint64_t *step, struct error *error)
{
	for (size_t i = 0; i < 3; i++) {
		if (!several->trains && i > 0 && of[i])
			return no_moments(error);
		for (size_t r = 0; of[i] && several->trains && r < several->count; r++)
			copy_rows(several, r, i, NULL, of[i]);
		if (of[i] && !several->trains) {
			struct backend_state *scorer = several->scorers[0];
			device_use(&scorer->device);
			device_download(&scorer->device, STREAM_WORK, of[i]->block, scorer->values, scorer->size * sizeof(float));
		}
	}
	if (step)
		*step = several->step;
	return finish_ranks(several, error);
}

int several_put(struct several *several, const struct parameters *const of[3], uint64_t step, struct error *error)
{
	for (size_t i = 0; i < 3; i++) {
		if (!several->trains && i > 0 && of[i])
			return no_moments(error);
		for (size_t r = 0; of[i] && several->trains && r < several->count; r++)
			copy_rows(several, r, i, of[i], NULL);
		for (size_t r = 0; of[i] && !several->trains && r < several->count; r++) {
			struct backend_state *scorer = several->scorers[r];
			device_use(&scorer->device);
			device_upload(&scorer->device, STREAM_WORK, scorer->values, of[i]->block, scorer->size * sizeof(float));
			cuda_values_changed(scorer);
		}
	}
	several->step = step;
	for (size_t r = 0; several->trains && r < several->count; r++)
		several->ranks[r].state->step = step;
	several->scorers_current = !several->trains;
	return finish_ranks(several, error);
}
