/* Which signals there are, their names, and everything that is refused. */
#include "signals_fixture.h"

static void check_list(const struct signal_sources *sources, const char *expected)
{
	struct signal signals[SIGNALS_MAX];
	char text[2048] = "";
	const size_t count = signals_list(sources, signals);
	for (size_t s = 0; s < count; s++) {
		struct signal found;
		struct error error = {0};
		const size_t used = strlen(text);
		snprintf(text + used, sizeof text - used, "%s %g ", signals[s].name, signals[s].decay);
		CHECK_OK(signals_find(sources, "b.json", signals[s].name, signals[s].decay, &found, &error), &error);
		CHECK(found.kind == signals[s].kind && found.source == signals[s].source && found.decay == signals[s].decay);
		CHECK_EQUAL_TEXT(found.name, signals[s].name);
	}
	if (expected)
		CHECK_EQUAL_TEXT(text, expected);
}

static void test_which_signals_there_are(void)
{
	struct histories untimed = {.interactions = histories.interactions};
	struct signal_sources sources = {0};
	check_list(&sources, "score 0 popularity 0 ");
	sources.catalogue = &catalogue;
	check_list(&sources, "score 0 popularity 0 ");
	sources = all_sources();
	sources.histories = &untimed;
	check_list(&sources, "score 0 first 0 second 0 ease 0 popularity 0 genres 0 years 0 ");
	sources.histories = &histories;
	check_list(&sources, "score 0 first 0 second 0 ease 0 ease 0.5 ease 1 popularity 0 recency 0 "
	                     "genres 0 genres 0.5 genres 1 years 0 years 0.5 years 1 ");
	sources.catalogue = NULL;
	check_list(&sources, "score 0 first 0 second 0 ease 0 ease 0.5 ease 1 popularity 0 recency 0 ");
}

static void test_as_many_sources_as_may_be(void)
{
	struct signal_sources sources = {.histories = &histories, .catalogue = &catalogue};
	struct signal signals[SIGNALS_MAX];
	struct error error = {0};
	for (int n = 0; n < 2 * SIGNAL_SOURCES_MAX; n++) {
		char name[SIGNAL_NAME_SIZE];
		snprintf(name, sizeof name, "source-%d", n);
		CHECK_OK(signals_add_name(&sources, n % 2 ? SIGNAL_WITH : SIGNAL_SIMILARITY, "with", name, strlen(name), &error),
		         &error);
	}
	CHECK_EQUAL_U64(signals_list(&sources, signals), 1 + 16 + 3 * 16 + 2 + 3 + 3);
	check_list(&sources, NULL);
	CHECK(signals_add_name(&sources, SIGNAL_WITH, "with", "more", 4, &error) < 0 && error.code == CODE_USAGE);
	CHECK_EQUAL_TEXT(error.message, "--with: more than 16 of them");
	error = (struct error){0};
	CHECK(signals_add_name(&sources, SIGNAL_SIMILARITY, "similarity", "more", 4, &error) < 0 && error.code == CODE_USAGE);
	CHECK_EQUAL_U64(sources.with_count, 16);
	CHECK_EQUAL_U64(sources.similarity_count, 16);
}

static void test_names_that_are_refused(void)
{
	static const struct {
		const char *name, *why;
	} refused[] = {
		{"", "names no signal"}, {"a b", "names no signal"}, {"a.b", "names no signal"}, {"\xc3\xa4", "names no signal"},
		{"a2345678901234567890123456789012", "names no signal"}, {"score", "is taken"}, {"popularity", "is taken"},
		{"recency", "is taken"}, {"genres", "is taken"}, {"years", "is taken"}, {"ease", "is taken"},
		{"first", "is taken"}, {"second", "is taken"},
	};
	static const char *const good[] = {"a234567890123456789012345678901", "A-b_7", "scores", "similarity"};
	static const enum signal_kind both[] = {SIGNAL_WITH, SIGNAL_SIMILARITY};
	for (size_t k = 0; k < COUNT_OF(both); k++) {
		struct signal_sources sources = all_sources();
		for (size_t n = 0; n < COUNT_OF(refused); n++) {
			struct error error = {0};
			CHECK(signals_add_name(&sources, both[k], "option", refused[n].name, strlen(refused[n].name), &error) < 0);
			CHECK(error.code == CODE_USAGE && strstr(error.message, refused[n].why) && strstr(error.message, "--option: "));
		}
		for (size_t n = 0; n < COUNT_OF(good); n++) {
			struct error error = {0};
			CHECK_OK(signals_add_name(&sources, both[k], "option", good[n], strlen(good[n]), &error), &error);
		}
		CHECK_EQUAL_U64(sources.with_count + sources.similarity_count, 3 + COUNT_OF(good));
	}
}

