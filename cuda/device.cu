/* A device by the CUDA runtime. */
#include <pthread.h>

#include "launch.h"

/* cudaDeviceGetAttribute is asked for the little that is needed: cudaDeviceProp changes between versions. */
enum { OLDEST_MAJOR = 7 };

struct handles {
	cudaStream_t streams[DEVICE_STREAMS];
	cudaEvent_t marks[DEVICE_MARKS];
	cudaGraphExec_t graphs[DEVICE_GRAPHS];
};

static struct handles *handles_of(struct device *device)
{
	return (struct handles *)device->handles;
}

cudaStream_t device_stream(struct device *device, enum device_stream stream)
{
	return handles_of(device)->streams[device_route(device, stream)];
}

void device_check(struct device *device, cudaError_t status, const char *what)
{
	if (status != cudaSuccess)
		cuda_error(&device->failure, CODE_SYSTEM, "cuda:%d: %s: %s", device->number, what, cudaGetErrorString(status));
}

static int attribute(int number, cudaDeviceAttr which)
{
	int value = 0;
	return cudaDeviceGetAttribute(&value, which, number) == cudaSuccess ? value : 0;
}

int device_probe(int number, struct error *error)
{
	int driver = 0, runtime = 0, count = 0;
	cudaDriverGetVersion(&driver);
	cudaRuntimeGetVersion(&runtime);
	if (driver == 0)
		return cuda_error(error, CODE_UNAVAILABLE, "there is no CUDA driver (libcuda.so.1) on this machine");
	const cudaError_t status = cudaGetDeviceCount(&count);
	if (status == cudaErrorInsufficientDriver)
		return cuda_error(error, CODE_UNAVAILABLE, "the CUDA driver is too old: it is of CUDA %d.%d, CUDA %d.%d is needed",
		                  driver / 1000, driver % 1000 / 10, runtime / 1000, runtime % 1000 / 10);
	if (status == cudaErrorNoDevice || (status == cudaSuccess && count == 0))
		return cuda_error(error, CODE_UNAVAILABLE, "the CUDA driver is there, but no CUDA device");
	if (status != cudaSuccess)
		return cuda_error(error, CODE_UNAVAILABLE, "CUDA cannot be used: %s", cudaGetErrorString(status));
	if (number >= count)
		return cuda_error(error, CODE_UNAVAILABLE, "there is no device cuda:%d, the last one is cuda:%d", number, count - 1);
	const int major = attribute(number, cudaDevAttrComputeCapabilityMajor);
	const int minor = attribute(number, cudaDevAttrComputeCapabilityMinor);
	if (major < OLDEST_MAJOR)
		return cuda_error(error, CODE_UNAVAILABLE, "cuda:%d is too old: it is of compute capability %d.%d, %d.0 is needed",
		                  number, major, minor, (int)OLDEST_MAJOR);
	return 0;
}

/* Is there code for the device? Else the first launch would be the one to tell. */
static __global__ void nothing(void)
{
}

static int check_code(int number, struct error *error)
{
	cudaFuncAttributes attributes;
	const cudaError_t status = cudaFuncGetAttributes(&attributes, nothing);
	(void)cudaGetLastError();
	if (status == cudaSuccess)
		return 0;
	return cuda_error(error, CODE_UNAVAILABLE, "recpipe_cuda.so has no code for cuda:%d, of compute capability %d.%d (%s): "
	                  "build it with CUDA_ARCH=%d%d", number, attribute(number, cudaDevAttrComputeCapabilityMajor),
	                  attribute(number, cudaDevAttrComputeCapabilityMinor), cudaGetErrorString(status),
	                  attribute(number, cudaDevAttrComputeCapabilityMajor),
	                  attribute(number, cudaDevAttrComputeCapabilityMinor));
}

static int open_handles(struct device *device, struct error *error)
{
	device->handles = calloc(1, sizeof(struct handles));
	if (!device->handles)
		return cuda_error(error, CODE_SYSTEM, "out of memory");
	for (int s = 0; s < DEVICE_STREAMS; s++)
		device_check(device, cudaStreamCreateWithFlags(&handles_of(device)->streams[s], cudaStreamNonBlocking), "a stream");
	for (int m = 0; m < DEVICE_MARKS; m++)
		device_check(device, cudaEventCreateWithFlags(&handles_of(device)->marks[m], cudaEventDisableTiming), "an event");
	return device_finish(device, error);
}

