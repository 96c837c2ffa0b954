/* Temporary files that a signal must not leave behind. Internal to io_*.c. */
#ifndef RECPIPE_IO_SIGNALS_H
#define RECPIPE_IO_SIGNALS_H

#include <signal.h>

/* Registers `path` (which must stay valid until it is forgotten); -1 when the table is full. */
int cleanup_register(const char *path);
void cleanup_forget(int slot);

/* Holds the ending signals back from this thread, so that a temporary is never created and not yet
 * registered when one arrives; signals_restore lets them in again. */
void signals_hold(sigset_t *before);
void signals_restore(const sigset_t *before);

#endif
