/* Half a sweep: the Gram matrix of the fixed side and the basis that makes it tridiagonal, the rows by their
 * length over the pool (ials_rows.c), what they come to. Sums over rows go by fixed shards and fixed chunks, so
 * that no number of threads changes a bit. */
#include "ials_solver.h"

#include <math.h>

#include "maths.h"
#include "mem.h"

enum {
	GRAM_SHARDS = 16,
	ROTATED_ROWS = 64,  /* rows that are turned together */
};

/* What the shards of a half share. */
struct work {
	const struct ials_solver *solver;
	struct ials_half *half;
	const float *from, *basis; /* a rotation: of these rows, into that basis */
	float *to;
	size_t rows;
};

/* ---- memory ---- */

static float *floats(size_t rows, size_t stride, struct error *error)
{
	return mem_alloc_zero(rows, stride * sizeof(float), error);
}

static int worker_init(struct ials_worker *worker, size_t width, size_t stride, struct error *error)
{
	const size_t gathered = width > IALS_CHUNK ? width : IALS_CHUNK;
	worker->band.width = width;
	worker->matrix = floats(width, stride, error);
	worker->gathered = floats(gathered, stride, error);
	worker->inverse = floats(1, width, error);
	worker->right = floats(1, gathered, error);
	worker->solution = floats(1, width, error);
	worker->ones = floats(1, IALS_CHUNK, error);
	worker->band.inverse = floats(1, width, error);
	worker->band.forward = floats(1, width, error);
	worker->band.backward = floats(1, width, error);
	for (size_t i = 0; worker->ones && i < IALS_CHUNK; i++)
		worker->ones[i] = 1;
	return worker->matrix && worker->gathered && worker->inverse && worker->right && worker->solution &&
	       worker->ones && worker->band.inverse && worker->band.forward && worker->band.backward ? 0 : -1;
}

static void worker_release(struct ials_worker *worker)
{
	mem_free(worker->matrix);
	mem_free(worker->gathered);
	mem_free(worker->inverse);
	mem_free(worker->right);
	mem_free(worker->solution);
	mem_free(worker->ones);
	mem_free(worker->band.inverse);
	mem_free(worker->band.forward);
	mem_free(worker->band.backward);
}

static int init_matrices(struct ials_solver *solver, size_t rows, struct error *error)
{
	const size_t factors = solver->options.factors, width = solver->width, stride = solver->stride;
	solver->rotated = floats(rows, width, error);
	solver->basis = floats(width, stride, error);
	solver->transposed = floats(width, stride, error);
	solver->partial_grams = floats(GRAM_SHARDS * width, stride, error);
	solver->gram = mem_alloc(factors * factors, sizeof *solver->gram, error);
	solver->vectors = mem_alloc(factors * factors, sizeof *solver->vectors, error);
	solver->diagonal = mem_alloc(factors, sizeof *solver->diagonal, error);
	solver->off = mem_alloc(factors, sizeof *solver->off, error);
	solver->scratch = mem_alloc(2 * factors, sizeof *solver->scratch, error);
	solver->order = mem_alloc(rows, sizeof *solver->order, error);
	solver->parts = mem_alloc(rows, sizeof *solver->parts, error);
	solver->norms = mem_alloc(rows, sizeof *solver->norms, error);
	return solver->rotated && solver->basis && solver->transposed && solver->partial_grams && solver->gram &&
	       solver->vectors && solver->diagonal && solver->off && solver->scratch && solver->order &&
	       solver->parts && solver->norms ? 0 : -1;
}

