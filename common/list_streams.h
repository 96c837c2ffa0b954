/* Scored lists of several streams in step: the same users in the same order, so many at a time. */
#ifndef RECPIPE_LIST_STREAMS_H
#define RECPIPE_LIST_STREAMS_H

#include "compat.h"
#include "error.h"
#include "parallel.h"
#include "records.h"
#include "stream.h"

enum { LIST_STREAMS_MAX = 17, LIST_BATCH = 64 };

struct list_streams {
	size_t count;
	struct stream_reader readers[LIST_STREAMS_MAX];
	struct stream_info infos[LIST_STREAMS_MAX];  /* all of the same ids */
	struct list *lists;                          /* [LIST_BATCH][count] */
};

/* Opens one more stream. CODE_DATA when its lists have no scores, or its ids are not those of the first. */
MUST_CHECK int list_streams_add(struct list_streams *streams, const char *path, struct error *error);

/* What is done with each list: `work` on any thread, list n of stream s being list_of(streams, n, s); then `then`, one
 * list after the other in the order of the streams. */
struct list_work {
	int (*work)(void *context, size_t n, size_t worker, struct error *error);
	int (*then)(void *context, size_t n, struct error *error);
};

/* Goes through all lists. The error is that of the first list that failed; nothing is done with those behind it. */
MUST_CHECK int list_streams_run(struct list_streams *streams, struct pool *pool, const struct list_work *work,
                                void *context, struct error *error);
void list_streams_release(struct list_streams *streams);

static inline struct list *list_of(const struct list_streams *streams, size_t n, size_t stream)
{
	return &streams->lists[n * streams->count + stream];
}

#endif
