/* Where the kernels of the seed's tower (narrow.h) are what it goes by, and by which tiles. */
#include "narrow_tile.h"

static bool has_this_tower(const struct tower *tower)
{
	static const uint32_t outputs[NARROW_LAYERS] = {N1, N2, N3, N4, 1};
	bool same = tower->width == N0 && tower->layer_count == NARROW_LAYERS;
	for (uint32_t l = 0; same && l < NARROW_LAYERS; l++)
		same = tower->layers[l].outputs == outputs[l];
	return same;
}

/* Tiles of `samples`, if they fit: into shared memory, and whole groups into them. */
static bool fits(const struct backend_state *state, struct plan *plan, uint32_t samples, uint32_t least, bool trains)
{
	plan->tile = samples;
	plan->pitch = narrow_pitch(samples);
	plan->shared_bytes = narrow_floats(samples, trains) * sizeof(float);
	return least <= samples && plan->shared_bytes <= state->device.shared_limit;
}

static bool choose_tile(const struct backend_state *state, struct plan *plan, uint32_t least, bool trains)
{
	if (!trains)
		return fits(state, plan, 64, 1, false) || fits(state, plan, 32, 1, false);
	/* A warp takes as long for a tile of 32 as for some of 8: those are for batches that leave most warps without one. */
	const uint32_t few = 32 * WARPS / 2 * state->device.processors;
	return (state->samples_max < few && fits(state, plan, 8, least, true)) || fits(state, plan, 32, least, true) ||
	       fits(state, plan, 8, least, true);
}

int cuda_plan_narrow(struct backend_state *state, struct plan *plan, bool trains, struct error *error)
{
	const uint32_t least = trains && state->options.loss != LOSS_BINARY ? state->group : 1;
	if (!has_this_tower(&state->tower) || (trains && state->options.optimizer.dropout > 0.0))
		return 0;
	memset(plan, 0, sizeof *plan);
	if (!choose_tile(state, plan, least, trains))
		return 0;
	plan->narrow = true;
	plan->blocks = state->device.processors * (trains || plan->tile == 64 ? 1 : 2);
	if (!trains)
		return 1;
	plan->blocks = blocks_for(state->samples_max, plan->tile / least * least, plan->blocks < GRID_MAX ? plan->blocks : (uint32_t)GRID_MAX);
	plan->gradient_floats = GRADIENT_FLOATS;
	plan->partials = (float *)device_alloc(&state->device, plan->blocks * (size_t)GRADIENT_FLOATS, sizeof(float),
	                                       "the gradient of the layers", error);
	return plan->partials ? 1 : -1;
}
