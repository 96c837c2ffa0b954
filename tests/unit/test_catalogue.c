/* Years of titles. (What titles and genres are used for is tested where they are used.) */
#include "catalogue.h"

#include "check.h"
#include "folder.h"

static void test_years_of_titles(void)
{
	static const struct {
		const char *title;
		unsigned year;
	} rows[] = {
		{"Toy Story (1995)", 1995},
		{"2001: A Space Odyssey (1968)", 1968},
		{"City of Lost Children, The (Cité des enfants perdus, La) (1995)", 1995},
		{"Stranger Things (1999) ", 1999},
		{"Babylon 5", 0},
		{"Death Note (2006-2007)", 0},
		{"Year (199)", 0},
		{"Year (19x5)", 0},
		{"Year (1995", 0},
		{"Open (", 0},
		{"Late (1995) (director's cut)", 0},
		{"9 (9999)", 9999},
	};
	struct error error = {0};
	struct idmap map;
	struct catalogue catalogue;
	uint32_t id;
	char text[32];
	FILE *file = fopen("movies.csv", "w");
	CHECK(file && fputs("movieId,title,genres\n", file) >= 0);
	CHECK_OK(idmap_init(&map, &error), &error);
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		snprintf(text, sizeof text, "m%zu", i);
		CHECK_OK(idmap_add(&map, text, strlen(text), &id, &error), &error);
		CHECK(fprintf(file, "m%zu,\"%s\",Comedy\n", i, rows[i].title) > 0);
	}
	CHECK_OK(idmap_add(&map, "untitled", strlen("untitled"), &id, &error), &error);
	CHECK(fclose(file) == 0);
	CHECK_OK(catalogue_read(&catalogue, "movies.csv", NULL, &map, &error), &error);
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		CHECK_EQUAL_TEXT(catalogue.titles[i], rows[i].title);
		CHECK_EQUAL_U64(catalogue.years[i], rows[i].year);
	}
	CHECK(!catalogue.titles[COUNT_OF(rows)]);
	CHECK_EQUAL_U64(catalogue.years[COUNT_OF(rows)], 0);
	catalogue_release(&catalogue);
	CHECK(!catalogue.years);
	idmap_release(&map);
}

int main(void)
{
	RUN_IN_FOLDER(test_years_of_titles);
	return check_done();
}
