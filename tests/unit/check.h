/* The smallest test harness that says enough: TAP on stdout, one line a case, expressions on failure.
 *
 *   static void test_reads_back(void) { CHECK(x == 1); CHECK_EQUAL_U64(a, b); }
 *   int main(void) { RUN(test_reads_back); return check_done(); }
 */
#ifndef RECPIPE_CHECK_H
#define RECPIPE_CHECK_H

#include <inttypes.h>
#include <math.h>

#include "compat.h"
#include "error.h"

static int check_failures, check_cases, check_failed_cases;

#define CHECK(condition) check_that((condition), #condition, __FILE__, __LINE__)
#define CHECK_EQUAL_U64(a, b) check_u64((uint64_t)(a), (uint64_t)(b), #a " == " #b, __FILE__, __LINE__)
#define CHECK_CLOSE(a, b, tolerance) check_close((a), (b), (tolerance), #a " ~ " #b, __FILE__, __LINE__)
#define CHECK_EQUAL_TEXT(a, b) check_that(strcmp((a), (b)) == 0, #a " equals " #b, __FILE__, __LINE__)
/* A call that must succeed: prints the error otherwise. */
#define CHECK_OK(call, error) \
	do { \
		check_that((call) >= 0, #call, __FILE__, __LINE__); \
		if ((error)->code != CODE_OK) \
			printf("#   %s\n", (error)->message); \
	} while (0)

static inline void check_that(bool condition, const char *text, const char *file, int line)
{
	if (condition)
		return;
	check_failures++;
	printf("# %s:%d: failed: %s\n", file, line, text);
}

static inline void check_u64(uint64_t a, uint64_t b, const char *text, const char *file, int line)
{
	if (a == b)
		return;
	check_failures++;
	printf("# %s:%d: failed: %s (%" PRIu64 ", %" PRIu64 ")\n", file, line, text, a, b);
}

static inline void check_close(double a, double b, double tolerance, const char *text, const char *file, int line)
{
	if (fabs(a - b) <= tolerance)
		return;
	check_failures++;
	printf("# %s:%d: failed: %s (%.17g, %.17g)\n", file, line, text, a, b);
}

static inline void check_run(const char *name, void (*test)(void))
{
	int before = check_failures;
	test();
	check_cases++;
	bool failed = check_failures != before;
	check_failed_cases += failed;
	printf("%s %d - %s\n", failed ? "not ok" : "ok", check_cases, name);
	fflush(stdout);
}

#define RUN(test) check_run(#test, test)
#define SKIP(name, reason) printf("ok %d - %s # SKIP %s\n", ++check_cases, (name), (reason))

static inline UNUSED int check_done(void)
{
	printf("1..%d\n", check_cases);
	return check_failed_cases ? 1 : 0;
}

#endif
