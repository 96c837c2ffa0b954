/* Weights in memory: what was written comes back whatever its form, and scores are the sums they are said to be. */
#include "similarity.h"

#include "make_streams.h"
#include "mem.h"
#include "sealed.h"

enum { MANY = 40000 };

static void write_similarity(const char *path, uint32_t items,
                             int (*rows)(struct stream_writer *writer, uint32_t item, struct error *error))
{
	struct error error = {0};
	struct output output;
	struct stream_writer writer;
	struct stream_info info = {.users.count = 1, .items.count = items};
	json_t *metadata = records_metadata("test", "", &info, &error);
	CHECK_OK(output_open(&output, path, &error), &error);
	CHECK_OK(stream_writer_open(&writer, &output, STREAM_SIMILARITY, metadata, false, &error), &error);
	for (uint32_t item = 0; item < items && error.code == CODE_OK; item++)
		CHECK_OK(rows(&writer, item, &error), &error);
	CHECK_OK(stream_writer_finish(&writer, &error), &error);
	CHECK_OK(output_commit(&output, &error), &error);
	stream_writer_release(&writer);
	output_release(&output);
	json_decref(metadata);
}

static struct similarity read_similarity(const char *path)
{
	struct error error = {0};
	struct similarity similarity;
	struct stream_info info;
	CHECK_OK(similarity_read(&similarity, path, &info, &error), &error);
	stream_info_release(&info);
	return similarity;
}

static void test_rows_come_back(void)
{
	for (int compress = 0; compress < 2; compress++) {
		make_stream("s", STREAM_SIMILARITY, compress);
		struct similarity similarity = read_similarity("s");
		static const uint32_t distances[] = {2, 5, 7, 8, 9};
		CHECK_EQUAL_U64(similarity.items, ITEMS);
		CHECK_EQUAL_U64(similarity.count, 5 * RECORDS);
		for (uint32_t i = 0; i < ITEMS; i++) {
			const uint64_t begin = similarity.offsets[i], length = similarity.offsets[i + 1] - begin;
			CHECK_EQUAL_U64(length, i < RECORDS ? 5 : 0);
			for (uint32_t k = 0; k < length; k++) {
				CHECK_EQUAL_U64(similarity.neighbours[begin + k], i + distances[k]);
				CHECK_CLOSE((double)similarity.weights[begin + k], (double)known_weight(i, i + distances[k]), 0);
			}
		}
		similarity_release(&similarity);
	}
}

/* Rows longer than a part, in both forms: row 0 is a run over all others, row 1 lists every third item. */
static float long_weight(uint32_t item, uint32_t neighbour)
{
	return (float)(item + 1) * (float)(neighbour % 1000);
}

static int long_rows(struct stream_writer *writer, uint32_t item, struct error *error)
{
	static uint32_t neighbours[MANY];
	static float weights[MANY];
	uint32_t count = 0;
	if (item > 1)
		return 0;
	for (uint32_t i = 0; i < MANY; i++)
		if (item == 0 ? i > 0 : i % 3 == 0) {
			neighbours[count] = i;
			weights[count++] = long_weight(item, i);
		}
	return item == 0 ? similarity_write_run(writer, item, 1, weights, count, error)
	                 : similarity_write_listed(writer, item, neighbours, weights, count, error);
}

static void test_long_rows_come_back(void)
{
	write_similarity("long", MANY, long_rows);
	struct similarity similarity = read_similarity("long");
	CHECK_EQUAL_U64(similarity.offsets[1], MANY - 1);
	CHECK_EQUAL_U64(similarity.offsets[2], MANY - 1 + (MANY + 2) / 3);
	CHECK_EQUAL_U64(similarity.offsets[MANY], similarity.count);
	size_t wrong = 0;
	for (uint32_t k = 0; k < similarity.count; k++) {
		const uint32_t item = k >= MANY - 1, neighbour = item == 0 ? k + 1 : 3 * (k - (MANY - 1));
		wrong += similarity.neighbours[k] != neighbour ||
		         similarity.weights[k] != long_weight(item, neighbour); /* exact: nothing was computed */
	}
	CHECK_EQUAL_U64(wrong, 0);
	similarity_release(&similarity);
}

/* ---- scores ---- */

enum { MIXED = 83 }; /* no multiple of a register's lanes */

static float odd_weight(uint32_t item, uint32_t neighbour)
{
	return (float)((item * 7919u + neighbour * 104729u) % 2003u) / 977.0f - 1.0f;
}

static bool has_weight(uint32_t item, uint32_t neighbour)
{
	if (item == neighbour || item % 4 == 3)
		return false;                             /* empty rows */
	return item % 4 != 2 || (item + neighbour) % 5 == 0;      /* sparse rows; else full ones */
}

