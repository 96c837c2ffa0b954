/* The distinct rows of a batch, and the uses of each in ascending order: a stable radix sort of (row, use), four bits a
 * pass (after Satish, Harris & Garland 2009), then the heads of runs are numbered. Everything counts integers, so that
 * the order does not depend on which block comes first. */
#include "launch.h"
#include "state.h"

enum {
	A_THREAD = SORT_KEYS / THREADS, /* consecutive keys */
	DIGIT_BITS = 4,
	PARTS = THREADS / SORT_DIGITS,  /* in which the threads are counted together */
};

struct index_arguments {
	const struct step *step;
	const uint32_t *ids;
	bool by_users;
	struct row_index index;
	const uint32_t *keys, *uses; /* what a pass reads */
	uint32_t *keys_to, *uses_to; /* and writes */
	uint32_t shift;           /* of its digit */
	uint32_t *counts;
	uint32_t entries;         /* of counts, for the scan */
	uint32_t *total;          /* NULL, or where the scan leaves the sum */
};

ON_DEVICE uint32_t uses_of(const struct index_arguments *a)
{
	return a->by_users ? a->step->groups : a->step->samples;
}

/* The keys of thread t of this block: [begin, end). */
ON_DEVICE uint32_t keys_begin(uint32_t t, uint32_t uses)
{
	return least_of(BLOCK * SORT_KEYS + t * A_THREAD, uses);
}

KERNEL(number_uses, struct index_arguments)
{
	EACH_THREAD(t) {
		for (uint32_t i = BLOCK * THREADS + t; i < uses_of(&a); i += BLOCKS * THREADS) {
			a.keys_to[i] = a.ids[i];
			a.uses_to[i] = i;
		}
	}
}

/* counts[digit][t] = how many of the thread's keys have that digit. */
ON_DEVICE void count_digits(uint32_t t, const struct index_arguments *a, uint32_t *counts)
{
	const uint32_t uses = uses_of(a), end = keys_begin(t + 1, uses), *keys = a->keys;
	for (uint32_t d = 0; d < SORT_DIGITS; d++)
		counts[d * THREADS + t] = 0;
	for (uint32_t i = keys_begin(t, uses); i < end; i++)
		counts[(keys[i] >> a->shift & (SORT_DIGITS - 1)) * THREADS + t]++;
}

/* sums[digit][part]: of PARTS threads together; thread t is digit t / PARTS, part t % PARTS. */
ON_DEVICE void sum_parts(uint32_t t, const uint32_t *counts, uint32_t *sums)
{
	uint32_t sum = 0;
	for (uint32_t i = 0; i < THREADS / PARTS; i++)
		sum += counts[t * (THREADS / PARTS) + i];
	sums[t] = sum;
}

KERNEL(count_keys, struct index_arguments)
{
	uint32_t *const counts = (uint32_t *)(void *)shared_floats(), *const sums = counts + SORT_DIGITS * THREADS;
	EACH_THREAD(t) count_digits(t, &a, counts);
	EACH_THREAD(t) sum_parts(t, counts, sums);
	EACH_THREAD(t) {
		uint32_t sum = 0;
		for (uint32_t part = 0; part < PARTS && t < SORT_DIGITS; part++)
			sum += sums[t * PARTS + part];
		if (t < SORT_DIGITS)
			a.counts[t * BLOCKS + BLOCK] = sum;
	}
}

/* Every entry becomes the sum of those before it. One block. */
KERNEL(scan_counts, struct index_arguments)
{
	uint32_t *const sums = (uint32_t *)(void *)shared_floats();
	EACH_THREAD(t) {
		const uint32_t end = share_begin(a.entries, THREADS, t + 1);
		sums[t] = 0;
		for (uint32_t i = share_begin(a.entries, THREADS, t); i < end; i++)
			sums[t] += a.counts[i];
	}
	EACH_THREAD(t) {
		uint32_t before = 0;
		for (uint32_t i = 0; i < THREADS && t == 0; i++) {
			const uint32_t sum = sums[i];
			sums[i] = before;
			before += sum;
		}
		if (t == 0 && a.total)
			*a.total = before;
	}
	EACH_THREAD(t) {
		const uint32_t end = share_begin(a.entries, THREADS, t + 1);
		uint32_t before = sums[t];
		for (uint32_t i = share_begin(a.entries, THREADS, t); i < end; i++) {
			const uint32_t count = a.counts[i];
			a.counts[i] = before;
			before += count;
		}
	}
}

KERNEL(move_keys, struct index_arguments)
{
	uint32_t *const counts = (uint32_t *)(void *)shared_floats(), *const sums = counts + SORT_DIGITS * THREADS;
	EACH_THREAD(t) count_digits(t, &a, counts);
	EACH_THREAD(t) sum_parts(t, counts, sums);
	EACH_THREAD(t) {
		/* Counts of (digit, thread) become the place of the thread's first key with that digit. */
		const uint32_t digit = t / PARTS;
		uint32_t place = a.counts[digit * BLOCKS + BLOCK];
		for (uint32_t part = 0; part < t % PARTS; part++)
			place += sums[digit * PARTS + part];
		for (uint32_t i = 0; i < THREADS / PARTS; i++) {
			uint32_t *const at = counts + t * (THREADS / PARTS) + i;
			const uint32_t count = *at;
			*at = place;
			place += count;
		}
	}
	EACH_THREAD(t) {
		const uint32_t uses = uses_of(&a), end = keys_begin(t + 1, uses);
		for (uint32_t i = keys_begin(t, uses); i < end; i++) {
			const uint32_t key = a.keys[i];
			const uint32_t place = counts[(key >> a.shift & (SORT_DIGITS - 1)) * THREADS + t]++;
			a.keys_to[place] = key;
			a.uses_to[place] = a.uses[i];
		}
	}
}

