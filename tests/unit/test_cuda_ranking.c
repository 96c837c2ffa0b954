/* Rankings and lists where the device's memory is short: by blocks of the catalogue and smaller rounds, to the same
 * lists, also where streams work as late as can be; and what is told where nothing fits. */
#include "cuda_rankings.h"
#include "ranking.h"

/* ---- the plan ---- */

static void check_plan(const struct ranking_need *need)
{
	struct ranking_plan plan;
	size_t users = 0, refused = 0;
	for (size_t room = 1; room < (size_t)1 << 34; room += room / 8 + 1) {
		if (!cuda_plan_ranking(need, room, &plan)) {
			CHECK(users == 0 && plan.bytes > room && plan.users == 1);
			refused++;
			continue;
		}
		CHECK(plan.bytes <= room && plan.users > 0 && plan.users <= need->users);
		CHECK(plan.items > 0 && plan.items <= need->items && plan.users * plan.items <= (size_t)1 << 26);
		CHECK(!plan.whole || need->item_floats * need->items * sizeof(float) < room);
		users = plan.users;
	}
	CHECK(refused > 0);
	CHECK_EQUAL_U64(plan.whole, need->item_floats > 0);
}

/* users, items, top, floats of a user and of an item */
static void test_plans_fit(void)
{
	const struct ranking_need needs[] = {
		{138493, 26744, 10, 64, 64}, {1, 1, 1, 1, 0}, {1000, 26744, 26744, 72, 0}, {7, 10000000, 10, 64, 64},
		{100000, 2000000, 100, 320, 256},
	};
	struct ranking_plan plan;
	for (size_t n = 0; n < COUNT_OF(needs); n++)
		check_plan(&needs[n]);
	/* ML-20M with memory to spare: the catalogue at once; ten million items: by blocks, so that rounds stay large. */
	CHECK(cuda_plan_ranking(&needs[0], (size_t)1 << 36, &plan));
	CHECK(plan.items == 26744 && plan.users == 2509 && plan.whole);
	CHECK(cuda_plan_ranking(&needs[3], (size_t)1 << 36, &plan));
	CHECK(plan.items == 1 << 18 && plan.users == 7 && plan.whole);
	/* 2.5 GB of halves and 1 GB of room. */
	CHECK(cuda_plan_ranking(&needs[3], (size_t)1 << 30, &plan));
	CHECK(!plan.whole && plan.items > 4096);
}

/* ---- the same lists whatever the memory ---- */

/* Three blocks of the catalogue at least; watched, where each access is looked at, for fewer users. */
#ifdef WATCHED
enum { ROOMS = 3, ROOMS_OF_LISTS = 3, LISTS = 400 };
static const struct setting settings[] = {
	{"seed tower", "128-64-32-16-8-4-1", 4, 613, 1, 0, MODEL_MLP, 0, LOSS_BINARY, false, false, false, 0, 0},
	{"neumf", "20-7-3-1", 7, 597, 1, 0, MODEL_NEUMF, 7, LOSS_BINARY, false, true, false, 0, 0},
	{"mf", NULL, 40, 700, 1, 0, MODEL_MF, 16, LOSS_BINARY, false, true, false, 0, 0},
};
#else
enum { ROOMS = 9, ROOMS_OF_LISTS = 12, LISTS = 700 };
static const struct setting settings[] = {
	{"seed tower", "128-64-32-16-8-4-1", 9, 613, 1, 0, MODEL_MLP, 0, LOSS_BINARY, false, false, false, 0, 0},
	{"neumf", "20-7-3-1", 13, 797, 1, 0, MODEL_NEUMF, 7, LOSS_BINARY, false, true, false, 0, 0},
	{"mf", NULL, 150, 2300, 1, 0, MODEL_MF, 16, LOSS_BINARY, false, true, false, 0, 0},
};
#endif

/* A catalogue of twins (some of all zeros), and what is known and true of the users. */
struct world {
	struct fixture f;
	struct interactions truth;
	struct ranking expected;
	size_t top;
	bool filtered;
};

static struct score_top request_of(const struct world *w, const struct ranking *r)
{
	return (struct score_top){w->f.setting.users, r->users, w->filtered ? &w->f.known : NULL, w->filtered ? &w->truth : NULL,
	                          w->top, r->items, r->scores, r->counts};
}

