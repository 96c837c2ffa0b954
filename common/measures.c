/* The table of measures. Each sees only the ranks of a user's relevant items (measures.h tells how ties
 * are resolved against them), so no measure can be flattered by an order. Formulas with binary gains. */
#include "measures.h"

#include <strings.h>

#include "maths.h"

static uint32_t hits_within(const struct user_ranking *ranking, uint32_t cutoff)
{
	uint32_t hits = 0;
	while (hits < ranking->relevant_found && ranking->ranks[hits] <= cutoff)
		hits++;
	return hits;
}

static double hit_rate(const struct user_ranking *ranking, uint32_t cutoff)
{
	return hits_within(ranking, cutoff) > 0 ? 1.0 : 0.0;
}

static double discount(uint32_t rank)
{
	return 1.0 / maths_log2((double)rank + 1.0);
}

static double ndcg(const struct user_ranking *ranking, uint32_t cutoff)
{
	double gained = 0.0, ideal = 0.0;
	uint32_t hits = hits_within(ranking, cutoff);
	uint32_t best = ranking->relevant_total < cutoff ? ranking->relevant_total : cutoff;
	for (uint32_t h = 0; h < hits; h++)
		gained += discount(ranking->ranks[h]);
	for (uint32_t rank = 1; rank <= best; rank++)
		ideal += discount(rank);
	return ideal > 0 ? gained / ideal : 0.0;
}

static double reciprocal_rank(const struct user_ranking *ranking, uint32_t cutoff)
{
	return hits_within(ranking, cutoff) > 0 ? 1.0 / ranking->ranks[0] : 0.0;
}

static double average_precision(const struct user_ranking *ranking, uint32_t cutoff)
{
	double sum = 0.0;
	uint32_t hits = hits_within(ranking, cutoff);
	for (uint32_t h = 0; h < hits; h++)
		sum += (double)(h + 1) / ranking->ranks[h];
	return ranking->relevant_total > 0 ? sum / ranking->relevant_total : 0.0;
}

static double precision(const struct user_ranking *ranking, uint32_t cutoff)
{
	return (double)hits_within(ranking, cutoff) / cutoff;
}

static double recall(const struct user_ranking *ranking, uint32_t cutoff)
{
	return ranking->relevant_total > 0 ? (double)hits_within(ranking, cutoff) / ranking->relevant_total : 0.0;
}

/* The share of (relevant, irrelevant) pairs of the list in the right order. The i-th relevant item (from 0)
 * of rank r has r - 1 - i irrelevant ones ahead. Relevant items that the list lost count as wrong. */
static double area_under_curve(const struct user_ranking *ranking, uint32_t cutoff)
{
	const double irrelevant = (double)ranking->candidates - ranking->relevant_found;
	double right = 0.0;
	(void)cutoff;
	if (irrelevant <= 0 || ranking->relevant_total == 0)
		return 0.0;
	for (uint32_t i = 0; i < ranking->relevant_found; i++)
		right += irrelevant - ((double)ranking->ranks[i] - 1.0 - i);
	return right / (irrelevant * ranking->relevant_total);
}

/* ---- one relevant item, whose rank may be a fraction ---- */

static double hit_at(double rank, uint32_t cutoff)
{
	return rank <= cutoff ? 1.0 : 0.0;
}

static double ndcg_at(double rank, uint32_t cutoff)
{
	return rank <= cutoff ? 1.0 / maths_log2(rank + 1.0) : 0.0;
}

static double inverse_at(double rank, uint32_t cutoff)
{
	return rank <= cutoff ? 1.0 / rank : 0.0;
}

static double precision_at(double rank, uint32_t cutoff)
{
	return hit_at(rank, cutoff) / cutoff;
}

const struct measure measures[] = {
	{"HR", true, hit_rate, hit_at, "1 when a relevant item is among the first k (He et al. 2017; trec_eval success_k)"},
	{"NDCG", true, ndcg, ndcg_at,
	 "sum of 1/log2(rank + 1) over relevant items among the first k, over the best possible sum "
	 "(Jarvelin & Kekalainen 2002; trec_eval ndcg_cut_k)"},
	{"MRR", true, reciprocal_rank, inverse_at,
	 "1/rank of the first relevant item among the first k, else 0 (Voorhees 1999; trec_eval recip_rank, cut)"},
	{"MAP", true, average_precision, inverse_at,
	 "mean over the user's relevant items of the precision at each one's rank, 0 beyond k "
	 "(trec_eval map_cut_k)"},
	{"precision", true, precision, precision_at, "relevant items among the first k, over k (trec_eval P_k)"},
	{"recall", true, recall, hit_at, "relevant items among the first k, over all of the user's (trec_eval recall_k)"},
	{"AUC", false, area_under_curve, NULL,
	 "share of (relevant, irrelevant) pairs of the list in the right order, ties wrong (Rendle et al. 2009)"},
};
const size_t measure_count = COUNT_OF(measures);

const struct measure *measure_find(const char *name)
{
	for (size_t m = 0; m < measure_count; m++)
		if (strcasecmp(measures[m].name, name) == 0)
			return &measures[m];
	return NULL;
}
