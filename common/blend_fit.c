/* Newton's method for the conditional logit of blend.h.
 *
 * With y the vector of a candidate's x_s, then of its x_s x_popularity, all terms are inner products with y and, times the
 * user's activity, with the first half of it. So a list gives the mean and covariance of y under the weights' own
 * probabilities, and the gradient and Hessian of all three kinds of weights follow from them. Lists are cut into a fixed
 * number of shards, each summed in order, and shards are added in order. */
#include <float.h>
#include <math.h>

#include "blend.h"
#include "blend_kernels.h"
#include "maths.h"
#include "mem.h"

enum { SHARDS = 64, KINDS = 3 /* of weights */, STEPS = 50, HALVINGS = 30, ALL_FOLDS = (1 << BLEND_FOLDS) - 1,
       EVERY_LIST = (1 << (BLEND_FOLDS + 1)) - 1 /* those without a fold as well */ };

static const double penalties[BLEND_PENALTIES] = {0.1, 0.3, 1, 3, 10, 30, 100, 300};

struct sums {
	double loss;             /* log likelihood */
	uint64_t lists;
	double *gradient;        /* [weights] */
	double *hessian;         /* [weights][weights], of minus the log likelihood */
};

struct room {                /* a thread's */
	double *rows;            /* [candidates][width] y */
	double *shares;          /* [candidates] probabilities */
	double *mean, *second;   /* [width], [width][width] */
};

struct fitting {
	const struct blend_kernels *kernels;
	struct pool *pool;
	const struct blend *blend;
	struct blend_sample *sample;
	size_t signals, width, weight_count;
	const double *weights;   /* where the sums are made */
	uint32_t folds;          /* a bit each */
	bool loss_alone;
	struct sums shards[SHARDS], total;
	struct room *rooms;
};

/* ---- a list ---- */

/* Scores become probabilities. Returns the log likelihood, of several relevant ones their mean. */
static double to_shares(const struct blend_sample_list *list, double *shares)
{
	double greatest = -DBL_MAX, total = 0, loss = 0;
	for (size_t c = 0; c < list->candidates; c++)
		greatest = shares[c] > greatest ? shares[c] : greatest;
	for (size_t c = 0; c < list->relevant; c++)
		loss += (shares[c] - greatest) / list->relevant;
	for (size_t c = 0; c < list->candidates; c++)
		total += shares[c] = maths_exp(shares[c] - greatest);
	for (size_t c = 0; c < list->candidates; c++)
		shares[c] /= total;
	return loss - maths_log(total);
}

static void add_list(const struct fitting *f, const struct blend_sample_list *list, struct room *room, struct sums *to)
{
	const struct blend_kernels *kernels = f->kernels;
	const size_t S = f->signals, W = f->weight_count, count = list->candidates;
	const double activity = blend_activity(f->blend, list->interactions);
	const float *popular = list->values + f->blend->popularity * count;
	double weights[SIGNALS_MAX];
	for (size_t s = 0; s < S; s++)
		weights[s] = f->weights[s] + activity * f->weights[2 * S + s];
	kernels->find_scores(list->values, popular, count, S, weights, f->weights + S, room->shares);
	to->loss += to_shares(list, room->shares);
	to->lists++;
	if (f->loss_alone)
		return;
	kernels->fill_rows(list->values, popular, count, S, f->width, room->rows);
	kernels->centre_rows(room->rows, room->shares, count, f->width, room->mean);
	kernels->find_products(room->rows, room->shares, count, f->width, room->second);
	for (size_t k = 0; k < W; k++) {
		const size_t of = k < 2 * S ? k : k - 2 * S;
		const double factor = k < 2 * S ? 1 : activity;
		for (size_t c = 0; c < list->relevant; c++) /* rows are centred: relevant less mean */
			to->gradient[k] += factor * room->rows[c * f->width + of] / list->relevant;
		for (size_t l = 0; l < W; l++)
			to->hessian[k * W + l] += factor * (l < 2 * S ? 1 : activity) *
			                          room->second[of * f->width + (l < 2 * S ? l : l - 2 * S)];
	}
}

/* ---- all lists ---- */

static void clear_sums(struct sums *sums, size_t weights)
{
	sums->loss = 0;
	sums->lists = 0;
	memset(sums->gradient, 0, weights * sizeof *sums->gradient);
	memset(sums->hessian, 0, weights * weights * sizeof *sums->hessian);
}

static void sum_shard(void *context, size_t shard, size_t worker)
{
	struct fitting *f = context;
	const size_t end = shard_begin(f->sample->count, SHARDS, shard + 1);
	clear_sums(&f->shards[shard], f->weight_count);
	for (size_t n = shard_begin(f->sample->count, SHARDS, shard); n < end; n++)
		if (f->folds >> f->sample->lists[n].fold & 1)
			add_list(f, &f->sample->lists[n], &f->rooms[worker], &f->shards[shard]);
}

