/* The table of ids against a list that is searched from end to end; numbers in text; sorting by radix. */
#include "check.h"
#include "decimal.h"
#include "idmap.h"
#include "mem.h"
#include "radix.h"

static uint64_t state = 7;

static uint32_t draw(uint32_t below)
{
	state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(state >> 33) % below;
}

/* A string that may look like another one's number. */
static size_t spell(char text[40], uint32_t number, uint32_t how)
{
	int length;
	switch (how) {
	case 0: length = snprintf(text, 40, "%u", number); break;
	case 1: length = snprintf(text, 40, "0%u", number); break;
	case 2: length = snprintf(text, 40, "u%u", number); break;
	case 3: length = snprintf(text, 40, "-%u", number); break;
	case 4: length = snprintf(text, 40, "%u.0", number); break;
	case 5: length = snprintf(text, 40, "user-number-%u", number); break;
	default: length = snprintf(text, 40, "123456789%u", number); break;
	}
	return (size_t)length;
}

static void test_ids_are_those_of_a_list(void)
{
	enum { CALLS = 6000 };
	static char texts[CALLS][40];
	static size_t lengths[CALLS];
	for (uint32_t kinds = 1; kinds <= 7; kinds += 3) { /* 1: numbers alone, which have a way of their own to grow */
		struct idmap map;
		struct error error = {0};
		uint32_t count = 0, id = 0, wrong = 0;
		CHECK_OK(idmap_init(&map, &error), &error);
		for (int call = 0; call < CALLS; call++) {
			const size_t length = spell(texts[count], draw(3000), draw(kinds));
			const uint32_t number = decimal_number(texts[count], length);
			uint32_t expected = 0;
			while (expected < count &&
			       (lengths[expected] != length || memcmp(texts[expected], texts[count], length) != 0))
				expected++;
			const uint32_t found = idmap_find(&map, texts[count], length);
			wrong += found != (expected == count ? (uint32_t)IDMAP_MISSING : expected);
			wrong += idmap_known_number(&map, number) != (number == (uint32_t)DECIMAL_NONE ? (uint32_t)IDMAP_MISSING : found);
			CHECK_OK(idmap_add(&map, texts[count], length, &id, &error), &error);
			wrong += id != expected;
			lengths[count] = length;
			count += expected == count;
		}
		CHECK_EQUAL_U64(wrong, 0);
		CHECK_EQUAL_U64(map.count, count);
		for (uint32_t i = 0; i < count; i++) {
			size_t length;
			const char *text = idmap_text(&map, i, &length);
			wrong += length != lengths[i] || memcmp(text, texts[i], length) != 0;
		}
		CHECK_EQUAL_U64(wrong, 0);
		idmap_release(&map);
	}
}

static void test_empty_and_nul_strings(void)
{
	static const struct {
		const char *text;
		size_t length;
	} some[] = {{"", 0}, {"\0", 1}, {"0", 1}, {"0\0", 2}, {"00", 2}, {"\0\0", 2}, {"999999999", 9}, {"1000000000", 10}};
	struct idmap map;
	struct error error = {0};
	CHECK_OK(idmap_init(&map, &error), &error);
	for (int pass = 0; pass < 2; pass++)
		for (uint32_t i = 0; i < COUNT_OF(some); i++) {
			uint32_t id = 99;
			CHECK_OK(idmap_add(&map, some[i].text, some[i].length, &id, &error), &error);
			CHECK_EQUAL_U64(id, i);
		}
	CHECK_EQUAL_U64(map.count, COUNT_OF(some));
	idmap_release(&map);
}

/* Half a million ids, far past the first table: each is found, and none that was not added. */
static void test_many_numbers(void)
{
	enum { IDS = 500000 };
	struct idmap map;
	struct error error = {0};
	uint32_t wrong = 0, id = 0;
	char text[DECIMAL_TEXT_MAX];
	CHECK_OK(idmap_init(&map, &error), &error);
	for (uint32_t i = 0; i < IDS; i++) {
		const size_t length = (size_t)(decimal_write(text, (int64_t)i * 7) - text);
		wrong += idmap_add(&map, text, length, &id, &error) < 0 || id != i;
	}
	for (uint32_t n = 0; n < IDS * 7; n++)
		wrong += idmap_known_number(&map, n) != (n % 7 ? (uint32_t)IDMAP_MISSING : n / 7);
	CHECK_EQUAL_U64(wrong, 0);
	for (uint32_t unknown = 0; unknown < 60; unknown++) {
		uint32_t numbers[50], ids[50];
		for (uint32_t i = 0; i < 50; i++)
			numbers[i] = i == unknown ? (i % 2 ? 1 : (uint32_t)DECIMAL_NONE) : (i * 7919 + unknown) % IDS * 7;
		const size_t known = idmap_known_numbers(&map, numbers, 50, ids);
		wrong += known != (unknown < 50 ? unknown : 50);
		for (size_t i = 0; i < known; i++)
			wrong += ids[i] != numbers[i] / 7;
	}
	CHECK_EQUAL_U64(wrong, 0);
	const size_t slots = (size_t)1 << (64 - map.shift);
	CHECK(map.count <= slots / 3 * 2 + 1 && slots <= 4 * (size_t)map.count);
	idmap_release(&map);
}

