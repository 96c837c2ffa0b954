/* csvsplit: raw ratings in, train.csv, valid.csv and test.csv out, or their records. */
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <time.h>

#include "options.h"
#include "split.h"

/* What is written, in the order in which it takes its names; the parts as in enum part. */
enum file { FILE_USERS = PARTS, FILE_ITEMS, FILE_REJECTS, FILE_SUMMARY, FILES };

struct options {
	const char *delimiter, *columns, *folder, *names[FILES], *cut;
	double minimum, ratio, test_share;
	int64_t core, least_user, least_item, seed, max_errors, shown, threads;
	int duplicates, split, ties;
	bool valid, records, strict, quiet;
};

static const char *const duplicates_choices[] = {"last", "first", "error", NULL};
static const char *const split_choices[] = {"last", "random", "ratio", "time", "users", NULL};
static const char *const ties_choices[] = {"hash", "order", NULL};
/* In the folder, as text and as records; NULL: only where an option names one. */
static const char *const file_names[FILES][2] = {
	{"train.csv", "train.rec"}, {"valid.csv", "valid.rec"}, {"test.csv", "test.rec"},
	[FILE_USERS] = {NULL, "users.ids"}, [FILE_ITEMS] = {NULL, "items.ids"},
};
static const struct options defaults = {
	.folder = ".", .minimum = -INFINITY, .ratio = 0.8, .test_share = 0.1, .core = 1, .least_user = 1,
	.least_item = 1, .seed = 1, .max_errors = 1000, .shown = 5, .valid = true,
};

#define AT(member) offsetof(struct options, member)
static const struct option_spec table[] = {
	{'O', "out", OPTION_TEXT, AT(folder), "FOLDER", "Where train.csv, valid.csv and test.csv go, or what --records writes.",
	 0, 0, NULL},
	{0, "train", OPTION_TEXT, AT(names[PART_TRAIN]), "FILE", "Another file for the training part.", 0, 0, NULL},
	{0, "valid", OPTION_TEXT, AT(names[PART_VALID]), "FILE", "Another file for the validation part.", 0, 0, NULL},
	{0, "test", OPTION_TEXT, AT(names[PART_TEST]), "FILE", "Another file for the test part.", 0, 0, NULL},
	{0, "records", OPTION_FLAG, AT(records), NULL,
	 "Instead of text write what encode-ids would make of it without options, the same bytes but sooner: "
	 "train.rec, valid.rec and test.rec, users.ids and items.ids.", 0, 0, NULL},
	{'u', "users", OPTION_TEXT, AT(names[FILE_USERS]), "FILE", "--records: another file for the map of users.", 0, 0,
	 NULL},
	{'i', "items", OPTION_TEXT, AT(names[FILE_ITEMS]), "FILE", "--records: another file for the map of items.", 0, 0,
	 NULL},
	{'s', "split", OPTION_CHOICE, AT(split), NULL,
	 "last: each user's last rating in time is the test, the one before it the validation. random: the same in a "
	 "random order. ratio: each user's first --ratio in time train, the rest test. time: everything later than one "
	 "moment tests. users: a share of the users is held out whole.", 0, 0, split_choices},
	{0, "validation", OPTION_FLAG, AT(valid), NULL, "Cut a validation part off the training part in the same way.", 0,
	 0, NULL},
	{'r', "ratio", OPTION_REAL, AT(ratio), "X", "--split ratio: the share that trains.", 0.000001, 1, NULL},
	{0, "test-share", OPTION_REAL, AT(test_share), "X",
	 "--split time and users: the share of ratings, or of users, that tests.", 0.000001, 0.999999, NULL},
	{0, "cut", OPTION_TEXT, AT(cut), "TIME", "--split time: ratings later than this (seconds since 1970) test.", 0, 0,
	 NULL},
	{0, "ties", OPTION_CHOICE, AT(ties), NULL,
	 "Equal times go by a keyed hash of the user's and the item's id, or by their order in the file; never by the "
	 "number of the item.", 0, 0, ties_choices},
	{'m', "min-rating", OPTION_REAL, AT(minimum), "X", "Leave out ratings below X (implicit feedback).", 0, 0, NULL},
	{0, "duplicates", OPTION_CHOICE, AT(duplicates), NULL,
	 "Of a user's repeated ratings of an item keep the last in time (then in the file), the first, or end with an "
	 "error.", 0, 0, duplicates_choices},
	{'k', "k-core", OPTION_INT, AT(core), "N",
	 "Drop users and items with fewer than N ratings until none is left.", 1, 1e9, NULL},
	{0, "min-item", OPTION_INT, AT(least_item), "N", "Drop items with fewer than N ratings, once.", 1, 1e9, NULL},
	{0, "min-user", OPTION_INT, AT(least_user), "N", "Then drop users with fewer than N ratings, once.", 1, 1e9, NULL},
	{'d', "delimiter", OPTION_TEXT, AT(delimiter), "D",
	 "The delimiter: , ; | :: or \\t. Found from the first lines when not given.", 0, 0, NULL},
	{'c', "columns", OPTION_TEXT, AT(columns), "SPEC",
	 "Where the columns are: user,item,rating,time in the file's order (- for one of no use), or by number or header "
	 "name: user=3,item=sku.", 0, 0, NULL},
	{0, "rejects", OPTION_TEXT, AT(names[FILE_REJECTS]), "FILE",
	 "Keep every row that cannot be read: line, byte offset, reason, row.", 0, 0, NULL},
	{0, "max-errors", OPTION_INT, AT(max_errors), "N", "Rows that may be unreadable; -1: any number.", -1, 9e18, NULL},
	{0, "strict", OPTION_FLAG, AT(strict), NULL, "The first row that cannot be read is an error.", 0, 0, NULL},
	{0, "show-errors", OPTION_INT, AT(shown), "N", "How many such rows are told; -1: all.", -1, 9e18, NULL},
	{0, "summary", OPTION_TEXT, AT(names[FILE_SUMMARY]), "FILE",
	 "Write the summary as JSON. Its cuts are 0 but for --split time, its times where there are none.", 0, 0, NULL},
	{0, "seed", OPTION_INT, AT(seed), "N", "Seed of random splits and broken ties.", 0, 9e18, NULL},
	{'j', "threads", OPTION_INT, AT(threads), "N", "Threads; 0: one a processor. Never changes a byte.", 0, 1024, NULL},
	{'q', "quiet", OPTION_FLAG, AT(quiet), NULL, "No summary on stderr.", 0, 0, NULL},
};

