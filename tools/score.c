/* score: candidate lists in, scored lists out; or the best items of the whole catalogue for each user. */
#include "idmap.h"
#include "mem.h"
#include "options.h"
#include "progress.h"
#include "scorer.h"

enum {
	LISTS_AT_ONCE = 4096,
	/* Of a device, which works ahead of the host within one request alone: */
	LISTS_OF_DEVICE = 1 << 16, ENTRIES_OF_DEVICE = 1 << 22,
};

struct options {
	const char *model, *similarity, *device, *isa, *out, *truth, *users;
	int by, precision;
	bool all_items, quiet;
	int64_t top, threads, seed;
	struct text_list history, known, user;
};

static const char *const by_choices[] = {"model", "popularity", "random", "similarity", NULL};
static const struct options defaults = {.device = "auto", .isa = "auto", .out = "-", .top = 10, .seed = 1};

#define AT(member) offsetof(struct options, member)
static const struct option_spec table[] = {
	{'m', "model", OPTION_TEXT, AT(model), "FILE", "The model (safetensors) that gives the scores.", 0, 0, NULL},
	{'S', "similarity", OPTION_TEXT, AT(similarity), "FILE",
	 "Item-to-item weights (from item-sim) that give the scores: an item's is the sum of what the user's history says "
	 "of it.", 0, 0, NULL},
	{'H', "history", OPTION_LIST, AT(history), "FILE",
	 "With --similarity, and with models of history and ials: the interactions that are the users' histories; may be "
	 "repeated. They may be those of users that the model was never trained on.", 0, 0, NULL},
	{0, "by", OPTION_CHOICE, AT(by), NULL,
	 "What gives the scores: the model, the items' popularity in training, nothing but chance, or --similarity (which "
	 "need not be said). Popularity and chance are the baselines that every result is printed beside.", 0, 0,
	 by_choices},
	{'a', "all-items", OPTION_FLAG, AT(all_items), NULL,
	 "Rank the whole catalogue for each user instead of reading lists.", 0, 0, NULL},
	{'n', "top", OPTION_INT, AT(top), "N", "With --all-items: how many items a user gets.", 1, 70000, NULL},
	{'k', "known", OPTION_LIST, AT(known), "FILE",
	 "With --all-items: interactions to leave out of the lists, usually the training part; may be repeated. "
	 "Popularity is counted in the first.", 0, 0, NULL},
	{'t', "truth", OPTION_TEXT, AT(truth), "FILE",
	 "With --all-items: held-out interactions. Their users are ranked, their items marked relevant, and the "
	 "ranking is labelled full, for metrics.", 0, 0, NULL},
	{'u', "user", OPTION_LIST, AT(user), "ID",
	 "With --all-items: only this user; may be repeated. An original id when --users is given, else a dense "
	 "one.", 0, 0, NULL},
	{0, "users", OPTION_TEXT, AT(users), "FILE", "The id map of users, to look --user up in.", 0, 0, NULL},
	{'o', "out", OPTION_TEXT, AT(out), "FILE", "Where the scored lists go.", 0, 0, NULL},
	{'s', "seed", OPTION_INT, AT(seed), "N", "Seed of --by random.", 0, 9e18, NULL},
	{'j', "threads", OPTION_INT, AT(threads), "N", "Threads; 0: one a processor. Never changes a byte.", 0, 1024,
	 NULL},
	{0, "precision", OPTION_CHOICE, AT(precision), NULL,
	 "Of a tower's products: fp32, or bf16, which rounds their operands: faster where the processor has AMX, the same "
	 "scores on all processors. With --device cuda also tf32; wide layers go by tensor cores there, whose scores are not the "
	 "CPU's to the last bit.", 0, 0, precision_names},
	{0, "isa", OPTION_TEXT, AT(isa), "NAME",
	 "Instruction set: auto, avx512, avx2 or portable. Never changes a byte.", 0, 0, NULL},
	{0, "device", OPTION_TEXT, AT(device), "NAME",
	 "auto (cuda:0 where there is one that takes the model, unless --isa is given; else the CPU), cpu, cuda, cuda:N, or "
	 "several that work together: cuda:0,1 or cuda:0-3. Scores of a tower by cuBLAS differ from the CPU's in the last "
	 "bits: cpu has the same on every machine. RECPIPE_DEVICE is what auto means.", 0, 0, NULL},
	{'q', "quiet", OPTION_FLAG, AT(quiet), NULL, "Only errors on stderr.", 0, 0, NULL},
};

