/* What speaks for an item of a user's list, apart from what the list itself says: signals, for the second stage to
 * weigh (blend.h). Each is a number for every entry, higher for better, on a scale of its own:
 *
 *   score        the list's own score
 *   NAME         the score of a further list of the same candidates (rerank --with)
 *   NAME         what the user's history says by item-to-item weights (rerank --similarity)
 *   popularity   log(1 + users that know the item), as the list carries it
 *   recency      log(1 + users that met the item in the year before the user's last interaction)
 *   genres       how much more of the item's genres the user knows than everybody does: the mean over its genres of
 *                log((n P(genre | user) + 5 P(genre)) / ((n + 5) P(genre))), P being shares of interactions
 *   years        the same for the year in the title, shares smoothed over years by a Gaussian (deviation 3)
 *
 * Those that go over the user's history exist in several decays: an interaction with k strictly later ones counts
 * (1 + k)^-decay. Decays other than 0, and recency, need interactions with times. */
#ifndef RECPIPE_SIGNALS_H
#define RECPIPE_SIGNALS_H

#include "catalogue.h"
#include "compat.h"
#include "error.h"
#include "histories.h"
#include "records.h"
#include "similarity.h"

enum { SIGNAL_NAME_SIZE = 32, SIGNALS_MAX = 80, SIGNAL_SOURCES_MAX = 16 };

enum signal_kind {
	SIGNAL_SCORE, SIGNAL_WITH, SIGNAL_SIMILARITY, SIGNAL_POPULARITY, SIGNAL_RECENCY, SIGNAL_GENRES, SIGNAL_YEARS,
	SIGNAL_KINDS,
};

struct signal {
	enum signal_kind kind;
	size_t source;                /* with, similarity: which of them */
	double decay;                 /* similarity, genres, years */
	char name[SIGNAL_NAME_SIZE];
};

/* What signals are made of. All pointers but `shares` are borrowed; what is NULL or 0 makes no signals. */
struct signal_sources {
	const struct histories *histories;
	const struct catalogue *catalogue;
	const struct similarity *similarities[SIGNAL_SOURCES_MAX];
	char similarity_names[SIGNAL_SOURCES_MAX][SIGNAL_NAME_SIZE];
	size_t similarity_count;
	char with_names[SIGNAL_SOURCES_MAX][SIGNAL_NAME_SIZE];
	size_t with_count;
	struct signal_shares *shares; /* of everybody; made by signals_prepare */
};

/* Names one more source of `kind` (with or similarity) by the first `length` bytes of `text`: 1 to 31 letters, digits, -
 * and _, none of the fixed names, and none that a source of either kind has. CODE_USAGE. */
MUST_CHECK int signals_add_name(struct signal_sources *sources, enum signal_kind kind, const char *option,
                                const char *text, size_t length, struct error *error);

/* Counts what everybody does, once all sources are there. */
MUST_CHECK int signals_prepare(struct signal_sources *sources, struct error *error);
void signals_release(struct signal_sources *sources);

/* Every signal that the sources give, in a fixed order; returns how many (at most SIGNALS_MAX). */
size_t signals_list(const struct signal_sources *sources, struct signal signals[SIGNALS_MAX]);

/* The signal of that name and decay, or CODE_DATA telling (for `file`) what it would need. */
MUST_CHECK int signals_find(const struct signal_sources *sources, const char *file, const char *name, double decay,
                            struct signal *signal, struct error *error);

/* Scratch of one thread, zeroed before its first use. */
struct signal_room {
	float *scores;                /* [items] */
	uint32_t *stamps, stamp;      /* [items] which of `scores` are of this list */
	float *weights;               /* of a history */
	size_t items, weights_capacity;
};
void signal_room_release(struct signal_room *room);

/* values[s * list->count + i] = signal s of entry i. `with` are the further lists, in the order of with_names: of the
 * same user, with every item of `list` among theirs (CODE_DATA otherwise). */
MUST_CHECK int signals_values(const struct signal_sources *sources, const struct signal *signals, size_t count,
                              const struct list *list, const struct list *with, struct signal_room *room, float *values,
                              struct error *error);

/* How many interactions the user has in the histories; 0 without histories. */
size_t signals_activity(const struct signal_sources *sources, uint32_t user);

#endif
