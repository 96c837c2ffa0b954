/* Inputs that tell whole from broken, outputs that appear whole or not at all. */
#include "io.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <zlib.h>

#include "check.h"
#include "folder.h"
#include "mem.h"
#include "rng.h"

/* Text that does not compress to nothing. */
static unsigned char *make_bytes(size_t size)
{
	struct error error = {0};
	struct rng rng;
	unsigned char *bytes = mem_alloc(size, 1, &error);
	rng_init(&rng, 1, rng_stream(RNG_TEST, 20), 0);
	for (size_t i = 0; bytes && i < size; i++)
		bytes[i] = (unsigned char)('0' + rng_below(&rng, 40));
	return bytes;
}

static size_t put_gz(const char *path, const char *mode, const void *bytes, size_t size)
{
	struct stat status;
	gzFile file = gzopen(path, mode);
	CHECK(file && gzwrite(file, bytes, (unsigned)size) == (int)size && gzclose(file) == Z_OK);
	return stat(path, &status) == 0 ? (size_t)status.st_size : 0;
}

/* Reads all of `path` in pieces; the number of bytes, or -1. `expected` may be NULL. */
static ptrdiff_t read_all(const char *path, size_t piece, const unsigned char *expected, struct error *error)
{
	static unsigned char buffer[1 << 20];
	struct input input;
	ptrdiff_t total = 0, got = -1;
	if (input_open(&input, path, error) == 0) {
		while ((got = input_read(&input, buffer, piece, error)) > 0) {
			if (expected)
				CHECK(memcmp(buffer, expected + total, (size_t)got) == 0);
			total += got;
		}
		CHECK_EQUAL_U64(input.offset, total);
		CHECK_EQUAL_TEXT(input.name, path);
	}
	input_release(&input);
	return got < 0 ? -1 : total;
}

static void test_reads_plain_and_gz_alike(void)
{
	static const size_t pieces[] = {1 << 20, 65536, 1009};
	const size_t size = 3000001;
	unsigned char *bytes = make_bytes(size);
	put("plain", bytes, size);
	put_gz("packed.gz", "wb", bytes, size);
	put_gz("members", "wb", bytes, size / 2); /* several members, and no telling name */
	put_gz("members", "ab", bytes + size / 2, size - size / 2);
	put("empty", "", 0);
	for (size_t i = 0; i < COUNT_OF(pieces); i++) {
		struct error error = {0};
		CHECK(read_all("plain", pieces[i], bytes, &error) == (ptrdiff_t)size);
		CHECK(read_all("packed.gz", pieces[i], bytes, &error) == (ptrdiff_t)size);
		CHECK(read_all("members", pieces[i], bytes, &error) == (ptrdiff_t)size);
		CHECK(read_all("empty", pieces[i], bytes, &error) == 0);
		CHECK_EQUAL_U64(error.code, CODE_OK);
	}
	mem_free(bytes);
}

static void test_every_cut_of_a_gz_is_told(void)
{
	unsigned char *bytes = make_bytes(300), packed[1024];
	const size_t size = put_gz("whole.gz", "wb", bytes, 300);
	FILE *file = fopen("whole.gz", "rb");
	CHECK(file && size < sizeof packed && fread(packed, 1, sizeof packed, file) == size);
	if (file)
		fclose(file);
	/* One byte alone is no .gz yet: it is plain data. */
	for (size_t cut = 2; cut < size; cut++) {
		struct error error = {0};
		put("cut.gz", packed, cut);
		CHECK(read_all("cut.gz", 65536, NULL, &error) == -1);
		CHECK_EQUAL_U64(error.code, CODE_DATA);
		CHECK(strncmp(error.message, "cut.gz: ", 8) == 0);
	}
	for (size_t at = size - 8; at < size; at++) { /* the CRC and the length behind the data */
		struct error error = {0};
		packed[at] ^= 1;
		put("bad.gz", packed, size);
		packed[at] ^= 1;
		CHECK(read_all("bad.gz", 65536, NULL, &error) == -1);
		CHECK_EQUAL_U64(error.code, CODE_DATA);
		CHECK(strstr(error.message, "damaged") != NULL);
	}
	mem_free(bytes);
}

