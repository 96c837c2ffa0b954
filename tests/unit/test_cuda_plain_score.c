/* Scores and rankings with the tower in whole matrices: against the CPU's, against the tower in tiles, and by slices. */
#include "cuda_plain_fixture.h"
#include "cuda_score_settings.h"

enum { ROOM = 1 << 14 }; /* floats of a slice: products always have a whole one */

/* Largest difference of two lists of scores. */
static double apart(const float *a, const float *b, size_t count)
{
	double worst = 0;
	for (size_t i = 0; i < count; i++)
		worst = fmax(worst, fabs((double)a[i] - (double)b[i]) / (0.1 + fabs((double)b[i])));
	return worst;
}

/* All pairs, in lists of lists' different lengths: user u's are the items that u leaves. */
static void score_lists_by(struct fixture *f, const struct backend *backend, const char *way, float *scores)
{
	const size_t users = f->setting.users, items = f->setting.items;
	uint32_t *ids = room_for(users, sizeof *ids), *list = room_for(users * items, sizeof *list);
	size_t *offsets = room_for(users + 1, sizeof *offsets);
	for (size_t u = 0; u < users; u++) {
		ids[u] = (uint32_t)(users - 1 - u);
		offsets[u + 1] = offsets[u] + items - u % items;
		for (size_t i = 0; i < items - u % items; i++)
			list[offsets[u] + i] = (uint32_t)((i * 7 + u) % items);
	}
	const struct score_lists lists = {users, ids, offsets, list, scores};
	tower_by(way);
	struct backend_state *state = fixture_open(f, backend);
	tower_by(NULL);
	CHECK_OK(backend->score_lists(state, &lists, &f->error), &f->error);
	backend->close(state);
	free(ids);
	free(list);
	free(offsets);
}

static void test_lists_match_the_cpu_and_the_tiles(void)
{
	for (size_t t = 0; t < COUNT_OF(settings); t++) {
		struct fixture f;
		fixture_init(&f, &settings[t]);
		const size_t count = (size_t)settings[t].users * settings[t].items;
		const struct backend *cuda = cuda_under_test(&f.error);
		float *cpu = room_for(count, sizeof *cpu), *plain = room_for(count, sizeof *plain);
		score_lists_by(&f, &backend_cpu, NULL, cpu);
		score_lists_by(&f, cuda, "plain", plain);
		CHECK_CLOSE(apart(plain, cpu, count), 0, on_a_device() ? 1e-5 : 1e-6);
		score_lists_by(&f, cuda, "fused", cpu);
		CHECK_CLOSE(apart(plain, cpu, count), 0, on_a_device() ? 1e-5 : 1e-6);
		/* Watched, each access is looked at: no slices of a sample. */
		for (size_t room = emulated_watched ? 20 : 1; !on_a_device() && room < 5000; room = room * 17 + 3) {
			emulated_blas_settings.room = room;
			score_lists_by(&f, cuda, "plain", cpu);
			CHECK(memcmp(plain, cpu, count * sizeof *cpu) == 0);
		}
		emulated_blas_settings.room = ROOM;
		free(cpu);
		free(plain);
		fixture_release(&f);
	}
}

/* cuBLAS sums in an order that goes by the size of a product: pairs that are scored together must not matter. */
static void test_a_score_does_not_depend_on_others(void)
{
	struct fixture f;
	fixture_init(&f, &settings[0]);
	const size_t users = settings[0].users, items = settings[0].items, count = users * items;
	const struct backend *cuda = cuda_under_test(&f.error);
	float *together = room_for(count, sizeof *together), *alone = room_for(items, sizeof *alone);
	uint32_t *list = room_for(items, sizeof *list);
	score_lists_by(&f, cuda, "plain", together);
	for (size_t i = 0; i < items; i++)
		list[i] = (uint32_t)(i * 7 % items); /* the first of those lists, and shorter ones */
	tower_by("plain");
	struct backend_state *state = fixture_open(&f, cuda);
	tower_by(NULL);
	for (size_t length = items; length > 0; length /= 3) {
		const struct score_lists one = {1, &(const uint32_t){(uint32_t)users - 1}, (const size_t[]){0, length}, list, alone};
		CHECK_OK(cuda->score_lists(state, &one, &f.error), &f.error);
		CHECK(memcmp(alone, together, length * sizeof *alone) == 0);
	}
	cuda->close(state);
	free(together);
	free(alone);
	free(list);
	fixture_release(&f);
}

/* The best of every user, by either tower: the same items but where scores nearly are. */
static void test_rankings_match_the_tiles(void)
{
	enum { TOP = 7 };
	for (size_t t = 0; t < COUNT_OF(settings); t++) {
		struct fixture f;
		fixture_init(&f, &settings[t]);
		const size_t users = settings[t].users;
		uint32_t *ids = room_for(users, sizeof *ids), *items[2], *counts[2];
		float *scores[2];
		for (size_t u = 0; u < users; u++)
			ids[u] = (uint32_t)u;
		for (int b = 0; b < 2; b++) {
			items[b] = room_for(users * TOP, sizeof(uint32_t));
			counts[b] = room_for(users, sizeof(uint32_t));
			scores[b] = room_for(users * TOP, sizeof(float));
			const struct score_top request = {users, ids, &f.known, NULL, TOP, items[b], scores[b], counts[b]};
			const struct backend *cuda = cuda_under_test(&f.error);
			tower_by(b == 0 ? "fused" : "plain");
			struct backend_state *state = fixture_open(&f, cuda);
			CHECK_OK(cuda->score_top(state, &request, &f.error), &f.error);
			cuda->close(state);
		}
		tower_by(NULL);
		CHECK(memcmp(counts[0], counts[1], users * sizeof(uint32_t)) == 0);
		CHECK_CLOSE(apart(scores[1], scores[0], users * TOP), 0, 1e-5);
		for (size_t i = 0; i < users * TOP; i++) {
			const bool follows = i % TOP > 0 && fabs((double)scores[0][i] - (double)scores[0][i - 1]) < 1e-5;
			const bool leads = i % TOP + 1 < TOP && fabs((double)scores[0][i] - (double)scores[0][i + 1]) < 1e-5;
			CHECK(items[0][i] == items[1][i] || follows || leads || i % TOP + 1 == TOP);
		}
		free(ids);
		for (int b = 0; b < 2; b++) {
			free(items[b]);
			free(counts[b]);
			free(scores[b]);
		}
		fixture_release(&f);
	}
}

int main(void)
{
	if (!blas_is_here("test_cuda_plain_score"))
		return cuda_done();
	emulated_blas_settings.room = ROOM;
	RUN(test_lists_match_the_cpu_and_the_tiles);
	RUN(test_a_score_does_not_depend_on_others);
	RUN(test_rankings_match_the_tiles);
	return cuda_done();
}
