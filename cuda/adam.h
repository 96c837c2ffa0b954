/* Adam on one value, and sums of a row's gradient: what several kernels do. */
#ifndef RECPIPE_CUDA_ADAM_H
#define RECPIPE_CUDA_ADAM_H

#include "launch.h"
#include "state.h"

/* Three blocks of floats: values and moments. */
struct trained {
	float *values, *moment1, *moment2;
};

/* A value and its moments. */
ON_DEVICE void adam_one(float *value, float *moment1, float *moment2, float gradient, const struct step *step, float decay)
{
	const float m = fmaf(step->beta1, *moment1, step->rest1 * gradient);
	const float v = fmaf(step->beta2, *moment2, step->rest2 * gradient * gradient);
	const float root = fmaf(sqrtf(v), step->scale2, step->epsilon);
	const float kept = *value * decay;
	*moment1 = m;
	*moment2 = v;
	*value = kept - step->rate * (m / root);
}

ON_DEVICE void adam(const struct trained *of, size_t at, float gradient, const struct step *step, float decay)
{
	adam_one(of->values + at, of->moment1 + at, of->moment2 + at, gradient, step, decay);
}

static inline struct trained trained_of(const struct backend_state *state)
{
	struct trained t;
	t.values = state->values;
	t.moment1 = state->moment1;
	t.moment2 = state->moment2;
	return t;
}

/* What segment.cu left of row `slot`, put together: whole, or in cuts. */
ON_DEVICE float row_sum(const float *sums, const float *cuts, const uint32_t *starts, uint32_t columns, uint32_t slot,
                        uint32_t column)
{
	const uint32_t first = starts[slot] / SEGMENT_USES, last = (starts[slot + 1] - 1) / SEGMENT_USES;
	if (first == last)
		return sums[(size_t)slot * columns + column];
	float sum = cuts[((size_t)first * 2 + 1) * columns + column];
	for (uint32_t c = first + 1; c <= last; c++)
		sum += cuts[(size_t)c * 2 * columns + column];
	return sum;
}

#endif
