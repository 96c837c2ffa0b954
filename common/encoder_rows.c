/* Rows of one input: read, judged, translated, and written to the spool or the stream. */
#include "csv_rows.h"
#include "encoder.h"
#include "mem.h"
#include "parallel.h"

enum { BAD_SHOWN = 5 };

static int count_bad(struct encoder *encoder, const struct encoder_source *source, uint64_t line, const char *reason,
                     struct error *error)
{
	const struct encoder_settings *settings = encoder->settings;
	encoder->bad++;
	if (settings->max_errors == 0)
		return error_set(error, CODE_DATA, "%s:%llu: %s", source->path, (unsigned long long)line, reason);
	if (settings->max_errors > 0 && encoder->bad > (uint64_t)settings->max_errors)
		return error_set(error, CODE_DATA, "%s:%llu: %s; more than --max-errors %lld rows cannot be read",
		                 source->path, (unsigned long long)line, reason, (long long)settings->max_errors);
	if (encoder->bad <= BAD_SHOWN)
		note("%s:%llu: %s; row skipped", source->path, (unsigned long long)line, reason);
	return 0;
}

static int unknown_error(const struct encoder_source *source, uint64_t line, const char *what, const struct csv_field *id,
                         struct error *error)
{
	enum { SHOWN = 60 };
	return error_set(error, CODE_DATA, "%s:%llu: %s \"%.*s\" is not in the map", source->path,
	                 (unsigned long long)line, what, (int)(id->length < SHOWN ? id->length : SHOWN), id->text);
}

/* A row that may be dropped: how many there were is told. */
static int drop_unknown(const struct encoder *encoder, struct encoder_source *source, uint64_t line, bool no_user,
                        const struct csv_field *user, bool no_item, const struct csv_field *item, struct error *error)
{
	if (encoder->settings->unknown == UNKNOWN_ERROR)
		return unknown_error(source, line, no_user ? "user" : "item", no_user ? user : item, error);
	source->unknown_users += no_user;
	source->unknown_items += no_item;
	source->unknown_rows++;
	return 0;
}

/* The id of a text; a new one where the map grows. */
static int look_up(struct idmap *map, bool grow, const struct csv_field *text, uint32_t *id, struct error *error)
{
	if (grow)
		return idmap_add(map, text->text, text->length, id, error);
	*id = idmap_find(map, text->text, text->length);
	return 0;
}

/* ---- where rows go ---- */

static int put_rows(struct encoder *encoder, struct encoder_source *source, const struct interaction_columns *columns,
                    size_t count, struct error *error)
{
	source->rows += count;
	if (source->is_open)
		return interactions_write(&source->writer, columns, count, error);
	unsigned char *to = spool_reserve(&encoder->spool, count * INTERACTION_SIZE, error);
	if (!to)
		return -1;
	interactions_pack(columns, 0, count, to);
	encoder->spooled += count;
	return 0;
}

/* ---- rows ---- */

/* One row between the runs. */
static int take_odd(struct encoder *encoder, struct encoder_source *source, const struct csv_reader *reader,
                    int verdict, struct rating_row *row, bool grow, struct error *error)
{
	uint32_t user = 0, item = 0;
	encoder->rows++;
	if (verdict == CSV_RECORD && (row->user.length > IDMAP_TEXT_MAX || row->item.length > IDMAP_TEXT_MAX)) {
		row->reason = "an id is too long";
		verdict = CSV_BAD;
	}
	if (verdict == CSV_BAD)
		return count_bad(encoder, source, reader->line, row->reason, error);
	if (look_up(&encoder->users, grow, &row->user, &user, error) < 0 ||
	    look_up(&encoder->items, grow, &row->item, &item, error) < 0)
		return -1;
	const bool no_user = user == (uint32_t)IDMAP_MISSING, no_item = item == (uint32_t)IDMAP_MISSING;
	if (no_user || no_item)
		return drop_unknown(encoder, source, reader->line, no_user, &row->user, no_item, &row->item, error);
	float rating = (float)row->rating;
	const struct interaction_columns columns = {&user, &item, &rating, &row->time};
	return put_rows(encoder, source, &columns, 1, error);
}

