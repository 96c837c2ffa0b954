/* The streams of encode-ids: opened when the maps are known, or before. What the header will be is then guessed, so that
 * most often only its bytes have to be put in place at the end; where it has another size, the records move. */
#include "encoder.h"
#include "maths.h"
#include "mem.h"
#include "parallel.h"

enum { HELD_ROWS = 1 << 18 }; /* an input of fewer rows is written when the maps are known */

static json_t *new_metadata(const struct encoder *encoder, const struct encoder_source *source,
                            const struct stream_info *info, struct error *error)
{
	return interactions_metadata(encoder->settings->tool, encoder->settings->described, info, source->has_rating,
	                             source->has_time, error);
}

int encoder_open_stream(const struct encoder *encoder, struct encoder_source *source, const struct stream_info *info,
                        struct error *error)
{
	const size_t threads = encoder->settings->threads ? encoder->settings->threads : processor_count();
	json_t *metadata = new_metadata(encoder, source, info, error);
	if (!metadata)
		return -1;
	int result = stream_writer_open(&source->writer, &source->output, STREAM_INTERACTIONS, metadata, false, error);
	json_decref(metadata);
	source->is_open = result == 0;
	if (result == 0 && threads > 1)
		result = stream_writer_start_thread(&source->writer, error);
	return result;
}

/* ---- before the maps are known ---- */

/* How many ids there will be: their number grows as a power of the number of rows (Heaps' law). */
static uint32_t guess_count(uint32_t half_way, uint32_t now, double times_more)
{
	const double power = half_way > 0 && now > half_way ? maths_log((double)now / half_way) / maths_log(2.0) : 0.0;
	const double guess = (double)now * maths_pow(times_more, power);
	return guess < 4e9 ? (uint32_t)guess : UINT32_MAX - 1;
}

static int guess_space(const struct idmap *map, uint32_t half_way, double times_more, struct id_space *space,
                       struct error *error)
{
	int result = idmap_space(map, space, error);
	space->count = guess_count(half_way, map->count, times_more);
	return result;
}

/* The rows of the spool, which are all of this source, go to its stream. */
static int empty_spool(struct encoder *encoder, struct encoder_source *source, struct error *error)
{
	if (spool_rewind(&encoder->spool, error))
		return -1;
	for (size_t got; encoder->spooled > 0; encoder->spooled -= got) {
		const size_t some = encoder->spooled < ENCODER_CHUNK ? (size_t)encoder->spooled : ENCODER_CHUNK;
		unsigned char *to = stream_reserve_many(&source->writer, INTERACTION_SIZE, some, &got, error);
		const unsigned char *from = to ? spool_take(&encoder->spool, got * INTERACTION_SIZE, error) : NULL;
		if (!from)
			return -1;
		memcpy(to, from, got * INTERACTION_SIZE);
	}
	return spool_restart(&encoder->spool, error);
}

int encoder_open_early(struct encoder *encoder, struct encoder_source *source, const struct csv_rows *rows,
                       struct error *error)
{
	const uint64_t read = rows->reader.next_offset, all = rows->reader.input.size;
	struct stream_info guess = {{0}, {0}};
	if (encoder->spooled < HELD_ROWS / 2)
		return 0;
	if (source->half_users == 0) {
		source->half_users = encoder->users.count;
		source->half_items = encoder->items.count;
	}
	/* Other sources' rows in the spool come first; sorted ids are not known yet; a pipe cannot be gone back in. */
	if (encoder->spooled < HELD_ROWS || encoder->settings->sorted || source->output.direct ||
	    encoder->spooled != source->rows)
		return 0;
	const double times_more = all > read ? (double)all / (double)read : 1.0;
	int result = guess_space(&encoder->users, source->half_users, times_more, &guess.users, error);
	if (result == 0)
		result = guess_space(&encoder->items, source->half_items, times_more, &guess.items, error);
	if (result == 0)
		result = encoder_open_stream(encoder, source, &guess, error);
	if (result == 0)
		result = empty_spool(encoder, source, error);
	stream_info_release(&guess);
	return result;
}

/* ---- at the end ---- */

static int restate(const struct encoder *encoder, struct encoder_source *source, struct error *error)
{
	json_t *metadata = new_metadata(encoder, source, &encoder->info, error);
	int result = metadata ? stream_writer_restate(&source->writer, STREAM_INTERACTIONS, metadata, error) : -1;
	json_decref(metadata);
	return result;
}

/* Ids that were sorted since get their numbers now. */
static void renumber(const struct encoder *encoder, unsigned char *bytes, size_t count)
{
	for (size_t i = 0; i < count; i++, bytes += INTERACTION_SIZE) {
		put_u32(bytes, encoder->user_numbers[get_u32(bytes)]);
		put_u32(bytes + 4, encoder->item_numbers[get_u32(bytes + 4)]);
	}
}

static int write_spooled(struct encoder *encoder, struct encoder_source *source, struct error *error)
{
	if (encoder_open_stream(encoder, source, &encoder->info, error))
		return -1;
	for (uint64_t left = source->rows; left > 0;) {
		size_t got;
		unsigned char *to = stream_reserve_many(&source->writer, INTERACTION_SIZE,
		                                        left < ENCODER_CHUNK ? (size_t)left : ENCODER_CHUNK, &got, error);
		const unsigned char *from = to ? spool_take(&encoder->spool, got * INTERACTION_SIZE, error) : NULL;
		if (!from)
			return -1;
		memcpy(to, from, got * INTERACTION_SIZE);
		if (source->builds && encoder->user_numbers)
			renumber(encoder, to, got);
		left -= got;
	}
	return stream_writer_finish(&source->writer, error);
}

int encoder_complete(struct encoder *encoder, struct encoder_source *source, struct error *error)
{
	return source->is_open ? restate(encoder, source, error) : write_spooled(encoder, source, error);
}
