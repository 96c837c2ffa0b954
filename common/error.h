/* Errors as values, and the exit codes that tools answer with.
 *
 * A fallible function returns 0, or -1 with `struct error` filled in; readers return 1 for an item and 0
 * for the end. Only a tool's main turns an error into words on stderr and an exit code. */
#ifndef RECPIPE_ERROR_H
#define RECPIPE_ERROR_H

#include "compat.h"

#ifdef __cplusplus
extern "C" {
#endif

/* sysexits values, documented in every man page. */
enum exit_code {
	CODE_OK = 0,
	CODE_NO = 1,            /* the answer is no: a gate not met, a verify failed */
	CODE_USAGE = 64,        /* wrong options or operands */
	CODE_DATA = 65,         /* input is malformed */
	CODE_NO_INPUT = 66,     /* an input cannot be opened */
	CODE_UNAVAILABLE = 69,  /* a device is not there */
	CODE_BUG = 70,          /* internal: ours to mend */
	CODE_SYSTEM = 71,       /* out of memory, threads, or the like */
	CODE_CANNOT_CREATE = 73,/* an output cannot be created */
	CODE_IO = 74,           /* reading or writing failed */
	CODE_TRY_AGAIN = 75,    /* locked by another run */
	CODE_SETTINGS = 78,     /* a settings file is wrong */
};

struct error {
	int code;           /* an enum exit_code; CODE_OK while nothing went wrong */
	char message[1024]; /* one line, without the tool's name */
};

/* Fills `error` unless it already holds one (the first cause is the one to tell).
 * Returns -1, so that callers can write `return error_set(…)`. `error` must not be NULL. */
int error_set(struct error *error, enum exit_code code, const char *format, ...) PRINTF_LIKE(3, 4);

/* The same with ": " and the text of errno `number` behind the message. */
int error_set_errno(struct error *error, enum exit_code code, int number, const char *format, ...)
	PRINTF_LIKE(4, 5);

/* Puts "prefix: " before the message (a file name, a line). Returns -1. */
int error_prefix(struct error *error, const char *format, ...) PRINTF_LIKE(2, 3);

/* Prints "tool: message" on stderr and returns the exit code. */
MUST_CHECK int error_report(const struct error *error);

/* "tool: message" on stderr: something the user should know that is no error. */
void note(const char *format, ...) PRINTF_LIKE(1, 2);

#ifdef __cplusplus
}
#endif
#endif
