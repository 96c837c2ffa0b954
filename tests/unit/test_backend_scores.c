/* Scores of the CPU backend against the plain reference: lists, and the best of everything. */
#include "backend_fixture.h"

static void test_scores_match_the_reference(void)
{
	for (size_t t = 0; t < COUNT_OF(settings); t++) {
		struct fixture f;
		struct reference r;
		fixture_init(&f, &settings[t]);
		fixture_reference(&f, &r);
		r.dropout = 0; /* of training alone */
		struct backend_state *state = open_cpu(&f, "auto", 2);
		const size_t count = f.setting.users;
		uint32_t *users = malloc(count * sizeof *users);
		size_t *offsets = malloc((count + 1) * sizeof *offsets);
		uint32_t *items = malloc(count * f.setting.items * sizeof *items);
		float *scores = malloc(count * f.setting.items * sizeof *scores);
		if (!users || !offsets || !items || !scores)
			abort();
		offsets[0] = 0;
		for (size_t u = 0; u < count; u++) {
			users[u] = (uint32_t)(count - 1 - u);
			offsets[u + 1] = offsets[u] + u % (f.setting.items + 1);
			for (size_t i = offsets[u]; i < offsets[u + 1]; i++)
				items[i] = (uint32_t)(i % f.setting.items);
		}
		const struct score_lists lists = {count, users, offsets, items, scores};
		CHECK_OK(backend_cpu.score_lists(state, &lists, &f.error), &f.error);
		double worst = 0;
		for (size_t u = 0; u < count; u++)
			for (size_t i = offsets[u]; i < offsets[u + 1]; i++) {
				double want = reference_forward(&r, users[u], items[i]);
				worst = fmax(worst, fabs(want - (double)scores[i]) / (1 + fabs(want)));
			}
		CHECK_CLOSE(worst, 0, tolerance_of(&settings[t]));
		backend_cpu.close(state);
		free(users);
		free(offsets);
		free(items);
		free(scores);
		reference_release(&r);
		fixture_release(&f);
	}
}

enum { TOP_USERS = 50, TOP_ITEMS = 913 };

/* Every pair by score_lists, ranked the slow way, must be what score_top says: seen items left out, the
 * truth behind its ties (here: all equal scores of duplicated items). */
static void check_top(const struct setting *of)
{
	enum { TOP = 7, USERS = TOP_USERS, ITEMS = TOP_ITEMS };
	struct fixture f;
	const struct setting setting = *of;
	uint32_t pair_users[3 * USERS], pair_items[3 * USERS], truth_items[USERS], all[ITEMS], users[USERS];
	struct interactions seen, truth;
	fixture_init(&f, &setting);
	f.setting.groups = 0; /* opened for scoring alone */
	for (size_t m = 0; m < f.parameters.count; m++) {
		const struct matrix *table = &f.parameters.matrices[m];
		for (size_t i = 1; i < ITEMS && model_matrix_rows(&f.shape, m) == 'i'; i += 2)
			memcpy(table->values + i * table->stride, table->values + (i - 1) * table->stride,
			       table->stride * sizeof(float)); /* twins: every score comes twice */
	}
	for (uint32_t i = 0; i < ITEMS; i++)
		all[i] = i;
	for (uint32_t u = 0; u < USERS; u++) {
		users[u] = u;
		truth_items[u] = u * 2 % ITEMS;
		for (uint32_t j = 0; j < 3; j++) {
			pair_users[3 * u + j] = u;
			pair_items[3 * u + j] = (u * 31 + j * 17 + 1) % ITEMS;
		}
	}
	CHECK_OK(interactions_from_pairs(&seen, USERS, ITEMS, pair_users, pair_items, 3 * USERS, &f.error), &f.error);
	CHECK_OK(interactions_from_pairs(&truth, USERS, ITEMS, users, truth_items, USERS, &f.error), &f.error);
	struct backend_state *state = open_cpu(&f, "auto", 3);
	uint32_t items[USERS * TOP], counts[USERS];
	float scores[USERS * TOP], every[ITEMS];
	const struct score_top top = {USERS, users, &seen, &truth, TOP, items, scores, counts};
	CHECK_OK(backend_cpu.score_top(state, &top, &f.error), &f.error);
	for (uint32_t u = 0; u < USERS; u++) {
		const size_t offsets[2] = {0, ITEMS};
		const struct score_lists lists = {1, &u, offsets, all, every};
		CHECK_OK(backend_cpu.score_lists(state, &lists, &f.error), &f.error);
		CHECK_EQUAL_U64(counts[u], TOP);
		for (size_t place = 0; place < TOP; place++) {
			uint32_t item = items[u * TOP + place];
			size_t better = 0;
			CHECK(scores[u * TOP + place] == every[item]);
			CHECK(!interactions_has(&seen, u, item));
			for (uint32_t other = 0; other < ITEMS; other++) {
				bool item_true = item == truth_items[u], other_true = other == truth_items[u];
				bool ahead = every[other] > every[item] ||
				             (every[other] == every[item] &&
				              (other_true != item_true ? item_true : other < item));
				better += ahead && other != item && !interactions_has(&seen, u, other);
			}
			CHECK_EQUAL_U64(better, place);
		}
	}
	backend_cpu.close(state);
	interactions_release(&seen);
	interactions_release(&truth);
	fixture_release(&f);
}

static void test_top_matches_brute_force(void)
{
	const struct setting of[] = {
		{"32-16-8-1", TOP_USERS, TOP_ITEMS, 1, 10, false, false, 0, 0, MODEL_MLP, 0, LOSS_BINARY, false, PRECISION_FP32},
		{"32-16-8-1", TOP_USERS, TOP_ITEMS, 1, 10, false, false, 0, 0, MODEL_NEUMF, 20, LOSS_BINARY, false, PRECISION_FP32},
		{NULL, TOP_USERS, TOP_ITEMS, 1, 10, false, false, 0, 0, MODEL_MF, 16, LOSS_BINARY, false, PRECISION_FP32},
		{NULL, TOP_USERS, TOP_ITEMS, 1, 10, false, false, 0, 0, MODEL_IALS, 9, LOSS_BINARY, false, PRECISION_FP32},
		{"32-20-8-1", TOP_USERS, TOP_ITEMS, 1, 10, false, false, 0, 0, MODEL_MLP, 0, LOSS_BINARY, false, PRECISION_BF16},
	};
	for (size_t t = 0; t < COUNT_OF(of); t++)
		check_top(&of[t]);
}

int main(void)
{
	RUN(test_scores_match_the_reference);
	RUN(test_top_matches_brute_force);
	return check_done();
}
