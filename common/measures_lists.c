/* See measures_lists.h. */
#include "measures_lists.h"

#include <strings.h>

#include "maths.h"

static const double calibration_alpha = 0.01; /* as Steck has it */

/* Self-information of knowing the item. One that nobody knows surprises as much as one that one user knows. */
static double novelty(const struct list_background *background, const struct shown_list *list, uint32_t count)
{
	double sum = 0.0;
	for (uint32_t i = 0; i < count; i++) {
		const uint32_t popularity = background->known->popularity[list->items[i]];
		sum += maths_log2(background->active_users / (popularity ? popularity : 1));
	}
	return count ? sum / count : 0.0;
}

static double long_tail(const struct list_background *background, const struct shown_list *list, uint32_t count)
{
	uint32_t tail = 0;
	for (uint32_t i = 0; i < count; i++) {
		const uint32_t popularity = background->known->popularity[list->items[i]];
		tail += popularity_level_of(&background->levels, popularity) == POPULARITY_TAIL;
	}
	return count ? (double)tail / count : 0.0;
}

static double intra_list_diversity(const struct list_background *background, const struct shown_list *list,
                                   uint32_t count)
{
	const uint64_t *genres = background->catalogue->genres;
	double sum = 0.0;
	for (uint32_t i = 0; i < count; i++)
		for (uint32_t j = 0; j < i; j++)
			sum += 1.0 - genres_similarity(genres[list->items[i]], genres[list->items[j]]);
	return count > 1 ? sum / (count * (count - 1.0) / 2) : 0.0;
}

static double miscalibration(const struct list_background *background, const struct shown_list *list, uint32_t count)
{
	struct mix shown = {0};
	for (uint32_t i = 0; i < count; i++)
		mix_add(&shown, background->catalogue->genres[list->items[i]]);
	return mix_divergence(list->genres, &shown, calibration_alpha);
}

static double coverage(const uint32_t *shown, uint32_t items)
{
	uint32_t never = 0;
	while (never < items && shown[never] == 0)
		never++;
	return (double)(items - never) / items;
}

static double gini(const uint32_t *shown, uint32_t items)
{
	double total = 0.0, weighted = 0.0;
	for (uint32_t i = 0; i < items; i++) {
		total += shown[i];
		weighted += (2.0 * (i + 1.0) - items - 1.0) * shown[i];
	}
	return items > 1 && total > 0 ? weighted / (total * (items - 1.0)) : 0.0;
}

const struct list_measure list_measures[] = {
	{"novelty", LIST_NEEDS_KNOWN, novelty,
	 "mean over the first k items of log2(users / users that know the item) (Zhou et al., PNAS 2010)"},
	{"longtail", LIST_NEEDS_KNOWN, long_tail,
	 "share of the first k items that are of the tail, the least popular items that take a fifth of all interactions "
	 "(APLT of Abdollahpouri, Burke & Mobasher, FLAIRS 2019; tail as Abdollahpouri et al., UMAP 2021)"},
	{"ILD", LIST_NEEDS_CATALOGUE, intra_list_diversity,
	 "mean over pairs of the first k items of 1 - cosine of their sets of genres (Smyth & McClave, ICCBR 2001; "
	 "intra-list similarity of Ziegler et al., WWW 2005)"},
	{"miscalibration", LIST_NEEDS_KNOWN | LIST_NEEDS_CATALOGUE, miscalibration,
	 "Kullback-Leibler divergence of the genres of the user's known items from those of the first k, smoothed by "
	 "alpha 0.01 (Steck, RecSys 2018)"},
};
const size_t list_measure_count = COUNT_OF(list_measures);

const struct exposure_measure exposure_measures[] = {
	{"coverage", coverage, "items that are among somebody's first k, over the catalogue (Ge et al., RecSys 2010)"},
	{"Gini", gini,
	 "of how often each item of the catalogue is among somebody's first k: 0 when all are as often, 1 when it is one "
	 "item alone (Shani & Gunawardana, Recommender Systems Handbook, 2011)"},
};
const size_t exposure_measure_count = COUNT_OF(exposure_measures);

const struct list_measure *list_measure_find(const char *name)
{
	for (size_t m = 0; m < list_measure_count; m++)
		if (strcasecmp(list_measures[m].name, name) == 0)
			return &list_measures[m];
	return NULL;
}

const struct exposure_measure *exposure_measure_find(const char *name)
{
	for (size_t m = 0; m < exposure_measure_count; m++)
		if (strcasecmp(exposure_measures[m].name, name) == 0)
			return &exposure_measures[m];
	return NULL;
}

int list_background_make(struct list_background *background, const struct interactions *known,
                         const struct catalogue *catalogue, struct error *error)
{
	*background = (struct list_background){.known = known, .catalogue = catalogue};
	if (!known)
		return 0;
	for (uint32_t user = 0; user < known->users; user++) {
		size_t count;
		interactions_of(known, user, &count);
		background->active_users += count > 0;
	}
	if (background->active_users < 1)
		background->active_users = 1;
	return popularity_levels_make(known->popularity, known->items, &background->levels, error);
}

void user_genres(const struct interactions *known, const struct catalogue *catalogue, uint32_t user, struct mix *mix)
{
	size_t count;
	const uint32_t *items = interactions_of(known, user, &count);
	*mix = (struct mix){0};
	for (size_t i = 0; i < count; i++)
		mix_add(mix, catalogue->genres[items[i]]);
}
