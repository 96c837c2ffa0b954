/* Ratings going out as text. Threads format pieces of some thousand rows, each row into the buffer of its part; the
 * caller writes the pieces in order. */
#include "mem.h"
#include "parallel.h"
#include "ratings.h"
#include "relay.h"

enum { PIECE = 1 << 14, PIECES_A_THREAD = 2, BATCH = 1024, CELL_TEXT = 15, CELLS_MAX = 1 << 21, PREFETCHED = 12 };

/* The text of a part out of one piece. */
struct text {
	char *bytes;
	size_t used, capacity;
};

struct piece {
	struct text parts[PARTS];
	uint64_t begin;
	size_t count;
	struct error error;
	bool failed;
};

/* A short string and what is to stand behind it, in one piece: found and copied without a look at the map. */
struct cell {
	char text[CELL_TEXT];
	uint8_t length;
};

static_assert(sizeof(struct cell) == CELL_TEXT + 1, "copied whole");

/* The strings of a map. */
struct strings {
	const struct idmap *map;
	struct cell *cells;      /* NULL: some are longer, or need quotes, or there are too many */
	size_t longest;
	char behind;             /* each: a comma, or the line's end */
};

struct writing {
	const struct ratings *ratings;
	bool wanted[PARTS];
	struct strings users, items, rating_texts;
	bool has_rating, has_time;
	uint64_t first_time;
	size_t most;             /* bytes of a row, and of what put_text writes too much */
	struct piece *pieces;
	uint64_t next;
};

static int look_at(const struct idmap *map, char behind, struct strings *strings, struct error *error)
{
	bool plain = true;
	*strings = (struct strings){.map = map, .behind = behind};
	for (uint32_t id = 0; id < map->count; id++) {
		size_t length;
		const char *text = idmap_text(map, id, &length);
		strings->longest = length > strings->longest ? length : strings->longest;
		plain = plain && (map->texts == 0 || csv_is_plain(text, length, ','));
	}
	if (!plain || strings->longest >= CELL_TEXT || map->count > CELLS_MAX)
		return 0;
	strings->cells = mem_alloc_zero(map->count, sizeof *strings->cells, error);
	for (uint32_t id = 0; strings->cells && id < map->count; id++) {
		size_t length;
		const char *text = idmap_text(map, id, &length);
		memcpy(strings->cells[id].text, text, length);
		strings->cells[id].text[length] = behind;
		strings->cells[id].length = (uint8_t)(length + 1);
	}
	return strings->cells ? 0 : -1;
}

static int next_piece(void *context, size_t slot, struct error *error)
{
	struct writing *writing = context;
	struct piece *piece = &writing->pieces[slot];
	const uint64_t left = writing->ratings->count - writing->next;
	(void)error;
	piece->begin = writing->next;
	piece->count = left < PIECE ? (size_t)left : PIECE;
	writing->next += piece->count;
	return piece->count > 0;
}

static inline char *put_text(char *to, const struct strings *strings, uint32_t id)
{
	if (strings->cells) {
		const struct cell *cell = &strings->cells[id];
		memcpy(to, cell, sizeof *cell); /* what is too much is written over */
		return to + cell->length;
	}
	size_t length;
	const char *text = idmap_text(strings->map, id, &length);
	to = csv_put_field(to, text, length, ',');
	*to = strings->behind;
	return to + 1;
}

/* Columns of some rows. */
struct batch {
	uint32_t users[BATCH], items[BATCH], ratings[BATCH];
	uint64_t times[BATCH];
};

static void read_batch(const struct ratings *ratings, uint64_t begin, size_t count, struct batch *batch)
{
	column_read_narrow(&ratings->user, begin, count, batch->users);
	column_read_narrow(&ratings->item, begin, count, batch->items);
	if (ratings->has_rating)
		column_read_narrow(&ratings->rating, begin, count, batch->ratings);
	if (ratings->has_time)
		column_read(&ratings->time, begin, count, batch->times);
}

static inline char *put_row(const struct writing *writing, const struct batch *batch, size_t i, char *to)
{
	to = put_text(to, &writing->users, batch->users[i]);
	to = put_text(to, &writing->items, batch->items[i]);
	if (writing->has_rating)
		to = put_text(to, &writing->rating_texts, batch->ratings[i]);
	if (writing->has_time) {
		const uint64_t distance = (uint64_t)column_unzigzag(batch->times[i]);
		to = decimal_write(to, (int64_t)(writing->first_time + distance));
		*to++ = '\n';
	}
	return to;
}

/* Rows of one part, one behind the other, from the batch's `i` on: returns the first that is of another, or has no
 * room. Most rows are of one part, so that this loop is where the time goes. */
