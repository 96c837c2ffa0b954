/* Lines into rows in two steps. The first writes down where delimiters, newlines and bytes that make a line odd are:
 * 64 bytes at a time become masks, masks become positions. The second takes as many marks as a row has columns,
 * looks whether they are what an ordinary row has there, and reads the numbers between them. Eight digits are one
 * load, one check and three multiplications (Lemire, "Quickly parsing eight digits", 2018; Muła's SWAR). */
#include <endian.h>

#include "csv_scan.h"
#include "decimal.h"
#include "simd.h"

/* Eight bytes as a number, the first one lowest. */
LANE_CODE uint64_t load_word(const char *at)
{
	uint64_t word;
	memcpy(&word, at, sizeof word);
	return le64toh(word);
}

/* ---- masks: bit i for byte i of 64 ---- */

#if defined(KERNEL_ISA_avx512)

LANE_CODE uint64_t mask_of(const char *at, char delimiter)
{
	const __m512i bytes = _mm512_loadu_si512((const void *)at);
	return _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8(delimiter)) |
	       _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8('\n')) |
	       _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8('"')) |
	       _mm512_cmple_epi8_mask(bytes, _mm512_setzero_si512()); /* NUL and what is above 127 */
}

#elif defined(KERNEL_ISA_avx2)

LANE_CODE uint32_t half_mask_of(const char *at, char delimiter)
{
	const __m256i bytes = _mm256_loadu_si256((const void *)at);
	const __m256i marked = _mm256_or_si256(_mm256_or_si256(_mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(delimiter)),
	                                                       _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8('\n'))),
	                                       _mm256_or_si256(_mm256_cmpeq_epi8(bytes, _mm256_set1_epi8('"')),
	                                                       _mm256_cmpeq_epi8(bytes, _mm256_setzero_si256())));
	return (uint32_t)_mm256_movemask_epi8(_mm256_or_si256(marked, bytes));
}

LANE_CODE uint64_t mask_of(const char *at, char delimiter)
{
	return half_mask_of(at, delimiter) | (uint64_t)half_mask_of(at + 32, delimiter) << 32;
}

#else

/* The top bit of each byte of `word` that is zero. */
LANE_CODE uint64_t zero_bytes(uint64_t word)
{
	const uint64_t low = UINT64_C(0x7f7f7f7f7f7f7f7f);
	return ~(((word & low) + low) | word | low);
}

LANE_CODE uint64_t mask_of(const char *at, char delimiter)
{
	const uint64_t ones = UINT64_C(0x0101010101010101), tops = ones << 7;
	uint64_t mask = 0;
	for (int i = 0; i < 8; i++) {
		const uint64_t word = load_word(at + 8 * i);
		const uint64_t marked = zero_bytes(word ^ (ones * (unsigned char)delimiter)) | zero_bytes(word ^ (ones * '\n')) |
		                        zero_bytes(word ^ (ones * '"')) | zero_bytes(word) | (word & tops);
		mask |= ((marked >> 7) * UINT64_C(0x0102040810204080) >> 56) << (8 * i);
	}
	return mask;
}

#endif

/* Positions of the marks of [begin, end). Bits are taken by eights without asking how many are left: what is
 * written too much is written over. Returns how many there are. */
LANE_CODE size_t find_marks(const char *bytes, size_t begin, size_t end, char delimiter, uint32_t *marks)
{
	size_t count = 0;
	for (size_t at = begin; at < end; at += 64) {
		uint64_t mask = mask_of(bytes + at, delimiter);
		if (end - at < 64)
			mask &= (UINT64_C(1) << (end - at)) - 1;
		const size_t found = (size_t)__builtin_popcountll(mask);
		uint32_t *to = marks + count;
		for (size_t taken = 0; taken < found; taken += 8)
			for (int i = 0; i < 8; i++, mask &= mask - 1)
				*to++ = (uint32_t)at + (mask ? (uint32_t)__builtin_ctzll(mask) : 0);
		count += found;
	}
	return count;
}

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

#define TEN(n) (n) / 10.0, (n + 1) / 10.0, (n + 2) / 10.0, (n + 3) / 10.0, (n + 4) / 10.0, (n + 5) / 10.0, \
		(n + 6) / 10.0, (n + 7) / 10.0, (n + 8) / 10.0, (n + 9) / 10.0
#define HUNDRED TEN(0), TEN(10), TEN(20), TEN(30), TEN(40), TEN(50), TEN(60), TEN(70), TEN(80), TEN(90)

/* Nearly all ratings are one digit, or two with a point between them. */
LANE_CODE bool take_rating(const char *text, size_t length, struct csv_row *row)
{
	static const uint32_t kept[5] = {0, 0xff, 0xffff, 0xffffff, 0xffffffff};
	static const double tenths[100] = {HUNDRED};
	const uint32_t key = (uint32_t)load_word(text);
	row->rating_key = length <= 4 ? key & kept[length] : 0;
	row->rating_length = (uint16_t)length;
	const unsigned first = (key & 0xff) - '0', second = (key >> 16 & 0xff) - '0';
	if (length == 3 && first <= 9 && second <= 9 && (key >> 8 & 0xff) == '.') {
		row->rating = tenths[first * 10 + second];
		return true;
	}
	if (length == 1 && first <= 9) {
		row->rating = (double)first;
		return true;
	}
	return csv_rating_of(text, length, &row->rating);
}

