/* Work that waits for input or output, in a thread that can be cancelled there and nowhere else. */
#ifndef RECPIPE_CANCEL_H
#define RECPIPE_CANCEL_H

#include "compat.h"
#include "error.h"

/* 0 or more, or -1 with the error. */
typedef int cancel_work(void *context, size_t slot, struct error *error);

/* No cancellation of the calling thread from here on. */
void cancel_refuse(void);

/* Does the work, during which the thread may be cancelled; what the work gives. */
int cancel_allow_during(cancel_work *work, void *context, size_t slot, struct error *error);

#endif