static void sum_lists(struct fitting *f, const double *weights, uint32_t folds, bool loss_alone)
{
	const size_t W = f->weight_count;
	f->weights = weights;
	f->folds = folds;
	f->loss_alone = loss_alone;
	pool_run(f->pool, SHARDS, sum_shard, f);
	clear_sums(&f->total, W);
	for (size_t shard = 0; shard < SHARDS; shard++) {
		const struct sums *from = &f->shards[shard];
		f->total.loss += from->loss;
		f->total.lists += from->lists;
		for (size_t k = 0; k < W; k++)
			f->total.gradient[k] += from->gradient[k];
		for (size_t k = 0; k < W * W; k++)
			f->total.hessian[k] += from->hessian[k];
	}
}

/* ---- Newton ---- */

/* step = hessian^-1 step by Cholesky's factors, in place. The penalty makes it positive definite, unless it is so small
 * that rounding decides: a weight that the ones before it leave nothing to say stays where it is. */
static void solve(double *hessian, double *step, size_t count)
{
	for (size_t k = 0; k < count; k++) {
		double *row = hessian + k * count;
		const double least = 1e-12 * row[k];
		for (size_t l = 0; l <= k; l++) {
			const double *other = hessian + l * count;
			double sum = row[l];
			for (size_t m = 0; m < l; m++)
				sum -= row[m] * other[m];
			row[l] = l < k ? sum / other[l] : sum > least ? sqrt(sum) : INFINITY;
		}
		for (size_t l = 0; l < k; l++)
			step[k] -= row[l] * step[l];
		step[k] /= row[k];
	}
	for (size_t k = count; k-- > 0;) {
		for (size_t l = k + 1; l < count; l++)
			step[k] -= hessian[l * count + k] * step[l];
		step[k] /= hessian[k * count + k];
	}
}

static double penalised(double loss, const double *weights, size_t count, double l2)
{
	double squares = 0;
	for (size_t k = 0; k < count; k++)
		squares += weights[k] * weights[k];
	return loss - l2 / 2 * squares;
}

/* The sums at `weights`; returns what is maximised. */
static double evaluate(struct fitting *f, const double *weights, uint32_t folds, double l2)
{
	sum_lists(f, weights, folds, false);
	return penalised(f->total.loss, weights, f->weight_count, l2);
}

/* From `weights` on to the maximum over the folds, until a step gains less than `enough` of the value. `trial` and `step`
 * are room for as many. */
static void climb(struct fitting *f, double *weights, uint32_t folds, double l2, double enough, double *step, double *trial)
{
	const size_t W = f->weight_count;
	double value = evaluate(f, weights, folds, l2);
	for (int n = 0; n < STEPS; n++) {
		for (size_t k = 0; k < W; k++) {
			step[k] = f->total.gradient[k] - l2 * weights[k];
			f->total.hessian[k * W + k] += l2;
		}
		solve(f->total.hessian, step, W);
		double gained = -1, share = 1;
		for (int halving = 0; halving < HALVINGS && !(gained >= 0); halving++, share /= 2) {
			for (size_t k = 0; k < W; k++)
				trial[k] = weights[k] + share * step[k];
			gained = evaluate(f, trial, folds, l2) - value;
		}
		if (!(gained >= 0))
			return;
		memcpy(weights, trial, W * sizeof *weights);
		value += gained;
		if (gained <= enough * fabs(value))
			return;
	}
}

/* Cross-validation goes over so many lists: beyond, they say nothing new about the penalty. */
enum { VALIDATED_LISTS = 2000 };

/* Puts the others into no fold. Folds come from the users' hashes, so these are a random choice. */
static void thin_folds(const struct fitting *f)
{
	const double share = (double)VALIDATED_LISTS / (double)f->sample->count;
	for (size_t n = 0; n < f->sample->count; n++) {
		struct blend_sample_list *list = &f->sample->lists[n];
		list->fold = (double)list->lot < share * (double)UINT32_MAX ? list->fold : BLEND_FOLDS;
	}
}

/* The penalty under which lists that were left out are likeliest; of equal ones the largest. */
static double choose_penalty(struct fitting *f, double *weights, double *step, double *trial,
                             struct blend_fit_report *report)
{
	double held_out[BLEND_PENALTIES] = {0};
	uint64_t lists = 0;
	size_t best = 0;
	thin_folds(f);
	for (uint32_t fold = 0; fold < BLEND_FOLDS; fold++) {
		memset(weights, 0, f->weight_count * sizeof *weights);
		for (size_t p = BLEND_PENALTIES; p-- > 0;) { /* the smoothest first: each begins where the last one ended */
			climb(f, weights, ALL_FOLDS & ~(1u << fold), penalties[p], 1e-6, step, trial);
			sum_lists(f, weights, 1u << fold, true);
			held_out[p] += f->total.loss;
		}
		lists += f->total.lists;
	}
	report->tried = lists > 0 ? BLEND_PENALTIES : 0; /* none where many lists are all of a few users without a fold */
	for (size_t p = 0; p < BLEND_PENALTIES; p++) {
		report->penalties[p] = penalties[p];
		report->held_out[p] = lists > 0 ? held_out[p] / (double)lists : 0;
		if (held_out[p] >= held_out[best])
			best = p;
	}
	memset(weights, 0, f->weight_count * sizeof *weights);
	return penalties[best];
}

