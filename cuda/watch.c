/* The watch's order of things: threads of a block as fibers that meet at barriers; streams, marks and graphs as clocks
 * (Lamport 1978; a vector of them, Mattern 1989), advanced as the CUDA runtime orders work; and what findings say. */
#ifdef WATCHED

#include <dlfcn.h>
#include <setjmp.h>
#include <ucontext.h>

#include "launch.h"
#include "watch_inside.h"

struct watch_now watch_now;
struct watch_findings watch_findings;

/* ---- moments, and what they were ---- */

struct moment {
	const char *what, *file;
	uint32_t operation, block, line;
};

static struct moment *moments;
static uint32_t moment_count, moment_room;

static uint32_t next_moment(const char *what, uint32_t block)
{
	if (moment_count + 1 >= moment_room) {
		moment_room = moment_room ? 2 * moment_room : 1 << 16;
		moments = realloc(moments, moment_room * sizeof *moments);
		if (!moments)
			abort();
	}
	moments[++moment_count] = (struct moment){.what = what, .block = block};
	watch_now.moment = moment_count;
	return moment_count;
}

/* ---- findings ---- */

enum { CODES_MAX = 256, TEXT = 400 };

static bool is_new(const void *code)
{
	static const void *codes[CODES_MAX];
	static size_t count;
	for (size_t c = 0; c < count && code; c++)
		if (codes[c] == code)
			return false;
	if (code && count < CODES_MAX)
		codes[count++] = code;
	return true;
}

static void describe(char *text, uint32_t moment, uint32_t thread)
{
	const struct moment *m = &moments[moment];
	const char *file = m->file ? m->file : "";
	char who[64] = "";
	if (m->file)
		snprintf(who, sizeof who, thread >= WATCH_OF_WARP ? ", several threads" : ", thread %u", thread);
	snprintf(text, TEXT, m->file ? "%s (block %u%s, phase of %s:%u)" : "%s", m->what, m->block, who, file, m->line);
}

static void describe_place(char *text, const void *at)
{
	const struct watch_room_of *room = at ? watch_room_at(at) : NULL;
	if (room)
		snprintf(text, TEXT, ": %s + %td bytes of %zu", room->what, (const char *)at - room->at, room->bytes);
	else if (at)
		snprintf(text, TEXT, ": %p", at);
}

void watch_find(const char *what, const void *at, const struct watch_record *by, const void *code)
{
	char self[TEXT] = "", other[TEXT] = "", place[TEXT] = "", line[80] = "", all[sizeof watch_findings.first];
	struct device *const device = watch_now.device;
	Dl_info info;
	watch_now.device = NULL; /* what follows is the host's */
	watch_findings.count++;
	if (device)
		describe(self, watch_now.moment, watch_now.thread);
	if (by)
		describe(other, by->moment, by->thread);
	describe_place(place, at);
	if (code && dladdr(code, &info))
		snprintf(line, sizeof line, " [addr2line -i -e PROGRAM %#tx]", (const char *)code - (const char *)info.dli_fbase - 1);
	snprintf(all, sizeof all, "%s%s%s%s%s%s%s", self, self[0] ? " " : "", what, by ? " by " : "", other, place, line);
	if (!watch_findings.first[0])
		memcpy(watch_findings.first, all, sizeof all);
	if (!watch_findings.quiet && is_new(code))
		fprintf(stderr, "watch: %s\n", all);
	if (device)
		cuda_error(&device->failure, CODE_BUG, "%.400s", all);
	watch_now.device = device;
}

/* ---- threads ---- */

enum { STACK_BYTES = 128 * 1024 };

struct fiber {
	jmp_buf at;
	bool started, runs;       /* it stands somewhere; in a kernel */
	bool in_warp;             /* at a barrier of its warp */
	uint32_t barriers;        /* it has come to, in this block */
	const char *file;
	uint32_t line;            /* of its phase */
};

static struct {
	struct fiber of[THREADS];
	char *stacks;
	jmp_buf from;             /* who resumed the one that runs */
	uint32_t running;
	void (*run)(const void *arguments);
	const void *arguments;
} fibers;

extern const char __executable_start[], _end[];

bool watch_is_private(const void *at)
{
	const char *a = at;
	return (a >= fibers.stacks && a < fibers.stacks + (size_t)THREADS * STACK_BYTES) || (a >= __executable_start && a < _end);
}

static void live(void)
{
	for (;;) {
		struct fiber *self = &fibers.of[fibers.running];
		fibers.run(fibers.arguments);
		self->runs = false;
		if (_setjmp(self->at) == 0)
			_longjmp(fibers.from, 1);
	}
}

