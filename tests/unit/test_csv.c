/* The tokeniser and the rows: every horror costs itself alone. */
#include <unistd.h>

#include "check.h"
#include "csv.h"
#include "mem.h"

enum { TEXT_MAX = 4096 };

/* Writes `text` to a file in the temporary folder; the path is valid until the next call. */
static const char *file_of(const char *text, size_t length)
{
	static char path[1024];
	const char *folder = getenv("TMPDIR");
	snprintf(path, sizeof path, "%s/test_csv.XXXXXX", folder ? folder : "/tmp");
	int fd = mkstemp(path);
	if (fd < 0 || write(fd, text, length) != (ssize_t)length || close(fd) != 0)
		abort();
	return path;
}

/* All records of `text` as "a|b;c|d;", bad ones as "!reason;"; the delimiter found or given. */
static const char *records_of(const char *text, size_t length, const char *delimiter)
{
	static char out[TEXT_MAX];
	struct csv_reader reader;
	struct error error = {0};
	enum csv_verdict verdict;
	const char *path = file_of(text, length);
	out[0] = '\0';
	CHECK_OK(csv_open(&reader, path, delimiter, &error), &error);
	while ((verdict = csv_next(&reader, &error)) == CSV_RECORD || verdict == CSV_BAD) {
		size_t used = strlen(out);
		if (verdict == CSV_BAD)
			snprintf(out + used, sizeof out - used, "!%s;", reader.bad);
		for (size_t f = 0; verdict == CSV_RECORD && f < reader.field_count; f++) {
			used = strlen(out);
			snprintf(out + used, sizeof out - used, "%.*s%s", (int)reader.fields[f].length, reader.fields[f].text,
			         f + 1 < reader.field_count ? "|" : ";");
		}
	}
	CHECK(verdict == CSV_END);
	csv_release(&reader);
	unlink(path);
	return out;
}

static const struct {
	const char *text, *delimiter, *records;
} rows[] = {
	{"a,b\nc,d\n", NULL, "a|b;c|d;"},
	{"a,b\r\nc,d\r\n", NULL, "a|b;c|d;"},
	{"\xef\xbb\xbf" "a,b\n", NULL, "a|b;"},
	{"a,b\nc,d", NULL, "a|b;c|d;"},
	{"\n\n a,b\n\n\nc,d\n\n", ",", " a|b;c|d;"},
	{"a\tb\tc\n", NULL, "a|b|c;"},
	{"\n\r\n\na\tb\tc\n", NULL, "a|b|c;"},
	{"\xef\xbb\xbf\n\na\tb\n", NULL, "a|b;"},
	{"\"\"\"a\"\"\",\"b\"\"c\",\"\"\"\"\n", ",", "\"a\"|b\"c|\";"},
	{"1::2::3\n4::5::6\n", NULL, "1|2|3;4|5|6;"},
	{"1;2,5;3\n4;5,5;6\n", NULL, "1|2,5|3;4|5,5|6;"},
	{"1|Toy, Story|x\n2|b|c\n", NULL, "1|Toy, Story|x;2|b|c;"},
	{"\"a,b\",c\n", ",", "a,b|c;"},
	{"\"a \"\"b\"\"\",c\n", ",", "a \"b\"|c;"},
	{"\"a\nb\",c\nd,e\n", ",", "a\nb|c;d|e;"},
	{"\"a\r\nb\",c\nd,e\n", ",", "a\r\nb|c;d|e;"},
	{"\"\",\n", ",", "|;"},
	{"a\"b,c\n", ",", "a\"b|c;"},
	{"\"a\"b,c\nd,e\n", ",", "!text behind a closing quote;d|e;"},
	{"\"a,b\nc,d\n", ",", "!a quote that is never closed;c|d;"},
	{"\"a,b\n", ",", "!a quote that is never closed;"},
	{"\"a,b", ",", "!a quote that is never closed;"},
	{"a,\"b\nc,\"d\ne,f\n", ",", "!a quote that is never closed;!a quote that is never closed;e|f;"},
	{"\"a\"::\"b\"\n", "::", "a|b;"},
	{"a:b::c\n", "::", "a:b|c;"},
	{"", ",", ""},
	{"\n", ",", ""},
	{"\r\n\r\n", ",", ""},
	{",\n", ",", "|;"},
};

