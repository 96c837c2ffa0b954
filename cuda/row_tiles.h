/* Products of tiles of rows by a half of the first layer that is ROW_UNITS wide both ways, with everything known when it is
 * compiled. Matrices lie in shared memory as rows of ROW_PITCH floats, so that a tile is moved four columns at a time,
 * and threads that go down the rows meet different banks.
 *
 * A thread has up to four rows (or, of a gradient, outputs) by eight columns in registers: three reads of four floats are 32
 * multiply-adds. Its columns are four and, half a row on, four more; of eight threads side by side they are whole lines. */
#ifndef RECPIPE_CUDA_ROW_TILES_H
#define RECPIPE_CUDA_ROW_TILES_H

#include "mma.h"
#include "tile.h"

#ifdef __CUDACC__
#define UNROLLED_TWO _Pragma("unroll 2")
#else
#define UNROLLED_TWO
#endif

enum {
	ROW_UNITS = 64, ROW_PITCH = ROW_UNITS + 4, ROW_QUADS = ROW_UNITS / 4,
	ROWS_A_THREAD = 4,        /* at most */
	COLUMN_THREADS = 8,       /* that go along a row */
	HALF_THREADS = THREADS / 2,
};

/* Rows of eight columns each. */
struct row_piece {
	struct float4 of[ROWS_A_THREAD][2];
};

ON_DEVICE uint32_t piece_column(uint32_t t, uint32_t half)
{
	return half * (ROW_UNITS / 2) + t % COLUMN_THREADS * 4;
}

ON_DEVICE void add_to_piece(struct row_piece *sum, uint32_t i, float factor, struct float4 low, struct float4 high)
{
	add_product(&sum->of[i][0], factor, low);
	add_product(&sum->of[i][1], factor, high);
}

/* sum[i] += x[row + apart i] y, where x is [rows][ROW_UNITS] and y [ROW_UNITS][ROW_UNITS]: chains in ascending order. `rows`
 * is a constant wherever this is inlined. */
ON_DEVICE void multiply_rows(const uint32_t rows, uint32_t t, const float *x, uint32_t row, uint32_t apart, const float *y,
                             struct row_piece *sum)
{
	ROLLED for (uint32_t k = 0; k < ROW_UNITS; k += 4) {
		struct float4 q[ROWS_A_THREAD];
		UNROLLED for (uint32_t i = 0; i < rows; i++)
			q[i] = load_quad(x + (row + apart * i) * ROW_PITCH + k);
		UNROLLED for (uint32_t j = 0; j < 4; j++) {
			const struct float4 low = load_quad(y + (k + j) * ROW_PITCH + piece_column(t, 0));
			const struct float4 high = load_quad(y + (k + j) * ROW_PITCH + piece_column(t, 1));
			UNROLLED for (uint32_t i = 0; i < rows; i++)
				add_to_piece(sum, i, j == 0 ? q[i].x : j == 1 ? q[i].y : j == 2 ? q[i].z : q[i].w, low, high);
		}
	}
}

/* sum[i] += the sum over the tile's rows r of z[r][output + i] x[r], chains in ascending order. */
ON_DEVICE void multiply_columns(uint32_t tile, uint32_t t, const float *z, uint32_t output, const float *x,
                                struct row_piece *sum)
{
	UNROLLED_TWO for (uint32_t r = 0; r < tile; r++) {
		const struct float4 q = load_quad(z + r * ROW_PITCH + output);
		const struct float4 low = load_quad(x + r * ROW_PITCH + piece_column(t, 0));
		const struct float4 high = load_quad(x + r * ROW_PITCH + piece_column(t, 1));
		add_to_piece(sum, 0, q.x, low, high);
		add_to_piece(sum, 1, q.y, low, high);
		add_to_piece(sum, 2, q.z, low, high);
		add_to_piece(sum, 3, q.w, low, high);
	}
}

#endif
