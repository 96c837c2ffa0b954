/* safetensors: an 8-byte length, a JSON header padded with spaces, then the tensors one behind the other.
 *
 * Tensors are the unpadded rows of each matrix, F32, in the order of their names' sets: parameters, then
 * (in checkpoints) the two moments, the average and the best epoch. The digest in the metadata is XXH3-128 over all
 * tensor bytes; another one covers the metadata itself. Rows are hashed and written from where they lie: no
 * second copy of the tables is made. */
#include <inttypes.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "io.h"
#include "mem.h"
#include "model.h"
#include "model_file_internal.h"

const char *const model_set_prefixes[MODEL_SETS] = {"", "adam.m.", "adam.v.", "average.", "best."};

void model_sets(const struct model_file *file, const struct parameters *sets[MODEL_SETS])
{
	sets[0] = &file->parameters;
	sets[1] = file->is_checkpoint ? &file->moment1 : NULL;
	sets[2] = file->is_checkpoint ? &file->moment2 : NULL;
	sets[3] = file->is_checkpoint && file->has_average ? &file->average : NULL;
	sets[4] = file->is_checkpoint && file->has_best ? &file->best : NULL;
}

static uint64_t tensor_bytes(const struct matrix *matrix)
{
	return (uint64_t)matrix->rows * matrix->columns * sizeof(float);
}

static bool is_vector(const struct matrix *matrix)
{
	const char *dot = strrchr(matrix->name, '.');
	return dot && strcmp(dot, ".bias") == 0;
}

static void digest_text(XXH128_hash_t hash, char text[MODEL_DIGEST_SIZE])
{
	snprintf(text, MODEL_DIGEST_SIZE, "%016" PRIx64 "%016" PRIx64, (uint64_t)hash.high64, (uint64_t)hash.low64);
}

int model_for_each_row(const struct model_file *file,
                       int (*visit)(void *context, float *row, size_t columns, struct error *error), void *context,
                       struct error *error)
{
	const struct parameters *sets[MODEL_SETS];
	model_sets(file, sets);
	for (size_t s = 0; s < MODEL_SETS; s++)
		for (size_t m = 0; sets[s] && m < sets[s]->count; m++) {
			const struct matrix *matrix = &sets[s]->matrices[m];
			for (uint32_t r = 0; r < matrix->rows; r++)
				if (visit(context, matrix->values + r * matrix->stride, matrix->columns, error) < 0)
					return -1;
		}
	return 0;
}

static int digest_row(void *context, float *row, size_t columns, struct error *error)
{
	(void)error;
	XXH3_128bits_update(context, row, columns * sizeof(float));
	return 0;
}

int model_digest(const struct model_file *file, char text[MODEL_DIGEST_SIZE], struct error *error)
{
	XXH3_state_t *state = XXH3_createState();
	if (!state)
		return error_set(error, CODE_SYSTEM, "out of memory for a digest");
	XXH3_128bits_reset(state);
	int result = model_for_each_row(file, digest_row, state, error);
	digest_text(XXH3_128bits_digest(state), text);
	XXH3_freeState(state);
	return result;
}

int model_metadata_digest(const json_t *metadata, char text[MODEL_DIGEST_SIZE], struct error *error)
{
	json_t *rest = json_copy((json_t *)metadata);
	json_object_del(rest, "metadata_digest");
	char *dump = json_dumps(rest, JSON_COMPACT | JSON_SORT_KEYS);
	json_decref(rest);
	if (!dump)
		return error_set(error, CODE_SYSTEM, "out of memory for metadata");
	digest_text(XXH3_128bits(dump, strlen(dump)), text);
	free(dump);
	return 0;
}

/* ---- writing ---- */

static json_t *space_json(const struct id_space *space)
{
	json_t *object = json_pack("{s:I, s:s}", "count", (json_int_t)space->count, "digest", space->digest);
	if (object && space->ancestors && json_array_size(space->ancestors) > 0)
		json_object_set(object, "ancestors", space->ancestors);
	return object;
}

/* safetensors allows only strings in its metadata: objects travel as JSON text. */
static void set_json_text(json_t *metadata, const char *key, json_t *value)
{
	char *text = json_dumps(value, JSON_COMPACT | JSON_SORT_KEYS);
	json_object_set_new(metadata, key, json_string(text ? text : ""));
	free(text);
	json_decref(value);
}

static void put_count(json_t *metadata, const char *key, uint32_t count)
{
	char text[16];
	snprintf(text, sizeof text, "%u", count);
	json_object_set_new(metadata, key, json_string(text));
}

