/* recdump: any file of the project, printed or verified. */
#include <inttypes.h>
#include <sys/stat.h>

#include "idmap.h"
#include "io.h"
#include "model.h"
#include "options.h"
#include "records_print.h"

enum { ALL = -1 };

struct options {
	int64_t count;
	bool header, json, verify;
	const char *out;
};

static const struct options defaults = {.count = ALL, .out = "-"};

#define AT(member) offsetof(struct options, member)
static const struct option_spec table[] = {
	{'H', "header", OPTION_FLAG, AT(header), NULL, "Print the header alone.", 0, 0, NULL},
	{'n', "count", OPTION_INT, AT(count), "N", "Print the first N records only; -1: all.", -1, 9e18, NULL},
	{'j', "json", OPTION_FLAG, AT(json), NULL, "Print the header as JSON, nothing else.", 0, 0, NULL},
	{'V', "verify", OPTION_FLAG, AT(verify), NULL,
	 "Read everything, print a line for each file that is whole, and exit with 1 when one is broken.", 0, 0, NULL},
	{'o', "out", OPTION_TEXT, AT(out), "FILE", "Where the text goes.", 0, 0, NULL},
};

static const struct tool_spec tool = {
	.name = "recdump",
	.summary = "print or verify streams, id maps and models",
	.operands = "[FILE]...",
	.description =
		"Prints the header of each file and its records as tab-separated text (stdin when none is named). Ids "
		"are the dense ones; decode-ids gives the original strings. Of a model, the metadata and the tensors' "
		"shapes are printed; models are read from files only, not from pipes.\n\n"
		"A negative that does not exist is printed as -. In the strings of an id map, control characters and "
		"backslashes are printed as \\t, \\n, \\r, \\\\ or \\xHH.\n\n"
		"--verify checks all that can be checked by one file alone: sizes, checksums, totals and the end; that "
		"ids are below the counts that the header gives; digests of id maps and models.",
	.examples =
		"recdump --count 5 train.rec\n  The first five interactions.\n"
		"recdump --verify *.rec model.safetensors\n  Are they whole?",
	.see_also = "decode-ids(1), encode-ids(1), sample-neg(1), train-mlp(1)",
	.options = table,
	.option_count = COUNT_OF(table),
	.defaults = &defaults,
	.size = sizeof defaults,
	.maximum_operands = SIZE_MAX,
};

/* ---- headers ---- */

/* `metadata` is borrowed. */
static int print_header(const char *kind, json_t *metadata, const struct options *o, struct output *output,
                        struct error *error)
{
	json_t *whole = json_pack("{s:s, s:i, s:O}", "kind", kind, "version", STREAM_VERSION, "metadata", metadata);
	const size_t flags = JSON_SORT_KEYS | (o->json ? JSON_INDENT(2) : JSON_COMPACT);
	char *text = whole ? json_dumps(o->json ? whole : metadata, flags) : NULL;
	int result = -1;
	if (!text)
		error_set(error, CODE_SYSTEM, "out of memory for JSON");
	else if (o->json)
		result = output_print(output, error, "%s\n", text);
	else
		result = output_print(output, error, "# %s, version %d\n# %s\n", kind, STREAM_VERSION, text);
	free(text);
	json_decref(whole);
	return result;
}

/* ---- streams ---- */

static int print_records(struct record_source *source, const struct options *o, struct output *output,
                         struct error *error)
{
	if (record_source_prepare(source, error) < 0 || record_source_columns(source, output, error) < 0)
		return -1;
	int more = 1;
	for (int64_t n = 0; more > 0 && (o->count == ALL || n < o->count); n++)
		more = record_source_print(source, output, error);
	return more < 0 ? -1 : 0;
}

static int verify_records(struct record_source *source, struct error *error)
{
	int more = 1;
	if (source->reader.kind == STREAM_IDS) {
		struct idmap map;
		int result = idmap_read_stream(&map, &source->reader, error);
		idmap_release(&map);
		return result;
	}
	if (record_source_prepare(source, error) < 0)
		return -1;
	while (more > 0)
		more = record_source_print(source, NULL, error);
	return more;
}

static int dump_stream(const char *path, const struct options *o, struct output *output, struct error *error)
{
	struct record_source source = {0};
	const struct stream_reader *reader = &source.reader;
	int result = stream_reader_open(&source.reader, path, 0, error);
	if (result == 0 && o->verify) {
		result = verify_records(&source, error);
		if (result == 0)
			result = output_print(output, error, "%s\tOK\t%s\t%" PRIu64 " records\t%" PRIu64 " blocks\tcrc %08x\n",
			                      reader->input.name, stream_kind_name(reader->kind), reader->records,
			                      reader->blocks, reader->content_crc);
	} else if (result == 0) {
		result = print_header(stream_kind_name(reader->kind), reader->metadata, o, output, error);
		if (result == 0 && !o->json && !o->header)
			result = print_records(&source, o, output, error);
	}
	record_source_release(&source);
	return result;
}

