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

LANE_CODE n16 mix(n16 x)
{
	x = n16_xor(x, n16_right(x, 16));
	x = n16_multiply(x, n16_set(SAMPLER_MIX_1));
	x = n16_xor(x, n16_right(x, 13));
	x = n16_multiply(x, n16_set(SAMPLER_MIX_2));
	return n16_xor(x, n16_right(x, 16));
}

LANE_CODE void feistel(const struct sampler *sampler, n16 numbers[STRETCH / LANES])
{
	enum { VECTORS = STRETCH / LANES };
	const n16 low_mask = n16_set((UINT32_C(1) << sampler->low_bits) - 1);
	const n16 high_mask = n16_set((UINT32_C(1) << sampler->high_bits) - 1);
	n16 low[VECTORS], high[VECTORS];
	for (int v = 0; v < VECTORS; v++) {
		low[v] = n16_and(numbers[v], low_mask);
		high[v] = n16_right(numbers[v], sampler->low_bits);
	}
	for (int round = 0; round < SAMPLER_ROUNDS; round += 2) {
		const n16 first = n16_set(sampler->round_keys[round]), second = n16_set(sampler->round_keys[round + 1]);
		for (int v = 0; v < VECTORS; v++)
			high[v] = n16_and(n16_xor(high[v], mix(n16_xor(low[v], first))), high_mask);
		for (int v = 0; v < VECTORS; v++)
			low[v] = n16_and(n16_xor(low[v], mix(n16_xor(high[v], second))), low_mask);
	}
	for (int v = 0; v < VECTORS; v++)
		numbers[v] = n16_or(n16_left(high[v], sampler->low_bits), low[v]);
}

/* The positives at `count` places from `first` on; the rest of the stretch repeats the first of them. */
LANE_CODE void find_positives(const struct sampler *sampler, uint64_t first, size_t count, uint32_t *positives)
{
	enum { VECTORS = STRETCH / LANES };
	const n16 all = n16_set((uint32_t)sampler->known->count);
	n16 numbers[VECTORS];
	uint32_t outside[VECTORS], any;
	for (size_t i = 0; i < STRETCH; i++)
		positives[i] = (uint32_t)(first + (i < count ? i : 0));
	for (int v = 0; v < VECTORS; v++) {
		numbers[v] = n16_load(positives + v * LANES);
		outside[v] = 0xffff;
	}
	do { /* on, until none is outside */
		n16 next[VECTORS];
		any = 0;
		for (int v = 0; v < VECTORS; v++)
			next[v] = numbers[v];
		feistel(sampler, next);
		for (int v = 0; v < VECTORS; v++) {
			numbers[v] = n16_choose(outside[v], numbers[v], next[v]);
			outside[v] &= ~n16_below(numbers[v], all) & 0xffff;
			any |= outside[v];
		}
	} while (any);
	for (int v = 0; v < VECTORS; v++)
		n16_store(positives + v * LANES, numbers[v]);
	for (size_t i = 0; i < STRETCH; i++) {
		__builtin_prefetch(&sampler->users[positives[i]]);
		__builtin_prefetch(&sampler->known->item_ids[positives[i]]);
	}
}

/* ---- random words: the same as rng_block ---- */

LANE_CODE void philox(const struct sampler *sampler, n16 index, uint32_t block, n16 words[WORDS])
{
	uint32_t key0 = (uint32_t)sampler->options.seed, key1 = (uint32_t)(sampler->options.seed >> 32);
	const n16 first = n16_set(RNG_MULTIPLIER_0), second = n16_set(RNG_MULTIPLIER_1);
	n16 a = index, b = n16_set(0), c = n16_set(block), d = n16_set(rng_stream(RNG_NEGATIVE, sampler->epoch));
	for (int round = 0; round < RNG_ROUNDS; round++) {
		n16 p_low, q_low;
		const n16 p = n16_multiply_wide(a, first, &p_low), q = n16_multiply_wide(c, second, &q_low);
		a = n16_xor(n16_xor(q, b), n16_set(key0));
		b = q_low;
		c = n16_xor(n16_xor(p, d), n16_set(key1));
		d = p_low;
		key0 += RNG_WEYL_0;
		key1 += RNG_WEYL_1;
	}
	words[0] = a;
	words[1] = b;
	words[2] = c;
	words[3] = d;
}

/* ---- tries ---- */

/* The item that a word falls on, as rng_scale has it; with weights a second word is the alias table's coin. */
LANE_CODE n16 item_of(const struct sampler *sampler, n16 word, n16 coin)
{
	n16 low;
	const n16 item = n16_multiply_wide(word, n16_set(sampler->known->items), &low);
	if (!sampler->alias_least)
		return item;
	const uint32_t keeps = n16_below(n16_right(coin, 8), n16_gather(sampler->alias_least, item));
	return n16_choose(keeps, n16_gather(sampler->alias_other, item), item);
}

/* Bit i: the user knows the item. */
LANE_CODE uint32_t known_by_bitmap(const struct sampler *sampler, n16 user, n16 item)
{
	const n16 row = n16_multiply(user, n16_set(sampler->bitmap_stride));
	const n16 word = n16_gather(sampler->bitmap, n16_add(row, n16_right(item, 5)));
	return n16_some(n16_and(n16_right_each(word, n16_and(item, n16_set(31))), n16_set(1)));
}

/* Bit i: the user may know the item. */
LANE_CODE uint32_t known_by_filter(const struct sampler *sampler, n16 start, n16 width, n16 item)
{
	n16 low;
	const n16 place = n16_multiply_wide(n16_multiply(item, n16_set(SAMPLER_FILTER_WORD)), width, &low);
	const n16 word = n16_gather(sampler->filter, n16_add(start, place));
	const n16 bits = n16_right(n16_multiply(item, n16_set(SAMPLER_FILTER_BITS)), 22);
	const n16 both = n16_and(n16_right_each(word, n16_and(bits, n16_set(31))), n16_right_each(word, n16_right(bits, 5)));
	return n16_some(n16_and(both, n16_set(1)));
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
		n16 words[WORDS];
		philox(sampler, n16_load(stretch->positives + i), block, words);
		for (unsigned t = 0; t < tries; t++) {
			const n16 item = sampler->alias_least ? item_of(sampler, words[2 * t], words[2 * t + 1])
			                                      : item_of(sampler, words[t], words[t]);
			n16_store(&stretch->tries[t][i], item);
			const uint32_t known =
				sampler->bitmap   ? known_by_bitmap(sampler, n16_load(stretch->users + i), item)
				: sampler->filter ? known_by_filter(sampler, n16_load(stretch->starts + i), n16_load(stretch->widths + i), item)
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
