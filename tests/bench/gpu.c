/* gpu: training and ranking on a device, a row of the table below a figure. Samples are drawn by the device; time is
 * taken around whole spans, at whose end the backend waits for the device. Interactions and weights are random: nothing
 * here depends on what they are. With --share all sizes shrink, for a dry run on the emulated device. */
#include "backend.h"
#include "clock.h"
#include "mem.h"
#include "options.h"
#include "rng.h"

struct options {
	const char *device, *only;
	double seconds, share;
};

static const struct options defaults = {.device = "cuda", .only = "", .seconds = 2, .share = 1};

#define AT(member) offsetof(struct options, member)
static const struct option_spec table[] = {
	{'d', "device", OPTION_TEXT, AT(device), "NAME", "cpu, cuda, cuda:N, or several: cuda:0,1 or cuda:0-3.", 0, 0, NULL},
	{'o', "only", OPTION_TEXT, AT(only), "TEXT", "Rows whose name has this in it.", 0, 0, NULL},
	{'s', "seconds", OPTION_REAL, AT(seconds), "X", "How long each row is measured, at least.", 0.001, 3600, NULL},
	{0, "share", OPTION_REAL, AT(share), "X", "Users, items, positives and batches are so many times as many.", 1e-6, 1, NULL},
};

static const struct tool_spec tool = {
	.name = "gpu",
	.summary = "training and ranking on a device",
	.operands = "",
	.description = "Trains and ranks at the sizes of ML-1M and ML-20M; prints a line a figure: name, value, unit.",
	.options = table,
	.option_count = COUNT_OF(table),
	.defaults = &defaults,
	.size = sizeof defaults,
};

struct size {
	uint32_t users, items;
	uint64_t positives;
};

static const struct size ml1m = {6040, 3706, 1000000}, ml20m = {138493, 26744, 20000000};

struct row {
	const char *name;
	const struct size *size;
	enum model_kind kind;
	const char *layers;
	uint32_t factors, batch; /* batch 0: ranks for everybody */
};

static const char seed_tower[] = "128-64-32-16-8-4-1", large_tower[] = "256-256-128-64-1";

static const struct row rows[] = {
	{"gpu.train.ml1m.1k.samples_per_s", &ml1m, MODEL_MLP, seed_tower, 0, 1024},
	{"gpu.train.ml1m.16k.samples_per_s", &ml1m, MODEL_MLP, seed_tower, 0, 16384},
	{"gpu.train.ml1m.128k.samples_per_s", &ml1m, MODEL_MLP, seed_tower, 0, 131072},
	{"gpu.train.ml1m.1m.samples_per_s", &ml1m, MODEL_MLP, seed_tower, 0, 1048576},
	{"gpu.train.ml20m.16k.samples_per_s", &ml20m, MODEL_MLP, seed_tower, 0, 16384},
	{"gpu.train.ml20m.samples_per_s", &ml20m, MODEL_MLP, seed_tower, 0, 1048576},
	{"gpu.train.ml20m.mf.samples_per_s", &ml20m, MODEL_MF, NULL, 64, 1048576},
	{"gpu.train.ml20m.neumf.samples_per_s", &ml20m, MODEL_NEUMF, large_tower, 64, 1048576},
	{"gpu.score.ml1m.pairs_per_s", &ml1m, MODEL_MLP, seed_tower, 0, 0},
	{"gpu.score.ml20m.pairs_per_s", &ml20m, MODEL_MLP, seed_tower, 0, 0},
	{"gpu.score.ml20m.neumf.pairs_per_s", &ml20m, MODEL_NEUMF, large_tower, 64, 0},
};

enum { RATIO = 4, TOP = 10, SPAN_SAMPLES = 8 << 20 };

struct bench {
	const struct options *options;
	const struct backend *backend;
	const struct row *row;
	struct interactions known;
	struct model_shape shape;
	struct backend_state *state;
	uint32_t batch_groups;
};

static uint64_t shrunk(const struct bench *b, uint64_t count)
{
	const double some = (double)count * b->options->share;
	return some < 8 ? 8 : (uint64_t)some;
}

/* Pairs whose items are a third of them popular. */
static int make_known(struct bench *b, struct error *error)
{
	const size_t count = shrunk(b, b->row->size->positives);
	const uint32_t users = (uint32_t)shrunk(b, b->row->size->users), items = (uint32_t)shrunk(b, b->row->size->items);
	uint32_t *pair_users = mem_alloc(count, sizeof *pair_users, error);
	uint32_t *pair_items = mem_alloc(count, sizeof *pair_items, error);
	int result = -1;
	for (size_t i = 0; pair_users && pair_items && i < count; i++) {
		uint32_t words[4];
		rng_block(1, rng_stream(RNG_TEST, 2), i, 0, words);
		pair_users[i] = rng_scale(words[0], users);
		pair_items[i] = rng_scale(words[1], words[2] % 3 ? items : rng_scale(words[3], items) + 1);
	}
	if (pair_users && pair_items)
		result = interactions_from_pairs(&b->known, users, items, pair_users, pair_items, count, error);
	mem_free(pair_users);
	mem_free(pair_items);
	return result;
}

