/* Models that scoring is tested with. */
#ifndef RECPIPE_CUDA_SCORE_SETTINGS_H
#define RECPIPE_CUDA_SCORE_SETTINGS_H

#include "cuda_fixture.h"

static const struct setting settings[] = {
	{"seed tower", "128-64-32-16-8-4-1", 40, 61, 1, 0, MODEL_MLP, 0, LOSS_BINARY, false, false, false, 0, 0},
	{"neumf", "20-7-3-1", 13, 97, 1, 0, MODEL_NEUMF, 7, LOSS_BINARY, false, false, false, 0, 0},
	{"mf", NULL, 50, 913, 1, 0, MODEL_MF, 16, LOSS_BINARY, false, false, false, 0, 0},
	{"gmf", NULL, 5, 9, 1, 0, MODEL_GMF, 33, LOSS_BINARY, false, false, false, 0, 0},
	{"one of everything", "2-1-1", 1, 1, 0, 0, MODEL_MLP, 0, LOSS_BINARY, false, false, false, 0, 0},
};

#endif
