/* Signals against plain references that go over all pairs of user and item, in double precision by libm. */
#include "signals_fixture.h"

/* ---- references ---- */

static double weight_of(uint32_t user, uint32_t item, double decay)
{
	return pow(1.0 + later_ones(user, item), -decay);
}

static double with_reference(const struct list *other, uint32_t item)
{
	for (uint32_t i = 0; i < other->count; i++)
		if (other->items[i] == item)
			return (double)other->scores[i];
	return NAN;
}

static double similarity_reference(uint32_t user, uint32_t item, double decay)
{
	double sum = 0;
	for (uint32_t j = 0; j < WEIGHED && item < WEIGHED; j++)
		sum += known[user][j] ? weight_of(user, j, decay) * (double)square[j][item] : 0;
	return sum;
}

static double recency_reference(uint32_t user, uint32_t item)
{
	int64_t last = 0;
	bool any = false;
	double met = 0;
	for (uint32_t i = 0; i < ITEMS; i++)
		if (known[user][i] && (!any || times[user][i] > last)) {
			last = times[user][i];
			any = true;
		}
	for (uint32_t u = 0; u < USERS; u++)
		met += any && known[u][item] && times[u][item] < last && times[u][item] >= last - year;
	return log(1 + met);
}

/* The share of `group` that an item gives: 0 where it has none; NAN where it has no groups at all. */
typedef double (*share_function)(uint32_t item, uint32_t group);

static double genre_share(uint32_t item, uint32_t genre)
{
	double total = 0;
	for (uint32_t g = 0; g < 64 && item < CATALOGUE; g++)
		total += (genres[item] >> g & 1) != 0;
	return total > 0 ? (double)(genres[item] >> genre & 1) / total : NAN;
}

static double year_share(uint32_t item, uint32_t of)
{
	double total = 0;
	if (item >= CATALOGUE || years[item] < 1880 || years[item] >= 2080)
		return NAN;
	for (int d = -12; d <= 12; d++)
		total += exp(-d * d / 18.0);
	const double apart = (double)of - years[item];
	return fabs(apart) <= 12 ? exp(-apart * apart / 18) / total : 0;
}

static double lift_reference(uint32_t user, double decay, uint32_t group, share_function share)
{
	double everybody = 0, all = 0, of_user = 0, total = 0;
	for (uint32_t u = 0; u < USERS; u++)
		for (uint32_t i = 0; i < ITEMS; i++) {
			if (!known[u][i] || isnan(share(i, group)))
				continue;
			everybody += share(i, group);
			all++;
			of_user += u == user ? weight_of(u, i, decay) * share(i, group) : 0;
			total += u == user ? weight_of(u, i, decay) : 0;
		}
	return everybody > 0 ? log((of_user + 5 * everybody / all) / ((total + 5) * everybody / all)) : 0;
}

static double genres_reference(uint32_t user, uint32_t item, double decay)
{
	double sum = 0;
	for (uint32_t g = 0; g < 64; g++)
		sum += genre_share(item, g) > 0 ? genre_share(item, g) * lift_reference(user, decay, g, genre_share) : 0;
	return sum;
}

static double years_reference(uint32_t user, uint32_t item, double decay)
{
	return isnan(year_share(item, 2000)) ? 0 : lift_reference(user, decay, years[item], year_share);
}

static double reference(const struct signal *signal, const struct list *lists, uint32_t i)
{
	const uint32_t user = lists[0].user, item = lists[0].items[i];
	switch (signal->kind) {
	case SIGNAL_SCORE:
		return (double)lists[0].scores[i];
	case SIGNAL_WITH:
		return with_reference(&lists[1 + signal->source], item);
	case SIGNAL_SIMILARITY:
		return similarity_reference(user, item, signal->decay);
	case SIGNAL_POPULARITY:
		return log(1 + (double)lists[0].popularity[i]);
	case SIGNAL_RECENCY:
		return recency_reference(user, item);
	case SIGNAL_GENRES:
		return genres_reference(user, item, signal->decay);
	case SIGNAL_YEARS:
		return years_reference(user, item, signal->decay);
	default:
		return NAN;
	}
}

/* ---- tests ---- */

