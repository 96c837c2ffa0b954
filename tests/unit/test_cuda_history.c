/* Scores by models of histories, and by others that are trained by users, by the CUDA backend: the CPU's bits. */
#include "cuda_users.h"

/* Scores of all items for some users, one of them without a history, and the lists of the best. */
struct scores {
	float *of, *top_scores;
	uint32_t *top, *counts;
};

enum { SCORED = 5 };

static void take_scores(struct users_fixture *f, const struct backend *backend, struct backend_state *state,
                        const uint32_t users[SCORED], struct scores *s)
{
	const size_t items = f->setting.items;
	size_t offsets[SCORED + 1] = {0};
	uint32_t *listed = room_for(items * SCORED, sizeof *listed);
	for (size_t u = 0; u < SCORED; u++) {
		offsets[u + 1] = offsets[u] + items;
		for (uint32_t i = 0; i < items; i++)
			listed[offsets[u] + i] = i;
	}
	s->of = room_for(items * SCORED, sizeof *s->of);
	s->top_scores = room_for(items * SCORED, sizeof *s->top_scores);
	s->top = room_for(items * SCORED, sizeof *s->top);
	s->counts = room_for(SCORED, sizeof *s->counts);
	const struct score_lists lists = {SCORED, users, offsets, listed, s->of};
	const struct score_top request = {.count = SCORED, .users = users, .seen = &f->histories, .top = items, .items = s->top,
	                                  .scores = s->top_scores, .counts = s->counts};
	CHECK_OK(backend->score_lists(state, &lists, &f->error), &f->error);
	CHECK_OK(backend->score_top(state, &request, &f->error), &f->error);
	free(listed);
}

static void scores_release(struct scores *s)
{
	free(s->of);
	free(s->top_scores);
	free(s->top);
	free(s->counts);
}

/* Both give the same. */
static void check_scores(struct users_fixture *f, struct backend_state *states[2], const struct backend *backends[2])
{
	const uint32_t last = f->setting.users - 1, users[SCORED] = {0, last, last / 2, last > 0 ? last - 1 : 0, last / 3};
	struct scores scores[2];
	for (int b = 0; b < 2; b++)
		take_scores(f, backends[b], states[b], users, &scores[b]);
	CHECK(memcmp(scores[0].of, scores[1].of, f->setting.items * SCORED * sizeof(float)) == 0);
	for (size_t u = 0; u < SCORED; u++) {
		const size_t at = u * f->setting.items, bytes = scores[0].counts[u] * sizeof(float);
		CHECK_EQUAL_U64(scores[1].counts[u], scores[0].counts[u]);
		CHECK(memcmp(scores[0].top + at, scores[1].top + at, bytes) == 0);
		CHECK(memcmp(scores[0].top_scores + at, scores[1].top_scores + at, bytes) == 0);
	}
	scores_release(&scores[0]);
	scores_release(&scores[1]);
}

/* The CPU's bits, of users beyond those that the model was trained on as well; and once more of other parameters. */
static void test_scores_come_from_the_history(void)
{
	for (size_t t = 0; t < COUNT_OF(all); t++) {
		struct users_fixture f;
		struct backend_state *states[2];
		struct parameters fewer;
		if (all[t].kind != MODEL_HISTORY)
			continue;
		users_init(&f, &all[t]);
		const struct backend *backends[2] = {&backend_cpu, cuda_under_test(&f.error)};
		struct backend_options options = users_options(&f);
		options.batch_groups = 0;
		f.shape.users -= f.shape.users > 4 ? 4 : 0;
		CHECK_OK(parameters_init(&fewer, &f.shape, &f.error), &f.error);
		for (size_t m = 0; m < fewer.count; m++)
			memcpy(fewer.matrices[m].values, f.parameters.matrices[m].values,
			       fewer.matrices[m].rows * fewer.matrices[m].stride * sizeof(float));
		for (int b = 0; b < 2; b++) {
			states[b] = backends[b]->open(&f.shape, &fewer, &options, &f.error);
			CHECK_OK(states[b] ? 0 : -1, &f.error);
		}
		check_scores(&f, states, backends);
		for (size_t i = 0; i < fewer.size; i++)
			fewer.block[i] *= 0.7f;
		for (int b = 0; b < 2; b++)
			CHECK_OK(backends[b]->put(states[b], &fewer, NULL, NULL, 1, &f.error), &f.error);
		check_scores(&f, states, backends);
		for (int b = 0; b < 2; b++)
			backends[b]->close(states[b]);
		parameters_release(&fewer);
		users_release(&f);
	}
}

/* A model of ials is a dot product like others: who made it is nothing to its scores. */
static void test_ials_is_scored(void)
{
	static const struct users_setting of = {"ials", MODEL_IALS, 23, 61, 19, 23, 400, 0, 0, false};
	struct users_fixture f;
	struct backend_state *states[2];
	users_init(&f, &of);
	const struct backend *backends[2] = {&backend_cpu, cuda_under_test(&f.error)};
	struct backend_options options = users_options(&f);
	options.batch_groups = 0;
	for (int b = 0; b < 2; b++) {
		states[b] = backends[b]->open(&f.shape, &f.parameters, &options, &f.error);
		CHECK_OK(states[b] ? 0 : -1, &f.error);
	}
	check_scores(&f, states, backends);
	for (int b = 0; b < 2; b++)
		backends[b]->close(states[b]);
	users_release(&f);
}

/* Between epochs the state that trains is the one that scores: by what it has become. */
static void test_scores_follow_training(void)
{
	for (size_t t = 0; t < COUNT_OF(all); t++) {
		struct users_fixture f;
		struct trained_state trained;
		struct train_result result;
		users_init(&f, &all[t]);
		const struct backend *cuda = cuda_under_test(&f.error), *both[2] = {cuda, cuda};
		const struct train_span span = {.epoch = EPOCH, .end = 1, .users = f.order, .rates = rates};
		struct backend_state *states[2] = {users_open(&f, cuda), users_open(&f, cuda)};
		check_scores(&f, states, both);
		CHECK_OK(cuda->train(states[0], &span, &result, &f.error), &f.error);
		users_take(&f, cuda, states[0], &trained);
		CHECK_OK(cuda->put(states[1], &trained.values, NULL, NULL, 1, &f.error), &f.error);
		check_scores(&f, states, both);
		cuda->close(states[0]);
		cuda->close(states[1]);
		trained_release(&trained);
		users_release(&f);
	}
}

int main(void)
{
	if (!cuda_is_here("test_cuda_history"))
		return cuda_done();
	RUN(test_scores_come_from_the_history);
	RUN(test_ials_is_scored);
	RUN(test_scores_follow_training);
	return cuda_done();
}
