/* recdump: any file of the project, printed or verified. */
#include <inttypes.h>

#include "io.h"
#include "model.h"
#include "options.h"
#include "records.h"

enum { STREAM_MAGIC_FIRST = 0x89, DUMP_ALL = -1 };

struct options {
	int64_t count;
	bool header, json, verify;
	const char *out;
};

static const struct options defaults = {.count = DUMP_ALL, .out = "-"};

#define AT(member) offsetof(struct options, member)
static const struct option_spec table[] = {
	{'H', "header", OPTION_FLAG, AT(header), NULL, "Print the header alone.", 0, 0, NULL},
	{'n', "count", OPTION_INT, AT(count), "N", "Print the first N records only; -1: all.", -1, 9e18, NULL},
	{'j', "json", OPTION_FLAG, AT(json), NULL, "Print the header's metadata as JSON, nothing else.", 0, 0, NULL},
	{'V', "verify", OPTION_FLAG, AT(verify), NULL,
	 "Read everything, print a line for each file, and exit with 1 when one is broken.", 0, 0, NULL},
	{'o', "out", OPTION_TEXT, AT(out), "FILE", "Where the text goes.", 0, 0, NULL},
};

static const struct tool_spec tool = {
	.name = "recdump",
	.summary = "print or verify streams, id maps and models",
	.operands = "[FILE]...",
	.description =
		"Prints the header of each file and its records as tab-separated text (stdin when none is named). "
		"Ids are the dense ones; decode-ids gives the original strings. Of a model, the metadata and the "
		"tensors' shapes are printed.",
	.examples =
		"recdump --count 5 train.rec\n  The first five interactions.\n"
		"recdump --verify *.rec model.safetensors\n  Are they whole?",
	.see_also = "decode-ids(1)",
	.options = table,
	.option_count = COUNT_OF(table),
	.defaults = &defaults,
	.size = sizeof defaults,
	.maximum_operands = SIZE_MAX,
};

/* ---- records ---- */

/* Prints the next record (or reads it over when `output` is NULL): 1, 0 at the end, -1. */
typedef int print_record(struct stream_reader *reader, const struct stream_info *info, struct output *output,
                         struct error *error);

static int print_interaction(struct stream_reader *reader, const struct stream_info *info, struct output *output,
                             struct error *error)
{
	struct interaction one;
	int result = interaction_read(reader, info, &one, error);
	if (result > 0 && output && output_print(output, error, "%u\t%u\t%.9g\t%" PRId64 "\n", one.user, one.item,
	                                         (double)one.rating, one.time) < 0)
		return -1;
	return result;
}

static int print_sample(struct stream_reader *reader, const struct stream_info *info, struct output *output,
                        struct error *error)
{
	struct sample_shape shape;
	uint32_t user, items[UINT16_MAX + 1];
	if (sample_shape_read(reader, &shape, error) < 0)
		return -1;
	int result = sample_read(reader, info, shape.ratio, &user, items, error);
	if (result <= 0 || !output)
		return result;
	if (output_print(output, error, "%u", user) < 0)
		return -1;
	for (uint32_t i = 0; i <= shape.ratio; i++) {
		int wrote = items[i] == (uint32_t)NO_ITEM ? output_print(output, error, "\t-")
		                                          : output_print(output, error, "\t%u", items[i]);
		if (wrote < 0)
			return -1;
	}
	return output_print(output, error, "\n") < 0 ? -1 : 1;
}

static int print_list(struct stream_reader *reader, const struct stream_info *info, struct output *output,
                      struct error *error)
{
	struct list list = {0};
	int result = list_read(reader, info, &list, error);
	for (uint32_t i = 0; result > 0 && output && i < list.count; i++)
		if (output_print(output, error, "%u\t%u\t%u\t%.9g\t%u\t%u\n", list.user, i + 1, list.items[i],
		                 (double)list.scores[i], list.popularity[i], list.relevant[i]) < 0)
			result = -1;
	list_release(&list);
	return result;
}

static int print_id(struct stream_reader *reader, const struct stream_info *info, struct output *output,
                    struct error *error)
{
	(void)info;
	int result = stream_next(reader, error);
	if (result <= 0)
		return result;
	const unsigned char *bytes = stream_take(reader, 4, error);
	if (!bytes)
		return -1;
	const uint32_t length = get_u32(bytes);
	bytes = stream_take(reader, length, error);
	if (!bytes)
		return -1;
	if (output && output_print(output, error, "%.*s\n", (int)length, (const char *)bytes) < 0)
		return -1;
	return 1;
}

static const struct {
	print_record *print;
	const char *columns;
	bool has_ids;
} kinds[] = {
	[STREAM_INTERACTIONS] = {print_interaction, "user\titem\trating\ttime", true},
	[STREAM_SAMPLES] = {print_sample, "user\tpositive\tnegatives", true},
	[STREAM_LISTS] = {print_list, "user\trank\titem\tscore\tpopularity\trelevant", true},
	[STREAM_IDS] = {print_id, "string", false},
};

/* ---- streams and models ---- */

static int print_metadata(const json_t *metadata, size_t flags, struct output *output, struct error *error)
{
	char *text = json_dumps(metadata, flags | JSON_SORT_KEYS);
	int result = text ? output_print(output, error, "%s\n", text)
	                  : error_set(error, CODE_SYSTEM, "out of memory for JSON");
	free(text);
	return result;
}

