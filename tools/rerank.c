/* rerank: scored lists in, reordered lists out; stages chained in the order given, one of them fitted by --fit. */
#include "csv.h"
#include "idmap.h"
#include "list_streams.h"
#include "mem.h"
#include "options.h"
#include "parallel.h"
#include "rerank.h"

struct options {
	struct text_list by, known, with, similarity;
	const char *movies, *genres, *items, *blocklist, *blend, *fit, *isa, *out;
	int64_t depth, top, seed, threads;
	double weight, lambda, calibration, tail, l2;
};

static const struct options defaults = {
	.isa = "auto", .out = "-", .depth = 10, .seed = 1, .weight = 0.3, .lambda = 0.7, .calibration = 0.7, .tail = 0.95,
};

#define AT(member) offsetof(struct options, member)
static const struct option_spec table[] = {
	{'b', "by", OPTION_LIST, AT(by), "STAGE",
	 "none, popularity (the best --depth by the number of users that know them), similarity (what the user's history "
	 "says by item-to-item weights), blend (a fitted sum of signals), affinity (the user's own genres), mmr (diversity "
	 "of genres), calibration (as much of each genre as the user knows), tail (as much of popular and rare items) or "
	 "blocklist; may be repeated, applied in this order. Without any the order stays.", 0, 0, NULL},
	{'d', "depth", OPTION_INT, AT(depth), "N",
	 "popularity, mmr, calibration, tail: how many items from the top they reorder.", 1, 100000, NULL},
	{'w', "weight", OPTION_REAL, AT(weight), "X",
	 "affinity, similarity: their weight beside the model's score, both standardised.", 0, 1000, NULL},
	{'l', "lambda", OPTION_REAL, AT(lambda), "X", "mmr: 1 is the model's order, 0 is diversity alone.", 0, 1, NULL},
	{0, "calibration", OPTION_REAL, AT(calibration), "X",
	 "calibration: 0 is the model's order, 1 is the user's mix of genres alone.", 0, 1, NULL},
	{0, "tail", OPTION_REAL, AT(tail), "X",
	 "tail: 0 is the model's order, 1 is the user's mix of popularity alone.", 0, 1, NULL},
	{0, "blend", OPTION_TEXT, AT(blend), "FILE", "blend: the fitted weights, from --fit.", 0, 0, NULL},
	{0, "fit", OPTION_TEXT, AT(fit), "FILE",
	 "Write no lists: fit a blend of all signals there are on these lists, whose truth is marked, and write it here "
	 "(JSON).", 0, 0, NULL},
	{0, "l2", OPTION_REAL, AT(l2), "X",
	 "--fit: penalty on squares of weights; 0: the one of 0.1 to 300 that is best on lists left out.", 0, 1e9, NULL},
	{0, "with", OPTION_LIST, AT(with), "NAME=LISTS",
	 "blend: the same lists scored by another model, a signal of this name; may be repeated.", 0, 0, NULL},
	{'S', "similarity", OPTION_LIST, AT(similarity), "[NAME=]FILE",
	 "similarity, blend: item-to-item weights (from item-sim); may be repeated under different names for a blend, "
	 "similarity goes by the first.", 0, 0, NULL},
	{'m', "movies", OPTION_TEXT, AT(movies), "FILE",
	 "affinity, mmr, calibration, blend: titles and genres (movies.csv or u.item).", 0, 0, NULL},
	{0, "genres", OPTION_TEXT, AT(genres), "FILE", "Names of the genres of u.item (u.genre).", 0, 0, NULL},
	{'i', "items", OPTION_TEXT, AT(items), "FILE", "The id map of items, for --movies and --blocklist.", 0, 0, NULL},
	{'k', "known", OPTION_LIST, AT(known), "FILE",
	 "affinity, calibration, tail, similarity, blend: interactions that make what users know; may be repeated.", 0, 0,
	 NULL},
	{0, "blocklist", OPTION_TEXT, AT(blocklist), "FILE", "blocklist: items to take out, an id a line.", 0, 0, NULL},
	{'n', "top", OPTION_INT, AT(top), "N", "Cut each list to its best N; 0: whole.", 0, 1e9, NULL},
	{'s', "seed", OPTION_INT, AT(seed), "N", "Seed of broken ties, and of the folds of --fit.", 0, 9e18, NULL},
	{'j', "threads", OPTION_INT, AT(threads), "N", "Threads; 0: one a processor. Never changes a byte.", 0, 1024, NULL},
	{0, "isa", OPTION_TEXT, AT(isa), "NAME",
	 "Instruction set: auto, avx512, avx2 or portable. Never changes a byte.", 0, 0, NULL},
	{'o', "out", OPTION_TEXT, AT(out), "FILE", "Where the lists go.", 0, 0, NULL},
};

