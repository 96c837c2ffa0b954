/* Rounds of work whose copies and whose host's part run beside the device's. */
#ifndef RECPIPE_CUDA_ROUNDS_H
#define RECPIPE_CUDA_ROUNDS_H

#include "device.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What a round does in slot 0 or 1; slots take turns. Host memory that is copied must be pinned. */
struct rounds {
	void *context;
	/* Fills the slot and queues its uploads on STREAM_AHEAD; false when no round is left. The slot's last round has been
	 * taken. */
	bool (*send)(void *context, size_t slot);
	void (*work)(void *context, size_t slot);  /* queues kernels on STREAM_WORK */
	void (*bring)(void *context, size_t slot); /* queues downloads on STREAM_AHEAD */
	void (*take)(void *context, size_t slot);  /* uses what was brought */
};

/* Runs rounds until none is left, and waits for the last. -1 with the first thing that went wrong. */
MUST_CHECK int cuda_run_rounds(struct device *device, const struct rounds *rounds, struct error *error);

#ifdef __cplusplus
}
#endif
#endif
