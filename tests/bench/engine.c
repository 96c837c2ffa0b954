/* engine: the training engine alone. Samples are drawn beforehand and given to the backend, so that nothing but
 * its batches is measured: `samples_per_s`, and the operations a sample really takes (`flop_per_sample`), which
 * with the multiply-adds of ceilings.c give the ceiling.
 *
 * With --batches it runs exactly that many, for counting instructions: callgrind is told to collect inside
 * measured_batches() alone. */
#include "backend.h"
#include "clock.h"
#include "mem.h"
#include "options.h"
#include "rng.h"

struct options {
	const char *layers, *isa;
	int64_t batch, span, threads, ratio, batches, users, items, positives;
	double seconds;
};

static const struct options defaults = {
	.layers = "128-64-32-16-8-4-1", .isa = "auto", .batch = 1280, .span = 1 << 19, .threads = 1, .ratio = 4,
	.seconds = 1, .users = 6040, .items = 3706, .positives = 100000,
};

#define AT(member) offsetof(struct options, member)
static const struct option_spec table[] = {
	{'l', "layers", OPTION_TEXT, AT(layers), "WIDTHS", "Widths of the tower.", 0, 0, NULL},
	{'b', "batch", OPTION_INT, AT(batch), "N", "Samples in a batch.", 1, 16e6, NULL},
	{0, "span", OPTION_INT, AT(span), "N", "Samples handed over at once, as the trainer does.", 1, 16e6, NULL},
	{'r', "ratio", OPTION_INT, AT(ratio), "N", "Negatives a positive.", 0, SAMPLER_RATIO_MAX, NULL},
	{'s', "seconds", OPTION_REAL, AT(seconds), "X", "How long to train.", 0.001, 3600, NULL},
	{0, "batches", OPTION_INT, AT(batches), "N", "Train exactly so many batches instead.", 0, 1e9, NULL},
	{0, "users", OPTION_INT, AT(users), "N", "Without FILE: random positives of so many users,", 1, 1e9, NULL},
	{0, "items", OPTION_INT, AT(items), "N", "so many items,", 1, 1e9, NULL},
	{0, "positives", OPTION_INT, AT(positives), "N", "and so many pairs (doubled ones merged).", 1, 1e9, NULL},
	{'j', "threads", OPTION_INT, AT(threads), "N", "Threads.", 1, 1024, NULL},
	{0, "isa", OPTION_TEXT, AT(isa), "NAME", "Instruction set.", 0, 0, NULL},
};

static const struct tool_spec tool = {
	.name = "engine",
	.summary = "the training engine alone",
	.operands = "[FILE]",
	.description = "Trains on samples drawn beforehand from a stream of interactions, or from random ones.",
	.options = table,
	.option_count = COUNT_OF(table),
	.defaults = &defaults,
	.size = sizeof defaults,
	.maximum_operands = 1,
};

/* Groups drawn beforehand, and the engine they go to. */
struct engine {
	const struct options *options;
	struct model_shape shape;
	struct interactions positives;
	uint32_t *users, *items;
	double *rates;
	uint32_t batch_groups;
	uint64_t groups, span_groups;
	struct backend_state *state;
};

static int make_positives(const struct options *options, struct interactions *positives, struct error *error)
{
	const size_t count = (size_t)options->positives;
	uint32_t *users = mem_alloc(count, sizeof *users, error), *items = mem_alloc(count, sizeof *items, error);
	int result = -1;
	if (!users || !items)
		goto out;
	for (size_t i = 0; i < count; i++) {
		uint32_t words[4];
		rng_block(1, rng_stream(RNG_TEST, 1), i, 0, words);
		users[i] = rng_scale(words[0], (uint32_t)options->users);
		items[i] = rng_scale(words[1], (uint32_t)options->items);
	}
	result = interactions_from_pairs(positives, (uint32_t)options->users, (uint32_t)options->items, users, items, count,
	                                 error);
out:
	mem_free(users);
	mem_free(items);
	return result;
}

static int draw_samples(struct engine *engine, struct error *error)
{
	const uint32_t ratio = (uint32_t)engine->options->ratio;
	const struct sampler_options options = {.seed = 1, .ratio = ratio};
	struct sampler sampler = {0};
	int result = -1;
	engine->groups = engine->positives.count;
	engine->users = mem_alloc(engine->groups, sizeof *engine->users, error);
	engine->items = mem_alloc(engine->groups * (1 + (size_t)ratio), sizeof *engine->items, error);
	if (!engine->users || !engine->items || sampler_init(&sampler, &engine->positives, &options, error) < 0)
		goto out;
	sampler_start_epoch(&sampler, 0);
	if (sampler_fill(&sampler, 0, engine->groups, engine->users, engine->items) > 0)
		error_set(error, CODE_DATA, "a user has seen nearly every item: no negatives for him");
	else
		result = 0;
out:
	sampler_release(&sampler);
	return result;
}

static int open_backend(struct engine *engine, struct error *error)
{
	const struct options *o = engine->options;
	const struct backend_options options = {
		.threads = (size_t)o->threads, .isa = o->isa, .seed = 1, .ratio = (uint32_t)o->ratio,
		.batch_groups = engine->batch_groups,
		.optimizer = {.beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8},
	};
	struct parameters parameters;
	if (parameters_init(&parameters, &engine->shape, error) < 0)
		return -1;
	model_init_values(&engine->shape, &parameters, 1, 0, (uint32_t)o->ratio, 0, 0, false);
	engine->state = backend_cpu.open(&engine->shape, &parameters, &options, error);
	parameters_release(&parameters);
	return engine->state ? 0 : -1;
}

