/* Measures of what is shown, beyond whether it is right: tables of one entry each with its formula and source.
 *
 * A list measure is a value of each user's list, cut at k, the better known as "beyond accuracy": how novel, diverse
 * or calibrated it is. An exposure measure is one value of all lists together: how they spread over the catalogue. */
#ifndef RECPIPE_MEASURES_LISTS_H
#define RECPIPE_MEASURES_LISTS_H

#include "catalogue.h"
#include "compat.h"
#include "interactions.h"
#include "mix.h"
#include "popularity.h"

/* What the measures know beside the lists. Pointers are borrowed; NULL where a file was not given. */
struct list_background {
	const struct interactions *known;
	const struct catalogue *catalogue;
	struct popularity_levels levels;   /* of known->popularity */
	double active_users;               /* users with known interactions, at least 1 */
};

/* The first items of one user's list in the order they are shown in, and what the user knows. */
struct shown_list {
	const uint32_t *items;
	uint32_t count;
	const struct mix *genres;          /* of the user's known items; NULL without known and catalogue */
};

enum list_needs { LIST_NEEDS_NOTHING = 0, LIST_NEEDS_KNOWN = 1, LIST_NEEDS_CATALOGUE = 2 };

struct list_measure {
	const char *name;
	unsigned needs;                    /* enum list_needs, or'ed */
	/* Of the first `count` items, at most list->count. */
	double (*value)(const struct list_background *background, const struct shown_list *list, uint32_t count);
	const char *formula;               /* with its source */
};

struct exposure_measure {
	const char *name;
	/* `shown` says how often each of `items` > 0 items is among somebody's first k, ascending. */
	double (*value)(const uint32_t *shown, uint32_t items);
	const char *formula;
};

extern const struct list_measure list_measures[];
extern const size_t list_measure_count;
extern const struct exposure_measure exposure_measures[];
extern const size_t exposure_measure_count;

/* Case ignored; NULL when there is none. */
const struct list_measure *list_measure_find(const char *name);
const struct exposure_measure *exposure_measure_find(const char *name);

/* Counts what the measures want to know of `known` (NULL: nothing). */
MUST_CHECK int list_background_make(struct list_background *background, const struct interactions *known,
                                    const struct catalogue *catalogue, struct error *error);

/* The genres of a user's known items. */
void user_genres(const struct interactions *known, const struct catalogue *catalogue, uint32_t user, struct mix *mix);

#endif
