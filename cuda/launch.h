/* The language that kernels are written in: a subset of C and of CUDA C++, so that every kernel is compiled twice, by
 * nvcc for a device and by the C compiler for machines that have none (emulated.c runs it there, for the tests).
 *
 * A kernel is written for a block of THREADS threads, as a sequence of phases:
 *
 *   KERNEL(name, struct name_arguments) { ... EACH_THREAD(t) { what thread t does } EACH_THREAD(t) { ... } }
 *
 * A phase ends in a barrier. Within one, no thread may read what another one writes: so the emulator may run the
 * threads of a phase in any order, and the tests run them in two (and blocks as well) and want the same bytes. What
 * stands outside of phases is done by every thread alike: it may read what an earlier phase left in shared memory, as
 * long as the next phase does not write it. Nothing is shared between blocks but integer counters.
 *
 * A phase may be one of whole warps, EACH_WARP(w) { ... }, for what a warp does together (mma.h). Its lanes' registers are
 * a struct of each, r[WARP_LANES]: on a device a thread has its own alone, r[OF_LANE(l)], in the emulator there are those of
 * all lanes, so that an operation of the warp finds every lane's. What lanes do by themselves stands in EACH_LANE(l).
 *
 * EACH_THREAD_OF_WARP(t) is a phase of all threads whose barrier is the warp's: a warp goes on without the others, and
 * may read what its own threads wrote. What other warps wrote is there behind the end of a phase of the block. */
#ifndef RECPIPE_CUDA_LAUNCH_H
#define RECPIPE_CUDA_LAUNCH_H

#include <math.h>

#include "device.h"

enum { THREADS = 256, WARP = 32, WARPS = THREADS / WARP };

#ifdef __CUDACC__

#include <cuda_runtime.h>

#define KERNEL(name, arguments_type) static __global__ void __launch_bounds__(THREADS) name(const arguments_type a)
/* With registers for two blocks on a multiprocessor, which ptxas would else save on. */
#define KERNEL_OF_TWO(name, arguments_type) \
	static __global__ void __launch_bounds__(THREADS, 2) name(const arguments_type a)
/* With all registers that there are. */
#define KERNEL_OF_ONE(name, arguments_type) \
	static __global__ void __launch_bounds__(THREADS, 1) name(const arguments_type a)
