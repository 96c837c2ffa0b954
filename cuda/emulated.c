/* A device that is none: plain memory, poisoned, and kernels that run on the processor (launch.h). For the tests of
 * what nvcc compiles as well, on machines without a device. It repeats every rounding of a device, whose arithmetic is
 * IEEE's with explicit fused multiply-adds, subnormal numbers flushed. */
#include "emulated.h"

#include "late.h"
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
struct emulated_settings emulated_settings = {.shared_limit = 227 * 1024, .memory = SIZE_MAX, .pinned = SIZE_MAX,
                                              .capability = 90, .devices = 5};

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
	device->shared_half = emulated_settings.shared_limit / 2;
	device->processors = 4;
	device->capability = emulated_settings.capability;
	snprintf(device->name, sizeof device->name, "emulated");
	return device_probe(number, error);
}

void device_use(struct device *device)
{
	(void)device;
}

void device_close(struct device *device)
{
	late_all();
	if (device->handles)
		device_forget(device);
	free(device->handles);
	watch_finish(device);
	for (size_t b = 0; b < device->block_count; b++)
		watch_free(device, device->blocks[b].at);
	watch_forget(device);
	for (size_t p = 0; p < DEVICE_PINNED_MAX; p++)
		free(device->pinned[p].at);
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
	void *block = device->block_count < DEVICE_BLOCKS_MAX ? watch_room(what, bytes) : NULL;
	if (!block) {
		device_full(device, count, size, free_bytes, what, error);
		return NULL;
	}
	memset(block, 0xff, bytes); /* NaN, and numbers of nothing */
	device_list(device, block, bytes);
	emulated_settings.used = device->bytes;
	return block;
}

void device_release(struct device *device, void *block)
{
	late_all();
	if (device_unlist(device, block))
		watch_free(device, block);
	emulated_settings.used = device->bytes;
}

size_t device_room(const struct device *device)
{
	return emulated_settings.memory - device->bytes;
}

void *device_pin(struct device *device, size_t bytes, const char *what, struct error *error)
{
	struct device_block *const place = device_pinned(device, NULL);
	void *block = NULL;
	if (!place || bytes > emulated_settings.pinned || posix_memalign(&block, 64, bytes + 1) != 0) {
		cuda_error(error, CODE_SYSTEM, "out of memory: %s needs %.1f MiB of the host's that stay where they are", what,
		           (double)bytes / 1048576.0);
		return NULL;
	}
	memset(block, 0xff, bytes);
	place->at = block;
	place->bytes = bytes;
	return block;
}

void device_unpin(struct device *device, void *pinned)
{
	struct device_block *const place = pinned ? device_pinned(device, pinned) : NULL;
	late_all();
	if (!place)
		return;
	free(pinned);
	place->at = NULL;
}

static bool is_pinned(const struct device *device, const void *from)
{
	const uintptr_t at = (uintptr_t)from;
	for (size_t p = 0; p < DEVICE_PINNED_MAX; p++) {
		const uintptr_t begin = (uintptr_t)device->pinned[p].at;
		if (begin && at >= begin && at - begin < device->pinned[p].bytes)
			return true;
	}
	return false;
}

/* The watch knows by itself what comes before what. */
static bool is_late(void)
{
	return emulated_settings.late && !emulated_watched;
}

void device_upload(struct device *device, enum device_stream stream, void *to, const void *from, size_t bytes)
{
	if (is_late() && is_pinned(device, from)) {
		late_copy(stream, to, from, bytes);
	} else if (bytes > 0) {
		late_stream(stream);
		watch_begin(device, stream, "a copy to the device");
		watch_touch(to, bytes, true);
		watch_end();
		memcpy(to, from, bytes);
	}
}

void device_download(struct device *device, enum device_stream stream, void *to, const void *from, size_t bytes)
{
	if (is_late())
		late_copy(stream, to, from, bytes);
	else if (bytes > 0)
		watch_download(device, stream, to, from, bytes);
}

/* ---- launches, and graphs of them ---- */

