/* Between the watch's two halves: watch.c, who knows where each thread is and what comes before it, and watch_memory.c,
 * who knows what was touched by whom. */
#ifndef RECPIPE_CUDA_WATCH_INSIDE_H
#define RECPIPE_CUDA_WATCH_INSIDE_H

#include "watch.h"

/* Who works side by side: the streams, and in a graph what all but STREAM_WORK have there. */
enum { WATCH_ACTORS = DEVICE_OWN_STREAMS + DEVICE_STREAMS - 1, WATCH_MANY = UINT16_MAX, WATCH_OF_WARP = 1 << 15 };

/* Time goes by moments, counted from 1 on: one for each operation of a stream, for each block of it, for each phase. Of
 * two moments of an actor the smaller one is before the other, but within a launch only in the same block. */
struct watch_now {
	struct device *device;    /* NULL: no operation is going on */
	uint32_t actor, thread;
	uint32_t moment, operation, block; /* now; where the operation began, and the block */
	uint32_t met;             /* the first moment behind the last barrier of the whole block */
	uint32_t before[WATCH_ACTORS]; /* moments of others up to here come before the operation */
};
extern struct watch_now watch_now;

/* Who touched memory: WATCH_MANY threads since the block met, or several of one moment and warp, WATCH_OF_WARP + warp. */
struct watch_record {
	uint32_t moment;          /* 0: nobody */
	uint16_t thread;
	uint8_t actor;
	bool others : 1;          /* blocks of the same launch, before */
	bool atomic : 1;
	bool split : 1;           /* of a word: see watch_memory.c */
};

struct watch_room_of {
	char *at;
	size_t bytes;
	const char *what;
};

/* Counts a finding of the thread that is running: it does `what` to `at` (NULL: nothing), `by` whom it is done to as well
 * (NULL: nobody). Of each `code`, the address of the access, the first is printed; NULL: all. */
void watch_find(const char *what, const void *at, const struct watch_record *by, const void *code);

/* The room that an address lies in, or NULL; whether it lies where kernels keep their own variables. */
const struct watch_room_of *watch_room_at(const void *at);
bool watch_is_private(const void *at);

/* The room is no more; `host`: moments of the actors up to which the host has waited. */
void watch_leave_room(void *at, const uint32_t *host);

#endif
