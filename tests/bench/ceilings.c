/* ceilings: what this machine can do at most, measured now: fused multiply-adds for each instruction set,
 * reading, copying and gathering memory, CRC-32, and reading a file. A line a figure: name TAB value TAB unit. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "checksum.h"
#include "clock.h"
#include "kernels.h"
#include "mem.h"
#include "options.h"
#include "parallel.h"
#include "rng.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif
#include <math.h>

enum {
	FMA_ROUNDS = 1 << 21,      /* milliseconds, so that every thread has woken and taken its share */
	FMAF_ROUNDS = 1 << 15,
	TILE_ROUNDS = 1 << 17,
	CRC_ROUNDS = 16,
	CHAINS = 12,               /* independent accumulators: more than latency times ports */
	ROW_FLOATS = 64,           /* 256 bytes: a row of 64 dimensions */
	GATHERED = 1 << 20,        /* rows in one round of gathers */
	READ_SIZE = 1 << 20,
};

struct options {
	const char *read;
	double seconds;
	int64_t megabytes, threads;
};

static const struct options defaults = {.seconds = 0.2, .megabytes = 256, .threads = 2};

#define AT(member) offsetof(struct options, member)
static const struct option_spec table[] = {
	{'s', "seconds", OPTION_REAL, AT(seconds), "X", "How long each figure is measured.", 0.001, 60, NULL},
	{'m', "megabytes", OPTION_INT, AT(megabytes), "N", "Memory that is read and copied.", 1, 4096, NULL},
	{'j', "threads", OPTION_INT, AT(threads), "N", "Measure on one thread and on this many.", 1, 64, NULL},
	{'r', "read", OPTION_TEXT, AT(read), "FILE", "Measure reading this file, and nothing else.", 0, 0, NULL},
};

static const struct tool_spec tool = {
	.name = "ceilings",
	.summary = "what this machine can do at most",
	.operands = "",
	.description = "Measures ceilings and prints one a line: name, value, unit.",
	.options = table,
	.option_count = COUNT_OF(table),
	.defaults = &defaults,
	.size = sizeof defaults,
};

static volatile float sink; /* results go here so that nothing is optimised away */

/* What all threads do at once: each measures on its own share of the memory. */
struct work {
	size_t threads;
	float *memory, *copy;     /* floats of them */
	const uint32_t *rows;     /* GATHERED of each thread: random, below row_count */
	size_t floats, row_count;
	float sums[64];
};

/* ---- multiply-adds: 2 * CHAINS * 16 * FMA_ROUNDS operations a call ---- */

#if defined(__x86_64__)
__attribute__((target("avx512f"))) static float fma_avx512(void)
{
	__m512 sum[CHAINS], factor = _mm512_set1_ps(0.999f), addend = _mm512_set1_ps(0.001f);
#pragma GCC unroll 12
	for (int c = 0; c < CHAINS; c++)
		sum[c] = _mm512_set1_ps((float)c);
	for (int round = 0; round < FMA_ROUNDS; round++)
#pragma GCC unroll 12
		for (int c = 0; c < CHAINS; c++)
			sum[c] = _mm512_fmadd_ps(sum[c], factor, addend);
	float total = 0.0f;
	for (int c = 0; c < CHAINS; c++)
		total += _mm512_cvtss_f32(sum[c]);
	return total;
}

__attribute__((target("avx2,fma"))) static float fma_avx2(void)
{
	__m256 sum[CHAINS], factor = _mm256_set1_ps(0.999f), addend = _mm256_set1_ps(0.001f);
#pragma GCC unroll 12
	for (int c = 0; c < CHAINS; c++)
		sum[c] = _mm256_set1_ps((float)c);
	for (int round = 0; round < 2 * FMA_ROUNDS; round++)
#pragma GCC unroll 12
		for (int c = 0; c < CHAINS; c++)
			sum[c] = _mm256_fmadd_ps(sum[c], factor, addend);
	float total = 0.0f;
	for (int c = 0; c < CHAINS; c++)
		total += _mm256_cvtss_f32(sum[c]);
	return total;
}
#else
static float fma_avx512(void) { return 0.0f; }
static float fma_avx2(void) { return 0.0f; }
#endif

/* The portable kernels call the C library's fmaf: this is what that gives. */
static float fma_portable(void)
{
	float sum[CHAINS] = {0};
	for (int round = 0; round < 16 * FMAF_ROUNDS; round++)
		for (int c = 0; c < CHAINS; c++)
			sum[c] = fmaf(sum[c], 0.999f, 0.001f);
	return sum[0] + sum[CHAINS - 1];
}

#define FMA_WORK(name) \
	static void work_##name(void *context, size_t shard, size_t worker) \
	{ \
		(void)worker; \
		((struct work *)context)->sums[shard] = fma_##name(); \
	}
FMA_WORK(avx512)
FMA_WORK(avx2)
FMA_WORK(portable)

