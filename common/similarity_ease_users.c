/* EASE by the users, for whom there are more items than users. By the identity of Sherman, Morrison and Woodbury
 *
 *     (X^T X + D)^-1 = D^-1 - D^-1 X^T K^-1 X D^-1,  K = I + X D^-1 X^T,
 *
 * so a matrix of users by users is inverted. With M = K^-1, x_i the users of item i as a vector and t_ji = x_j^T M x_i,
 *
 *     B[j][i] = t_ji / d_j / (1 - t_ii / d_i),
 *
 * and t is sums of elements of M alone, as x are zeros and ones: q = M x_i adds the rows of M of the item's users, and
 * t_ji adds the elements of q of the other's users, for a group of items i at once. */
#include "mem.h"
#include "similarity_ease.h"
#include "similarity_ease_kernels.h"

enum {
	ROW_GROUP = 16, /* rows or items a shard */
	CHUNK = 128,    /* items whose sums are held */
};

static_assert((int)WEIGH_GROUP == (int)EASE_LANES, "a group is a vector");

static const double least_penalty = 1e-12; /* of the diagonal of X^T X + D, as the inverse has it for pivots */

extern const struct ease_kernels ease_kernels_avx512, ease_kernels_avx2, ease_kernels_portable;

static const struct ease_kernels *const all_kernels[ISA_COUNT] = {
	[ISA_AVX512] = &ease_kernels_avx512,
	[ISA_AVX2] = &ease_kernels_avx2,
	[ISA_PORTABLE] = &ease_kernels_portable,
};

/* Doubles of ease->rows for a worker: q of a group, by lanes; q of one item; sums of a chunk. */
static size_t worker_doubles(size_t users)
{
	return (EASE_LANES + 1) * users + (size_t)CHUNK * EASE_LANES;
}

static size_t bytes(uint32_t users, uint32_t items, uint32_t kept, const struct similarity_options *options,
                    size_t threads)
{
	const size_t matrix = symmetric_bytes(users), scratch = symmetric_scratch_bytes(users);
	const size_t square = matrix == SIZE_MAX ? SIZE_MAX : (size_t)users * users * sizeof(double);
	const size_t workers = (threads * worker_doubles(users) + 2 * (size_t)kept) * sizeof(double);
	const size_t writing = ease_sum(square, workers + similarity_write_bytes(items, options, threads));
	/* The matrix is free again when the square has its inverse. */
	const size_t inverting = ease_sum(matrix, scratch > square ? scratch : square);
	return inverting > writing ? inverting : writing;
}

/* ---- K ---- */

static void fill_group(void *context, size_t shard, size_t worker)
{
	struct ease *ease = context;
	const struct cooccurrence *of = &ease->cooccurrence;
	const size_t users = ease->interactions->users;
	const size_t begin = shard * ROW_GROUP, end = begin + ROW_GROUP < users ? begin + ROW_GROUP : users;
	(void)worker;
	for (size_t user = begin; user < end; user++) {
		double *to = symmetric_row(&ease->matrix, user);
		size_t count;
		const uint32_t *items = interactions_of(ease->interactions, (uint32_t)user, &count);
		for (size_t k = 0; k < count; k++)
			for (uint64_t u = of->offsets[items[k]]; of->users[u] < user; u++) /* ends at the user */
				to[of->users[u]] += ease->penalties[items[k]];
		for (size_t k = 0; k < count; k++)
			to[user] += ease->penalties[items[k]];
		to[user] += 1;
	}
}

static int fill(struct ease *ease, struct pool *pool, struct error *error)
{
	const struct interactions *interactions = ease->interactions;
	ease->kernels = all_kernels[ease->options->isa];
	ease->penalties = mem_alloc(ease->kept, sizeof *ease->penalties, error);
	if (!ease->penalties || symmetric_init(&ease->matrix, interactions->users, error) < 0)
		return -1;
	for (uint32_t i = 0; i < ease->kept; i++) {
		const double popularity = interactions->popularity[i], penalty = ease_penalty(ease->options, popularity);
		if (!(penalty > least_penalty * (popularity + penalty)))
			return error_set(error, CODE_DATA,
			                 "--regularization %g is too small: rounding would decide (an item has %u users)",
			                 ease->options->regularization, interactions->popularity[i]);
		ease->penalties[i] = 1 / penalty;
	}
	pool_run(pool, ((size_t)interactions->users + ROW_GROUP - 1) / ROW_GROUP, fill_group, ease);
	return 0;
}