static const struct tool_spec tool = {
	.name = "score",
	.summary = "score candidate lists, or rank the whole catalogue",
	.operands = "[LISTS]",
	.description =
		"Reads a stream of lists (from sample-neg --candidates; stdin by default), scores every entry and "
		"writes the lists in descending order of score, ties by ascending item.\n\n"
		"With --all-items no lists are read: every item that the user has not interacted with is scored "
		"and the best --top are written. With --similarity, --known and --history are usually the same files.",
	.examples =
		"sample-neg --candidates 99 --known train.rec test.rec | score -m model.safetensors | metrics\n"
		"  Sampled evaluation of a model.\n"
		"score -m model.safetensors --all-items --known train.rec | recommend --users users.ids "
		"--items items.ids --movies movies.csv\n"
		"  Ten titles for everybody.\n"
		"score --similarity ease.rec --history train.rec lists.rec | metrics\n"
		"  What item-to-item weights are worth.",
	.see_also = "sample-neg(1), train-mlp(1), item-sim(1), rerank(1), metrics(1), recommend(1)",
	.options = table,
	.option_count = COUNT_OF(table),
	.defaults = &defaults,
	.size = sizeof defaults,
	.maximum_operands = 1,
};

/* What the run holds open. */
struct run {
	const struct options *options;
	const char *lists_path;
	struct scorer scorer;
	struct stream_info info;
	struct interactions known, truth, history;
	uint32_t *popularity;
	uint32_t *users;
	size_t user_count;
	struct list *lists;
	size_t at_once;           /* of them */
	struct output output;
	struct stream_writer writer;
	struct progress progress;
};

static int check_options(const struct options *o, size_t operands, struct error *error)
{
	if (o->by == SCORE_BY_MODEL && !o->model)
		return error_set(error, CODE_USAGE, "--model is missing (or --similarity, --by popularity, --by random)");
	if (o->by == SCORE_BY_SIMILARITY && (!o->similarity || !o->history.count))
		return error_set(error, CODE_USAGE, "scores by similarity need --similarity and --history");
	if (o->by != SCORE_BY_SIMILARITY && o->similarity)
		return error_set(error, CODE_USAGE, "--similarity and --history do not go with --by %s", by_choices[o->by]);
	if ((o->by == SCORE_BY_POPULARITY || o->by == SCORE_BY_RANDOM) && o->history.count)
		return error_set(error, CODE_USAGE, "--history does not go with --by %s", by_choices[o->by]);
	if (o->by != SCORE_BY_MODEL && o->model)
		return error_set(error, CODE_USAGE, "--model and --by %s exclude each other", by_choices[o->by]);
	if (o->all_items && operands)
		return error_set(error, CODE_USAGE, "--all-items reads no lists");
	if (!o->all_items && (o->truth || o->known.count || o->user.count))
		return error_set(error, CODE_USAGE, "--truth, --known and --user go with --all-items");
	if (o->all_items && (o->by == SCORE_BY_POPULARITY || o->by == SCORE_BY_RANDOM) && !o->known.count)
		return error_set(error, CODE_USAGE, "--by %s --all-items needs --known", by_choices[o->by]);
	return 0;
}

static int open_scorer(struct run *run, struct error *error)
{
	const struct options *o = run->options;
	const struct backend_options backend = {
		.precision = (enum precision)o->precision, .threads = (size_t)o->threads, .isa = o->isa,
	};
	if (o->by == SCORE_BY_MODEL)
		return scorer_open_model(&run->scorer, o->model, o->device, &backend, error);
	if (o->by == SCORE_BY_SIMILARITY)
		return scorer_open_similarity(&run->scorer, o->similarity, &backend, error);
	scorer_open_baseline(&run->scorer, (enum scorer_kind)o->by, (uint64_t)o->seed);
	return 0;
}

static int open_writer(struct run *run, const char *ranking, struct error *error)
{
	static const char *const skip[] = {"model", "similarity", "history", "known", "truth", "users", "out", "threads", "isa", "device",
	                                   "quiet", NULL};
	char described[512];
	options_describe(&tool, run->options, skip, described, sizeof described);
	json_t *metadata = records_metadata(tool.name, described, &run->info, error);
	if (!metadata)
		return -1;
	json_object_set_new(metadata, "scored", json_true());
	json_object_set_new(metadata, "ranking", json_string(ranking));
	int result = output_open(&run->output, run->options->out, error);
	if (result == 0)
		result = stream_writer_open(&run->writer, &run->output, STREAM_LISTS, metadata, false, error);
	json_decref(metadata);
	return result;
}

static int write_lists(struct run *run, size_t count, struct error *error)
{
	for (size_t l = 0; l < count; l++)
		if (list_write(&run->writer, &run->lists[l], error) < 0)
			return -1;
	return 0;
}

/* The scores' items must be those of run->info or what these grew from; so must its users, unless nothing of them
 * is in the scores. */