/* Products of tiles into four independent sums: 4 * 16 * 16 * 32 multiply-adds a round. */
static void work_amx(void *context, size_t shard, size_t worker)
{
	(void)worker;
#if defined(__x86_64__)
	_Alignas(64) static const uint8_t configuration[64] = {
		1, [16] = 64, [18] = 64, [20] = 64, [22] = 64, [24] = 64, [26] = 64,
		[48] = 16, [49] = 16, [50] = 16, [51] = 16, [52] = 16, [53] = 16,
	};
	__asm__ volatile("ldtilecfg %0" : : "m"(configuration) : "memory");
	for (int round = 0; round < TILE_ROUNDS; round++)
		__asm__ volatile("tdpbf16ps %%tmm5, %%tmm4, %%tmm0\n\ttdpbf16ps %%tmm5, %%tmm4, %%tmm1\n\t"
		                 "tdpbf16ps %%tmm5, %%tmm4, %%tmm2\n\ttdpbf16ps %%tmm5, %%tmm4, %%tmm3" : : : "memory");
	__asm__ volatile("tilerelease" : : : "memory");
#endif
	((struct work *)context)->sums[shard] = 0.0f;
}

/* ---- memory ---- */

static void work_read(void *context, size_t shard, size_t worker)
{
	struct work *work = context;
	const size_t begin = shard_begin(work->floats / 64, work->threads, shard) * 64;
	const size_t end = shard_begin(work->floats / 64, work->threads, shard + 1) * 64;
	uint64_t sum[8] = {0};
	(void)worker;
	for (size_t at = begin; at < end; at += 64)
		for (size_t i = 0; i < 8; i++) { /* eight words a quarter row: enough to be bound by memory */
			uint64_t words[4];
			memcpy(words, work->memory + at + 8 * i, sizeof words);
			sum[i] += words[0] ^ words[1] ^ words[2] ^ words[3];
		}
	work->sums[shard] = (float)(sum[0] ^ sum[1] ^ sum[2] ^ sum[3] ^ sum[4] ^ sum[5] ^ sum[6] ^ sum[7]);
}

static void work_copy(void *context, size_t shard, size_t worker)
{
	struct work *work = context;
	const size_t begin = shard_begin(work->floats, work->threads, shard);
	const size_t end = shard_begin(work->floats, work->threads, shard + 1);
	(void)worker;
	memcpy(work->copy + begin, work->memory + begin, (end - begin) * sizeof(float));
}

/* One float of each of a row's four lines: what fetching the row costs, without adding it up. */
static void work_gather(void *context, size_t shard, size_t worker)
{
	struct work *work = context;
	const uint32_t *rows = work->rows + shard * GATHERED;
	float sum[4] = {0};
	(void)worker;
	for (size_t i = 0; i < GATHERED; i++) {
		const float *row = work->memory + (size_t)rows[i] * ROW_FLOATS;
		for (size_t line = 0; line < 4; line++)
			sum[line] += row[16 * line];
	}
	work->sums[shard] = sum[0] + sum[1] + sum[2] + sum[3];
}

static void work_crc(void *context, size_t shard, size_t worker)
{
	struct work *work = context;
	uint32_t sum = 0;
	(void)worker; /* a megabyte, as the blocks of a stream: in the cache */
	for (int round = 0; round < CRC_ROUNDS; round++)
		sum += checksum_crc32(work->memory + shard * (READ_SIZE / 4), READ_SIZE);
	work->sums[shard] = (float)sum;
}

/* ---- measuring ---- */

/* Best of the rounds that fit into `seconds`, after one that warms up: a ceiling is what can be reached. */
static double best_round(struct pool *pool, struct work *work, double seconds,
                         void (*run)(void *context, size_t shard, size_t worker))
{
	double best = 1e99;
	pool_run(pool, work->threads, run, work);
	for (double end = clock_seconds() + seconds; clock_seconds() < end;) {
		double begin = clock_seconds();
		pool_run(pool, work->threads, run, work);
		double taken = clock_seconds() - begin;
		if (taken < best)
			best = taken;
	}
	for (size_t t = 0; t < work->threads; t++)
		sink = sink + work->sums[t];
	return best;
}

static void name_figure(const char *what, size_t threads, double value, const char *unit)
{
	char name[64];
	snprintf(name, sizeof name, "ceiling.%s.t%zu", what, threads);
	figure(name, value, unit);
}