int ials_solver_init(struct ials_solver *solver, const struct ials_options *options, size_t rows,
                     struct error *error)
{
	*solver = (struct ials_solver){.options = *options};
	solver->width = linear_width(options->factors);
	solver->stride = linear_stride(solver->width);
	solver->linear = linear_find(options->isa ? options->isa : "auto", error);
	if (!solver->linear || init_matrices(solver, rows, error) < 0)
		return -1;
	solver->pool = pool_new(options->threads, error);
	if (!solver->pool)
		return -1;
	solver->workers = mem_alloc_zero(pool_threads(solver->pool), sizeof *solver->workers, error);
	for (size_t i = 0; solver->workers && i < pool_threads(solver->pool); i++)
		if (worker_init(&solver->workers[i], solver->width, solver->stride, error) < 0)
			return -1;
	return solver->workers ? 0 : -1;
}

void ials_solver_release(struct ials_solver *solver)
{
	for (size_t i = 0; solver->workers && i < pool_threads(solver->pool); i++)
		worker_release(&solver->workers[i]);
	mem_free(solver->workers);
	pool_free(solver->pool);
	mem_free(solver->rotated);
	mem_free(solver->basis);
	mem_free(solver->transposed);
	mem_free(solver->partial_grams);
	mem_free(solver->gram);
	mem_free(solver->vectors);
	mem_free(solver->diagonal);
	mem_free(solver->off);
	mem_free(solver->scratch);
	mem_free(solver->order);
	mem_free(solver->parts);
	mem_free(solver->norms);
}

/* ---- the fixed side: Gram matrix, tridiagonal form, rotated rows ---- */

static void gram_shard(void *context, size_t shard, size_t worker)
{
	(void)worker;
	const struct work *work = context;
	const struct ials_solver *solver = work->solver;
	const size_t begin = shard_begin(work->rows, GRAM_SHARDS, shard);
	const size_t end = shard_begin(work->rows, GRAM_SHARDS, shard + 1);
	float *sum = solver->partial_grams + shard * solver->width * solver->stride;
	memset(sum, 0, solver->width * solver->stride * sizeof *sum);
	for (size_t r = begin; r < end; r += IALS_CHUNK)
		solver->linear->add_gram(work->from + r * solver->width, solver->width, ials_chunk(end - r),
		                         solver->width, sum, solver->stride);
}

/* G of the fixed rows, both triangles, the shards' sums added in double. */
static void make_gram(struct ials_solver *solver, const float *rows, size_t count)
{
	struct work work = {.solver = solver, .from = rows, .rows = count};
	const size_t factors = solver->options.factors;
	pool_run(solver->pool, GRAM_SHARDS, gram_shard, &work);
	for (size_t i = 0; i < factors; i++)
		for (size_t j = i; j < factors; j++) {
			double sum = 0;
			for (size_t s = 0; s < GRAM_SHARDS; s++)
				sum += (double)solver->partial_grams[(s * solver->width + i) * solver->stride + j];
			solver->gram[i * factors + j] = solver->gram[j * factors + i] = sum;
		}
}

static void make_basis(struct ials_solver *solver)
{
	const size_t factors = solver->options.factors;
	solver->linear->tridiagonalize(solver->gram, factors, solver->diagonal, solver->off, solver->vectors,
	                               solver->scratch);
	for (size_t i = 0; i < factors; i++)
		for (size_t j = 0; j < factors; j++) {
			const float value = (float)solver->vectors[i * factors + j];
			solver->basis[i * solver->stride + j] = value;
			solver->transposed[j * solver->stride + i] = value;
		}
}

/* Some rows times the basis; norms are taken of what comes out. A worker's scratch holds what goes in. */
static void rotate_shard(void *context, size_t shard, size_t worker)
{
	const struct work *work = context;
	const struct ials_solver *solver = work->solver;
	const size_t width = solver->width, begin = shard * ROTATED_ROWS;
	const size_t count = work->rows - begin < ROTATED_ROWS ? work->rows - begin : ROTATED_ROWS;
	float *in = solver->workers[worker].gathered, *to = work->to + begin * width;
	float *out = in + ROTATED_ROWS * width;
	memcpy(in, work->from + begin * width, count * width * sizeof *in);
	memset(in + count * width, 0, (linear_width(count) - count) * width * sizeof *in);
	solver->linear->multiply(in, width, linear_width(count), work->basis, solver->stride, width, out, width,
	                         width);
	memcpy(to, out, count * width * sizeof *to);
	for (size_t r = 0; r < count; r++) {
		double square = 0;
		for (size_t k = 0; k < width; k++)
			square += (double)to[r * width + k] * (double)to[r * width + k];
		solver->norms[begin + r] = square;
	}
}