static void world_init(struct world *w, const struct setting *setting, size_t top, bool filtered)
{
	const uint32_t users = setting->users;
	struct fixture *f = &w->f;
	fixture_init(f, setting);
	make_twins(f);
	w->top = top;
	w->filtered = filtered;
	for (size_t m = 0; m < f->parameters.count; m++) {
		const struct matrix *table = &f->parameters.matrices[m];
		for (size_t i = 0; i < table->rows && model_matrix_rows(&f->shape, m) == 'i'; i += 3 + i % 5)
			memset(table->values + i * table->stride, 0, table->columns * sizeof(float));
	}
	uint32_t *truth_users = room_for(users, sizeof(uint32_t)), *truth_items = room_for(users, sizeof(uint32_t));
	for (uint32_t u = 0; u < users; u++) {
		truth_users[u] = u;
		truth_items[u] = u * 2 % setting->items;
	}
	CHECK_OK(interactions_from_pairs(&w->truth, users, setting->items, truth_users, truth_items, users, &f->error), &f->error);
	free(truth_users);
	free(truth_items);
	ranking_init(&w->expected, users, top);
	struct backend_state *cpu = fixture_open(f, &backend_cpu);
	const struct score_top request = request_of(w, &w->expected);
	CHECK_OK(backend_cpu.score_top(cpu, &request, &f->error), &f->error);
	backend_cpu.close(cpu);
}

static void world_release(struct world *w)
{
	ranking_release(&w->expected);
	interactions_release(&w->truth);
	fixture_release(&w->f);
}

/* Ranks with `room` bytes beside the model: the CPU's lists, or an error that says what would fit. */
static bool rank_within(struct world *w, size_t room)
{
	struct ranking got;
	struct error error = {0};
	struct backend_state *state = fixture_open(&w->f, recpipe_cuda_backend());
	ranking_init(&got, w->f.setting.users, w->top);
	const struct score_top request = request_of(w, &got);
	emulated_settings.memory = room < SIZE_MAX - emulated_settings.used ? emulated_settings.used + room : SIZE_MAX;
	const bool ranked = recpipe_cuda_backend()->score_top(state, &request, &error) == 0;
	emulated_settings.memory = SIZE_MAX;
	if (ranked) {
		check_same_ranking(&got, &w->expected, w->f.setting.users, w->top);
	} else {
		CHECK_EQUAL_U64(error.code, CODE_SYSTEM);
		CHECK(strstr(error.message, "out of memory") && strstr(error.message, "would fit"));
	}
	ranking_release(&got);
	recpipe_cuda_backend()->close(state);
	return ranked;
}

static void check_rooms(const struct setting *setting, size_t top, bool filtered)
{
	struct world w;
	uint64_t fewest = UINT64_MAX, most = 0;
	size_t refused = 0, ranked = 0;
	world_init(&w, setting, top, filtered);
	for (size_t room = 400; ranked < ROOMS; room += room / 4) {
		const uint64_t before = emulated_settings.launches;
		emulated_settings.backwards = ranked % 2 == 1;
		if (!rank_within(&w, ranked < ROOMS - 1 ? room : SIZE_MAX)) {
			refused++;
			CHECK(ranked == 0);
			continue;
		}
		const uint64_t launches = emulated_settings.launches - before;
		fewest = launches < fewest ? launches : fewest;
		most = launches > most ? launches : most;
		ranked++;
	}
	emulated_settings.backwards = false;
	CHECK(refused > 0 && fewest < most); /* so there were blocks */
	world_release(&w);
}

static void test_blocks_of_the_catalogue_change_no_list(void)
{
	emulated_settings.late = true;
	for (size_t s = 0; s < COUNT_OF(settings); s++) {
		check_rooms(&settings[s], 7, true);
		check_rooms(&settings[s], 1, false);
	}
	check_rooms(&settings[1], settings[1].items + (size_t)5, true);
	emulated_settings.late = false;
}

