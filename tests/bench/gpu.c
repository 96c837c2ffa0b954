/* gpu: training and ranking on a device. Samples are drawn by the device. Interactions and weights are random: nothing
 * here depends on what they are. Every line is a raw value as tests/bench/table reads it: name, role, label, better, value.
 *
 *   NAME       ours   of the device's time, by events, the host being ahead; a line a span
 *   NAME.wall  ours   of the host's clock around spans one after the other
 *   NAME.busy  ours   share of the host's time that the device was at work
 *   NAME       fact   matrix_flop, plain_flop, bytes: a sample or pair takes at least (model_counts.h); precision;
 *                     device; shape: kind, users, items and samples of a batch
 *   NAME       skip   why there is no figure
 *
 * With --share all sizes shrink, for a dry run on the emulated device. */
#include <dlfcn.h>
#include <regex.h>

#include "../../cuda/timing.h"
#include "backend.h"
#include "clock.h"
#include "gpu_rows.h"
#include "gpu_world.h"
#include "mem.h"
#include "model_counts.h"
#include "options.h"

struct options {
	const char *device, *only;
	int64_t runs;
	double share;
};

static const struct options defaults = {.device = "cuda", .only = ".", .runs = 5, .share = 1};

#define AT(member) offsetof(struct options, member)
static const struct option_spec table[] = {
	{'d', "device", OPTION_TEXT, AT(device), "NAME", "cpu, cuda, cuda:N, or several: cuda:0,1 or cuda:0-3.", 0, 0, NULL},
	{'o', "only", OPTION_TEXT, AT(only), "PATTERN", "Rows whose name matches this extended regular expression.", 0, 0, NULL},
	{'r', "runs", OPTION_INT, AT(runs), "N", "Spans that are timed.", 1, 1000, NULL},
	{0, "share", OPTION_REAL, AT(share), "X", "Users, items, positives and batches are so many times as many.", 1e-6, 1, NULL},
};

static const struct tool_spec tool = {
	.name = "gpu",
	.summary = "training and ranking on a device",
	.operands = "",
	.description = "Trains and ranks at the sizes of ML-1M and ML-20M; prints raw values for tests/bench/table.",
	.options = table,
	.option_count = COUNT_OF(table),
	.defaults = &defaults,
	.size = sizeof defaults,
};

enum { TOP = 10, SPAN_SAMPLES = 8 << 20, SPAN_BATCHES = 1024, NAME_SIZE = 128 };

struct bench {
	const struct options *options;
	const struct backend *backend;
	const struct cuda_timing *timing; /* NULL: a device without */
	struct world worlds[SIZES];
	/* Of the row at hand */
	const struct row *row;
	struct world *world;
	char name[NAME_SIZE];
	struct model_shape shape;
	struct backend_state *state;
	uint32_t batch_groups;
};

static void raw(const char *name, const char *suffix, const char *role, const char *label, const char *better, double value)
{
	printf("%s%s\t%s\t%s\t%s\t%.9g\n", name, suffix, role, label, better, value);
	fflush(stdout);
}

static void skip(const char *name, const char *reason)
{
	printf("%s\tskip\t%s\t-\t-\n", name, reason);
	fflush(stdout);
}

static int open_state(struct bench *b, enum precision precision, struct error *error)
{
	struct parameters parameters;
	const struct row *row = b->row;
	const uint64_t groups = shrunk(b->options->share, row->batch) / (1 + RATIO), known = b->world->known.count;
	b->shape = (struct model_shape){0};
	if (row->layers && model_shape_parse(row->layers, &b->shape, error) < 0)
		return -1;
	b->shape.kind = row->kind;
	b->shape.factors = row->factors;
	b->shape.users = b->world->known.users;
	b->shape.items = b->world->known.items;
	b->batch_groups = row->batch == 0 ? 0 : (uint32_t)(groups < known ? groups + 1 : known);
	const struct backend_options options = {
		.precision = precision, .isa = "auto", .seed = 1, .ratio = RATIO, .batch_groups = b->batch_groups,
		.optimizer = {.beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8},
	};
	if (parameters_init(&parameters, &b->shape, error) < 0)
		return -1;
	model_init_values(&b->shape, &parameters, 1, 0, RATIO, 0, 0, false);
	b->state = b->backend->open(&b->shape, &parameters, &options, error);
	parameters_release(&parameters);
	return b->state ? 0 : -1;
}

/* ---- time ---- */

/* What a call took: by the host's clock, and on the device, from its beginning to its end and at work. */
struct taken {
	double wall, device, busy;
};

static void print_counts(const struct bench *b, const struct model_counts *all, double units, const char *precision)
{
	raw(b->name, "", "fact", "matrix_flop", "-", all->matrix / units);
	raw(b->name, "", "fact", "plain_flop", "-", all->plain / units);
	raw(b->name, "", "fact", "bytes", "-", all->bytes / units);
	printf("%s\tfact\tprecision\t-\t%s\n", b->name, precision);
}

