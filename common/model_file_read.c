/* Reading model files: whatever the bytes are, the answer is a whole model or an error that says what is wrong.
 * The header must say what this program would write, to the letter: names, types, shapes and places follow
 * from "layers" and the counts of users and items. The size of a plain file is compared with that before
 * anything is allocated by it; the digest and the values themselves are checked at the end. */
#include <sys/stat.h>
#include <zlib.h>

#include "io.h"
#include "mem.h"
#include "model.h"
#include "model_file_internal.h"
#include "options.h"

enum { HEADER_MAX = 1 << 24 };

struct reading {
	struct input input;
	const char *path;
	json_t *header;
};

static int malformed(const struct reading *reading, struct error *error, const char *what)
{
	return error_set(error, CODE_DATA, "%s: %s", reading->input.name, what);
}

static int read_exactly(struct reading *reading, void *buffer, size_t size, struct error *error)
{
	for (size_t have = 0; have < size;) {
		ptrdiff_t got = input_read(&reading->input, (char *)buffer + have, size - have, error);
		if (got < 0)
			return -1;
		if (got == 0)
			return malformed(reading, error, "the model file is cut short");
		have += (size_t)got;
	}
	return 0;
}

static int read_header(struct reading *reading, struct error *error)
{
	unsigned char length[8];
	json_error_t why;
	if (read_exactly(reading, length, sizeof length, error) < 0)
		return -1;
	const uint64_t size = get_u64(length);
	if (size < 2 || size > HEADER_MAX)
		return malformed(reading, error, "not a safetensors file (impossible header length)");
	char *text = mem_alloc(size, 1, error);
	if (!text)
		return -1;
	int result = read_exactly(reading, text, size, error);
	if (result == 0) {
		reading->header = json_loadb(text, size, JSON_REJECT_DUPLICATES, &why);
		if (!json_is_object(reading->header))
			result = malformed(reading, error, "not a safetensors file (its header is no JSON object)");
	}
	mem_free(text);
	return result;
}

static int parse_ids(const struct reading *reading, const json_t *metadata, struct stream_info *ids,
                     struct error *error)
{
	static const char *const keys[] = {"users", "items"};
	json_t *both = json_object();
	for (size_t k = 0; k < COUNT_OF(keys); k++) {
		const json_t *text = json_object_get(metadata, keys[k]);
		if (json_is_string(text))
			json_object_set_new(both, keys[k], json_loads(json_string_value(text), 0, NULL));
	}
	int result = stream_info_from_json(reading->input.name, both, ids, error);
	json_decref(both);
	return result;
}

static bool same_digest(const json_t *metadata, const char *key, const char *digest)
{
	const json_t *stored = json_object_get(metadata, key);
	return json_is_string(stored) && strcmp(json_string_value(stored), digest) == 0;
}

static int check_strings(const struct reading *reading, json_t *metadata, struct error *error)
{
	char digest[MODEL_DIGEST_SIZE];
	const char *key;
	json_t *value;
	json_object_foreach(metadata, key, value)
		if (!json_is_string(value))
			return malformed(reading, error, "its metadata holds something else than strings");
	if (model_metadata_digest(metadata, digest, error) < 0)
		return -1;
	if (!same_digest(metadata, "metadata_digest", digest))
		return malformed(reading, error, "its metadata is damaged (digest)");
	return 0;
}

static int parse_tower(const struct reading *reading, const json_t *metadata, struct model_shape *shape,
                       struct error *error)
{
	const json_t *layers = json_object_get(metadata, "layers");
	if (!json_is_string(layers))
		return malformed(reading, error, "its metadata lacks \"layers\"");
	if (model_shape_parse(json_string_value(layers), shape, error) < 0) {
		error->code = CODE_DATA;
		return error_prefix(error, "%s", reading->input.name);
	}
	return 0;
}

static int parse_count(const struct reading *reading, const json_t *metadata, const char *key, int64_t most,
                       uint32_t *count, struct error *error)
{
	const json_t *text = json_object_get(metadata, key);
	int64_t value;
	if (!json_is_string(text) || parse_int(key, json_string_value(text), 0, most, &value, error) < 0)
		return error_set(error, CODE_DATA, "%s: its metadata has no usable \"%s\"", reading->input.name, key);
	*count = (uint32_t)value;
	return 0;
}

