/* Products by tensor cores: which element a lane's register holds, and which banks of shared memory a warp's loads
 * meet, what that memory is given to. */
#include "check.h"
#include "state.h"
#include "tile_mma.h"
#include "wide_mma.h"
#include "warp.h"

/* ---- registers ---- */

/* Registers of one mma laid out by the strides that CUTLASS has for it (cute/atom/mma_traits_sm80.hpp: lanes are 4 by 8,
 * elements of a lane by powers of two, matrices by columns): the emulated warp must multiply what they hold. */
struct layout {
	size_t lanes[2], elements[3]; /* strides */
};

static size_t place_of(const struct layout *layout, size_t lane, size_t element)
{
	size_t place = lane % 4 * layout->lanes[0] + lane / 4 * layout->lanes[1];
	for (size_t bit = 0; bit < 3; bit++)
		place += (element >> bit & 1) * layout->elements[bit];
	return place;
}

static void check_fragments(enum precision kind, const struct layout *a, const struct layout *b)
{
	static const struct layout d = {{32, 1}, {16, 8}};
	const size_t depth = kind == PRECISION_BF16 ? 16 : 8, halves = depth / 8;
	float left[16 * 16], right[16 * 8];
	struct lane r[WARP_LANES];
	for (size_t i = 0; i < 16 * depth; i++)
		left[i] = (float)(i * 7 % 11) - 5;
	for (size_t i = 0; i < depth * 8; i++)
		right[i] = (float)(i * 5 % 13) - 6;
	for (size_t l = 0; l < WARP; l++) {
		for (size_t v = 0; v < 4; v++) {
			const float low = left[place_of(a, l, halves * v)], high = left[place_of(a, l, halves * v + halves - 1)];
			r[l].a[1][v] = halves == 2 ? bf16_word(low, high) : tf32_word(low);
			r[l].sum[1][2][v] = (float)place_of(&d, l, v);
		}
		for (size_t v = 0; v < 2; v++) {
			const float low = right[place_of(b, l, halves * v)], high = right[place_of(b, l, halves * v + halves - 1)];
			r[l].b[2][v] = halves == 2 ? bf16_word(low, high) : tf32_word(low);
		}
	}
	mma_one(kind, r, 1, 2);
	for (size_t l = 0; l < WARP; l++)
		for (size_t v = 0; v < 4; v++) {
			const size_t place = place_of(&d, l, v), m = place % 16, n = place / 16;
			float sum = (float)place;
			for (size_t k = 0; k < depth; k++)
				sum += left[m + 16 * k] * right[n + 8 * k];
			CHECK(r[l].sum[1][2][v] == sum);
		}
}

static void test_fragments(void)
{
	static const struct layout tf32_a = {{16, 1}, {8, 64}}, tf32_b = {{8, 1}, {32}};
	static const struct layout bf16_a = {{32, 1}, {16, 8, 128}}, bf16_b = {{16, 1}, {8, 64}};
	check_fragments(PRECISION_TF32, &tf32_a, &tf32_b);
	check_fragments(PRECISION_BF16, &bf16_a, &bf16_b);
}

/* ---- banks of shared memory ---- */

/* How many of 32 words, by address, are in the bank of another one that comes before them. */
static size_t conflicts(const uint32_t words[WARP])
{
	size_t count = 0;
	for (size_t i = 0; i < WARP; i++)
		for (size_t j = 0; j < i; j++)
			if (words[i] != words[j] && words[i] % 32 == words[j] % 32) {
				count++;
				break;
			}
	return count;
}

/* Along the depth and along the samples of a tile; pairs of floats go by half a warp. */
static void check_tile_banks(enum precision kind, uint32_t pitch)
{
	uint32_t along_depth[WARP], along_samples[WARP];
	for (uint32_t l = 0; l < WARP; l++) {
		along_depth[l] = mma_first(kind, l, 0) * pitch + l / 4;
		along_samples[l] = kind == PRECISION_TF32 ? l / 8 * pitch + l % 8 : l / 4 * pitch + l % 4;
	}
	CHECK_EQUAL_U64(conflicts(along_depth), 0);
	CHECK_EQUAL_U64(conflicts(along_samples), 0);
}

