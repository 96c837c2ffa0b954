/* libFuzzer target: any bytes as ratings, through the tokeniser, the columns and the cut. The first byte chooses the
 * delimiter, --columns and the way to cut. Beside what the sanitizers find, it stops at a broken promise: records
 * that do not follow one another in the input, a field outside its bounds, a rating that is in no part. */
#include <fcntl.h>
#include <math.h>
#include <sys/mman.h>
#include <unistd.h>

#include "split.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const delimiters[] = {NULL, ",", "::", "\t"};
static const char *const columns[] = {NULL, NULL, "user,item", "item=1,user=2,time=3"};

static void require(bool condition)
{
	if (!condition)
		abort();
}

/* Touches every byte that a record hands out. */
static uint32_t sum_of(const struct csv_field *field)
{
	uint32_t sum = 0;
	for (size_t i = 0; i < field->length; i++)
		sum += (unsigned char)field->text[i];
	return sum;
}

static void read_records(const char *path, const char *delimiter, size_t size)
{
	struct csv_reader reader;
	struct error error = {0};
	enum csv_verdict verdict = CSV_ERROR;
	uint64_t line = 0, end = 0, sum = 0;
	if (csv_open(&reader, path, delimiter, &error) == 0)
		while ((verdict = csv_next(&reader, &error)) == CSV_RECORD || verdict == CSV_BAD) {
			require((verdict == CSV_BAD) == (reader.bad != NULL));
			require(reader.line > line && reader.offset >= end && reader.offset + reader.raw.length <= size);
			line = reader.line;
			end = reader.offset + reader.raw.length;
			sum += sum_of(&reader.raw);
			for (size_t f = 0; verdict == CSV_RECORD && f < reader.field_count; f++)
				sum += sum_of(&reader.fields[f]);
		}
	/* A .gz may be cut; plain bytes are read to their end. */
	require(verdict == CSV_END || error.code == CODE_DATA);
	csv_release(&reader);
	__asm__ volatile("" : : "r"(sum));
}

static void cut_ratings(const char *path, const char *delimiter, const char *spec, unsigned choice)
{
	struct ratings ratings = {0};
	struct row_errors errors = {.most = -1};
	struct split_counts counts = {0};
	struct error error = {0};
	const struct split_options options = {.kind = (int)(choice % 5), .valid = choice & 1, .ratio = 0.8,
	                                      .test_share = 0.2, .ties = choice & 2 ? TIES_ORDER : TIES_HASH};
	const struct ratings_source source = {delimiter, spec, -INFINITY, 1};
	if (ratings_read(&ratings, path, &source, &errors, &error) == 0 &&
	    split_drop_duplicates(&ratings, choice & 4 ? DUPLICATES_FIRST : DUPLICATES_LAST, &counts, &error) == 0 &&
	    split_filter(&ratings, 1, 1, choice & 8 ? 2 : 1, &counts, &error) == 0 &&
	    split_cut(&ratings, &options, &counts, &error) == 0) {
		require(ratings.rows == ratings.count + errors.count);
		require(counts.parts[PART_TRAIN] + counts.parts[PART_VALID] + counts.parts[PART_TEST] + counts.doubled +
		        counts.filtered == ratings.count);
	} else {
		require(error.code == CODE_DATA);
	}
	ratings_release(&ratings);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char path[64];
	if (size == 0)
		return 0;
	const unsigned choice = data[0];
	/* The readers take a path: the bytes are a file without a name. */
	const int fd = memfd_create("csv", MFD_CLOEXEC);
	require(fd >= 0 && write(fd, data + 1, size - 1) == (ssize_t)(size - 1));
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	if (size < 3 || data[1] != 0x1f || data[2] != 0x8b) /* offsets of a .gz are those of its content */
		read_records(path, delimiters[choice & 3], size - 1);
	cut_ratings(path, delimiters[choice & 3], columns[choice >> 6], choice >> 2);
	close(fd);
	return 0;
}
