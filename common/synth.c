/* The model behind synthetic ratings. Movies get a rank in a Zipf-Mandelbrot law of popularity, one or two
 * of a few clusters, and genres that go with their clusters; users (synth_ratings.c) mix a few clusters, so
 * that whoever learns the clusters beats popularity. Activity is 20 ratings and a log-normal share of the
 * rest, cut where a user would have seen too much, and sums to the ratings asked for.
 *
 * Nothing here uses libm: the files must not depend on the machine. */
#include "synth_model.h"

#include "maths.h"
#include "mem.h"
#include "rng.h"

static void draw_start(struct rng *rng, const struct synth *synth, enum synth_draw draw, uint64_t index)
{
	rng_init(rng, synth->settings.seed, rng_stream(RNG_SYNTH, (uint32_t)draw), index);
}

static bool chance(struct rng *rng, uint32_t percent)
{
	return rng_scale(rng_next(rng), 100) < percent;
}

/* ---- movies ---- */

/* Every cluster has a genre of its own first; those beyond the genres share one with another. */
static uint8_t genre_of(uint32_t cluster)
{
	return (uint8_t)(cluster % SYNTH_GENRES);
}

static void add_genre(struct synth_movie *movie, uint8_t genre)
{
	for (unsigned i = 0; i < movie->genre_count; i++)
		if (movie->genres[i] == genre)
			return;
	if (movie->genre_count == SYNTH_GENRES_EACH)
		return;
	unsigned at = movie->genre_count++;
	for (; at > 0 && movie->genres[at - 1] > genre; at--)
		movie->genres[at] = movie->genres[at - 1];
	movie->genres[at] = genre;
}

static void make_movie(const struct synth *synth, uint32_t number, struct synth_movie *movie)
{
	enum { ID_GAP = 5, NEWEST = 2018 };
	struct rng rng;
	draw_start(&rng, synth, DRAW_MOVIES, number);
	uint32_t cluster = rng_scale(rng_next(&rng), synth->clusters);
	*movie = (struct synth_movie){
		.id = number * ID_GAP + 1 + rng_scale(rng_next(&rng), ID_GAP),
		.cluster = (uint8_t)cluster,
		.second_cluster = SYNTH_NO_CLUSTER,
		.quality = (float)(0.35 * rng_normal(&rng)),
	};
	if (synth->clusters > 1 && chance(&rng, 40))
		movie->second_cluster =
			(uint8_t)((cluster + 1 + rng_scale(rng_next(&rng), synth->clusters - 1)) % synth->clusters);
	/* Old films are fewer than new ones: the age is the smaller of two draws. */
	uint32_t age = rng_scale(rng_next(&rng), 90), other = rng_scale(rng_next(&rng), 90);
	movie->year = (uint16_t)(NEWEST - (age < other ? age : other));
	add_genre(movie, chance(&rng, 90) ? genre_of(cluster) : (uint8_t)rng_scale(rng_next(&rng), SYNTH_GENRES));
	if (movie->second_cluster != SYNTH_NO_CLUSTER)
		add_genre(movie, genre_of(movie->second_cluster));
	if (chance(&rng, 30))
		add_genre(movie, (uint8_t)rng_scale(rng_next(&rng), SYNTH_GENRES));
}

/* Popularity before taste: 1 / (rank + q)^s, ranks in random order of the movies. */
static int weigh_movies(const struct synth *synth, double *weights, struct error *error)
{
	uint32_t items = synth->settings.items;
	uint32_t *ranks = mem_alloc(items, sizeof *ranks, error);
	if (!ranks)
		return -1;
	rng_permutation(synth->settings.seed, rng_stream(RNG_SYNTH, DRAW_RANKS), 0, ranks, items);
	double flat = 1.5 + items / 300.0;
	for (uint32_t i = 0; i < items; i++)
		weights[i] = 1.0 / maths_pow(ranks[i] + flat, 1.4);
	mem_free(ranks);
	return 0;
}

