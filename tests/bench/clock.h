/* Time and output of the programs that measure: one line a figure, `name TAB value TAB unit`. Included by them
 * alone; nothing here reaches what the tools write. */
#ifndef RECPIPE_BENCH_CLOCK_H
#define RECPIPE_BENCH_CLOCK_H

#include <time.h>

#include "compat.h"

static inline double clock_seconds(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static inline void figure(const char *name, double value, const char *unit)
{
	printf("%s\t%.9g\t%s\n", name, value, unit);
	fflush(stdout);
}

#endif
