/* metrics: scored lists in, figures with intervals out; gates and paired comparisons. */
#include "evaluation.h"
#include "evaluation_groups.h"
#include "evaluation_report.h"
#include "io.h"
#include "options.h"

struct options {
	struct int_list cutoffs;
	struct text_list measures, gates, known, by;
	const char *truth, *movies, *genres, *items, *per_user, *out;
	int64_t bootstrap, seed, groups, threads;
	int correct, format;
	double gamma;
	bool json, compare, quiet;
};

static const struct options defaults = {
	.cutoffs = {.items = {10}, .count = 1}, .out = "-", .bootstrap = 1000, .seed = 1, .groups = 4, .gamma = 0.01,
};

#define AT(member) offsetof(struct options, member)
static const struct option_spec table[] = {
	{'k', "cutoffs", OPTION_INT_LIST, AT(cutoffs), "K[,K...]", "Cutoffs, at most 8.", 1, 1e6, NULL},
	{'m', "measure", OPTION_LIST, AT(measures), "NAME",
	 "HR, NDCG, MRR, MAP, precision, recall or AUC; novelty, longtail (both need --known), ILD (needs --movies and "
	 "--items), miscalibration (needs all three); coverage or Gini. May be repeated; all that the files given allow "
	 "when none is named.", 0, 0, NULL},
	{'t', "truth", OPTION_TEXT, AT(truth), "FILE",
	 "Held-out interactions that say what is relevant, instead of the marks in the lists.", 0, 0, NULL},
	{'K', "known", OPTION_LIST, AT(known), "FILE",
	 "Interactions that the users had before, those that the candidates were drawn with; may be repeated.", 0, 0,
	 NULL},
	{'M', "movies", OPTION_TEXT, AT(movies), "FILE", "Genres of the items (movies.csv or u.item).", 0, 0, NULL},
	{0, "genres", OPTION_TEXT, AT(genres), "FILE", "Names of the genres of u.item (u.genre).", 0, 0, NULL},
	{'i', "items", OPTION_TEXT, AT(items), "FILE", "The id map of items, for --movies.", 0, 0, NULL},
	{0, "correct", OPTION_CHOICE, AT(correct), NULL,
	 "Print estimates of the full ranking beside the figures of sampled candidates: from an unbiased estimate of the "
	 "rank, or by least squares. Needs --known, and one relevant item a user.", 0, 0, correction_names},
	{0, "gamma", OPTION_REAL, AT(gamma), "X",
	 "--correct least-squares: the weight of variance; less of it buys less bias with more variance.", 0.0001, 1,
	 NULL},
	{'b', "by", OPTION_LIST, AT(by), "KEY",
	 "Print the figures of groups of users as well: by activity (the user's interactions in --known) or by the "
	 "popularity of the truth. May be repeated.", 0, 0, NULL},
	{0, "groups", OPTION_INT, AT(groups), "N", "--by: how many groups, cut at quantiles.", 1, GROUPS_MAX, NULL},
	{'p', "per-user", OPTION_TEXT, AT(per_user), "FILE", "Write each user's values as TSV.", 0, 0, NULL},
	{'B', "bootstrap", OPTION_INT, AT(bootstrap), "N", "Resamples of users for the 95% intervals; 0: none.", 0, 1e6,
	 NULL},
	{'s', "seed", OPTION_INT, AT(seed), "N", "Seed of resamples and randomisation.", 0, 9e18, NULL},
	{'g', "gate", OPTION_LIST, AT(gates), "NAME@K:X",
	 "Exit with 1 when this measure's mean is below X; may be repeated.", 0, 0, NULL},
	{'c', "compare", OPTION_FLAG, AT(compare), NULL,
	 "Compare two files of lists, A and B, user by user: a paired randomisation test of each measure.", 0, 0, NULL},
	{'f', "format", OPTION_CHOICE, AT(format), NULL, "How the table is written.", 0, 0, report_formats},
	{0, "json", OPTION_FLAG, AT(json), NULL, "The same as --format json.", 0, 0, NULL},
	{'o', "out", OPTION_TEXT, AT(out), "FILE", "Where the table goes.", 0, 0, NULL},
	{'j', "threads", OPTION_INT, AT(threads), "N", "Threads that draw resamples; 0: one a processor. Never changes a byte.",
	 0, 1024, NULL},
	{'q', "quiet", OPTION_FLAG, AT(quiet), NULL, "Only errors on stderr.", 0, 0, NULL},
};