/* ---- rows ---- */

struct row_marks {
	const char *bytes;
	const uint32_t *marks; /* those of this row */
	uint32_t line, end;    /* of the row, without its line end */
	unsigned width, last;  /* of the delimiter; the last column */
};

LANE_CODE uint32_t field_of(const struct row_marks *row, int column, size_t *length)
{
	const unsigned at = (unsigned)column;
	const uint32_t from = at ? row->marks[at * row->width - 1] + 1 : row->line;
	*length = (at == row->last ? row->end : row->marks[at * row->width]) - from;
	return from;
}

LANE_CODE bool take_row(const struct csv_scan_shape *shape, const struct row_marks *marks, struct csv_row *row)
{
	size_t user_length, item_length, length;
	const char *bytes = marks->bytes;
	if (marks->end - marks->line > CSV_SCAN_LINE_MAX)
		return false;
	row->user_at = field_of(marks, shape->at[COLUMN_USER], &user_length);
	row->item_at = field_of(marks, shape->at[COLUMN_ITEM], &item_length);
	if (user_length == 0 || item_length == 0)
		return false;
	row->user_length = (uint16_t)user_length;
	row->item_length = (uint16_t)item_length;
	row->user_number = id_number(bytes + row->user_at, user_length);
	row->item_number = id_number(bytes + row->item_at, item_length);
	row->rating = 1.0;
	row->time = 0;
	row->rating_at = row->rating_key = row->rating_length = 0;
	if (shape->at[COLUMN_RATING] >= 0) {
		row->rating_at = field_of(marks, shape->at[COLUMN_RATING], &length);
		if (!take_rating(bytes + row->rating_at, length, row))
			return false;
	}
	if (shape->at[COLUMN_TIME] < 0)
		return true;
	const uint32_t time_at = field_of(marks, shape->at[COLUMN_TIME], &length);
	return take_time(bytes + time_at, length, &row->time);
}

/* The marks of an ordinary row of `columns` columns: delimiters, then a newline. */
LANE_CODE bool are_of_row(const char *bytes, const uint32_t *marks, char delimiter, unsigned columns, unsigned width)
{
	const unsigned newline = (columns - 1) * width;
	bool are = bytes[marks[newline]] == '\n';
	for (unsigned m = 0; m < newline; m++)
		are &= bytes[marks[m]] == delimiter;
	for (unsigned m = 0; width == 2 && m < newline; m += 2)
		are &= marks[m + 1] == marks[m] + 1;
	return are;
}

/* Notes [begin, end) as odd; what follows the odd line before it joins that one. */
LANE_CODE void add_odd(struct csv_scan *scan, uint32_t begin, uint32_t end)
{
	struct csv_odd *last = &scan->odds[scan->odd_count];
	if (scan->odd_count > 0 && last[-1].row == scan->row_count)
		last[-1].end = end;
	else
		scan->odds[scan->odd_count++] = (struct csv_odd){begin, end, (uint32_t)scan->row_count};
}

/* Inlined with constant columns and width where it matters. */
LANE_CODE void take_rows(const struct csv_scan_shape *shape, const char *bytes, size_t begin, size_t end, size_t count,
                         unsigned columns, unsigned width, struct csv_scan *scan)
{
	const uint32_t *marks = scan->marks;
	const unsigned newline = (columns - 1) * width;
	const char delimiter = shape->delimiter;
	uint32_t line = (uint32_t)begin;
	for (size_t m = 0; m < count; m++) {
		if (columns > 0 && count - m > newline && are_of_row(bytes, marks + m, delimiter, columns, width)) {
			const uint32_t stop = marks[m + newline];
			const uint32_t ended = stop - (stop > line && bytes[stop - 1] == '\r');
			const struct row_marks row = {bytes, marks + m, line, ended, width, columns - 1};
			if ((ended == stop || bytes[ended - 1] != '\r') && take_row(shape, &row, &scan->rows[scan->row_count])) {
				scan->row_count++;
				m += newline;
				line = stop + 1;
				continue;
			}
		}
		while (m < count && bytes[marks[m]] != '\n')
			m++;
		if (m == count)
			break;
		add_odd(scan, line, marks[m] + 1);
		line = marks[m] + 1;
	}
	if (line < end)
		add_odd(scan, line, (uint32_t)end);
}

csv_scan_function JOIN(csv_scan_, KERNEL_ISA);

void JOIN(csv_scan_, KERNEL_ISA)(const struct csv_scan_shape *shape, const char *bytes, size_t begin, size_t end,
                                 struct csv_scan *scan)
{
	const size_t count = find_marks(bytes, begin, end, shape->delimiter, scan->marks);
	scan->row_count = scan->odd_count = 0;
	/* The usual shapes as constants, which leaves no arithmetic of columns in the loop. */
	static const int usual[RATINGS_COLUMNS] = {0, 1, 2, 3};
	struct csv_scan_shape known = {.delimiter = shape->delimiter, .width = 1, .columns = 4, .at = {0, 1, 2, 3}};
	if (shape->columns != 4 || memcmp(shape->at, usual, sizeof usual) != 0)
		take_rows(shape, bytes, begin, end, count, shape->columns, shape->width, scan);
	else if (shape->width == 1)
		take_rows(&known, bytes, begin, end, count, 4, 1, scan);
	else
		take_rows(&known, bytes, begin, end, count, 4, 2, scan);
}
