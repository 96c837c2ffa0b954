/* How each kind of model is trained when nothing else is said. */
#ifndef RECPIPE_RECIPE_H
#define RECPIPE_RECIPE_H

#include "backend.h"
#include "compat.h"
#include "model.h"

struct recipe {
	int loss;                /* enum loss */
	int64_t factors, epochs, batch;
	double rate, weight_decay, dropout, average;
};

const struct recipe *recipe_of(enum model_kind kind);

#endif
