/* Products of warps over tiles of bf16 in shared memory, two to a word, for towers whose widths are known when the kernels
 * are compiled (wide.h). Operands are rounded once, when a tile is written; sums stay in registers.
 *
 * A tile is [row][pitch] words, and a row has four words more than it needs: so rows are an odd number of times 16 bytes
 * apart, and the eight rows of 16 bytes that ldmatrix (PTX ISA, "Warp-level matrix load instruction: ldmatrix") reads at
 * once lie in different banks. It gives lane l of each of four matrices of 8 by 8 row l / 4, columns 2 (l % 4) and the
 * next one, or, transposed, column l / 4 and those rows: which is what mma takes (mma.h), so an operand may lie along its
 * depth, or `turned`, across it. */
#ifndef RECPIPE_CUDA_WIDE_MMA_H
#define RECPIPE_CUDA_WIDE_MMA_H

#include "mma.h"
#include "tile.h"

enum {
	WIDE_TILE = 64,           /* rows of a tile: samples, or rows of a table */
	WIDE_PAD = 4,             /* words behind a row */
	WIDE_DEPTH = 16,          /* of one mma */
	WIDE_ACROSS = 4,          /* warps side by side; the others below */
};

ON_EITHER uint32_t wide_pitch(uint32_t columns)
{
	return columns / 2 + WIDE_PAD;
}

/* A factor of a product: element (i, k), k along the depth, is element i of row k where it is turned, else k of row i. */
struct operand {
	const uint32_t *words;
	uint32_t pitch;
	bool turned;
};

/* A lane's words of one step: a[i] of 16 rows, b[j] of two times 8 columns. */
struct wide_lane {
	uint32_t a[4][4], b[4][4];
};

ON_DEVICE struct operand operand_of(const uint32_t *words, uint32_t columns, const bool turned)
{
	struct operand x;
	x.words = words;
	x.pitch = wide_pitch(columns);
	x.turned = turned;
	return x;
}

#ifdef __CUDACC__

/* Elements [first, first + 16) by [depth, depth + 16) as mma takes them: on the left 8 by 8 down the elements first, on
 * the right along the depth first. */
ON_DEVICE void load_four(const bool left, const struct operand *x, uint32_t first, uint32_t depth, uint32_t l, uint32_t to[4])
{
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
	const uint32_t low = l / 8 % 2 * 8, high = l / 16 * 8;
	const uint32_t i = first + (left ? low : high), k = depth + (left ? high : low);
	const uint32_t row = (x->turned ? k : i) + l % 8, column = x->turned ? i : k;
	const uint32_t at = (uint32_t)__cvta_generic_to_shared(x->words + row * x->pitch + column / 2);
	if (x->turned)
		asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
		             : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3]) : "r"(at));
	else
		asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
		             : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3]) : "r"(at));
#else
	(void)left;
	(void)x;
	(void)first;
	(void)depth;
	(void)l;
	(void)to;
#endif
}

ON_DEVICE void multiply_words(const uint32_t tall, const uint32_t wide, struct wide_lane *r, float *sums)
{
	UNROLLED
	for (uint32_t i = 0; i < tall; i++) {
		UNROLLED
		for (uint32_t j = 0; j < wide; j++)
			mma_one(PRECISION_BF16, sums + (i * wide + j) * 4, r->a[i], &r->b[j / 2][j % 2 * 2]);
	}
}

#else

ON_DEVICE uint32_t element_of(const struct operand *x, uint32_t i, uint32_t k)
{
	const uint32_t row = x->turned ? k : i, column = x->turned ? i : k;
	return x->words[row * x->pitch + column / 2] >> column % 2 * 16 & 0xffffu;
}

ON_DEVICE void load_four(const bool left, const struct operand *x, uint32_t first, uint32_t depth, uint32_t l, uint32_t to[4])
{
	for (uint32_t m = 0; m < 4; m++) {
		const uint32_t i = first + l / 4 + (left ? m % 2 : m / 2) * 8;
		const uint32_t k = depth + l % 4 * 2 + (left ? m / 2 : m % 2) * 8;
		to[m] = element_of(x, i, k) | element_of(x, i, k + 1) << 16;
	}
}

ON_DEVICE void multiply_words(const uint32_t tall, const uint32_t wide, struct wide_lane *r, float *sums)
{
	struct lane one[WARP];
	for (uint32_t n = 0; n < tall * wide; n++) {
		float *const of = sums + n * 4;
		for (uint32_t l = 0; l < WARP; l++) {
			memcpy(one[l].a[0], r[l].a[n / wide], sizeof one[l].a[0]);
			memcpy(one[l].b[0], &r[l].b[n % wide / 2][n % 2 * 2], sizeof one[l].b[0]);
			memcpy(one[l].sum[0][0], of + l * tall * wide * 4, sizeof one[l].sum[0][0]);
		}
		mma_one(PRECISION_BF16, one, 0, 0);
		for (uint32_t l = 0; l < WARP; l++)
			memcpy(of + l * tall * wide * 4, one[l].sum[0][0], sizeof one[l].sum[0][0]);
	}
}

