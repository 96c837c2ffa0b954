/* parts: pieces of the tools by themselves: splitting a CSV into fields, reading its ratings, writing and reading a
 * stream, drawing negatives, products of the tower's shapes. Prints one line: `name TAB value TAB unit`.
 *
 * Each piece is one function measured_…(), so that callgrind can be told to collect inside it alone. */
#include "clock.h"
#include "csv_rows.h"
#include "kernels.h"
#include "mem.h"
#include "options.h"
#include "parallel.h"
#include "records.h"
#include "rng.h"
#include "sampler.h"

enum { SHARDS = 16, DRAWN_GROUPS = 1 << 16, RATIO = 4 };

struct options {
	const char *part, *isa;
	int64_t threads, rounds, rows, inputs, outputs;
};

static const struct options defaults = {.isa = "auto", .threads = 1, .rounds = 1, .rows = 48, .inputs = 64,
                                        .outputs = 64};

#define AT(member) offsetof(struct options, member)
static const struct option_spec table[] = {
	{'p', "part", OPTION_TEXT, AT(part), "NAME", "csv, ratings, stream-write, stream-read, sampler or product.", 0, 0,
	 NULL},
	{'n', "rounds", OPTION_INT, AT(rounds), "N", "How often the piece runs.", 1, 1e9, NULL},
	{0, "rows", OPTION_INT, AT(rows), "N", "product: rows, rounded up to a multiple of 12.", 1, 1e7, NULL},
	{0, "inputs", OPTION_INT, AT(inputs), "N", "product: inputs of the layer.", 16, 4096, NULL},
	{0, "outputs", OPTION_INT, AT(outputs), "N", "product: outputs of the layer.", 16, 4096, NULL},
	{'j', "threads", OPTION_INT, AT(threads), "N", "sampler: threads.", 1, 1024, NULL},
	{0, "isa", OPTION_TEXT, AT(isa), "NAME", "product: instruction set.", 0, 0, NULL},
};

static const struct tool_spec tool = {
	.name = "parts",
	.summary = "pieces of the tools by themselves",
	.operands = "[FILE]",
	.description = "Measures one piece: of CSV and streams on FILE, of the sampler on FILE's interactions.",
	.options = table,
	.option_count = COUNT_OF(table),
	.defaults = &defaults,
	.size = sizeof defaults,
	.maximum_operands = 1,
};

/* A piece: `work` is what was done, in the unit of the table below. */
#define PIECE(name) \
	int measured_##name(const struct options *options, const char *path, double *work, struct error *error); \
	__attribute__((noinline)) int measured_##name(const struct options *options UNUSED, const char *path UNUSED, \
	                                              double *work, struct error *error)

PIECE(csv)
{
	struct csv_reader *reader = mem_alloc_zero(1, sizeof *reader, error);
	enum csv_verdict verdict = CSV_ERROR;
	uint64_t characters = 0;
	if (reader && csv_open(reader, path, NULL, error) == 0) {
		while ((verdict = csv_next(reader, error)) > CSV_END)
			characters += reader->fields[0].length;
		*work = (double)reader->next_offset + (characters == 1); /* keeps the fields in use */
	}
	if (reader)
		csv_release(reader);
	mem_free(reader);
	return verdict == CSV_END ? 0 : -1;
}

/* Rows as the tools read them, by one thread: the scanner, the parser behind it, and reading the file. */
PIECE(ratings)
{
	struct csv_rows *rows = mem_alloc_zero(1, sizeof *rows, error);
	struct csv_rows_run run;
	uint64_t sum = 0;
	int verdict = CSV_ERROR;
	if (rows && csv_rows_open(rows, path, NULL, NULL, 1, CSV_ROWS_AT_A_TIME, error) == 0) {
		while ((verdict = csv_rows_next(rows, &run, error)) > CSV_END)
			for (size_t r = 0; verdict == CSV_ROWS && r < run.count; r++)
				sum += run.items[r];
		*work = (double)rows->reader.next_offset + (sum == 1);
	}
	if (rows)
		csv_rows_release(rows);
	mem_free(rows);
	return verdict == CSV_END ? 0 : -1;
}

PIECE(stream_write)
{
	enum { RECORDS = 5000000, BATCH = 1000 };
	static uint32_t users[BATCH], items[BATCH];
	static float ratings[BATCH];
	static int64_t times[BATCH];
	const struct interaction_columns columns = {users, items, ratings, times};
	struct output output = {.fd = -1};
	struct stream_writer writer = {0};
	int result = -1;
	if (output_open(&output, "/dev/null", error) < 0 ||
	    stream_writer_open(&writer, &output, STREAM_INTERACTIONS, NULL, false, error) < 0)
		goto out;
	for (uint32_t r = 0; r < RECORDS; r += BATCH) {
		for (uint32_t i = 0; i < BATCH; i++) {
			users[i] = (r + i) >> 8;
			items[i] = (r + i) & 4095;
			times[i] = r + i;
		}
		if (interactions_write(&writer, &columns, BATCH, error) < 0)
			goto out;
	}
	if (stream_writer_finish(&writer, error) < 0)
		goto out;
	*work = (double)RECORDS * INTERACTION_SIZE;
	result = 0;
out:
	stream_writer_release(&writer);
	output_release(&output);
	return result;
}

PIECE(stream_read)
{
	enum { BATCH = 2048 };
	uint32_t users[BATCH], items[BATCH];
	const struct interaction_columns columns = {users, items, NULL, NULL};
	struct stream_reader reader = {0};
	struct stream_info info = {0};
	uint64_t sum = 0;
	ptrdiff_t got = -1;
	if (stream_reader_open(&reader, path, STREAM_INTERACTIONS, error) == 0 &&
	    records_info(&reader, &info, error) == 0)
		while ((got = interactions_take(&reader, &info, &columns, BATCH, error)) > 0)
			for (ptrdiff_t i = 0; i < got; i++)
				sum += items[i];
	*work = (double)reader.records * INTERACTION_SIZE + (sum == 1);
	stream_info_release(&info);
	stream_reader_release(&reader);
	return got == 0 ? 0 : -1;
}

