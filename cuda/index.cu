/* The distinct rows of a batch, and the uses of each in ascending order: a stable radix sort of (row, use), four bits a
 * pass (after Satish, Harris & Garland 2009), then the heads of runs are numbered. Everything counts integers, so that
 * the order does not depend on which block comes first. */
#include "launch.h"
#include "state.h"

enum {
	A_THREAD = SORT_KEYS / THREADS, /* consecutive keys */
	ALONE_KEYS = 16 * THREADS,      /* that one block sorts by itself, in one launch */
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
	uint32_t a_thread;        /* keys */
	uint32_t passes;
	uint32_t *counts;
	uint32_t entries;         /* of counts, for the scan */
	uint32_t *total;          /* NULL, or where the scan leaves the sum */
};

ON_DEVICE uint32_t uses_of(const struct index_arguments *a)
{
	return a->by_users ? a->step->groups : a->step->samples;
}

/* Where the keys of thread t of this block begin; they end where those of the next one begin. */
ON_DEVICE uint32_t keys_begin(uint32_t t, const struct index_arguments *a)
{
	return least_of((BLOCK * THREADS + t) * a->a_thread, uses_of(a));
}

ON_DEVICE void number_use(const struct index_arguments *a, uint32_t i)
{
	a->index.keys[0][i] = a->ids[i];
	a->index.uses[0][i] = i;
}

KERNEL(number_uses, struct index_arguments)
{
	EACH_THREAD(t) {
		for (uint32_t i = BLOCK * THREADS + t; i < uses_of(&a); i += BLOCKS * THREADS)
			number_use(&a, i);
	}
}

/* counts[digit][t] = how many of the thread's keys have that digit. */
ON_DEVICE void count_digits(uint32_t t, const struct index_arguments *a, uint32_t *counts)
{
	const uint32_t end = keys_begin(t + 1, a);
	for (uint32_t d = 0; d < SORT_DIGITS; d++)
		counts[d * THREADS + t] = 0;
	for (uint32_t i = keys_begin(t, a); i < end; i++)
		counts[(a->keys[i] >> a->shift & (SORT_DIGITS - 1)) * THREADS + t]++;
}

/* sums[digit][part]: of PARTS threads together; thread t is digit t / PARTS, part t % PARTS. */
ON_DEVICE void sum_parts(uint32_t t, const uint32_t *counts, uint32_t *sums)
{
	uint32_t sum = 0;
	for (uint32_t i = 0; i < THREADS / PARTS; i++)
		sum += counts[t * (THREADS / PARTS) + i];
	sums[t] = sum;
}

/* Counts of (digit, thread) become places: those of part t begin at `place` and at the sums [first, t). */
ON_DEVICE void place_digits(uint32_t t, uint32_t place, uint32_t first, const uint32_t *sums, uint32_t *counts)
{
	for (uint32_t part = first; part < t; part++)
		place += sums[part];
	for (uint32_t i = 0; i < THREADS / PARTS; i++) {
		uint32_t *const at = counts + t * (THREADS / PARTS) + i;
		const uint32_t count = *at;
		*at = place;
		place += count;
	}
}

ON_DEVICE void move_digits(uint32_t t, const struct index_arguments *a, uint32_t *counts)
{
	const uint32_t end = keys_begin(t + 1, a);
	for (uint32_t i = keys_begin(t, a); i < end; i++) {
		const uint32_t key = a->keys[i], place = counts[(key >> a->shift & (SORT_DIGITS - 1)) * THREADS + t]++;
		a->keys_to[place] = key;
		a->uses_to[place] = a->uses[i];
	}
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
	EACH_THREAD(t) place_digits(t, a.counts[t / PARTS * BLOCKS + BLOCK], t / PARTS * PARTS, sums, counts);
	EACH_THREAD(t) move_digits(t, &a, counts);
}

/* ---- heads of runs ---- */

ON_DEVICE bool is_head(const uint32_t *keys, uint32_t i)
{
	return i == 0 || keys[i] != keys[i - 1];
}

ON_DEVICE uint32_t count_heads(uint32_t t, const struct index_arguments *a)
{
	const uint32_t end = keys_begin(t + 1, a);
	uint32_t heads = 0;
	for (uint32_t i = keys_begin(t, a); i < end; i++)
		heads += is_head(a->keys, i);
	return heads;
}

/* heads[t] becomes the sum of those before it and `before`; returns that of all. By one thread. */
ON_DEVICE uint32_t scan_heads(uint32_t *heads, uint32_t before)
{
	for (uint32_t i = 0; i < THREADS; i++) {
		const uint32_t count = heads[i];
		heads[i] = before;
		before += count;
	}
	return before;
}

/* Numbers the thread's rows from `next` on. */
ON_DEVICE void place_heads(uint32_t t, const struct index_arguments *a, uint32_t next)
{
	const uint32_t end = keys_begin(t + 1, a);
	for (uint32_t i = keys_begin(t, a); i < end; i++) {
		if (is_head(a->keys, i)) {
			a->index.rows[next] = a->keys[i];
			a->index.starts[next] = i;
			next++;
		}
		a->index.slot_at[i] = next - 1;
		a->index.slots[a->uses[i]] = next - 1;
	}
}

KERNEL(count_rows, struct index_arguments)
{
	uint32_t *const heads = (uint32_t *)(void *)shared_floats();
	EACH_THREAD(t) heads[t] = count_heads(t, &a);
	EACH_THREAD(t) {
		if (t == 0)
			a.counts[BLOCK] = scan_heads(heads, 0);
	}
}

