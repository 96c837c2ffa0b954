/* The cut within each user. Rows are ordered by (time, key): the key of equal times is a hash of the seed and the two
 * ids' texts, or the place in the file; never the item's number, which would leak popularity. Keys are made only
 * where they decide: among the last two, or across the border of two parts. */
#include <math.h>

#include "mem.h"
#include "radix.h"
#include "split_internal.h"

/* A user's row with what it is ordered by. */
struct event {
	int64_t time;
	uint64_t key;
	uint32_t row;
	bool has_key;
	uint64_t place;
};

/* How the rows of one user are ordered. */
struct order {
	const struct ratings *ratings;
	uint64_t user_hash;
	bool timed, hashed;
};

static struct order order_of(const struct splitter *splitter, const struct split_options *options, uint32_t user)
{
	const struct ratings *ratings = splitter->ratings;
	const bool hashed = options->kind == SPLIT_RANDOM || options->ties == TIES_HASH;
	return (struct order){
		.ratings = ratings, .timed = options->kind != SPLIT_RANDOM && ratings->has_time, .hashed = hashed,
		.user_hash = hashed ? split_text_hash(&ratings->users, user, options->seed) : 0,
	};
}

static void make_key(const struct order *order, struct event *event)
{
	if (!event->has_key && order->hashed)
		event->key = split_text_hash(&order->ratings->items, column_get(&order->ratings->item, event->row),
		                             order->user_hash);
	event->has_key = true;
}

static bool is_later(const struct order *order, struct event *a, struct event *b)
{
	if (a->time != b->time)
		return a->time > b->time;
	make_key(order, a);
	make_key(order, b);
	return a->key != b->key ? a->key > b->key : a->row > b->row;
}

/* ---- the last one or two ---- */

/* The time of the last but one. */
static int64_t second_time(const uint64_t *times, size_t count)
{
	int64_t last = INT64_MIN, before = INT64_MIN;
	for (size_t i = 0; i < count; i++) {
		const int64_t time = (int64_t)times[i];
		before = time > last ? last : time > before ? time : before;
		last = time > last ? time : last;
	}
	return before;
}

static void cut_last(struct splitter *splitter, const struct order *order, const struct user_scratch *scratch,
                     bool test, bool valid)
{
	struct event last = {.time = INT64_MIN}, before = last;
	uint8_t *part = splitter->ratings->part;
	const int64_t least = order->timed ? second_time(scratch->values, scratch->count) : 0;
	size_t found = 0;
	for (size_t i = 0; i < scratch->count; i++) {
		struct event event = {.time = order->timed ? (int64_t)scratch->values[i] : 0, .row = scratch->rows[i]};
		part[event.row] = PART_TRAIN;
		if (event.time < least || (found > 1 && !is_later(order, &event, &before)))
			continue;
		const bool beats = found == 0 || is_later(order, &event, &last);
		before = beats ? last : event;
		last = beats ? event : last;
		found++;
	}
	if (test)
		part[last.row] = PART_TEST;
	if (valid)
		part[before.row] = PART_VALID;
}

/* ---- shares ---- */

static int by_time(const void *a, const void *b)
{
	const struct event *x = a, *y = b;
	if (x->time != y->time)
		return x->time < y->time ? -1 : 1;
	if (x->key != y->key)
		return x->key < y->key ? -1 : 1;
	return x->row < y->row ? -1 : x->row > y->row;
}

/* Sorts some of the user's rows, by their places in scratch->rows, whole: time, key and row. */
static int sort_events(const struct order *order, struct user_scratch *scratch, uint64_t *places, size_t count,
                       struct error *error)
{
	if (mem_grow(&scratch->events, &scratch->event_capacity, count, sizeof(struct event), error) < 0)
		return -1;
	struct event *events = scratch->events;
	for (size_t i = 0; i < count; i++) {
		events[i] = (struct event){.time = (int64_t)scratch->values[places[i]], .row = scratch->rows[places[i]],
		                           .place = places[i]};
		make_key(order, &events[i]);
	}
	qsort(events, count, sizeof *events, by_time);
	for (size_t i = 0; i < count; i++)
		places[i] = events[i].place;
	return 0;
}

