/* Device time, for benches: see timing.h. */
#include "timing.h"

#include "state.h"

static int begin_time(struct backend_state *state, double hold, struct error *error)
{
	device_use(&state->device);
	if (device_finish(&state->device, error) < 0)
		return -1;
	device_time_begin(&state->device, hold);
	return 0;
}

static int end_time(struct backend_state *state, struct cuda_time *time, struct error *error)
{
	device_use(&state->device);
	return device_time_end(&state->device, &time->seconds, &time->busy, error);
}

__attribute__((visibility("default"))) const struct cuda_timing *recpipe_cuda_timing(void)
{
	static const struct cuda_timing timing = {begin_time, end_time};
	return &timing;
}
