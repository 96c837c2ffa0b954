/* encode-ids: ratings with any ids → streams of interactions with dense ids, and the maps between the two.
 * The work is encoder.c's. */
#include "compat.h"
#include "encoder.h"
#include "error.h"
#include "options.h"

enum build { BUILD_FIRST, BUILD_ALL };
enum order { ORDER_APPEARANCE, ORDER_SORTED };

struct settings {
	const char *users, *items, *out, *delimiter, *columns;
	int build, order, unknown;
	int64_t max_errors, threads;
	bool update, frozen, strict, quiet;
};

static const struct settings defaults = { .out = ".", .max_errors = -1 };

static const char *const build_names[] = { "first", "all", NULL };
static const char *const order_names[] = { "appearance", "sorted", NULL };
static const char *const unknown_names[] = { "drop", "keep", "error", NULL };

static const struct option_spec options[] = {
	{ 'u', "users", OPTION_TEXT, offsetof(struct settings, users), "FILE", "The map of users (required): written, "
	  "with --update grown, with --frozen only read.", 0, 0, NULL },
	{ 'i', "items", OPTION_TEXT, offsetof(struct settings, items), "FILE", "The map of items (required).", 0, 0,
	  NULL },
	{ 'o', "out", OPTION_TEXT, offsetof(struct settings, out), "DIR", "Folder of the streams: X.csv becomes "
	  "DIR/X.rec. While the maps are built it also holds a nameless spool, of 20 bytes a row at most.", 0, 0, NULL },
	{ 'b', "build", OPTION_CHOICE, offsetof(struct settings, build), NULL, "Which inputs the maps are built from: "
	  "the first (train), or all.", 0, 0, build_names },
	{ 0, "order", OPTION_CHOICE, offsetof(struct settings, order), NULL, "Ids in order of first appearance, or "
	  "sorted: as numbers when all are decimal integers, else by bytes.", 0, 0, order_names },
	{ 0, "unknown", OPTION_CHOICE, offsetof(struct settings, unknown), NULL, "What becomes of rows whose user or "
	  "item is not in the maps, in inputs that do not build them: dropped and counted, kept (the maps grow), "
	  "or an error.", 0, 0, unknown_names },
	{ 0, "update", OPTION_FLAG, offsetof(struct settings, update), NULL, "Grow the maps that exist; no id ever "
	  "changes, and models of the old maps can go on with the new ones.", 0, 0, NULL },
	{ 0, "frozen", OPTION_FLAG, offsetof(struct settings, frozen), NULL, "Use the maps as they are: every input is "
	  "looked up, none builds.", 0, 0, NULL },
	{ 'd', "delimiter", OPTION_TEXT, offsetof(struct settings, delimiter), "TEXT", "One of , ; | :: or tab; found "
	  "from the first lines unless given.", 0, 0, NULL },
	{ 'c', "columns", OPTION_TEXT, offsetof(struct settings, columns), "SPEC", "Where the columns are: "
	  "\"user,item,-,time\" in the order of the file, \"user=3,item=1\", or header names "
	  "\"user=visitor,item=sku\". Found by header or position unless given.", 0, 0, NULL },
	{ 0, "max-errors", OPTION_INT, offsetof(struct settings, max_errors), "N", "Give up (exit 65) when more rows "
	  "than this cannot be read; -1 is no limit.", -1, 9e15, NULL },
	{ 0, "strict", OPTION_FLAG, offsetof(struct settings, strict), NULL, "Give up at the first row that cannot be "
	  "read.", 0, 0, NULL },
	{ 'j', "threads", OPTION_INT, offsetof(struct settings, threads), "N", "Threads; 0: one a processor. Never changes "
	  "a byte.", 0, 1024, NULL },
	{ 'q', "quiet", OPTION_FLAG, offsetof(struct settings, quiet), NULL, "No progress line and no summary.", 0, 0,
	  NULL },
};

/* Paths, and what decides whether there is output but never what is in it. */
static const char *const undescribed[] = { "users", "items", "out", "max-errors", "strict", "threads", "quiet",
                                            NULL };

