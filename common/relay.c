/* The relay: slots are a ring, numbered on without end. One thread at a time fetches the next number, then prepares
 * it while another fetches; the caller waits for the numbers in order. All state is behind one lock, taken a few
 * times a slot. */
#include "relay.h"

#include <pthread.h>

#include "cancel.h"
#include "mem.h"

struct relay {
	struct relay_work work;
	size_t slots, threads, started;
	pthread_t *members;
	bool *ready;             /* by slot: filled, prepared, and not yet given back */
	uint64_t fetched, taken; /* numbers: the next to fetch, the next to take */
	bool fetching, holding;  /* someone is in fetch; the caller has number taken - 1 */
	bool ended, ending;      /* fetch has said so; relay_free has begun */
	int last;                /* what fetch ended with: 0 or -1 */
	struct error error;
	pthread_mutex_t lock;
	pthread_cond_t room, done; /* for the threads; for the caller */
};

static bool has_room(const struct relay *relay)
{
	const uint64_t kept = relay->taken - relay->holding;
	return !relay->fetching && !relay->ended && relay->fetched - kept < relay->slots;
}

static void *member_run(void *argument)
{
	struct relay *relay = argument;
	cancel_refuse();
	pthread_mutex_lock(&relay->lock);
	while (!relay->ending && !relay->ended) {
		if (!has_room(relay)) {
			pthread_cond_wait(&relay->room, &relay->lock);
			continue;
		}
		const size_t slot = relay->fetched % relay->slots;
		relay->fetching = true;
		pthread_mutex_unlock(&relay->lock);
		const int result = cancel_allow_during(relay->work.fetch, relay->work.context, slot, &relay->error);
		pthread_mutex_lock(&relay->lock);
		relay->fetching = false;
		relay->fetched += result > 0;
		relay->ended = result <= 0;
		relay->last = result;
		pthread_cond_broadcast(&relay->room);
		if (result > 0) {
			pthread_mutex_unlock(&relay->lock);
			relay->work.prepare(relay->work.context, slot);
			pthread_mutex_lock(&relay->lock);
			relay->ready[slot] = true;
		}
		pthread_cond_signal(&relay->done);
	}
	pthread_mutex_unlock(&relay->lock);
	return NULL;
}

struct relay *relay_new(size_t threads, size_t slots, const struct relay_work *work, struct error *error)
{
	struct relay *relay = mem_alloc_zero(1, sizeof *relay, error);
	if (!relay)
		return NULL;
	relay->work = *work;
	relay->slots = slots;
	relay->threads = threads;
	pthread_mutex_init(&relay->lock, NULL);
	pthread_cond_init(&relay->room, NULL);
	pthread_cond_init(&relay->done, NULL);
	relay->ready = mem_alloc_zero(slots, sizeof *relay->ready, error);
	relay->members = mem_alloc_zero(threads, sizeof *relay->members, error);
	if (!relay->ready || !relay->members)
		goto failed;
	for (; relay->started < threads; relay->started++) {
		int number = pthread_create(&relay->members[relay->started], NULL, member_run, relay);
		if (number != 0) {
			error_set_errno(error, CODE_SYSTEM, number, "cannot start thread %zu of %zu", relay->started + 1,
			                threads);
			goto failed;
		}
	}
	return relay;
failed:
	relay_free(relay);
	return NULL;
}

static int take_alone(struct relay *relay, size_t *slot, struct error *error)
{
	if (!relay->ended) {
		*slot = relay->taken++ % relay->slots;
		relay->last = relay->work.fetch(relay->work.context, *slot, &relay->error);
		relay->ended = relay->last <= 0;
		if (!relay->ended) {
			relay->work.prepare(relay->work.context, *slot);
			return 1;
		}
	}
	if (relay->last < 0)
		*error = relay->error;
	return relay->last;
}

int relay_take(struct relay *relay, size_t *slot, struct error *error)
{
	if (relay->threads == 0)
		return take_alone(relay, slot, error);
	pthread_mutex_lock(&relay->lock);
	if (relay->holding) {
		relay->ready[(relay->taken - 1) % relay->slots] = false;
		relay->holding = false;
		pthread_cond_signal(&relay->room);
	}
	*slot = relay->taken % relay->slots;
	while (!relay->ready[*slot] && !(relay->ended && relay->taken == relay->fetched))
		pthread_cond_wait(&relay->done, &relay->lock);
	int result = 1;
	if (relay->ready[*slot]) {
		relay->taken++;
		relay->holding = true;
	} else {
		result = relay->last;
		if (result < 0)
			*error = relay->error;
	}
	pthread_mutex_unlock(&relay->lock);
	return result;
}

void relay_free(struct relay *relay)
{
	if (!relay)
		return;
	pthread_mutex_lock(&relay->lock);
	relay->ending = true;
	pthread_cond_broadcast(&relay->room);
	pthread_mutex_unlock(&relay->lock);
	for (size_t i = 0; i < relay->started; i++)
		pthread_cancel(relay->members[i]);
	for (size_t i = 0; i < relay->started; i++)
		pthread_join(relay->members[i], NULL);
	pthread_cond_destroy(&relay->room);
	pthread_cond_destroy(&relay->done);
	pthread_mutex_destroy(&relay->lock);
	mem_free(relay->members);
	mem_free(relay->ready);
	mem_free(relay);
}
