/* exp and log by plain IEEE operations in a fixed order. Method: exp by reduction to |r| <= ln2 / 2 and a
 * Taylor polynomial; log by reduction to [sqrt(1/2), sqrt(2)) and the series of 2 atanh(s). */
#include "maths.h"

#include <math.h>

#include "compat.h"

static const double ln2_high = 6.93147180369123816490e-01; /* 33 bits, so that n * ln2_high is exact */
static const double ln2_low = 1.90821492927058770002e-10;

static double power_of_two(int n)
{
	uint64_t bits = (uint64_t)(n + 1023) << 52;
	double value;
	memcpy(&value, &bits, sizeof value);
	return value;
}

double maths_exp(double x)
{
	if (x != x)
		return x;
	if (x > 709.782712893384)
		return HUGE_VAL;
	if (x < -745.2)
		return 0.0;
	double n = floor(x * 1.44269504088896338700 + 0.5);
	double r = (x - n * ln2_high) - n * ln2_low;
	double p = 0.0, factor = 1.0;
	/* Coefficients 1 / k!, the smallest terms first. */
	static const double inverse[] = {1.0 / 14, 1.0 / 13, 1.0 / 12, 1.0 / 11, 1.0 / 10, 1.0 / 9, 1.0 / 8,
	                                 1.0 / 7, 1.0 / 6, 1.0 / 5, 1.0 / 4, 1.0 / 3, 1.0 / 2};
	p = 1.0;
	for (size_t k = 0; k < COUNT_OF(inverse) - 1; k++)
		p = 1.0 + r * inverse[k] * p;
	p = 1.0 + (r + r * r * 0.5 * p);
	/* 2^n in two steps, so that results near the ends of the range are reached. */
	int whole = (int)n, half = whole / 2;
	factor = power_of_two(half) * p;
	return factor * power_of_two(whole - half);
}

double maths_log(double x)
{
	if (x != x || x < 0)
		return NAN;
	if (x == 0)
		return -HUGE_VAL;
	if (x > 1.7976931348623157e308)
		return x;
	int exponent = 0;
	double m = frexp(x, &exponent); /* exact */
	if (m < 0.70710678118654752440) {
		m *= 2;
		exponent--;
	}
	double f = m - 1, s = f / (2 + f), z = s * s, series = 0;
	for (int k = 23; k >= 3; k -= 2)
		series = series * z + 2.0 / k;
	/* log(1 + f) = f - f^2/2 + s (f^2/2 + z * series): the leading term stays exact. */
	double half = 0.5 * f * f;
	double low = s * (half + z * series);
	return exponent * ln2_high - ((half - (low + exponent * ln2_low)) - f);
}

double maths_log2(double x)
{
	int exponent = 0;
	if (x > 0 && x <= 1.7976931348623157e308 && frexp(x, &exponent) == 0.5)
		return exponent - 1; /* powers of two are exact */
	return maths_log(x) * 1.44269504088896338700;
}

double maths_pow(double x, double y)
{
	if (y == 0)
		return 1.0;
	return x == 0 ? (y > 0 ? 0.0 : HUGE_VAL) : maths_exp(y * maths_log(x));
}

double maths_cos_pi(double x)
{
	/* cos(pi x) = sin(pi (1/2 - x)), an odd Taylor series on [-pi/2, pi/2]. */
	const double a = 3.14159265358979323846 * (0.5 - x), square = a * a;
	double sum = 1.0;
	for (int k = 23; k >= 3; k -= 2)
		sum = 1.0 - square / (k * (k - 1)) * sum;
	return a * sum;
}
