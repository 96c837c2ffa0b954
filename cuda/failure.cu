/* Errors as values, as error.h has them. */
#include <stdarg.h>

#include "device.h"

int cuda_error(struct error *error, enum exit_code code, const char *format, ...)
{
	va_list arguments;
	if (error->code != CODE_OK)
		return -1; /* the first cause is the one to tell */
	error->code = (int)code;
	va_start(arguments, format);
	vsnprintf(error->message, sizeof error->message, format, arguments);
	va_end(arguments);
	return -1;
}

void device_full(const struct device *device, size_t count, size_t size, size_t free_bytes, const char *what,
                 struct error *error)
{
	const double mib = 1048576.0;
	cuda_error(error, CODE_SYSTEM, "cuda:%d (%s) is out of memory: %s needs %.1f MiB, %.1f MiB are free, %.1f MiB are "
	           "this model's already; a smaller batch or --device cpu would fit", device->number, device->name, what,
	           (double)count * (double)size / mib, (double)free_bytes / mib, (double)device->bytes / mib);
}
