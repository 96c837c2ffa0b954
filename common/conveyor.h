/* Work that one thread does behind the caller, in order: blocks that are checksummed and written while the next ones
 * are being made. The mirror of the relay (relay.h). */
#ifndef RECPIPE_CONVEYOR_H
#define RECPIPE_CONVEYOR_H

#include "compat.h"
#include "error.h"

struct conveyor;

/* `work` does what is in a slot: 0, or -1 with the error, after which nothing more is done. `slots` >= 2 take turns;
 * whatever is in them is the caller's, who keeps it alive until conveyor_free. */
MUST_CHECK struct conveyor *conveyor_new(size_t slots, int (*work)(void *context, size_t slot, struct error *error),
                                         void *context, struct error *error);

/* Sends the current slot off (the first one is 0) and waits for the next to be free, which then is the current one.
 * Returns it, or -1 with the error of the work that failed. */
MUST_CHECK ptrdiff_t conveyor_send(struct conveyor *conveyor, struct error *error);

/* Waits until all that was sent is done. */
MUST_CHECK int conveyor_finish(struct conveyor *conveyor, struct error *error);

/* What was sent and is not begun is dropped; a thread that waits in its work (writing to a pipe, say) is cancelled.
 * NULL is fine. */
void conveyor_free(struct conveyor *conveyor);

#endif
