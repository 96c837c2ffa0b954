/* Groups of a batch: drawn by the epoch's permutation and Philox, word for word as common/sampler.c draws them, or given
 * by the host. Samples that do not exist take the item of their positive, with weight 0. */
#include "device_maths.h"
#include "state.h"

struct draw_arguments {
	const struct step *step;
	uint32_t *users, *items, *missing;
	float *weights;
	uint32_t group;
	/* The sampler */
	const uint64_t *offsets;
	const uint32_t *item_ids, *owners, *bitmap, *alias_least, *alias_other;
	uint32_t bitmap_stride, item_count, count;
	unsigned low_bits, high_bits;
	uint64_t seed;
};

ON_DEVICE uint32_t mix(uint32_t x)
{
	x ^= x >> 16;
	x *= 0x85ebca6bu;
	x ^= x >> 13;
	x *= 0xc2b2ae35u;
	return x ^ x >> 16;
}

ON_DEVICE uint32_t positive_at(const struct draw_arguments *a, uint64_t place)
{
	const uint32_t low_mask = (1u << a->low_bits) - 1, high_mask = (1u << a->high_bits) - 1;
	uint32_t number = (uint32_t)place;
	do {
		uint32_t low = number & low_mask, high = number >> a->low_bits;
		for (int round = 0; round < SAMPLER_ROUNDS_COPY; round += 2) {
			high = (high ^ mix(low ^ a->step->keys[round])) & high_mask;
			low = (low ^ mix(high ^ a->step->keys[round + 1])) & low_mask;
		}
		number = high << a->low_bits | low;
	} while (number >= a->count);
	return number;
}

ON_DEVICE uint32_t scale_word(uint32_t word, uint32_t limit)
{
	return (uint32_t)((uint64_t)word * limit >> 32);
}

ON_DEVICE bool is_in_bitmap(const struct draw_arguments *a, uint32_t user, uint32_t item)
{
	return a->bitmap[(size_t)user * a->bitmap_stride + item / 32] >> (item % 32) & 1;
}

/* The words of one positive, block after block. */
struct words {
	uint32_t user, index, block, word[4];
	unsigned used;
	uint32_t known;           /* where a word is an item: a bit for each word whose item the user knows */
};

/* Whether a word is an item, so that those of a block can be looked up side by side: one after another each would wait for
 * the memory behind it. */
ON_DEVICE bool looks_ahead(const struct draw_arguments *a)
{
	return a->bitmap && !a->alias_least;
}

ON_DEVICE void next_block(const struct draw_arguments *a, struct words *words)
{
	philox(a->seed, 3u << 24 | (a->step->epoch & 0xffffffu), words->index, words->block++, words->word);
	words->used = 0;
	words->known = 0;
	UNROLLED
	for (uint32_t i = 0; i < 4 && looks_ahead(a); i++)
		words->known |= (uint32_t)is_in_bitmap(a, words->user, scale_word(words->word[i], a->item_count)) << i;
}

ON_DEVICE uint32_t next_word(const struct draw_arguments *a, struct words *words)
{
	if (words->used == 4)
		next_block(a, words);
	/* A register each: no array that is indexed at run time. */
	const unsigned u = words->used++;
	return u == 0 ? words->word[0] : u == 1 ? words->word[1] : u == 2 ? words->word[2] : words->word[3];
}

ON_DEVICE uint32_t draw_item(const struct draw_arguments *a, struct words *words)
{
	const uint32_t item = scale_word(next_word(a, words), a->item_count);
	if (!a->alias_least)
		return item;
	return next_word(a, words) >> 8 < a->alias_least[item] ? item : a->alias_other[item];
}

ON_DEVICE bool knows(const struct draw_arguments *a, uint32_t user, uint32_t item)
{
	if (a->bitmap)
		return is_in_bitmap(a, user, item);
	uint64_t low = a->offsets[user], high = a->offsets[user + 1];
	while (low < high) {
		const uint64_t middle = low + (high - low) / 2;
		if (a->item_ids[middle] < item)
			low = middle + 1;
		else
			high = middle;
	}
	return low < a->offsets[user + 1] && a->item_ids[low] == item;
}

