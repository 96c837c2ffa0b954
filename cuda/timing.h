/* What benches ask of the shared object beside the backend: device time. The tools do not know of it. */
#ifndef RECPIPE_CUDA_TIMING_H
#define RECPIPE_CUDA_TIMING_H

#include "backend.h"

#ifdef __cplusplus
extern "C" {
#endif

struct cuda_time {
	double seconds;           /* of the device, from begin to end */
	double busy;              /* of rounds of scoring, the time that their kernels took */
};

/* Calls of the backend between the two are timed by CUDA events. `hold`: seconds that the device waits first, while the
 * host queues what follows; for calls that allocate nothing. */
struct cuda_timing {
	int (*begin)(struct backend_state *state, double hold, struct error *error);
	int (*end)(struct backend_state *state, struct cuda_time *time, struct error *error);
};

/* In the object: a struct that lives as long as it. */
const struct cuda_timing *recpipe_cuda_timing(void);

#ifdef __cplusplus
}
#endif
#endif
