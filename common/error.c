/* Errors as values: the first cause is kept, later ones on the way out are not told. */
#include "error.h"

#include <errno.h>
#include <stdarg.h>

static PRINTF_LIKE(3, 0) void set_message(struct error *error, enum exit_code code, const char *format,
                                          va_list arguments)
{
	error->code = (int)code;
	vsnprintf(error->message, sizeof error->message, format, arguments);
}

int error_set(struct error *error, enum exit_code code, const char *format, ...)
{
	va_list arguments;
	if (error->code != CODE_OK)
		return -1;
	va_start(arguments, format);
	set_message(error, code, format, arguments);
	va_end(arguments);
	return -1;
}

int error_set_errno(struct error *error, enum exit_code code, int number, const char *format, ...)
{
	va_list arguments;
	if (error->code != CODE_OK)
		return -1;
	va_start(arguments, format);
	set_message(error, code, format, arguments);
	va_end(arguments);
	size_t used = strlen(error->message);
	snprintf(error->message + used, sizeof error->message - used, ": %s", strerror(number));
	return -1;
}

int error_prefix(struct error *error, const char *format, ...)
{
	char prefix[512], message[sizeof error->message];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(prefix, sizeof prefix, format, arguments);
	va_end(arguments);
	memcpy(message, error->message, sizeof message);
	snprintf(error->message, sizeof error->message, "%s: %.500s", prefix, message);
	return -1;
}

int error_report(const struct error *error)
{
	fflush(stdout);
	fprintf(stderr, "%s: %s\n", program_invocation_short_name, error->message);
	return error->code == CODE_OK ? CODE_BUG : error->code;
}

void note(const char *format, ...)
{
	va_list arguments;
	fprintf(stderr, "%s: ", program_invocation_short_name);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
}