/* ---- alias tables ---- */

struct alias_scratch {
	double *weights;   /* of the members, scaled to a mean of 1 */
	uint32_t *members; /* movies */
	uint32_t *stack;   /* entries below 1 from the front, the others from the back */
};

static void fill_alias(struct alias_table *table, struct alias_scratch *scratch)
{
	uint32_t count = table->count, below = 0, above = 0;
	double sum = 0;
	for (uint32_t i = 0; i < count; i++)
		sum += scratch->weights[i];
	for (uint32_t i = 0; i < count; i++) {
		scratch->weights[i] *= count / sum;
		scratch->stack[scratch->weights[i] < 1 ? below++ : count - ++above] = i;
		uint32_t movie = scratch->members[i];
		table->entries[i] = (struct alias_entry){ movie, movie, SYNTH_SHARE_ONE };
	}
	while (below > 0 && above > 0) {
		uint32_t small = scratch->stack[--below], large = scratch->stack[count - above];
		table->entries[small].threshold = (uint32_t)(scratch->weights[small] * SYNTH_SHARE_ONE + 0.5);
		table->entries[small].other = scratch->members[large];
		scratch->weights[large] -= 1 - scratch->weights[small];
		if (scratch->weights[large] < 1) {
			above--;
			scratch->stack[below++] = large;
		}
	}
}

/* The share of its popularity that a movie has in `cluster`; cluster == synth->clusters: all of it. */
static double belongs(const struct synth *synth, const struct synth_movie *movie, uint32_t cluster)
{
	if (cluster == synth->clusters || movie->cluster == cluster)
		return 1;
	return movie->second_cluster == cluster ? 0.5 : 0;
}

static int make_tables(struct synth *synth, const double *weights, struct alias_scratch *scratch,
                       struct error *error)
{
	for (uint32_t cluster = 0; cluster <= synth->clusters; cluster++) {
		struct alias_table *table = &synth->tables[cluster];
		for (uint32_t i = 0; i < synth->settings.items; i++) {
			double share = belongs(synth, &synth->movies[i], cluster);
			if (share == 0)
				continue;
			scratch->weights[table->count] = weights[i] * share;
			scratch->members[table->count++] = i;
		}
		table->entries = mem_alloc(table->count, sizeof *table->entries, error);
		if (!table->entries)
			return -1;
		fill_alias(table, scratch);
	}
	return 0;
}

static int make_movies(struct synth *synth, struct error *error)
{
	int result = -1;
	size_t items = synth->settings.items;
	double *weights = mem_alloc(items, sizeof *weights, error);
	struct alias_scratch scratch = {
		.weights = mem_alloc(items, sizeof *scratch.weights, error),
		.members = mem_alloc(items, sizeof *scratch.members, error),
		.stack = mem_alloc(items, sizeof *scratch.stack, error),
	};
	synth->movies = mem_alloc(items, sizeof *synth->movies, error);
	if (!weights || !scratch.weights || !scratch.members || !scratch.stack || !synth->movies)
		goto out;
	for (uint32_t i = 0; i < items; i++)
		make_movie(synth, i, &synth->movies[i]);
	if (weigh_movies(synth, weights, error) || make_tables(synth, weights, &scratch, error))
		goto out;
	result = 0;
out:
	mem_free(weights);
	mem_free(scratch.weights);
	mem_free(scratch.members);
	mem_free(scratch.stack);
	return result;
}

/* ---- activity ---- */

/* Ratings of a user with `appetite` when the unit of appetite is worth `scale`. */
static uint32_t ratings_at(double appetite, double scale, uint32_t least, uint32_t most)
{
	double extra = appetite * scale;
	return extra >= most - least ? most : least + (uint32_t)extra;
}

static uint64_t total_at(const double *appetites, uint32_t users, double scale, uint32_t least, uint32_t most)
{
	uint64_t total = 0;
	for (uint32_t u = 0; u < users; u++)
		total += ratings_at(appetites[u], scale, least, most);
	return total;
}

