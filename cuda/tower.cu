/* The tower over tiles of samples: from the halves of the first layer to the logits, the loss, and back to the gradients
 * of the first layer, without leaving the block's tile. Gradients of the layers are added up by each block over its
 * share of the tiles. */
#include "plain.h"
#include "tile_phases.h"
#include "tower.h"
#include "wide.h"

ON_DEVICE struct product layer_product(const struct tower_arguments *a, const struct workspace *w, uint32_t l,
                                       const unsigned known, const enum precision kind)
{
	const struct layer *layer = &a->tower.layers[l];
	struct product p;
	p.aligned = (known & WEIGHTS_SHARED) || (kind == PRECISION_FP32 && w->weights);
	p.weight = p.aligned ? w->weights + layer->weight_at : a->values + layer->weight;
	p.stride = p.aligned ? layer_pitch(kind, layer->inputs, layer->outputs) : layer->stride;
	p.inputs = layer->inputs;
	p.outputs = layer->outputs;
	p.bias = a->values + layer->bias;
	p.in = w->units + (size_t)(l == 0 ? 0 : a->tower.layers[l - 1].unit_at) * a->plan.pitch;
	p.out = w->units + (size_t)layer->unit_at * a->plan.pitch;
	p.tile = a->plan.tile;
	p.pitch = a->plan.pitch;
	return p;
}

ON_DEVICE void copy_weights(uint32_t t, const struct tower_arguments *a, const struct workspace *w,
                            const enum precision kind)
{
	for (uint32_t l = 0; w->weights && l < a->tower.layer_count; l++) {
		const struct layer *layer = &a->tower.layers[l];
		copy_layer(kind, t, a->values + layer->weight, layer->stride, layer->inputs, layer->outputs,
		           w->weights + layer->weight_at);
	}
}

/* a1 = relu(user half + item half), zeros behind the `count` samples. */
ON_DEVICE void load_samples(uint32_t t, const struct tower_arguments *a, float *units, uint32_t first, uint32_t count)
{
	for (uint32_t s = t / WARP * 4; s < a->plan.tile; s += WARPS * 4) {
		const float *user[4], *item[4];
		for (uint32_t i = 0; i < 4; i++)
			find_halves(a, first + least_of(s + i, count - 1), &user[i], &item[i]);
		for (uint32_t n = t % WARP; n < a->tower.width; n += WARP) {
			float four[4];
			for (uint32_t i = 0; i < 4; i++)
				four[i] = s + i < count ? relu(user[i][n] + item[i][n]) : 0.0f;
			put_four(units, a->plan.pitch, s, n, four);
		}
	}
}

/* ---- dropout ---- */

ON_DEVICE void drop_layer(uint32_t t, const struct tower_arguments *a, uint32_t l, uint32_t outputs, float *out,
                          uint32_t first, uint32_t count)
{
	for (uint32_t i = t; i < outputs * a->plan.tile; i += THREADS) {
		const uint32_t u = i / a->plan.tile, s = i % a->plan.tile;
		float *at = out + (size_t)u * a->plan.pitch + s;
		if (s < count)
			*at = dropped(a, l, outputs, u, first + s, *at);
	}
}

/* ---- the loss ---- */

/* Logits of the tile become their gradients; returns the losses of this thread's samples or groups. */
ON_DEVICE double tile_loss(uint32_t t, const struct tower_arguments *a, float *z, uint32_t first, uint32_t count)
{
	const float scale = loss_scale(a);
	const uint32_t group = a->loss == LOSS_BINARY ? 1 : a->group;
	double loss = 0.0;
	for (uint32_t s = t * group; s < count; s += THREADS * group)
		loss += take_loss(a, z + s, first + s, group, scale);
	for (uint32_t s = count + t; s < a->plan.tile; s += THREADS)
		z[s] = 0.0f;
	return loss;
}

/* A block's share of the tiles. */
ON_DEVICE void train_share(const struct tower_arguments *a, const unsigned known, const enum precision kind)
{
	const struct workspace w = workspace_of(&a->plan, known);
	double *const losses = (double *)(void *)w.further;
	const uint32_t samples = a->step->samples, tiles = (samples + a->tile_samples - 1) / a->tile_samples;
	const uint32_t end = share_begin(tiles, BLOCKS, BLOCK + 1), layers = a->tower.layer_count;
	EACH_THREAD(t) {
		clear_gradient(t, &a->plan, &w);
		copy_weights(t, a, &w, kind);
		losses[t] = 0.0;
	}
	for (uint32_t tile = share_begin(tiles, BLOCKS, BLOCK); tile < end; tile++) {
		const uint32_t first = tile * a->tile_samples, count = least_of(samples - first, a->tile_samples);
		EACH_THREAD(t) load_samples(t, a, w.units, first, count);
		if (a->threshold > 0)
			EACH_THREAD(t) drop_layer(t, a, 0, a->tower.width, w.units, first, count);
		for (uint32_t l = 0; l < layers; l++) {
			const struct product p = layer_product(a, &w, l, known, kind);
			forward_phase(kind, &p, l + 1 < layers);
			if (a->threshold > 0 && l + 1 < layers)
				EACH_THREAD(t) drop_layer(t, a, l + 1, p.outputs, p.out, first, count);
		}
		float *const z = layer_product(a, &w, layers - 1, known, kind).out;
		EACH_THREAD(t) losses[t] += tile_loss(t, a, z, first, count);
		for (uint32_t l = layers; l-- > 0;) {
			const struct product p = layer_product(a, &w, l, known, kind);
			gradient_phase(kind, &p, w.gradient + a->tower.layers[l].gradient_at, true);
			backward_phase(kind, &p, MASK_POSITIVE, a->kept);
		}
		EACH_THREAD(t) store_rows(t, w.units, a->plan.pitch, a->tower.width, first, count, a->z1_gradients);
	}
	EACH_THREAD(t) {
		keep_gradient(t, &a->plan, &w);
		for (uint32_t i = 1; t == 0 && i < THREADS; i++)
			losses[0] += losses[i];
		if (t == 0)
			a->losses[BLOCK] = losses[0];
	}
}

