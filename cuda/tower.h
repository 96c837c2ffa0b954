/* What a sample is to the tower, whichever way that goes: tiles that stay in a block (tower.cu), or whole matrices
 * (plain.cu). */
#ifndef RECPIPE_CUDA_TOWER_H
#define RECPIPE_CUDA_TOWER_H

#include "loss.h"
#include "state.h"

struct tower_arguments {
	struct tower tower;
	struct plan plan;
	struct batch batch;
	const struct step *step;
	const float *values, *user_parts, *item_parts, *offsets;
	float *z1_gradients, *logits;
	double *losses;
	uint32_t group, tile_samples; /* samples that a tile takes: whole groups where the loss needs them */
	enum loss loss;
	bool has_factors;
	/* Dropout, as common/kernels_tail_isa.c has it: of 256, how many are dropped; layers that go a row a sample. */
	uint32_t threshold, wide_layers, block_samples;
	float kept;
	uint64_t seed;
	/* Scoring */
	const uint32_t *user_slots, *items;
	uint32_t first_item, items_a_user, pairs;
	float *scores;
};

/* Which rows of both halves sample s is made of. */
ON_DEVICE void find_slots(const struct tower_arguments *a, uint32_t s, uint32_t *user, uint32_t *item)
{
	const uint32_t *users = a->scores ? a->user_slots : a->batch.sides[SIDE_USER].slots;
	const uint32_t *items = a->scores ? a->items : a->batch.sides[SIDE_ITEM].slots;
	*user = a->scores ? (users ? users[s] : s / a->items_a_user) : users[s / a->group];
	*item = items ? items[s] : a->first_item + s % a->items_a_user;
}

ON_DEVICE void find_halves(const struct tower_arguments *a, uint32_t s, const float **user, const float **item)
{
	uint32_t u, i;
	find_slots(a, s, &u, &i);
	*user = a->user_parts + (size_t)u * a->tower.width;
	*item = a->item_parts + (size_t)i * a->tower.width;
}

/* ---- dropout ---- */

/* Which byte of which block decides depends on where the CPU keeps the activation: unit u of sample `position`. */
ON_DEVICE bool drops(const struct tower_arguments *a, uint32_t l, uint32_t outputs, uint32_t u, uint32_t position)
{
	enum { LANES = 16, LANES_OF_TAIL = 64 };
	const uint32_t s = position % a->block_samples;
	const bool wide = l < a->wide_layers;
	const uint32_t vector = wide ? s * ((outputs + LANES - 1) / LANES) + u / LANES : u * (LANES_OF_TAIL / LANES) + s / LANES;
	const uint32_t lane = wide ? u % LANES : s % LANES;
	uint32_t words[4];
	philox(a->seed, 6u << 24 | l, (a->step->number << 24) + position - s, vector / 16 * 16 + lane, words);
	/* A register each: no array that is indexed at run time. */
	const uint32_t w = vector % 16 / 4, word = w == 0 ? words[0] : w == 1 ? words[1] : w == 2 ? words[2] : words[3];
	return (word >> vector % 4 * 8 & 255u) < a->threshold;
}

/* The activation of unit u of layer l's output (0: the first layer's) of sample s, behind its dropout. */
ON_DEVICE float dropped(const struct tower_arguments *a, uint32_t l, uint32_t outputs, uint32_t u, uint32_t s, float value)
{
	return drops(a, l, outputs, u, a->step->first_sample + s) ? 0.0f : value * a->kept;
}

/* ---- the loss ---- */

/* One over the batch's samples. */
ON_DEVICE float loss_scale(const struct tower_arguments *a)
{
	return 1.0f / (float)(a->step->samples_of_all - *a->batch.missing);
}

ON_DEVICE void take_logit(const struct tower_arguments *a, float *z, uint32_t s, float of_factors)
{
	if (a->has_factors)
		*z = of_factors + *z;
	if (a->offsets)
		*z -= a->offsets[a->batch.items[s]];
}

/* Logit z of sample s, which loses by itself, becomes its gradient. Returns its loss. */
ON_DEVICE double take_sample(const struct tower_arguments *a, float *z, uint32_t s, float of_factors, float weight, float scale)
{
	take_logit(a, z, s, of_factors);
	const double loss = sample_loss(z, s % a->group == 0, weight, scale);
	if (a->has_factors)
		a->logits[s] = *z;
	return loss;
}

/* Logits z of samples [s, s + group), which are one or a group, become their gradients. Returns their loss. */
ON_DEVICE double take_weighted_loss(const struct tower_arguments *a, float *z, const float *weights, uint32_t s,
                                    uint32_t group, float scale)
{
	if (a->loss == LOSS_BINARY)
		return take_sample(a, z, s, a->has_factors ? a->logits[s] : 0.0f, weights[0], scale);
	for (uint32_t i = 0; i < group; i++)
		take_logit(a, z + i, s + i, a->has_factors ? a->logits[s + i] : 0.0f);
	const double loss = group_loss(a->loss, z, weights, group, scale);
	for (uint32_t i = 0; i < group && a->has_factors; i++)
		a->logits[s + i] = z[i];
	return loss;
}

ON_DEVICE double take_loss(const struct tower_arguments *a, float *z, uint32_t s, uint32_t group, float scale)
{
	return take_weighted_loss(a, z, a->batch.weights + s, s, group, scale);
}

/* tower.cu: what training a batch takes. */
struct tower_arguments cuda_training_arguments(const struct backend_state *state, const struct batch *batch,
                                               const struct step *step);

/* narrow.cu: 1 where that is what the tower goes by, with the plan made; 0: not; -1 on error. */
MUST_CHECK int cuda_plan_narrow(struct backend_state *state, struct plan *plan, bool trains, struct error *error);
void cuda_train_narrow(struct backend_state *state, const struct tower_arguments *of);
void cuda_score_narrow(struct backend_state *state, const struct tower_arguments *of);

#endif
