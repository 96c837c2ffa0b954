/* Runs of rows. The input is cut into slots of whole lines; threads read and scan them ahead (relay.h). Where a slot
 * has odd lines, the parser of csv.h takes them: it reads through take_odd, which hands it the odd stretch, and, as
 * long as its record is not whole, what follows. It is left again only when it has used up all it took, which is
 * the beginning of a line; so it may take ordinary lines as well, and the same rows come out.
 *
 * Slots begin where the window of the parser ended that found the delimiter and the columns. */
#include "csv_rows.h"

#include "mem.h"
#include "parallel.h"

enum { SLOTS_A_THREAD = 2 };

struct csv_rows_slot {
	char *memory;       /* slot_bytes and what the scanner may read around them */
	char *bytes;
	size_t size;
	uint64_t offset;    /* in the input */
	size_t inside;      /* bytes that end a line of the slot before */
	bool begins_inside;
	struct csv_scan scan;
};

/* ---- in the threads ---- */

/* Up to `size` bytes: those that are pending, then the input's. */
static ptrdiff_t read_pending(struct csv_rows *rows, char *to, size_t size, struct error *error)
{
	const size_t pending = rows->pending_end - rows->pending_at;
	if (pending == 0)
		return input_read(&rows->reader.input, to, size, error);
	const size_t some = pending < size ? pending : size;
	memcpy(to, rows->pending + rows->pending_at, some);
	rows->pending_at += some;
	return (ptrdiff_t)some;
}

/* Keeps the line that the slot's end cuts for the next slot. */
static int keep_tail(struct csv_rows *rows, struct csv_rows_slot *slot, struct error *error)
{
	const char *newline = memrchr(slot->bytes, '\n', slot->size);
	const size_t whole = newline ? (size_t)(newline - slot->bytes) + 1 : slot->size, tail = slot->size - whole;
	rows->inside = !newline;
	slot->size = whole;
	if (tail == 0)
		return 0;
	if (rows->pending_at < rows->pending_end) { /* the tail is what was taken last from there */
		rows->pending_at -= tail;
		return 0;
	}
	if (mem_grow((void **)&rows->pending, &rows->pending_capacity, tail, 1, error) < 0)
		return -1;
	memcpy(rows->pending, slot->bytes + whole, tail);
	rows->pending_at = 0;
	rows->pending_end = tail;
	return 0;
}

static int fetch_slot(void *context, size_t number, struct error *error)
{
	struct csv_rows *rows = context;
	struct csv_rows_slot *slot = &rows->slots[number];
	ptrdiff_t got = 1;
	slot->size = 0;
	slot->offset = rows->fetched;
	slot->begins_inside = rows->inside;
	while (got > 0 && slot->size < rows->slot_bytes) {
		got = read_pending(rows, slot->bytes + slot->size, rows->slot_bytes - slot->size, error);
		slot->size += got > 0 ? (size_t)got : 0;
	}
	if (got < 0)
		return -1;
	if (got > 0 && keep_tail(rows, slot, error) < 0)
		return -1;
	rows->fetched += slot->size;
	return slot->size > 0;
}

static void scan_slot(void *context, size_t number)
{
	const struct csv_rows *rows = context;
	struct csv_rows_slot *slot = &rows->slots[number];
	slot->inside = 0;
	if (slot->begins_inside) {
		const char *newline = memchr(slot->bytes, '\n', slot->size);
		slot->inside = newline ? (size_t)(newline - slot->bytes) + 1 : slot->size;
	}
	rows->scan(&rows->shape, slot->bytes, slot->inside, slot->size, &slot->scan);
}

/* ---- in the caller ---- */

/* Makes the next slot the current one when the current one is used up: 1, 0 at the end, -1. */
static int need_slot(struct csv_rows *rows, struct error *error)
{
	size_t number;
	if (rows->slot && rows->at < rows->slot->size)
		return 1;
	rows->slot = NULL;
	int result = relay_take(rows->relay, &number, error);
	if (result <= 0)
		return result;
	rows->slot = &rows->slots[number];
	rows->at = rows->next_row = rows->next_odd = 0;
	return 1;
}

/* The stretch of odd bytes that begins at the current place ends here; the place itself when there is none. */
static size_t odd_end(const struct csv_rows *rows)
{
	const struct csv_rows_slot *slot = rows->slot;
	if (rows->at < slot->inside)
		return slot->inside;
	if (rows->next_odd < slot->scan.odd_count && slot->scan.odds[rows->next_odd].row == rows->next_row)
		return slot->scan.odds[rows->next_odd].end;
	return rows->at;
}

/* What the parser reads: the odd stretch, or a line that the scanner has taken already. */
static ptrdiff_t take_odd(void *context, void *buffer, size_t size, struct error *error)
{
	struct csv_rows *rows = context;
	int more = need_slot(rows, error);
	if (more <= 0)
		return more;
	const struct csv_rows_slot *slot = rows->slot;
	const size_t at = rows->at;
	size_t end = odd_end(rows);
	const bool odd = end > at;
	if (!odd) {
		const char *newline = memchr(slot->bytes + at, '\n', slot->size - at);
		end = newline ? (size_t)(newline - slot->bytes) + 1 : slot->size;
	}
	const bool whole = end - at <= size;
	end = whole ? end : at + size;
	memcpy(buffer, slot->bytes + at, end - at);
	rows->at = end;
	rows->next_row += whole && !odd;
	rows->next_odd += whole && odd && at >= slot->inside;
	return (ptrdiff_t)(end - at);
}