#define ON_DEVICE static __device__ __forceinline__
#define ON_BOTH static __host__ __device__ inline
#define EACH_THREAD(t) \
	for (uint32_t t = threadIdx.x, turn_##t = 1; turn_##t; turn_##t = 0, __syncthreads())
#define EACH_THREAD_OF_WARP(t) \
	for (uint32_t t = threadIdx.x, turn_##t = 1; turn_##t; turn_##t = 0, __syncwarp())
#define EACH_WARP(w) \
	for ([[maybe_unused]] uint32_t w = threadIdx.x / WARP, turn_##w = 1; turn_##w; turn_##w = 0, __syncthreads())
#define EACH_LANE(l) \
	for ([[maybe_unused]] uint32_t l = threadIdx.x % WARP, turn_##l = 1; turn_##l; turn_##l = 0)
#define OF_LANE(l) 0
enum { WARP_LANES = 1 };
#define UNROLLED _Pragma("unroll")
#define UNROLLED_BY_8 _Pragma("unroll 8")
#define ROLLED _Pragma("unroll 1")
#define BLOCK ((uint32_t)blockIdx.x)
#define BLOCKS ((uint32_t)gridDim.x)

static __device__ __forceinline__ float *shared_floats(void)
{
	extern __shared__ __align__(16) float shared_memory[];
	return shared_memory;
}

static __device__ __forceinline__ uint32_t count_up(uint32_t *counter, uint32_t more)
{
	return atomicAdd(counter, more);
}

#define LAUNCH(device, stream, kernel, blocks, shared_bytes, arguments) \
	do { \
		if ((shared_bytes) > DEVICE_SHARED_PLAIN) \
			device_check(device, cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, \
			             (int)(device)->shared_limit), #kernel); \
		kernel<<<(blocks), THREADS, (shared_bytes), device_stream(device, stream)>>>(arguments); \
		device_check(device, cudaGetLastError(), #kernel); \
	} while (0)

void device_check(struct device *device, cudaError_t status, const char *what);
cudaStream_t device_stream(struct device *device, enum device_stream stream);

#else

#include "watch.h"

/* Where the emulator is: one block at a time, its threads one after another. */
struct emulated {
	uint32_t block, blocks;
	float *shared;
	bool backwards;           /* threads and blocks in descending order */
};
extern struct emulated emulated;

#ifdef WATCHED
#define HOST_SIDE __attribute__((no_sanitize("thread")))
#else
#define HOST_SIDE
#endif

#define KERNEL(name, arguments_type) \
	static void name(const arguments_type a); \
	static HOST_SIDE void name##_run(const void *arguments) \
	{ \
		name(*(const arguments_type *)arguments); \
	} \
	static void name(const arguments_type a)
#define KERNEL_OF_TWO(name, arguments_type) KERNEL(name, arguments_type)
#define KERNEL_OF_ONE(name, arguments_type) KERNEL(name, arguments_type)
#define ON_DEVICE static inline UNUSED
#define ON_BOTH static inline UNUSED
#ifdef WATCHED
/* Every thread for itself, as on a device; a phase of warps is run by the first thread of each, which takes the part of
 * every lane in turn. Lanes are in no order: what they give each other goes by registers. */
#define EACH_THREAD(t) \
	for (uint32_t t = watch_phase(__FILE__, __LINE__), turn_##t = 1; turn_##t; turn_##t = 0, watch_barrier())
#define EACH_THREAD_OF_WARP(t) \
	for (uint32_t t = watch_phase(__FILE__, __LINE__), turn_##t = 1; turn_##t; turn_##t = 0, watch_barrier_of_warp())
#define EACH_WARP(w) \
	for (uint32_t w = watch_phase(__FILE__, __LINE__), turn_##w = 1; turn_##w; turn_##w = 0, watch_barrier()) \
		for (bool leads_##w = w % WARP == 0 && (w /= WARP, true); leads_##w; leads_##w = false)
#define EACH_LANE(l) \
	for (uint32_t turn_##l = 0, l; turn_##l < WARP && (l = emulated_turn(turn_##l, WARP), true); turn_##l++) \
		for (bool is_##l = (watch_lane(l), true); is_##l; is_##l = (watch_lane(0), false))
#else
#define EACH_THREAD(t) \
	for (uint32_t turn_##t = 0, t; turn_##t < THREADS && (t = emulated_turn(turn_##t, THREADS), true); turn_##t++)
#define EACH_THREAD_OF_WARP(t) EACH_THREAD(t)
#define EACH_WARP(w) \
	for (uint32_t turn_##w = 0, w; turn_##w < WARPS && (w = emulated_turn(turn_##w, WARPS), true); turn_##w++)
#define EACH_LANE(l) \
	for (uint32_t turn_##l = 0, l; turn_##l < WARP && (l = emulated_turn(turn_##l, WARP), true); turn_##l++)
#endif
#define OF_LANE(l) (l)
enum { WARP_LANES = WARP };
#define UNROLLED
#define UNROLLED_BY_8
#define ROLLED
#define BLOCK (emulated.block)
#define BLOCKS (emulated.blocks)

struct float4 {
	_Alignas(16) float x;
	float y, z, w;
} __attribute__((may_alias));

struct float2 {
	_Alignas(8) float x;
	float y;
} __attribute__((may_alias));

static inline uint32_t emulated_turn(uint32_t turn, uint32_t count)
{
	return emulated.backwards ? count - 1 - turn : turn;
}

static inline float *shared_floats(void)
{
	return emulated.shared;
}

static inline UNUSED uint32_t count_up(uint32_t *counter, uint32_t more)
{
#ifdef WATCHED
	return watch_count_up(counter, more);
#else
	const uint32_t before = *counter;
	*counter += more;
	return before;
#endif
}

/* Runs the kernel for every block, or keeps it and its arguments while a graph is recorded. */
struct emulated_launch {
	const char *what;
	void (*run)(const void *arguments);
	uint32_t blocks;
	size_t shared_bytes;
};
void emulated_launch(struct device *device, enum device_stream stream, const struct emulated_launch *launch,
                     const void *arguments, size_t size);

#define LAUNCH(device, stream, kernel, grid, shared, arguments) \
	do { \
		const struct emulated_launch launch_ = { \
			.what = #kernel, .run = kernel##_run, .blocks = (grid), .shared_bytes = (shared), \
		}; \
		emulated_launch(device, stream, &launch_, &(arguments), sizeof(arguments)); \
	} while (0)

#endif

/* What every thread has of its own and keeps from phase to phase: `count` values of a type. A function that takes it has
 * a parameter type (*name)[count]; OF_THREAD(name, t) is the array of thread t, in phases of threads alone. And what lanes
 * keep from one phase of warps to the next: OF_WARP(name, w) is the array of warp w, [WARP_LANES][count], one lane's values
 * behind the other's. */
#ifdef __CUDACC__
#define PER_THREAD(type, name, count) type name[1][count]
#define OF_THREAD(name, t) (name)[0]
#else
#define PER_THREAD(type, name, count) type name[THREADS][count]
#define OF_THREAD(name, t) (name)[t]
#endif
#if defined(__CUDACC__) || defined(WATCHED) /* watched: a warp's first thread has its own */
#define PER_WARP(type, name, count) type name[1][WARP_LANES * (count)]
#define OF_WARP(name, w) (name)[0 * (w)]
#else
#define PER_WARP(type, name, count) type name[WARPS][WARP_LANES * (count)]
#define OF_WARP(name, w) (name)[w]
#endif

ON_DEVICE uint32_t least_of(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

/* Where the share of `block` of `count` things begins, of `blocks` shares. */
ON_BOTH uint32_t share_begin(uint32_t count, uint32_t blocks, uint32_t block)
{
	return (uint32_t)((uint64_t)count * block / blocks);
}

#endif
