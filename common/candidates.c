/* See candidates.h. The drawing itself is sampler_candidates. */
#include "candidates.h"

#include "csv.h"
#include "idmap.h"
#include "mem.h"
#include "sampler.h"

/* What is told at the end. */
struct counts {
	size_t lists, short_lists, own, doubled, known, no_truth;
};

static void add_entry(const struct candidate_options *options, struct list *list, uint32_t item, uint8_t relevant)
{
	list->items[list->count] = item;
	list->scores[list->count] = 0.0f;
	list->popularity[list->count] = options->popularity[item];
	list->relevant[list->count] = relevant;
	list->count++;
}

/* Begins the list of `user` with its truth; room for `more` candidates. */
static int start_list(const struct candidate_options *options, uint32_t user, size_t more, struct list *list,
                      struct error *error)
{
	size_t truths;
	const uint32_t *truth = interactions_of(options->truth, user, &truths);
	list->count = 0;
	if (list_reserve(list, truths + more, error) < 0)
		return -1;
	list->user = user;
	list->relevant_total = (uint32_t)truths;
	for (size_t t = 0; t < truths; t++)
		add_entry(options, list, truth[t], LIST_RELEVANT);
	return 0;
}

/* ---- drawn ---- */

static int draw_list(const struct candidate_options *options, uint32_t user, uint32_t *drawn, struct list *list,
                     struct counts *counts, struct error *error)
{
	size_t truths;
	const uint32_t *truth = interactions_of(options->truth, user, &truths);
	if (start_list(options, user, options->candidates, list, error) < 0)
		return -1;
	size_t count = sampler_candidates(options->known, user, truth, truths, options->seed, options->draw,
	                                  options->candidates, drawn);
	for (size_t i = 0; i < count; i++)
		add_entry(options, list, drawn[i], 0);
	counts->lists++;
	counts->short_lists += count < options->candidates;
	return 0;
}

static int write_drawn(const struct candidate_options *options, struct stream_writer *writer, struct list *list,
                       struct counts *counts, struct error *error)
{
	int result = 0;
	uint32_t *drawn = mem_alloc(options->candidates, sizeof *drawn, error);
	if (!drawn)
		return -1;
	for (uint32_t user = 0; result == 0 && user < options->truth->users; user++) {
		size_t truths;
		interactions_of(options->truth, user, &truths);
		if (truths == 0)
			continue;
		result = draw_list(options, user, drawn, list, counts, error);
		if (result == 0)
			result = list_write(writer, list, error);
	}
	mem_free(drawn);
	return result;
}

/* ---- given ---- */

struct given {
	struct csv_reader reader;
	struct idmap users, items;
	bool *done;              /* users that had a line */
};

static int bad_line(const struct given *given, struct error *error, const char *what, const struct csv_field *field)
{
	return error_set(error, CODE_DATA, "%s:%llu: %s '%.*s'", given->reader.input.name,
	                 (unsigned long long)given->reader.line, what, field ? (int)field->length : 0,
	                 field ? field->text : "");
}

/* "(user,item)" into dense ids. */
static int parse_head(const struct given *given, uint32_t *user, uint32_t *item, struct error *error)
{
	const struct csv_field *head = &given->reader.fields[0];
	const char *comma = memchr(head->text, ',', head->length);
	if (head->length < 5 || head->text[0] != '(' || head->text[head->length - 1] != ')' || !comma)
		return bad_line(given, error, "expected (user,item), found", head);
	const struct csv_field user_text = {head->text + 1, (size_t)(comma - head->text) - 1};
	const struct csv_field item_text = {comma + 1, head->length - (size_t)(comma - head->text) - 2};
	*user = idmap_find(&given->users, user_text.text, user_text.length);
	*item = idmap_find(&given->items, item_text.text, item_text.length);
	if (*user == (uint32_t)IDMAP_MISSING)
		return bad_line(given, error, "unknown user", &user_text);
	if (*item == (uint32_t)IDMAP_MISSING)
		return bad_line(given, error, "unknown item", &item_text);
	return 0;
}

static bool in_list(const struct list *list, uint32_t item)
{
	for (uint32_t i = 0; i < list->count; i++)
		if (list->items[i] == item)
			return true;
	return false;
}

