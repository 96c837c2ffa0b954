/* Losses as common/kernels_loss_isa.c has them: logits in, their gradients out in their place. */
#ifndef RECPIPE_CUDA_LOSS_H
#define RECPIPE_CUDA_LOSS_H

#include "device_maths.h"

/* Each sample by itself. Losses are in nats; `scale` is 1 / samples of the batch. */
ON_DEVICE double sample_loss(float *z, bool positive, float weight, float scale)
{
	float derivative;
	const float loss = cross_entropy(*z, positive ? 1.0f : 0.0f, &derivative);
	*z = derivative * scale * weight;
	return (double)(loss * weight);
}

/* The positive, z[0], against each of its negatives. */
ON_DEVICE double pairwise_loss(float *z, const float *weights, uint32_t group, float scale)
{
	const float of_positive = z[0];
	float positive = 0.0f;
	double sum = 0.0;
	for (uint32_t s = 1; s < group; s++) {
		float derivative;
		const float loss = cross_entropy(of_positive - z[s], 1.0f, &derivative);
		const float slope = derivative * scale * weights[s];
		sum += (double)(loss * weights[s]);
		positive += slope;
		z[s] = -slope;
	}
	z[0] = positive;
	return sum;
}

ON_DEVICE double softmax_loss(float *z, const float *weights, uint32_t group, float scale)
{
	const float of_positive = z[0];
	float largest = of_positive;
	double total = 0.0;
	for (uint32_t s = 1; s < group; s++)
		largest = z[s] > largest ? z[s] : largest;
	for (uint32_t s = 0; s < group; s++) {
		const float below = z[s] - largest;
		z[s] = exp_negative(below > -87.0f ? below : -87.0f) * weights[s];
		total += (double)z[s];
	}
	for (uint32_t s = 0; s < group; s++)
		z[s] = ((float)((double)z[s] / total) - (s == 0 ? 1.0f : 0.0f)) * scale;
	return (double)largest - (double)of_positive + log_of(total);
}

ON_DEVICE double group_loss(enum loss loss, float *z, const float *weights, uint32_t group, float scale)
{
	double sum = 0.0;
	if (loss == LOSS_PAIRWISE)
		return pairwise_loss(z, weights, group, scale);
	if (loss == LOSS_SOFTMAX)
		return softmax_loss(z, weights, group, scale);
	for (uint32_t s = 0; s < group; s++)
		sum += sample_loss(z + s, s == 0, weights[s], scale);
	return sum;
}

#endif
