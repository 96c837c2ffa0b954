/* libFuzzer target: any bytes as ratings through the fast parser and through the one that takes everything, which must
 * give the same rows, reasons, lines and offsets. The first byte chooses the delimiter, --columns and the instruction
 * set, the second how many bytes are scanned at a time. */
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../unit/csv_reference.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const delimiters[] = {",", NULL, "::", "\t"};
static const char *const columns[] = {NULL, "user,item,rating,time", "user,item", "item=1,user=2,time=3"};
static const char *const isas[] = {"portable", "auto", "avx2", "auto"};

static void require(bool condition)
{
	if (!condition)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct transcript expected, got;
	char path[64];
	uint64_t ordinary = 0;
	if (size < 2)
		return 0;
	const unsigned choice = data[0], step = data[1] + 1u;
	const int fd = memfd_create("csv", MFD_CLOEXEC);
	require(fd >= 0 && write(fd, data + 2, size - 2) == (ssize_t)(size - 2));
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	(void)setenv("RECPIPE_ISA", isas[choice >> 4 & 3], 1);
	expected.length = got.length = 0;
	transcript_robust(&expected, path, delimiters[choice & 3], columns[choice >> 2 & 3]);
	transcript_rows(&got, path, delimiters[choice & 3], columns[choice >> 2 & 3], 1, step, &ordinary);
	require(expected.length == got.length && memcmp(expected.text, got.text, got.length) == 0);
	close(fd);
	return 0;
}
