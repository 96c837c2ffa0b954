/* Parsing by table: getopt_long is fed from the tool's option_spec rows; numbers go through one parser. */
#include "options.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <math.h>

#include "io.h"
#include "options_internal.h"

enum {
	CODE_BASE = 256,      /* getopt's values for rows: CODE_BASE + row */
	NEGATED = 1 << 12,    /* … for --no-NAME */
	STANDARD_BASE = 1 << 13,
};

static const struct {
	const char *name;
	int (*print)(const struct tool_spec *tool, struct output *output, struct error *error);
} standard[] = {
	{"help", options_print_help},
	{"version", options_print_version},
	{"man", options_print_man},
	{"completion", options_print_completion},
};

/* ---- numbers ---- */

static int number_error(struct error *error, const char *what, const char *text, const char *kind, double minimum,
                        double maximum)
{
	char range[96];
	options_range_text(minimum, maximum, range, sizeof range);
	return error_set(error, CODE_USAGE, "%s: '%.200s' is not %s%s", what, text, kind, range);
}

static int64_t unit_of(const char *suffix, int64_t step)
{
	static const char letters[] = "KMGT";
	int64_t unit = 1;
	if (*suffix == '\0')
		return 1;
	for (size_t i = 0; letters[i]; i++) {
		unit *= step;
		if ((suffix[0] & ~0x20) == letters[i] && suffix[1] == '\0')
			return unit;
	}
	return 0;
}

static int parse_scaled(const char *what, const char *text, int64_t step, double minimum, double maximum, int64_t *out,
                        struct error *error)
{
	char *end = NULL;
	errno = 0;
	long long value = strtoll(text, &end, 10);
	int64_t unit = unit_of(end, step), scaled = 0;
	bool bounded = minimum != 0 || maximum != 0;
	bool digits = end != text && !isspace((unsigned char)text[0]);
	if (!digits || errno != 0 || unit == 0 || __builtin_mul_overflow(value, unit, &scaled) ||
	    (bounded && ((double)scaled < minimum || (double)scaled > maximum)))
		return number_error(error, what, text, "an integer", minimum, maximum);
	*out = scaled;
	return 0;
}

int parse_int(const char *what, const char *text, int64_t minimum, int64_t maximum, int64_t *out, struct error *error)
{
	int64_t value = 0;
	if (parse_scaled(what, text, 1000, 0, 0, &value, error) < 0)
		return -1;
	if (value < minimum || value > maximum)
		return number_error(error, what, text, "an integer", (double)minimum, (double)maximum);
	*out = value;
	return 0;
}

int parse_real(const char *what, const char *text, double minimum, double maximum, double *out, struct error *error)
{
	char *end = NULL;
	double value = strtod(text, &end);
	bool bounded = minimum != 0 || maximum != 0;
	if (end == text || *end != '\0' || !isfinite(value) || isspace((unsigned char)text[0]) ||
	    (bounded && (value < minimum || value > maximum)))
		return number_error(error, what, text, "a number", minimum, maximum);
	*out = value;
	return 0;
}

/* ---- values ---- */

static int set_choice(const struct option_spec *spec, const char *what, const char *text, int *value,
                      struct error *error)
{
	char names[256] = "";
	for (int i = 0; spec->choices[i]; i++) {
		if (strcmp(spec->choices[i], text) == 0) {
			*value = i;
			return 0;
		}
		size_t used = strlen(names);
		snprintf(names + used, sizeof names - used, "%s%s", i ? ", " : "", spec->choices[i]);
	}
	return error_set(error, CODE_USAGE, "%s: '%s' is unknown, expected one of: %s", what, text, names);
}

static int add_text(const char *what, const char *text, struct text_list *list, struct error *error)
{
	if (list->count == OPTION_LIST_MAX)
		return error_set(error, CODE_USAGE, "%s is given more than %d times", what, OPTION_LIST_MAX);
	list->items[list->count++] = text;
	return 0;
}

static int set_int_list(const struct option_spec *spec, const char *what, const char *text, struct int_list *list,
                        struct error *error)
{
	list->count = 0;
	for (const char *at = text;; at++) {
		char number[32];
		size_t length = strcspn(at, ",");
		if (list->count == OPTION_LIST_MAX)
			return error_set(error, CODE_USAGE, "%s: more than %d numbers", what, OPTION_LIST_MAX);
		if (length >= sizeof number)
			return number_error(error, what, at, "an integer", spec->minimum, spec->maximum);
		memcpy(number, at, length);
		number[length] = '\0';
		if (parse_scaled(what, number, 1000, spec->minimum, spec->maximum, &list->items[list->count++], error) < 0)
			return -1;
		at += length;
		if (*at == '\0')
			return 0;
	}
}

/* A list that is given replaces the default's: `first` is the first time on this command line. */
static int set_value(const struct option_spec *spec, const char *text, bool first, void *values,
                     struct error *error)
{
	char *at = (char *)values + spec->offset, what[80];
	snprintf(what, sizeof what, "--%s", spec->name);
	switch (spec->kind) {
	case OPTION_FLAG:
		*(bool *)at = true;
		return 0;
	case OPTION_INT:
		return parse_scaled(what, text, 1000, spec->minimum, spec->maximum, (int64_t *)(void *)at, error);
	case OPTION_BYTES:
		return parse_scaled(what, text, 1024, spec->minimum, spec->maximum, (int64_t *)(void *)at, error);
	case OPTION_REAL:
		return parse_real(what, text, spec->minimum, spec->maximum, (double *)(void *)at, error);
	case OPTION_TEXT:
		*(const char **)(void *)at = text;
		return 0;
	case OPTION_CHOICE:
		return set_choice(spec, what, text, (int *)(void *)at, error);
	case OPTION_LIST:
		if (first)
			((struct text_list *)(void *)at)->count = 0;
		return add_text(what, text, (struct text_list *)(void *)at, error);
	case OPTION_INT_LIST:
		return set_int_list(spec, what, text, (struct int_list *)(void *)at, error);
	}
	return error_set(error, CODE_BUG, "%s has an unknown kind", what);
}

