/* csv_parser: the parser of ratings alone, on a file in the page cache. Prints lines `name TAB value TAB unit`.
 *
 *   csv_parser [--threads N] [--rounds N] [--at-a-time BYTES] [--isa NAME] FILE
 *
 * scan: the scanner of one instruction set on bytes that are in memory, one thread, beginning to end by slots.
 * rows: csv_rows_next, reading the file included. robust: rating_row_next, the parser behind it. */
#include "clock.h"
#include "csv_rows.h"
#include "mem.h"
#include "options.h"

struct options {
	const char *isa;
	int64_t threads, rounds, at_a_time;
};

static const struct options defaults = {.isa = "auto", .threads = 1, .rounds = 5, .at_a_time = CSV_ROWS_AT_A_TIME};

#define AT(member) offsetof(struct options, member)
static const struct option_spec table[] = {
	{'n', "rounds", OPTION_INT, AT(rounds), "N", "How often; the best is printed.", 1, 1e9, NULL},
	{'j', "threads", OPTION_INT, AT(threads), "N", "rows: threads.", 0, 1024, NULL},
	{0, "at-a-time", OPTION_INT, AT(at_a_time), "N", "Bytes scanned at a time.", 1, 1e9, NULL},
	{0, "isa", OPTION_TEXT, AT(isa), "NAME", "scan: instruction set.", 0, 0, NULL},
};

static const struct tool_spec tool = {
	.name = "csv_parser",
	.summary = "the parser of ratings alone",
	.operands = "FILE",
	.description = "Measures the scanner, the runs of rows, and the parser behind them on FILE.",
	.options = table,
	.option_count = COUNT_OF(table),
	.defaults = &defaults,
	.size = sizeof defaults,
	.minimum_operands = 1,
	.maximum_operands = 1,
};

static int read_whole(const char *path, char **memory, size_t *size, struct error *error)
{
	struct input input;
	size_t capacity = 0;
	ptrdiff_t got = 1;
	*memory = NULL;
	*size = 0;
	int result = input_open(&input, path, error);
	while (result == 0 && got > 0) {
		result = mem_grow((void **)memory, &capacity, *size + CSV_SCAN_BEFORE + (1 << 20) + CSV_SCAN_BEHIND, 1, error);
		got = result == 0 ? input_read(&input, *memory + CSV_SCAN_BEFORE + *size, 1 << 20, error) : -1;
		*size += got > 0 ? (size_t)got : 0;
	}
	input_release(&input);
	return got < 0 ? -1 : result;
}

/* Seconds for the whole of `bytes`, whose lines have the shape of the first one; *rows of them are ordinary. */
static double scan_once(csv_scan_function *scan, const char *bytes, size_t size, size_t step, struct csv_scan *space,
                        uint64_t *rows)
{
	struct csv_scan_shape shape = {.delimiter = ',', .width = 1, .columns = 4, .at = {0, 1, 2, 3}};
	const double start = clock_seconds();
	*rows = 0;
	for (size_t at = 0; at < size;) {
		size_t end = size - at > step ? at + step : size;
		while (end < size && bytes[end - 1] != '\n')
			end--;
		scan(&shape, bytes, at, end, space);
		*rows += space->row_count;
		at = end;
	}
	return clock_seconds() - start;
}

static int measure_scan(const struct options *o, const char *path, struct error *error)
{
	struct csv_scan space = {0};
	char *memory = NULL;
	size_t size;
	enum isa isa;
	uint64_t rows = 0;
	double best = 1e30;
	int result = -1;
	if (csv_scan_init(&space, (size_t)o->at_a_time, error) < 0 || isa_find(o->isa, &isa, error) < 0 ||
	    read_whole(path, &memory, &size, error) < 0)
		goto out;
	for (int64_t r = 0; r < o->rounds; r++) {
		const double took = scan_once(csv_scan_of(isa), memory + CSV_SCAN_BEFORE, size, (size_t)o->at_a_time, &space, &rows);
		best = took < best ? took : best;
	}
	printf("scan.%s.gb_per_s\t%.3f\tGB/s\nscan.ordinary_rows\t%llu\t1\n", isa_names[isa], (double)size / 1e9 / best,
	       (unsigned long long)rows);
	result = 0;
out:
	csv_scan_release(&space);
	mem_free(memory);
	return result;
}

static int measure_rows(const struct options *o, const char *path, struct error *error)
{
	double best = 1e30, sum = 0;
	uint64_t count = 0, bytes = 0;
	int verdict = CSV_END;
	struct csv_rows *rows = mem_alloc_zero(1, sizeof *rows, error);
	for (int64_t r = 0; rows && r < o->rounds && verdict == CSV_END; r++) {
		struct csv_rows_run run;
		const double start = clock_seconds();
		count = 0;
		verdict = CSV_ERROR;
		if (csv_rows_open(rows, path, NULL, NULL, (size_t)o->threads, (size_t)o->at_a_time, error) == 0)
			while ((verdict = csv_rows_next(rows, &run, error)) > CSV_END) {
				count += verdict == CSV_ROWS ? run.count : 1;
				sum += verdict == CSV_ROWS ? csv_run_value(&run, 0) : run.odd.rating;
			}
		bytes = rows->fetched;
		csv_rows_release(rows);
		const double took = clock_seconds() - start;
		best = took < best ? took : best;
	}
	mem_free(rows);
	if (verdict != CSV_END)
		return -1;
	printf("rows.t%lld.gb_per_s\t%.3f\tGB/s\nrows\t%llu\t1\n", (long long)o->threads, (double)bytes / 1e9 / best,
	       (unsigned long long)count + (sum < 0));
	return 0;
}

static int measure_robust(const char *path, struct error *error)
{
	struct csv_reader *reader = mem_alloc_zero(1, sizeof *reader, error);
	struct ratings_columns columns;
	struct rating_row row;
	enum csv_verdict verdict = CSV_ERROR;
	double sum = 0.0;
	const double start = clock_seconds();
	if (reader && csv_open(reader, path, NULL, error) == 0 &&
	    ratings_columns_find(reader, NULL, &columns, error) == 0)
		while ((verdict = rating_row_next(reader, &columns, &row, error)) > CSV_END)
			sum += row.rating;
	if (verdict == CSV_END)
		printf("robust.gb_per_s\t%.3f\tGB/s\n", (double)(reader->next_offset + (sum < 0.0)) / 1e9 / (clock_seconds() - start));
	if (reader)
		csv_release(reader);
	mem_free(reader);
	return verdict == CSV_END ? 0 : -1;
}

int main(int argc, char **argv)
{
	struct options options;
	struct operands operands;
	struct error error = {0};
	enum options_verdict verdict = options_parse(&tool, argc, argv, &options, &operands, &error);
	if (verdict == OPTIONS_DONE)
		return CODE_OK;
	if (verdict == OPTIONS_FAILED || measure_scan(&options, operands.items[0], &error) < 0 ||
	    measure_rows(&options, operands.items[0], &error) < 0 || measure_robust(operands.items[0], &error) < 0)
		return error_report(&error);
	return CODE_OK;
}
