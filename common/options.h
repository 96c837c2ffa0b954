/* One option table per tool: parsing, ranges, --help, the man page and shell completion come from it.
 *
 * A tool declares a plain struct of values, a const struct of defaults, and a table of option_spec that
 * point into it by offsetof. Numbers from users go through the one ranged parser here, which names the
 * option in its message. Every tool also has --help, --version, --man (its man page as roff) and
 * --completion (a bash completion script). */
#ifndef RECPIPE_OPTIONS_H
#define RECPIPE_OPTIONS_H

#include "compat.h"
#include "error.h"

enum option_kind {
	OPTION_FLAG,     /* bool: set to true; --no-NAME sets false */
	OPTION_INT,      /* int64_t within [minimum, maximum]; suffixes k, M, G (powers of 1000) */
	OPTION_BYTES,    /* int64_t; suffixes K, M, G, T (powers of 1024) */
	OPTION_REAL,     /* double within [minimum, maximum], finite */
	OPTION_TEXT,     /* const char *: points into argv; NULL when not given */
	OPTION_CHOICE,   /* int: index into `choices` (NULL-terminated) */
	OPTION_LIST,     /* struct text_list: may be repeated, kept in order */
	OPTION_INT_LIST, /* struct int_list: comma-separated integers within the range */
};

enum { OPTION_LIST_MAX = 64, OPTIONS_MAX = 64 /* rows of a table */ };

struct text_list {
	const char *items[OPTION_LIST_MAX];
	size_t count;
};

struct int_list {
	int64_t items[OPTION_LIST_MAX];
	size_t count;
};

struct option_spec {
	char letter;             /* short form, 0 for none */
	const char *name;        /* long form, without dashes */
	enum option_kind kind;
	size_t offset;           /* of the value in the tool's struct */
	const char *value;       /* placeholder in the help: "N", "FILE"; NULL for flags and choices */
	const char *help;        /* one or more sentences; the default is added from the defaults struct */
	double minimum, maximum; /* for numbers; both 0: unlimited */
	const char *const *choices;
};

struct tool_spec {
	const char *name;
	const char *summary;     /* one line, for NAME and the head of --help */
	const char *operands;    /* "FILE…", as in the synopsis; "" for none */
	const char *description; /* paragraphs, separated by blank lines */
	const char *examples;    /* "command\n  what it does" lines; may be NULL */
	const char *see_also;    /* "score(1), rerank(1)"; may be NULL */
	const struct option_spec *options;
	size_t option_count;
	const void *defaults;    /* a const struct like the one parsed into */
	size_t size;             /* of that struct */
	size_t minimum_operands;
	size_t maximum_operands; /* SIZE_MAX: any number */
};

struct operands {
	char **items;            /* into argv */
	size_t count;
	bool given[OPTIONS_MAX]; /* of each row of the table: whether the command line has it (see option_given) */
};

enum options_verdict { OPTIONS_RUN, OPTIONS_DONE, OPTIONS_FAILED };

/* Starts the tool (io_start), copies the defaults into `values`, and parses argv over them. Operands may
 * stand between options; "--" ends options.
 * Returns OPTIONS_RUN to go on; OPTIONS_DONE when --help or the like was answered on stdout (exit 0);
 * OPTIONS_FAILED with CODE_USAGE in `error`, whose message names the option and points to --help. */
MUST_CHECK enum options_verdict options_parse(const struct tool_spec *tool, int argc, char **argv, void *values,
                                              struct operands *operands, struct error *error);

/* True when the command line had option `name`, also with its default value. */
bool option_given(const struct tool_spec *tool, const struct operands *operands, const char *name);

/* "name=value" pairs of every option that differs from its default, separated by spaces: what goes into
 * the metadata of streams. Options whose name is in `skip` (NULL-terminated; paths, threads, device: what
 * must not change a byte) are left out. `text` receives at most `size` bytes with the NUL; pairs that no
 * longer fit are left out. */
void options_describe(const struct tool_spec *tool, const void *values, const char *const *skip, char *text,
                      size_t size);

/* The one parser of numbers for settings that are not options (fields of a list, say): the whole of `text`
 * must be a number within [minimum, maximum]. `what` names it in the message. CODE_USAGE otherwise. */
MUST_CHECK int parse_int(const char *what, const char *text, int64_t minimum, int64_t maximum, int64_t *out,
                         struct error *error);
MUST_CHECK int parse_real(const char *what, const char *text, double minimum, double maximum, double *out,
                          struct error *error);

#endif
