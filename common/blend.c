/* See blend.h. Scores are sums in double precision, in the order of the signals. */
#include "blend.h"

#include <math.h>

#include "maths.h"

static double asinh_of(double x)
{
	const double size = fabs(x);
	const double value = maths_log(size + sqrt(size * size + 1));
	return x < 0 ? -value : value;
}

double blend_transform(const struct blend_signal *signal, float value)
{
	return signal->scale > 0 ? asinh_of(((double)value - signal->mean) / signal->scale) : 0;
}

double blend_activity(const struct blend *blend, size_t interactions)
{
	const double activity = maths_log(1 + (double)interactions);
	return blend->activity_scale > 0 ? (activity - blend->activity_mean) / blend->activity_scale : 0;
}

void blend_scores(const struct blend *blend, const float *values, size_t count, size_t interactions, float *scores)
{
	const double activity = blend_activity(blend, interactions);
	for (size_t i = 0; i < count; i++) {
		const struct blend_signal *popularity = &blend->signals[blend->popularity];
		const double popular = blend_transform(popularity, values[blend->popularity * count + i]);
		double score = 0;
		for (size_t s = 0; s < blend->count; s++) {
			const struct blend_signal *signal = &blend->signals[s];
			const double weight = signal->weight + signal->by_popularity * popular + signal->by_activity * activity;
			score += weight * blend_transform(signal, values[s * count + i]);
		}
		scores[i] = (float)score;
	}
}
