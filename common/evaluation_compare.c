/* Two evaluations of the same users side by side, and the users of one. */
#include "evaluation_print.h"
#include "evaluation_report.h"
#include "mem.h"

enum { RANDOMISATION_ROUNDS = 10000 };

struct comparison {
	const char *name;
	double a, b;
	struct interval difference;
	double p;
};

static int compare_column(const struct evaluation *a, const struct evaluation *b, size_t column,
                          const struct report_options *options, struct comparison *row, struct error *error)
{
	double *x = evaluation_column(a, column, error), *y = evaluation_column(b, column, error);
	double *difference = mem_alloc(a->count, sizeof *difference, error);
	int result = -1;
	if (!x || !y || !difference)
		goto out;
	for (size_t u = 0; u < a->count; u++)
		difference[u] = y[u] - x[u];
	*row = (struct comparison){.name = a->columns[column].name, .a = evaluation_mean(a, column),
	                           .b = evaluation_mean(b, column)};
	row->difference.mean = row->b - row->a;
	struct resampling flips = options->resampling;
	flips.rounds = RANDOMISATION_ROUNDS;
	result = randomisation_test(y, x, a->count, &flips, &row->p, error);
	if (result == 0)
		result = bootstrap_intervals(difference, a->count, 1, &options->resampling, &row->difference.low,
		                             &row->difference.high, error);
out:
	mem_free(x);
	mem_free(y);
	mem_free(difference);
	return result;
}

static int print_tsv(const struct comparison *rows, size_t count, struct output *output, struct error *error)
{
	if (output_print(output, error, "measure\tA\tB\tdifference\tlow95\thigh95\tp\n") < 0)
		return -1;
	for (const struct comparison *row = rows; row < rows + count; row++)
		if (output_print(output, error, "%s\t%.6f\t%.6f\t%.6f\t%.6f\t%.6f\t%.6f\n", row->name, row->a, row->b,
		                 row->difference.mean, row->difference.low, row->difference.high, row->p) < 0)
			return -1;
	return 0;
}

static int print_text(const struct comparison *rows, size_t count, struct output *output, struct error *error)
{
	if (output_print(output, error, "  %-26s %10s %10s %10s  %-20s %8s\n", "", "A", "B", "B - A", "95% interval",
	                 "p") < 0)
		return -1;
	for (const struct comparison *row = rows; row < rows + count; row++)
		if (output_print(output, error, "  %-26s %10.4f %10.4f %10.4f [%8.4f, %8.4f] %8.4f\n", row->name, row->a,
		                 row->b, row->difference.mean, row->difference.low, row->difference.high, row->p) < 0)
			return -1;
	return 0;
}

static int print_json(const struct comparison *rows, size_t count, struct output *output, struct error *error)
{
	json_t *json = json_object();
	for (const struct comparison *row = rows; row < rows + count; row++)
		json_object_set_new(json, row->name,
		                    json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "a", json_number(row->a), "b",
		                              json_number(row->b), "difference", json_number(row->difference.mean),
		                              "low95", json_number(row->difference.low), "high95",
		                              json_number(row->difference.high), "p", json_number(row->p)));
	int result = json_print(json, output, error);
	json_decref(json);
	return result;
}

static int (*const printers[])(const struct comparison *rows, size_t count, struct output *output,
                               struct error *error) = {
	[REPORT_TSV] = print_tsv, [REPORT_JSON] = print_json, [REPORT_TEXT] = print_text,
};

int comparison_print(const struct evaluation *a, const struct evaluation *b, const char *const names[2],
                     const struct report_options *options, struct output *output, struct error *error)
{
	if (a->count != b->count || memcmp(a->users, b->users, a->count * sizeof *a->users) != 0)
		return error_set(error, CODE_DATA, "%s and %s have not the same users in the same order", names[0], names[1]);
	struct comparison *rows = mem_alloc(a->column_count, sizeof *rows, error);
	int result = rows ? 0 : -1;
	for (size_t c = 0; result == 0 && c < a->column_count; c++)
		result = compare_column(a, b, c, options, &rows[c], error);
	if (result == 0)
		result = printers[options->format](rows, a->column_count, output, error);
	mem_free(rows);
	return result;
}

int evaluation_print_users(const struct evaluation *e, struct output *output, struct error *error)
{
	int result = output_print(output, error, "user");
	for (size_t c = 0; result == 0 && c < e->column_count; c++)
		result = output_print(output, error, "\t%s", e->columns[c].name);
	for (size_t u = 0; result == 0 && u < e->count; u++) {
		result = output_print(output, error, "\n%u", e->users[u]);
		for (size_t c = 0; result == 0 && c < e->column_count; c++)
			result = output_print(output, error, "\t%.9g", e->values[u * e->column_count + c]);
	}
	return result == 0 ? output_print(output, error, "\n") : -1;
}
