/* The recipes were picked on validation parts alone: docs/results.md tells how, and what they reach. */
#include "recipe.h"

#include <math.h>

enum { BATCH_LEAST = 640, BATCH_MOST = 40960, BATCHES_AN_EPOCH = 400 };

const struct recipe *recipe_of(enum model_kind kind)
{
	static const struct recipe recipes[MODEL_KINDS] = {
		[MODEL_MLP] = {LOSS_BINARY, 64, 20, 0, 0, 0.1, 0.1, 0.8},
		[MODEL_GMF] = {LOSS_BINARY, 64, 20, 0, 0, 0.1, 0, 0.8},
		[MODEL_NEUMF] = {LOSS_BINARY, 64, 20, 0, 0, 0.1, 0.1, 0.8},
		[MODEL_MF] = {LOSS_CATALOGUE, 256, 50, 120, 1e-2, 2, 0, 0.8},
		[MODEL_HISTORY] = {LOSS_CATALOGUE, 256, 40, 120, 3e-3, 0.3, 0.5, 0.8},
		[MODEL_IALS] = {LOSS_SQUARES, 256, 6, 1, 1, 0, 0, 0},
	};
	return &recipes[kind];
}

int64_t recipe_batch(uint64_t samples)
{
	int64_t batch = BATCH_LEAST;
	while (batch < BATCH_MOST && samples / BATCHES_AN_EPOCH >= 2 * (uint64_t)batch)
		batch *= 2;
	return batch;
}

/* The square root, as the noise of a mean over the batch goes. */
double recipe_rate(int64_t batch)
{
	return 1e-3 * sqrt((double)(batch < BATCH_LEAST ? BATCH_LEAST : batch) / BATCH_LEAST);
}
