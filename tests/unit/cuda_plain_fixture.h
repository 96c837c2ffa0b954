/* What the tests of the plain tower share: which way the next backend that is opened has its tower. */
#ifndef RECPIPE_CUDA_PLAIN_FIXTURE_H
#define RECPIPE_CUDA_PLAIN_FIXTURE_H

#include "cuda_fixture.h"
#include "emulated_blas.h"

/* "plain", "fused"; NULL: by shape. */
static inline void tower_by(const char *way)
{
	if (way)
		setenv("RECPIPE_CUDA_TOWER", way, 1);
	else
		unsetenv("RECPIPE_CUDA_TOWER");
}

/* Whether the tests can run; else they are skipped with the reason, or fail where REQUIRE_CUDA is set. */
static inline bool blas_is_here(const char *suite)
{
	static const struct setting smallest = {
		"smallest", "2-1-1", 1, 1, 0, 0, MODEL_MLP, 0, LOSS_BINARY, false, false, false, 0, 0,
	};
	struct fixture f;
	if (!cuda_is_here(suite))
		return false;
	fixture_init(&f, &smallest);
	const struct backend_options options = fixture_options(&f);
	const struct backend *cuda = cuda_under_test(&f.error);
	tower_by("plain");
	struct backend_state *state = cuda->open(&f.shape, &f.parameters, &options, &f.error);
	tower_by(NULL);
	const char *required = getenv("REQUIRE_CUDA");
	const bool is_here = state || (required && strcmp(required, "1") == 0);
	if (!is_here)
		SKIP(suite, f.error.message);
	cuda->close(state);
	fixture_release(&f);
	return is_here;
}

#endif
