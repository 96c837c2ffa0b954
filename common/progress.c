/* The progress line and the clock behind it. */
#include "progress.h"

#include <inttypes.h>
#include <time.h>
#include <unistd.h>

static const double redraw_seconds = 0.1;

double clock_seconds(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

void progress_start(struct progress *progress, const char *what, uint64_t total, bool quiet)
{
	*progress = (struct progress){.what = what, .total = total, .active = !quiet && isatty(STDERR_FILENO)};
	if (progress->active)
		progress->started = progress->drawn = clock_seconds();
}

void progress_update(struct progress *progress, uint64_t done)
{
	if (!progress->active)
		return;
	double now = clock_seconds();
	if (now - progress->drawn < redraw_seconds)
		return;
	progress->drawn = now;
	double rate = (double)done / (now - progress->started);
	if (progress->total)
		fprintf(stderr, "\r\033[K%" PRIu64 " of %" PRIu64 " %s (%.0f%%), %.3g a second", done, progress->total,
		        progress->what, 100.0 * (double)done / (double)progress->total, rate);
	else
		fprintf(stderr, "\r\033[K%" PRIu64 " %s, %.3g a second", done, progress->what, rate);
	fflush(stderr);
}

void progress_finish(struct progress *progress)
{
	if (progress->active)
		fputs("\r\033[K", stderr);
	progress->active = false;
}
