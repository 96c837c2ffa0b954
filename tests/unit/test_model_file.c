/* Model files: what is written is read back; what is damaged, cut or forged is refused, whatever it is. */
#include <zlib.h>

#include "folder.h"
#include "io.h"
#include "mem.h"
#include "model.h"
#include "stream.h"

enum { FILE_MAX = 1 << 14 };

struct bytes {
	unsigned char data[FILE_MAX];
	size_t size;
};

/* ---- making ---- */

static void fill(struct parameters *parameters, const struct model_shape *shape, float first)
{
	struct error error = {0};
	CHECK_OK(parameters_init(parameters, shape, &error), &error);
	for (size_t m = 0; m < parameters->count; m++)
		for (uint32_t r = 0; r < parameters->matrices[m].rows; r++)
			for (uint32_t c = 0; c < parameters->matrices[m].columns; c++)
				parameters->matrices[m].values[r * parameters->matrices[m].stride + c] = first++ / 8;
}

enum sets { PLAIN, CHECKPOINT, WITH_BEST };

static struct model_file make(enum sets sets)
{
	struct error error = {0};
	struct model_file file = {.is_checkpoint = sets != PLAIN, .has_average = sets == WITH_BEST,
	                          .has_best = sets == WITH_BEST};
	CHECK_OK(model_shape_parse("4-3-1", &file.shape, &error), &error);
	file.shape.users = file.ids.users.count = 2;
	file.shape.items = file.ids.items.count = 3;
	snprintf(file.ids.users.digest, sizeof file.ids.users.digest, "%032x", 0xabc);
	snprintf(file.ids.items.digest, sizeof file.ids.items.digest, "%032x", 0xdef);
	file.ids.users.ancestors = json_pack("[{s:i, s:s}]", "count", 1, "digest", file.ids.items.digest);
	file.metadata = json_pack("{s:s, s:s}", "seed", "7", "options", "lr=0.1");
	fill(&file.parameters, &file.shape, 1);
	if (sets != PLAIN) {
		fill(&file.moment1, &file.shape, 100);
		fill(&file.moment2, &file.shape, 200);
	}
	if (sets == WITH_BEST) {
		fill(&file.average, &file.shape, 300);
		fill(&file.best, &file.shape, 400);
	}
	return file;
}

static void write_model(struct model_file *file, const char *path)
{
	struct error error = {0};
	CHECK_OK(model_write(file, path, &error), &error);
	model_file_release(file);
}

static void load(struct bytes *bytes, const char *path)
{
	FILE *file = fopen(path, "rb");
	bytes->size = file ? fread(bytes->data, 1, sizeof bytes->data, file) : 0;
	CHECK(bytes->size > 100 && bytes->size < sizeof bytes->data);
	if (file)
		fclose(file);
}

/* Reads "m"; true when it is refused with `code` and `text` in the message. */
static bool refused_with(int code, const char *text)
{
	struct error error = {0};
	struct model_file file;
	int result = model_read(&file, "m", &error);
	bool right = result < 0 && error.code == code && strstr(error.message, text) != NULL;
	if (!right)
		printf("# expected %d '%s', got %d '%s'\n", code, text, error.code, error.message);
	model_file_release(&file);
	return right;
}

static bool refused(void)
{
	return refused_with(CODE_DATA, "m: ");
}

static bool accepted(void)
{
	struct error error = {0};
	struct model_file file;
	int result = model_read(&file, "m", &error);
	model_file_release(&file);
	return result == 0;
}

/* A new file each time: to truncate an old one makes some file systems wait for the disk. */
static void put_new(const char *path, const void *bytes, size_t size)
{
	(void)remove(path);
	put(path, bytes, size);
}

/* ---- whole files ---- */

static bool same_values(const struct parameters *a, const struct parameters *b)
{
	return a->size == b->size && (a->size == 0 || memcmp(a->block, b->block, a->size * sizeof(float)) == 0);
}

