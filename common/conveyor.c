/* The conveyor: slots are a ring, numbered on without end; `sent` counts what the caller has given away, `done` what
 * the thread has worked off. */
#include "conveyor.h"

#include <pthread.h>

#include "cancel.h"
#include "mem.h"

struct conveyor {
	int (*work)(void *context, size_t slot, struct error *error);
	void *context;
	size_t slots;
	uint64_t sent, done;
	bool started, ending, failed;
	struct error error;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t more, less; /* for the thread: sent has grown; for the caller: done has */
};

static void *thread_run(void *argument)
{
	struct conveyor *conveyor = argument;
	cancel_refuse();
	pthread_mutex_lock(&conveyor->lock);
	while (!conveyor->ending && !conveyor->failed) {
		if (conveyor->done == conveyor->sent) {
			pthread_cond_wait(&conveyor->more, &conveyor->lock);
			continue;
		}
		const size_t slot = conveyor->done % conveyor->slots;
		pthread_mutex_unlock(&conveyor->lock);
		const int result = cancel_allow_during(conveyor->work, conveyor->context, slot, &conveyor->error);
		pthread_mutex_lock(&conveyor->lock);
		conveyor->done++;
		conveyor->failed = result < 0;
		pthread_cond_signal(&conveyor->less);
	}
	pthread_mutex_unlock(&conveyor->lock);
	return NULL;
}

struct conveyor *conveyor_new(size_t slots, int (*work)(void *context, size_t slot, struct error *error),
                              void *context, struct error *error)
{
	struct conveyor *conveyor = mem_alloc_zero(1, sizeof *conveyor, error);
	if (!conveyor)
		return NULL;
	conveyor->work = work;
	conveyor->context = context;
	conveyor->slots = slots;
	pthread_mutex_init(&conveyor->lock, NULL);
	pthread_cond_init(&conveyor->more, NULL);
	pthread_cond_init(&conveyor->less, NULL);
	int number = pthread_create(&conveyor->thread, NULL, thread_run, conveyor);
	conveyor->started = number == 0;
	if (number == 0)
		return conveyor;
	error_set_errno(error, CODE_SYSTEM, number, "cannot start a thread");
	conveyor_free(conveyor);
	return NULL;
}

/* Waits until at most `most` slots are with the thread. */
static int wait_for(struct conveyor *conveyor, uint64_t most, struct error *error)
{
	while (!conveyor->failed && conveyor->sent - conveyor->done > most)
		pthread_cond_wait(&conveyor->less, &conveyor->lock);
	if (!conveyor->failed)
		return 0;
	*error = conveyor->error;
	return -1;
}

ptrdiff_t conveyor_send(struct conveyor *conveyor, struct error *error)
{
	pthread_mutex_lock(&conveyor->lock);
	conveyor->sent++;
	pthread_cond_signal(&conveyor->more);
	int result = wait_for(conveyor, conveyor->slots - 1, error);
	pthread_mutex_unlock(&conveyor->lock);
	return result < 0 ? -1 : (ptrdiff_t)(conveyor->sent % conveyor->slots);
}

int conveyor_finish(struct conveyor *conveyor, struct error *error)
{
	pthread_mutex_lock(&conveyor->lock);
	int result = wait_for(conveyor, 0, error);
	pthread_mutex_unlock(&conveyor->lock);
	return result;
}

void conveyor_free(struct conveyor *conveyor)
{
	if (!conveyor)
		return;
	pthread_mutex_lock(&conveyor->lock);
	conveyor->ending = true;
	pthread_cond_signal(&conveyor->more);
	pthread_mutex_unlock(&conveyor->lock);
	if (conveyor->started) {
		pthread_cancel(conveyor->thread);
		pthread_join(conveyor->thread, NULL);
	}
	pthread_cond_destroy(&conveyor->more);
	pthread_cond_destroy(&conveyor->less);
	pthread_mutex_destroy(&conveyor->lock);
	mem_free(conveyor);
}