/* Finds the scale by bisection, then deals out what rounding left. */
static void share_out(struct synth *synth, const double *appetites)
{
	enum { LEAST = 20 };
	const struct synth_settings *settings = &synth->settings;
	uint64_t mean = settings->users > 0 ? settings->ratings / settings->users : 0;
	/* Nobody rates more than a third of the movies unless the ratings asked for need it. */
	uint32_t most = mean < settings->items / 6 ? settings->items / 3 : settings->items;
	uint32_t least = mean < LEAST ? (uint32_t)mean : LEAST;
	double low = 0, high = 1;
	while (high < 1e12 && total_at(appetites, settings->users, high, least, most) <= settings->ratings)
		high *= 2;
	for (int step = 0; step < 48; step++) {
		double middle = (low + high) / 2;
		if (total_at(appetites, settings->users, middle, least, most) <= settings->ratings)
			low = middle;
		else
			high = middle;
	}
	uint64_t left = settings->ratings;
	for (uint32_t u = 0; u < settings->users; u++) {
		synth->activity[u] = ratings_at(appetites[u], low, least, most);
		left -= synth->activity[u];
	}
	while (left > 0)
		for (uint32_t u = 0; u < settings->users && left > 0; u++)
			if (synth->activity[u] < most) {
				synth->activity[u]++;
				left--;
			}
	for (uint32_t u = 0; u < settings->users; u++)
		if (synth->activity[u] > synth->most_active)
			synth->most_active = synth->activity[u];
}

static int make_activity(struct synth *synth, struct error *error)
{
	uint32_t users = synth->settings.users;
	double *appetites = mem_alloc(users, sizeof *appetites, error);
	synth->activity = mem_alloc(users, sizeof *synth->activity, error);
	if (!appetites || !synth->activity) {
		mem_free(appetites);
		return -1;
	}
	for (uint32_t u = 0; u < users; u++) {
		struct rng rng;
		draw_start(&rng, synth, DRAW_ACTIVITY, u);
		appetites[u] = maths_exp(1.2 * rng_normal(&rng));
	}
	share_out(synth, appetites);
	mem_free(appetites);
	return 0;
}

/* A cluster must be large enough that an active user does not run through it. */
static uint32_t clusters_for(uint32_t items)
{
	enum { FEW = 4, ITEMS_OF_FEW = 10, ITEMS_OF_MORE = 150 };
	uint32_t clusters = items / ITEMS_OF_FEW;
	if (clusters > FEW)
		clusters = FEW + items / ITEMS_OF_MORE;
	return clusters < 1 ? 1 : clusters > SYNTH_CLUSTERS_MAX ? SYNTH_CLUSTERS_MAX : clusters;
}

struct synth *synth_new(const struct synth_settings *settings, struct error *error)
{
	enum { ITEMS_MAX = 800000000 };
	if (!settings->users || !settings->items || settings->items > ITEMS_MAX ||
	    settings->ratings < settings->users ||
	    settings->ratings > (uint64_t)settings->users * settings->items) {
		error_set(error, CODE_USAGE, "%llu ratings of %u users and %u items: expected at least one a user and at "
		          "most one a user and item", (unsigned long long)settings->ratings, settings->users,
		          settings->items);
		return NULL;
	}
	struct synth *synth = mem_alloc_zero(1, sizeof *synth, error);
	if (!synth)
		return NULL;
	synth->settings = *settings;
	synth->clusters = clusters_for(settings->items);
	if (make_movies(synth, error) || make_activity(synth, error)) {
		synth_free(synth);
		return NULL;
	}
	return synth;
}

void synth_free(struct synth *synth)
{
	if (!synth)
		return;
	for (uint32_t i = 0; i <= SYNTH_CLUSTERS_MAX; i++)
		mem_free(synth->tables[i].entries);
	mem_free(synth->movies);
	mem_free(synth->activity);
	mem_free(synth);
}
