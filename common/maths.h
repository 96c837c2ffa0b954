/* exp, log and pow whose bits do not depend on the machine: libm picks other code on other processors, so
 * what goes into files is computed by these (plain IEEE operations in a fixed order, no contraction).
 * Errors below 2 ulp in double (tests/unit/test_maths.c measures them against libm). */
#ifndef RECPIPE_MATHS_H
#define RECPIPE_MATHS_H

double maths_exp(double x);            /* 0 below -745, infinity above 709.78 */
double maths_log(double x);            /* natural; x > 0; -infinity at 0, NaN below */
double maths_log2(double x);
double maths_cos_pi(double x);         /* cos(pi x) for x in [0, 1] */
double maths_pow(double x, double y);  /* x >= 0; exp(y log x), with 0^0 = 1 */

#endif
