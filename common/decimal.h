/* Decimal integers in text: the strings that are the usual way to write a small number, and numbers going out.
 *
 * Most ids are such strings, and two of them are equal exactly when their numbers are: tables compare four bytes
 * instead of two texts. */
#ifndef RECPIPE_DECIMAL_H
#define RECPIPE_DECIMAL_H

#include "compat.h"

#include <endian.h>

enum {
	DECIMAL_NONE = -1,      /* as uint32_t: not such a string */
	DECIMAL_DIGITS_MAX = 9, /* so that the number is below 2^30 */
	DECIMAL_TEXT_MAX = 20,  /* bytes of a 64-bit integer with its sign */
};

/* The number of "0", "7", "1234": one to nine digits without leading zeros; else (uint32_t)DECIMAL_NONE. */
static inline uint32_t decimal_number(const char *text, size_t length)
{
	if (length - 1 >= DECIMAL_DIGITS_MAX || (text[0] == '0' && length > 1))
		return (uint32_t)DECIMAL_NONE;
	uint32_t number = 0;
	for (size_t i = 0; i < length; i++) {
		const uint32_t digit = (uint32_t)((unsigned char)text[i] - '0');
		if (digit > 9)
			return (uint32_t)DECIMAL_NONE;
		number = number * 10 + digit;
	}
	return number;
}

/* Eight digits of a number below 10^8, the first one in the lowest byte, as 0 to 9: halves, quarters, eighths at once
 * (Muła, "Converting unsigned integers to decimal strings", 2011; divisions by multiplying, exact in their ranges). */
static inline uint64_t decimal_digits(uint32_t number)
{
	const uint64_t fours = number / 10000 | (uint64_t)(number % 10000) << 32;
	const uint64_t hundreds = (fours * 10486) >> 20 & UINT64_C(0x0000007f0000007f);
	const uint64_t twos = hundreds | (fours - hundreds * 100) << 16;
	const uint64_t tens = (twos * 103) >> 10 & UINT64_C(0x000f000f000f000f);
	return tens | (twos - tens * 10) << 8;
}

static inline void decimal_put_word(char *to, uint64_t word)
{
	word = htole64(word);
	memcpy(to, &word, sizeof word);
}

/* Writes `value` < 10^8 without leading zeros: eight bytes may be written to. Returns what is behind it. */
static inline char *decimal_write_eight(char *to, uint32_t value)
{
	const uint64_t digits = decimal_digits(value);
	const unsigned skipped = (unsigned)__builtin_ctzll(digits | UINT64_C(1) << 56) / 8;
	decimal_put_word(to, (digits | UINT64_C(0x3030303030303030)) >> 8 * skipped);
	return to + 8 - skipped;
}

/* Exactly eight digits. */
static inline char *decimal_pad_eight(char *to, uint32_t value)
{
	decimal_put_word(to, decimal_digits(value) | UINT64_C(0x3030303030303030));
	return to + 8;
}

/* Writes `value` at `to` (room for DECIMAL_TEXT_MAX bytes, no NUL). Returns what is behind it. Times are of nine or ten
 * digits: these have a way of their own. */
static inline char *decimal_write(char *to, int64_t value)
{
	const uint64_t eight = 100000000;
	uint64_t size = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
	if (value < 0)
		*to++ = '-';
	if (size < eight)
		return decimal_write_eight(to, (uint32_t)size);
	const uint64_t high = size / eight;
	if (high < 100) {
		if (high >= 10)
			*to++ = (char)('0' + high / 10);
		*to++ = (char)('0' + high % 10);
	} else if (high < eight) {
		to = decimal_write_eight(to, (uint32_t)high);
	} else {
		to = decimal_write_eight(to, (uint32_t)(high / eight)); /* at most three digits */
		to = decimal_pad_eight(to, (uint32_t)(high % eight));
	}
	return decimal_pad_eight(to, (uint32_t)(size - high * eight));
}

#endif