#endif

/* sums[i][j] += elements m + 16 i .. of the left factor by n + 8 j .. of the right one, over a depth. `tall`, `wide` (an
 * even number) and `depth` are constants; a lane has its 4 * tall * wide sums one behind the other. */
ON_DEVICE void multiply_block(const uint32_t tall, const uint32_t wide, const uint32_t depth, const struct operand *left,
                              uint32_t m, const struct operand *right, uint32_t n, float *sums)
{
	struct wide_lane r[WARP_LANES];
	UNROLLED
	for (uint32_t k = 0; k < depth; k += WIDE_DEPTH) {
		EACH_LANE(l) {
			UNROLLED
			for (uint32_t i = 0; i < tall; i++)
				load_four(true, left, m + i * MMA_ROWS, k, l, r[OF_LANE(l)].a[i]);
			UNROLLED
			for (uint32_t j = 0; j < wide; j += 2)
				load_four(false, right, n + j * MMA_COLUMNS, k, l, r[OF_LANE(l)].b[j / 2]);
		}
		multiply_words(tall, wide, r, sums);
	}
}

/* Where a warp's piece begins, of `rows` by `columns` for each: two of them below each other, four side by side. */
ON_DEVICE uint32_t piece_row(uint32_t warp, uint32_t rows)
{
	return warp / WIDE_ACROSS * rows;
}

ON_DEVICE uint32_t piece_column(uint32_t warp, uint32_t columns)
{
	return warp % WIDE_ACROSS * columns;
}

/* Sums of columns [n, ..) begin at `bias`, NULL: at zero. */
ON_DEVICE void start_columns(const uint32_t tall, const uint32_t wide, const float *bias, uint32_t n, uint32_t l, float *sums)
{
	UNROLLED
	for (uint32_t j = 0; j < wide; j++) {
		UNROLLED
		for (uint32_t e = 0; e < 2; e++) {
			const float start = bias ? bias[n + j * MMA_COLUMNS + l % 4 * 2 + e] : 0.0f;
			UNROLLED
			for (uint32_t i = 0; i < tall; i++)
				sums[(i * wide + j) * 4 + e] = sums[(i * wide + j) * 4 + 2 + e] = start;
		}
	}
}

/* A lane's pairs of sums: number p of 2 * tall * wide is at row pair_row(), column pair_column() of the piece. */
ON_DEVICE uint32_t pair_row(const uint32_t wide, uint32_t p, uint32_t l)
{
	return p / 2 / wide * MMA_ROWS + p % 2 * 8 + l / 4;
}

ON_DEVICE uint32_t pair_column(const uint32_t wide, uint32_t p, uint32_t l)
{
	return p / 2 % wide * MMA_COLUMNS + l % 4 * 2;
}

/* A weight, [outputs][stride] floats, as a tile. */
ON_DEVICE void copy_wide(uint32_t t, const float *weight, uint32_t stride, const uint32_t inputs, const uint32_t outputs,
                         uint32_t *words)
{
	for (uint32_t i = t; i < outputs * (inputs / 2); i += THREADS) {
		const uint32_t o = i / (inputs / 2), word = i % (inputs / 2);
		const float *const from = weight + (size_t)o * stride + 2 * word;
		words[o * wide_pitch(inputs) + word] = bf16_word(from[0], from[1]);
	}
}

/* The gradient of a piece of a weight, `tall` times 16 outputs from o on by `wide` times 8 inputs from k on, to where Adam
 * looks for it (fragments.h). */
ON_DEVICE void keep_fragments(const uint32_t tall, const uint32_t wide, const uint32_t inputs, uint32_t o, uint32_t k,
                              uint32_t l, const float *sums, float *gradient)
{
	UNROLLED
	for (uint32_t n = 0; n < tall * wide; n++) {
		const uint32_t row = o / MMA_ROWS + n / wide, column = k / MMA_COLUMNS + n % wide;
		const float *const sum = sums + 4 * n;
		struct float4 q;
		q.x = sum[0];
		q.y = sum[1];
		q.z = sum[2];
		q.w = sum[3];
		store_quad(gradient + ((size_t)row * (inputs / MMA_COLUMNS) + column) * FRAGMENT + 4 * l, q);
	}
}

#endif
