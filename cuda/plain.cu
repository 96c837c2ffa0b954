/* The tower in whole matrices, a sample a row: a product a layer (blas.h), and between products kernels that go once over a
 * matrix. A batch goes by slices, as many samples as the memory for activations holds; gradients of one slice are added to
 * those of the ones before.
 *
 * Products always have a whole slice, since a graph keeps their sizes: what lies behind the batch's samples is made zeros
 * on the way in, and its derivatives are zeros, so that no sum is changed. The first layer's activations lie where their
 * gradient will be wanted. */
#include "plain.h"

#include "tower.h"

/* A kernel's matrix: rows [0, count) are samples `first` + row, of `columns` units. */
struct plain_arguments {
	struct tower_arguments of;
	uint32_t first, count, columns;
	uint32_t layer;           /* whose outputs they are, as dropout numbers them */
	bool rectifies, drops;
	float *units;
	float *to;                /* where finish_units leaves them; NULL: in their place */
	const float *bias;
	const float *from;        /* derivatives before the mask; NULL: `units` are derivatives already */
	float *sums;              /* of columns, a row a block; NULL: not wanted */
	uint32_t sums_stride;
	bool adds;                /* to what an earlier slice left */
};

/* Rows that are samples of the batch. */
ON_DEVICE uint32_t live_rows(const struct plain_arguments *a)
{
	const uint32_t samples = a->of.scores ? a->of.pairs : a->of.step->samples;
	return samples > a->first ? least_of(samples - a->first, a->count) : 0;
}

/* Threads that go along a row, a power of two; the block's others take further rows. */
ON_DEVICE uint32_t threads_across(uint32_t columns)
{
	uint32_t across = 1;
	while (across < columns && across < THREADS)
		across *= 2;
	return across;
}

/* a1 = relu(user half + item half). */
KERNEL(load_units, struct plain_arguments)
{
	const uint32_t live = live_rows(&a), across = threads_across(a.columns), together = THREADS / across;
	EACH_THREAD(t) {
		for (uint32_t row = BLOCK * together + t / across; row < a.count; row += BLOCKS * together) {
			const float *user = NULL, *item = NULL;
			const uint32_t s = a.first + row;
			if (row < live)
				find_halves(&a.of, s, &user, &item);
			for (uint32_t n = t % across; n < a.columns; n += across) {
				float value = row < live ? relu(user[n] + item[n]) : 0.0f;
				if (a.drops && row < live)
					value = dropped(&a.of, 0, a.columns, n, s, value);
				a.units[(size_t)row * a.columns + n] = value;
			}
		}
	}
}

/* A product becomes what the layer leaves. */
KERNEL(finish_units, struct plain_arguments)
{
	const uint32_t across = threads_across(a.columns), together = THREADS / across;
	EACH_THREAD(t) {
		for (uint32_t row = BLOCK * together + t / across; row < a.count; row += BLOCKS * together)
			for (uint32_t n = t % across; n < a.columns; n += across) {
				const size_t at = (size_t)row * a.columns + n;
				float value = a.units[at] + a.bias[n];
				if (a.rectifies)
					value = relu(value);
				if (a.drops)
					value = dropped(&a.of, a.layer, a.columns, n, a.first + row, value);
				(a.to ? a.to : a.units)[at] = value;
			}
	}
}

/* Logits become their gradients, zeros behind the batch's samples. */
KERNEL(lose_units, struct plain_arguments)
{
	double *const losses = (double *)(void *)shared_floats();
	const uint32_t live = live_rows(&a), group = a.of.loss == LOSS_BINARY ? 1 : a.of.group;
	const float scale = loss_scale(&a.of);
	EACH_THREAD(t) {
		losses[t] = 0.0;
		for (uint32_t row = (BLOCK * THREADS + t) * group; row < live; row += BLOCKS * THREADS * group)
			losses[t] += take_loss(&a.of, a.units + row, a.first + row, group, scale);
		for (uint32_t row = live + BLOCK * THREADS + t; row < a.count; row += BLOCKS * THREADS)
			a.units[row] = 0.0f;
	}
	EACH_THREAD(t) {
		for (uint32_t i = 1; t == 0 && i < THREADS; i++)
			losses[0] += losses[i];
		if (t == 0)
			a.of.losses[BLOCK] = a.adds ? a.of.losses[BLOCK] + losses[0] : losses[0];
	}
}

