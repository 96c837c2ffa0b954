/* Products of a warp by tensor cores: a lane's registers, and mma.sync (PTX ISA 9.0, "Matrix multiply-accumulate
 * operation using mma instruction"), which adds A[16][depth] B[depth][8] to D[16][8]. m16n8k8 takes tf32, of depth 8, the
 * low 13 bits of a float rounded off (cvt.rna.tf32.f32: to nearest, ties away from zero); m16n8k16 takes bf16, of depth 16,
 * two to a register (cvt.rn.bf16x2.f32: ties to even). Sums are single precision.
 *
 * Which elements a register holds is that document's "Matrix Fragments for mma.m16n8k8" and "for mma.m16n8k16 with
 * floating point type", which CUTLASS's cute/atom/mma_traits_sm80.hpp says again. With g = lane / 4 and t = lane % 4, and a
 * word being one tf32 or two bf16 that follow each other in depth, the lower half first, so that depth is always 8 words:
 *
 *   A, register i of 4: row g + 8 (i % 2), word t + 4 (i / 2)
 *   B, register i of 2: word t + 4 i, column g
 *   D, register i of 4: row g + 8 (i / 2), column 2 t + i % 2
 *
 * The emulator gathers the matrices from all lanes by this, multiplies, and hands the sums back by it. It adds up one product
 * after another, each exactly. In what order and how exactly a device adds up within one mma is not documented: its sums
 * are the same every time, but their last bits are not the emulator's. */
#ifndef RECPIPE_CUDA_MMA_H
#define RECPIPE_CUDA_MMA_H

#include "device_maths.h"
#include "launch.h"

enum { MMA_ROWS = 16, MMA_COLUMNS = 8, MMA_WORDS = 8, MMA_TALL = 2, MMA_LONG = 4 };

/* A lane's registers for a piece of up to MMA_TALL by MMA_LONG of them. */
struct lane {
	float sum[MMA_TALL][MMA_LONG][4];
	uint32_t a[MMA_TALL][4], b[MMA_LONG][2];
};

/* `kind` is a constant, tf32 or bf16, wherever these are inlined. */
ON_DEVICE uint32_t mma_depth(const enum precision kind)
{
	return kind == PRECISION_BF16 ? 16 : 8;
}

/* The first of a word's indices, for lane l: of two words that it has along the depth, `half` is which. */
ON_DEVICE uint32_t mma_first(const enum precision kind, uint32_t l, uint32_t half)
{
	return (l % 4 + 4 * half) * (kind == PRECISION_BF16 ? 2 : 1);
}

#ifdef __CUDACC__

/* Older devices have code without products, which nobody launches (cuda_check_precision). */
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
enum { HAS_MMA = 0 };
#else
enum { HAS_MMA = 1 };
#endif

ON_DEVICE uint32_t tf32_word(float x)
{
	uint32_t word = 0;
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
	asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(word) : "f"(x));
#else
	(void)x;
#endif
	return word;
}

ON_DEVICE uint32_t bf16_word(float low, float high)
{
	uint32_t word = 0;
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
	asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
#else
	(void)low;
	(void)high;
#endif
	return word;
}

/* The lower, or the upper, halves of two words. */
ON_DEVICE uint32_t halves_of(uint32_t low, uint32_t high, bool upper)
{
	return __byte_perm(low, high, upper ? 0x7632 : 0x5410);
}

ON_DEVICE void warp_together(void)
{
	__syncwarp();
}

ON_DEVICE void mma_one(const enum precision kind, float d[4], const uint32_t a[4], const uint32_t b[2])
{
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
	if (kind == PRECISION_BF16)
		asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
		             "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
		             : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
		             : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
	else
		asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
		             "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
		             : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
		             : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
	(void)kind;
	(void)d;
	(void)a;
	(void)b;
#endif
}

/* sum[i][j] += a[i] b[j], for i < tall and j < wide. */
ON_DEVICE void mma_multiply(const enum precision kind, const uint32_t tall, const uint32_t wide, struct lane *r)
{
	UNROLLED
	for (uint32_t i = 0; i < tall; i++) {
		UNROLLED
		for (uint32_t j = 0; j < wide; j++)
			mma_one(kind, r->sum[i][j], r->a[i], r->b[j]);
	}
}

