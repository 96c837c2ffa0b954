/* Checked allocation. Everything is malloc's, so that mem_free is free. */
#include "mem.h"

#include <sys/mman.h>
#include <sys/resource.h>

static const size_t huge_page = (size_t)2 << 20;

/* An offer: fine where it is not taken. Whole pages, malloc's own words before the block among them: a mapping of which
 * a part alone is offered becomes two, and mremap moves no two. */
static void offer(void *block, size_t bytes)
{
	const uintptr_t page = 4096, begin = (uintptr_t)block / page * page;
	const uintptr_t end = ((uintptr_t)block + bytes + page - 1) / page * page;
	(void)madvise((void *)begin, (size_t)(end - begin), MADV_HUGEPAGE);
}

void *mem_alloc(size_t count, size_t size, struct error *error)
{
	size_t bytes;
	if (__builtin_mul_overflow(count, size, &bytes) || bytes > SIZE_MAX / 2) {
		error_set(error, CODE_SYSTEM, "out of memory: %zu elements of %zu bytes", count, size);
		return NULL;
	}
	size_t alignment = bytes >= huge_page ? huge_page : MEM_ALIGNMENT;
	size_t rounded = bytes ? (bytes + alignment - 1) / alignment * alignment : alignment;
	void *block = aligned_alloc(alignment, rounded);
	if (!block) {
		error_set(error, CODE_SYSTEM, "out of memory: %zu bytes", bytes);
		return NULL;
	}
	if (alignment == huge_page)
		offer(block, rounded);
	return block;
}

void *mem_alloc_zero(size_t count, size_t size, struct error *error)
{
	char *block = mem_alloc(count, size, error);
	const size_t bytes = count * size, whole = bytes / huge_page * huge_page;
	if (!block)
		return NULL;
	/* Whole pages are given back, which makes them zero when they are next used, and not before. */
	if (bytes < huge_page || madvise(block, whole, MADV_DONTNEED) != 0)
		memset(block, 0, bytes);
	else
		memset(block + whole, 0, bytes - whole);
	return block;
}

int mem_grow(void **array, size_t *capacity, size_t need, size_t size, struct error *error)
{
	size_t bytes, more = *capacity + *capacity / 2;
	if (need <= *capacity)
		return 0;
	if (more < need)
		more = need;
	if (more < 16)
		more = 16;
	if (__builtin_mul_overflow(more, size, &bytes))
		return error_set(error, CODE_SYSTEM, "out of memory: %zu elements of %zu bytes", more, size);
	/* realloc moves large blocks by mremap, so that two copies are never resident. */
	void *grown = realloc(*array, bytes);
	if (!grown)
		return error_set(error, CODE_SYSTEM, "out of memory: %zu bytes", bytes);
	if (bytes >= 2 * huge_page)
		offer(grown, bytes);
	*array = grown;
	*capacity = more;
	return 0;
}

char *mem_copy_text(const char *text, size_t length, struct error *error)
{
	char *copy = mem_alloc(length + 1, 1, error);
	if (!copy)
		return NULL;
	memcpy(copy, text, length);
	copy[length] = '\0';
	return copy;
}

void mem_free(void *block)
{
	free(block);
}

size_t mem_peak(void)
{
	struct rusage usage;
	return getrusage(RUSAGE_SELF, &usage) == 0 ? (size_t)usage.ru_maxrss * 1024 : 0;
}