static void test_records(void)
{
	for (size_t r = 0; r < COUNT_OF(rows); r++) {
		const char *got = records_of(rows[r].text, strlen(rows[r].text), rows[r].delimiter);
		if (strcmp(got, rows[r].records) != 0)
			printf("#   row %zu: '%s', expected '%s'\n", r, got, rows[r].records);
		CHECK_EQUAL_TEXT(got, rows[r].records);
	}
	CHECK_EQUAL_TEXT(records_of("a,b\nc\0d,e\nf,g\n", 14, ","), "a|b;!a NUL byte;f|g;");
}

/* The same bytes in whatever pieces the window takes them: lines and offsets are right throughout. */
static void test_lines_and_offsets_of_a_long_file(void)
{
	enum { LINES = 60000 };
	struct csv_reader reader;
	struct error error = {0};
	char *text = malloc(LINES * 32), line[64];
	size_t length = 0;
	uint64_t offsets[3] = {0}, records = 0;
	if (!text)
		abort();
	for (int i = 0; i < LINES; i++) {
		if (i % 20000 == 19999)
			offsets[i / 20000] = length;
		length += (size_t)snprintf(text + length, 32, "\"user%d\",\"x\ny\"\n", i);
	}
	const char *path = file_of(text, length);
	CHECK_OK(csv_open(&reader, path, NULL, &error), &error);
	while (csv_next(&reader, &error) == CSV_RECORD) {
		snprintf(line, sizeof line, "user%llu", (unsigned long long)records);
		CHECK(reader.fields[0].length == strlen(line) && memcmp(reader.fields[0].text, line, strlen(line)) == 0);
		if (records % 20000 == 19999) {
			CHECK_EQUAL_U64(reader.line, 2 * records + 1);
			CHECK_EQUAL_U64(reader.offset, offsets[records / 20000]);
		}
		records++;
	}
	CHECK_EQUAL_U64(records, LINES);
	csv_release(&reader);
	unlink(path);
	free(text);
}

/* A field of 10 MB is bad, is never held, and what follows is read; so for a quote left open over 3 MB. */
static void test_giants_cost_only_themselves(void)
{
	const size_t big = (size_t)10 << 20;
	char *text = malloc(big + 64);
	struct csv_reader reader;
	struct error error = {0};
	if (!text)
		abort();
	for (int quoted = 0; quoted < 3; quoted++) {
		memcpy(text, "a,b\n", 4);
		memset(text + 4, 'x', big);
		if (quoted == 1)
			text[4] = '"';
		for (size_t i = 100; quoted == 2 && i < big; i += 100)
			text[i] = '\n';
		if (quoted == 2)
			text[4] = '"';
		memcpy(text + 4 + big, "\nlast,row\n", 10);
		const char *path = file_of(text, big + 14);
		uint64_t records = 0, bads = 0;
		enum csv_verdict verdict;
		bool last = false;
		CHECK_OK(csv_open(&reader, path, ",", &error), &error);
		while ((verdict = csv_next(&reader, &error)) != CSV_END && verdict != CSV_ERROR) {
			records += verdict == CSV_RECORD;
			bads += verdict == CSV_BAD;
			last = verdict == CSV_RECORD && reader.field_count == 2 && reader.fields[0].length == 4;
		}
		CHECK(verdict == CSV_END && last);
		CHECK(reader.capacity < (size_t)4 << 20);
		CHECK_EQUAL_U64(bads, 1);
		if (quoted < 2)
			CHECK_EQUAL_U64(records, 2);
		csv_release(&reader);
		unlink(path);
	}
	free(text);
}

/* ---- rows of ratings ---- */

