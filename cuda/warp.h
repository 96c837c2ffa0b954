/* What the lanes of a warp tell each other, in phases of warps (launch.h): each operation is of all lanes, and takes and
 * leaves a value of each. */
#ifndef RECPIPE_CUDA_WARP_H
#define RECPIPE_CUDA_WARP_H

#include "launch.h"

#ifdef __CUDACC__

/* Bit l: whether lane l says so. */
ON_DEVICE uint32_t vote(const bool *says)
{
	return __ballot_sync(0xffffffffu, says[0]);
}

/* Of the lanes, as bits, those that have lane l's value: of less than 2^bits, a constant. */
ON_DEVICE void find_alike(const uint32_t *value, const uint32_t bits, uint32_t *alike)
{
	alike[0] = 0xffffffffu;
	UNROLLED
	for (uint32_t b = 0; b < bits; b++) {
		const uint32_t ones = __ballot_sync(0xffffffffu, value[0] >> b & 1);
		alike[0] &= value[0] >> b & 1 ? ones : ~ones;
	}
}

/* Every value becomes that of the lane `from` says. */
ON_DEVICE void take_from(uint32_t *value, const uint32_t *from)
{
	value[0] = __shfl_sync(0xffffffffu, value[0], from[0]);
}

/* Every value becomes the sum of those of the lanes before; returns that of all. */
ON_DEVICE uint32_t sum_before(uint32_t *value)
{
	uint32_t sum = value[0];
	UNROLLED
	for (uint32_t apart = 1; apart < WARP; apart *= 2) {
		const uint32_t more = __shfl_up_sync(0xffffffffu, sum, apart);
		sum += threadIdx.x % WARP >= apart ? more : 0;
	}
	value[0] = sum - value[0];
	return __shfl_sync(0xffffffffu, sum, WARP - 1);
}

/* What lanes did to shared memory before comes before what they do behind. */
ON_DEVICE void lanes_meet(void)
{
	__syncwarp();
}

ON_DEVICE uint32_t count_bits(uint32_t word)
{
	return (uint32_t)__popc(word);
}

/* Of a word that is not 0. */
ON_DEVICE uint32_t lowest_bit(uint32_t word)
{
	return (uint32_t)__ffs(word) - 1;
}

#else

struct uint4 {
	_Alignas(16) uint32_t x;
	uint32_t y, z, w;
} __attribute__((may_alias));

ON_DEVICE uint32_t vote(const bool *says)
{
	uint32_t votes = 0;
	for (uint32_t l = 0; l < WARP; l++)
		votes |= (uint32_t)says[l] << l;
	return votes;
}

ON_DEVICE void find_alike(const uint32_t *value, const uint32_t bits, uint32_t *alike)
{
	(void)bits;
	for (uint32_t l = 0; l < WARP; l++) {
		alike[l] = 0;
		for (uint32_t m = 0; m < WARP; m++)
			alike[l] |= (uint32_t)(value[m] == value[l]) << m;
	}
}

ON_DEVICE void take_from(uint32_t *value, const uint32_t *from)
{
	uint32_t before[WARP];
	memcpy(before, value, sizeof before);
	for (uint32_t l = 0; l < WARP; l++)
		value[l] = before[from[l]];
}

ON_DEVICE uint32_t sum_before(uint32_t *value)
{
	uint32_t sum = 0;
	for (uint32_t l = 0; l < WARP; l++) {
		const uint32_t more = value[l];
		value[l] = sum;
		sum += more;
	}
	return sum;
}

ON_DEVICE void lanes_meet(void)
{
}

ON_DEVICE uint32_t count_bits(uint32_t word)
{
	return (uint32_t)__builtin_popcount(word);
}

ON_DEVICE uint32_t lowest_bit(uint32_t word)
{
	return (uint32_t)__builtin_ctz(word);
}

#endif

/* How many of the lanes that `lanes` has as bits are before lane l. */
ON_DEVICE uint32_t lanes_before(uint32_t lanes, uint32_t l)
{
	return count_bits(lanes & ((1u << l) - 1));
}

#endif