static int prepare(struct engine *engine, const char *path, struct error *error)
{
	const struct options *o = engine->options;
	struct stream_info info = {0};
	if (model_shape_parse(o->layers, &engine->shape, error) < 0)
		return -1;
	int result = path ? interactions_read(&engine->positives, path, &info, error)
	                  : make_positives(o, &engine->positives, error);
	stream_info_release(&info);
	if (result < 0 || draw_samples(engine, error) < 0)
		return -1;
	engine->shape.users = engine->positives.users;
	engine->shape.items = engine->positives.items;
	const uint64_t group = 1 + (uint64_t)o->ratio, groups = (uint64_t)o->batch / group;
	engine->batch_groups = (uint32_t)(groups < 1 ? 1 : groups < engine->groups ? groups : engine->groups);
	uint64_t batches = (uint64_t)o->span / (engine->batch_groups * group);
	const uint64_t most = engine->groups / engine->batch_groups;
	batches = batches < 1 ? 1 : batches < most ? batches : most;
	engine->span_groups = batches * engine->batch_groups;
	engine->rates = mem_alloc(batches, sizeof *engine->rates, error);
	if (!engine->rates)
		return -1;
	for (uint64_t b = 0; b < batches; b++)
		engine->rates[b] = 1e-3;
	return open_backend(engine, error);
}

/* Operations of one sample: the tower behind the first layer forward, back to its inputs and to its weights; the
 * first layer's halves once for every distinct user and item of a batch (averaged over the first batches). */
static double flop_per_sample(const struct engine *engine, struct error *error)
{
	const struct model_shape *s = &engine->shape;
	const uint32_t group = 1 + (uint32_t)engine->options->ratio;
	const uint64_t batches = engine->groups / engine->batch_groups < 8 ? engine->groups / engine->batch_groups : 8;
	uint64_t *seen = mem_alloc_zero((size_t)s->users + s->items, sizeof *seen, error);
	double tower = 0.0, users = 0.0, items = 0.0;
	if (!seen)
		return -1.0;
	for (uint32_t l = 1; l < s->layer_count; l++)
		tower += 6.0 * s->widths[l - 1] * s->widths[l];
	for (uint64_t g = 0; g < batches * engine->batch_groups; g++) {
		const uint64_t batch = 1 + g / engine->batch_groups;
		users += seen[engine->users[g]] != batch;
		seen[engine->users[g]] = batch;
		for (uint32_t i = 0; i < group; i++) {
			uint64_t *mark = &seen[s->users + engine->items[g * group + i]];
			items += *mark != batch;
			*mark = batch;
		}
	}
	mem_free(seen);
	return tower + 6.0 * s->widths[0] * (users * s->user_dimension + items * s->item_dimension) /
	               ((double)batches * engine->batch_groups * group);
}

/* Trains `groups` groups from `begin` on. Visible and never inlined: callgrind collects inside it. */
int measured_batches(struct engine *engine, uint64_t begin, uint64_t groups, struct error *error);
__attribute__((noinline)) int measured_batches(struct engine *engine, uint64_t begin, uint64_t groups,
                                               struct error *error)
{
	const struct train_span span = {
		.begin = begin, .end = begin + groups, .users = engine->users + begin,
		.items = engine->items + begin * (1 + (uint64_t)engine->options->ratio), .rates = engine->rates,
	};
	struct train_result result;
	return backend_cpu.train(engine->state, &span, &result, error);
}

/* Span after span, around and around, until the time is up or the batches are done. */
static int measure(struct engine *engine, struct error *error)
{
	const struct options *o = engine->options;
	const uint64_t group = 1 + (uint64_t)o->ratio;
	uint64_t left = o->batches ? (uint64_t)o->batches * engine->batch_groups : UINT64_MAX, done = 0, at = 0;
	if (!o->batches && measured_batches(engine, 0, engine->span_groups, error) < 0)
		return -1; /* warm */
	const double begin = clock_seconds();
	double now = begin;
	while (left > 0 && (o->batches || now - begin < o->seconds)) {
		const uint64_t some = left < engine->span_groups ? left : engine->span_groups;
		if (at + some > engine->groups)
			at = 0;
		if (measured_batches(engine, at, some, error) < 0)
			return -1;
		at += some;
		done += some;
		left -= some;
		now = clock_seconds();
	}
	const double flop = flop_per_sample(engine, error);
	if (flop < 0)
		return -1;
	figure("samples", (double)(done * group), "samples");
	figure("samples_per_s", (double)(done * group) / (now - begin), "samples/s");
	figure("flop_per_sample", flop, "FLOP");
	return 0;
}

int main(int argc, char **argv)
{
	struct options options;
	struct operands operands;
	struct error error = {0};
	struct engine engine = {.options = &options};
	enum options_verdict verdict = options_parse(&tool, argc, argv, &options, &operands, &error);
	if (verdict == OPTIONS_DONE)
		return CODE_OK;
	if (verdict == OPTIONS_FAILED)
		return error_report(&error);
	int result = prepare(&engine, operands.count ? operands.items[0] : NULL, &error);
	if (result == 0)
		result = measure(&engine, &error);
	backend_cpu.close(engine.state);
	interactions_release(&engine.positives);
	mem_free(engine.users);
	mem_free(engine.items);
	mem_free(engine.rates);
	return result == 0 ? CODE_OK : error_report(&error);
}
