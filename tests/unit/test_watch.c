/* The watch over the emulated device (cuda/watch.h) finds what it is there for, and nothing in what is right: kernels with
 * one defect each, beside the same without it; threads and blocks in either order. */
#include "watch_fixture.h"

/* ---- kernels ---- */

KERNEL(phases_in_order, struct kernel_arguments)
{
	float *const shared = shared_floats();
	EACH_THREAD(t) shared[t] = (float)t;
	EACH_THREAD(t) a.values[BLOCK * THREADS + t] = shared[(t + 1) % THREADS];
}

KERNEL(barrier_missing, struct kernel_arguments)
{
	float *const shared = shared_floats();
	EACH_THREAD(t) shared[t] = 0.0f;
	EACH_THREAD(t) {
		shared[t] = (float)t;
		a.values[BLOCK * THREADS + t] = shared[(t + 1) % THREADS];
	}
}

/* What stands between phases is still read by slow warps when a fast one is in the next phase. */
KERNEL(read_between_phases, struct kernel_arguments)
{
	float *const shared = shared_floats();
	for (uint32_t round = 0; round < 3; round++) {
		EACH_THREAD(t) {
			if (t == 0)
				shared[0] = a.values[round];
		}
		if (shared[0] > 1.0f)
			break;
	}
}

KERNEL(read_between_more_phases, struct kernel_arguments)
{
	float *const shared = shared_floats();
	for (uint32_t round = 0; round < 3; round++) {
		EACH_THREAD(t) {
			if (t == 0)
				shared[0] = (float)round;
		}
		const bool stop = shared[0] > 1.0f;
		EACH_THREAD(t) a.values[BLOCK * THREADS + t] = shared[0];
		if (stop)
			break;
	}
}

KERNEL(written_between_phases, struct kernel_arguments)
{
	float *const shared = shared_floats();
	shared[0] = 1.0f;
	EACH_THREAD(t) a.values[BLOCK * THREADS + t] = 2.0f;
}

/* A variable is a thread's own, from phase to phase. */
KERNEL(kept_in_a_register, struct kernel_arguments)
{
	float mine = 0.0f;
	EACH_THREAD(t) mine = (float)t;
	EACH_THREAD(t) a.values[BLOCK * THREADS + t] = mine;
}

KERNEL(barrier_for_some, struct kernel_arguments)
{
	bool odd = false;
	EACH_THREAD(t) odd = t % 2 == 1;
	if (odd) {
		EACH_THREAD(t) a.values[BLOCK * THREADS + t] = 1.0f;
	}
}

/* Warps: what lanes give each other must not go by memory within a phase. */
KERNEL(lanes_for_themselves, struct kernel_arguments)
{
	EACH_WARP(w) {
		float sum = 0.0f;
		EACH_LANE(l) sum += a.values[BLOCK * THREADS + w * WARP + l];
		EACH_LANE(l) a.values[BLOCK * THREADS + w * WARP + l] = sum;
	}
	EACH_THREAD(t) a.more[BLOCK * THREADS + t] = a.values[BLOCK * THREADS + (t + WARP) % THREADS];
}

KERNEL(lanes_by_memory, struct kernel_arguments)
{
	EACH_WARP(w) {
		EACH_LANE(l) a.values[BLOCK * THREADS + w * WARP + l] = (float)l;
		EACH_LANE(l) a.more[BLOCK * THREADS + w * WARP + l] = a.values[BLOCK * THREADS + w * WARP + (l + 1) % WARP];
	}
}

/* A barrier of the warp's is one for its own threads alone, until the block has met. */
KERNEL(warps_for_themselves, struct kernel_arguments)
{
	float *const shared = shared_floats();
	for (uint32_t round = 0; round < 3; round++) {
		EACH_THREAD_OF_WARP(t) shared[t] = (float)(t + round);
		EACH_THREAD_OF_WARP(t) a.values[BLOCK * THREADS + t] = shared[t / WARP * WARP + (t + 1) % WARP] + shared[t / WARP * WARP];
	}
	EACH_THREAD(t) a.more[BLOCK * THREADS + t] = 0.0f;
	EACH_THREAD(t) a.more[BLOCK * THREADS + t] = shared[(t + WARP) % THREADS];
}

