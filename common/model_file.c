/* safetensors: an 8-byte length, a JSON header padded with spaces, then the tensors one behind the other.
 *
 * Tensors are the unpadded rows of each matrix, F32, in the order of their names' sets: parameters, then
 * (in checkpoints) the two moments and the best epoch. The digest in the metadata is XXH3-128 over all
 * tensor bytes and is checked on load, as is every size before anything is allocated by it. */
#include <inttypes.h>
#include <sys/stat.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "io.h"
#include "mem.h"
#include "model.h"

enum {
	HEADER_MAX = 1 << 24,
	SETS = 4, /* parameters, moment1, moment2, best */
	NAME_MAX_LENGTH = 64,
	DIGEST_SIZE = 33,
};

static const char *const set_prefixes[SETS] = {"", "adam.m.", "adam.v.", "best."};

/* The sets of a file, NULL for those it does not have. */
static void sets_of(const struct model_file *file, const struct parameters *sets[SETS])
{
	sets[0] = &file->parameters;
	sets[1] = file->is_checkpoint ? &file->moment1 : NULL;
	sets[2] = file->is_checkpoint ? &file->moment2 : NULL;
	sets[3] = file->is_checkpoint && file->has_best ? &file->best : NULL;
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

static void digest_text(XXH128_hash_t hash, char text[DIGEST_SIZE])
{
	snprintf(text, DIGEST_SIZE, "%016" PRIx64 "%016" PRIx64, (uint64_t)hash.high64, (uint64_t)hash.low64);
}

/* Calls `visit` for each row of each tensor of each set, in file order. */
static int for_each_row(const struct model_file *file,
                        int (*visit)(void *context, float *row, size_t columns, struct error *error), void *context,
                        struct error *error)
{
	const struct parameters *sets[SETS];
	sets_of(file, sets);
	for (size_t s = 0; s < SETS; s++)
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

static int digest_of(const struct model_file *file, char text[DIGEST_SIZE], struct error *error)
{
	XXH3_state_t *state = XXH3_createState();
	if (!state)
		return error_set(error, CODE_SYSTEM, "out of memory for a digest");
	XXH3_128bits_reset(state);
	int result = for_each_row(file, digest_row, state, error);
	digest_text(XXH3_128bits_digest(state), text);
	XXH3_freeState(state);
	return result;
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

static json_t *header_metadata(const struct model_file *file, struct error *error)
{
	char layers[256], digest[DIGEST_SIZE];
	json_t *metadata = file->metadata ? json_deep_copy(file->metadata) : json_object();
	if (digest_of(file, digest, error) < 0) {
		json_decref(metadata);
		return NULL;
	}
	model_shape_print(&file->shape, layers, sizeof layers);
	json_object_set_new(metadata, "format", json_string("recpipe-model"));
	json_object_set_new(metadata, "version", json_string("1"));
	json_object_set_new(metadata, "layers", json_string(layers));
	json_object_set_new(metadata, "digest", json_string(digest));
	set_json_text(metadata, "users", space_json(&file->ids.users));
	set_json_text(metadata, "items", space_json(&file->ids.items));
	return metadata;
}

static void add_tensor(json_t *header, const char *prefix, const struct matrix *matrix, uint64_t *offset)
{
	char name[NAME_MAX_LENGTH + 16];
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
	const struct parameters *sets[SETS];
	uint64_t offset = 0;
	unsigned char length[8];
	json_t *metadata = header_metadata(file, error);
	if (!metadata)
		return -1;
	json_t *header = json_pack("{s:o}", "__metadata__", metadata);
	sets_of(file, sets);
	for (size_t s = 0; s < SETS; s++)
		for (size_t m = 0; sets[s] && m < sets[s]->count; m++)
			add_tensor(header, set_prefixes[s], &sets[s]->matrices[m], &offset);
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

int model_write(const struct model_file *file, const char *path, struct error *error)
{
	struct output output;
	int result = output_open(&output, path, error);
	if (result == 0)
		result = write_header(file, &output, error);
	if (result == 0)
		result = for_each_row(file, write_row, &output, error);
	if (result == 0)
		result = output_commit(&output, error);
	output_release(&output);
	return result;
}

/* ---- reading ---- */

struct reading {
	struct input input;
	const char *path;
	json_t *header;
};

static int malformed(const struct reading *reading, struct error *error, const char *what)
{
	return error_set(error, CODE_DATA, "%s: %s", reading->path, what);
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
	int result = stream_info_from_json(reading->path, both, ids, error);
	json_decref(both);
	return result;
}

static int parse_metadata(const struct reading *reading, struct model_file *file, struct error *error)
{
	const json_t *metadata = json_object_get(reading->header, "__metadata__");
	const json_t *format = json_object_get(metadata, "format"), *version = json_object_get(metadata, "version");
	const json_t *layers = json_object_get(metadata, "layers"), *digest = json_object_get(metadata, "digest");
	const char *key;
	json_t *value;
	if (!json_is_string(format) || strcmp(json_string_value(format), "recpipe-model") != 0)
		return malformed(reading, error, "a safetensors file, but no recpipe model");
	if (!json_is_string(version) || strcmp(json_string_value(version), "1") != 0)
		return malformed(reading, error, "a model of another version, this program reads version 1");
	if (!json_is_string(layers) || !json_is_string(digest))
		return malformed(reading, error, "its metadata lacks \"layers\" or \"digest\"");
	json_object_foreach((json_t *)json_object_get(reading->header, "__metadata__"), key, value)
		if (!json_is_string(value))
			return malformed(reading, error, "its metadata holds something else than strings");
	if (model_shape_parse(json_string_value(layers), &file->shape, error) < 0) {
		error->code = CODE_DATA;
		return error_prefix(error, "%s", reading->path);
	}
	if (parse_ids(reading, metadata, &file->ids, error) < 0)
		return -1;
	file->shape.users = file->ids.users.count;
	file->shape.items = file->ids.items.count;
	file->metadata = json_deep_copy(metadata);
	file->is_checkpoint = json_object_get(reading->header, "adam.m.mlp.0.bias") != NULL;
	file->has_best = json_object_get(reading->header, "best.mlp.0.bias") != NULL;
	return 0;
}

/* What the header must say about one tensor, to the letter. */
static int check_tensor(const struct reading *reading, const char *prefix, const struct matrix *matrix,
                        uint64_t *offset, struct error *error)
{
	char name[NAME_MAX_LENGTH + 16];
	json_t *expected = json_object();
	snprintf(name, sizeof name, "%s%s", prefix, matrix->name);
	add_tensor(expected, prefix, matrix, offset);
	bool same = json_equal(json_object_get(expected, name), json_object_get(reading->header, name));
	json_decref(expected);
	if (same)
		return 0;
	return error_set(error, CODE_DATA, "%s: tensor '%s' is missing or not of the type, shape and place expected",
	                 reading->path, name);
}

/* Shapes of every set by the header alone: nothing of the tables' size is allocated before the file is
 * known to hold them. */
static int check_tensors(const struct reading *reading, const struct model_file *file, struct error *error)
{
	struct model_shape shape = file->shape;
	struct parameters small;
	uint64_t offset = 0;
	size_t tensors = 0;
	shape.users = shape.items = 0;
	if (parameters_init(&small, &shape, error) < 0)
		return -1;
	small.matrices[MATRIX_USERS].rows = file->shape.users;
	small.matrices[MATRIX_ITEMS].rows = file->shape.items;
	const bool present[SETS] = {true, file->is_checkpoint, file->is_checkpoint,
	                            file->is_checkpoint && file->has_best};
	int result = 0;
	for (size_t s = 0; s < SETS; s++)
		for (size_t m = 0; result == 0 && present[s] && m < small.count; m++, tensors++)
			result = check_tensor(reading, set_prefixes[s], &small.matrices[m], &offset, error);
	parameters_release(&small);
	if (result == 0 && json_object_size(reading->header) != tensors + 1)
		result = malformed(reading, error, "it holds tensors that do not belong to the model");
	struct stat status;
	if (result == 0 && stat(reading->path, &status) == 0 && S_ISREG(status.st_mode) &&
	    (uint64_t)status.st_size != reading->input.offset + offset)
		result = malformed(reading, error, "its size is not what its header says: cut short, or something follows");
	return result;
}

static int read_row(void *context, float *row, size_t columns, struct error *error)
{
	return read_exactly(context, row, columns * sizeof(float), error);
}

static int read_tensors(struct reading *reading, struct model_file *file, struct error *error)
{
	char digest[DIGEST_SIZE];
	unsigned char more;
	if (parameters_init(&file->parameters, &file->shape, error) < 0)
		return -1;
	if (file->is_checkpoint && (parameters_init(&file->moment1, &file->shape, error) < 0 ||
	                            parameters_init(&file->moment2, &file->shape, error) < 0))
		return -1;
	if (file->is_checkpoint && file->has_best && parameters_init(&file->best, &file->shape, error) < 0)
		return -1;
	if (for_each_row(file, read_row, reading, error) < 0)
		return -1;
	ptrdiff_t got = input_read(&reading->input, &more, 1, error);
	if (got != 0)
		return got < 0 ? -1 : malformed(reading, error, "something follows the tensors");
	if (digest_of(file, digest, error) < 0)
		return -1;
	if (strcmp(digest, json_string_value(json_object_get(file->metadata, "digest"))) != 0)
		return malformed(reading, error, "its tensors are damaged (digest)");
	if (!parameters_finite(&file->parameters))
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
		result = check_tensors(&reading, file, error);
	if (result == 0)
		result = read_tensors(&reading, file, error);
	json_decref(reading.header);
	input_release(&reading.input);
	return result;
}

void model_file_release(struct model_file *file)
{
	stream_info_release(&file->ids);
	json_decref(file->metadata);
	parameters_release(&file->parameters);
	parameters_release(&file->moment1);
	parameters_release(&file->moment2);
	parameters_release(&file->best);
	*file = (struct model_file){0};
}