static const struct tool_spec tool = {
	.name = "rerank",
	.summary = "reorder scored lists",
	.operands = "[LISTS]",
	.description =
		"Reads a stream of scored lists (stdin by default) and writes it reordered. popularity and mmr give "
		"ranks for scores, and what they cannot tell apart stays tied.\n\n"
		"A blend weighs signals: the lists' score, that of the same lists by other models (--with), item-to-item "
		"weights against the user's history (--similarity), popularity, recency, and the user's liking for the item's "
		"genres and year (--movies). --fit finds the weights on a validation part, so that the truth is likeliest among "
		"its candidates; --by blend applies them, given sources of the same names made of whatever is known then.\n\n"
		"Re-sorting by popularity usually lowers NDCG: prove a stage on held-out users before using it "
		"(metrics --compare).",
	.examples =
		"score -m model.safetensors lists.rec | rerank --by popularity | metrics -k 10\n"
		"  The notebook's second stage, measured.\n"
		"rerank --fit blend.json --similarity ease=ease.train.rec --known train.rec valid-lists.rec\n"
		"  Weights for the model's score, EASE's and popularity, fitted on the validation part.\n"
		"rerank --by blend --blend blend.json --similarity ease=ease.rec --known fit.rec lists.rec | metrics\n"
		"  The same, applied after training on everything.\n"
		"rerank --by blocklist --blocklist gone.txt --by mmr --items items.ids --movies movies.csv top.rec\n"
		"  Withdrawn items out, then diverse genres.",
	.see_also = "score(1), item-sim(1), metrics(1), recommend(1)",
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
	struct list_streams streams;         /* the lists, then those of --with */
	struct pool *pool;
	struct rerank_context context;       /* what all threads share */
	struct rerank_context *contexts;     /* [thread] with rooms of their own */
	struct idmap items;
	struct catalogue catalogue;
	struct histories histories;
	struct similarity similarities[SIGNAL_SOURCES_MAX];
	struct signal_sources sources;
	struct blend blend;
	uint8_t *blocked;
	struct output output;
	struct stream_writer writer;
};

/* ---- what was asked for ---- */

static int check_stage(const struct options *o, const struct rerank_stage *stage, struct error *error)
{
	if (stage->needs_catalogue && (!o->movies || !o->items))
		return error_set(error, CODE_USAGE, "--by %s needs --movies and --items", stage->name);
	if (stage->needs_known && !o->known.count)
		return error_set(error, CODE_USAGE, "--by %s needs --known", stage->name);
	if (stage->needs_similarity && !o->similarity.count)
		return error_set(error, CODE_USAGE, "--by %s needs --similarity", stage->name);
	if (stage->needs_blend && !o->blend)
		return error_set(error, CODE_USAGE, "--by %s needs --blend", stage->name);
	if (stage->needs_blocklist && (!o->blocklist || !o->items))
		return error_set(error, CODE_USAGE, "--by %s needs --blocklist and --items", stage->name);
	return 0;
}

static int choose_stages(struct run *run, struct error *error)
{
	const struct options *o = run->options;
	bool blends = false;
	for (size_t s = 0; s < o->by.count; s++) {
		run->stages[s] = rerank_find(o->by.items[s]);
		if (!run->stages[s])
			return error_set(error, CODE_USAGE, "--by: '%s' is unknown, expected none, popularity, similarity, blend, "
			                 "affinity, mmr, calibration, tail or blocklist", o->by.items[s]);
		if (check_stage(o, run->stages[s], error) < 0)
			return -1;
		blends = blends || run->stages[s]->needs_blend;
	}
	if (o->fit && (o->by.count || o->blend))
		return error_set(error, CODE_USAGE, "--fit makes a blend and no lists: it goes without --by and --blend");
	if ((o->with.count && !blends && !o->fit) || (o->blend && !blends))
		return error_set(error, CODE_USAGE, "--%s goes with --by blend", o->blend ? "blend" : "with");
	if (o->l2 > 0 && !o->fit)
		return error_set(error, CODE_USAGE, "--l2 goes with --fit");
	if (o->similarity.count && !o->known.count)
		return error_set(error, CODE_USAGE, "--similarity needs --known, the users' histories");
	if (o->movies && !o->items)
		return error_set(error, CODE_USAGE, "--movies needs --items");
	return 0;
}

