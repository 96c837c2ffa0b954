/* metrics: scored lists in, HR@10 and NDCG@10 out, with intervals; gates and paired comparisons. */
#include "evaluation.h"
#include "io.h"
#include "mem.h"
#include "options.h"

enum { RANDOMISATION_ROUNDS = 10000 };

struct options {
	struct int_list cutoffs;
	struct text_list measures, gates;
	const char *truth, *per_user, *out;
	int64_t bootstrap, seed;
	bool json, compare;
};

static const struct options defaults = {
	.cutoffs = {.items = {10}, .count = 1}, .out = "-", .bootstrap = 1000, .seed = 1,
};

#define AT(member) offsetof(struct options, member)
static const struct option_spec table[] = {
	{'k', "cutoffs", OPTION_INT_LIST, AT(cutoffs), "K[,K...]", "Cutoffs, at most 8.", 1, 1e6, NULL},
	{'m', "measure", OPTION_LIST, AT(measures), "NAME",
	 "HR, NDCG, MRR, MAP, precision, recall or AUC; may be repeated. All when none is named.", 0, 0, NULL},
	{'t', "truth", OPTION_TEXT, AT(truth), "FILE",
	 "Held-out interactions that say what is relevant, instead of the marks in the lists.", 0, 0, NULL},
	{'p', "per-user", OPTION_TEXT, AT(per_user), "FILE", "Write each user's values as TSV.", 0, 0, NULL},
	{'B', "bootstrap", OPTION_INT, AT(bootstrap), "N", "Resamples of users for the 95% intervals; 0: none.", 0, 1e6,
	 NULL},
	{'s', "seed", OPTION_INT, AT(seed), "N", "Seed of resamples and randomisation.", 0, 9e18, NULL},
	{'g', "gate", OPTION_LIST, AT(gates), "NAME@K:X",
	 "Exit with 1 when this measure's mean is below X; may be repeated.", 0, 0, NULL},
	{'c', "compare", OPTION_FLAG, AT(compare), NULL,
	 "Compare two files of lists, A and B, user by user: a paired randomisation test of each measure.", 0, 0, NULL},
	{0, "json", OPTION_FLAG, AT(json), NULL, "JSON instead of TSV.", 0, 0, NULL},
	{'o', "out", OPTION_TEXT, AT(out), "FILE", "Where the table goes.", 0, 0, NULL},
};

static const struct tool_spec tool = {
	.name = "metrics",
	.summary = "measure scored lists against the truth",
	.operands = "[LISTS] | --compare A B",
	.description =
		"Reads a stream of scored lists (stdin by default) and prints the mean of each measure over users "
		"with truth, with a 95% bootstrap interval.\n\n"
		"Ranks go by scores, never by the order of the list, and a relevant item loses every tie: a "
		"constant model scores 0. A list with a doubled item or a score that is not a number is refused. "
		"The share of users with such a tie is printed, and whether the ranking was sampled or full: the "
		"two are not comparable (Krichene & Rendle 2020).",
	.examples =
		"score -m model.safetensors lists.rec | metrics -k 5,10\n"
		"  The measures at two cutoffs.\n"
		"metrics --compare before.rec after.rec\n"
		"  Whether re-ranking changed anything.",
	.see_also = "score(1), rerank(1), sample-neg(1)",
	.options = table,
	.option_count = COUNT_OF(table),
	.defaults = &defaults,
	.size = sizeof defaults,
	.maximum_operands = 2,
};

/* One row of the table. */
struct row {
	char name[48];
	double mean, low, high;
	bool has_interval;
};

static int open_evaluation(struct evaluation *e, const struct options *o, const char *path, struct error *error)
{
	const char *names[OPTION_LIST_MAX + 1] = {NULL};
	for (size_t m = 0; m < o->measures.count; m++)
		names[m] = o->measures.items[m];
	if (evaluation_init(e, o->measures.count ? names : NULL, o->cutoffs.items, o->cutoffs.count, error) < 0)
		return -1;
	return evaluation_read(e, path, o->truth, error);
}

static int make_row(const struct evaluation *e, const struct options *o, size_t column, struct row *row,
                    struct error *error)
{
	double *values = evaluation_column(e, column, error);
	if (!values)
		return -1;
	snprintf(row->name, sizeof row->name, "%s", e->columns[column].name);
	row->mean = evaluation_mean(e, column);
	row->has_interval = o->bootstrap > 0;
	int result = bootstrap_interval(values, e->count, (uint64_t)o->seed, (size_t)o->bootstrap, &row->low, &row->high,
	                                error);
	mem_free(values);
	return result;
}

/* ---- the table ---- */

static int print_tsv_head(const struct evaluation *e, struct output *output, struct error *error)
{
	return output_print(output, error,
	                    "ranking\t%s\nusers\t%zu\nusers_without_truth\t%zu\ncandidates_min\t%u\ncandidates_max\t%u\n"
	                    "tied_users\t%.6f\n\nmeasure\tmean\tlow95\thigh95\n", e->ranking, e->count,
	                    e->without_truth, e->shortest, e->longest, (double)e->tied / (double)e->count);
}

