/* Streams of the emulated device that work as late as their rules allow: kernels, downloads, and uploads from pinned
 * memory are done only when somebody waits for a mark behind them, or something that cannot be put off is queued on
 * their stream. So whoever reads, or overwrites, without having waited is found out by wrong bytes. For emulated.c; tests
 * switch it on by emulated_settings.late. */
#ifndef RECPIPE_CUDA_LATE_H
#define RECPIPE_CUDA_LATE_H

#include "device.h"

/* Queues work: do_it(what) when its time comes, then free(what). */
void late_put(enum device_stream stream, void (*do_it)(void *what), void *what);
/* A copy of `size` bytes to put. */
void *late_memory(const void *from, size_t size);
/* Copies, or, from nowhere, clears. */
void late_copy(enum device_stream stream, void *to, const void *from, size_t bytes);
/* Does what is queued on the stream. */
void late_stream(enum device_stream stream);
void late_all(void);

void late_mark(enum device_stream stream, size_t mark);
/* Does what is queued before the mark on its stream. */
void late_wait(size_t mark);

#endif
