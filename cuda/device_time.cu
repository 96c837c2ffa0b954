/* Device time by events of the CUDA runtime, for benches (timing.h). */
#include "launch.h"

enum { TIMES_MAX = 1024 };

/* Made when they are first used: begin, end, then those of laps. */
struct times {
	cudaEvent_t events[TIMES_MAX];
	size_t count;             /* in use; 0: nothing is timed */
};

static struct times *times_of(struct device *device)
{
	return (struct times *)device->times;
}

void device_time_close(struct device *device)
{
	for (int t = 0; device->times && t < TIMES_MAX; t++)
		if (times_of(device)->events[t])
			cudaEventDestroy(times_of(device)->events[t]);
	free(device->times);
	device->times = NULL;
}

static __global__ void hold_stream(uint64_t nanoseconds)
{
	uint64_t begin, now;
	asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(begin));
	do
		asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now));
	while (now - begin < nanoseconds);
}

static void record_time(struct device *device, size_t which)
{
	cudaEvent_t *time = &times_of(device)->events[which];
	if (!*time)
		device_check(device, cudaEventCreate(time), "an event");
	if (*time)
		device_check(device, cudaEventRecord(*time, device_stream(device, STREAM_WORK)), "an event");
}

void device_time_begin(struct device *device, double hold)
{
	if (!device->times)
		device->times = calloc(1, sizeof(struct times));
	if (!device->times) {
		cuda_error(&device->failure, CODE_SYSTEM, "out of memory: events");
		return;
	}
	if (hold > 0) {
		hold_stream<<<1, 1, 0, device_stream(device, STREAM_WORK)>>>((uint64_t)(hold * 1e9));
		device_check(device, cudaGetLastError(), "holding a stream");
	}
	times_of(device)->count = 2;
	record_time(device, 0);
}

/* Laps that there are no events left for are not timed. */
void device_lap_begin(struct device *device)
{
	struct times *times = times_of(device);
	if (times && times->count > 0 && times->count + 2 <= TIMES_MAX)
		record_time(device, times->count);
}

void device_lap_end(struct device *device)
{
	struct times *times = times_of(device);
	if (times && times->count > 0 && times->count + 2 <= TIMES_MAX) {
		record_time(device, times->count + 1);
		times->count += 2;
	}
}

int device_time_end(struct device *device, double *seconds, double *busy, struct error *error)
{
	struct times *times = times_of(device);
	float milliseconds = 0.0f;
	*seconds = *busy = 0.0;
	if (times)
		record_time(device, 1);
	if (device_finish(device, error) < 0)
		return -1;
	for (size_t t = 0; t < times->count; t += 2) {
		device_check(device, cudaEventElapsedTime(&milliseconds, times->events[t], times->events[t + 1]), "an event");
		*(t == 0 ? seconds : busy) += 1e-3 * (double)milliseconds;
	}
	times->count = 0;
	return device_finish(device, error);
}
