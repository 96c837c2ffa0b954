/* decode-ids: streams back to text with the original ids. */
#include "compat.h"
#include "csv.h"
#include "error.h"
#include "idmap.h"
#include "io.h"
#include "mem.h"
#include "options.h"
#include "records.h"

enum format { FORMAT_CSV, FORMAT_TSV };

struct settings {
	const char *users, *items, *output;
	int format;
	bool list, header;
};

static const struct settings defaults = { .output = "-", .header = true };

static const char *const format_names[] = { "csv", "tsv", NULL };

static const struct option_spec options[] = {
	{ 'u', "users", OPTION_TEXT, offsetof(struct settings, users), "FILE", "The map of users.", 0, 0, NULL },
	{ 'i', "items", OPTION_TEXT, offsetof(struct settings, items), "FILE", "The map of items.", 0, 0, NULL },
	{ 'o', "output", OPTION_TEXT, offsetof(struct settings, output), "FILE", "Where the text goes; - is stdout.",
	  0, 0, NULL },
	{ 'f', "format", OPTION_CHOICE, offsetof(struct settings, format), NULL, "Commas or tabs between fields.", 0, 0,
	  format_names },
	{ 0, "header", OPTION_FLAG, offsetof(struct settings, header), NULL, "Write a line of column names first.", 0, 0,
	  NULL },
	{ 'l', "list", OPTION_FLAG, offsetof(struct settings, list), NULL, "Read no stream: print the one map given as "
	  "id, tab, string, without a header.", 0, 0, NULL },
};

static const struct tool_spec tool = {
	.name = "decode-ids",
	.summary = "print streams as text with the original ids",
	.operands = "[FILE]",
	.description =
		"Reads a stream of interactions, samples or lists (stdin without FILE) and writes a row for each "
		"interaction, sampled item or list entry, with users and items named as in the ratings the maps were "
		"built from. The maps must be those of the stream, or have grown from them.\n\n"
		"Columns: user, item, then rating and timestamp where the source had them (interactions); label, 1 for "
		"the positive and 0 for negatives (samples); score where there is one, popularity, relevant (lists). "
		"Fields are quoted as RFC 4180 says.",
	.examples =
		"decode-ids --users users.ids --items items.ids train.rec >train.csv\n"
		"  what encode-ids read\n"
		"score -m model.safetensors lists | decode-ids --users users.ids --items items.ids\n"
		"  scored candidates by name\n"
		"decode-ids --items items.ids --list\n"
		"  the map itself\n",
	.see_also = "encode-ids(1), recdump(1), recommend(1)",
	.options = options,
	.option_count = COUNT_OF(options),
	.defaults = &defaults,
	.size = sizeof(struct settings),
	.maximum_operands = 1,
};

struct decoder {
	const struct settings *settings;
	char delimiter;
	struct idmap users, items;
	struct stream_reader reader;
	struct stream_info info;
	struct output output;
};

/* ---- fields ---- */

static int put_id(struct decoder *decoder, const struct idmap *map, uint32_t id, struct error *error)
{
	size_t length;
	const char *text = idmap_text(map, id, &length);
	return csv_write_field(&decoder->output, text, length, decoder->delimiter, error);
}

/* The fewest digits that read back as the same float. */
static int put_float(struct decoder *decoder, float value, struct error *error)
{
	char text[32];
	for (int digits = 6; digits <= 9; digits++) {
		(void)snprintf(text, sizeof text, "%.*g", digits, (double)value);
		if (strtof(text, NULL) == value)
			break;
	}
	return output_print(&decoder->output, error, "%c%s", decoder->delimiter, text);
}

static int put_number(struct decoder *decoder, int64_t value, struct error *error)
{
	return output_print(&decoder->output, error, "%c%lld", decoder->delimiter, (long long)value);
}

static int put_pair(struct decoder *decoder, uint32_t user, uint32_t item, struct error *error)
{
	return put_id(decoder, &decoder->users, user, error) ||
	       output_write(&decoder->output, &decoder->delimiter, 1, error) ||
	       put_id(decoder, &decoder->items, item, error) ? -1 : 0;
}

static int end_row(struct decoder *decoder, struct error *error)
{
	return output_write(&decoder->output, "\n", 1, error);
}

/* Column names; NULL for a column that is left out. */
static int put_header(struct decoder *decoder, const char *const *names, size_t count, struct error *error)
{
	if (!decoder->settings->header)
		return 0;
	if (output_print(&decoder->output, error, "user%citem", decoder->delimiter))
		return -1;
	for (size_t i = 0; i < count; i++)
		if (names[i] && output_print(&decoder->output, error, "%c%s", decoder->delimiter, names[i]))
			return -1;
	return end_row(decoder, error);
}

/* A flag of the stream's metadata; `otherwise` when it says nothing. */
static bool told(const struct decoder *decoder, const char *name, bool otherwise)
{
	const json_t *value = json_object_get(decoder->reader.metadata, name);
	return json_is_boolean(value) ? json_is_true(value) : otherwise;
}

/* ---- kinds of streams ---- */

static int decode_interactions(struct decoder *decoder, struct error *error)
{
	struct interaction one;
	bool rating = told(decoder, "has_rating", true), time = told(decoder, "has_time", true);
	const char *const names[] = { rating ? "rating" : NULL, time ? "timestamp" : NULL };
	int more = put_header(decoder, names, COUNT_OF(names), error) ? -1 : 1;
	while (more > 0 && (more = interaction_read(&decoder->reader, &decoder->info, &one, error)) > 0)
		if (put_pair(decoder, one.user, one.item, error) ||
		    (rating && put_float(decoder, one.rating, error)) ||
		    (time && put_number(decoder, one.time, error)) || end_row(decoder, error))
			return -1;
	return more;
}

