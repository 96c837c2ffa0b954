/* Sums of rows against a plain reference, in every form that gradients of samples have: four columns at a time, one by one,
 * as bf16; of either side, with rows in one chunk and in many, for batches whose chunks are short and long. */
#include "cuda_fixture.h"
#include "state.h"

struct batch_case {
	uint32_t groups, group, users, items, width;
	bool halves;
};

static uint32_t mixed(uint32_t i)
{
	i *= 2654435761u;
	return i ^ i >> 15;
}

/* A gradient that bf16 holds exactly. */
static float gradient_of(uint32_t sample, uint32_t column)
{
	return (float)((int32_t)(mixed(sample * 977 + column) % 255) - 127) / 64.0f;
}

static void *on_device(struct backend_state *state, const void *from, size_t count, size_t size)
{
	struct error error = {0};
	void *to = device_alloc(&state->device, count, size, "a test", &error);
	CHECK_OK(to ? 0 : -1, &error);
	if (to && from)
		device_upload(&state->device, STREAM_WORK, to, from, count * size);
	return to;
}

/* Uses sorted by their row, of which every third is everybody's favourite. Returns the number of rows that have some. */
static uint32_t index_rows(struct backend_state *state, struct row_index *index, uint32_t uses, uint32_t ids, uint32_t *row_of,
                           uint32_t *slots)
{
	uint32_t *sorted = room_for(uses, 4), *slot_at = room_for(uses, 4), *starts = room_for(ids + (size_t)1, 4);
	uint32_t count = 0, place = 0;
	for (uint32_t u = 0; u < uses; u++)
		row_of[u] = u % 3 == 0 ? ids / 2 : mixed(u) % ids;
	for (uint32_t id = 0; id < ids; id++) {
		const uint32_t first = place;
		for (uint32_t u = 0; u < uses; u++)
			if (row_of[u] == id) {
				sorted[place] = u;
				slots[u] = count;
				slot_at[place++] = count;
			}
		if (place > first)
			starts[count++] = first;
	}
	starts[count] = uses;
	index->uses[0] = on_device(state, sorted, uses, 4);
	index->slot_at = on_device(state, slot_at, uses, 4);
	index->starts = on_device(state, starts, count + (size_t)1, 4);
	free(sorted);
	free(slot_at);
	free(starts);
	return count;
}

static void put_gradients(struct backend_state *state, const struct batch_case *of)
{
	const size_t samples = (size_t)of->groups * of->group;
	float *rows = room_for(samples * of->width, 4);
	for (uint32_t s = 0; s < samples; s++)
		for (uint32_t c = 0; c < of->width; c++) {
			const float value = gradient_of(s, c);
			uint32_t bits;
			memcpy(&bits, &value, 4);
			if (of->halves)
				memcpy((char *)rows + (s * (size_t)of->width + c) * 2, (const char *)&bits + 2, 2);
			else
				rows[s * (size_t)of->width + c] = value;
		}
	state->z1_gradients = on_device(state, rows, samples * of->width / (of->halves ? 2 : 1), 4);
	state->z1_halves = of->halves;
	free(rows);
}

/* What adam.h's row_sum puts together. */
static float whole_sum(const float *sums, const float *cuts, uint32_t from, uint32_t to, uint32_t shift, uint32_t width,
                       uint32_t slot, uint32_t column)
{
	const uint32_t first = from >> shift, last = (to - 1) >> shift;
	if (first == last)
		return sums[(size_t)slot * width + column];
	float sum = cuts[((size_t)first * 2 + 1) * width + column];
	for (uint32_t c = first + 1; c <= last; c++)
		sum += cuts[(size_t)c * 2 * width + column];
	return sum;
}

