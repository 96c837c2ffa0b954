/* The emulated device, watched (WATCHED, `make races`): what a device's tools would find, without a device. The compiler
 * reports every access of a kernel to memory (-fsanitize=thread, but with a runtime of our own, as the Linux kernel's
 * KCSAN does), and for each the watch knows what comes before it on a device:
 *
 *   within a block    an earlier phase, or of the same warp, where the barrier is the warp's; every thread runs the code
 *                     between phases itself, as a fiber
 *   between blocks    of one launch: nothing
 *   between streams   marks that were waited for, a graph's fork and join, device_finish
 *
 * Two accesses of which one writes, and of which neither comes before the other, are a race, whether or not it shows:
 * so one run finds all that its data can find, and again in the next run. Beside races: memory that is read before
 * anything was written, that was not allocated or is the host's, that the host touches itself, that is freed in use;
 * barriers that not all threads reach. Findings are counted, printed, and make device_finish fail.
 *
 * Not seen: what calls of libraries do (they tell, by watch_begin, watch_touch, watch_end). */
#ifndef RECPIPE_CUDA_WATCH_H
#define RECPIPE_CUDA_WATCH_H

#include "device.h"

#ifdef WATCHED

struct watch_findings {
	size_t count;             /* since the program began */
	bool quiet;               /* nothing is printed */
	char first[1024];         /* the first one, cleared by whoever wants the next one */
};
extern struct watch_findings watch_findings;

/* Memory of the device; NULL when there is none. Uninitialised as far as the watch is concerned. */
void *watch_room(const char *what, size_t bytes);
void watch_free(struct device *device, void *room);
/* A block's shared memory: NULL when that is more than any device has. */
void *watch_shared(size_t bytes);
static inline void watch_free_shared(void *shared)
{
	(void)shared;
}

/* Something that a stream does: launches, copies. Between the two it touches memory. */
void watch_begin(struct device *device, enum device_stream stream, const char *what);
void watch_touch(const void *at, size_t bytes, bool writes); /* memory that is not the device's is left alone */
void watch_end(void);
/* A block of it: `run` by every thread. */
void watch_run(void (*run)(const void *arguments), const void *arguments, uint32_t block, bool backwards);

/* Copies what the host may not look at before device_finish. */
void watch_download(struct device *device, enum device_stream stream, void *to, const void *from, size_t bytes);

void watch_mark(struct device *device, enum device_stream stream, size_t mark);
void watch_wait(struct device *device, enum device_stream stream, size_t mark);
void watch_replay(struct device *device);
void watch_replay_end(struct device *device);
void watch_reach(struct device *device, size_t mark);
void watch_rest(struct device *device, enum device_stream stream); /* the host knows that all of it is done */
void watch_finish(struct device *device);
void watch_forget(struct device *device);  /* closed */

/* What the macros of launch.h are made of. */
uint32_t watch_phase(const char *file, uint32_t line);  /* begins one: which thread this is */
void watch_barrier(void);
void watch_barrier_of_warp(void);                       /* other warps are in no order with what is before */
void watch_lane(uint32_t lane);                         /* of the warp whose first thread this is */
uint32_t watch_count_up(uint32_t *counter, uint32_t more);

#else

static inline void *watch_room(const char *what, size_t bytes)
{
	void *room = NULL;
	(void)what;
	return posix_memalign(&room, 64, bytes) == 0 ? room : NULL;
}

static inline void watch_free(struct device *device, void *room)
{
	(void)device;
	free(room);
}

static inline void *watch_shared(size_t bytes)
{
	return watch_room("", bytes + 1);
}

static inline void watch_free_shared(void *shared)
{
	free(shared);
}

static inline void watch_begin(struct device *device, enum device_stream stream, const char *what)
{
	(void)device;
	(void)stream;
	(void)what;
}

static inline void watch_touch(const void *at, size_t bytes, bool writes)
{
	(void)at;
	(void)bytes;
	(void)writes;
}

static inline void watch_run(void (*run)(const void *arguments), const void *arguments, uint32_t block, bool backwards)
{
	(void)block;
	(void)backwards;
	run(arguments);
}

static inline void watch_download(struct device *device, enum device_stream stream, void *to, const void *from, size_t bytes)
{
	(void)device;
	(void)stream;
	memcpy(to, from, bytes);
}

static inline void watch_mark(struct device *device, enum device_stream stream, size_t mark)
{
	(void)device;
	(void)stream;
	(void)mark;
}

static inline void watch_wait(struct device *device, enum device_stream stream, size_t mark)
{
	watch_mark(device, stream, mark);
}

static inline void watch_end(void) {}
static inline void watch_replay(struct device *device) { (void)device; }
static inline void watch_replay_end(struct device *device) { (void)device; }
static inline void watch_finish(struct device *device) { (void)device; }
static inline void watch_rest(struct device *device, enum device_stream stream)
{
	(void)device;
	(void)stream;
}

static inline void watch_reach(struct device *device, size_t mark)
{
	(void)device;
	(void)mark;
}

static inline void watch_forget(struct device *device) { (void)device; }

#endif
#endif