static void test_reads_back(void)
{
	for (int sets = PLAIN; sets <= WITH_BEST; sets++) {
		struct error error = {0};
		struct model_file file = make((enum sets)sets), back;
		struct bytes once, twice;
		CHECK_OK(model_write(&file, "m", &error), &error);
		CHECK_OK(model_read(&back, "m", &error), &error);
		CHECK(same_values(&file.parameters, &back.parameters) && same_values(&file.moment1, &back.moment1));
		CHECK(same_values(&file.moment2, &back.moment2) && same_values(&file.best, &back.best));
		CHECK(same_values(&file.average, &back.average) && back.has_average == file.has_average);
		CHECK(back.is_checkpoint == file.is_checkpoint && back.has_best == file.has_best);
		CHECK_EQUAL_U64(back.ids.users.count, 2);
		CHECK_EQUAL_U64(back.ids.items.count, 3);
		CHECK_EQUAL_TEXT(back.ids.items.digest, file.ids.items.digest);
		CHECK(json_equal(back.ids.users.ancestors, file.ids.users.ancestors));
		CHECK_EQUAL_TEXT(json_string_value(json_object_get(back.metadata, "seed")), "7");
		CHECK_EQUAL_TEXT(json_string_value(json_object_get(back.metadata, "layers")), "4-3-1");
		load(&once, "m");
		write_model(&back, "m2");
		load(&twice, "m2");
		CHECK(once.size == twice.size && memcmp(once.data, twice.data, once.size) == 0);
		model_file_release(&file);
	}
}

/* The rules of the safetensors format: a reader of another make must find every tensor. */
static void test_is_safetensors(void)
{
	static const char *const names[] = {"user_embedding", "item_embedding", "mlp.0.weight", "mlp.0.bias",
	                                    "mlp.1.weight", "mlp.1.bias"};
	struct model_file file = make(PLAIN);
	struct bytes bytes;
	json_int_t at = 0;
	write_model(&file, "m");
	load(&bytes, "m");
	const size_t header = get_u64(bytes.data);
	CHECK_EQUAL_U64(header % 8, 0);
	json_t *json = json_loadb((const char *)bytes.data + 8, header, 0, NULL);
	for (size_t t = 0; t < COUNT_OF(names); t++) {
		const json_t *tensor = json_object_get(json, names[t]), *place = json_object_get(tensor, "data_offsets");
		CHECK_EQUAL_TEXT(json_string_value(json_object_get(tensor, "dtype")), "F32");
		CHECK(json_integer_value(json_array_get(place, 0)) == at);
		at = json_integer_value(json_array_get(place, 1));
	}
	CHECK_EQUAL_U64(json_array_size(json_object_get(json_object_get(json, "mlp.0.bias"), "shape")), 1);
	CHECK_EQUAL_U64(json_array_size(json_object_get(json_object_get(json, "mlp.0.weight"), "shape")), 2);
	CHECK_EQUAL_U64(json_object_size(json), COUNT_OF(names) + 1);
	CHECK_EQUAL_U64(8 + header + (size_t)at, bytes.size);
	CHECK(get_f32(bytes.data + 8 + header) == 0.125f && get_f32(bytes.data + 12 + header) == 0.25f);
	json_decref(json);
}

static void test_reads_gz(void)
{
	struct error error = {0};
	struct model_file file = make(CHECKPOINT);
	struct bytes bytes;
	write_model(&file, "plain");
	load(&bytes, "plain");
	gzFile gz = gzopen("m", "wb");
	CHECK(gz && gzwrite(gz, bytes.data, (unsigned)bytes.size) == (int)bytes.size && gzclose(gz) == Z_OK);
	CHECK_OK(model_read(&file, "m", &error), &error);
	CHECK_EQUAL_U64(file.shape.items, 3);
	model_file_release(&file);
	gz = gzopen("m", "wb");
	CHECK(gz && gzwrite(gz, bytes.data, (unsigned)bytes.size - 4) > 0 && gzclose(gz) == Z_OK);
	CHECK(refused_with(CODE_DATA, "cut short"));
	gz = gzopen("m", "wb");
	CHECK(gz && gzwrite(gz, bytes.data, (unsigned)bytes.size) > 0 && gzwrite(gz, "x", 1) == 1 && gzclose(gz) == Z_OK);
	CHECK(refused_with(CODE_DATA, "follows"));
}

