/* Making weights in tests: into a file, as a square, and the same bytes whatever computes them. */
#ifndef RECPIPE_MAKE_SIMILARITY_H
#define RECPIPE_MAKE_SIMILARITY_H

#include "check.h"
#include "folder.h"
#include "mem.h"
#include "sealed.h"
#include "similarity.h"
#include "similarity_make.h"

static const struct similarity_options plain = {
	.regularization = 3, .shrinkage = 2, .memory = SIZE_MAX, .isa = ISA_PORTABLE, .quiet = true,
};

static UNUSED struct similarity_times made_times; /* of the last call of make */

/* Makes weights into the file `path`; 0 or -1. */
static inline int make(const char *path, const struct histories *histories, const struct similarity_options *options,
                       size_t threads, struct error *error)
{
	const struct interactions *interactions = &histories->interactions;
	struct output output;
	struct stream_writer writer = {0};
	const struct stream_info info = {.users.count = interactions->users, .items.count = interactions->items};
	json_t *metadata = records_metadata("test", "", &info, error);
	struct pool *pool = pool_new(threads, error);
	CHECK(metadata && pool);
	CHECK_OK(output_open(&output, path, error), error);
	CHECK_OK(stream_writer_open(&writer, &output, STREAM_SIMILARITY, metadata, false, error), error);
	int result = similarity_make(histories, options, pool, &writer, &made_times, error);
	if (result == 0) {
		CHECK_OK(stream_writer_finish(&writer, error), error);
		CHECK_OK(output_commit(&output, error), error);
	}
	stream_writer_release(&writer);
	output_release(&output);
	json_decref(metadata);
	pool_free(pool);
	return result;
}

/* All weights as a square, zeros where there is none. */
static inline float *made_square(const struct histories *histories, const struct similarity_options *options,
                                 uint64_t *count)
{
	struct error error = {0};
	struct similarity similarity = {0};
	struct stream_info info = {0};
	const size_t n = histories->interactions.items;
	float *square = calloc(n * n, sizeof *square);
	CHECK(square);
	CHECK_OK(make("square", histories, options, 2, &error), &error);
	CHECK_OK(similarity_read(&similarity, "square", &info, &error), &error);
	for (size_t j = 0; j < n && similarity.items == n; j++)
		for (uint64_t k = similarity.offsets[j]; k < similarity.offsets[j + 1]; k++)
			square[j * n + similarity.neighbours[k]] = similarity.weights[k];
	if (count)
		*count = similarity.count;
	similarity_release(&similarity);
	stream_info_release(&info);
	return square;
}

static inline bool same_files(const char *a, const char *b)
{
	struct bytes one = bytes_read(a), other = bytes_read(b);
	const bool same = one.size == other.size && memcmp(one.at, other.at, one.size) == 0;
	free(one.at);
	free(other.at);
	return same;
}

static inline void check_same(const struct histories *histories, struct similarity_options options)
{
	static const size_t threads[] = {2, 3, 8};
	static const char *const isas[] = {"avx512", "avx2", "portable"};
	struct error error = {0};
	CHECK_OK(make("first", histories, &options, 1, &error), &error);
	for (size_t t = 0; t < COUNT_OF(threads); t++) {
		CHECK_OK(make("again", histories, &options, threads[t], &error), &error);
		CHECK(same_files("first", "again"));
	}
	for (size_t s = 0; s < COUNT_OF(isas); s++) {
		if (isa_find(isas[s], &options.isa, &error) < 0) {
			printf("# %s: not on this machine\n", isas[s]);
			error = (struct error){0};
			continue;
		}
		CHECK_OK(make("again", histories, &options, 2, &error), &error);
		CHECK(same_files("first", "again"));
	}
}

#endif
