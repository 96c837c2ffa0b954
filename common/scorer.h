/* Scores for lists and for whole catalogues: by a model on a backend, by item-to-item weights and the users'
 * histories, or by a baseline that needs neither (popularity, random). One interface for the tool, whatever gives the scores. */
#ifndef RECPIPE_SCORER_H
#define RECPIPE_SCORER_H

#include "backend.h"
#include "compat.h"
#include "error.h"
#include "interactions.h"
#include "model.h"
#include "parallel.h"
#include "records.h"
#include "similarity.h"

enum scorer_kind { SCORE_BY_MODEL, SCORE_BY_POPULARITY, SCORE_BY_RANDOM, SCORE_BY_SIMILARITY };

struct scorer {
	enum scorer_kind kind;
	struct model_file model;        /* SCORE_BY_MODEL */
	struct backend_choice choice;
	struct backend_options options;
	struct backend_state *state;    /* once started, which may change the choice */
	uint64_t seed;                  /* SCORE_BY_RANDOM: scores depend on (seed, user, item) */
	struct similarity similarity;   /* SCORE_BY_SIMILARITY */
	struct stream_info ids;         /* what the weights are of */
	const struct interactions *history; /* borrowed; users without one score 0 everywhere */
	struct pool *pool;
};

/* Reads the model at `path` and chooses a backend for it. */
MUST_CHECK int scorer_open_model(struct scorer *scorer, const char *path, const char *device,
                                 const struct backend_options *options, struct error *error);
/* Reads the weights at `path`. Of backend_options, threads and isa are used. */
MUST_CHECK int scorer_open_similarity(struct scorer *scorer, const char *path, const struct backend_options *options,
                                      struct error *error);
void scorer_open_baseline(struct scorer *scorer, enum scorer_kind kind, uint64_t seed);

/* Whether the scores need the users' histories: weights and models of histories do, ials can use them. */
bool scorer_needs_history(const struct scorer *scorer);
bool scorer_takes_history(const struct scorer *scorer);

/* The id spaces that the scores are of, and whether users beyond them can be scored by their history. */
const struct stream_info *scorer_ids(const struct scorer *scorer);
bool scorer_serves_strangers(const struct scorer *scorer);

/* Before the first score: `history` (borrowed; NULL: none) is what users interacted with. */
MUST_CHECK int scorer_start(struct scorer *scorer, const struct interactions *history, struct error *error);
void scorer_release(struct scorer *scorer);

/* Scores each of `count` lists and puts it in order: descending score, ties by ascending item. */
MUST_CHECK int scorer_lists(struct scorer *scorer, struct list *lists, size_t count, struct error *error);

/* What a ranking of all items is made of. Pointers are borrowed; seen and truth may be NULL. */
struct full_ranking {
	uint32_t items;                      /* size of the catalogue */
	const struct interactions *seen;     /* left out of the lists */
	const struct interactions *truth;    /* marked relevant; loses every tie */
	const uint32_t *popularity;          /* of each item; NULL: zeros */
	size_t top;
};

/* The best `top` items for each of users[0..count): lists[i] for users[i], in order. */
MUST_CHECK int scorer_top(struct scorer *scorer, const struct full_ranking *ranking, const uint32_t *users,
                          struct list *lists, size_t count, struct error *error);

#endif
