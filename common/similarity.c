/* Weights as compressed rows in memory, and the scores of a history. It owns the rows and promises ascending
 * neighbours in each, and sums that do not depend on how a row is stored: every score is one chain of additions
 * in the order of the history, whether a row holds all items (and is added as it lies) or few. */
#include "similarity.h"

#include "mem.h"
#include "similarity_kernels.h"

extern const struct similarity_kernels similarity_kernels_avx512, similarity_kernels_avx2, similarity_kernels_portable;

void similarity_use(struct similarity *similarity, enum isa isa)
{
	static const struct similarity_kernels *const all[ISA_COUNT] = {
		[ISA_AVX512] = &similarity_kernels_avx512,
		[ISA_AVX2] = &similarity_kernels_avx2,
		[ISA_PORTABLE] = &similarity_kernels_portable,
	};
	similarity->kernels = all[isa];
}

/* Appends a part; the rooms are the arrays' capacities. */
static int add_part(struct similarity *similarity, const struct similarity_part *part, size_t *neighbours_room,
                    size_t *weights_room, struct error *error)
{
	const size_t have = (size_t)similarity->count, need = have + part->count;
	if (mem_grow((void **)&similarity->neighbours, neighbours_room, need, sizeof *similarity->neighbours, error) < 0 ||
	    mem_grow((void **)&similarity->weights, weights_room, need, sizeof *similarity->weights, error) < 0)
		return -1;
	memcpy(similarity->neighbours + have, part->neighbours, part->count * sizeof *part->neighbours);
	memcpy(similarity->weights + have, part->weights, part->count * sizeof *part->weights);
	similarity->offsets[(size_t)part->item + 1] += part->count;
	similarity->count = need;
	return 0;
}

static int read_rows(struct similarity *similarity, struct stream_reader *reader, const struct stream_info *info,
                     struct error *error)
{
	struct similarity_part part = {0};
	size_t neighbours_room = 0, weights_room = 0;
	int more;
	similarity->items = info->items.count;
	similarity->offsets = mem_alloc_zero((size_t)similarity->items + 1, sizeof *similarity->offsets, error);
	if (!similarity->offsets)
		return -1;
	while ((more = similarity_part_read(reader, info, &part, error)) > 0)
		if (add_part(similarity, &part, &neighbours_room, &weights_room, error) < 0) {
			more = -1;
			break;
		}
	similarity_part_release(&part);
	for (size_t j = 0; j < similarity->items; j++)
		similarity->offsets[j + 1] += similarity->offsets[j];
	return more;
}

int similarity_read(struct similarity *similarity, const char *path, struct stream_info *info, struct error *error)
{
	struct stream_reader reader = {0};
	*similarity = (struct similarity){0};
	*info = (struct stream_info){0};
	enum isa isa;
	int result = isa_find("auto", &isa, error);
	if (result == 0)
		result = stream_reader_open(&reader, path, STREAM_SIMILARITY, error);
	if (result == 0)
		result = records_info(&reader, info, error);
	if (result == 0)
		result = read_rows(similarity, &reader, info, error);
	stream_reader_release(&reader);
	if (result == 0) {
		similarity_use(similarity, isa);
	} else {
		similarity_release(similarity);
		stream_info_release(info);
	}
	return result;
}

void similarity_release(struct similarity *similarity)
{
	mem_free(similarity->offsets);
	mem_free(similarity->neighbours);
	mem_free(similarity->weights);
	*similarity = (struct similarity){0};
}

/* True when the row holds every item but its own: neighbours ascend and never are `item`, so counting will do. */
static bool is_full(const struct similarity *similarity, size_t count)
{
	return count + 1 == similarity->items;
}

/* scores += factor * row `item`. */
static void add_row(const struct similarity *similarity, size_t item, float factor, float *scores)
{
	const uint64_t begin = similarity->offsets[item];
	const size_t length = (size_t)(similarity->offsets[item + 1] - begin);
	const float *weights = similarity->weights + begin;
	const uint32_t *neighbours = similarity->neighbours + begin;
	if (is_full(similarity, length)) {
		similarity->kernels->add(scores, weights, factor, item);
		similarity->kernels->add(scores + item + 1, weights + item, factor, length - item);
		return;
	}
	for (size_t k = 0; k < length; k++)
		scores[neighbours[k]] += factor * weights[k];
}

void similarity_scores_weighted(const struct similarity *similarity, const uint32_t *history,
                                const float *history_weights, size_t count, float *scores)
{
	memset(scores, 0, similarity->items * sizeof *scores);
	for (size_t h = 0; h < count && history[h] < similarity->items; h++)
		add_row(similarity, history[h], history_weights ? history_weights[h] : 1, scores);
}

void similarity_scores(const struct similarity *similarity, const uint32_t *history, size_t count, float *scores)
{
	similarity_scores_weighted(similarity, history, NULL, count, scores);
}
