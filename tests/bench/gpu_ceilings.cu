/* gpu_ceilings: what a device can do at most, measured now, by small kernels that do nothing else: fused multiply-adds,
 * products by tensor cores, memory, caches, launches, copies. Prints raw values as tests/bench/table reads them:
 * name, "ours", unit, better, value; a line a repeat; name, "skip", reason where a thing cannot be measured.
 *
 * Usage: gpu_ceilings [NUMBER]       of the device; exit 69, with the reason, where there is none
 *
 * Tensor cores are driven by mma.sync, as the backend does: its ceiling, not that of the instructions of whole warp groups
 * which Hopper has as well. The operands are no zeros: those take less power, and so run at higher clocks. */
#include <cuda_runtime.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

enum { REPEATS = 5, THREADS = 256, CHAINS = 8, ROUNDS = 4096, LAUNCHES = 512, GRAPH_KERNELS = 16 };

static int processors;
static float *sink; /* results go here so that nothing is optimised away */

static void check(cudaError_t status, const char *what)
{
	if (status == cudaSuccess)
		return;
	fprintf(stderr, "gpu_ceilings: %s: %s\n", what, cudaGetErrorString(status));
	exit(71);
}

static void print(const char *name, double value, const char *unit, const char *better)
{
	printf("ceiling.gpu.%s\tours\t%s\t%s\t%.9g\n", name, unit, better, value);
	fflush(stdout);
}

static void skip(const char *name, const char *reason)
{
	printf("ceiling.gpu.%s\tskip\t%s\t-\t-\n", name, reason);
}

/* Seconds on the device of what `work` queues on the default stream. */
template <typename work_type> static double device_seconds(work_type work)
{
	cudaEvent_t begin, end;
	float milliseconds = 0;
	check(cudaEventCreate(&begin), "an event");
	check(cudaEventCreate(&end), "an event");
	check(cudaEventRecord(begin), "an event");
	work();
	check(cudaGetLastError(), "a launch");
	check(cudaEventRecord(end), "an event");
	check(cudaEventSynchronize(end), "running");
	check(cudaEventElapsedTime(&milliseconds, begin, end), "an event");
	cudaEventDestroy(begin);
	cudaEventDestroy(end);
	return 1e-3 * (double)milliseconds;
}

/* `amount` a second, REPEATS times; one run before, to warm up. */
template <typename work_type> static void rate(const char *name, double amount, const char *unit, work_type work)
{
	device_seconds(work);
	for (int r = 0; r < REPEATS; r++)
		print(name, amount / device_seconds(work), unit, "higher");
}

/* ---- arithmetic ---- */

static __global__ void __launch_bounds__(THREADS) multiply_adds(float *out)
{
	float x[CHAINS];
	const float factor = 0.999f + 1e-6f * (float)threadIdx.x;
#pragma unroll
	for (int c = 0; c < CHAINS; c++)
		x[c] = (float)(c + 1);
	for (int round = 0; round < ROUNDS; round++)
#pragma unroll
		for (int c = 0; c < CHAINS; c++)
			x[c] = fmaf(x[c], factor, 0.001f);
	float sum = 0;
#pragma unroll
	for (int c = 0; c < CHAINS; c++)
		sum += x[c];
	out[blockIdx.x * THREADS + threadIdx.x] = sum;
}

enum number { TF32, BF16 };