KERNEL(train_tiles, struct tower_arguments)
{
	train_share(&a, 0, PRECISION_FP32);
}

KERNEL_OF_TWO(train_tiles_shared, struct tower_arguments)
{
	train_share(&a, ALL_SHARED, PRECISION_FP32);
}

TENSOR_KERNELS(train_tiles, struct tower_arguments, train_share)

ON_DEVICE void score_share(const struct tower_arguments *a, const unsigned known, const enum precision kind)
{
	const struct workspace w = workspace_of(&a->plan, known);
	const uint32_t tiles = (a->pairs + a->plan.tile - 1) / a->plan.tile, layers = a->tower.layer_count;
	EACH_THREAD(t) copy_weights(t, a, &w, kind);
	for (uint32_t tile = BLOCK; tile < tiles; tile += BLOCKS) {
		const uint32_t first = tile * a->plan.tile, count = least_of(a->pairs - first, a->plan.tile);
		EACH_THREAD(t) load_samples(t, a, w.units, first, count);
		for (uint32_t l = 0; l < layers; l++) {
			const struct product p = layer_product(a, &w, l, known, kind);
			forward_phase(kind, &p, l + 1 < layers);
		}
		const float *const z = layer_product(a, &w, layers - 1, known, kind).out;
		EACH_THREAD(t) {
			for (uint32_t s = t; s < count; s += THREADS)
				a->scores[first + s] = z[s];
		}
	}
}

KERNEL(score_tiles, struct tower_arguments)
{
	score_share(&a, 0, PRECISION_FP32);
}

KERNEL(score_tiles_shared, struct tower_arguments)
{
	score_share(&a, ALL_SHARED, PRECISION_FP32);
}

TENSOR_KERNELS(score_tiles, struct tower_arguments, score_share)

static void set_dropout(const struct backend_state *state, struct tower_arguments *a)
{
	/* The constants are those of common/kernels.h and kernels_tail.h. */
	enum { ROWS = 60, TAIL_OUTPUTS_MAX = 8, TAIL_INPUTS_MAX = 64 };
	const double dropout = state->options.optimizer.dropout;
	const struct tower *tower = &state->tower;
	a->threshold = (uint32_t)(dropout * 256.0 + 0.5);
	a->kept = dropout > 0.0 ? 256.0f / (256.0f - (float)a->threshold) : 1.0f;
	a->seed = state->options.seed;
	a->block_samples = state->group <= ROWS ? ROWS / state->group * state->group : (uint32_t)ROWS;
	uint32_t wide = tower->layer_count; /* of all layers, the first among them */
	while (wide > 1 && tower->layers[wide - 2].outputs <= TAIL_OUTPUTS_MAX && tower->layers[wide - 2].inputs <= TAIL_INPUTS_MAX)
		wide--;
	a->wide_layers = wide;
}

struct tower_arguments cuda_training_arguments(const struct backend_state *state, const struct batch *batch,
                                               const struct step *step)
{
	struct tower_arguments a;
	memset(&a, 0, sizeof a);
	a.tower = state->tower;
	a.plan = state->through;
	a.batch = *batch;
	a.step = step;
	a.values = state->values;
	a.user_parts = state->sides[SIDE_USER].parts;
	a.item_parts = state->sides[SIDE_ITEM].parts;
	a.offsets = state->offsets;
	a.z1_gradients = state->z1_gradients;
	a.logits = state->logits;
	a.losses = state->losses;
	a.group = state->group;
	a.tile_samples = state->group <= a.plan.tile ? a.plan.tile / state->group * state->group : a.plan.tile;
	a.loss = state->options.loss;
	a.has_factors = state->has_factors;
	set_dropout(state, &a);
	return a;
}

void cuda_train_tower(struct backend_state *state, const struct batch *batch, const struct step *step)
{
	if (state->plain.chosen) {
		cuda_plain_train(state, batch, step);
		return;
	}
	const struct tower_arguments a = cuda_training_arguments(state, batch, step);
	if (a.plan.wide)
		cuda_wide_train(state, &a);
	else if (a.plan.narrow)
		cuda_train_narrow(state, &a);
	else
		LAUNCH_PRODUCTS(state, train_tiles, &a.plan, a.plan.blocks, a);
}

void cuda_score_tower(struct backend_state *state, const float *user_parts, const uint32_t *user_slots,
                      const uint32_t *items, uint32_t first_item, uint32_t items_a_user, uint32_t pairs, float *scores)
{
	struct tower_arguments a;
	memset(&a, 0, sizeof a);
	a.tower = state->tower;
	a.plan = state->forward;
	a.values = state->values;
	a.user_parts = user_parts;
	a.item_parts = state->scoring.item_parts;
	a.user_slots = user_slots;
	a.items = items;
	a.first_item = first_item;
	a.items_a_user = items_a_user;
	a.pairs = pairs;
	a.scores = scores;
	if (state->plain_forward.chosen) {
		cuda_plain_score(state, &a);
		return;
	}
	if (a.plan.wide) {
		cuda_wide_score(state, &a);
		return;
	}
	if (a.plan.narrow) {
		cuda_score_narrow(state, &a);
		return;
	}
	const uint32_t blocks = blocks_for(pairs, a.plan.tile, a.plan.blocks);
	LAUNCH_PRODUCTS(state, score_tiles, &a.plan, blocks, a);
}