static size_t put_rows(const struct writing *writing, const struct batch *batch, const uint8_t *part, size_t i,
                       size_t count, struct text *text)
{
	const struct writing settings = *writing; /* a copy, which the characters written cannot change */
	const uint8_t own = part[i];
	char *to = text->bytes + text->used;
	const char *last = text->bytes + text->capacity - settings.most;
	for (; i < count && part[i] == own && to <= last; i++) {
		if (i + PREFETCHED < count && settings.items.cells)
			__builtin_prefetch(&settings.items.cells[batch->items[i + PREFETCHED]]);
		to = put_row(&settings, batch, i, to);
	}
	text->used = (size_t)(to - text->bytes);
	return i;
}

static int format_batch(const struct writing *writing, struct piece *piece, uint64_t begin, size_t count)
{
	const uint8_t *part = writing->ratings->part + begin;
	struct batch batch;
	read_batch(writing->ratings, begin, count, &batch);
	for (size_t i = 0; i < count;) {
		if (part[i] == PART_DROPPED || !writing->wanted[part[i]]) {
			i++;
			continue;
		}
		struct text *text = &piece->parts[part[i]];
		if (writing->most > text->capacity - text->used &&
		    mem_grow((void **)&text->bytes, &text->capacity, text->used + writing->most, 1, &piece->error) < 0)
			return -1;
		i = put_rows(writing, &batch, part, i, count, text);
	}
	return 0;
}

static void format_piece(void *context, size_t slot)
{
	const struct writing *writing = context;
	struct piece *piece = &writing->pieces[slot];
	for (int p = 0; p < PARTS; p++)
		piece->parts[p].used = 0;
	for (size_t at = 0; at < piece->count && !piece->failed; at += BATCH)
		piece->failed = format_batch(writing, piece, piece->begin + at, piece->count - at < BATCH ? piece->count - at
		                                                                                         : BATCH) < 0;
}

static int write_piece(const struct piece *piece, struct output *const parts[PARTS], struct error *error)
{
	if (piece->failed) {
		*error = piece->error;
		return -1;
	}
	for (int p = 0; p < PARTS; p++)
		if (parts[p] && output_write(parts[p], piece->parts[p].bytes, piece->parts[p].used, error) < 0)
			return -1;
	return 0;
}

static int write_header(const struct ratings *ratings, struct output *output, struct error *error)
{
	return output_print(output, error, "userId,movieId%s%s\n", ratings->has_rating ? ",rating" : "",
	                    ratings->has_time ? ",timestamp" : "");
}

static void release(struct writing *writing, size_t slots)
{
	mem_free(writing->users.cells);
	mem_free(writing->items.cells);
	mem_free(writing->rating_texts.cells);
	for (size_t s = 0; writing->pieces && s < slots; s++)
		for (int p = 0; p < PARTS; p++)
			mem_free(writing->pieces[s].parts[p].bytes);
	mem_free(writing->pieces);
}

int ratings_write(const struct ratings *ratings, struct output *const parts[PARTS], size_t threads, struct error *error)
{
	const size_t all = threads ? threads : processor_count(), helpers = all > 1 ? all : 0;
	const size_t slots = helpers ? helpers * PIECES_A_THREAD : 1;
	const bool rating = ratings->has_rating, time = ratings->has_time;
	struct writing writing = {.ratings = ratings, .has_rating = rating, .has_time = time,
	                          .first_time = (uint64_t)ratings->first_time};
	const struct relay_work work = {next_piece, format_piece, &writing};
	struct relay *relay = NULL;
	int result = 0, more = 0;
	size_t slot;
	if (look_at(&ratings->users, ',', &writing.users, error) < 0 ||
	    look_at(&ratings->items, rating || time ? ',' : '\n', &writing.items, error) < 0 ||
	    look_at(&ratings->rating_texts, time ? ',' : '\n', &writing.rating_texts, error) < 0)
		result = -1;
	writing.most = 2 * (writing.users.longest + writing.items.longest + writing.rating_texts.longest) + 10 +
	               DECIMAL_TEXT_MAX + sizeof(struct cell);
	for (int p = 0; p < PARTS && result == 0; p++) {
		writing.wanted[p] = parts[p] != NULL;
		result = parts[p] ? write_header(ratings, parts[p], error) : 0;
	}
	if (result == 0)
		writing.pieces = mem_alloc_zero(slots, sizeof *writing.pieces, error);
	if (writing.pieces)
		relay = relay_new(helpers, slots, &work, error);
	if (!relay)
		result = -1;
	while (result == 0 && (more = relay_take(relay, &slot, error)) > 0)
		result = write_piece(&writing.pieces[slot], parts, error);
	relay_free(relay);
	release(&writing, slots);
	return result == 0 && more == 0 ? 0 : -1;
}
