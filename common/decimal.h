/* Decimal integers in text: the strings that are the usual way to write a small number, and numbers going out.
 *
 * Most ids are such strings, and two of them are equal exactly when their numbers are: tables compare four bytes
 * instead of two texts. */
#ifndef RECPIPE_DECIMAL_H
#define RECPIPE_DECIMAL_H

#include "compat.h"

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

/* Writes `value` at `to` (room for DECIMAL_TEXT_MAX bytes, no NUL). Returns what is behind it. */
static inline char *decimal_write(char *to, int64_t value)
{
	static const char pairs[] =
		"0001020304050607080910111213141516171819202122232425262728293031323334353637383940414243444546474849"
		"5051525354555657585960616263646566676869707172737475767778798081828384858687888990919293949596979899";
	char digits[DECIMAL_TEXT_MAX];
	size_t at = sizeof digits;
	uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
	for (; rest >= 100; rest /= 100)
		memcpy(digits + (at -= 2), pairs + rest % 100 * 2, 2);
	if (rest >= 10)
		memcpy(digits + (at -= 2), pairs + rest * 2, 2);
	else
		digits[--at] = (char)('0' + rest);
	if (value < 0)
		digits[--at] = '-';
	memcpy(to, digits + at, sizeof digits - at);
	return to + (sizeof digits - at);
}

#endif
