/* Adam on dense matrices, whose gradients are the sums of what blocks accumulated, and on whole tables (dense Adam). */
#include "adam.h"

/* A block takes LINE values, side by side, and cuts the copies to be summed into shares. */
enum { LINE = 32, SHARES = THREADS / LINE };

struct dense_arguments {
	struct segments segments;
	struct trained trained;
	const struct step *step;
	float *sums;              /* NULL, or where the gradients go instead: LINE of them a block */
};

ON_DEVICE float share_of_sum(const struct segment *s, uint32_t element, uint32_t share)
{
	const uint32_t end = share_begin(s->count, SHARES, share + 1);
	float sum = 0.0f;
	for (uint32_t c = share_begin(s->count, SHARES, share); c < end; c++)
		sum += s->partials[(size_t)c * s->stride + element];
	return sum;
}

KERNEL(step_dense, struct dense_arguments)
{
	float *const shares = shared_floats();
	uint32_t which = 0;
	while (a.segments.first_block[which + 1] <= BLOCK)
		which++;
	const struct segment *s = &a.segments.of[which];
	const uint32_t first = (BLOCK - a.segments.first_block[which]) * LINE, size = s->size;
	EACH_THREAD(t) {
		const uint32_t element = first + t % LINE;
		shares[t] = element < size && !s->stands ? share_of_sum(s, element, t / LINE) : 0.0f;
	}
	EACH_THREAD(t) {
		const uint32_t element = first + t;
		if (t < LINE && element < size) {
			float gradient = shares[t];
			for (uint32_t i = 1; i < SHARES; i++)
				gradient += shares[i * LINE + t];
			uint32_t row = element / s->columns, column = element % s->columns;
			if (s->fragments)
				fragment_place(element, s->columns, &row, &column);
			if (a.sums)
				a.sums[(size_t)BLOCK * LINE + t] = gradient;
			else if (row < s->rows && column < s->columns)
				adam(&a.trained, s->at + row * s->value_stride + column, gradient, a.step,
				     s->decays ? a.step->decay : 1.0f);
		} else if (t < LINE && a.sums) {
			a.sums[(size_t)BLOCK * LINE + t] = 0.0f;
		}
	}
}

/* Parts of the segments: a bit for each of enum dense_part. */
static void queue_dense(struct backend_state *state, const struct segments *segments, unsigned parts, const struct step *step,
                        float *sums)
{
	struct dense_arguments a;
	memset(&a, 0, sizeof a);
	for (uint32_t s = 0; s < segments->count; s++) {
		const uint32_t to = a.segments.count, blocks = segments->first_block[s + 1] - segments->first_block[s];
		if (!(parts >> segments->of[s].part & 1))
			continue;
		a.segments.of[to] = segments->of[s];
		a.segments.first_block[to + 1] = a.segments.first_block[to] + blocks;
		a.segments.count++;
	}
	a.trained = trained_of(state);
	a.step = step;
	a.sums = sums;
	if (a.segments.count > 0)
		LAUNCH(&state->device, STREAM_WORK, step_dense, a.segments.first_block[a.segments.count],
		       THREADS * sizeof(float), a);
}

enum { ALL_PARTS = (1 << DENSE_PARTS) - 1 };

void cuda_step_dense(struct backend_state *state, enum dense_part part, const struct step *step)
{
	queue_dense(state, &state->segments, 1u << part, step, NULL);
}

size_t cuda_dense_floats(const struct backend_state *state)
{
	return (size_t)state->segments.first_block[state->segments.count] * LINE;
}

void cuda_sum_dense(struct backend_state *state, const struct step *step, float *sums)
{
	queue_dense(state, &state->segments, ALL_PARTS, step, sums);
}

void cuda_step_sums(struct backend_state *state, const struct step *step, const float *sums, uint32_t ranks)
{
	struct segments segments = state->segments;
	for (uint32_t s = 0; s < segments.count; s++) {
		segments.of[s].partials = sums + (size_t)segments.first_block[s] * LINE;
		segments.of[s].count = ranks;
		segments.of[s].stride = (uint32_t)cuda_dense_floats(state);
	}
	queue_dense(state, &segments, ALL_PARTS, step, NULL);
}

struct table_arguments {
	struct table table;
	struct trained trained;
	const struct step *step;
	float *gradients;
	uint32_t fixed;           /* column of ones */
};

/* Every row, touched or not; gradients are cleared behind it. */
KERNEL(step_table, struct table_arguments)
{
	const uint64_t size = (uint64_t)a.table.rows * a.table.stride;
	EACH_THREAD(t) {
		for (uint64_t i = (uint64_t)BLOCK * THREADS + t; i < size; i += (uint64_t)BLOCKS * THREADS) {
			adam(&a.trained, a.table.at + i, a.gradients[i], a.step, a.step->decay);
			a.gradients[i] = 0.0f;
			if (i % a.table.stride == a.fixed)
				a.trained.values[a.table.at + i] = 1.0f;
		}
	}
}

void cuda_step_table(struct backend_state *state, const struct table *table, float *gradients, uint32_t fixed,
                     const struct step *step)
{
	struct table_arguments a;
	a.table = *table;
	a.trained = trained_of(state);
	a.step = step;
	a.gradients = gradients;
	a.fixed = fixed;
	LAUNCH(&state->device, STREAM_WORK, step_table,
	       blocks_for((uint64_t)table->rows * table->stride, THREADS, GRID_WIDE), 0, a);
}