static int mixed_rows(struct stream_writer *writer, uint32_t item, struct error *error)
{
	uint32_t neighbours[MIXED], count = 0;
	float weights[MIXED];
	for (uint32_t i = 0; i < MIXED; i++)
		if (has_weight(item, i)) {
			neighbours[count] = i;
			weights[count++] = odd_weight(item, i);
		}
	return similarity_write_listed(writer, item, neighbours, weights, count, error);
}

static void check_scores(const struct similarity *similarity, const uint32_t *history, size_t count)
{
	float scores[MIXED];
	similarity_scores(similarity, history, count, scores);
	for (uint32_t i = 0; i < MIXED; i++) {
		float expected = 0;
		for (size_t h = 0; h < count; h++)
			if (history[h] < MIXED && has_weight(history[h], i))
				expected += odd_weight(history[h], i);
		CHECK(scores[i] == expected);
	}
}

static void check_weighted_scores(const struct similarity *similarity, const uint32_t *history, size_t count)
{
	float scores[MIXED], plain[MIXED], weights[MIXED + 2];
	for (size_t h = 0; h < count; h++)
		weights[h] = 1.0f / (float)(h % 7 + 3) - (h % 11 == 5);
	similarity_scores_weighted(similarity, history, weights, count, scores);
	for (uint32_t i = 0; i < MIXED; i++) {
		float expected = 0;
		for (size_t h = 0; h < count; h++)
			if (history[h] < MIXED && has_weight(history[h], i)) {
				const float product = weights[h] * odd_weight(history[h], i);
				expected += product;
			}
		CHECK(scores[i] == expected);
	}
	similarity_scores(similarity, history, count, plain);
	similarity_scores_weighted(similarity, history, NULL, count, scores);
	CHECK(memcmp(scores, plain, sizeof scores) == 0);
}

static void test_scores_are_sums_in_order(void)
{
	static const char *const isas[] = {"avx512", "avx2", "portable"};
	uint32_t all[MIXED + 2];
	for (uint32_t i = 0; i < COUNT_OF(all); i++)
		all[i] = i; /* the last two are beyond the catalogue */
	write_similarity("mixed", MIXED, mixed_rows);
	for (size_t s = 0; s < COUNT_OF(isas); s++) {
		struct error error = {0};
		struct similarity similarity;
		struct stream_info info;
		setenv("RECPIPE_ISA", isas[s], 1);
		if (similarity_read(&similarity, "mixed", &info, &error) < 0 && error.code == CODE_UNAVAILABLE) {
			printf("# %s: not on this machine\n", isas[s]);
			continue;
		}
		CHECK_OK(error.code == CODE_OK ? 0 : -1, &error);
		check_scores(&similarity, all, COUNT_OF(all));
		check_weighted_scores(&similarity, all, COUNT_OF(all));
		check_weighted_scores(&similarity, all + 40, 17);
		check_scores(&similarity, all, 0);
		for (uint32_t i = 0; i < MIXED; i++)
			check_scores(&similarity, all + i, 1);
		check_scores(&similarity, all + 40, 17);
		similarity_release(&similarity);
		stream_info_release(&info);
	}
	unsetenv("RECPIPE_ISA");
}

/* ---- refusals ---- */

static void check_unreadable(const char *path, int code, const char *text)
{
	struct error error = {0};
	struct similarity similarity;
	struct stream_info info;
	CHECK(similarity_read(&similarity, path, &info, &error) < 0);
	CHECK(error.code == code && strstr(error.message, text));
	if (!strstr(error.message, text))
		printf("#   expected \"%s\", got \"%s\"\n", text, error.message);
	CHECK(!similarity.offsets && !similarity.neighbours && !similarity.weights && !info.items.ancestors);
}

static void test_what_cannot_be_read(void)
{
	check_unreadable("nothing", CODE_NO_INPUT, "nothing");
	make_stream("lists", STREAM_LISTS, false);
	check_unreadable("lists", CODE_DATA, "a stream of lists, expected similarity");
	make_stream("s", STREAM_SIMILARITY, false);
	struct bytes bytes = bytes_read("s");
	for (size_t size = bytes.size; size-- > 1;) {
		put("cut", bytes.at, size);
		check_unreadable("cut", CODE_DATA, "cut: byte ");
	}
	free(bytes.at);
	setenv("RECPIPE_ISA", "mmx", 1);
	check_unreadable("s", CODE_USAGE, "unknown instruction set 'mmx'");
	unsetenv("RECPIPE_ISA");
}

int main(void)
{
	RUN_IN_FOLDER(test_rows_come_back);
	RUN_IN_FOLDER(test_long_rows_come_back);
	RUN_IN_FOLDER(test_scores_are_sums_in_order);
	RUN_IN_FOLDER(test_what_cannot_be_read);
	return check_done();
}
