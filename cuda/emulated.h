/* What tests set of the emulated device. */
#ifndef RECPIPE_CUDA_EMULATED_H
#define RECPIPE_CUDA_EMULATED_H

#include "device.h"

struct emulated_settings {
	size_t shared_limit;      /* of devices opened from now on, bytes a block; below DEVICE_SHARED_PLAIN for tiles alone */
	size_t memory, pinned;    /* bytes of the device; that device_pin has at most */
	uint32_t capability;      /* of devices opened from now on */
	bool backwards;           /* threads and blocks run in descending order */
	int devices;              /* how many there are: cuda:0 on */
	bool no_comm;             /* nothing to move data between them */
	bool ahead_last;          /* of graphs, STREAM_WORK goes first as far as it may, the others behind it; else last */
	bool late;                /* streams work as late as can be: late.h */
	uint64_t launches, replays; /* so far */
	size_t used;              /* bytes of the device that was last asked for or given back some */
};
extern struct emulated_settings emulated_settings;

/* Whether the watch is built in (watch.h). */
#ifdef WATCHED
enum { emulated_watched = 1 };
#else
enum { emulated_watched = 0 };
#endif

/* The backend of cuda/ on it. */
const struct backend *recpipe_cuda_backend(void);

#endif