/* ---- models ---- */

static int print_tensors(const struct model_file *model, struct output *output, struct error *error)
{
	const struct {
		const char *prefix;
		const struct parameters *set;
	} sets[] = {
		{"", &model->parameters},
		{"adam.m.", &model->moment1},
		{"adam.v.", &model->moment2},
		{"average.", &model->average},
		{"best.", &model->best},
	};
	int result = output_print(output, error, "tensor\trows\tcolumns\n");
	for (size_t s = 0; s < COUNT_OF(sets); s++)
		for (size_t m = 0; result == 0 && m < sets[s].set->count; m++) {
			const struct matrix *matrix = &sets[s].set->matrices[m];
			result = output_print(output, error, "%s%s\t%u\t%u\n", sets[s].prefix, matrix->name, matrix->rows,
			                      matrix->columns);
		}
	return result;
}

static int dump_model(const char *path, const struct options *o, struct output *output, struct error *error)
{
	struct model_file model = {0};
	int result = model_read(&model, path, error);
	const char *kind = model.is_checkpoint ? "checkpoint" : "model";
	if (result == 0 && o->verify) {
		result = output_print(output, error, "%s\tOK\t%s\t%zu tensors\tdigest %s\n", path, kind,
		                      model.parameters.count + model.moment1.count + model.moment2.count +
		                              model.average.count + model.best.count,
		                      json_string_value(json_object_get(model.metadata, "digest")));
	} else if (result == 0) {
		result = print_header(kind, model.metadata, o, output, error);
		if (result == 0 && !o->json && !o->header)
			result = print_tensors(&model, output, error);
	}
	model_file_release(&model);
	return result;
}

/* A model begins with the length of its header, 8 bytes, and a brace; everything else is left to the stream
 * reader to judge. Only files that can be opened twice are tried. */
static bool looks_like_model(const char *path)
{
	struct input input;
	struct error error = {0};
	struct stat status;
	unsigned char head[9];
	if (strcmp(path, "-") == 0 || stat(path, &status) < 0 || !S_ISREG(status.st_mode))
		return false;
	bool is_model = input_open(&input, path, &error) == 0 &&
	                input_read(&input, head, sizeof head, &error) == (ptrdiff_t)sizeof head &&
	                memcmp(head + 3, "\0\0\0\0\0{", 6) == 0;
	input_release(&input);
	return is_model;
}

static int dump(const char *path, const struct options *o, struct output *output, struct error *error)
{
	return looks_like_model(path) ? dump_model(path, o, output, error) : dump_stream(path, o, output, error);
}

/* Verifies every file, also behind a broken one. A file that cannot be read is the worse answer. */
static int verify_all(const struct operands *files, const struct options *o, struct output *output,
                      struct error *error)
{
	size_t broken = 0;
	struct error worst = {0};
	for (size_t i = 0; i < files->count; i++) {
		struct error one = {0};
		if (dump(files->items[i], o, output, &one) == 0)
			continue;
		if (one.code == CODE_DATA) {
			note("%s", one.message);
			broken++;
		} else if (worst.code == CODE_OK) {
			worst = one;
		} else {
			note("%s", one.message);
		}
	}
	if (output_commit(output, error) < 0)
		return -1;
	if (worst.code != CODE_OK)
		*error = worst;
	else if (broken)
		error_set(error, CODE_NO, "%zu of %zu files are broken", broken, files->count);
	return error->code == CODE_OK ? 0 : -1;
}

/* Prints one file after another; what was printed before an error reaches stdout. */
static int dump_all(const struct operands *files, const struct options *o, struct output *output,
                    struct error *error)
{
	int result = 0;
	for (size_t i = 0; result == 0 && i < files->count; i++) {
		if (files->count > 1 && !o->json)
			result = output_print(output, error, "# file %s\n", files->items[i]);
		if (result == 0)
			result = dump(files->items[i], o, output, error);
	}
	if (result == 0 || output->direct) {
		struct error late = {0};
		if (output_commit(output, &late) < 0 && result == 0) {
			*error = late;
			result = -1;
		}
	}
	return result;
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
	int result = 0;
	if (options.verify && (options.header || options.json || options.count != ALL))
		result = error_set(&error, CODE_USAGE, "--verify reads everything: leave out --header, --json and --count");
	if (result == 0)
		result = output_open(&output, options.out, &error);
	if (result == 0)
		result = options.verify ? verify_all(&operands, &options, &output, &error)
		                        : dump_all(&operands, &options, &output, &error);
	output_release(&output);
	return result == 0 ? CODE_OK : error_report(&error);
}