/* Until it has come to a barrier, or to the end. */
static void resume(uint32_t thread)
{
	struct fiber *fiber = &fibers.of[thread];
	watch_now.thread = fibers.running = thread;
	if (_setjmp(fibers.from) != 0)
		return;
	if (fiber->started)
		_longjmp(fiber->at, 1);
	ucontext_t context;
	if (getcontext(&context) != 0)
		abort();
	context.uc_stack.ss_sp = fibers.stacks + (size_t)thread * STACK_BYTES;
	context.uc_stack.ss_size = STACK_BYTES;
	context.uc_link = NULL;
	makecontext(&context, live, 0);
	fiber->started = true;
	setcontext(&context);
}

uint32_t watch_phase(const char *file, uint32_t line)
{
	struct fiber *self = &fibers.of[fibers.running];
	struct moment *moment = &moments[watch_now.moment];
	self->file = moment->file = file;
	self->line = moment->line = line;
	return fibers.running;
}

void watch_lane(uint32_t lane)
{
	watch_now.thread = fibers.running + lane;
}

static void come_to(bool in_warp)
{
	struct fiber *self = &fibers.of[fibers.running];
	self->barriers++;
	self->in_warp = in_warp;
	if (_setjmp(self->at) == 0)
		_longjmp(fibers.from, 1);
}

void watch_barrier(void)
{
	come_to(false);
}

void watch_barrier_of_warp(void)
{
	come_to(true);
}

/* All threads have done the same: come to the same barrier, or ended. */
static bool meet(void)
{
	const struct fiber *first = &fibers.of[0];
	for (uint32_t t = 1; t < THREADS; t++) {
		const struct fiber *fiber = &fibers.of[t];
		if (fiber->runs != first->runs ||
		    (fiber->runs && (fiber->barriers != first->barriers || fiber->line != first->line || fiber->file != first->file)))
			return false;
	}
	return true;
}

void watch_run(void (*run)(const void *arguments), const void *arguments, uint32_t block, bool backwards)
{
	const char *what = moments[watch_now.operation].what;
	if (!fibers.stacks)
		fibers.stacks = malloc((size_t)THREADS * STACK_BYTES);
	if (!fibers.stacks)
		abort();
	watch_now.block = watch_now.met = next_moment(what, block);
	fibers.run = run;
	fibers.arguments = arguments;
	for (uint32_t t = 0; t < THREADS; t++) {
		fibers.of[t].runs = true;
		fibers.of[t].barriers = 0;
	}
	while (fibers.of[0].runs) {
		for (uint32_t turn = 0; turn < THREADS; turn++)
			resume(backwards ? THREADS - 1 - turn : turn);
		if (!meet()) {
			watch_find("has a barrier that not all threads come to", NULL, NULL, NULL);
			for (uint32_t t = 0; t < THREADS; t++)
				fibers.of[t].started = fibers.of[t].runs = false;
		}
		const uint32_t moment = next_moment(what, block);
		if (!fibers.of[0].in_warp)
			watch_now.met = moment;
	}
	watch_now.thread = 0;
}

/* ---- streams ---- */

struct order {
	struct device *device;
	uint32_t of[WATCH_ACTORS][WATCH_ACTORS]; /* moments of each actor that what an actor does next comes behind */
	uint32_t host[WATCH_ACTORS];
	uint32_t marks[DEVICE_MARKS][WATCH_ACTORS];
	bool in_graph[DEVICE_MARKS]; /* set by a graph; by the one that is replayed */
	bool in_this_graph[DEVICE_MARKS];
	bool replays, forked[DEVICE_STREAMS];
	struct order *next;
	struct download *downloads;
};

/* What the host asked for, and gets when it waits. */
struct download {
	void *to;
	size_t bytes;
	uint32_t actor, moment;
	struct download *next;
	_Alignas(16) char kept[];
};

static struct order *orders;

static struct order *order_of(struct device *device)
{
	struct order *order = orders;
	while (order && order->device != device)
		order = order->next;
	if (order)
		return order;
	order = calloc(1, sizeof *order);
	if (!order)
		abort();
	order->device = device;
	order->next = orders;
	orders = order;
	return order;
}

static void join(uint32_t *clock, const uint32_t *other)
{
	for (uint32_t a = 0; a < WATCH_ACTORS; a++)
		clock[a] = other[a] > clock[a] ? other[a] : clock[a];
}

static uint32_t actor_of(const struct order *order, enum device_stream stream)
{
	if (order->replays && stream != STREAM_WORK)
		return DEVICE_OWN_STREAMS + (uint32_t)stream - 1;
	return stream < DEVICE_OWN_STREAMS ? (uint32_t)stream : STREAM_WORK;
}

