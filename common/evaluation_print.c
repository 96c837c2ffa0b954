/* Tables as TSV, JSON or text. A format is an entry of a table, with a function for what it prints. */
#include "evaluation_print.h"
#include "evaluation_report.h"

const char *const report_formats[] = {"tsv", "json", "text", NULL};
const char *const correction_names[] = {"none", "rank", "least-squares", NULL};

static bool has_estimates(const struct report *report)
{
	return report->evaluation->options->correction.method != CORRECTION_NONE;
}

static bool by_least_squares(const struct report *report)
{
	return report->evaluation->options->correction.method == CORRECTION_LEAST_SQUARES;
}

static double tied_share(const struct evaluation *e)
{
	return (double)e->tied / (double)e->count;
}

/* ---- TSV ---- */

static int print_tsv_head(const struct report *report, struct output *output, struct error *error)
{
	const struct evaluation *e = report->evaluation;
	const struct correction *correction = &e->options->correction;
	if (output_print(output, error,
	                 "ranking\t%s\nusers\t%zu\nusers_without_truth\t%zu\ncandidates_min\t%u\ncandidates_max\t%u\n"
	                 "tied_users\t%.6f\n", e->ranking, e->count, e->without_truth, e->shortest, e->longest,
	                 tied_share(e)) < 0)
		return -1;
	if (has_estimates(report) &&
	    output_print(output, error, "full_estimates_by\t%s\n", correction_names[correction->method]) < 0)
		return -1;
	if (by_least_squares(report) && output_print(output, error, "gamma\t%g\n", correction->gamma) < 0)
		return -1;
	return 0;
}

static int print_tsv_columns(const struct report *report, const char *first, struct output *output,
                             struct error *error)
{
	return output_print(output, error, "\n%smeasure\tmean\tlow95\thigh95%s\n", first,
	                    has_estimates(report) ? "\tfull_estimate\tfull_low95\tfull_high95" : "");
}

static int print_tsv_interval(const struct interval *interval, bool there, bool bounds, struct output *output,
                              struct error *error)
{
	if (!there)
		return output_print(output, error, "\t\t\t");
	if (!bounds)
		return output_print(output, error, "\t%.6f\t\t", interval->mean);
	return output_print(output, error, "\t%.6f\t%.6f\t%.6f", interval->mean, interval->low, interval->high);
}

static int print_tsv_row(const struct report *report, const struct report_row *row, struct output *output,
                         struct error *error)
{
	if (output_print(output, error, "%s", row->name) < 0 ||
	    print_tsv_interval(&row->value, true, row->has_interval, output, error) < 0)
		return -1;
	if (has_estimates(report) &&
	    print_tsv_interval(&row->estimate, row->has_estimate, row->has_interval, output, error) < 0)
		return -1;
	return output_print(output, error, "\n");
}

static int print_tsv(const struct report *report, struct output *output, struct error *error)
{
	if (print_tsv_head(report, output, error) < 0 || print_tsv_columns(report, "", output, error) < 0)
		return -1;
	for (size_t r = 0; r < report->row_count; r++)
		if (print_tsv_row(report, &report->rows[r], output, error) < 0)
			return -1;
	if (report->group_count > 0 && print_tsv_columns(report, "group_by\tfrom\tto\tusers\t", output, error) < 0)
		return -1;
	for (size_t g = 0; g < report->group_count; g++) {
		const struct report_group *group = &report->groups[g];
		for (size_t r = 0; r < group->row_count; r++)
			if (output_print(output, error, "%s\t%.10g\t%.10g\t%zu\t", group->by, group->from, group->to,
			                 group->users) < 0 || print_tsv_row(report, &group->rows[r], output, error) < 0)
				return -1;
	}
	return 0;
}

/* ---- JSON ---- */

json_t *json_number(double value)
{
	char text[32];
	snprintf(text, sizeof text, "%.9f", value);
	return json_real(strtod(text, NULL));
}

static json_t *interval_json(const struct interval *interval, bool bounds)
{
	json_t *object = json_pack("{s:o}", "mean", json_number(interval->mean));
	if (bounds) {
		json_object_set_new(object, "low95", json_number(interval->low));
		json_object_set_new(object, "high95", json_number(interval->high));
	}
	return object;
}

static json_t *rows_json(const struct report_row *rows, size_t count)
{
	json_t *object = json_object();
	for (size_t r = 0; r < count; r++) {
		json_t *row = interval_json(&rows[r].value, rows[r].has_interval);
		if (rows[r].has_estimate)
			json_object_set_new(row, "full_estimate", interval_json(&rows[r].estimate, rows[r].has_interval));
		json_object_set_new(object, rows[r].name, row);
	}
	return object;
}