static void test_sorted_numbers_and_texts(void)
{
	for (uint32_t kinds = 1; kinds <= 3; kinds++) {
		struct idmap map;
		struct error error = {0};
		uint32_t *ids = NULL, id = 0, wrong = 0;
		static char before[3000][40];
		CHECK_OK(idmap_init(&map, &error), &error);
		for (int i = 0; i < 3000; i++) {
			char text[40];
			const size_t length = spell(text, draw(1000000), draw(kinds));
			CHECK_OK(idmap_add(&map, text, length, &id, &error), &error);
			memcpy(before[id], text, length + 1);
		}
		CHECK_OK(idmap_sort(&map, &ids, &error), &error);
		for (uint32_t i = 0; ids && i < map.count; i++) {
			size_t length, next_length;
			const char *text = idmap_text(&map, ids[i], &length);
			wrong += length != strlen(before[i]) || memcmp(text, before[i], length) != 0;
			wrong += idmap_find(&map, before[i], strlen(before[i])) != ids[i];
			if (i + 1 == map.count)
				continue;
			char one[40] = "", other[40] = "";
			text = idmap_text(&map, i, &length);
			memcpy(one, text, length);
			text = idmap_text(&map, i + 1, &next_length);
			memcpy(other, text, next_length);
			/* Numbers of one text each ascend; where there are letters, bytes do. */
			const long a = strtol(one, NULL, 10), b = strtol(other, NULL, 10);
			wrong += kinds == 3 ? strcmp(one, other) >= 0 : a > b || (a == b && strcmp(one, other) >= 0);
		}
		CHECK_EQUAL_U64(wrong, 0);
		mem_free(ids);
		idmap_release(&map);
	}
}

/* ---- decimal.h ---- */

static void test_decimal_numbers(void)
{
	static const struct {
		const char *text;
		uint32_t number;
	} some[] = {
		{"", UINT32_MAX}, {"0", 0}, {"7", 7}, {"00", UINT32_MAX}, {"07", UINT32_MAX}, {"10", 10}, {"-1", UINT32_MAX},
		{"1 ", UINT32_MAX}, {"1a", UINT32_MAX}, {"/", UINT32_MAX}, {":", UINT32_MAX}, {"999999999", 999999999},
		{"1000000000", UINT32_MAX}, {"12345678", 12345678}, {"1234567x", UINT32_MAX}, {"\xb1", UINT32_MAX},
	};
	for (size_t i = 0; i < COUNT_OF(some); i++)
		CHECK_EQUAL_U64(decimal_number(some[i].text, strlen(some[i].text)), some[i].number);
}

static void test_numbers_written(void)
{
	static const int64_t corners[] = {0, 9, 10, 99, 100, 101, 999, 1000, -1, -10, INT64_MAX, INT64_MIN, INT64_MIN + 1};
	for (size_t i = 0; i < COUNT_OF(corners) + 20000; i++) {
		const uint64_t bits = (uint64_t)draw(UINT32_MAX) << 32 | draw(UINT32_MAX);
		const int64_t value = i < COUNT_OF(corners) ? corners[i] : (int64_t)bits >> draw(64);
		char got[DECIMAL_TEXT_MAX + 1], expected[32];
		*decimal_write(got, value) = '\0';
		snprintf(expected, sizeof expected, "%" PRId64, value);
		CHECK_EQUAL_TEXT(got, expected);
	}
}

/* ---- radix.h ---- */

static int by_high_half(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	/* The low half counts up: ties keep their order exactly when it ascends. */
	return x < y ? -1 : x > y;
}

static void test_radix_sort(void)
{
	static const uint32_t ranges[] = {1, 2, 1000, 1 << 20, UINT32_MAX};
	static uint64_t keys[5000], expected[5000];
	for (size_t r = 0; r < COUNT_OF(ranges); r++)
		for (size_t count = 0; count <= 5000; count = count * 3 + 1) {
			struct error error = {0};
			for (size_t i = 0; i < count; i++)
				expected[i] = keys[i] = (uint64_t)draw(ranges[r]) << 32 | i;
			qsort(expected, count, sizeof *expected, by_high_half);
			CHECK_OK(radix_sort(keys, count, 32, &error), &error);
			CHECK(memcmp(keys, expected, count * sizeof *keys) == 0);
		}
}

int main(void)
{
	RUN(test_ids_are_those_of_a_list);
	RUN(test_empty_and_nul_strings);
	RUN(test_many_numbers);
	RUN(test_sorted_numbers_and_texts);
	RUN(test_decimal_numbers);
	RUN(test_numbers_written);
	RUN(test_radix_sort);
	return check_done();
}
