/* A device that is none: plain memory, poisoned, and kernels that run on the processor (launch.h). For the tests of
 * what nvcc compiles as well, on machines without a device. It repeats every rounding of a device, whose arithmetic is
 * IEEE's with explicit fused multiply-adds, subnormal numbers flushed. */
#include "emulated.h"

#include "launch.h"

#if defined(__x86_64__)
#include <xmmintrin.h>

/* Kernels are compiled for processors that have them. */
static bool has_fused_multiply_add(void) { return __builtin_cpu_supports("fma"); }
#else
static unsigned _mm_getcsr(void) { return 0; }
static void _mm_setcsr(unsigned control) { (void)control; }
static bool has_fused_multiply_add(void) { return true; }
#endif

struct emulated emulated;
struct emulated_settings emulated_settings = {.shared_limit = 96 * 1024, .memory = SIZE_MAX, .devices = 5};

int device_probe(int number, struct error *error)
{
	if (!has_fused_multiply_add())
		return cuda_error(error, CODE_UNAVAILABLE, "the emulated device needs a processor with fused multiply-adds");
	if (number < emulated_settings.devices)
		return 0;
	return cuda_error(error, CODE_UNAVAILABLE, "there is no device cuda:%d, the last emulated one is cuda:%d", number,
	                  emulated_settings.devices - 1);
}

int device_open(struct device *device, int number, struct error *error)
{
	memset(device, 0, sizeof *device);
	device->number = number;
	device->shared_limit = emulated_settings.shared_limit;
	device->processors = 4;
	snprintf(device->name, sizeof device->name, "emulated");
	return device_probe(number, error);
}

void device_use(struct device *device)
{
	(void)device;
}

void device_close(struct device *device)
{
	if (device->handles)
		device_forget(device);
	free(device->handles);
	for (size_t b = 0; b < device->block_count; b++)
		free(device->blocks[b].at);
	memset(device, 0, sizeof *device);
}

void *device_alloc(struct device *device, size_t count, size_t size, const char *what, struct error *error)
{
	size_t bytes;
	const size_t free_bytes = emulated_settings.memory - device->bytes;
	if (__builtin_mul_overflow(count, size, &bytes) || bytes > free_bytes) {
		device_full(device, count, size, free_bytes, what, error);
		return NULL;
	}
	bytes = bytes > 0 ? bytes : 1;
	void *block = NULL;
	if (device->block_count == DEVICE_BLOCKS_MAX || posix_memalign(&block, 64, bytes) != 0) {
		device_full(device, count, size, free_bytes, what, error);
		return NULL;
	}
	memset(block, 0xff, bytes); /* NaN, and numbers of nothing */
	device_list(device, block, bytes);
	return block;
}

void device_release(struct device *device, void *block)
{
	if (device_unlist(device, block))
		free(block);
}

void device_upload(struct device *device, enum device_stream stream, void *to, const void *from, size_t bytes)
{
	(void)device;
	(void)stream;
	if (bytes > 0)
		memcpy(to, from, bytes);
}

void device_download(struct device *device, enum device_stream stream, void *to, const void *from, size_t bytes)
{
	device_upload(device, stream, to, from, bytes);
}

/* ---- launches, and graphs of them ---- */

static void run(struct device *device, const struct emulated_launch *launch, const void *arguments)
{
	void *shared = NULL;
	if ((launch->shared_bytes > device->shared_limit && launch->shared_bytes > DEVICE_SHARED_PLAIN) || launch->blocks == 0)
		cuda_error(&device->failure, CODE_BUG, "%s cannot be launched: %u blocks, %zu bytes of shared memory", launch->what,
		           launch->blocks, launch->shared_bytes);
	if (posix_memalign(&shared, 64, launch->shared_bytes + 1) != 0)
		abort();
	emulated.shared = (float *)shared;
	emulated.blocks = launch->blocks;
	emulated.backwards = emulated_settings.backwards;
	const unsigned before = _mm_getcsr();
	_mm_setcsr(before | 0x8040u); /* subnormals are flushed, as nvcc's -ftz does */
	for (uint32_t turn = 0; turn < launch->blocks; turn++) {
		emulated.block = emulated_turn(turn, launch->blocks);
		memset(shared, 0xff, launch->shared_bytes);
		launch->run(arguments);
	}
	_mm_setcsr(before);
	free(shared);
	emulated_settings.launches++;
}