static int parse_kind(const struct reading *reading, const json_t *metadata, enum model_kind *kind, struct error *error)
{
	const json_t *name = json_object_get(metadata, "model");
	*kind = MODEL_MLP;
	if (!name)
		return 0;
	while (*kind < MODEL_KINDS && strcmp(json_string_value(name), model_kind_names[*kind]) != 0)
		*kind = (enum model_kind)(*kind + 1);
	if (*kind == MODEL_KINDS)
		return error_set(error, CODE_DATA, "%s: a model of kind '%s', which this program does not know",
		                 reading->input.name, json_string_value(name));
	return 0;
}

static int parse_shape(const struct reading *reading, const json_t *metadata, struct model_shape *shape,
                       struct error *error)
{
	enum model_kind kind;
	uint32_t user_part = 0;
	if (parse_kind(reading, metadata, &kind, error) < 0)
		return -1;
	shape->kind = kind;
	if (model_has_tower(shape) && parse_tower(reading, metadata, shape, error) < 0)
		return -1;
	shape->kind = kind;
	if (model_has_factors(shape) &&
	    parse_count(reading, metadata, "factors", MODEL_WIDTH_MAX, &shape->factors, error) < 0)
		return -1;
	if (kind == MODEL_HISTORY &&
	    (parse_count(reading, metadata, "features", INT32_MAX, &shape->features, error) < 0 ||
	     parse_count(reading, metadata, "user_part", 1, &user_part, error) < 0))
		return -1;
	shape->user_part = user_part != 0;
	return 0;
}

static bool has_set(const struct reading *reading, const struct model_shape *shape, size_t set)
{
	/* Every model has a table of its items. */
	const char *table = model_has_tower(shape) ? "item_embedding" : "item_factors";
	char name[MODEL_TENSOR_NAME];
	snprintf(name, sizeof name, "%s%s", model_set_prefixes[set], table);
	return json_object_get(reading->header, name) != NULL;
}

static int parse_metadata(const struct reading *reading, struct model_file *file, struct error *error)
{
	json_t *metadata = json_object_get(reading->header, "__metadata__");
	const json_t *format = json_object_get(metadata, "format"), *version = json_object_get(metadata, "version");
	if (!json_is_string(format) || strcmp(json_string_value(format), "recpipe-model") != 0)
		return malformed(reading, error, "a safetensors file, but no recpipe model");
	if (!json_is_string(version) || strcmp(json_string_value(version), "1") != 0)
		return malformed(reading, error, "a model of another version, this program reads version 1");
	if (check_strings(reading, metadata, error) < 0 || parse_shape(reading, metadata, &file->shape, error) < 0 ||
	    parse_ids(reading, metadata, &file->ids, error) < 0)
		return -1;
	file->shape.users = file->ids.users.count;
	file->shape.items = file->ids.items.count;
	file->metadata = json_incref(metadata);
	file->is_checkpoint = has_set(reading, &file->shape, 1);
	file->has_average = file->is_checkpoint && has_set(reading, &file->shape, 3);
	file->has_best = file->is_checkpoint && has_set(reading, &file->shape, 4);
	return 0;
}

/* What the header must say about one tensor, to the letter. */
static int check_tensor(const struct reading *reading, const char *prefix, const struct matrix *matrix,
                        uint64_t *offset, struct error *error)
{
	char name[MODEL_TENSOR_NAME];
	json_t *expected = json_object();
	snprintf(name, sizeof name, "%s%s", prefix, matrix->name);
	model_add_tensor(expected, prefix, matrix, offset);
	bool same = json_equal(json_object_get(expected, name), json_object_get(reading->header, name));
	json_decref(expected);
	if (same)
		return 0;
	return error_set(error, CODE_DATA, "%s: tensor '%s' is missing or not of the type, shape and place expected",
	                 reading->input.name, name);
}

/* Bytes of a plain file; UINT64_MAX for a pipe or a compressed one, whose size is not known. */
static uint64_t plain_size(const struct reading *reading)
{
	struct stat status;
	if (stat(reading->path, &status) != 0 || !S_ISREG(status.st_mode) || !gzdirect(reading->input.gz))
		return UINT64_MAX;
	return (uint64_t)status.st_size;
}

static uint64_t tower_bytes(const struct model_shape *shape)
{
	uint64_t inputs = (uint64_t)shape->user_dimension + shape->item_dimension, floats = 0;
	for (uint32_t l = 0; l < shape->layer_count; l++) {
		floats += (inputs + 1) * shape->widths[l];
		inputs = shape->widths[l];
	}
	return floats * sizeof(float);
}

