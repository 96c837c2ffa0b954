/* How each kind of model is trained when nothing else is said. */
#ifndef RECPIPE_RECIPE_H
#define RECPIPE_RECIPE_H

#include "backend.h"
#include "compat.h"
#include "model.h"

struct recipe {
	int loss;                /* enum loss */
	int64_t factors, epochs, batch; /* batch 0: by the data, recipe_batch */
	double rate;             /* 0: by the batch, recipe_rate */
	double weight_decay, dropout, average;
};

const struct recipe *recipe_of(enum model_kind kind);

/* Samples in a batch when an epoch has `samples`: as many as keep the quality, for large batches train faster. */
int64_t recipe_batch(uint64_t samples);

/* Adam's learning rate for batches of so many samples. */
double recipe_rate(int64_t batch);

#endif