void watch_begin(struct device *device, enum device_stream stream, const char *what)
{
	struct order *order = order_of(device);
	const uint32_t actor = actor_of(order, stream);
	if (actor < DEVICE_OWN_STREAMS)
		join(order->of[actor], order->host);
	watch_now.device = device;
	watch_now.actor = actor;
	watch_now.thread = 0;
	watch_now.operation = watch_now.block = watch_now.met = next_moment(what, 0);
	memcpy(watch_now.before, order->of[actor], sizeof watch_now.before);
	if (actor >= DEVICE_OWN_STREAMS && !order->forked[stream])
		watch_find("is of a stream that its graph was not forked to", NULL, NULL, NULL);
	if (stream >= DEVICE_OWN_STREAMS && !order->replays)
		watch_find("is of a branch outside of graphs", NULL, NULL, NULL);
}

void watch_end(void)
{
	order_of(watch_now.device)->of[watch_now.actor][watch_now.actor] = watch_now.moment;
	watch_now.device = NULL;
}

/* Of the host's calls, whose findings are of no thread. */
static void find_in_order(struct device *device, const char *what)
{
	watch_find(what, NULL, NULL, NULL);
	cuda_error(&device->failure, CODE_BUG, "%s", what);
}

void watch_mark(struct device *device, enum device_stream stream, size_t mark)
{
	struct order *order = order_of(device);
	const uint32_t actor = actor_of(order, stream);
	if (actor < DEVICE_OWN_STREAMS)
		join(order->of[actor], order->host);
	memcpy(order->marks[mark], order->of[actor], sizeof order->marks[mark]);
	order->in_graph[mark] = order->in_this_graph[mark] = order->replays;
}

void watch_wait(struct device *device, enum device_stream stream, size_t mark)
{
	struct order *order = order_of(device);
	if (order->replays && !order->in_this_graph[mark])
		find_in_order(device, "a graph waits for a mark that is not its own");
	if (!order->replays && order->in_graph[mark])
		find_in_order(device, "a stream waits for a mark that a graph has set");
	join(order->of[actor_of(order, stream)], order->marks[mark]);
	order->forked[stream] = true;
}

void watch_replay(struct device *device)
{
	struct order *order = order_of(device);
	join(order->of[STREAM_WORK], order->host);
	order->replays = true;
	memset(order->forked, 0, sizeof order->forked);
	memset(order->in_this_graph, 0, sizeof order->in_this_graph);
}

void watch_replay_end(struct device *device)
{
	struct order *order = order_of(device);
	for (uint32_t a = DEVICE_OWN_STREAMS; a < WATCH_ACTORS; a++)
		if (order->of[STREAM_WORK][a] < order->of[a][a])
			find_in_order(device, "a graph ends before one of its branches");
	order->replays = false;
}

/* What the host has waited for. */
static void deliver(struct order *order)
{
	for (struct download **at = &order->downloads; *at;) {
		struct download *first = *at;
		if (first->moment > order->host[first->actor]) {
			at = &first->next;
			continue;
		}
		*at = first->next;
		memcpy(first->to, first->kept, first->bytes);
		free(first);
	}
}

void watch_finish(struct device *device)
{
	struct order *order = order_of(device);
	for (uint32_t a = 0; a < WATCH_ACTORS; a++)
		join(order->host, order->of[a]);
	deliver(order);
}

void watch_reach(struct device *device, size_t mark)
{
	struct order *order = order_of(device);
	join(order->host, order->marks[mark]);
	deliver(order);
}

void watch_rest(struct device *device, enum device_stream stream)
{
	struct order *order = order_of(device);
	join(order->host, order->of[stream]);
	deliver(order);
}

void watch_download(struct device *device, enum device_stream stream, void *to, const void *from, size_t bytes)
{
	struct order *order = order_of(device);
	struct download **last = &order->downloads;
	struct download *download = malloc(sizeof *download + bytes);
	if (!download)
		abort();
	watch_begin(device, stream, "a copy to the host");
	watch_touch(from, bytes, false);
	watch_end();
	*download = (struct download){.to = to, .bytes = bytes, .actor = watch_now.actor, .moment = watch_now.moment};
	memcpy(download->kept, from, bytes);
	memset(to, 0xff, bytes);
	while (*last)
		last = &(*last)->next;
	*last = download;
}

void watch_free(struct device *device, void *room)
{
	watch_leave_room(room, order_of(device)->host);
}

void watch_forget(struct device *device)
{
	for (struct order **at = &orders; *at; at = &(*at)->next)
		if ((*at)->device == device) {
			struct order *order = *at;
			deliver(order);
			*at = order->next;
			free(order);
			return;
		}
}

#else
typedef int watch_is_not_built;
#endif
