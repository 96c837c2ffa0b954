/* The pool: one ticket counter says which call of pool_run is on, how many shards it has, and which is next.
 *
 * A call is over when its last shard is done, not when every worker has looked at it: a worker that the kernel
 * keeps from running holds nobody up, and finds later that nothing is left. A batch of training lasts some tens
 * of microseconds, so a waiting thread first spins; after a while, or at once when there are more threads than
 * processors, it sleeps on a condition variable. */
#include "parallel.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "mem.h"

enum { SPINS = 4000 }; /* 0.1 to 0.2 ms: longer than the gap between two batches of training */

/* A ticket: the number of the call, its shards, and the next shard to claim. */
enum { SHARD_BITS = 24, CALL_SHIFT = 2 * SHARD_BITS };

static const uint64_t shard_mask = (UINT64_C(1) << SHARD_BITS) - 1;
static const size_t shards_a_call = (size_t)1 << (SHARD_BITS - 1); /* room above for late claims */

struct member {
	struct pool *pool;
	size_t number;
	pthread_t thread;
};

/* What every worker writes has a cache line of its own; the rest is written before a call begins. */
struct pool {
	_Alignas(64) _Atomic uint64_t ticket;
	_Alignas(64) _Atomic size_t done; /* shards of the current call that are finished */
	_Alignas(64) _Atomic unsigned sleepers;
	int spins;
	_Atomic bool ending;
	void (*work)(void *context, size_t shard, size_t worker);
	void *context;
	size_t threads, started;
	struct member *members;
	pthread_mutex_t lock;
	pthread_cond_t begin, end;
};

static inline void relax(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#endif
}

/* Claims shards of whatever call is on until none is left. Returns that call's number. A claim that succeeds keeps
 * its call from ending, so work and context stay what they are. */
static uint64_t claim_shards(struct pool *pool, size_t worker)
{
	for (;;) {
		const uint64_t ticket = atomic_fetch_add_explicit(&pool->ticket, 1, memory_order_acquire);
		const size_t shard = (size_t)(ticket & shard_mask);
		const size_t shards = (size_t)(ticket >> SHARD_BITS & shard_mask);
		if (shard >= shards)
			return ticket >> CALL_SHIFT;
		pool->work(pool->context, shard, worker);
		if (atomic_fetch_add(&pool->done, 1) + 1 == shards &&
		    atomic_load(&pool->sleepers) > 0) {
			pthread_mutex_lock(&pool->lock);
			pthread_cond_signal(&pool->end);
			pthread_mutex_unlock(&pool->lock);
		}
	}
}

static bool has_begun(const struct pool *pool, uint64_t seen)
{
	return atomic_load(&pool->ticket) >> CALL_SHIFT != seen || atomic_load(&pool->ending);
}

static bool is_over(const struct pool *pool, size_t shards)
{
	return atomic_load(&pool->done) == shards;
}

static void wait_for_call(struct pool *pool, uint64_t seen)
{
	for (int i = 0; i < pool->spins; i++, relax())
		if (has_begun(pool, seen))
			return;
	pthread_mutex_lock(&pool->lock);
	atomic_fetch_add(&pool->sleepers, 1);
	while (!has_begun(pool, seen))
		pthread_cond_wait(&pool->begin, &pool->lock);
	atomic_fetch_sub(&pool->sleepers, 1);
	pthread_mutex_unlock(&pool->lock);
}

static void wait_for_shards(struct pool *pool, size_t shards)
{
	for (int i = 0; i < pool->spins; i++, relax())
		if (is_over(pool, shards))
			return;
	pthread_mutex_lock(&pool->lock);
	atomic_fetch_add(&pool->sleepers, 1);
	while (!is_over(pool, shards))
		pthread_cond_wait(&pool->end, &pool->lock);
	atomic_fetch_sub(&pool->sleepers, 1);
	pthread_mutex_unlock(&pool->lock);
}

static void *member_run(void *argument)
{
	struct member *member = argument;
	struct pool *pool = member->pool;
	for (uint64_t seen = 0;;) {
		wait_for_call(pool, seen);
		if (atomic_load(&pool->ending))
			return NULL;
		seen = claim_shards(pool, member->number);
	}
}

