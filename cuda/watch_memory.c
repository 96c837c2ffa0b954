/* The watch's memory: where the device's memory lies, and for each word of it who wrote it last and who read it since. That
 * is enough to find every race (as Flanagan & Freund 2009 show for threads): a write that was not in order with the one
 * before it was a finding already, and of several readers a count of one or many is all that a later write asks. */
#ifdef WATCHED

#include <sys/mman.h>

#include "launch.h"
#include "watch_inside.h"

/* Addresses, not pages: what nobody touches costs nothing. Rooms begin as far apart as those of cudaMalloc. */
#define ARENA_BYTES ((size_t)4 << 30)
enum { SHARED_BYTES = 1 << 20, APART = 256, ROOMS_MAX = 4096, WORD = 4 };

/* Of a word, or of a byte. */
struct cell {
	struct watch_record write, reads[WATCH_ACTORS];
};

static struct {
	char *base, *next;
	size_t size;              /* 0 until there is one */
	struct cell *words, *bytes;
	struct watch_room_of rooms[ROOMS_MAX];
	size_t count;
	struct watch_room_of shared;
} arena;

static void *reserve(size_t bytes)
{
	void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (at == MAP_FAILED)
		abort();
	return at;
}

static void init_arena(void)
{
	if (arena.size > 0)
		return;
	arena.base = reserve(ARENA_BYTES);
	arena.next = arena.base + SHARED_BYTES;
	arena.words = reserve(ARENA_BYTES / WORD * sizeof(struct cell));
	arena.bytes = reserve(ARENA_BYTES * sizeof(struct cell));
	arena.shared.what = "shared memory";
	arena.size = ARENA_BYTES;
}

static bool is_in(const struct watch_room_of *room, const char *at)
{
	return at >= room->at && at < room->at + room->bytes;
}

const struct watch_room_of *watch_room_at(const void *at)
{
	if (is_in(&arena.shared, at))
		return &arena.shared;
	for (size_t r = 0; r < arena.count; r++)
		if (is_in(&arena.rooms[r], at))
			return &arena.rooms[r];
	return NULL;
}

void *watch_shared(size_t bytes)
{
	init_arena();
	arena.shared.at = arena.base;
	arena.shared.bytes = bytes;
	return bytes <= SHARED_BYTES ? arena.base : NULL;
}

void *watch_room(const char *what, size_t bytes)
{
	init_arena();
	const size_t apart = (bytes + 2 * APART - 1) / APART * APART;
	if (arena.count == ROOMS_MAX || bytes > arena.size || apart > (size_t)(arena.base + arena.size - arena.next))
		return NULL;
	arena.rooms[arena.count++] = (struct watch_room_of){.at = arena.next, .bytes = bytes, .what = what};
	arena.next += apart;
	return arena.next - apart;
}

static struct cell *first_cell(const struct watch_room_of *room)
{
	return arena.words + (size_t)(room->at - arena.base) / WORD;
}

static bool rests(const struct watch_record *r, uint32_t actor, const uint32_t *host)
{
	return r->moment <= host[actor];
}

static bool is_at_rest(const struct watch_room_of *room, const uint32_t *host)
{
	const struct cell *cells = first_cell(room);
	for (size_t w = 0; w < (room->bytes + WORD - 1) / WORD; w++) {
		bool at_rest = rests(&cells[w].write, cells[w].write.actor, host);
		for (uint32_t a = 0; a < WATCH_ACTORS; a++)
			at_rest = at_rest && rests(&cells[w].reads[a], a, host);
		if (!at_rest)
			return false;
	}
	return true;
}

void watch_leave_room(void *at, const uint32_t *host)
{
	size_t r = 0;
	while (r < arena.count && arena.rooms[r].at != (char *)at)
		r++;
	if (r == arena.count)
		return;
	const struct watch_room_of room = arena.rooms[r];
	if (!is_at_rest(&room, host))
		watch_find("memory is freed that the device may still be at work on", at, NULL, NULL);
	struct cell *cells = first_cell(&room);
	const size_t bytes = (room.bytes + WORD - 1) / WORD * sizeof *cells;
	const size_t page = 4096, inner = ((size_t)cells + page - 1) / page * page;
	if (bytes > 16 * page) {
		const size_t before = inner - (size_t)cells, pages = (bytes - before) / page * page;
		memset(cells, 0, before);
		madvise((void *)inner, pages, MADV_DONTNEED);
		memset((char *)inner + pages, 0, bytes - before - pages);
		madvise(room.at + (page - (size_t)room.at % page) % page, room.bytes / page * page - page, MADV_DONTNEED);
	} else {
		memset(cells, 0, bytes);
	}
	arena.rooms[r] = arena.rooms[--arena.count];
	if (arena.count == 0)
		arena.next = arena.base + SHARED_BYTES;
}