static void run(struct device *device, enum device_stream stream, const struct emulated_launch *launch,
                const void *arguments)
{
	void *shared = watch_shared(launch->shared_bytes);
	if ((launch->shared_bytes > device->shared_limit && launch->shared_bytes > DEVICE_SHARED_PLAIN) || launch->blocks == 0)
		cuda_error(&device->failure, CODE_BUG, "%s cannot be launched: %u blocks, %zu bytes of shared memory", launch->what,
		           launch->blocks, launch->shared_bytes);
	if (!shared)
		abort();
	watch_begin(device, stream, launch->what);
	emulated.shared = (float *)shared;
	emulated.blocks = launch->blocks;
	emulated.backwards = emulated_settings.backwards;
	const unsigned before = _mm_getcsr();
	_mm_setcsr(before | 0x8040u); /* subnormals are flushed, as nvcc's -ftz does */
	for (uint32_t turn = 0; turn < launch->blocks; turn++) {
		emulated.block = emulated_turn(turn, launch->blocks);
		memset(shared, 0xff, launch->shared_bytes);
		watch_run(launch->run, arguments, emulated.block, emulated.backwards);
	}
	_mm_setcsr(before);
	watch_end();
	watch_free_shared(shared);
	emulated_settings.launches++;
}

/* A launch, a clearing of memory, or a mark that is set or waited for. */
enum recorded_kind { RECORDED_LAUNCH, RECORDED_CLEARING, RECORDED_MARK, RECORDED_WAIT };

struct recorded {
	enum recorded_kind kind;
	enum device_stream stream;
	struct emulated_launch launch;
	void *arguments;
	size_t bytes, mark;
	size_t behind;            /* of a wait: where its mark is set */
};

enum { RECORDED_MAX = 4096 };

struct graphs {
	struct recorded of[DEVICE_GRAPHS + 1][RECORDED_MAX]; /* the last one is being recorded */
	size_t counts[DEVICE_GRAPHS + 1];
};

static struct graphs *graphs_of(struct device *device)
{
	if (!device->handles)
		device->handles = calloc(1, sizeof(struct graphs));
	if (!device->handles)
		abort();
	return (struct graphs *)device->handles;
}

static void keep(struct device *device, struct recorded recorded)
{
	struct graphs *graphs = graphs_of(device);
	size_t *count = &graphs->counts[DEVICE_GRAPHS];
	if (*count == RECORDED_MAX)
		abort();
	recorded.stream = device_route(device, recorded.stream);
	recorded.behind = *count;
	for (size_t i = 0; i < *count && recorded.kind == RECORDED_WAIT; i++)
		if (graphs->of[DEVICE_GRAPHS][i].kind == RECORDED_MARK && graphs->of[DEVICE_GRAPHS][i].mark == recorded.mark)
			recorded.behind = i;
	graphs->of[DEVICE_GRAPHS][(*count)++] = recorded;
}

struct late_launch {
	struct device *device;
	enum device_stream stream;
	struct emulated_launch launch;
	void *arguments;          /* owned */
};

static void run_late(void *what)
{
	struct late_launch *late = what;
	run(late->device, late->stream, &late->launch, late->arguments);
	free(late->arguments);
}

void emulated_launch(struct device *device, enum device_stream stream, const struct emulated_launch *launch,
                     const void *arguments, size_t size)
{
	if (device->records) {
		keep(device, (struct recorded){.kind = RECORDED_LAUNCH, .stream = stream, .launch = *launch,
		                               .arguments = late_memory(arguments, size)});
	} else if (is_late()) {
		const struct late_launch now = {device, stream, *launch, late_memory(arguments, size)};
		late_put(stream, run_late, late_memory(&now, sizeof now));
	} else {
		run(device, stream, launch, arguments);
	}
}

static void clear(struct device *device, enum device_stream stream, void *to, size_t bytes)
{
	watch_begin(device, stream, "a clearing");
	watch_touch(to, bytes, true);
	watch_end();
	memset(to, 0, bytes);
}

void device_zero(struct device *device, enum device_stream stream, void *to, size_t bytes)
{
	if (device->records)
		keep(device, (struct recorded){.kind = RECORDED_CLEARING, .stream = stream, .arguments = to, .bytes = bytes});
	else if (is_late())
		late_copy(stream, to, NULL, bytes);
	else
		clear(device, stream, to, bytes);
}

static void forget(struct graphs *graphs, size_t graph)
{
	for (size_t i = 0; i < graphs->counts[graph]; i++)
		if (graphs->of[graph][i].kind == RECORDED_LAUNCH)
			free(graphs->of[graph][i].arguments);
	graphs->counts[graph] = 0;
}

