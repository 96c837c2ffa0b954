/* Outputs: a temporary beside the target, renamed when it is whole. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "io.h"
#include "io_internal.h"
#include "io_signals.h"
#include "mem.h"

enum { UNBUFFERED = 1 << 17, PUSHED_AT_ONCE = 16 << 20, LINKS_MAX = 8 };

/* The folder part of a path, for the temporary and its fsync. */
static char *folder_of(const char *path, struct error *error)
{
	const char *slash = strrchr(path, '/');
	if (!slash)
		return mem_copy_text(".", 1, error);
	return mem_copy_text(path, slash == path ? 1 : (size_t)(slash - path), error);
}

static mode_t mode_for(const struct stat *existing)
{
	if (existing)
		return existing->st_mode & 0777;
	mode_t mask = umask(0);
	umask(mask);
	return 0666 & ~mask;
}

static int open_temporary(struct output *output, const struct stat *existing, struct error *error)
{
	const char *slash = strrchr(output->path, '/');
	const int folder = slash ? (int)(slash - output->path + 1) : 0;
	const size_t size = strlen(output->path) + 16;
	output->temporary = mem_alloc(size, 1, error);
	if (!output->temporary)
		return -1;
	snprintf(output->temporary, size, "%.*s.%s.XXXXXX", folder, output->path, output->path + folder);
	sigset_t before;
	signals_hold(&before);
	output->fd = mkostemp(output->temporary, O_CLOEXEC);
	int number = errno;
	if (output->fd >= 0)
		output->cleanup_slot = cleanup_register(output->temporary);
	signals_restore(&before);
	if (output->fd < 0) {
		mem_free(output->temporary);
		output->temporary = NULL;
		return error_set_errno(error, CODE_CANNOT_CREATE, number, "%s: cannot create", output->path);
	}
	if (fchmod(output->fd, mode_for(existing)) != 0)
		return error_set_errno(error, CODE_CANNOT_CREATE, errno, "%s: cannot set its mode", output->path);
	return 0;
}

static int open_direct(struct output *output, const char *path, bool is_stdout, struct error *error)
{
	output->direct = true;
	output->fd = is_stdout ? fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3) : open(path, O_WRONLY | O_CLOEXEC);
	if (output->fd < 0)
		return error_set_errno(error, CODE_CANNOT_CREATE, errno, "%s: cannot open for writing", output->path);
	widen_pipe(output->fd);
	return 0;
}

/* Where a path leads: a link is followed, also to a file that is yet to be made, so that it goes on pointing
 * to the file it names. */
static char *follow(const char *path, struct error *error)
{
	char *real = realpath(path, NULL);
	if (real) {
		char *copy = mem_copy_text(real, strlen(real), error);
		free(real);
		return copy;
	}
	char link[PATH_MAX], joined[2 * PATH_MAX];
	snprintf(joined, sizeof joined, "%s", path);
	for (int hops = 0; hops < LINKS_MAX; hops++) {
		ptrdiff_t length = readlink(joined, link, sizeof link - 1);
		if (length <= 0)
			break;
		link[length] = '\0';
		const char *slash = strrchr(joined, '/');
		size_t folder = slash && link[0] != '/' ? (size_t)(slash - joined) + 1 : 0;
		if (folder + (size_t)length >= sizeof joined)
			break;
		memcpy(joined + folder, link, (size_t)length + 1);
	}
	return mem_copy_text(joined, strlen(joined), error);
}

int output_open(struct output *output, const char *path, struct error *error)
{
	struct stat status;
	const bool is_stdout = strcmp(path, "-") == 0;
	*output = (struct output){.fd = -1, .cleanup_slot = -1};
	output->buffer = mem_alloc(OUTPUT_BUFFER, 1, error);
	if (!output->buffer)
		return -1;
	if (path[0] == '\0')
		return error_set(error, CODE_CANNOT_CREATE, "an output has an empty name, expected a path");
	output->path = is_stdout ? mem_copy_text("(stdout)", 8, error) : follow(path, error);
	if (!output->path)
		return -1;
	if (is_stdout)
		return open_direct(output, path, true, error);
	const bool exists = stat(output->path, &status) == 0;
	if (exists && S_ISDIR(status.st_mode))
		return error_set(error, CODE_CANNOT_CREATE, "%s: is a folder, expected a file", path);
	if (exists && !S_ISREG(status.st_mode))
		return open_direct(output, path, false, error);
	return open_temporary(output, exists ? &status : NULL, error);
}

/* Lets the disk begin with what has been written, so that fsync has less to wait for. */
static void push(struct output *output, size_t size)
{
	output->behind += size;
	if (output->direct || output->behind < PUSHED_AT_ONCE)
		return;
	(void)sync_file_range(output->fd, (off_t)output->pushed, (off_t)output->behind, SYNC_FILE_RANGE_WRITE);
	output->pushed += output->behind;
	output->behind = 0;
}