static int print_tsv_row(const struct row *row, struct output *output, struct error *error)
{
	if (!row->has_interval)
		return output_print(output, error, "%s\t%.6f\t\t\n", row->name, row->mean);
	return output_print(output, error, "%s\t%.6f\t%.6f\t%.6f\n", row->name, row->mean, row->low, row->high);
}

static json_t *number(double value)
{
	char text[32];
	snprintf(text, sizeof text, "%.9f", value);
	return json_real(strtod(text, NULL));
}

static json_t *row_json(const struct row *row)
{
	json_t *object = json_pack("{s:o}", "mean", number(row->mean));
	if (row->has_interval) {
		json_object_set_new(object, "low95", number(row->low));
		json_object_set_new(object, "high95", number(row->high));
	}
	return object;
}

static int print_json(json_t *object, struct output *output, struct error *error)
{
	char *text = json_dumps(object, JSON_INDENT(2) | JSON_SORT_KEYS | JSON_REAL_PRECISION(12));
	int result = text ? output_print(output, error, "%s\n", text)
	                  : error_set(error, CODE_SYSTEM, "out of memory for JSON");
	free(text);
	return result;
}

static json_t *head_json(const struct evaluation *e)
{
	return json_pack("{s:s, s:I, s:I, s:I, s:I, s:o, s:{}}", "ranking", e->ranking, "users", (json_int_t)e->count,
	                 "users_without_truth", (json_int_t)e->without_truth, "candidates_min", (json_int_t)e->shortest,
	                 "candidates_max", (json_int_t)e->longest, "tied_users",
	                 number((double)e->tied / (double)e->count), "measures");
}

static int print_rows(const struct evaluation *e, const struct options *o, json_t *json, struct output *output,
                      struct error *error)
{
	struct row row;
	for (size_t c = 0; c < e->column_count + e->cutoff_count; c++) {
		if (c < e->column_count) {
			if (make_row(e, o, c, &row, error) < 0)
				return -1;
		} else {
			const size_t which = c - e->column_count;
			row = (struct row){.mean = evaluation_coverage(e, which)};
			snprintf(row.name, sizeof row.name, "coverage@%u", e->cutoffs[which]);
		}
		if (json)
			json_object_set_new(json_object_get(json, "measures"), row.name, row_json(&row));
		else if (print_tsv_row(&row, output, error) < 0)
			return -1;
	}
	return 0;
}

static int print_table(const struct evaluation *e, const struct options *o, struct output *output,
                       struct error *error)
{
	if (!o->json)
		return print_tsv_head(e, output, error) < 0 ? -1 : print_rows(e, o, NULL, output, error);
	json_t *json = head_json(e);
	int result = print_rows(e, o, json, output, error);
	if (result == 0)
		result = print_json(json, output, error);
	json_decref(json);
	return result;
}

static int write_per_user(const struct evaluation *e, const char *path, struct error *error)
{
	struct output output;
	int result = output_open(&output, path, error);
	if (result == 0)
		result = output_print(&output, error, "user");
	for (size_t c = 0; result == 0 && c < e->column_count; c++)
		result = output_print(&output, error, "\t%s", e->columns[c].name);
	for (size_t u = 0; result == 0 && u < e->count; u++) {
		result = output_print(&output, error, "\n%u", e->users[u]);
		for (size_t c = 0; result == 0 && c < e->column_count; c++)
			result = output_print(&output, error, "\t%.9g", e->values[u * e->column_count + c]);
	}
	if (result == 0)
		result = output_print(&output, error, "\n");
	if (result == 0)
		result = output_commit(&output, error);
	output_release(&output);
	return result;
}

/* ---- gates ---- */

static int find_column(const struct evaluation *e, const char *name)
{
	for (size_t c = 0; c < e->column_count; c++)
		if (strcmp(e->columns[c].name, name) == 0)
			return (int)c;
	return -1;
}

static int check_gate(const struct evaluation *e, const char *gate, struct error *error)
{
	char name[48];
	double least = 0.0;
	const char *colon = strrchr(gate, ':');
	if (!colon || (size_t)(colon - gate) >= sizeof name)
		return error_set(error, CODE_USAGE, "--gate: '%s' is not like HR@10:0.6", gate);
	snprintf(name, sizeof name, "%.*s", (int)(colon - gate), gate);
	if (parse_real("--gate", colon + 1, 0, 0, &least, error) < 0)
		return -1;
	int column = find_column(e, name);
	if (column < 0)
		return error_set(error, CODE_USAGE, "--gate: '%s' is not among the measures and cutoffs asked for", name);
	double mean = evaluation_mean(e, (size_t)column);
	if (mean < least)
		return error_set(error, CODE_NO, "gate not met: %s is %.6f, expected at least %g", name, mean, least);
	return 0;
}

