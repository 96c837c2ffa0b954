/* Random values as pure functions of (seed, stream, index): Philox4x32-10 of Salmon, Moraes, Dror & Shaw,
 * "Parallel random numbers: as easy as 1, 2, 3" (SC 2011).
 *
 * key = the 64-bit seed; counter = (index low, index high, block, stream). So any value can be computed
 * anywhere, in any order, on any number of threads or on a GPU, and is the same. */
#ifndef RECPIPE_RNG_H
#define RECPIPE_RNG_H

#include "compat.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What a stream of values is for: streams never share values. The low 24 bits are free for the user
 * (the epoch, the draw, the layer): see rng_stream(). */
enum rng_purpose {
	RNG_SPLIT = 1,      /* csvsplit: random splits and broken ties */
	RNG_SHUFFLE = 2,    /* order of positives in an epoch */
	RNG_NEGATIVE = 3,   /* training negatives */
	RNG_CANDIDATE = 4,  /* evaluation candidates */
	RNG_INIT = 5,       /* parameters */
	RNG_DROPOUT = 6,
	RNG_BOOTSTRAP = 7,
	RNG_PERMUTATION = 8,/* paired randomisation test */
	RNG_SYNTH = 9,      /* synth-ratings */
	RNG_RERANK = 10,
	RNG_SCORE = 11,     /* the random baseline of score */
	RNG_TEST = 255,
};

/* The stream number of `purpose` with `detail` < 2^24. */
static inline uint32_t rng_stream(enum rng_purpose purpose, uint32_t detail)
{
	return ((uint32_t)purpose << 24) | (detail & 0xffffffu);
}

/* Ten rounds of Philox4x32 on `counter` with `key`. */
void rng_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

/* The four words of block `block` of (seed, stream, index). */
void rng_block(uint64_t seed, uint32_t stream, uint64_t index, uint32_t block, uint32_t out[4]);

/* A sequence: the words of (seed, stream, index) in order of their blocks. */
struct rng {
	uint64_t seed, index;
	uint32_t stream, block;
	uint32_t words[4];
	unsigned used; /* words already handed out of `words` */
};

void rng_init(struct rng *rng, uint64_t seed, uint32_t stream, uint64_t index);
uint32_t rng_next(struct rng *rng);          /* uniform over 32 bits */
uint64_t rng_next64(struct rng *rng);        /* first word low, second high */
double rng_unit(struct rng *rng);            /* [0, 1), 53 bits */
double rng_normal(struct rng *rng);          /* mean 0, variance 1: Marsaglia's polar method */

/* Uniform over [0, limit), limit > 0, exactly (Lemire 2019, with rejection). */
uint64_t rng_below(struct rng *rng, uint64_t limit);

/* Multiply-shift reduction of one word to [0, limit): bias below limit / 2^32. For negatives, where the
 * CPU and the GPU must agree at one word a draw. */
static inline uint32_t rng_scale(uint32_t word, uint32_t limit)
{
	return (uint32_t)(((uint64_t)word * limit) >> 32);
}

/* order[0..count) becomes a permutation of 0..count-1 (Fisher-Yates with rng_below). */
void rng_permutation(uint64_t seed, uint32_t stream, uint64_t index, uint32_t *order, size_t count);

#ifdef __cplusplus
}
#endif
#endif
