/* See signals.h: which signals there are, and those of scores and counts; of genres and years: signals_shares.c. */
#include "signals.h"

#include <ctype.h>
#include <math.h>

#include "maths.h"
#include "mem.h"
#include "signals_shares.h"

/* One signal of one list. */
struct asked {
	const struct signal_sources *sources;
	const struct signal *signal;
	const struct list *list, *with;
	const uint32_t *history;      /* the user's, ascending */
	const float *weights;         /* of the history, by its decay; NULL: all 1 */
	size_t length;
	struct signal_room *room;
	float *values;
};

/* ---- values ---- */

static int score_values(const struct asked *asked, struct error *error)
{
	(void)error;
	for (uint32_t i = 0; i < asked->list->count; i++)
		asked->values[i] = asked->list->scores[i];
	return 0;
}

/* The scores of the other list by item. */
static int with_values(const struct asked *asked, struct error *error)
{
	const struct list *list = asked->list, *other = &asked->with[asked->signal->source];
	struct signal_room *room = asked->room;
	if (other->user != list->user)
		return error_set(error, CODE_DATA, "--with %s: a list of user %u stands where user %u is expected: the lists of "
		                 "both files must be of the same users in the same order", asked->signal->name, other->user,
		                 list->user);
	room->stamp++;
	for (uint32_t i = 0; i < other->count; i++) {
		room->scores[other->items[i]] = other->scores[i];
		room->stamps[other->items[i]] = room->stamp;
	}
	for (uint32_t i = 0; i < list->count; i++) {
		if (room->stamps[list->items[i]] != room->stamp)
			return error_set(error, CODE_DATA, "--with %s: the list of user %u lacks item %u, expected the same "
			                 "candidates scored by another model", asked->signal->name, list->user, list->items[i]);
		asked->values[i] = room->scores[list->items[i]];
	}
	return 0;
}

static int similarity_values(const struct asked *asked, struct error *error)
{
	const struct similarity *similarity = asked->sources->similarities[asked->signal->source];
	const struct list *list = asked->list;
	(void)error;
	similarity_scores_weighted(similarity, asked->history, asked->weights, asked->length, asked->room->scores);
	for (uint32_t i = 0; i < list->count; i++)
		asked->values[i] = list->items[i] < similarity->items ? asked->room->scores[list->items[i]] : 0;
	return 0;
}

static int popularity_values(const struct asked *asked, struct error *error)
{
	(void)error;
	for (uint32_t i = 0; i < asked->list->count; i++)
		asked->values[i] = (float)maths_log(1 + (double)asked->list->popularity[i]);
	return 0;
}

static int recency_values(const struct asked *asked, struct error *error)
{
	(void)error;
	shares_recency(asked->sources->shares, asked->sources->histories, asked->list, asked->values);
	return 0;
}

static int genres_values(const struct asked *asked, struct error *error)
{
	(void)error;
	shares_genres(asked->sources->shares, asked->sources->catalogue, asked->history, asked->weights, asked->length,
	              asked->list, asked->values);
	return 0;
}

static int years_values(const struct asked *asked, struct error *error)
{
	(void)error;
	shares_years(asked->sources->shares, asked->sources->catalogue, asked->history, asked->weights, asked->length,
	             asked->list, asked->values);
	return 0;
}

/* ---- which there are ---- */

static const double decays[] = {0, 0.5, 1};

/* score, popularity and recency; with; similarity, genres and years in every decay. */
static_assert(3 + SIGNAL_SOURCES_MAX + (SIGNAL_SOURCES_MAX + 2) * COUNT_OF(decays) <= SIGNALS_MAX, "all signals fit");

static const char named_needs[] = "a --with or --similarity of that name";

static const struct signal_kind_row {
	const char *name;        /* NULL: the source's */
	const char *needs;
	bool of_history;         /* exists in decays */
	int (*values)(const struct asked *asked, struct error *error);
} kinds[SIGNAL_KINDS] = {
	[SIGNAL_SCORE] = {"score", "", false, score_values},
	[SIGNAL_WITH] = {NULL, named_needs, false, with_values},
	[SIGNAL_SIMILARITY] = {NULL, named_needs, true, similarity_values},
	[SIGNAL_POPULARITY] = {"popularity", "", false, popularity_values},
	[SIGNAL_RECENCY] = {"recency", "--known with times", false, recency_values},
	[SIGNAL_GENRES] = {"genres", "--known, --movies and --items", true, genres_values},
	[SIGNAL_YEARS] = {"years", "--known, --movies and --items", true, years_values},
};

