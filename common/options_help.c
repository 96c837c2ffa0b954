/* Words from the option table: --help, the man page, shell completion, and the line that metadata carries. */
#include "options_internal.h"

static const struct {
	int code;
	const char *meaning;
} exit_statuses[] = {
	{CODE_OK, "Done."},
	{CODE_NO, "The answer is no: a gate was not met, a check failed."},
	{CODE_USAGE, "Wrong options or operands."},
	{CODE_DATA, "Malformed input."},
	{CODE_NO_INPUT, "An input cannot be opened."},
	{CODE_UNAVAILABLE, "The device or instruction set asked for is not there."},
	{CODE_BUG, "An internal error."},
	{CODE_SYSTEM, "Out of memory or another resource."},
	{CODE_CANNOT_CREATE, "An output cannot be created."},
	{CODE_IO, "Reading or writing failed."},
	{CODE_TRY_AGAIN, "Locked by another run: try again."},
	{CODE_SETTINGS, "A settings file is wrong."},
};

static const char *const standard_options[][2] = {
	{"help", "Print this help and exit."},
	{"version", "Print the version and exit."},
	{"man", "Print the man page (roff) and exit."},
	{"completion", "Print a bash completion script and exit."},
};

void options_range_text(double minimum, double maximum, char *text, size_t size)
{
	static const double endless = 1e15; /* bounds beyond are those of the type, no use to a reader */
	text[0] = '\0';
	if (minimum == 0 && maximum == 0)
		return;
	if (maximum >= endless)
		snprintf(text, size, " of at least %.15g", minimum);
	else
		snprintf(text, size, " from %.15g to %.15g", minimum, maximum);
}

/* What stands before the name: a flag that is on by default is there to be turned off. */
static const char *negation(const struct option_spec *spec, const void *defaults)
{
	bool on = spec->kind == OPTION_FLAG && *(const bool *)((const char *)defaults + spec->offset);
	return on ? "[no-]" : "";
}

/* "N" for a value, "a|b" for a choice. */
static void value_name(const struct option_spec *spec, char *text, size_t size)
{
	snprintf(text, size, "%s", spec->value ? spec->value : "");
	if (spec->kind != OPTION_CHOICE)
		return;
	text[0] = '\0';
	for (int i = 0; spec->choices[i]; i++) {
		size_t used = strlen(text);
		snprintf(text + used, size - used, "%s%s", i ? "|" : "", spec->choices[i]);
	}
}

/* The value in `values` as an option would be written; "" for what is not given. */
static void value_text(const struct option_spec *spec, const void *values, char *text, size_t size)
{
	const char *at = (const char *)values + spec->offset;
	text[0] = '\0';
	switch (spec->kind) {
	case OPTION_FLAG:
		snprintf(text, size, "%s", *(const bool *)at ? "yes" : "");
		return;
	case OPTION_INT:
	case OPTION_BYTES:
		snprintf(text, size, "%lld", (long long)*(const int64_t *)(const void *)at);
		return;
	case OPTION_REAL:
		snprintf(text, size, "%.15g", *(const double *)(const void *)at);
		return;
	case OPTION_TEXT:
		if (*(const char *const *)(const void *)at)
			snprintf(text, size, "%s", *(const char *const *)(const void *)at);
		return;
	case OPTION_CHOICE:
		snprintf(text, size, "%s", spec->choices[*(const int *)(const void *)at]);
		return;
	case OPTION_LIST: {
		const struct text_list *list = (const struct text_list *)(const void *)at;
		for (size_t i = 0; i < list->count; i++) {
			size_t used = strlen(text);
			snprintf(text + used, size - used, "%s%s", i ? "," : "", list->items[i]);
		}
		return;
	}
	case OPTION_INT_LIST: {
		const struct int_list *list = (const struct int_list *)(const void *)at;
		for (size_t i = 0; i < list->count; i++) {
			size_t used = strlen(text);
			snprintf(text + used, size - used, "%s%lld", i ? "," : "", (long long)list->items[i]);
		}
		return;
	}
	}
}

