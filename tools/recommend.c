/* recommend: "what should user 453 watch?": lists in, titles out. */
#include <jansson.h>

#include "catalogue.h"
#include "csv.h"
#include "mem.h"
#include "options.h"
#include "records.h"

enum { GENRES_TEXT = 512 };

struct options {
	const char *users, *items, *movies, *genres, *out;
	struct text_list user;
	int64_t top;
	int format;
};

static const char *const formats[] = {"table", "csv", "jsonl", NULL};
enum { FORMAT_TABLE, FORMAT_CSV, FORMAT_JSONL };
static const struct options defaults = {.top = 10, .out = "-"};

#define AT(member) offsetof(struct options, member)
static const struct option_spec table[] = {
	{0, "users", OPTION_TEXT, AT(users), "FILE", "The id map of users; required.", 0, 0, NULL},
	{'i', "items", OPTION_TEXT, AT(items), "FILE", "The id map of items; required.", 0, 0, NULL},
	{'m', "movies", OPTION_TEXT, AT(movies), "FILE", "Titles and genres (movies.csv, or MovieLens 100K's u.item).", 0,
	 0, NULL},
	{0, "genres", OPTION_TEXT, AT(genres), "FILE", "Names of the genres of u.item (u.genre).", 0, 0, NULL},
	{'u', "user", OPTION_LIST, AT(user), "ID", "Only this user; may be repeated.", 0, 0, NULL},
	{'n', "top", OPTION_INT, AT(top), "N", "Items a user.", 1, 1e9, NULL},
	{'f', "format", OPTION_CHOICE, AT(format), NULL,
	 "A table to read, CSV (userId,rank,movieId,title,genres,score), or one JSON object a user.", 0, 0, formats},
	{'o', "out", OPTION_TEXT, AT(out), "FILE", "Where the recommendations go.", 0, 0, NULL},
};

static const struct tool_spec tool = {
	.name = "recommend",
	.summary = "print lists as titles for people",
	.operands = "[LISTS]",
	.description =
		"Reads a stream of ranked lists (stdin by default) and prints each user's best items with their "
		"original ids, titles and genres. Items without a title are printed without one and counted.",
	.examples =
		"score -m model.safetensors --all-items --known train.rec | recommend --users users.ids "
		"--items items.ids --movies movies.csv --user 453\n"
		"  What should user 453 watch?",
	.see_also = "score(1), rerank(1)",
	.options = table,
	.option_count = COUNT_OF(table),
	.defaults = &defaults,
	.size = sizeof defaults,
	.maximum_operands = 1,
};

/* What the run holds open. */
struct run {
	const struct options *options;
	struct stream_reader reader;
	struct stream_info info;
	struct idmap users, items;
	struct catalogue catalogue;
	bool *wanted;            /* users named, NULL: all */
	size_t missing_titles, printed;
	struct output output;
};

static int check_maps(struct run *run, struct error *error)
{
	struct stream_info maps = {0};
	int result = idmap_space(&run->users, &maps.users, error);
	if (result == 0)
		result = idmap_space(&run->items, &maps.items, error);
	if (result == 0)
		result = records_same_ids("the id maps", &maps, run->reader.input.name, &run->info, error);
	stream_info_release(&maps);
	return result;
}

static int choose_users(struct run *run, struct error *error)
{
	const struct text_list *names = &run->options->user;
	if (names->count == 0)
		return 0;
	run->wanted = mem_alloc_zero(run->users.count, sizeof *run->wanted, error);
	if (!run->wanted)
		return -1;
	for (size_t u = 0; u < names->count; u++) {
		uint32_t user = idmap_find(&run->users, names->items[u], strlen(names->items[u]));
		if (user == (uint32_t)IDMAP_MISSING)
			return error_set(error, CODE_DATA, "user '%s' is not in the id map", names->items[u]);
		run->wanted[user] = true;
	}
	return 0;
}

static int open_inputs(struct run *run, const char *path, struct error *error)
{
	const struct options *o = run->options;
	if (!o->users || !o->items)
		return error_set(error, CODE_USAGE, "--users and --items are required");
	if (stream_reader_open(&run->reader, path, STREAM_LISTS, error) < 0 ||
	    records_info(&run->reader, &run->info, error) < 0 || idmap_read(&run->users, o->users, error) < 0 ||
	    idmap_read(&run->items, o->items, error) < 0 || check_maps(run, error) < 0 || choose_users(run, error) < 0)
		return -1;
	if (o->movies)
		return catalogue_read(&run->catalogue, o->movies, o->genres, &run->items, error);
	return 0;
}

/* ---- one entry, in each format ---- */

struct entry {
	const char *user, *item, *title;
	size_t user_length, item_length;
	char genres[GENRES_TEXT];
	uint32_t rank;
	double score;
};

static void make_entry(struct run *run, const struct list *list, uint32_t at, struct entry *entry)
{
	const uint32_t item = list->items[at];
	*entry = (struct entry){.rank = at + 1, .score = (double)list->scores[at], .title = ""};
	entry->user = idmap_text(&run->users, list->user, &entry->user_length);
	entry->item = idmap_text(&run->items, item, &entry->item_length);
	if (!run->options->movies)
		return;
	if (run->catalogue.titles[item])
		entry->title = run->catalogue.titles[item];
	else
		run->missing_titles++;
	catalogue_genres_text(&run->catalogue, run->catalogue.genres[item], entry->genres, sizeof entry->genres);
}