static void check_side(struct backend_state *state, const struct batch_case *of, enum side_name which, const uint32_t *slots,
                       uint32_t count)
{
	const struct side *side = &state->sides[which];
	const uint32_t uses = side->uses_max, shift = cuda_segment_shift(uses), a_use = which == SIDE_USER ? of->group : 1;
	const size_t cut_floats = ((size_t)(uses >> shift) + 1) * 2 * of->width, floats = (size_t)count * of->width;
	float *sums = room_for(floats, 4), *cuts = room_for(cut_floats, 4);
	double *wanted = room_for(floats, sizeof *wanted);
	uint32_t *many = room_for(count + (size_t)1, 4), wrong = 0;
	struct error error = {0};
	device_download(&state->device, STREAM_WORK, sums, side->sums, floats * 4);
	device_download(&state->device, STREAM_WORK, cuts, side->cuts, cut_floats * 4);
	CHECK_OK(device_finish(&state->device, &error), &error);
	for (uint32_t u = 0; u < uses; u++) {
		many[slots[u]]++;
		for (uint32_t s = u * a_use; s < (u + 1) * a_use; s++)
			for (uint32_t c = 0; c < of->width; c++)
				wanted[(size_t)slots[u] * of->width + c] += (double)gradient_of(s, c);
	}
	for (uint32_t slot = 0, from = 0; slot < count; from += many[slot++])
		for (uint32_t c = 0; c < of->width; c++) /* sums of 64ths: exact in any order */
			wrong += (double)whole_sum(sums, cuts, from, from + many[slot], shift, of->width, slot, c) !=
			         wanted[(size_t)slot * of->width + c];
	CHECK_EQUAL_U64(wrong, 0);
	free(sums);
	free(cuts);
	free(wanted);
	free(many);
}

static void test_sums_are_the_references(void)
{
	static const struct batch_case of[] = {
		{1, 1, 1, 1, 64, false},      {13, 5, 4, 20, 64, false},   {300, 5, 70, 200, 64, true},  {1500, 2, 60, 500, 32, false},
		{300, 3, 70, 200, 256, true}, {300, 3, 70, 200, 9, false}, {200, 7, 90, 1, 1028, false}, {41, 1, 40, 41, 4, true},
	};
	for (size_t t = 0; t < COUNT_OF(of) && !on_a_device(); t++) {
		struct backend_state *state = room_for(1, sizeof *state);
		struct error error = {0};
		struct batch batch;
		struct step step;
		uint32_t counts[SIDES], *slots[SIDES];
		memset(&batch, 0, sizeof batch);
		memset(&step, 0, sizeof step);
		CHECK_OK(device_open(&state->device, 0, &error), &error);
		state->group = of[t].group;
		state->tower.width = of[t].width;
		step.groups = of[t].groups;
		step.samples = of[t].groups * of[t].group;
		for (int s = 0; s < SIDES; s++) {
			struct side *side = &state->sides[s];
			side->uses_max = s == SIDE_USER ? step.groups : step.samples;
			uint32_t *row_of = room_for(side->uses_max, 4);
			slots[s] = room_for(side->uses_max, 4);
			counts[s] = index_rows(state, &batch.sides[s], side->uses_max, s == SIDE_USER ? of[t].users : of[t].items, row_of,
			                       slots[s]);
			const size_t chunks = ((size_t)side->uses_max >> cuda_segment_shift(side->uses_max)) + 1;
			float *zeros = room_for((counts[s] + 2 * chunks) * of[t].width, 4);
			side->sums = on_device(state, zeros, (size_t)counts[s] * of[t].width, 4);
			side->cuts = on_device(state, zeros, 2 * chunks * of[t].width, 4);
			free(zeros);
			free(row_of);
		}
		put_gradients(state, &of[t]);
		cuda_sum_segments(state, &batch, SEGMENT_TOWER, on_device(state, &step, 1, sizeof step));
		for (int s = 0; s < SIDES; s++) {
			check_side(state, &of[t], (enum side_name)s, slots[s], counts[s]);
			free(slots[s]);
		}
		device_close(&state->device);
		free(state);
	}
}

int main(void)
{
	if (!cuda_is_here("segments of the CUDA backend"))
		return cuda_done();
	RUN(test_sums_are_the_references);
	return cuda_done();
}
