/* What the printers of evaluation_print.c and evaluation_compare.c share. */
#ifndef RECPIPE_EVALUATION_PRINT_H
#define RECPIPE_EVALUATION_PRINT_H

#include <jansson.h>

#include "compat.h"
#include "error.h"
#include "io.h"

/* A real number cut to nine decimals, so that JSON stays readable; owned by the caller. */
json_t *json_number(double value);

/* The object on lines of its own, keys sorted. */
MUST_CHECK int json_print(const json_t *object, struct output *output, struct error *error);

#endif