static json_t *groups_json(const struct report *report)
{
	json_t *array = json_array();
	for (size_t g = 0; g < report->group_count; g++) {
		const struct report_group *group = &report->groups[g];
		json_array_append_new(array, json_pack("{s:s, s:f, s:f, s:I, s:o}", "by", group->by, "from", group->from, "to",
		                                       group->to, "users", (json_int_t)group->users, "measures",
		                                       rows_json(group->rows, group->row_count)));
	}
	return array;
}

int json_print(const json_t *object, struct output *output, struct error *error)
{
	char *text = json_dumps(object, JSON_INDENT(2) | JSON_SORT_KEYS | JSON_REAL_PRECISION(12));
	int result = text ? output_print(output, error, "%s\n", text)
	                  : error_set(error, CODE_SYSTEM, "out of memory for JSON");
	free(text);
	return result;
}

static int print_json(const struct report *report, struct output *output, struct error *error)
{
	const struct evaluation *e = report->evaluation;
	json_t *json = json_pack("{s:s, s:I, s:I, s:I, s:I, s:o, s:o}", "ranking", e->ranking, "users",
	                         (json_int_t)e->count, "users_without_truth", (json_int_t)e->without_truth,
	                         "candidates_min", (json_int_t)e->shortest, "candidates_max", (json_int_t)e->longest,
	                         "tied_users", json_number(tied_share(e)), "measures",
	                         rows_json(report->rows, report->row_count));
	if (has_estimates(report))
		json_object_set_new(json, "full_estimates_by",
		                    json_string(correction_names[e->options->correction.method]));
	if (by_least_squares(report))
		json_object_set_new(json, "gamma", json_real(e->options->correction.gamma));
	if (report->group_count > 0)
		json_object_set_new(json, "groups", groups_json(report));
	int result = json_print(json, output, error);
	json_decref(json);
	return result;
}

/* ---- text ---- */

static int print_text_head(const struct report *report, struct output *output, struct error *error)
{
	const struct evaluation *e = report->evaluation;
	if (output_print(output, error, "%s ranking, lists of %u to %u items\n%zu users, %zu left out for want of truth, "
	                 "%.2f%% with a tie that counts against the truth\n", e->ranking, e->shortest, e->longest,
	                 e->count, e->without_truth, 100 * tied_share(e)) < 0)
		return -1;
	if (!has_estimates(report))
		return 0;
	if (output_print(output, error, "full: what the sampled ranks say of a full ranking, an estimate by %s",
	                 correction_names[e->options->correction.method]) < 0)
		return -1;
	return by_least_squares(report)
	               ? output_print(output, error, ", gamma %g\n", e->options->correction.gamma)
	               : output_print(output, error, "\n");
}

static int print_text_interval(const struct interval *interval, bool bounds, struct output *output,
                               struct error *error)
{
	if (output_print(output, error, " %10.4f", interval->mean) < 0)
		return -1;
	return bounds ? output_print(output, error, " [%8.4f, %8.4f]", interval->low, interval->high) : 0;
}

static int print_text_rows(const struct report_row *rows, size_t count, struct output *output, struct error *error)
{
	for (size_t r = 0; r < count; r++) {
		if (output_print(output, error, "  %-20s", rows[r].name) < 0 ||
		    print_text_interval(&rows[r].value, rows[r].has_interval, output, error) < 0)
			return -1;
		if (rows[r].has_estimate &&
		    (output_print(output, error, "   full:") < 0 ||
		     print_text_interval(&rows[r].estimate, rows[r].has_interval, output, error) < 0))
			return -1;
		if (output_print(output, error, "\n") < 0)
			return -1;
	}
	return 0;
}

static int print_text(const struct report *report, struct output *output, struct error *error)
{
	if (print_text_head(report, output, error) < 0 || output_print(output, error, "\n") < 0 ||
	    print_text_rows(report->rows, report->row_count, output, error) < 0)
		return -1;
	for (size_t g = 0; g < report->group_count; g++) {
		const struct report_group *group = &report->groups[g];
		if (output_print(output, error, "\n%s from %.10g to %.10g: %zu users\n", group->meaning, group->from,
		                 group->to, group->users) < 0 ||
		    print_text_rows(group->rows, group->row_count, output, error) < 0)
			return -1;
	}
	return 0;
}

static int (*const printers[])(const struct report *report, struct output *output, struct error *error) = {
	[REPORT_TSV] = print_tsv, [REPORT_JSON] = print_json, [REPORT_TEXT] = print_text,
};

int report_print(const struct report *report, struct output *output, struct error *error)
{
	return printers[report->options->format](report, output, error);
}
