/* exp, log and their kin against libm in long double: errors in units in the last place, and the edges. */
#include "maths.h"

#include "check.h"
#include "rng.h"

enum { POINTS = 100000 };

/* |got - exact| in units of the last place of a double at `exact`. */
static double ulps(double got, long double exact)
{
	int exponent = 0;
	frexpl(exact, &exponent);
	if (exponent < -1021)
		exponent = -1021; /* subnormal results share one unit */
	return (double)(fabsl((long double)got - exact) / ldexpl(1.0L, exponent - 53));
}

struct worst {
	double error, at;
};

static void note_worst(struct worst *worst, double error, double at)
{
	if (!(error <= worst->error))
		*worst = (struct worst){error, at};
}

static void tell(const char *name, struct worst worst, double bound)
{
	printf("# %s: %.3f ulp at %.17g\n", name, worst.error, worst.at);
	CHECK(worst.error <= bound);
}

static void test_exp_is_within_two_ulp(void)
{
	static const double ranges[][2] = {{-745.1, 709.78}, {-1, 1}, {-40, 40}, {-1e-6, 1e-6}, {-745.1, -700}};
	for (size_t r = 0; r < COUNT_OF(ranges); r++) {
		struct rng rng;
		struct worst worst = {0};
		rng_init(&rng, 1, rng_stream(RNG_TEST, 10), r);
		for (int i = 0; i < POINTS; i++) {
			double x = ranges[r][0] + (ranges[r][1] - ranges[r][0]) * rng_unit(&rng);
			note_worst(&worst, ulps(maths_exp(x), expl((long double)x)), x);
		}
		tell("exp", worst, 2);
	}
}

static double random_positive(struct rng *rng)
{
	for (;;) {
		uint64_t bits = rng_next64(rng) >> 1;
		double x;
		memcpy(&x, &bits, sizeof x);
		if (isfinite(x) && x > 0)
			return x;
	}
}

static void test_log_is_within_two_ulp(void)
{
	struct rng rng;
	struct worst wide = {0}, near = {0}, binary = {0};
	rng_init(&rng, 2, rng_stream(RNG_TEST, 11), 0);
	for (int i = 0; i < POINTS; i++) {
		double x = random_positive(&rng);
		note_worst(&wide, ulps(maths_log(x), logl((long double)x)), x);
		note_worst(&binary, ulps(maths_log2(x), log2l((long double)x)), x);
		double unit = rng_unit(&rng), scale = i % 2 ? 1 : 1e-5; /* around 1 the result itself is small */
		x = 1 + (unit - 0.5) * scale;
		note_worst(&near, ulps(maths_log(x), logl((long double)x)), x);
	}
	tell("log", wide, 2);
	tell("log near 1", near, 2);
	tell("log2", binary, 2);
}

static void test_exp_at_the_edges(void)
{
	CHECK(maths_exp(0) == 1 && maths_exp(-0.0) == 1);
	CHECK(maths_exp(INFINITY) == INFINITY && maths_exp(-INFINITY) == 0);
	CHECK(isnan(maths_exp(NAN)));
	CHECK(maths_exp(709.79) == INFINITY && maths_exp(1e300) == INFINITY);
	CHECK(isfinite(maths_exp(709.78)));
	CHECK(maths_exp(-746) == 0 && maths_exp(-1e300) == 0);
	CHECK(maths_exp(-745) > 0 && maths_exp(-745) < 1e-323); /* the smallest subnormal */
	CHECK(maths_exp(1e-320) == 1);
}

static void test_log_at_the_edges(void)
{
	CHECK(maths_log(1) == 0 && maths_log2(1) == 0);
	CHECK(maths_log(0) == -INFINITY && maths_log(-0.0) == -INFINITY);
	CHECK(maths_log(INFINITY) == INFINITY && maths_log2(INFINITY) == INFINITY);
	CHECK(isnan(maths_log(-1)) && isnan(maths_log(-INFINITY)) && isnan(maths_log(NAN)));
	CHECK(ulps(maths_log(0x1p-1074), logl(0x1p-1074L)) <= 2); /* subnormals */
	CHECK(ulps(maths_log(3e-310), logl((long double)3e-310)) <= 2);
	CHECK(ulps(maths_log(0x1.fffffffffffffp1023), logl(0x1.fffffffffffffp1023L)) <= 2);
	for (int k = -1074; k <= 1023; k++)
		CHECK(maths_log2(ldexp(1, k)) == k);
}

static void test_pow(void)
{
	CHECK(maths_pow(0, 0) == 1 && maths_pow(0, 2) == 0 && maths_pow(0, -1) == INFINITY && maths_pow(7, 0) == 1);
	CHECK(isnan(maths_pow(-1, 0.5)));
	struct rng rng;
	rng_init(&rng, 3, rng_stream(RNG_TEST, 12), 0);
	double worst = 0;
	for (int i = 0; i < POINTS; i++) {
		double x = 1e6 * rng_unit(&rng) + 1e-3, y = 4 * rng_unit(&rng) - 2;
		double exact = pow(x, y);
		worst = fmax(worst, fabs(maths_pow(x, y) / exact - 1));
	}
	CHECK(worst < 64 * 0x1p-53); /* the error of y log x, up to 28 here, is carried into the exponent */
}

static void test_cos_pi(void)
{
	double worst = 0;
	for (int i = 0; i <= POINTS; i++) {
		double x = (double)i / POINTS;
		worst = fmax(worst, (double)fabsl(maths_cos_pi(x) - cosl(3.14159265358979323846264338L * (long double)x)));
	}
	CHECK(worst < 4 * 0x1p-53);
	CHECK(maths_cos_pi(0.5) == 0);
}

int main(void)
{
	RUN(test_exp_is_within_two_ulp);
	RUN(test_log_is_within_two_ulp);
	RUN(test_exp_at_the_edges);
	RUN(test_log_at_the_edges);
	RUN(test_pow);
	RUN(test_cos_pi);
	return check_done();
}