int device_open(struct device *device, int number, struct error *error)
{
	memset(device, 0, sizeof *device);
	device->number = number;
	if (device_probe(number, error) < 0)
		return -1;
	device_check(device, cudaSetDevice(number), "choosing the device");
	if (check_code(number, error) < 0)
		return -1;
	device->shared_limit = (size_t)attribute(number, cudaDevAttrMaxSharedMemoryPerBlockOptin);
	/* Each block's system part counts as well: 1 KiB from 8.0 on. */
	device->shared_half = (size_t)(attribute(number, cudaDevAttrMaxSharedMemoryPerMultiprocessor) / 2 -
	                               attribute(number, cudaDevAttrReservedSharedMemoryPerBlock));
	device->processors = (uint32_t)attribute(number, cudaDevAttrMultiProcessorCount);
	device->capability = (uint32_t)(10 * attribute(number, cudaDevAttrComputeCapabilityMajor) +
	                                attribute(number, cudaDevAttrComputeCapabilityMinor));
	static cudaDeviceProp properties; /* its layout differs between versions, its name is first in all of them */
	if (cudaGetDeviceProperties(&properties, number) == cudaSuccess)
		snprintf(device->name, sizeof device->name, "%s", properties.name);
	return open_handles(device, error);
}

void device_use(struct device *device)
{
	device_check(device, cudaSetDevice(device->number), "choosing the device");
}

void device_close(struct device *device)
{
	struct handles *handles = handles_of(device);
	if (handles) {
		struct error ignored = {0};
		device_use(device);
		(void)!device_finish(device, &ignored); /* it may be at work still, where opening failed half-way */
		device_forget(device);
		device_time_close(device);
	}
	for (size_t b = 0; b < device->block_count; b++)
		cudaFree(device->blocks[b].at);
	for (size_t p = 0; p < DEVICE_PINNED_MAX; p++)
		if (device->pinned[p].at)
			cudaFreeHost(device->pinned[p].at);
	for (int s = 0; handles && s < DEVICE_STREAMS; s++)
		if (handles->streams[s])
			cudaStreamDestroy(handles->streams[s]);
	for (int m = 0; handles && m < DEVICE_MARKS; m++)
		if (handles->marks[m])
			cudaEventDestroy(handles->marks[m]);
	free(handles);
	memset(device, 0, sizeof *device);
}

void *device_alloc(struct device *device, size_t count, size_t size, const char *what, struct error *error)
{
	size_t free_bytes = 0, all_bytes = 0, bytes = 0;
	void *block = NULL;
	cudaMemGetInfo(&free_bytes, &all_bytes);
	if (__builtin_mul_overflow(count, size, &bytes) || device->block_count == DEVICE_BLOCKS_MAX ||
	    cudaMalloc(&block, bytes > 0 ? bytes : 1) != cudaSuccess) {
		(void)cudaGetLastError(); /* told here: it must not be found behind the next launch */
		device_full(device, count, size, free_bytes, what, error);
		return NULL;
	}
	device_list(device, block, bytes);
	return block;
}

void device_release(struct device *device, void *block)
{
	if (device_unlist(device, block))
		cudaFree(block);
}

size_t device_room(const struct device *device)
{
	size_t free_bytes = 0, all_bytes = 0;
	(void)device;
	cudaMemGetInfo(&free_bytes, &all_bytes);
	return free_bytes;
}

void *device_pin(struct device *device, size_t bytes, const char *what, struct error *error)
{
	struct device_block *const place = device_pinned(device, NULL);
	void *block = NULL;
	if (!place || cudaHostAlloc(&block, bytes > 0 ? bytes : 1, cudaHostAllocDefault) != cudaSuccess) {
		(void)cudaGetLastError();
		cuda_error(error, CODE_SYSTEM, "out of memory: %s needs %.1f MiB of the host's that stay where they are", what,
		           (double)bytes / 1048576.0);
		return NULL;
	}
	place->at = block;
	place->bytes = bytes;
	return block;
}

void device_unpin(struct device *device, void *pinned)
{
	struct device_block *const place = pinned ? device_pinned(device, pinned) : NULL;
	if (place) {
		cudaFreeHost(pinned);
		place->at = NULL;
	}
}