/* Checks names, types, shapes and places of the tensors; *bytes becomes what they take together. The tables
 * are not allocated for it: a shape of no users and items has the same matrices. */
static int check_tensors(const struct reading *reading, const struct model_file *file, uint64_t *bytes,
                         struct error *error)
{
	const bool present[MODEL_SETS] = {true, file->is_checkpoint, file->is_checkpoint, file->has_average,
	                                  file->has_best};
	struct model_shape shape = file->shape;
	struct parameters small;
	size_t tensors = 0;
	int result = 0;
	shape.users = shape.items = 0;
	if (shape.features > 0)
		shape.features = 1; /* the matrix is there, whatever its rows */
	if (parameters_init(&small, &shape, error) < 0)
		return -1;
	for (size_t m = 0; m < small.count; m++) {
		const char rows = model_matrix_rows(&file->shape, m);
		if (rows)
			small.matrices[m].rows = rows == 'u' ? file->shape.users : rows == 'i' ? file->shape.items
			                                                                       : file->shape.features;
	}
	*bytes = 0;
	for (size_t s = 0; s < MODEL_SETS; s++)
		for (size_t m = 0; result == 0 && present[s] && m < small.count; m++, tensors++)
			result = check_tensor(reading, model_set_prefixes[s], &small.matrices[m], bytes, error);
	parameters_release(&small);
	if (result == 0 && json_object_size(reading->header) != tensors + 1)
		result = malformed(reading, error, "it holds tensors that do not belong to the model");
	return result;
}

static int check_sizes(const struct reading *reading, const struct model_file *file, struct error *error)
{
	const uint64_t size = plain_size(reading);
	uint64_t bytes = 0;
	if (tower_bytes(&file->shape) > size)
		return malformed(reading, error, "the model file is cut short");
	if (check_tensors(reading, file, &bytes, error) < 0)
		return -1;
	if (size != UINT64_MAX && reading->input.offset + bytes != size)
		return malformed(reading, error, reading->input.offset + bytes > size ? "the model file is cut short"
		                                                                      : "something follows the tensors");
	return 0;
}

static int read_row(void *context, float *row, size_t columns, struct error *error)
{
	return read_exactly(context, row, columns * sizeof(float), error);
}

static int allocate_sets(struct model_file *file, struct error *error)
{
	if (parameters_init(&file->parameters, &file->shape, error) < 0)
		return -1;
	if (file->is_checkpoint && (parameters_init(&file->moment1, &file->shape, error) < 0 ||
	                            parameters_init(&file->moment2, &file->shape, error) < 0))
		return -1;
	if (file->has_average && parameters_init(&file->average, &file->shape, error) < 0)
		return -1;
	return file->has_best ? parameters_init(&file->best, &file->shape, error) : 0;
}

static int read_tensors(struct reading *reading, struct model_file *file, struct error *error)
{
	const struct parameters *sets[MODEL_SETS];
	char digest[MODEL_DIGEST_SIZE];
	unsigned char more;
	if (allocate_sets(file, error) < 0 || model_for_each_row(file, read_row, reading, error) < 0)
		return -1;
	ptrdiff_t got = input_read(&reading->input, &more, 1, error);
	if (got != 0)
		return got < 0 ? -1 : malformed(reading, error, "something follows the tensors");
	if (model_digest(file, digest, error) < 0)
		return -1;
	if (!same_digest(file->metadata, "digest", digest))
		return malformed(reading, error, "its tensors are damaged (digest)");
	model_sets(file, sets);
	for (size_t s = 0; s < MODEL_SETS; s++)
		if (sets[s] && !parameters_finite(sets[s]))
			return malformed(reading, error, "it holds values that are not finite");
	return 0;
}

int model_read(struct model_file *file, const char *path, struct error *error)
{
	struct reading reading = {.path = path};
	*file = (struct model_file){0};
	int result = input_open(&reading.input, path, error);
	if (result == 0)
		result = read_header(&reading, error);
	if (result == 0)
		result = parse_metadata(&reading, file, error);
	if (result == 0)
		result = check_sizes(&reading, file, error);
	if (result == 0)
		result = read_tensors(&reading, file, error);
	json_decref(reading.header);
	input_release(&reading.input);
	return result;
}
