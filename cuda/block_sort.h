/* A tile of (key, use) pairs that a block sorts by one digit of the keys, in shared memory: stable, so that a few tiles and
 * digits make a radix sort (after Satish, Harris & Garland 2009; lanes of one digit find each other by votes, as in Adinets &
 * Merrill 2022). Item i of lane l is number 32 i + l of its warp's share of the tile. */
#ifndef RECPIPE_CUDA_BLOCK_SORT_H
#define RECPIPE_CUDA_BLOCK_SORT_H

#include "warp.h"

enum {
	SORT_BITS = 9,            /* of a digit, at most; at least 2 */
	SORT_DIGITS = 1 << SORT_BITS, /* two for each thread of a block */
	FEW_ITEMS = 5, MOST_ITEMS = 17, /* a thread has of a tile: batches are often a few samples more than 1024 or 4096 */
	SORT_TILE = MOST_ITEMS * THREADS,
	SORT_WORDS = 2 * SORT_TILE + 2 * SORT_DIGITS + 4 * WARPS, /* of shared memory */
};

struct sort_memory {
	uint32_t *keys, *uses;    /* [SORT_TILE]: the tile, sorted */
	uint32_t *counts;         /* [WARPS][digits], where the tile comes to lie then */
	uint32_t *bases;          /* [digits]: where those of a digit begin in the tile */
	uint32_t *places;         /* [digits]: and where among all */
	uint32_t *warps, *totals; /* [2][WARPS] */
};

ON_DEVICE struct sort_memory sort_memory(void)
{
	struct sort_memory m;
	m.keys = (uint32_t *)(void *)shared_floats();
	m.uses = m.keys + SORT_TILE;
	m.counts = m.keys;
	m.bases = m.uses + SORT_TILE;
	m.places = m.bases + SORT_DIGITS;
	m.warps = m.places + SORT_DIGITS;
	m.totals = m.warps + 2 * WARPS;
	return m;
}

ON_DEVICE uint32_t digit_of(uint32_t key, uint32_t shift, uint32_t bits)
{
	return key >> shift & ((1u << bits) - 1);
}

/* Items [begin, end), as many as a tile has at most; behind them are keys that stay behind all others. `uses` NULL: the
 * items' numbers. */
ON_DEVICE void load_items(const uint32_t items, const uint32_t *keys, const uint32_t *uses, uint32_t begin, uint32_t end,
                          uint32_t (*key)[MOST_ITEMS], uint32_t (*use)[MOST_ITEMS])
{
	EACH_WARP(w) {
		EACH_LANE(l) {
			const uint32_t first = begin + w * WARP * items + l;
			UNROLLED
			for (uint32_t i = 0; i < items; i++) {
				const uint32_t at = first + i * WARP;
				OF_THREAD(key, w * WARP + l)[i] = at < end ? keys[at] : UINT32_MAX;
				OF_THREAD(use, w * WARP + l)[i] = uses && at < end ? uses[at] : at;
			}
		}
	}
}

ON_DEVICE void clear_counts(uint32_t t, const struct sort_memory *m, uint32_t bits)
{
	for (uint32_t i = t; i < (uint32_t)WARPS << bits; i += THREADS)
		m->counts[i] = 0;
}

/* Adds the warp's items to counts[w][digit]; of item i, alike: lanes that have the same digit, and of the first of those,
 * before: the count so far. */
ON_DEVICE void count_items(uint32_t w, const uint32_t items, const struct sort_memory *m, uint32_t shift, uint32_t bits,
                           uint32_t (*key)[MOST_ITEMS], uint32_t (*alike)[WARP_LANES], uint32_t (*before)[WARP_LANES])
{
	uint32_t digit[WARP_LANES];
	UNROLLED
	for (uint32_t i = 0; i < items; i++) {
		EACH_LANE(l) digit[OF_LANE(l)] = digit_of(OF_THREAD(key, w * WARP + l)[i], shift, bits);
		find_alike(digit, SORT_BITS, alike[i]);
	}
	UNROLLED
	for (uint32_t i = 0; i < items; i++) {
		EACH_LANE(l) {
			uint32_t *const count = m->counts + (w << bits) + digit_of(OF_THREAD(key, w * WARP + l)[i], shift, bits);
			before[i][OF_LANE(l)] = 0;
			if (lowest_bit(alike[i][OF_LANE(l)]) == l)
				before[i][OF_LANE(l)] = count_up(count, count_bits(alike[i][OF_LANE(l)]));
		}
		lanes_meet();
	}
}