/* ---- inputs ---- */

/* NAME=FILE; *file is behind the name. A file of weights without a name is "similarity". */
static int take_name(struct run *run, enum signal_kind kind, const char *text, const char **file, struct error *error)
{
	static const char unnamed[] = "similarity";
	const char *option = kind == SIGNAL_WITH ? "with" : "similarity";
	const size_t length = strcspn(text, "=/");
	const bool named = text[length] == '=';
	*file = named ? text + length + 1 : text;
	if (!named && kind == SIGNAL_WITH)
		return error_set(error, CODE_USAGE, "--with: '%s' has no name, expected NAME=LISTS", text);
	return signals_add_name(&run->sources, kind, option, named ? text : unnamed, named ? length : strlen(unnamed), error);
}

static int open_lists(struct run *run, const char *path, struct error *error)
{
	const struct text_list *with = &run->options->with;
	const char *file;
	if (list_streams_add(&run->streams, path, error) < 0)
		return -1;
	for (size_t w = 0; w < with->count; w++)
		if (take_name(run, SIGNAL_WITH, with->items[w], &file, error) < 0 ||
		    list_streams_add(&run->streams, file, error) < 0)
			return -1;
	return 0;
}

static const char *lists_name(const struct run *run)
{
	return run->streams.readers[0].input.name;
}

/* Weights of a catalogue that has grown since will do: new items score 0. */
static int open_similarity(struct run *run, const char *text, struct error *error)
{
	const size_t s = run->sources.similarity_count;
	const struct id_space *items = &run->streams.infos[0].items;
	struct stream_info ids = {0};
	const char *file;
	if (take_name(run, SIGNAL_SIMILARITY, text, &file, error) < 0)
		return -1;
	run->sources.similarities[s] = &run->similarities[s];
	int result = similarity_read(&run->similarities[s], file, &ids, error);
	if (result == 0 && !id_space_extends(items, &ids.items))
		result = error_set(error, CODE_DATA, "%s and %s are of different items: %u ids (%.8s) and %u (%.8s), expected "
		                   "the same id map or one that grew from it", file, lists_name(run), ids.items.count,
		                   ids.items.digest, items->count, items->digest);
	stream_info_release(&ids);
	return result;
}

static int open_similarities(struct run *run, struct error *error)
{
	const struct text_list *files = &run->options->similarity;
	enum isa isa;
	int result = isa_find(run->options->isa, &isa, error);
	for (size_t s = 0; result == 0 && s < files->count; s++) {
		result = open_similarity(run, files->items[s], error);
		if (result == 0)
			similarity_use(&run->similarities[s], isa);
	}
	return result;
}

/* The map must be the one that the lists' items are of. */
static int read_items(struct run *run, struct error *error)
{
	struct stream_info of_map = {0}, of_lists = {.items = run->streams.infos[0].items};
	int result = idmap_read(&run->items, run->options->items, error);
	if (result == 0)
		result = idmap_space(&run->items, &of_map.items, error);
	if (result == 0)
		result = records_same_ids(run->options->items, &of_map, lists_name(run), &of_lists, error);
	stream_info_release(&of_map);
	return result;
}

static int read_blocklist(struct run *run, struct error *error)
{
	struct csv_reader reader;
	enum csv_verdict verdict = CSV_END;
	size_t unknown = 0;
	run->blocked = mem_alloc_zero(run->streams.infos[0].items.count, 1, error);
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
	if (o->movies && catalogue_read(&run->catalogue, o->movies, o->genres, &run->items, error) < 0)
		return -1;
	if (histories_read(&run->histories, o->known.items, o->known.count, lists_name(run), &run->streams.infos[0], error) < 0 ||
	    open_similarities(run, error) < 0 || (o->blocklist && o->items && read_blocklist(run, error) < 0))
		return -1;
	run->sources.histories = o->known.count ? &run->histories : NULL;
	run->sources.catalogue = o->movies ? &run->catalogue : NULL;
	return signals_prepare(&run->sources, error);
}

