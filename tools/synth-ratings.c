/* synth-ratings: deterministic MovieLens-like ratings and titles of any size. */
#include "compat.h"
#include "error.h"
#include "io.h"
#include "options.h"
#include "parallel.h"
#include "synth.h"

struct settings {
	int64_t users, items, ratings, seed, threads;
	const char *output, *movies;
	bool quiet;
};

static const struct settings defaults = {
	.users = 1000, .items = 2000, .ratings = 100000, .seed = 1, .output = "-",
};

static const struct option_spec options[] = {
	{ 'u', "users", OPTION_INT, offsetof(struct settings, users), "N", "Users, numbered from 1; each has a rating "
	  "at least.", 1, 4e9, NULL },
	{ 'i', "items", OPTION_INT, offsetof(struct settings, items), "N", "Movies; their ids are ascending with gaps. "
	  "In a small run some are never rated.", 1, 8e8, NULL },
	{ 'r', "ratings", OPTION_INT, offsetof(struct settings, ratings), "N", "Rows, exactly: at least one a user, at "
	  "most users times items. Users get 20 or more where the rows allow it.", 1, 1e15, NULL },
	{ 's', "seed", OPTION_INT, offsetof(struct settings, seed), "N", "Seed: another one gives other people with "
	  "other tastes.", 0, 9007199254740992.0, NULL },
	{ 'o', "output", OPTION_TEXT, offsetof(struct settings, output), "FILE", "Where the ratings go; - is stdout.",
	  0, 0, NULL },
	{ 'm', "movies", OPTION_TEXT, offsetof(struct settings, movies), "FILE", "Write the movies here as well: "
	  "movieId,title,genres, one to three genres separated by |.", 0, 0, NULL },
	{ 't', "threads", OPTION_INT, offsetof(struct settings, threads), "N", "Threads; 0 is one a processor. The "
	  "output does not depend on it.", 0, 1024, NULL },
	{ 'q', "quiet", OPTION_FLAG, offsetof(struct settings, quiet), NULL, "No progress line on a terminal.", 0, 0,
	  NULL },
};

static const struct tool_spec tool = {
	.name = "synth-ratings",
	.summary = "make MovieLens-like ratings and titles of any size",
	.operands = "",
	.description =
		"Writes userId,movieId,rating,timestamp with a header: users in order, each user's ratings in order of "
		"time, half stars from 0.5 to 5.0, no user and movie twice. The same options and seed give the same "
		"bytes on every machine.\n\n"
		"Popularity has a long tail (Zipf-Mandelbrot), activity is log-normal above 20 ratings, users mix one to "
		"three clusters of taste that go with genres, ratings follow taste and quality, and time comes in "
		"sessions with many equal time stamps. A recommender that learns the clusters clearly beats "
		"popularity.\n\n"
		"Memory grows with users and movies, not with ratings.",
	.examples =
		"synth-ratings --users 600 --items 1200 --ratings 60000 --movies movies.csv -o ratings.csv\n"
		"  ratings and the movies they are about\n"
		"synth-ratings --users 138493 --items 26744 --ratings 20M | csvsplit --split last -\n"
		"  the size of MovieLens 20M, straight into the next tool\n",
	.see_also = "csvsplit(1), encode-ids(1)",
	.options = options,
	.option_count = COUNT_OF(options),
	.defaults = &defaults,
	.size = sizeof(struct settings),
};

static int write_files(const struct settings *settings, const struct synth *synth, struct pool *pool,
                       struct error *error)
{
	int result = -1;
	struct output ratings = { .fd = -1 }, movies = { .fd = -1 };
	if (output_open(&ratings, settings->output, error) ||
	    (settings->movies && output_open(&movies, settings->movies, error)))
		goto out;
	if (settings->movies && (synth_write_movies(synth, &movies, error) || output_prepare(&movies, error)))
		goto out;
	if (synth_write_ratings(synth, pool, &ratings, settings->quiet, error) || output_prepare(&ratings, error))
		goto out;
	if ((settings->movies && output_commit(&movies, error)) || output_commit(&ratings, error))
		goto out;
	result = 0;
out:
	output_release(&ratings);
	output_release(&movies);
	return result;
}

static int run(const struct settings *settings, struct error *error)
{
	const struct synth_settings shape = {
		.users = (uint32_t)settings->users,
		.items = (uint32_t)settings->items,
		.ratings = (uint64_t)settings->ratings,
		.seed = (uint64_t)settings->seed,
	};
	int result = -1;
	struct synth *synth = synth_new(&shape, error);
	struct pool *pool = synth ? pool_new((size_t)settings->threads, error) : NULL;
	if (pool)
		result = write_files(settings, synth, pool, error);
	pool_free(pool);
	synth_free(synth);
	return result;
}

int main(int argc, char **argv)
{
	struct error error = { 0 };
	struct settings settings;
	struct operands operands;
	switch (options_parse(&tool, argc, argv, &settings, &operands, &error)) {
	case OPTIONS_DONE:
		return CODE_OK;
	case OPTIONS_FAILED:
		return error_report(&error);
	case OPTIONS_RUN:
		break;
	}
	if (settings.movies && strcmp(settings.movies, settings.output) == 0)
		error_set(&error, CODE_USAGE, "--movies and --output are both %s, expected two files", settings.movies);
	else if (run(&settings, &error) == 0)
		return CODE_OK;
	return error_report(&error);
}
