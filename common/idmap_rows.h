/* Ids of whole runs of rows (csv_rows.h). */
#ifndef RECPIPE_IDMAP_ROWS_H
#define RECPIPE_IDMAP_ROWS_H

#include "compat.h"
#include "csv_rows.h"
#include "error.h"
#include "idmap.h"

/* Some rows of a run: one behind the other from `first` on, or those in `rows`, ascending. */
struct row_choice {
	const struct csv_rows_run *run;
	size_t first, count;
	const uint32_t *rows;            /* NULL: one behind the other */
	const uint32_t *users, *items;   /* of the rows chosen: into the run, or a copy */
};

/* The ids of the users of the rows: new ones are added where the map is to `grow`, else they are IDMAP_MISSING. */
MUST_CHECK int idmap_users_of(struct idmap *map, const struct row_choice *choice, bool grow, uint32_t *ids,
                              struct error *error);
/* The same of the items. */
MUST_CHECK int idmap_items_of(struct idmap *map, const struct row_choice *choice, bool grow, uint32_t *ids,
                              struct error *error);

static inline size_t row_chosen(const struct row_choice *choice, size_t i)
{
	return choice->rows ? choice->rows[i] : choice->first + i;
}

/* What short rating texts are worth, by their bytes: nearly all files have ten of them. A zeroed one is empty. */
enum { RATING_MEMO = 256 };

struct rating_memo {
	uint32_t keys[RATING_MEMO], codes[RATING_MEMO]; /* codes: the caller's */
	double values[RATING_MEMO];
};

/* Where `row`'s rating is in the memo. Its code is 0 when it was not there before; texts of more than four bytes never
 * were, and no column is a text of none. */
static inline size_t rating_memo_find(struct rating_memo *memo, const struct csv_rows_run *run, size_t row)
{
	const uint32_t key = run->ratings[row];
	const size_t place = (key * UINT32_C(0x9e3779b1)) >> 24;
	if (key == 0 || memo->keys[place] != key) {
		memo->keys[place] = key;
		memo->values[place] = csv_run_value(run, row);
		memo->codes[place] = 0;
	}
	return place;
}

#endif