/* A launch, or, when it runs nothing, a clearing of memory. */
struct recorded {
	enum device_stream stream;
	struct emulated_launch launch;
	void *arguments;
	size_t bytes;
};

enum { RECORDED_MAX = 128 };

struct graphs {
	struct recorded of[DEVICE_GRAPHS + 1][RECORDED_MAX]; /* the last one is being recorded */
	size_t counts[DEVICE_GRAPHS + 1];
	bool records;
};

static struct graphs *graphs_of(struct device *device)
{
	if (!device->handles)
		device->handles = calloc(1, sizeof(struct graphs));
	if (!device->handles)
		abort();
	return (struct graphs *)device->handles;
}

static void keep(struct device *device, enum device_stream stream, const struct emulated_launch *launch, void *arguments,
                 size_t bytes)
{
	struct graphs *graphs = graphs_of(device);
	size_t *count = &graphs->counts[DEVICE_GRAPHS];
	if (*count == RECORDED_MAX)
		abort();
	graphs->of[DEVICE_GRAPHS][(*count)++] =
		(struct recorded){.stream = stream, .launch = *launch, .arguments = arguments, .bytes = bytes};
}

void emulated_launch(struct device *device, enum device_stream stream, const struct emulated_launch *launch,
                     const void *arguments, size_t size)
{
	if (!graphs_of(device)->records) {
		run(device, launch, arguments);
		return;
	}
	void *copy = malloc(size);
	if (!copy)
		abort();
	memcpy(copy, arguments, size);
	keep(device, stream, launch, copy, size);
}

void device_zero(struct device *device, enum device_stream stream, void *to, size_t bytes)
{
	const struct emulated_launch none = {.what = "clearing"};
	if (graphs_of(device)->records)
		keep(device, stream, &none, to, bytes);
	else
		memset(to, 0, bytes);
}

static void forget(struct graphs *graphs, size_t graph)
{
	for (size_t i = 0; i < graphs->counts[graph]; i++)
		if (graphs->of[graph][i].launch.run)
			free(graphs->of[graph][i].arguments);
	graphs->counts[graph] = 0;
}

void device_record(struct device *device)
{
	graphs_of(device)->records = true;
}

void device_record_end(struct device *device, size_t graph)
{
	struct graphs *graphs = graphs_of(device);
	forget(graphs, graph);
	memcpy(graphs->of[graph], graphs->of[DEVICE_GRAPHS], sizeof graphs->of[graph]);
	graphs->counts[graph] = graphs->counts[DEVICE_GRAPHS];
	graphs->counts[DEVICE_GRAPHS] = 0;
	graphs->records = false;
}

/* Between the streams of a graph nothing says which one comes first: the tests have it both ways. */
void device_replay(struct device *device, size_t graph)
{
	const struct graphs *graphs = graphs_of(device);
	const enum device_stream first = emulated_settings.ahead_last ? STREAM_WORK : STREAM_AHEAD;
	for (int pass = 0; pass < DEVICE_STREAMS; pass++)
		for (size_t i = 0; i < graphs->counts[graph]; i++) {
			const struct recorded *r = &graphs->of[graph][i];
			if ((r->stream == first) != (pass == 0))
				continue;
			if (r->launch.run)
				run(device, &r->launch, r->arguments);
			else
				memset(r->arguments, 0, r->bytes);
		}
	emulated_settings.replays++;
}

void device_forget(struct device *device)
{
	for (size_t g = 0; g < DEVICE_GRAPHS; g++)
		forget(graphs_of(device), g);
}

void device_mark(struct device *device, enum device_stream stream, size_t mark)
{
	(void)device;
	(void)stream;
	(void)mark;
}

void device_wait(struct device *device, enum device_stream stream, size_t mark)
{
	device_mark(device, stream, mark);
}

int device_poll(struct device *device, enum device_stream stream)
{
	(void)stream;
	return device->failure.code == CODE_OK ? 1 : -1;
}

void device_side_by_side(size_t count, void (*turn)(void *context, size_t which), void *context)
{
	for (size_t i = 0; i < count; i++)
		turn(context, emulated_settings.backwards ? count - 1 - i : i);
}

int device_finish(struct device *device, struct error *error)
{
	if (device->failure.code == CODE_OK)
		return 0;
	*error = device->failure;
	return -1;
}