/* ---- negatives ---- */

struct draw {
	const struct sampler *sampler;
	uint64_t groups;
	uint32_t *users, *items;
};

static void draw_shard(void *context, size_t shard, size_t worker)
{
	const struct draw *draw = context;
	const size_t from = shard_begin(draw->groups, SHARDS, shard), to = shard_begin(draw->groups, SHARDS, shard + 1);
	(void)worker;
	sampler_fill(draw->sampler, from, to, draw->users + from, draw->items + from * (1 + RATIO));
}

static double elapsed_in_setup; /* seconds that a piece spent before what it measures */

PIECE(sampler)
{
	const struct sampler_options sampler_options = {.seed = 1, .ratio = RATIO};
	struct interactions known = {0};
	struct stream_info info = {0};
	struct sampler sampler = {0};
	struct pool *pool = NULL;
	struct draw draw = {.sampler = &sampler};
	int result = -1;
	const double begin = clock_seconds();
	if (interactions_read(&known, path, &info, error) < 0 ||
	    sampler_init(&sampler, &known, &sampler_options, error) < 0)
		goto out;
	draw.groups = known.count < DRAWN_GROUPS ? known.count : DRAWN_GROUPS;
	draw.users = mem_alloc(draw.groups, sizeof *draw.users, error);
	draw.items = mem_alloc(draw.groups * (1 + RATIO), sizeof *draw.items, error);
	pool = pool_new((size_t)options->threads, error);
	if (!draw.users || !draw.items || !pool)
		goto out;
	elapsed_in_setup += clock_seconds() - begin;
	for (uint32_t epoch = 0; epoch < 16; epoch++) {
		sampler_start_epoch(&sampler, epoch);
		pool_run(pool, SHARDS, draw_shard, &draw);
	}
	*work = 16.0 * RATIO * (double)draw.groups;
	result = 0;
out:
	pool_free(pool);
	mem_free(draw.users);
	mem_free(draw.items);
	sampler_release(&sampler);
	stream_info_release(&info);
	interactions_release(&known);
	return result;
}

/* ---- products: x [rows, inputs] times W [inputs, outputs], in a cache that is warm ---- */

PIECE(product)
{
	const size_t rows = padded_to((size_t)options->rows, TILE_ROWS);
	const size_t inputs = padded_to((size_t)options->inputs, MODEL_LANES);
	const size_t outputs = padded_to((size_t)options->outputs, MODEL_LANES);
	const double begin = clock_seconds();
	float *x = mem_alloc_zero(rows * inputs, sizeof *x, error);
	float *out = mem_alloc_zero(rows * outputs, sizeof *out, error);
	float *weight = mem_alloc_zero(inputs * outputs, sizeof *weight, error);
	const struct dense_layer layer = {
		.inputs = inputs, .outputs = outputs, .inputs_padded = inputs, .outputs_padded = outputs,
		.weight = weight, .prepared = weight,
	};
	enum isa isa;
	int result = -1;
	if (!x || !out || !weight || isa_find(options->isa, &isa, error) < 0)
		goto out;
	const struct tower_kernels *kernels = tower_kernels_of(isa);
	const double operations = 2.0 * (double)(rows * inputs * outputs);
	const size_t calls = (size_t)(2e9 / operations) + 1;
	kernels->project(x, inputs, rows, &layer, out, outputs, NULL);
	elapsed_in_setup += clock_seconds() - begin;
	for (size_t call = 0; call < calls; call++)
		kernels->project(x, inputs, rows, &layer, out, outputs, NULL);
	*work = operations * (double)calls;
	result = 0;
out:
	mem_free(x);
	mem_free(out);
	mem_free(weight);
	return result;
}

static const struct {
	const char *name;
	int (*run)(const struct options *options, const char *path, double *work, struct error *error);
	double scale;           /* of the work in one unit */
	const char *unit;
	bool reads;             /* needs FILE */
} parts[] = {
	{"csv", measured_csv, 1e6, "MB/s", true},
	{"ratings", measured_ratings, 1e6, "MB/s", true},
	{"stream-write", measured_stream_write, 1e6, "MB/s", false},
	{"stream-read", measured_stream_read, 1e6, "MB/s", true},
	{"sampler", measured_sampler, 1e6, "M/s", true},
	{"product", measured_product, 1e9, "GFLOP/s", false},
};

static int measure(const struct options *options, const char *path, struct error *error)
{
	for (size_t p = 0; p < COUNT_OF(parts); p++) {
		if (!options->part || strcmp(options->part, parts[p].name) != 0)
			continue;
		if (parts[p].reads && !path)
			return error_set(error, CODE_USAGE, "--part %s needs a file", parts[p].name);
		double work = 0.0, total = 0.0;
		const double begin = clock_seconds();
		for (int64_t round = 0; round < options->rounds; round++, total += work)
			if (parts[p].run(options, path, &work, error) < 0)
				return -1;
		figure(parts[p].name, total / (clock_seconds() - begin - elapsed_in_setup) / parts[p].scale, parts[p].unit);
		return 0;
	}
	return error_set(error, CODE_USAGE, "--part: %s, expected one of csv, ratings, stream-write, stream-read, sampler, "
	                 "product", options->part ? options->part : "none");
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
	int result = measure(&options, operands.count ? operands.items[0] : NULL, &error);
	return result == 0 ? CODE_OK : error_report(&error);
}
