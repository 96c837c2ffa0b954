/* The kernels of the seed's tower alone (cuda/narrow.h), by tiles of either size: against the CPU, in every loss, with factors and
 * offsets, batches that end within a tile, and the same bytes however they run. */
#include "cuda_fixture.h"

#define TOWER "128-64-32-16-8-4-1"

static const struct setting settings[] = {
	{"binary", TOWER, 40, 60, 4, 64, MODEL_MLP, 0, LOSS_BINARY, false, false, false, 0, 0},
	{"many tiles a warp, missing samples", TOWER, 40, 30, 6, 401, MODEL_MLP, 0, LOSS_BINARY, false, true, false, 0.1, 0},
	{"one sample", TOWER, 1, 1, 0, 1, MODEL_MLP, 0, LOSS_BINARY, false, false, false, 0, 0},
	{"pairwise, offsets", TOWER, 17, 31, 4, 150, MODEL_MLP, 0, LOSS_PAIRWISE, false, true, true, 0, 0},
	{"softmax, a tile a group", TOWER, 17, 31, 31, 9, MODEL_MLP, 0, LOSS_SOFTMAX, false, false, false, 0, 0},
	{"softmax, too large a group", TOWER, 17, 31, 32, 9, MODEL_MLP, 0, LOSS_SOFTMAX, false, false, false, 0, 0},
	{"binary, large groups", TOWER, 17, 31, 70, 3, MODEL_MLP, 0, LOSS_BINARY, false, false, false, 0, 0},
	{"neumf", "66-64-32-16-8-4-1", 17, 31, 4, 170, MODEL_NEUMF, 5, LOSS_SOFTMAX, true, true, false, 0, 0},
	{"dropout", TOWER, 17, 31, 4, 30, MODEL_MLP, 0, LOSS_BINARY, false, false, false, 0, 0.3},
};

/* As fixture's difference, of matrices that have a gradient: in a loss of differences that of a bias whose units are all
 * active is nothing but rounding, and nearly so where nearly all are. */
static double living_difference(const struct parameters *a, const struct parameters *b)
{
	const double rounding = 1e-5;
	double all = 0;
	for (size_t m = 0; m < a->count; m++) {
		double worst = 0, largest = 0;
		const struct matrix *x = &a->matrices[m], *y = &b->matrices[m];
		for (size_t i = 0; i < (size_t)x->rows * x->stride; i++) {
			if (i % x->stride >= x->columns)
				continue;
			const double apart = fabs((double)x->values[i] - (double)y->values[i]);
			worst = apart <= worst ? worst : apart;
			largest = fmax(largest, fabs((double)y->values[i]));
		}
		all = fmax(all, largest > rounding ? worst / largest : worst > rounding ? INFINITY : 0);
	}
	return all;
}

/* Shared memory for the smaller tiles alone, and for all. */
static const size_t limits[] = {96 * 1024, 227 * 1024};

static void test_steps_match_the_cpu(void)
{
	for (size_t t = 0; t < COUNT_OF(settings); t++) {
		struct fixture f;
		struct trained_state cpu, cuda;
		fixture_init(&f, &settings[t]);
		const size_t less = settings[t].groups / 3;
		fixture_train(&f, &backend_cpu, 2, less, &cpu);
		for (size_t l = 0; l < COUNT_OF(limits); l++) {
			emulated_settings.shared_limit = limits[l];
			fixture_train(&f, cuda_under_test(&f.error), 2, less, &cuda);
			CHECK_CLOSE(cuda.result.loss_sum, cpu.result.loss_sum, 1e-5 * cpu.result.loss_sum);
			CHECK_CLOSE(settled_difference(&cuda, &cpu), 0, 1e-3);
			if (settled_difference(&cuda, &cpu) > 1e-3)
				printf("# %s, %zu\n", settings[t].name, limits[l]);
			trained_release(&cuda);
		}
		trained_release(&cpu);
		fixture_release(&f);
	}
}

static void test_gradients_match_the_cpu(void)
{
	for (size_t t = 0; t < COUNT_OF(settings); t++) {
		struct fixture f;
		struct trained_state cpu, cuda;
		fixture_init(&f, &settings[t]);
		fixture_train(&f, &backend_cpu, 1, 0, &cpu);
		for (size_t l = 0; l < COUNT_OF(limits); l++) {
			emulated_settings.shared_limit = limits[l];
			fixture_train(&f, cuda_under_test(&f.error), 1, 0, &cuda);
			CHECK_CLOSE(living_difference(&cuda.moment1, &cpu.moment1), 0, 1e-5);
			if (living_difference(&cuda.moment1, &cpu.moment1) > 1e-5)
				printf("# %s, %zu: %g\n", settings[t].name, limits[l], living_difference(&cuda.moment1, &cpu.moment1));
			trained_release(&cuda);
		}
		trained_release(&cpu);
		fixture_release(&f);
	}
}

static void test_bytes_repeat(void)
{
	for (size_t t = 0; t < COUNT_OF(settings); t += 3)
		for (size_t l = 0; l < COUNT_OF(limits); l++) {
			struct fixture f;
			emulated_settings.shared_limit = limits[l];
			fixture_init(&f, &settings[t]);
			check_bytes_repeat(&f, settings[t].groups / 2);
			fixture_release(&f);
		}
}

/* Every user's scores of all items have the CPU's bits. */
static void test_scores_are_the_cpus(void)
{
	enum { USERS = 41, ITEMS = 61 };
	static const struct setting setting = {
		"scores", TOWER, USERS, ITEMS, 1, 0, MODEL_MLP, 0, LOSS_BINARY, false, false, false, 0, 0,
	};
	struct fixture f;
	fixture_init(&f, &setting);
	float *scores[2] = {room_for(USERS * ITEMS, sizeof(float)), room_for(USERS * ITEMS, sizeof(float))};
	uint32_t *users = room_for(USERS, sizeof *users), *items = room_for(USERS * ITEMS, sizeof *items);
	size_t offsets[USERS + 1];
	for (uint32_t i = 0; i < USERS * ITEMS; i++)
		items[i] = i % ITEMS;
	for (uint32_t u = 0; u <= USERS; u++)
		offsets[u] = (size_t)u * ITEMS;
	for (uint32_t u = 0; u < USERS; u++)
		users[u] = u;
	for (size_t l = 0; l <= COUNT_OF(limits); l++) {
		const struct backend *backend = l == 0 ? &backend_cpu : cuda_under_test(&f.error);
		emulated_settings.shared_limit = limits[l == 0 ? 0 : l - 1];
		struct backend_state *state = fixture_open(&f, backend);
		const struct score_lists lists = {.users = users, .items = items, .offsets = offsets, .count = USERS,
		                                  .scores = scores[l > 0]};
		CHECK_OK(backend->score_lists(state, &lists, &f.error), &f.error);
		backend->close(state);
		for (uint32_t i = 0; l > 0 && i < USERS * ITEMS; i++)
			CHECK(on_a_device() || memcmp(&scores[0][i], &scores[1][i], sizeof(float)) == 0);
	}
	free(scores[0]);
	free(scores[1]);
	free(users);
	free(items);
	fixture_release(&f);
}

int main(void)
{
	if (!cuda_is_here("test_cuda_narrow"))
		return cuda_done();
	RUN(test_gradients_match_the_cpu);
	RUN(test_steps_match_the_cpu);
	RUN(test_bytes_repeat);
	RUN(test_scores_are_the_cpus);
	return cuda_done();
}
