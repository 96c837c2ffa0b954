/* Training by users: what it needs, and the course of a batch. by_users.h tells how the work is cut. */
#include "by_users.h"

int cuda_catalogue_check(const struct backend_state *state, struct error *error)
{
	const struct model_shape *shape = &state->shape;
	const struct backend_options *options = &state->options;
	const bool history = shape->kind == MODEL_HISTORY, trains = options->batch_groups > 0;
	const bool by_users = trains && options->loss == LOSS_CATALOGUE;
	if (by_users && shape->kind != MODEL_MF && !history)
		return cuda_error(error, CODE_USAGE, "only mf and history are trained against the whole catalogue");
	if (history && trains && !by_users)
		return cuda_error(error, CODE_USAGE, "a history model is trained against the whole catalogue alone");
	if ((history || by_users) && !options->histories)
		return cuda_error(error, CODE_USAGE, "the users' histories are needed (interactions, not samples of them)");
	if (by_users && options->histories->count > UINT32_MAX)
		return cuda_error(error, CODE_USAGE, "more than 2^32 - 1 interactions are too many for the CUDA backend to train by users");
	if (shape->features > 0 && (!options->features || options->features->items < shape->items ||
	                            options->features->count != shape->features))
		return cuda_error(error, CODE_USAGE, "the features of the model's items are needed");
	return 0;
}

int cuda_catalogue_lay_out(struct backend_state *state, const struct parameters *parameters, struct error *error)
{
	const struct table *items = &state->sides[SIDE_ITEM].factors;
	const bool by_users = state->options.batch_groups > 0 && state->options.loss == LOSS_CATALOGUE;
	if (state->shape.kind != MODEL_HISTORY && !by_users)
		return 0;
	struct catalogue_state *c = (struct catalogue_state *)calloc(1, sizeof *c);
	if (!c)
		return cuda_error(error, CODE_SYSTEM, "out of memory: the state of the CUDA backend");
	state->catalogue = c;
	c->history = cuda_find_table(parameters, "history_factors");
	c->features = cuda_find_table(parameters, "feature_factors");
	c->stride = items->stride;
	c->columns = state->shape.factors;
	return 0;
}

int cuda_catalogue_open(struct backend_state *state, struct error *error)
{
	if (!state->catalogue)
		return 0;
	state->catalogue->item_rows = state->values + state->sides[SIDE_ITEM].factors.at;
	if (cuda_copy_interactions(state, state->options.histories, &state->catalogue->histories, "the users' histories",
	                           error) < 0)
		return -1;
	return state->shape.features > 0 ? cuda_features_init(state, error) : 0;
}

/* ---- what training needs ---- */

/* Where features speak for items that nobody interacted with, those tell nothing of themselves: they are not pushed down. */
static int find_cold_items(struct backend_state *state, struct error *error)
{
	const struct interactions *histories = state->options.histories;
	struct catalogue_state *c = state->catalogue;
	const uint32_t items = state->shape.items;
	if (state->shape.features == 0)
		return 0;
	uint32_t *cold = (uint32_t *)malloc(items * sizeof *cold);
	if (!cold)
		return cuda_error(error, CODE_SYSTEM, "out of memory: the items without interactions");
	for (uint32_t n = 0; n < items; n++)
		if (n >= histories->items || histories->popularity[n] == 0)
			cold[c->cold_count++] = n;
	c->cold = (uint32_t *)device_alloc(&state->device, c->cold_count, sizeof *cold, "the items without interactions", error);
	if (c->cold)
		device_upload(&state->device, STREAM_WORK, c->cold, cold, c->cold_count * sizeof *cold);
	free(cold);
	return c->cold ? 0 : -1;
}

/* The last chunk holds an item at least. */
static void cut(struct backend_state *state)
{
	struct catalogue_state *c = state->catalogue;
	const uint32_t items = state->shape.items, most = state->groups_max < ROUND_USERS ? state->groups_max : (uint32_t)ROUND_USERS;
	c->pitch = (items + 31) / 32 * 32;
	c->round = ROUND_SCORES / c->pitch > 64 ? ROUND_SCORES / c->pitch : 64;
	c->round = c->round < most ? c->round : most;
	c->chunk = (items + CHUNKS_MAX - 1) / CHUNKS_MAX;
	c->chunk = c->chunk > CHUNK_ITEMS ? (c->chunk + 15) / 16 * 16 : (uint32_t)CHUNK_ITEMS;
	c->chunks = (items + c->chunk - 1) / c->chunk;
	c->pieces = (items + PIECE_ITEMS - 1) / PIECE_ITEMS;
	c->words = (state->groups_max + 31) / 32;
}