static const struct {
	const char *text, *columns, *row; /* the row as "user item rating time", or "!reason" */
} ratings[] = {
	{"userId,movieId,rating,timestamp\n1,2,3.5,4\n", NULL, "1 2 3.5 4"},
	{"USER_ID;Item-Id;Score\nu;i;2\n", NULL, "u i 2 0"},
	{"timestamp\tmovie\tuser\n7\tm\tu\n", NULL, "u m 1 7"},
	{"196\t242\t3\t881250949\n", NULL, "196 242 3 881250949"},
	{"1::1193::5::978300760\n", NULL, "1 1193 5 978300760"},
	{"0\t25\n", NULL, "0 25 1 0"},
	{"a b,c d,1e1,1\n", NULL, "a b c d 10 1"},
	{"x,y\nu,i\n", "user,item", "x y 1 0"},
	{"x,sku,visitor\n1,s,v\n", "user=visitor,item=sku", "v s 1 0"},
	{"9,u,8,i\n", "user=2,item=4", "u i 1 0"},
	{"9,u,8,i\n", "-,user,-,item", "u i 1 0"},
	{"user,item,rating\nu,i,nan\n", NULL, "!a rating that is no finite number"},
	{"user,item,rating\nu,i,inf\n", NULL, "!a rating that is no finite number"},
	{"user,item,rating\nu,i,good\n", NULL, "!a rating that is no finite number"},
	{"user,item,rating\nu,i,\n", NULL, "!a rating that is no finite number"},
	{"user,item,rating\nu,i,1.5.2\n", NULL, "!a rating that is no finite number"},
	{"user,item,rating\nu,i,0x10\n", NULL, "!a rating that is no finite number"},
	{"user,item,rating\nu,i,-0.125\n", NULL, "u i -0.125 0"},
	{"user,item,rating\nu,i,.12345678901234567\n", NULL, "u i 0.123456789 0"},
	{"user,item,rating\nu,i,.1234567890123456\n", NULL, "u i 0.123456789 0"},
	{"user,item,time\nu,i,9223372036854775807\n", NULL, "u i 1 9223372036854775807"},
	{"user,item,time\nu,i,9223372036854775808\n", NULL, "!a time that is no 64-bit integer"},
	{"user,item,time\nu,i,-9223372036854775808\n", NULL, "u i 1 -9223372036854775808"},
	{"user,item,time\nu,i,12.75\n", NULL, "u i 1 12"},
	{"user,item,time\nu,i,2020-01-01\n", NULL, "!a time that is no 64-bit integer"},
	{"user,item\n,i\n", NULL, "!an empty id"},
	{"user,item\nu\n", NULL, "!too few columns"},
	{"user,item\n\xff,i\n", NULL, "!an id that is not UTF-8"},
	{"user,item\n\xc0\xaf,i\n", NULL, "!an id that is not UTF-8"},
	{"user,item\n\xed\xa0\x80,i\n", NULL, "!an id that is not UTF-8"},
	{"user,item\nJos\xc3\xa9,\xf0\x9f\x8e\xac\n", NULL, "Jos\xc3\xa9 \xf0\x9f\x8e\xac 1 0"},
};

static void test_rating_rows(void)
{
	for (size_t r = 0; r < COUNT_OF(ratings); r++) {
		struct csv_reader reader;
		struct ratings_columns columns;
		struct rating_row row;
		struct error error = {0};
		char got[256] = "";
		const char *path = file_of(ratings[r].text, strlen(ratings[r].text));
		CHECK_OK(csv_open(&reader, path, NULL, &error), &error);
		CHECK_OK(ratings_columns_find(&reader, ratings[r].columns, &columns, &error), &error);
		enum csv_verdict verdict = rating_row_next(&reader, &columns, &row, &error);
		if (verdict == CSV_BAD)
			snprintf(got, sizeof got, "!%s", row.reason);
		else if (verdict == CSV_RECORD)
			snprintf(got, sizeof got, "%.*s %.*s %.9g %lld", (int)row.user.length, row.user.text,
			         (int)row.item.length, row.item.text, row.rating, (long long)row.time);
		if (strcmp(got, ratings[r].row) != 0)
			printf("#   row %zu: '%s', expected '%s'\n", r, got, ratings[r].row);
		CHECK_EQUAL_TEXT(got, ratings[r].row);
		csv_release(&reader);
		unlink(path);
	}
}

/* Short decimals have a way of their own, which must give the very bits that strtod gives. */
static void test_ratings_are_exact(void)
{
	static const char *const texts[] = {
		"0.1", "4.35", "2.675", "123456789012345", "0.12345678901234", ".123456789012345", ".1234567890123456",
		"999999999999999", "9007199254740993", "9999999999999999", "0.9999999999999999", "1e22", "1e-7", "-0", "5.",
	};
	for (size_t t = 0; t < COUNT_OF(texts); t++) {
		struct csv_reader reader;
		struct ratings_columns columns;
		struct rating_row row = {.rating = 0};
		struct error error = {0};
		char text[64];
		snprintf(text, sizeof text, "u,i,%s\n", texts[t]);
		const char *path = file_of(text, strlen(text));
		const double expected = strtod(texts[t], NULL);
		CHECK_OK(csv_open(&reader, path, ",", &error), &error);
		CHECK_OK(ratings_columns_find(&reader, "user,item,rating", &columns, &error), &error);
		CHECK(rating_row_next(&reader, &columns, &row, &error) == CSV_RECORD);
		CHECK(memcmp(&row.rating, &expected, sizeof expected) == 0);
		csv_release(&reader);
		unlink(path);
	}
}

