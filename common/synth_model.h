/* What synth.c makes and its two writers read: movies with clusters of taste, tables to draw them from, and
 * how many ratings each user gives. Private to the synth files. */
#ifndef RECPIPE_SYNTH_MODEL_H
#define RECPIPE_SYNTH_MODEL_H

#include "synth.h"

enum {
	SYNTH_CLUSTERS_MAX = 24,
	SYNTH_NO_CLUSTER = 255,
	SYNTH_GENRES = 18,
	SYNTH_GENRES_EACH = 3,
	SYNTH_SHARE_ONE = 1 << 16,  /* shares and thresholds are in 65536ths */
};

/* Which values each part draws: the low bits of rng_stream(RNG_SYNTH, …). */
enum synth_draw { DRAW_RANKS, DRAW_MOVIES, DRAW_ACTIVITY, DRAW_USERS };

struct synth_movie {
	uint32_t id;                           /* as in the files: ascending, with gaps */
	float quality;                         /* added to every rating, in stars */
	uint16_t year;
	uint8_t cluster, second_cluster;       /* SYNTH_NO_CLUSTER: none */
	uint8_t genres[SYNTH_GENRES_EACH], genre_count;
};

/* Walker's alias method (1977), built as by Vose (1991): one entry is drawn uniformly, then its movie or
 * the other by the threshold. */
struct alias_entry {
	uint32_t movie, other;                 /* positions in `movies` */
	uint32_t threshold;                    /* below it: movie */
};

struct alias_table {
	struct alias_entry *entries;
	uint32_t count;
};

struct synth {
	struct synth_settings settings;
	uint32_t clusters;
	struct synth_movie *movies;
	struct alias_table tables[SYNTH_CLUSTERS_MAX + 1]; /* of each cluster; behind them, of all movies */
	uint32_t *activity;                    /* ratings of each user */
	uint32_t most_active;                  /* the largest of them */
};

#endif
