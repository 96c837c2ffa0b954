/* Samples by the stretch: the permutation, the random words and the look into the bitmap are made for sixteen positives
 * at once; what is accepted is gathered positive by positive.
 *
 * The k-th negative of a positive is the k-th of its words that falls on an item which the user does not know, as long
 * as no negative takes SAMPLER_TRIES of them: so words can be made block by block for all positives that still need
 * some. A positive with more misses than that is left to sampler_fill_group, which begins it anew. */
#include "rng.h"
#include "sampler_internal.h"
#include "sampler_lanes.h"

enum { STRETCH = 64, WORDS = 4 };

/* Positives being worked on, and their tries out of one block of words. */
struct stretch {
	uint32_t positives[STRETCH], users[STRETCH];
	uint32_t starts[STRETCH], widths[STRETCH]; /* the user's words of the filter */
	uint32_t tries[WORDS][STRETCH];
	uint64_t known[WORDS];         /* bit i: the user of positive i knows that item */
	uint32_t *groups[STRETCH];     /* where items go */
	uint32_t have[STRETCH];        /* negatives so far */
};

/* ---- the permutation: the same as sampler_positive_at ---- */

LANE_CODE vu mix(vu x)
{
	x = vu_xor(x, vu_right(x, 16));
	x = vu_multiply_low(x, vu_set(SAMPLER_MIX_1));
	x = vu_xor(x, vu_right(x, 13));
	x = vu_multiply_low(x, vu_set(SAMPLER_MIX_2));
	return vu_xor(x, vu_right(x, 16));
}

LANE_CODE void feistel(const struct sampler *sampler, vu numbers[STRETCH / LANES])
{
	enum { VECTORS = STRETCH / LANES };
	const vu low_mask = vu_set((UINT32_C(1) << sampler->low_bits) - 1);
	const vu high_mask = vu_set((UINT32_C(1) << sampler->high_bits) - 1);
	vu low[VECTORS], high[VECTORS];
	for (int v = 0; v < VECTORS; v++) {
		low[v] = vu_and(numbers[v], low_mask);
		high[v] = vu_right(numbers[v], sampler->low_bits);
	}
	for (int round = 0; round < SAMPLER_ROUNDS; round += 2) {
		const vu first = vu_set(sampler->round_keys[round]), second = vu_set(sampler->round_keys[round + 1]);
		for (int v = 0; v < VECTORS; v++)
			high[v] = vu_and(vu_xor(high[v], mix(vu_xor(low[v], first))), high_mask);
		for (int v = 0; v < VECTORS; v++)
			low[v] = vu_and(vu_xor(low[v], mix(vu_xor(high[v], second))), low_mask);
	}
	for (int v = 0; v < VECTORS; v++)
		numbers[v] = vu_or(vu_left(high[v], sampler->low_bits), low[v]);
}

/* The positives at `count` places from `first` on; the rest of the stretch repeats the first of them. */
LANE_CODE void find_positives(const struct sampler *sampler, uint64_t first, size_t count, uint32_t *positives)
{
	enum { VECTORS = STRETCH / LANES };
	const vu all = vu_set((uint32_t)sampler->known->count);
	vu numbers[VECTORS];
	uint32_t outside[VECTORS], any;
	for (size_t i = 0; i < STRETCH; i++)
		positives[i] = (uint32_t)(first + (i < count ? i : 0));
	for (int v = 0; v < VECTORS; v++) {
		numbers[v] = vu_load(positives + v * LANES);
		outside[v] = 0xffff;
	}
	do { /* on, until none is outside */
		vu next[VECTORS];
		any = 0;
		for (int v = 0; v < VECTORS; v++)
			next[v] = numbers[v];
		feistel(sampler, next);
		for (int v = 0; v < VECTORS; v++) {
			numbers[v] = vu_choose(outside[v], numbers[v], next[v]);
			outside[v] &= ~vu_below(numbers[v], all) & 0xffff;
			any |= outside[v];
		}
	} while (any);
	for (int v = 0; v < VECTORS; v++)
		vu_store(positives + v * LANES, numbers[v]);
	for (size_t i = 0; i < STRETCH; i++) {
		__builtin_prefetch(&sampler->users[positives[i]]);
		__builtin_prefetch(&sampler->known->item_ids[positives[i]]);
	}
}