/* ---- the fit ---- */

static int sums_init(struct sums *sums, size_t weights, struct error *error)
{
	sums->gradient = mem_alloc(weights, sizeof *sums->gradient, error);
	sums->hessian = mem_alloc(weights * weights, sizeof *sums->hessian, error);
	return sums->gradient && sums->hessian ? 0 : -1;
}

static int fitting_init(struct fitting *f, struct error *error)
{
	const size_t threads = pool_threads(f->pool);
	size_t most = 0;
	for (size_t n = 0; n < f->sample->count; n++)
		most = f->sample->lists[n].candidates > most ? f->sample->lists[n].candidates : most;
	f->rooms = mem_alloc_zero(threads, sizeof *f->rooms, error);
	if (!f->rooms || sums_init(&f->total, f->weight_count, error) < 0)
		return -1;
	for (size_t shard = 0; shard < SHARDS; shard++)
		if (sums_init(&f->shards[shard], f->weight_count, error) < 0)
			return -1;
	for (size_t t = 0; t < threads; t++) {
		struct room *room = &f->rooms[t];
		room->rows = mem_alloc_zero(most * f->width, sizeof *room->rows, error);
		room->shares = mem_alloc(most, sizeof *room->shares, error);
		room->mean = mem_alloc(f->width, sizeof *room->mean, error);
		room->second = mem_alloc(f->width * f->width, sizeof *room->second, error);
		if (!room->rows || !room->shares || !room->mean || !room->second)
			return -1;
	}
	return 0;
}

static void fitting_release(struct fitting *f)
{
	for (size_t t = 0; f->rooms && t < pool_threads(f->pool); t++) {
		mem_free(f->rooms[t].rows);
		mem_free(f->rooms[t].shares);
		mem_free(f->rooms[t].mean);
		mem_free(f->rooms[t].second);
	}
	mem_free(f->rooms);
	for (size_t shard = 0; shard <= SHARDS; shard++) {
		const struct sums *sums = shard < SHARDS ? &f->shards[shard] : &f->total;
		mem_free(sums->gradient);
		mem_free(sums->hessian);
	}
}

static void report_fit(struct fitting *f, const double *weights, double l2, struct blend_fit_report *report)
{
	const double none[KINDS * SIGNALS_MAX] = {0};
	report->l2 = l2;
	report->lists = f->sample->count;
	report->candidates = 0;
	for (size_t n = 0; n < f->sample->count; n++)
		report->candidates += f->sample->lists[n].candidates;
	sum_lists(f, weights, EVERY_LIST, true);
	report->log_likelihood = f->total.loss / (double)f->sample->count;
	sum_lists(f, none, EVERY_LIST, true);
	report->uniform = f->total.loss / (double)f->sample->count;
}

extern const struct blend_kernels blend_kernels_avx512, blend_kernels_avx2, blend_kernels_portable;

int blend_fit(struct blend *blend, struct blend_sample *sample, const struct blend_fit_options *options,
              struct pool *pool, struct error *error)
{
	static const struct blend_kernels *const all[ISA_COUNT] = {
		[ISA_AVX512] = &blend_kernels_avx512, [ISA_AVX2] = &blend_kernels_avx2, [ISA_PORTABLE] = &blend_kernels_portable,
	};
	const size_t S = blend->count;
	struct fitting f = {.kernels = all[options->isa], .pool = pool, .blend = blend, .sample = sample, .signals = S,
	                    .width = (2 * S + BLEND_PAD - 1) / BLEND_PAD * BLEND_PAD, .weight_count = KINDS * S};
	double weights[KINDS * SIGNALS_MAX] = {0}, step[KINDS * SIGNALS_MAX] = {0}, trial[KINDS * SIGNALS_MAX] = {0};
	if (sample->count == 0)
		return error_set(error, CODE_DATA, "no list has a relevant item among others, expected candidates with the "
		                 "truth marked (sample-neg --candidates)");
	blend_sample_transform(sample, blend);
	const int result = fitting_init(&f, error);
	if (result == 0) {
		const double l2 = options->l2 > 0 ? options->l2 : choose_penalty(&f, weights, step, trial, &blend->report);
		climb(&f, weights, EVERY_LIST, l2, 1e-10, step, trial);
		report_fit(&f, weights, l2, &blend->report);
	}
	for (size_t s = 0; result == 0 && s < S; s++) {
		blend->signals[s].weight = weights[s];
		blend->signals[s].by_popularity = weights[S + s];
		blend->signals[s].by_activity = weights[2 * S + s];
	}
	fitting_release(&f);
	return result;
}
