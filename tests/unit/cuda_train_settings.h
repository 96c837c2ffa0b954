/* Models and batches that training is tested with: odd sizes, every loss, every kind of model that the CUDA backend has,
 * rows that many chunks of uses share. */
#ifndef RECPIPE_CUDA_TRAIN_SETTINGS_H
#define RECPIPE_CUDA_TRAIN_SETTINGS_H

#include "cuda_fixture.h"

static const struct setting settings[] = {
	{"seed tower", "128-64-32-16-8-4-1", 40, 60, 4, 64, MODEL_MLP, 0, LOSS_BINARY, false, false, false, 0, 0},
	{"dense Adam", "66-40-5-1", 17, 31, 7, 29, MODEL_MLP, 0, LOSS_BINARY, true, true, false, 0, 0},
	{"missing samples, decay", "20-7-3-1", 5, 9, 2, 13, MODEL_MLP, 0, LOSS_BINARY, false, true, false, 0.1, 0},
	{"one of everything", "2-1-1", 1, 1, 0, 1, MODEL_MLP, 0, LOSS_BINARY, false, false, false, 0, 0},
	{"one item, many uses", "6-5-1", 300, 1, 3, 101, MODEL_MLP, 0, LOSS_BINARY, false, false, false, 0, 0},
	{"wide last layer", "10-100-1", 5, 9, 5, 23, MODEL_MLP, 0, LOSS_BINARY, false, false, false, 0.1, 0},
	{"large groups", "24-40-4-8-1", 5, 9, 70, 3, MODEL_MLP, 0, LOSS_BINARY, false, true, false, 0, 0},
	{"softmax, offsets", "20-7-3-1", 5, 9, 2, 40, MODEL_MLP, 0, LOSS_SOFTMAX, true, true, true, 0.1, 0},
	{"neumf, pairwise", "34-70-24-9-1", 17, 31, 6, 28, MODEL_NEUMF, 16, LOSS_PAIRWISE, false, true, false, 0.1, 0},
	{"neumf, dense Adam", "32-16-8-1", 17, 31, 4, 90, MODEL_NEUMF, 24, LOSS_SOFTMAX, true, false, false, 0.1, 0},
	{"gmf", NULL, 5, 9, 2, 40, MODEL_GMF, 5, LOSS_BINARY, false, true, false, 0.1, 0},
	{"gmf, pairwise", NULL, 13, 31, 3, 700, MODEL_GMF, 33, LOSS_PAIRWISE, false, false, false, 0, 0},
	{"mf, softmax, large groups", NULL, 5, 9, 60, 3, MODEL_MF, 15, LOSS_SOFTMAX, true, true, true, 0.1, 0},
	{"mf, pairwise", NULL, 17, 5000, 3, 900, MODEL_MF, 32, LOSS_PAIRWISE, false, false, false, 0.1, 0},
	{"mf, one of everything", NULL, 1, 1, 0, 1, MODEL_MF, 1, LOSS_BINARY, false, false, false, 0, 0},
	{"the seed's width, many rows", "128-64-4-1", 300, 250, 1, 290, MODEL_MLP, 0, LOSS_BINARY, false, true, false, 0.1, 0},
	{"the seed's width, dense Adam", "128-64-1", 40, 60, 3, 50, MODEL_MLP, 0, LOSS_SOFTMAX, true, true, false, 0.1, 0},
	{"dropout", "40-24-12-6-1", 17, 31, 4, 61, MODEL_MLP, 0, LOSS_BINARY, false, true, false, 0.1, 0.25},
	{"dropout, large groups", "24-40-4-8-1", 5, 9, 70, 3, MODEL_MLP, 0, LOSS_BINARY, false, false, false, 0, 0.4},
	{"gmf, many factors", NULL, 7, 9, 2, 20, MODEL_GMF, 600, LOSS_BINARY, false, false, false, 0, 0},
};

#endif