/* Along rows and down columns of a weight's copy, at every step of a line of banks. */
static void check_copy_banks(enum precision kind, uint32_t pitch)
{
	const uint32_t halves = kind == PRECISION_BF16 ? 2 : 1;
	uint32_t rows[WARP], columns[WARP];
	for (uint32_t step = 0; step < 8; step++) {
		for (uint32_t l = 0; l < WARP; l++) {
			const uint32_t o = mma_first(kind, l, step % 2);
			rows[l] = l / 4 * pitch + swizzle(l / 4, 4 * step + l % 4);
			columns[l] = o * pitch + swizzle(o, (8 * step + l / 4) / halves);
		}
		CHECK_EQUAL_U64(conflicts(rows), 0);
		CHECK_EQUAL_U64(conflicts(columns), 0);
	}
}

static void test_banks_do_not_conflict(void)
{
	static const uint32_t inputs[] = {16, 33, 64, 128, 200};
	static const enum precision kinds[] = {PRECISION_TF32, PRECISION_BF16};
	for (size_t k = 0; k < COUNT_OF(kinds); k++) {
		for (uint32_t tile = 16; tile <= 64; tile *= 2)
			check_tile_banks(kinds[k], tile + tile_pad(kinds[k]));
		for (size_t i = 0; i < COUNT_OF(inputs); i++)
			check_copy_banks(kinds[k], copy_pitch(kinds[k], inputs[i]));
	}
}

/* ---- what a tile shares memory with ---- */

/* The tower 256-128-64-1 behind NeuMF's first layer (docs/design.md), and small ones. */
static void test_what_is_shared(void)
{
	static const struct {
		enum precision kind;
		uint32_t units, gradient, weights;
		size_t limit;
		uint32_t least, tile;
		bool shares_weights, shares_gradient, shares_tile;
	} of[] = {
		{PRECISION_BF16, 449, 41220, 20548, 227 << 10, 1, 64, true, false, true},
		{PRECISION_TF32, 449, 41220, 41028, 227 << 10, 1, 64, false, false, true},
		{PRECISION_TF32, 449, 0, 41028, 227 << 10, 1, 16, true, false, true},   /* scoring */
		{PRECISION_TF32, 121, 2800, 3000, 227 << 10, 1, 64, true, true, true},  /* two blocks of it */
		{PRECISION_TF32, 121, 2800, 3000, 227 << 10, 40, 64, true, true, true},
		{PRECISION_BF16, 449, 41220, 20548, 20 << 10, 1, 64, false, false, false},
	};
	for (size_t i = 0; i < COUNT_OF(of); i++) {
		struct plan plan = {.units = of[i].units, .gradient_floats = of[i].gradient};
		cuda_choose_tensor_shares(&plan, of[i].kind, of[i].weights, of[i].least, of[i].limit / 2, of[i].limit);
		CHECK_EQUAL_U64(plan.tile, of[i].tile);
		CHECK_EQUAL_U64(plan.pitch, plan.tile + tile_pad(of[i].kind));
		CHECK_EQUAL_U64(plan.weight_floats, of[i].shares_weights ? of[i].weights : 0);
		CHECK(plan.shares_gradient == of[i].shares_gradient && plan.shares_tile == of[i].shares_tile);
		CHECK(plan.shared_bytes == cuda_plan_bytes(&plan) && plan.shared_bytes <= of[i].limit);
	}
}

/* ---- tiles of bf16 words ---- */

enum { SIDE = 32 };

/* Exact in bf16, and so are sums of a few products. */
static float small_number(size_t i, size_t k)
{
	return (float)(i % 8 + 16 * (k % 8)) - 60;
}

