/* Rows on their way between the ranks of several.h. Distinct rows of a part ascend, owners have ranges of rows: what goes to
 * an owner is one piece of whatever is kept by slot, and what an owner is asked for are pieces behind one another, by rank. */
#include "adam.h"
#include "several.h"
#include "tile.h"

struct cut_arguments {
	const uint32_t *rows[SIDES], *counts[SIDES], *missing;
	uint32_t ids[SIDES], ranks;
	uint32_t *cuts;
};

/* Where the rows of each owner begin; behind that the missing samples, so that the host reads both at once. One block. */
KERNEL(find_cuts, struct cut_arguments)
{
	EACH_THREAD(t) {
		const uint32_t s = t / (a.ranks + 1), owner = t % (a.ranks + 1);
		if (s < SIDES) {
			const uint32_t *const rows = s == SIDE_USER ? a.rows[SIDE_USER] : a.rows[SIDE_ITEM];
			const uint32_t first = share_begin(s == SIDE_USER ? a.ids[SIDE_USER] : a.ids[SIDE_ITEM], a.ranks, owner);
			uint32_t low = 0, high = s == SIDE_USER ? *a.counts[SIDE_USER] : *a.counts[SIDE_ITEM];
			while (low < high) {
				const uint32_t middle = low + (high - low) / 2;
				if (rows[middle] < first)
					low = middle + 1;
				else
					high = middle;
			}
			a.cuts[t] = low;
		}
		if (t == SIDES * (a.ranks + 1))
			a.cuts[t] = *a.missing;
	}
}

void exchange_find_cuts(struct several *several, size_t rank, const struct batch *batch)
{
	struct backend_state *state = several->ranks[rank].state;
	struct cut_arguments a;
	memset(&a, 0, sizeof a);
	for (int s = 0; s < SIDES; s++) {
		a.rows[s] = batch->sides[s].rows;
		a.counts[s] = batch->sides[s].count;
		a.ids[s] = state->sides[s].ids;
	}
	a.missing = batch->missing;
	a.ranks = (uint32_t)several->count;
	a.cuts = several->ranks[rank].cuts;
	LAUNCH(&state->device, STREAM_AHEAD, find_cuts, 1, 0, a);
}

struct gather_arguments {
	const uint32_t *asked;
	uint32_t count, first;    /* of asked; the rank's first row */
	const float *rows;        /* the rank's */
	uint32_t stride;
	float *to;
};

/* to[i] = row asked[i], four floats a thread. */
KERNEL(gather_asked, struct gather_arguments)
{
	const uint32_t quads = a.stride / 4;
	EACH_THREAD(t) {
		for (uint64_t i = (uint64_t)BLOCK * THREADS + t; i < (uint64_t)a.count * quads; i += (uint64_t)BLOCKS * THREADS) {
			const size_t row = a.asked[i / quads] - a.first;
			store_quad(a.to + 4 * i, load_quad(a.rows + row * a.stride + 4 * (i % quads)));
		}
	}
}

struct owner_arguments {
	struct table table;
	struct trained trained;
	const struct step *step;
	struct row_index index;
	const uint32_t *uses;     /* sorted: of a row by rank */
	const float *gradients;
	uint32_t first, fixed;
	float *dense_gradients;
};

/* A row's gradients of all ranks that used it, in their order, and Adam. */
KERNEL(step_owned, struct owner_arguments)
{
	const uint64_t size = (uint64_t)*a.index.count * a.table.columns;
	EACH_THREAD(t) {
		for (uint64_t i = (uint64_t)BLOCK * THREADS + t; i < size; i += (uint64_t)BLOCKS * THREADS) {
			const uint32_t slot = (uint32_t)(i / a.table.columns), k = (uint32_t)(i % a.table.columns);
			const uint32_t end = a.index.starts[slot + 1];
			uint32_t use = a.index.starts[slot];
			float sum = a.gradients[(size_t)a.uses[use] * a.table.stride + k];
			for (use++; use < end; use++)
				sum += a.gradients[(size_t)a.uses[use] * a.table.stride + k];
			const size_t at = (size_t)(a.index.rows[slot] - a.first) * a.table.stride + k;
			if (a.dense_gradients) {
				a.dense_gradients[at] = sum;
				continue;
			}
			adam(&a.trained, a.table.at + at, sum, a.step, a.step->decay);
			if (k == a.fixed)
				a.trained.values[a.table.at + at] = 1.0f; /* not decayed */
		}
	}
}

