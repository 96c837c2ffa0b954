/* A pool of threads that runs numbered shards of work.
 *
 * The number of shards is the caller's and must depend on the problem alone; threads only claim shards. So
 * a result that is kept per shard and combined in the order of shards never depends on the threads. */
#ifndef RECPIPE_PARALLEL_H
#define RECPIPE_PARALLEL_H

#include "compat.h"
#include "error.h"

struct pool;

/* Processors that this process may run on (affinity respected), at least 1. */
size_t processor_count(void);

/* `threads` 0 means one per available processor (affinity respected); 1 runs everything in the caller.
 * Returns NULL with CODE_SYSTEM when threads cannot be started. Free with pool_free. */
MUST_CHECK struct pool *pool_new(size_t threads, struct error *error);
void pool_free(struct pool *pool);
size_t pool_threads(const struct pool *pool);

/* Calls work(context, shard, worker) once for each shard in [0, shards); returns when all are done.
 * `worker` < pool_threads() names the thread that runs it (for scratch space). Not reentrant. */
void pool_run(struct pool *pool, size_t shards, void (*work)(void *context, size_t shard, size_t worker),
              void *context);

/* Begin and end of shard `shard` of `shards` when `count` items are cut evenly, in order. */
static inline size_t shard_begin(size_t count, size_t shards, size_t shard)
{
	return (size_t)(((unsigned __int128)count * shard) / shards);
}

#endif
