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
	size_t count;                  /* of the positives; what is behind them repeats the first */
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

/* Where in the filter the item of a user stands, whose words are `width` from `start` on. */
LANE_CODE vu filter_word(vu start, vu width, vu item)
{
	return vu_add(start, vu_multiply_high(vu_multiply_low(item, vu_set(SAMPLER_FILTER_WORD)), width));
}

/* Bit i: the user may know the item. */
LANE_CODE uint32_t known_by_filter(const struct sampler *sampler, vu start, vu width, vu item)
{
	const vu word = vu_gather(sampler->filter, filter_word(start, width, item));
	const vu bits = vu_right(vu_multiply_low(item, vu_set(SAMPLER_FILTER_BITS)), 22);
	const vu both = vu_and(vu_right_each(word, vu_and(bits, vu_set(31))), vu_right_each(word, vu_right(bits, 5)));
	return vu_some(vu_and(both, vu_set(1)));
}

/* Rows being searched together. */
struct searches {
	const uint32_t *rows[WORDS * STRETCH];   /* the last of `left` items on from here that is at most the one sought */
	uint32_t left[WORDS * STRETCH], items[WORDS * STRETCH];
	uint8_t tries[WORDS * STRETCH], places[WORDS * STRETCH]; /* where the suspect stands in the stretch */
};

/* Leaves of the suspects in stretch->known those whom a search finds. All of them are halved in turns, so that they wait
 * for memory together. */
LANE_CODE void search_suspects(const struct sampler *sampler, struct stretch *stretch, unsigned tries)
{
	const struct interactions *known = sampler->known;
	struct searches searches;
	uint32_t count = 0, most = 0;
	for (unsigned t = 0; t < tries; t++)
		for (uint64_t rest = stretch->known[t]; rest; rest &= rest - 1) {
			const int i = __builtin_ctzll(rest);
			const uint64_t begin = known->offsets[stretch->users[i]];
			const uint32_t all = (uint32_t)(known->offsets[stretch->users[i] + 1] - begin); /* the positive at least */
			searches.rows[count] = known->item_ids + begin;
			searches.left[count] = all;
			searches.items[count] = stretch->tries[t][i];
			searches.tries[count] = (uint8_t)t;
			searches.places[count++] = (uint8_t)i;
			most = all > most ? all : most;
			__builtin_prefetch(known->item_ids + begin + all / 2);
		}
	for (; most > 1; most -= most / 2)
		for (uint32_t s = 0; s < count; s++) {
			const uint32_t *row = searches.rows[s];
			const uint32_t half = searches.left[s] / 2, left = searches.left[s] - half;
			row += row[half] <= searches.items[s] ? half : 0;
			__builtin_prefetch(row + left / 2);
			searches.rows[s] = row;
			searches.left[s] = left;
		}
	for (uint32_t s = 0; s < count; s++)
		if (*searches.rows[s] != searches.items[s])
			stretch->known[searches.tries[s]] ^= UINT64_C(1) << searches.places[s];
}

/* How many tries a block of words is. */
LANE_CODE unsigned tries_a_block(const struct sampler *sampler)
{
	return sampler->alias_least ? WORDS / 2 : WORDS;
}

/* The tries that one block of words gives the first `count` positives. */
LANE_CODE void draw_tries(const struct sampler *sampler, struct stretch *stretch, size_t count, uint32_t block)
{
	for (size_t i = 0; i < count; i += LANES) {
		vu words[WORDS];
		draw_words(sampler, vu_load(stretch->positives + i), block, words);
		for (unsigned t = 0; t < tries_a_block(sampler); t++)
			vu_store(&stretch->tries[t][i], sampler->alias_least ? item_of(sampler, words[2 * t], words[2 * t + 1])
			                                                     : item_of(sampler, words[t], words[t]));
	}
}

/* Brings the words of the filter that will be looked at on the way. */
LANE_CODE void fetch_filter(const struct sampler *sampler, const struct stretch *stretch, size_t count)
{
	for (unsigned t = 0; t < tries_a_block(sampler); t++)
		for (size_t i = 0; i < count; i += LANES) {
			uint32_t words[LANES];
			vu_store(words, filter_word(vu_load(stretch->starts + i), vu_load(stretch->widths + i),
			                            vu_load(&stretch->tries[t][i])));
			for (size_t l = 0; l < LANES; l++)
				__builtin_prefetch(&sampler->filter[words[l]]);
		}
}