/* ---- damage ---- */

static void test_every_truncation_is_refused(void)
{
	struct model_file file = make(WITH_BEST);
	struct bytes bytes;
	write_model(&file, "m");
	load(&bytes, "m");
	for (size_t size = 0; size < bytes.size; size++) {
		put_new("m", bytes.data, size);
		CHECK(refused());
	}
	put_new("m", bytes.data, bytes.size);
	CHECK(accepted());
	bytes.data[bytes.size] = 0;
	put_new("m", bytes.data, bytes.size + 1);
	CHECK(refused_with(CODE_DATA, "follows"));
}

static void test_every_flipped_bit_is_refused(void)
{
	struct model_file file = make(PLAIN);
	struct bytes bytes;
	write_model(&file, "m");
	load(&bytes, "m");
	for (size_t bit = 0; bit < 8 * bytes.size; bit++) {
		bytes.data[bit / 8] ^= (unsigned char)(1u << bit % 8);
		put_new("m", bytes.data, bytes.size);
		CHECK(refused());
		bytes.data[bit / 8] ^= (unsigned char)(1u << bit % 8);
	}
}

/* ---- forged headers ---- */

/* Writes "m" with the first `from` in the header of a good file replaced by `to`. */
static void forge(const char *from, const char *to)
{
	struct model_file file = make(PLAIN);
	struct bytes good, forged;
	write_model(&file, "m");
	load(&good, "m");
	const size_t header = get_u64(good.data);
	const char *text = (const char *)good.data + 8, *found = memmem(text, header, from, strlen(from));
	CHECK(found != NULL);
	if (!found)
		return;
	const char *rest = found + strlen(from);
	const int length = snprintf((char *)forged.data + 8, FILE_MAX - 8, "%.*s%s%.*s", (int)(found - text), text, to,
	                            (int)(text + header - rest), rest);
	put_u64(forged.data, (uint64_t)length);
	memcpy(forged.data + 8 + length, good.data + 8 + header, good.size - 8 - header);
	put_new("m", forged.data, good.size - header + (size_t)length);
}

static void test_forged_headers_are_refused(void)
{
	static const struct { const char *from, *to, *message; } forgeries[] = {
		{"\"dtype\":\"F32\"", "\"dtype\":\"F64\"", "tensor"},
		{"\"shape\":[3,4]", "\"shape\":[4,3]", "tensor"},
		{"\"shape\":[3,4]", "\"shape\":[12]", "tensor"},
		{"\"shape\":[2,2]", "\"shape\":[4000000000,2]", "tensor"},
		{"\"data_offsets\":[16,40]", "\"data_offsets\":[0,24]", "tensor"},
		{"\"data_offsets\":[16,40]", "\"data_offsets\":[40,16]", "tensor"},
		{"\"data_offsets\":[16,40]", "\"data_offsets\":[16000,16024]", "tensor"},
		{"\"data_offsets\":[16,40]", "\"data_offsets\":[-1,40]", "tensor"},
		{"\"data_offsets\":[16,40]", "\"data_offsets\":[16]", "tensor"},
		{"\"mlp.0.bias\":", "\"mlp.9.bias\":", "tensor 'mlp.0.bias'"},
		{"\"mlp.0.bias\":", "\"mlp.0.bias\":1,\"x\":", "tensor"},
		{"\"mlp.0.bias\":", "\"x\":1,\"mlp.0.bias\":", "do not belong"},
		{"\"mlp.0.bias\":", "\"mlp.0.bias\":{},\"mlp.0.bias\":", "no JSON object"},
		{"\"__metadata__\":", "\"__meta__\":", "no recpipe model"},
		{"\"recpipe-model\"", "\"pt\"", "no recpipe model"},
		{"\"version\":\"1\"", "\"version\":\"2\"", "another version"},
		{"\"version\":\"1\"", "\"version\":1", "another version"},
		{"\"layers\":\"4-3-1\"", "\"layers\":\"4-3-2\"", "damaged"},
		{"\"seed\":\"7\"", "\"seed\":7", "else than strings"},
		{"\"seed\":\"7\"", "\"seed\":\"8\"", "damaged"},
		{"\"metadata_digest\":\"", "\"metadata_digest\":\"0", "damaged"},
		{"\"metadata_digest\":\"", "\"other_digest\":\"", "damaged"},
	};
	forge("\"seed\":\"7\"", "\"seed\":\"7\"");
	CHECK(accepted());
	for (size_t i = 0; i < COUNT_OF(forgeries); i++) {
		forge(forgeries[i].from, forgeries[i].to);
		CHECK(refused_with(CODE_DATA, forgeries[i].message));
	}
}