/* What stands behind an option's help: its range and its default. */
static void limits_text(const struct option_spec *spec, const void *defaults, char *text, size_t size)
{
	char value[256], range[96] = "";
	value_text(spec, defaults, value, sizeof value);
	options_range_text(spec->minimum, spec->maximum, range, sizeof range);
	const char *bare = range[0] ? range + 1 + strcspn(range + 1, " ") + 1 : ""; /* less " from ", " of " */
	const char *between = range[0] && value[0] ? "; " : "";
	text[0] = '\0';
	if (range[0] || value[0])
		snprintf(text, size, " (%s%s%s%.200s)", bare, between, value[0] ? "default " : "", value);
}

void options_describe(const struct tool_spec *tool, const void *values, const char *const *skip, char *text,
                      size_t size)
{
	size_t used = 0;
	text[0] = '\0';
	for (size_t i = 0; i < tool->option_count; i++) {
		const struct option_spec *spec = &tool->options[i];
		char value[512], standard[512];
		bool skipped = false;
		for (size_t s = 0; skip && skip[s]; s++)
			skipped = skipped || strcmp(skip[s], spec->name) == 0;
		value_text(spec, values, value, sizeof value);
		value_text(spec, tool->defaults, standard, sizeof standard);
		if (skipped || strcmp(value, standard) == 0)
			continue;
		int wrote = snprintf(text + used, size - used, "%s%s=%s", used ? " " : "", spec->name,
		                     value[0] ? value : "no");
		if (wrote < 0 || (size_t)wrote >= size - used) {
			text[used] = '\0'; /* whole pairs only */
			return;
		}
		used += (size_t)wrote;
	}
}

int options_print_version(const struct tool_spec *tool, struct output *output, struct error *error)
{
	return output_print(output, error, "%s (recpipe) %s\n", tool->name, RECPIPE_VERSION);
}

/* ---- --help ---- */

enum { HELP_COLUMN = 26, HELP_WIDTH = 100 };

/* Writes `text` wrapped, each line indented by `indent`; the cursor stands at `column`. */
static int print_wrapped(struct output *output, size_t indent, size_t column, const char *text, struct error *error)
{
	for (const char *at = text; *at;) {
		size_t word = strcspn(at, " \n");
		if (column > indent && column + 1 + word > HELP_WIDTH) {
			if (output_print(output, error, "\n") < 0)
				return -1;
			column = 0;
		}
		int spaces = column < indent ? (int)(indent - column) : column > indent ? 1 : 0;
		if (output_print(output, error, "%*s%.*s", spaces, "", (int)word, at) < 0)
			return -1;
		column += (size_t)spaces + word;
		at += word;
		for (; *at == ' '; at++)
			;
		for (; *at == '\n'; at++) {
			if (output_print(output, error, "\n") < 0)
				return -1;
			column = 0;
		}
	}
	return output_print(output, error, "\n");
}

static int print_option_help(const struct tool_spec *tool, const struct option_spec *spec, struct output *output,
                             struct error *error)
{
	char head[384], value[256], limits[400], help[2048];
	value_name(spec, value, sizeof value);
	char letter[8] = "    ";
	if (spec->letter)
		snprintf(letter, sizeof letter, "-%c, ", spec->letter);
	int length = snprintf(head, sizeof head, "  %s--%s%s%s%s", letter, negation(spec, tool->defaults), spec->name,
	                      value[0] ? " " : "", value);
	limits_text(spec, tool->defaults, limits, sizeof limits);
	snprintf(help, sizeof help, "%s%s", spec->help, limits);
	if (output_print(output, error, "%s", head) < 0)
		return -1;
	if (length >= HELP_COLUMN - 1) {
		length = 0;
		if (output_print(output, error, "\n") < 0)
			return -1;
	}
	return print_wrapped(output, HELP_COLUMN, (size_t)length, help, error);
}

/* Never wrapped: a command is there to be copied. */
static int print_examples_help(const char *examples, struct output *output, struct error *error)
{
	if (output_print(output, error, "\nExamples:\n") < 0)
		return -1;
	for (const char *at = examples; *at;) {
		size_t length = strcspn(at, "\n");
		if (output_print(output, error, "  %.*s\n", (int)length, at) < 0)
			return -1;
		at += length;
		at += *at == '\n';
	}
	return 0;
}