static void test_inputs_that_cannot_be_opened(void)
{
	static const char *const paths[] = {"missing", ".", "missing/file", ""};
	for (size_t i = 0; i < COUNT_OF(paths); i++) {
		struct error error = {0};
		CHECK(read_all(paths[i], 1, NULL, &error) == -1);
		CHECK_EQUAL_U64(error.code, CODE_NO_INPUT);
		CHECK(strncmp(error.message, paths[i], strlen(paths[i])) == 0);
	}
	struct input none = {0};
	input_release(&none);
}

static int write_text(struct output *output, const char *text, struct error *error)
{
	return output_write(output, text, strlen(text), error);
}

static void test_output_appears_at_commit(void)
{
	struct error error = {0};
	struct output output;
	struct stat status;
	mode_t mask = umask(027);
	CHECK_OK(output_open(&output, "out", &error), &error);
	CHECK_OK(write_text(&output, "hello ", &error), &error);
	CHECK_OK(output_print(&output, &error, "%s %d\n", "world", 7), &error);
	CHECK_EQUAL_U64(output.written, 14);
	CHECK_OK(output_flush(&output, &error), &error);
	CHECK(access("out", F_OK) != 0);
	CHECK(output.temporary && strncmp(output.temporary, ".out.", 5) == 0);
	CHECK_OK(output_prepare(&output, &error), &error);
	CHECK(access("out", F_OK) != 0);
	CHECK_OK(output_commit(&output, &error), &error);
	output_release(&output);
	umask(mask);
	CHECK(holds("out", "hello world 7\n"));
	CHECK(stat("out", &status) == 0 && (status.st_mode & 0777) == 0640);
	CHECK_EQUAL_U64(files_here(), 1);
}

static void test_uncommitted_leaves_the_old(void)
{
	struct error error = {0};
	struct output output;
	put("out", "old", 3);
	CHECK_OK(output_open(&output, "out", &error), &error);
	CHECK_OK(write_text(&output, "new", &error), &error);
	CHECK_OK(output_prepare(&output, &error), &error);
	output_release(&output);
	output_release(&output); /* a released one is fine */
	CHECK(holds("out", "old"));
	CHECK_EQUAL_U64(files_here(), 1);
	struct output none = {0};
	output_release(&none);
}

static void replace(const char *path, const char *text)
{
	struct error error = {0};
	struct output output;
	CHECK_OK(output_open(&output, path, &error), &error);
	CHECK_OK(write_text(&output, text, &error), &error);
	CHECK_OK(output_commit(&output, &error), &error);
	output_release(&output);
}

static void test_mode_and_links_are_kept(void)
{
	struct stat status;
	put("target", "old", 3);
	CHECK(chmod("target", 0604) == 0 && symlink("target", "link") == 0);
	replace("link", "new");
	CHECK(lstat("link", &status) == 0 && S_ISLNK(status.st_mode));
	CHECK(holds("target", "new"));
	CHECK(stat("target", &status) == 0 && (status.st_mode & 0777) == 0604);
	CHECK(mkdir("folder", 0700) == 0 && symlink("folder/second", "first") == 0 && symlink("third", "folder/second") == 0);
	replace("first", "made"); /* a chain of links to a file that is yet to be made */
	CHECK(lstat("first", &status) == 0 && S_ISLNK(status.st_mode));
	CHECK(holds("folder/third", "made"));
	CHECK(remove("folder/third") == 0 && remove("folder/second") == 0);
}

