/* What the sources of outputs share. */
#ifndef RECPIPE_IO_INTERNAL_H
#define RECPIPE_IO_INTERNAL_H

enum { OUTPUT_BUFFER = 1 << 20 }; /* bytes of struct output's buffer */

#endif
