/* item-sim: interactions in, item-to-item weights out. */
#include <unistd.h>

#include "mem.h"
#include "options.h"
#include "similarity_make.h"

struct options {
	const char *out, *isa;
	int method;
	double regularization, dropout, shrinkage;
	int64_t top, items_max, window, memory, threads;
	bool forward, quiet;
};

static const char *const methods[] = {[SIMILARITY_EASE] = "ease", [SIMILARITY_COSINE] = "cosine", NULL};
static const struct options defaults = {.out = "-", .isa = "auto", .regularization = 500, .shrinkage = 20};

#define AT(member) offsetof(struct options, member)
static const struct option_spec table[] = {
	{'m', "method", OPTION_CHOICE, AT(method), NULL,
	 "ease: the linear model that best restores everybody's items from their other items. cosine: users that two "
	 "items share, over the length of both.", 0, 0, methods},
	{'r', "regularization", OPTION_REAL, AT(regularization), "X",
	 "ease: penalty on the squares of the weights. Larger is smoother; it grows with the number of users.", 1e-3,
	 1e12, NULL},
	{'p', "dropout", OPTION_REAL, AT(dropout), "X",
	 "ease: penalty that grows with an item's popularity, as if this share of everybody's items were hidden at "
	 "random; 0: none.", 0, 0.99, NULL},
	{'s', "shrinkage", OPTION_REAL, AT(shrinkage), "X",
	 "cosine: added to the length, so that few shared users count for less.", 0, 1e12, NULL},
	{'w', "window", OPTION_INT, AT(window), "N",
	 "cosine: of the users of two items, count those whose history has them at most N places apart, in the order of "
	 "time, ties by item; 0: anywhere.", 0, 4e9, NULL},
	{'f', "forward", OPTION_FLAG, AT(forward), NULL,
	 "cosine: count those whose history has the row's item before the column's: what follows what.", 0, 0, NULL},
	{'n', "top", OPTION_INT, AT(top), "N",
	 "Keep the N weights largest in magnitude of those that speak for an item; 0: all. EASE is best with all, cosine with about "
	 "50.", 0, 4e9, NULL},
	{0, "items-max", OPTION_INT, AT(items_max), "N",
	 "ease: weights among the N most popular items alone, ties by lower id. The others get none: they score 0 and "
	 "say nothing. 0: all items.", 0, 4e9, NULL},
	{0, "memory", OPTION_BYTES, AT(memory), "SIZE",
	 "ease: refuse to begin when more is needed; 0: the machine's memory. Never changes a byte.", 0, 0, NULL},
	{'j', "threads", OPTION_INT, AT(threads), "N", "Threads; 0: one a processor. Never changes a byte.", 0, 1024,
	 NULL},
	{0, "isa", OPTION_TEXT, AT(isa), "NAME",
	 "Instruction set: auto, avx512, avx2 or portable. Never changes a byte.", 0, 0, NULL},
	{'o', "out", OPTION_TEXT, AT(out), "FILE", "Where the weights go.", 0, 0, NULL},
	{'q', "quiet", OPTION_FLAG, AT(quiet), NULL, "Only errors on stderr.", 0, 0, NULL},
};

static const struct tool_spec tool = {
	.name = "item-sim",
	.summary = "item-to-item weights from interactions",
	.operands = "FILE...",
	.description =
		"Reads streams of interactions (- is stdin), as one when there are several, and writes how much each item "
		"of a history speaks for every other item; score --similarity ranks by the sum over a user's history. "
		"Nothing about users is kept, so it serves users who came later as well.\n\n"
		"EASE inverts a matrix of items by items: 4 bytes times the square of their number, and the cube of it in "
		"operations. 3,700 items take a second, 20,000 take 1.7 GiB and minutes. Where users are few enough beside items "
		"for that to be less work, it inverts one of users by users instead: the same weights up to rounding. It begins "
		"only when that fits into memory, and says how many items would.",
	.examples =
		"item-sim -o ease.rec train.rec\n  EASE with its defaults.\n"
		"item-sim --method cosine --top 50 -o knn.rec train.rec\n"
		"  Item-to-item nearest neighbours, 50 for each item.\n"
		"item-sim --method cosine --window 5 --forward -o next.rec train.rec\n"
		"  What comes within five items of which.\n"
		"score --similarity ease.rec --history train.rec lists.rec | metrics\n  What they are worth.",
	.see_also = "score(1), rerank(1), recdump(1)",
	.options = table,
	.option_count = COUNT_OF(table),
	.defaults = &defaults,
	.size = sizeof defaults,
	.minimum_operands = 1,
	.maximum_operands = SIZE_MAX,
};

/* What the run holds open. */
struct run {
	const struct options *options;
	struct similarity_options similarity;
	struct stream_info info;
	struct histories histories;
	struct pool *pool;
	struct output output;
	struct stream_writer writer;
	struct similarity_times times;
};

