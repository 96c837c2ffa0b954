/* The distinct rows of a batch, and the uses of each in ascending order: a stable radix sort of (row, use) by digits of up to
 * nine bits (block_sort.h), then the heads of runs are numbered. Few uses are sorted by one block, in one launch; else each
 * block takes a share of the tiles, and finds by the counts of all where its own keys go. Everything counts integers, so that
 * the order does not depend on which block comes first. */
#include "heads.h"

struct index_arguments {
	const struct step *step;
	const uint32_t *ids;
	bool by_users;
	struct row_index index;
	const uint32_t *keys, *uses; /* what a pass reads; uses NULL: they are numbered */
	uint32_t *keys_to, *uses_to; /* and writes */
	uint32_t shift, bits;     /* of its digit */
	uint32_t tile;            /* keys of a tile */
	uint32_t passes;
	uint32_t *counts;         /* [blocks][digits]; of heads: [blocks] */
};

ON_DEVICE uint32_t uses_of(const struct index_arguments *a)
{
	return a->by_users ? a->step->groups : a->step->samples;
}

/* Where the block's first tile begins; the last one ends where the next block's first one begins. */
ON_DEVICE uint32_t tiles_begin(const struct index_arguments *a, uint32_t block)
{
	const uint32_t uses = uses_of(a), tiles = (uses + a->tile - 1) / a->tile;
	return least_of(tiles * block / BLOCKS * a->tile, uses); /* tiles and blocks are few */
}

/* counts[block][digit] = how many of the block's keys have it. */
ON_DEVICE void count_share(const uint32_t items, const struct index_arguments *a)
{
	PER_THREAD(uint32_t, key, MOST_ITEMS);
	PER_THREAD(uint32_t, use, MOST_ITEMS);
	const struct sort_memory m = sort_memory();
	const uint32_t digits = 1u << a->bits, end = tiles_begin(a, BLOCK + 1);
	uint32_t behind = 0; /* keys that there are not, which have the last digit */
	EACH_THREAD(t) clear_counts(t, &m, a->bits);
	for (uint32_t begin = tiles_begin(a, BLOCK); begin < end; begin += a->tile) {
		behind = begin + a->tile - least_of(begin + a->tile, end);
		load_items(items, a->keys, NULL, begin, end, key, use);
		EACH_WARP(w) {
			uint32_t alike[MOST_ITEMS][WARP_LANES], before[MOST_ITEMS][WARP_LANES];
			count_items(w, items, &m, a->shift, a->bits, key, alike, before);
		}
	}
	EACH_THREAD(t) {
		for (uint32_t d = t; d < digits; d += THREADS)
			a->counts[BLOCK * digits + d] = scan_warps(&m, d, a->bits) - (d + 1 == digits ? behind : 0);
	}
}

KERNEL(count_keys, struct index_arguments)
{
	count_share(MOST_ITEMS, &a);
}

KERNEL(count_few_keys, struct index_arguments)
{
	count_share(FEW_ITEMS, &a);
}

ON_DEVICE void add_quad(struct uint4 *sum, const struct uint4 *more)
{
	sum->x += more->x;
	sum->y += more->y;
	sum->z += more->z;
	sum->w += more->w;
}

/* Four digits of every blocks-th row of counts: parts[0][thread] of the blocks before this one, parts[1][thread] of all. */
ON_DEVICE void sum_counts(uint32_t t, const struct index_arguments *a, struct uint4 (*parts)[THREADS])
{
	const uint32_t quad_bits = a->bits - 2, quad = t & ((1u << quad_bits) - 1);
	struct uint4 before = {0, 0, 0, 0}, all = {0, 0, 0, 0};
	UNROLLED_BY_8
	for (uint32_t b = t >> quad_bits; b < BLOCKS; b += (uint32_t)THREADS >> quad_bits) {
		const struct uint4 count = *((const struct uint4 *)(const void *)a->counts + (b << quad_bits) + quad);
		if (b < BLOCK)
			add_quad(&before, &count);
		add_quad(&all, &count);
	}
	parts[0][t] = before;
	parts[1][t] = all;
}

