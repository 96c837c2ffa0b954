/* Inputs: files or stdin through zlib, which passes plain data along unchanged. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "io.h"
#include "io_internal.h"
#include "mem.h"

enum { GZ_BUFFER = 64 << 10 }; /* requests of twice this and more go past it where nothing is compressed */

static int open_descriptor(const char *path, const char *name, uint64_t *size, struct error *error)
{
	struct stat status = {0};
	int fd = strcmp(path, "-") == 0 ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3) : open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return error_set_errno(error, CODE_NO_INPUT, errno, "%s: cannot open", name);
	if (fstat(fd, &status) == 0 && S_ISDIR(status.st_mode)) {
		close(fd);
		return error_set(error, CODE_NO_INPUT, "%s: is a folder, expected a file", name);
	}
	widen_pipe(fd);
	*size = S_ISREG(status.st_mode) ? (uint64_t)status.st_size : 0;
	return fd;
}

int input_open(struct input *input, const char *path, struct error *error)
{
	*input = (struct input){0};
	const char *name = strcmp(path, "-") == 0 ? "(stdin)" : path;
	input->name = mem_copy_text(name, strlen(name), error);
	if (!input->name)
		return -1;
	int fd = open_descriptor(path, name, &input->size, error);
	if (fd < 0)
		return -1;
	input->gz = gzdopen(fd, "rb");
	if (!input->gz) {
		close(fd);
		return error_set(error, CODE_SYSTEM, "%s: out of memory", name);
	}
	gzbuffer(input->gz, GZ_BUFFER);
	if (input->size > 0 && !gzdirect(input->gz))
		input->size = 0;
	return 0;
}

static int read_failed(struct input *input, struct error *error)
{
	int number = Z_OK, system = errno;
	const char *text = gzerror(input->gz, &number);
	if (number == Z_ERRNO)
		return error_set_errno(error, CODE_IO, system, "%s: cannot read", input->name);
	if (number == Z_BUF_ERROR)
		return error_set(error, CODE_DATA, "%s: the .gz file is cut short", input->name);
	return error_set(error, CODE_DATA, "%s: the .gz file is damaged: %s", input->name, text);
}

ptrdiff_t input_read(struct input *input, void *buffer, size_t size, struct error *error)
{
	unsigned want = size > (1u << 30) ? 1u << 30 : (unsigned)size;
	int got = gzread(input->gz, buffer, want);
	if (got < 0)
		return read_failed(input, error);
	if ((unsigned)got < want) {
		int number = Z_OK;
		gzerror(input->gz, &number);
		if (number != Z_OK)
			return read_failed(input, error);
	}
	input->offset += (uint64_t)got;
	return got;
}

void input_release(struct input *input)
{
	if (input->gz)
		gzclose_r(input->gz);
	mem_free(input->name);
	*input = (struct input){0};
}
