/* The fast parser of ratings against the one that takes everything: the same rows, reasons, lines and offsets on
 * thousands of inputs made of what real files have and of what they should not have. */
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "csv_reference.h"

enum { INPUTS = 3000, TEXT_MAX = 6000 };

static uint64_t state = 1;

static uint32_t draw(uint32_t below)
{
	state += UINT64_C(0x9e3779b97f4a7c15);
	uint64_t z = state;
	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return (uint32_t)((z ^ (z >> 31)) >> 33) % below;
}

struct maker {
	char text[TEXT_MAX];
	size_t length;
};

static void put(struct maker *maker, const char *text)
{
	const size_t length = strlen(text);
	if (maker->length + length < TEXT_MAX) {
		memcpy(maker->text + maker->length, text, length);
		maker->length += length;
	}
}

/* A number of 1 to `most` digits, most often of `usual`. */
static void put_number(struct maker *maker, uint32_t usual, uint32_t most)
{
	char text[32];
	const uint32_t digits = draw(20) ? usual : 1 + draw(most);
	for (uint32_t d = 0; d < digits; d++)
		text[d] = (char)('0' + (d == 0 && digits > 1 ? 1 + draw(9) : draw(10)));
	text[digits] = '\0';
	put(maker, text);
}

/* Fields as they come, and now and then as they should not. */
static const char *const ids[] = {
	"7", "0", "007", "123456789", "1234567890", "99999999", "u1", "a b", " x", "", "\"q\"", "\"a,b\"", "\"a\nb\"", "Jos\xc3\xa9",
	"\xff", "a\"b", "\"open", "x\"", "-5", "1e3", "a\rb", "some-long-identifier-of-a-user", "::", ":", "12:34",
};
static const char *const ratings[] = {
	"3.5", "4", "5.0", "0.5", "10", "-1", "1e1", "nan", "", "4.", ".5", "3,5", "12.25", "1234567.125", "3.5x", "\"4\"", " 4", "+1",
	"4.55", "3..", "x.5", "3.x", "99999999999999999999", "0x1", "inf", "a",
};
static const char *const times[] = {
	"978300760", "1234567890", "0", "-5", "12345678", "123456789012", "9223372036854775807", "9223372036854775808", "12.75", "",
	"2020-01-01", "1234567890123456", "12345678901234567", "97830076x", "x78300760", "1234x67890", "\"77\"", "9999999999999999",
};
static const char *const ends[] = {"\n", "\n", "\n", "\n", "\n", "\n", "\r\n", "\n\n", "\r\r\n", "\n\r\n", "", "\r"};
static const char *const delimiters[] = {",", ",", ",", "\t", "::", ";", "|"};
static const char *const headers[] = {"userId,movieId,rating,timestamp\n", "", "movie,user\n", "item,x,user,score\r\n",
                                      "\xef\xbb\xbfuser,item,rating\n", "\n\nuserId,movieId,rating,timestamp\n"};
static const char *const specs[] = {NULL, NULL, NULL, NULL, NULL, NULL, "user=2,item=1", "user,item,-,time", "item=3,user=1,time=9"};

/* How wild a file is: of 100 fields and lines, so many are out of the tables above. */
static void make_row(struct maker *maker, const char *delimiter, uint32_t wild, uint32_t columns)
{
	for (uint32_t c = 0; c < columns; c++) {
		const bool odd = draw(100) < wild;
		if (c > 0)
			put(maker, delimiter);
		if (c < 2 && odd)
			put(maker, ids[draw(COUNT_OF(ids))]);
		else if (c == 2 && odd)
			put(maker, ratings[draw(COUNT_OF(ratings))]);
		else if (c == 2)
			put(maker, ratings[draw(4)]);
		else if (c == 3 && odd)
			put(maker, times[draw(COUNT_OF(times))]);
		else
			put_number(maker, c == 3 ? 10 : c == 0 ? 3 : 4, c == 3 ? 17 : 10);
	}
	put(maker, draw(100) < wild ? ends[draw(COUNT_OF(ends))] : ends[0]);
}

static void make_file(struct maker *maker, const char *delimiter)
{
	static const uint32_t wildness[] = {0, 1, 5, 30, 80};
	static const char special[] = "\n\r\"\0,:;\t|.-09 ex\xc3\xa9\x80";
	const uint32_t wild = wildness[draw(COUNT_OF(wildness))], rows = draw(150);
	const uint32_t header = draw(3) ? delimiter[1] != '\0' : draw(COUNT_OF(headers)); /* 1 is none */
	const uint32_t columns = draw(4) ? 4 : 2 + draw(3);
	maker->length = 0;
	put(maker, headers[header]);
	for (char *at = maker->text; delimiter[1] == '\0' && at < maker->text + maker->length; at++)
		if (*at == ',')
			*at = delimiter[0];
	for (uint32_t r = 0; r < rows; r++)
		make_row(maker, delimiter, wild, draw(100) < wild ? 1 + draw(6) : columns);
	for (uint32_t m = draw(3) == 0 ? draw(6) : 0; m > 0 && maker->length > 0; m--)
		maker->text[draw((uint32_t)maker->length)] = special[draw(sizeof special - 1)];
	if (draw(4) == 0 && maker->length > 0)
		maker->length = draw((uint32_t)maker->length);
}

