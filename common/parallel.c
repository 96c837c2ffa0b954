/* The pool: workers wait for a generation to begin, claim shards one by one, and report when none is left.
 *
 * A batch of training lasts some tens of microseconds, so a waiting thread first spins; after a while, or
 * at once when there are more threads than processors, it sleeps on a condition variable. Every worker takes
 * part in every generation, so `busy` reaching 0 is the one sign that work and its results are complete. */
#include "parallel.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "mem.h"

enum { SPINS = 4000 }; /* 0.1 to 0.2 ms: longer than the gap between two batches of training */

struct member {
	struct pool *pool;
	size_t number;
	pthread_t thread;
};

/* What every worker writes has a cache line of its own; the rest is written before a generation begins. */
struct pool {
	_Alignas(64) _Atomic unsigned generation; /* counts the calls of pool_run: changes when work begins */
	int spins;
	void (*work)(void *context, size_t shard, size_t worker); /* NULL tells the workers to end */
	void *context;
	size_t shards;
	size_t threads, started;
	struct member *members;
	pthread_mutex_t lock;
	pthread_cond_t begin, end;

	_Alignas(64) _Atomic size_t next; /* the next shard to claim */
	_Alignas(64) _Atomic size_t busy; /* workers that have not finished this generation */
};

static inline void relax(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#endif
}

static void claim_shards(struct pool *pool, size_t worker)
{
	for (;;) {
		size_t shard = atomic_fetch_add_explicit(&pool->next, 1, memory_order_relaxed);
		if (shard >= pool->shards)
			return;
		pool->work(pool->context, shard, worker);
	}
}

static void wait_for_generation(struct pool *pool, unsigned seen)
{
	for (int i = 0; i < pool->spins; i++) {
		if (atomic_load_explicit(&pool->generation, memory_order_acquire) != seen)
			return;
		relax();
	}
	pthread_mutex_lock(&pool->lock);
	while (atomic_load_explicit(&pool->generation, memory_order_acquire) == seen)
		pthread_cond_wait(&pool->begin, &pool->lock);
	pthread_mutex_unlock(&pool->lock);
}

static void *member_run(void *argument)
{
	struct member *member = argument;
	struct pool *pool = member->pool;
	for (unsigned seen = 0;;) {
		wait_for_generation(pool, seen);
		seen++;
		if (!pool->work)
			return NULL;
		claim_shards(pool, member->number);
		if (atomic_fetch_sub_explicit(&pool->busy, 1, memory_order_acq_rel) == 1) {
			pthread_mutex_lock(&pool->lock);
			pthread_cond_signal(&pool->end);
			pthread_mutex_unlock(&pool->lock);
		}
	}
}

static void begin_generation(struct pool *pool)
{
	pthread_mutex_lock(&pool->lock);
	atomic_fetch_add_explicit(&pool->generation, 1, memory_order_release);
	pthread_cond_broadcast(&pool->begin);
	pthread_mutex_unlock(&pool->lock);
}

static void wait_for_members(struct pool *pool)
{
	for (int i = 0; i < pool->spins; i++) {
		if (atomic_load_explicit(&pool->busy, memory_order_acquire) == 0)
			return;
		relax();
	}
	pthread_mutex_lock(&pool->lock);
	while (atomic_load_explicit(&pool->busy, memory_order_acquire) != 0)
		pthread_cond_wait(&pool->end, &pool->lock);
	pthread_mutex_unlock(&pool->lock);
}

static size_t processors(void)
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
	pool->threads = threads ? threads : processors();
	pool->spins = pool->threads <= processors() ? SPINS : 0;
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
	pool->work = NULL;
	begin_generation(pool);
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

void pool_run(struct pool *pool, size_t shards, void (*work)(void *context, size_t shard, size_t worker),
              void *context)
{
	if (pool->threads == 1 || shards < 2) {
		for (size_t shard = 0; shard < shards; shard++)
			work(context, shard, 0);
		return;
	}
	pool->work = work;
	pool->context = context;
	pool->shards = shards;
	atomic_store_explicit(&pool->next, 0, memory_order_relaxed);
	atomic_store_explicit(&pool->busy, pool->started, memory_order_relaxed);
	begin_generation(pool);
	claim_shards(pool, 0);
	wait_for_members(pool);
}
