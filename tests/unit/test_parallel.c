/* The pool: every shard once, whatever the threads, also when they sleep or are more than the processors. */
#include "parallel.h"

#include <dirent.h>
#include <sched.h>
#include <stdatomic.h>
#include <time.h>

#include "check.h"
#include "child.h"

enum { SHARDS_MAX = 1000, WORKERS_MAX = 16 };

static const size_t thread_counts[] = {1, 2, 3, 4, WORKERS_MAX};

struct tally {
	_Atomic unsigned done[SHARDS_MAX]; /* times each shard ran */
	_Atomic unsigned inside[WORKERS_MAX]; /* how often a worker's number is in use at this moment */
	_Atomic unsigned clashes;
	size_t threads;
	unsigned plain[SHARDS_MAX];        /* written without atomics: the pool must publish it */
};

static void count_shard(void *context, size_t shard, size_t worker)
{
	struct tally *tally = context;
	if (worker >= tally->threads || atomic_fetch_add(&tally->inside[worker], 1) != 0)
		atomic_fetch_add(&tally->clashes, 1);
	atomic_fetch_add(&tally->done[shard], 1);
	tally->plain[shard]++;
	if (worker < tally->threads)
		atomic_fetch_sub(&tally->inside[worker], 1);
}

static void pause_microseconds(long microseconds)
{
	nanosleep(&(struct timespec){.tv_nsec = microseconds * 1000}, NULL);
}

static void test_each_shard_runs_once(void)
{
	static struct tally tally;
	static const size_t shard_counts[] = {0, 1, 2, 3, 16, 17, SHARDS_MAX};
	for (size_t t = 0; t < COUNT_OF(thread_counts); t++) {
		struct error error = {0};
		struct pool *pool = pool_new(thread_counts[t], &error);
		CHECK(pool != NULL);
		if (!pool)
			return;
		CHECK_EQUAL_U64(pool_threads(pool), thread_counts[t]);
		for (size_t s = 0; s < COUNT_OF(shard_counts); s++) {
			memset(&tally, 0, sizeof tally);
			tally.threads = thread_counts[t];
			pool_run(pool, shard_counts[s], count_shard, &tally);
			size_t wrong = 0;
			for (size_t i = 0; i < SHARDS_MAX; i++) {
				unsigned expected = i < shard_counts[s];
				wrong += tally.done[i] != expected || tally.plain[i] != expected;
			}
			CHECK_EQUAL_U64(wrong, 0);
			CHECK_EQUAL_U64(tally.clashes, 0);
		}
		pool_free(pool);
	}
}

static void test_many_generations_spinning_and_asleep(void)
{
	static struct tally tally;
	enum { GENERATIONS = 3000, SHARDS = 8 };
	for (size_t t = 0; t < COUNT_OF(thread_counts); t++) {
		struct error error = {0};
		struct pool *pool = pool_new(thread_counts[t], &error);
		CHECK(pool != NULL);
		if (!pool)
			return;
		memset(&tally, 0, sizeof tally);
		tally.threads = thread_counts[t];
		size_t wrong = 0;
		for (unsigned g = 1; g <= GENERATIONS; g++) {
			if (g % 100 == 0)
				pause_microseconds(500); /* long enough for the workers to fall asleep */
			pool_run(pool, SHARDS, count_shard, &tally);
			for (size_t i = 0; i < SHARDS; i++)
				wrong += tally.plain[i] != g;
		}
		CHECK_EQUAL_U64(wrong, 0);
		CHECK_EQUAL_U64(tally.clashes, 0);
		pool_free(pool);
	}
}

struct meeting {
	_Atomic size_t arrived;
	size_t expected;
	_Atomic bool late;
};

