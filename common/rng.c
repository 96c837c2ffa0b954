/* Philox4x32-10 and what is drawn from it. */
#include "rng.h"

#include <math.h>

#include "maths.h"

void rng_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
	uint32_t a = counter[0], b = counter[1], c = counter[2], d = counter[3], k0 = key[0], k1 = key[1];
	for (int round = 0; round < 10; round++) {
		uint64_t p = (uint64_t)0xD2511F53u * a, q = (uint64_t)0xCD9E8D57u * c;
		a = (uint32_t)(q >> 32) ^ b ^ k0;
		b = (uint32_t)q;
		c = (uint32_t)(p >> 32) ^ d ^ k1;
		d = (uint32_t)p;
		k0 += 0x9E3779B9u;
		k1 += 0xBB67AE85u;
	}
	out[0] = a;
	out[1] = b;
	out[2] = c;
	out[3] = d;
}

void rng_block(uint64_t seed, uint32_t stream, uint64_t index, uint32_t block, uint32_t out[4])
{
	const uint32_t counter[4] = {(uint32_t)index, (uint32_t)(index >> 32), block, stream};
	const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
	rng_philox(counter, key, out);
}

void rng_init(struct rng *rng, uint64_t seed, uint32_t stream, uint64_t index)
{
	*rng = (struct rng){.seed = seed, .index = index, .stream = stream, .used = COUNT_OF(rng->words)};
}

uint32_t rng_next(struct rng *rng)
{
	if (rng->used == COUNT_OF(rng->words)) {
		rng_block(rng->seed, rng->stream, rng->index, rng->block++, rng->words);
		rng->used = 0;
	}
	return rng->words[rng->used++];
}

uint64_t rng_next64(struct rng *rng)
{
	uint64_t low = rng_next(rng);
	return low | (uint64_t)rng_next(rng) << 32;
}

double rng_unit(struct rng *rng)
{
	return (double)(rng_next64(rng) >> 11) * 0x1p-53;
}

double rng_normal(struct rng *rng)
{
	for (;;) {
		double x = 2 * rng_unit(rng) - 1, y = 2 * rng_unit(rng) - 1, square = x * x + y * y;
		if (square < 1 && square > 0)
			return x * sqrt(-2 * maths_log(square) / square);
	}
}

uint64_t rng_below(struct rng *rng, uint64_t limit)
{
	unsigned __int128 product = (unsigned __int128)rng_next64(rng) * limit;
	if ((uint64_t)product < limit) {
		uint64_t threshold = (0 - limit) % limit;
		while ((uint64_t)product < threshold)
			product = (unsigned __int128)rng_next64(rng) * limit;
	}
	return (uint64_t)(product >> 64);
}

void rng_permutation(uint64_t seed, uint32_t stream, uint64_t index, uint32_t *order, size_t count)
{
	struct rng rng;
	rng_init(&rng, seed, stream, index);
	for (size_t i = 0; i < count; i++)
		order[i] = (uint32_t)i;
	for (size_t i = count; i > 1; i--) {
		size_t j = (size_t)rng_below(&rng, i);
		uint32_t swap = order[i - 1];
		order[i - 1] = order[j];
		order[j] = swap;
	}
}
