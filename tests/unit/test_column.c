/* Columns that widen, columns of values that come in steps, and numbers with a sign. */
#include "check.h"
#include "column.h"

/* Values read from both, in pieces that begin and end anywhere. */
static int columns_differ(const struct column *a, const struct column *b)
{
	enum { MOST = 3000 };
	static uint64_t x[MOST], y[MOST];
	static uint32_t narrow[MOST];
	int wrong = a->count != b->count;
	for (uint64_t at = 0, some; at < a->count && !wrong; at += some) {
		some = 1 + at * 7919 % MOST;
		some = some < a->count - at ? some : a->count - at;
		column_read(a, at, some, x);
		column_read(b, at, some, y);
		column_read_narrow(a, at, some, narrow);
		for (uint64_t i = 0; i < some; i++)
			wrong += x[i] != y[i] || narrow[i] != y[i];
		wrong += column_get(a, at) != y[0];
	}
	return wrong;
}

/* A stepped column holds what an ordinary one does, whatever value comes out of turn, and wherever. */
static void test_a_stepped_column_is_a_column(void)
{
	static const uint32_t strays[] = {0, 299, 302, 1u << 30};
	static uint32_t values[20000];
	struct error error = {0};
	for (uint32_t i = 1; i < COUNT_OF(values); i++)
		values[i] = values[i - 1] + (i % 61 == 0 || i % 199 < 3);
	for (size_t s = 0; s <= COUNT_OF(strays); s++)
		for (int many = 0; many < 3; many++) {
			struct column stepped = {.stepped = true}, plain = {0};
			uint64_t wide[2] = {(values[17000] + UINT64_C(1)) << 33, 5};
			CHECK_OK(column_add_many(&stepped, values, 17000, &error), &error);
			CHECK_OK(column_add_many(&plain, values, 17000, &error), &error);
			CHECK(stepped.stepped && stepped.step_count == (size_t)values[16999] + 1);
			CHECK_EQUAL_U64(columns_differ(&stepped, &plain), 0);
			if (s < COUNT_OF(strays))
				values[17500] = strays[s];
			if (many == 1) {
				CHECK_OK(column_add_many(&stepped, values + 17000, 3000, &error), &error);
			} else {
				for (int i = 17000; i < 20000; i++)
					CHECK_OK(column_add(&stepped, values[i], &error), &error);
			}
			CHECK_OK(column_add_many(&plain, values + 17000, 3000, &error), &error);
			CHECK(stepped.stepped == (s == COUNT_OF(strays)));
			CHECK_EQUAL_U64(columns_differ(&stepped, &plain), 0);
			if (many == 2) {
				CHECK_OK(column_add_wide(&stepped, wide, 2, &error), &error);
				CHECK(!stepped.stepped && column_get(&stepped, 20000) == wide[0] && column_get(&stepped, 20001) == 5);
			}
			column_release(&stepped);
			column_release(&plain);
			values[17500] = values[17499];
		}
}

static void test_a_column_widens_over_chunks(void)
{
	const uint64_t wide[] = {255, 256, 65535, 65536, UINT32_MAX, (uint64_t)UINT32_MAX + 1, UINT64_MAX};
	const unsigned widths[] = {0, 1, 1, 2, 2, 3, 3};
	struct column column = {0};
	struct error error = {0};
	for (uint64_t i = 0; i < COLUMN_CHUNK + 10; i++)
		if (column_add(&column, i % 251, &error) < 0)
			CHECK(false);
	for (size_t w = 0; w < COUNT_OF(wide); w++) {
		CHECK_OK(column_add(&column, wide[w], &error), &error);
		CHECK_EQUAL_U64(column.width_bits, widths[w]);
		uint64_t wrong = 0;
		for (uint64_t i = 0; i < COLUMN_CHUNK + 10; i++)
			wrong += column_get(&column, i) != i % 251;
		CHECK_EQUAL_U64(wrong, 0);
		for (size_t i = 0; i <= w; i++)
			CHECK_EQUAL_U64(column_get(&column, COLUMN_CHUNK + 10 + i), wide[i]);
	}
	CHECK_EQUAL_U64(column.chunk_count, 2);
	column_release(&column);
}

static void test_zigzag(void)
{
	const int64_t values[] = {0, -1, 1, -2, 2, INT64_MAX, INT64_MIN};
	for (size_t i = 0; i < COUNT_OF(values); i++)
		CHECK(column_unzigzag(column_zigzag(values[i])) == values[i]);
	CHECK_EQUAL_U64(column_zigzag(-1), 1);
	CHECK_EQUAL_U64(column_zigzag(1), 2);
}

int main(void)
{
	RUN(test_a_column_widens_over_chunks);
	RUN(test_a_stepped_column_is_a_column);
	RUN(test_zigzag);
	return check_done();
}
