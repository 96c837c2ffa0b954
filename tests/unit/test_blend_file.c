/* A blend as a file: what is read is what was written, bit for bit, and what is no blend is refused with a reason. */
#include "blend.h"
#include "check.h"
#include "folder.h"
#include "rng.h"
#include "sealed.h"

enum { MANY = SIGNALS_MAX + 1 };

static const struct signal_sources plain = {.with_names = {"other"}, .with_count = 1};

static double any_number(struct rng *rng)
{
	double number;
	uint64_t bits = (uint64_t)rng_below(rng, UINT32_MAX) << 32 | rng_below(rng, UINT32_MAX);
	memcpy(&number, &bits, sizeof number);
	return isfinite(number) ? number : -0.0;
}

/* Numbers of every size. */
static struct blend any_blend(uint64_t trial)
{
	struct blend blend = {.count = 3};
	struct rng rng;
	rng_init(&rng, 8, rng_stream(RNG_TEST, 1), trial);
	static const char *const names[] = {"score", "other", "popularity"};
	for (size_t s = 0; s < blend.count; s++) {
		struct error error = {0};
		struct blend_signal *signal = &blend.signals[s];
		CHECK_OK(signals_find(&plain, "", names[s], 0, &signal->signal, &error), &error);
		signal->mean = any_number(&rng);
		signal->scale = any_number(&rng);
		signal->weight = any_number(&rng);
		signal->by_popularity = any_number(&rng);
		signal->by_activity = any_number(&rng);
	}
	blend.popularity = 2;
	blend.activity_mean = any_number(&rng);
	blend.activity_scale = any_number(&rng);
	blend.report = (struct blend_fit_report){.lists = 7, .candidates = 700, .l2 = 0.1, .log_likelihood = -1.0 / 3,
	                                         .uniform = -2, .tried = 1, .penalties = {3}, .held_out = {-0.7}};
	return blend;
}

static bool same_number(double a, double b)
{
	return memcmp(&a, &b, sizeof a) == 0;
}

static void test_read_is_what_was_written(void)
{
	for (uint64_t trial = 0; trial < 50; trial++) {
		const struct blend blend = any_blend(trial);
		struct blend read;
		struct error error = {0};
		CHECK_OK(blend_write(&blend, "b.json", &error), &error);
		CHECK_OK(blend_read(&read, "b.json", &plain, &error), &error);
		CHECK_EQUAL_U64(read.count, blend.count);
		CHECK_EQUAL_U64(read.popularity, blend.popularity);
		CHECK(same_number(read.activity_mean, blend.activity_mean));
		CHECK(same_number(read.activity_scale, blend.activity_scale));
		for (size_t s = 0; s < blend.count; s++) {
			const struct blend_signal *a = &blend.signals[s], *b = &read.signals[s];
			CHECK_EQUAL_TEXT(a->signal.name, b->signal.name);
			CHECK(a->signal.kind == b->signal.kind && a->signal.source == b->signal.source);
			CHECK(same_number(a->mean, b->mean) && same_number(a->scale, b->scale) && same_number(a->weight, b->weight));
			CHECK(same_number(a->by_popularity, b->by_popularity) && same_number(a->by_activity, b->by_activity));
		}
	}
}

static void test_what_is_written_is_told(void)
{
	static const char *const parts[] = {
		"\"format\": \"recpipe-blend\"", "\"version\": 1", "\"lists\": 7", "\"candidates\": 700", "\"l2\": 0.1000",
		"\"log_likelihood\": -0.33333333333333331", "\"log_likelihood_of_equal_scores\": -2.0",
		"\"held_out_log_likelihood\": -0.69999999999999996", "\"name\": \"other\"", "\"decay\": 0.0",
	};
	const struct blend blend = any_blend(1);
	struct error error = {0};
	CHECK_OK(blend_write(&blend, "b.json", &error), &error);
	struct bytes bytes = bytes_read("b.json");
	bytes.at[bytes.size] = 0;
	for (size_t p = 0; p < COUNT_OF(parts); p++)
		CHECK(strstr((const char *)bytes.at, parts[p]));
	free(bytes.at);
	CHECK_EQUAL_U64(files_here(), 1);
}

static void test_where_it_cannot_be_written(void)
{
	const struct blend blend = any_blend(1);
	struct error error = {0};
	CHECK(blend_write(&blend, "nowhere/b.json", &error) < 0 && error.code == CODE_CANNOT_CREATE);
	error = (struct error){0};
	CHECK(blend_write(&blend, "/dev/full", &error) < 0 && error.code == CODE_IO);
}

/* ---- what is refused ---- */

#define NUMBERS "\"decay\": 0, \"mean\": 0, \"scale\": 1, \"weight\": 1, \"by_popularity\": 0, \"by_activity\": 0"
#define POPULAR "{\"name\": \"popularity\", " NUMBERS "}"
#define HEAD "{\"format\": \"recpipe-blend\", \"version\": 1, \"activity\": {\"mean\": 0, \"scale\": 1}, \"signals\": "

static void check_refused_text(const char *text, const char *why)
{
	struct blend blend;
	struct error error = {0};
	put("b.json", text, strlen(text));
	const bool refused = blend_read(&blend, "b.json", &plain, &error) < 0 && error.code == CODE_DATA &&
	                     strncmp(error.message, "b.json:", 7) == 0 && strstr(error.message, why);
	CHECK(refused);
	if (!refused)
		printf("#   %s: expected \"%s\", got %d \"%s\"\n", text, why, error.code, error.message);
}

