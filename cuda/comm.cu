/* Ranks joined by NCCL, one process and one thread for all of them. The library is opened at run time, so that neither
 * building nor running on one device needs it: the few functions are declared here as nccl.h has them (2.7, the first with
 * sends and receives, to 2.28). Everything goes as bytes; nothing is reduced by NCCL, whose order of sums is its own. */
#include "comm.h"

#include <dlfcn.h>
#include <stdlib.h>

#include "launch.h"

/* ncclResult_t and ncclDataType_t are enums. */
enum { NCCL_SUCCESS = 0, NCCL_INT8 = 0 };

struct ncclComm;

struct nccl {
	int (*join)(struct ncclComm **comms, int count, const int *devices);
	int (*destroy)(struct ncclComm *comm);
	int (*abort)(struct ncclComm *comm);
	int (*send)(const void *at, size_t count, int type, int peer, struct ncclComm *comm, cudaStream_t stream);
	int (*receive)(void *at, size_t count, int type, int peer, struct ncclComm *comm, cudaStream_t stream);
	int (*begin)(void);
	int (*end)(void);
	const char *(*error_text)(int result);
};

struct comm {
	size_t count;
	struct device *devices[BACKEND_DEVICES_MAX];
	struct ncclComm *comms[BACKEND_DEVICES_MAX];
};

#if defined(__has_include)
#if __has_include(<nccl.h>)
#include <nccl.h>
static_assert((int)ncclSuccess == NCCL_SUCCESS && (int)ncclInt8 == NCCL_INT8, "as nccl.h has them");
static_assert(sizeof(ncclResult_t) == sizeof(int) && sizeof(ncclDataType_t) == sizeof(int), "as nccl.h has them");
#endif
#endif

static struct nccl nccl;

static const char library_name[] = "libnccl.so.2";

int comm_probe(struct error *error)
{
	static const struct {
		const char *name;
		void *to;
	} functions[] = {
		{"ncclCommInitAll", &nccl.join}, {"ncclCommDestroy", &nccl.destroy}, {"ncclCommAbort", &nccl.abort},
		{"ncclSend", &nccl.send}, {"ncclRecv", &nccl.receive}, {"ncclGroupStart", &nccl.begin},
		{"ncclGroupEnd", &nccl.end}, {"ncclGetErrorString", &nccl.error_text},
	};
	/* Never closed. */
	void *library = dlopen(library_name, RTLD_NOW | RTLD_LOCAL);
	if (!library)
		return cuda_error(error, CODE_UNAVAILABLE, "several devices need NCCL, which cannot be opened: %s", dlerror());
	for (size_t f = 0; f < COUNT_OF(functions); f++) {
		void *function = dlsym(library, functions[f].name);
		if (!function)
			return cuda_error(error, CODE_UNAVAILABLE, "several devices need NCCL 2.7 or later: this %s has no %s",
			                  library_name, functions[f].name);
		memcpy(functions[f].to, &function, sizeof function);
	}
	return 0;
}

static void check(struct device *device, int result, const char *what)
{
	if (result != NCCL_SUCCESS)
		cuda_error(&device->failure, CODE_SYSTEM, "cuda:%d: NCCL, %s: %s", device->number, what, nccl.error_text(result));
}

struct comm *comm_open(struct device *const *devices, size_t count, struct error *error)
{
	int numbers[BACKEND_DEVICES_MAX];
	struct comm *comm = (struct comm *)calloc(1, sizeof *comm);
	if (!comm) {
		cuda_error(error, CODE_SYSTEM, "out of memory");
		return NULL;
	}
	comm->count = count;
	for (size_t r = 0; r < count; r++) {
		comm->devices[r] = devices[r];
		numbers[r] = devices[r]->number;
	}
	const int result = nccl.join(comm->comms, (int)count, numbers);
	if (result == NCCL_SUCCESS)
		return comm;
	cuda_error(error, CODE_SYSTEM, "NCCL cannot join the devices: %s", nccl.error_text(result));
	free(comm);
	return NULL;
}

static void part(struct comm *comm, int (*leave)(struct ncclComm *comm))
{
	for (size_t r = 0; r < comm->count; r++) {
		if (!comm->comms[r])
			continue;
		device_use(comm->devices[r]);
		leave(comm->comms[r]);
		comm->comms[r] = NULL;
	}
}

void comm_break(struct comm *comm)
{
	part(comm, nccl.abort);
}

void comm_close(struct comm *comm)
{
	if (comm)
		part(comm, nccl.destroy);
	free(comm);
}

void comm_begin(struct comm *comm)
{
	check(comm->devices[0], nccl.begin(), "a group");
}

void comm_send(struct comm *comm, size_t from, size_t to, const void *at, size_t bytes)
{
	struct device *device = comm->devices[from];
	check(device, nccl.send(at, bytes, NCCL_INT8, (int)to, comm->comms[from], device_stream(device, STREAM_WORK)), "sending");
}

void comm_receive(struct comm *comm, size_t to, size_t from, void *at, size_t bytes)
{
	struct device *device = comm->devices[to];
	check(device, nccl.receive(at, bytes, NCCL_INT8, (int)from, comm->comms[to], device_stream(device, STREAM_WORK)),
	      "receiving");
}

void comm_end(struct comm *comm)
{
	check(comm->devices[0], nccl.end(), "a group");
}