/* m16n8k8 of TF32, m16n8k16 of bfloat16: four registers of A, two of B, four sums. */
template <number kind> static __device__ __forceinline__ void product(float d[4], const uint32_t a[4], const uint32_t b[2])
{
#if __CUDA_ARCH__ >= 800
	if (kind == TF32)
		asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
		             : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
		             : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
	else
		asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
		             : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
		             : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

/* Two numbers of bfloat16, or one of TF32 whose lower half does not count: between 1 and 2, of either sign. */
static __device__ uint32_t operand(uint32_t i)
{
	const uint32_t hash = (i + 1) * 2654435761u;
	return ((hash | 0x3f803f80u) & 0xbfffbfffu) ^ (hash << 3 & 0x80008000u);
}

template <number kind> static __global__ void __launch_bounds__(THREADS) products(float *out)
{
	float d[CHAINS][4] = {};
	uint32_t a[4], b[2];
	for (int i = 0; i < 4; i++)
		a[i] = operand(threadIdx.x * 6 + i);
	for (int i = 0; i < 2; i++)
		b[i] = operand(threadIdx.x * 6 + 4 + i);
	for (int round = 0; round < ROUNDS; round++)
#pragma unroll
		for (int c = 0; c < CHAINS; c++)
			product<kind>(d[c], a, b);
	float sum = 0;
	for (int c = 0; c < CHAINS; c++)
		sum += d[c][0] + d[c][1] + d[c][2] + d[c][3];
	out[blockIdx.x * THREADS + threadIdx.x] = sum;
}

static void measure_arithmetic(int major)
{
	const int blocks = processors * 8;
	const double chains = (double)blocks * CHAINS * ROUNDS, warps = chains * (THREADS / 32);
	rate("fma.fp32", 2e-9 * chains * THREADS, "GFLOP/s", [&] { multiply_adds<<<blocks, THREADS>>>(sink); });
	if (major < 8) {
		skip("mma.tf32", "tensor cores have TF32 from compute capability 8.0 on");
		skip("mma.bf16", "tensor cores have bfloat16 from compute capability 8.0 on");
		return;
	}
	rate("mma.tf32", 2e-9 * warps * 16 * 8 * 8, "GFLOP/s", [&] { products<TF32><<<blocks, THREADS>>>(sink); });
	rate("mma.bf16", 2e-9 * warps * 16 * 8 * 16, "GFLOP/s", [&] { products<BF16><<<blocks, THREADS>>>(sink); });
}

/* ---- memory ---- */

static __global__ void __launch_bounds__(THREADS) copy_memory(const float4 *from, float4 *to, size_t count)
{
	for (size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x; i < count; i += (size_t)gridDim.x * THREADS)
		to[i] = from[i];
}

/* Past the first-level cache. Every block reads all of it, from a place of its own on. */
static __global__ void __launch_bounds__(THREADS) read_often(const float4 *from, size_t count, int times, float *out)
{
	float sum = 0;
	for (int time = 0; time < times; time++)
		for (size_t i = threadIdx.x; i < count; i += THREADS) {
			const size_t at = i + count / gridDim.x / THREADS * THREADS * blockIdx.x;
			const float4 q = __ldcg(from + (at < count ? at : at - count));
			sum += q.x + q.y + q.z + q.w;
		}
	out[blockIdx.x * THREADS + threadIdx.x] = sum;
}

static __global__ void __launch_bounds__(THREADS) read_shared(float *out)
{
	__shared__ float4 shared[4 * THREADS];
	float sum = 0;
	for (int i = 0; i < 4; i++)
		shared[i * THREADS + threadIdx.x] = make_float4(1.0f, (float)i, (float)threadIdx.x, 0.5f);
	__syncthreads();
	for (int round = 0; round < ROUNDS; round++)
#pragma unroll
		for (int i = 0; i < 4; i++) {
			const float4 q = shared[(i * THREADS + threadIdx.x + 8 * round) & (4 * THREADS - 1)];
			sum += q.x + q.y + q.z + q.w;
		}
	out[blockIdx.x * THREADS + threadIdx.x] = sum;
}

/* Rows of 64 floats by random ids: half a warp a row. */
static __global__ void __launch_bounds__(THREADS) gather_rows(const float4 *table, uint32_t rows, uint32_t gathered, float *out)
{
	float sum = 0;
	for (uint32_t r = (blockIdx.x * THREADS + threadIdx.x) / 16; r < gathered; r += gridDim.x * THREADS / 16) {
		uint64_t hash = (r + 1) * UINT64_C(0x9e3779b97f4a7c15);
		hash = (hash ^ hash >> 29) * UINT64_C(0xbf58476d1ce4e5b9) >> 32;
		const float4 q = table[(size_t)(hash * rows >> 32) * 16 + threadIdx.x % 16];
		sum += q.x + q.y + q.z + q.w;
	}
	out[blockIdx.x * THREADS + threadIdx.x] = sum;
}

static void measure_memory(int number)
{
	size_t free_bytes = 0, all_bytes = 0;
	int cache = 0;
	float4 *from = NULL, *to = NULL;
	check(cudaMemGetInfo(&free_bytes, &all_bytes), "asking for memory");
	check(cudaDeviceGetAttribute(&cache, cudaDevAttrL2CacheSize, number), "asking for the cache");
	const size_t bytes = std::min(free_bytes / 4, (size_t)1 << 30) / 4096 * 4096, count = bytes / sizeof(float4);
	check(cudaMalloc(&from, bytes), "memory to copy");
	check(cudaMalloc(&to, bytes), "memory to copy");
	check(cudaMemset(from, 1, bytes), "clearing");
	const int blocks = processors * 8;
	rate("memory.copy", 2e-9 * (double)bytes, "GB/s", [&] { copy_memory<<<blocks, THREADS>>>(from, to, count); });
	/* A quarter of the cache: on some devices each half of the processors has a copy of its own. */
	const size_t held = (size_t)cache / 4 / sizeof(float4) / THREADS * THREADS;
	if (held > 0)
		rate("l2.read", 1e-9 * (double)held * sizeof(float4) * blocks * 2, "GB/s",
		     [&] { read_often<<<blocks, THREADS>>>(from, held, 2, sink); });
	else
		skip("l2.read", "the device tells no second-level cache");
	rate("shared.read", 1e-9 * blocks * (double)THREADS * ROUNDS * 4 * sizeof(float4), "GB/s",
	     [&] { read_shared<<<blocks, THREADS>>>(sink); });
	const uint32_t rows = (uint32_t)(bytes / 256), gathered = 1u << 24;
	rate("memory.gather", 1e-6 * gathered, "M rows/s", [&] { gather_rows<<<blocks, THREADS>>>(from, rows, gathered, sink); });
	cudaFree(from);
	cudaFree(to);
}

/* ---- launches ---- */

static __global__ void nothing(void)
{
}

static void measure_launches(void)
{
	cudaStream_t stream;
	cudaGraph_t graph;
	cudaGraphExec_t ready;
	check(cudaStreamCreate(&stream), "a stream");
	for (int r = 0; r <= REPEATS; r++) {
		const double seconds = device_seconds([] { for (int i = 0; i < LAUNCHES; i++) nothing<<<1, THREADS>>>(); });
		if (r > 0)
			print("launch", 1e6 * seconds / LAUNCHES, "us", "lower");
	}
	for (int r = 0; r <= REPEATS; r++) {
		const auto begin = std::chrono::steady_clock::now();
		nothing<<<1, THREADS>>>();
		check(cudaDeviceSynchronize(), "running");
		const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
		if (r > 0)
			print("launch_and_wait", 1e6 * seconds.count(), "us", "lower");
	}
	check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "recording a graph");
	for (int i = 0; i < GRAPH_KERNELS; i++)
		nothing<<<1, THREADS, 0, stream>>>();
	check(cudaStreamEndCapture(stream, &graph), "recording a graph");
	check(cudaGraphInstantiateWithFlags(&ready, graph, 0), "making a graph");
	for (int r = 0; r <= REPEATS; r++) {
		const double seconds = device_seconds([&] { for (int i = 0; i < LAUNCHES; i++) check(cudaGraphLaunch(ready, 0), "a graph"); });
		if (r > 0)
			print("graph_kernel", 1e6 * seconds / LAUNCHES / GRAPH_KERNELS, "us", "lower");
	}
	cudaGraphExecDestroy(ready);
	cudaGraphDestroy(graph);
	cudaStreamDestroy(stream);
}

