/* Negatives drawn by the CUDA backend are the CPU's, word for word; and the index of a batch against the plain way. */
#include "cuda_fixture.h"
#include "sampler.h"
#include "state.h"

struct draw {
	const char *name;
	uint32_t users, items, ratio, groups;
	bool missing;
	double alpha;
	const char *layers;
	enum model_kind kind;
	bool dense;
};

static const struct draw draws[] = {
	{"uniform", 50, 70, 4, 37, false, 0, NULL, MODEL_MF, false},
	{"popular items, a user who knows all", 50, 70, 4, 37, true, 0.75, NULL, MODEL_MF, false},
	{"no bitmap: searched", 20000, 16000, 2, 601, false, 0, NULL, MODEL_MF, false},
	{"batches by the dozen", 50, 70, 4, 3, false, 0, NULL, MODEL_MF, false},
	{"one item", 3, 1, 2, 2, true, 0, NULL, MODEL_MF, false},
	{"nearly all known", 9, 7, 5, 11, true, 0, NULL, MODEL_MF, false},
	/* Graphs with more branches */
	{"a tower", 50, 70, 4, 3, false, 0, "20-7-3-1", MODEL_MLP, false},
	{"the seed's tower", 50, 70, 4, 37, false, 0, "128-64-32-16-8-4-1", MODEL_MLP, false},
	{"a tower and factors", 50, 70, 4, 3, true, 0, "20-7-3-1", MODEL_NEUMF, false},
	{"a tower and factors, dense Adam", 50, 70, 4, 37, false, 0, "20-7-3-1", MODEL_NEUMF, true},
};

static void draw_fixture(struct fixture *f, const struct draw *draw)
{
	const struct setting setting = {
		.name = draw->name, .users = draw->users, .items = draw->items, .ratio = draw->ratio, .groups = draw->groups,
		.kind = draw->kind, .factors = draw->kind == MODEL_MLP ? 0 : 3, .missing = draw->missing, .layers = draw->layers,
		.dense = draw->dense,
	};
	fixture_init(f, &setting);
}

/* A span that the backend draws, by graphs, and one of the same samples drawn by the CPU, launch by launch, end in the same
 * bytes. */
static void test_the_stream_of_samples_is_the_cpus(void)
{
	for (size_t d = 0; d < COUNT_OF(draws); d++) {
		struct fixture f;
		struct sampler sampler;
		draw_fixture(&f, &draws[d]);
		const struct backend *cuda = cuda_under_test(&f.error);
		const struct sampler_options options = {.seed = 11, .ratio = draws[d].ratio, .alpha = draws[d].alpha};
		CHECK_OK(sampler_init(&sampler, &f.known, &options, &f.error), &f.error);
		struct backend_state *drawing = fixture_open(&f, cuda), *given_to = fixture_open(&f, cuda);
		for (uint32_t epoch = 0; epoch < 3; epoch++) {
			const uint64_t begin = f.known.count / 3, most = (draws[d].groups == 3 ? 19 : 3) * (uint64_t)draws[d].groups;
			const uint64_t end = f.known.count - begin < most ? f.known.count : begin + most;
			const struct train_span span = {.epoch = epoch, .begin = begin, .end = end, .sampler = &sampler, .rates = f.rates};
			sampler_start_epoch(&sampler, epoch);
			emulated_settings.ahead_last = epoch == 1;
			check_drawn_as_given(&f, cuda, drawing, given_to, span);
		}
		cuda->close(drawing);
		cuda->close(given_to);
		sampler_release(&sampler);
		fixture_release(&f);
	}
}

/* Another sampler in the same backend: its tables replace those of the first. */
static void test_another_sampler_is_noticed(void)
{
	struct fixture f;
	struct trained_state first, second;
	draw_fixture(&f, &draws[0]);
	const struct backend *cuda = cuda_under_test(&f.error);
	struct backend_state *state = fixture_open(&f, cuda), *fresh = fixture_open(&f, cuda);
	const struct sampler_options options[2] = {{.seed = 11, .ratio = 4}, {.seed = 12, .ratio = 4, .alpha = 0.5}};
	struct sampler samplers[2];
	struct parameters zeros;
	CHECK_OK(parameters_init(&zeros, &f.shape, &f.error), &f.error);
	for (int i = 0; i < 2; i++) {
		const struct train_span span = {.begin = 0, .end = 74, .sampler = &samplers[i], .rates = f.rates};
		CHECK_OK(sampler_init(&samplers[i], &f.known, &options[i], &f.error), &f.error);
		CHECK_OK(cuda->train(state, &span, &first.result, &f.error), &f.error);
		CHECK_OK(cuda->put(state, &f.parameters, &zeros, &zeros, 0, &f.error), &f.error);
	}
	const struct train_span span = {.begin = 0, .end = 74, .sampler = &samplers[1], .rates = f.rates};
	CHECK_OK(cuda->train(fresh, &span, &second.result, &f.error), &f.error);
	CHECK(first.result.loss_sum == second.result.loss_sum);
	for (int i = 0; i < 2; i++)
		sampler_release(&samplers[i]);
	parameters_release(&zeros);
	cuda->close(state);
	cuda->close(fresh);
	fixture_release(&f);
}