static bool is_among(const char *name, const char names[][SIGNAL_NAME_SIZE], size_t count)
{
	for (size_t n = 0; n < count; n++)
		if (strcmp(names[n], name) == 0)
			return true;
	return false;
}

int signals_add_name(struct signal_sources *sources, enum signal_kind kind, const char *option, const char *text,
                     size_t length, struct error *error)
{
	size_t *count = kind == SIGNAL_WITH ? &sources->with_count : &sources->similarity_count;
	char (*names)[SIGNAL_NAME_SIZE] = kind == SIGNAL_WITH ? sources->with_names : sources->similarity_names;
	char name[SIGNAL_NAME_SIZE] = "";
	bool good = length > 0 && length < sizeof name;
	for (size_t i = 0; good && i < length; i++)
		good = isalnum((unsigned char)text[i]) || text[i] == '-' || text[i] == '_';
	if (!good)
		return error_set(error, CODE_USAGE, "--%s: '%.*s' names no signal, expected NAME=FILE with at most %d letters, "
		                 "digits, - and _", option, (int)length, text, SIGNAL_NAME_SIZE - 1);
	memcpy(name, text, length);
	for (size_t k = 0; good && k < SIGNAL_KINDS; k++)
		good = !kinds[k].name || strcmp(kinds[k].name, name) != 0;
	if (!good || is_among(name, sources->with_names, sources->with_count) ||
	    is_among(name, sources->similarity_names, sources->similarity_count))
		return error_set(error, CODE_USAGE, "--%s: the name '%s' is taken", option, name);
	if (*count == SIGNAL_SOURCES_MAX)
		return error_set(error, CODE_USAGE, "--%s: more than %d of them", option, SIGNAL_SOURCES_MAX);
	memcpy(names[(*count)++], name, sizeof name);
	return 0;
}

static bool has_kind(const struct signal_sources *sources, enum signal_kind kind)
{
	const bool known = sources->histories, times = known && sources->histories->later;
	switch (kind) {
	case SIGNAL_RECENCY:
		return times;
	case SIGNAL_GENRES:
	case SIGNAL_YEARS:
		return known && sources->catalogue;
	default:
		return true;
	}
}

static size_t sources_of(const struct signal_sources *sources, enum signal_kind kind)
{
	return kind == SIGNAL_WITH ? sources->with_count : kind == SIGNAL_SIMILARITY ? sources->similarity_count
	                                                                             : (size_t)has_kind(sources, kind);
}

size_t signals_list(const struct signal_sources *sources, struct signal signals[SIGNALS_MAX])
{
	const bool times = sources->histories && sources->histories->later;
	size_t count = 0;
	for (enum signal_kind kind = 0; kind < SIGNAL_KINDS; kind++) {
		const size_t decay_count = kinds[kind].of_history && times ? COUNT_OF(decays) : 1;
		for (size_t source = 0; source < sources_of(sources, kind); source++)
			for (size_t d = 0; d < decay_count; d++) {
				struct signal *signal = &signals[count++];
				const char *name = kinds[kind].name ? kinds[kind].name
				                   : kind == SIGNAL_WITH ? sources->with_names[source]
				                                         : sources->similarity_names[source];
				*signal = (struct signal){.kind = kind, .source = source, .decay = decays[d]};
				(void)snprintf(signal->name, sizeof signal->name, "%s", name);
			}
	}
	return count;
}

