/* sample-neg: training samples, or candidate lists for evaluation. */
#include <inttypes.h>

#include "candidates.h"
#include "mem.h"
#include "options.h"
#include "progress.h"
#include "sample_stream.h"

struct options {
	const char *out, *given, *users, *items;
	struct text_list known;
	int64_t ratio, epochs, seed, candidates, draw, threads;
	double alpha;
	bool allow_known, quiet;
};

static const struct options defaults = {.out = "-", .ratio = 4, .epochs = 1, .seed = 1, .threads = 1};

#define AT(member) offsetof(struct options, member)
static const struct option_spec table[] = {
	{'r', "ratio", OPTION_INT, AT(ratio), "N", "Negatives a positive.", 0, SAMPLER_RATIO_MAX, NULL},
	{'e', "epochs", OPTION_INT, AT(epochs), "N",
	 "Epochs, one behind the other: each has every positive once, in another order and with other negatives.", 1,
	 1e6, NULL},
	{'a', "alpha", OPTION_REAL, AT(alpha), "X", "Training negatives by popularity^X; 0 is uniform.", -4, 4, NULL},
	{'c', "candidates", OPTION_INT, AT(candidates), "N",
	 "Write lists for evaluation instead: each user's interactions in FILE and N items that the user does not know.",
	 1, 70000, NULL},
	{'k', "known", OPTION_LIST, AT(known), "FILE",
	 "With --candidates or --given: interactions that are no negatives; may be repeated. Popularity is counted in "
	 "the first.", 0, 0, NULL},
	{'d', "draw", OPTION_INT, AT(draw), "N", "With --candidates: which of many independent draws.", 0, 1000000, NULL},
	{'g', "given", OPTION_TEXT, AT(given), "LISTS",
	 "Take the candidates from this text, lines of (user,item) and then item ids (the NCF paper's test.negative), "
	 "ids as in --users and --items. A user's own test item and doubled ones are dropped and counted.", 0, 0, NULL},
	{0, "users", OPTION_TEXT, AT(users), "FILE", "With --given: the id map of users.", 0, 0, NULL},
	{0, "items", OPTION_TEXT, AT(items), "FILE", "With --given: the id map of items.", 0, 0, NULL},
	{0, "allow-known", OPTION_FLAG, AT(allow_known), NULL,
	 "With --given: drop candidates that the user knows, and count them, instead of refusing them.", 0, 0, NULL},
	{'s', "seed", OPTION_INT, AT(seed), "N", "Seed of the draws.", 0, 9e18, NULL},
	{'o', "out", OPTION_TEXT, AT(out), "FILE", "Where the stream goes.", 0, 0, NULL},
	{'j', "threads", OPTION_INT, AT(threads), "N", "Threads; 0: one a processor. Never changes a byte.", 0, 1024,
	 NULL},
	{'q', "quiet", OPTION_FLAG, AT(quiet), NULL, "Only errors on stderr.", 0, 0, NULL},
};

static const struct tool_spec tool = {
	.name = "sample-neg",
	.summary = "draw negatives: training samples, or candidate lists for evaluation",
	.operands = "FILE",
	.description =
		"Reads a stream of interactions (- is stdin) and writes samples for train-mlp: each positive with "
		"--ratio items that its user never interacted with, fresh in every epoch.\n\n"
		"With --candidates it writes lists instead: for each user in FILE the held-out items, marked "
		"relevant, among unseen items drawn uniformly without replacement. A user who has seen nearly "
		"everything gets as many as exist, and is counted.",
	.examples =
		"sample-neg --ratio 4 --epochs 20 train.rec | train-mlp --valid valid.rec -o model.safetensors -\n"
		"  Training through a pipe.\n"
		"sample-neg --candidates 99 --known train.rec test.rec | score -m model.safetensors | metrics -k 10\n"
		"  HR@10 and NDCG@10 among 99 unseen items.",
	.see_also = "train-mlp(1), score(1), metrics(1)",
	.options = table,
	.option_count = COUNT_OF(table),
	.defaults = &defaults,
	.size = sizeof defaults,
	.minimum_operands = 1,
	.maximum_operands = 1,
};

/* What the run holds open. */
struct run {
	const struct options *options;
	const char *path;
	struct stream_info info;
	struct interactions input, known;
	uint32_t *popularity;
	struct output output;
	struct stream_writer writer;
};

static json_t *new_metadata(const struct run *run, struct error *error)
{
	static const char *const skip[] = {"out", "given", "users", "items", "known", "threads", "quiet", NULL};
	char described[512];
	options_describe(&tool, run->options, skip, described, sizeof described);
	json_t *metadata = records_metadata(tool.name, described, &run->info, error);
	if (metadata)
		json_object_set_new(metadata, "seed", json_integer(run->options->seed));
	return metadata;
}

