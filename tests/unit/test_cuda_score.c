/* Scores and rankings by the CUDA backend against the CPU's, and what it refuses. */
#include "cuda_rankings.h"
#include "cuda_score_settings.h"

/* Lists of all lengths, empty ones among them, of users in descending order. */
struct lists {
	uint32_t *users, *items;
	size_t *offsets;
	float *scores[2];
};

static void lists_init(struct lists *l, uint32_t users, uint32_t items, size_t length)
{
	l->users = room_for(users, sizeof *l->users);
	l->offsets = room_for(users + (size_t)1, sizeof *l->offsets);
	l->items = room_for(users * length, sizeof *l->items);
	for (uint32_t u = 0; u < users; u++) {
		l->users[u] = users - 1 - u;
		l->offsets[u + 1] = l->offsets[u] + (length > items ? length : u % (length + 1));
	}
	for (size_t i = 0; i < l->offsets[users]; i++)
		l->items[i] = (uint32_t)(i * 7 % items);
	for (int b = 0; b < 2; b++)
		l->scores[b] = room_for(users * length, sizeof(float));
}

static void lists_release(struct lists *l)
{
	free(l->users);
	free(l->items);
	free(l->offsets);
	free(l->scores[0]);
	free(l->scores[1]);
}

static void check_lists(const struct setting *setting, size_t length)
{
	struct fixture f;
	struct lists l;
	double worst = 0;
	fixture_init(&f, setting);
	lists_init(&l, setting->users, setting->items, length);
	const struct backend *backends[2] = {&backend_cpu, cuda_under_test(&f.error)};
	for (int b = 0; b < 2; b++) {
		const struct score_lists lists = {setting->users, l.users, l.offsets, l.items, l.scores[b]};
		struct backend_state *state = fixture_open(&f, backends[b]);
		CHECK_OK(backends[b]->score_lists(state, &lists, &f.error), &f.error);
		backends[b]->close(state);
	}
	for (size_t i = 0; i < l.offsets[setting->users]; i++)
		worst = fmax(worst, fabs((double)l.scores[1][i] - (double)l.scores[0][i]) / (1e-3 + fabs((double)l.scores[0][i])));
	CHECK_CLOSE(worst, 0, 1e-5);
	/* The emulator repeats the CPU's roundings. */
	if (!on_a_device())
		CHECK(memcmp(l.scores[0], l.scores[1], l.offsets[setting->users] * sizeof(float)) == 0);
	lists_release(&l);
	fixture_release(&f);
}

static void test_lists_match_the_cpu(void)
{
	for (size_t t = 0; t < COUNT_OF(settings); t++)
		check_lists(&settings[t], settings[t].items);
}

/* More pairs than a round takes, cut in the middle of lists; more lists than a round takes. */
static void test_rounds_of_lists(void)
{
	static const struct setting of[] = {
		{"many pairs", NULL, 50, 3, 0, 0, MODEL_MF, 2, LOSS_BINARY, false, false, false, 0, 0},
		{"many lists", NULL, 9001, 30, 0, 0, MODEL_MF, 2, LOSS_BINARY, false, false, false, 0, 0},
	};
	check_lists(&of[0], 7000);
	check_lists(&of[1], 3);
}

/* ---- rankings ---- */

static void check_top(const struct setting *setting, size_t top, bool filtered)
{
	struct fixture f;
	struct ranking r[2];
	struct interactions truth;
	fixture_init(&f, setting);
	make_twins(&f);
	const uint32_t users = setting->users;
	uint32_t *truth_users = room_for(users, sizeof(uint32_t)), *truth_items = room_for(users, sizeof(uint32_t));
	for (uint32_t u = 0; u < users; u++) {
		truth_users[u] = u;
		truth_items[u] = u * 2 % setting->items;
	}
	CHECK_OK(interactions_from_pairs(&truth, users, setting->items, truth_users, truth_items, users, &f.error), &f.error);
	const struct backend *backends[2] = {&backend_cpu, cuda_under_test(&f.error)};
	for (int b = 0; b < 2; b++) {
		ranking_init(&r[b], users, top);
		const struct score_top request = {users, r[b].users, filtered ? &f.known : NULL, filtered ? &truth : NULL, top,
		                                  r[b].items, r[b].scores, r[b].counts};
		struct backend_state *state = fixture_open(&f, backends[b]);
		CHECK_OK(backends[b]->score_top(state, &request, &f.error), &f.error);
		backends[b]->close(state);
	}
	check_same_ranking(&r[1], &r[0], users, top);
	for (int b = 0; b < 2; b++)
		ranking_release(&r[b]);
	interactions_release(&truth);
	free(truth_users);
	free(truth_items);
	fixture_release(&f);
}

