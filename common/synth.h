/* Deterministic ratings and titles shaped like MovieLens: a long tail of popularity, clusters of taste that a
 * recommender can learn, log-normal activity, sessions in time. Any size; memory grows with users and items,
 * never with ratings. The same settings give the same bytes on any number of threads. */
#ifndef RECPIPE_SYNTH_H
#define RECPIPE_SYNTH_H

#include "compat.h"
#include "error.h"
#include "io.h"
#include "parallel.h"

struct synth_settings {
	uint32_t users, items;
	uint64_t ratings;        /* rows, exactly: within [users, users * items] */
	uint64_t seed;
};

struct synth; /* the model behind the rows: synth_model.h */

/* NULL with CODE_USAGE when the settings contradict one another. Free with synth_free. */
MUST_CHECK struct synth *synth_new(const struct synth_settings *settings, struct error *error);
void synth_free(struct synth *synth); /* NULL is fine */

/* userId,movieId,rating,timestamp with a header: users ascending, each user's rows in order of time, no
 * user and movie twice, ratings 0.5 to 5.0 in halves. A line of progress on a terminal unless `quiet`. */
MUST_CHECK int synth_write_ratings(const struct synth *synth, struct pool *pool, struct output *output, bool quiet,
                                   struct error *error);

/* movieId,title,genres with a header: every movie, also those nobody rated; titles are all different. */
MUST_CHECK int synth_write_movies(const struct synth *synth, struct output *output, struct error *error);

#endif
