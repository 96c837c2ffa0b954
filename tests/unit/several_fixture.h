/* What the tests of several devices share: the emulator has five; by `make test-gpu` as many as the machine has. */
#ifndef RECPIPE_SEVERAL_FIXTURE_H
#define RECPIPE_SEVERAL_FIXTURE_H

#include "cuda_fixture.h"
#include "several.h"

enum { DEVICES_MAX = 5 };

/* Every loss and kind of model; tables of fewer rows, and batches of fewer groups, than there are devices. */
static const struct setting settings[] = {
	{"tower", "128-64-32-16-8-4-1", 40, 60, 4, 64, MODEL_MLP, 0, LOSS_BINARY, false, false, false, 0, 0},
	{"dense Adam", "66-40-5-1", 17, 31, 7, 29, MODEL_MLP, 0, LOSS_BINARY, true, true, false, 0, 0},
	{"fewer of everything", "20-7-3-1", 3, 2, 2, 4, MODEL_MLP, 0, LOSS_BINARY, false, true, false, 0.1, 0},
	{"one of everything", "2-1-1", 1, 1, 0, 1, MODEL_MLP, 0, LOSS_BINARY, false, false, false, 0, 0},
	{"many rows", "24-16-1", 3000, 2500, 2, 1501, MODEL_MLP, 0, LOSS_BINARY, false, false, false, 0.1, 0},
	{"softmax, offsets", "20-7-3-1", 5, 9, 2, 40, MODEL_MLP, 0, LOSS_SOFTMAX, true, true, true, 0.1, 0},
	{"neumf, pairwise", "34-70-24-9-1", 17, 31, 6, 28, MODEL_NEUMF, 16, LOSS_PAIRWISE, false, true, false, 0.1, 0},
	{"neumf, dense Adam", "32-16-8-1", 17, 31, 4, 90, MODEL_NEUMF, 24, LOSS_SOFTMAX, true, false, false, 0.1, 0},
	{"gmf", NULL, 5, 9, 2, 40, MODEL_GMF, 5, LOSS_BINARY, false, true, false, 0.1, 0},
	{"gmf, pairwise", NULL, 13, 31, 3, 700, MODEL_GMF, 33, LOSS_PAIRWISE, false, false, false, 0, 0},
	{"mf, softmax, offsets", NULL, 5, 9, 60, 3, MODEL_MF, 15, LOSS_SOFTMAX, true, true, true, 0.1, 0},
	{"mf, pairwise", NULL, 17, 5000, 3, 900, MODEL_MF, 32, LOSS_PAIRWISE, false, false, false, 0.1, 0},
	{"dropout", "40-24-12-6-1", 17, 31, 4, 61, MODEL_MLP, 0, LOSS_BINARY, false, true, false, 0.1, 0.25},
};

/* Watched, each access is looked at: what is the same for all settings and numbers of devices is asked of some. */
#ifdef WATCHED
static const size_t counts[] = {3};
#else
static const size_t counts[] = {2, 3, 5};
#endif

static inline bool is_one_of_some(size_t setting)
{
	return !emulated_watched || setting % 5 == 2;
}

/* The backend, of whose states opened from now on each has `count` devices; NULL where there are not so many. */
static inline const struct backend *backend_of(size_t count, struct error *error)
{
	static const int numbers[DEVICES_MAX] = {0, 1, 2, 3, 4};
	struct error none = {0};
	const struct backend *backend = cuda_under_test(error);
	return backend && backend->probe(numbers, count, on_a_device() ? &none : error) == 0 ? backend : NULL;
}

/* As backend_of, or of one device: the tests that compare several with several. */
static inline const struct backend *backend_of_most(size_t count, struct error *error)
{
	const struct backend *backend = backend_of(count, error);
	return backend ? backend : backend_of(1, error);
}

/* Whether the tests can run; else they are skipped with the reason. */
static inline bool several_are_here(const char *suite)
{
	struct error error = {0};
	if (!cuda_is_here(suite))
		return false;
	if (!backend_of(2, &error))
		SKIP(suite, "this machine has no two devices that NCCL joins");
	return backend_of(2, &error) != NULL;
}

#endif
