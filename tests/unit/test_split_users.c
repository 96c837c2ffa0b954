/* The cut within users against a full sort of every user's rows, by whatever threads; what is written against a plain
 * formatter. Rows come grouped by user or not, with times at both ends of 64 bits, with ties, with rows dropped. */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "check.h"
#include "folder.h"
#include "split.h"

enum { ROWS = 3000, USERS = 150, ITEMS = 80 };

struct row {
	uint32_t user, item;
	int64_t time;
};

static uint64_t draw_state = 1;

static uint32_t draw(uint32_t below)
{
	draw_state = draw_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(((draw_state >> 32) * below) >> 32);
}

static struct row rows[ROWS];

static int by_user(const void *a, const void *b)
{
	const struct row *x = a, *y = b;
	return (x->user > y->user) - (x->user < y->user);
}

/* kind: how far apart times are. */
static void make_rows(int kind, bool grouped)
{
	static const int64_t corners[] = {INT64_MIN, INT64_MIN + 1, -1, 0, 1, INT64_MAX};
	for (uint32_t i = 0; i < ROWS; i++) {
		const int64_t time = kind == 0 ? draw(5) : kind == 1 ? (int64_t)draw(2000000000) : corners[draw(6)];
		rows[i] = (struct row){draw(1 + draw(USERS)), draw(ITEMS), time};
	}
	if (grouped)
		qsort(rows, ROWS, sizeof *rows, by_user);
}

/* What stands around the number of a user, as it goes out. */
struct id_kind {
	const char *before, *behind;
};

static const struct id_kind id_kinds[] = {{"", ""}, {"user ", ""}, {"\"a,\"\"", "\""}, {" ", ""},
                                          {"of-", "-a-longer-name-than-sixteen"}};

static void read_rows(struct ratings *ratings, bool rating, bool time, const struct id_kind *id)
{
	const struct ratings_source source = {.minimum = -INFINITY, .threads = 2};
	struct row_errors errors = {.most = 0};
	struct error error = {0};
	FILE *file = fopen("r.csv", "w");
	if (!file)
		abort();
	fprintf(file, "user,item%s%s\n", rating ? ",rating" : "", time ? ",time" : "");
	for (uint32_t i = 0; i < ROWS; i++) {
		fprintf(file, "%s%u%s,i%u", id->before, rows[i].user + 1, id->behind, rows[i].item);
		if (rating)
			fprintf(file, ",%s", (const char *const[]){"1", "2.50", "3.5", "4.125"}[i % 4]);
		if (time)
			fprintf(file, ",%" PRId64, rows[i].time);
		fputc('\n', file);
	}
	CHECK(fclose(file) == 0);
	CHECK_OK(ratings_read(ratings, "r.csv", &source, &errors, &error), &error);
	CHECK_EQUAL_U64(ratings->count, ROWS);
}

/* ---- the cut ---- */

struct event {
	int64_t time;
	uint64_t key;
	uint32_t row;
};

static int by_time(const void *a, const void *b)
{
	const struct event *x = a, *y = b;
	if (x->time != y->time)
		return x->time < y->time ? -1 : 1;
	if (x->key != y->key)
		return x->key < y->key ? -1 : 1;
	return (x->row > y->row) - (x->row < y->row);
}

static uint64_t hash_of(const char *prefix, uint32_t number, uint64_t seed)
{
	char text[32];
	const int length = snprintf(text, sizeof text, "%s%u", prefix, number);
	return XXH3_64bits_withSeed(text, (size_t)length, seed);
}

/* Sorts all rows of each user whole. */
static void cut_slowly(const struct split_options *o, const bool *dropped, bool timed, uint8_t *part)
{
	static struct event events[ROWS];
	for (uint32_t user = 0; user < USERS; user++) {
		const bool hashed = o->kind == SPLIT_RANDOM || o->ties == TIES_HASH;
		const uint64_t hash = hash_of("", user + 1, o->seed);
		size_t count = 0, test, valid;
		for (uint32_t i = 0; i < ROWS; i++)
			if (rows[i].user == user && !dropped[i])
				events[count++] = (struct event){timed && o->kind != SPLIT_RANDOM ? rows[i].time : 0,
				                                 hashed ? hash_of("i", rows[i].item, hash) : 0, i};
		qsort(events, count, sizeof *events, by_time);
		test = count >= 2;
		valid = o->valid && count >= 3;
		if (o->kind == SPLIT_RATIO && count > 0) { /* the ratio is 3/4 */
			const size_t train = (3 * count + 3) / 4, kept = (3 * train + 3) / 4;
			test = count - train;
			valid = o->valid ? train - kept : 0;
		}
		for (size_t i = 0; i < count; i++)
			part[events[i].row] = i + test >= count ? PART_TEST : i + test + valid >= count ? PART_VALID : PART_TRAIN;
	}
	for (uint32_t i = 0; i < ROWS; i++)
		if (dropped[i])
			part[i] = PART_DROPPED;
}