ON_DEVICE uint32_t sum_parts(const uint32_t *parts, uint32_t digit, uint32_t digits)
{
	uint32_t sum = 0;
	for (uint32_t p = digit; p < 4 * THREADS; p += digits)
		sum += parts[p];
	return sum;
}

/* places[digit] = where the block's first key of that digit goes. */
ON_DEVICE void find_places(const struct index_arguments *a, const struct sort_memory *m)
{
	const uint32_t digits = 1u << a->bits;
	struct uint4 (*const parts)[THREADS] = (struct uint4 (*)[THREADS])(void *)m->keys;
	const uint32_t *const before = m->keys, *const all = m->keys + 4 * THREADS;
	EACH_THREAD(t) sum_counts(t, a, parts);
	EACH_WARP(w) {
		uint32_t first[WARP_LANES], both[WARP_LANES];
		EACH_LANE(l) {
			const uint32_t digit = 2 * (w * WARP + l);
			const bool has = digit < digits;
			first[OF_LANE(l)] = has ? sum_parts(all, digit, digits) : 0;
			both[OF_LANE(l)] = first[OF_LANE(l)] + (has ? sum_parts(all, digit + 1, digits) : 0);
		}
		scan_pairs(w, digits, first, both, m->totals, m->places);
	}
	EACH_THREAD(t) {
		add_warps(t, digits, m->totals, m->places);
		for (uint32_t d = 2 * t; d < least_of(2 * t + 2, digits); d++)
			m->places[d] += sum_parts(before, d, digits);
	}
}

/* The sorted tile of `count` keys goes where its digits' places are, which move on behind it. */
ON_DEVICE void move_tile(const struct index_arguments *a, const struct sort_memory *m, uint32_t count)
{
	const uint32_t digits = 1u << a->bits;
	EACH_THREAD(t) {
		UNROLLED_BY_8
		for (uint32_t i = t; i < count; i += THREADS) {
			const uint32_t key = m->keys[i], digit = digit_of(key, a->shift, a->bits);
			const uint32_t place = m->places[digit] + (i - m->bases[digit]);
			a->keys_to[place] = key;
			a->uses_to[place] = m->uses[i];
		}
	}
	EACH_THREAD(t) {
		for (uint32_t d = t; d < digits; d += THREADS)
			m->places[d] += least_of(d + 1 < digits ? m->bases[d + 1] : count, count) - least_of(m->bases[d], count);
	}
}

ON_DEVICE void move_share(const uint32_t items, const struct index_arguments *a)
{
	PER_THREAD(uint32_t, key, MOST_ITEMS);
	PER_THREAD(uint32_t, use, MOST_ITEMS);
	const struct sort_memory m = sort_memory();
	const uint32_t end = tiles_begin(a, BLOCK + 1);
	find_places(a, &m);
	for (uint32_t begin = tiles_begin(a, BLOCK); begin < end; begin += a->tile) {
		const uint32_t tile_end = least_of(begin + a->tile, end);
		load_items(items, a->keys, a->uses, begin, tile_end, key, use);
		sort_tile(items, &m, a->shift, a->bits, key, use);
		move_tile(a, &m, tile_end - begin);
	}
}

KERNEL(move_keys, struct index_arguments)
{
	move_share(MOST_ITEMS, &a);
}

KERNEL(move_few_keys, struct index_arguments)
{
	move_share(FEW_ITEMS, &a);
}

/* ---- heads of runs ---- */

KERNEL(count_rows, struct index_arguments)
{
	const struct sort_memory m = sort_memory();
	const uint32_t end = tiles_begin(&a, BLOCK + 1);
	EACH_WARP(w) {
		uint32_t heads[WARP_LANES];
		EACH_LANE(l) {
			heads[OF_LANE(l)] = 0;
			UNROLLED_BY_8
			for (uint32_t i = tiles_begin(&a, BLOCK) + w * WARP + l; i < end; i += THREADS)
				heads[OF_LANE(l)] += is_head(a.keys, i);
		}
		const uint32_t total = sum_before(heads);
		EACH_LANE(l) {
			if (l == 0)
				m.totals[w] = total;
		}
	}
	EACH_THREAD(t) {
		if (t == 0)
			a.counts[BLOCK] = sum_warps(m.totals, WARPS);
	}
}