static void test_every_signal_is_its_reference(void)
{
	struct signal_sources sources = all_sources();
	struct signal signals[SIGNALS_MAX];
	struct signal_room room = {0};
	struct made_list made[1 + WITHS];
	struct list lists[1 + WITHS];
	struct error error = {0};
	float values[SIGNALS_MAX * ENTRIES];
	double spread[SIGNALS_MAX] = {0};
	CHECK_OK(signals_prepare(&sources, &error), &error);
	const size_t count = signals_list(&sources, signals);
	for (uint32_t user = 0; user < USERS; user++) {
		const uint32_t entries = user == 1 ? 1 : ENTRIES;
		make_lists(made, lists, user, entries);
		CHECK_OK(signals_values(&sources, signals, count, &lists[0], &lists[1], &room, values, &error), &error);
		for (size_t s = 0; s < count; s++)
			for (uint32_t i = 0; i < entries; i++) {
				const double expected = reference(&signals[s], lists, i);
				CHECK_CLOSE((double)values[s * entries + i], expected, 2e-6 * (1 + fabs(expected)));
				spread[s] += user != NOBODY && expected != 0;
			}
	}
	for (size_t s = 0; s < count; s++)
		CHECK(spread[s] > 20); /* none is 0 everywhere */
	lists[0] = (struct list){.user = USERS - 1}; /* as an empty one comes that was the first to be read */
	CHECK_OK(signals_values(&sources, signals, count, &lists[0], &lists[1], &room, values, &error), &error);
	signal_room_release(&room);
	signals_release(&sources);
}

static void test_who_has_no_history_gets_nothing_from_it(void)
{
	struct signal_sources sources = all_sources();
	struct signal signals[SIGNALS_MAX];
	struct signal_room room = {0};
	struct made_list made[1 + WITHS];
	struct list lists[1 + WITHS];
	struct error error = {0};
	float values[SIGNALS_MAX * ENTRIES];
	CHECK_OK(signals_prepare(&sources, &error), &error);
	const size_t count = signals_list(&sources, signals);
	for (uint32_t user = NOBODY; user < USERS + 5; user += USERS - NOBODY + 1) { /* 4, and one beyond the histories */
		make_lists(made, lists, user, ENTRIES);
		CHECK_OK(signals_values(&sources, signals, count, &lists[0], &lists[1], &room, values, &error), &error);
		for (size_t s = 0; s < count; s++)
			for (uint32_t i = 0; i < ENTRIES; i++)
				if (signals[s].kind >= SIGNAL_RECENCY || signals[s].kind == SIGNAL_SIMILARITY)
					CHECK(fabs((double)values[s * ENTRIES + i]) < 1e-6);
		CHECK_EQUAL_U64(signals_activity(&sources, user), 0);
	}
	signal_room_release(&room);
	signals_release(&sources);
}

/* Times at both ends of what 64 bits hold. */
static void test_times_may_be_anything(void)
{
	const uint32_t users[] = {0, 1, 1}, items[] = {0, 0, 1};
	int64_t ends[] = {INT64_MIN, INT64_MIN + 1, INT64_MAX};
	uint32_t later[] = {0, 1, 0};
	struct histories few = {.times = ends, .later = later};
	struct signal_sources sources = {.histories = &few};
	const struct signal recency = {.kind = SIGNAL_RECENCY, .name = "recency"};
	struct signal_room room = {0};
	struct made_list made;
	struct error error = {0};
	float values[2];
	CHECK_OK(interactions_from_pairs(&few.interactions, 2, 2, users, items, 3, &error), &error);
	CHECK_OK(signals_prepare(&sources, &error), &error);
	for (uint32_t user = 0; user < 2; user++) {
		make_list(&made, user, 2, 0);
		made.items[0] = 0;
		made.items[1] = 1;
		CHECK_OK(signals_values(&sources, &recency, 1, &made.list, NULL, &room, values, &error), &error);
		CHECK(values[0] == 0 && values[1] == 0);
	}
	signal_room_release(&room);
	signals_release(&sources);
	interactions_release(&few.interactions);
}

static void test_activity_is_the_length_of_the_history(void)
{
	struct signal_sources sources = all_sources(), none = {0};
	for (uint32_t user = 0; user < USERS; user++) {
		size_t count = 0;
		for (uint32_t i = 0; i < ITEMS; i++)
			count += known[user][i];
		CHECK_EQUAL_U64(signals_activity(&sources, user), count);
		CHECK_EQUAL_U64(signals_activity(&none, user), 0);
	}
}

int main(void)
{
	make_fixture();
	RUN(test_every_signal_is_its_reference);
	RUN(test_who_has_no_history_gets_nothing_from_it);
	RUN(test_times_may_be_anything);
	RUN(test_activity_is_the_length_of_the_history);
	release_fixture();
	return check_done();
}