static void test_what_would_fit_is_told(void)
{
	struct world w;
	struct error error = {0};
	size_t top = 0;
	world_init(&w, &settings[2], 600, false);
	struct backend_state *state = fixture_open(&w.f, recpipe_cuda_backend());
	struct score_top request = request_of(&w, &w.expected);
	emulated_settings.memory = emulated_settings.used + 8000;
	CHECK(recpipe_cuda_backend()->score_top(state, &request, &error) < 0);
	const char *told = strstr(error.message, "; lists of ");
	CHECK(told && sscanf(told, "; lists of %zu items", &top) == 1 && top > 0 && top < 600);
	error = (struct error){0};
	request.top = top + 1;
	CHECK(recpipe_cuda_backend()->score_top(state, &request, &error) < 0);
	error = (struct error){0};
	request.top = top;
	CHECK_OK(recpipe_cuda_backend()->score_top(state, &request, &error), &error);
	emulated_settings.memory = SIZE_MAX;
	emulated_settings.pinned = 100;
	CHECK(recpipe_cuda_backend()->score_top(state, &request, &error) < 0);
	CHECK(strstr(error.message, "of the host's") != NULL);
	emulated_settings.pinned = SIZE_MAX;
	recpipe_cuda_backend()->close(state);
	world_release(&w);
}

/* ---- lists ---- */

enum { LENGTH = 13 };

struct lists {
	uint32_t users[LISTS], items[LISTS * LENGTH];
	size_t offsets[LISTS + 1];
	float expected[LISTS * LENGTH], got[LISTS * LENGTH];
};

static void lists_init(struct lists *l, const struct setting *setting)
{
	memset(l, 0, sizeof *l);
	for (uint32_t i = 0; i < LISTS; i++) {
		l->users[i] = i * 5 % setting->users;
		l->offsets[i + 1] = l->offsets[i] + i % (LENGTH + 1);
	}
	for (size_t i = 0; i < l->offsets[LISTS]; i++)
		l->items[i] = (uint32_t)(i * 7 % setting->items);
}

/* Scores twice, so that what the first call has left is used. */
static bool lists_within(struct fixture *f, struct lists *l, size_t room)
{
	struct error error = {0};
	struct backend_state *state = fixture_open(f, recpipe_cuda_backend());
	const struct score_lists request = {LISTS, l->users, l->offsets, l->items, l->got};
	int status = 0;
	emulated_settings.memory = room < SIZE_MAX - emulated_settings.used ? emulated_settings.used + room : SIZE_MAX;
	for (int turn = 0; turn < 2; turn++) {
		memset(l->got, 0xff, sizeof l->got);
		error = (struct error){0};
		status = recpipe_cuda_backend()->score_lists(state, &request, &error);
		if (status == 0)
			CHECK(memcmp(l->got, l->expected, l->offsets[LISTS] * sizeof(float)) == 0);
		else
			CHECK(error.code == CODE_SYSTEM && strstr(error.message, "out of memory"));
	}
	emulated_settings.memory = SIZE_MAX;
	recpipe_cuda_backend()->close(state);
	return status == 0;
}

static void check_lists(const struct setting *setting)
{
	struct fixture f;
	static struct lists l;
	size_t refused = 0, scored = 0;
	fixture_init(&f, setting);
	lists_init(&l, setting);
	const struct score_lists request = {LISTS, l.users, l.offsets, l.items, l.expected};
	struct backend_state *cpu = fixture_open(&f, &backend_cpu);
	CHECK_OK(backend_cpu.score_lists(cpu, &request, &f.error), &f.error);
	backend_cpu.close(cpu);
	for (size_t room = 5000; scored < ROOMS_OF_LISTS; room += room / 3)
		if (lists_within(&f, &l, scored < ROOMS_OF_LISTS - 1 ? room : SIZE_MAX))
			scored++;
		else
			refused++;
	CHECK(refused > 0);
	fixture_release(&f);
}

static void test_rounds_of_lists_where_memory_is_short(void)
{
	emulated_settings.late = true;
	for (size_t s = 0; s < COUNT_OF(settings); s++)
		check_lists(&settings[s]);
	emulated_settings.late = false;
}

int main(void)
{
	if (!cuda_is_here("test_cuda_ranking"))
		return cuda_done();
	RUN(test_plans_fit);
	if (on_a_device()) {
		SKIP("memory that is short", "the tests set the emulated device's");
		return cuda_done();
	}
	RUN(test_blocks_of_the_catalogue_change_no_list);
	RUN(test_what_would_fit_is_told);
	RUN(test_rounds_of_lists_where_memory_is_short);
	return cuda_done();
}