void device_record(struct device *device)
{
	device->records = true;
}

void device_record_end(struct device *device, size_t graph)
{
	struct graphs *graphs = graphs_of(device);
	late_all();
	forget(graphs, graph);
	memcpy(graphs->of[graph], graphs->of[DEVICE_GRAPHS], graphs->counts[DEVICE_GRAPHS] * sizeof graphs->of[graph][0]);
	graphs->counts[graph] = graphs->counts[DEVICE_GRAPHS];
	graphs->counts[DEVICE_GRAPHS] = 0;
	device->records = false;
}

static void redo(struct device *device, const struct recorded *r)
{
	switch (r->kind) {
	case RECORDED_LAUNCH:
		run(device, r->stream, &r->launch, r->arguments);
		break;
	case RECORDED_CLEARING:
		clear(device, r->stream, r->arguments, r->bytes);
		break;
	case RECORDED_MARK:
		watch_mark(device, r->stream, r->mark);
		break;
	case RECORDED_WAIT:
		watch_wait(device, r->stream, r->mark);
		break;
	}
}

/* Does what the stream has in a graph, up to a wait for what is not done. False when that is nothing. */
static bool go_on(struct device *device, size_t graph, enum device_stream stream, bool *done)
{
	const struct graphs *graphs = graphs_of(device);
	bool some = false;
	for (size_t i = 0; i < graphs->counts[graph]; i++) {
		const struct recorded *r = &graphs->of[graph][i];
		if (r->stream != stream || done[i])
			continue;
		if (r->behind < i && !done[r->behind])
			break;
		redo(device, r);
		some = done[i] = true;
	}
	return some;
}

/* Between the streams of a graph marks alone say what comes first: the tests have the first stream ahead of all others, as
 * far as it may be, and the last one. The watch knows what follows from marks, and wants them as they were recorded. */
static void replay(struct device *device, size_t graph)
{
	const struct graphs *graphs = graphs_of(device);
	bool done[RECORDED_MAX] = {false};
	watch_replay(device);
	for (size_t i = 0; i < graphs->counts[graph] && emulated_watched; i++)
		redo(device, &graphs->of[graph][i]);
	for (uint32_t turn = 0; turn < DEVICE_STREAMS && !emulated_watched;) {
		const uint32_t stream = emulated_settings.ahead_last ? turn : DEVICE_STREAMS - 1 - turn;
		turn = go_on(device, graph, (enum device_stream)stream, done) ? 0 : turn + 1;
	}
	watch_replay_end(device);
	emulated_settings.replays++;
}

struct late_replay {
	struct device *device;
	size_t graph;
};

static void replay_late(void *what)
{
	const struct late_replay *late = what;
	replay(late->device, late->graph);
}

void device_replay(struct device *device, size_t graph)
{
	const struct late_replay now = {device, graph};
	if (is_late())
		late_put(STREAM_WORK, replay_late, late_memory(&now, sizeof now));
	else
		replay(device, graph);
}

void device_forget(struct device *device)
{
	late_all();
	for (size_t g = 0; g < DEVICE_GRAPHS; g++)
		forget(graphs_of(device), g);
}

void device_mark(struct device *device, enum device_stream stream, size_t mark)
{
	if (device->records) {
		keep(device, (struct recorded){.kind = RECORDED_MARK, .stream = stream, .mark = mark});
		return;
	}
	late_mark(stream, mark);
	watch_mark(device, stream, mark);
}

void device_wait(struct device *device, enum device_stream stream, size_t mark)
{
	if (device->records) {
		keep(device, (struct recorded){.kind = RECORDED_WAIT, .stream = stream, .mark = mark});
		return;
	}
	late_wait(mark);
	watch_wait(device, stream, mark);
}

int device_poll(struct device *device, enum device_stream stream)
{
	late_stream(stream);
	watch_rest(device, stream);
	return device->failure.code == CODE_OK ? 1 : -1;
}

void device_side_by_side(size_t count, void (*turn)(void *context, size_t which), void *context)
{
	for (size_t i = 0; i < count; i++)
		turn(context, emulated_settings.backwards ? count - 1 - i : i);
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
	late_wait(mark);
	watch_reach(device, mark);
	return failed(device, error);
}

int device_finish(struct device *device, struct error *error)
{
	late_all();
	watch_finish(device);
	return failed(device, error);
}
