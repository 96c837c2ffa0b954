/* Training samples: the epoch's permutation, and negatives by rejection.
 *
 * The permutation is a Feistel network over the bits of the positive's number, walked until it falls below
 * the count (Black & Rogaway 2002, "Ciphers with arbitrary finite domains"). The negatives of positive p in
 * epoch e consume the words of (seed, RNG_NEGATIVE e, p) in sequence, slot after slot, one word a try
 * (two with popularity weights: the alias column, then its coin). */
#include "sampler.h"

#include <math.h>

#include "maths.h"
#include "mem.h"
#include "rng.h"
#include "sampler_internal.h"

static const uint64_t bitmap_bytes_max = UINT64_C(32) << 20;

/* ---- the permutation ---- */

static inline uint32_t mix(uint32_t x)
{
	x ^= x >> 16;
	x *= SAMPLER_MIX_1;
	x ^= x >> 13;
	x *= SAMPLER_MIX_2;
	return x ^ x >> 16;
}

void sampler_start_epoch(struct sampler *sampler, uint32_t epoch)
{
	sampler->epoch = epoch;
	rng_block(sampler->options.seed, rng_stream(RNG_SHUFFLE, 0), epoch, 0, sampler->round_keys);
	rng_block(sampler->options.seed, rng_stream(RNG_SHUFFLE, 0), epoch, 1, sampler->round_keys + 4);
}

static inline uint32_t feistel(const struct sampler *sampler, uint32_t number)
{
	const uint32_t low_mask = (UINT32_C(1) << sampler->low_bits) - 1;
	const uint32_t high_mask = (UINT32_C(1) << sampler->high_bits) - 1;
	uint32_t low = number & low_mask, high = number >> sampler->low_bits;
	for (int round = 0; round < SAMPLER_ROUNDS; round += 2) {
		high = (high ^ mix(low ^ sampler->round_keys[round])) & high_mask;
		low = (low ^ mix(high ^ sampler->round_keys[round + 1])) & low_mask;
	}
	return high << sampler->low_bits | low;
}

uint32_t sampler_positive_at(const struct sampler *sampler, uint64_t place)
{
	uint32_t number = (uint32_t)place;
	do
		number = feistel(sampler, number);
	while (number >= sampler->known->count);
	return number;
}

static void choose_bits(struct sampler *sampler)
{
	unsigned bits = 2; /* one for each half at least */
	while (bits < 32 && (UINT64_C(1) << bits) < sampler->known->count)
		bits++;
	sampler->low_bits = bits / 2;
	sampler->high_bits = bits - bits / 2;
}

/* ---- setting up ---- */

static int make_users(struct sampler *sampler, struct error *error)
{
	const struct interactions *known = sampler->known;
	sampler->users = mem_alloc(known->count, sizeof *sampler->users, error);
	if (!sampler->users)
		return -1;
	for (uint32_t user = 0; user < known->users; user++)
		for (uint64_t i = known->offsets[user]; i < known->offsets[user + 1]; i++)
			sampler->users[i] = user;
	return 0;
}

static int make_bitmap(struct sampler *sampler, struct error *error)
{
	const struct interactions *known = sampler->known;
	const uint64_t stride = ((uint64_t)known->items + 31) / 32;
	if (stride * known->users * sizeof *sampler->bitmap > bitmap_bytes_max)
		return 0;
	sampler->bitmap_stride = (uint32_t)stride;
	sampler->bitmap = mem_alloc_zero(stride * known->users, sizeof *sampler->bitmap, error);
	if (!sampler->bitmap)
		return -1;
	for (uint32_t user = 0; user < known->users; user++)
		for (uint64_t i = known->offsets[user]; i < known->offsets[user + 1]; i++) {
			uint32_t item = known->item_ids[i];
			sampler->bitmap[user * stride + item / 32] |= UINT32_C(1) << (item % 32);
		}
	return 0;
}