static void compare_cuts(int kind_of_times, bool grouped, bool timed)
{
	static bool dropped[ROWS];
	static uint8_t expected[ROWS];
	static const size_t threads[] = {1, 2, 3, 8};
	struct ratings ratings = {0};
	make_rows(kind_of_times, grouped);
	read_rows(&ratings, true, timed, &id_kinds[0]);
	for (uint32_t i = 0; i < ROWS; i++)
		dropped[i] = draw(10) == 0;
	for (int kind = SPLIT_LAST; kind <= SPLIT_RATIO; kind++)
		for (int ties = TIES_HASH; ties <= TIES_ORDER; ties++) {
			const struct split_options options = {.kind = kind, .ties = ties, .valid = draw(2), .ratio = 0.75, .seed = 9};
			cut_slowly(&options, dropped, timed, expected);
			for (size_t t = 0; t < COUNT_OF(threads); t++) {
				struct splitter splitter;
				struct error error = {0};
				for (uint32_t i = 0; i < ROWS; i++)
					ratings.part[i] = dropped[i] ? PART_DROPPED : (uint8_t)draw(PARTS);
				CHECK_OK(splitter_init(&splitter, &ratings, threads[t], &error), &error);
				CHECK((splitter.rows.order == NULL) == grouped);
				CHECK_OK(split_cut(&splitter, &options, &error), &error);
				CHECK(memcmp(ratings.part, expected, ROWS) == 0);
				splitter_release(&splitter);
			}
		}
	ratings_release(&ratings);
}

static void test_users_against_a_full_sort(void)
{
	for (int kind = 0; kind < 3; kind++)
		for (int way = 0; way < 4; way++)
			compare_cuts(kind, way & 1, way & 2);
}

/* The error names the first user in the file that has a double, whoever finds another one sooner. */
static void test_doubles_as_an_error(void)
{
	for (uint32_t i = 0; i < ROWS; i++)
		rows[i] = (struct row){i / 5, i % 5, i};
	rows[700].item = rows[702].item;
	rows[1400].item = rows[1401].item;
	for (size_t threads = 1; threads <= 8; threads++) {
		struct ratings ratings = {0};
		struct splitter splitter;
		struct error error = {0};
		read_rows(&ratings, true, true, &id_kinds[0]);
		CHECK_OK(splitter_init(&splitter, &ratings, threads, &error), &error);
		CHECK(split_drop_duplicates(&splitter, DUPLICATES_ERROR, &error) == -1);
		CHECK_EQUAL_U64(error.code, CODE_DATA);
		CHECK(strstr(error.message, "user '141' rates item 'i2' more than once") != NULL);
		splitter_release(&splitter);
		ratings_release(&ratings);
	}
}

/* ---- writing ---- */

/* What the part should be: the lines of r.csv, which has its fields as they go out. */
static void write_slowly(const struct ratings *ratings, enum part part, bool rating, bool time, const char *path)
{
	char line[256];
	FILE *from = fopen("r.csv", "r"), *to = fopen(path, "w");
	if (!from || !to || !fgets(line, sizeof line, from))
		abort();
	fprintf(to, "userId,movieId%s%s\n", rating ? ",rating" : "", time ? ",timestamp" : "");
	for (uint32_t i = 0; i < ROWS && fgets(line, sizeof line, from); i++) {
		if (ratings->part[i] != part)
			continue;
		if (line[0] == ' ') /* a blank at the begin has to be quoted */
			fprintf(to, "\"%.*s\"%s", (int)strcspn(line, ","), line, strchr(line, ','));
		else
			fputs(line, to);
	}
	CHECK(fclose(from) == 0 && fclose(to) == 0);
}

static void check_written(const struct ratings *ratings, bool rating, bool time, bool valid, size_t threads)
{
	struct output outputs[PARTS];
	struct output *parts[PARTS] = {&outputs[0], valid ? &outputs[1] : NULL, &outputs[2]};
	struct error error = {0};
	for (int p = 0; p < PARTS; p++) {
		char name[16];
		(void)snprintf(name, sizeof name, "%d.csv", p);
		if (parts[p])
			CHECK_OK(output_open(parts[p], name, &error), &error);
	}
	CHECK_OK(ratings_write(ratings, parts, threads, &error), &error);
	for (int p = 0; p < PARTS; p++) {
		if (!parts[p])
			continue;
		CHECK_OK(output_commit(parts[p], &error), &error);
		output_release(parts[p]);
		char command[64];
		write_slowly(ratings, (enum part)p, rating, time, "expected.csv");
		(void)snprintf(command, sizeof command, "cmp %d.csv expected.csv", p);
		CHECK(system(command) == 0);
	}
}

static void test_written_as_they_came(void)
{
	make_rows(2, false);
	for (size_t kind = 0; kind < COUNT_OF(id_kinds); kind++)
		for (int columns = 0; columns < 4; columns++) {
			struct ratings ratings = {0};
			read_rows(&ratings, columns & 1, columns & 2, &id_kinds[kind]);
			for (uint32_t i = 0; i < ROWS; i++)
				ratings.part[i] = (uint8_t)draw(PARTS + 1);
			for (size_t threads = 1; threads <= 3; threads++)
				check_written(&ratings, columns & 1, columns & 2, threads > 1, threads);
			ratings_release(&ratings);
		}
}

int main(void)
{
	RUN_IN_FOLDER(test_users_against_a_full_sort);
	RUN_IN_FOLDER(test_doubles_as_an_error);
	RUN_IN_FOLDER(test_written_as_they_came);
	return check_done();
}