static const struct tool_spec tool = {
	.name = "encode-ids",
	.summary = "number users and items densely, write ratings as streams of interactions",
	.operands = "FILE...",
	.description =
		"Gives every user and item a dense id and writes each input as a stream of interactions, in the order of "
		"its rows. Inputs are ratings as csvsplit reads and writes them: user, item and optionally rating and "
		"time, with a header or without, .gz or not. Ids may be any strings. Of input - the stream goes to "
		"stdout.\n\n"
		"The maps are built from the first input; ids that only later inputs have are dropped, kept or an error "
		"as --unknown says. The maps' digests stand in the header of every stream, so that tools refuse to mix "
		"streams of different maps.\n\n"
		"Either all outputs appear or none.",
	.examples =
		"encode-ids --users users.ids --items items.ids --out run train.csv valid.csv test.csv\n"
		"  maps of train, and run/train.rec, run/valid.rec, run/test.rec\n"
		"encode-ids --users users.ids --items items.ids --update - <tonight.csv >tonight.rec\n"
		"  new users and items get new ids, old ones keep theirs\n",
	.see_also = "csvsplit(1), decode-ids(1), sample-neg(1), recdump(1)",
	.options = options,
	.option_count = COUNT_OF(options),
	.defaults = &defaults,
	.size = sizeof(struct settings),
	.minimum_operands = 1,
	.maximum_operands = 1000,
};

/* Options that contradict one another. */
static int check(const struct settings *settings, struct error *error)
{
	if (!settings->users || !settings->items)
		return error_set(error, CODE_USAGE, "--%s is missing: expected a file for the map",
		                 settings->users ? "items" : "users");
	if (strcmp(settings->users, settings->items) == 0)
		return error_set(error, CODE_USAGE, "--users and --items are both %s, expected two files", settings->users);
	if (settings->update && settings->frozen)
		return error_set(error, CODE_USAGE, "--update grows the maps, --frozen keeps them: choose one");
	if (settings->order == ORDER_SORTED && (settings->update || settings->frozen))
		return error_set(error, CODE_USAGE, "--order sorted would change ids that --%s keeps",
		                 settings->update ? "update" : "frozen");
	if (settings->frozen && (settings->unknown == UNKNOWN_KEEP || settings->build == BUILD_ALL))
		return error_set(error, CODE_USAGE, "--frozen maps take no new ids: --%s cannot be",
		                 settings->unknown == UNKNOWN_KEEP ? "unknown keep" : "build all");
	return 0;
}

static int run(const struct settings *settings, const struct operands *operands, struct error *error)
{
	char described[512];
	struct encoder encoder;
	options_describe(&tool, settings, undescribed, described, sizeof described);
	const struct encoder_settings how = {
		.users = settings->users,
		.items = settings->items,
		.folder = settings->out,
		.delimiter = settings->delimiter,
		.columns = settings->columns,
		.tool = tool.name,
		.described = described,
		.unknown = (enum encoder_unknown)settings->unknown,
		.build_all = settings->build == BUILD_ALL,
		.sorted = settings->order == ORDER_SORTED,
		.update = settings->update,
		.frozen = settings->frozen,
		.quiet = settings->quiet,
		.threads = (size_t)settings->threads,
		.max_errors = settings->strict ? 0 : settings->max_errors,
	};
	int result = encoder_init(&encoder, &how, operands->items, operands->count, error);
	if (!result)
		result = encoder_run(&encoder, error);
	encoder_release(&encoder);
	return result;
}

int main(int argc, char **argv)
{
	struct error error = { 0 };
	struct settings settings;
	struct operands operands;
	switch (options_parse(&tool, argc, argv, &settings, &operands, &error)) {
	case OPTIONS_DONE:
		return CODE_OK;
	case OPTIONS_FAILED:
		return error_report(&error);
	case OPTIONS_RUN:
		break;
	}
	if (check(&settings, &error) || run(&settings, &operands, &error))
		return error_report(&error);
	return CODE_OK;
}
