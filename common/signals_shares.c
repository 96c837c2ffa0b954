/* See signals_shares.h. Sums run in the order of items or of the history, in double precision. */
#include "signals_shares.h"

#include "maths.h"
#include "mem.h"

enum { FIRST_YEAR = 1880, YEARS = 200, REACH = 12 /* years: beyond, the Gaussian is below 1/2000 */ };

static const double deviation = 3, prior = 5;
static const int64_t year_seconds = INT64_C(365) * 86400;

struct signal_shares {
	double genres[GENRES_MAX];    /* of everybody's interactions */
	double years[YEARS];          /* the same, smoothed: sums to about 1 */
	double kernel[REACH + 1];
	uint64_t *offsets;            /* [items + 1] */
	int64_t *times;               /* of each item's interactions, ascending */
};

/* ---- years ---- */

static bool year_index(const struct catalogue *catalogue, uint32_t item, size_t *index)
{
	const unsigned year = item < catalogue->items ? catalogue->years[item] : 0;
	*index = year - FIRST_YEAR;
	return year >= FIRST_YEAR && year < FIRST_YEAR + YEARS;
}

static void smooth(const double kernel[REACH + 1], const double counts[YEARS], double smoothed[YEARS])
{
	memset(smoothed, 0, YEARS * sizeof *smoothed);
	for (size_t from = 0; from < YEARS; from++) {
		if (counts[from] == 0)
			continue;
		const size_t begin = from < REACH ? 0 : from - REACH;
		for (size_t to = begin; to < YEARS && to <= from + REACH; to++)
			smoothed[to] += counts[from] * kernel[to > from ? to - from : from - to];
	}
}

static void make_kernel(double kernel[REACH + 1])
{
	double total = 0;
	for (int d = -REACH; d <= REACH; d++)
		total += maths_exp(-0.5 * d * d / (deviation * deviation));
	for (int d = 0; d <= REACH; d++)
		kernel[d] = maths_exp(-0.5 * d * d / (deviation * deviation)) / total;
}

/* log((count + prior share) / ((total + prior) share)): above 0 where the user has more than everybody. */
static double lift(double count, double total, double share)
{
	return maths_log((count + prior * share) / ((total + prior) * share));
}

void shares_years(const struct signal_shares *shares, const struct catalogue *catalogue, const uint32_t *history,
                  const float *weights, size_t count, const struct list *list, float *values)
{
	double counts[YEARS] = {0}, smoothed[YEARS], lifts[YEARS], total = 0;
	size_t year;
	for (size_t k = 0; k < count; k++)
		if (year_index(catalogue, history[k], &year)) {
			counts[year] += weights ? (double)weights[k] : 1;
			total += weights ? (double)weights[k] : 1;
		}
	smooth(shares->kernel, counts, smoothed);
	for (size_t y = 0; y < YEARS; y++)
		lifts[y] = shares->years[y] > 0 ? lift(smoothed[y], total, shares->years[y]) : 0;
	for (uint32_t i = 0; i < list->count; i++)
		values[i] = year_index(catalogue, list->items[i], &year) ? (float)lifts[year] : 0;
}

/* ---- genres ---- */

/* An item's genres share its weight. Returns the weight of items that have genres. */
static double add_genres(const struct catalogue *catalogue, uint32_t item, double weight, double counts[GENRES_MAX])
{
	const uint64_t genres = item < catalogue->items ? catalogue->genres[item] : 0;
	for (uint64_t left = genres; left; left &= left - 1)
		counts[__builtin_ctzll(left)] += weight / __builtin_popcountll(genres);
	return genres ? weight : 0;
}

void shares_genres(const struct signal_shares *shares, const struct catalogue *catalogue, const uint32_t *history,
                   const float *weights, size_t count, const struct list *list, float *values)
{
	double counts[GENRES_MAX] = {0}, lifts[GENRES_MAX], total = 0;
	for (size_t k = 0; k < count; k++)
		total += add_genres(catalogue, history[k], weights ? (double)weights[k] : 1, counts);
	for (size_t g = 0; g < GENRES_MAX; g++)
		lifts[g] = shares->genres[g] > 0 ? lift(counts[g], total, shares->genres[g]) : 0;
	for (uint32_t i = 0; i < list->count; i++) {
		const uint32_t item = list->items[i];
		const uint64_t genres = item < catalogue->items ? catalogue->genres[item] : 0;
		double sum = 0;
		for (uint64_t left = genres; left; left &= left - 1)
			sum += lifts[__builtin_ctzll(left)];
		values[i] = genres ? (float)(sum / __builtin_popcountll(genres)) : 0;
	}
}