static const struct tool_spec tool = {
	.name = "metrics",
	.summary = "measure scored lists against the truth",
	.operands = "[LISTS] | --compare A B",
	.description =
		"Reads a stream of scored lists (stdin by default) and prints the mean of each measure over users "
		"with truth, with a 95% bootstrap interval. What each measure is, with its source: docs/metrics.md.\n\n"
		"Ranks go by scores, never by the order of the list, and a relevant item loses every tie: a "
		"constant model scores 0. A list with a doubled item or a score that is not a number is refused. "
		"The share of users with such a tie is printed, and whether the ranking was sampled or full: the "
		"two are not comparable (Krichene & Rendle 2020), but --correct estimates one from the other.\n\n"
		"The TSV begins with lines of a name and a value, then comes a table behind a blank line: measure, mean, low95, "
		"high95, and with --correct full_estimate, full_low95, full_high95. With --by a second table follows, "
		"with group_by, from, to and users in front: the key, its least and largest value in the group, and the "
		"group's size.",
	.examples =
		"score -m model.safetensors lists.rec | metrics -k 5,10\n"
		"  The measures at two cutoffs.\n"
		"metrics --correct least-squares --known train.rec --by activity -f text scored.rec\n"
		"  What sampled ranks say of a full ranking, and how active and less active users fare.\n"
		"metrics --known train.rec --movies movies.csv --items items.ids top.rec\n"
		"  How new, diverse and calibrated the lists are, beside how right.\n"
		"metrics --compare before.rec after.rec\n"
		"  Whether re-ranking changed anything.",
	.see_also = "score(1), rerank(1), sample-neg(1)",
	.options = table,
	.option_count = COUNT_OF(table),
	.defaults = &defaults,
	.size = sizeof defaults,
	.maximum_operands = 2,
};

/* ---- options ---- */

static int choose_keys(const struct options *o, bool keys[USER_KEYS], struct error *error)
{
	for (size_t b = 0; b < o->by.count; b++) {
		size_t key = 0;
		while (key < USER_KEYS && strcmp(user_key_names[key], o->by.items[b]) != 0)
			key++;
		if (key == USER_KEYS)
			return error_set(error, CODE_USAGE, "--by: '%s' is unknown, expected activity or popularity", o->by.items[b]);
		keys[key] = true;
	}
	if (keys[USER_ACTIVITY] && !o->known.count)
		return error_set(error, CODE_USAGE, "--by activity needs --known");
	return 0;
}

static int check_options(const struct options *o, size_t operands, struct error *error)
{
	if (o->compare != (operands == 2))
		return error_set(error, CODE_USAGE, "--compare takes two files of lists, else one is read");
	if (o->compare && (o->gates.count || o->per_user || o->by.count))
		return error_set(error, CODE_USAGE, "--compare excludes --gate, --per-user and --by");
	if (!o->movies != !o->items)
		return error_set(error, CODE_USAGE, "--movies and --items go together");
	if (o->correct != CORRECTION_NONE && !o->known.count)
		return error_set(error, CODE_USAGE, "--correct needs --known, the interactions that the candidates were drawn "
		                 "with");
	return 0;
}

static int make_evaluation_options(const struct options *o, struct evaluation_options *options, struct error *error)
{
	*options = (struct evaluation_options){
		.measures = &o->measures, .cutoffs = &o->cutoffs, .truth = o->truth, .known = &o->known,
		.movies = o->movies, .genres = o->genres, .items = o->items,
		.correction = {.method = (enum correction_method)o->correct, .gamma = o->gamma},
	};
	return choose_keys(o, options->keys, error);
}