/* A context for every thread, once all is read. */
static int make_contexts(struct run *run, struct error *error)
{
	const struct options *o = run->options;
	const struct interactions *known = &run->histories.interactions;
	run->context = (struct rerank_context){
		.depth = (size_t)o->depth, .weight = o->weight, .lambda = o->lambda, .calibration = o->calibration,
		.tail = o->tail, .seed = (uint64_t)o->seed, .catalogue = &run->catalogue, .known = known,
		.blocked = run->blocked, .sources = &run->sources, .blend = &run->blend,
	};
	if (o->known.count && popularity_levels_make(known->popularity, known->items, &run->context.levels, error) < 0)
		return -1;
	if (o->blend && blend_read(&run->blend, o->blend, &run->sources, error) < 0)
		return -1;
	run->pool = pool_new((size_t)o->threads, error);
	if (!run->pool)
		return -1;
	run->contexts = mem_alloc(pool_threads(run->pool), sizeof *run->contexts, error);
	for (size_t t = 0; run->contexts && t < pool_threads(run->pool); t++)
		run->contexts[t] = run->context;
	return run->contexts ? 0 : -1;
}

/* ---- lists ---- */

static int rerank_one(void *context, size_t n, size_t worker, struct error *error)
{
	struct run *run = context;
	struct rerank_context *room = &run->contexts[worker];
	struct list *list = list_of(&run->streams, n, 0);
	const size_t stages = run->options->by.count;
	const uint32_t top = (uint32_t)run->options->top;
	room->with = list + 1;
	int result = stages ? 0 : rerank_apply(room, rerank_find("none"), list, error);
	for (size_t s = 0; result == 0 && s < stages; s++)
		result = rerank_apply(room, run->stages[s], list, error);
	if (top > 0 && list->count > top)
		list->count = top;
	return result;
}

static int write_one(void *context, size_t n, struct error *error)
{
	struct run *run = context;
	return list_write(&run->writer, list_of(&run->streams, n, 0), error);
}

static int open_writer(struct run *run, struct error *error)
{
	static const char *const skip[] = {"movies", "genres", "items", "known", "blocklist", "blend", "with", "similarity",
	                                   "threads", "isa", "out", NULL};
	char described[512];
	const json_t *ranking = json_object_get(run->streams.readers[0].metadata, "ranking");
	options_describe(&tool, run->options, skip, described, sizeof described);
	json_t *metadata = records_metadata(tool.name, described, &run->streams.infos[0], error);
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
	static const struct list_work work = {rerank_one, write_one};
	int result = open_writer(run, error);
	if (result == 0)
		result = list_streams_run(&run->streams, run->pool, &work, run, error);
	if (result == 0)
		result = stream_writer_finish(&run->writer, error);
	return result == 0 ? output_commit(&run->output, error) : result;
}

static int fit_blend(struct run *run, struct error *error)
{
	struct blend_fit_options options = {.l2 = run->options->l2, .seed = (uint64_t)run->options->seed};
	if (isa_find(run->options->isa, &options.isa, error) < 0 ||
	    blend_fit_lists(&run->blend, &run->sources, &run->streams, &options, run->pool, error) < 0)
		return -1;
	return blend_write(&run->blend, run->options->fit, error);
}

static void release(struct run *run)
{
	for (size_t t = 0; run->contexts && t < pool_threads(run->pool); t++)
		rerank_release(&run->contexts[t]);
	mem_free(run->contexts);
	pool_free(run->pool);
	list_streams_release(&run->streams);
	idmap_release(&run->items);
	catalogue_release(&run->catalogue);
	histories_release(&run->histories);
	signals_release(&run->sources);
	for (size_t s = 0; s < SIGNAL_SOURCES_MAX; s++)
		similarity_release(&run->similarities[s]);
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
		result = make_contexts(&run, &error);
	if (result == 0)
		result = options.fit ? fit_blend(&run, &error) : rerank_lists(&run, &error);
	release(&run);
	return result == 0 ? CODE_OK : error_report(&error);
}
