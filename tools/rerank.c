/* rerank: scored lists in, reordered lists out; stages chained in the order given. */
#include "csv.h"
#include "idmap.h"
#include "mem.h"
#include "options.h"
#include "rerank.h"

struct options {
	struct text_list by, known;
	const char *movies, *genres, *items, *blocklist, *out;
	int64_t depth, top, seed;
	double weight, lambda, calibration, tail;
};

static const struct options defaults = {
	.out = "-", .depth = 10, .seed = 1, .weight = 0.3, .lambda = 0.7, .calibration = 0.7, .tail = 0.95,
};

#define AT(member) offsetof(struct options, member)
static const struct option_spec table[] = {
	{'b', "by", OPTION_LIST, AT(by), "STAGE",
	 "none, popularity (the best --depth by the number of users that know them), affinity (the user's own genres), mmr "
	 "(diversity of genres), calibration (as much of each genre as the user knows), tail (as much of popular and rare "
	 "items) or blocklist; may be repeated, applied in this order. Without any the order stays.", 0, 0, NULL},
	{'d', "depth", OPTION_INT, AT(depth), "N",
	 "popularity, mmr, calibration, tail: how many items from the top they reorder.", 1, 100000, NULL},
	{'w', "weight", OPTION_REAL, AT(weight), "X", "affinity: weight of the genres beside the model's score.", 0, 1000,
	 NULL},
	{'l', "lambda", OPTION_REAL, AT(lambda), "X", "mmr: 1 is the model's order, 0 is diversity alone.", 0, 1, NULL},
	{0, "calibration", OPTION_REAL, AT(calibration), "X",
	 "calibration: 0 is the model's order, 1 is the user's mix of genres alone.", 0, 1, NULL},
	{0, "tail", OPTION_REAL, AT(tail), "X",
	 "tail: 0 is the model's order, 1 is the user's mix of popularity alone.", 0, 1, NULL},
	{'m', "movies", OPTION_TEXT, AT(movies), "FILE",
	 "affinity, mmr, calibration: titles and genres (movies.csv or u.item).", 0, 0, NULL},
	{0, "genres", OPTION_TEXT, AT(genres), "FILE", "Names of the genres of u.item (u.genre).", 0, 0, NULL},
	{'i', "items", OPTION_TEXT, AT(items), "FILE", "affinity, mmr, calibration, blocklist: the id map of items.", 0, 0,
	 NULL},
	{'k', "known", OPTION_LIST, AT(known), "FILE",
	 "affinity, calibration, tail: interactions that make what users know.", 0, 0, NULL},
	{0, "blocklist", OPTION_TEXT, AT(blocklist), "FILE", "blocklist: items to take out, an id a line.", 0, 0, NULL},
	{'n', "top", OPTION_INT, AT(top), "N", "Cut each list to its best N; 0: whole.", 0, 1e9, NULL},
	{'s', "seed", OPTION_INT, AT(seed), "N", "Seed of broken ties.", 0, 9e18, NULL},
	{'o', "out", OPTION_TEXT, AT(out), "FILE", "Where the lists go.", 0, 0, NULL},
};

static const struct tool_spec tool = {
	.name = "rerank",
	.summary = "reorder scored lists",
	.operands = "[LISTS]",
	.description =
		"Reads a stream of scored lists (stdin by default) and writes it reordered. popularity and mmr give "
		"ranks for scores, and what they cannot tell apart stays tied.\n\n"
		"Re-sorting by popularity usually lowers NDCG: prove a stage on held-out users before using it "
		"(metrics --compare).",
	.examples =
		"score -m model.safetensors lists.rec | rerank --by popularity | metrics -k 10\n"
		"  The notebook's second stage, measured.\n"
		"rerank --by blocklist --blocklist gone.txt --by mmr --items items.ids --movies movies.csv top.rec\n"
		"  Withdrawn items out, then diverse genres.",
	.see_also = "score(1), metrics(1), recommend(1)",
	.options = table,
	.option_count = COUNT_OF(table),
	.defaults = &defaults,
	.size = sizeof defaults,
	.maximum_operands = 1,
};

/* What the run holds open. */
struct run {
	const struct options *options;
	const struct rerank_stage *stages[OPTION_LIST_MAX];
	struct rerank_context context;
	struct stream_reader reader;
	struct stream_info info;
	struct idmap items;
	struct catalogue catalogue;
	struct interactions known;
	uint8_t *blocked;
	struct output output;
	struct stream_writer writer;
};

static int choose_stages(struct run *run, struct error *error)
{
	const struct options *o = run->options;
	for (size_t s = 0; s < o->by.count; s++) {
		const struct rerank_stage *stage = rerank_find(o->by.items[s]);
		run->stages[s] = stage;
		if (!stage)
			return error_set(error, CODE_USAGE, "--by: '%s' is unknown, expected none, popularity, affinity, mmr, "
			                 "calibration, tail or blocklist", o->by.items[s]);
		if (stage->needs_catalogue && (!o->movies || !o->items))
			return error_set(error, CODE_USAGE, "--by %s needs --movies and --items", stage->name);
		if (stage->needs_known && !o->known.count)
			return error_set(error, CODE_USAGE, "--by %s needs --known", stage->name);
		if (stage->needs_blocklist && (!o->blocklist || !o->items))
			return error_set(error, CODE_USAGE, "--by %s needs --blocklist and --items", stage->name);
	}
	return 0;
}

