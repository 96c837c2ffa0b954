/* Cutting ratings into train, validation and test, without leaking one into another: doubled pairs, k-core and
 * minimum counts first, then the cut. Users are worked on by a pool of threads; the parts do not depend on it. */
#ifndef RECPIPE_SPLIT_H
#define RECPIPE_SPLIT_H

#include "compat.h"
#include "error.h"
#include "parallel.h"
#include "ratings.h"

enum duplicates { DUPLICATES_LAST, DUPLICATES_FIRST, DUPLICATES_ERROR };

enum split_kind {
	SPLIT_LAST,   /* each user's last rating in time is the test, the one before it the validation */
	SPLIT_RANDOM, /* the same with a random order in place of time */
	SPLIT_RATIO,  /* each user's first share in time trains, the rest tests */
	SPLIT_TIME,   /* everything later than one moment is the test */
	SPLIT_USERS,  /* a share of the users is held out whole */
};

enum ties { TIES_HASH, TIES_ORDER };

struct split_options {
	int kind;                /* enum split_kind */
	bool valid;              /* cut a validation part off the training part in the same way */
	double ratio;            /* SPLIT_RATIO: share that trains */
	double test_share;       /* SPLIT_TIME, SPLIT_USERS: share that tests */
	bool has_cut;
	int64_t cut;             /* SPLIT_TIME: ratings later than this test */
	int ties;                /* enum ties: equal times go by a keyed hash of the ids' texts, or by file order */
	uint64_t seed;
};

struct split_counts {
	uint64_t doubled;        /* repeated pairs dropped */
	uint64_t filtered;       /* dropped by minimum counts and the k-core */
	uint64_t parts[PARTS];
	uint32_t users, items;   /* that have a rating left */
	uint32_t without_test;   /* users too short for a test item (last, random, ratio) */
	uint32_t without_valid;  /* the same for the validation, where one is wanted */
	int64_t cut, valid_cut;  /* SPLIT_TIME: the moments that test and validation are later than */
};

/* Rows of each user together, in file order: order[starts[u] .. starts[u + 1]), dropped ones too. */
struct user_rows {
	uint32_t *starts;        /* users + 2, of which the last is scratch */
	uint32_t *order;         /* 4 bytes a row; NULL: rows lie together in the file already */
};

struct splitter {
	struct ratings *ratings; /* the caller's; their `part` is what is made */
	struct pool *pool;
	struct user_rows rows;
	struct split_counts counts;
};

/* Finds each user's rows. `threads` as pool_new takes them. */
MUST_CHECK int splitter_init(struct splitter *splitter, struct ratings *ratings, size_t threads, struct error *error);
void splitter_release(struct splitter *splitter); /* a zeroed one is fine */

/* Drops repeated (user, item) pairs: all but the last in time (then file order), or the first. */
MUST_CHECK int split_drop_duplicates(struct splitter *splitter, int policy, struct error *error);

/* Drops items with fewer than `least_item` ratings, then users with fewer than `least_user`; then, while any is
 * left with fewer than `core`, users and items alike. */
MUST_CHECK int split_filter(struct splitter *splitter, uint32_t least_user, uint32_t least_item, uint32_t core,
                            struct error *error);

/* Sets the part of every rating that is left, and counts. */
MUST_CHECK int split_cut(struct splitter *splitter, const struct split_options *options, struct error *error);

#endif
