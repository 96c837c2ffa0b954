/* What several devices move between each other, their scores, and what goes wrong with them. */
#include "several_fixture.h"

/* ---- what is moved ---- */

/* Distinct ids of [0, count) that are outside of what `rank` owns. */
static uint64_t others_rows(const uint32_t *ids, size_t count, uint32_t rows, size_t rank, size_t ranks)
{
	bool *seen = room_for(rows, sizeof *seen);
	uint64_t others = 0;
	for (size_t i = 0; i < count; i++) {
		others += !seen[ids[i]] && (ids[i] < rows * rank / ranks || ids[i] >= rows * (rank + 1) / ranks);
		seen[ids[i]] = true;
	}
	free(seen);
	return others;
}

/* A row of another device costs its id, the row and its gradient; the dense layers' gradient goes to every other device. */
static void test_no_more_is_moved_than_must(void)
{
	static const struct setting of[] = {
		{"tower", "32-8-1", 300, 200, 2, 60, MODEL_MLP, 0, LOSS_BINARY, false, false, false, 0, 0},
		{"neumf", "32-8-1", 300, 200, 2, 60, MODEL_NEUMF, 16, LOSS_BINARY, false, false, false, 0, 0},
	};
	enum { RANKS = 3 };
	if (on_a_device())
		return;
	for (size_t t = 0; t < COUNT_OF(of); t++) {
		struct fixture f;
		struct train_result result;
		fixture_init(&f, &of[t]);
		const struct backend *backend = backend_of(RANKS, &f.error);
		struct backend_state *state = fixture_open(&f, backend);
		const struct train_span span = {.end = of[t].groups, .users = f.users, .items = f.items, .rates = f.rates};
		CHECK_OK(backend->train(state, &span, &result, &f.error), &f.error);
		uint64_t rows = 0;
		for (size_t r = 0; r < RANKS; r++) {
			const size_t begin = of[t].groups * r / RANKS, end = of[t].groups * (r + 1) / RANKS, group = 1 + of[t].ratio;
			rows += others_rows(f.users + begin, end - begin, of[t].users, r, RANKS);
			rows += others_rows(f.items + begin * group, (end - begin) * group, of[t].items, r, RANKS);
		}
		const uint64_t row = 4 + 2 * 4 * (16 + of[t].factors);
		const uint64_t dense = cuda_dense_floats(state->several->ranks[0].state) * sizeof(float) * RANKS * (RANKS - 1);
		CHECK_EQUAL_U64(state->several->moved, rows * row + dense);
		backend->close(state);
		fixture_release(&f);
	}
}

/* ---- scoring ---- */

static void score_all(struct fixture *f, const struct backend *backend, struct backend_state *state, float *scores,
                      uint32_t *best, float *best_scores, uint32_t *found)
{
	const uint32_t users = f->setting.users, items = f->setting.items;
	uint32_t *of = room_for(users, sizeof *of), *listed = room_for((size_t)users * items, sizeof *listed);
	size_t *offsets = room_for(users + (size_t)1, sizeof *offsets);
	for (uint32_t u = 0; u < users; u++) {
		of[u] = users - 1 - u;
		offsets[u + 1] = offsets[u] + (u % 5 == 2 ? 0 : items / (1 + u % 3));
	}
	for (size_t i = 0; i < offsets[users]; i++)
		listed[i] = (uint32_t)(i * 7 % items);
	const struct score_lists lists = {users, of, offsets, listed, scores};
	const struct score_top top = {.count = users, .users = of, .seen = &f->known, .top = 3, .items = best,
	                              .scores = best_scores, .counts = found};
	CHECK_OK(backend->score_lists(state, &lists, &f->error), &f->error);
	CHECK_OK(backend->score_top(state, &top, &f->error), &f->error);
	free(of);
	free(listed);
	free(offsets);
}

/* The same parameters, in one device and in three that have trained: the same bits. */
static void test_scores_are_those_of_one(void)
{
	static const size_t of[] = {0, 3, 6, 8, 11};
	for (size_t t = 0; t < COUNT_OF(of); t++) {
		struct fixture f;
		struct trained_state trained;
		float *scores[3], *best_scores[3];
		uint32_t *best[3], *found[3];
		fixture_init(&f, &settings[of[t]]);
		const size_t users = f.setting.users, items = f.setting.items;
		for (int b = 0; b < 3; b++) {
			const struct backend *backend = backend_of_most(b == 1 ? 1 : 3, &f.error);
			scores[b] = room_for(users * items, sizeof(float));
			best[b] = room_for(users * 3, sizeof(uint32_t));
			best_scores[b] = room_for(users * 3, sizeof(float));
			found[b] = room_for(users, sizeof(uint32_t));
			f.setting.groups = b == 2 ? 0 : settings[of[t]].groups; /* the third is opened for scoring only */
			struct backend_state *state = fixture_open(&f, backend);
			if (b == 0) {
				const struct train_span span = {.end = 2 * (uint64_t)f.setting.groups, .users = f.users, .items = f.items,
				                                .rates = f.rates};
				score_all(&f, backend, state, scores[b], best[b], best_scores[b], found[b]);
				CHECK_OK(backend->train(state, &span, &trained.result, &f.error), &f.error);
				fixture_take(&f, backend, state, &trained);
			} else {
				CHECK_OK(backend->put(state, &trained.values, NULL, NULL, 0, &f.error), &f.error);
			}
			score_all(&f, backend, state, scores[b], best[b], best_scores[b], found[b]);
			backend->close(state);
			CHECK(memcmp(scores[b], scores[0], users * items * sizeof(float)) == 0);
			CHECK(memcmp(best[b], best[0], users * 3 * sizeof(uint32_t)) == 0);
			CHECK(memcmp(best_scores[b], best_scores[0], users * 3 * sizeof(float)) == 0);
			CHECK(memcmp(found[b], found[0], users * sizeof(uint32_t)) == 0);
		}
		for (int b = 0; b < 3; b++) {
			free(scores[b]);
			free(best[b]);
			free(best_scores[b]);
			free(found[b]);
		}
		trained_release(&trained);
		fixture_release(&f);
	}
}