KERNEL(place_rows, struct index_arguments)
{
	uint32_t *const heads = (uint32_t *)(void *)shared_floats();
	EACH_THREAD(t) heads[t] = count_heads(t, &a);
	EACH_THREAD(t) {
		if (t == 0)
			scan_heads(heads, a.counts[BLOCK]);
		if (t == 0 && BLOCK == 0)
			a.index.starts[*a.index.count] = uses_of(&a);
	}
	EACH_THREAD(t) place_heads(t, &a, heads[t]);
}

/* The pass reads one of the two arrays, and writes the other one. */
ON_BOTH void point_at(struct index_arguments *a, bool second)
{
	a->keys = second ? a->index.keys[1] : a->index.keys[0];
	a->uses = second ? a->index.uses[1] : a->index.uses[0];
	a->keys_to = second ? a->index.keys[0] : a->index.keys[1];
	a->uses_to = second ? a->index.uses[0] : a->index.uses[1];
}

/* All of it by one block. */
KERNEL(index_alone, struct index_arguments)
{
	uint32_t *const counts = (uint32_t *)(void *)shared_floats(), *const sums = counts + SORT_DIGITS * THREADS;
	struct index_arguments b = a;
	EACH_THREAD(t) {
		for (uint32_t i = t; i < uses_of(&a); i += THREADS)
			number_use(&a, i);
	}
	for (uint32_t pass = 0; pass < a.passes; pass++) {
		point_at(&b, pass % 2 == 1);
		b.shift = pass * DIGIT_BITS;
		EACH_THREAD(t) count_digits(t, &b, counts);
		EACH_THREAD(t) sum_parts(t, counts, sums);
		EACH_THREAD(t) place_digits(t, 0, 0, sums, counts);
		EACH_THREAD(t) move_digits(t, &b, counts);
	}
	point_at(&b, a.passes % 2 == 1);
	EACH_THREAD(t) sums[t] = count_heads(t, &b);
	EACH_THREAD(t) {
		if (t == 0) {
			const uint32_t count = scan_heads(sums, 0);
			*a.index.count = count;
			a.index.starts[count] = uses_of(&a);
		}
	}
	EACH_THREAD(t) place_heads(t, &b, sums[t]);
}

static void index_by_blocks(struct device *device, uint32_t most, struct index_arguments *a, size_t shared)
{
	/* Blocks by the most uses there can be: a smaller batch leaves the last ones without keys. */
	const uint32_t blocks = blocks_for(most, SORT_KEYS, UINT32_MAX);
	a->a_thread = A_THREAD;
	LAUNCH(device, STREAM_AHEAD, number_uses, blocks_for(most, THREADS, GRID_WIDE), 0, *a);
	for (uint32_t pass = 0; pass < a->passes; pass++) {
		point_at(a, pass % 2 == 1);
		a->shift = pass * DIGIT_BITS;
		a->entries = SORT_DIGITS * blocks;
		LAUNCH(device, STREAM_AHEAD, count_keys, blocks, shared, *a);
		LAUNCH(device, STREAM_AHEAD, scan_counts, 1, shared, *a);
		LAUNCH(device, STREAM_AHEAD, move_keys, blocks, shared, *a);
	}
	point_at(a, a->passes % 2 == 1);
	a->entries = blocks;
	a->total = a->index.count;
	LAUNCH(device, STREAM_AHEAD, count_rows, blocks, shared, *a);
	LAUNCH(device, STREAM_AHEAD, scan_counts, 1, shared, *a);
	LAUNCH(device, STREAM_AHEAD, place_rows, blocks, shared, *a);
}

void cuda_index_ids(struct backend_state *state, enum side_name which, const uint32_t *ids, uint32_t most,
                    const struct row_index *index, const struct step *step)
{
	const size_t shared = (SORT_DIGITS + 1) * (size_t)THREADS * sizeof(uint32_t);
	struct index_arguments a;
	memset(&a, 0, sizeof a);
	a.step = step;
	a.by_users = which == SIDE_USER;
	a.ids = ids;
	a.index = *index;
	a.counts = state->sides[which].sort_counts;
	a.passes = state->sides[which].passes;
	if (most > ALONE_KEYS) {
		index_by_blocks(&state->device, most, &a, shared);
		return;
	}
	a.a_thread = (most + THREADS - 1) / THREADS;
	LAUNCH(&state->device, STREAM_AHEAD, index_alone, 1, shared, a);
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

int cuda_index_init(struct backend_state *state, struct error *error)
{
	/* What a rank's rows are asked for by all ranks is indexed with these as well. */
	const uint32_t blocks = blocks_for((uint64_t)state->samples_max * state->ranks, SORT_KEYS, UINT32_MAX);
	for (int s = 0; s < SIDES; s++) {
		struct side *side = &state->sides[s];
		side->sort_counts = (uint32_t *)device_alloc(&state->device, (size_t)SORT_DIGITS * blocks, sizeof(uint32_t),
		                                             "the sort of a batch", error);
		if (!side->sort_counts)
			return -1;
		side->uses_max = s == SIDE_USER ? state->groups_max : state->samples_max;
		side->rows_max = side->uses_max < side->ids ? side->uses_max : side->ids;
		for (side->passes = 0; side->passes < 8 && (uint64_t)(side->ids - 1) >> (DIGIT_BITS * side->passes) > 0;)
			side->passes++;
		for (int b = 0; b < 2; b++)
			if (cuda_index_alloc(state, &state->batches[b].sides[s], side->uses_max, side->rows_max, error) < 0)
				return -1;
	}
	return 0;
}