/* Where there is no bitmap. Without a filter either (2^31 words would be too few) all goes by search. */
static int make_filter(struct sampler *sampler, struct error *error)
{
	const struct interactions *known = sampler->known;
	const uint64_t words = known->count * 2 / SAMPLER_FILTER_ITEMS_2 + known->users;
	if (sampler->bitmap || words > INT32_MAX)
		return 0;
	sampler->filter = mem_alloc_zero(words, sizeof *sampler->filter, error);
	sampler->filter_starts = mem_alloc((size_t)known->users + 1, sizeof *sampler->filter_starts, error);
	if (!sampler->filter || !sampler->filter_starts)
		return -1;
	for (uint32_t user = 0; user <= known->users; user++)
		sampler->filter_starts[user] = (uint32_t)(known->offsets[user] * 2 / SAMPLER_FILTER_ITEMS_2 + user);
	for (uint32_t user = 0; user < known->users; user++) {
		const uint32_t start = sampler->filter_starts[user], width = sampler->filter_starts[user + 1] - start;
		for (uint64_t i = known->offsets[user]; i < known->offsets[user + 1]; i++) {
			const uint32_t item = known->item_ids[i], bits = item * SAMPLER_FILTER_BITS >> 22;
			sampler->filter[start + rng_scale(item * SAMPLER_FILTER_WORD, width)] |=
				UINT32_C(1) << (bits & 31) | UINT32_C(1) << (bits >> 5);
		}
	}
	return 0;
}

/* The coin's 24 bits, as a share of 2^24, are below `keep`. */
static uint32_t least_of(float keep)
{
	return (uint32_t)ceil((double)keep * 0x1p24);
}

/* Vose's construction: columns below the mean are topped up by one above it. */
static void fill_alias(struct sampler *sampler, double *weights, uint32_t *small, uint32_t *large)
{
	const uint32_t items = sampler->known->items;
	size_t smalls = 0, larges = 0;
	for (uint32_t i = 0; i < items; i++) {
		sampler->alias_least[i] = least_of(1.0f);
		sampler->alias_other[i] = i;
		if (weights[i] < 1.0)
			small[smalls++] = i;
		else
			large[larges++] = i;
	}
	while (smalls > 0 && larges > 0) {
		uint32_t low = small[--smalls], high = large[larges - 1];
		sampler->alias_least[low] = least_of((float)weights[low]);
		sampler->alias_other[low] = high;
		weights[high] -= 1.0 - weights[low];
		if (weights[high] < 1.0) {
			larges--;
			small[smalls++] = high;
		}
	}
}

static int make_alias(struct sampler *sampler, struct error *error)
{
	const uint32_t items = sampler->known->items;
	int result = -1;
	double total = 0.0;
	double *weights = mem_alloc(items, sizeof *weights, error);
	uint32_t *small = mem_alloc(items, sizeof *small, error), *large = mem_alloc(items, sizeof *large, error);
	sampler->alias_least = mem_alloc(items, sizeof *sampler->alias_least, error);
	sampler->alias_other = mem_alloc(items, sizeof *sampler->alias_other, error);
	if (!weights || !small || !large || !sampler->alias_least || !sampler->alias_other)
		goto out;
	for (uint32_t i = 0; i < items; i++) {
		uint32_t popularity = sampler->known->popularity[i];
		weights[i] = popularity > 0 ? maths_pow(popularity, sampler->options.alpha) : 0.0;
		total += weights[i];
	}
	for (uint32_t i = 0; i < items; i++)
		weights[i] *= (double)items / total;
	fill_alias(sampler, weights, small, large);
	result = 0;
out:
	mem_free(weights);
	mem_free(small);
	mem_free(large);
	return result;
}

