/* Rows of synthetic ratings, a user at a time. Everything about a user depends on (seed, user) alone; users
 * are cut into shards of some ten thousand rows that threads write as text, and the shards leave in order.
 *
 * A user mixes up to three clusters and, for a small share, everything popular; movies are drawn with
 * rejection of those drawn before, then shuffled, so that the last in time is like the others. Ratings rise
 * with the movie's quality and with how well it fits the user's clusters. */
#include "mem.h"
#include "progress.h"
#include "rng.h"
#include "synth_model.h"

enum {
	SHARD_RATINGS = 1 << 15,
	SHARDS_AT_ONCE = 16,
	LINE_MAX_BYTES = 40,     /* 10 + 10 + 3 + 10 digits, separators and newline */
	TASTES_MAX = 3,
	SHARE_ANY = SYNTH_SHARE_ONE / 8, /* of a user's movies that are drawn from all */
};

struct user_taste {
	uint32_t clusters[TASTES_MAX];
	uint32_t until[TASTES_MAX];   /* cumulative shares; beyond the last: any movie */
	double fit[TASTES_MAX];       /* 0 to 1, for ratings */
	uint32_t count;
	double generosity;            /* added to every rating, in stars */
};

/* Scratch space of one thread. */
struct worker {
	uint32_t *stamps;   /* items: user + 1 who drew it last */
	uint32_t *chosen;   /* most_active */
	uint32_t *unseen;   /* items */
};

struct shard {
	uint32_t begin, end; /* users */
	char *text;
	size_t size;
};

struct job {
	const struct synth *synth;
	struct worker *workers;
	size_t worker_count;
	struct shard shards[SHARDS_AT_ONCE];
};

/* ---- one user ---- */

static void draw_taste(struct rng *rng, const struct synth *synth, struct user_taste *taste)
{
	static const uint32_t shares[TASTES_MAX][TASTES_MAX] = { { 100 }, { 65, 35 }, { 55, 28, 17 } };
	uint32_t most = synth->clusters < TASTES_MAX ? synth->clusters : TASTES_MAX;
	taste->count = 1 + rng_scale(rng_next(rng), most);
	taste->generosity = 0.35 * rng_normal(rng);
	uint32_t until = 0;
	for (uint32_t i = 0; i < taste->count; i++) {
		bool taken;
		do {
			taken = false;
			taste->clusters[i] = rng_scale(rng_next(rng), synth->clusters);
			for (uint32_t j = 0; j < i; j++)
				taken = taken || taste->clusters[j] == taste->clusters[i];
		} while (taken);
		uint32_t share = shares[taste->count - 1][i];
		until += share * (SYNTH_SHARE_ONE - SHARE_ANY) / 100;
		taste->until[i] = until;
		taste->fit[i] = (double)share / shares[taste->count - 1][0];
	}
}

static uint32_t draw_movie(struct rng *rng, const struct synth *synth, const struct user_taste *taste)
{
	uint32_t word = rng_next(rng), share = word & (SYNTH_SHARE_ONE - 1), from = synth->clusters;
	for (uint32_t i = 0; i < taste->count; i++)
		if (share < taste->until[i]) {
			from = taste->clusters[i];
			break;
		}
	const struct alias_table *table = &synth->tables[from];
	if (!table->count)
		table = &synth->tables[synth->clusters];
	const struct alias_entry *entry = &table->entries[rng_scale(rng_next(rng), table->count)];
	return word >> 16 < entry->threshold ? entry->movie : entry->other;
}

/* Fills up with movies not drawn so far, uniformly: the favourites of very active users run out. */
static void choose_from_unseen(struct rng *rng, const struct synth *synth, struct worker *worker, uint32_t stamp,
                               uint32_t count, uint32_t needed)
{
	uint32_t unseen = 0;
	for (uint32_t i = 0; i < synth->settings.items; i++)
		if (worker->stamps[i] != stamp)
			worker->unseen[unseen++] = i;
	while (count < needed) {
		uint32_t at = rng_scale(rng_next(rng), unseen);
		worker->chosen[count++] = worker->unseen[at];
		worker->unseen[at] = worker->unseen[--unseen];
	}
}