static int open_lists(struct run *run, const char *path, struct error *error)
{
	if (stream_reader_open(&run->reader, path, STREAM_LISTS, error) < 0 ||
	    records_info(&run->reader, &run->info, error) < 0)
		return -1;
	if (!json_is_true(json_object_get(run->reader.metadata, "scored")))
		return error_set(error, CODE_DATA, "%s: its lists have no scores yet, expected the output of score",
		                 run->reader.input.name);
	return 0;
}

/* The map must be the one that the lists' items are of. */
static int read_items(struct run *run, struct error *error)
{
	struct stream_info of_map = {0}, of_lists = {.items = run->info.items};
	int result = idmap_read(&run->items, run->options->items, error);
	if (result == 0)
		result = idmap_space(&run->items, &of_map.items, error);
	if (result == 0)
		result = records_same_ids(run->options->items, &of_map, run->reader.input.name, &of_lists, error);
	stream_info_release(&of_map);
	return result;
}

static int read_blocklist(struct run *run, struct error *error)
{
	struct csv_reader reader;
	enum csv_verdict verdict = CSV_END;
	size_t unknown = 0;
	run->blocked = mem_alloc_zero(run->info.items.count, 1, error);
	if (!run->blocked)
		return -1;
	int result = csv_open(&reader, run->options->blocklist, "\t", error);
	while (result == 0 && (verdict = csv_next(&reader, error)) == CSV_RECORD) {
		uint32_t item = idmap_find(&run->items, reader.fields[0].text, reader.fields[0].length);
		if (item == (uint32_t)IDMAP_MISSING)
			unknown++;
		else
			run->blocked[item] = 1;
	}
	if (result == 0 && verdict != CSV_END)
		result = error_set(error, CODE_DATA, "%s:%llu: %s", run->options->blocklist,
		                   (unsigned long long)reader.line, reader.bad ? reader.bad : "cannot be read");
	csv_release(&reader);
	if (result == 0 && unknown)
		note("%zu items of the blocklist are not in the id map", unknown);
	return result;
}

static int read_side_files(struct run *run, struct error *error)
{
	const struct options *o = run->options;
	if (o->items && read_items(run, error) < 0)
		return -1;
	if (o->movies && o->items && catalogue_read(&run->catalogue, o->movies, o->genres, &run->items, error) < 0)
		return -1;
	if (interactions_read_known(&run->known, o->known.items, o->known.count, run->reader.input.name, &run->info, NULL,
	                            error) < 0 || (o->blocklist && o->items && read_blocklist(run, error) < 0))
		return -1;
	run->context = (struct rerank_context){
		.depth = (size_t)o->depth, .weight = o->weight, .lambda = o->lambda, .calibration = o->calibration,
		.tail = o->tail, .seed = (uint64_t)o->seed,
		.catalogue = &run->catalogue, .known = &run->known, .blocked = run->blocked,
	};
	return o->known.count ? popularity_levels_make(run->known.popularity, run->known.items, &run->context.levels, error)
	                      : 0;
}

static int open_writer(struct run *run, struct error *error)
{
	static const char *const skip[] = {"movies", "genres", "items", "known", "blocklist", "out", NULL};
	char described[512];
	const json_t *ranking = json_object_get(run->reader.metadata, "ranking");
	options_describe(&tool, run->options, skip, described, sizeof described);
	json_t *metadata = records_metadata(tool.name, described, &run->info, error);
	if (!metadata)
		return -1;
	json_object_set_new(metadata, "scored", json_true());
	json_object_set_new(metadata, "ranking", json_string(json_is_string(ranking) ? json_string_value(ranking)
	                                                                             : "sampled"));
	int result = output_open(&run->output, run->options->out, error);
	if (result == 0)
		result = stream_writer_open(&run->writer, &run->output, STREAM_LISTS, metadata, false, error);
	json_decref(metadata);
	return result;
}

static int rerank_lists(struct run *run, struct error *error)
{
	const struct rerank_stage *none = rerank_find("none");
	const size_t stages = run->options->by.count;
	const uint32_t top = (uint32_t)run->options->top;
	struct list list = {0};
	int result;
	while ((result = list_read(&run->reader, &run->info, &list, error)) > 0) {
		result = stages ? 0 : rerank_apply(&run->context, none, &list, error);
		for (size_t s = 0; result == 0 && s < stages; s++)
			result = rerank_apply(&run->context, run->stages[s], &list, error);
		if (top > 0 && list.count > top)
			list.count = top;
		if (result < 0 || list_write(&run->writer, &list, error) < 0) {
			result = -1;
			break;
		}
	}
	list_release(&list);
	return result;
}

static void release(struct run *run)
{
	rerank_release(&run->context);
	stream_reader_release(&run->reader);
	stream_info_release(&run->info);
	idmap_release(&run->items);
	catalogue_release(&run->catalogue);
	interactions_release(&run->known);
	mem_free(run->blocked);
	stream_writer_release(&run->writer);
	output_release(&run->output);
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
	if (verdict == OPTIONS_FAILED || choose_stages(&run, &error) < 0)
		return error_report(&error);
	int result = open_lists(&run, operands.count ? operands.items[0] : "-", &error);
	if (result == 0)
		result = read_side_files(&run, &error);
	if (result == 0)
		result = open_writer(&run, &error);
	if (result == 0)
		result = rerank_lists(&run, &error);
	if (result == 0)
		result = stream_writer_finish(&run.writer, &error);
	if (result == 0)
		result = output_commit(&run.output, &error);
	release(&run);
	return result == 0 ? CODE_OK : error_report(&error);
}
