/* What the tests of the watch share: a device with a little memory, kernels that are right, and how a scenario is judged. */
#ifndef RECPIPE_WATCH_FIXTURE_H
#define RECPIPE_WATCH_FIXTURE_H

#include "check.h"
#include "emulated.h"
#include "launch.h"

enum { FLOATS = 4 * THREADS, BLOCKS_RUN = 3 };

struct kernel_arguments {
	float *values, *more;
	uint16_t *halves;
	uint32_t *counter;
};

KERNEL(write_values, struct kernel_arguments)
{
	EACH_THREAD(t) a.values[BLOCK * THREADS + t] = (float)t;
}

KERNEL(copy_values, struct kernel_arguments)
{
	EACH_THREAD(t) a.more[BLOCK * THREADS + t] = a.values[BLOCK * THREADS + t];
}

struct scene {
	struct device device;
	struct kernel_arguments a;
	float on_host[FLOATS];
};

#define ON(stream, kernel) LAUNCH(&s->device, stream, kernel, BLOCKS_RUN, THREADS * sizeof(float), s->a)
struct scenario {
	const char *name;
	void (*run)(struct scene *s);
	const char *finding;      /* part of it; NULL: there is none */
};

static inline void scene_init(struct scene *s)
{
	struct error error = {0};
	*s = (struct scene){.on_host = {0}};
	CHECK_OK(device_open(&s->device, 0, &error), &error);
	s->a.values = device_alloc(&s->device, FLOATS, sizeof(float), "values", &error);
	s->a.more = device_alloc(&s->device, FLOATS, sizeof(float), "more values", &error);
	s->a.halves = device_alloc(&s->device, FLOATS, sizeof(uint16_t), "halves", &error);
	s->a.counter = device_alloc(&s->device, 1, sizeof(uint32_t), "a counter", &error);
	device_zero(&s->device, STREAM_WORK, s->a.values, FLOATS * sizeof(float));
	device_zero(&s->device, STREAM_WORK, s->a.counter, sizeof(uint32_t));
	CHECK_OK(device_finish(&s->device, &error), &error);
	watch_findings = (struct watch_findings){.quiet = true};
}

static inline void check_scenario(const struct scenario *scenario)
{
	struct scene s;
	struct error error = {0};
	scene_init(&s);
	scenario->run(&s);
	const int before = check_failures, status = device_finish(&s.device, &error);
	CHECK((watch_findings.count > 0) == (scenario->finding != NULL));
	CHECK(strstr(watch_findings.first, scenario->finding ? scenario->finding : "") != NULL);
	/* Kernels' findings are the device's failures. */
	CHECK(!scenario->finding || strncmp(scenario->finding, "memory is", 9) == 0 || strncmp(scenario->finding, "the host", 8) == 0 ||
	      status < 0);
	if (check_failures != before)
		printf("# %s: %zu findings, %s\n", scenario->name, watch_findings.count, watch_findings.first);
	device_close(&s.device);
}

/* Threads and blocks in either order. */
static inline void check_scenarios(const struct scenario *scenarios, size_t count)
{
	for (int backwards = 0; backwards < 2; backwards++) {
		emulated_settings.backwards = backwards != 0;
		for (size_t i = 0; i < count; i++)
			check_scenario(&scenarios[i]);
	}
	emulated_settings.backwards = false;
}

#endif