static void test_rankings_match_the_cpu(void)
{
	for (size_t t = 0; t < COUNT_OF(settings); t++)
		for (int filtered = 0; filtered < 2; filtered++) {
			check_top(&settings[t], 7, filtered != 0);
			check_top(&settings[t], 1, filtered != 0);
			check_top(&settings[t], settings[t].items + (size_t)3, filtered != 0);
		}
}

/* A user who has seen everything gets nothing; all scores equal go by item; no list is wanted. */
static void test_rankings_at_the_edge(void)
{
	struct setting setting = settings[2];
	setting.missing = true; /* the last user knows all items */
	check_top(&setting, 5, true);
	struct fixture f;
	struct ranking r;
	fixture_init(&f, &setting);
	memset(f.parameters.block, 0, f.parameters.size * sizeof(float));
	const struct backend *cuda = cuda_under_test(&f.error);
	struct backend_state *state = fixture_open(&f, cuda);
	ranking_init(&r, setting.users, 4);
	struct score_top request = {setting.users, r.users, NULL, NULL, 4, r.items, r.scores, r.counts};
	CHECK_OK(cuda->score_top(state, &request, &f.error), &f.error);
	for (size_t i = 0; i < 4 * (size_t)setting.users; i++)
		CHECK(r.items[i] == i % 4 && r.scores[i] == 0.0f);
	request.top = 0;
	CHECK_OK(cuda->score_top(state, &request, &f.error), &f.error);
	CHECK_EQUAL_U64(r.counts[0], 0);
	cuda->close(state);
	ranking_release(&r);
	fixture_release(&f);
}

/* Scores follow the parameters that are put, and training. */
static void test_scores_follow_the_parameters(void)
{
	struct fixture f;
	float before, after;
	const uint32_t user = 2, item = 3;
	const size_t offsets[2] = {0, 1};
	struct setting setting = settings[1];
	setting.groups = 4;
	fixture_init(&f, &setting);
	const struct backend *cuda = cuda_under_test(&f.error);
	struct backend_state *state = fixture_open(&f, cuda);
	struct score_lists lists = {1, &user, offsets, &item, &before};
	CHECK_OK(cuda->score_lists(state, &lists, &f.error), &f.error);
	struct train_result result;
	const struct train_span span = {.begin = 0, .end = 8, .users = f.users, .items = f.items, .rates = f.rates};
	CHECK_OK(cuda->train(state, &span, &result, &f.error), &f.error);
	lists.scores = &after;
	CHECK_OK(cuda->score_lists(state, &lists, &f.error), &f.error);
	CHECK(after != before);
	CHECK_OK(cuda->put(state, &f.parameters, NULL, NULL, 0, &f.error), &f.error);
	CHECK_OK(cuda->score_lists(state, &lists, &f.error), &f.error);
	CHECK(after == before);
	cuda->close(state);
	fixture_release(&f);
}

/* ---- refusals ---- */

static void check_refused(const struct fixture *f, const struct backend_options *options, const struct model_shape *shape,
                          int code, const char *part)
{
	struct error error = {0};
	struct backend_state *state = cuda_under_test(&error)->open(shape, &f->parameters, options, &error);
	CHECK(state == NULL);
	CHECK_EQUAL_U64(error.code, code);
	CHECK(strstr(error.message, part) != NULL);
	if (!strstr(error.message, part))
		printf("# %s\n", error.message);
}

