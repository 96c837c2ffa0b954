/* Features of items: an item's row is its own and those of its features, and a feature's gradient the sum of its items'. */
#include "by_users.h"

/* ---- forward ---- */

KERNEL(make_item_rows, struct round_arguments)
{
	const uint64_t size = (uint64_t)a.items * a.c.stride;
	EACH_THREAD(t) {
		for (uint64_t i = (uint64_t)BLOCK * THREADS + t; i < size; i += (uint64_t)BLOCKS * THREADS) {
			const uint32_t n = (uint32_t)(i / a.c.stride), k = (uint32_t)(i % a.c.stride);
			float value = a.trained.values[a.item_table.at + i];
			for (uint32_t f = a.c.index.offsets[n]; f < a.c.index.offsets[n + 1]; f++)
				value += a.trained.values[a.c.features.at + a.c.index.of_items[f] * a.c.features.stride + k];
			a.c.item_rows[i] = value;
		}
	}
}

const float *cuda_item_rows(struct backend_state *state)
{
	struct catalogue_state *c = state->catalogue;
	if (c->own_rows && !c->rows_current) {
		const struct round_arguments a = cuda_round(state);
		LAUNCH(&state->device, STREAM_WORK, make_item_rows, blocks_for((uint64_t)a.items * c->stride, THREADS, GRID_WIDE), 0, a);
	}
	c->rows_current = true;
	return c->item_rows;
}

/* ---- back ---- */

/* A chunk a block. */
KERNEL(sum_uses, struct round_arguments)
{
	const bool idle = *a.c.target_sum == 0;
	for (uint32_t chunk = BLOCK; chunk < a.c.index.chunks && !idle; chunk += BLOCKS)
		EACH_THREAD(t) {
			for (uint32_t k = t; k < a.c.columns + 2; k += THREADS) {
				float sum = 0.0f;
				for (uint32_t i = a.c.index.chunk_starts[chunk]; i < a.c.index.chunk_starts[chunk + 1]; i++)
					sum += k == a.c.columns ? 0.0f : a.c.item_gradients[(size_t)a.c.index.items[i] * a.c.stride + k];
				a.c.index.partials[(size_t)chunk * a.c.stride + k] = sum;
			}
		}
}

/* A feature a block: its chunks in order, Adam. */
KERNEL(step_features, struct round_arguments)
{
	const bool idle = *a.c.target_sum == 0;
	for (uint32_t f = BLOCK; f < a.c.features.rows && !idle; f += BLOCKS)
		EACH_THREAD(t) {
			for (uint32_t k = t; k < a.c.columns + 2; k += THREADS) {
				float sum = 0.0f;
				for (uint32_t chunk = a.c.index.first_chunks[f]; chunk < a.c.index.first_chunks[f + 1]; chunk++)
					sum += a.c.index.partials[(size_t)chunk * a.c.stride + k];
				adam(&a.trained, a.c.features.at + f * a.c.features.stride + k, sum, a.step, a.step->decay);
			}
		}
}

void cuda_step_features(struct backend_state *state, const struct round_arguments *round)
{
	LAUNCH(&state->device, STREAM_WORK, sum_uses, blocks_for(round->c.index.chunks, 1, GRID_WIDE), 0, *round);
	LAUNCH(&state->device, STREAM_WORK, step_features, blocks_for(round->c.features.rows, 1, GRID_WIDE), 0, *round);
	state->catalogue->rows_current = false;
}

/* ---- the index ---- */

static uint32_t *upload_words(struct backend_state *state, const uint32_t *from, size_t count, struct error *error)
{
	uint32_t *to = (uint32_t *)device_alloc(&state->device, count, sizeof *to, "the items' features", error);
	if (to)
		device_upload(&state->device, STREAM_WORK, to, from, count * sizeof *to);
	return to;
}

/* Items of each feature, ascending: starts[f] .. starts[f + 1] of `items`. */
static void invert(const struct item_features *features, uint32_t items, uint32_t *starts, uint32_t *of)
{
	for (uint32_t i = 0; i < features->offsets[items]; i++)
		starts[features->features[i] + 2]++;
	for (uint32_t f = 2; f < features->count + 2; f++)
		starts[f] += starts[f - 1];
	for (uint32_t n = 0; n < items; n++)
		for (uint32_t i = features->offsets[n]; i < features->offsets[n + 1]; i++)
			of[starts[features->features[i] + 1]++] = n;
}

/* Every feature's uses in chunks, none where it has none. */
static uint32_t cut_chunks(const uint32_t *starts, uint32_t features, uint32_t *chunk_starts, uint32_t *first_chunks)
{
	uint32_t chunks = 0;
	for (uint32_t f = 0; f < features; f++) {
		first_chunks[f] = chunks;
		for (uint32_t i = starts[f]; i < starts[f + 1]; i += FEATURE_USES)
			chunk_starts[chunks++] = i;
	}
	first_chunks[features] = chunks;
	chunk_starts[chunks] = starts[features];
	return chunks;
}

static int init_index(struct backend_state *state, struct error *error)
{
	const struct item_features *features = state->options.features;
	struct catalogue_state *c = state->catalogue;
	const uint32_t uses = features->offsets[state->shape.items], count = state->shape.features;
	const size_t chunks_most = uses / FEATURE_USES + (size_t)count;
	int status = -1;
	uint32_t *starts = (uint32_t *)calloc((size_t)count + 2, sizeof *starts);
	uint32_t *items = (uint32_t *)malloc((uses + (size_t)1) * sizeof *items);
	uint32_t *chunk_starts = (uint32_t *)malloc((chunks_most + 1) * sizeof *chunk_starts);
	uint32_t *first_chunks = (uint32_t *)malloc(((size_t)count + 1) * sizeof *first_chunks);
	if (!starts || !items || !chunk_starts || !first_chunks) {
		cuda_error(error, CODE_SYSTEM, "out of memory: the items' features");
		goto out;
	}
	invert(features, state->shape.items, starts, items);
	c->index.chunks = cut_chunks(starts, count, chunk_starts, first_chunks);
	c->index.items = upload_words(state, items, uses, error);
	c->index.chunk_starts = upload_words(state, chunk_starts, c->index.chunks + (size_t)1, error);
	c->index.first_chunks = upload_words(state, first_chunks, count + (size_t)1, error);
	c->index.partials = (float *)device_alloc(&state->device, c->index.chunks * c->stride, sizeof(float),
	                                          "the gradients of features", error);
	status = c->index.items && c->index.chunk_starts && c->index.first_chunks && c->index.partials ? 0 : -1;
out:
	free(starts);
	free(items);
	free(chunk_starts);
	free(first_chunks);
	return status;
}

int cuda_features_init(struct backend_state *state, struct error *error)
{
	const struct item_features *features = state->options.features;
	struct catalogue_state *c = state->catalogue;
	const size_t items = state->shape.items;
	c->index.offsets = upload_words(state, features->offsets, items + 1, error);
	c->index.of_items = c->index.offsets ? upload_words(state, features->features, features->offsets[items], error) : NULL;
	c->item_rows = (float *)device_alloc(&state->device, items * c->stride, sizeof(float), "the items' rows", error);
	if (!c->index.of_items || !c->item_rows)
		return -1;
	c->own_rows = true;
	return state->options.batch_groups > 0 ? init_index(state, error) : 0;
}