static void choose_movies(struct rng *rng, const struct synth *synth, const struct user_taste *taste,
                          struct worker *worker, uint32_t user)
{
	uint32_t needed = synth->activity[user], count = 0, stamp = user + 1;
	uint64_t attempts = 6 * (uint64_t)needed + 64;
	while (count < needed && attempts-- > 0) {
		uint32_t movie = draw_movie(rng, synth, taste);
		if (worker->stamps[movie] == stamp)
			continue;
		worker->stamps[movie] = stamp;
		worker->chosen[count++] = movie;
	}
	if (count < needed)
		choose_from_unseen(rng, synth, worker, stamp, count, needed);
	for (uint32_t i = needed; i > 1; i--) {
		uint32_t j = rng_scale(rng_next(rng), i), swap = worker->chosen[i - 1];
		worker->chosen[i - 1] = worker->chosen[j];
		worker->chosen[j] = swap;
	}
}

/* In half stars, 1 to 10. */
static uint32_t draw_rating(struct rng *rng, const struct synth_movie *movie, const struct user_taste *taste)
{
	double fit = 0;
	for (uint32_t i = 0; i < taste->count; i++)
		if (movie->cluster == taste->clusters[i])
			fit += taste->fit[i];
		else if (movie->second_cluster == taste->clusters[i])
			fit += taste->fit[i] / 2;
	/* The sum of four bytes is near enough to a bell: mean 510, standard deviation 148. */
	uint32_t word = rng_next(rng);
	double bell = (word & 255) + (word >> 8 & 255) + (word >> 16 & 255) + (word >> 24);
	double stars = 3.2 + 0.9 * fit + (double)movie->quality + taste->generosity + (bell - 510) * (0.7 / 148);
	double halves = stars * 2 + 0.5;
	return halves < 1 ? 1 : halves >= 10 ? 10 : (uint32_t)halves;
}

struct clock {
	uint32_t now;        /* seconds since 1970 */
	uint32_t session;    /* ratings left in this session */
};

static void clock_start(struct clock *clock, struct rng *rng)
{
	enum { FIRST = 820454400, YEARS = 20, YEAR = 31556952 }; /* from 1996 on */
	clock->now = FIRST + rng_scale(rng_next(rng), YEARS * YEAR);
	clock->session = 20 + rng_scale(rng_next(rng), 60);
}

/* Pages of ratings are sent at once, so every third shares its second with the one before. */
static void clock_step(struct clock *clock, struct rng *rng)
{
	enum { DAY = 86400 };
	uint32_t word = rng_next(rng);
	if (clock->session == 0) {
		clock->session = 5 + (word & 31);
		clock->now += DAY / 4 + rng_scale(rng_next(rng), (uint32_t)DAY << (word >> 5 & 3) << (word >> 7 & 3));
	} else if (word % 3) {
		clock->now += 1 + (word >> 16) % 30;
	}
	clock->session--;
}

/* ---- text ---- */

static char *put_decimal(char *to, uint32_t value)
{
	char digits[10];
	unsigned count = 0;
	do {
		digits[count++] = (char)('0' + value % 10);
		value /= 10;
	} while (value);
	while (count)
		*to++ = digits[--count];
	return to;
}

static char *write_user(char *to, const struct synth *synth, struct worker *worker, uint32_t user)
{
	struct rng rng;
	struct user_taste taste;
	struct clock clock;
	rng_init(&rng, synth->settings.seed, rng_stream(RNG_SYNTH, DRAW_USERS), user);
	draw_taste(&rng, synth, &taste);
	choose_movies(&rng, synth, &taste, worker, user);
	clock_start(&clock, &rng);
	char prefix[11];
	size_t prefix_length = (size_t)(put_decimal(prefix, user + 1) - prefix);
	prefix[prefix_length++] = ',';
	for (uint32_t i = 0; i < synth->activity[user]; i++) {
		const struct synth_movie *movie = &synth->movies[worker->chosen[i]];
		uint32_t halves = draw_rating(&rng, movie, &taste);
		memcpy(to, prefix, prefix_length);
		to = put_decimal(to + prefix_length, movie->id);
		*to++ = ',';
		*to++ = (char)('0' + halves / 2);
		*to++ = '.';
		*to++ = halves % 2 ? '5' : '0';
		*to++ = ',';
		to = put_decimal(to, clock.now);
		*to++ = '\n';
		clock_step(&clock, &rng);
	}
	return to;
}