/* Derivatives of activations become those of sums, in the activations' place, and are summed by columns, each block over its
 * share of the rows. */
KERNEL(mask_units, struct plain_arguments)
{
	float *const shares = shared_floats();
	const uint32_t across = threads_across(a.columns), together = THREADS / across;
	const uint32_t end = share_begin(a.count, BLOCKS, BLOCK + 1);
	for (uint32_t first = 0; first < a.columns; first += across) {
		EACH_THREAD(t) {
			const uint32_t n = first + t % across;
			float sum = 0.0f;
			for (uint32_t row = share_begin(a.count, BLOCKS, BLOCK) + t / across; n < a.columns && row < end; row += together) {
				const size_t at = (size_t)row * a.columns + n;
				float value = a.units[at];
				if (a.from) {
					const float derivative = a.from[at] * a.of.kept;
					value = value > 0.0f ? derivative : 0.0f;
					a.units[at] = value;
				}
				sum += value;
			}
			shares[t] = sum;
		}
		EACH_THREAD(t) {
			if (a.sums && t < across && first + t < a.columns) {
				float *const to = a.sums + (size_t)BLOCK * a.sums_stride + first + t;
				float sum = shares[t];
				for (uint32_t i = 1; i < together; i++)
					sum += shares[i * across + t];
				*to = a.adds ? *to + sum : sum;
			}
		}
	}
}

/* ---- a slice ---- */

static float *units_of(const struct backend_state *state, uint32_t l)
{
	return state->plain.units + state->plain.unit_at[l];
}

/* What layer l takes: the first one's lie with their gradients. */
static float *inputs_of(const struct backend_state *state, uint32_t l, uint32_t first)
{
	return l == 0 ? state->z1_gradients + (size_t)first * state->tower.width : units_of(state, l - 1);
}

static struct blas_product product_of(const struct backend_state *state, const float *x, const float *y, float *to)
{
	struct blas_product p;
	memset(&p, 0, sizeof p);
	p.a = x;
	p.b = y;
	p.c = to;
	p.precision = state->options.precision;
	return p;
}

/* to = in W^T, of `count` samples. */
static void multiply_forward(struct backend_state *state, uint32_t l, const float *in, float *to, uint32_t count)
{
	const struct layer *layer = &state->tower.layers[l];
	struct blas_product p = product_of(state, in, state->values + layer->weight, to);
	p.rows = count;
	p.a_stride = p.inner = layer->inputs;
	p.c_stride = p.columns = layer->outputs;
	p.b_stride = layer->stride;
	p.b_turned = true;
	blas_multiply(&state->device, state->blas, &p);
}

/* The spare matrix = derivatives W. */
static void multiply_back(struct backend_state *state, uint32_t l, uint32_t count)
{
	const struct layer *layer = &state->tower.layers[l];
	struct blas_product p = product_of(state, units_of(state, l), state->values + layer->weight, state->plain.spare);
	p.rows = count;
	p.a_stride = p.inner = layer->outputs;
	p.c_stride = p.columns = layer->inputs;
	p.b_stride = layer->stride;
	blas_multiply(&state->device, state->blas, &p);
}

/* The weight's gradient += derivatives^T in. */
static void multiply_weights(struct backend_state *state, uint32_t l, uint32_t first, uint32_t count)
{
	const struct layer *layer = &state->tower.layers[l];
	struct blas_product p = product_of(state, units_of(state, l), inputs_of(state, l, first),
	                                   state->plain.gradient + layer->gradient_at);
	p.a_stride = p.rows = layer->outputs;
	p.b_stride = p.columns = p.c_stride = layer->inputs;
	p.inner = count;
	p.a_turned = true;
	p.adds = first > 0;
	blas_multiply(&state->device, state->blas, &p);
}

static uint32_t grid_of(const struct plain_arguments *a)
{
	enum { A_BLOCK = 4 * THREADS }; /* numbers */
	return blocks_for((uint64_t)a->count * a->columns, A_BLOCK, GRID_WIDE);
}

