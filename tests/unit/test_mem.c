/* Allocation: alignment, overflow, growth, and out of memory as an error. */
#include "mem.h"

#include "check.h"

static bool aligned(const void *block, size_t alignment)
{
	return ((uintptr_t)block & (alignment - 1)) == 0;
}

static void test_blocks_are_aligned_and_usable(void)
{
	static const size_t sizes[] = {0, 1, 63, 64, 65, 4096, 100000, (4 << 20) - 1, 4 << 20, (4 << 20) + 1, 9 << 20};
	for (size_t i = 0; i < COUNT_OF(sizes); i++) {
		struct error error = {0};
		unsigned char *block = mem_alloc(sizes[i], 1, &error);
		CHECK(block != NULL);
		CHECK(aligned(block, MEM_ALIGNMENT));
		if (sizes[i] >= 4 << 20)
			CHECK(aligned(block, (size_t)2 << 20));
		if (block)
			memset(block, 0xa5, sizes[i]);
		mem_free(block);
		CHECK_EQUAL_U64(error.code, CODE_OK);
	}
	mem_free(NULL);
}

static void test_zeroed_blocks_are_zero(void)
{
	static const size_t counts[] = {1, 1000, 700000};
	for (size_t i = 0; i < COUNT_OF(counts); i++) {
		struct error error = {0};
		/* Dirty memory first, so that a block taken over is not zero by chance. */
		unsigned char *dirty = mem_alloc(counts[i], 8, &error);
		if (dirty)
			memset(dirty, 0xff, counts[i] * 8);
		mem_free(dirty);
		uint64_t *block = mem_alloc_zero(counts[i], sizeof *block, &error), any = 0;
		CHECK(block != NULL);
		for (size_t k = 0; block && k < counts[i]; k++)
			any |= block[k];
		CHECK_EQUAL_U64(any, 0);
		mem_free(block);
	}
}

static void test_too_much_is_an_error(void)
{
	static const size_t asks[][2] = {{SIZE_MAX, 2}, {SIZE_MAX / 2, 3}, {SIZE_MAX, 1}, {SIZE_MAX / 4, 1}};
	for (size_t i = 0; i < COUNT_OF(asks); i++) {
		struct error error = {0};
		CHECK(mem_alloc(asks[i][0], asks[i][1], &error) == NULL);
		CHECK_EQUAL_U64(error.code, CODE_SYSTEM);
		CHECK(strncmp(error.message, "out of memory", 13) == 0);
		error = (struct error){0};
		CHECK(mem_alloc_zero(asks[i][0], asks[i][1], &error) == NULL);
		CHECK_EQUAL_U64(error.code, CODE_SYSTEM);
	}
}

static void test_arrays_grow_and_keep_their_contents(void)
{
	struct error error = {0};
	uint32_t *array = NULL;
	size_t capacity = 0, moves = 0;
	for (size_t i = 0; i < 3000000; i++) {
		size_t before = capacity;
		if (mem_grow((void **)&array, &capacity, i + 1, sizeof *array, &error) < 0)
			break;
		moves += capacity != before;
		array[i] = (uint32_t)i;
	}
	CHECK_EQUAL_U64(error.code, CODE_OK);
	CHECK(capacity >= 3000000 && capacity <= 4500000);
	CHECK(moves < 40);
	size_t wrong = 0;
	for (size_t i = 0; i < 3000000; i++)
		wrong += array[i] != (uint32_t)i;
	CHECK_EQUAL_U64(wrong, 0);
	const uint32_t *same = array;
	const size_t before = capacity;
	CHECK_OK(mem_grow((void **)&array, &capacity, 10, sizeof *array, &error), &error);
	CHECK(array == same && capacity == before);
	mem_free(array);
}

static void test_an_array_that_cannot_grow_is_left_alone(void)
{
	static const size_t needs[] = {SIZE_MAX, SIZE_MAX / 8, SIZE_MAX / 32};
	for (size_t i = 0; i < COUNT_OF(needs); i++) {
		struct error error = {0};
		uint64_t *array = NULL;
		size_t capacity = 0;
		CHECK_OK(mem_grow((void **)&array, &capacity, 1, sizeof *array, &error), &error);
		array[0] = 42;
		const uint64_t *same = array;
		const size_t before = capacity;
		CHECK(mem_grow((void **)&array, &capacity, needs[i], sizeof *array, &error) == -1);
		CHECK_EQUAL_U64(error.code, CODE_SYSTEM);
		CHECK(array == same && capacity == before && array[0] == 42);
		mem_free(array);
	}
}

static void test_text_is_copied_with_its_end(void)
{
	struct error error = {0};
	char *copy = mem_copy_text("abcdef", 3, &error), *empty = mem_copy_text("", 0, &error);
	CHECK(copy && strcmp(copy, "abc") == 0);
	CHECK(empty && empty[0] == '\0');
	mem_free(copy);
	mem_free(empty);
}

static void test_the_peak_is_seen(void)
{
	struct error error = {0};
	const size_t size = (size_t)48 << 20, before = mem_peak();
	CHECK(before > 0);
	unsigned char *block = mem_alloc_zero(size, 1, &error);
	CHECK(block != NULL);
	CHECK(mem_peak() < before + ((size_t)8 << 20)); /* zeros that nobody has looked at are nowhere yet */
	if (block)
		memset(block, 1, size);
	/* 8 MiB of slack: what earlier tests had resident is counted in `before`. */
	CHECK(mem_peak() >= size && mem_peak() < before + size + ((size_t)8 << 20));
	mem_free(block);
}

int main(void)
{
	RUN(test_blocks_are_aligned_and_usable);
	RUN(test_zeroed_blocks_are_zero);
	RUN(test_too_much_is_an_error);
	RUN(test_arrays_grow_and_keep_their_contents);
	RUN(test_an_array_that_cannot_grow_is_left_alone);
	RUN(test_text_is_copied_with_its_end);
	RUN(test_the_peak_is_seen);
	return check_done();
}