#else

enum { HAS_MMA = 1 };

/* NaN stays NaN: what was never written must not look like a number. */
ON_DEVICE uint32_t tf32_word(float x)
{
	const uint32_t bits = bits_of_float(x);
	return x != x ? 0x7fffe000u : (bits + 0x1000u) & 0xffffe000u;
}

ON_DEVICE uint32_t bf16_half(float x)
{
	const uint32_t bits = bits_of_float(x);
	return x != x ? 0x7fffu : (bits + 0x7fffu + (bits >> 16 & 1)) >> 16;
}

ON_DEVICE uint32_t bf16_word(float low, float high)
{
	return bf16_half(low) | bf16_half(high) << 16;
}

ON_DEVICE uint32_t halves_of(uint32_t low, uint32_t high, bool upper)
{
	return upper ? low >> 16 | (high & 0xffff0000u) : (low & 0xffffu) | high << 16;
}

ON_DEVICE void warp_together(void)
{
}

/* Puts a register's elements where they belong, `step` floats apart in depth. */
ON_DEVICE void mma_spread(const enum precision kind, uint32_t word, float *to, size_t step)
{
	if (kind == PRECISION_BF16) {
		to[0] = float_of_bits(word << 16);
		to[step] = float_of_bits(word & 0xffff0000u);
	} else {
		to[0] = float_of_bits(word & 0xffffe000u); /* all that a tensor core reads of it */
	}
}

ON_DEVICE void mma_one(const enum precision kind, struct lane r[WARP_LANES], uint32_t i, uint32_t j)
{
	enum { DEPTH_MAX = 16 };
	float a[MMA_ROWS][DEPTH_MAX], b[DEPTH_MAX][MMA_COLUMNS], d[MMA_ROWS][MMA_COLUMNS];
	for (uint32_t l = 0; l < WARP; l++) {
		for (uint32_t e = 0; e < 4; e++) {
			mma_spread(kind, r[l].a[i][e], &a[l / 4 + 8 * (e % 2)][mma_first(kind, l, e / 2)], 1);
			d[l / 4 + 8 * (e / 2)][l % 4 * 2 + e % 2] = r[l].sum[i][j][e];
		}
		for (uint32_t e = 0; e < 2; e++)
			mma_spread(kind, r[l].b[j][e], &b[mma_first(kind, l, e)][l / 4], MMA_COLUMNS);
	}
	for (uint32_t m = 0; m < MMA_ROWS; m++)
		for (uint32_t k = 0; k < mma_depth(kind); k++)
			for (uint32_t n = 0; n < MMA_COLUMNS; n++)
				d[m][n] = fmaf(a[m][k], b[k][n], d[m][n]);
	for (uint32_t l = 0; l < WARP; l++)
		for (uint32_t e = 0; e < 4; e++)
			r[l].sum[i][j][e] = d[l / 4 + 8 * (e / 2)][l % 4 * 2 + e % 2];
}

ON_DEVICE void mma_multiply(const enum precision kind, const uint32_t tall, const uint32_t wide, struct lane r[WARP_LANES])
{
	for (uint32_t i = 0; i < tall; i++)
		for (uint32_t j = 0; j < wide; j++)
			mma_one(kind, r, i, j);
}

#endif

/* A number, or four, as operands of that precision: what tensor cores read of it, so that products of two are exact. `kind` is a
 * constant, fp32 too. */
ON_DEVICE float operand_value(const enum precision kind, float x)
{
	if (kind == PRECISION_TF32)
		return float_of_bits(tf32_word(x) & 0xffffe000u);
	return kind == PRECISION_BF16 ? float_of_bits(bf16_word(0.0f, x) & 0xffff0000u) : x;
}

ON_DEVICE struct float4 operand_quad(const enum precision kind, struct float4 q)
{
	q.x = operand_value(kind, q.x);
	q.y = operand_value(kind, q.y);
	q.z = operand_value(kind, q.z);
	q.w = operand_value(kind, q.w);
	return q;
}

#endif
