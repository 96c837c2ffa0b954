/* Checked allocation: 64-byte aligned, sizes multiplied with overflow checks, large blocks offered to
 * transparent huge pages (LIMITS: 1.2-1.8x on gathers). Out of memory is an error like any other. */
#ifndef RECPIPE_MEM_H
#define RECPIPE_MEM_H

#include "compat.h"
#include "error.h"

enum { MEM_ALIGNMENT = 64 };

/* `count` * `size` bytes, uninitialised; never NULL on success, also for 0 bytes. The block is rounded up
 * to whole 64-byte lines. NULL and CODE_SYSTEM when there is not enough. Free with mem_free. */
MUST_CHECK void *mem_alloc(size_t count, size_t size, struct error *error);

/* The same, zeroed; pages of large blocks become resident when they are first used. */
MUST_CHECK void *mem_alloc_zero(size_t count, size_t size, struct error *error);

/* Makes *array hold at least `need` elements of `size` bytes, growing by half again; contents kept, new
 * space uninitialised. *array may be NULL with *capacity 0. The array is aligned as malloc's blocks are, no
 * more. Returns 0, or -1 with *array unchanged. */
MUST_CHECK int mem_grow(void **array, size_t *capacity, size_t need, size_t size, struct error *error);

/* A copy of `length` bytes with a NUL behind them. */
MUST_CHECK char *mem_copy_text(const char *text, size_t length, struct error *error);

void mem_free(void *block); /* NULL is fine */

/* Highest resident set of this process so far, in bytes (getrusage). */
size_t mem_peak(void);

#endif