int sampler_init(struct sampler *sampler, const struct interactions *known, const struct sampler_options *options,
                 struct error *error)
{
	static sampler_fill_function *const fills[ISA_COUNT] = {
		[ISA_AVX512] = sampler_fill_avx512, [ISA_AVX2] = sampler_fill_avx2, [ISA_PORTABLE] = sampler_fill_portable,
	};
	enum isa isa;
	*sampler = (struct sampler){.known = known, .options = *options};
	if (isa_find("auto", &isa, error) < 0)
		return -1;
	/* The others look items up by signed numbers of 32 bits. */
	sampler->fill = fills[known->items > INT32_MAX ? ISA_PORTABLE : isa];
	if (known->count == 0)
		return error_set(error, CODE_DATA, "there are no interactions to sample from");
	if (known->count > UINT32_MAX)
		return error_set(error, CODE_DATA, "more than 2^32 - 1 interactions cannot be sampled from");
	if (options->ratio > SAMPLER_RATIO_MAX)
		return error_set(error, CODE_USAGE, "%u negatives a positive, at most %d are possible", options->ratio,
		                 SAMPLER_RATIO_MAX);
	choose_bits(sampler);
	if (make_users(sampler, error) < 0 || make_bitmap(sampler, error) < 0 || make_filter(sampler, error) < 0)
		return -1;
	if (options->alpha != 0.0 && make_alias(sampler, error) < 0)
		return -1;
	sampler_start_epoch(sampler, 0);
	return 0;
}

void sampler_release(struct sampler *sampler)
{
	mem_free(sampler->users);
	mem_free(sampler->bitmap);
	mem_free(sampler->filter);
	mem_free(sampler->filter_starts);
	mem_free(sampler->alias_least);
	mem_free(sampler->alias_other);
	*sampler = (struct sampler){0};
}

/* ---- drawing ---- */

/* The words of one positive, block after block. */
struct words {
	uint64_t seed, index;
	uint32_t stream, block, word[4];
	unsigned used;
};

static inline uint32_t next_word(struct words *words)
{
	if (words->used == 4) {
		rng_block(words->seed, words->stream, words->index, words->block++, words->word);
		words->used = 0;
	}
	return words->word[words->used++];
}

static inline bool knows(const struct sampler *sampler, uint32_t user, uint32_t item)
{
	if (!sampler->bitmap)
		return interactions_has(sampler->known, user, item);
	return sampler->bitmap[(size_t)user * sampler->bitmap_stride + item / 32] >> (item % 32) & 1;
}

static inline uint32_t draw_item(const struct sampler *sampler, struct words *words)
{
	uint32_t item = rng_scale(next_word(words), sampler->known->items);
	if (!sampler->alias_least)
		return item;
	return next_word(words) >> 8 < sampler->alias_least[item] ? item : sampler->alias_other[item];
}

/* The unseen item of rank `rank` (from 0), for users who have seen so much that rejection fails. */
static uint32_t unseen_item(const struct interactions *known, uint32_t user, uint64_t rank)
{
	size_t count;
	const uint32_t *seen = interactions_of(known, user, &count);
	uint64_t item = rank;
	for (size_t i = 0; i < count && seen[i] <= item; i++)
		item++;
	return (uint32_t)item;
}

static uint32_t draw_negative(const struct sampler *sampler, uint32_t user, struct words *words)
{
	for (int try = 0; try < SAMPLER_TRIES; try++) {
		uint32_t item = draw_item(sampler, words);
		if (!knows(sampler, user, item))
			return item;
	}
	size_t seen;
	interactions_of(sampler->known, user, &seen);
	const uint32_t unseen = sampler->known->items - (uint32_t)seen;
	return unseen ? unseen_item(sampler->known, user, rng_scale(next_word(words), unseen)) : (uint32_t)NO_ITEM;
}

uint64_t sampler_fill_group(const struct sampler *sampler, uint32_t positive, uint32_t *items)
{
	struct words words = {.seed = sampler->options.seed, .index = positive,
	                      .stream = rng_stream(RNG_NEGATIVE, sampler->epoch), .used = 4};
	const uint32_t user = sampler->users[positive];
	uint64_t missing = 0;
	items[0] = sampler->known->item_ids[positive];
	for (uint32_t slot = 1; slot <= sampler->options.ratio; slot++) {
		items[slot] = draw_negative(sampler, user, &words);
		missing += items[slot] == (uint32_t)NO_ITEM;
	}
	return missing;
}

uint64_t sampler_fill(const struct sampler *sampler, uint64_t begin, uint64_t end, uint32_t *users, uint32_t *items)
{
	return sampler->fill(sampler, begin, end, users, items);
}
