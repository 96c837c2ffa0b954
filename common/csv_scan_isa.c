/* Lines into rows in two steps, some kilobytes at a time. The first writes down where delimiters, newlines and bytes
 * that make a line odd are: 64 bytes at a time become masks, masks become positions that carry their kind. The second
 * takes as many marks as eight rows have, looks whether they are what ordinary rows have there, and reads the numbers
 * of eight rows together; rows that this does not fit go one by one. Eight digits are one load, one check and three
 * multiplications (Lemire, "Quickly parsing eight digits", 2018; Muła's SWAR). */
#include "csv_scan.h"
#include "csv_scan_lanes.h"
#include "csv_scan_marks.h"
#include "decimal.h"

enum { MARKED_AT_ONCE = 8192 }; /* bytes: their marks stay in the first cache */

static_assert(CSV_SCAN_MARKS >= MARKED_AT_ONCE + 64 + ROWS_AT_ONCE * (2 * CSV_SCAN_COLUMNS_MAX - 1),
              "marks of a stretch, what is written too much, and what is left of the stretch before");

/* ---- numbers ---- */

/* The eight bytes that end at `end`, the first one lowest, of which the last `length` (1 to 8) are kept and the others
 * made zero digits. All digits become 0 to 9. */
LANE_CODE uint64_t digits_before(const char *end, size_t length)
{
	const unsigned drop = 64 - 8 * (unsigned)length;
	return ((load_word(end - 8) ^ UINT64_C(0x3030303030303030)) >> drop) << drop;
}

LANE_CODE bool are_digits(uint64_t word)
{
	return (((word + UINT64_C(0x7676767676767676)) | word) & UINT64_C(0x8080808080808080)) == 0;
}

LANE_CODE uint32_t value_of_digits(uint64_t word)
{
	const uint64_t mask = UINT64_C(0x000000ff000000ff);
	word = word * 10 + (word >> 8);
	return (uint32_t)(((word & mask) * (100 + (UINT64_C(1000000) << 32)) +
	                   (word >> 16 & mask) * (1 + (UINT64_C(10000) << 32))) >> 32);
}

LANE_CODE uint32_t id_number(const char *text, size_t length)
{
	if (length > 8)
		return decimal_number(text, length);
	const uint64_t digits = digits_before(text + length, length);
	return are_digits(digits) && (text[0] != '0' || length == 1) ? value_of_digits(digits) : (uint32_t)DECIMAL_NONE;
}

LANE_CODE bool take_time(const char *text, size_t length, int64_t *time)
{
	if (length - 1 < 8) {
		const uint64_t digits = digits_before(text + length, length);
		*time = value_of_digits(digits);
		if (are_digits(digits))
			return true;
	} else if (length - 1 < 16) {
		const uint64_t low = digits_before(text + length, 8), high = digits_before(text + length - 8, length - 8);
		*time = (int64_t)value_of_digits(high) * 100000000 + value_of_digits(low);
		if (are_digits(low) && are_digits(high))
			return true;
	}
	return csv_time_of(text, length, time);
}

/* Nearly all ratings are one digit, or two with a point between them. */
LANE_CODE bool is_short_rating(uint32_t key, size_t length)
{
	const unsigned first = (key & 0xff) - '0', second = (key >> 16 & 0xff) - '0';
	return first <= 9 && (length == 1 || (length == 3 && second <= 9 && (key >> 8 & 0xff) == '.'));
}

LANE_CODE bool take_rating(const char *text, size_t length, uint32_t *key)
{
	static const uint32_t kept[5] = {0, 0xff, 0xffff, 0xffffff, 0xffffffff};
	const uint32_t word = (uint32_t)load_word(text);
	double value;
	*key = length <= 4 ? word & kept[length] : 0;
	return is_short_rating(word, length) || csv_rating_of(text, length, &value);
}

/* ---- one row ---- */

/* What the rows of a stretch have in common, and where the next one goes. */
struct cutter {
	const struct csv_scan_shape *shape;
	const char *bytes;
	struct csv_scan *scan;
	const uint32_t *marks;     /* of the next row */
	size_t left;               /* marks from there on */
	unsigned stride;           /* marks of a row: its delimiters and the newline */
	unsigned columns, width;   /* of the shape, constants where it is the usual one */
	uint32_t line;             /* where the row begins */
};

LANE_CODE uint32_t field_of(const struct cutter *cutter, uint32_t end, int column, size_t *length)
{
	const unsigned at = (unsigned)column;
	const uint32_t from = at ? cutter->marks[at * cutter->width - 1] + 1 : cutter->line;
	*length = (at == cutter->columns - 1 ? end : cutter->marks[at * cutter->width]) - from;
	return from;
}

