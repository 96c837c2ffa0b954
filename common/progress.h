/* A progress line on stderr when that is a terminal, silent otherwise; redrawn at most ten times a second. */
#ifndef RECPIPE_PROGRESS_H
#define RECPIPE_PROGRESS_H

#include "compat.h"

struct progress {
	const char *what;   /* "rows", "users" */
	uint64_t total;     /* 0 when unknown */
	double started, drawn;
	bool active;
};

void progress_start(struct progress *progress, const char *what, uint64_t total, bool quiet);
void progress_update(struct progress *progress, uint64_t done);
void progress_finish(struct progress *progress); /* clears the line */

/* Seconds of a monotonic clock: for talk on stderr and reports of time, never for data. */
double clock_seconds(void);

#endif
