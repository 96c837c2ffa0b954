/* What the methods of similarity_make share: a method gives dense rows or columns of weights, a few at a time and
 * from any thread; the rest (choosing, turning, writing in order) is common to all. */
#ifndef RECPIPE_SIMILARITY_INTERNAL_H
#define RECPIPE_SIMILARITY_INTERNAL_H

#include "similarity.h"
#include "similarity_make.h"

enum { WEIGH_GROUP = 8 }; /* items a call of weigh: a cache line of a matrix's columns */

struct weigher {
	uint32_t items;
	bool full;               /* every weight off the diagonal is kept with --top 0, zeros as well */
	/* weights[g · items + i] for items begin + g below `end`: row begin + g, or the column of that number. A
	 * weight that is not there, the diagonal's among them, is 0. */
	void (*weigh)(void *context, size_t worker, uint32_t begin, uint32_t end, bool columns, float *weights);
	void *context;
};

MUST_CHECK int similarity_write_all(const struct weigher *weigher, const struct similarity_options *options,
                                    struct pool *pool, struct stream_writer *writer, struct error *error);

/* Bytes that similarity_write_all takes. */
size_t similarity_write_bytes(uint32_t items, const struct similarity_options *options, size_t threads);

MUST_CHECK int similarity_make_ease(const struct interactions *interactions, const struct similarity_options *options,
                                    struct pool *pool, struct stream_writer *writer, struct similarity_times *times,
                                    struct error *error);
MUST_CHECK int similarity_make_cosine(const struct histories *histories, const struct similarity_options *options,
                                      struct pool *pool, struct stream_writer *writer,
                                      struct similarity_times *times, struct error *error);

#endif
