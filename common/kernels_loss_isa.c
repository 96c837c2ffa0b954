/* Losses of one instruction set: logits in, their gradients out, whole groups at a time. */
#include "kernels.h"
#include "maths.h"
#include "simd_maths.h"
#include "simd_tile.h"

enum { ROOM = LOSS_ROWS + LANES }; /* loops over it fill one vector at least, as the compiler cannot know */

/* Losses and derivatives of softplus(z) - y z for padded_to(count, LANES) lanes. */
static void cross_entropies(const float *z, const float *y, size_t count, float *loss, float *derivative)
{
	for (size_t s = 0; s < count; s += LANES) {
		vf lane_loss, lane_derivative;
		cross_entropy(vf_load(z + s), vf_load(y + s), &lane_loss, &lane_derivative);
		vf_store(loss + s, lane_loss);
		vf_store(derivative + s, lane_derivative);
	}
}

/* Each sample by itself: the positive against 1, the negatives against 0. */
static double binary_loss(const struct loss_rows *rows, float *z)
{
	float y[ROOM], loss[ROOM], derivative[ROOM];
	const size_t padded = padded_to(rows->count, LANES);
	size_t in_group = rows->position % rows->group;
	double sum = 0.0;
	for (size_t s = 0; s < padded || s < LANES; s++) {
		y[s] = in_group == 0 ? 1.0f : 0.0f;
		in_group = in_group + 1 == rows->group ? 0 : in_group + 1;
	}
	for (size_t s = rows->count; s < padded; s++)
		z[s] = 0.0f;
	cross_entropies(z, y, padded, loss, derivative);
	for (size_t s = 0; s < rows->count; s++) {
		const float weight = rows->weights ? rows->weights[s] : 1.0f;
		sum += (double)(loss[s] * weight);
		z[s] = derivative[s] * rows->scale * weight;
	}
	return sum;
}

/* The positive against each of its negatives: -log sigmoid(z_positive - z_negative). */
static double pairwise_loss(const struct loss_rows *rows, float *z)
{
	float y[ROOM], margin[ROOM], loss[ROOM], derivative[ROOM];
	const size_t padded = padded_to(rows->count, LANES), group = rows->group;
	double sum = 0.0;
	for (size_t s = 0; s < padded || s < LANES; s++) {
		y[s] = 1.0f;
		margin[s] = s < rows->count ? z[s - s % group] - z[s] : 0.0f;
	}
	cross_entropies(margin, y, padded, loss, derivative);
	for (size_t first = 0; first < rows->count; first += group) {
		float positive = 0.0f;
		for (size_t s = first + 1; s < first + group; s++) {
			const float weight = rows->weights ? rows->weights[s] : 1.0f;
			const float slope = derivative[s] * rows->scale * weight;
			sum += (double)(loss[s] * weight);
			positive += slope;
			z[s] = -slope;
		}
		z[first] = positive;
	}
	return sum;
}

/* One group: -log of the positive's share of exp(z), negatives that do not exist left out. */
static double group_softmax(const float *weights, size_t group, float scale, float *z)
{
	float share[ROOM];
	float largest = z[0];
	double total = 0.0;
	for (size_t s = 1; s < group; s++)
		largest = z[s] > largest ? z[s] : largest;
	for (size_t s = 0; s < padded_to(group, LANES); s++)
		share[s] = s < group && z[s] - largest > -87.0f ? z[s] - largest : -87.0f;
	const double loss = (double)largest - (double)z[0];
	for (size_t s = 0; s < group; s += LANES)
		vf_store(share + s, exp_negative(vf_load(share + s)));
	for (size_t s = 0; s < group; s++) {
		share[s] *= weights ? weights[s] : 1.0f;
		total += (double)share[s];
	}
	for (size_t s = 0; s < group; s++)
		z[s] = ((float)((double)share[s] / total) - (s == 0 ? 1.0f : 0.0f)) * scale;
	return loss + maths_log(total);
}

static double softmax_loss(const struct loss_rows *rows, float *z)
{
	double sum = 0.0;
	for (size_t first = 0; first < rows->count; first += rows->group)
		sum += group_softmax(rows->weights ? rows->weights + first : NULL, rows->group,
		                     rows->scale, z + first);
	return sum;
}

static double apply(enum loss loss, const struct loss_rows *rows, float *z)
{
	double (*const losses[])(const struct loss_rows *, float *) = {
		[LOSS_BINARY] = binary_loss, [LOSS_PAIRWISE] = pairwise_loss, [LOSS_SOFTMAX] = softmax_loss,
	};
	return losses[loss](rows, z);
}

extern const struct loss_kernels JOIN(loss_kernels_, KERNEL_ISA);
const struct loss_kernels JOIN(loss_kernels_, KERNEL_ISA) = {
	.apply = apply,
};