/* ---- its inverse, and t_ii ---- */

static void expand_group(void *context, size_t shard, size_t worker)
{
	struct ease *ease = context;
	const size_t users = ease->interactions->users, begin = shard * WEIGH_GROUP;
	(void)worker;
	symmetric_expand(&ease->matrix, begin, begin + WEIGH_GROUP < users ? begin + WEIGH_GROUP : users,
	                 ease->square + begin * users, users);
}

/* 1 / (1 - t_ii / d_i). t_ii is twice the sum below the diagonal of M, and what is on it. */
static void find_diagonal(void *context, size_t shard, size_t worker)
{
	struct ease *ease = context;
	const size_t users = ease->interactions->users;
	const struct cooccurrence *of = &ease->cooccurrence;
	const size_t first = shard * ROW_GROUP, last = first + ROW_GROUP < ease->kept ? first + ROW_GROUP : ease->kept;
	(void)worker;
	for (size_t i = first; i < last; i++) {
		double below = 0, on = 0;
		for (uint64_t u = of->offsets[i]; u < of->offsets[i + 1]; u++) {
			const double *row = ease->square + of->users[u] * users;
			for (uint64_t v = of->offsets[i]; v < u; v++)
				below += row[of->users[v]];
			on += row[of->users[u]];
		}
		ease->diagonal[i] = 1 / (1 - (2 * below + on) * ease->penalties[i]);
	}
}

static int invert(struct ease *ease, struct pool *pool, struct error *error)
{
	const size_t users = ease->interactions->users;
	if (ease_invert_matrix(ease, pool, error) < 0)
		return -1;
	ease->square = mem_alloc(users * users, sizeof *ease->square, error);
	if (!ease->square)
		return -1;
	pool_run(pool, (users + WEIGH_GROUP - 1) / WEIGH_GROUP, expand_group, ease);
	symmetric_release(&ease->matrix);
	ease->diagonal = mem_alloc(ease->kept, sizeof *ease->diagonal, error);
	ease->rows = mem_alloc(pool_threads(pool) * worker_doubles(users), sizeof *ease->rows, error);
	if (!ease->diagonal || !ease->rows)
		return -1;
	pool_run(pool, ((size_t)ease->kept + ROW_GROUP - 1) / ROW_GROUP, find_diagonal, ease);
	return 0;
}

/* ---- weights ---- */

/* q of items [first, last) to q[user][lane]; lanes beyond are 0. */
static void gather_group(const struct ease *ease, uint32_t first, uint32_t last, double *q)
{
	const size_t users = ease->interactions->users;
	const struct cooccurrence *of = &ease->cooccurrence;
	double *one = q + EASE_LANES * users;
	for (uint32_t lane = 0; lane < EASE_LANES; lane++) {
		memset(one, 0, users * sizeof *one);
		if (lane < last - first)
			for (uint64_t u = of->offsets[first + lane]; u < of->offsets[first + lane + 1]; u++)
				ease->kernels->add(one, ease->square + of->users[u] * users, users);
		for (size_t user = 0; user < users; user++)
			q[user * EASE_LANES + lane] = one[user];
	}
}

static void weigh(const struct ease *ease, size_t worker, uint32_t first, uint32_t last, bool columns,
                  float *const *weights)
{
	double *q = ease->rows + worker * worker_doubles(ease->interactions->users);
	double *sums = q + (EASE_LANES + 1) * (size_t)ease->interactions->users;
	gather_group(ease, first, last, q);
	for (uint32_t begin = 0; begin < ease->kept; begin += CHUNK) {
		const uint32_t end = ease->kept - begin < CHUNK ? ease->kept : begin + CHUNK;
		ease->kernels->sum_rows(q, ease->cooccurrence.offsets + begin, ease->cooccurrence.users, end - begin, sums);
		for (uint32_t here = first; here < last; here++) {
			float *to = weights[here - first];
			const double *from = sums + (here - first);
			for (uint32_t i = begin; i < end; i++, from += EASE_LANES)
				to[ease->ids[i]] = (float)(*from * ease->penalties[columns ? i : here] *
				                           ease->diagonal[columns ? here : i]);
		}
	}
}

const struct ease_side ease_users = {bytes, fill, invert, weigh};