void exchange_step(struct several *several, size_t rank, const struct step *step)
{
	struct rank *r = &several->ranks[rank];
	for (size_t i = 0; i < r->table_count; i++) {
		const struct traded *traded = &r->tables[i];
		const struct owned *owned = &r->owned[traded->which];
		struct owner_arguments a;
		a.table = traded->table;
		a.trained = trained_of(r->state);
		a.step = step;
		a.index = owned->index;
		a.uses = owned->index.uses[r->state->sides[traded->which].passes % 2];
		a.gradients = traded->passing;
		a.first = owned->first;
		a.fixed = traded->fixed;
		a.dense_gradients = traded->dense_gradients;
		LAUNCH(&r->state->device, STREAM_WORK, step_owned,
		       blocks_for((uint64_t)owned->asked_max * a.table.columns, THREADS, GRID_WIDE), 0, a);
	}
	cuda_queue_tables(r->state, step);
	cuda_step_sums(r->state, step, r->dense, (uint32_t)several->count);
}

/* ---- pieces ---- */

static const uint32_t *cuts_of(const struct several *several, size_t rank, enum side_name which)
{
	return several->ranks[rank].host_cuts + (size_t)which * (several->count + 1);
}

static uint32_t rows_of(const struct several *several, size_t rank, size_t owner, enum side_name which)
{
	const uint32_t *cuts = cuts_of(several, rank, which);
	return cuts[owner + 1] - cuts[owner];
}

/* Rows that ranks before `rank` ask `owner` for. */
static uint32_t asked_before(const struct several *several, size_t rank, size_t owner, enum side_name which)
{
	uint32_t sum = 0;
	for (size_t r = 0; r < rank; r++)
		sum += rows_of(several, r, owner, which);
	return sum;
}

uint32_t exchange_asked(const struct several *several, size_t owner, enum side_name which)
{
	return asked_before(several, several->count, owner, which);
}

static void move(struct several *several, size_t from, const void *source, size_t to, void *target, size_t bytes)
{
	if (bytes == 0)
		return;
	comm_send(several->comm, from, to, source, bytes);
	comm_receive(several->comm, to, from, target, bytes);
	several->moved += from == to ? 0 : bytes;
}

void exchange_ask(struct several *several, size_t parity)
{
	comm_begin(several->comm);
	for (size_t rank = 0; rank < several->count; rank++)
		for (size_t owner = 0; owner < several->count; owner++)
			for (int s = 0; s < SIDES; s++) {
				const enum side_name which = (enum side_name)s;
				const uint32_t *rows = several->ranks[rank].state->batches[parity].sides[s].rows;
				uint32_t *asked = several->ranks[owner].owned[s].asked;
				move(several, rank, rows + cuts_of(several, rank, which)[owner], owner,
				     asked + asked_before(several, rank, owner, which),
				     rows_of(several, rank, owner, which) * sizeof *rows);
			}
	comm_end(several->comm);
}

/* What is kept of a table by slot, or the pieces of it that owners have. */
static void move_rows(struct several *several, bool back)
{
	for (size_t rank = 0; rank < several->count; rank++)
		for (size_t owner = 0; owner < several->count; owner++)
			for (size_t i = 0; i < several->ranks[rank].table_count; i++) {
				const struct traded *here = &several->ranks[rank].tables[i], *there = &several->ranks[owner].tables[i];
				const size_t stride = here->table.stride;
				const size_t slots = cuts_of(several, rank, here->which)[owner] * stride;
				float *passing = there->passing + asked_before(several, rank, owner, here->which) * stride;
				const size_t bytes = rows_of(several, rank, owner, here->which) * stride * sizeof(float);
				if (back)
					move(several, rank, here->gradients + slots, owner, passing, bytes);
				else
					move(several, owner, passing, rank, here->fetched + slots, bytes);
			}
}

void exchange_fetch(struct several *several)
{
	for (size_t rank = 0; rank < several->count; rank++) {
		struct rank *r = &several->ranks[rank];
		device_use(&r->state->device);
		for (size_t i = 0; i < r->table_count; i++) {
			const struct traded *traded = &r->tables[i];
			struct gather_arguments a;
			a.asked = r->owned[traded->which].asked;
			a.count = exchange_asked(several, rank, traded->which);
			a.first = r->owned[traded->which].first;
			a.rows = r->state->values + traded->table.at;
			a.stride = (uint32_t)traded->table.stride;
			a.to = traded->passing;
			LAUNCH(&r->state->device, STREAM_WORK, gather_asked,
			       blocks_for((uint64_t)a.count * a.stride / 4, THREADS, GRID_WIDE), 0, a);
		}
	}
	comm_begin(several->comm);
	move_rows(several, false);
	comm_end(several->comm);
}