static void measure_fma(struct pool *pool, struct work *work, double seconds)
{
	static const struct {
		const char *isa;
		void (*run)(void *context, size_t shard, size_t worker);
		double rounds;
	} kinds[] = {
		{"avx512", work_avx512, FMA_ROUNDS},
		{"avx2", work_avx2, FMA_ROUNDS},
		{"portable", work_portable, FMAF_ROUNDS},
	};
	for (size_t k = 0; k < COUNT_OF(kinds); k++) {
		const double operations = 2.0 * CHAINS * 16.0 * kinds[k].rounds * (double)work->threads;
		char what[32];
		struct error error = {0};
		enum isa isa;
		if (isa_find(kinds[k].isa, &isa, &error) < 0)
			continue; /* not on this processor */
		snprintf(what, sizeof what, "fma.%s", kinds[k].isa);
		name_figure(what, work->threads, operations / best_round(pool, work, seconds, kinds[k].run) / 1e9, "GFLOP/s");
	}
	const double operations = 2.0 * 4 * 16 * 16 * 32 * TILE_ROUNDS * (double)work->threads;
	if (amx_usable())
		name_figure("amx.bf16", work->threads, operations / best_round(pool, work, seconds, work_amx) / 1e9, "GFLOP/s");
}

static void measure_gathers(struct pool *pool, struct work *work, uint32_t *rows, double seconds)
{
	static const struct {
		const char *what;
		size_t bytes;
	} sizes[] = {{"gather.512k", 512u << 10}, {"gather.40m", 40u << 20}, {"gather.all", SIZE_MAX}};
	for (size_t s = 0; s < COUNT_OF(sizes); s++) {
		const size_t most = work->floats / ROW_FLOATS, wanted = sizes[s].bytes / (4 * ROW_FLOATS);
		const size_t count = wanted < most ? wanted : most;
		for (size_t i = 0; i < work->threads * GATHERED; i++) {
			uint32_t words[4];
			rng_block(1, rng_stream(RNG_TEST, 0), i, 0, words);
			rows[i] = rng_scale(words[0], (uint32_t)count);
		}
		name_figure(sizes[s].what, work->threads,
		            (double)(work->threads * GATHERED) / best_round(pool, work, seconds, work_gather) / 1e6,
		            "Mrows/s");
	}
}

static int measure(const struct options *options, size_t threads, struct work *work, uint32_t *rows,
                   struct error *error)
{
	const double bytes = (double)work->floats * sizeof(float);
	struct pool *pool = pool_new(threads, error);
	if (!pool)
		return -1;
	work->threads = threads;
	work->rows = rows;
	measure_fma(pool, work, options->seconds);
	name_figure("memory.read", threads, bytes / best_round(pool, work, options->seconds, work_read) / 1e9, "GB/s");
	name_figure("memory.copy", threads, bytes / best_round(pool, work, options->seconds, work_copy) / 1e9, "GB/s");
	measure_gathers(pool, work, rows, options->seconds);
	const double summed = (double)READ_SIZE * CRC_ROUNDS * (double)threads;
	name_figure("crc32", threads, summed / best_round(pool, work, options->seconds, work_crc) / 1e9, "GB/s");
	pool_free(pool);
	return 0;
}

static int measure_all(const struct options *options, struct error *error)
{
	const size_t threads = (size_t)options->threads;
	struct work work = {.floats = (size_t)options->megabytes << 18};
	int result = -1;
	if (work.floats < threads * (READ_SIZE / 4))
		work.floats = threads * (READ_SIZE / 4);
	work.memory = mem_alloc_zero(work.floats, sizeof(float), error);
	work.copy = mem_alloc_zero(work.floats, sizeof(float), error);
	uint32_t *rows = mem_alloc(threads * GATHERED, sizeof *rows, error);
	if (!work.memory || !work.copy || !rows)
		goto out;
	for (size_t i = 0; i < work.floats; i++)
		work.memory[i] = (float)(i & 1023);
	result = measure(options, 1, &work, rows, error);
	if (result == 0 && threads > 1)
		result = measure(options, threads, &work, rows, error);
out:
	mem_free(rows);
	mem_free(work.copy);
	mem_free(work.memory);
	return result;
}

/* Reads the whole file once with plain read(), a megabyte at a time. */
static int measure_reading(const char *path, struct error *error)
{
	unsigned char *buffer = mem_alloc(READ_SIZE, 1, error);
	if (!buffer)
		return -1;
	double begin = clock_seconds();
	uint64_t bytes = 0;
	ssize_t got = -1;
	int result = 0, file = open(path, O_RDONLY | O_CLOEXEC);
	if (file >= 0)
		while ((got = read(file, buffer, READ_SIZE)) > 0)
			bytes += (uint64_t)got;
	if (got < 0)
		result = error_set_errno(error, CODE_NO_INPUT, errno, "%s: cannot be read", path);
	else
		figure("ceiling.read", (double)bytes / (clock_seconds() - begin) / 1e6, "MB/s");
	if (file >= 0)
		close(file);
	mem_free(buffer);
	return result;
}

int main(int argc, char **argv)
{
	struct options options;
	struct operands operands;
	struct error error = {0};
	enum options_verdict verdict = options_parse(&tool, argc, argv, &options, &operands, &error);
	if (verdict == OPTIONS_DONE)
		return CODE_OK;
	if (verdict == OPTIONS_FAILED)
		return error_report(&error);
	int result = options.read ? measure_reading(options.read, &error) : measure_all(&options, &error);
	return result == 0 ? CODE_OK : error_report(&error);
}
