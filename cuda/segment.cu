/* Gradients summed per distinct row. Uses lie sorted by row: they are cut into chunks of SEGMENT_USES, whatever rows
 * those are of, so that a row that everybody uses costs no more than others. A row within one chunk is done; of others
 * every chunk has a part, which row_sum (adam.h) adds up in order: a chunk's first row, when it began before, in
 * cuts[2 c], its last one, when it goes on, in cuts[2 c + 1]. */
#include "adam.h"
#include "device_maths.h"

struct segment_arguments {
	const uint32_t *uses, *slot_at, *starts, *count;
	const float *rows;        /* of samples, or of the other side's slots */
	const float *derivatives; /* NULL: the rows themselves; else derivatives[sample] times the other side's row */
	const uint32_t *other_slots;
	uint32_t columns, group;
	bool halves;              /* rows are bf16, two to a word */
	bool by_users;            /* uses are groups, of `group` samples each */
	float *sums, *cuts;
};

/* What use `use` adds in a column, its samples in order. */
ON_DEVICE float row_value(const struct segment_arguments *a, uint32_t row, uint32_t column)
{
	if (!a->halves)
		return a->rows[(size_t)row * a->columns + column];
	const uint32_t word = bits_of_float(a->rows[(size_t)row * (a->columns / 2) + column / 2]);
	return float_of_bits(column % 2 ? word & 0xffff0000u : word << 16);
}

ON_DEVICE float add_use(const struct segment_arguments *a, float sum, uint32_t use, uint32_t column)
{
	const uint32_t samples = a->by_users ? a->group : 1, first = use * samples;
	if (!a->derivatives) {
		float more = row_value(a, first, column);
		for (uint32_t s = first + 1; s < first + samples; s++)
			more += row_value(a, s, column);
		return sum + more;
	}
	for (uint32_t s = first; s < first + samples; s++) {
		const uint32_t other = a->other_slots[a->by_users ? s : s / a->group];
		sum = fmaf(a->derivatives[s], a->rows[(size_t)other * a->columns + column], sum);
	}
	return sum;
}

ON_DEVICE void leave_sum(const struct segment_arguments *a, uint32_t chunk, uint32_t slot, uint32_t column, float sum)
{
	const uint32_t begin = chunk * SEGMENT_USES, from = a->starts[slot], to = a->starts[slot + 1];
	if (from / SEGMENT_USES == (to - 1) / SEGMENT_USES)
		a->sums[(size_t)slot * a->columns + column] = sum;
	else
		a->cuts[((size_t)chunk * 2 + (from < begin ? 0 : 1)) * a->columns + column] = sum;
}

KERNEL(sum_chunks, struct segment_arguments)
{
	/* A power of two of threads goes along a row, the others take further chunks. */
	uint32_t across = 16;
	while (across < a.columns && across < THREADS)
		across *= 2;
	const uint32_t count = *a.count, uses = a.starts[count], chunks = (uses + SEGMENT_USES - 1) / SEGMENT_USES;
	const uint32_t together = THREADS / across;
	EACH_THREAD(t) {
		for (uint32_t chunk = BLOCK * together + t / across; chunk < chunks; chunk += BLOCKS * together)
			for (uint32_t column = t % across; column < a.columns; column += across) {
				const uint32_t end = least_of((chunk + 1) * SEGMENT_USES, uses);
				uint32_t slot = a.slot_at[chunk * SEGMENT_USES];
				float sum = 0.0f;
				for (uint32_t place = chunk * SEGMENT_USES; place < end; place++) {
					if (a.slot_at[place] != slot) {
						leave_sum(&a, chunk, slot, column, sum);
						slot = a.slot_at[place];
						sum = 0.0f;
					}
					sum = add_use(&a, sum, a.uses[place], column);
				}
				leave_sum(&a, chunk, slot, column, sum);
			}
	}
}

void cuda_sum_segments(struct backend_state *state, enum side_name which, const struct batch *batch, enum segment_of of)
{
	const struct side *side = &state->sides[which], *other = &state->sides[SIDE_USER + SIDE_ITEM - which];
	const struct row_index *index = &batch->sides[which];
	struct segment_arguments a;
	memset(&a, 0, sizeof a);
	a.uses = index->uses[side->passes % 2];
	a.slot_at = index->slot_at;
	a.starts = index->starts;
	a.count = index->count;
	a.group = state->group;
	a.by_users = which == SIDE_USER;
	a.sums = of == SEGMENT_TOWER ? side->sums : side->factor_sums;
	a.cuts = of == SEGMENT_TOWER ? side->cuts : side->factor_cuts;
	if (of == SEGMENT_TOWER) {
		a.rows = state->z1_gradients;
		a.halves = state->z1_halves;
		a.columns = state->tower.width;
	} else {
		a.rows = other->factor_rows;
		a.columns = (uint32_t)side->factors.stride;
		a.derivatives = state->logits;
		a.other_slots = batch->sides[SIDE_USER + SIDE_ITEM - which].slots;
	}
	LAUNCH(&state->device, STREAM_WORK, sum_chunks, blocks_for(side->uses_max, SEGMENT_USES, GRID_WIDE), 0, a);
}
