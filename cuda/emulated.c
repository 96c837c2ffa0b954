/* A device that is none: plain memory, poisoned, and kernels that run on the processor (launch.h). For the tests of
 * what nvcc compiles as well, on machines without a device. It repeats every rounding of a device, whose arithmetic is
 * IEEE's with explicit fused multiply-adds, subnormal numbers flushed. */
#include "emulated.h"

#include "launch.h"

#if defined(__x86_64__)
#include <xmmintrin.h>
#else
static unsigned _mm_getcsr(void) { return 0; }
static void _mm_setcsr(unsigned control) { (void)control; }
#endif

struct emulated emulated;
struct emulated_settings emulated_settings = {.shared_limit = 96 * 1024, .memory = SIZE_MAX};

static unsigned control_before;

int device_probe(int number, struct error *error)
{
	if (number == 0)
		return 0;
	return cuda_error(error, CODE_UNAVAILABLE, "there is no device cuda:%d, the emulated one is cuda:0", number);
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
	device->blocks[device->block_count++] = (struct device_block){.at = block, .bytes = bytes};
	device->bytes += bytes;
	return block;
}

void device_release(struct device *device, void *block)
{
	for (size_t b = 0; block && b < device->block_count; b++)
		if (device->blocks[b].at == block) {
			device->bytes -= device->blocks[b].bytes;
			device->blocks[b] = device->blocks[--device->block_count];
			free(block);
			return;
		}
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

void device_zero(struct device *device, enum device_stream stream, void *to, size_t bytes)
{
	(void)device;
	(void)stream;
	memset(to, 0, bytes);
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

int device_finish(struct device *device, struct error *error)
{
	if (device->failure.code == CODE_OK)
		return 0;
	*error = device->failure;
	return -1;
}

void emulated_begin(struct device *device, uint32_t blocks, size_t shared_bytes, const char *what)
{
	if ((shared_bytes > device->shared_limit && shared_bytes > DEVICE_SHARED_PLAIN) || blocks == 0)
		cuda_error(&device->failure, CODE_BUG, "%s cannot be launched: %u blocks, %zu bytes of shared memory", what,
		           blocks, shared_bytes);
	emulated.blocks = blocks;
	emulated.backwards = emulated_settings.backwards;
	void *shared = NULL;
	if (posix_memalign(&shared, 64, shared_bytes + 1) != 0)
		abort();
	emulated.shared = shared;
	control_before = _mm_getcsr();
	_mm_setcsr(control_before | 0x8040u);
	emulated_settings.launches++;
}

void emulated_block(uint32_t turn, size_t shared_bytes)
{
	emulated.block = emulated_turn(turn, emulated.blocks);
	memset(emulated.shared, 0xff, shared_bytes);
}

void emulated_end(void)
{
	_mm_setcsr(control_before);
	free(emulated.shared);
	emulated.shared = NULL;
}
