/* Gradients summed per distinct row. Uses lie sorted by row: they are cut into chunks, whatever rows those are of, so that
 * a row that everybody uses costs no more than others. A row within one chunk is done; of others every chunk has a
 * part, which row_sum (adam.h) adds up in order: a chunk's first row, when it began before, in cuts[2 c], its last one,
 * when it goes on, in cuts[2 c + 1].
 *
 * Some threads go along a row, four columns each, and several of a chunk's uses are read at once before they are added in
 * order: what a small batch takes is the latency of what depends on each other (ids, then rows), a large one the bytes. Both
 * sides go by one launch. */
#include "adam.h"
#include "device_maths.h"

enum {
	SHIFT_LEAST = 3, SHIFT_MOST = 6, /* chunks of 8 to 64 uses: few where there are few */
	ITEMS_AT_ONCE = 8,        /* uses of an item, which are samples */
	USERS_AT_ONCE = 4,        /* uses of a user, which are groups, of several samples each */
#ifdef __CUDACC__
	CHUNKS_ENOUGH = 8192,     /* to keep a device busy */
#else
	CHUNKS_ENOUGH = 16,       /* so that tests have chunks of every size */
#endif
};

/* How a row lies, and what a thread takes of it. */
enum form { FORM_COLUMN, FORM_QUAD, FORM_HALVES };

struct segment_side {
	const uint32_t *uses, *slot_at;
	uint32_t shift;
	const float *rows;        /* of samples, or of the other side, by what `others` has of each use of that */
	const uint32_t *others;
	float *sums, *cuts;
};

struct segment_arguments {
	const struct step *step;
	struct segment_side sides[SIDES];
	uint32_t user_blocks;     /* the first ones */
	uint32_t columns, group;
	const float *derivatives; /* NULL: the rows themselves; else derivatives[sample] times the other side's row */
};

/* Part `part` of a row. `form` is a constant wherever this is inlined, and so are the others of its kind below. */
ON_DEVICE struct float4 load_part(const enum form form, const float *rows, size_t row, uint32_t columns, uint32_t part)
{
	if (form == FORM_QUAD)
		return load_quad(rows + row * columns + part * 4);
	struct float4 q = same_quad(0.0f);
	if (form == FORM_COLUMN) {
		q.x = rows[row * columns + part];
		return q;
	}
	/* bf16, the lower half of a word first. */
	const struct float2 words = *(const struct float2 *)(const void *)(rows + row * (columns / 2) + part * 2);
	const uint32_t first = bits_of_float(words.x), second = bits_of_float(words.y);
	q.x = float_of_bits(first << 16);
	q.y = float_of_bits(first & 0xFFFF0000u);
	q.z = float_of_bits(second << 16);
	q.w = float_of_bits(second & 0xFFFF0000u);
	return q;
}

/* What sample `s` adds to a sum of the user's or of the item's row. */
ON_DEVICE struct float4 add_sample(const enum form form, const bool by_factors, const bool by_users,
                                   const struct segment_arguments *a, struct float4 sum, uint32_t s, uint32_t part)
{
	const struct segment_side *side = &a->sides[by_users ? SIDE_USER : SIDE_ITEM];
	if (!by_factors)
		return added(sum, load_part(form, side->rows, s, a->columns, part));
	const uint32_t other = side->others[by_users ? s : s / a->group];
	add_product(&sum, a->derivatives[s], load_part(form, side->rows, other, a->columns, part));
	return sum;
}

ON_DEVICE void leave_sum(const enum form form, const struct segment_side *side, uint32_t columns, size_t row, bool whole,
                         uint32_t part, struct float4 sum)
{
	float *const to = (whole ? side->sums : side->cuts) + row * columns;
	if (form == FORM_COLUMN)
		to[part] = sum.x;
	else
		store_quad(to + part * 4, sum);
}

/* The sums of a chunk, in a part of the columns. */
ON_DEVICE void sum_chunk(const enum form form, const bool by_factors, const bool by_users, const struct segment_arguments *a,
                         uint32_t uses, uint32_t chunk, uint32_t part)
{
	enum { AT_ONCE = ITEMS_AT_ONCE };
	const uint32_t at_once = by_users ? USERS_AT_ONCE : ITEMS_AT_ONCE, samples = by_users ? a->group : 1;
	const struct segment_side *side = &a->sides[by_users ? SIDE_USER : SIDE_ITEM];
	const uint32_t begin = chunk << side->shift, end = least_of((chunk + 1) << side->shift, uses);
	uint32_t slot = side->slot_at[begin];
	bool began_here = begin == 0 || side->slot_at[begin - 1] != slot;
	const uint32_t behind = end < uses ? side->slot_at[end] : UINT32_MAX;
	struct float4 sum = same_quad(0.0f);
	for (uint32_t place = begin; place < end; place += at_once) {
		uint32_t use[AT_ONCE], slots[AT_ONCE];
		struct float4 more[AT_ONCE];
		UNROLLED for (uint32_t i = 0; i < at_once; i++) {
			use[i] = side->uses[least_of(place + i, end - 1)];
			slots[i] = side->slot_at[least_of(place + i, end - 1)];
			more[i] = same_quad(0.0f);
		}
		for (uint32_t s = 0; s < samples; s++)
			UNROLLED for (uint32_t i = 0; i < at_once; i++)
				more[i] = add_sample(form, by_factors, by_users, a, more[i], use[i] * samples + s, part);
		UNROLLED for (uint32_t i = 0; i < at_once; i++) {
			if (place + i >= end)
				continue;
			if (slots[i] != slot) {
				leave_sum(form, side, a->columns, began_here ? slot : (size_t)chunk * 2, began_here, part, sum);
				slot = slots[i];
				began_here = true;
				sum = same_quad(0.0f);
			}
			sum = added(sum, more[i]);
		}
	}
	const bool whole = began_here && slot != behind;
	leave_sum(form, side, a->columns, whole ? slot : (size_t)chunk * 2 + (began_here ? 1 : 0), whole, part, sum);
}

