/* See sample_ahead.h. A slot of the relay is some samples. */
#include "sample_ahead.h"

#include "mem.h"
#include "relay.h"

enum { SLOTS = 4, SLOT_NUMBERS = 1 << 17, SAMPLES_LEAST = 16 };

struct slot {
	uint32_t *users, *items;
	size_t count;
};

struct sample_ahead {
	struct stream_reader *stream;
	const struct stream_info *info;
	uint32_t ratio;
	size_t most;             /* samples of a slot */
	struct slot slots[SLOTS];
	struct relay *relay;
	struct slot *current;    /* being handed out; NULL: none */
	size_t taken;            /* of it */
};

static int fetch(void *context, size_t number, struct error *error)
{
	struct sample_ahead *ahead = context;
	struct slot *slot = &ahead->slots[number];
	/* A block at a time, so that a slow producer's samples do not wait for others. */
	const ptrdiff_t got = samples_take(ahead->stream, ahead->info, ahead->ratio, ahead->most, slot->users, slot->items,
	                                   error);
	slot->count = got > 0 ? (size_t)got : 0;
	return got > 0 ? 1 : (int)got;
}

static void nothing(void *context, size_t number)
{
	(void)context;
	(void)number;
}

struct sample_ahead *sample_ahead_new(struct stream_reader *stream, const struct stream_info *info, uint32_t ratio,
                                      bool threaded, struct error *error)
{
	const size_t group = 1 + (size_t)ratio;
	struct sample_ahead *ahead = mem_alloc_zero(1, sizeof *ahead, error);
	if (!ahead)
		return NULL;
	ahead->stream = stream;
	ahead->info = info;
	ahead->ratio = ratio;
	ahead->most = SLOT_NUMBERS / (1 + group) < SAMPLES_LEAST ? SAMPLES_LEAST : SLOT_NUMBERS / (1 + group);
	for (size_t s = 0; s < SLOTS; s++) {
		ahead->slots[s].users = mem_alloc(ahead->most, sizeof(uint32_t), error);
		ahead->slots[s].items = mem_alloc(ahead->most * group, sizeof(uint32_t), error);
		if (!ahead->slots[s].users || !ahead->slots[s].items) {
			sample_ahead_free(ahead);
			return NULL;
		}
	}
	const struct relay_work work = {fetch, nothing, ahead};
	ahead->relay = relay_new(threaded ? 1 : 0, SLOTS, &work, error);
	if (ahead->relay)
		return ahead;
	sample_ahead_free(ahead);
	return NULL;
}

void sample_ahead_free(struct sample_ahead *ahead)
{
	if (!ahead)
		return;
	relay_free(ahead->relay);
	for (size_t s = 0; s < SLOTS; s++) {
		mem_free(ahead->slots[s].users);
		mem_free(ahead->slots[s].items);
	}
	mem_free(ahead);
}

ptrdiff_t sample_ahead_take(struct sample_ahead *ahead, size_t count, uint32_t *users, uint32_t *items,
                            struct error *error)
{
	const size_t group = 1 + (size_t)ahead->ratio;
	size_t number, have = 0;
	while (have < count) {
		if (!ahead->current || ahead->taken == ahead->current->count) {
			ahead->current = NULL;
			const int more = relay_take(ahead->relay, &number, error);
			if (more <= 0)
				return have > 0 && more == 0 ? (ptrdiff_t)have : more;
			ahead->current = &ahead->slots[number];
			ahead->taken = 0;
		}
		const size_t left = ahead->current->count - ahead->taken, some = left < count - have ? left : count - have;
		memcpy(users + have, ahead->current->users + ahead->taken, some * sizeof *users);
		memcpy(items + have * group, ahead->current->items + ahead->taken * group, some * group * sizeof *items);
		ahead->taken += some;
		have += some;
	}
	return (ptrdiff_t)have;
}