static void take_run(struct csv_rows *rows, struct csv_rows_run *run)
{
	const struct csv_rows_slot *slot = rows->slot;
	const struct csv_scan *scan = &slot->scan;
	const bool odd_follows = rows->next_odd < scan->odd_count;
	const size_t from = rows->next_row, stop = odd_follows ? scan->odds[rows->next_odd].row : scan->row_count;
	run->users = scan->users + from;
	run->items = scan->items + from;
	run->ratings = scan->ratings + from;
	run->times = scan->times + from;
	run->places = scan->places + from;
	run->count = stop - from;
	run->bytes = slot->bytes;
	run->has_rating = rows->columns.at[COLUMN_RATING] >= 0;
	run->line = rows->reader.next_line;
	rows->next_row = stop;
	rows->at = odd_follows ? scan->odds[rows->next_odd].begin : slot->size;
	rows->reader.next_line += run->count;
	rows->reader.next_offset = slot->offset + rows->at;
}

int csv_rows_next(struct csv_rows *rows, struct csv_rows_run *run, struct error *error)
{
	struct csv_reader *reader = &rows->reader;
	if (reader->begin == reader->end) {
		int more = need_slot(rows, error);
		if (more <= 0)
			return more < 0 ? CSV_ERROR : CSV_END;
		if (odd_end(rows) == rows->at) {
			take_run(rows, run);
			return CSV_ROWS;
		}
		reader->begin = reader->end = 0;
	}
	return (int)rating_row_next(reader, &rows->columns, &run->odd, error);
}

struct csv_field csv_run_rating(const struct csv_rows_run *run, size_t row, char room[DECIMAL_TEXT_MAX])
{
	const uint32_t key = run->ratings[row];
	struct csv_field text = {room, 0};
	if (!run->has_rating)
		return text;
	if (key == 0)
		return (struct csv_field){run->bytes + run->places[row].rating_at, run->places[row].rating_length};
	for (; text.length < 4 && key >> (8 * text.length); text.length++)
		room[text.length] = (char)(key >> (8 * text.length));
	return text;
}

double csv_run_value(const struct csv_rows_run *run, size_t row)
{
	char room[DECIMAL_TEXT_MAX];
	double value = 1.0;
	const struct csv_field text = csv_run_rating(run, row, room);
	if (run->has_rating)
		(void)csv_rating_of(text.text, text.length, &value);
	return value;
}

/* ---- opening ---- */

static void find_shape(struct csv_rows *rows)
{
	const struct csv_reader *reader = &rows->reader;
	struct csv_scan_shape *shape = &rows->shape;
	shape->delimiter = reader->delimiter[0];
	shape->width = reader->delimiter[1] ? 2 : 1;
	shape->columns = reader->field_count <= CSV_SCAN_COLUMNS_MAX ? (unsigned)reader->field_count : 0;
	for (int c = 0; c < RATINGS_COLUMNS; c++) {
		shape->at[c] = rows->columns.at[c];
		if (shape->at[c] >= (int)shape->columns)
			shape->columns = 0;
	}
}

static int make_slots(struct csv_rows *rows, size_t count, struct error *error)
{
	rows->slots = mem_alloc_zero(count, sizeof *rows->slots, error);
	for (; rows->slots && rows->slot_count < count; rows->slot_count++) {
		struct csv_rows_slot *slot = &rows->slots[rows->slot_count];
		slot->memory = mem_alloc_zero(CSV_SCAN_BEFORE + rows->slot_bytes + CSV_SCAN_BEHIND, 1, error);
		if (csv_scan_init(&slot->scan, rows->slot_bytes, error) < 0 || !slot->memory) {
			rows->slot_count++;
			return -1;
		}
		slot->bytes = slot->memory + CSV_SCAN_BEFORE;
	}
	return rows->slots ? 0 : -1;
}

/* What the parser has read and not used goes to the first slots; from here on it reads what they leave. */
static int hand_over(struct csv_rows *rows, struct error *error)
{
	struct csv_reader *reader = &rows->reader;
	const size_t left = reader->end - reader->begin;
	if (mem_grow((void **)&rows->pending, &rows->pending_capacity, left, 1, error) < 0)
		return -1;
	if (left > 0)
		memcpy(rows->pending, reader->buffer + reader->begin, left);
	rows->pending_end = left;
	rows->fetched = reader->next_offset;
	reader->begin = reader->end = 0;
	reader->input_ended = false;
	reader->more = take_odd;
	reader->more_context = rows;
	return 0;
}

int csv_rows_open(struct csv_rows *rows, const char *path, const char *delimiter, const char *columns, size_t threads,
                  size_t at_a_time, struct error *error)
{
	enum isa isa;
	*rows = (struct csv_rows){.slot_bytes = at_a_time};
	if (isa_find("auto", &isa, error) < 0 || csv_open(&rows->reader, path, delimiter, error) < 0 ||
	    ratings_columns_find(&rows->reader, columns, &rows->columns, error) < 0)
		return -1;
	rows->scan = csv_scan_of(isa);
	find_shape(rows);
	if (threads == 0)
		threads = processor_count();
	const size_t helpers = threads > 1 ? threads : 0;
	const struct relay_work work = {fetch_slot, scan_slot, rows};
	if (hand_over(rows, error) < 0 || make_slots(rows, helpers ? helpers * SLOTS_A_THREAD : 1, error) < 0)
		return -1;
	rows->relay = relay_new(helpers, rows->slot_count, &work, error);
	return rows->relay ? 0 : -1;
}

void csv_rows_release(struct csv_rows *rows)
{
	relay_free(rows->relay);
	for (size_t i = 0; i < rows->slot_count; i++) {
		mem_free(rows->slots[i].memory);
		csv_scan_release(&rows->slots[i].scan);
	}
	mem_free(rows->slots);
	mem_free(rows->pending);
	csv_release(&rows->reader);
	*rows = (struct csv_rows){0};
}