static int open_writer(struct run *run, enum stream_kind kind, json_t *metadata, struct error *error)
{
	int result = output_open(&run->output, run->options->out, error);
	if (result == 0)
		result = stream_writer_open(&run->writer, &run->output, kind, metadata, false, error);
	return result;
}

/* ---- training samples ---- */

static void tell_epoch(void *context, uint64_t epochs)
{
	progress_update(context, epochs);
}

static int write_epochs(struct run *run, const struct sampler *sampler, struct error *error)
{
	const struct options *o = run->options;
	struct progress progress;
	uint64_t missing = 0;
	const struct sample_stream samples = {.sampler = sampler, .epochs = (uint32_t)o->epochs,
	                                      .threads = (size_t)o->threads, .tell = tell_epoch, .tell_context = &progress};
	progress_start(&progress, "epochs", (uint64_t)o->epochs, o->quiet);
	int result = sample_stream_write(&samples, &run->writer, &missing, error);
	progress_finish(&progress);
	if (result == 0 && missing && !o->quiet)
		note("%" PRIu64 " negatives do not exist: their users have interacted with every item", missing);
	return result;
}

static int write_samples(struct run *run, struct error *error)
{
	const struct options *o = run->options;
	const struct sampler_options options = {(uint64_t)o->seed, (uint32_t)o->ratio, o->alpha};
	struct sampler sampler = {0};
	json_t *metadata = NULL;
	int result = -1;
	if (sampler_init(&sampler, &run->input, &options, error) < 0)
		goto out;
	metadata = new_metadata(run, error);
	if (!metadata)
		goto out;
	json_object_set_new(metadata, "ratio", json_integer(o->ratio));
	json_object_set_new(metadata, "epochs", json_integer(o->epochs));
	json_object_set_new(metadata, "epoch_begin", json_integer(0));
	json_object_set_new(metadata, "positives", json_integer((json_int_t)run->input.count));
	json_object_set_new(metadata, "alpha", json_real(o->alpha));
	if (open_writer(run, STREAM_SAMPLES, metadata, error) < 0)
		goto out;
	result = write_epochs(run, &sampler, error);
out:
	json_decref(metadata);
	sampler_release(&sampler);
	return result;
}

/* ---- candidate lists ---- */

static int write_lists(struct run *run, struct error *error)
{
	const struct options *o = run->options;
	if (interactions_read_known(&run->known, o->known.items, o->known.count, run->path, &run->info, &run->popularity,
	                            error) < 0)
		return -1;
	const struct candidate_options options = {
		.known = &run->known, .truth = &run->input, .popularity = run->popularity,
		.candidates = (size_t)o->candidates, .seed = (uint64_t)o->seed, .draw = (uint32_t)o->draw,
		.given = o->given, .users_path = o->users, .items_path = o->items, .allow_known = o->allow_known,
		.quiet = o->quiet, .info = &run->info,
	};
	json_t *metadata = new_metadata(run, error);
	if (!metadata)
		return -1;
	json_object_set_new(metadata, "scored", json_false());
	json_object_set_new(metadata, "ranking", json_string("sampled"));
	int result = open_writer(run, STREAM_LISTS, metadata, error);
	json_decref(metadata);
	return result == 0 ? candidates_write(&options, &run->writer, error) : -1;
}

static int check_options(const struct options *o, struct error *error)
{
	const bool lists = o->candidates || o->given;
	if (o->candidates && o->given)
		return error_set(error, CODE_USAGE, "--candidates and --given exclude each other");
	if (lists && !o->known.count)
		return error_set(error, CODE_USAGE, "--%s needs --known, the interactions that are no negatives",
		                 o->given ? "given" : "candidates");
	if (!lists && o->known.count)
		return error_set(error, CODE_USAGE, "--known goes with --candidates or --given");
	if (o->given && (!o->users || !o->items))
		return error_set(error, CODE_USAGE, "--given needs --users and --items");
	return 0;
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
	if (verdict == OPTIONS_FAILED || check_options(&options, &error) < 0)
		return error_report(&error);
	run.path = operands.items[0];
	int result = interactions_read(&run.input, run.path, &run.info, &error);
	if (result == 0)
		result = options.candidates || options.given ? write_lists(&run, &error) : write_samples(&run, &error);
	if (result == 0)
		result = stream_writer_finish(&run.writer, &error);
	if (result == 0)
		result = output_commit(&run.output, &error);
	interactions_release(&run.input);
	interactions_release(&run.known);
	stream_info_release(&run.info);
	mem_free(run.popularity);
	stream_writer_release(&run.writer);
	output_release(&run.output);
	return result == 0 ? CODE_OK : error_report(&error);
}