/* What is kept of a bad row is the row as it came; peeking changes nothing. */
static void test_raw_bytes_and_peeking(void)
{
	static const char text[] = "\"a\"\"b\",\"c\"\n\"x \"\"y\"\" z\"w,1\r\n2,\"3\n";
	struct csv_reader reader;
	struct error error = {0};
	const char *path = file_of(text, sizeof text - 1);
	CHECK_OK(csv_open(&reader, path, ",", &error), &error);
	for (int peek = 2; peek >= 0; peek--) {
		CHECK((peek ? csv_peek(&reader, &error) : csv_next(&reader, &error)) == CSV_RECORD);
		CHECK(reader.line == 1 && reader.field_count == 2);
		CHECK(reader.fields[0].length == 3 && memcmp(reader.fields[0].text, "a\"b", 3) == 0);
		CHECK(reader.raw.length == 10 && memcmp(reader.raw.text, "\"a\"\"b\",\"c\"", 10) == 0);
	}
	CHECK(csv_next(&reader, &error) == CSV_BAD);
	CHECK(reader.line == 2 && reader.offset == 11);
	CHECK(reader.raw.length == 14 && memcmp(reader.raw.text, "\"x \"\"y\"\" z\"w,1", 14) == 0);
	CHECK(csv_next(&reader, &error) == CSV_BAD);
	CHECK(reader.line == 3 && reader.offset == 27);
	CHECK(reader.raw.length == 4 && memcmp(reader.raw.text, "2,\"3", 4) == 0);
	CHECK(csv_next(&reader, &error) == CSV_END);
	csv_release(&reader);
	unlink(path);
}

static const struct {
	const char *text, *columns;
	int code;
	const char *message;
} refused[] = {
	{"", NULL, CODE_DATA, "empty"},
	{"\n\n", NULL, CODE_DATA, "empty"},
	{"movieId,rating\n1,2\n", NULL, CODE_DATA, "no column for the user"},
	{"userId,rating\n1,2\n", NULL, CODE_DATA, "no column for the item"},
	{"userId,user,item\n1,2,3\n", NULL, CODE_DATA, "two columns for the user"},
	{"justone\n", NULL, CODE_DATA, "1 column"},
	{"name,title,words\nx,y,z\n", NULL, CODE_DATA, "is no number"},
	{"a,b\n", "user=1,thing=2", CODE_USAGE, "'thing' is unknown"},
	{"a,b\n", "user=1,item=c", CODE_DATA, "no column named 'c'"},
	{"a,b\n", "user=1,user=2", CODE_USAGE, "two columns"},
	{"a,b\n", "user=1", CODE_DATA, "no column for the item"},
	{"\"a,b\n", NULL, CODE_DATA, "never closed"},
};

static void test_columns_that_cannot_be_found(void)
{
	for (size_t r = 0; r < COUNT_OF(refused); r++) {
		struct csv_reader reader;
		struct ratings_columns columns;
		struct error error = {0};
		const char *path = file_of(refused[r].text, strlen(refused[r].text));
		CHECK_OK(csv_open(&reader, path, NULL, &error), &error);
		CHECK(ratings_columns_find(&reader, refused[r].columns, &columns, &error) == -1);
		CHECK_EQUAL_U64(error.code, refused[r].code);
		if (!strstr(error.message, refused[r].message))
			printf("#   row %zu: '%s' lacks '%s'\n", r, error.message, refused[r].message);
		CHECK(strstr(error.message, refused[r].message) != NULL);
		csv_release(&reader);
		unlink(path);
	}
}

static void test_unknown_delimiter_is_usage(void)
{
	struct csv_reader reader;
	struct error error = {0};
	CHECK(csv_open(&reader, "/dev/null", "#", &error) == -1);
	CHECK_EQUAL_U64(error.code, CODE_USAGE);
	csv_release(&reader);
}

int main(void)
{
	RUN(test_records);
	RUN(test_lines_and_offsets_of_a_long_file);
	RUN(test_giants_cost_only_themselves);
	RUN(test_rating_rows);
	RUN(test_ratings_are_exact);
	RUN(test_raw_bytes_and_peeking);
	RUN(test_columns_that_cannot_be_found);
	RUN(test_unknown_delimiter_is_usage);
	return check_done();
}