static int check_ids(const struct run *run, const char *name, struct error *error)
{
	const struct options *o = run->options;
	const struct stream_info *ids = scorer_ids(&run->scorer);
	const char *scores = o->model ? o->model : o->similarity;
	if (!scorer_takes_history(&run->scorer) || !o->history.count)
		return records_same_ids(scores, ids, name, &run->info, error);
	if (!id_space_extends(&run->info.items, &ids->items))
		return error_set(error, CODE_DATA, "%s and %s are of different items: %u ids (%.8s) and %u (%.8s), expected "
		                 "the same id map or one that grew from it", scores, name, ids->items.count,
		                 ids->items.digest, run->info.items.count, run->info.items.digest);
	if (!scorer_serves_strangers(&run->scorer) && !id_space_extends(&run->info.users, &ids->users))
		return error_set(error, CODE_DATA, "%s and %s are of different users: expected the same id map or one that "
		                 "grew from it", scores, name);
	return 0;
}

static int prepare_lists(struct run *run, struct error *error)
{
	const struct backend *backend = run->scorer.choice.backend;
	run->at_once = LISTS_AT_ONCE;
	if (run->options->all_items && backend && backend != &backend_cpu && run->options->top > 0) {
		const size_t fitting = (size_t)ENTRIES_OF_DEVICE / (size_t)run->options->top;
		run->at_once = fitting < LISTS_AT_ONCE ? LISTS_AT_ONCE : fitting < LISTS_OF_DEVICE ? fitting : LISTS_OF_DEVICE;
	}
	run->lists = mem_alloc_zero(run->at_once, sizeof *run->lists, error);
	return run->lists ? 0 : -1;
}

/* Reads the users' histories, if any, and makes the scorer and the lists ready. `name` has given run->info; NULL: nothing
 * has, and there are no histories. */
static int start_scorer(struct run *run, const char *name, struct error *error)
{
	const struct options *o = run->options;
	const bool has_history = o->history.count > 0;
	if (scorer_needs_history(&run->scorer) && !has_history)
		return error_set(error, CODE_USAGE, "%s: a model of histories needs --history", o->model);
	if (has_history && !scorer_takes_history(&run->scorer))
		return error_set(error, CODE_USAGE, "%s: a model of kind %s makes no use of --history", o->model,
		                 model_kind_names[run->scorer.model.shape.kind]);
	if (has_history &&
	    interactions_read_known(&run->history, o->history.items, o->history.count, name, &run->info, NULL, error) < 0)
		return -1;
	if (name && (o->model || o->similarity) && check_ids(run, name, error) < 0)
		return -1;
	if (scorer_start(&run->scorer, has_history ? &run->history : NULL, error) < 0)
		return -1;
	if (run->scorer.choice.news && !o->quiet)
		backend_tell("scoring", &run->scorer.choice, run->scorer.state);
	return prepare_lists(run, error);
}

/* ---- the filter ---- */

static int filter_lists(struct run *run, struct stream_reader *reader, struct error *error)
{
	const json_t *ranking = json_object_get(reader->metadata, "ranking");
	if (open_writer(run, json_is_string(ranking) ? json_string_value(ranking) : "sampled", error) < 0)
		return -1;
	for (int more = 1; more;) {
		size_t count = 0;
		while (count < run->at_once && (more = list_read(reader, &run->info, &run->lists[count], error)) > 0)
			count++;
		if (more < 0 || scorer_lists(&run->scorer, run->lists, count, error) < 0 ||
		    write_lists(run, count, error) < 0)
			return -1;
	}
	return 0;
}

static int score_stream(struct run *run, struct error *error)
{
	struct stream_reader reader = {0};
	int result = -1;
	if (stream_reader_open(&reader, run->lists_path, STREAM_LISTS, error) < 0 ||
	    records_info(&reader, &run->info, error) < 0)
		goto out;
	if (start_scorer(run, run->lists_path, error) < 0)
		goto out;
	result = filter_lists(run, &reader, error);
out:
	stream_reader_release(&reader);
	return result;
}

/* ---- the whole catalogue ---- */

static int read_all_known(struct run *run, struct error *error)
{
	const struct options *o = run->options;
	const char *name = o->model ? o->model : o->history.count ? o->history.items[0] : o->known.items[0];
	const bool by_model_alone = run->scorer.kind == SCORE_BY_MODEL && !o->history.count;
	if (start_scorer(run, by_model_alone ? NULL : name, error) < 0)
		return -1;
	if (by_model_alone) {
		run->info = run->scorer.model.ids;
		run->scorer.model.ids = (struct stream_info){0};
	}
	if (interactions_read_known(&run->known, o->known.items, o->known.count, name, &run->info, &run->popularity,
	                            error) < 0)
		return -1;
	return o->truth ? interactions_read_known(&run->truth, &o->truth, 1, name, &run->info, NULL, error) : 0;
}