/* The unseen item of a rank, for users who have seen so much that rejection fails. */
ON_DEVICE uint32_t unseen_item(const struct draw_arguments *a, uint32_t user, uint32_t rank)
{
	uint32_t item = rank;
	for (uint64_t i = a->offsets[user]; i < a->offsets[user + 1] && a->item_ids[i] <= item; i++)
		item++;
	return item;
}

ON_DEVICE uint32_t draw_negative(const struct draw_arguments *a, uint32_t user, struct words *words)
{
	for (int tries = 0; tries < SAMPLER_TRIES; tries++) {
		const uint32_t item = draw_item(a, words);
		if (looks_ahead(a) ? !(words->known >> (words->used - 1) & 1) : !knows(a, user, item))
			return item;
	}
	const uint32_t unseen = a->item_count - (uint32_t)(a->offsets[user + 1] - a->offsets[user]);
	return unseen ? unseen_item(a, user, scale_word(next_word(a, words), unseen)) : (uint32_t)NO_ITEM_ID;
}

/* Puts one sample; returns 1 when it does not exist. */
ON_DEVICE uint32_t put_sample(const struct draw_arguments *a, size_t at, uint32_t item, uint32_t positive)
{
	const bool exists = item != (uint32_t)NO_ITEM_ID;
	a->items[at] = exists ? item : positive;
	a->weights[at] = exists ? 1.0f : 0.0f;
	return exists ? 0 : 1;
}

KERNEL(draw_groups, struct draw_arguments)
{
	EACH_THREAD(t) {
		for (uint32_t g = BLOCK * THREADS + t; g < a.step->groups; g += BLOCKS * THREADS) {
			const uint32_t number = positive_at(&a, a.step->begin + g), user = a.owners[number];
			const uint32_t positive = a.item_ids[number];
			struct words words;
			words.user = user;
			words.index = number;
			words.block = 0;
			words.known = 0;
			words.used = 4;
			a.users[g] = user;
			uint32_t missing = put_sample(&a, (size_t)g * a.group, positive, positive);
			for (uint32_t s = 1; s < a.group; s++)
				missing += put_sample(&a, (size_t)g * a.group + s, draw_negative(&a, user, &words), positive);
			if (missing > 0)
				count_up(a.missing, missing);
		}
	}
}

/* The same for groups that came from the host. */
KERNEL(weigh_groups, struct draw_arguments)
{
	EACH_THREAD(t) {
		for (uint32_t g = BLOCK * THREADS + t; g < a.step->groups; g += BLOCKS * THREADS) {
			uint32_t *const items = a.items + (size_t)g * a.group, missing = 0;
			for (uint32_t s = 0; s < a.group; s++)
				missing += put_sample(&a, (size_t)g * a.group + s, items[s], items[0]);
			if (missing > 0)
				count_up(a.missing, missing);
		}
	}
}

/* ---- the sampler's tables ---- */

/* Some of the interactions: another sampler may stand where a released one stood. */
static uint64_t fingerprint(const struct interactions *known)
{
	const uint64_t count = known->count, some = count < 256 ? count : 256;
	uint64_t hash = count;
	for (uint64_t i = 0; i < some; i++)
		hash = (hash ^ known->item_ids[count / some * i]) * UINT64_C(0x100000001b3);
	return hash;
}

static bool is_copied(const struct sampler_copy *copy, const struct sampler *sampler)
{
	return copy->offsets && copy->of.known == sampler->known && copy->of.users == sampler->users &&
	       copy->of.bitmap == sampler->bitmap && copy->of.alias_least == sampler->alias_least &&
	       copy->known_items == sampler->known->item_ids && copy->known_count == sampler->known->count &&
	       copy->of.options.seed == sampler->options.seed && copy->of.options.alpha == sampler->options.alpha &&
	       copy->fingerprint == fingerprint(sampler->known);
}

