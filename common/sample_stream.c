/* See sample_stream.h. A slot of the relay is a stretch of one epoch. */
#include "sample_stream.h"

#include "mem.h"
#include "parallel.h"
#include "relay.h"

enum { SLOT_NUMBERS = 1 << 16, SLOTS_A_THREAD = 2, GROUPS_LEAST = 64 };

struct stretch {
	uint32_t epoch;
	uint64_t begin, end;
	uint32_t *users, *items;
	uint64_t missing;
};

struct drawing {
	const struct sample_stream *samples;
	struct stretch *slots;
	size_t slot_count, groups; /* groups: samples of a slot at most */
	uint32_t epoch;            /* of the next stretch, and where it begins */
	uint64_t next;
};

static int next_stretch(void *context, size_t slot, struct error *error)
{
	struct drawing *drawing = context;
	struct stretch *stretch = &drawing->slots[slot];
	const uint64_t positives = drawing->samples->sampler->known->count, left = positives - drawing->next;
	(void)error;
	if (drawing->epoch == drawing->samples->epochs)
		return 0;
	stretch->epoch = drawing->epoch;
	stretch->begin = drawing->next;
	stretch->end = drawing->next + (left < drawing->groups ? left : drawing->groups);
	drawing->next = stretch->end;
	if (drawing->next == positives) {
		drawing->next = 0;
		drawing->epoch++;
	}
	return 1;
}

/* Stretches of two epochs may be on the way at once: each has a sampler of its own, over the same tables. */
static void draw_stretch(void *context, size_t slot)
{
	const struct drawing *drawing = context;
	struct stretch *stretch = &drawing->slots[slot];
	struct sampler sampler = *drawing->samples->sampler;
	sampler_start_epoch(&sampler, stretch->epoch);
	stretch->missing = sampler_fill(&sampler, stretch->begin, stretch->end, stretch->users, stretch->items);
}

static int make_slots(struct drawing *drawing, size_t count, struct error *error)
{
	const size_t group = 1 + (size_t)drawing->samples->sampler->options.ratio;
	drawing->groups = SLOT_NUMBERS / (1 + group) < GROUPS_LEAST ? GROUPS_LEAST : SLOT_NUMBERS / (1 + group);
	drawing->slots = mem_alloc_zero(count, sizeof *drawing->slots, error);
	for (; drawing->slots && drawing->slot_count < count; drawing->slot_count++) {
		struct stretch *slot = &drawing->slots[drawing->slot_count];
		slot->users = mem_alloc(drawing->groups, sizeof *slot->users, error);
		slot->items = mem_alloc(drawing->groups * group, sizeof *slot->items, error);
		if (!slot->users || !slot->items) {
			drawing->slot_count++;
			return -1;
		}
	}
	return drawing->slots ? 0 : -1;
}

static void release_slots(struct drawing *drawing)
{
	for (size_t s = 0; s < drawing->slot_count; s++) {
		mem_free(drawing->slots[s].users);
		mem_free(drawing->slots[s].items);
	}
	mem_free(drawing->slots);
}

static int write_stretch(const struct sample_stream *samples, const struct stretch *stretch,
                         struct stream_writer *writer, struct error *error)
{
	const struct sampler *sampler = samples->sampler;
	if (samples_write(writer, stretch->users, stretch->items, sampler->options.ratio,
	                  (size_t)(stretch->end - stretch->begin), error) < 0)
		return -1;
	if (stretch->end < sampler->known->count)
		return 0;
	if (samples->tell)
		samples->tell(samples->tell_context, stretch->epoch + 1);
	return stream_flush(writer, error);
}

int sample_stream_write(const struct sample_stream *samples, struct stream_writer *writer, uint64_t *missing,
                        struct error *error)
{
	const size_t threads = samples->threads ? samples->threads : processor_count(), helpers = threads > 1 ? threads : 0;
	struct drawing drawing = {.samples = samples};
	const struct relay_work work = {next_stretch, draw_stretch, &drawing};
	struct relay *relay = NULL;
	size_t slot;
	int result = make_slots(&drawing, helpers ? helpers * SLOTS_A_THREAD : 1, error), more = 0;
	*missing = 0;
	if (result == 0 && helpers > 0)
		result = stream_writer_start_thread(writer, error);
	if (result == 0)
		relay = relay_new(helpers, drawing.slot_count, &work, error);
	if (!relay)
		result = -1;
	while (result == 0 && (more = relay_take(relay, &slot, error)) > 0) {
		*missing += drawing.slots[slot].missing;
		result = write_stretch(samples, &drawing.slots[slot], writer, error);
	}
	relay_free(relay);
	release_slots(&drawing);
	return result == 0 && more == 0 ? 0 : -1;
}
