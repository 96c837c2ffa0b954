/* Copies as late as can be: see late.h. One device at a time has them. */
#include "late.h"

enum { COPIES_MAX = 64 };

struct copy {
	enum device_stream stream;
	void *to;
	const void *from;
	size_t bytes;
};

static struct copy copies[COPIES_MAX]; /* in the order in which they were queued */
static size_t count;
static struct {
	enum device_stream stream;
	size_t before;            /* copies that were queued then */
} marks[DEVICE_MARKS];

/* Makes the stream's copies among the first `before`, and closes the gaps. */
static void make(enum device_stream stream, size_t before)
{
	size_t kept = 0;
	for (size_t c = 0; c < count; c++) {
		if (copies[c].stream == stream && c < before) {
			memcpy(copies[c].to, copies[c].from, copies[c].bytes);
			for (size_t m = 0; m < DEVICE_MARKS; m++)
				marks[m].before -= marks[m].before > kept;
		} else {
			copies[kept++] = copies[c];
		}
	}
	count = kept;
}

void late_copy(enum device_stream stream, void *to, const void *from, size_t bytes)
{
	if (count == COPIES_MAX)
		abort();
	copies[count++] = (struct copy){stream, to, from, bytes};
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