void cuda_sampler_release(struct backend_state *state)
{
	struct sampler_copy *copy = &state->sampler;
	cuda_forget_graphs(state);
	device_release(&state->device, copy->offsets);
	device_release(&state->device, copy->item_ids);
	device_release(&state->device, copy->users);
	device_release(&state->device, copy->bitmap);
	device_release(&state->device, copy->alias_least);
	device_release(&state->device, copy->alias_other);
	memset(copy, 0, sizeof *copy);
}

/* A copy of host memory on the device; NULL for NULL, and, with `failed` set, when there is no room. */
static void *copy_array(struct backend_state *state, const void *from, size_t count, size_t size, bool *failed,
                        struct error *error)
{
	if (!from)
		return NULL;
	void *to = device_alloc(&state->device, count, size, "the interactions to draw from", error);
	if (to)
		device_upload(&state->device, STREAM_AHEAD, to, from, count * size);
	else
		*failed = true;
	return to;
}

int cuda_sampler_copy(struct backend_state *state, const struct sampler *sampler, struct error *error)
{
	struct sampler_copy *copy = &state->sampler;
	const struct interactions *known = sampler->known;
	const size_t users = known->users, items = known->items, pairs = (size_t)known->count;
	bool failed = false;
	if (!is_copied(copy, sampler)) {
		cuda_sampler_release(state);
		copy->offsets = (uint64_t *)copy_array(state, known->offsets, users + 1, 8, &failed, error);
		copy->item_ids = (uint32_t *)copy_array(state, known->item_ids, pairs, 4, &failed, error);
		copy->users = (uint32_t *)copy_array(state, sampler->users, pairs, 4, &failed, error);
		copy->bitmap = (uint32_t *)copy_array(state, sampler->bitmap, sampler->bitmap_stride * users, 4, &failed, error);
		copy->alias_least = (uint32_t *)copy_array(state, sampler->alias_least, items, 4, &failed, error);
		copy->alias_other = (uint32_t *)copy_array(state, sampler->alias_other, items, 4, &failed, error);
		if (failed) {
			cuda_sampler_release(state);
			return -1;
		}
	}
	copy->of = *sampler;
	copy->known_items = known->item_ids;
	copy->known_count = known->count;
	copy->fingerprint = fingerprint(known);
	return 0;
}

void cuda_draw(struct backend_state *state, struct batch *batch, const struct train_span *span,
               const struct step *on_host, const struct step *step)
{
	const struct sampler_copy *copy = &state->sampler;
	const uint32_t blocks = blocks_for(state->groups_max, THREADS, GRID_WIDE);
	struct draw_arguments a;
	memset(&a, 0, sizeof a);
	a.step = step;
	a.users = batch->users;
	a.items = batch->items;
	a.weights = batch->weights;
	a.missing = batch->missing;
	a.group = state->group;
	if (on_host) /* else take_step did it */
		device_zero(&state->device, STREAM_AHEAD, batch->missing, sizeof *batch->missing);
	if (span->users) {
		const size_t from = (size_t)(on_host->begin - span->begin);
		device_upload(&state->device, STREAM_AHEAD, batch->users, span->users + from, on_host->groups * sizeof(uint32_t));
		device_upload(&state->device, STREAM_AHEAD, batch->items, span->items + from * state->group,
		              on_host->samples * sizeof(uint32_t));
		LAUNCH(&state->device, STREAM_AHEAD, weigh_groups, blocks, 0, a);
		return;
	}
	a.offsets = copy->offsets;
	a.item_ids = copy->item_ids;
	a.owners = copy->users;
	a.bitmap = copy->bitmap;
	a.alias_least = copy->alias_least;
	a.alias_other = copy->alias_other;
	a.bitmap_stride = copy->of.bitmap_stride;
	a.item_count = copy->of.known->items;
	a.count = (uint32_t)copy->of.known->count;
	a.low_bits = copy->of.low_bits;
	a.high_bits = copy->of.high_bits;
	a.seed = copy->of.options.seed;
	LAUNCH(&state->device, STREAM_AHEAD, draw_groups, blocks, 0, a);
}