/* Takes rows out of the chunk that have an id which is not in the maps. */
static int drop_missing(struct encoder *encoder, struct encoder_source *source, const struct row_choice *choice,
                        size_t *count, struct error *error)
{
	struct encoder_chunk *chunk = encoder->chunk;
	size_t kept = 0;
	for (size_t i = 0; i < *count; i++) {
		const bool no_user = chunk->users[i] == (uint32_t)IDMAP_MISSING;
		const bool no_item = chunk->items[i] == (uint32_t)IDMAP_MISSING;
		const size_t row = choice->first + i;
		chunk->users[kept] = chunk->users[i];
		chunk->items[kept] = chunk->items[i];
		chunk->ratings[kept] = chunk->ratings[i];
		chunk->times[kept] = chunk->times[i];
		kept += !no_user && !no_item;
		if (!no_user && !no_item)
			continue;
		char rooms[2][DECIMAL_TEXT_MAX];
		const struct csv_field user = csv_run_user(choice->run, row, rooms[0]);
		const struct csv_field item = csv_run_item(choice->run, row, rooms[1]);
		if (drop_unknown(encoder, source, choice->run->line + row, no_user, &user, no_item, &item, error) < 0)
			return -1;
	}
	*count = kept;
	return 0;
}

static int take_rows(struct encoder *encoder, struct encoder_source *source, const struct row_choice *choice, bool grow,
                     struct error *error)
{
	struct encoder_chunk *chunk = encoder->chunk;
	const struct interaction_columns columns = {chunk->users, chunk->items, chunk->ratings, chunk->times};
	size_t count = choice->count;
	if (idmap_users_of(&encoder->users, choice, grow, chunk->users, error) < 0 ||
	    idmap_items_of(&encoder->items, choice, grow, chunk->items, error) < 0)
		return -1;
	for (size_t i = 0; i < count; i++)
		chunk->ratings[i] = (float)chunk->memo.values[rating_memo_find(&chunk->memo, choice->run, choice->first + i)];
	memcpy(chunk->times, choice->run->times + choice->first, count * sizeof *chunk->times);
	if (!grow && drop_missing(encoder, source, choice, &count, error) < 0)
		return -1;
	return count > 0 ? put_rows(encoder, source, &columns, count, error) : 0;
}

static int take_run(struct encoder *encoder, struct encoder_source *source, const struct csv_rows_run *run, bool grow,
                    struct error *error)
{
	encoder->rows += run->count;
	for (size_t from = 0; from < run->count; from += ENCODER_CHUNK) {
		const size_t left = run->count - from;
		const struct row_choice choice = {.run = run, .first = from, .count = left < ENCODER_CHUNK ? left : ENCODER_CHUNK,
		                                  .users = run->users + from, .items = run->items + from};
		if (take_rows(encoder, source, &choice, grow, error) < 0)
			return -1;
	}
	return 0;
}

static int read_rows(struct encoder *encoder, struct encoder_source *source, struct csv_rows *rows, bool grow,
                     struct error *error)
{
	struct csv_rows_run run;
	int verdict, result = 0;
	while (result == 0 && (verdict = csv_rows_next(rows, &run, error)) != CSV_END) {
		if (verdict == CSV_ERROR)
			return -1;
		result = verdict == CSV_ROWS ? take_run(encoder, source, &run, grow, error)
		                             : take_odd(encoder, source, &rows->reader, verdict, &run.odd, grow, error);
		progress_update(&encoder->progress, encoder->rows);
		if (result == 0 && grow && !source->is_open)
			result = encoder_open_early(encoder, source, rows, error);
	}
	return result;
}

int encoder_read(struct encoder *encoder, struct encoder_source *source, bool grow, struct error *error)
{
	const struct encoder_settings *settings = encoder->settings;
	struct csv_rows *rows = mem_alloc_zero(1, sizeof *rows, error);
	if (!rows)
		return -1;
	int result = csv_rows_open(rows, source->path, settings->delimiter, settings->columns, settings->threads,
	                           CSV_ROWS_AT_A_TIME, error);
	if (result == 0) {
		source->has_rating = rows->columns.at[COLUMN_RATING] >= 0;
		source->has_time = rows->columns.at[COLUMN_TIME] >= 0;
		if (!grow)
			result = encoder_open_stream(encoder, source, &encoder->info, error);
	}
	if (result == 0)
		result = read_rows(encoder, source, rows, grow, error);
	if (result == 0 && source->is_open)
		result = stream_writer_finish(&source->writer, error);
	csv_rows_release(rows);
	mem_free(rows);
	return result;
}