/* ---- copies between host and device ---- */

static void measure_copies(void)
{
	const size_t bytes = (size_t)64 << 20;
	void *device = NULL, *pinned = NULL, *pageable = calloc(1, bytes);
	check(cudaMalloc(&device, bytes), "memory to copy");
	check(cudaHostAlloc(&pinned, bytes, cudaHostAllocDefault), "pinned memory");
	if (!pageable)
		check(cudaErrorMemoryAllocation, "memory to copy");
	const double amount = 1e-9 * (double)bytes;
	rate("upload.pinned", amount, "GB/s",
	     [&] { check(cudaMemcpyAsync(device, pinned, bytes, cudaMemcpyHostToDevice, 0), "copying"); });
	rate("download.pinned", amount, "GB/s",
	     [&] { check(cudaMemcpyAsync(pinned, device, bytes, cudaMemcpyDeviceToHost, 0), "copying"); });
	rate("upload.pageable", amount, "GB/s",
	     [&] { check(cudaMemcpyAsync(device, pageable, bytes, cudaMemcpyHostToDevice, 0), "copying"); });
	rate("download.pageable", amount, "GB/s",
	     [&] { check(cudaMemcpyAsync(pageable, device, bytes, cudaMemcpyDeviceToHost, 0), "copying"); });
	cudaFree(device);
	cudaFreeHost(pinned);
	free(pageable);
}

int main(int argc, char **argv)
{
	const int number = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 0;
	int count = 0, major = 0;
	const cudaError_t status = cudaGetDeviceCount(&count);
	if (status != cudaSuccess || number >= count) {
		fprintf(stderr, "gpu_ceilings: no device cuda:%d: %s\n", number,
		        status != cudaSuccess ? cudaGetErrorString(status) : "there are fewer");
		return 69;
	}
	check(cudaSetDevice(number), "choosing the device");
	check(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, number), "asking for processors");
	check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, number), "asking for the capability");
	check(cudaMalloc(&sink, (size_t)processors * 8 * THREADS * sizeof *sink), "memory for results");
	measure_arithmetic(major);
	measure_memory(number);
	measure_launches();
	measure_copies();
	cudaFree(sink);
	return 0;
}