/* ---- random words: the same as rng_block ---- */

LANE_CODE void draw_words(const struct sampler *sampler, vu index, uint32_t block, vu words[WORDS])
{
	words[0] = index;
	words[1] = vu_set(0);
	words[2] = vu_set(block);
	words[3] = vu_set(rng_stream(RNG_NEGATIVE, sampler->epoch));
	random_words(sampler->options.seed, words);
}

/* ---- tries ---- */

/* The item that a word falls on, as rng_scale has it; with weights a second word is the alias table's coin. */
LANE_CODE vu item_of(const struct sampler *sampler, vu word, vu coin)
{
	const vu item = vu_multiply_high(word, vu_set(sampler->known->items));
	if (!sampler->alias_least)
		return item;
	const uint32_t keeps = vu_below(vu_right(coin, 8), vu_gather(sampler->alias_least, item));
	return vu_choose(keeps, vu_gather(sampler->alias_other, item), item);
}

/* Bit i: the user knows the item. */
LANE_CODE uint32_t known_by_bitmap(const struct sampler *sampler, vu user, vu item)
{
	const vu row = vu_multiply_low(user, vu_set(sampler->bitmap_stride));
	const vu word = vu_gather(sampler->bitmap, vu_add(row, vu_right(item, 5)));
	return vu_some(vu_and(vu_right_each(word, vu_and(item, vu_set(31))), vu_set(1)));
}

/* Bit i: the user may know the item. */
LANE_CODE uint32_t known_by_filter(const struct sampler *sampler, vu start, vu width, vu item)
{
	const vu place = vu_multiply_high(vu_multiply_low(item, vu_set(SAMPLER_FILTER_WORD)), width);
	const vu word = vu_gather(sampler->filter, vu_add(start, place));
	const vu bits = vu_right(vu_multiply_low(item, vu_set(SAMPLER_FILTER_BITS)), 22);
	const vu both = vu_and(vu_right_each(word, vu_and(bits, vu_set(31))), vu_right_each(word, vu_right(bits, 5)));
	return vu_some(vu_and(both, vu_set(1)));
}

/* Leaves of the suspects in stretch->known those whom a search finds; their rows are brought on the way first. */
LANE_CODE void search_suspects(const struct sampler *sampler, struct stretch *stretch, unsigned tries)
{
	const struct interactions *known = sampler->known;
	for (unsigned t = 0; t < tries; t++)
		for (uint64_t rest = stretch->known[t]; rest; rest &= rest - 1) {
			const uint32_t user = stretch->users[__builtin_ctzll(rest)];
			const uint32_t *row = known->item_ids + known->offsets[user];
			const uint64_t count = known->offsets[user + 1] - known->offsets[user];
			__builtin_prefetch(row + count / 2);
			__builtin_prefetch(row + count / 4);
			__builtin_prefetch(row + count / 4 * 3);
		}
	for (unsigned t = 0; t < tries; t++)
		for (uint64_t rest = stretch->known[t]; rest; rest &= rest - 1) {
			const int i = __builtin_ctzll(rest);
			if (!interactions_has(known, stretch->users[i], stretch->tries[t][i]))
				stretch->known[t] ^= rest & -rest;
		}
}

/* The tries that one block of words gives the first `count` positives, and which of them are known. Returns how many
 * tries a block is. */
LANE_CODE unsigned try_block(const struct sampler *sampler, struct stretch *stretch, size_t count, uint32_t block)
{
	const unsigned tries = sampler->alias_least ? WORDS / 2 : WORDS;
	for (unsigned t = 0; t < tries; t++)
		stretch->known[t] = 0;
	for (size_t i = 0; i < count; i += LANES) {
		vu words[WORDS];
		draw_words(sampler, vu_load(stretch->positives + i), block, words);
		for (unsigned t = 0; t < tries; t++) {
			const vu item = sampler->alias_least ? item_of(sampler, words[2 * t], words[2 * t + 1])
			                                      : item_of(sampler, words[t], words[t]);
			vu_store(&stretch->tries[t][i], item);
			const uint32_t known =
				sampler->bitmap   ? known_by_bitmap(sampler, vu_load(stretch->users + i), item)
				: sampler->filter ? known_by_filter(sampler, vu_load(stretch->starts + i), vu_load(stretch->widths + i), item)
				                  : 0xffff;
			stretch->known[t] |= (uint64_t)known << i;
		}
	}
	if (sampler->bitmap)
		return tries;
	for (unsigned t = 0; t < tries; t++)
		stretch->known[t] &= UINT64_MAX >> (STRETCH - count);
	search_suspects(sampler, stretch, tries);
	return tries;
}