/* scratch->keys become places in scratch->rows in the order of time, equal ones as they are in the file, if a time and
 * a place fit a key together; else in any order. */
static bool sort_by_time(struct user_scratch *scratch)
{
	const size_t count = scratch->count;
	const uint64_t sign = UINT64_C(1) << 63; /* flipped, numbers are in the same order without it */
	uint64_t least = UINT64_MAX, most = 0;
	unsigned bits = 1;
	while (count > (size_t)1 << bits)
		bits++;
	for (size_t i = 0; i < count; i++) {
		const uint64_t time = scratch->values[i] ^ sign;
		least = time < least ? time : least;
		most = time > most ? time : most;
	}
	const bool fit = (most - least) >> (64 - bits) == 0;
	for (size_t i = 0; i < count; i++)
		scratch->keys[i] = fit ? ((scratch->values[i] ^ sign) - least) << bits | i : i;
	if (fit)
		radix_sort_with(scratch->keys, scratch->spare, count, bits);
	for (size_t i = 0; i < count; i++)
		scratch->keys[i] &= (UINT64_C(1) << bits) - 1;
	return fit;
}

/* Orders the places of one time around the border before number `border`. */
static int settle_ties(const struct order *order, struct user_scratch *scratch, size_t border, struct error *error)
{
	uint64_t *places = scratch->keys;
	const uint64_t *times = scratch->values;
	size_t begin = border, end = border;
	if (border == 0 || border == scratch->count || times[places[border - 1]] != times[places[border]])
		return 0;
	while (begin > 0 && times[places[begin - 1]] == times[places[border]])
		begin--;
	while (end < scratch->count && times[places[end]] == times[places[border]])
		end++;
	return sort_events(order, scratch, places + begin, end - begin, error);
}

static int cut_shares(struct splitter *splitter, const struct order *order, struct user_scratch *scratch,
                      size_t test, size_t valid, struct error *error)
{
	const size_t count = scratch->count;
	if (!order->timed)
		memset(scratch->values, 0, count * sizeof *scratch->values);
	if (!sort_by_time(scratch) && sort_events(order, scratch, scratch->keys, count, error) < 0)
		return -1;
	if (settle_ties(order, scratch, count - test, error) < 0 ||
	    settle_ties(order, scratch, count - test - valid, error) < 0)
		return -1;
	for (size_t i = 0; i < count; i++)
		splitter->ratings->part[scratch->rows[scratch->keys[i]]] = i + test >= count           ? PART_TEST
		                                                           : i + test + valid >= count ? PART_VALID
		                                                                                       : PART_TRAIN;
	return 0;
}

/* ---- a user ---- */

/* How many of a user's `count` ratings test, and how many validate. */
static void user_shares(const struct split_options *options, size_t count, size_t *test, size_t *valid)
{
	if (options->kind != SPLIT_RATIO) {
		*test = count >= 2;
		*valid = options->valid && count >= 3;
		return;
	}
	size_t train = (size_t)ceil((double)count * options->ratio - 1e-9);
	train = train < 1 ? 1 : train;
	size_t kept = (size_t)ceil((double)train * options->ratio - 1e-9);
	kept = kept < 1 ? 1 : kept;
	*test = count - train;
	*valid = options->valid ? train - kept : 0;
}

static int cut_user(struct splitter *splitter, const void *context, uint32_t user, struct user_scratch *scratch,
                    struct split_counts *counts, struct error *error)
{
	const struct split_options *options = context;
	const struct order order = order_of(splitter, options, user);
	size_t test = 0, valid = 0;
	user_shares(options, scratch->count, &test, &valid);
	counts->without_test += test == 0;
	counts->without_valid += options->valid && valid == 0;
	if (order.timed)
		user_times(splitter, scratch);
	if (options->kind == SPLIT_RATIO)
		return cut_shares(splitter, &order, scratch, test, valid, error);
	cut_last(splitter, &order, scratch, test > 0, valid > 0);
	return 0;
}

int split_cut_by_user(struct splitter *splitter, const struct split_options *options, struct error *error)
{
	return split_each_user(splitter, cut_user, options, options->kind == SPLIT_RATIO ? SCRATCH_KEYS : 0, error);
}
