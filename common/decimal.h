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

/* Writes `value` < 10^16 without leading zeros: up to 16 bytes may be written to. Returns what is behind it. */
static inline char *decimal_write_short(char *to, uint64_t value)
{
	const uint64_t eight = 100000000, zeros = UINT64_C(0x3030303030303030);
	const uint64_t high = value / eight;
	const uint64_t digits = decimal_digits((uint32_t)(high ? high : value));
	const unsigned skipped = (unsigned)__builtin_ctzll(digits | UINT64_C(1) << 56) / 8;
	decimal_put_word(to, (digits | zeros) >> 8 * skipped);
	to += 8 - skipped;
	if (high) {
		decimal_put_word(to, decimal_digits((uint32_t)(value % eight)) | zeros);
		to += 8;
	}
	return to;
}

/* Writes `value` at `to` (room for DECIMAL_TEXT_MAX bytes, no NUL). Returns what is behind it. */
static inline char *decimal_write(char *to, int64_t value)
{
	const uint64_t eight = 100000000, sixteen = eight * eight, zeros = UINT64_C(0x3030303030303030);
	const uint64_t size = value < 0 ? 0 - (uint64_t)value : (uint64_t)value, rest = size % sixteen;
	if (value < 0)
		*to++ = '-';
	if (size < sixteen)
		return decimal_write_short(to, size);
	to = decimal_write_short(to, size / sixteen); /* at most three digits */
	decimal_put_word(to, decimal_digits((uint32_t)(rest / eight)) | zeros);
	decimal_put_word(to + 8, decimal_digits((uint32_t)(rest % eight)) | zeros);
	return to + 16;
}

#endif
