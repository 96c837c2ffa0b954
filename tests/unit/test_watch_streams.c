/* The watch (cuda/watch.h) knows what marks, graphs and the host's waiting put in order between streams, and nothing more. */
#include "watch_fixture.h"

enum { MARK, OTHER_MARK, GRAPH = 0 };

KERNEL(blocks_count, struct kernel_arguments)
{
	EACH_THREAD(t) count_up(a.counter, t % 2);
}

struct sixteen {
	float of[16];
};

KERNEL(copy_structs, struct kernel_arguments)
{
	EACH_THREAD(t) {
		if (BLOCK == 0 && t < FLOATS / 16)
			*((struct sixteen *)(void *)a.more + t) = *((const struct sixteen *)(const void *)a.values + t);
	}
}

static void nobody_waits(struct scene *s)
{
	ON(STREAM_AHEAD, write_values);
	ON(STREAM_WORK, copy_values);
}

static void one_waits(struct scene *s)
{
	ON(STREAM_AHEAD, write_values);
	device_mark(&s->device, STREAM_AHEAD, MARK);
	device_wait(&s->device, STREAM_WORK, MARK);
	ON(STREAM_WORK, copy_values);
}

static void one_waits_for_too_little(struct scene *s)
{
	device_mark(&s->device, STREAM_AHEAD, MARK);
	ON(STREAM_AHEAD, write_values);
	device_wait(&s->device, STREAM_WORK, MARK);
	ON(STREAM_WORK, copy_values);
}

static void the_reader_is_overtaken(struct scene *s)
{
	one_waits(s);
	ON(STREAM_AHEAD, write_values);
}

static void the_reader_is_waited_for(struct scene *s)
{
	one_waits(s);
	device_mark(&s->device, STREAM_WORK, OTHER_MARK);
	device_wait(&s->device, STREAM_AHEAD, OTHER_MARK);
	ON(STREAM_AHEAD, write_values);
}

static void the_host_waits(struct scene *s)
{
	struct error error = {0};
	ON(STREAM_AHEAD, write_values);
	CHECK_OK(device_finish(&s->device, &error), &error);
	ON(STREAM_WORK, copy_values);
}

static void a_copy_waits_for_nobody(struct scene *s)
{
	ON(STREAM_AHEAD, write_values);
	device_download(&s->device, STREAM_WORK, s->on_host, s->a.values, sizeof s->on_host);
}

/* Graphs: a branch on STREAM_AHEAD writes. */
static void record(struct scene *s, bool forks, bool joins, bool reads_beside)
{
	device_record(&s->device);
	device_mark(&s->device, STREAM_WORK, MARK);
	if (forks)
		device_wait(&s->device, STREAM_AHEAD, MARK);
	ON(STREAM_AHEAD, write_values);
	device_mark(&s->device, STREAM_AHEAD, OTHER_MARK);
	if (reads_beside)
		ON(STREAM_WORK, copy_values);
	if (joins)
		device_wait(&s->device, STREAM_WORK, OTHER_MARK);
	ON(STREAM_WORK, blocks_count);
	device_record_end(&s->device, GRAPH);
}

static void a_graph(struct scene *s)
{
	record(s, true, true, false);
	for (int i = 0; i < 2; i++)
		device_replay(&s->device, GRAPH);
	ON(STREAM_WORK, copy_values);
}

static void a_graph_that_races(struct scene *s)
{
	record(s, true, true, true);
	device_replay(&s->device, GRAPH);
}

static void a_graph_without_a_fork(struct scene *s)
{
	record(s, false, true, false);
	device_replay(&s->device, GRAPH);
}

static void a_graph_without_a_join(struct scene *s)
{
	record(s, true, false, false);
	device_replay(&s->device, GRAPH);
}

/* A graph is behind the stream that replays it, not behind the one that its branch was recorded from. */
static void a_graph_beside_a_stream(struct scene *s)
{
	record(s, true, true, false);
	ON(STREAM_AHEAD, write_values);
	device_replay(&s->device, GRAPH);
}

