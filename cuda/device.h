/* What the backend asks of a device beside kernels: memory, copies, two streams and branches of graphs. device.cu does it
 * with the CUDA runtime, emulated.c with plain memory.
 *
 * Errors of queued work are kept in the device and told by device_finish: nothing waits before. */
#ifndef RECPIPE_CUDA_DEVICE_H
#define RECPIPE_CUDA_DEVICE_H

#include "backend.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { DEVICE_BLOCKS_MAX = 192, DEVICE_PINNED_MAX = 4, DEVICE_SHARED_PLAIN = 48 * 1024, DEVICE_NAME_SIZE = 256 };

/* Training and scoring go by STREAM_WORK; the next batch is drawn and indexed by STREAM_AHEAD, and rounds of scoring come
 * and go by it (rounds.cu). */
enum device_stream {
	STREAM_WORK, STREAM_AHEAD,
	/* Only within graphs (device_fork): beside STREAM_AHEAD, and beside STREAM_WORK. */
	BRANCH_AHEAD, BRANCH_ITEM, BRANCH_FACTORS, BRANCH_DENSE,
	DEVICE_STREAMS,
	DEVICE_OWN_STREAMS = BRANCH_AHEAD,
};

/* Marks in a stream that another one can wait for. Behind the own ones each branch has one. */
enum { DEVICE_OWN_MARKS = 6, DEVICE_MARKS = DEVICE_OWN_MARKS + DEVICE_STREAMS - DEVICE_OWN_STREAMS };

/* Queued work that is recorded once and replayed with one call. */
enum { DEVICE_GRAPHS = 3 };

struct device_block {
	void *at;
	size_t bytes;
};

struct device {
	int number;
	size_t shared_limit;      /* bytes of shared memory that a block may have */
	size_t shared_half;       /* and where there are to be two on a processor */
	uint32_t processors;
	uint32_t capability;      /* compute capability, 80 for 8.0 */
	char name[DEVICE_NAME_SIZE];
	struct device_block blocks[DEVICE_BLOCKS_MAX]; /* all memory, freed by device_close */
	size_t block_count, bytes;
	struct device_block pinned[DEVICE_PINNED_MAX]; /* host memory, freed by device_close */
	void *handles, *times;    /* of the implementation */
	struct error failure;     /* of queued work */
	bool records;             /* a graph */
	enum device_stream branches[DEVICE_OWN_STREAMS]; /* by which a stream's work goes just now; STREAM_WORK: by itself */
};

/* 0 when device `number` can be used; -1 with CODE_UNAVAILABLE and which of driver and device is missing or too old. */
MUST_CHECK int device_probe(int number, struct error *error);
MUST_CHECK int device_open(struct device *device, int number, struct error *error);
void device_close(struct device *device);
/* Makes it the calling thread's device: before anything below, in every call from outside. */
void device_use(struct device *device);

/* `count` * `size` bytes, not initialised (0 becomes 1). NULL with CODE_SYSTEM, what was needed and what is free. */
MUST_CHECK void *device_alloc(struct device *device, size_t count, size_t size, const char *what, struct error *error);
static inline float *device_floats(struct device *device, size_t count, const char *what, struct error *error)
{
	return (float *)device_alloc(device, count, sizeof(float), what, error);
}
void device_release(struct device *device, void *block); /* NULL is fine */

/* Bytes that are free now, about: blocks take a little more than was asked for. */
size_t device_room(const struct device *device);

/* Host memory that copies are made from and to while the host goes on; every other copy may hold it up (CUDA's "API
 * synchronization behavior"). What is uploaded from it must stay until a mark behind the upload is reached. NULL with
 * CODE_SYSTEM. */
MUST_CHECK void *device_pin(struct device *device, size_t bytes, const char *what, struct error *error);
void device_unpin(struct device *device, void *pinned); /* NULL is fine */

/* Of device_alloc and device_release: puts a block on the device's list, which has room; takes it off, false when it is not
 * there. */
void device_list(struct device *device, void *block, size_t bytes);
bool device_unlist(struct device *device, const void *block);
/* Of device_pin and device_unpin: the place of a pinned block, or, for NULL, a free one. NULL when there is none. */
struct device_block *device_pinned(struct device *device, const void *block);

/* The error of device_alloc. */
void device_full(const struct device *device, size_t count, size_t size, size_t free_bytes, const char *what,
                 struct error *error);

/* Queued, in order with the stream's kernels. Host memory of uploads, unless it is pinned, may be used again at once; that
 * of downloads is filled when device_finish, or device_reach of a mark behind them, has returned. */
void device_upload(struct device *device, enum device_stream stream, void *to, const void *from, size_t bytes);
void device_download(struct device *device, enum device_stream stream, void *to, const void *from, size_t bytes);
void device_zero(struct device *device, enum device_stream stream, void *to, size_t bytes);

void device_mark(struct device *device, enum device_stream stream, size_t mark);
void device_wait(struct device *device, enum device_stream stream, size_t mark);

/* What is queued between the two, from STREAM_WORK on, is kept as a graph instead of being done. Kernels are replayed
 * with the arguments that they had; marks must be set and waited for within the graph. */
void device_record(struct device *device);
void device_record_end(struct device *device, size_t graph);
void device_replay(struct device *device, size_t graph); /* on STREAM_WORK */
void device_forget(struct device *device);               /* every graph */

/* Within a graph: what is queued on a stream goes by a branch of its own from now on, which comes behind all that is on the
 * stream so far; goes by the stream again; comes, from now on, behind the branch as well. A branch may be forked again once
 * it was joined. Outside of graphs, nothing: all goes by the stream, in the order in which it is queued. */
void device_fork(struct device *device, enum device_stream stream, enum device_stream branch);
void device_trunk(struct device *device, enum device_stream stream);
void device_join(struct device *device, enum device_stream stream, enum device_stream branch);
/* Of the implementations: the stream or the branch that its work goes by. */
static inline enum device_stream device_route(const struct device *device, enum device_stream stream)
{
	return stream < DEVICE_OWN_STREAMS && device->branches[stream] != STREAM_WORK ? device->branches[stream] : stream;
}

/* Waits for a mark. -1 with the first thing that went wrong so far. */
MUST_CHECK int device_reach(struct device *device, size_t mark, struct error *error);
/* 1 when all that was queued on the stream is done, 0 while it is not; -1 when something went wrong, there or before. */
int device_poll(struct device *device, enum device_stream stream);

/* Calls turn(context, 0) to turn(context, count - 1): at the same time, from threads of their own, where there are devices to
 * keep busy. */
void device_side_by_side(size_t count, void (*turn)(void *context, size_t which), void *context);

/* Waits for all that was queued. -1 with the first thing that went wrong. */
MUST_CHECK int device_finish(struct device *device, struct error *error);

/* Device time, for benches (timing.h): of all that STREAM_WORK does between the two, and, as `busy`, of its stretches
 * between device_lap_begin and device_lap_end alone, which do nothing outside. With `hold` the stream waits so many seconds
 * before, so that the host is ahead of it and the time is the device's own. */
void device_time_begin(struct device *device, double hold);
void device_lap_begin(struct device *device);
void device_lap_end(struct device *device);
MUST_CHECK int device_time_end(struct device *device, double *seconds, double *busy, struct error *error);
void device_time_close(struct device *device); /* by device_close */

/* error_set of the library, which the shared object does not have: it would bring half of it along. */
int cuda_error(struct error *error, enum exit_code code, const char *format, ...) PRINTF_LIKE(3, 4);

#ifdef __cplusplus
}
#endif
#endif
