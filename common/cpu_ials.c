/* Training by sweeps (LOSS_SQUARES) on the CPU: the module ials, on the backend's own tables. */
#include "cpu_state.h"

int cpu_ials_init(struct backend_state *state, struct error *error)
{
	const struct optimizer_options *o = &state->options.optimizer;
	const struct ials_options options = {
		.factors = state->shape.factors, .regularization = o->regularization, .unobserved = o->unobserved,
		.scaling = o->scaling, .threads = state->options.threads, .isa = state->options.isa,
	};
	state->ials = ials_open(state->options.histories, &options, error);
	return state->ials ? 0 : -1;
}

int cpu_ials_train(struct backend_state *state, const struct train_span *span, struct train_result *result,
                   struct error *error)
{
	float *users = state->values.matrices[state->sides[SIDE_USER].factors].values;
	float *items = state->values.matrices[state->sides[SIDE_ITEM].factors].values;
	*result = (struct train_result){0};
	state->items_current = false;
	for (uint64_t sweep = span->begin; sweep < span->end; sweep++) {
		double objective;
		if (ials_sweep(state->ials, users, items, &objective, error) < 0)
			return -1;
		state->step++;
		result->loss_sum += objective;
		result->samples += state->options.histories->count;
	}
	return 0;
}