/* ---- getopt's tables ---- */

struct getopt_tables {
	struct option longs[OPTIONS_MAX + OPTIONS_MAX + COUNT_OF(standard) + 1];
	char negated[OPTIONS_MAX][64];
	char shorts[2 * OPTIONS_MAX + 4];
	bool given[OPTIONS_MAX];
};

static void make_tables(const struct tool_spec *tool, struct getopt_tables *tables)
{
	size_t longs = 0, shorts = 0;
	memset(tables->given, 0, sizeof tables->given);
	tables->shorts[shorts++] = ':'; /* tell a missing argument from an unknown option */
	for (size_t i = 0; i < tool->option_count && i < OPTIONS_MAX; i++) {
		const struct option_spec *spec = &tool->options[i];
		bool flag = spec->kind == OPTION_FLAG;
		tables->longs[longs++] = (struct option){spec->name, flag ? no_argument : required_argument, NULL,
		                                         CODE_BASE + (int)i};
		if (flag) {
			snprintf(tables->negated[i], sizeof tables->negated[i], "no-%s", spec->name);
			tables->longs[longs++] = (struct option){tables->negated[i], no_argument, NULL,
			                                         CODE_BASE + NEGATED + (int)i};
		}
		if (spec->letter) {
			tables->shorts[shorts++] = spec->letter;
			if (!flag)
				tables->shorts[shorts++] = ':';
		}
	}
	for (size_t i = 0; i < COUNT_OF(standard); i++)
		tables->longs[longs++] = (struct option){standard[i].name, no_argument, NULL, STANDARD_BASE + (int)i};
	tables->longs[longs] = (struct option){0};
	tables->shorts[shorts] = '\0';
}

static const struct option_spec *spec_of(const struct tool_spec *tool, int code)
{
	for (size_t i = 0; i < tool->option_count; i++)
		if (code == CODE_BASE + (int)i || code == CODE_BASE + NEGATED + (int)i ||
		    (code < CODE_BASE && tool->options[i].letter == (char)code))
			return &tool->options[i];
	return NULL;
}

static int usage_error(struct error *error, const char *problem, const char *what)
{
	return error_set(error, CODE_USAGE, "%s '%.200s'", problem, what);
}

static enum options_verdict failed(const struct tool_spec *tool, struct error *error)
{
	size_t used = strlen(error->message);
	if (error->code == CODE_USAGE)
		snprintf(error->message + used, sizeof error->message - used, "; see %s --help", tool->name);
	return OPTIONS_FAILED;
}

static int answer_standard(const struct tool_spec *tool, size_t which, struct error *error)
{
	struct output output;
	int result = output_open(&output, "-", error);
	if (result == 0)
		result = standard[which].print(tool, &output, error);
	if (result == 0)
		result = output_commit(&output, error);
	output_release(&output);
	return result;
}

static int take_option(const struct tool_spec *tool, struct getopt_tables *tables, int code, char **argv, void *values,
                       struct error *error)
{
	const struct option_spec *spec = spec_of(tool, code);
	char letter[8] = {'-', (char)optopt, '\0'};
	const char *given = optopt > 0 && optopt < CODE_BASE ? letter : argv[optind - 1];
	if (code == '?')
		return usage_error(error, optopt >= CODE_BASE ? "no value is expected in option" : "unknown option", given);
	if (code == ':')
		return usage_error(error, "a value is missing behind option", given);
	if (!spec)
		return error_set(error, CODE_BUG, "option %d is in no table", code);
	bool *seen = &tables->given[spec - tool->options], first = !*seen;
	*seen = true;
	if (code >= CODE_BASE + NEGATED) {
		*(bool *)((char *)values + spec->offset) = false;
		return 0;
	}
	return set_value(spec, optarg, first, values, error);
}

enum options_verdict options_parse(const struct tool_spec *tool, int argc, char **argv, void *values,
                                   struct operands *operands, struct error *error)
{
	struct getopt_tables tables;
	io_start();
	memcpy(values, tool->defaults, tool->size);
	make_tables(tool, &tables);
	optind = 0; /* glibc's way to begin afresh */
	opterr = 0;
	for (int code; optopt = 0, (code = getopt_long(argc, argv, tables.shorts, tables.longs, NULL)) != -1;) {
		if (code >= STANDARD_BASE)
			return answer_standard(tool, (size_t)(code - STANDARD_BASE), error) == 0 ? OPTIONS_DONE
			                                                                         : OPTIONS_FAILED;
		if (take_option(tool, &tables, code, argv, values, error) < 0)
			return failed(tool, error);
	}
	*operands = (struct operands){.items = argv + optind, .count = (size_t)(argc - optind)};
	memcpy(operands->given, tables.given, sizeof operands->given);
	if (operands->count < tool->minimum_operands) {
		usage_error(error, "an operand is missing, expected", tool->operands);
		return failed(tool, error);
	}
	if (operands->count > tool->maximum_operands) {
		usage_error(error, "unexpected operand", operands->items[tool->maximum_operands]);
		return failed(tool, error);
	}
	return OPTIONS_RUN;
}

bool option_given(const struct tool_spec *tool, const struct operands *operands, const char *name)
{
	for (size_t i = 0; i < tool->option_count && i < OPTIONS_MAX; i++)
		if (strcmp(tool->options[i].name, name) == 0)
			return operands->given[i];
	return false;
}