/* ---- what goes wrong ---- */

static void test_devices_and_nccl_must_be_there(void)
{
	struct error error = {0};
	const struct backend *backend = recpipe_cuda_backend();
	if (on_a_device())
		return;
	emulated_settings.no_comm = true;
	CHECK(backend->probe((const int[]){0, 1}, 2, &error) < 0);
	CHECK_EQUAL_U64(error.code, CODE_UNAVAILABLE);
	CHECK(strstr(error.message, "NCCL") != NULL);
	error = (struct error){0};
	CHECK_OK(backend->probe((const int[]){1}, 1, &error), &error);
	emulated_settings.no_comm = false;
	CHECK(backend->probe((const int[]){0, 5}, 2, &error) < 0);
	CHECK_EQUAL_U64(error.code, CODE_UNAVAILABLE);
	CHECK(strstr(error.message, "cuda:5") != NULL);
}

/* However little memory the devices have: an error says so, nothing leaks, and in the end it fits. */
static void test_out_of_memory_is_told(void)
{
	struct fixture f;
	size_t refused = 0, memory = 4096;
	struct backend_state *state = NULL;
	if (on_a_device())
		return;
	fixture_init(&f, &settings[6]);
	const struct backend *backend = backend_of(2, &f.error);
	const struct backend_options options = fixture_options(&f);
	for (; !state && memory < (64u << 20); memory += memory / 8, refused += !state) {
		struct error error = {0};
		emulated_settings.memory = memory;
		state = backend->open(&f.shape, &f.parameters, &options, &error);
		CHECK(state || (error.code == CODE_SYSTEM && strstr(error.message, "out of memory")));
	}
	CHECK(refused > 10 && state);
	/* The whole models to score with are opened later, and do not fit any more. */
	struct error error = {0};
	float score;
	const struct score_lists lists = {1, &(const uint32_t){0}, (const size_t[]){0, 1}, &(const uint32_t){0}, &score};
	emulated_settings.memory = 4096;
	CHECK(backend->score_lists(state, &lists, &error) < 0);
	CHECK_EQUAL_U64(error.code, CODE_SYSTEM);
	emulated_settings.memory = SIZE_MAX;
	error = (struct error){0};
	CHECK_OK(backend->score_lists(state, &lists, &error), &error);
	backend->close(state);
	fixture_release(&f);
}

/* One of the devices fails: the error is told, and told again when training goes on. */
static void test_a_device_that_fails_is_told(void)
{
	struct fixture f;
	struct train_result result;
	if (on_a_device())
		return;
	fixture_init(&f, &settings[0]);
	const struct backend *backend = backend_of(3, &f.error);
	struct backend_state *state = fixture_open(&f, backend);
	const struct train_span span = {.end = 3 * (uint64_t)f.setting.groups, .users = f.users, .items = f.items,
	                                .rates = f.rates};
	cuda_error(&state->several->ranks[1].state->device.failure, CODE_SYSTEM, "cuda:1: fell off the bus");
	for (int again = 0; again < 2; again++) {
		struct error error = {0};
		CHECK(backend->train(state, &span, &result, &error) < 0);
		CHECK_EQUAL_U64(error.code, CODE_SYSTEM);
		CHECK(strstr(error.message, again ? "failed before" : "fell off the bus") != NULL);
	}
	backend->close(state);
	fixture_release(&f);
}

static void test_what_was_opened_for_scoring_only(void)
{
	struct fixture f;
	struct train_result result;
	struct error error = {0};
	if (on_a_device())
		return;
	fixture_init(&f, &settings[2]);
	f.setting.groups = 0;
	const struct backend *backend = backend_of(2, &f.error);
	struct backend_state *state = fixture_open(&f, backend);
	const struct train_span span = {.end = 1, .users = f.users, .items = f.items, .rates = f.rates};
	CHECK(strncmp(backend->describe(state), "cuda:0,1, ", 10) == 0);
	CHECK(backend->train(state, &span, &result, &error) < 0);
	CHECK_EQUAL_U64(error.code, CODE_BUG);
	error = (struct error){0};
	CHECK(backend->get(state, NULL, &f.parameters, NULL, NULL, &error) < 0);
	CHECK_EQUAL_U64(error.code, CODE_BUG);
	error = (struct error){0};
	CHECK(backend->put(state, &f.parameters, &f.parameters, NULL, 0, &error) < 0);
	CHECK_EQUAL_U64(error.code, CODE_BUG);
	backend->close(state);
	fixture_release(&f);
}

int main(void)
{
	if (!several_are_here("test_cuda_exchange"))
		return cuda_done();
	RUN(test_no_more_is_moved_than_must);
	RUN(test_scores_are_those_of_one);
	RUN(test_devices_and_nccl_must_be_there);
	RUN(test_out_of_memory_is_told);
	RUN(test_a_device_that_fails_is_told);
	RUN(test_what_was_opened_for_scoring_only);
	return cuda_done();
}
