/* Titles of synthetic movies. A title is a place in the product of words and patterns, reached by a
 * bijection of the movie's number, so that no two are the same; beyond the product they are numbered as
 * sequels. Patterns cover what readers of movies.csv stumble over: commas, quotes, accents, parentheses. */
#include "csv.h"
#include "synth_model.h"

static const char *const genre_names[] = {
	"Action", "Adventure", "Animation", "Children", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
	"Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
};
static_assert(COUNT_OF(genre_names) == SYNTH_GENRES, "a name for every genre");

static const char *const adjectives[] = {
	"Silent", "Crimson", "Hidden", "Broken", "Golden", "Last", "Frozen", "Distant", "Secret", "Burning", "Lost",
	"Wild", "Midnight", "Hollow", "Electric", "Gentle", "Savage", "Velvet", "Iron", "Paper", "Painted", "Sleeping",
	"Restless", "Forgotten", "Northern", "Bitter", "Quiet", "Second", "Stolen", "Perfect", "Invisible", "Endless",
};

static const char *const nouns[] = {
	"Harbor", "Garden", "Letter", "Empire", "River", "Stranger", "Window", "Orchard", "Detective", "Island",
	"Carnival", "Machine", "Winter", "Witness", "Kingdom", "Soldier", "Mirror", "Highway", "Promise", "Island Café",
	"Lighthouse", "Wolf", "Orchestra", "Señorita", "Comet", "Bride", "Canyon", "Thief", "Circus", "Shadow",
	"Station", "Fiancé", "Desert", "Piano", "Colony", "Frontier", "Waltz", "Engineer", "Parade", "Labyrinth",
	"Astronaut", "Baker", "Courier", "Dynasty", "Elephant", "Falcon", "Gambler", "Horizon", "Inventor", "Jungle",
	"Keeper", "Lantern", "Magician", "Neighbor", "Outlaw", "Pilgrim", "Quarry", "Rival", "Sailor", "Teacher",
	"Umbrella", "Valley", "Watchmaker", "Voyage",
};

/* 1 stands for the adjective, 2 for the noun. */
static const char *const patterns[] = {
	"1 2", "1 2, The", "1 2, A", "My 1 2", "\"1\" 2", "1, 2 and I", "Return of the 1 2", "2: The 1 Story",
};

enum {
	ADJECTIVES = COUNT_OF(adjectives),
	NOUNS = COUNT_OF(nouns),
	TITLES = ADJECTIVES * NOUNS * COUNT_OF(patterns),
	SCRAMBLE = 10427, /* odd: multiplying by it permutes the titles */
	TITLE_MAX = 128,
};
static_assert((TITLES & (TITLES - 1)) == 0, "the permutation needs a power of two");

/* Appends `from`; longer than any title can be is cut, which no pattern reaches. */
static size_t append(char *title, size_t used, const char *from)
{
	while (*from && used + 1 < TITLE_MAX)
		title[used++] = *from++;
	title[used] = 0;
	return used;
}

static size_t make_title(const struct synth_movie *movie, uint32_t number, char *title)
{
	uint32_t at = (number * (uint32_t)SCRAMBLE + 97) % TITLES, sequel = number / TITLES + 1;
	char tail[32];
	size_t used = 0;
	for (const char *from = patterns[at / ADJECTIVES / NOUNS]; *from; from++) {
		char same[2] = { *from, 0 };
		used = append(title, used, *from == '1' ? adjectives[at % ADJECTIVES]
		                         : *from == '2' ? nouns[at / ADJECTIVES % NOUNS] : same);
	}
	if (sequel > 1) {
		(void)snprintf(tail, sizeof tail, " %u", sequel);
		used = append(title, used, tail);
	}
	(void)snprintf(tail, sizeof tail, " (%u)", (unsigned)movie->year);
	return append(title, used, tail);
}

static int write_movie(struct output *output, const struct synth_movie *movie, uint32_t number, struct error *error)
{
	char title[TITLE_MAX];
	size_t length = make_title(movie, number, title);
	if (output_print(output, error, "%u,", movie->id) || csv_write_field(output, title, length, ',', error))
		return -1;
	for (unsigned i = 0; i < movie->genre_count; i++)
		if (output_print(output, error, "%c%s", i ? '|' : ',', genre_names[movie->genres[i]]))
			return -1;
	return output_write(output, "\n", 1, error);
}

int synth_write_movies(const struct synth *synth, struct output *output, struct error *error)
{
	if (output_print(output, error, "movieId,title,genres\n"))
		return -1;
	for (uint32_t i = 0; i < synth->settings.items; i++)
		if (write_movie(output, &synth->movies[i], i, error))
			return -1;
	return 0;
}
