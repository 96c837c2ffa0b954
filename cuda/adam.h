/* Adam on one value or four, and sums of a row's gradient: what several kernels do. */
#ifndef RECPIPE_CUDA_ADAM_H
#define RECPIPE_CUDA_ADAM_H

#include "launch.h"
#include "state.h"
#include "tile.h"

/* Three blocks of floats: values and moments. */
struct trained {
	float *values, *moment1, *moment2;
};

/* What of a step Adam takes, in registers: stores to the parameters cannot change it. */
struct adam_rates {
	float rate, decay, beta1, rest1, beta2, rest2, scale2, epsilon;
};

ON_DEVICE struct adam_rates adam_rates_of(const struct step *step)
{
	struct adam_rates s;
	s.rate = step->rate;
	s.decay = step->decay;
	s.beta1 = step->beta1;
	s.rest1 = step->rest1;
	s.beta2 = step->beta2;
	s.rest2 = step->rest2;
	s.scale2 = step->scale2;
	s.epsilon = step->epsilon;
	return s;
}

ON_DEVICE void adam_value(const struct adam_rates *step, float *value, float *m, float *v, float gradient)
{
	*m = fmaf(step->beta1, *m, step->rest1 * gradient);
	*v = fmaf(step->beta2, *v, step->rest2 * gradient * gradient);
	const float root = fmaf(sqrtf(*v), step->scale2, step->epsilon);
	const float kept = *value * step->decay;
	*value = kept - step->rate * (*m / root);
}

/* A row's quad, with its moments. */
struct adam_quad {
	struct float4 value, m, v;
};

ON_DEVICE struct adam_quad load_adam(const struct trained *of, size_t at)
{
	struct adam_quad q;
	q.value = load_quad(of->values + at);
	q.m = load_quad(of->moment1 + at);
	q.v = load_quad(of->moment2 + at);
	return q;
}

ON_DEVICE void adam_on_quad(const struct adam_rates *step, struct adam_quad *q, struct float4 gradient)
{
	adam_value(step, &q->value.x, &q->m.x, &q->v.x, gradient.x);
	adam_value(step, &q->value.y, &q->m.y, &q->v.y, gradient.y);
	adam_value(step, &q->value.z, &q->m.z, &q->v.z, gradient.z);
	adam_value(step, &q->value.w, &q->m.w, &q->v.w, gradient.w);
}

ON_DEVICE void store_adam(const struct trained *of, size_t at, const struct adam_quad *q)
{
	store_quad(of->values + at, q->value);
	store_quad(of->moment1 + at, q->m);
	store_quad(of->moment2 + at, q->v);
}

ON_DEVICE void adam(const struct trained *of, size_t at, float gradient, const struct step *step, float decay)
{
	struct adam_rates rates = adam_rates_of(step);
	rates.decay = decay;
	adam_value(&rates, of->values + at, of->moment1 + at, of->moment2 + at, gradient);
}

static inline struct trained trained_of(const struct backend_state *state)
{
	struct trained t;
	t.values = state->values;
	t.moment1 = state->moment1;
	t.moment2 = state->moment2;
	return t;
}

/* Where segment.cu left the sums of a side's rows. */
struct row_sums {
	const float *sums, *cuts;
	const uint32_t *starts;
	uint32_t columns, shift;
};

static inline struct row_sums row_sums_of(const struct side *side, enum segment_of of, const struct row_index *index,
                                          uint32_t columns)
{
	struct row_sums s;
	s.sums = of == SEGMENT_TOWER ? side->sums : side->factor_sums;
	s.cuts = of == SEGMENT_TOWER ? side->cuts : side->factor_cuts;
	s.starts = index->starts;
	s.columns = columns;
	s.shift = cuda_segment_shift(side->uses_max);
	return s;
}

/* The sum of row `slot`, put together: whole, or in cuts. */
ON_DEVICE float row_sum(const struct row_sums *of, uint32_t slot, uint32_t column)
{
	const uint32_t first = of->starts[slot] >> of->shift, last = (of->starts[slot + 1] - 1) >> of->shift;
	if (first == last)
		return of->sums[(size_t)slot * of->columns + column];
	float sum = of->cuts[((size_t)first * 2 + 1) * of->columns + column];
	for (uint32_t c = first + 1; c <= last; c++)
		sum += of->cuts[(size_t)c * 2 * of->columns + column];
	return sum;
}

/* Four columns of it, from `column` on, where rows are a multiple of four of them, in two steps, so that of several rows the
 * first reads can be on their way together: the whole sum or the first cut, and cuts [next, end) behind that. */
struct row_cuts {
	uint32_t next, end;
};

ON_DEVICE struct float4 first_of_cuts(const struct row_sums *of, uint32_t slot, uint32_t column, struct row_cuts *cuts)
{
	const uint32_t first = of->starts[slot] >> of->shift, last = (of->starts[slot + 1] - 1) >> of->shift;
	cuts->next = first + 1;
	cuts->end = last + 1;
	const float *const from = first == last ? of->sums : of->cuts;
	return load_quad(from + (first == last ? slot : (size_t)first * 2 + 1) * of->columns + column);
}

ON_DEVICE struct float4 add_cuts(const struct row_sums *of, uint32_t column, const struct row_cuts *cuts, struct float4 sum)
{
	for (uint32_t c = cuts->next; c < cuts->end; c++) {
		const struct float4 more = load_quad(of->cuts + (size_t)c * 2 * of->columns + column);
		sum.x += more.x;
		sum.y += more.y;
		sum.z += more.z;
		sum.w += more.w;
	}
	return sum;
}

ON_DEVICE struct float4 row_sum_quad(const struct row_sums *of, uint32_t slot, uint32_t column)
{
	struct row_cuts cuts;
	const struct float4 first = first_of_cuts(of, slot, column, &cuts);
	return add_cuts(of, column, &cuts, first);
}

#endif