static void write_shard(void *context, size_t number, size_t worker)
{
	struct job *job = context;
	struct shard *shard = &job->shards[number];
	char *to = shard->text;
	for (uint32_t user = shard->begin; user < shard->end; user++)
		to = write_user(to, job->synth, &job->workers[worker], user);
	shard->size = (size_t)(to - shard->text);
}

/* ---- all users ---- */

static void job_release(struct job *job)
{
	for (size_t i = 0; i < job->worker_count; i++) {
		mem_free(job->workers[i].stamps);
		mem_free(job->workers[i].chosen);
		mem_free(job->workers[i].unseen);
	}
	mem_free(job->workers);
	for (size_t i = 0; i < SHARDS_AT_ONCE; i++)
		mem_free(job->shards[i].text);
}

static int job_start(struct job *job, const struct synth *synth, size_t threads, struct error *error)
{
	/* A shard ends with the user that fills it. */
	uint64_t shard_most = (uint64_t)SHARD_RATINGS + synth->most_active;
	if (shard_most > synth->settings.ratings)
		shard_most = synth->settings.ratings;
	*job = (struct job){ .synth = synth };
	job->workers = mem_alloc_zero(threads, sizeof *job->workers, error);
	if (!job->workers)
		return -1;
	job->worker_count = threads;
	for (size_t i = 0; i < threads; i++) {
		struct worker *worker = &job->workers[i];
		worker->stamps = mem_alloc_zero(synth->settings.items, sizeof *worker->stamps, error);
		worker->chosen = mem_alloc(synth->most_active, sizeof *worker->chosen, error);
		worker->unseen = mem_alloc(synth->settings.items, sizeof *worker->unseen, error);
		if (!worker->stamps || !worker->chosen || !worker->unseen)
			return -1;
	}
	for (size_t i = 0; i < SHARDS_AT_ONCE; i++) {
		job->shards[i].text = mem_alloc(shard_most, LINE_MAX_BYTES, error);
		if (!job->shards[i].text)
			return -1;
	}
	return 0;
}

/* Cuts the next shards from `*user` on; returns how many. */
static size_t cut_shards(struct job *job, uint32_t *user)
{
	size_t count = 0;
	while (count < SHARDS_AT_ONCE && *user < job->synth->settings.users) {
		struct shard *shard = &job->shards[count++];
		shard->begin = *user;
		for (uint64_t ratings = 0; ratings < SHARD_RATINGS && *user < job->synth->settings.users;)
			ratings += job->synth->activity[(*user)++];
		shard->end = *user;
	}
	return count;
}

int synth_write_ratings(const struct synth *synth, struct pool *pool, struct output *output, bool quiet,
                        struct error *error)
{
	int result = -1;
	uint32_t user = 0;
	size_t shards;
	struct job job;
	struct progress progress;
	progress_start(&progress, "users", synth->settings.users, quiet);
	if (job_start(&job, synth, pool_threads(pool), error) ||
	    output_print(output, error, "userId,movieId,rating,timestamp\n"))
		goto out;
	while ((shards = cut_shards(&job, &user)) > 0) {
		pool_run(pool, shards, write_shard, &job);
		for (size_t i = 0; i < shards; i++)
			if (output_write(output, job.shards[i].text, job.shards[i].size, error))
				goto out;
		progress_update(&progress, user);
	}
	result = 0;
out:
	progress_finish(&progress);
	job_release(&job);
	return result;
}