static int dump_records(struct stream_reader *reader, const struct options *o, struct output *output,
                        struct error *error)
{
	struct stream_info info = {0};
	int result = 1;
	if (kinds[reader->kind].has_ids && records_info(reader, &info, error) < 0)
		return -1;
	if (!o->verify)
		result = output_print(output, error, "%s\n", kinds[reader->kind].columns) < 0 ? -1 : 1;
	for (int64_t n = 0; result > 0 && (o->count == DUMP_ALL || n < o->count || o->verify); n++)
		result = kinds[reader->kind].print(reader, &info, o->verify ? NULL : output, error);
	stream_info_release(&info);
	return result < 0 ? -1 : 0;
}

static int dump_stream(const char *path, const struct options *o, struct output *output, struct error *error)
{
	struct stream_reader reader = {0};
	int result = stream_reader_open(&reader, path, 0, error);
	if (result == 0 && o->json)
		result = print_metadata(reader.metadata, JSON_INDENT(2), output, error);
	else if (result == 0 && !o->verify)
		result = output_print(output, error, "# %s: %s, version %d\n# ", reader.input.name,
		                      stream_kind_name(reader.kind), STREAM_VERSION);
	if (result == 0 && !o->json && !o->verify)
		result = print_metadata(reader.metadata, JSON_COMPACT, output, error);
	if (result == 0 && !o->json && !o->header)
		result = dump_records(&reader, o, output, error);
	if (result == 0 && o->verify)
		result = output_print(output, error, "%s\tOK\t%s\t%" PRIu64 " records\t%" PRIu64 " blocks\tcrc %08x\n",
		                      reader.input.name, stream_kind_name(reader.kind), reader.records, reader.blocks,
		                      reader.content_crc);
	stream_reader_release(&reader);
	return result;
}

static int dump_model(const char *path, const struct options *o, struct output *output, struct error *error)
{
	struct model_file model = {0};
	int result = model_read(&model, path, error);
	if (result == 0 && o->verify)
		result = output_print(output, error, "%s\tOK\t%s\t%zu tensors\tdigest %s\n", path,
		                      model.is_checkpoint ? "checkpoint" : "model", model.parameters.count,
		                      json_string_value(json_object_get(model.metadata, "digest")));
	else if (result == 0)
		result = print_metadata(model.metadata, JSON_INDENT(2), output, error);
	for (size_t m = 0; result == 0 && !o->json && !o->header && !o->verify && m < model.parameters.count; m++)
		result = output_print(output, error, "%s\t%u\t%u\n", model.parameters.matrices[m].name,
		                      model.parameters.matrices[m].rows, model.parameters.matrices[m].columns);
	model_file_release(&model);
	return result;
}

/* A model begins with a length and a brace; everything else is left to the stream reader to judge. */
static bool looks_like_model(const char *path)
{
	struct input input;
	struct error error = {0};
	unsigned char head[9];
	if (strcmp(path, "-") == 0)
		return false;
	bool is_model = input_open(&input, path, &error) == 0 &&
	                input_read(&input, head, sizeof head, &error) == (ptrdiff_t)sizeof head &&
	                head[0] != STREAM_MAGIC_FIRST && head[8] == '{';
	input_release(&input);
	return is_model;
}

static int dump(const char *path, const struct options *o, struct output *output, struct error *error)
{
	return looks_like_model(path) ? dump_model(path, o, output, error) : dump_stream(path, o, output, error);
}

/* Verifies all files, also behind a broken one; the last word is the exit code 1. */
static int verify_all(char *const *paths, size_t count, const struct options *o, struct output *output,
                      struct error *error)
{
	size_t broken = 0;
	for (size_t i = 0; i < count; i++) {
		struct error one = {0};
		if (dump(paths[i], o, output, &one) == 0)
			continue;
		if (one.code != CODE_DATA) {
			*error = one;
			return -1;
		}
		note("%s", one.message);
		broken++;
	}
	if (output_commit(output, error) < 0)
		return -1;
	return broken ? error_set(error, CODE_NO, "%zu of %zu files are broken", broken, count) : 0;
}

int main(int argc, char **argv)
{
	static char standard_input[] = "-";
	char *only[] = {standard_input};
	struct options options;
	struct operands operands;
	struct error error = {0};
	struct output output = {.fd = -1};
	enum options_verdict verdict = options_parse(&tool, argc, argv, &options, &operands, &error);
	if (verdict == OPTIONS_DONE)
		return CODE_OK;
	if (verdict == OPTIONS_FAILED)
		return error_report(&error);
	if (operands.count == 0)
		operands = (struct operands){.items = only, .count = 1};
	int result = output_open(&output, options.out, &error);
	if (result == 0 && options.verify) {
		result = verify_all(operands.items, operands.count, &options, &output, &error);
	} else {
		for (size_t i = 0; result == 0 && i < operands.count; i++)
			result = dump(operands.items[i], &options, &output, &error);
		if (result == 0)
			result = output_commit(&output, &error);
	}
	output_release(&output);
	return result == 0 ? CODE_OK : error_report(&error);
}