static int init_users(struct backend_state *state, struct error *error)
{
	static const char what[] = "a batch of users";
	struct catalogue_state *c = state->catalogue;
	struct device *device = &state->device;
	const size_t users = state->groups_max;
	c->targets = (uint32_t *)device_alloc(device, users, sizeof *c->targets, what, error);
	c->target_sum = (uint32_t *)device_alloc(device, 1, sizeof *c->target_sum, what, error);
	c->norms = device_floats(&state->device, users, what, error);
	c->queries = device_floats(&state->device, c->round * c->stride, what, error);
	c->query_gradients = device_floats(&state->device, users * c->stride, what, error);
	if (!c->targets || !c->target_sum || !c->norms || !c->queries || !c->query_gradients)
		return -1;
	if (state->shape.kind != MODEL_HISTORY)
		return 0;
	c->put_in = (uint8_t *)device_alloc(device, (size_t)state->options.histories->count, 1, what, error);
	c->uses = (uint32_t *)device_alloc(device, (size_t)state->shape.items * c->words, sizeof *c->uses, what, error);
	return c->put_in && c->uses ? 0 : -1;
}

static int init_scores(struct backend_state *state, struct error *error)
{
	static const char what[] = "the scores of a round of users";
	struct catalogue_state *c = state->catalogue;
	struct device *device = &state->device;
	const size_t pieces = (size_t)c->round * c->pieces;
	c->scores = device_floats(&state->device, (size_t)c->round * c->pitch, what, error);
	c->partials = device_floats(&state->device, (size_t)c->chunks * c->round * c->stride, what, error);
	c->largest = device_floats(&state->device, pieces, what, error);
	c->totals = (double *)device_alloc(device, pieces, sizeof(double), what, error);
	c->found = (double *)device_alloc(device, pieces, sizeof(double), what, error);
	c->losses = (double *)device_alloc(device, c->round, sizeof(double), what, error);
	if (!c->scores || !c->partials || !c->largest || !c->totals || !c->found || !c->losses)
		return -1;
	if (c->round == state->groups_max && !c->own_rows)
		return 0;
	c->item_gradients = device_floats(&state->device, state->shape.items * c->stride, "the gradients of the items", error);
	return c->item_gradients ? 0 : -1;
}

int cuda_catalogue_init(struct backend_state *state, struct error *error)
{
	state->groups_max = state->samples_max = state->options.batch_groups;
	cut(state);
	state->loss_sum = (double *)device_alloc(&state->device, 1, sizeof(double), "the loss", error);
	state->missing_sum = (uint64_t *)device_alloc(&state->device, 1, sizeof(uint64_t), "the loss", error);
	if (!state->loss_sum || !state->missing_sum || find_cold_items(state, error) < 0 || init_users(state, error) < 0)
		return -1;
	return init_scores(state, error);
}

/* ---- the course ---- */

struct round_arguments cuda_round(const struct backend_state *state)
{
	struct round_arguments a;
	memset(&a, 0, sizeof a);
	a.c = *state->catalogue;
	a.trained = trained_of(state);
	a.own = state->sides[SIDE_USER].factors;
	a.item_table = state->sides[SIDE_ITEM].factors;
	a.items = state->shape.items;
	a.threshold = (uint32_t)(state->options.optimizer.dropout * 0x1p32);
	a.puts_in = state->shape.kind == MODEL_HISTORY;
	a.seed = state->options.seed;
	a.loss_sum = state->loss_sum;
	a.target_total = state->missing_sum;
	return a;
}

static void train_round(struct backend_state *state, const struct round_arguments *round)
{
	cuda_round_queries(state, round);
	cuda_score_round(state, round);
	cuda_softmax(state, round);
	cuda_back_to_users(state, round);
	cuda_back_to_items(state, round);
	cuda_finish_users(state, round);
}

void cuda_train_users(struct backend_state *state, const struct train_span *span, size_t first, uint32_t count,
                      const struct step *step)
{
	struct catalogue_state *c = state->catalogue;
	cuda_item_rows(state);
	struct round_arguments a = cuda_round(state);
	a.users = c->users + first;
	a.count = count;
	a.step = step;
	a.epoch = span->epoch;
	cuda_choose(state, &a);
	if (a.puts_in)
		device_zero(&state->device, STREAM_WORK, c->uses, (size_t)state->shape.items * c->words * sizeof *c->uses);
	for (a.first = 0; a.first < count; a.first += c->round) {
		a.count = count - a.first < c->round ? count - a.first : c->round;
		a.first_round = a.first == 0;
		a.last_round = a.first + a.count == count;
		train_round(state, &a);
	}
	a.first = 0;
	a.count = count;
	if (a.puts_in)
		cuda_step_history(state, &a);
	if (c->own_rows)
		cuda_step_features(state, &a);
}

static int more_users(struct backend_state *state, size_t count, struct error *error)
{
	struct catalogue_state *c = state->catalogue;
	if (count <= c->users_max)
		return 0;
	device_release(&state->device, c->users);
	c->users_max = 0;
	c->users = (uint32_t *)device_alloc(&state->device, count, sizeof *c->users, "a span's users", error);
	c->users_max = c->users ? count : 0;
	return c->users ? 0 : -1;
}

int cuda_catalogue_span(struct backend_state *state, const struct train_span *span, struct error *error)
{
	const size_t count = (size_t)(span->end - span->begin);
	if (more_users(state, count, error) < 0)
		return -1;
	device_upload(&state->device, STREAM_WORK, state->catalogue->users, span->users, count * sizeof *span->users);
	return 0;
}
