/* Sorting whole numbers by their digits of 11 bits, least significant first: a few passes over the data, whatever
 * they are. */
#ifndef RECPIPE_RADIX_H
#define RECPIPE_RADIX_H

#include "compat.h"
#include "error.h"

/* Sorts ascending by the bits from `from_bit` on; keys that are equal in those keep their order. Digits that all
 * keys share cost one pass over them together. Takes `count` * 8 bytes while it works. */
MUST_CHECK int radix_sort(uint64_t *keys, size_t count, unsigned from_bit, struct error *error);

/* The same with room for `count` keys from the caller, and for few keys as quick as for many. */
void radix_sort_with(uint64_t *keys, uint64_t *spare, size_t count, unsigned from_bit);

#endif
