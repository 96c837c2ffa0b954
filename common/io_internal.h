/* What the sources of inputs and outputs share. */
#ifndef RECPIPE_IO_INTERNAL_H
#define RECPIPE_IO_INTERNAL_H

enum {
	OUTPUT_BUFFER = 1 << 20, /* bytes of struct output's buffer */
	PIPE_BYTES = 1 << 20,    /* that a pipe is to hold: what the kernel allows everybody */
};

#endif
