/* Work as late as can be: see late.h. One device at a time has such streams. */
#include "late.h"

enum { WORKS_MAX = 256 };

struct work {
	enum device_stream stream;
	void (*do_it)(void *what);
	void *what;
};

static struct work works[WORKS_MAX]; /* in the order in which they were queued */
static size_t count;
static struct {
	enum device_stream stream;
	size_t before;            /* works that were queued then */
} marks[DEVICE_MARKS];

/* Does the stream's works among the first `before`, and closes the gaps. */
static void make(enum device_stream stream, size_t before)
{
	size_t kept = 0;
	for (size_t w = 0; w < count; w++) {
		if (works[w].stream != stream || w >= before) {
			works[kept++] = works[w];
			continue;
		}
		works[w].do_it(works[w].what);
		free(works[w].what);
		for (size_t m = 0; m < DEVICE_MARKS; m++)
			marks[m].before -= marks[m].before > kept;
	}
	count = kept;
}

void late_put(enum device_stream stream, void (*do_it)(void *what), void *what)
{
	if (count == WORKS_MAX)
		late_all();
	works[count++] = (struct work){stream, do_it, what};
}

void *late_memory(const void *from, size_t size)
{
	void *memory = malloc(size);
	if (!memory)
		abort();
	return memcpy(memory, from, size);
}

struct copy {
	void *to;
	const void *from;
	size_t bytes;
};

static void make_copy(void *what)
{
	const struct copy *copy = what;
	if (copy->bytes > 0 && copy->from)
		memcpy(copy->to, copy->from, copy->bytes);
	else if (copy->bytes > 0)
		memset(copy->to, 0, copy->bytes);
}

void late_copy(enum device_stream stream, void *to, const void *from, size_t bytes)
{
	const struct copy copy = {to, from, bytes};
	late_put(stream, make_copy, late_memory(&copy, sizeof copy));
}

void late_stream(enum device_stream stream)
{
	make(stream, count);
}

void late_all(void)
{
	for (int s = 0; s < DEVICE_STREAMS; s++)
		make((enum device_stream)s, count);
}

void late_mark(enum device_stream stream, size_t mark)
{
	marks[mark].stream = stream;
	marks[mark].before = count;
}

void late_wait(size_t mark)
{
	make(marks[mark].stream, marks[mark].before);
}
