/* What options.c (parsing) needs of options_help.c (words). */
#ifndef RECPIPE_OPTIONS_INTERNAL_H
#define RECPIPE_OPTIONS_INTERNAL_H

#include "io.h"
#include "options.h"

/* " from 1 to 9", " of at least 1"; "" when both bounds are 0, which means none. */
void options_range_text(double minimum, double maximum, char *text, size_t size);

MUST_CHECK int options_print_help(const struct tool_spec *tool, struct output *output, struct error *error);
MUST_CHECK int options_print_version(const struct tool_spec *tool, struct output *output, struct error *error);
MUST_CHECK int options_print_man(const struct tool_spec *tool, struct output *output, struct error *error);
MUST_CHECK int options_print_completion(const struct tool_spec *tool, struct output *output, struct error *error);

#endif
