/* Which backend a device name means, and which one "auto" does. The CUDA backend is a shared object that is opened at
 * run time: the tools never link against CUDA, and say which part of it is missing: the object, the runtime that it
 * links (the dynamic linker's own words), or the driver or device (the backend's probe). */
#include "backend.h"

#include <dlfcn.h>
#include <limits.h>
#include <unistd.h>

#include "isa.h"
#include "options.h"

enum { FOLDER_MAX = PATH_MAX + 64, NUMBER_MAX = 1023, DIGITS_MAX = 32 };

/* Of --device cuda:… */
struct devices {
	int numbers[BACKEND_DEVICES_MAX];
	size_t count;
};

static const char option_name[] = "--device cuda:N";

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

static const struct backend *open_object(const char *path, const struct devices *devices, struct error *error)
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
	return backend->probe(devices->numbers, devices->count, error) == 0 ? backend : NULL;
}

static const struct backend *find_cuda(const struct devices *devices, struct error *error)
{
	char path[FOLDER_MAX];
	if (find_object(path))
		return open_object(path, devices, error);
	error_set(error, CODE_UNAVAILABLE, "no CUDA backend: %s was not built (the CUDA toolkit was missing then) or is "
	          "not beside the tools", object_name);
	return NULL;
}

/* "N" or "N-M". */
static int parse_range(const char *text, struct devices *devices, struct error *error)
{
	char first[DIGITS_MAX];
	int64_t from, to;
	const char *dash = strchr(text, '-');
	const size_t length = dash ? (size_t)(dash - text) : strlen(text);
	if (length >= sizeof first)
		return error_set(error, CODE_USAGE, "%s: '%s' is not an integer", option_name, text);
	snprintf(first, sizeof first, "%.*s", (int)length, text);
	if (parse_int(option_name, first, 0, NUMBER_MAX, &from, error) < 0)
		return -1;
	to = from;
	if (dash && parse_int(option_name, dash + 1, 0, NUMBER_MAX, &to, error) < 0)
		return -1;
	if (to < from)
		return error_set(error, CODE_USAGE, "%s: '%s' ends before it begins", option_name, text);
	for (int64_t number = from; number <= to; number++) {
		for (size_t d = 0; d < devices->count; d++)
			if (devices->numbers[d] == number)
				return error_set(error, CODE_USAGE, "%s: device %d is named twice", option_name, (int)number);
		if (devices->count == BACKEND_DEVICES_MAX)
			return error_set(error, CODE_USAGE, "%s: more than %d devices", option_name, (int)BACKEND_DEVICES_MAX);
		devices->numbers[devices->count++] = (int)number;
	}
	return 0;
}

/* Numbers and ranges of them, separated by commas. */
static int parse_devices(const char *text, struct devices *devices, struct error *error)
{
	char piece[2 * DIGITS_MAX];
	for (const char *at = text; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL) {
		const size_t length = strcspn(at, ",");
		if (length >= sizeof piece)
			return error_set(error, CODE_USAGE, "%s: '%s' is too long for a number or range", option_name, at);
		snprintf(piece, sizeof piece, "%.*s", (int)length, at);
		if (parse_range(piece, devices, error) < 0)
			return -1;
	}
	return 0;
}

const struct backend *backend_find(const char *device, struct error *error)
{
	struct devices devices = {.count = 0};
	if (strcmp(device, "cpu") == 0)
		return &backend_cpu;
	if (strncmp(device, "cuda", 4) == 0 && (device[4] == '\0' || device[4] == ':')) {
		if (parse_devices(device[4] == ':' ? device + 5 : "0", &devices, error) < 0)
			return NULL;
		return find_cuda(&devices, error);
	}
	error_set(error, CODE_USAGE, "--device: '%s' is unknown, expected auto, cpu, cuda, cuda:N or several as "
	          "cuda:0,1 or cuda:0-3", device);
	return NULL;
}

/* ---- auto ---- */

static const char *named_device(const char *wanted)
{
	const char *named = getenv("RECPIPE_DEVICE");
	return strcmp(wanted, "auto") == 0 && named && named[0] != '\0' ? named : wanted;
}

bool backend_is_automatic(const char *device)
{
	return strcmp(named_device(device), "auto") == 0;
}

/* The CUDA runtime in the object opens the same. Only asked where a device cannot be used. */
static bool has_driver(void)
{
	void *driver = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL);
	if (driver)
		dlclose(driver);
	return driver != NULL;
}

static void choose_automatically(const char *isa, struct backend_choice *choice)
{
	static const struct devices first = {.count = 1};
	char path[FOLDER_MAX];
	choice->backend = &backend_cpu;
	if (isa_is_forced(isa))
		return;
	if (!find_object(path)) {
		error_set(&choice->why, CODE_UNAVAILABLE, "%s was not built", object_name);
		return;
	}
	const struct backend *cuda = open_object(path, &first, &choice->why);
	choice->automatic = cuda != NULL;
	choice->news = cuda || has_driver();
	if (cuda)
		choice->backend = cuda;
}

int backend_choose(const char *device, const char *isa, struct backend_choice *choice, struct error *error)
{
	*choice = (struct backend_choice){0};
	device = named_device(device);
	if (strcmp(device, "auto") == 0)
		choose_automatically(isa, choice);
	else
		choice->backend = backend_find(device, error);
	return choice->backend ? 0 : -1;
}

struct backend_state *backend_open(struct backend_choice *choice, const struct model_shape *shape,
                                   const struct parameters *parameters, const struct backend_options *options,
                                   struct error *error)
{
	/* A rule of size would stand here, where the model and the batch are known. */
	if (!choice->automatic)
		return choice->backend->open(shape, parameters, options, error);
	struct backend_state *state = choice->backend->open(shape, parameters, options, &choice->why);
	if (state)
		return state;
	choice->backend = &backend_cpu;
	choice->automatic = false;
	state = backend_cpu.open(shape, parameters, options, error);
	if (!state && choice->why.code != CODE_USAGE) /* else both refuse what was asked for: one of them is enough */
		error_prefix(error, "%s; on the CPU", choice->why.message);
	return state;
}

void backend_tell(const char *doing, const struct backend_choice *choice, const struct backend_state *state)
{
	const char *why = choice->why.message;
	note("%s on %s%s%s%s", doing, choice->backend->describe(state), why[0] ? " (no CUDA: " : "", why, why[0] ? ")" : "");
}