static int check_options(const struct operands *operands, const struct options *o, struct error *error)
{
	static const struct {
		const char *name;
		int method;
	} of_method[] = {
		{"regularization", SIMILARITY_EASE}, {"dropout", SIMILARITY_EASE}, {"items-max", SIMILARITY_EASE},
		{"memory", SIMILARITY_EASE},         {"shrinkage", SIMILARITY_COSINE}, {"window", SIMILARITY_COSINE},
		{"forward", SIMILARITY_COSINE},
	};
	for (size_t i = 0; i < COUNT_OF(of_method); i++)
		if (o->method != of_method[i].method && option_given(&tool, operands, of_method[i].name))
			return error_set(error, CODE_USAGE, "--%s goes with --method %s", of_method[i].name,
			                 methods[of_method[i].method]);
	return 0;
}

static size_t memory_limit(const struct options *o)
{
	const long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
	if (o->memory)
		return (size_t)o->memory;
	return pages > 0 && page > 0 ? (size_t)pages * (size_t)page : SIZE_MAX;
}

static int prepare(struct run *run, struct error *error)
{
	const struct options *o = run->options;
	run->similarity = (struct similarity_options){
		.method = (enum similarity_method)o->method,
		.regularization = o->regularization,
		.dropout = o->dropout,
		.shrinkage = o->shrinkage,
		.window = (uint32_t)o->window,
		.forward = o->forward,
		.top = (uint32_t)o->top,
		.items_max = (uint32_t)o->items_max,
		.memory = memory_limit(o),
		.quiet = o->quiet,
	};
	if (isa_find(o->isa, &run->similarity.isa, error) < 0)
		return -1;
	run->pool = pool_new((size_t)o->threads, error);
	return run->pool ? 0 : -1;
}

/* With times only where they are needed: they take more than the rest. */
static int read_files(struct run *run, const struct operands *operands, struct error *error)
{
	const char *const *files = (const char *const *)operands->items;
	if (!similarity_needs_times(&run->similarity))
		return interactions_read_known(&run->histories.interactions, files, operands->count, files[0], &run->info,
		                               NULL, error);
	int result = histories_read(&run->histories, files, operands->count, files[0], &run->info, error);
	if (result == 0 && !run->histories.times)
		result = error_set(error, CODE_DATA,
		                   "%s%s: interactions without times (\"has_time\": false), --window and --forward need them",
		                   files[0], operands->count > 1 ? " and others" : "");
	return result;
}

static int open_writer(struct run *run, struct error *error)
{
	static const char *const skip[] = {"out", "memory", "threads", "isa", "quiet", NULL};
	const struct options *o = run->options;
	char described[512], digest[INTERACTIONS_DIGEST_SIZE];
	options_describe(&tool, o, skip, described, sizeof described);
	interactions_digest(&run->histories.interactions, digest);
	json_t *metadata = records_metadata(tool.name, described, &run->info, error);
	if (!metadata)
		return -1;
	json_object_set_new(metadata, "method", json_string(methods[o->method]));
	if (o->method == SIMILARITY_EASE) {
		json_object_set_new(metadata, "regularization", json_real(o->regularization));
		json_object_set_new(metadata, "dropout", json_real(o->dropout));
		json_object_set_new(metadata, "items_max", json_integer(o->items_max));
	} else {
		json_object_set_new(metadata, "shrinkage", json_real(o->shrinkage));
		json_object_set_new(metadata, "window", json_integer(o->window));
		json_object_set_new(metadata, "forward", json_boolean(o->forward));
	}
	json_object_set_new(metadata, "top", json_integer(o->top));
	json_object_set_new(metadata, "known", json_string(digest));
	int result = output_open(&run->output, o->out, error);
	if (result == 0)
		result = stream_writer_open(&run->writer, &run->output, STREAM_SIMILARITY, metadata, false, error);
	json_decref(metadata);
	return result;
}

static void tell(const struct run *run)
{
	const struct similarity_times *t = &run->times;
	if (run->options->quiet)
		return;
	if (run->options->method == SIMILARITY_EASE)
		note("%u items: counted in %.2f s, inverted (%u by %u) in %.2f s, written in %.2f s; peak memory %.0f MiB",
		     t->items, t->count, t->order, t->order, t->invert, t->write, (double)mem_peak() / (1 << 20));
	else
		note("%u items: counted and written in %.2f s; peak memory %.0f MiB", t->items, t->write,
		     (double)mem_peak() / (1 << 20));
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
	if (verdict == OPTIONS_FAILED || check_options(&operands, &options, &error) < 0)
		return error_report(&error);
	int result = prepare(&run, &error);
	if (result == 0)
		result = read_files(&run, &operands, &error);
	if (result == 0)
		result = open_writer(&run, &error);
	if (result == 0)
		result = similarity_make(&run.histories, &run.similarity, run.pool, &run.writer, &run.times, &error);
	if (result == 0)
		result = stream_writer_finish(&run.writer, &error);
	if (result == 0)
		result = output_commit(&run.output, &error);
	if (result == 0)
		tell(&run);
	pool_free(run.pool);
	histories_release(&run.histories);
	stream_info_release(&run.info);
	stream_writer_release(&run.writer);
	output_release(&run.output);
	return result == 0 ? CODE_OK : error_report(&error);
}
