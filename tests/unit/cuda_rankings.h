/* Rankings by the CUDA backend, and what they are compared by. */
#ifndef RECPIPE_CUDA_RANKINGS_H
#define RECPIPE_CUDA_RANKINGS_H

#include "cuda_fixture.h"

struct ranking {
	uint32_t *users, *items, *counts;
	float *scores;
};

static inline void ranking_init(struct ranking *r, uint32_t users, size_t top)
{
	r->users = room_for(users, sizeof *r->users);
	r->counts = room_for(users, sizeof *r->counts);
	r->items = room_for(users * top, sizeof *r->items);
	r->scores = room_for(users * top, sizeof *r->scores);
	for (uint32_t u = 0; u < users; u++)
		r->users[u] = (u * 3 + 1) % users;
}

static inline void ranking_release(struct ranking *r)
{
	free(r->users);
	free(r->counts);
	free(r->items);
	free(r->scores);
}

/* Every second item a twin of the one before it, so that every score comes twice, and the truth must lose. */
static inline void make_twins(struct fixture *f)
{
	for (size_t m = 0; m < f->parameters.count; m++) {
		const struct matrix *table = &f->parameters.matrices[m];
		for (size_t i = 1; i < table->rows && model_matrix_rows(&f->shape, m) == 'i'; i += 2)
			memcpy(table->values + i * table->stride, table->values + (i - 1) * table->stride, table->stride * sizeof(float));
	}
}

/* The lists are equal but where scores nearly are. */
static inline void check_same_ranking(const struct ranking *a, const struct ranking *b, uint32_t users, size_t top)
{
	for (uint32_t u = 0; u < users; u++) {
		CHECK_EQUAL_U64(a->counts[u], b->counts[u]);
		for (size_t i = u * top; i < u * top + b->counts[u]; i++) {
			CHECK_CLOSE((double)a->scores[i], (double)b->scores[i], 1e-5 * (1e-3 + fabs((double)b->scores[i])));
			const double score = (double)b->scores[i];
			const bool near = (i > u * top && fabs(score - (double)b->scores[i - 1]) < 1e-5) ||
			                  i + 1 == u * top + b->counts[u] || fabs(score - (double)b->scores[i + 1]) < 1e-5;
			CHECK(a->items[i] == b->items[i] || (on_a_device() && near));
		}
	}
}

#endif