static void test_large_writes_arrive_whole(void)
{
	const size_t size = 3000001, sizes[] = {1, 1000, 1 << 20, (1 << 20) + 1, 900000};
	struct error error = {0};
	struct output output;
	unsigned char *bytes = make_bytes(size);
	CHECK_OK(output_open(&output, "large", &error), &error);
	for (size_t at = 0, i = 0; at < size; i++) {
		size_t some = sizes[i % COUNT_OF(sizes)] < size - at ? sizes[i % COUNT_OF(sizes)] : size - at;
		CHECK_OK(output_write(&output, bytes + at, some, &error), &error);
		at += some;
	}
	bytes[9999] = '\0';
	CHECK_OK(output_print(&output, &error, "%s", (const char *)bytes), &error); /* longer than its own buffer */
	CHECK_EQUAL_U64(output.written, size + 9999);
	CHECK_OK(output_commit(&output, &error), &error);
	output_release(&output);
	unsigned char *expected = make_bytes(size);
	struct input input;
	CHECK_OK(input_open(&input, "large", &error), &error);
	CHECK(input_read(&input, bytes, size, &error) == (ptrdiff_t)size && memcmp(bytes, expected, size) == 0);
	CHECK(input_read(&input, bytes, size, &error) == 9999 && memcmp(bytes, expected, 9999) == 0);
	CHECK(input_read(&input, bytes, size, &error) == 0);
	input_release(&input);
	mem_free(bytes);
	mem_free(expected);
}

static void test_outputs_that_cannot_be_made(void)
{
	put("file", "x", 1);
	static const char *const paths[] = {"missing/out", ".", "file/out", "", "/proc/recpipe-out"};
	for (size_t i = 0; i < COUNT_OF(paths); i++) {
		struct error error = {0};
		struct output output;
		CHECK(output_open(&output, paths[i], &error) == -1);
		CHECK_EQUAL_U64(error.code, CODE_CANNOT_CREATE);
		CHECK(strstr(error.message, paths[i]) != NULL);
		output_release(&output);
	}
	CHECK_EQUAL_U64(files_here(), 1);
}

static void test_devices_are_written_directly(void)
{
	struct stat status;
	replace("/dev/null", "gone");
	CHECK(stat("/dev/null", &status) == 0 && S_ISCHR(status.st_mode));
	struct error error = {0};
	struct output output;
	CHECK_OK(output_open(&output, "/dev/full", &error), &error);
	CHECK_OK(write_text(&output, "x", &error), &error); /* buffered */
	CHECK(output_commit(&output, &error) == -1);
	CHECK_EQUAL_U64(error.code, CODE_IO);
	CHECK(strstr(error.message, "/dev/full: cannot write: No space left on device") != NULL);
	output_release(&output);
}

static int write_fifo(void *context)
{
	(void)context;
	replace("fifo", "through");
	return 0;
}

static void test_a_fifo_stays_one(void)
{
	char text[16] = "";
	struct stat status;
	CHECK(mkfifo("fifo", 0600) == 0);
	pid_t pid = fork();
	if (pid == 0)
		_exit(write_fifo(NULL));
	int fd = open("fifo", O_RDONLY);
	CHECK(read(fd, text, sizeof text - 1) == 7);
	CHECK_EQUAL_TEXT(text, "through");
	close(fd);
	waitpid(pid, NULL, 0);
	CHECK(lstat("fifo", &status) == 0 && S_ISFIFO(status.st_mode));
	CHECK_EQUAL_U64(files_here(), 1);
}

int main(void)
{
	RUN_IN_FOLDER(test_reads_plain_and_gz_alike);
	RUN_IN_FOLDER(test_every_cut_of_a_gz_is_told);
	RUN_IN_FOLDER(test_inputs_that_cannot_be_opened);
	RUN_IN_FOLDER(test_output_appears_at_commit);
	RUN_IN_FOLDER(test_uncommitted_leaves_the_old);
	RUN_IN_FOLDER(test_mode_and_links_are_kept);
	RUN_IN_FOLDER(test_large_writes_arrive_whole);
	RUN_IN_FOLDER(test_outputs_that_cannot_be_made);
	RUN_IN_FOLDER(test_devices_are_written_directly);
	RUN_IN_FOLDER(test_a_fifo_stays_one);
	return check_done();
}
