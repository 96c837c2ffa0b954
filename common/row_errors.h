/* Rows that cannot be read: counted, the first few told, all of them kept on request, an error past a limit. */
#ifndef RECPIPE_ROW_ERRORS_H
#define RECPIPE_ROW_ERRORS_H

#include "compat.h"
#include "csv.h"
#include "error.h"
#include "io.h"

struct row_errors {
	int64_t most;            /* rows that may be bad; 0: none (strict), -1: any number */
	int64_t shown;           /* of which the first so many are told on stderr */
	struct output *rejects;  /* TSV of line, byte offset, reason, row; NULL: none */
	uint64_t count;
};

/* Counts the current row of `reader` as bad for `reason`. CODE_DATA, naming file and line, past the limit. */
MUST_CHECK int row_errors_add(struct row_errors *errors, const struct csv_reader *reader, const char *reason,
                              struct error *error);

#endif