/* Which of the tries are known. */
LANE_CODE void judge_tries(const struct sampler *sampler, struct stretch *stretch, size_t count)
{
	const unsigned tries = tries_a_block(sampler);
	for (unsigned t = 0; t < tries; t++) {
		stretch->known[t] = 0;
		for (size_t i = 0; i < count; i += LANES) {
			const vu item = vu_load(&stretch->tries[t][i]);
			const uint32_t known =
				sampler->bitmap   ? known_by_bitmap(sampler, vu_load(stretch->users + i), item)
				: sampler->filter ? known_by_filter(sampler, vu_load(stretch->starts + i), vu_load(stretch->widths + i), item)
				                  : 0xffff;
			stretch->known[t] |= (uint64_t)known << i;
		}
	}
	if (sampler->bitmap)
		return;
	for (unsigned t = 0; t < tries; t++)
		stretch->known[t] &= UINT64_MAX >> (STRETCH - count);
	search_suspects(sampler, stretch, tries);
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

/* Looks up who the positives are of, and draws their first tries. */
LANE_CODE void begin_stretch(const struct sampler *sampler, struct stretch *stretch, uint32_t *users, uint32_t *items)
{
	const size_t group = 1 + (size_t)sampler->options.ratio;
	for (size_t i = 0; i < STRETCH; i++) {
		const uint32_t positive = stretch->positives[i];
		stretch->users[i] = sampler->users[positive];
		stretch->have[i] = 0;
		stretch->starts[i] = sampler->filter ? sampler->filter_starts[stretch->users[i]] : 0;
		stretch->widths[i] = sampler->filter ? sampler->filter_starts[stretch->users[i] + 1] - stretch->starts[i] : 0;
		if (i >= stretch->count)
			continue;
		stretch->groups[i] = items + i * group;
		users[i] = stretch->users[i];
		items[i * group] = sampler->known->item_ids[positive];
	}
	if (group == 1)
		return;
	draw_tries(sampler, stretch, stretch->count, 0);
	if (sampler->filter)
		fetch_filter(sampler, stretch, stretch->count);
}

LANE_CODE uint64_t finish_stretch(const struct sampler *sampler, struct stretch *stretch)
{
	const unsigned tries = tries_a_block(sampler);
	uint64_t missing = 0;
	size_t count = sampler->options.ratio > 0 ? stretch->count : 0;
	for (uint32_t block = 0; count > 0; block++) {
		if (block > 0)
			draw_tries(sampler, stretch, count, block);
		judge_tries(sampler, stretch, count);
		count = take_tries(sampler, stretch, count, tries, (block + 1) * tries, &missing);
	}
	return missing;
}

sampler_fill_function JOIN(sampler_fill_, KERNEL_ISA);

/* Three stretches at a time: one whose positives are found, so that who they are of is on the way; one whose first tries
 * are drawn, so that the words of the filter are; and one that is judged. */
uint64_t JOIN(sampler_fill_, KERNEL_ISA)(const struct sampler *sampler, uint64_t begin, uint64_t end, uint32_t *users,
                                         uint32_t *items)
{
	const size_t group = 1 + (size_t)sampler->options.ratio;
	const uint64_t all = (end - begin + STRETCH - 1) / STRETCH;
	struct stretch ring[3];
	uint64_t missing = 0;
	for (uint64_t found = 0; found < all + 2; found++) {
		struct stretch *next = &ring[found % 3], *drawn = &ring[(found + 2) % 3], *judged = &ring[(found + 1) % 3];
		if (found < all) {
			const uint64_t first = begin + found * STRETCH;
			next->count = end - first < STRETCH ? (size_t)(end - first) : STRETCH;
			find_positives(sampler, first, next->count, next->positives);
		}
		if (found >= 1 && found <= all)
			begin_stretch(sampler, drawn, users + (found - 1) * STRETCH, items + (found - 1) * STRETCH * group);
		if (found >= 2)
			missing += finish_stretch(sampler, judged);
	}
	return missing;
}