/* How many of the digit the warp's earlier items are, and the lanes before: rank; of all the warp's: counts[w][digit]. */
ON_DEVICE void rank_items(const uint32_t items, const struct sort_memory *m, uint32_t shift, uint32_t bits,
                          uint32_t (*key)[MOST_ITEMS], uint32_t (*rank)[MOST_ITEMS])
{
	EACH_WARP(w) {
		uint32_t alike[MOST_ITEMS][WARP_LANES], before[MOST_ITEMS][WARP_LANES], leader[WARP_LANES];
		count_items(w, items, m, shift, bits, key, alike, before);
		UNROLLED
		for (uint32_t i = 0; i < items; i++) {
			EACH_LANE(l) leader[OF_LANE(l)] = lowest_bit(alike[i][OF_LANE(l)]);
			take_from(before[i], leader);
			EACH_LANE(l)
				OF_THREAD(rank, w * WARP + l)[i] = before[i][OF_LANE(l)] + lanes_before(alike[i][OF_LANE(l)], l);
		}
	}
}

/* The warps' counts of a digit become the sums of those before them; returns that of all. */
ON_DEVICE uint32_t scan_warps(const struct sort_memory *m, uint32_t digit, uint32_t bits)
{
	uint32_t sum = 0, count[WARPS];
	UNROLLED
	for (uint32_t w = 0; w < WARPS; w++)
		count[w] = m->counts[(w << bits) + digit];
	UNROLLED
	for (uint32_t w = 0; w < WARPS; w++) {
		m->counts[(w << bits) + digit] = sum;
		sum += count[w];
	}
	return sum;
}

/* to[d] = the sum of what is before digit d, from what the warps left: each thread's two digits behind the warp's others, and
 * totals[w] of each warp. */
ON_DEVICE void add_warps(uint32_t t, uint32_t digits, const uint32_t *totals, uint32_t *to)
{
	uint32_t before = 0;
	UNROLLED
	for (uint32_t w = 0; w < WARPS; w++)
		before += w < t / WARP ? totals[w] : 0;
	if (2 * t < digits) {
		to[2 * t] += before;
		to[2 * t + 1] += before;
	}
}

/* Of the warp's lanes, two digits each, `first` and what both have: to[digit] = what is before it within the warp, and
 * totals[w]. */
ON_DEVICE void scan_pairs(uint32_t w, uint32_t digits, const uint32_t *first, uint32_t *both, uint32_t *totals, uint32_t *to)
{
	const uint32_t total = sum_before(both);
	EACH_LANE(l) {
		const uint32_t digit = 2 * (w * WARP + l);
		if (digit < digits) {
			to[digit] = both[OF_LANE(l)];
			to[digit + 1] = both[OF_LANE(l)] + first[OF_LANE(l)];
		}
		if (l == 0)
			totals[w] = total;
	}
}

ON_DEVICE void scan_digits(const struct sort_memory *m, uint32_t bits)
{
	EACH_WARP(w) {
		uint32_t first[WARP_LANES], both[WARP_LANES];
		EACH_LANE(l) {
			const uint32_t digit = 2 * (w * WARP + l);
			const bool has = digit < 1u << bits;
			first[OF_LANE(l)] = has ? scan_warps(m, digit, bits) : 0;
			both[OF_LANE(l)] = first[OF_LANE(l)] + (has ? scan_warps(m, digit + 1, bits) : 0);
		}
		scan_pairs(w, 1u << bits, first, both, m->totals, m->bases);
	}
	EACH_THREAD(t) add_warps(t, 1u << bits, m->totals, m->bases);
}

/* The items, from registers, to keys and uses, by digit, and those of a digit in their order. */
ON_DEVICE void sort_tile(const uint32_t items, const struct sort_memory *m, uint32_t shift, uint32_t bits,
                         uint32_t (*key)[MOST_ITEMS], uint32_t (*use)[MOST_ITEMS])
{
	PER_THREAD(uint32_t, rank, MOST_ITEMS);
	EACH_THREAD(t) clear_counts(t, m, bits);
	rank_items(items, m, shift, bits, key, rank);
	scan_digits(m, bits);
	EACH_WARP(w) {
		EACH_LANE(l) {
			UNROLLED
			for (uint32_t i = 0; i < items; i++) {
				const uint32_t digit = digit_of(OF_THREAD(key, w * WARP + l)[i], shift, bits);
				OF_THREAD(rank, w * WARP + l)[i] += m->bases[digit] + m->counts[(w << bits) + digit];
			}
		}
	}
	EACH_WARP(w) {
		EACH_LANE(l) {
			UNROLLED
			for (uint32_t i = 0; i < items; i++) {
				m->keys[OF_THREAD(rank, w * WARP + l)[i]] = OF_THREAD(key, w * WARP + l)[i];
				m->uses[OF_THREAD(rank, w * WARP + l)[i]] = OF_THREAD(use, w * WARP + l)[i];
			}
		}
	}
}

#endif
