/* Implicit alternating least squares: options, first values, and sweeps made of two halves (ials_solver.h). It
 * owns the transposed interactions; rows are the caller's. */
#include "ials.h"

#include <math.h>

#include "ials_solver.h"
#include "mem.h"
#include "rng.h"

const struct ials_options ials_defaults = {
	.factors = 256, .sweeps = 6, .regularization = 0.009, .unobserved = 0.15, .scaling = 1, .deviation = 0.1,
	.seed = 1, .isa = "auto",
};

struct ials {
	struct ials_solver solver;
	const struct interactions *by_user;
	struct interactions by_item; /* users and items swapped */
};

size_t ials_stride(size_t factors)
{
	return linear_width(factors);
}

static int check_options(const struct ials_options *options, struct error *error)
{
	const struct {
		const char *name;
		double value;
	} reals[] = {
		{"regularization", options->regularization}, {"unobserved", options->unobserved},
		{"scaling", options->scaling}, {"deviation", options->deviation},
	};
	if (options->factors < 1 || options->factors > IALS_FACTORS_MAX)
		return error_set(error, CODE_USAGE, "%zu factors, expected 1 to %d", options->factors, IALS_FACTORS_MAX);
	for (size_t i = 0; i < COUNT_OF(reals); i++)
		if (!(reals[i].value >= 0 && isfinite(reals[i].value)))
			return error_set(error, CODE_USAGE, "%s of iALS is %g, expected 0 or more", reals[i].name,
			                 reals[i].value);
	return 0;
}

static void fill_rows(const struct ials_options *options, uint32_t side, size_t rows, float *values)
{
	const size_t stride = ials_stride(options->factors);
	const double deviation = options->deviation / sqrt((double)options->factors);
	memset(values, 0, rows * stride * sizeof *values);
	for (size_t r = 0; r < rows; r++) {
		struct rng rng;
		rng_init(&rng, options->seed, rng_stream(RNG_INIT, side), r);
		for (size_t k = 0; k < options->factors; k++)
			values[r * stride + k] = (float)(deviation * rng_normal(&rng));
	}
}

void ials_first_values(const struct ials_options *options, uint32_t users, uint32_t items, float *user_rows,
                       float *item_rows)
{
	fill_rows(options, 0, users, user_rows);
	fill_rows(options, 1, items, item_rows);
}

/* Rows and columns swapped. Rows come out ascending, for users are visited in order. */
static int transpose(const struct interactions *from, struct interactions *to, struct error *error)
{
	*to = (struct interactions){.users = from->items, .items = from->users, .count = from->count};
	to->offsets = mem_alloc_zero((size_t)to->users + 2, sizeof *to->offsets, error);
	to->item_ids = mem_alloc(from->count, sizeof *to->item_ids, error);
	if (!to->offsets || !to->item_ids) {
		interactions_release(to);
		return -1;
	}
	/* Counts two places ahead become, after the sums, the next free place of each row one place ahead. */
	uint64_t *next = to->offsets + 1;
	for (uint64_t i = 0; i < from->count; i++)
		next[from->item_ids[i] + 1]++;
	for (size_t i = 0; i < to->users; i++)
		next[i + 1] += next[i];
	for (uint32_t user = 0; user < from->users; user++)
		for (uint64_t i = from->offsets[user]; i < from->offsets[user + 1]; i++)
			to->item_ids[next[from->item_ids[i]]++] = user;
	return 0;
}

struct ials *ials_open(const struct interactions *train, const struct ials_options *options, struct error *error)
{
	if (check_options(options, error) < 0)
		return NULL;
	struct ials *ials = mem_alloc_zero(1, sizeof *ials, error);
	if (!ials)
		return NULL;
	ials->by_user = train;
	const size_t rows = train->users > train->items ? train->users : train->items;
	if (transpose(train, &ials->by_item, error) < 0 ||
	    ials_solver_init(&ials->solver, options, rows, error) < 0) {
		ials_close(ials);
		return NULL;
	}
	return ials;
}

void ials_close(struct ials *ials)
{
	if (!ials)
		return;
	ials_solver_release(&ials->solver);
	interactions_release(&ials->by_item);
	mem_free(ials);
}

int ials_sweep(struct ials *ials, float *user_rows, float *item_rows, double *objective, struct error *error)
{
	struct ials_half users = {.what = "user", .history = ials->by_user, .fixed = item_rows,
	                          .fixed_count = ials->by_user->items, .solved = user_rows};
	struct ials_half items = {.what = "item", .history = &ials->by_item, .fixed = user_rows,
	                          .fixed_count = ials->by_user->users, .solved = item_rows};
	if (ials_solve(&ials->solver, &users, error) < 0 || ials_solve(&ials->solver, &items, error) < 0)
		return -1;
	*objective = items.objective + users.penalty;
	return 0;
}

int ials_train(const struct interactions *train, const struct ials_options *options, float *user_rows,
               float *item_rows, ials_after_sweep *after, void *context, struct error *error)
{
	struct ials *ials = ials_open(train, options, error);
	int result = ials ? 0 : -1;
	if (ials)
		ials_first_values(options, train->users, train->items, user_rows, item_rows);
	for (size_t sweep = 1; result == 0 && sweep <= options->sweeps; sweep++) {
		double objective;
		result = ials_sweep(ials, user_rows, item_rows, &objective, error);
		if (result == 0 && after)
			result = after(context, sweep, objective, error);
	}
	ials_close(ials);
	return result < 0 ? -1 : 0;
}

int ials_fold_in(const float *item_rows, uint32_t items, const struct ials_options *options,
                 const struct interactions *history, float *user_rows, struct error *error)
{
	if (check_options(options, error) < 0)
		return -1;
	if (history->items > items)
		return error_set(error, CODE_DATA, "histories know %u items, expected the model's %u or fewer",
		                 history->items, items);
	struct ials_solver solver;
	struct ials_half users = {.what = "user", .history = history, .fixed = item_rows, .fixed_count = items,
	                          .solved = user_rows};
	int result = ials_solver_init(&solver, options, history->users > items ? history->users : items, error);
	if (result == 0)
		result = ials_solve(&solver, &users, error);
	ials_solver_release(&solver);
	return result;
}