static void train_forward(struct backend_state *state, struct plain_arguments *a)
{
	const struct tower *tower = &state->tower;
	a->drops = a->of.threshold > 0;
	a->columns = tower->width;
	a->units = inputs_of(state, 0, a->first);
	LAUNCH(&state->device, STREAM_WORK, load_units, grid_of(a), 0, *a);
	for (uint32_t l = 0; l < tower->layer_count; l++) {
		a->layer = l + 1;
		a->columns = tower->layers[l].outputs;
		a->units = units_of(state, l);
		a->bias = state->values + tower->layers[l].bias;
		a->rectifies = l + 1 < tower->layer_count;
		a->drops = a->drops && a->rectifies;
		multiply_forward(state, l, inputs_of(state, l, a->first), a->units, a->count);
		LAUNCH(&state->device, STREAM_WORK, finish_units, grid_of(a), 0, *a);
	}
}

/* Derivatives of layer l's outputs are in their places; those of its bias are summed, and its inputs' follow. */
static void train_back(struct backend_state *state, uint32_t l, struct plain_arguments *a)
{
	multiply_weights(state, l, a->first, a->count);
	multiply_back(state, l, a->count);
	a->columns = state->tower.layers[l].inputs;
	a->units = inputs_of(state, l, a->first);
	a->from = state->plain.spare;
	a->sums = l > 0 ? state->plain.bias_sums + state->plain.bias_at[l - 1] : NULL;
	LAUNCH(&state->device, STREAM_WORK, mask_units, state->plain.blocks, THREADS * sizeof(float), *a);
}

void cuda_plain_train(struct backend_state *state, const struct batch *batch, const struct step *step)
{
	const struct plain *plain = &state->plain;
	const uint32_t last = state->tower.layer_count - 1;
	for (uint32_t first = 0; first < state->samples_max; first += plain->slice) {
		struct plain_arguments a;
		memset(&a, 0, sizeof a);
		a.of = cuda_training_arguments(state, batch, step);
		a.first = first;
		a.count = state->samples_max - first < plain->slice ? state->samples_max - first : plain->slice;
		a.adds = first > 0;
		a.sums = plain->bias_sums + plain->bias_at[last];
		a.sums_stride = plain->biases;
		train_forward(state, &a);
		LAUNCH(&state->device, STREAM_WORK, lose_units, plain->blocks, THREADS * sizeof(double), a);
		LAUNCH(&state->device, STREAM_WORK, mask_units, plain->blocks, THREADS * sizeof(float), a);
		for (uint32_t l = last + 1; l-- > 0;)
			train_back(state, l, &a);
	}
}

void cuda_plain_warm(struct backend_state *state)
{
	if (!state->plain.chosen)
		return;
	const uint32_t slice = state->plain.slice, rest = state->samples_max % slice;
	const uint32_t counts[2] = {slice, rest};
	device_zero(&state->device, STREAM_WORK, state->z1_gradients, (size_t)slice * state->tower.width * sizeof(float));
	for (size_t i = 0; i < COUNT_OF(counts) && counts[i] > 0; i++)
		for (uint32_t l = 0; l < state->tower.layer_count; l++) {
			multiply_forward(state, l, inputs_of(state, l, 0), units_of(state, l), counts[i]);
			multiply_weights(state, l, 0, counts[i]);
			multiply_back(state, l, counts[i]);
		}
}

/* Products always have a whole slice here as well: cuBLAS chooses its kernel, and so the order of a row's sums, by the number of
 * rows, and a score must not depend on how many others go with it. */
void cuda_plain_score(struct backend_state *state, const struct tower_arguments *of)
{
	const struct plain *plain = &state->plain_forward;
	const struct tower *tower = &state->tower;
	for (uint32_t first = 0; first < of->pairs; first += plain->slice) {
		struct plain_arguments a;
		memset(&a, 0, sizeof a);
		a.of = *of;
		a.first = first;
		a.count = plain->slice;
		a.columns = tower->width;
		a.units = plain->units;
		LAUNCH(&state->device, STREAM_WORK, load_units, grid_of(&a), 0, a);
		for (uint32_t l = 0; l < tower->layer_count; l++) {
			const float *const in = a.units;
			a.rectifies = l + 1 < tower->layer_count;
			a.columns = tower->layers[l].outputs;
			a.units = in == plain->units ? plain->spare : plain->units;
			a.bias = state->values + tower->layers[l].bias;
			multiply_forward(state, l, in, a.units, plain->slice);
			if (!a.rectifies) {
				a.to = of->scores + first;
				a.count = of->pairs - first < plain->slice ? of->pairs - first : plain->slice;
			}
			LAUNCH(&state->device, STREAM_WORK, finish_units, grid_of(&a), 0, a);
		}
	}
}
