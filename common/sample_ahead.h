/* Training samples out of a stream, read, checked and decoded by a thread ahead of whoever uses them. */
#ifndef RECPIPE_SAMPLE_AHEAD_H
#define RECPIPE_SAMPLE_AHEAD_H

#include "compat.h"
#include "error.h"
#include "records.h"

struct sample_ahead;

/* From a stream of samples that is open (borrowed, as are `info` and what they hold, until sample_ahead_free; nobody
 * else reads from it). `threaded` false: the caller reads. */
MUST_CHECK struct sample_ahead *sample_ahead_new(struct stream_reader *stream, const struct stream_info *info,
                                                 uint32_t ratio, bool threaded, struct error *error);
void sample_ahead_free(struct sample_ahead *ahead); /* NULL is fine */

/* The next samples, up to `count`: users[i] and items[i * (1 + ratio)] on. How many: fewer only before the end, 0 there;
 * -1 on an error, as samples_take gives it, when all before it were taken. */
MUST_CHECK ptrdiff_t sample_ahead_take(struct sample_ahead *ahead, size_t count, uint32_t *users, uint32_t *items,
                                       struct error *error);

#endif
