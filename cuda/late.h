/* Copies of the emulated device that are made as late as its rules allow: only when somebody waits for a mark behind
 * them, or something else is queued on their stream. So whoever reads, or overwrites, without having waited is found out
 * by wrong bytes. For emulated.c; tests switch it on by emulated_settings.late_copies. */
#ifndef RECPIPE_CUDA_LATE_H
#define RECPIPE_CUDA_LATE_H

#include "device.h"

/* Queues a copy. */
void late_copy(enum device_stream stream, void *to, const void *from, size_t bytes);
/* Makes what is queued on the stream. */
void late_stream(enum device_stream stream);
void late_all(void);

void late_mark(enum device_stream stream, size_t mark);
/* Makes what is queued before the mark. */
void late_wait(size_t mark);

#endif