/* ---- the index ---- */

static uint32_t *taken(struct backend_state *state, const uint32_t *from, size_t count)
{
	struct error error = {0};
	uint32_t *to = room_for(count, sizeof *to);
	device_download(&state->device, STREAM_AHEAD, to, from, count * sizeof *to);
	CHECK_OK(device_finish(&state->device, &error), &error);
	return to;
}

/* Every use of a slot is of its row, uses of a slot ascend, slots go by ascending row, and none is left out. */
static void check_index(struct backend_state *state, enum side_name which, const uint32_t *ids, size_t uses)
{
	const struct row_index *index = &state->batches[0].sides[which];
	uint32_t *count = taken(state, index->count, 1), *rows = taken(state, index->rows, *count);
	uint32_t *starts = taken(state, index->starts, *count + (size_t)1), *slots = taken(state, index->slots, uses);
	uint32_t *sorted = taken(state, index->uses[state->sides[which].passes % 2], uses);
	uint32_t *slot_at = taken(state, index->slot_at, uses);
	CHECK_EQUAL_U64(starts[0], 0);
	CHECK_EQUAL_U64(starts[*count], uses);
	for (uint32_t s = 0; s < *count; s++) {
		CHECK(s == 0 || rows[s] > rows[s - 1]);
		CHECK(starts[s] < starts[s + 1]);
		for (uint32_t i = starts[s]; i < starts[s + 1]; i++) {
			CHECK(ids[sorted[i]] == rows[s] && slots[sorted[i]] == s && slot_at[i] == s);
			CHECK(i == starts[s] || sorted[i] > sorted[i - 1]);
		}
	}
	uint32_t *const all[] = {count, rows, starts, slots, sorted, slot_at};
	for (size_t i = 0; i < COUNT_OF(all); i++)
		free(all[i]);
}

static void test_batches_are_indexed(void)
{
	static const struct draw of[] = {
		{"several blocks of keys", 700, 900, 4, 5100, false, 0, NULL, MODEL_MF, false},
		{"tiles of many keys, two digits", 140000, 27000, emulated_watched ? 1 : 4, emulated_watched ? 4200 : 70000, false, 0, NULL,
		 MODEL_MF, false},
		{"one row", 1, 1, 3, 50, false, 0, NULL, MODEL_MF, false},
		{"one key", 300, 300, 0, 1, false, 0, NULL, MODEL_MF, false},
		{"rows of many digits", 70000, emulated_watched ? 70001 : 1048577, 1, 500, false, 0, NULL, MODEL_MF, false},
	};
	if (on_a_device())
		return;
	for (size_t d = 0; d < COUNT_OF(of); d++) {
		struct fixture f;
		draw_fixture(&f, &of[d]);
		struct backend_state *state = fixture_open(&f, recpipe_cuda_backend());
		const size_t group = 1 + of[d].ratio;
		struct step *const at = device_alloc(&state->device, 1, sizeof *at, "a step", &f.error);
		for (uint32_t groups = of[d].groups; groups > 0; groups = groups > 7 ? groups / 7 : 0) {
			const struct step step = {.groups = groups, .samples = (uint32_t)(groups * group)};
			const struct train_span span = {.users = f.users, .items = f.items};
			device_upload(&state->device, STREAM_AHEAD, at, &step, sizeof step);
			cuda_draw(state, &state->batches[0], &span, &step, at);
			cuda_index(state, &state->batches[0], SIDE_USER, at);
			cuda_index(state, &state->batches[0], SIDE_ITEM, at);
			CHECK_OK(device_finish(&state->device, &f.error), &f.error);
			check_index(state, SIDE_USER, f.users, groups);
			check_index(state, SIDE_ITEM, f.items, groups * group);
		}
		recpipe_cuda_backend()->close(state);
		fixture_release(&f);
	}
}

int main(void)
{
	if (!cuda_is_here("test_cuda_sample"))
		return cuda_done();
	RUN(test_the_stream_of_samples_is_the_cpus);
	RUN(test_another_sampler_is_noticed);
	RUN(test_batches_are_indexed);
	return cuda_done();
}