void device_upload(struct device *device, enum device_stream stream, void *to, const void *from, size_t bytes)
{
	if (bytes > 0)
		device_check(device, cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, device_stream(device, stream)),
		             "copying to the device");
}

void device_download(struct device *device, enum device_stream stream, void *to, const void *from, size_t bytes)
{
	if (bytes > 0)
		device_check(device, cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, device_stream(device, stream)),
		             "copying from the device");
}

void device_zero(struct device *device, enum device_stream stream, void *to, size_t bytes)
{
	if (bytes > 0)
		device_check(device, cudaMemsetAsync(to, 0, bytes, device_stream(device, stream)), "clearing");
}

void device_mark(struct device *device, enum device_stream stream, size_t mark)
{
	device_check(device, cudaEventRecord(handles_of(device)->marks[mark], device_stream(device, stream)), "an event");
}

void device_wait(struct device *device, enum device_stream stream, size_t mark)
{
	device_check(device, cudaStreamWaitEvent(device_stream(device, stream), handles_of(device)->marks[mark], 0), "an event");
}

void device_record(struct device *device)
{
	device->records = true;
	device_check(device, cudaStreamBeginCapture(device_stream(device, STREAM_WORK), cudaStreamCaptureModeRelaxed),
	             "recording a graph");
}

void device_record_end(struct device *device, size_t graph)
{
	cudaGraph_t recorded = NULL;
	device->records = false;
	device_check(device, cudaStreamEndCapture(device_stream(device, STREAM_WORK), &recorded), "recording a graph");
	if (recorded)
		device_check(device, cudaGraphInstantiateWithFlags(&handles_of(device)->graphs[graph], recorded, 0),
		             "making a graph");
	if (recorded)
		cudaGraphDestroy(recorded);
}

void device_replay(struct device *device, size_t graph)
{
	device_check(device, cudaGraphLaunch(handles_of(device)->graphs[graph], device_stream(device, STREAM_WORK)), "a graph");
}

void device_forget(struct device *device)
{
	for (int g = 0; g < DEVICE_GRAPHS; g++) {
		if (handles_of(device)->graphs[g])
			cudaGraphExecDestroy(handles_of(device)->graphs[g]);
		handles_of(device)->graphs[g] = NULL;
	}
}

int device_poll(struct device *device, enum device_stream stream)
{
	const cudaError_t status = cudaStreamQuery(device_stream(device, stream));
	if (device->failure.code == CODE_OK && status == cudaErrorNotReady) {
		(void)cudaGetLastError(); /* which would tell it to the next launch */
		return 0;
	}
	device_check(device, status, "running");
	return device->failure.code == CODE_OK ? 1 : -1;
}

struct turn {
	void (*call)(void *context, size_t which);
	void *context;
	size_t which;
	pthread_t thread;
	bool started;
};

static void *run_turn(void *turn)
{
	struct turn *t = (struct turn *)turn;
	t->call(t->context, t->which);
	return NULL;
}

void device_side_by_side(size_t count, void (*turn)(void *context, size_t which), void *context)
{
	struct turn turns[BACKEND_DEVICES_MAX];
	for (size_t i = 0; i < count; i++) {
		turns[i].call = turn;
		turns[i].context = context;
		turns[i].which = i;
		turns[i].started = i > 0 && pthread_create(&turns[i].thread, NULL, run_turn, &turns[i]) == 0;
	}
	for (size_t i = 0; i < count; i++)
		if (!turns[i].started)
			run_turn(&turns[i]);
	for (size_t i = 0; i < count; i++)
		if (turns[i].started)
			pthread_join(turns[i].thread, NULL);
}

static int failed(const struct device *device, struct error *error)
{
	if (device->failure.code == CODE_OK)
		return 0;
	*error = device->failure;
	return -1;
}

int device_reach(struct device *device, size_t mark, struct error *error)
{
	device_check(device, cudaEventSynchronize(handles_of(device)->marks[mark]), "running");
	return failed(device, error);
}

/* After a failure as well: nothing may still be written to memory that is freed next. */
int device_finish(struct device *device, struct error *error)
{
	for (int s = 0; s < DEVICE_STREAMS; s++)
		device_check(device, cudaStreamSynchronize(device_stream(device, (enum device_stream)s)), "running");
	return failed(device, error);
}