/* warps[w], warps[WARPS + w]: heads of the blocks before this one, and of all, by parts. */
ON_DEVICE void sum_heads(const struct index_arguments *a, uint32_t *warps)
{
	EACH_WARP(w) {
		uint32_t before[WARP_LANES], all[WARP_LANES];
		EACH_LANE(l) {
			const uint32_t block = w * WARP + l;
			all[OF_LANE(l)] = block < BLOCKS ? a->counts[block] : 0;
			before[OF_LANE(l)] = block < BLOCK ? all[OF_LANE(l)] : 0;
		}
		const uint32_t sum = sum_before(before), total = sum_before(all);
		EACH_LANE(l) {
			if (l == 0) {
				warps[w] = sum;
				warps[WARPS + w] = total;
			}
		}
	}
}

ON_DEVICE void place_share(const uint32_t items, const struct index_arguments *a)
{
	const struct sort_memory m = sort_memory();
	const uint32_t end = tiles_begin(a, BLOCK + 1);
	struct sorted s = {a->keys, a->uses, 0, 0};
	uint32_t turn = 0;
	sum_heads(a, m.totals);
	EACH_THREAD(t) {
		if (BLOCK == 0)
			put_count(t, &a->index, sum_warps(m.totals + WARPS, WARPS), uses_of(a));
	}
	uint32_t first = sum_warps(m.totals, WARPS);
	for (s.begin = tiles_begin(a, BLOCK); s.begin < end; s.begin += a->tile, turn ^= 1) {
		s.end = least_of(s.begin + a->tile, end);
		first += place_heads(items, &a->index, &s, first, m.warps + turn * WARPS);
	}
}

KERNEL(place_rows, struct index_arguments)
{
	place_share(MOST_ITEMS, &a);
}

KERNEL(place_few_rows, struct index_arguments)
{
	place_share(FEW_ITEMS, &a);
}

/* All of it by one block, of a tile's keys at most. */
ON_DEVICE void index_tile(const uint32_t items, const struct index_arguments *a)
{
	PER_THREAD(uint32_t, key, MOST_ITEMS);
	PER_THREAD(uint32_t, use, MOST_ITEMS);
	const struct sort_memory m = sort_memory();
	const struct sorted s = {m.keys, m.uses, 0, uses_of(a)};
	load_items(items, a->ids, NULL, 0, uses_of(a), key, use);
	for (uint32_t pass = 0; pass < a->passes; pass++) {
		if (pass > 0)
			load_items(items, m.keys, m.uses, 0, items * THREADS, key, use);
		sort_tile(items, &m, pass * a->bits, a->bits, key, use);
	}
	EACH_THREAD(t) {
		for (uint32_t i = t; i < uses_of(a); i += THREADS)
			a->uses_to[i] = m.uses[i];
	}
	const uint32_t count = place_heads(items, &a->index, &s, 0, m.warps);
	EACH_THREAD(t) put_count(t, &a->index, count, uses_of(a));
}

KERNEL(index_alone, struct index_arguments)
{
	index_tile(MOST_ITEMS, &a);
}

KERNEL(index_few_alone, struct index_arguments)
{
	index_tile(FEW_ITEMS, &a);
}

/* Pass `pass` reads one of the two arrays, the first one the ids, and writes the other one. */
static void point_at(struct index_arguments *a, uint32_t pass)
{
	const uint32_t from = pass % 2, to = 1 - from;
	a->keys = pass > 0 ? a->index.keys[from] : a->ids;
	a->uses = pass > 0 ? a->index.uses[from] : NULL;
	a->keys_to = a->index.keys[to];
	a->uses_to = a->index.uses[to];
	a->shift = pass * a->bits;
}

