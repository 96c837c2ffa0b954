/* Softmax of a round of users over the catalogue. A user's row is cut into pieces, each a block's: first every piece's largest
 * score and its sum of exp, then, of those of all pieces, the gradients. What was put in and cold items take no part. */
#include "by_users.h"
#include "device_maths.h"

/* A round's row and the piece of it that this block has. */
struct piece {
	uint32_t user;            /* of the round */
	uint32_t first, end;      /* items */
	uint64_t begin, behind;   /* the user's interactions */
	float *row;
};

ON_DEVICE struct piece piece_of(const struct round_arguments *a)
{
	struct piece p;
	const uint32_t which = BLOCK % a->c.pieces;
	p.user = BLOCK / a->c.pieces;
	p.first = which * PIECE_ITEMS;
	p.end = least_of(p.first + PIECE_ITEMS, a->items);
	p.begin = a->c.histories.offsets[a->users[a->first + p.user]];
	p.behind = a->c.histories.offsets[a->users[a->first + p.user] + 1];
	p.row = a->c.scores + (size_t)p.user * a->c.pitch;
	return p;
}

ON_DEVICE bool has_item(const struct piece *p, uint32_t item)
{
	return item >= p->first && item < p->end;
}

/* Thread 0's value becomes the sum of all, by halves. */
ON_DEVICE void sum_threads(double *values)
{
	for (uint32_t half = THREADS / 2; half > 0; half /= 2)
		EACH_THREAD(t) {
			if (t < half)
				values[t] += values[t + half];
		}
}

/* exp(score - top), nothing where that is below exp(-87). */
ON_DEVICE float share_of(float score, float top)
{
	const float below = score - top;
	return below > -87.0f ? exp_negative(below) : 0.0f;
}

ON_DEVICE float minus_infinity(void)
{
	return float_of_bits(0xff800000u);
}

/* Blots out what takes no part; leaves each thread's sum of the scores that are to be found. */
ON_DEVICE void take_scores(uint32_t t, const struct round_arguments *a, const struct piece *p, double *sums)
{
	double sum = 0.0;
	for (uint64_t i = p->begin + t; i < p->behind; i += THREADS) {
		const uint32_t item = a->c.histories.item_ids[i];
		if (!has_item(p, item))
			continue;
		if (a->puts_in && a->c.put_in[i])
			p->row[item] = minus_infinity();
		else
			sum += (double)p->row[item];
	}
	for (uint32_t i = t; i < a->c.cold_count; i += THREADS)
		if (has_item(p, a->c.cold[i]))
			p->row[a->c.cold[i]] = minus_infinity();
	sums[t] = sum;
}

KERNEL(sum_pieces, struct round_arguments)
{
	const struct piece p = piece_of(&a);
	double *const sums = (double *)(void *)shared_floats();
	float *const most = (float *)(void *)(sums + THREADS);
	EACH_THREAD(t) take_scores(t, &a, &p, sums);
	sum_threads(sums);
	EACH_THREAD(t) {
		float largest = minus_infinity();
		if (t == 0)
			a.c.found[BLOCK] = sums[0];
		for (uint32_t n = p.first + t; n < p.end; n += THREADS)
			largest = p.row[n] > largest ? p.row[n] : largest;
		most[t] = largest;
	}
	for (uint32_t half = THREADS / 2; half > 0; half /= 2)
		EACH_THREAD(t) {
			if (t < half && most[t + half] > most[t])
				most[t] = most[t + half];
		}
	const float top = most[0];
	EACH_THREAD(t) {
		float sum = 0.0f;
		for (uint32_t n = p.first + t; n < p.end; n += THREADS)
			sum += share_of(p.row[n], top);
		sums[t] = (double)sum;
	}
	sum_threads(sums);
	EACH_THREAD(t) {
		if (t == 0) {
			a.c.largest[BLOCK] = top;
			a.c.totals[BLOCK] = sums[0];
		}
	}
}

KERNEL(leave_gradients, struct round_arguments)
{
	const struct piece p = piece_of(&a);
	const uint32_t targets = a.c.targets[a.first + p.user], all = *a.c.target_sum;
	const float scale = all > 0 ? 1.0f / (float)all : 0.0f, weight = (float)targets * scale;
	const size_t pieces = (size_t)p.user * a.c.pieces;
	float top = minus_infinity();
	double total = 0.0, found = 0.0;
	for (uint32_t i = 0; i < a.c.pieces; i++)
		top = a.c.largest[pieces + i] > top ? a.c.largest[pieces + i] : top;
	for (uint32_t i = 0; i < a.c.pieces; i++) {
		total += a.c.totals[pieces + i] * (double)share_of(a.c.largest[pieces + i], top);
		found += a.c.found[pieces + i];
	}
	const float over = (float)(1.0 / total);
	EACH_THREAD(t) {
		for (uint32_t n = p.first + t; n < p.end; n += THREADS)
			p.row[n] = share_of(p.row[n], top) * over * weight;
		if (t == 0 && p.first == 0)
			a.c.losses[p.user] = ((double)top + log_of(total)) * (double)targets - found;
	}
	EACH_THREAD(t) {
		for (uint64_t i = p.begin + t; i < p.behind; i += THREADS) {
			const uint32_t item = a.c.histories.item_ids[i];
			if (has_item(&p, item) && !(a.puts_in && a.c.put_in[i]))
				p.row[item] -= scale;
		}
	}
}

/* The round's losses to the span's; with the last round, the batch's items to be found. One block. */
KERNEL(finish_users, struct round_arguments)
{
	double *const sums = (double *)(void *)shared_floats();
	EACH_THREAD(t) {
		const uint32_t end = share_begin(a.count, THREADS, t + 1);
		sums[t] = 0.0;
		for (uint32_t i = share_begin(a.count, THREADS, t); i < end; i++)
			sums[t] += a.c.losses[i];
	}
	sum_threads(sums);
	EACH_THREAD(t) {
		if (t == 0 && *a.c.target_sum > 0)
			*a.loss_sum += sums[0];
		if (t == 0 && a.last_round)
			*a.target_total += *a.c.target_sum;
	}
}

void cuda_softmax(struct backend_state *state, const struct round_arguments *round)
{
	const uint32_t blocks = round->count * round->c.pieces;
	const size_t shared = THREADS * (sizeof(double) + sizeof(float));
	LAUNCH(&state->device, STREAM_WORK, sum_pieces, blocks, shared, *round);
	LAUNCH(&state->device, STREAM_WORK, leave_gradients, blocks, 0, *round);
}

void cuda_finish_users(struct backend_state *state, const struct round_arguments *round)
{
	LAUNCH(&state->device, STREAM_WORK, finish_users, 1, THREADS * sizeof(double), *round);
}