/* ---- what comes before what ---- */

static inline uint32_t warp_of(uint32_t thread)
{
	return thread & WATCH_OF_WARP ? thread & ~(uint32_t)WATCH_OF_WARP : thread / WARP;
}

static inline bool comes_before(const struct watch_record *r, uint32_t actor)
{
	const struct watch_now *now = &watch_now;
	if (r->moment < now->operation)
		return r->moment <= now->before[actor];
	if (r->others || r->moment < now->block)
		return false;
	if (r->moment < now->moment)
		return r->moment < now->met || (r->thread != WATCH_MANY && warp_of(r->thread) == warp_of(now->thread));
	return r->thread == now->thread;
}

/* Who has touched what a record's threads did before. */
static inline uint16_t joined(const struct watch_record *r)
{
	const struct watch_now *now = &watch_now;
	if (r->moment < now->met || r->thread == now->thread)
		return (uint16_t)now->thread;
	if (r->thread == WATCH_MANY || warp_of(r->thread) != warp_of(now->thread))
		return WATCH_MANY;
	return (uint16_t)(r->moment == now->moment ? WATCH_OF_WARP + warp_of(now->thread) : now->thread);
}

/* Adds the thread that is running to a record of its own operation, or begins a new one. */
static inline void note_touch(struct watch_record *r, bool atomic)
{
	const struct watch_now *now = &watch_now;
	const bool goes_on = r->moment >= now->operation && r->atomic == atomic;
	r->others = goes_on && (r->others || r->moment < now->block);
	r->thread = goes_on ? joined(r) : (uint16_t)now->thread;
	r->moment = now->moment;
	r->actor = (uint8_t)now->actor;
	r->atomic = atomic;
}

enum { READS = 1, WRITES = 2, IS_ATOMIC = 4 };

/* False where there is no memory. */
static bool touch_first(const void *at, unsigned how, const void *code)
{
	if (!watch_room_at(at)) {
		watch_find(how & WRITES ? "writes where nothing was allocated" : "reads where nothing was allocated", at, NULL, code);
		return false;
	}
	if (how & READS)
		watch_find("reads what was never written", at, NULL, code);
	return true;
}

/* Shared memory begins anew with every block. */
static void forget_blocks(struct cell *cell)
{
	if (cell->write.moment < watch_now.block)
		cell->write.moment = 0;
	for (uint32_t a = 0; a < WATCH_ACTORS; a++)
		if (cell->reads[a].moment < watch_now.block)
			cell->reads[a].moment = 0;
}

static inline void touch_cell(struct cell *cell, const void *at, unsigned how, const void *code)
{
	if ((const char *)at < arena.base + SHARED_BYTES)
		forget_blocks(cell);
	if (cell->write.moment == 0 && !touch_first(at, how, code))
		return;
	if (cell->write.moment > 0 && !comes_before(&cell->write, cell->write.actor) && !(how & IS_ATOMIC && cell->write.atomic))
		watch_find(how & WRITES ? "writes what is written at the same time" : "reads what is written at the same time", at,
		           &cell->write, code);
	if (!(how & WRITES)) {
		note_touch(&cell->reads[watch_now.actor], false);
		return;
	}
	for (uint32_t a = 0; a < WATCH_ACTORS; a++)
		if (cell->reads[a].moment > 0 && !comes_before(&cell->reads[a], a))
			watch_find("writes what is read at the same time", at, &cell->reads[a], code);
	note_touch(&cell->write, how & IS_ATOMIC);
}

/* Once a part of a word was touched alone, its bytes go by themselves. */
static void touch_word(size_t word, const char *from, const char *to, unsigned how, const void *code)
{
	struct cell *cell = &arena.words[word], *bytes = &arena.bytes[word * WORD];
	for (size_t b = 0; b < WORD && !cell->write.split; b++)
		bytes[b] = *cell;
	cell->write.split = true;
	for (const char *at = from; at < to; at++)
		touch_cell(&arena.bytes[at - arena.base], at, how, code);
	if (watch_room_at(from))
		note_touch(how & WRITES ? &cell->write : &cell->reads[watch_now.actor], false); /* for is_at_rest */
}