static struct report_options make_report_options(const struct options *o)
{
	return (struct report_options){
		.format = o->json ? REPORT_JSON : (enum report_format)o->format, .groups = (size_t)o->groups,
		.resampling = {(uint64_t)o->seed, (size_t)o->bootstrap, (size_t)o->threads},
	};
}

/* ---- gates ---- */

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
	const int column = evaluation_find(e, name);
	if (column < 0)
		return error_set(error, CODE_USAGE, "--gate: '%s' is not among the measures and cutoffs asked for", name);
	const double mean = evaluation_mean(e, (size_t)column);
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

/* ---- what there is to do ---- */

static int read_evaluation(struct evaluation *e, const struct evaluation_options *options, const char *path,
                           struct error *error)
{
	return evaluation_init(e, options, error) < 0 ? -1 : evaluation_read(e, path, error);
}

static void note_few_groups(const struct report *report, const struct options *o)
{
	for (size_t b = 0; b < o->by.count && !o->quiet; b++) {
		size_t groups = 0;
		for (size_t g = 0; g < report->group_count; g++)
			groups += strcmp(report->groups[g].by, o->by.items[b]) == 0;
		if (groups < (size_t)o->groups)
			note("%zu groups by %s, not %lld: users of equal values stay together", groups, o->by.items[b],
			     (long long)o->groups);
	}
}

static int print_table(const struct evaluation *e, const struct options *o, struct output *output,
                       struct error *error)
{
	const struct report_options options = make_report_options(o);
	struct report report;
	int result = report_make(&report, e, &options, error);
	if (result == 0)
		result = report_print(&report, output, error);
	if (result == 0)
		note_few_groups(&report, o);
	report_release(&report);
	return result;
}

static int write_users(const struct evaluation *e, const char *path, struct error *error)
{
	struct output output;
	int result = output_open(&output, path, error);
	if (result == 0)
		result = evaluation_print_users(e, &output, error);
	if (result == 0)
		result = output_commit(&output, error);
	output_release(&output);
	return result;
}

static int measure(const struct options *o, const struct evaluation_options *options, const char *path,
                   struct output *output, struct error *error)
{
	struct evaluation e = {0};
	int result = read_evaluation(&e, options, path, error);
	if (result == 0)
		result = print_table(&e, o, output, error);
	if (result == 0 && o->per_user)
		result = write_users(&e, o->per_user, error);
	if (result == 0)
		result = output_commit(output, error);
	/* The table is out whatever the gate says: whoever reads it wants to know why. */
	if (result == 0)
		result = check_gates(&e, o, error);
	evaluation_release(&e);
	return result;
}

static int compare(const struct options *o, const struct evaluation_options *options, const char *const paths[2],
                   struct output *output, struct error *error)
{
	const struct report_options report = make_report_options(o);
	struct evaluation a = {0}, b = {0};
	int result = read_evaluation(&a, options, paths[0], error);
	if (result == 0)
		result = read_evaluation(&b, options, paths[1], error);
	if (result == 0)
		result = comparison_print(&a, &b, paths, &report, output, error);
	if (result == 0)
		result = output_commit(output, error);
	evaluation_release(&a);
	evaluation_release(&b);
	return result;
}

int main(int argc, char **argv)
{
	struct options options;
	struct operands operands;
	struct error error = {0};
	struct output output = {.fd = -1};
	struct evaluation_options wanted;
	enum options_verdict verdict = options_parse(&tool, argc, argv, &options, &operands, &error);
	if (verdict == OPTIONS_DONE)
		return CODE_OK;
	if (verdict == OPTIONS_FAILED || check_options(&options, operands.count, &error) < 0 ||
	    make_evaluation_options(&options, &wanted, &error) < 0)
		return error_report(&error);
	int result = output_open(&output, options.out, &error);
	if (result == 0 && options.compare) {
		const char *const paths[2] = {operands.items[0], operands.items[1]};
		result = compare(&options, &wanted, paths, &output, &error);
	} else if (result == 0) {
		result = measure(&options, &wanted, operands.count ? operands.items[0] : "-", &output, &error);
	}
	output_release(&output);
	return result == 0 ? CODE_OK : error_report(&error);
}
