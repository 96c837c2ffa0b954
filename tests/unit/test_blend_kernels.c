/* The kernels of every instruction set against plain loops, bit for bit: odd sizes, results over rubbish, nothing written
 * beyond. */
#include "blend_kernels.h"
#include "check.h"
#include "isa.h"
#include "rng.h"

enum { MOST = 67, SIGNALS_MOST = 13, WIDTH_MOST = 32, GUARD = 8 };

extern const struct blend_kernels blend_kernels_avx512, blend_kernels_avx2, blend_kernels_portable;

static const size_t counts[] = {1, 2, 3, 7, 16, MOST}, signal_counts[] = {1, 2, 3, 4, 5, 8, SIGNALS_MOST};
static const double rubbish = -12345;

static struct {
	float values[SIGNALS_MOST * MOST];
	double weights[SIGNALS_MOST], by_popular[SIGNALS_MOST], shares[MOST];
	double scores[MOST + GUARD], rows[MOST * WIDTH_MOST + GUARD], mean[WIDTH_MOST + GUARD];
	double second[WIDTH_MOST * WIDTH_MOST + GUARD];
} mine, its;

static size_t width_of(size_t signals)
{
	return (2 * signals + BLEND_PAD - 1) / BLEND_PAD * BLEND_PAD;
}

static double any(struct rng *rng)
{
	return (double)rng_below(rng, 1 << 30) / (1 << 28) - 2;
}

static void fill(size_t count, size_t signals)
{
	struct rng rng;
	rng_init(&rng, 9, rng_stream(RNG_TEST, 1), count * 100 + signals);
	for (size_t k = 0; k < signals * count; k++)
		mine.values[k] = (float)any(&rng);
	for (size_t s = 0; s < signals; s++) {
		mine.weights[s] = any(&rng);
		mine.by_popular[s] = any(&rng);
	}
	for (size_t c = 0; c < count; c++)
		mine.shares[c] = (any(&rng) + 2) / 40;
	double *const results[] = {mine.scores, mine.rows, mine.mean, mine.second};
	const size_t sizes[] = {COUNT_OF(mine.scores), COUNT_OF(mine.rows), COUNT_OF(mine.mean), COUNT_OF(mine.second)};
	for (size_t r = 0; r < COUNT_OF(results); r++)
		for (size_t k = 0; k < sizes[r]; k++)
			results[r][k] = rubbish;
	its = mine;
}

/* ---- plain loops; `popular` is the last signal ---- */

static void plain_scores(size_t count, size_t signals)
{
	const float *popular = mine.values + (signals - 1) * count;
	for (size_t c = 0; c < count; c++) {
		mine.scores[c] = 0;
		for (size_t s = 0; s < signals; s++)
			mine.scores[c] += (double)mine.values[s * count + c] * (mine.weights[s] + mine.by_popular[s] * (double)popular[c]);
	}
}

static void plain_rows(size_t count, size_t signals)
{
	const size_t width = width_of(signals);
	for (size_t c = 0; c < count; c++)
		for (size_t k = 0; k < width; k++) {
			const double value = (double)mine.values[k % signals * count + c];
			const double popular = (double)mine.values[(signals - 1) * count + c];
			mine.rows[c * width + k] = k < signals ? value : k < 2 * signals ? value * popular : 0;
		}
}

static void plain_centre(size_t count, size_t width)
{
	for (size_t k = 0; k < width; k++) {
		mine.mean[k] = 0;
		for (size_t c = 0; c < count; c++)
			mine.mean[k] += mine.shares[c] * mine.rows[c * width + k];
		for (size_t c = 0; c < count; c++)
			mine.rows[c * width + k] -= mine.mean[k];
	}
}

static void plain_products(size_t count, size_t width)
{
	for (size_t i = 0; i < width; i++)
		for (size_t j = 0; j <= i; j++) {
			double sum = 0;
			for (size_t c = 0; c < count; c++)
				sum += mine.shares[c] * mine.rows[c * width + i] * mine.rows[c * width + j];
			mine.second[i * width + j] = mine.second[j * width + i] = sum;
		}
}

static void check_kernels(const struct blend_kernels *kernels)
{
	for (size_t n = 0; n < COUNT_OF(counts); n++)
		for (size_t m = 0; m < COUNT_OF(signal_counts); m++) {
			const size_t count = counts[n], signals = signal_counts[m], width = width_of(signals);
			fill(count, signals);
			const float *popular = its.values + (signals - 1) * count;
			plain_scores(count, signals);
			kernels->find_scores(its.values, popular, count, signals, its.weights, its.by_popular, its.scores);
			CHECK(memcmp(mine.scores, its.scores, sizeof its.scores) == 0);
			plain_rows(count, signals);
			kernels->fill_rows(its.values, popular, count, signals, width, its.rows);
			CHECK(memcmp(mine.rows, its.rows, sizeof its.rows) == 0);
			plain_centre(count, width);
			kernels->centre_rows(its.rows, its.shares, count, width, its.mean);
			CHECK(memcmp(mine.rows, its.rows, sizeof its.rows) == 0);
			CHECK(memcmp(mine.mean, its.mean, sizeof its.mean) == 0);
			plain_products(count, width);
			kernels->find_products(its.rows, its.shares, count, width, its.second);
			CHECK(memcmp(mine.second, its.second, sizeof its.second) == 0);
			CHECK(its.second[width * width] == rubbish);
		}
}

static void test_portable(void)
{
	check_kernels(&blend_kernels_portable);
}

static void test_avx2(void)
{
	check_kernels(&blend_kernels_avx2);
}

static void test_avx512(void)
{
	check_kernels(&blend_kernels_avx512);
}

int main(void)
{
	static const struct {
		const char *name;
		void (*test)(void);
	} all[] = {{"portable", test_portable}, {"avx2", test_avx2}, {"avx512", test_avx512}};
	for (size_t i = 0; i < COUNT_OF(all); i++) {
		enum isa isa;
		struct error error = {0};
		if (isa_find(all[i].name, &isa, &error) < 0)
			SKIP(all[i].name, "not on this machine");
		else
			check_run(all[i].name, all[i].test);
	}
	return check_done();
}