LANE_CODE bool take_fields(const struct cutter *cutter, uint32_t end)
{
	const int *at = cutter->shape->at;
	const char *bytes = cutter->bytes;
	struct csv_scan *scan = cutter->scan;
	const size_t row = scan->row_count;
	size_t user_length, item_length, length = 0;
	struct csv_place place = {0};
	place.user_at = field_of(cutter, end, at[COLUMN_USER], &user_length);
	place.item_at = field_of(cutter, end, at[COLUMN_ITEM], &item_length);
	if (user_length == 0 || item_length == 0)
		return false;
	scan->users[row] = id_number(bytes + place.user_at, user_length);
	scan->items[row] = id_number(bytes + place.item_at, item_length);
	scan->ratings[row] = 0;
	scan->times[row] = 0;
	if (at[COLUMN_RATING] >= 0) {
		place.rating_at = field_of(cutter, end, at[COLUMN_RATING], &length);
		if (!take_rating(bytes + place.rating_at, length, &scan->ratings[row]))
			return false;
	}
	place.user_length = (uint16_t)user_length;
	place.item_length = (uint16_t)item_length;
	place.rating_length = (uint16_t)length;
	scan->places[row] = place;
	if (at[COLUMN_TIME] < 0)
		return true;
	const uint32_t time_at = field_of(cutter, end, at[COLUMN_TIME], &length);
	return take_time(bytes + time_at, length, &scan->times[row]);
}

/* Takes the row whose marks come next, if it is ordinary. */
LANE_CODE bool take_row(struct cutter *cutter)
{
	const uint32_t *marks = cutter->marks;
	const unsigned last = cutter->stride - 1;
	uint32_t strange = marks[last] ^ newline_mark;
	for (unsigned m = 0; m < last; m++)
		strange |= marks[m];
	bool whole = (strange & mark_kinds) == 0;
	for (unsigned m = 0; cutter->width == 2 && m < last; m += 2)
		whole &= marks[m + 1] == marks[m] + 1;
	const uint32_t stop = marks[last] & ~mark_kinds;
	if (!whole || stop - cutter->line > CSV_SCAN_LINE_MAX)
		return false;
	const uint32_t end = stop - (stop > cutter->line && cutter->bytes[stop - 1] == '\r');
	if ((end != stop && cutter->bytes[end - 1] == '\r') || !take_fields(cutter, end))
		return false;
	cutter->scan->row_count++;
	cutter->marks += cutter->stride;
	cutter->left -= cutter->stride;
	cutter->line = stop + 1;
	return true;
}

/* ---- eight rows ---- */

#if defined(CSV_SCAN_HAS_LANES)

/* Where a column of each of the eight rows begins, and its length. */
struct span_of_eight {
	n32 begin, length;
};

struct eight {
	n32 marks[2 * CSV_SCAN_COLUMNS_MAX - 1]; /* the first of each row, the second, … */
	n32 lines, ends;                         /* of the rows, without newline and CR */
};

/* Looks whether the marks to come are those of eight ordinary rows. */
LANE_CODE bool are_rows(const struct cutter *cutter, struct eight *eight)
{
	const unsigned last = cutter->stride - 1;
	n32 strange = n32_set(0);
	if (cutter->stride == 4)
		n32_fours(cutter->marks, eight->marks);
	for (unsigned m = 0; m <= last; m++) {
		if (cutter->stride != 4)
			eight->marks[m] = n32_stride(cutter->marks + m, cutter->stride);
		/* Of a delimiter of two characters, the second is behind the first: else as if it were odd. */
		if (cutter->width == 2 && m % 2 == 1)
			strange = n32_or(strange, n32_xor(n32_equal(eight->marks[m], n32_add(eight->marks[m - 1], n32_set(1))),
			                                  n32_set(UINT32_MAX)));
		strange = n32_or(strange, m < last ? eight->marks[m] : n32_xor(eight->marks[m], n32_set(newline_mark)));
	}
	if (n32_any(n32_and(strange, n32_set(mark_kinds))))
		return false;
	eight->ends = n32_xor(eight->marks[last], n32_set(newline_mark));
	eight->lines = n32_add(n32_behind(cutter->line - 1, eight->ends), n32_set(1));
	return true;
}

/* CRs before the newlines: all eight lines have one, or none has. Longer lines and two CRs are left. */
LANE_CODE bool find_ends(const struct cutter *cutter, struct eight *eight)
{
	const n32 tails = n32_text(cutter->bytes, n32_sub(eight->ends, n32_set(2)));
	const n32 last = n32_equal(n32_and(tails, n32_set(0xff00)), n32_set('\r' << 8));
	const n32 before = n32_equal(n32_and(tails, n32_set(0xff)), n32_set('\r'));
	if (n32_any(n32_above(n32_sub(eight->ends, eight->lines), n32_set(CSV_SCAN_LINE_MAX))))
		return false;
	if (n32_any(last)) {
		if (!n32_all(last) || n32_any(before))
			return false;
		eight->ends = n32_sub(eight->ends, n32_set(1));
	}
	return true;
}