/* ---- heads of runs ---- */

ON_DEVICE bool is_head(const uint32_t *keys, uint32_t i)
{
	return i == 0 || keys[i] != keys[i - 1];
}

ON_DEVICE uint32_t count_heads(uint32_t t, const struct index_arguments *a)
{
	const uint32_t uses = uses_of(a), end = keys_begin(t + 1, uses), *keys = a->keys;
	uint32_t heads = 0;
	for (uint32_t i = keys_begin(t, uses); i < end; i++)
		heads += is_head(keys, i);
	return heads;
}

KERNEL(count_rows, struct index_arguments)
{
	uint32_t *const heads = (uint32_t *)(void *)shared_floats();
	EACH_THREAD(t) heads[t] = count_heads(t, &a);
	EACH_THREAD(t) {
		uint32_t sum = 0;
		for (uint32_t i = 0; i < THREADS && t == 0; i++)
			sum += heads[i];
		if (t == 0)
			a.counts[BLOCK] = sum;
	}
}

KERNEL(place_rows, struct index_arguments)
{
	uint32_t *const heads = (uint32_t *)(void *)shared_floats();
	const uint32_t uses = uses_of(&a);
	EACH_THREAD(t) heads[t] = count_heads(t, &a);
	EACH_THREAD(t) {
		uint32_t before = a.counts[BLOCK];
		for (uint32_t i = 0; i < THREADS && t == 0; i++) {
			const uint32_t count = heads[i];
			heads[i] = before;
			before += count;
		}
		if (t == 0 && BLOCK == 0)
			a.index.starts[*a.index.count] = uses;
	}
	EACH_THREAD(t) {
		const uint32_t end = keys_begin(t + 1, uses), *keys = a.keys;
		uint32_t next = heads[t]; /* the slot that the next head begins */
		for (uint32_t i = keys_begin(t, uses); i < end; i++) {
			if (is_head(keys, i)) {
				a.index.rows[next] = keys[i];
				a.index.starts[next] = i;
				next++;
			}
			a.index.slot_at[i] = next - 1;
			a.index.slots[a.uses[i]] = next - 1;
		}
	}
}

/* The pass reads one of the two arrays, and writes the other one. */
static void point_at(struct index_arguments *a, uint32_t from)
{
	a->keys = a->index.keys[from];
	a->uses = a->index.uses[from];
	a->keys_to = a->index.keys[1 - from];
	a->uses_to = a->index.uses[1 - from];
}

void cuda_index(struct backend_state *state, struct batch *batch, enum side_name which, const struct step *step)
{
	const size_t shared = (SORT_DIGITS + 1) * (size_t)THREADS * sizeof(uint32_t);
	const struct side *side = &state->sides[which];
	struct device *device = &state->device;
	/* Blocks by the most uses there can be: a smaller batch leaves the last ones without keys. */
	const uint32_t blocks = blocks_for(side->uses_max, SORT_KEYS, UINT32_MAX);
	struct index_arguments a;
	memset(&a, 0, sizeof a);
	a.step = step;
	a.by_users = which == SIDE_USER;
	a.ids = a.by_users ? batch->users : batch->items;
	a.index = batch->sides[which];
	a.counts = state->sort_counts;
	point_at(&a, 1);
	LAUNCH(device, STREAM_AHEAD, number_uses, blocks_for(side->uses_max, THREADS, GRID_WIDE), 0, a);
	for (uint32_t pass = 0; pass < side->passes; pass++) {
		point_at(&a, pass % 2);
		a.shift = pass * DIGIT_BITS;
		a.entries = SORT_DIGITS * blocks;
		LAUNCH(device, STREAM_AHEAD, count_keys, blocks, shared, a);
		LAUNCH(device, STREAM_AHEAD, scan_counts, 1, shared, a);
		LAUNCH(device, STREAM_AHEAD, move_keys, blocks, shared, a);
	}
	point_at(&a, side->passes % 2);
	a.entries = blocks;
	a.total = a.index.count;
	LAUNCH(device, STREAM_AHEAD, count_rows, blocks, shared, a);
	LAUNCH(device, STREAM_AHEAD, scan_counts, 1, shared, a);
	LAUNCH(device, STREAM_AHEAD, place_rows, blocks, shared, a);
}

static int init_side_index(struct backend_state *state, struct row_index *index, const struct side *side,
                           struct error *error)
{
	static const char what[] = "the index of a batch";
	struct device *device = &state->device;
	const size_t uses = side->uses_max, rows = side->rows_max;
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

int cuda_index_init(struct backend_state *state, struct error *error)
{
	const uint32_t blocks = blocks_for(state->samples_max, SORT_KEYS, UINT32_MAX);
	state->sort_counts = (uint32_t *)device_alloc(&state->device, (size_t)SORT_DIGITS * blocks, sizeof(uint32_t),
	                                              "the sort of a batch", error);
	if (!state->sort_counts)
		return -1;
	for (int s = 0; s < SIDES; s++) {
		struct side *side = &state->sides[s];
		side->uses_max = s == SIDE_USER ? state->groups_max : state->samples_max;
		side->rows_max = side->uses_max < side->ids ? side->uses_max : side->ids;
		for (side->passes = 0; side->passes < 8 && (uint64_t)(side->ids - 1) >> (DIGIT_BITS * side->passes) > 0;)
			side->passes++;
		for (int b = 0; b < 2; b++)
			if (init_side_index(state, &state->batches[b].sides[s], side, error) < 0)
				return -1;
	}
	return 0;
}