KERNEL(warps_read_each_other, struct kernel_arguments)
{
	float *const shared = shared_floats();
	EACH_THREAD_OF_WARP(t) shared[t] = (float)t;
	EACH_THREAD(t) a.values[BLOCK * THREADS + t] = shared[(t + WARP) % THREADS];
}

/* Of several readers the last one is not the only one. */
KERNEL(warps_overwrite_each_other, struct kernel_arguments)
{
	float *const shared = shared_floats();
	EACH_THREAD(t) shared[t] = (float)t;
	EACH_THREAD_OF_WARP(t) a.values[BLOCK * THREADS + t] = t / WARP == 1 ? shared[0] : 0.0f;
	EACH_THREAD_OF_WARP(t) a.values[BLOCK * THREADS + t] = t / WARP == 0 ? shared[0] : 0.0f;
	EACH_THREAD(t) shared[t] = a.values[BLOCK * THREADS + t];
}

KERNEL(blocks_write_one_place, struct kernel_arguments)
{
	EACH_THREAD(t) {
		if (t == 0)
			a.values[0] = 1.0f;
	}
}

KERNEL(blocks_read_each_other, struct kernel_arguments)
{
	EACH_THREAD(t) a.values[(BLOCK + 1) % BLOCKS * THREADS + t] += 0.0f * a.values[BLOCK * THREADS + t];
}

KERNEL(blocks_count, struct kernel_arguments)
{
	EACH_THREAD(t) count_up(a.counter, t % 2);
}

KERNEL(blocks_look_at_a_counter, struct kernel_arguments)
{
	EACH_THREAD(t) {
		count_up(a.counter, 1);
		a.values[BLOCK * THREADS + t] = (float)*a.counter;
	}
}

/* Threads, and blocks, share words but no bytes. */
KERNEL(halves_of_words, struct kernel_arguments)
{
	EACH_THREAD(t) a.halves[t * BLOCKS + BLOCK] = (uint16_t)t;
}

KERNEL(words_over_halves, struct kernel_arguments)
{
	EACH_THREAD(t) {
		a.halves[t] = (uint16_t)t;
		if (t % 2 == 0)
			*(uint32_t *)(void *)(a.halves + t) = t;
	}
}

KERNEL(shared_of_the_block_before, struct kernel_arguments)
{
	float *const shared = shared_floats();
	EACH_THREAD(t) {
		if (BLOCK == 0)
			shared[t] = 1.0f;
		a.values[BLOCK * THREADS + t] = shared[t];
	}
}

KERNEL(behind_the_end, struct kernel_arguments)
{
	EACH_THREAD(t) a.values[FLOATS - THREADS + t + 1] = 1.0f;
}

KERNEL(behind_shared, struct kernel_arguments)
{
	EACH_THREAD(t) shared_floats()[t + 1] = a.values[t];
}

/* ---- scenarios ---- */

#define SCENARIO(kernel) \
	static void run_##kernel(struct scene *s) \
	{ \
		ON(STREAM_WORK, kernel); \
	}

SCENARIO(phases_in_order)
SCENARIO(barrier_missing)
SCENARIO(read_between_phases)
SCENARIO(read_between_more_phases)
SCENARIO(written_between_phases)
SCENARIO(kept_in_a_register)
SCENARIO(barrier_for_some)
SCENARIO(lanes_for_themselves)
SCENARIO(lanes_by_memory)
SCENARIO(warps_for_themselves)
SCENARIO(warps_read_each_other)
SCENARIO(warps_overwrite_each_other)
SCENARIO(blocks_write_one_place)
SCENARIO(blocks_read_each_other)
SCENARIO(blocks_count)
SCENARIO(blocks_look_at_a_counter)
SCENARIO(halves_of_words)
SCENARIO(words_over_halves)
SCENARIO(shared_of_the_block_before)
SCENARIO(behind_the_end)
SCENARIO(behind_shared)

static void new_room(struct scene *s)
{
	struct error error = {0};
	s->a.values = device_alloc(&s->device, FLOATS, sizeof(float), "new room", &error);
}

static void what_was_never_written(struct scene *s)
{
	new_room(s);
	ON(STREAM_WORK, copy_values);
}

static void what_was_never_written_is_copied(struct scene *s)
{
	new_room(s);
	ON(STREAM_WORK, write_values); /* not all of it */
	device_download(&s->device, STREAM_WORK, s->on_host, s->a.values, sizeof s->on_host);
}