static int decode_samples(struct decoder *decoder, struct error *error)
{
	static const char *const names[] = { "label" };
	struct sample_shape shape;
	if (sample_shape_read(&decoder->reader, &shape, error) || put_header(decoder, names, COUNT_OF(names), error))
		return -1;
	uint32_t user, *items = mem_alloc((size_t)shape.ratio + 1, sizeof *items, error);
	int more = items ? 1 : -1;
	while (more > 0 &&
	       (more = sample_read(&decoder->reader, &decoder->info, shape.ratio, &user, items, error)) > 0)
		for (size_t i = 0; i <= shape.ratio && more > 0; i++)
			if (put_pair(decoder, user, items[i], error) || put_number(decoder, i == 0, error) ||
			    end_row(decoder, error))
				more = -1;
	mem_free(items);
	return more;
}

static int put_list(struct decoder *decoder, const struct list *list, bool scored, struct error *error)
{
	for (uint32_t i = 0; i < list->count; i++)
		if (put_pair(decoder, list->user, list->items[i], error) ||
		    (scored && put_float(decoder, list->scores[i], error)) ||
		    put_number(decoder, list->popularity[i], error) ||
		    put_number(decoder, (list->relevant[i] & LIST_RELEVANT) != 0, error) || end_row(decoder, error))
			return -1;
	return 0;
}

static int decode_lists(struct decoder *decoder, struct error *error)
{
	struct list list = { 0 };
	bool scored = told(decoder, "scored", true);
	const char *const names[] = { scored ? "score" : NULL, "popularity", "relevant" };
	int more = put_header(decoder, names, COUNT_OF(names), error) ? -1 : 1;
	while (more > 0 && (more = list_read(&decoder->reader, &decoder->info, &list, error)) > 0)
		if (put_list(decoder, &list, scored, error))
			more = -1;
	list_release(&list);
	return more;
}

static const struct {
	uint32_t kind;
	int (*decode)(struct decoder *decoder, struct error *error);
} kinds[] = {
	{ STREAM_INTERACTIONS, decode_interactions },
	{ STREAM_SAMPLES, decode_samples },
	{ STREAM_LISTS, decode_lists },
};

/* ---- the run ---- */

/* The map must be the stream's own or one that grew from it. */
static int check_map(const struct decoder *decoder, const char *path, const struct idmap *map,
                     const struct id_space *wanted, struct error *error)
{
	struct id_space space = { 0 };
	int result = idmap_space(map, &space, error);
	bool fits = !wanted->digest[0] ? wanted->count <= space.count : id_space_extends(&space, wanted);
	if (!result && !fits)
		result = error_set(error, CODE_DATA, "%s: not the map of %s, whose %u ids have the digest %s", path,
		                   decoder->reader.input.name, wanted->count, wanted->digest);
	id_space_release(&space);
	return result;
}

static int decode_stream(struct decoder *decoder, const char *path, struct error *error)
{
	const struct settings *settings = decoder->settings;
	if (!settings->users || !settings->items)
		return error_set(error, CODE_USAGE, "--%s is missing: a stream has users and items",
		                 settings->users ? "items" : "users");
	if (idmap_read_as(&decoder->users, settings->users, "users", error) ||
	    idmap_read_as(&decoder->items, settings->items, "items", error) ||
	    stream_reader_open(&decoder->reader, path, 0, error))
		return -1;
	for (size_t i = 0; i < COUNT_OF(kinds); i++) {
		if (kinds[i].kind != decoder->reader.kind)
			continue;
		if (records_info(&decoder->reader, &decoder->info, error) ||
		    check_map(decoder, settings->users, &decoder->users, &decoder->info.users, error) ||
		    check_map(decoder, settings->items, &decoder->items, &decoder->info.items, error))
			return -1;
		return kinds[i].decode(decoder, error);
	}
	return error_set(error, CODE_DATA, "%s: a stream of %s, expected interactions, samples or lists",
	                 decoder->reader.input.name, stream_kind_name(decoder->reader.kind));
}

static int list_map(struct decoder *decoder, size_t operands, struct error *error)
{
	const struct settings *settings = decoder->settings;
	if (operands || !settings->users == !settings->items)
		return error_set(error, CODE_USAGE, "--list prints one map: expected --users or --items and no stream");
	if (idmap_read(&decoder->users, settings->users ? settings->users : settings->items, error))
		return -1;
	decoder->delimiter = '\t';
	for (uint32_t id = 0; id < decoder->users.count; id++)
		if (output_print(&decoder->output, error, "%u\t", id) ||
		    put_id(decoder, &decoder->users, id, error) || end_row(decoder, error))
			return -1;
	return 0;
}

static int run(const struct settings *settings, const struct operands *operands, struct error *error)
{
	struct decoder decoder = {
		.settings = settings, .delimiter = settings->format == FORMAT_TSV ? '\t' : ',', .output.fd = -1,
	};
	const char *path = operands->count ? operands->items[0] : "-";
	int result = output_open(&decoder.output, settings->output, error);
	if (!result)
		result = settings->list ? list_map(&decoder, operands->count, error) : decode_stream(&decoder, path, error);
	if (!result)
		result = output_commit(&decoder.output, error);
	output_release(&decoder.output);
	stream_reader_release(&decoder.reader);
	stream_info_release(&decoder.info);
	idmap_release(&decoder.users);
	idmap_release(&decoder.items);
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
	return run(&settings, &operands, &error) ? error_report(&error) : CODE_OK;
}
