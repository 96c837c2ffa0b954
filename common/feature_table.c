/* See feature_table.h. */
#include "feature_table.h"

#include <inttypes.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "mem.h"

enum { FIRST_DECADE = 1890, DECADES = 16 };

/* Writes the features of one item, room for GENRES_MAX + 1; returns how many. */
static uint32_t item_features(const struct catalogue *catalogue, uint32_t item, uint32_t *features)
{
	const unsigned year = catalogue->years[item];
	const uint32_t genres = (uint32_t)catalogue->genre_count;
	uint32_t count = 0;
	for (uint32_t g = 0; g < genres; g++)
		if (catalogue->genres[item] >> g & 1)
			features[count++] = g;
	if (year >= FIRST_DECADE && year < FIRST_DECADE + 10 * DECADES)
		features[count++] = genres + (year - FIRST_DECADE) / 10;
	return count;
}

int feature_table_init(struct feature_table *table, const struct catalogue *catalogue, struct error *error)
{
	uint32_t some[GENRES_MAX + 1];
	*table = (struct feature_table){0};
	table->offsets = mem_alloc_zero((size_t)catalogue->items + 1, sizeof *table->offsets, error);
	if (!table->offsets)
		return -1;
	for (uint32_t i = 0; i < catalogue->items; i++)
		table->offsets[i + 1] = table->offsets[i] + item_features(catalogue, i, some);
	table->features = mem_alloc(table->offsets[catalogue->items], sizeof *table->features, error);
	if (!table->features)
		return -1;
	for (uint32_t i = 0; i < catalogue->items; i++) {
		const uint32_t count = item_features(catalogue, i, some);
		memcpy(table->features + table->offsets[i], some, count * sizeof *some);
	}
	table->view = (struct item_features){
		.items = catalogue->items, .count = (uint32_t)catalogue->genre_count + DECADES,
		.offsets = table->offsets, .features = table->features,
	};
	return 0;
}

int feature_table_read(struct feature_table *table, const char *movies, const char *genres, const char *items,
                       uint32_t count, struct error *error)
{
	struct idmap map = {0};
	struct catalogue catalogue = {0};
	int result = idmap_read_as(&map, items, "items", error);
	if (result == 0 && map.count != count)
		result = error_set(error, CODE_DATA, "%s: a map of %u items, the data has %u", items, map.count, count);
	if (result == 0)
		result = catalogue_read(&catalogue, movies, genres, &map, error);
	if (result == 0)
		result = feature_table_init(table, &catalogue, error);
	catalogue_release(&catalogue);
	idmap_release(&map);
	return result;
}

void feature_table_digest(const struct feature_table *table, char text[FEATURE_DIGEST_SIZE])
{
	const struct item_features *view = &table->view;
	XXH3_state_t state;
	XXH3_INITSTATE(&state);
	XXH3_128bits_reset(&state);
	XXH3_128bits_update(&state, &view->count, sizeof view->count);
	XXH3_128bits_update(&state, view->offsets, ((size_t)view->items + 1) * sizeof *view->offsets);
	XXH3_128bits_update(&state, view->features, view->offsets[view->items] * sizeof *view->features);
	XXH128_hash_t hash = XXH3_128bits_digest(&state);
	snprintf(text, FEATURE_DIGEST_SIZE, "%016" PRIx64 "%016" PRIx64, (uint64_t)hash.high64, (uint64_t)hash.low64);
}

void feature_table_release(struct feature_table *table)
{
	mem_free(table->offsets);
	mem_free(table->features);
	*table = (struct feature_table){0};
}

int feature_table_fold(struct model_file *model, const struct item_features *features, struct error *error)
{
	const struct parameters *from = &model->parameters;
	const struct matrix *of = &from->matrices[model_factor_matrix(&model->shape, FACTOR_FEATURES)];
	const size_t items = (size_t)model_factor_matrix(&model->shape, FACTOR_ITEMS);
	struct model_shape shape = model->shape;
	struct parameters folded;
	shape.features = 0;
	if (parameters_init(&folded, &shape, error) < 0)
		return -1;
	for (size_t m = 0; m < folded.count; m++)
		memcpy(folded.matrices[m].values, from->matrices[m].values,
		       (size_t)folded.matrices[m].rows * folded.matrices[m].stride * sizeof(float));
	for (uint32_t n = 0; n < shape.items; n++)
		for (uint32_t f = features->offsets[n]; f < features->offsets[n + 1]; f++)
			for (size_t k = 0; k < of->columns; k++)
				folded.matrices[items].values[n * of->stride + k] +=
					of->values[features->features[f] * of->stride + k];
	parameters_release(&model->parameters);
	model->parameters = folded;
	model->shape = shape;
	return 0;
}