static void what_was_cleared(struct scene *s)
{
	new_room(s);
	device_zero(&s->device, STREAM_WORK, s->a.values, FLOATS * sizeof(float));
	ON(STREAM_WORK, copy_values);
}

static void a_counter_that_was_never_cleared(struct scene *s)
{
	new_room(s);
	s->a.counter = (uint32_t *)(void *)s->a.values;
	ON(STREAM_WORK, blocks_count);
}

static void what_was_freed(struct scene *s)
{
	struct error error = {0};
	CHECK_OK(device_finish(&s->device, &error), &error);
	device_release(&s->device, s->a.values);
	ON(STREAM_WORK, write_values);
}

static void memory_of_the_host(struct scene *s)
{
	s->a.values = s->on_host;
	ON(STREAM_WORK, copy_values);
}

static void the_host_looks_for_itself(struct scene *s)
{
	s->on_host[0] = s->a.values[0];
}

static const struct scenario scenarios[] = {
	{"phases in order", run_phases_in_order, NULL},
	{"a barrier is missing", run_barrier_missing, "at the same time by barrier_missing"},
	{"a read between phases", run_read_between_phases, "at the same time by read_between_phases"},
	{"a read between more phases", run_read_between_more_phases, NULL},
	{"a write between phases", run_written_between_phases, "writes what is written at the same time"},
	{"a variable of each thread", run_kept_in_a_register, NULL},
	{"a barrier for some", run_barrier_for_some, "a barrier that not all threads come to"},
	{"lanes for themselves", run_lanes_for_themselves, NULL},
	{"lanes by memory", run_lanes_by_memory, "reads what is written at the same time by lanes_by_memory"},
	{"warps for themselves", run_warps_for_themselves, NULL},
	{"warps read each other", run_warps_read_each_other, "reads what is written at the same time by warps_read_each_other"},
	{"warps overwrite each other", run_warps_overwrite_each_other,
	 "writes what is read at the same time by warps_overwrite_each_other"},
	{"blocks write one place", run_blocks_write_one_place, "writes what is written at the same time by blocks_write_one_place"},
	{"blocks read each other", run_blocks_read_each_other, "at the same time by blocks_read_each_other"},
	{"blocks count", run_blocks_count, NULL},
	{"blocks look at a counter", run_blocks_look_at_a_counter, "at the same time by blocks_look_at_a_counter"},
	{"halves of words", run_halves_of_words, NULL},
	{"words over halves", run_words_over_halves, "writes what is written at the same time by words_over_halves"},
	{"shared memory of another block", run_shared_of_the_block_before, "reads what was never written: shared memory"},
	{"behind the end", run_behind_the_end, "writes where nothing was allocated"},
	{"behind shared memory", run_behind_shared, "writes where nothing was allocated"},
	{"never written", what_was_never_written, "reads what was never written: new room"},
	{"never written, copied", what_was_never_written_is_copied, "a copy to the host reads what was never written: new room"},
	{"cleared", what_was_cleared, NULL},
	{"a counter, never cleared", a_counter_that_was_never_cleared, "reads what was never written"},
	{"freed", what_was_freed, "where nothing was allocated"},
	{"memory of the host", memory_of_the_host, "touches memory that is not the device's"},
	{"the host looks for itself", the_host_looks_for_itself, "the host touches memory of the device"},
};

static void test_defects_are_found_and_nothing_else(void)
{
	check_scenarios(scenarios, COUNT_OF(scenarios));
}

/* What every thread does for itself, it does with variables of its own. */
static void test_threads_have_variables(void)
{
	struct scene scene, *const s = &scene;
	struct error error = {0};
	scene_init(s);
	ON(STREAM_WORK, kept_in_a_register);
	device_download(&s->device, STREAM_WORK, s->on_host, s->a.values, sizeof s->on_host);
	CHECK(s->on_host[1] != 1.0f); /* not before it is waited for */
	CHECK_OK(device_finish(&s->device, &error), &error);
	for (size_t i = 0; i < BLOCKS_RUN * THREADS; i++)
		CHECK(s->on_host[i] == (float)(i % THREADS));
	device_close(&s->device);
}

int main(void)
{
	struct error error = {0};
	if (device_probe(0, &error) < 0) {
		SKIP("test_watch", error.message);
		return check_done();
	}
	RUN(test_defects_are_found_and_nothing_else);
	RUN(test_threads_have_variables);
	return check_done();
}
