/* Random numbers: Random123's known answers, the layout of counters, and sanity of what is drawn. The seeds are
 * fixed, so the statistical bounds (p about 0.001) hold always or never. */
#include "rng.h"

#include "check.h"

enum { DRAWS = 100000 };

/* tests/kat_vectors of Random123: philox4x32 with 10 rounds. */
static const struct {
	uint32_t counter[4], key[2], out[4];
} known[] = {
	{{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
	{{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff},
	 {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
	{{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0},
	 {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
};

static void test_known_answers(void)
{
	for (size_t i = 0; i < COUNT_OF(known); i++) {
		uint32_t out[4];
		rng_philox(known[i].counter, known[i].key, out);
		CHECK(memcmp(out, known[i].out, sizeof out) == 0);
	}
}

static void test_counter_is_index_block_stream(void)
{
	uint32_t out[4];
	rng_block(0x299f31d0a4093822u, 0x03707344, 0x85a308d3243f6a88u, 0x13198a2e, out);
	CHECK(memcmp(out, known[2].out, sizeof out) == 0);
	CHECK_EQUAL_U64(rng_stream(RNG_INIT, 0x1234567), 0x05234567);
}

static void test_sequence_is_the_blocks_in_order(void)
{
	struct rng one, two;
	rng_init(&one, 42, 7, 9);
	rng_init(&two, 42, 7, 9);
	for (uint32_t block = 0; block < 3; block++) {
		uint32_t words[4];
		rng_block(42, 7, 9, block, words);
		for (size_t i = 0; i < 4; i++)
			CHECK_EQUAL_U64(rng_next(&one), words[i]);
		CHECK_EQUAL_U64(rng_next64(&two), words[0] | (uint64_t)words[1] << 32);
		CHECK_EQUAL_U64(rng_next64(&two), words[2] | (uint64_t)words[3] << 32);
	}
}

static void test_seed_stream_and_index_each_matter(void)
{
	uint32_t base[4], other[4];
	rng_block(1, 2, 3, 4, base);
	for (int bit = 0; bit < 64; bit++) {
		rng_block(1 ^ (uint64_t)1 << bit, 2, 3, 4, other);
		CHECK(memcmp(base, other, sizeof base) != 0);
		rng_block(1, 2, 3 ^ (uint64_t)1 << bit, 4, other);
		CHECK(memcmp(base, other, sizeof base) != 0);
		rng_block(1, 2 ^ (uint32_t)1 << bit % 32, 3, 4, other);
		CHECK(memcmp(base, other, sizeof base) != 0);
	}
}

/* Chi-square of counts that should be equal. */
static double chi_square(const uint64_t *counts, size_t cells)
{
	double total = 0, sum = 0;
	for (size_t i = 0; i < cells; i++)
		total += (double)counts[i];
	for (size_t i = 0; i < cells; i++) {
		double difference = (double)counts[i] - total / (double)cells;
		sum += difference * difference / (total / (double)cells);
	}
	return sum;
}

static void test_below_is_uniform(void)
{
	struct rng rng;
	uint64_t small[10] = {0}, huge[3] = {0};
	rng_init(&rng, 1, rng_stream(RNG_TEST, 0), 0);
	for (int i = 0; i < DRAWS; i++) {
		uint64_t draw = rng_below(&rng, 10);
		CHECK(draw < 10);
		small[draw % 10]++;
		/* Without rejection every third of these values would come up twice as often. */
		draw = rng_below(&rng, (uint64_t)3 << 62);
		CHECK(draw < (uint64_t)3 << 62);
		huge[draw % 3]++;
		CHECK_EQUAL_U64(rng_below(&rng, 1), 0);
	}
	CHECK(chi_square(small, 10) < 27.9);
	CHECK(chi_square(huge, 3) < 13.8);
}

static void test_scale_covers_its_range(void)
{
	struct rng rng;
	uint64_t counts[7] = {0};
	rng_init(&rng, 2, rng_stream(RNG_TEST, 1), 0);
	for (int i = 0; i < DRAWS; i++)
		counts[rng_scale(rng_next(&rng), 7) % 7]++;
	CHECK(chi_square(counts, 7) < 22.5);
	CHECK_EQUAL_U64(rng_scale(0xffffffff, 7), 6);
	CHECK_EQUAL_U64(rng_scale(0xffffffff, 0xffffffff), 0xfffffffe);
	CHECK_EQUAL_U64(rng_scale(0, 7), 0);
}

static void test_unit_is_uniform(void)
{
	struct rng rng;
	double sum = 0, squares = 0, low = 1, high = 0;
	rng_init(&rng, 3, rng_stream(RNG_TEST, 2), 0);
	for (int i = 0; i < DRAWS; i++) {
		double draw = rng_unit(&rng);
		sum += draw;
		squares += draw * draw;
		low = fmin(low, draw);
		high = fmax(high, draw);
	}
	CHECK(low >= 0 && low < 1e-3 && high < 1 && high > 0.999);
	CHECK_CLOSE(sum / DRAWS, 0.5, 3.3 * sqrt(1.0 / 12 / DRAWS));
	CHECK_CLOSE(squares / DRAWS, 1.0 / 3, 3.3 * sqrt(4.0 / 45 / DRAWS));
}

static void test_normal_has_its_moments(void)
{
	struct rng rng;
	double sums[5] = {0};
	int beyond = 0;
	rng_init(&rng, 4, rng_stream(RNG_TEST, 3), 0);
	for (int i = 0; i < DRAWS; i++) {
		double draw = rng_normal(&rng), power = 1;
		beyond += fabs(draw) > 1.959963985;
		for (int k = 1; k <= 4; k++)
			sums[k] += power *= draw;
	}
	/* Standard errors of the first four moments: 1, sqrt 2, sqrt 15, sqrt 96, each over sqrt n. */
	CHECK_CLOSE(sums[1] / DRAWS, 0, 3.3 * sqrt(1.0 / DRAWS));
	CHECK_CLOSE(sums[2] / DRAWS, 1, 3.3 * sqrt(2.0 / DRAWS));
	CHECK_CLOSE(sums[3] / DRAWS, 0, 3.3 * sqrt(15.0 / DRAWS));
	CHECK_CLOSE(sums[4] / DRAWS, 3, 3.3 * sqrt(96.0 / DRAWS));
	CHECK_CLOSE((double)beyond / DRAWS, 0.05, 3.3 * sqrt(0.05 * 0.95 / DRAWS));
}

static void test_permutations(void)
{
	enum { COUNT = 1000 };
	uint32_t order[COUNT], again[COUNT], other[COUNT];
	bool seen[COUNT] = {false};
	rng_permutation(5, 6, 7, order, COUNT);
	rng_permutation(5, 6, 7, again, COUNT);
	rng_permutation(5, 6, 8, other, COUNT);
	for (size_t i = 0; i < COUNT; i++) {
		CHECK(order[i] < COUNT && !seen[order[i] % COUNT]);
		seen[order[i] % COUNT] = true;
	}
	CHECK(memcmp(order, again, sizeof order) == 0);
	CHECK(memcmp(order, other, sizeof order) != 0);
	uint64_t counts[27] = {0}, six[6];
	static const size_t places[6] = {5, 7, 11, 15, 19, 21}; /* 012 021 102 120 201 210 in base 3 */
	for (uint64_t i = 0; i < DRAWS; i++) {
		rng_permutation(9, rng_stream(RNG_TEST, 4), i, order, 3);
		counts[(order[0] * 9 + order[1] * 3 + order[2]) % 27]++;
	}
	for (size_t i = 0; i < 6; i++)
		six[i] = counts[places[i]];
	CHECK_EQUAL_U64(six[0] + six[1] + six[2] + six[3] + six[4] + six[5], DRAWS);
	CHECK(chi_square(six, 6) < 20.5);
	rng_permutation(1, 1, 1, NULL, 0);
}

int main(void)
{
	RUN(test_known_answers);
	RUN(test_counter_is_index_block_stream);
	RUN(test_sequence_is_the_blocks_in_order);
	RUN(test_seed_stream_and_index_each_matter);
	RUN(test_below_is_uniform);
	RUN(test_scale_covers_its_range);
	RUN(test_unit_is_uniform);
	RUN(test_normal_has_its_moments);
	RUN(test_permutations);
	return check_done();
}
