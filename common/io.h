/* Files and pipes: inputs that read .gz transparently, outputs that appear whole or not at all.
 *
 * An output named by a path is written to a temporary in the same folder and takes its name only in
 * output_commit (write, fsync, rename, fsync of the folder). It is removed when released uncommitted and on
 * SIGINT, SIGTERM, SIGHUP and SIGPIPE. Paths that exist and are no regular file (/dev/null, a fifo) are
 * written directly. "-" is stdin or stdout. */
#ifndef RECPIPE_IO_H
#define RECPIPE_IO_H

#include "compat.h"
#include "error.h"

struct input {
	void *gz;           /* zlib's gzFile; plain files pass through it unchanged */
	char *name;         /* for messages: the path, or "(stdin)" */
	uint64_t offset;    /* bytes of uncompressed data handed out so far */
	uint64_t size;      /* of all of it, where that is known: a plain file; else 0 */
};

/* Opens `path` ("-" is stdin). CODE_NO_INPUT when it cannot be opened (or is a folder). */
MUST_CHECK int input_open(struct input *input, const char *path, struct error *error);

/* Up to `size` bytes into `buffer`. Returns the number read, 0 at the end, -1 on an error (a cut or
 * corrupt .gz is CODE_DATA, a failing read CODE_IO). Short counts happen only before the end. */
MUST_CHECK ptrdiff_t input_read(struct input *input, void *buffer, size_t size, struct error *error);

void input_release(struct input *input); /* a zeroed or released one is fine */

struct output {
	int fd;             /* -1 when closed */
	bool direct;        /* stdout, a device or a fifo: nothing to rename */
	bool prepared;      /* flushed and synced */
	char *path;         /* final name; "(stdout)" for stdout */
	char *temporary;    /* NULL when direct */
	int cleanup_slot;   /* entry in the table the signal handler clears; -1 when none */
	unsigned char *buffer;
	size_t used;
	uint64_t written;   /* bytes given to output_write so far */
	uint64_t pushed, behind; /* bytes that the disk has been told to begin with, and those behind them */
};

/* Opens `path` for writing ("-" is stdout). CODE_CANNOT_CREATE when it cannot be. */
MUST_CHECK int output_open(struct output *output, const char *path, struct error *error);

/* Buffered; short writes are completed. CODE_IO on failure. */
MUST_CHECK int output_write(struct output *output, const void *bytes, size_t size, struct error *error);
MUST_CHECK int output_print(struct output *output, struct error *error, const char *format, ...)
	PRINTF_LIKE(3, 4);
MUST_CHECK int output_flush(struct output *output, struct error *error);

/* Puts `size` bytes in the place of the first `old_size` ones of a file (not of a direct output), moving the rest. */
MUST_CHECK int output_replace_head(struct output *output, size_t old_size, const void *bytes, size_t size,
                                   struct error *error);

/* Flush and fsync without publishing: call it on every output of a tool before committing the first, so
 * that a full disk leaves none of them. output_commit does it when it was not done. */
MUST_CHECK int output_prepare(struct output *output, struct error *error);

/* Publishes the file under its name, or flushes stdout and checks that it took everything. */
MUST_CHECK int output_commit(struct output *output, struct error *error);

void output_release(struct output *output); /* removes what was not committed; zeroed is fine */

/* Installs the signal handlers above; every main calls it first (options_start does). A write to a closed
 * pipe ends the process quietly by SIGPIPE, also where the parent had SIGPIPE ignored. */
void io_start(void);

#endif
