/* Streams that work as late as their marks and waits allow (cuda/late.h): what trains and scores by two of them must leave
 * the same bytes. */
#include "cuda_fixture.h"
#include "rounds.h"

enum { ROUNDS = 5 };

/* Rounds that send a number through the device and take it back; what goes wrong where one part does not wait. */
struct overlap {
	struct device device;
	uint32_t *sent, *host;    /* [2]; [4] pinned: sent, brought */
	uint32_t next, taken[ROUNDS];
	size_t count;
};

static bool send_number(void *context, size_t slot)
{
	struct overlap *o = context;
	if (o->next == ROUNDS)
		return false;
	o->host[slot] = 100 + o->next++;
	device_upload(&o->device, STREAM_AHEAD, o->sent + slot, o->host + slot, sizeof *o->sent);
	return true;
}

static void no_work(void *context, size_t slot)
{
	(void)context;
	(void)slot;
}

static void bring_number(void *context, size_t slot)
{
	struct overlap *o = context;
	device_download(&o->device, STREAM_AHEAD, o->host + 2 + slot, o->sent + slot, sizeof *o->sent);
}

static void take_number(void *context, size_t slot)
{
	struct overlap *o = context;
	o->taken[o->count++] = o->host[2 + slot];
}

static void overlap_init(struct overlap *o, struct error *error)
{
	memset(o, 0, sizeof *o);
	CHECK_OK(device_open(&o->device, 0, error), error);
	o->sent = device_alloc(&o->device, 2, sizeof *o->sent, "numbers", error);
	o->host = device_pin(&o->device, 4 * sizeof *o->host, "numbers", error);
	if (!o->sent || !o->host)
		abort();
}

static void test_rounds_take_turns(void)
{
	struct overlap o;
	struct error error = {0};
	const struct rounds rounds = {&o, send_number, no_work, bring_number, take_number};
	emulated_settings.late = true;
	overlap_init(&o, &error);
	CHECK_OK(cuda_run_rounds(&o.device, &rounds, &error), &error);
	CHECK_EQUAL_U64(o.count, ROUNDS);
	for (uint32_t i = 0; i < o.count; i++)
		CHECK_EQUAL_U64(o.taken[i], 100 + i);
	/* None at all. */
	CHECK_OK(cuda_run_rounds(&o.device, &rounds, &error), &error);
	CHECK_EQUAL_U64(o.count, ROUNDS);
	/* A failure ends it, and is told. */
	o.next = 0;
	cuda_error(&o.device.failure, CODE_SYSTEM, "broken");
	CHECK(cuda_run_rounds(&o.device, &rounds, &error) < 0);
	CHECK_EQUAL_TEXT(error.message, "broken");
	CHECK(o.count <= ROUNDS);
	device_close(&o.device);
	emulated_settings.late = false;
}

/* The emulator finds out who does not wait: the other tests would fail. */
static void test_late_streams_are_late(void)
{
	struct overlap o;
	struct error error = {0};
	if (emulated_watched) /* which tells in another way */
		return;
	emulated_settings.late = true;
	overlap_init(&o, &error);
	o.host[0] = 1;
	device_upload(&o.device, STREAM_AHEAD, o.sent, o.host, sizeof *o.sent);
	device_mark(&o.device, STREAM_AHEAD, 0);
	o.host[0] = 2; /* too early: the upload has not happened */
	device_wait(&o.device, STREAM_WORK, 0);
	CHECK_EQUAL_U64(o.sent[0], 2);
	o.host[2] = 7;
	device_download(&o.device, STREAM_AHEAD, o.host + 2, o.sent, sizeof *o.sent);
	device_mark(&o.device, STREAM_AHEAD, 1);
	device_download(&o.device, STREAM_AHEAD, o.host + 3, o.sent, sizeof *o.sent);
	o.host[3] = 8;
	CHECK_OK(device_reach(&o.device, 0, &error), &error); /* a mark before it */
	CHECK_EQUAL_U64(o.host[2], 7);
	CHECK_OK(device_reach(&o.device, 1, &error), &error);
	CHECK_EQUAL_U64(o.host[2], 2);
	CHECK_EQUAL_U64(o.host[3], 8);
	CHECK_OK(device_finish(&o.device, &error), &error);
	CHECK_EQUAL_U64(o.host[3], 2);
	device_close(&o.device);
	emulated_settings.late = false;
}

/* ---- training ---- */

/* Given samples go by two streams, launch by launch; drawn ones by graphs. */
static void train_twice(const struct setting *setting, bool drawn, bool late, struct trained_state *t)
{
	struct fixture f;
	struct train_result result;
	const struct sampler_options sampling = {.seed = 5, .ratio = setting->ratio};
	struct sampler sampler = {0};
	fixture_init(&f, setting);
	emulated_settings.late = late;
	CHECK_OK(sampler_init(&sampler, &f.known, &sampling, &f.error), &f.error);
	sampler_start_epoch(&sampler, 1);
	struct backend_state *state = fixture_open(&f, recpipe_cuda_backend());
	for (uint64_t begin = 0; begin < 60; begin += 30) {
		const struct train_span span = {
			.begin = begin, .end = begin + 30, .sampler = drawn ? &sampler : NULL, .rates = f.rates,
			.users = drawn ? NULL : f.users + begin, .items = drawn ? NULL : f.items + begin * (1 + setting->ratio),
		};
		CHECK_OK(recpipe_cuda_backend()->train(state, &span, &result, &f.error), &f.error);
	}
	t->result = result;
	fixture_take(&f, recpipe_cuda_backend(), state, t);
	recpipe_cuda_backend()->close(state);
	sampler_release(&sampler);
	emulated_settings.late = false;
	fixture_release(&f);
}

static void test_training_waits_enough(void)
{
	static const struct setting settings[] = {
		{"tower", "20-7-3-1", 13, 31, 2, 4, MODEL_MLP, 0, LOSS_BINARY, false, false, false, 0, 0},
		{"neumf", "20-7-3-1", 13, 31, 3, 4, MODEL_NEUMF, 5, LOSS_PAIRWISE, true, true, false, 0.1, 0.25},
		{"mf", NULL, 13, 31, 1, 7, MODEL_MF, 9, LOSS_SOFTMAX, false, true, true, 0, 0},
	};
	for (size_t s = 0; s < COUNT_OF(settings); s++)
		for (int drawn = 0; drawn < 2; drawn++) {
			struct trained_state at_once, late;
			train_twice(&settings[s], drawn != 0, false, &at_once);
			train_twice(&settings[s], drawn != 0, true, &late);
			CHECK(same_bits(&at_once, &late));
			trained_release(&at_once);
			trained_release(&late);
		}
}

int main(void)
{
	if (!cuda_is_here("test_cuda_late"))
		return cuda_done();
	if (on_a_device()) {
		SKIP("late streams", "they are the emulated device's");
		return cuda_done();
	}
	RUN(test_rounds_take_turns);
	RUN(test_late_streams_are_late);
	RUN(test_training_waits_enough);
	return cuda_done();
}
