/* Householder's reduction, for the tables of linear_isa.c alone: see linear.h. */
#ifndef RECPIPE_LINEAR_TRIDIAGONAL_H
#define RECPIPE_LINEAR_TRIDIAGONAL_H

#include "compat.h"

void linear_tridiagonalize_avx512(double *a, size_t size, double *diagonal, double *off, double *basis,
                                  double *scratch);
void linear_tridiagonalize_avx2(double *a, size_t size, double *diagonal, double *off, double *basis,
                                double *scratch);
void linear_tridiagonalize_portable(double *a, size_t size, double *diagonal, double *off, double *basis,
                                    double *scratch);

#endif