/* The same by a branch that is forked and joined. */
static void record_branch(struct scene *s, bool joins, bool reads_beside)
{
	device_record(&s->device);
	device_fork(&s->device, STREAM_WORK, BRANCH_ITEM);
	ON(STREAM_WORK, write_values);
	device_trunk(&s->device, STREAM_WORK);
	if (reads_beside)
		ON(STREAM_WORK, copy_values);
	if (joins)
		device_join(&s->device, STREAM_WORK, BRANCH_ITEM);
	ON(STREAM_WORK, blocks_count);
	device_record_end(&s->device, GRAPH);
	device_replay(&s->device, GRAPH);
}

static void a_branch(struct scene *s)
{
	record_branch(s, true, false);
	ON(STREAM_WORK, copy_values);
	record_branch(s, true, false);
}

static void a_branch_that_races(struct scene *s)
{
	record_branch(s, true, true);
}

static void a_branch_without_a_join(struct scene *s)
{
	record_branch(s, false, false);
}

static void a_branch_outside_of_graphs(struct scene *s)
{
	ON(BRANCH_ITEM, write_values);
}

static void a_fork_outside_of_graphs(struct scene *s)
{
	device_fork(&s->device, STREAM_WORK, BRANCH_ITEM);
	ON(STREAM_WORK, write_values);
	device_trunk(&s->device, STREAM_WORK);
	ON(STREAM_WORK, copy_values);
}

static void a_stream_waits_for_a_graphs_mark(struct scene *s)
{
	record(s, true, true, false);
	device_replay(&s->device, GRAPH);
	device_wait(&s->device, STREAM_AHEAD, OTHER_MARK);
}

static void a_struct_waits_for_nobody(struct scene *s)
{
	ON(STREAM_AHEAD, write_values);
	ON(STREAM_WORK, copy_structs);
}

static void structs_are_written(struct scene *s)
{
	ON(STREAM_WORK, copy_structs);
	device_download(&s->device, STREAM_WORK, s->on_host, s->a.more, sizeof s->on_host);
}

static void what_is_freed_too_early(struct scene *s)
{
	ON(STREAM_WORK, write_values);
	device_release(&s->device, s->a.values);
}

static const struct scenario scenarios[] = {
	{"nobody waits", nobody_waits, "reads what is written at the same time by write_values (block "},
	{"one waits", one_waits, NULL},
	{"one waits for too little", one_waits_for_too_little, "reads what is written at the same time by write_values"},
	{"the reader is overtaken", the_reader_is_overtaken, "writes what is read at the same time by copy_values"},
	{"the reader is waited for", the_reader_is_waited_for, NULL},
	{"the host waits", the_host_waits, NULL},
	{"a copy waits for nobody", a_copy_waits_for_nobody, "a copy to the host reads what is written at the same time"},
	{"a struct waits for nobody", a_struct_waits_for_nobody, "copy_structs (block 0, thread "},
	{"structs are written", structs_are_written, NULL},
	{"a graph", a_graph, NULL},
	{"a graph that races", a_graph_that_races, "reads what is written at the same time by write_values (block "},
	{"a graph without a fork", a_graph_without_a_fork, "its graph was not forked to"},
	{"a graph without a join", a_graph_without_a_join, "a graph ends before one of its branches"},
	{"a graph beside a stream", a_graph_beside_a_stream, "writes what is written at the same time by write_values"},
	{"a branch", a_branch, NULL},
	{"a branch that races", a_branch_that_races, "reads what is written at the same time by write_values (block "},
	{"a branch without a join", a_branch_without_a_join, "a graph ends before one of its branches"},
	{"a branch outside of graphs", a_branch_outside_of_graphs, "is of a branch outside of graphs"},
	{"a fork outside of graphs", a_fork_outside_of_graphs, NULL},
	{"a mark of a graph", a_stream_waits_for_a_graphs_mark, "a stream waits for a mark that a graph has set"},
	{"freed too early", what_is_freed_too_early, "memory is freed that the device may still be at work on"},
};

static void test_streams_are_in_order_or_found(void)
{
	check_scenarios(scenarios, COUNT_OF(scenarios));
}

int main(void)
{
	struct error error = {0};
	if (device_probe(0, &error) < 0) {
		SKIP("test_watch_streams", error.message);
		return check_done();
	}
	RUN(test_streams_are_in_order_or_found);
	return check_done();
}
