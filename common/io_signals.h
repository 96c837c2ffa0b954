/* Temporary files that a signal must not leave behind. Internal to io_*.c. */
#ifndef RECPIPE_IO_SIGNALS_H
#define RECPIPE_IO_SIGNALS_H

/* Registers `path` (which must stay valid until it is forgotten); -1 when the table is full. */
int cleanup_register(const char *path);
void cleanup_forget(int slot);

#endif