/* ---- recency ---- */

static size_t count_below(const int64_t *times, size_t count, int64_t limit)
{
	size_t low = 0, high = count;
	while (low < high) {
		const size_t middle = low + (high - low) / 2;
		if (times[middle] < limit)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

void shares_recency(const struct signal_shares *shares, const struct histories *histories, const struct list *list,
                    float *values)
{
	const struct interactions *known = &histories->interactions;
	const uint64_t begin = list->user < known->users ? known->offsets[list->user] : 0;
	const uint64_t end = list->user < known->users ? known->offsets[(size_t)list->user + 1] : 0;
	int64_t last = INT64_MIN; /* without a history nothing is before it */
	for (uint64_t k = begin; k < end; k++)
		last = histories->times[k] > last ? histories->times[k] : last;
	const int64_t since = last < INT64_MIN + year_seconds ? INT64_MIN : last - year_seconds;
	for (uint32_t i = 0; i < list->count; i++) {
		const uint32_t item = list->items[i];
		size_t met = 0;
		if (item < known->items) {
			const int64_t *times = shares->times + shares->offsets[item];
			const size_t count = (size_t)(shares->offsets[item + 1] - shares->offsets[item]);
			const size_t older = count_below(times, count, since);
			met = count_below(times, count, last) - older;
		}
		values[i] = (float)maths_log(1 + (double)met);
	}
}

static int ascending(const void *a, const void *b)
{
	const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
	return (x > y) - (x < y);
}

static int gather_times(struct signal_shares *shares, const struct histories *histories, struct error *error)
{
	const struct interactions *known = &histories->interactions;
	shares->offsets = mem_alloc_zero((size_t)known->items + 1, sizeof *shares->offsets, error);
	shares->times = mem_alloc(known->count, sizeof *shares->times, error);
	if (!shares->offsets || !shares->times)
		return -1;
	for (uint64_t k = 0; k < known->count; k++)
		shares->offsets[known->item_ids[k] + 1]++;
	for (size_t i = 0; i < known->items; i++)
		shares->offsets[i + 1] += shares->offsets[i];
	for (uint64_t k = known->count; k-- > 0;) /* from the back, so that begins become the offsets */
		shares->times[--shares->offsets[known->item_ids[k] + 1]] = histories->times[k];
	/* Each offset moved to its item's begin: one place too far up the table. */
	for (size_t i = 0; i < known->items; i++)
		shares->offsets[i] = shares->offsets[i + 1];
	shares->offsets[known->items] = known->count;
	for (size_t i = 0; i < known->items; i++)
		qsort(shares->times + shares->offsets[i], (size_t)(shares->offsets[i + 1] - shares->offsets[i]),
		      sizeof *shares->times, ascending);
	return 0;
}

/* ---- everybody ---- */

static void count_everybody(struct signal_shares *shares, const struct interactions *known,
                            const struct catalogue *catalogue)
{
	double years[YEARS] = {0}, with_genres = 0, with_year = 0;
	size_t year;
	for (uint32_t item = 0; item < known->items; item++) {
		const double count = known->popularity[item];
		with_genres += add_genres(catalogue, item, count, shares->genres);
		if (year_index(catalogue, item, &year)) {
			years[year] += count;
			with_year += count;
		}
	}
	smooth(shares->kernel, years, shares->years);
	for (size_t g = 0; g < GENRES_MAX; g++)
		shares->genres[g] = with_genres > 0 ? shares->genres[g] / with_genres : 0;
	for (size_t y = 0; y < YEARS; y++)
		shares->years[y] = with_year > 0 ? shares->years[y] / with_year : 0;
}

struct signal_shares *shares_new(const struct histories *histories, const struct catalogue *catalogue,
                                 struct error *error)
{
	struct signal_shares *shares = mem_alloc_zero(1, sizeof *shares, error);
	if (!shares)
		return NULL;
	make_kernel(shares->kernel);
	if (catalogue)
		count_everybody(shares, &histories->interactions, catalogue);
	if (histories->times && gather_times(shares, histories, error) < 0) {
		shares_free(shares);
		return NULL;
	}
	return shares;
}

void shares_free(struct signal_shares *shares)
{
	if (!shares)
		return;
	mem_free(shares->offsets);
	mem_free(shares->times);
	mem_free(shares);
}
