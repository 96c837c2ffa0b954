/* Titles and genres of items: movies.csv (movieId,title,genres) or MovieLens 100K's u.item and u.genre. */
#ifndef RECPIPE_CATALOGUE_H
#define RECPIPE_CATALOGUE_H

#include <math.h>

#include "compat.h"
#include "error.h"
#include "idmap.h"

enum { GENRES_MAX = 64 };

struct catalogue {
	uint32_t items;
	char **titles;           /* of each dense id, UTF-8; NULL where the file has none */
	uint16_t *years;         /* of "Toy Story (1995)": the last four digits in brackets; 0 where there are none */
	uint64_t *genres;        /* a bit a genre */
	char *genre_names[GENRES_MAX];
	size_t genre_count;
	uint32_t unknown;        /* lines whose item is not in the id map */
};

/* Reads `path` for the items of `map`. A file with a header that names title and genres is movies.csv; one
 * with `|` between its fields is u.item (ISO-8859-1), whose genres get their names from `genres_path` (u.genre;
 * NULL: "genre 0", …). */
MUST_CHECK int catalogue_read(struct catalogue *catalogue, const char *path, const char *genres_path,
                              const struct idmap *map, struct error *error);
void catalogue_release(struct catalogue *catalogue);

/* Cosine of two sets of genres: from 0 to 1, 0 where one is empty. */
static inline double genres_similarity(uint64_t a, uint64_t b)
{
	if (!a || !b)
		return 0.0;
	return __builtin_popcountll(a & b) / sqrt((double)__builtin_popcountll(a) * __builtin_popcountll(b));
}

/* "Comedy|Romance" for a mask of genres. */
void catalogue_genres_text(const struct catalogue *catalogue, uint64_t genres, char *text, size_t size);

#endif
