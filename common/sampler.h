/* Negative sampling, one code for sample-neg, train-mlp and the evaluation candidates.
 *
 * Training: an epoch is a permutation of all positives, each with `ratio` items its user never interacted
 * with, drawn anew every epoch. Every draw depends only on (seed, epoch, number of the positive), so any
 * part of an epoch can be made anywhere and is the same. Item weights are uniform or popularity^alpha
 * (alias method of Walker 1977 / Vose 1991). A negative is drawn by rejection; after SAMPLER_TRIES misses
 * the draw falls on the unseen items by rank (uniform) so that a user who has seen nearly everything still
 * gets exact ones; a user who has seen all items gets none (NO_ITEM), and is counted. */
#ifndef RECPIPE_SAMPLER_H
#define RECPIPE_SAMPLER_H

#include "compat.h"
#include "error.h"
#include "interactions.h"

enum { SAMPLER_TRIES = 64, SAMPLER_RATIO_MAX = 1024 };

struct sampler_options {
	uint64_t seed;
	uint32_t ratio;        /* negatives a positive, up to SAMPLER_RATIO_MAX */
	double alpha;          /* 0: uniform; else weights popularity^alpha over items with interactions */
};

struct sampler {
	const struct interactions *known; /* borrowed */
	struct sampler_options options;
	uint32_t *users;       /* of each positive (row order), 4 bytes each: so that a shuffled one is found at once */
	uint32_t epoch;        /* the current one */
	uint32_t round_keys[8];/* of the epoch's permutation, a Feistel network over the numbers of positives */
	unsigned low_bits, high_bits;
	uint32_t *bitmap;      /* membership by bit, when users × items is small enough; else NULL */
	uint32_t bitmap_stride;/* 32-bit words a user */
	uint32_t *filter;      /* else: what is not in here is not known, what is may be. Words of user u: */
	uint32_t *filter_starts; /* filter[filter_starts[u] .. filter_starts[u + 1]) */
	uint32_t *alias_least; /* alias table, items each; NULL when uniform. A coin of 24 bits below it keeps the column */
	uint32_t *alias_other;
	uint64_t (*fill)(const struct sampler *sampler, uint64_t begin, uint64_t end, uint32_t *users, uint32_t *items);
};

MUST_CHECK int sampler_init(struct sampler *sampler, const struct interactions *known,
                            const struct sampler_options *options, struct error *error);
void sampler_release(struct sampler *sampler);

/* Makes `epoch` (from 0) the current one: derives the keys of its permutation. */
void sampler_start_epoch(struct sampler *sampler, uint32_t epoch);

/* The positive at place `place` < known->count of the current epoch: a permutation that needs no table, so
 * that any part of an epoch can be made by any thread or on a GPU. */
uint32_t sampler_positive_at(const struct sampler *sampler, uint64_t place);

/* Samples [begin, end) of the current epoch: users[i] and items[i * (1 + ratio)], the positive first.
 * Safe to call from several threads at once. Returns the number of negatives that do not exist. */
uint64_t sampler_fill(const struct sampler *sampler, uint64_t begin, uint64_t end, uint32_t *users,
                      uint32_t *items);

/* `count` distinct items that `user` has not seen in `known` and that are not among `exclude` (ascending,
 * `excluded` of them: the truth), uniform without replacement, by (seed, draw, user). Returns how many exist,
 * at most `count`. */
size_t sampler_candidates(const struct interactions *known, uint32_t user, const uint32_t *exclude,
                          size_t excluded, uint64_t seed, uint32_t draw, size_t count, uint32_t *items);

#endif