static bool same(const char *path, const char *delimiter, const char *spec, size_t threads, size_t at_a_time,
                 uint64_t *ordinary)
{
	static struct transcript expected, got;
	expected.length = got.length = 0;
	transcript_robust(&expected, path, delimiter, spec);
	transcript_rows(&got, path, delimiter, spec, threads, at_a_time, ordinary);
	if (expected.length == got.length && memcmp(expected.text, got.text, got.length) == 0)
		return true;
	size_t at = 0;
	while (at < expected.length && at < got.length && expected.text[at] == got.text[at])
		at++;
	while (at > 0 && expected.text[at - 1] != '\n')
		at--;
	printf("#   expected: %.300s\n#   got: %.300s\n", expected.text + at, got.text + at);
	return false;
}

/* Files without a name, by their descriptor. */
static int make_input(const char *text, size_t length, char path[64])
{
	int fd = memfd_create("ratings", MFD_CLOEXEC);
	if (fd < 0 || write(fd, text, length) != (ssize_t)length)
		abort();
	snprintf(path, 64, "/proc/self/fd/%d", fd);
	return fd;
}

static const char *const isas[] = {"auto", "avx512", "avx2", "portable"};

static bool choose_isa(const char *name)
{
	enum isa isa;
	struct error error = {0};
	(void)setenv("RECPIPE_ISA", name, 1);
	return isa_find("auto", &isa, &error) == 0;
}

static void test_random_inputs(void)
{
	static struct maker maker;
	static const size_t steps[] = {1, 7, 64, 100, 256, 1000, 4096, 65536};
	uint64_t ordinary = 0;
	for (int i = 0; i < INPUTS; i++) {
		char path[64];
		const char *delimiter = delimiters[draw(COUNT_OF(delimiters))], *spec = specs[draw(COUNT_OF(specs))];
		const size_t threads = draw(8) == 0 ? 2 + draw(2) : 1, step = steps[draw(COUNT_OF(steps))];
		const char *isa = isas[draw(COUNT_OF(isas))];
		make_file(&maker, delimiter);
		if (!choose_isa(isa))
			continue;
		const int fd = make_input(maker.text, maker.length, path);
		const bool equal = same(path, draw(4) ? delimiter : NULL, spec, threads, step, &ordinary);
		if (!equal)
			printf("#   input %d, %zu threads, %zu bytes at a time, %s\n", i, threads, step, isa);
		CHECK(equal);
		close(fd);
		if (!equal)
			return;
	}
	printf("# %" PRIu64 " rows came in runs\n", ordinary);
	CHECK(ordinary > 40000);
	choose_isa("auto");
}

/* Adds `pattern` with a number for each #: the row's, then small ones, the last below a billion. */
static size_t add_pattern(char *to, const char *pattern, uint32_t row)
{
	size_t length = 0;
	for (uint32_t numbers = 0; *pattern; pattern++) {
		if (*pattern != '#')
			to[length++] = *pattern;
		else
			length += (size_t)(decimal_write(to + length, numbers++ == 0 ? row : draw(numbers == 2 ? 100 : 1000000000)) - (to + length));
	}
	return length;
}

/* Every size of the pieces that a small file can be cut into. */
static void test_every_cut(void)
{
	static const char text[] =
		"userId,movieId,rating,timestamp\n1,10,3.5,964982703\n1,20,4,964982704\n22,3,4.25,5\n\n3,4,5,6\r\n"
		"\"4\",\"a,b\nc\",1,7\n4,9,bad,7\n12345678,123456789,5.0,1234567890123456\n5,5,5,5\n5,6,.5,5\n5,7,5,5\n"
		"5,8,1,5\n5,9,2,5\n5,10,3,5\n5,11,4,5\n5,12,5,5\n5,13,10,5\n5,14,5,5\n6\n7,1,1,1";
	uint64_t ordinary = 0;
	char path[64];
	const int fd = make_input(text, sizeof text - 1, path);
	for (size_t i = 0; i < COUNT_OF(isas); i++)
		for (size_t step = 1; choose_isa(isas[i]) && step <= sizeof text; step++)
			CHECK(same(path, NULL, NULL, 1 + step % 3, step, &ordinary));
	close(fd);
	choose_isa("auto");
}

