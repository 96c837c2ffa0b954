/* See radix.h. */
#include "radix.h"

#include "mem.h"

enum { DIGIT_BITS = 11, DIGITS = 1 << DIGIT_BITS };

/* Bits in which keys differ: nothing else has to be sorted by. */
static uint64_t differing(const uint64_t *keys, size_t count)
{
	uint64_t bits = 0;
	for (size_t i = 1; i < count; i++)
		bits |= keys[i] ^ keys[0];
	return bits;
}

/* One pass by the digit at `shift`. */
static void scatter(const uint64_t *from, uint64_t *to, size_t count, unsigned shift, size_t *starts)
{
	size_t sum = 0;
	memset(starts, 0, DIGITS * sizeof *starts);
	for (size_t i = 0; i < count; i++)
		starts[from[i] >> shift & (DIGITS - 1)]++;
	for (size_t d = 0; d < DIGITS; d++) {
		const size_t here = starts[d];
		starts[d] = sum;
		sum += here;
	}
	for (size_t i = 0; i < count; i++)
		to[starts[from[i] >> shift & (DIGITS - 1)]++] = from[i];
}

int radix_sort(uint64_t *keys, size_t count, unsigned from_bit, struct error *error)
{
	const uint64_t bits = differing(keys, count);
	uint64_t *scratch = mem_alloc(count, sizeof *scratch, error), *from = keys;
	size_t *starts = mem_alloc(DIGITS, sizeof *starts, error);
	int result = -1;
	if (!scratch || !starts)
		goto out;
	for (unsigned shift = from_bit; shift < 64; shift += DIGIT_BITS) {
		if ((bits >> shift & (DIGITS - 1)) == 0)
			continue;
		uint64_t *to = from == keys ? scratch : keys;
		scatter(from, to, count, shift, starts);
		from = to;
	}
	if (from != keys)
		memcpy(keys, from, count * sizeof *keys);
	result = 0;
out:
	mem_free(scratch);
	mem_free(starts);
	return result;
}