static int add_given(const struct candidate_options *options, const struct given *given, const struct csv_field *field,
                     struct list *list, struct counts *counts, struct error *error)
{
	uint32_t item = idmap_find(&given->items, field->text, field->length);
	if (item == (uint32_t)IDMAP_MISSING)
		return bad_line(given, error, "unknown item", field);
	if (interactions_has(options->truth, list->user, item)) {
		counts->own++;
		return 0;
	}
	if (in_list(list, item)) {
		counts->doubled++;
		return 0;
	}
	if (interactions_has(options->known, list->user, item)) {
		counts->known++;
		return options->allow_known ? 0 : bad_line(given, error, "the user knows item", field);
	}
	add_entry(options, list, item, 0);
	return 0;
}

static int write_given_line(const struct candidate_options *options, struct given *given, struct stream_writer *writer,
                            struct list *list, struct counts *counts, struct error *error)
{
	uint32_t user = 0, item = 0;
	if (parse_head(given, &user, &item, error) < 0)
		return -1;
	if (!interactions_has(options->truth, user, item))
		return bad_line(given, error, "not an interaction of the test part:", &given->reader.fields[0]);
	if (given->done[user])
		return bad_line(given, error, "a second line for", &given->reader.fields[0]);
	given->done[user] = true;
	if (start_list(options, user, given->reader.field_count, list, error) < 0)
		return -1;
	for (size_t f = 1; f < given->reader.field_count; f++)
		if (given->reader.fields[f].length > 0 &&
		    add_given(options, given, &given->reader.fields[f], list, counts, error) < 0)
			return -1;
	counts->lists++;
	return list_write(writer, list, error);
}

/* The maps must be those of the streams, or the numbers mean other things. */
static int check_maps(const struct candidate_options *options, const struct given *given, struct error *error)
{
	struct stream_info maps = {0};
	int result = idmap_space(&given->users, &maps.users, error);
	if (result == 0)
		result = idmap_space(&given->items, &maps.items, error);
	if (result == 0)
		result = records_same_ids("the id maps", &maps, "the test part", options->info, error);
	stream_info_release(&maps);
	return result;
}

static int write_given(const struct candidate_options *options, struct stream_writer *writer, struct list *list,
                       struct counts *counts, struct error *error)
{
	struct given given = {0};
	int result = -1;
	enum csv_verdict verdict;
	given.done = mem_alloc_zero(options->truth->users, sizeof *given.done, error);
	if (!given.done || idmap_read(&given.users, options->users_path, error) < 0 ||
	    idmap_read(&given.items, options->items_path, error) < 0 || check_maps(options, &given, error) < 0 ||
	    csv_open(&given.reader, options->given, "\t", error) < 0)
		goto out;
	while ((verdict = csv_next(&given.reader, error)) != CSV_END) {
		if (verdict == CSV_BAD)
			bad_line(&given, error, given.reader.bad, NULL);
		if (verdict != CSV_RECORD || write_given_line(options, &given, writer, list, counts, error) < 0)
			goto out;
	}
	for (uint32_t user = 0; user < options->truth->users; user++) {
		size_t truths;
		interactions_of(options->truth, user, &truths);
		counts->no_truth += truths > 0 && !given.done[user];
	}
	result = 0;
out:
	csv_release(&given.reader);
	idmap_release(&given.users);
	idmap_release(&given.items);
	mem_free(given.done);
	return result;
}

static void tell(const struct counts *counts)
{
	const struct {
		size_t count;
		const char *what;
	} rows[] = {
		{counts->short_lists, "users have fewer unseen items than asked for"},
		{counts->own, "candidates dropped: the user's own test item"},
		{counts->doubled, "candidates dropped: given twice"},
		{counts->known, "candidates dropped: the user knows them"},
		{counts->no_truth, "users of the test part have no candidates given and get no list"},
	};
	note("%zu lists", counts->lists);
	for (size_t i = 0; i < COUNT_OF(rows); i++)
		if (rows[i].count > 0)
			note("%zu %s", rows[i].count, rows[i].what);
}

int candidates_write(const struct candidate_options *options, struct stream_writer *writer, struct error *error)
{
	struct list list = {0};
	struct counts counts = {0};
	int result = options->given ? write_given(options, writer, &list, &counts, error)
	                            : write_drawn(options, writer, &list, &counts, error);
	list_release(&list);
	if (result == 0 && !options->quiet)
		tell(&counts);
	return result;
}
