/* Data from device to device: what several.h needs of NCCL. comm.cu does it with libnccl.so.2, which is opened when several
 * devices are asked for, emulated_comm.c with plain copies.
 *
 * Everything goes by sends and receives, which are queued on STREAM_WORK of the devices between comm_begin and comm_end,
 * together and by one thread. The n-th send from one rank to another is what the n-th receive there gets; both say how many
 * bytes. A rank may send to itself. Errors are kept in the devices, as those of other queued work. */
#ifndef RECPIPE_CUDA_COMM_H
#define RECPIPE_CUDA_COMM_H

#include "device.h"

#ifdef __cplusplus
extern "C" {
#endif

struct comm;

/* 0 when devices can be joined; -1 with CODE_UNAVAILABLE and what is missing. */
MUST_CHECK int comm_probe(struct error *error);

/* Joins open devices, which are borrowed: devices[r] is rank r. NULL on error. */
MUST_CHECK struct comm *comm_open(struct device *const *devices, size_t count, struct error *error);
void comm_close(struct comm *comm); /* NULL is fine */

/* One of the devices has failed: what others wait for will not come, they stop. The comm can only be closed. */
void comm_break(struct comm *comm);

void comm_begin(struct comm *comm);
void comm_send(struct comm *comm, size_t from, size_t to, const void *at, size_t bytes);
void comm_receive(struct comm *comm, size_t to, size_t from, void *at, size_t bytes);
void comm_end(struct comm *comm);

#ifdef __cplusplus
}
#endif
#endif