static int begin_time(const struct bench *b, double hold, struct error *error)
{
	return b->timing ? b->timing->begin(b->state, hold, error) : 0;
}

static int end_time(const struct bench *b, double begin, struct taken *taken, struct error *error)
{
	struct cuda_time time;
	*taken = (struct taken){.wall = clock_seconds() - begin};
	taken->device = taken->wall;
	if (!b->timing)
		return 0;
	if (b->timing->end(b->state, &time, error) < 0)
		return -1;
	taken->device = time.seconds;
	taken->busy = time.busy;
	return 0;
}

/* Where spans are in the epoch. */
struct spans {
	uint64_t at, groups;
	double *rates;
};

static int train_span(const struct bench *b, struct spans *spans, double hold, double *samples, struct taken *taken,
                      struct error *error)
{
	struct train_result result;
	const struct train_span span = {.begin = spans->at, .end = spans->at + spans->groups, .sampler = &b->world->sampler,
	                                .rates = spans->rates};
	if (begin_time(b, hold, error) < 0)
		return -1;
	const double begin = clock_seconds();
	if (b->backend->train(b->state, &span, &result, error) < 0 || end_time(b, begin, taken, error) < 0)
		return -1;
	*samples = (double)result.samples;
	spans->at = spans->at + 2 * spans->groups <= b->world->known.count ? spans->at + spans->groups : 0;
	return 0;
}

/* First spans as the trainer hands them over, by the host's clock; then with the device held until the host is ahead. So
 * far ahead that the launches of a small batch fit: some microseconds each. */
static int measure_training(struct bench *b, struct error *error)
{
	const uint64_t few = shrunk(b->options->share, SPAN_SAMPLES) / (1 + RATIO) / b->batch_groups;
	const uint64_t batches = few < 1 ? 1 : few < SPAN_BATCHES ? few : SPAN_BATCHES, most = b->world->known.count / b->batch_groups;
	struct spans spans = {0, (batches < most ? batches : most) * b->batch_groups, mem_alloc(batches, sizeof(double), error)};
	const double hold = 1e-3 + 1e-5 * (double)batches;
	struct taken taken;
	double samples, wall = 0, device = 0;
	int status = spans.rates ? 0 : -1;
	for (uint64_t i = 0; status == 0 && i < batches; i++)
		spans.rates[i] = 1e-3;
	for (int64_t run = -1; status == 0 && run < b->options->runs; run++) {
		status = train_span(b, &spans, 0, &samples, &taken, error);
		if (status == 0 && run >= 0) {
			raw(b->name, ".wall", "ours", "samples/s", "higher", samples / taken.wall);
			wall += taken.wall;
		}
	}
	for (int64_t run = 0; status == 0 && run < b->options->runs; run++) {
		status = train_span(b, &spans, hold, &samples, &taken, error);
		if (status == 0) {
			raw(b->name, "", "ours", "samples/s", "higher", samples / taken.device);
			device += taken.device;
		}
	}
	if (status == 0)
		raw(b->name, ".busy", "ours", "share", "higher", device / wall);
	mem_free(spans.rates);
	return status;
}

/* The best TOP items of every user that he does not know; a few users before, to warm up. */
static int measure_ranking(struct bench *b, struct error *error)
{
	const size_t users = b->world->known.users;
	const double pairs = (double)users * b->world->known.items;
	uint32_t *ids = mem_alloc(users, sizeof *ids, error), *items = mem_alloc(users * TOP, sizeof *items, error);
	uint32_t *counts = mem_alloc(users, sizeof *counts, error);
	float *scores = mem_alloc(users * TOP, sizeof *scores, error);
	struct score_top request = {users < 64 ? users : 64, ids, &b->world->known, NULL, TOP, items, scores, counts};
	struct taken taken;
	int status = -1;
	if (!ids || !items || !counts || !scores)
		goto out;
	for (size_t u = 0; u < users; u++)
		ids[u] = (uint32_t)u;
	for (int64_t run = -1; run < b->options->runs; run++) {
		request.count = run < 0 ? request.count : users;
		if (begin_time(b, 0, error) < 0)
			goto out;
		const double begin = clock_seconds();
		if (b->backend->score_top(b->state, &request, error) < 0 || end_time(b, begin, &taken, error) < 0)
			goto out;
		if (run < 0)
			continue;
		raw(b->name, "", "ours", "pairs/s", "higher", pairs / taken.device);
		raw(b->name, ".wall", "ours", "pairs/s", "higher", pairs / taken.wall);
		if (b->timing)
			raw(b->name, ".busy", "ours", "share", "higher", taken.busy / taken.wall);
	}
	status = 0;
out:
	mem_free(ids);
	mem_free(items);
	mem_free(counts);
	mem_free(scores);
	return status;
}