/* A model without "model" is an mlp: such files are as they were before there were others. */
static void put_factors(json_t *metadata, const struct model_shape *shape)
{
	json_object_set_new(metadata, "model", json_string(model_kind_names[shape->kind]));
	put_count(metadata, "factors", shape->factors);
	if (shape->kind == MODEL_HISTORY) {
		put_count(metadata, "features", shape->features);
		put_count(metadata, "user_part", shape->user_part);
	}
}

static json_t *header_metadata(const struct model_file *file, struct error *error)
{
	char layers[256], digest[MODEL_DIGEST_SIZE];
	json_t *metadata = file->metadata ? json_deep_copy(file->metadata) : json_object();
	if (model_digest(file, digest, error) < 0) {
		json_decref(metadata);
		return NULL;
	}
	json_object_set_new(metadata, "format", json_string("recpipe-model"));
	json_object_set_new(metadata, "version", json_string("1"));
	if (model_has_tower(&file->shape)) {
		model_shape_print(&file->shape, layers, sizeof layers);
		json_object_set_new(metadata, "layers", json_string(layers));
	}
	if (model_has_factors(&file->shape))
		put_factors(metadata, &file->shape);
	json_object_set_new(metadata, "digest", json_string(digest));
	set_json_text(metadata, "users", space_json(&file->ids.users));
	set_json_text(metadata, "items", space_json(&file->ids.items));
	if (model_metadata_digest(metadata, digest, error) < 0) {
		json_decref(metadata);
		return NULL;
	}
	json_object_set_new(metadata, "metadata_digest", json_string(digest));
	return metadata;
}

void model_add_tensor(json_t *header, const char *prefix, const struct matrix *matrix, uint64_t *offset)
{
	char name[MODEL_TENSOR_NAME];
	const json_int_t begin = (json_int_t)*offset, end = begin + (json_int_t)tensor_bytes(matrix);
	json_t *shape = is_vector(matrix) ? json_pack("[I]", (json_int_t)matrix->columns)
	                                  : json_pack("[I, I]", (json_int_t)matrix->rows, (json_int_t)matrix->columns);
	snprintf(name, sizeof name, "%s%s", prefix, matrix->name);
	json_object_set_new(header, name, json_pack("{s:s, s:o, s:[I, I]}", "dtype", "F32", "shape", shape,
	                                            "data_offsets", begin, end));
	*offset = (uint64_t)end;
}

static int write_header(const struct model_file *file, struct output *output, struct error *error)
{
	const struct parameters *sets[MODEL_SETS];
	uint64_t offset = 0;
	unsigned char length[8];
	json_t *metadata = header_metadata(file, error);
	if (!metadata)
		return -1;
	json_t *header = json_pack("{s:o}", "__metadata__", metadata);
	model_sets(file, sets);
	for (size_t s = 0; s < MODEL_SETS; s++)
		for (size_t m = 0; sets[s] && m < sets[s]->count; m++)
			model_add_tensor(header, model_set_prefixes[s], &sets[s]->matrices[m], &offset);
	char *text = json_dumps(header, JSON_COMPACT | JSON_SORT_KEYS);
	json_decref(header);
	if (!text)
		return error_set(error, CODE_SYSTEM, "out of memory for the model's header");
	const size_t size = strlen(text), padded = (size + 7) / 8 * 8;
	put_u64(length, padded);
	int result = output_write(output, length, sizeof length, error);
	if (result == 0)
		result = output_print(output, error, "%s%*s", text, (int)(padded - size), "");
	free(text);
	return result;
}

static int write_row(void *context, float *row, size_t columns, struct error *error)
{
	/* x86-64 and every GPU host are little-endian, as the file is. */
	return output_write(context, row, columns * sizeof(float), error);
}

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "tensors are written as they lie in memory");

int model_write_to(const struct model_file *file, struct output *output, struct error *error)
{
	int result = write_header(file, output, error);
	if (result == 0)
		result = model_for_each_row(file, write_row, output, error);
	return result;
}

int model_write(const struct model_file *file, const char *path, struct error *error)
{
	struct output output;
	int result = output_open(&output, path, error);
	if (result == 0)
		result = model_write_to(file, &output, error);
	if (result == 0)
		result = output_commit(&output, error);
	output_release(&output);
	return result;
}

void model_file_release(struct model_file *file)
{
	stream_info_release(&file->ids);
	json_decref(file->metadata);
	parameters_release(&file->parameters);
	parameters_release(&file->moment1);
	parameters_release(&file->moment2);
	parameters_release(&file->average);
	parameters_release(&file->best);
	*file = (struct model_file){0};
}
