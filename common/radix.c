/* See radix.h. */
#include "radix.h"

#include "mem.h"

enum { DIGIT_BITS_MAX = 11, DIGIT_BITS_FEW = 8, FEW = 4096, INSERTED = 24 };

/* Bits in which keys differ: nothing else has to be sorted by. */
static uint64_t differing(const uint64_t *keys, size_t count)
{
	uint64_t bits = 0;
	for (size_t i = 1; i < count; i++)
		bits |= keys[i] ^ keys[0];
	return bits;
}

/* One pass by the digit at `shift`. */
static void scatter(const uint64_t *from, uint64_t *to, size_t count, unsigned shift, unsigned digit_bits)
{
	size_t starts[1 << DIGIT_BITS_MAX], sum = 0;
	const uint64_t mask = (UINT64_C(1) << digit_bits) - 1;
	memset(starts, 0, sizeof *starts << digit_bits);
	for (size_t i = 0; i < count; i++)
		starts[from[i] >> shift & mask]++;
	for (size_t d = 0; d <= mask; d++) {
		const size_t here = starts[d];
		starts[d] = sum;
		sum += here;
	}
	for (size_t i = 0; i < count; i++)
		to[starts[from[i] >> shift & mask]++] = from[i];
}

static void insert_each(uint64_t *keys, size_t count, unsigned from_bit)
{
	for (size_t i = 1; i < count; i++) {
		const uint64_t key = keys[i];
		size_t j = i;
		for (; j > 0 && keys[j - 1] >> from_bit > key >> from_bit; j--)
			keys[j] = keys[j - 1];
		keys[j] = key;
	}
}

void radix_sort_with(uint64_t *keys, uint64_t *spare, size_t count, unsigned from_bit)
{
	const unsigned digit_bits = count < FEW ? DIGIT_BITS_FEW : DIGIT_BITS_MAX;
	uint64_t *from = keys;
	if (count <= INSERTED) {
		insert_each(keys, count, from_bit);
		return;
	}
	const uint64_t bits = differing(keys, count), mask = (UINT64_C(1) << digit_bits) - 1;
	for (unsigned shift = from_bit; shift < 64; shift += digit_bits) {
		if ((bits >> shift & mask) == 0)
			continue;
		uint64_t *to = from == keys ? spare : keys;
		scatter(from, to, count, shift, digit_bits);
		from = to;
	}
	if (from != keys)
		memcpy(keys, from, count * sizeof *keys);
}

int radix_sort(uint64_t *keys, size_t count, unsigned from_bit, struct error *error)
{
	uint64_t *spare = mem_alloc(count, sizeof *spare, error);
	if (!spare)
		return -1;
	radix_sort_with(keys, spare, count, from_bit);
	mem_free(spare);
	return 0;
}
