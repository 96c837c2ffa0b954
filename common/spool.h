/* A temporary file that is written once, read once, and has no name: what must be kept until something is
 * known (the digest of a map, say) and is too much for memory. It vanishes with the process in any case. */
#ifndef RECPIPE_SPOOL_H
#define RECPIPE_SPOOL_H

#include "compat.h"
#include "error.h"

struct spool {
	int fd;                 /* -1: not open */
	unsigned char *buffer;
	size_t used, position;  /* bytes in the buffer; where reading goes on */
	uint64_t left;          /* bytes written and, once rewound, not yet read */
	bool reading;
};

/* Makes the file in `folder` (on the file system where the output goes, which has room for it).
 * CODE_CANNOT_CREATE when it cannot be. */
MUST_CHECK int spool_open(struct spool *spool, const char *folder, struct error *error);

/* Room for `size` <= 64 KiB bytes, to be filled in by the caller before the next call. NULL on error. */
MUST_CHECK unsigned char *spool_reserve(struct spool *spool, size_t size, struct error *error);

/* Ends writing; reading begins at the first byte. */
MUST_CHECK int spool_rewind(struct spool *spool, struct error *error);

/* The next `size` <= 64 KiB bytes; valid until the next call. NULL on error, also when fewer are left. */
MUST_CHECK const unsigned char *spool_take(struct spool *spool, size_t size, struct error *error);

/* Forgets what was written, and read: it is as it was when it was opened. */
MUST_CHECK int spool_restart(struct spool *spool, struct error *error);

void spool_release(struct spool *spool); /* one with fd -1 or released is fine */

#endif