static void index_by_blocks(struct device *device, uint32_t most, struct index_arguments *a, size_t shared)
{
	/* Blocks by the most uses there can be: a smaller batch leaves some without tiles. */
	const bool few = most <= 2 * SORT_BLOCKS * FEW_ITEMS * THREADS;
	a->tile = (few ? FEW_ITEMS : MOST_ITEMS) * THREADS;
	const uint32_t blocks = blocks_for(most, a->tile, SORT_BLOCKS);
	for (uint32_t pass = 0; pass < a->passes; pass++) {
		point_at(a, pass);
		if (few) {
			LAUNCH(device, STREAM_AHEAD, count_few_keys, blocks, shared, *a);
			LAUNCH(device, STREAM_AHEAD, move_few_keys, blocks, shared, *a);
		} else {
			LAUNCH(device, STREAM_AHEAD, count_keys, blocks, shared, *a);
			LAUNCH(device, STREAM_AHEAD, move_keys, blocks, shared, *a);
		}
	}
	point_at(a, a->passes);
	LAUNCH(device, STREAM_AHEAD, count_rows, blocks, shared, *a);
	if (few)
		LAUNCH(device, STREAM_AHEAD, place_few_rows, blocks, shared, *a);
	else
		LAUNCH(device, STREAM_AHEAD, place_rows, blocks, shared, *a);
}

void cuda_index_ids(struct backend_state *state, enum side_name which, const uint32_t *ids, uint32_t most,
                    const struct row_index *index, const struct step *step)
{
	const size_t shared = SORT_WORDS * sizeof(uint32_t);
	const struct side *side = &state->sides[which];
	struct index_arguments a;
	memset(&a, 0, sizeof a);
	a.step = step;
	a.by_users = which == SIDE_USER;
	a.ids = ids;
	a.index = *index;
	a.counts = side->sort_counts;
	a.passes = side->passes;
	a.bits = side->digit_bits;
	point_at(&a, a.passes - 1);
	if (most > SORT_TILE)
		index_by_blocks(&state->device, most, &a, shared);
	else if (most > FEW_ITEMS * THREADS)
		LAUNCH(&state->device, STREAM_AHEAD, index_alone, 1, shared, a);
	else
		LAUNCH(&state->device, STREAM_AHEAD, index_few_alone, 1, shared, a);
}

void cuda_index(struct backend_state *state, struct batch *batch, enum side_name which, const struct step *step)
{
	cuda_index_ids(state, which, which == SIDE_USER ? batch->users : batch->items, state->sides[which].uses_max,
	               &batch->sides[which], step);
}

int cuda_index_alloc(struct backend_state *state, struct row_index *index, size_t uses, size_t rows, struct error *error)
{
	static const char what[] = "the index of a batch";
	struct device *device = &state->device;
	uint32_t **const of_uses[] = {&index->keys[0], &index->keys[1], &index->uses[0], &index->uses[1], &index->slots,
	                              &index->slot_at};
	for (size_t i = 0; i < COUNT_OF(of_uses); i++) {
		*of_uses[i] = (uint32_t *)device_alloc(device, uses, sizeof(uint32_t), what, error);
		if (!*of_uses[i])
			return -1;
	}
	index->rows = (uint32_t *)device_alloc(device, rows, sizeof(uint32_t), what, error);
	index->starts = (uint32_t *)device_alloc(device, rows + 1, sizeof(uint32_t), what, error);
	index->count = (uint32_t *)device_alloc(device, 1, sizeof(uint32_t), what, error);
	return index->rows && index->starts && index->count ? 0 : -1;
}

/* Digits of equal length, as few as can be. */
static void choose_digits(struct side *side)
{
	uint32_t bits = 2;
	while (bits < 32 && (side->ids - 1) >> bits > 0)
		bits++;
	side->passes = (bits + SORT_BITS - 1) / SORT_BITS;
	side->digit_bits = (bits + side->passes - 1) / side->passes;
}

int cuda_index_init(struct backend_state *state, struct error *error)
{
	for (int s = 0; s < SIDES; s++) {
		struct side *side = &state->sides[s];
		choose_digits(side);
		side->sort_counts = (uint32_t *)device_alloc(&state->device, (size_t)SORT_BLOCKS << side->digit_bits, sizeof(uint32_t),
		                                             "the sort of a batch", error);
		if (!side->sort_counts)
			return -1;
		side->uses_max = s == SIDE_USER ? state->groups_max : state->samples_max;
		side->rows_max = side->uses_max < side->ids ? side->uses_max : side->ids;
		for (int b = 0; b < 2; b++)
			if (cuda_index_alloc(state, &state->batches[b].sides[s], side->uses_max, side->rows_max, error) < 0)
				return -1;
	}
	return 0;
}
