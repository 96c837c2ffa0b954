/* What products by tensor cores need of a device, and how their tiles share its memory. */
#include "state.h"

#include <math.h>

enum { OLDEST_CAPABILITY = 80 };

int cuda_check_precision(const struct backend_state *state, struct error *error)
{
	const enum precision kind = state->options.precision;
	const uint32_t capability = state->device.capability;
	if (kind == PRECISION_FP32 || capability >= OLDEST_CAPABILITY)
		return 0;
	return cuda_error(error, CODE_USAGE, "products of %s need a device of compute capability 8.0, cuda:%d is of %u.%u: "
	                  "--precision fp32 is for all", kind == PRECISION_TF32 ? "tf32" : "bf16", state->device.number,
	                  capability / 10, capability % 10);
}

/* What a sample costs beside its products, in floats from the second-level cache: weights (single precision, whatever
 * their copies are), forward and back, and gradients that are not shared come from there once a tile. A multiprocessor
 * gets about five times as much out of shared memory, from which weights are read once for 32 samples, or 16. */
static double cost_of(const struct plan *plan, enum precision kind, size_t weights)
{
	const double passes = plan->gradient_floats > 0 ? 2 : 1, tile = plan->tile;
	const double shared = passes * (double)weights / (tile < 32 ? tile : 32) / 5;
	const double from_afar = plan->weight_floats > 0 ? 0 : passes * (double)weights * (kind == PRECISION_BF16 ? 2 : 1);
	return shared + (from_afar + (plan->shares_gradient ? 0.0 : 2.0 * plan->gradient_floats)) / tile;
}

/* Tries what may be beside a tile of `tile` samples within `limit`; better ones replace `best`. */
static void try_tile(const struct plan *of, uint32_t tile, enum precision kind, size_t weights, size_t limit,
                     struct plan *best, double *least_cost)
{
	for (int choice = 0; choice < 4; choice++) {
		struct plan plan = *of;
		plan.tile = tile;
		plan.pitch = tile + tile_pad(kind);
		plan.shares_tile = true;
		plan.shares_gradient = (choice & 1) == 0 && plan.gradient_floats > 0;
		plan.weight_floats = (choice & 2) == 0 ? (uint32_t)weights : 0;
		plan.shared_bytes = cuda_plan_bytes(&plan);
		const double cost = cost_of(&plan, kind, weights);
		if (plan.shared_bytes > limit || cost >= *least_cost)
			continue;
		*least_cost = cost;
		*best = plan;
	}
}

void cuda_choose_tensor_shares(struct plan *plan, enum precision kind, size_t weights, uint32_t least, size_t half,
                               size_t limit)
{
	const struct plan of = *plan;
	double cost = INFINITY;
	for (uint32_t tile = 64; tile >= 32 && tile >= least; tile /= 2)
		try_tile(&of, tile, kind, weights, half, plan, &cost);
	for (uint32_t tile = 64; tile >= 16 && tile >= least; tile /= 2)
		try_tile(&of, tile, kind, weights, limit, plan, &cost);
	if (cost < INFINITY)
		return;
	plan->tile = 64;
	plan->pitch = plan->tile + tile_pad(kind);
	plan->shares_tile = plan->shares_gradient = false;
	plan->weight_floats = 0;
	plan->shared_bytes = cuda_plan_bytes(plan);
}