static void test_what_it_does_not_do_is_refused(void)
{
	struct fixture f;
	struct setting setting = settings[1];
	setting.groups = 3;
	fixture_init(&f, &setting);
	const struct backend_options plain = fixture_options(&f);
	struct backend_options options = plain;
	struct model_shape shape = f.shape;
	options.loss = LOSS_CATALOGUE;
	check_refused(&f, &options, &shape, CODE_USAGE, "whole catalogue");
	options.loss = LOSS_SQUARES;
	check_refused(&f, &options, &shape, CODE_USAGE, "least squares");
	options.loss = LOSS_SOFTMAX;
	options.ratio = 60;
	check_refused(&f, &options, &shape, CODE_USAGE, "59 negatives");
	options = plain;
	options.batch_groups = UINT32_MAX;
	check_refused(&f, &options, &shape, CODE_USAGE, "batch");
	options = plain;
	shape.kind = MODEL_HISTORY;
	check_refused(&f, &options, &shape, CODE_USAGE, "history");
	shape.kind = MODEL_IALS;
	check_refused(&f, &options, &shape, CODE_USAGE, "ials");
	fixture_release(&f);
}

/* At every amount of memory either all is well or the message says what did not fit. */
static void test_out_of_memory_is_told(void)
{
	struct fixture f;
	struct setting setting = settings[1];
	setting.groups = 30;
	if (on_a_device())
		return;
	fixture_init(&f, &setting);
	check_memory_is_told(&f, 3000);
	fixture_release(&f);
}

static void test_what_was_not_opened_for_training(void)
{
	struct fixture f;
	struct train_result result;
	struct parameters moment;
	fixture_init(&f, &settings[1]);
	const struct backend *cuda = cuda_under_test(&f.error);
	struct backend_state *state = fixture_open(&f, cuda);
	const struct train_span span = {.begin = 0, .end = 1, .users = f.users, .items = f.items, .rates = f.rates};
	struct error error = {0};
	CHECK(cuda->train(state, &span, &result, &error) < 0);
	CHECK_EQUAL_U64(error.code, CODE_BUG);
	error = (struct error){0};
	CHECK_OK(parameters_init(&moment, &f.shape, &f.error), &f.error);
	CHECK(cuda->get(state, NULL, &moment, NULL, NULL, &error) < 0);
	CHECK_EQUAL_U64(error.code, CODE_BUG);
	error = (struct error){0};
	CHECK(cuda->put(state, &f.parameters, &moment, NULL, 0, &error) < 0);
	CHECK_EQUAL_U64(error.code, CODE_BUG);
	CHECK(strncmp(cuda->describe(state), "cuda:0, ", 8) == 0);
	parameters_release(&moment);
	cuda->close(state);
	fixture_release(&f);
}

static void test_devices_that_are_not_there(void)
{
	struct error error = {0};
	const struct backend *cuda = cuda_under_test(&error);
	CHECK_OK(cuda->probe(&(const int){0}, 1, &error), &error);
	CHECK(cuda->probe(&(const int){1000}, 1, &error) < 0);
	CHECK_EQUAL_U64(error.code, CODE_UNAVAILABLE);
	CHECK(strstr(error.message, "cuda:1000") != NULL);
	error = (struct error){0};
	CHECK_OK(cuda->probe(&(const int){0}, 1, &error), &error);
}

int main(void)
{
	if (!cuda_is_here("test_cuda_score"))
		return cuda_done();
	RUN(test_lists_match_the_cpu);
	RUN(test_rounds_of_lists);
	RUN(test_rankings_match_the_cpu);
	RUN(test_rankings_at_the_edge);
	RUN(test_scores_follow_the_parameters);
	RUN(test_what_it_does_not_do_is_refused);
	RUN(test_out_of_memory_is_told);
	RUN(test_what_was_not_opened_for_training);
	RUN(test_devices_that_are_not_there);
	return cuda_done();
}