/* Writes both, one behind the other. */
static int write_fully(struct output *output, const void *first, size_t first_size, const void *second,
                       size_t second_size, struct error *error)
{
	const size_t size = first_size + second_size;
	struct iovec parts[2] = {{(void *)(uintptr_t)first, first_size}, {(void *)(uintptr_t)second, second_size}};
	while (parts[0].iov_len + parts[1].iov_len > 0) {
		ptrdiff_t wrote = writev(output->fd, parts, 2);
		if (wrote < 0 && errno == EINTR)
			continue;
		if (wrote < 0 && errno == EPIPE)
			raise(SIGPIPE);
		if (wrote < 0)
			return error_set_errno(error, CODE_IO, errno, "%s: cannot write", output->path);
		for (int p = 0; p < 2; p++) {
			const size_t some = (size_t)wrote < parts[p].iov_len ? (size_t)wrote : parts[p].iov_len;
			parts[p].iov_base = (char *)parts[p].iov_base + some;
			parts[p].iov_len -= some;
			wrote -= (ptrdiff_t)some;
		}
	}
	push(output, size);
	return 0;
}

int output_flush(struct output *output, struct error *error)
{
	size_t used = output->used;
	output->used = 0;
	return write_fully(output, output->buffer, used, output->buffer, 0, error);
}

int output_write(struct output *output, const void *bytes, size_t size, struct error *error)
{
	output->written += size;
	if (size >= UNBUFFERED) { /* what is much is not copied */
		const size_t used = output->used;
		output->used = 0;
		return write_fully(output, output->buffer, used, bytes, size, error);
	}
	if (size > OUTPUT_BUFFER - output->used && output_flush(output, error) < 0)
		return -1;
	if (size > 0) /* `bytes` of nothing may be NULL */
		memcpy(output->buffer + output->used, bytes, size);
	output->used += size;
	return 0;
}

int output_print(struct output *output, struct error *error, const char *format, ...)
{
	char text[4096];
	va_list arguments;
	va_start(arguments, format);
	int length = vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	if (length < 0)
		return error_set(error, CODE_BUG, "%s: a line cannot be formatted", output->path);
	if ((size_t)length < sizeof text)
		return output_write(output, text, (size_t)length, error);
	char *longer = mem_alloc((size_t)length + 1, 1, error);
	if (!longer)
		return -1;
	va_start(arguments, format);
	vsnprintf(longer, (size_t)length + 1, format, arguments);
	va_end(arguments);
	int result = output_write(output, longer, (size_t)length, error);
	mem_free(longer);
	return result;
}

int output_prepare(struct output *output, struct error *error)
{
	if (output->prepared)
		return 0;
	if (output_flush(output, error) < 0)
		return -1;
	if (!output->direct && fsync(output->fd) != 0)
		return error_set_errno(error, CODE_IO, errno, "%s: cannot write", output->path);
	output->prepared = true;
	return 0;
}

static int close_checked(struct output *output, struct error *error)
{
	int fd = output->fd;
	output->fd = -1;
	if (close(fd) != 0)
		return error_set_errno(error, CODE_IO, errno, "%s: cannot write", output->path);
	return 0;
}

static int sync_folder(const char *path, struct error *error)
{
	char *folder = folder_of(path, error);
	if (!folder)
		return -1;
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC), result = 0;
	/* Some file systems cannot sync a folder (EINVAL): the rename stands all the same. */
	if (fd >= 0 && fsync(fd) != 0 && errno != EINVAL)
		result = error_set_errno(error, CODE_IO, errno, "%s: cannot sync its folder", path);
	if (fd >= 0)
		close(fd);
	mem_free(folder);
	return result;
}

int output_commit(struct output *output, struct error *error)
{
	if (output_prepare(output, error) < 0 || close_checked(output, error) < 0)
		return -1;
	if (output->direct)
		return 0;
	if (rename(output->temporary, output->path) != 0)
		return error_set_errno(error, CODE_CANNOT_CREATE, errno, "%s: cannot put in place", output->path);
	cleanup_forget(output->cleanup_slot);
	output->cleanup_slot = -1;
	mem_free(output->temporary);
	output->temporary = NULL;
	return sync_folder(output->path, error);
}

void output_release(struct output *output)
{
	if (output->fd >= 0 && output->path)
		close(output->fd);
	if (output->temporary)
		unlink(output->temporary);
	cleanup_forget(output->temporary ? output->cleanup_slot : -1);
	mem_free(output->temporary);
	mem_free(output->path);
	mem_free(output->buffer);
	*output = (struct output){.fd = -1, .cleanup_slot = -1};
}