/* Products of 32 by 32 over a depth of 32, of factors that lie along it or across. */
static void check_words(bool left_turned, bool right_turned)
{
	static uint32_t left[SIDE * (SIDE / 2 + WIDE_PAD)], right[SIDE * (SIDE / 2 + WIDE_PAD)];
	static float sums[WARP * 2 * 4 * 4];
	for (size_t i = 0; i < SIDE; i++)
		for (size_t k = 0; k < SIDE; k++) {
			const size_t at[2] = {left_turned ? k : i, left_turned ? i : k}, of[2] = {right_turned ? k : i, right_turned ? i : k};
			uint32_t *const l = &left[at[0] * wide_pitch(SIDE) + at[1] / 2], *const r = &right[of[0] * wide_pitch(SIDE) + of[1] / 2];
			const unsigned shift = at[1] % 2 * 16, by = of[1] % 2 * 16;
			*l = (*l & ~(0xffffu << shift)) | bf16_half(small_number(i, k)) << shift;
			*r = (*r & ~(0xffffu << by)) | bf16_half(small_number(k, i + 3)) << by;
		}
	const struct operand a = operand_of(left, SIDE, left_turned), b = operand_of(right, SIDE, right_turned);
	for (uint32_t l = 0; l < WARP; l++)
		start_columns(2, 4, NULL, 0, l, sums + l * 32);
	multiply_block(2, 4, SIDE, &a, 0, &b, 0, sums);
	for (uint32_t l = 0; l < WARP; l++)
		for (uint32_t p = 0; p < 16; p++)
			for (uint32_t e = 0; e < 2; e++) {
				const size_t row = pair_row(4, p, l), column = pair_column(4, p, l) + e;
				float wanted = 0;
				for (size_t k = 0; k < SIDE; k++)
					wanted += small_number(row, k) * small_number(k, column + 3);
				CHECK(sums[l * 32 + 2 * p + e] == wanted);
			}
}

static void test_products_of_words(void)
{
	for (int turned = 0; turned < 4; turned++)
		check_words(turned & 1, turned & 2);
}

/* ldmatrix reads eight rows of 16 bytes at once. */
static void test_rows_of_words_do_not_conflict(void)
{
	static const uint32_t columns[] = {16, 32, 64, 128, 256};
	for (size_t c = 0; c < COUNT_OF(columns); c++) {
		uint32_t words[WARP];
		for (uint32_t i = 0; i < WARP; i++)
			words[i] = i / 4 * wide_pitch(columns[c]) + i % 4;
		CHECK_EQUAL_U64(conflicts(words), 0);
	}
}

/* ---- lanes ---- */

/* What lanes tell each other, of values 7 l mod 5 and bits. */
static void test_lanes_tell_each_other(void)
{
	uint32_t value[WARP_LANES], alike[WARP_LANES], from[WARP_LANES], sums[WARP_LANES], sum = 0;
	bool odd[WARP_LANES];
	for (uint32_t l = 0; l < WARP; l++) {
		value[l] = sums[l] = 7 * l % 5;
		odd[l] = l % 2 == 1;
		from[l] = WARP - 1 - l;
	}
	find_alike(value, 3, alike);
	CHECK_EQUAL_U64(vote(odd), 0xaaaaaaaau);
	const uint32_t total = sum_before(sums);
	take_from(value, from);
	for (uint32_t l = 0; l < WARP; l++) {
		uint32_t before = 0, first = WARP;
		for (uint32_t m = 0; m < WARP; m++) {
			CHECK((alike[l] >> m & 1) == (7 * m % 5 == 7 * l % 5));
			before += m < l && 7 * m % 5 == 7 * l % 5;
			first = first == WARP && 7 * m % 5 == 7 * l % 5 ? m : first;
		}
		CHECK_EQUAL_U64(lanes_before(alike[l], l), before);
		CHECK_EQUAL_U64(lowest_bit(alike[l]), first);
		CHECK_EQUAL_U64(sums[l], sum);
		CHECK_EQUAL_U64(value[l], 7 * (WARP - 1 - l) % 5);
		sum += 7 * l % 5;
	}
	CHECK_EQUAL_U64(total, sum);
}

int main(void)
{
	RUN(test_fragments);
	RUN(test_products_of_words);
	RUN(test_rows_of_words_do_not_conflict);
	RUN(test_banks_do_not_conflict);
	RUN(test_what_is_shared);
	RUN(test_lanes_tell_each_other);
	return check_done();
}