static void test_what_is_no_blend_is_refused(void)
{
	static const struct {
		const char *text, *why;
	} refused[] = {
		{"", "expected the JSON that rerank --fit writes"},
		{"weights", "b.json:1: "},
		{"{\n\"format\":\n,", "b.json:3: "},
		{HEAD "[" POPULAR "]}}", "b.json:1: "},
		{HEAD "[" POPULAR "], \"version\": 1}", "duplicate"},
		{"[]", "no blend, expected the JSON that rerank --fit writes"},
		{"{}", "no blend"},
		{"{\"format\": 1, \"version\": 1}", "no blend"},
		{"{\"format\": \"recpipe\", \"version\": 1}", "no blend"},
		{"{\"format\": \"recpipe-blend\"}", "a version of blends other than 1"},
		{"{\"format\": \"recpipe-blend\", \"version\": 2}", "a version of blends other than 1"},
		{"{\"format\": \"recpipe-blend\", \"version\": \"1\"}", "a version of blends other than 1"},
		{"{\"format\": \"recpipe-blend\", \"version\": 1}", "0 signals, expected 1 to 80"},
		{HEAD "[]}", "0 signals"},
		{HEAD "{}}", "0 signals"},
		{"{\"format\": \"recpipe-blend\", \"version\": 1, \"signals\": [" POPULAR "]}", "'mean' is missing or no number"},
		{"{\"format\": \"recpipe-blend\", \"version\": 1, \"activity\": {\"mean\": 1}, \"signals\": [" POPULAR "]}",
		 "'scale' is missing"},
		{HEAD "[7]}", "a signal without a name"},
		{HEAD "[{" NUMBERS "}]}", "a signal without a name"},
		{HEAD "[{\"name\": 5, " NUMBERS "}]}", "a signal without a name"},
		{HEAD "[{\"name\": \"score\", " NUMBERS "}]}", "lacks the signal 'popularity'"},
		{HEAD "[" POPULAR ", {\"name\": \"ease\", " NUMBERS "}]}", "weighs the signal 'ease', expected a --with or"},
		{HEAD "[" POPULAR ", {\"name\": \"years\", " NUMBERS "}]}", "weighs the signal 'years', expected --known, --movies"},
		{HEAD "[" POPULAR ", {\"name\": \"recency\", " NUMBERS "}]}", "expected --known with times"},
	};
	for (size_t n = 0; n < COUNT_OF(refused); n++)
		check_refused_text(refused[n].text, refused[n].why);
}

static void test_every_number_must_be_there(void)
{
	static const char *const keys[] = {"decay", "mean", "scale", "weight", "by_popularity", "by_activity"};
	static const char *const odd[] = {"\"x\"", "null", "1e999", "[1]"};
	for (size_t k = 0; k < COUNT_OF(keys); k++)
		for (size_t o = 0; o <= COUNT_OF(odd); o++) {
			char text[1024] = HEAD "[{\"name\": \"popularity\"", why[64];
			for (size_t other = 0; other < COUNT_OF(keys); other++) {
				const size_t used = strlen(text);
				if (other != k || o < COUNT_OF(odd))
					snprintf(text + used, sizeof text - used, ", \"%s\": %s", keys[other], other == k ? odd[o] : "0");
			}
			strncat(text, "}]}", sizeof text - strlen(text) - 1);
			snprintf(why, sizeof why, "'%s' is missing or no number", keys[k]);
			check_refused_text(text, o == 2 ? "overflow" : why);
		}
}

enum { TEXT = sizeof HEAD + MANY * (sizeof POPULAR + 1) + 4 };

static void many_signals(char text[TEXT], size_t count)
{
	size_t used = (size_t)snprintf(text, TEXT, "%s[", HEAD);
	for (size_t s = 0; s < count; s++)
		used += (size_t)snprintf(text + used, TEXT - used, "%s%s", s ? "," : "", POPULAR);
	snprintf(text + used, TEXT - used, "]}");
}

static void test_as_many_signals_as_may_be(void)
{
	struct blend blend;
	struct error error = {0};
	char text[TEXT];
	many_signals(text, MANY);
	check_refused_text(text, "81 signals, expected 1 to 80");
	many_signals(text, SIGNALS_MAX);
	put("b.json", text, strlen(text));
	CHECK_OK(blend_read(&blend, "b.json", &plain, &error), &error);
	CHECK_EQUAL_U64(blend.count, SIGNALS_MAX);
	for (size_t cut = strlen(text); cut > 97; cut -= 97) { /* cut anywhere */
		text[cut - 1] = 0;
		check_refused_text(text, "expected the JSON that rerank --fit writes");
	}
}

static void test_files_that_are_not_there_or_large(void)
{
	struct blend blend;
	struct error error = {0};
	enum { LARGE = (1 << 20) + 5 };
	char *spaces = malloc(LARGE + 1);
	CHECK(blend_read(&blend, "nothing", &plain, &error) < 0 && error.code == CODE_NO_INPUT);
	CHECK(spaces);
	memset(spaces, ' ', LARGE);
	spaces[LARGE] = 0;
	memcpy(spaces + LARGE - 2, "{}", 2);
	check_refused_text(spaces, "expected the JSON");
	free(spaces);
}

int main(void)
{
	RUN_IN_FOLDER(test_read_is_what_was_written);
	RUN_IN_FOLDER(test_what_is_written_is_told);
	RUN_IN_FOLDER(test_where_it_cannot_be_written);
	RUN_IN_FOLDER(test_what_is_no_blend_is_refused);
	RUN_IN_FOLDER(test_every_number_must_be_there);
	RUN_IN_FOLDER(test_as_many_signals_as_may_be);
	RUN_IN_FOLDER(test_files_that_are_not_there_or_large);
	return check_done();
}
