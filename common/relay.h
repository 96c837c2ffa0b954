/* Slots that threads fill ahead, taken by one caller in order: a file that is read and parsed while what came
 * before is being used. What the caller sees does not depend on the threads. */
#ifndef RECPIPE_RELAY_H
#define RECPIPE_RELAY_H

#include "compat.h"
#include "error.h"

struct relay;

struct relay_work {
	/* Fills a slot, one after another in order: 1, 0 when there is nothing more, -1 on an error. A thread that
	 * waits in here for input is cancelled when the relay is freed. */
	int (*fetch)(void *context, size_t slot, struct error *error);
	/* Goes on with a filled slot; others may be worked on at the same time. */
	void (*prepare)(void *context, size_t slot);
	void *context;
};

/* `threads` beside the caller; 0: relay_take does the work itself. `slots` >= 2 when there are threads. The caller
 * keeps what `work` points to alive until relay_free. NULL and CODE_SYSTEM when threads cannot be started. */
MUST_CHECK struct relay *relay_new(size_t threads, size_t slots, const struct relay_work *work, struct error *error);

/* The next slot: 1 and *slot, the caller's until the next call; 0 at the end; -1 with the error of the fetch that
 * failed, once every slot before it was taken. */
MUST_CHECK int relay_take(struct relay *relay, size_t *slot, struct error *error);

void relay_free(struct relay *relay); /* NULL is fine */

#endif