static int print_table(struct run *run, const struct list *list, uint32_t count, struct error *error)
{
	struct entry entry;
	for (uint32_t i = 0; i < count; i++) {
		make_entry(run, list, i, &entry);
		if (i == 0 && output_print(&run->output, error, "%suser %.*s\n", run->printed ? "\n" : "",
		                           (int)entry.user_length, entry.user) < 0)
			return -1;
		if (output_print(&run->output, error, "%4u  %9.4f  %-10.*s  %s%s%s%s\n", entry.rank, entry.score,
		                 (int)entry.item_length, entry.item, entry.title, entry.genres[0] ? "  (" : "", entry.genres,
		                 entry.genres[0] ? ")" : "") < 0)
			return -1;
	}
	return 0;
}

static int print_csv(struct run *run, const struct list *list, uint32_t count, struct error *error)
{
	struct output *output = &run->output;
	struct entry entry;
	for (uint32_t i = 0; i < count; i++) {
		make_entry(run, list, i, &entry);
		if (csv_write_field(output, entry.user, entry.user_length, ',', error) < 0 ||
		    output_print(output, error, ",%u,", entry.rank) < 0 ||
		    csv_write_field(output, entry.item, entry.item_length, ',', error) < 0 ||
		    output_print(output, error, ",") < 0 ||
		    csv_write_field(output, entry.title, strlen(entry.title), ',', error) < 0 ||
		    output_print(output, error, ",") < 0 ||
		    csv_write_field(output, entry.genres, strlen(entry.genres), ',', error) < 0 ||
		    output_print(output, error, ",%.9g\n", entry.score) < 0)
			return -1;
	}
	return 0;
}

static int print_jsonl(struct run *run, const struct list *list, uint32_t count, struct error *error)
{
	struct entry entry = {0};
	json_t *items = json_array();
	size_t length;
	const char *user = idmap_text(&run->users, list->user, &length);
	for (uint32_t i = 0; i < count; i++) {
		make_entry(run, list, i, &entry);
		json_array_append_new(items, json_pack("{s:i, s:o, s:s, s:s, s:f}", "rank", (int)entry.rank, "movieId",
		                                       json_stringn(entry.item, entry.item_length), "title", entry.title,
		                                       "genres", entry.genres, "score", entry.score));
	}
	json_t *object = json_pack("{s:o, s:o}", "userId", json_stringn(user, length), "items", items);
	char *text = object ? json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
	int result = text ? output_print(&run->output, error, "%s\n", text)
	                  : error_set(error, CODE_DATA, "user '%.*s': a title is not UTF-8", (int)length, user);
	free(text);
	json_decref(object);
	return result;
}

static int print_lists(struct run *run, struct error *error)
{
	static int (*const print[])(struct run *run, const struct list *list, uint32_t count, struct error *error) = {
		[FORMAT_TABLE] = print_table, [FORMAT_CSV] = print_csv, [FORMAT_JSONL] = print_jsonl,
	};
	const struct options *o = run->options;
	struct list list = {0};
	int result = 0;
	if (o->format == FORMAT_CSV)
		result = output_print(&run->output, error, "userId,rank,movieId,title,genres,score\n");
	while (result == 0 && (result = list_read(&run->reader, &run->info, &list, error)) > 0) {
		result = 0;
		if (run->wanted && !run->wanted[list.user])
			continue;
		result = print[o->format](run, &list, list.count < (uint64_t)o->top ? list.count : (uint32_t)o->top, error);
		run->printed++;
		if (run->wanted)
			run->wanted[list.user] = false;
	}
	list_release(&list);
	return result;
}

static void tell_missing(const struct run *run)
{
	if (run->missing_titles)
		note("%zu items have no title", run->missing_titles);
	for (uint32_t user = 0; run->wanted && user < run->users.count; user++) {
		size_t length;
		const char *name = idmap_text(&run->users, user, &length);
		if (run->wanted[user])
			note("there is no list for user '%.*s'", (int)length, name);
	}
}

int main(int argc, char **argv)
{
	struct options options;
	struct operands operands;
	struct error error = {0};
	struct run run = {.options = &options, .output = {.fd = -1}};
	enum options_verdict verdict = options_parse(&tool, argc, argv, &options, &operands, &error);
	if (verdict == OPTIONS_DONE)
		return CODE_OK;
	if (verdict == OPTIONS_FAILED)
		return error_report(&error);
	int result = open_inputs(&run, operands.count ? operands.items[0] : "-", &error);
	if (result == 0)
		result = output_open(&run.output, options.out, &error);
	if (result == 0)
		result = print_lists(&run, &error);
	if (result == 0)
		result = output_commit(&run.output, &error);
	if (result == 0)
		tell_missing(&run);
	stream_reader_release(&run.reader);
	stream_info_release(&run.info);
	idmap_release(&run.users);
	idmap_release(&run.items);
	catalogue_release(&run.catalogue);
	mem_free(run.wanted);
	output_release(&run.output);
	return result == 0 ? CODE_OK : error_report(&error);
}
