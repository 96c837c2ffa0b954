/* How a set of items is spread over groups (genres, levels of popularity), and how far two such mixes are apart.
 *
 * Groups are bits of a 64-bit mask. An item counts 1 in all, in equal parts for each of its groups; one without
 * groups counts nothing. */
#ifndef RECPIPE_MIX_H
#define RECPIPE_MIX_H

#include "compat.h"

enum { MIX_GROUPS = 64 };

struct mix {
	double amounts[MIX_GROUPS];
	double total;            /* items that have groups */
};

void mix_add(struct mix *mix, uint64_t groups);

/* Kullback-Leibler divergence of `wanted` from `got`, in nats, with got' = (1 - alpha) got + alpha wanted in the
 * place of `got`, so that a group that is missing does not make it infinite (Steck, "Calibrated recommendations",
 * RecSys 2018, equations 1 and 2). 0 when nothing is wanted; at most -log(alpha), reached where nothing fits. */
double mix_divergence(const struct mix *wanted, const struct mix *got, double alpha);

/* The same for `got` with one more item, of each of `count` sets of groups in turn: divergences[i] is that with an item
 * of groups[i]. A logarithm a group, where one after the other would take one for every group wanted. */
void mix_divergences_with(const struct mix *wanted, const struct mix *got, double alpha, const uint64_t *groups,
                          size_t count, double *divergences);

/* Jensen-Shannon divergence, in nats, from 0 to log 2 (Lin 1991). A mix of no items counts as nothing in every
 * group: against it half the log 2 remain. 0 when nothing is wanted. */
double mix_distance(const struct mix *wanted, const struct mix *got);

#endif
