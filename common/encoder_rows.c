/* Rows of one input: read, judged, translated, and written to the spool or the stream. */
#include "csv.h"
#include "encoder.h"

enum { SPOOL_ROW = 20, BAD_SHOWN = 5 };

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

/* Translates the ids of a row: 1, or 0 when the row is to be dropped, -1 on an error. */
static int translate(struct encoder *encoder, struct encoder_source *source, bool grow, const struct rating_row *row,
                     uint64_t line, struct interaction *out, struct error *error)
{
	if (grow)
		return idmap_add(&encoder->users, row->user.text, row->user.length, &out->user, error) ||
		       idmap_add(&encoder->items, row->item.text, row->item.length, &out->item, error) ? -1 : 1;
	out->user = idmap_find(&encoder->users, row->user.text, row->user.length);
	out->item = idmap_find(&encoder->items, row->item.text, row->item.length);
	bool no_user = out->user == (uint32_t)IDMAP_MISSING, no_item = out->item == (uint32_t)IDMAP_MISSING;
	if (!no_user && !no_item)
		return 1;
	if (encoder->settings->unknown == UNKNOWN_ERROR)
		return unknown_error(source, line, no_user ? "user" : "item", no_user ? &row->user : &row->item, error);
	source->unknown_users += no_user;
	source->unknown_items += no_item;
	source->unknown_rows++;
	return 0;
}

static int spool_interaction(struct spool *spool, const struct interaction *one, struct error *error)
{
	unsigned char *bytes = spool_reserve(spool, SPOOL_ROW, error);
	if (!bytes)
		return -1;
	put_u32(bytes, one->user);
	put_u32(bytes + 4, one->item);
	put_f32(bytes + 8, one->rating);
	put_u64(bytes + 12, (uint64_t)one->time);
	return 0;
}

/* One record of the input: 1 when there may be more, 0 at the end, -1. `writer` NULL: into the spool. */
static int encode_row(struct encoder *encoder, struct encoder_source *source, struct csv_reader *csv,
                      const struct ratings_columns *columns, struct stream_writer *writer, struct error *error)
{
	struct rating_row row;
	struct interaction one;
	enum csv_verdict verdict = rating_row_next(csv, columns, &row, error);
	if (verdict == CSV_END || verdict == CSV_ERROR)
		return verdict == CSV_END ? 0 : -1;
	if (++encoder->rows % 65536 == 0)
		progress_update(&encoder->progress, encoder->rows);
	if (verdict == CSV_RECORD && (row.user.length > IDMAP_TEXT_MAX || row.item.length > IDMAP_TEXT_MAX)) {
		row.reason = "an id is too long";
		verdict = CSV_BAD;
	}
	if (verdict == CSV_BAD)
		return count_bad(encoder, source, csv->line, row.reason, error) ? -1 : 1;
	int known = translate(encoder, source, !writer, &row, csv->line, &one, error);
	if (known <= 0)
		return known < 0 ? -1 : 1;
	one.rating = (float)row.rating;
	one.time = row.time;
	source->rows++;
	if (writer)
		return interaction_write(writer, &one, error) ? -1 : 1;
	return spool_interaction(&encoder->spool, &one, error) ? -1 : 1;
}

static int open_stream(const struct encoder *encoder, struct encoder_source *source, struct stream_writer *writer,
                       struct error *error)
{
	json_t *metadata = records_metadata(encoder->settings->tool, encoder->settings->described, &encoder->info, error);
	if (!metadata)
		return -1;
	int result;
	if (json_object_set_new(metadata, "has_rating", json_boolean(source->has_rating)) ||
	    json_object_set_new(metadata, "has_time", json_boolean(source->has_time)))
		result = error_set(error, CODE_SYSTEM, "out of memory");
	else
		result = stream_writer_open(writer, &source->output, STREAM_INTERACTIONS, metadata, false, error);
	json_decref(metadata);
	return result;
}

/* Reads a source: into the spool while the maps grow, else right into its stream. */
int encoder_read(struct encoder *encoder, struct encoder_source *source, bool grow, struct error *error)
{
	int result = -1, more = -1;
	struct csv_reader csv = { 0 };
	struct ratings_columns columns;
	struct stream_writer writer = { 0 };
	if (csv_open(&csv, source->path, encoder->settings->delimiter, error) ||
	    ratings_columns_find(&csv, encoder->settings->columns, &columns, error))
		goto out;
	source->has_rating = columns.at[COLUMN_RATING] >= 0;
	source->has_time = columns.at[COLUMN_TIME] >= 0;
	if (!grow && open_stream(encoder, source, &writer, error))
		goto out;
	do
		more = encode_row(encoder, source, &csv, &columns, grow ? NULL : &writer, error);
	while (more > 0);
	if (more < 0 || (!grow && stream_writer_finish(&writer, error)))
		goto out;
	result = 0;
out:
	stream_writer_release(&writer);
	csv_release(&csv);
	return result;
}

/* Writes the stream of a source that was spooled; ids that were sorted since get their numbers now. */
int encoder_write_spooled(struct encoder *encoder, struct encoder_source *source, struct error *error)
{
	int result = -1;
	struct stream_writer writer = { 0 };
	if (open_stream(encoder, source, &writer, error))
		goto out;
	bool renumber = source->builds && encoder->user_numbers;
	for (uint64_t i = 0; i < source->rows; i++) {
		const unsigned char *bytes = spool_take(&encoder->spool, SPOOL_ROW, error);
		if (!bytes)
			goto out;
		struct interaction one = { get_u32(bytes), get_u32(bytes + 4), get_f32(bytes + 8),
		                           (int64_t)get_u64(bytes + 12) };
		if (renumber) {
			one.user = encoder->user_numbers[one.user];
			one.item = encoder->item_numbers[one.item];
		}
		if (interaction_write(&writer, &one, error))
			goto out;
	}
	result = stream_writer_finish(&writer, error);
out:
	stream_writer_release(&writer);
	return result;
}