int options_print_help(const struct tool_spec *tool, struct output *output, struct error *error)
{
	if (output_print(output, error, "Usage: %s [OPTION]...%s%s\n\n%s: %s\n\n", tool->name,
	                 tool->operands[0] ? " " : "", tool->operands, tool->name, tool->summary) < 0 ||
	    print_wrapped(output, 0, 0, tool->description, error) < 0 ||
	    output_print(output, error, "\nOptions:\n") < 0)
		return -1;
	for (size_t i = 0; i < tool->option_count; i++)
		if (print_option_help(tool, &tool->options[i], output, error) < 0)
			return -1;
	for (size_t i = 0; i < COUNT_OF(standard_options); i++) {
		const struct option_spec spec = {.name = standard_options[i][0], .kind = OPTION_FLAG,
		                                 .help = standard_options[i][1]};
		const bool off = false;
		const struct tool_spec plain = {.defaults = &off};
		if (print_option_help(&plain, &spec, output, error) < 0)
			return -1;
	}
	if (tool->examples && print_examples_help(tool->examples, output, error) < 0)
		return -1;
	if (output_print(output, error, "\nExit status:\n") < 0)
		return -1;
	for (size_t i = 0; i < COUNT_OF(exit_statuses); i++)
		if (output_print(output, error, "  %2d  %s\n", exit_statuses[i].code, exit_statuses[i].meaning) < 0)
			return -1;
	return 0;
}

/* ---- the man page ---- */

/* Text with roff's special characters escaped; paragraphs at blank lines. */
static int print_roff(struct output *output, const char *text, struct error *error)
{
	bool line_begins = true;
	for (const char *at = text; *at; at++) {
		const char *piece = NULL;
		char plain[2] = {*at, '\0'};
		if (at[0] == '\n' && at[1] == '\n') {
			piece = "\n.PP\n";
			at++;
		} else if (*at == '\\') {
			piece = "\\e";
		} else if (*at == '-') {
			piece = "\\-";
		} else if (line_begins && (*at == '.' || *at == '\'')) {
			piece = *at == '.' ? "\\&." : "\\&'";
		}
		if (output_print(output, error, "%s", piece ? piece : plain) < 0)
			return -1;
		line_begins = *at == '\n';
	}
	return output_print(output, error, "\n");
}

/* A name as roff wants it: "-" alone would be a hyphen, which cannot be pasted into a shell. */
static const char *roff_name(const char *name, char *text, size_t size)
{
	size_t used = 0;
	for (; *name && used + 3 < size; name++) {
		if (*name == '-')
			text[used++] = '\\';
		text[used++] = *name;
	}
	text[used] = '\0';
	return text;
}

static int print_option_man(const struct tool_spec *tool, const struct option_spec *spec, struct output *output,
                            struct error *error)
{
	char value[256], limits[400], help[2048], letter[16] = "", name[128], placeholder[384];
	value_name(spec, value, sizeof value);
	limits_text(spec, tool->defaults, limits, sizeof limits);
	snprintf(help, sizeof help, "%s%s", spec->help, limits);
	if (spec->letter)
		snprintf(letter, sizeof letter, "\\fB\\-%c\\fR, ", spec->letter);
	if (output_print(output, error, ".TP\n%s\\fB\\-\\-%s%s\\fR%s\\fI%s\\fR\n", letter,
	                 negation(spec, tool->defaults)[0] ? "[no\\-]" : "", roff_name(spec->name, name, sizeof name),
	                 value[0] ? " " : "", roff_name(value, placeholder, sizeof placeholder)) < 0)
		return -1;
	return print_roff(output, help, error);
}

/* Examples come as "command" lines, each followed by lines indented by two spaces that explain it. */
static int print_examples_man(const char *examples, struct output *output, struct error *error)
{
	if (output_print(output, error, ".SH EXAMPLES\n") < 0)
		return -1;
	for (const char *at = examples; *at;) {
		char line[1024];
		size_t length = strcspn(at, "\n");
		bool explains = at[0] == ' ';
		snprintf(line, sizeof line, "%.*s", (int)length, at);
		if (output_print(output, error, "%s", explains ? "" : ".TP\n") < 0 ||
		    print_roff(output, explains ? line + strspn(line, " ") : line, error) < 0)
			return -1;
		at += length;
		at += *at == '\n';
	}
	return 0;
}