static int find_user(const struct idmap *map, uint32_t limit, const char *text, uint32_t *user, struct error *error)
{
	if (map) {
		*user = idmap_find(map, text, strlen(text));
		if (*user == (uint32_t)IDMAP_MISSING)
			return error_set(error, CODE_DATA, "user '%s' is not in the id map", text);
	} else {
		int64_t number = 0;
		if (parse_int("--user", text, 0, UINT32_MAX, &number, error) < 0)
			return -1;
		*user = (uint32_t)number;
	}
	if (*user >= limit)
		return error_set(error, CODE_DATA, "user '%s' is unknown to the model, which has %u users", text, limit);
	return 0;
}

static int choose_named_users(struct run *run, struct error *error)
{
	const struct options *o = run->options;
	struct idmap map = {0};
	int result = -1;
	if (o->users && idmap_read(&map, o->users, error) < 0)
		goto out;
	for (size_t i = 0; i < o->user.count; i++)
		if (find_user(o->users ? &map : NULL, run->info.users.count, o->user.items[i],
		              &run->users[run->user_count++], error) < 0)
			goto out;
	result = 0;
out:
	idmap_release(&map);
	return result;
}

/* The users named; else those with truth; else all. */
static int choose_users(struct run *run, struct error *error)
{
	size_t most = run->info.users.count > OPTION_LIST_MAX ? run->info.users.count : OPTION_LIST_MAX;
	run->users = mem_alloc(most, sizeof *run->users, error);
	if (!run->users)
		return -1;
	if (run->options->user.count)
		return choose_named_users(run, error);
	for (uint32_t user = 0; user < run->info.users.count; user++) {
		size_t truths = 1;
		if (run->options->truth)
			interactions_of(&run->truth, user, &truths);
		if (truths)
			run->users[run->user_count++] = user;
	}
	return 0;
}

static int score_catalogue(struct run *run, struct error *error)
{
	if (read_all_known(run, error) < 0 || choose_users(run, error) < 0 ||
	    open_writer(run, run->options->truth ? "full" : "top", error) < 0)
		return -1;
	const struct full_ranking ranking = {
		.items = run->info.items.count,
		.seen = run->options->known.count ? &run->known : NULL,
		.truth = run->options->truth ? &run->truth : NULL,
		.popularity = run->popularity,
		.top = (size_t)run->options->top,
	};
	progress_start(&run->progress, "users", run->user_count, run->options->quiet);
	for (size_t at = 0; at < run->user_count; at += run->at_once) {
		size_t count = run->user_count - at < run->at_once ? run->user_count - at : run->at_once;
		if (scorer_top(&run->scorer, &ranking, run->users + at, run->lists, count, error) < 0 ||
		    write_lists(run, count, error) < 0)
			return -1;
		progress_update(&run->progress, at + count);
	}
	progress_finish(&run->progress);
	return 0;
}

static void release(struct run *run)
{
	for (size_t l = 0; run->lists && l < run->at_once; l++)
		list_release(&run->lists[l]);
	mem_free(run->lists);
	mem_free(run->users);
	mem_free(run->popularity);
	interactions_release(&run->known);
	interactions_release(&run->truth);
	interactions_release(&run->history);
	stream_info_release(&run->info);
	scorer_release(&run->scorer);
	stream_writer_release(&run->writer);
	output_release(&run->output);
}

int main(int argc, char **argv)
{
	struct options options;
	struct operands operands;
	struct error error = {0};
	struct run run = {.options = &options, .lists_path = "-", .output = {.fd = -1}};
	enum options_verdict verdict = options_parse(&tool, argc, argv, &options, &operands, &error);
	if (verdict == OPTIONS_DONE)
		return CODE_OK;
	if (verdict == OPTIONS_RUN && options.similarity && options.by == SCORE_BY_MODEL && !options.model)
		options.by = SCORE_BY_SIMILARITY;
	if (verdict == OPTIONS_FAILED || check_options(&options, operands.count, &error) < 0)
		return error_report(&error);
	if (operands.count)
		run.lists_path = operands.items[0];
	int result = open_scorer(&run, &error);
	if (result == 0)
		result = options.all_items ? score_catalogue(&run, &error) : score_stream(&run, &error);
	if (result == 0)
		result = stream_writer_finish(&run.writer, &error);
	if (result == 0)
		result = output_commit(&run.output, &error);
	release(&run);
	return result == 0 ? CODE_OK : error_report(&error);
}