/* A clean file is all runs: nothing of it falls back, whatever its columns and delimiter. */
static void test_clean_files_are_ordinary(void)
{
	static const struct {
		const char *pattern, *header;
	} kinds[] = {
		{"#,#,3.5,#\n", "userId,movieId,rating,timestamp\n"},
		{"#,#,4,#\r\n", "userId,movieId,rating,timestamp\r\n"},
		{"#::#::5::#\n", ""},
		{"#\tx#\n", "user\titem\n"},
		{"#,#,title #,2.25\n", "movie,user,title,score\n"},
		{"u-#|i-#|12345|#00000\n", ""},
	};
	static char text[1 << 16];
	static struct csv_rows rows;
	for (size_t k = 0; k < COUNT_OF(kinds); k++) {
		size_t length = strlen(kinds[k].header);
		char path[64];
		struct csv_rows_run run;
		struct error error = {0};
		uint64_t count = 0;
		int verdict = CSV_ERROR;
		memcpy(text, kinds[k].header, length);
		for (uint32_t r = 0; r < 1000; r++)
			length += add_pattern(text + length, kinds[k].pattern, r);
		const int fd = make_input(text, length, path);
		CHECK_OK(csv_rows_open(&rows, path, NULL, NULL, 1, 777, &error), &error);
		while ((verdict = csv_rows_next(&rows, &run, &error)) == CSV_ROWS)
			count += run.count;
		CHECK(verdict == CSV_END);
		CHECK_EQUAL_U64(count, 1000);
		csv_rows_release(&rows);
		close(fd);
	}
}

/* Quoted records over thousands of lines, giants, an unclosed quote over several slots. */
static void test_what_spans_slots(void)
{
	enum { SIZE = 3 << 20 };
	char *text = malloc(SIZE), path[64];
	uint64_t ordinary = 0;
	if (!text)
		abort();
	for (int kind = 0; kind < 4; kind++) {
		size_t length = 0;
		for (uint32_t r = 0; length < SIZE - 64; r++) {
			length += (size_t)snprintf(text + length, 64, "%u,%u,3.5,%u\n", r / 20, draw(30000), draw(2000000000));
			if (kind == 1 && r % 5000 == 99)
				text[length++] = '"';
			if (kind == 2 && r % 3000 == 99)
				length += (size_t)snprintf(text + length, 64, "\"u\n\n\n%u\",\"i\"\"\",1,2\n", r);
		}
		if (kind == 3)
			memset(text + 100000, 'x', 2 << 20);
		const int fd = make_input(text, length, path);
		for (size_t threads = 1; threads < 4; threads++)
			CHECK(same(path, ",", NULL, threads, threads == 2 ? 100000 : CSV_ROWS_AT_A_TIME, &ordinary));
		close(fd);
	}
	free(text);
}

/* Released while threads wait for a pipe that says nothing more. */
static void released_early(size_t threads)
{
	static struct csv_rows rows;
	static char text[60000];
	size_t length = 0;
	int ends_of[2];
	char path[64];
	struct error error = {0};
	struct csv_rows_run run;
	for (uint32_t r = 0; length < sizeof text - 64; r++)
		length += (size_t)snprintf(text + length, 64, "%u,%u,%s\n", r, r, r == 5 ? "bad" : "1");
	if (pipe(ends_of) != 0 || write(ends_of[1], text, length) != (ssize_t)length)
		abort();
	snprintf(path, sizeof path, "/proc/self/fd/%d", ends_of[0]);
	close(threads == 1 ? ends_of[1] : -1);
	/* The first window is read whole before anything else: the pipe must hold more, or be closed. */
	pid_t writer = threads == 1 ? 0 : fork();
	if (threads > 1 && writer == 0) {
		for (int i = 0; i < 5; i++)
			(void)!write(ends_of[1], text, length);
		pause();
		_exit(0);
	}
	CHECK_OK(csv_rows_open(&rows, path, ",", "user,item,rating", threads, 4096, &error), &error);
	CHECK_EQUAL_U64(csv_rows_next(&rows, &run, &error), CSV_ROWS);
	CHECK(run.count == 5 && run.line == 1);
	CHECK_EQUAL_U64(csv_rows_next(&rows, &run, &error), CSV_BAD);
	CHECK_EQUAL_U64(rows.reader.line, 6);
	csv_rows_release(&rows);
	if (writer > 0)
		CHECK(kill(writer, SIGKILL) == 0 && waitpid(writer, NULL, 0) == writer);
	close(ends_of[0]);
	close(threads == 1 ? -1 : ends_of[1]);
}

static void test_released_early(void)
{
	for (size_t threads = 1; threads < 4; threads++)
		released_early(threads);
}

int main(void)
{
	RUN(test_random_inputs);
	RUN(test_every_cut);
	RUN(test_clean_files_are_ordinary);
	RUN(test_what_spans_slots);
	RUN(test_released_early);
	return check_done();
}
