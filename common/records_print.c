/* See records_print.h. Every record goes through the reader of its kind, so what is printed has been checked. */
#include "records_print.h"

#include <inttypes.h>

#include "mem.h"

int record_source_prepare(struct record_source *source, struct error *error)
{
	if (source->reader.kind == STREAM_IDS)
		return 0;
	if (records_info(&source->reader, &source->info, error) < 0)
		return -1;
	if (source->reader.kind != STREAM_SAMPLES)
		return 0;
	if (sample_shape_read(&source->reader, &source->shape, error) < 0)
		return -1;
	source->sample = mem_alloc((size_t)source->shape.ratio + 1, sizeof *source->sample, error);
	return source->sample ? 0 : -1;
}

void record_source_release(struct record_source *source)
{
	stream_reader_release(&source->reader);
	stream_info_release(&source->info);
	list_release(&source->list);
	similarity_part_release(&source->part);
	mem_free(source->sample);
}

static int interaction_print(struct record_source *source, struct output *output, struct error *error)
{
	struct interaction one;
	int result = interaction_read(&source->reader, &source->info, &one, error);
	if (result <= 0 || !output)
		return result;
	return output_print(output, error, "%u\t%u\t%.9g\t%" PRId64 "\n", one.user, one.item, (double)one.rating,
	                    one.time) < 0 ? -1 : 1;
}

static int sample_columns(const struct record_source *source, struct output *output, struct error *error)
{
	int result = output_print(output, error, "user\tpositive");
	for (uint32_t i = 0; result == 0 && i < source->shape.ratio; i++)
		result = output_print(output, error, "\tnegative_%u", i + 1);
	return result == 0 ? output_print(output, error, "\n") : -1;
}

static int sample_print(struct record_source *source, struct output *output, struct error *error)
{
	uint32_t user;
	int result = sample_read(&source->reader, &source->info, source->shape.ratio, &user, source->sample, error);
	if (result <= 0 || !output)
		return result;
	if (output_print(output, error, "%u", user) < 0)
		return -1;
	for (uint32_t i = 0; i <= source->shape.ratio; i++) {
		const uint32_t item = source->sample[i];
		int wrote = item == (uint32_t)NO_ITEM ? output_print(output, error, "\t-")
		                                      : output_print(output, error, "\t%u", item);
		if (wrote < 0)
			return -1;
	}
	return output_print(output, error, "\n") < 0 ? -1 : 1;
}

static int list_print(struct record_source *source, struct output *output, struct error *error)
{
	const struct list *list = &source->list;
	int result = list_read(&source->reader, &source->info, &source->list, error);
	for (uint32_t i = 0; result > 0 && output && i < list->count; i++)
		if (output_print(output, error, "%u\t%u\t%u\t%.9g\t%u\t%u\t%u\n", list->user, i + 1, list->items[i],
		                 (double)list->scores[i], list->popularity[i], list->relevant[i],
		                 list->relevant_total) < 0)
			result = -1;
	return result;
}

static int similarity_print(struct record_source *source, struct output *output, struct error *error)
{
	const struct similarity_part *part = &source->part;
	int result = similarity_part_read(&source->reader, &source->info, &source->part, error);
	for (uint32_t i = 0; result > 0 && output && i < part->count; i++)
		if (output_print(output, error, "%u\t%u\t%.9g\n", part->item, part->neighbours[i],
		                 (double)part->weights[i]) < 0)
			result = -1;
	return result;
}

/* Keeps a string on its line and in its column. */
static int print_escaped(struct output *output, const unsigned char *text, size_t length, struct error *error)
{
	static const char *const names[] = {['\t'] = "\\t", ['\n'] = "\\n", ['\r'] = "\\r", ['\\'] = "\\\\"};
	int result = 0;
	for (size_t i = 0; result == 0 && i < length; i++) {
		if (text[i] < COUNT_OF(names) && names[text[i]])
			result = output_print(output, error, "%s", names[text[i]]);
		else if (text[i] < ' ' || text[i] == 0x7f)
			result = output_print(output, error, "\\x%02x", text[i]);
		else
			result = output_write(output, text + i, 1, error);
	}
	return result;
}

static int id_print(struct record_source *source, struct output *output, struct error *error)
{
	struct stream_reader *reader = &source->reader;
	int result = stream_next(reader, error);
	if (result <= 0)
		return result;
	const uint64_t id = reader->records - reader->block_records + reader->taken - 1;
	const unsigned char *bytes = stream_take(reader, 4, error);
	if (!bytes)
		return -1;
	const uint32_t length = get_u32(bytes);
	bytes = stream_take(reader, length, error);
	if (!bytes || !output)
		return bytes ? 1 : -1;
	if (output_print(output, error, "%" PRIu64 "\t", id) < 0 || print_escaped(output, bytes, length, error) < 0)
		return -1;
	return output_print(output, error, "\n") < 0 ? -1 : 1;
}

static const struct {
	int (*print)(struct record_source *source, struct output *output, struct error *error);
	const char *columns; /* NULL: sample_columns */
} kinds[] = {
	[STREAM_INTERACTIONS] = {interaction_print, "user\titem\trating\ttime\n"},
	[STREAM_SAMPLES] = {sample_print, NULL},
	[STREAM_LISTS] = {list_print, "user\trank\titem\tscore\tpopularity\trelevant\trelevant_total\n"},
	[STREAM_IDS] = {id_print, "id\tstring\n"},
	[STREAM_SIMILARITY] = {similarity_print, "item\tneighbour\tweight\n"},
};

int record_source_columns(const struct record_source *source, struct output *output, struct error *error)
{
	const char *columns = kinds[source->reader.kind].columns;
	return columns ? output_print(output, error, "%s", columns) : sample_columns(source, output, error);
}

int record_source_print(struct record_source *source, struct output *output, struct error *error)
{
	return kinds[source->reader.kind].print(source, output, error);
}
