/* See evaluation_groups.h. */
#include "evaluation_groups.h"

#include "mem.h"

const char *const user_key_names[USER_KEYS + 1] = {"activity", "popularity", NULL};
const char *const user_key_meanings[USER_KEYS] = {"known interactions of the user", "popularity of the truth"};

static int compare_doubles(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

/* Group g ends with the key at its quantile, whatever users share that key. */
static void cut(struct user_groups *groups, const double *sorted, size_t users, size_t wanted)
{
	size_t begin = 0;
	for (size_t g = 0; g < wanted && begin < users; g++) {
		size_t end = users * (g + 1) / wanted;
		if (end <= begin)
			continue;
		while (end < users && sorted[end] == sorted[end - 1])
			end++;
		groups->groups[groups->count++] = (struct user_group){sorted[begin], sorted[end - 1], end - begin};
		begin = end;
	}
}

int user_groups_make(struct user_groups *groups, const struct evaluation *e, enum user_key key, size_t wanted,
                     struct error *error)
{
	const double *keys = e->keys[key];
	*groups = (struct user_groups){0};
	groups->of = mem_alloc(e->count, sizeof *groups->of, error);
	double *sorted = mem_alloc(e->count, sizeof *sorted, error);
	if (!groups->of || !sorted) {
		mem_free(sorted);
		return -1;
	}
	memcpy(sorted, keys, e->count * sizeof *sorted);
	qsort(sorted, e->count, sizeof *sorted, compare_doubles);
	cut(groups, sorted, e->count, wanted);
	for (size_t u = 0; u < e->count; u++)
		for (groups->of[u] = 0; keys[u] > groups->groups[groups->of[u]].to;)
			groups->of[u]++;
	mem_free(sorted);
	return 0;
}

void user_groups_release(struct user_groups *groups)
{
	mem_free(groups->of);
	*groups = (struct user_groups){0};
}

void user_groups_select(const struct user_groups *groups, size_t group, const struct evaluation *e, double *values)
{
	const size_t columns = e->column_count;
	for (size_t u = 0; u < e->count; u++)
		if (groups->of[u] == group) {
			memcpy(values, e->values + u * columns, columns * sizeof *values);
			values += columns;
		}
}