LANE_CODE struct span_of_eight column_of(const struct cutter *cutter, const struct eight *eight, int column)
{
	const unsigned at = (unsigned)column;
	const n32 begin = at ? n32_add(eight->marks[at * cutter->width - 1], n32_set(1)) : eight->lines;
	const n32 end = at == cutter->columns - 1 ? eight->ends : eight->marks[at * cutter->width];
	return (struct span_of_eight){begin, n32_sub(end, begin)};
}

/* Lengths that are not 1 to `most`. */
LANE_CODE n32 outside(n32 length, uint32_t most)
{
	return n32_or(n32_above(n32_set(1), length), n32_above(length, n32_set(most)));
}

LANE_CODE w64 digits_of(const struct cutter *cutter, struct span_of_eight span, uint32_t skipped)
{
	const n32 length = n32_sub(span.length, n32_set(skipped));
	return w64_digits(w64_text(cutter->bytes, n32_add(span.begin, length)), length);
}

/* The number of eight ids of one to eight digits. What is none shows in *odd, or in *digits. */
LANE_CODE n32 numbers_of(const struct cutter *cutter, struct span_of_eight span, n32 *odd, w64 *digits)
{
	const w64 own = digits_of(cutter, span, 0);
	const n32 numbers = w64_narrow(w64_value(own)), least = n32_least(n32_sub(span.length, n32_set(1)));
	*digits = w64_max_bytes(*digits, own);
	*odd = n32_or(*odd, n32_or(outside(span.length, 8), n32_above(least, numbers)));
	return numbers;
}

/* Times of one to sixteen digits. */
LANE_CODE w64 times_of(const struct cutter *cutter, struct span_of_eight span, n32 *odd, w64 *digits)
{
	const w64 low = digits_of(cutter, span, 0), high = digits_of(cutter, span, 8);
	*digits = w64_max_bytes(*digits, w64_max_bytes(low, high));
	*odd = n32_or(*odd, outside(span.length, 16));
	return w64_joined(w64_value(high), w64_value(low));
}

/* Ratings like 4 and 3.5 all at once, others one by one. */
LANE_CODE bool take_ratings(const struct cutter *cutter, struct span_of_eight span, uint32_t *keys)
{
	const n32 one = n32_equal(span.length, n32_set(1)), three = n32_equal(span.length, n32_set(3));
	const n32 key = n32_kept(n32_text(cutter->bytes, span.begin), span.length);
	const n32 digits = n32_xor(key, n32_or(n32_and(three, n32_set(0x302e30)), n32_and(one, n32_set(0x30))));
	const n32 more = n32_and(n32_or(digits, n32_add(digits, n32_set(0x060006))), n32_set(0xfff0fff0));
	n32_store(keys, key);
	if (n32_all(n32_and(n32_or(one, three), n32_equal(more, n32_set(0)))))
		return true;
	uint32_t begins[ROWS_AT_ONCE], lengths[ROWS_AT_ONCE];
	bool good = true;
	n32_store(begins, span.begin);
	n32_store(lengths, span.length);
	for (int i = 0; i < ROWS_AT_ONCE; i++)
		good &= lengths[i] <= 4 && take_rating(cutter->bytes + begins[i], lengths[i], &keys[i]);
	return good;
}

/* Takes the next eight rows if they are ordinary, their ids are numbers of up to eight digits, their ratings of up to
 * four characters. Others are no worse, but slower. */
LANE_CODE bool take_eight(struct cutter *cutter)
{
	const int *at = cutter->shape->at;
	struct csv_scan *scan = cutter->scan;
	const size_t row = scan->row_count;
	struct eight eight;
	n32 odd = n32_set(0);
	w64 digits = w64_set(0), times = digits;
	if (!are_rows(cutter, &eight))
		return false;
	const uint32_t next = n32_last(eight.ends) + 1;
	if (!find_ends(cutter, &eight))
		return false;
	n32_store(scan->users + row, numbers_of(cutter, column_of(cutter, &eight, at[COLUMN_USER]), &odd, &digits));
	n32_store(scan->items + row, numbers_of(cutter, column_of(cutter, &eight, at[COLUMN_ITEM]), &odd, &digits));
	if (at[COLUMN_TIME] >= 0)
		times = times_of(cutter, column_of(cutter, &eight, at[COLUMN_TIME]), &odd, &digits);
	w64_store(scan->times + row, times);
	n32_store(scan->ratings + row, n32_set(0));
	if (n32_any(odd) || !w64_are_digits(digits) ||
	    (at[COLUMN_RATING] >= 0 &&
	     !take_ratings(cutter, column_of(cutter, &eight, at[COLUMN_RATING]), scan->ratings + row)))
		return false;
	scan->row_count += ROWS_AT_ONCE;
	cutter->marks += ROWS_AT_ONCE * cutter->stride;
	cutter->left -= ROWS_AT_ONCE * cutter->stride;
	cutter->line = next;
	return true;
}