static int open_state(struct bench *b, struct error *error)
{
	struct parameters parameters;
	const uint64_t groups = shrunk(b, b->row->batch) / (1 + RATIO);
	if (b->row->layers && model_shape_parse(b->row->layers, &b->shape, error) < 0)
		return -1;
	b->shape.kind = b->row->kind;
	b->shape.factors = b->row->factors;
	b->shape.users = b->known.users;
	b->shape.items = b->known.items;
	b->batch_groups = b->row->batch == 0 ? 0 : (uint32_t)(groups < b->known.count ? groups + 1 : b->known.count);
	const struct backend_options options = {
		.isa = "auto", .seed = 1, .ratio = RATIO, .batch_groups = b->batch_groups,
		.optimizer = {.beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8},
	};
	if (parameters_init(&parameters, &b->shape, error) < 0)
		return -1;
	model_init_values(&b->shape, &parameters, 1, 0, RATIO, 0, 0, false);
	b->state = b->backend->open(&b->shape, &parameters, &options, error);
	parameters_release(&parameters);
	return b->state ? 0 : -1;
}

/* Spans around the epoch until the time is up; the first one is not counted. */
static int measure_training(struct bench *b, double *value, struct error *error)
{
	const struct sampler_options options = {.seed = 1, .ratio = RATIO};
	struct sampler sampler = {0};
	struct train_result result;
	const uint64_t few = SPAN_SAMPLES / (1 + RATIO) / b->batch_groups, batches = few > 0 ? few : 1;
	const uint64_t span_groups = batches * b->batch_groups < b->known.count ? batches * b->batch_groups : b->known.count;
	double *rates = mem_alloc(batches, sizeof *rates, error), begin = 0;
	uint64_t at = 0, samples = 0;
	int status = -1;
	if (!rates || sampler_init(&sampler, &b->known, &options, error) < 0)
		goto out;
	for (uint64_t i = 0; i < batches; i++)
		rates[i] = 1e-3;
	for (bool warm = false; !warm || clock_seconds() - begin < b->options->seconds; warm = true) {
		const struct train_span span = {.begin = at, .end = at + span_groups, .sampler = &sampler, .rates = rates};
		if (b->backend->train(b->state, &span, &result, error) < 0)
			goto out;
		if (warm)
			samples += result.samples;
		else
			begin = clock_seconds();
		at = at + 2 * span_groups <= b->known.count ? at + span_groups : 0;
	}
	*value = (double)samples / (clock_seconds() - begin);
	status = 0;
out:
	mem_free(rates);
	sampler_release(&sampler);
	return status;
}

/* The best TOP items of every user that he does not know, once; a few users before, to warm up. */
static int measure_ranking(struct bench *b, double *value, struct error *error)
{
	const size_t users = b->known.users;
	uint32_t *ids = mem_alloc(users, sizeof *ids, error), *items = mem_alloc(users * TOP, sizeof *items, error);
	uint32_t *counts = mem_alloc(users, sizeof *counts, error);
	float *scores = mem_alloc(users * TOP, sizeof *scores, error);
	struct score_top request = {users < 64 ? users : 64, ids, &b->known, NULL, TOP, items, scores, counts};
	int status = -1;
	if (!ids || !items || !counts || !scores)
		goto out;
	for (size_t u = 0; u < users; u++)
		ids[u] = (uint32_t)u;
	if (b->backend->score_top(b->state, &request, error) < 0)
		goto out;
	const double begin = clock_seconds();
	request.count = users;
	if (b->backend->score_top(b->state, &request, error) < 0)
		goto out;
	*value = (double)users * b->known.items / (clock_seconds() - begin);
	status = 0;
out:
	mem_free(ids);
	mem_free(items);
	mem_free(counts);
	mem_free(scores);
	return status;
}

static int measure(const struct options *options, const struct backend *backend, const struct row *row,
                   struct error *error)
{
	struct bench b = {.options = options, .backend = backend, .row = row};
	double value = 0;
	int status = -1;
	if (make_known(&b, error) < 0 || open_state(&b, error) < 0)
		goto out;
	status = row->batch > 0 ? measure_training(&b, &value, error) : measure_ranking(&b, &value, error);
	if (status == 0) {
		fprintf(stderr, "%s: %s\n", row->name, backend->describe(b.state));
		figure(row->name, value, row->batch > 0 ? "samples/s" : "pairs/s");
	}
out:
	backend->close(b.state);
	interactions_release(&b.known);
	return status;
}

int main(int argc, char **argv)
{
	struct options options;
	struct operands operands;
	struct error error = {0};
	enum options_verdict verdict = options_parse(&tool, argc, argv, &options, &operands, &error);
	if (verdict == OPTIONS_DONE)
		return CODE_OK;
	if (verdict == OPTIONS_FAILED)
		return error_report(&error);
	const struct backend *backend = backend_find(options.device, &error);
	for (size_t r = 0; backend && r < COUNT_OF(rows); r++)
		if (strstr(rows[r].name, options.only) && measure(&options, backend, &rows[r], &error) < 0)
			break;
	return error.code == CODE_OK ? CODE_OK : error_report(&error);
}
