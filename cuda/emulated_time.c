/* Time of the emulated device: the host's. */
#include "device.h"

#include <time.h>

static struct {
	bool runs;
	double begin, lap, busy;
} timing;

static double now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

void device_time_begin(struct device *device, double hold)
{
	(void)device;
	(void)hold;
	timing.runs = true;
	timing.busy = 0.0;
	timing.begin = now();
}

void device_lap_begin(struct device *device)
{
	(void)device;
	timing.lap = timing.runs ? now() : 0.0;
}

void device_lap_end(struct device *device)
{
	(void)device;
	timing.busy += timing.runs ? now() - timing.lap : 0.0;
}

int device_time_end(struct device *device, double *seconds, double *busy, struct error *error)
{
	*seconds = now() - timing.begin;
	*busy = timing.busy;
	timing.runs = false;
	return device_finish(device, error);
}

void device_time_close(struct device *device)
{
	(void)device;
}