/* The share of one side's blocks: `block` of `blocks`. */
ON_DEVICE void sum_side(const enum form form, const bool by_factors, const bool by_users, const struct segment_arguments *a,
                        uint32_t block, uint32_t blocks)
{
	/* A power of two of threads goes along a row, the others take further chunks. */
	const uint32_t parts = form == FORM_COLUMN ? a->columns : a->columns / 4;
	uint32_t across = 1;
	while (across < parts && across < THREADS)
		across *= 2;
	const struct segment_side *side = &a->sides[by_users ? SIDE_USER : SIDE_ITEM];
	const uint32_t uses = by_users ? a->step->groups : a->step->samples;
	const uint32_t chunks = (uses + (1u << side->shift) - 1) >> side->shift, together = THREADS / across;
	EACH_THREAD(t) {
		for (uint32_t chunk = block * together + t / across; chunk < chunks; chunk += blocks * together)
			for (uint32_t part = t % across; part < parts; part += across)
				sum_chunk(form, by_factors, by_users, a, uses, chunk, part);
	}
}

ON_DEVICE void sum_sides(const enum form form, const bool by_factors, const struct segment_arguments *a)
{
	if (BLOCK < a->user_blocks)
		sum_side(form, by_factors, true, a, BLOCK, a->user_blocks);
	else
		sum_side(form, by_factors, false, a, BLOCK - a->user_blocks, BLOCKS - a->user_blocks);
}

KERNEL(sum_columns, struct segment_arguments)
{
	sum_sides(FORM_COLUMN, false, &a);
}

KERNEL(sum_chunks, struct segment_arguments)
{
	sum_sides(FORM_QUAD, false, &a);
}

KERNEL(sum_halves, struct segment_arguments)
{
	sum_sides(FORM_HALVES, false, &a);
}

KERNEL(sum_factors, struct segment_arguments)
{
	sum_sides(FORM_QUAD, true, &a);
}

uint32_t cuda_segment_shift(uint32_t uses)
{
	uint32_t shift = SHIFT_LEAST;
	while (shift < SHIFT_MOST && uses >> shift > CHUNKS_ENOUGH)
		shift++;
	return shift;
}

void cuda_sum_segments(struct backend_state *state, const struct batch *batch, enum segment_of of, const struct step *step)
{
	struct segment_arguments a;
	uint32_t blocks[SIDES];
	memset(&a, 0, sizeof a);
	a.step = step;
	a.group = state->group;
	a.columns = of == SEGMENT_TOWER ? state->tower.width : (uint32_t)state->sides[SIDE_USER].factors.stride;
	a.derivatives = of == SEGMENT_TOWER ? NULL : state->logits;
	const bool quads = a.columns % 4 == 0;
	for (int s = 0; s < SIDES; s++) {
		const struct side *side = &state->sides[s];
		const enum side_name other = s == SIDE_USER ? SIDE_ITEM : SIDE_USER;
		a.sides[s].uses = batch->sides[s].uses[side->passes % 2];
		a.sides[s].slot_at = batch->sides[s].slot_at;
		a.sides[s].shift = cuda_segment_shift(side->uses_max);
		a.sides[s].sums = of == SEGMENT_TOWER ? side->sums : side->factor_sums;
		a.sides[s].cuts = of == SEGMENT_TOWER ? side->cuts : side->factor_cuts;
		if (of == SEGMENT_TOWER)
			a.sides[s].rows = state->z1_gradients;
		else
			a.sides[s].rows = cuda_factor_rows(state, other, batch, &a.sides[s].others);
		const uint64_t chunks = (side->uses_max >> a.sides[s].shift) + 1;
		blocks[s] = blocks_for(chunks * (quads ? a.columns / 4 : a.columns), THREADS, GRID_WIDE);
	}
	a.user_blocks = blocks[SIDE_USER];
	const uint32_t all = blocks[SIDE_USER] + blocks[SIDE_ITEM];
	if (of == SEGMENT_FACTORS)
		LAUNCH(&state->device, STREAM_WORK, sum_factors, all, 0, a);
	else if (state->z1_halves)
		LAUNCH(&state->device, STREAM_WORK, sum_halves, all, 0, a);
	else if (quads)
		LAUNCH(&state->device, STREAM_WORK, sum_chunks, all, 0, a);
	else
		LAUNCH(&state->device, STREAM_WORK, sum_columns, all, 0, a);
}
