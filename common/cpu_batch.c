/* Batches of the CPU backend: drawing their groups, and finding the distinct rows of each side.
 *
 * Both run for the next batch while the current one trains, as tasks among its shards. */
#include "cpu_state.h"

#include "mem.h"

static int side_index_init(struct side_index *index, size_t uses, size_t ids, struct error *error)
{
	size_t most = uses < ids ? uses : ids;
	index->rows = mem_alloc(most, sizeof *index->rows, error);
	index->slots = mem_alloc(uses, sizeof *index->slots, error);
	index->starts = mem_alloc(most + 2, sizeof *index->starts, error);
	index->uses = mem_alloc(uses, sizeof *index->uses, error);
	return index->rows && index->slots && index->starts && index->uses ? 0 : -1;
}

static int batch_init(struct backend_state *state, struct batch *batch, struct error *error)
{
	const size_t samples = state->batch_samples, groups = state->options.batch_groups;
	batch->users = mem_alloc(groups, sizeof *batch->users, error);
	batch->items = mem_alloc(samples, sizeof *batch->items, error);
	batch->weights = mem_alloc(samples, sizeof *batch->weights, error);
	batch->piece_missing = mem_alloc_zero(groups / SAMPLING_PIECE + 1, sizeof *batch->piece_missing, error);
	if (!batch->users || !batch->items || !batch->weights || !batch->piece_missing)
		return -1;
	if (side_index_init(&batch->sides[SIDE_USER], samples / state->piece, state->shape.users, error) < 0)
		return -1;
	return side_index_init(&batch->sides[SIDE_ITEM], samples, state->shape.items, error);
}

int cpu_batches_init(struct backend_state *state, struct error *error)
{
	for (int i = 0; i < 2; i++)
		if (batch_init(state, &state->batches[i], error) < 0)
			return -1;
	return 0;
}

void cpu_batches_release(struct backend_state *state)
{
	for (int i = 0; i < 2; i++) {
		struct batch *batch = &state->batches[i];
		for (int s = 0; s < SIDES; s++) {
			mem_free(batch->sides[s].rows);
			mem_free(batch->sides[s].slots);
			mem_free(batch->sides[s].starts);
			mem_free(batch->sides[s].uses);
		}
		mem_free(batch->users);
		mem_free(batch->items);
		mem_free(batch->weights);
		mem_free(batch->piece_missing);
	}
}

void cpu_batch_place(struct backend_state *state, struct batch *batch, uint64_t begin, uint64_t end)
{
	batch->begin = begin;
	batch->end = end;
	batch->groups = (size_t)(end - begin);
	batch->samples = batch->groups * (1 + state->options.ratio);
}

size_t cpu_batch_pieces(const struct batch *batch)
{
	return (batch->groups + SAMPLING_PIECE - 1) / SAMPLING_PIECE;
}

static uint64_t count_missing(const uint32_t *items, size_t count)
{
	uint64_t missing = 0;
	for (size_t i = 0; i < count; i++)
		missing += items[i] == (uint32_t)NO_ITEM;
	return missing;
}

void cpu_batch_draw(struct batch *batch, const struct train_span *span, uint32_t ratio, size_t piece)
{
	const size_t group = 1 + (size_t)ratio, first = piece * SAMPLING_PIECE;
	const size_t count = batch->groups - first < SAMPLING_PIECE ? batch->groups - first : SAMPLING_PIECE;
	uint32_t *users = batch->users + first, *items = batch->items + first * group;
	if (!span->users) {
		batch->piece_missing[piece] =
			sampler_fill(span->sampler, batch->begin + first, batch->begin + first + count, users, items);
		return;
	}
	const size_t from = (size_t)(batch->begin - span->begin) + first;
	memcpy(users, span->users + from, count * sizeof *users);
	memcpy(items, span->items + from * group, count * group * sizeof *items);
	batch->piece_missing[piece] = count_missing(items, count * group);
}

/* Samples that do not exist take the place of their positive with weight 0. */
static void weigh_samples(struct batch *batch, size_t group)
{
	batch->missing = 0;
	for (size_t p = 0; p < cpu_batch_pieces(batch); p++)
		batch->missing += batch->piece_missing[p];
	if (!batch->missing)
		return;
	for (size_t s = 0; s < batch->samples; s++) {
		bool exists = batch->items[s] != (uint32_t)NO_ITEM;
		batch->weights[s] = exists ? 1.0f : 0.0f;
		if (!exists)
			batch->items[s] = batch->items[s - s % group];
	}
}

/* ids[i] belongs to `repeat` consecutive uses. A sparse set (Briggs & Torczon 1993) finds the slot of an
 * id without ever clearing slot_of. */
static void index_rows(struct side_index *index, uint32_t *slot_of, const uint32_t *ids, size_t count, size_t repeat)
{
	size_t distinct = 0;
	uint32_t *slots = index->slots, *starts = index->starts;
	for (size_t i = 0; i < count; i++) {
		uint32_t slot = slot_of[ids[i]];
		if (slot >= distinct || index->rows[slot] != ids[i]) {
			slot = (uint32_t)distinct++;
			slot_of[ids[i]] = slot;
			index->rows[slot] = ids[i];
			starts[slot + 1] = 0;
		}
		starts[slot + 1] += (uint32_t)repeat;
		for (size_t r = 0; r < repeat; r++)
			slots[i * repeat + r] = slot;
	}
	index->count = distinct;
	/* starts[s + 1] counts slot s; made into where s begins, it moves to where s ends as s is filled. */
	uint32_t begin = 0;
	for (size_t s = 0; s < distinct; s++) {
		uint32_t size = starts[s + 1];
		starts[s + 1] = begin;
		begin += size;
	}
	starts[0] = 0;
	for (size_t u = 0; u < count * repeat; u++)
		index->uses[starts[slots[u] + 1]++] = (uint32_t)u;
}

void cpu_batch_index(struct backend_state *state, struct batch *batch, enum side_name which)
{
	const size_t group = 1 + (size_t)state->options.ratio;
	struct side *side = &state->sides[which];
	if (which == SIDE_USER) {
		index_rows(&batch->sides[which], side->slot_of, batch->users, batch->groups, group / state->piece);
		return;
	}
	weigh_samples(batch, group);
	index_rows(&batch->sides[which], side->slot_of, batch->items, batch->samples, 1);
}
