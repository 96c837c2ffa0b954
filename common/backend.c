/* Which backend a device name means. The CUDA backend is a shared object that is opened at run time: the
 * tools never link against CUDA. */
#include "backend.h"

#include <dlfcn.h>
#include <limits.h>
#include <unistd.h>

#include "options.h"

static const char object_name[] = "recpipe_cuda.so";



/* Beside the tools, or in ../lib/recpipe, or where RECPIPE_CUDA says. */
static void *open_object(void)
{
	static const char *const folders[] = {".", "../lib/recpipe"};
	char self[PATH_MAX], path[PATH_MAX + 64];
	const char *named = getenv("RECPIPE_CUDA");
	if (named)
		return dlopen(named, RTLD_NOW | RTLD_LOCAL);
	ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
	if (length <= 0)
		return NULL;
	self[length] = '\0';
	*strrchr(self, '/') = '\0';
	for (size_t f = 0; f < COUNT_OF(folders); f++) {
		snprintf(path, sizeof path, "%s/%s/%s", self, folders[f], object_name);
		void *object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
		if (object)
			return object;
	}
	return NULL;
}

static const struct backend *find_cuda(int device, struct error *error)
{
	void *object = open_object();
	if (!object) {
		error_set(error, CODE_UNAVAILABLE, "no CUDA backend: %s was not built (it needs nvcc) or the CUDA "
		          "runtime it links is missing", object_name);
		return NULL;
	}
	const struct backend *(*entry)(void);
	*(void **)&entry = dlsym(object, "recpipe_cuda_backend");
	const struct backend *backend = entry ? entry() : NULL;
	if (!backend) {
		error_set(error, CODE_UNAVAILABLE, "%s is of another version of recpipe", object_name);
		return NULL;
	}
	return backend->probe(device, error) == 0 ? backend : NULL;
}

const struct backend *backend_find(const char *device, struct error *error)
{
	int64_t number = 0;
	if (strcmp(device, "cpu") == 0)
		return &backend_cpu;
	if (strcmp(device, "auto") == 0) {
		struct error why = {0};
		const struct backend *cuda = find_cuda(0, &why);
		return cuda ? cuda : &backend_cpu;
	}
	if (strncmp(device, "cuda", 4) == 0 && (device[4] == '\0' || device[4] == ':')) {
		if (device[4] == ':' && parse_int("--device cuda:N", device + 5, 0, 1023, &number, error) < 0)
			return NULL;
		return find_cuda((int)number, error);
	}
	error_set(error, CODE_USAGE, "--device: '%s' is unknown, expected auto, cpu, cuda or cuda:N", device);
	return NULL;
}
