/* Batches by the data and rates by the batch, at the edges. */
#include "check.h"
#include "recipe.h"

static void test_batches_go_by_the_data(void)
{
	static const struct {
		uint64_t samples;
		int64_t batch;
	} of[] = {
		{0, 640}, {1, 640}, {400 * 1280 - 1, 640}, {400 * 1280, 1280}, {400 * 10240, 10240},
		{400 * 20480 - 1, 10240}, {400 * 40960, 40960}, {UINT64_MAX, 40960},
	};
	for (size_t i = 0; i < COUNT_OF(of); i++)
		CHECK_EQUAL_U64(recipe_batch(of[i].samples), of[i].batch);
}

static void test_rates_go_by_the_square_root_of_the_batch(void)
{
	CHECK_CLOSE(recipe_rate(1), 0.001, 1e-12);
	CHECK_CLOSE(recipe_rate(640), 0.001, 1e-12);
	CHECK_CLOSE(recipe_rate(4 * 640), 0.002, 1e-12);
	CHECK_CLOSE(recipe_rate(64 * 640), 0.008, 1e-12);
}

int main(void)
{
	RUN(test_batches_go_by_the_data);
	RUN(test_rates_go_by_the_square_root_of_the_batch);
	return check_done();
}