void exchange_return(struct several *several)
{
	comm_begin(several->comm);
	move_rows(several, true);
	for (size_t from = 0; from < several->count; from++)
		for (size_t to = 0; to < several->count; to++) {
			const size_t floats = cuda_dense_floats(several->ranks[from].state), at = from * floats;
			if (from != to)
				move(several, from, several->ranks[from].dense + at, to, several->ranks[to].dense + at, floats * sizeof(float));
		}
	comm_end(several->comm);
}

/* ---- memory ---- */

static float *zeros(struct backend_state *state, size_t rows, size_t stride, struct error *error)
{
	float *block = (float *)device_alloc(&state->device, rows * stride, sizeof(float), "rows from other devices", error);
	if (block)
		device_zero(&state->device, STREAM_WORK, block, rows * stride * sizeof(float));
	return block;
}

static int init_owned(struct several *several, struct backend_state *state, enum side_name which, struct owned *owned,
                      struct error *error)
{
	const struct side *side = &state->sides[which];
	const uint32_t ranks = (uint32_t)several->count;
	owned->first = share_begin(side->ids, ranks, state->rank);
	owned->rows = share_begin(side->ids, ranks, state->rank + 1) - owned->first;
	owned->asked_max = ranks * (owned->rows < side->rows_max ? owned->rows : side->rows_max);
	owned->asked = (uint32_t *)device_alloc(&state->device, owned->asked_max, sizeof(uint32_t), "rows to be asked for", error);
	if (!owned->asked)
		return -1;
	return cuda_index_alloc(state, &owned->index, owned->asked_max, owned->rows, error);
}

static int add_table(struct rank *rank, enum side_name which, const struct table *table,
                     float *dense_gradients, struct error *error)
{
	const size_t slots = rank->state->sides[which].rows_max, stride = table->stride;
	struct traded *traded = &rank->tables[rank->table_count++];
	traded->which = which;
	traded->table = *table;
	traded->fixed = UINT32_MAX;
	traded->dense_gradients = dense_gradients;
	traded->fetched = zeros(rank->state, slots, stride, error);
	traded->gradients = traded->fetched ? zeros(rank->state, slots, stride, error) : NULL;
	traded->passing = traded->gradients ? zeros(rank->state, rank->owned[which].asked_max, stride, error) : NULL;
	return traded->passing ? 0 : -1;
}

static int init_side(struct several *several, struct rank *rank, enum side_name which, struct error *error)
{
	struct backend_state *state = rank->state;
	struct side *side = &state->sides[which];
	if (init_owned(several, state, which, &rank->owned[which], error) < 0)
		return -1;
	if (state->has_tower) {
		if (add_table(rank, which, &side->embeddings, side->gradients, error) < 0)
			return -1;
		side->fetched = rank->tables[rank->table_count - 1].fetched;
		side->fetched_gradients = rank->tables[rank->table_count - 1].gradients;
	}
	if (state->has_factors) {
		if (add_table(rank, which, &side->factors, side->factor_gradients, error) < 0)
			return -1;
		rank->tables[rank->table_count - 1].fixed = fixed_column(state, which);
		side->fetched_factors = rank->tables[rank->table_count - 1].fetched;
		side->fetched_factor_gradients = rank->tables[rank->table_count - 1].gradients;
	}
	return 0;
}

int exchange_init(struct several *several, size_t rank, struct error *error)
{
	static const char what[] = "the exchange between devices";
	struct rank *r = &several->ranks[rank];
	struct device *device = &r->state->device;
	for (int s = 0; s < SIDES; s++)
		if (init_side(several, r, (enum side_name)s, error) < 0)
			return -1;
	r->owner_steps = (struct step *)device_alloc(device, 2, sizeof *r->owner_steps, what, error);
	r->cuts = (uint32_t *)device_alloc(device, CUTS_MAX, sizeof *r->cuts, what, error);
	r->dense = (float *)device_alloc(device, several->count * cuda_dense_floats(r->state), sizeof(float), what, error);
	return r->owner_steps && r->cuts && r->dense ? 0 : -1;
}