static void rotate(struct ials_solver *solver, const float *from, size_t rows, const float *basis, float *to)
{
	struct work work = {.solver = solver, .from = from, .rows = rows, .basis = basis, .to = to};
	pool_run(solver->pool, (rows + ROTATED_ROWS - 1) / ROTATED_ROWS, rotate_shard, &work);
}

/* ---- rows ---- */

/* What regularisation puts on the diagonal of a row with `count` interactions. */
static double penalty_of(const struct ials_solver *solver, const struct ials_half *half, size_t count)
{
	const struct ials_options *options = &solver->options;
	return options->regularization *
	       maths_pow((double)count + options->unobserved * (double)half->fixed_count, options->scaling);
}

/* NaN becomes the part of a row that cannot be solved. */
static void solve_shard(void *context, size_t shard, size_t number)
{
	const struct work *work = context;
	const struct ials_solver *solver = work->solver;
	const struct ials_half *half = work->half;
	struct ials_worker *worker = &solver->workers[number];
	const size_t row = UINT32_MAX - (uint32_t)solver->order[shard];
	struct linear_rows rows = {.values = solver->rotated, .stride = solver->width, .width = solver->width};
	rows.ids = interactions_of(half->history, (uint32_t)row, &rows.count);
	float *x = half->solved + row * solver->width;
	double *part = &solver->parts[row];
	const double penalty = penalty_of(solver, half, rows.count);
	if (rows.count == 0) {
		memset(x, 0, solver->width * sizeof *x);
		*part = 0;
		return;
	}
	if (!ials_row_solve(solver, worker, penalty, &rows, x, part))
		*part = NAN;
}

/* ---- the half ---- */

static int by_descending(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return (x < y) - (x > y);
}

/* Long rows first, so that no thread is left with one at the end; count << 32 | (2^32 - 1 - row). */
static void make_order(struct ials_solver *solver, const struct interactions *history)
{
	for (uint32_t row = 0; row < history->users; row++)
		solver->order[row] = (history->offsets[row + 1] - history->offsets[row]) << 32 | (UINT32_MAX - row);
	qsort(solver->order, history->users, sizeof *solver->order, by_descending);
}

int ials_solve(struct ials_solver *solver, struct ials_half *half, struct error *error)
{
	const struct interactions *history = half->history;
	struct work work = {.solver = solver, .half = half};
	make_gram(solver, half->fixed, half->fixed_count);
	make_basis(solver);
	rotate(solver, half->fixed, half->fixed_count, solver->basis, solver->rotated);
	make_order(solver, history);
	for (size_t i = 0; i < pool_threads(solver->pool); i++)
		solver->workers[i].band_count = SIZE_MAX;
	pool_run(solver->pool, history->users, solve_shard, &work);
	half->objective = half->penalty = 0;
	for (uint32_t row = 0; row < history->users; row++) {
		if (!isfinite(solver->parts[row]))
			return error_set(error, CODE_DATA, "the equations of %s %u cannot be solved in single precision, "
			                 "expected a larger regularization", half->what, row);
		half->objective += solver->parts[row];
	}
	rotate(solver, half->solved, history->users, solver->transposed, half->solved);
	for (uint32_t row = 0; row < history->users; row++)
		half->penalty += solver->norms[row] *
		                 penalty_of(solver, half, (size_t)(history->offsets[row + 1] - history->offsets[row]));
	return 0;
}