static void check_lacking(const struct signal_sources *sources, const char *name, double decay, const char *needs)
{
	struct signal signal;
	struct error error = {0};
	char message[200];
	snprintf(message, sizeof message, "b.json: weighs the signal '%s', expected %s", name, needs);
	CHECK(signals_find(sources, "b.json", name, decay, &signal, &error) < 0 && error.code == CODE_DATA);
	CHECK_EQUAL_TEXT(error.message, message);
}

static void test_signals_that_cannot_be_had(void)
{
	struct histories untimed = {.interactions = histories.interactions};
	struct signal_sources sources = all_sources();
	check_lacking(&sources, "cosine", 0, "a --with or --similarity of that name");
	sources.histories = &untimed;
	check_lacking(&sources, "recency", 0, "--known with times");
	check_lacking(&sources, "ease", 1, "--known with times for its decay");
	check_lacking(&sources, "years", 0.5, "--known with times for its decay");
	sources.catalogue = NULL;
	check_lacking(&sources, "genres", 0, "--known, --movies and --items");
	sources = (struct signal_sources){.catalogue = &catalogue};
	check_lacking(&sources, "years", 0, "--known, --movies and --items");
	check_lacking(&sources, "ease", 0, "a --with or --similarity of that name");
}

/* A change to the lists, or to the signal, under which its values are refused. */
static void check_refused(const struct signal *signal, void (*change)(struct list *lists), const char *message)
{
	struct signal_sources sources = all_sources();
	struct signal_room room = {0};
	struct made_list made[1 + WITHS];
	struct list lists[1 + WITHS];
	struct error error = {0};
	float values[ENTRIES];
	CHECK_OK(signals_prepare(&sources, &error), &error);
	make_lists(made, lists, 0, ENTRIES);
	if (change)
		change(lists);
	CHECK(signals_values(&sources, signal, 1, &lists[0], &lists[1], &room, values, &error) < 0);
	CHECK(error.code == CODE_DATA && strstr(error.message, message));
	if (error.code != CODE_DATA || !strstr(error.message, message))
		printf("#   %d %s\n", error.code, error.message);
	signal_room_release(&room);
	signals_release(&sources);
}

static void other_user(struct list *lists)
{
	lists[2].user = 3;
}

static void lacking_item(struct list *lists)
{
	for (uint32_t i = 0; i < ITEMS; i++)
		if (lists[2].items[i] == lists[0].items[20])
			lists[2].items[i] = lists[0].items[0]; /* another one twice */
}

static void empty_with(struct list *lists)
{
	lists[2].count = 0;
}

static void odd_score(struct list *lists)
{
	lists[0].scores[3] = NAN;
}

static void infinite_with(struct list *lists)
{
	for (uint32_t i = 0; i < ITEMS; i++)
		lists[2].scores[i] = -INFINITY;
}

static void test_lists_that_are_refused(void)
{
	const struct signal score = {.kind = SIGNAL_SCORE, .name = "score"};
	const struct signal second = {.kind = SIGNAL_WITH, .source = 1, .name = "second"};
	const struct signal growing = {.kind = SIGNAL_SIMILARITY, .decay = -1000, .name = "ease"};
	check_refused(&second, other_user, "--with second: a list of user 3 stands where user 0 is expected");
	check_refused(&second, lacking_item, "--with second: the list of user 0 lacks item ");
	check_refused(&second, empty_with, "lacks item ");
	check_refused(&score, odd_score, "the signal 'score' of user 0 and item ");
	check_refused(&second, infinite_with, "the signal 'second' of user 0 and item ");
	check_refused(&growing, NULL, "the signal 'ease' of user 0 and item ");
}

int main(void)
{
	make_fixture();
	RUN(test_which_signals_there_are);
	RUN(test_as_many_sources_as_may_be);
	RUN(test_names_that_are_refused);
	RUN(test_signals_that_cannot_be_had);
	RUN(test_lists_that_are_refused);
	release_fixture();
	return check_done();
}