/* No memory of the device's, or nobody of it. */
static void touch_elsewhere(const char *at, const void *code)
{
	if (!watch_now.device)
		watch_find("the host touches memory of the device", at, NULL, code);
	else if (!watch_is_private(at))
		watch_find("touches memory that is not the device's", at, NULL, code);
}

static inline void touch(const void *what, size_t bytes, unsigned how, const void *code)
{
	const char *at = what, *const end = at + bytes;
	const size_t offset = (size_t)at - (size_t)arena.base;
	if (offset >= arena.size || !watch_now.device) {
		if (offset < arena.size || watch_now.device)
			touch_elsewhere(at, code);
		return;
	}
	if (bytes % WORD == 0 && offset % WORD == 0) {
		for (size_t word = offset / WORD; at < end; word++, at += WORD)
			if (arena.words[word].write.split)
				touch_word(word, at, at + WORD, how, code);
			else
				touch_cell(&arena.words[word], at, how, code);
		return;
	}
	while (at < end) {
		const size_t word = (size_t)(at - arena.base) / WORD;
		const char *next = arena.base + (word + 1) * WORD;
		touch_word(word, at, next < end ? next : end, how, code);
		at = next;
	}
}

/* One finding is enough of one copy. */
void watch_touch(const void *what, size_t bytes, bool writes)
{
	const char *at = what, *const end = at + bytes;
	const size_t before = watch_findings.count;
	if ((size_t)at - (size_t)arena.base >= arena.size)
		return;
	for (; at < end && watch_findings.count == before; at += WORD)
		touch(at, end - at < WORD ? (size_t)(end - at) : (size_t)WORD, writes ? WRITES : READS, NULL);
}

uint32_t watch_count_up(uint32_t *counter, uint32_t more)
{
	touch(counter, sizeof *counter, READS | WRITES | IS_ATOMIC, __builtin_return_address(0));
	const uint32_t before = *counter;
	*counter += more;
	return before;
}

/* ---- what the compiler calls ---- */

#define HOOK(name, bytes, how) \
	void __tsan_##name(void *at); \
	void __tsan_##name(void *at) \
	{ \
		touch(at, bytes, how, __builtin_return_address(0)); \
	}
HOOK(read1, 1, READS)
HOOK(write1, 1, WRITES)
HOOK(read2, 2, READS)
HOOK(write2, 2, WRITES)
HOOK(read4, 4, READS)
HOOK(write4, 4, WRITES)
HOOK(read8, 8, READS)
HOOK(write8, 8, WRITES)
HOOK(read16, 16, READS)
HOOK(write16, 16, WRITES)
HOOK(unaligned_read2, 2, READS)
HOOK(unaligned_write2, 2, WRITES)
HOOK(unaligned_read4, 4, READS)
HOOK(unaligned_write4, 4, WRITES)
HOOK(unaligned_read8, 8, READS)
HOOK(unaligned_write8, 8, WRITES)
HOOK(unaligned_read16, 16, READS)
HOOK(unaligned_write16, 16, WRITES)

void __tsan_read_range(void *at, size_t bytes);
void __tsan_write_range(void *at, size_t bytes);
void *__tsan_memcpy(void *to, const void *from, size_t bytes);
void *__tsan_memset(void *to, int value, size_t bytes);
void *__real_memcpy(void *to, const void *from, size_t bytes);
void *__wrap_memcpy(void *to, const void *from, size_t bytes);
void __tsan_init(void);
void __tsan_func_entry(void *caller);
void __tsan_func_exit(void);

void __tsan_read_range(void *at, size_t bytes)
{
	touch(at, bytes, READS, __builtin_return_address(0));
}

void __tsan_write_range(void *at, size_t bytes)
{
	touch(at, bytes, WRITES, __builtin_return_address(0));
}

void *__tsan_memcpy(void *to, const void *from, size_t bytes)
{
	touch(from, bytes, READS, __builtin_return_address(0));
	touch(to, bytes, WRITES, __builtin_return_address(0));
	return __real_memcpy(to, from, bytes);
}

/* Of the linker (--wrap): what clang before 16 makes of a copied struct. */
void *__wrap_memcpy(void *to, const void *from, size_t bytes)
{
	return watch_now.device ? __tsan_memcpy(to, from, bytes) : __real_memcpy(to, from, bytes);
}

void *__tsan_memset(void *to, int value, size_t bytes)
{
	touch(to, bytes, WRITES, __builtin_return_address(0));
	return memset(to, value, bytes);
}

void __tsan_init(void)
{
}

void __tsan_func_entry(void *caller)
{
	(void)caller;
}

void __tsan_func_exit(void)
{
}

#else
typedef int watch_memory_is_not_built;
#endif