static int check_gates(const struct evaluation *e, const struct options *o, struct error *error)
{
	for (size_t g = 0; g < o->gates.count; g++)
		if (check_gate(e, o->gates.items[g], error) < 0)
			return -1;
	return 0;
}

/* ---- comparison ---- */

static int check_same_users(const struct evaluation *a, const struct evaluation *b, const char *const paths[2],
                            struct error *error)
{
	if (a->count == b->count && memcmp(a->users, b->users, a->count * sizeof *a->users) == 0)
		return 0;
	return error_set(error, CODE_DATA, "%s and %s have not the same users in the same order", paths[0], paths[1]);
}

static int compare_column(const struct evaluation *a, const struct evaluation *b, size_t c, const struct options *o,
                          json_t *json, struct output *output, struct error *error)
{
	double low = 0, high = 0, *x = evaluation_column(a, c, error), *y = evaluation_column(b, c, error);
	double *difference = mem_alloc(a->count, sizeof *difference, error);
	int result = -1;
	if (!x || !y || !difference)
		goto out;
	for (size_t u = 0; u < a->count; u++)
		difference[u] = y[u] - x[u];
	if (bootstrap_interval(difference, a->count, (uint64_t)o->seed, (size_t)o->bootstrap, &low, &high, error) < 0)
		goto out;
	const double p = randomisation_test(y, x, a->count, (uint64_t)o->seed, RANDOMISATION_ROUNDS);
	const double mean_a = evaluation_mean(a, c), mean_b = evaluation_mean(b, c);
	if (json)
		result = json_object_set_new(json, a->columns[c].name,
		                             json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "a", number(mean_a), "b",
		                                       number(mean_b), "difference", number(mean_b - mean_a), "low95",
		                                       number(low), "high95", number(high), "p", number(p)));
	else
		result = output_print(output, error, "%s\t%.6f\t%.6f\t%.6f\t%.6f\t%.6f\t%.6f\n", a->columns[c].name,
		                      mean_a, mean_b, mean_b - mean_a, low, high, p);
out:
	mem_free(x);
	mem_free(y);
	mem_free(difference);
	return result;
}

static int compare(const struct options *o, const char *const paths[2], struct output *output, struct error *error)
{
	struct evaluation a = {0}, b = {0};
	json_t *json = o->json ? json_object() : NULL;
	int result = open_evaluation(&a, o, paths[0], error);
	if (result == 0)
		result = open_evaluation(&b, o, paths[1], error);
	if (result == 0)
		result = check_same_users(&a, &b, paths, error);
	if (result == 0 && !json)
		result = output_print(output, error, "measure\tA\tB\tdifference\tlow95\thigh95\tp\n");
	for (size_t c = 0; result == 0 && c < a.column_count; c++)
		result = compare_column(&a, &b, c, o, json, output, error);
	if (result == 0 && json)
		result = print_json(json, output, error);
	json_decref(json);
	evaluation_release(&a);
	evaluation_release(&b);
	return result;
}

static int measure_lists(const struct options *o, const char *path, struct output *output, struct error *error)
{
	struct evaluation e = {0};
	int result = open_evaluation(&e, o, path, error);
	if (result == 0)
		result = print_table(&e, o, output, error);
	if (result == 0 && o->per_user)
		result = write_per_user(&e, o->per_user, error);
	if (result == 0)
		result = output_commit(output, error);
	/* The table is out whatever the gate says: whoever reads it wants to know why. */
	if (result == 0)
		result = check_gates(&e, o, error);
	evaluation_release(&e);
	return result;
}

int main(int argc, char **argv)
{
	struct options options;
	struct operands operands;
	struct error error = {0};
	struct output output = {.fd = -1};
	enum options_verdict verdict = options_parse(&tool, argc, argv, &options, &operands, &error);
	if (verdict == OPTIONS_DONE)
		return CODE_OK;
	if (verdict == OPTIONS_FAILED)
		return error_report(&error);
	int result = 0;
	if (options.compare != (operands.count == 2))
		result = error_set(&error, CODE_USAGE, "--compare takes two files of lists, else one is read");
	if (result == 0 && options.compare && options.gates.count)
		result = error_set(&error, CODE_USAGE, "--compare and --gate exclude each other");
	if (result == 0)
		result = output_open(&output, options.out, &error);
	if (result == 0 && options.compare) {
		const char *const paths[2] = {operands.items[0], operands.items[1]};
		result = compare(&options, paths, &output, &error);
		if (result == 0)
			result = output_commit(&output, &error);
	} else if (result == 0) {
		result = measure_lists(&options, operands.count ? operands.items[0] : "-", &output, &error);
	}
	output_release(&output);
	return result == 0 ? CODE_OK : error_report(&error);
}
