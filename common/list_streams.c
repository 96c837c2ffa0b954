/* See list_streams.h. */
#include "list_streams.h"

#include "mem.h"

int list_streams_add(struct list_streams *streams, const char *path, struct error *error)
{
	if (streams->count == LIST_STREAMS_MAX)
		return error_set(error, CODE_USAGE, "more than %d streams of lists", LIST_STREAMS_MAX);
	struct stream_reader *reader = &streams->readers[streams->count];
	struct stream_info *info = &streams->infos[streams->count++];
	if (stream_reader_open(reader, path, STREAM_LISTS, error) < 0 || records_info(reader, info, error) < 0)
		return -1;
	if (!json_is_true(json_object_get(reader->metadata, "scored")))
		return error_set(error, CODE_DATA, "%s: its lists have no scores yet, expected the output of score",
		                 reader->input.name);
	return records_same_ids(streams->readers[0].input.name, &streams->infos[0], reader->input.name, info, error);
}

/* One list of each stream: 1, 0 at the end, -1. */
static int read_row(struct list_streams *streams, size_t n, struct error *error)
{
	const int more = list_read(&streams->readers[0], &streams->infos[0], list_of(streams, n, 0), error);
	for (size_t s = 1; more >= 0 && s < streams->count; s++) {
		const int also = list_read(&streams->readers[s], &streams->infos[s], list_of(streams, n, s), error);
		if (also < 0)
			return -1;
		if (also != more)
			return error_set(error, CODE_DATA, "%s ends before %s does, expected lists of the same users",
			                 streams->readers[also ? 0 : s].input.name, streams->readers[also ? s : 0].input.name);
	}
	return more;
}

/* The next lists, up to LIST_BATCH of each stream; before an error, those that came whole. */
static int read_batch(struct list_streams *streams, size_t *count, struct error *error)
{
	int more = 1;
	*count = 0;
	while (*count < LIST_BATCH && (more = read_row(streams, *count, error)) > 0)
		++*count;
	return more < 0 ? -1 : 0;
}

struct running {
	const struct list_work *work;
	void *context;
	struct error errors[LIST_BATCH];
	bool failed[LIST_BATCH];
};

static void run_one(void *context, size_t n, size_t worker)
{
	struct running *running = context;
	running->failed[n] = running->work->work(running->context, n, worker, &running->errors[n]) < 0;
}

int list_streams_run(struct list_streams *streams, struct pool *pool, const struct list_work *work, void *context,
                     struct error *error)
{
	struct running running = {.work = work, .context = context};
	struct error reading = {0};
	size_t count = 1;
	int result = 0, read = 0;
	if (!streams->lists)
		streams->lists = mem_alloc_zero(LIST_BATCH * streams->count, sizeof *streams->lists, error);
	if (!streams->lists)
		return -1;
	while (result == 0 && read == 0 && count > 0) {
		read = read_batch(streams, &count, &reading);
		pool_run(pool, count, run_one, &running);
		for (size_t n = 0; result == 0 && n < count; n++) {
			if (running.failed[n])
				*error = running.errors[n];
			result = running.failed[n] ? -1 : work->then(context, n, error);
		}
	}
	if (result == 0 && read < 0)
		*error = reading;
	return result == 0 ? read : result;
}

void list_streams_release(struct list_streams *streams)
{
	for (size_t n = 0; streams->lists && n < LIST_BATCH * streams->count; n++)
		list_release(&streams->lists[n]);
	mem_free(streams->lists);
	for (size_t s = 0; s < streams->count; s++) {
		stream_reader_release(&streams->readers[s]);
		stream_info_release(&streams->infos[s]);
	}
	*streams = (struct list_streams){0};
}
