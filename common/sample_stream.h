/* Epochs of training samples into a stream: drawn ahead by threads, written in order. */
#ifndef RECPIPE_SAMPLE_STREAM_H
#define RECPIPE_SAMPLE_STREAM_H

#include "compat.h"
#include "error.h"
#include "records.h"
#include "sampler.h"

struct sample_stream {
	const struct sampler *sampler;
	uint32_t epochs;         /* from the first on, one behind the other */
	size_t threads;          /* 0: one a processor; 1: all in the caller. Never changes a byte */
	void (*tell)(void *context, uint64_t epochs); /* called when so many are written; may be NULL */
	void *tell_context;
};

/* Writes them to an open stream of samples, which the caller finishes. Each epoch ends its block. *missing: negatives
 * that do not exist. */
MUST_CHECK int sample_stream_write(const struct sample_stream *samples, struct stream_writer *writer, uint64_t *missing,
                                   struct error *error);

#endif