#else

LANE_CODE bool take_eight(struct cutter *cutter)
{
	(void)cutter;
	return false;
}

#endif

/* ---- all rows ---- */

/* Notes [begin, end) as odd; what follows the odd line before it joins that one. */
LANE_CODE void add_odd(struct csv_scan *scan, uint32_t begin, uint32_t end)
{
	struct csv_odd *last = &scan->odds[scan->odd_count];
	if (scan->odd_count > 0 && last[-1].row == scan->row_count)
		last[-1].end = end;
	else
		scan->odds[scan->odd_count++] = (struct csv_odd){begin, end, (uint32_t)scan->row_count};
}

/* Goes to the end of an odd line: true when its newline is among the marks. */
LANE_CODE bool skip_line(struct cutter *cutter)
{
	for (; cutter->left > 0; cutter->marks++, cutter->left--)
		if (*cutter->marks & newline_mark) {
			const uint32_t next = (*cutter->marks & ~mark_kinds) + 1;
			add_odd(cutter->scan, cutter->line, next);
			cutter->line = next;
			cutter->marks++;
			cutter->left--;
			return true;
		}
	return false;
}

/* Takes rows while `enough` marks are left. *skipping: within an odd line. */
LANE_CODE void take_rows(struct cutter *cutter, size_t enough, bool *skipping)
{
	unsigned singly = 0; /* rows until eight are tried together again */
	for (;;) {
		if (*skipping && !skip_line(cutter))
			return;
		*skipping = false;
		if (cutter->left < enough)
			return;
		if (singly == 0 && cutter->left >= ROWS_AT_ONCE * cutter->stride) {
			if (take_eight(cutter))
				continue;
			singly = ROWS_AT_ONCE;
		}
		singly -= singly > 0;
		*skipping = !take_row(cutter);
	}
}

/* Inlined with constant columns and width where it matters. */
LANE_CODE void scan_all(struct cutter cutter, size_t begin, size_t end)
{
	uint32_t *marks = cutter.scan->marks;
	const size_t group = ROWS_AT_ONCE * cutter.stride;
	bool skipping = false;
	for (size_t at = begin; at < end; at += MARKED_AT_ONCE) {
		const size_t stop = end - at < MARKED_AT_ONCE ? end : at + MARKED_AT_ONCE;
		if (cutter.left > 0)
			memmove(marks, cutter.marks, cutter.left * sizeof *marks);
		cutter.left += find_marks(cutter.bytes, at, stop, cutter.shape->delimiter, marks + cutter.left);
		cutter.marks = marks;
		take_rows(&cutter, stop < end ? group : cutter.stride, &skipping);
	}
	/* What is left has too few marks for a row: a last line, perhaps short ones. */
	while (skip_line(&cutter))
		;
	if (cutter.line < end)
		add_odd(cutter.scan, cutter.line, (uint32_t)end);
}

csv_scan_function JOIN(csv_scan_, KERNEL_ISA);

void JOIN(csv_scan_, KERNEL_ISA)(const struct csv_scan_shape *shape, const char *bytes, size_t begin, size_t end,
                                 struct csv_scan *scan)
{
	/* The usual shapes as constants, which leaves no arithmetic of columns in the loop. */
	static const int usual[RATINGS_COLUMNS] = {0, 1, 2, 3};
	static const struct csv_scan_shape known = {.columns = 4, .at = {0, 1, 2, 3}};
	const bool is_usual = shape->columns == 4 && memcmp(shape->at, usual, sizeof usual) == 0;
	const unsigned stride = shape->columns ? (shape->columns - 1) * shape->width + 1 : 1;
	struct cutter cutter = {.shape = shape, .bytes = bytes, .scan = scan, .stride = stride, .columns = shape->columns,
	                        .width = shape->width, .line = (uint32_t)begin};
	scan->row_count = scan->odd_count = 0;
	if (shape->columns == 0) {
		if (begin < end)
			add_odd(scan, (uint32_t)begin, (uint32_t)end);
	} else if (is_usual && shape->width == 1) {
		struct csv_scan_shape here = known;
		here.delimiter = shape->delimiter;
		scan_all((struct cutter){.shape = &here, .bytes = bytes, .scan = scan, .stride = 4, .columns = 4, .width = 1,
		                         .line = (uint32_t)begin}, begin, end);
	} else {
		scan_all(cutter, begin, end);
	}
}