static const struct tool_spec tool = {
	.name = "csvsplit",
	.summary = "split raw ratings into train, validation and test",
	.operands = "[RATINGS]",
	.description =
		"Reads ratings as delimited text (stdin by default; .gz as well): a user, an item and, where there "
		"are any, a rating and a time. The columns are found by the header's names (userId,movieId,rating,"
		"timestamp and their usual synonyms) or, without a header, by position. Ids are any strings.\n\n"
		"Ratings keep their order and, but for --records, their text. A user with a single rating stays in the training part. "
		"Either all files are written or none.",
	.examples =
		"csvsplit ratings.csv\n"
		"  Leave one out by time, with validation.\n"
		"csvsplit --split random --no-validation --min-rating 4 --out parts ratings.csv.gz\n"
		"  Implicit feedback, one random item of each user held out.\n"
		"csvsplit --records --out run ratings.csv\n"
		"  From ratings to streams and maps, with no text in between.",
	.see_also = "encode-ids(1), sample-neg(1), recdump(1)",
	.options = table,
	.option_count = COUNT_OF(table),
	.defaults = &defaults,
	.size = sizeof defaults,
	.maximum_operands = 1,
};

/* ---- options that do not go together ---- */

#define BIT(kind) (1u << (kind))

/* Options that only some splits take: given with another one, they would change nothing, silently. */
static const struct {
	const char *name;
	unsigned splits;
} bound[] = {
	{"ratio", BIT(SPLIT_RATIO)},
	{"cut", BIT(SPLIT_TIME)},
	{"test-share", BIT(SPLIT_TIME) | BIT(SPLIT_USERS)},
};

/* The path of a file, "" when it is not written. */
static int file_path(const struct options *o, int file, char path[PATH_MAX], struct error *error)
{
	const bool here = strcmp(o->folder, ".") == 0;
	const char *usual = file_names[file][o->records];
	int length = 0;
	path[0] = '\0';
	if (file == PART_VALID && !o->valid)
		return 0;
	if (o->names[file])
		length = snprintf(path, PATH_MAX, "%s", o->names[file]);
	else if (usual)
		length = snprintf(path, PATH_MAX, "%s%s%s", here ? "" : o->folder, here ? "" : "/", usual);
	if (length >= PATH_MAX)
		return error_set(error, CODE_CANNOT_CREATE, "the path of %s is too long", usual ? usual : "an output");
	return 0;
}

static int check_options(const struct options *o, const struct operands *operands, struct error *error)
{
	for (size_t b = 0; b < COUNT_OF(bound); b++)
		if (option_given(&tool, operands, bound[b].name) && !(bound[b].splits & BIT(o->split)))
			return error_set(error, CODE_USAGE, "--%s does nothing with --split %s", bound[b].name,
			                 split_choices[o->split]);
	if (o->names[PART_VALID] && !o->valid)
		return error_set(error, CODE_USAGE, "--valid and --no-validation contradict each other");
	if (!o->records && (o->names[FILE_USERS] || o->names[FILE_ITEMS]))
		return error_set(error, CODE_USAGE, "--%s does nothing without --records",
		                 o->names[FILE_USERS] ? "users" : "items");
	char paths[FILES][PATH_MAX];
	for (int a = 0; a < FILES; a++) {
		if (file_path(o, a, paths[a], error) < 0)
			return -1;
		for (int b = 0; b < a; b++)
			if (paths[a][0] && strcmp(paths[a], paths[b]) == 0 && strcmp(paths[a], "/dev/null") != 0)
				return error_set(error, CODE_USAGE, "'%s' is to be two outputs at once", paths[a]);
	}
	return 0;
}