/* Sequentially consistent with the sleepers' count: either the sleeper sees the new state, or it is seen here. */
static void wake_sleepers(struct pool *pool)
{
	if (atomic_load(&pool->sleepers) == 0)
		return;
	pthread_mutex_lock(&pool->lock);
	pthread_cond_broadcast(&pool->begin);
	pthread_mutex_unlock(&pool->lock);
}

size_t processor_count(void)
{
	cpu_set_t set;
	CPU_ZERO(&set);
	if (sched_getaffinity(0, sizeof set, &set) != 0)
		return 1;
	int count = CPU_COUNT(&set);
	return count > 0 ? (size_t)count : 1;
}

struct pool *pool_new(size_t threads, struct error *error)
{
	struct pool *pool = mem_alloc_zero(1, sizeof *pool, error);
	if (!pool)
		return NULL;
	pool->threads = threads ? threads : processor_count();
	pool->spins = pool->threads <= processor_count() ? SPINS : 0;
	pthread_mutex_init(&pool->lock, NULL);
	pthread_cond_init(&pool->begin, NULL);
	pthread_cond_init(&pool->end, NULL);
	pool->members = mem_alloc_zero(pool->threads, sizeof *pool->members, error);
	for (size_t i = 1; pool->members && i < pool->threads; i++) {
		struct member *member = &pool->members[i];
		member->pool = pool;
		member->number = i;
		int result = pthread_create(&member->thread, NULL, member_run, member);
		if (result != 0) {
			error_set_errno(error, CODE_SYSTEM, result, "cannot start thread %zu of %zu", i + 1,
			                pool->threads);
			pool_free(pool);
			return NULL;
		}
		pool->started++;
	}
	if (pool->members)
		return pool;
	pool_free(pool);
	return NULL;
}

void pool_free(struct pool *pool)
{
	if (!pool)
		return;
	atomic_store(&pool->ending, true);
	wake_sleepers(pool);
	for (size_t i = 1; i <= pool->started; i++)
		pthread_join(pool->members[i].thread, NULL);
	pthread_cond_destroy(&pool->begin);
	pthread_cond_destroy(&pool->end);
	pthread_mutex_destroy(&pool->lock);
	mem_free(pool->members);
	mem_free(pool);
}

size_t pool_threads(const struct pool *pool)
{
	return pool->threads;
}

/* One call of at most shards_a_call shards. */
static void run_call(struct pool *pool, size_t shards, void (*work)(void *context, size_t shard, size_t worker),
                     void *context)
{
	const uint64_t call = (atomic_load_explicit(&pool->ticket, memory_order_relaxed) >> CALL_SHIFT) + 1;
	pool->work = work;
	pool->context = context;
	atomic_store_explicit(&pool->done, 0, memory_order_relaxed);
	atomic_store(&pool->ticket, call << CALL_SHIFT | (uint64_t)shards << SHARD_BITS);
	wake_sleepers(pool);
	claim_shards(pool, 0);
	wait_for_shards(pool, shards);
}

/* The part of a larger count of shards that one call takes. */
struct stretch {
	void (*work)(void *context, size_t shard, size_t worker);
	void *context;
	size_t first;
};

static void run_in_stretch(void *context, size_t shard, size_t worker)
{
	const struct stretch *stretch = context;
	stretch->work(stretch->context, stretch->first + shard, worker);
}

void pool_run(struct pool *pool, size_t shards, void (*work)(void *context, size_t shard, size_t worker),
              void *context)
{
	if (pool->threads == 1 || shards < 2) {
		for (size_t shard = 0; shard < shards; shard++)
			work(context, shard, 0);
		return;
	}
	if (shards <= shards_a_call) {
		run_call(pool, shards, work, context);
		return;
	}
	struct stretch stretch = {.work = work, .context = context};
	for (; stretch.first < shards; stretch.first += shards_a_call) {
		size_t some = shards - stretch.first < shards_a_call ? shards - stretch.first : shards_a_call;
		run_call(pool, some, run_in_stretch, &stretch);
	}
}