int options_print_man(const struct tool_spec *tool, struct output *output, struct error *error)
{
	char name[128];
	roff_name(tool->name, name, sizeof name);
	if (output_print(output, error, ".TH %s 1 \"\" \"recpipe %s\" \"recpipe\"\n.SH NAME\n%s \\- %s\n", name,
	                 RECPIPE_VERSION, name, tool->summary) < 0 ||
	    output_print(output, error, ".SH SYNOPSIS\n\\fB%s\\fR [\\fIOPTION\\fR]... %s\n.SH DESCRIPTION\n", name,
	                 tool->operands) < 0 ||
	    print_roff(output, tool->description, error) < 0 || output_print(output, error, ".SH OPTIONS\n") < 0)
		return -1;
	for (size_t i = 0; i < tool->option_count; i++)
		if (print_option_man(tool, &tool->options[i], output, error) < 0)
			return -1;
	for (size_t i = 0; i < COUNT_OF(standard_options); i++)
		if (output_print(output, error, ".TP\n\\fB\\-\\-%s\\fR\n%s\n", standard_options[i][0],
		                 standard_options[i][1]) < 0)
			return -1;
	if (tool->examples && print_examples_man(tool->examples, output, error) < 0)
		return -1;
	if (output_print(output, error, ".SH EXIT STATUS\n") < 0)
		return -1;
	for (size_t i = 0; i < COUNT_OF(exit_statuses); i++)
		if (output_print(output, error, ".TP\n%d\n%s\n", exit_statuses[i].code, exit_statuses[i].meaning) < 0)
			return -1;
	if (!tool->see_also)
		return 0;
	return output_print(output, error, ".SH SEE ALSO\n%s\n", tool->see_also);
}

/* ---- completion ---- */

int options_print_completion(const struct tool_spec *tool, struct output *output, struct error *error)
{
	char function[64];
	snprintf(function, sizeof function, "_recpipe_%s", tool->name);
	for (char *at = function; *at; at++)
		if (*at == '-')
			*at = '_';
	if (output_print(output, error, "# bash completion of %s\n%s()\n{\n\tlocal word=${COMP_WORDS[COMP_CWORD]} "
	                                "before=${COMP_WORDS[COMP_CWORD-1]}\n\tcase $before in\n", tool->name,
	                 function) < 0)
		return -1;
	for (size_t i = 0; i < tool->option_count; i++) {
		const struct option_spec *spec = &tool->options[i];
		if (spec->kind != OPTION_CHOICE)
			continue;
		if (output_print(output, error, "\t--%s) COMPREPLY=($(compgen -W '", spec->name) < 0)
			return -1;
		for (int c = 0; spec->choices[c]; c++)
			if (output_print(output, error, "%s%s", c ? " " : "", spec->choices[c]) < 0)
				return -1;
		if (output_print(output, error, "' -- \"$word\")); return;;\n") < 0)
			return -1;
	}
	if (output_print(output, error, "\tesac\n\tif [[ $word == -* ]]; then\n\t\tCOMPREPLY=($(compgen -W '") < 0)
		return -1;
	for (size_t i = 0; i < tool->option_count; i++)
		if (output_print(output, error, "--%s%s ", negation(&tool->options[i], tool->defaults)[0] ? "no-" : "",
		                 tool->options[i].name) < 0)
			return -1;
	for (size_t i = 0; i < COUNT_OF(standard_options); i++)
		if (output_print(output, error, "--%s ", standard_options[i][0]) < 0)
			return -1;
	return output_print(output, error, "' -- \"$word\"))\n\telse\n\t\tCOMPREPLY=($(compgen -f -- \"$word\"))\n"
	                                   "\tfi\n}\ncomplete -o filenames -F %s %s\n", function, tool->name);
}