/* What the run holds open. */
struct run {
	const struct options *options;
	const char *path;
	struct ratings ratings;
	struct splitter splitter;
	struct split_counts counts;
	struct row_errors errors;
	struct ratings_streams streams; /* --records: what was left out */
	struct output files[FILES];
};

static int read_ratings(struct run *run, struct error *error)
{
	const struct options *o = run->options;
	run->errors = (struct row_errors){.most = o->strict ? 0 : o->max_errors, .shown = o->shown};
	if (o->names[FILE_REJECTS]) {
		if (output_open(&run->files[FILE_REJECTS], o->names[FILE_REJECTS], error) < 0 ||
		    output_print(&run->files[FILE_REJECTS], error, "line\toffset\treason\trow\n") < 0)
			return -1;
		run->errors.rejects = &run->files[FILE_REJECTS];
	}
	const struct ratings_source source = {.delimiter = o->delimiter, .columns = o->columns, .minimum = o->minimum,
	                                      .threads = (size_t)o->threads};
	return ratings_read(&run->ratings, run->path, &source, &run->errors, error);
}

static int split(struct run *run, struct error *error)
{
	const struct options *o = run->options;
	struct split_options options = {
		.kind = o->split, .valid = o->valid, .ratio = o->ratio, .test_share = o->test_share,
		.has_cut = o->cut != NULL, .ties = o->ties, .seed = (uint64_t)o->seed,
	};
	if (o->cut && parse_int("--cut", o->cut, INT64_MIN, INT64_MAX, &options.cut, error) < 0)
		return -1;
	if (splitter_init(&run->splitter, &run->ratings, (size_t)o->threads, error) < 0 ||
	    split_drop_duplicates(&run->splitter, o->duplicates, error) < 0 ||
	    split_filter(&run->splitter, (uint32_t)o->least_user, (uint32_t)o->least_item, (uint32_t)o->core, error) < 0 ||
	    split_cut(&run->splitter, &options, error) < 0)
		return -1;
	run->counts = run->splitter.counts;
	splitter_release(&run->splitter); /* its memory, before texts are written */
	return 0;
}

static int write_parts(struct run *run, struct error *error)
{
	const struct options *o = run->options;
	struct output *outputs[FILES] = {NULL};
	for (int f = 0; f <= FILE_ITEMS; f++) {
		char path[PATH_MAX];
		if (file_path(o, f, path, error) < 0)
			return -1;
		if (!path[0])
			continue;
		outputs[f] = &run->files[f];
		if (output_open(outputs[f], path, error) < 0)
			return -1;
	}
	if (!o->records)
		return ratings_write(&run->ratings, outputs, (size_t)o->threads, error);
	run->streams = (struct ratings_streams){.parts = {outputs[PART_TRAIN], outputs[PART_VALID], outputs[PART_TEST]},
	                                        .users = outputs[FILE_USERS], .items = outputs[FILE_ITEMS]};
	return ratings_write_records(&run->ratings, &run->streams, (size_t)o->threads, error);
}

/* ---- the summary ---- */

static void date(int64_t seconds, char text[32])
{
	const time_t moment = (time_t)seconds;
	struct tm parts;
	if (!gmtime_r(&moment, &parts) || strftime(text, 32, "%Y-%m-%d", &parts) == 0)
		snprintf(text, 32, "?");
}

static double density(const struct run *run)
{
	const struct split_counts *c = &run->counts;
	const uint64_t kept = c->parts[PART_TRAIN] + c->parts[PART_VALID] + c->parts[PART_TEST];
	return (double)kept / ((double)c->users * (double)c->items);
}

/* What encode-ids would tell of the same rows. */
static void tell_unknown(const struct run *run)
{
	const struct ratings_streams *s = &run->streams;
	struct error error;
	char path[PATH_MAX];
	for (int p = 0; p < PARTS; p++)
		if (s->unknown_rows[p] && file_path(run->options, p, path, &error) == 0)
			note("%s: %" PRIu64 " of %" PRIu64 " rows dropped: %" PRIu64 " with a user, %" PRIu64
			     " with an item that is not in the maps", path, s->unknown_rows[p], run->counts.parts[p],
			     s->unknown_users[p], s->unknown_items[p]);
}

