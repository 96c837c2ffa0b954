/* Numbers are looked up many at a time; what is not known goes by its text. */
#include "idmap_rows.h"

typedef struct csv_field text_of(const struct csv_rows_run *run, size_t row, char room[DECIMAL_TEXT_MAX]);

static int ids_of(struct idmap *map, const struct row_choice *choice, const uint32_t *numbers, text_of *text_of_row,
                  bool grow, uint32_t *ids, struct error *error)
{
	for (size_t i = 0;; i++) {
		char room[DECIMAL_TEXT_MAX];
		i += idmap_known_numbers(map, numbers + i, choice->count - i, ids + i);
		if (i == choice->count)
			return 0;
		const struct csv_field text = text_of_row(choice->run, row_chosen(choice, i), room);
		if (!grow)
			ids[i] = idmap_find(map, text.text, text.length);
		else if (idmap_add(map, text.text, text.length, &ids[i], error) < 0)
			return -1;
	}
}

int idmap_users_of(struct idmap *map, const struct row_choice *choice, bool grow, uint32_t *ids, struct error *error)
{
	return ids_of(map, choice, choice->users, csv_run_user, grow, ids, error);
}

int idmap_items_of(struct idmap *map, const struct row_choice *choice, bool grow, uint32_t *ids, struct error *error)
{
	return ids_of(map, choice, choice->items, csv_run_item, grow, ids, error);
}
