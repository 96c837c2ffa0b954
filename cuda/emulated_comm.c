/* Ranks joined by copies of memory: the emulated NCCL. A group is done when it ends; what does not fit together is an
 * error, where NCCL would hang. */
#include "comm.h"
#include "emulated.h"
#include "watch.h"

enum { PIECES_MAX = 8192 };

struct piece {
	size_t from, to, bytes;
	const void *source;       /* of a send */
	void *target;             /* of a receive; NULL once it has come */
};

struct comm {
	size_t count, sends, receives;
	struct device *devices[BACKEND_DEVICES_MAX];
	struct piece sent[PIECES_MAX], received[PIECES_MAX];
	bool open, broken;
};

int comm_probe(struct error *error)
{
	const char *wanted = getenv("RECPIPE_EMULATED_NCCL");
	if (emulated_settings.no_comm || (wanted && strcmp(wanted, "0") == 0))
		return cuda_error(error, CODE_UNAVAILABLE, "several devices need NCCL, which the emulated ones were told not to have");
	return 0;
}

struct comm *comm_open(struct device *const *devices, size_t count, struct error *error)
{
	struct comm *comm = calloc(1, sizeof *comm);
	if (!comm) {
		cuda_error(error, CODE_SYSTEM, "out of memory");
		return NULL;
	}
	comm->count = count;
	memcpy(comm->devices, devices, count * sizeof(*devices));
	return comm;
}

void comm_close(struct comm *comm)
{
	free(comm);
}

void comm_break(struct comm *comm)
{
	comm->broken = true;
}

void comm_begin(struct comm *comm)
{
	comm->open = true;
	comm->sends = comm->receives = 0;
}

static void take(struct comm *comm, struct piece *pieces, size_t *count, struct piece piece)
{
	if (!comm->open || comm->broken || piece.from >= comm->count || piece.to >= comm->count || *count == PIECES_MAX)
		abort();
	pieces[(*count)++] = piece;
}

void comm_send(struct comm *comm, size_t from, size_t to, const void *at, size_t bytes)
{
	take(comm, comm->sent, &comm->sends, (struct piece){.from = from, .to = to, .source = at, .bytes = bytes});
}

void comm_receive(struct comm *comm, size_t to, size_t from, void *at, size_t bytes)
{
	take(comm, comm->received, &comm->receives, (struct piece){.from = from, .to = to, .target = at, .bytes = bytes});
}

/* The watch has an order for each device: whole models to score with are another one's, which waits for this one. */
static void touch(struct device *device, const void *at, size_t bytes, bool writes)
{
	for (size_t b = 0; b < device->block_count; b++) {
		const char *block = device->blocks[b].at;
		if ((const char *)at < block || (const char *)at >= block + device->blocks[b].bytes)
			continue;
		watch_begin(device, STREAM_WORK, writes ? "a receive" : "a send");
		watch_touch(at, bytes, writes);
		watch_end();
	}
}

/* Of one device's memory to another's, each by its own stream. */
static void copy(const struct comm *comm, const struct piece *sent, const struct piece *received)
{
	touch(comm->devices[sent->from], sent->source, sent->bytes, false);
	touch(comm->devices[sent->to], received->target, received->bytes, true);
	memmove(received->target, sent->source, sent->bytes);
}

void comm_end(struct comm *comm)
{
	comm->open = false;
	for (size_t s = 0; s < comm->sends; s++) {
		const struct piece *sent = &comm->sent[s];
		struct piece *received = NULL;
		for (size_t r = 0; r < comm->receives && !received; r++)
			if (comm->received[r].target && comm->received[r].from == sent->from && comm->received[r].to == sent->to)
				received = &comm->received[r];
		if (!received || received->bytes != sent->bytes) {
			cuda_error(&comm->devices[sent->from]->failure, CODE_BUG, "rank %zu sends %zu bytes that rank %zu does not take",
			           sent->from, sent->bytes, sent->to);
			return;
		}
		copy(comm, sent, received);
		received->target = NULL;
	}
	if (comm->receives != comm->sends)
		cuda_error(&comm->devices[0]->failure, CODE_BUG, "%zu pieces are received, %zu were sent", comm->receives, comm->sends);
}