static int measure_row(struct bench *b, const char *precision, struct error *error)
{
	struct model_counts counts;
	struct batch_counts batch;
	fprintf(stderr, "%s: %s\n", b->name, b->backend->describe(b->state));
	printf("%s\tfact\tshape\t-\t%s %u %u %u\n", b->name, model_kind_names[b->shape.kind], b->shape.users, b->shape.items,
	       b->batch_groups * (1 + RATIO));
	printf("%s\tfact\tdevice\t-\t%s\n", b->name, b->backend->describe(b->state));
	if (b->batch_groups == 0) {
		counts = count_ranking(&b->shape, b->shape.users, TOP);
		print_counts(b, &counts, (double)b->shape.users * b->shape.items, precision);
		return measure_ranking(b, error);
	}
	if (world_count(b->world, b->batch_groups, &batch, error) < 0)
		return -1;
	counts = count_training(&b->shape, &batch);
	print_counts(b, &counts, batch.samples, precision);
	return measure_training(b, error);
}

/* ---- rows ---- */

/* Place of a name in precision_names; -1 where this build has none such. */
static int find_precision(const char *name)
{
	for (int p = 0; precision_names[p]; p++)
		if (strcmp(precision_names[p], name) == 0)
			return p;
	return -1;
}

/* A row with one precision and way. What the backend refuses, or has no memory for, is a row that is skipped. */
static int run_variant(struct bench *b, const char *precision, const char *way, struct error *error)
{
	const int number = find_precision(precision);
	struct error refusal = {0};
	int status = 0;
	if (number < 0) {
		skip(b->name, "there is no such precision in this build");
		return 0;
	}
	if (world_make(&b->worlds[b->row->size], &sizes[b->row->size], b->options->share, error) < 0)
		return -1;
	b->world = &b->worlds[b->row->size];
	setenv("RECPIPE_CUDA_TOWER", way, 1);
	if (open_state(b, (enum precision)number, &refusal) < 0)
		skip(b->name, refusal.message);
	else if (strcmp(way, "plain") == 0 && !strstr(b->backend->describe(b->state), "tower by"))
		skip(b->name, "this build has no plain tower");
	else
		status = measure_row(b, precision, &refusal);
	if (status < 0)
		skip(b->name, refusal.message);
	b->backend->close(b->state);
	b->state = NULL;
	return 0;
}

static int run_rows(struct bench *b, const regex_t *pattern, struct error *error)
{
	for (size_t r = 0; r < COUNT_OF(rows); r++)
		for (size_t w = 0; w < COUNT_OF(ways); w++)
			for (size_t p = 0; p < COUNT_OF(precisions); p++) {
				b->row = &rows[r];
				row_name(b->row, precisions[p], ways[w], b->name, sizeof b->name);
				if ((w > 0 && !rows[r].layers) || regexec(pattern, b->name, 0, NULL, 0) != 0)
					continue;
				if (run_variant(b, precisions[p], ways[w], error) < 0)
					return -1;
			}
	return 0;
}

/* The timing of the object that the backend's functions are in. */
static const struct cuda_timing *find_timing(const struct backend *backend)
{
	Dl_info where;
	const struct cuda_timing *(*entry)(void) = NULL;
	void *function = NULL;
	memcpy(&function, &backend->train, sizeof function);
	void *object = dladdr(function, &where) ? dlopen(where.dli_fname, RTLD_NOW | RTLD_NOLOAD) : NULL;
	if (object)
		*(void **)&entry = dlsym(object, "recpipe_cuda_timing");
	return entry ? entry() : NULL;
}

int main(int argc, char **argv)
{
	struct options options;
	struct operands operands;
	struct error error = {0};
	struct bench bench = {.options = &options};
	regex_t pattern;
	enum options_verdict verdict = options_parse(&tool, argc, argv, &options, &operands, &error);
	if (verdict == OPTIONS_DONE)
		return CODE_OK;
	if (verdict == OPTIONS_FAILED)
		return error_report(&error);
	if (regcomp(&pattern, options.only, REG_EXTENDED | REG_NOSUB) != 0) {
		error_set(&error, CODE_USAGE, "--only: '%s' is no regular expression", options.only);
		return error_report(&error);
	}
	bench.backend = backend_find(options.device, &error);
	if (bench.backend) {
		bench.timing = find_timing(bench.backend);
		if (run_rows(&bench, &pattern, &error) < 0)
			bench.backend = NULL;
	}
	for (size_t s = 0; s < SIZES; s++)
		world_release(&bench.worlds[s]);
	regfree(&pattern);
	return bench.backend ? CODE_OK : error_report(&error);
}