/* Each shard waits for all others: it ends only when every worker holds one at the same time. */
static void meet(void *context, size_t shard, size_t worker)
{
	struct meeting *meeting = context;
	(void)shard;
	(void)worker;
	atomic_fetch_add(&meeting->arrived, 1);
	for (int waited = 0; atomic_load(&meeting->arrived) < meeting->expected; waited++) {
		if (waited == 50000) {
			atomic_store(&meeting->late, true);
			return;
		}
		pause_microseconds(100);
	}
}

static void test_threads_really_run_side_by_side(void)
{
	for (size_t t = 1; t < COUNT_OF(thread_counts); t++) {
		struct error error = {0};
		struct meeting meeting = {.expected = thread_counts[t]};
		struct pool *pool = pool_new(thread_counts[t], &error);
		CHECK(pool != NULL);
		if (!pool)
			return;
		pool_run(pool, thread_counts[t], meet, &meeting);
		CHECK(!meeting.late);
		pool_free(pool);
	}
}

static size_t tasks(void)
{
	DIR *folder = opendir("/proc/self/task");
	size_t count = 0;
	while (folder && readdir(folder))
		count++;
	if (folder)
		closedir(folder);
	return count - 2; /* . and .. */
}

static void test_one_thread_means_none_started(void)
{
	struct error error = {0};
	const size_t before = tasks();
	struct pool *pool = pool_new(1, &error);
	CHECK(pool != NULL);
	CHECK_EQUAL_U64(tasks(), before);
	pool_free(pool);
	pool = pool_new(3, &error);
	CHECK(pool != NULL);
	CHECK_EQUAL_U64(tasks(), before + 2);
	pool_free(pool); /* without ever having run */
	pool_free(NULL);
}

static int threads_on_one_processor(void *context)
{
	struct error error = {0};
	cpu_set_t set, one;
	(void)context;
	if (sched_getaffinity(0, sizeof set, &set) != 0)
		return 100;
	CPU_ZERO(&one);
	for (size_t i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; i++)
		if (CPU_ISSET(i, &set))
			CPU_SET(i, &one);
	if (sched_setaffinity(0, sizeof one, &one) != 0)
		return 101;
	struct pool *pool = pool_new(0, &error);
	int count = pool ? (int)pool_threads(pool) : 102;
	pool_free(pool);
	return count;
}

static void test_zero_threads_respects_affinity(void)
{
	struct error error = {0};
	struct child child;
	cpu_set_t set;
	child_run(&child, threads_on_one_processor, NULL);
	CHECK(child_exited(&child, 1));
	struct pool *pool = pool_new(0, &error);
	CHECK(pool != NULL);
	if (pool && sched_getaffinity(0, sizeof set, &set) == 0)
		CHECK_EQUAL_U64(pool_threads(pool), CPU_COUNT(&set));
	pool_free(pool);
}

static void test_too_many_threads_are_an_error(void)
{
	struct error error = {0};
	CHECK(pool_new(SIZE_MAX / 2, &error) == NULL);
	CHECK_EQUAL_U64(error.code, CODE_SYSTEM);
}

static void test_shards_cut_evenly(void)
{
	static const size_t counts[] = {0, 1, 5, 16, 1000003, SIZE_MAX};
	for (size_t c = 0; c < COUNT_OF(counts); c++) {
		CHECK_EQUAL_U64(shard_begin(counts[c], 16, 0), 0);
		CHECK_EQUAL_U64(shard_begin(counts[c], 16, 16), counts[c]);
		for (size_t s = 0; s < 16; s++) {
			size_t length = shard_begin(counts[c], 16, s + 1) - shard_begin(counts[c], 16, s);
			CHECK(length == counts[c] / 16 || length == counts[c] / 16 + 1);
		}
	}
}

int main(void)
{
	RUN(test_each_shard_runs_once);
	RUN(test_many_generations_spinning_and_asleep);
	RUN(test_threads_really_run_side_by_side);
	RUN(test_one_thread_means_none_started);
	RUN(test_zero_threads_respects_affinity);
	RUN(test_too_many_threads_are_an_error);
	RUN(test_shards_cut_evenly);
	return check_done();
}