/* ---- a stretch ---- */

/* Hands the tries of a block to their positives. Those that still need some are moved to the front; returns how many
 * they are. */
LANE_CODE size_t take_tries(const struct sampler *sampler, struct stretch *stretch, size_t count, unsigned tries,
                            uint32_t tried, uint64_t *missing)
{
	const uint32_t ratio = sampler->options.ratio;
	size_t left = 0;
	for (size_t i = 0; i < count; i++) {
		uint32_t have = stretch->have[i], *group = stretch->groups[i];
		for (unsigned t = 0; t < tries && have < ratio; t++) {
			group[1 + have] = stretch->tries[t][i];
			have += ~(uint32_t)(stretch->known[t] >> i) & 1;
		}
		if (have == ratio)
			continue;
		if (tried - have >= SAMPLER_TRIES) {
			*missing += sampler_fill_group(sampler, stretch->positives[i], group);
			continue;
		}
		stretch->positives[left] = stretch->positives[i];
		stretch->users[left] = stretch->users[i];
		stretch->starts[left] = stretch->starts[i];
		stretch->widths[left] = stretch->widths[i];
		stretch->groups[left] = group;
		stretch->have[left++] = have;
	}
	return left;
}

LANE_CODE uint64_t fill_stretch(const struct sampler *sampler, struct stretch *stretch, size_t count, uint32_t *users,
                                uint32_t *items)
{
	const size_t group = 1 + (size_t)sampler->options.ratio;
	uint64_t missing = 0;
	uint32_t tried = 0;
	for (size_t i = 0; i < STRETCH; i++) {
		const uint32_t positive = stretch->positives[i];
		stretch->users[i] = sampler->users[positive];
		stretch->have[i] = 0;
		stretch->starts[i] = sampler->filter ? sampler->filter_starts[stretch->users[i]] : 0;
		stretch->widths[i] = sampler->filter ? sampler->filter_starts[stretch->users[i] + 1] - stretch->starts[i] : 0;
		if (i >= count)
			continue;
		stretch->groups[i] = items + i * group;
		users[i] = stretch->users[i];
		items[i * group] = sampler->known->item_ids[positive];
	}
	for (uint32_t block = 0; group > 1 && count > 0; block++) {
		const unsigned tries = try_block(sampler, stretch, count, block);
		tried += tries;
		count = take_tries(sampler, stretch, count, tries, tried, &missing);
	}
	return missing;
}

sampler_fill_function JOIN(sampler_fill_, KERNEL_ISA);

uint64_t JOIN(sampler_fill_, KERNEL_ISA)(const struct sampler *sampler, uint64_t begin, uint64_t end, uint32_t *users,
                                         uint32_t *items)
{
	const size_t group = 1 + (size_t)sampler->options.ratio;
	struct stretch stretch;
	uint32_t next[STRETCH];
	uint64_t missing = 0;
	if (begin < end)
		find_positives(sampler, begin, end - begin < STRETCH ? (size_t)(end - begin) : STRETCH, next);
	for (uint64_t first = begin; first < end; first += STRETCH) {
		const size_t count = end - first < STRETCH ? (size_t)(end - first) : STRETCH;
		const uint64_t behind = end - first - count;
		memcpy(stretch.positives, next, sizeof next);
		/* The positives after these, whose rows are then on the way. */
		if (behind > 0)
			find_positives(sampler, first + STRETCH, behind < STRETCH ? (size_t)behind : STRETCH, next);
		missing += fill_stretch(sampler, &stretch, count, users + (first - begin), items + (first - begin) * group);
	}
	return missing;
}
