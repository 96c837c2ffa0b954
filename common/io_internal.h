/* What the sources of inputs and outputs share. */
#ifndef RECPIPE_IO_INTERNAL_H
#define RECPIPE_IO_INTERNAL_H

#include <fcntl.h>

enum {
	OUTPUT_BUFFER = 1 << 20, /* bytes of struct output's buffer */
	PIPE_BYTES = 1 << 20,    /* that a pipe is to hold: what the kernel allows everybody */
};

/* Where it is a pipe and smaller: fewer turns to wait for one another. Fine where it is refused. */
static inline void widen_pipe(int fd)
{
	const int size = fcntl(fd, F_GETPIPE_SZ);
	if (size >= 0 && size < PIPE_BYTES)
		(void)fcntl(fd, F_SETPIPE_SZ, PIPE_BYTES);
}

#endif