int signals_find(const struct signal_sources *sources, const char *file, const char *name, double decay,
                 struct signal *signal, struct error *error)
{
	struct signal all[SIGNALS_MAX];
	const size_t count = signals_list(sources, all);
	const char *needs = named_needs;
	bool named = false;
	for (size_t s = 0; s < count; s++)
		if (strcmp(all[s].name, name) == 0) {
			named = true;
			*signal = all[s];
			signal->decay = decay;
			if (decay == 0 || (kinds[all[s].kind].of_history && sources->histories && sources->histories->later))
				return 0;
		}
	for (size_t k = 0; k < SIGNAL_KINDS; k++)
		if (kinds[k].name && strcmp(kinds[k].name, name) == 0)
			needs = kinds[k].needs;
	return error_set(error, CODE_DATA, "%s: weighs the signal '%s', expected %s", file, name,
	                 named ? "--known with times for its decay" : needs);
}

/* ---- a list ---- */

size_t signals_activity(const struct signal_sources *sources, uint32_t user)
{
	size_t count = 0;
	if (sources->histories && user < sources->histories->interactions.users)
		(void)interactions_of(&sources->histories->interactions, user, &count);
	return count;
}

static size_t items_within(const struct list *list, size_t least)
{
	for (uint32_t i = 0; i < list->count; i++)
		least = list->items[i] >= least ? list->items[i] + (size_t)1 : least;
	return least;
}

static int room_for(struct signal_room *room, const struct asked *asked, struct error *error)
{
	const struct signal_sources *sources = asked->sources;
	size_t items = items_within(asked->list, 1);
	for (size_t w = 0; w < sources->with_count; w++)
		items = items_within(&asked->with[w], items);
	for (size_t s = 0; s < sources->similarity_count; s++)
		items = sources->similarities[s]->items > items ? sources->similarities[s]->items : items;
	if (room->items < items) {
		signal_room_release(room);
		room->scores = mem_alloc(items, sizeof *room->scores, error);
		room->stamps = mem_alloc_zero(items, sizeof *room->stamps, error);
		if (!room->scores || !room->stamps)
			return -1;
		room->items = items;
	}
	return mem_grow((void **)&room->weights, &room->weights_capacity, asked->length + 1, sizeof *room->weights, error);
}

void signal_room_release(struct signal_room *room)
{
	mem_free(room->scores);
	mem_free(room->stamps);
	mem_free(room->weights);
	*room = (struct signal_room){0};
}

/* weights[k] = (1 + later)^-decay of the user's k-th pair; NULL for decay 0. */
static const float *decay_history(const struct histories *histories, uint64_t begin, size_t count, double decay,
                                  float *weights)
{
	if (decay == 0 || !histories || !histories->later)
		return NULL;
	for (size_t k = 0; k < count; k++)
		weights[k] = (float)maths_pow(1 + (double)histories->later[begin + k], -decay);
	return weights;
}

static int check_values(const struct asked *asked, struct error *error)
{
	for (uint32_t i = 0; i < asked->list->count; i++)
		if (!isfinite(asked->values[i]))
			return error_set(error, CODE_DATA, "the signal '%s' of user %u and item %u is not finite",
			                 asked->signal->name, asked->list->user, asked->list->items[i]);
	return 0;
}

int signals_values(const struct signal_sources *sources, const struct signal *signals, size_t count,
                   const struct list *list, const struct list *with, struct signal_room *room, float *values,
                   struct error *error)
{
	const struct histories *histories = sources->histories;
	struct asked asked = {.sources = sources, .list = list, .with = with, .room = room, .values = values};
	uint64_t begin = 0;
	if (histories && list->user < histories->interactions.users) {
		asked.history = interactions_of(&histories->interactions, list->user, &asked.length);
		begin = histories->interactions.offsets[list->user];
	}
	if (room_for(room, &asked, error) < 0)
		return -1;
	for (size_t s = 0; s < count; s++, asked.values += list->count) {
		asked.signal = &signals[s];
		asked.weights = decay_history(histories, begin, asked.length, signals[s].decay, room->weights);
		if (kinds[signals[s].kind].values(&asked, error) < 0 || check_values(&asked, error) < 0)
			return -1;
	}
	return 0;
}

/* ---- sources ---- */

int signals_prepare(struct signal_sources *sources, struct error *error)
{
	if (!sources->histories)
		return 0;
	sources->shares = shares_new(sources->histories, sources->catalogue, error);
	return sources->shares ? 0 : -1;
}

void signals_release(struct signal_sources *sources)
{
	shares_free(sources->shares);
	sources->shares = NULL;
}