static void test_impossible_lengths_are_refused(void)
{
	static const uint64_t lengths[] = {0, 1, 1u << 25, UINT64_MAX};
	for (size_t i = 0; i < COUNT_OF(lengths); i++) {
		unsigned char bytes[64] = {0};
		put_u64(bytes, lengths[i]);
		put_new("m", bytes, sizeof bytes);
		CHECK(refused_with(CODE_DATA, "header length"));
	}
}

/* Headers that are consistent in themselves and promise far more than the file holds. */
static void test_huge_promises_are_refused(void)
{
	struct error error = {0};
	struct model_file file = make(PLAIN);
	file.ids.users.count = 4000000000u;
	write_model(&file, "m");
	CHECK(refused_with(CODE_DATA, "tensor"));
	file = make(PLAIN);
	CHECK_OK(model_shape_parse("4096-4096-4096-4096-4096-4096-4096-4096-4096-1", &file.shape, &error), &error);
	write_model(&file, "m");
	CHECK(refused_with(CODE_DATA, "cut short"));
}

static void test_values_that_are_not_finite_are_refused(void)
{
	for (int set = 0; set < 5; set++) {
		struct model_file file = make(WITH_BEST);
		struct parameters *sets[] = {&file.parameters, &file.moment1, &file.moment2, &file.average,
		                             &file.best};
		sets[set]->matrices[2].values[1] = set % 2 ? INFINITY : NAN;
		write_model(&file, "m");
		CHECK(refused_with(CODE_DATA, "not finite"));
	}
}

static void test_files_that_cannot_be_had(void)
{
	struct error error = {0};
	struct model_file file = make(PLAIN);
	CHECK(refused_with(CODE_NO_INPUT, "m: "));
	CHECK(model_write(&file, "no/such/folder/m", &error) < 0 && error.code == CODE_CANNOT_CREATE);
	error = (struct error){0};
	CHECK(model_write(&file, "/dev/full", &error) < 0 && error.code == CODE_IO);
	CHECK_EQUAL_U64(files_here(), 0);
	model_file_release(&file);
}

int main(void)
{
	RUN_IN_FOLDER(test_reads_back);
	RUN_IN_FOLDER(test_is_safetensors);
	RUN_IN_FOLDER(test_reads_gz);
	RUN_IN_FOLDER(test_every_truncation_is_refused);
	RUN_IN_FOLDER(test_every_flipped_bit_is_refused);
	RUN_IN_FOLDER(test_forged_headers_are_refused);
	RUN_IN_FOLDER(test_impossible_lengths_are_refused);
	RUN_IN_FOLDER(test_huge_promises_are_refused);
	RUN_IN_FOLDER(test_values_that_are_not_finite_are_refused);
	RUN_IN_FOLDER(test_files_that_cannot_be_had);
	return check_done();
}
