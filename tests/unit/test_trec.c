/* The measures against NIST's trec_eval, figure by figure, to the four digits that it prints.
 *
 * tests/golden/trec holds a run of 300 users without tied scores, its truth, and trec_eval's output for them.
 * The run and the truth go through the same functions as lists do in metrics. */
#include "check.h"
#include "measures.h"
#include "mem.h"

enum { USERS_MAX = 400, LIST_MAX = 256, LINE_LENGTH = 256, WHOLE_LIST = 1000000 };

struct user {
	char name[16];
	uint32_t truth[64];
	size_t truths;
	uint32_t items[LIST_MAX], popularity[LIST_MAX];
	float scores[LIST_MAX];
	uint8_t relevant[LIST_MAX];
	uint32_t count;
};

static struct user users[USERS_MAX];
static size_t user_count;

/* trec_eval's names for ours; its recip_rank and map look at the whole list. */
static const struct {
	const char *theirs, *ours;
	uint32_t cutoff;
} names[] = {
	{"map", "MAP", WHOLE_LIST},       {"recip_rank", "MRR", WHOLE_LIST}, {"P_5", "precision", 5},
	{"P_10", "precision", 10},        {"recall_5", "recall", 5},         {"recall_10", "recall", 10},
	{"recall_20", "recall", 20},      {"ndcg_cut_5", "NDCG", 5},         {"ndcg_cut_10", "NDCG", 10},
	{"ndcg_cut_20", "NDCG", 20},      {"map_cut_10", "MAP", 10},         {"success_1", "HR", 1},
	{"success_5", "HR", 5},           {"success_10", "HR", 10},
};

static struct user *user_named(const char *name)
{
	for (size_t u = 0; u < user_count; u++)
		if (strcmp(users[u].name, name) == 0)
			return &users[u];
	if (user_count == USERS_MAX)
		abort();
	snprintf(users[user_count].name, sizeof users[0].name, "%s", name);
	return &users[user_count++];
}

static FILE *open_golden(const char *name)
{
	char path[1024];
	const char *folder = getenv("GOLDEN");
	snprintf(path, sizeof path, "%s/trec/%s", folder ? folder : "tests/golden", name);
	FILE *file = fopen(path, "r");
	if (!file)
		printf("# cannot open %s\n", path);
	return file;
}

static bool read_golden(void)
{
	char line[LINE_LENGTH], name[16];
	unsigned item;
	double score;
	FILE *qrels = open_golden("qrels.txt"), *run = open_golden("run.txt");
	if (!qrels || !run)
		return false;
	while (fgets(line, sizeof line, qrels))
		if (sscanf(line, "%15s 0 %u 1", name, &item) == 2) {
			struct user *user = user_named(name);
			user->truth[user->truths++] = item;
		}
	while (fgets(line, sizeof line, run))
		if (sscanf(line, "%15s Q0 %u %*d %lf", name, &item, &score) == 3) {
			struct user *user = user_named(name);
			user->items[user->count] = item;
			user->scores[user->count++] = (float)score;
		}
	fclose(qrels);
	fclose(run);
	return user_count > 0;
}

static double our_value(struct user *user, const char *measure, uint32_t cutoff)
{
	uint32_t ranks[LIST_MAX], scratch[LIST_MAX];
	struct error error = {0};
	struct user_ranking ranking;
	struct list list = {.count = user->count, .relevant_total = (uint32_t)user->truths, .items = user->items,
	                    .scores = user->scores, .popularity = user->popularity, .relevant = user->relevant};
	for (uint32_t i = 0; i < user->count; i++) {
		user->relevant[i] = 0;
		for (size_t t = 0; t < user->truths; t++)
			user->relevant[i] |= user->truth[t] == user->items[i];
	}
	CHECK_OK(user_ranking_make(&list, ranks, scratch, &ranking, &error), &error);
	return measure_find(measure)->value(&ranking, cutoff);
}

static double our_mean(const char *measure, uint32_t cutoff)
{
	double sum = 0;
	size_t count = 0;
	for (size_t u = 0; u < user_count; u++) {
		if (users[u].truths == 0 || users[u].count == 0)
			continue;
		sum += our_value(&users[u], measure, cutoff);
		count++;
	}
	return sum / (double)count;
}

static void test_every_figure_of_trec_eval(void)
{
	char line[LINE_LENGTH], measure[32], name[16];
	double value;
	size_t compared = 0;
	FILE *theirs = open_golden("trec_eval.out");
	CHECK(theirs != NULL && read_golden());
	if (!theirs || user_count == 0)
		return;
	while (fgets(line, sizeof line, theirs)) {
		if (sscanf(line, "%31s %15s %lf", measure, name, &value) != 3)
			continue;
		for (size_t n = 0; n < COUNT_OF(names); n++) {
			if (strcmp(names[n].theirs, measure) != 0)
				continue;
			double ours = strcmp(name, "all") == 0
			                      ? our_mean(names[n].ours, names[n].cutoff)
			                      : our_value(user_named(name), names[n].ours, names[n].cutoff);
			CHECK_CLOSE(ours, value, 0.5000001e-4);
			compared++;
		}
	}
	fclose(theirs);
	printf("# %zu figures compared\n", compared);
	CHECK(compared >= 300 * COUNT_OF(names));
}

int main(void)
{
	RUN(test_every_figure_of_trec_eval);
	return check_done();
}