static void tell(const struct run *run)
{
	const struct split_counts *c = &run->counts;
	char from[32], to[32];
	note("%" PRIu64 " rows, %" PRIu64 " unreadable, %" PRIu64 " below the least rating, %" PRIu64 " doubled, %" PRIu64
	     " filtered", run->ratings.rows, run->errors.count, run->ratings.below_minimum, c->doubled, c->filtered);
	note("%u users, %u items, density %.4f%%", c->users, c->items, 100 * density(run));
	if (run->ratings.has_time) {
		date(run->ratings.earliest, from);
		date(run->ratings.latest, to);
		note("from %s to %s (%" PRId64 " to %" PRId64 ")", from, to, run->ratings.earliest, run->ratings.latest);
	} else if (run->options->split == SPLIT_LAST || run->options->split == SPLIT_RATIO) {
		note("there are no times: the order within a user is %s", ties_choices[run->options->ties]);
	}
	if (run->options->split == SPLIT_TIME)
		note("the test is later than %" PRId64, c->cut);
	if (run->options->split == SPLIT_TIME && run->options->valid)
		note("the validation is later than %" PRId64, c->valid_cut);
	note("train %" PRIu64 ", valid %" PRIu64 ", test %" PRIu64, c->parts[PART_TRAIN], c->parts[PART_VALID],
	     c->parts[PART_TEST]);
	if (c->without_test)
		note("%u users have too few ratings to be tested", c->without_test);
	if (c->without_valid)
		note("%u users have too few ratings to be validated", c->without_valid);
}

static int write_summary(struct run *run, struct error *error)
{
	const struct split_counts *c = &run->counts;
	struct output *summary = &run->files[FILE_SUMMARY];
	if (!run->options->names[FILE_SUMMARY])
		return 0;
	if (output_open(summary, run->options->names[FILE_SUMMARY], error) < 0)
		return -1;
	return output_print(summary, error,
	                    "{\n  \"rows\": %" PRIu64 ",\n  \"unreadable\": %" PRIu64 ",\n  \"below_minimum\": %" PRIu64
	                    ",\n  \"doubled\": %" PRIu64 ",\n  \"filtered\": %" PRIu64 ",\n  \"users\": %u,\n"
	                    "  \"items\": %u,\n  \"density\": %.9f,\n  \"earliest\": %" PRId64 ",\n  \"latest\": %" PRId64
	                    ",\n  \"cut\": %" PRId64 ",\n  \"valid_cut\": %" PRId64
	                    ",\n  \"train\": %" PRIu64 ",\n  \"valid\": %" PRIu64 ",\n  \"test\": %" PRIu64
	                    ",\n  \"users_without_test\": %u,\n  \"users_without_valid\": %u\n}\n",
	                    run->ratings.rows, run->errors.count, run->ratings.below_minimum, c->doubled, c->filtered,
	                    c->users, c->items, density(run),
	                    run->ratings.earliest, run->ratings.latest, c->cut, c->valid_cut, c->parts[PART_TRAIN],
	                    c->parts[PART_VALID], c->parts[PART_TEST], c->without_test, c->without_valid);
}

/* Everything is on disk before the first file takes its name. */
static int publish(struct run *run, struct error *error)
{
	for (int pass = 0; pass < 2; pass++)
		for (int f = 0; f < FILES; f++)
			if (run->files[f].fd >= 0 && (pass == 0 ? output_prepare(&run->files[f], error)
			                                        : output_commit(&run->files[f], error)) < 0)
				return -1;
	return 0;
}

static void release(struct run *run)
{
	splitter_release(&run->splitter);
	ratings_release(&run->ratings);
	for (int f = 0; f < FILES; f++)
		output_release(&run->files[f]);
}

int main(int argc, char **argv)
{
	struct options options;
	struct operands operands;
	struct error error = {0};
	struct run run = {.options = &options, .path = "-"};
	for (int f = 0; f < FILES; f++)
		run.files[f].fd = -1;
	enum options_verdict verdict = options_parse(&tool, argc, argv, &options, &operands, &error);
	if (verdict == OPTIONS_DONE)
		return CODE_OK;
	if (verdict == OPTIONS_FAILED)
		return error_report(&error);
	if (operands.count)
		run.path = operands.items[0];
	int result = check_options(&options, &operands, &error);
	if (result == 0)
		result = read_ratings(&run, &error);
	if (result == 0)
		result = split(&run, &error);
	if (result == 0)
		result = write_parts(&run, &error);
	if (result == 0)
		result = write_summary(&run, &error);
	if (result == 0)
		result = publish(&run, &error);
	if (result == 0)
		tell_unknown(&run);
	if (result == 0 && !options.quiet)
		tell(&run);
	release(&run);
	return result == 0 ? CODE_OK : error_report(&error);
}
