/* Which backend a device name means. The CUDA backend is a shared object that is opened at run time: the
 * tools never link against CUDA, and say which part of it is missing: the object, the runtime that it
 * links (the dynamic linker's own words), or the driver or device (the backend's probe). */
#include "backend.h"

#include <dlfcn.h>
#include <limits.h>
#include <unistd.h>

#include "options.h"

enum { FOLDER_MAX = PATH_MAX + 64 };

const char *const precision_names[] = {"fp32", "bf16", "tf32", NULL};

static const char object_name[] = "recpipe_cuda.so";

/* Where the object is: RECPIPE_CUDA, else beside the tool, else in ../lib/recpipe. False when it is nowhere. */
static bool find_object(char path[FOLDER_MAX])
{
	static const char *const folders[] = {".", "../lib/recpipe"};
	char self[PATH_MAX];
	const char *named = getenv("RECPIPE_CUDA");
	if (named && named[0] != '\0') {
		snprintf(path, FOLDER_MAX, "%s", named);
		return true;
	}
	ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
	if (length <= 0)
		return false;
	self[length] = '\0';
	*strrchr(self, '/') = '\0';
	for (size_t f = 0; f < COUNT_OF(folders); f++) {
		int size = snprintf(path, FOLDER_MAX, "%s/%s/%s", self, folders[f], object_name);
		if (size < FOLDER_MAX && access(path, F_OK) == 0)
			return true;
	}
	return false;
}

static const struct backend *open_object(const char *path, int device, struct error *error)
{
	/* Never closed: the backend's functions live in it. */
	void *object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!object) {
		error_set(error, CODE_UNAVAILABLE, "the CUDA backend cannot be opened: %s", dlerror());
		return NULL;
	}
	const struct backend *(*entry)(void);
	*(void **)&entry = dlsym(object, "recpipe_cuda_backend");
	const struct backend *backend = entry ? entry() : NULL;
	if (!backend) {
		error_set(error, CODE_UNAVAILABLE, "%s is no CUDA backend of this version of recpipe", path);
		return NULL;
	}
	return backend->probe(device, error) == 0 ? backend : NULL;
}

static const struct backend *find_cuda(int device, struct error *error)
{
	char path[FOLDER_MAX];
	if (find_object(path))
		return open_object(path, device, error);
	error_set(error, CODE_UNAVAILABLE, "no CUDA backend: %s was not built (the CUDA toolkit was missing then) or is "
	          "not beside the tools", object_name);
	return NULL;
}

const struct backend *backend_find(const char *device, struct error *error)
{
	int64_t number = 0;
	/* The CUDA backend's kernels were compiled, and run by an emulator, but never by a device: nobody gets them unasked. */
	if (strcmp(device, "cpu") == 0 || strcmp(device, "auto") == 0)
		return &backend_cpu;
	if (strncmp(device, "cuda", 4) == 0 && (device[4] == '\0' || device[4] == ':')) {
		if (device[4] == ':' && parse_int("--device cuda:N", device + 5, 0, 1023, &number, error) < 0)
			return NULL;
		return find_cuda((int)number, error);
	}
	error_set(error, CODE_USAGE, "--device: '%s' is unknown, expected auto, cpu, cuda or cuda:N", device);
	return NULL;
}
