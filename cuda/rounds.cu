/* Rounds of scoring that overlap: while the device works on one, the host takes the results of the one before and sends
 * the next. Everything that is sent or brought back goes by STREAM_AHEAD, so a round waits for nothing but its own
 * parts, and has two slots to lie in. */
#include "rounds.h"

/* Of the two slots. Training, whose marks these are as well, has finished before anything is scored. */
enum { MARK_SENT = 0, MARK_WORKED = 2, MARK_BROUGHT = 4 };

static bool send_next(struct device *device, const struct rounds *rounds, size_t slot)
{
	if (!rounds->send(rounds->context, slot))
		return false;
	device_mark(device, STREAM_AHEAD, MARK_SENT + slot);
	return true;
}

/* The next round is sent before this one is waited for: else its upload would wait as well, and the device for it. */
int cuda_run_rounds(struct device *device, const struct rounds *rounds, struct error *error)
{
	size_t slot = 0, done = 0;
	for (bool more = send_next(device, rounds, 0); more; slot = 1 - slot, done++) {
		device_wait(device, STREAM_WORK, MARK_SENT + slot);
		device_lap_begin(device);
		rounds->work(rounds->context, slot);
		device_lap_end(device);
		device_mark(device, STREAM_WORK, MARK_WORKED + slot);
		if (done > 0) {
			if (device_reach(device, MARK_BROUGHT + 1 - slot, error) < 0)
				break;
			rounds->take(rounds->context, 1 - slot);
		}
		more = send_next(device, rounds, 1 - slot);
		device_wait(device, STREAM_AHEAD, MARK_WORKED + slot);
		rounds->bring(rounds->context, slot);
		device_mark(device, STREAM_AHEAD, MARK_BROUGHT + slot);
	}
	if (device_finish(device, error) < 0)
		return -1;
	if (done > 0)
		rounds->take(rounds->context, 1 - slot);
	return 0;
}
