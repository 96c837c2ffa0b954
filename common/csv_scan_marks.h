/* Where delimiters, newlines and bytes that make a line odd are: 64 bytes at a time become masks, masks become marks,
 * positions that carry their kind. Included by csv_scan_isa.c alone. */
#ifndef RECPIPE_CSV_SCAN_MARKS_H
#define RECPIPE_CSV_SCAN_MARKS_H

#include <endian.h>

#include "simd.h"

static const uint32_t newline_mark = UINT32_C(1) << 31, odd_mark = UINT32_C(1) << 30, mark_kinds = UINT32_C(3) << 30;

/* Eight bytes as a number, the first one lowest. */
LANE_CODE uint64_t load_word(const char *at)
{
	uint64_t word;
	memcpy(&word, at, sizeof word);
	return le64toh(word);
}

/* ---- masks: bit i for byte i of 64 ---- */

struct masks {
	uint64_t delimiters, newlines, odd; /* odd: quotes, NUL, what is above 127 */
};

#if defined(KERNEL_ISA_avx512)

LANE_CODE struct masks masks_of(const char *at, char delimiter)
{
	const __m512i bytes = _mm512_loadu_si512((const void *)at);
	return (struct masks){_mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8(delimiter)),
	                      _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8('\n')),
	                      _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8('"')) |
	                          _mm512_cmple_epi8_mask(bytes, _mm512_setzero_si512())};
}

#elif defined(KERNEL_ISA_avx2)

LANE_CODE uint64_t bits_of(__m256i low, __m256i high)
{
	return (uint32_t)_mm256_movemask_epi8(low) | (uint64_t)(uint32_t)_mm256_movemask_epi8(high) << 32;
}

LANE_CODE __m256i odd_bytes(__m256i bytes)
{
	return _mm256_or_si256(bytes, _mm256_or_si256(_mm256_cmpeq_epi8(bytes, _mm256_set1_epi8('"')),
	                                              _mm256_cmpeq_epi8(bytes, _mm256_setzero_si256())));
}

LANE_CODE struct masks masks_of(const char *at, char delimiter)
{
	const __m256i low = _mm256_loadu_si256((const __m256i *)(const void *)at);
	const __m256i high = _mm256_loadu_si256((const __m256i *)(const void *)(at + 32));
	const __m256i split = _mm256_set1_epi8(delimiter), newline = _mm256_set1_epi8('\n');
	return (struct masks){bits_of(_mm256_cmpeq_epi8(low, split), _mm256_cmpeq_epi8(high, split)),
	                      bits_of(_mm256_cmpeq_epi8(low, newline), _mm256_cmpeq_epi8(high, newline)),
	                      bits_of(odd_bytes(low), odd_bytes(high))};
}

#else

/* The top bit of each byte of `word` that is zero. */
LANE_CODE uint64_t zero_bytes(uint64_t word)
{
	const uint64_t low = UINT64_C(0x7f7f7f7f7f7f7f7f);
	return ~(((word & low) + low) | word | low);
}

/* Eight top bits as bits i .. i + 7. */
LANE_CODE uint64_t bits_of(uint64_t tops, int i)
{
	return ((tops >> 7) * UINT64_C(0x0102040810204080) >> 56) << i;
}

LANE_CODE struct masks masks_of(const char *at, char delimiter)
{
	const uint64_t ones = UINT64_C(0x0101010101010101), tops = ones << 7;
	struct masks masks = {0, 0, 0};
	uint64_t any_odd = 0;
	for (int i = 0; i < 64; i += 8) {
		const uint64_t word = load_word(at + i);
		masks.delimiters |= bits_of(zero_bytes(word ^ (ones * (unsigned char)delimiter)), i);
		masks.newlines |= bits_of(zero_bytes(word ^ (ones * '\n')), i);
		any_odd |= zero_bytes(word ^ (ones * '"')) | zero_bytes(word) | (word & tops);
	}
	for (int i = 0; any_odd && i < 64; i += 8) {
		const uint64_t word = load_word(at + i);
		masks.odd |= bits_of(zero_bytes(word ^ (ones * '"')) | zero_bytes(word) | (word & tops), i);
	}
	return masks;
}

#endif

/* ---- marks: positions and kinds ---- */

#if defined(KERNEL_ISA_avx512)

/* Writes the marks of 64 bytes from `at` on, and up to 16 more values that mean nothing. Returns how many there are. */
LANE_CODE size_t put_marks(uint32_t at, const struct masks *masks, uint32_t *to)
{
	const uint64_t all = masks->delimiters | masks->newlines | masks->odd;
	const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
	size_t count = 0;
	for (unsigned i = 0; i < 64; i += 16) {
		__m512i marks = _mm512_add_epi32(lanes, _mm512_set1_epi32((int)(at + i)));
		marks = _mm512_mask_or_epi32(marks, (__mmask16)(masks->newlines >> i), marks, _mm512_set1_epi32(INT32_MIN));
		if (__builtin_expect(masks->odd != 0, 0))
			marks = _mm512_mask_or_epi32(marks, (__mmask16)(masks->odd >> i), marks, _mm512_set1_epi32((int)odd_mark));
		_mm512_storeu_si512(to + count, _mm512_maskz_compress_epi32((__mmask16)(all >> i), marks));
		count += (size_t)__builtin_popcountll(all >> i & 0xffff);
	}
	return count;
}

#else

LANE_CODE void set_kind(uint64_t all, uint64_t which, uint32_t kind, uint32_t *marks)
{
	for (; which; which &= which - 1)
		marks[__builtin_popcountll(all & ((which & -which) - 1))] |= kind;
}

/* Bits are taken by eights without asking how many are left: what is written too much is written over. */
LANE_CODE size_t put_marks(uint32_t at, const struct masks *masks, uint32_t *to)
{
	const uint64_t all = masks->delimiters | masks->newlines | masks->odd;
	const size_t count = (size_t)__builtin_popcountll(all);
	uint64_t rest = all;
	uint32_t *next = to;
	for (size_t taken = 0; taken < count; taken += 8)
		for (int i = 0; i < 8; i++, rest &= rest - 1)
			*next++ = at + (rest ? (uint32_t)__builtin_ctzll(rest) : 0);
	set_kind(all, masks->newlines, newline_mark, to);
	set_kind(all, masks->odd, odd_mark, to);
	return count;
}

#endif

/* The marks of [begin, end). Returns how many there are. */
LANE_CODE size_t find_marks(const char *bytes, size_t begin, size_t end, char delimiter, uint32_t *marks)
{
	size_t count = 0;
	for (size_t at = begin; at < end; at += 64) {
		struct masks masks = masks_of(bytes + at, delimiter);
		if (end - at < 64) {
			const uint64_t inside = (UINT64_C(1) << (end - at)) - 1;
			masks = (struct masks){masks.delimiters & inside, masks.newlines & inside, masks.odd & inside};
		}
		count += put_marks((uint32_t)at, &masks, marks + count);
	}
	return count;
}

#endif
